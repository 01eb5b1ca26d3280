/** Names that OnecloudCluster objects, their manifests, the operator and bmctl must agree on. */

export const ONECLOUD_GROUP = 'onecloud.yunion.io';
export const ONECLOUD_VERSION = 'v1alpha1';
export const ONECLOUD_API_VERSION = `${ONECLOUD_GROUP}/${ONECLOUD_VERSION}`;
export const ONECLOUD_KIND = 'OnecloudCluster';

/** Name and namespace that the original gives to the one cluster of a Kubernetes. */
export const DEFAULT_CLUSTER_NAME = 'default';
export const DEFAULT_NAMESPACE = 'onecloud';

export const onecloudLabel = {
  name: 'app.kubernetes.io/name',
  instance: 'app.kubernetes.io/instance',
  managedBy: 'app.kubernetes.io/managed-by',
  component: 'app.kubernetes.io/component',
  app: 'app',
  /** On pods that talk to host-deployer's socket, as in the original. */
  hostDeployer: `${ONECLOUD_GROUP}/host-deployer`,
} as const;

export const NAME_LABEL_VALUE = 'onecloud-cluster';
export const MANAGED_BY = 'onecloud-operator';

export const onecloudAnnotation = {
  /** On a ConfigMap: checksum of what was generated. Another checksum of its data means that somebody edited it. */
  generatedChecksum: `${ONECLOUD_GROUP}/generated-checksum`,
  /** On a pod template: checksum of the configuration in force; another value rolls the pods. */
  configChecksum: `${ONECLOUD_GROUP}/config-checksum`,
  /** On a pod template: checksum of the Secrets in force, when the operator tells it. */
  secretChecksum: `${ONECLOUD_GROUP}/secret-checksum`,
  /** On a claim: where the volume's folder lies on the node, for storage drivers that know it. */
  volumePath: `pvc.${ONECLOUD_GROUP}/pv-path`,
} as const;

/** Labels that people put on nodes (`kubectl label node … onecloud.yunion.io/host=enable`). */
export const onecloudNodeLabel = {
  host: `${ONECLOUD_GROUP}/host`,
  baremetal: `${ONECLOUD_GROUP}/baremetal`,
  controller: `${ONECLOUD_GROUP}/controller`,
} as const;
export const ENABLED = 'enable';

export const onecloudPath = {
  configDirectory: '/etc/yunion',
  certificates: '/etc/yunion/pki',
  binaries: '/opt/yunion/bin',
  /** Where host-deployer listens; shared with the services that ask it to prepare disks. */
  deploySocketDirectory: '/var/run/onecloud',
  deploySocket: '/var/run/onecloud/deploy.sock',
} as const;

/** Keys of a component's credentials Secret. */
export const credentialKey = {
  /** Password of the component's MySQL account. */
  database: 'db-password',
  /** Password of the component's Keystone account. */
  account: 'service-password',
  /** Keystone's sysadmin. */
  bootstrap: 'bootstrap-password',
  /** What baremetal-agent gives to BMCs that it sets up. */
  ipmi: 'ipmi-password',
} as const;
export type CredentialKey = (typeof credentialKey)[keyof typeof credentialKey];

/** Whom Keystone's own program sets up at its first start, and where the services' accounts belong. */
export const keystoneAdmin = { user: 'sysadmin', domain: 'Default', project: 'system', role: 'admin' } as const;

/** ConfigMap key of a component's own configuration, as in the original. */
export const ONECLOUD_CONFIG_KEY = 'config';

/** default-glance: every object of a component has this name. */
export function componentObjectName(cluster: string, component: string): string {
  return `${cluster}-${component}`;
}

/** default-certs: ca.crt, service.crt, service.key, tls.crt and tls.key. */
export function certificatesSecretName(cluster: string): string {
  return `${cluster}-certs`;
}

/** default-glance-credentials. A Secret per component, so that no pod holds the password of another. */
export function credentialsSecretName(cluster: string, component: string): string {
  return `${componentObjectName(cluster, component)}-credentials`;
}

/** Value of app.kubernetes.io/instance when the cluster's object carries none. Selectors hold it, so it never changes. */
export function defaultInstance(cluster: string): string {
  return `${NAME_LABEL_VALUE}-${cluster}`;
}

/** Component label of the Jobs that dump the databases, and of what they use. */
export const DATABASE_DUMP = 'database-dump';

/** default-database-dump-4: the Job before the change of this revision. */
export function databaseDumpJobName(cluster: string, revision: number): string {
  return `${componentObjectName(cluster, DATABASE_DUMP)}-${revision}`;
}

/** default-database-dumps: the claim that dumps are kept in. */
export function databaseDumpClaimName(cluster: string): string {
  return `${cluster}-database-dumps`;
}

/** default-database-dump: the Secret that a Job's client reads, there while it runs. */
export function databaseDumpSecretName(cluster: string): string {
  return componentObjectName(cluster, DATABASE_DUMP);
}

/** Component label of the Job that reads a dump back. */
export const DATABASE_RESTORE = 'database-restore';

/** default-database-restore: the Job, and the Secret that its client reads. */
export function databaseRestoreName(cluster: string): string {
  return componentObjectName(cluster, DATABASE_RESTORE);
}
