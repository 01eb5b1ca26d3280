/**
 * A site as data: what the constructs model, an inventory file says and the simulator builds. One schema for all of them;
 * what spans several objects is checked in validate-sites.ts.
 */
import { z } from 'zod';
import { parseIpv4, parseSubnet, unicastMac } from './addresses.ts';
import { DNS_LABEL, DNS_SUBDOMAIN, DNS_SUBDOMAIN_LENGTH, POD_NAME, PULL_SECRET, SITE_NAME } from './names.ts';
import { port } from './ports.ts';

const dnsLabel = z.string().regex(DNS_LABEL, 'must be a DNS label: at most 63 of a-z, 0-9 and "-", not at an end');
const dnsSubdomain = z
  .string()
  .max(DNS_SUBDOMAIN_LENGTH, 'must have at most 253 characters')
  .regex(DNS_SUBDOMAIN, 'must be a DNS name: labels of a-z, 0-9 and "-", joined by dots');
const ipv4 = z.string().refine((text) => parseIpv4(text) !== undefined, 'must be an IPv4 address such as 192.168.50.20');
const subnet = z
  .string()
  .refine((text) => parseSubnet(text) !== undefined, 'must be a network such as 192.168.50.0/24, with no host bits set');
const mac = z.string().refine((text) => unicastMac(text) !== undefined, 'must be a unicast MAC address such as 52:54:00:12:34:56');
const portNumber = z.int().min(1).max(65535);
const vlanId = z.int().min(1).max(4094);

const network = z.strictObject({
  vlan: vlanId.describe('IEEE 802.1Q VLAN identifier'),
  cidr: subnet.describe('IPv4 network of the VLAN'),
  gateway: ipv4.optional(),
});

const image = z
  .strictObject({
    repository: z
      .string()
      .regex(/^[a-z0-9][a-z0-9._\-/:]*[a-z0-9]$/, 'must be a registry path without tag, such as harbor.example.net/bms/bms_core'),
    tag: z
      .string()
      .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/, 'must be an image tag')
      .optional(),
    digest: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hex digits')
      .optional(),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional(),
  })
  .refine((value) => (value.tag === undefined) !== (value.digest === undefined), 'needs either a tag or a digest');

const bmc = z.strictObject({
  address: ipv4,
  port: portNumber.default(port.ipmi),
  protocol: z.enum(['ipmi', 'redfish', 'iboot', 'virtual']).default('ipmi'),
  cipherSuite: z
    .union([z.literal(3), z.literal(17)])
    .optional()
    .describe('IPMI cipher suite; the strongest offered one when absent'),
  credentials: z.strictObject({ secretName: dnsSubdomain }).describe('Secret with the keys username and password'),
});

const machineInterface = z.strictObject({ mac, vlan: vlanId.optional() });

const machine = z.strictObject({
  name: dnsSubdomain,
  interfaces: z.array(machineInterface).min(1).describe('the first one boots'),
  bmc,
  cpuArch: z.enum(['x86_64', 'i386', 'aarch64']).default('x86_64'),
  cpus: z.int().min(1),
  memoryMb: z.int().min(1),
  diskGb: z.int().min(1),
  address: ipv4.optional().describe('address reserved for it on the provisioning network'),
  capabilities: z.record(z.string(), z.string()).default({}),
});

const managementNode = z.strictObject({ name: dnsSubdomain });

const optionValue = z.union([z.string(), z.number(), z.boolean(), z.array(z.string())], {
  error: 'must be text, a number, true, false or a list of texts',
});

export const podSchema = z.strictObject({
  name: z.string().regex(POD_NAME, 'must be "pod" and a number, such as pod45'),
  managementNodes: z.array(managementNode).min(1).max(2),
  vips: z.record(z.string().regex(/^\d{1,4}$/, 'must be a VLAN identifier'), ipv4).describe('VLAN identifier → virtual address'),
  /** Overrides of bms-core's configuration, section → key → value. */
  config: z.record(z.string(), z.record(z.string(), optionValue)).default({}),
  machines: z.array(machine).default([]),
});

const quantity = z.string().regex(/^[1-9]\d*(?:m|Ki|Mi|Gi|Ti)?$/, 'must be a Kubernetes quantity such as 500m or 10Gi');

/** A key of a Secret. */
const secretKey = (key: string) =>
  z.strictObject({
    secretName: dnsSubdomain,
    key: z
      .string()
      .regex(/^[-._a-zA-Z0-9]{1,253}$/, 'must be the key of a Secret')
      .default(key),
  });

