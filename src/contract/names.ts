/** Names that the manifests and the daemons must agree on. */

/** API group of our own custom resources. */
export const API_GROUP = 'baremetal.bms.io';
export const API_VERSION = 'v1alpha1';

/**
 * Version of this contract, stamped on every workload. A daemon refuses manifests with a newer major and says which side
 * to update; a newer minor only adds.
 */
export const CONTRACT_VERSION = '1.0';

export const annotation = {
  contractVersion: `${API_GROUP}/contract-version`,
  /** SHA-256 of the configuration a pod runs with: another value rolls the pod. */
  configChecksum: `${API_GROUP}/config-checksum`,
} as const;

export const label = {
  site: `${API_GROUP}/site`,
  pod: `${API_GROUP}/pod`,
} as const;

/** The label that the seed puts on management nodes. */
export const MANAGEMENT_NODE_SELECTOR = { node: 'ok' } as const;

/** Of what runs on management nodes: without it no machine boots, so a node short of memory or disk evicts others first. */
export const MANAGEMENT_PRIORITY_CLASS = 'system-node-critical';

export const environmentVariable = {
  /** spec.nodeName, for the init container that looks up its ConfigMap. */
  nodeName: 'NODE_NAME',
  contractVersion: 'BMS_CONTRACT_VERSION',
  /** `volume`: /tftpboot is a volume already and needs no mounting. */
  tftpboot: 'BMS_TFTPBOOT',
  /** Namespace of the ConfigMap to fetch. */
  namespace: 'POD_NAMESPACE',
} as const;

export const BMS_CORE = 'bms-core';
export const SERVICE_ACCOUNT = 'bms-admin';
export const PULL_SECRET = 'login-registry';

/** Keys of a pod's ConfigMap besides the VIPs. */
export const CONFIG_KEY = 'config';

/** The provisioning VLAN of the original site plan: NFS, callbacks and coordination live behind its VIP. */
export const PROVISIONING_VLAN = 1800;
export const MANAGEMENT_VLAN = 401;

/** ConfigMap key (and /config/env variable) of a VLAN's VIP: vip401, vip1800. */
export function vipKey(vlan: number): string {
  return `vip${vlan}`;
}

/** Name of the ConfigMap of a pair of management nodes: pod45-wuxi2-bmscore. */
export function configMapName(pod: string, site: string): string {
  return `${pod}-${site}-bmscore`;
}

export const POD_NAME = /^pod\d+$/;
export const SITE_NAME = /^[a-z0-9]+$/;
const NODE_NAME = /^[^-]+-(?<pod>pod\d+)-(?<site>[a-z0-9]+)(?:-.*)?$/;

/** Pod and site of a management node, from its dashed name (mgmt-pod45-wuxi2-1); undefined when it has another form. */
export function parseNodeName(nodeName: string): { pod: string; site: string } | undefined {
  const groups = NODE_NAME.exec(nodeName)?.groups;
  return groups?.pod && groups.site ? { pod: groups.pod, site: groups.site } : undefined;
}

/** RFC 1123 label: what Kubernetes accepts as the name of most objects. */
export const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
/** RFC 1123 subdomain, at most 253 characters: what Kubernetes accepts as the name of nodes and custom resources. */
export const DNS_SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
export const DNS_SUBDOMAIN_LENGTH = 253;
