/** What people write in an OnecloudCluster: the schema behind the CRD, the checks and the types. */
import { z } from 'zod';
import { isHostAddress } from '../config/network-types.ts';
import { DNS_SUBDOMAIN, DNS_SUBDOMAIN_LENGTH } from '../names.ts';
import { type ComponentKey, catalog } from './catalog.ts';
import { clusterRules, componentRules, rulesMeta } from './cluster-rules.ts';
import type { Component, ComponentKind } from './component.ts';
import { isCron, isTimeZone } from './cron.ts';

/** Copied into the CRD as they are: what Kubernetes knows beyond JSON Schema. */
const INT_OR_STRING = { 'x-kubernetes-int-or-string': true };
const ANY_FIELDS = { 'x-kubernetes-preserve-unknown-fields': true };

const dnsName = z
  .string()
  .max(DNS_SUBDOMAIN_LENGTH, 'must have at most 253 characters')
  .regex(DNS_SUBDOMAIN, 'must be a DNS name: labels of a-z, 0-9 and "-", joined by dots');
const tag = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/, 'must be an image tag, such as v3.1.3-20200312.0');
/** Registry with port, path, tag and digest. */
const IMAGE =
  /^(?:[A-Za-z0-9.-]+(?::[0-9]+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/;

const repository = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._\-/:]*[a-z0-9])?$/,
    'must be a registry path without tag, such as registry.cn-beijing.aliyuncs.com/yunionio',
  );