const bmsCore = z.strictObject({
  /** per-pod: a DaemonSet per pod that mounts its ConfigMap; seed: one DaemonSet whose init container fetches it by node name. */
  form: z.enum(['per-pod', 'seed']).default('per-pod'),
  /** How /tftpboot gets into the container: NFS through a PersistentVolume (form per-pod), NFS mounted by the container itself (form seed), or the host's folder. */
  tftpboot: z.enum(['persistent-volume', 'mount', 'host']).optional(),
  api: z
    .strictObject({
      tokens: z
        .strictObject({ secretName: dnsSubdomain })
        .optional()
        .describe('Secret whose key `tokens` says who may use the API, a line of `bmctl token create` each'),
      tls: z
        .strictObject({ secretName: dnsSubdomain })
        .optional()
        .describe('Secret of the type kubernetes.io/tls; the API then speaks HTTPS only'),
    })
    .prefault({}),
  /**
   * Where the records are. sqlite: a file on each management node, which knows nothing of the other's; kubernetes: BmsRecord objects of the
   * site's namespace, apart for each pod; mysql: a database of your own.
   */
  store: z
    .union(
      [
        z.enum(['sqlite', 'kubernetes']),
        z.strictObject({
          mysql: z.strictObject({
            url: z
              .string()
              .regex(
                /^mysql:\/\/[^\s:@/]+@[^\s:@/]+(:\d{1,5})?\/[^\s/]+$/,
                'must be mysql://user@host[:port]/database, without a password',
              ),
            password: secretKey('password'),
          }),
        }),
      ],
      { error: "must be 'sqlite', 'kubernetes' or { mysql: { url, password: { secretName } } }" },
    )
    .default('sqlite'),
  /**
   * How a pod's management nodes know of each other, and share the sessions that a switch allows. zookeeper: `kazoo://` behind the VIP, or the site's ensemble;
   * kubernetes: Leases in the site's namespace, with a store that they share. Default: Leases where the store is Kubernetes and the site names no ZooKeeper.
   */
  coordination: z.enum(['zookeeper', 'kubernetes']).optional(),
  /** What passwords are encrypted under in a store that replicas share: 32 random bytes in base64. */
  secretsKey: secretKey('key').optional(),
  resources: z
    .strictObject({
      cpu: quantity.default('250m').describe('requested; no limit, since a throttled DHCP server is a rack that does not boot'),
      memory: quantity.default('256Mi').describe('requested'),
      memoryLimit: quantity.default('1Gi'),
    })
    .prefault({}),
});

export const zookeeperSchema = z.discriminatedUnion('form', [
  z.strictObject({ form: z.literal('standalone') }),
  z.strictObject({
    form: z.literal('ensemble'),
    hosts: z.array(dnsSubdomain).describe('Kubernetes nodes that run a member each: odd, three or more'),
    storageClassName: dnsSubdomain.optional(),
    storage: z
      .string()
      .regex(/^[1-9]\d*(?:Mi|Gi|Ti)$/, 'must be a quantity such as 10Gi')
      .default('10Gi'),
  }),
]);

export const siteSpecSchema = z.strictObject({
  name: z.string().regex(SITE_NAME, 'must be letters a-z and digits only: it is a field of dashed node names'),
  namespace: dnsLabel.default('default'),
  networks: z.array(network).default([]),
  images: z
    .strictObject({ bmsCore: image, zookeeper: image.optional(), pullSecret: dnsSubdomain.default(PULL_SECRET) })
    .describe('coordinates of the images, overridable per site'),
  bmsCore: bmsCore.prefault({}),
  zookeeper: zookeeperSchema.optional(),
  pods: z.array(podSchema).default([]),
});

/** A complete site: every default filled in. */
export type SiteSpec = z.infer<typeof siteSpecSchema>;
/** A site as people write it. */
export type SiteInput = z.input<typeof siteSpecSchema>;
export type PodSpec = SiteSpec['pods'][number];
export type PodInput = NonNullable<SiteInput['pods']>[number];
export type MachineSpec = PodSpec['machines'][number];
export type MachineInput = NonNullable<PodInput['machines']>[number];
export type NetworkSpec = SiteSpec['networks'][number];
export type ImageSpec = SiteSpec['images']['bmsCore'];
export type ZooKeeperSpec = NonNullable<SiteSpec['zookeeper']>;
export type ConfigOverrides = PodSpec['config'];

/** What a site's management nodes coordinate by. */
export function coordinationOf({
  bmsCore,
  zookeeper,
}: {
  readonly bmsCore?: Pick<NonNullable<SiteInput['bmsCore']>, 'store' | 'coordination'> | undefined;
  readonly zookeeper?: SiteInput['zookeeper'];
}): 'zookeeper' | 'kubernetes' {
  return bmsCore?.coordination ?? (bmsCore?.store === 'kubernetes' && zookeeper === undefined ? 'kubernetes' : 'zookeeper');
}
