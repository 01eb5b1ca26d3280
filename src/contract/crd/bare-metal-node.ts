/**
 * The custom resource BareMetalNode: one physical server. This schema is the only definition; crds/ and imports/ are
 * generated from it (`npm run crds`), the operator and bmctl parse with it.
 */
import { z } from 'zod';
import { DNS_SUBDOMAIN, DNS_SUBDOMAIN_LENGTH } from '../names.ts';
import { type CrdDefinition, defineCrd } from './define-crd.ts';

const macAddress = z.string().regex(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);
const ipv4Address = z.string().regex(/^(?:\d{1,3}\.){3}\d{1,3}$/);

const spec = z
  .strictObject({
    site: z
      .string()
      .regex(/^[a-z0-9]+$/)
      .describe('Site that the machine stands in, e.g. wuxi2.'),
    pod: z
      .string()
      .regex(/^pod\d+$/)
      .describe('Pair of management nodes that provisions it, e.g. pod45.'),
    interfaces: z
      .array(
        z.strictObject({
          mac: macAddress.describe('Hardware address, lower case, with colons.'),
          vlan: z.int().min(1).max(4094).optional().describe('VLAN that the port is on.'),
        }),
      )
      .min(1)
      .max(32)
      .describe('Network interfaces; the first one boots.'),
    bmc: z
      .strictObject({
        address: ipv4Address.describe('IPv4 address of the baseboard management controller.'),
        port: z.int().min(1).max(65535).default(623).describe('UDP port (IPMI) or TCP port (Redfish, iBoot).'),
        protocol: z.enum(['ipmi', 'redfish', 'iboot', 'virtual']).default('ipmi').describe('How to speak to it.'),
        cipherSuite: z
          .union([z.literal(3), z.literal(17)])
          .optional()
          .describe('IPMI 2.0 cipher suite; the strongest offered one when absent.'),
        credentialsSecretRef: z
          .strictObject({ name: z.string().max(DNS_SUBDOMAIN_LENGTH).regex(DNS_SUBDOMAIN) })
          .describe('Secret of the same namespace with the keys username and password.'),
      })
      .describe('Baseboard management controller.'),
    properties: z
      .strictObject({
        cpuArch: z.enum(['x86_64', 'i386', 'aarch64']).describe('Instruction set, matched by flavors.'),
        cpus: z.int().min(1).describe('Logical processors.'),
        memoryMb: z.int().min(1).describe('Memory in MiB.'),
        localGb: z.int().min(1).describe('Root disk in GiB.'),
        capabilities: z.record(z.string(), z.string()).optional().describe('Further facts that flavors may ask for.'),
      })
      .describe('What the scheduler matches.'),
    address: ipv4Address.optional().describe('Address reserved for it on the provisioning network.'),
    maintenance: z.boolean().optional().describe('True keeps the controllers from changing its power or disks.'),
  })
  .describe('The wanted machine.');

const status = z
  .strictObject({
    state: z.string().optional().describe('State of its life: enroll, building, deploying, active …'),
    reason: z.string().optional().describe('Why it is in that state.'),
    power: z.enum(['on', 'off', 'unknown']).optional().describe('Last power state heard from the BMC.'),
    uuid: z.string().optional().describe('UUID of the machine in bms-core, which its API and bmctl know too.'),
    owner: z.string().optional().describe('Replica of bms-core that drives it and writes this status.'),
    epoch: z.int().min(0).optional().describe('Rises with every change of owner.'),
    instance: z
      .strictObject({
        uuid: z.string().describe('UUID of the instance.'),
        name: z.string().describe('Name of the instance.'),
        imageId: z.string().describe('Image that it was made from.'),
      })
      .optional()
      .describe('Instance that it carries.'),
    lastError: z
      .strictObject({ reason: z.string().describe('What failed.'), at: z.iso.datetime().describe('When.') })
      .optional()
      .describe('Last failure of its life, and when; it stays until there is another one.'),
    observedGeneration: z.int().optional().describe('Generation of the spec that the status speaks of.'),
    conditions: z
      .array(
        z.strictObject({
          type: z.string(),
          status: z.enum(['True', 'False', 'Unknown']),
          reason: z.string(),
          message: z.string().optional(),
          lastTransitionTime: z.iso.datetime(),
          observedGeneration: z.int().optional(),
        }),
      )
      .optional()
      .describe('Standard conditions.'),
  })
  .describe('The machine as last seen.');

export const bareMetalNode: CrdDefinition<typeof spec, typeof status> = defineCrd({
  kind: 'BareMetalNode',
  plural: 'baremetalnodes',
  singular: 'baremetalnode',
  shortNames: ['bmn'],
  scope: 'Namespaced',
  description: 'One physical server: what it is, how to reach its BMC, and what is known of its life.',
  spec,
  status,
  printerColumns: [
    { name: 'State', type: 'string', jsonPath: '.status.state' },
    { name: 'Power', type: 'string', jsonPath: '.status.power' },
    { name: 'Pod', type: 'string', jsonPath: '.spec.pod' },
    { name: 'BMC', type: 'string', jsonPath: '.spec.bmc.address' },
    { name: 'MAC', type: 'string', jsonPath: '.spec.interfaces[0].mac', priority: 1 },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
});

/** What bms-core does with them, and so what its Role allows; the second list is for their status. */
export const MACHINE_OBJECT_VERBS = ['get', 'list', 'watch'] as const;
export const MACHINE_STATUS_VERBS = ['update'] as const;
/** Events (events.k8s.io) on them. */
export const MACHINE_EVENT_VERBS = ['create'] as const;

export type BareMetalNodeSpec = z.infer<typeof spec>;
export type BareMetalNodeStatus = z.infer<typeof status>;
