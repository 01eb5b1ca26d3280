/** A machine as the API shows and takes it. No answer has a field for a password. */
import { z } from 'zod';
import { bmcAddressText, ipAddressText } from './address-text.ts';
import { confirmation, id, macInput, name, time } from './names.ts';

export const wipeModes = ['metadata', 'full'] as const;
export const powerDrivers = ['ipmi', 'redfish', 'iboot', 'virtual'] as const;

export const nodeProperties = z.object({
  cpus: z.int().positive(),
  memoryMb: z.int().positive(),
  localGb: z.int().positive(),
  cpuArch: z.string().min(1).max(32),
  capabilities: z.record(z.string().min(1).max(64), z.string().max(255)).optional(),
});

export const fault = z
  .object({
    kind: z.enum(['bmc unreachable', 'power lost', 'unhealthy']).describe('unhealthy: reported from outside; the others are found'),
    reason: z.string(),
    since: time,
    remedies: z
      .array(z.object({ remedy: z.enum(['soft reset', 'power cycle', 'power on']), at: time }))
      .describe('Tried so far, oldest first'),
  })
  .describe('Of a machine in use, remedies by grades follow while it lasts');

export const nodeSummary = z.object({
  uuid: z.string(),
  number: z.int().describe('The `i` of the deploy-helper protocol'),
  name: z.string(),
  state: z.string(),
  reason: z.string().describe('Why it is in this state'),
  since: time,
  macs: z.array(z.string()),
  bmc: z.string().describe('driver://address; `none` of a machine that was discovered and not completed'),
  address: z.string().optional().describe('Its lease on the provisioning network'),
  instance: z.string().optional().describe('Name of its instance'),
  maintenance: z.boolean().describe('Nothing changes its power or disks'),
  maintenanceReason: z.string().optional(),
  fault: fault.optional(),
  progress: z
    .object({
      bytes: z.number(),
      totalBytes: z.number().optional(),
      phase: z.enum(['write', 'verify']).optional().describe('verify: what was written is read back'),
      bytesPerSecond: z.number().optional(),
      remainingSeconds: z.number().optional().describe('At the present rate'),
    })
    .optional()
    .describe('While an image is written'),
});

export const historyEntry = z.object({
  from: z.string(),
  to: z.string(),
  reason: z.string(),
  at: time,
  durationMs: z.number().describe('Time spent in `from`'),
});

export const nodeDetail = z.object({
  ...nodeSummary.shape,
  properties: nodeProperties
    .extend({ cpus: z.int().nonnegative(), memoryMb: z.int().nonnegative(), localGb: z.int().nonnegative() })
    .describe('Sizes of 0: discovered, and not known yet'),
  deadline: time.optional().describe('When the state must have ended'),
  step: z.string().optional(),
  attempts: z.int(),
  owner: z.string().optional().describe('The replica that drives it'),
  epoch: z.int().describe('Rises with every change of owner'),
  generation: z.int().describe('Install generation'),
  instanceUuid: z.string().optional(),
  imageId: z.string().optional(),
  flavorId: z.string().optional(),
  rootDiskSerial: z.string().optional(),
  power: z
    .object({ state: z.enum(['on', 'off']), at: time })
    .optional()
    .describe('As last heard from the BMC'),
  asked: z.string().optional().describe('A verb that its owner has not begun yet'),
  installed: z.object({ imageId: z.string(), sha256: z.string(), at: time, diskSerial: z.string().optional() }).optional(),
  lastFailure: z.object({ reason: z.string(), at: time, cleanupErrors: z.array(z.string()) }).optional(),
  inspection: z
    .object({
      at: time,
      differences: z.array(z.string()).describe('Where the record and the machine differ'),
      facts: z
        .looseObject({
          interfaces: z.array(
            z.looseObject({
              name: z.string(),
              mac: z.string(),
              linkUp: z.boolean().optional(),
              switchId: z.string().optional().describe('Chassis at the other end of the cable, by LLDP'),
              switchPort: z.string().optional(),
              lldp: z
                .looseObject({
                  systemName: z.string().optional(),
                  portVlan: z.int().optional(),
                  managementVlan: z.int().optional(),
                })
                .optional(),
            }),
          ),
        })
        .describe('As the ramdisk found it: sizes, disks, firmware, and what is at the other end of each cable'),
    })
    .optional(),
  history: z.array(historyEntry),
});

export const timelineEntry = z.object({ at: time, type: z.string(), detail: z.string().optional(), count: z.int() });

export const nodeTimeline = z.object({ name: z.string(), timeline: z.array(timelineEntry) });
export const nodeHistory = z.object({ name: z.string(), history: z.array(historyEntry) });

export const nodePage = z.object({
  nodes: z.array(nodeSummary),
  next: z.string().optional().describe('Cursor of the next page; absent on the last one'),
});

const bmcInput = z.strictObject({
  driver: z.enum(powerDrivers).default('ipmi'),
  address: bmcAddressText,
  port: z.int().min(1).max(65535).optional(),
  username: z.string().max(64),
  password: z.string().max(128).describe('Kept in the secret store; no answer ever has it'),
});