const imageName = z.string().regex(/^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/, 'must be an image name without path and tag, such as glance');
const image = z.string().regex(IMAGE, 'must be an image such as registry.example.net/yunionio/glance:v3.1.3');
const pullPolicy = z.enum(['Always', 'IfNotPresent', 'Never']);
const quantity = z
  .union([
    z.string().regex(/^[0-9]+(?:\.[0-9]+)?(?:[numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$/, 'must be a quantity such as 500m, 2Gi or 100G'),
    z.int().min(0),
  ])
  .meta(INT_OR_STRING);
const resources = z.record(z.string(), quantity);
const cron = z.string().refine(isCron, 'must be a cron expression of five fields, such as "*/5 * * * *"');
const host = z.string().min(1).refine(isHostAddress, 'must be a DNS name or an IP address, without scheme and port');
const certificateName = z
  .string()
  .min(1)
  .refine((name) => isHostAddress(name.replace(/^\*\./, '')), 'must be a DNS name, which may begin with "*.", or an IP address');
const labels = z.record(z.string(), z.string());

const toleration = z.strictObject({
  key: z.string().optional(),
  operator: z.enum(['Exists', 'Equal']).optional(),
  value: z.string().optional(),
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
  tolerationSeconds: z.int().optional(),
});

/** Its inside is Kubernetes' to check: written out for every component, it would make the CRD too large to apply. */
const affinityPart = z.looseObject({}).meta(ANY_FIELDS);
const affinity = z.strictObject({
  nodeAffinity: affinityPart.optional(),
  podAffinity: affinityPart.optional(),
  podAntiAffinity: affinityPart.optional(),
});

const secretKeyRef = (key: string) => z.strictObject({ name: dnsName, key: z.string().min(1).default(key) });

const imageOverrides = {
  image: image.optional(),
  repository: repository.optional(),
  imageName: imageName.optional(),
  tag: tag.optional(),
  imagePullPolicy: pullPolicy.optional(),
};

const container = {
  ...imageOverrides,
  requests: resources.optional(),
  limits: resources.optional(),
};

const everyComponent = {
  disable: z.boolean().optional(),
  ...container,
  nodeSelector: labels.optional(),
  affinity: affinity.optional(),
  tolerations: z.array(toleration).max(32).optional(),
  annotations: labels.optional(),
};

const deployment = { ...everyComponent, replicas: z.int().min(0).max(64).optional() };

const byKind = {
  Deployment: deployment,
  StatefulDeployment: {
    ...deployment,
    storageClassName: dnsName.optional(),
    accessMode: z.enum(['ReadWriteOnce', 'ReadWriteMany']).optional(),
  },
  DaemonSet: {
    ...everyComponent,
    updateStrategy: z
      .strictObject({
        type: z.enum(['OnDelete', 'RollingUpdate']),
        maxUnavailable: z.int().min(1).optional(),
      })
      .meta(rulesMeta(clusterRules.updateStrategy))
      .optional(),
  },
  CronJob: { ...everyComponent, schedule: cron.optional(), suspend: z.boolean().optional() },
} satisfies Record<ComponentKind, z.core.$ZodShape>;

/** Settings that only one component has. */
const ofOneComponent: Readonly<Record<string, z.core.$ZodShape>> = {
  keystone: {
    bootstrapPassword: z.string().min(1).optional(),
    bootstrapPasswordSecretRef: secretKeyRef('bootstrap-password').optional(),
  },
  regionServer: { dnsServer: z.string().min(1).optional(), dnsDomain: dnsName.optional() },
  regionDNS: {
    proxies: z
      .array(z.strictObject({ from: z.string().regex(/^\S+$/), to: z.array(z.string().regex(/^\S+$/)).min(1).max(16) }))
      .max(32)
      .optional(),
  },
  baremetalagent: { ipmiPasswordSecretRef: secretKeyRef('ipmi-password').optional() },
};

/** What `spec.<key>` may hold. */
function overridesSchema(component: Component): z.ZodType<ComponentOverrides> {
  const exposed = component.ports?.filter(({ nodePort }) => nodePort !== undefined) ?? [];
  const nodePorts = Object.fromEntries(exposed.map(({ name }) => [name, z.int().min(30000).max(32767).optional()]));
  const companions = new Set(component.companions?.map(({ override }) => override));
  const schema = z.strictObject({
    ...byKind[component.kind],
    ...ofOneComponent[component.key],
    ...(exposed.length > 0 && { nodePorts: z.strictObject(nodePorts).optional(), internalOnly: z.boolean().optional() }),
    ...Object.fromEntries([...companions].map((name) => [name, z.strictObject(container).optional()])),
  });
  return schema.meta(rulesMeta(...componentRules(component))) as unknown as z.ZodType<ComponentOverrides>;
}

type ImageOverrides = { readonly [K in keyof typeof imageOverrides]?: z.infer<(typeof imageOverrides)[K]> };
export type Quantities = z.infer<typeof resources>;
export type Toleration = z.infer<typeof toleration>;
export type AffinityOverride = z.infer<typeof affinity>;
export type SecretKeyRef = z.infer<ReturnType<typeof secretKeyRef>>;

export interface ContainerOverrides extends ImageOverrides {
  readonly requests?: Quantities;
  readonly limits?: Quantities;
}

/** All that any component may be told; which of it applies depends on its kind. */
export interface ComponentOverrides extends ContainerOverrides {
  readonly disable?: boolean;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly affinity?: AffinityOverride;
  readonly tolerations?: readonly Toleration[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly replicas?: number;
  readonly storageClassName?: string;
  readonly accessMode?: 'ReadWriteOnce' | 'ReadWriteMany';
  readonly updateStrategy?: { readonly type: 'OnDelete' | 'RollingUpdate'; readonly maxUnavailable?: number };
  readonly schedule?: string;
  readonly suspend?: boolean;
  readonly nodePorts?: Readonly<Record<string, number>>;
  readonly internalOnly?: boolean;
  readonly bootstrapPassword?: string;
  readonly bootstrapPasswordSecretRef?: SecretKeyRef;
  readonly ipmiPasswordSecretRef?: SecretKeyRef;
  readonly dnsServer?: string;
  readonly dnsDomain?: string;
  readonly proxies?: readonly { readonly from: string; readonly to: readonly string[] }[];
  readonly hostImage?: ContainerOverrides;
  readonly ovnController?: ContainerOverrides;
  readonly sdnAgent?: ContainerOverrides;
  readonly plugins?: ContainerOverrides;
}

const mysql = z
  .strictObject({
    host: z.string().min(1).max(DNS_SUBDOMAIN_LENGTH).describe('Name or address of the MySQL server.'),
    port: z.int().min(1).max(65535).default(3306).describe('Its TCP port.'),
    username: z.string().min(1).default('root').describe('Account that may create databases and accounts.'),
    password: z.string().min(1).optional().describe('Its password. Readable for all who may read this object: prefer passwordSecretRef.'),
    passwordSecretRef: secretKeyRef('password').optional().describe('Secret of the same namespace with the password.'),
    tls: z
      .strictObject({
        caSecretRef: secretKeyRef('ca.crt').optional().describe('Secret with the authority; absent: those that Node knows.'),
      })
      .optional()
      .describe('The operator and its dumps speak TLS and verify the certificate. The services connect as their configuration says.'),
  })
  // oneOf beside the rule: every version of Kubernetes that has structural schemas understands it; the rule says it in words
  .meta({
    oneOf: [{ required: ['password'] }, { required: ['passwordSecretRef'] }],
    ...rulesMeta(clusterRules.mysqlPassword, clusterRules.mysqlTls),
  })
  .describe('Database server.');

const databaseBackup = z
  .strictObject({
    image: image.default('docker.io/library/mariadb:11.4').describe('Has bash, gzip and mariadb-dump or mysqldump.'),
    storage: quantity.default('20G').describe('Size of the claim that the dumps go to.'),
    storageClassName: dnsName.default('local-path').describe('Class of the claim.'),
    keep: z.int().min(1).max(100).default(3).describe('Dumps that stay; older ones go when a new one is complete.'),
    timeoutSeconds: z.int().min(60).max(86400).default(3600).describe('How long a dump may take.'),
  })
  .describe('Databases are dumped before an upgrade that may migrate them. Absent: they are not, and the history says so.');

/** Everything of `spec` beside the components. */
const settings = {
  mysql,
  region: dnsName.default('region0').meta(rulesMeta(clusterRules.region)).describe('OneCloud region.'),
  zone: dnsName.default('zone0').meta(rulesMeta(clusterRules.zone)).describe('OneCloud zone.'),
  imageRepository: repository.default('registry.hub.docker.com/yunion').describe('Where images come from.'),
  version: tag.default('latest').describe('Tag of every image that has no own one.'),
  edition: z.enum(['ce', 'ee']).default('ce').describe('Community or enterprise edition.'),
  loadBalancerEndpoint: host.optional().describe('Address under which users reach the cluster.'),
  certSANs: z.array(certificateName).max(64).optional().describe('Further names and addresses in the certificates.'),
  imagePullSecrets: z
    .array(z.strictObject({ name: dnsName }))
    .max(16)
    .optional()
    .describe('Secrets for the image registry.'),
  priorityClassName: z
    .string()
    .optional()
    .describe('Priority of the pods; system-cluster-critical, and system-node-critical on hosts, when absent. Empty: none.'),
  paused: z.boolean().default(false).describe('True: the operator reports, and changes nothing.'),
  updateStrategy: z
    .strictObject({
      autoRollback: z.boolean().default(false).describe('Go back to the version before when a layer does not become ready.'),
      layerTimeoutSeconds: z.int().min(30).max(86400).default(600).describe('How long a layer may take to become ready.'),
      window: z
        .strictObject({
          cron: cron.describe('When the window opens.'),
          durationMinutes: z.int().min(1).max(10080).default(60).describe('How long it stays open.'),
          timeZone: z
            .string()
            .refine(isTimeZone, 'must be a time zone such as Asia/Shanghai')
            .default('UTC')
            .describe('Of the expression, e.g. Asia/Shanghai.'),
        })
        .optional()
        .describe('Updates wait for it. Absent: they start at once.'),
    })
    .prefault({})
    .describe('How changes roll.'),
  pvcPolicy: z.enum(['Retain', 'Delete']).default('Retain').describe('What becomes of the volumes when the cluster is deleted.'),
  databaseBackup: databaseBackup.optional(),
  databasePolicy: z.enum(['Retain', 'Drop']).default('Retain').describe('What becomes of the databases when the cluster is deleted.'),
};

/** The settings, every default filled in. */
export const settingsSchema = z.object(settings);
export type ClusterSettings = z.infer<typeof settingsSchema>;

/** `spec` as people write it: settings, and one key per component. */
export const clusterSpecSchema = z
  .strictObject({
    ...settings,
    ...Object.fromEntries(
      catalog.map((component) => [component.key, overridesSchema(component).optional().describe(`Overrides of ${component.name}.`)]),
    ),
  })
  .describe('The wanted cluster.');

/** `spec` as people write it. */
export type ClusterSpec = z.input<typeof settingsSchema> & { readonly [Key in ComponentKey]?: ComponentOverrides };

export const SETTING_KEYS: readonly string[] = Object.keys(settings);