export const enrolRequest = z
  .strictObject({
    name,
    macs: z.array(macInput).min(1).max(32).describe('The first one boots'),
    properties: nodeProperties.strict(),
    bmc: bmcInput,
    rootDiskSerial: z.string().min(1).max(255).optional().describe('The only disk that may be written'),
    uuid: z.uuid().optional(),
    target: z.enum(['manageable', 'available']).optional().describe('Where it ends by itself; default available'),
    inspect: z.boolean().optional().describe('Read its hardware first'),
    clean: z.enum(wipeModes).optional().describe('Wipe its disk first; needs yes'),
    yes: confirmation.yes,
    adopt: z
      .strictObject({ uuid: z.uuid(), name, imageId: id })
      .optional()
      .describe('An instance that runs on it already: nothing is touched'),
  })
  .refine(({ clean, yes }) => clean === undefined || yes === true, { error: 'wipes its disk: confirm with yes', path: ['clean'] });

export const nodeUpdate = z
  .strictObject({
    properties: nodeProperties.strict().partial().optional(),
    bmc: bmcInput
      .omit({ driver: true })
      .extend({ driver: z.enum(powerDrivers) })
      .partial()
      .optional(),
    rootDiskSerial: z.string().min(1).max(255).nullable().optional().describe('null: any disk'),
  })
  .describe('What is left out stays as it is');

export const interfaceAdd = z.strictObject({
  mac: macInput,
  address: ipAddressText.optional().describe('Reserved for it on the provisioning network'),
});

export const maintenanceRequest = z.strictObject({ on: z.boolean(), reason: z.string().min(1).max(200).optional() });
export const faultReport = z.strictObject({
  reason: z.string().trim().min(1).max(500).describe('What is wrong with what runs on it, for people: of the first report'),
});
export const rebootRequest = z.strictObject({
  mode: z.enum(['soft', 'hard']).optional().describe('soft (default) asks the operating system first; hard cuts the power'),
});
export const attachVolumeRequest = z.strictObject({
  volume: z.string().min(1).max(255),
  mountpoint: z
    .string()
    .regex(/^\/dev\/[a-z0-9]{1,32}$/, 'must be a device such as /dev/vdb')
    .optional(),
});
export const detachVolumeRequest = z.strictObject({ volume: z.string().min(1).max(255) });
export const plugVifsRequest = z.strictObject({
  vifs: z.array(z.string().min(1).max(64)).max(32).describe('All that shall be plugged afterwards'),
});
export const rebuildRequest = z.strictObject({
  imageId: id.optional().describe('Default: the image that it has'),
  preserveEphemeral: z.boolean().optional().describe('Leave the ephemeral partition as it is'),
  ...confirmation,
});
export const rescueRequest = z.strictObject({
  authorizedKeys: z.array(z.string().min(1).max(8192)).max(32).optional().describe('Public keys that may log in'),
});
export const inspectRequest = z.strictObject({ apply: z.boolean().optional().describe('Take over what is found') });
export const cleanRequest = z.strictObject({
  wipe: z.enum(wipeModes).optional().describe('metadata (default): partition tables and superblocks; full: every block'),
  ...confirmation,
});
export const adoptRequest = z.strictObject({ uuid: z.uuid(), name, imageId: id }).describe('The instance that runs on it already');
export const noBody = z.strictObject({});
export const confirmedBody = z.strictObject(confirmation);

/** What a verb answers: it has been asked for, and who looks at the machine sees it happen. */
export const accepted = z.object({ node: nodeSummary, asked: z.string().describe('What was asked for') });

export const explanation = z.object({
  mac: z.string(),
  machine: z.string().optional(),
  state: z.string().optional(),
  reason: z.string().optional(),
  deadline: z.string().optional(),
  lease: z.string().optional(),
  problem: z.string().optional().describe('Why nothing can be answered now'),
  answers: z.array(z.object({ request: z.string(), answer: z.string(), reasons: z.array(z.string()) })),
  seen: z.array(z.string()),
  boot: z.array(z.string()).describe('What the boot plane of this replica saw of the interface lately, oldest first').optional(),
});

export const diagnosis = z.object({
  name: z.string(),
  state: z.string(),
  verdict: z.enum(['well', 'working', 'late', 'failed', 'resting']),
  findings: z.array(z.object({ what: z.string(), cure: z.string().optional() })),
});

export type NodeSummary = z.infer<typeof nodeSummary>;
export type NodeDetail = z.infer<typeof nodeDetail>;
export type TimelineEntry = z.infer<typeof timelineEntry>;
export type HistoryEntry = z.infer<typeof historyEntry>;
export type EnrolBody = z.infer<typeof enrolRequest>;
export type NodeUpdate = z.infer<typeof nodeUpdate>;
export type Explanation = z.infer<typeof explanation>;
export type Diagnosis = z.infer<typeof diagnosis>;
