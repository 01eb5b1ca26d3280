/** What the two forms of bms-core's DaemonSet have in common. */

import {
  BMS_CORE,
  type BmsCoreConfig,
  CONTRACT_VERSION,
  environmentVariable,
  type PodSpec,
  path,
  type SiteSpec,
} from 'cdk8s-baremetal-contract';
import type { k8s } from 'cdk8s-plus-28';
import { k8s as objects } from 'cdk8s-plus-28';
import { imageReference, pullPolicy } from './image.ts';

/** A rolling pod may finish the disk write it is in before it is killed; another replica resumes what was cut off. */
export const GRACE_SECONDS = 60;
export const MIN_READY_SECONDS = 20;

/** The annotation and label of the original, which its operators select by. */
export const SERVICE_ANNOTATION = { service: BMS_CORE } as const;

/**
 * DHCP and TFTP bind ports below 1024 on the host's network. Kubernetes has no ambient capabilities, so a non-root process
 * could not use NET_BIND_SERVICE: uid 0 with everything else dropped is the least that works.
 */
export const UNPRIVILEGED_ROOT: k8s.SecurityContext = {
  runAsUser: 0,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

export function nodeNameVariable(): k8s.EnvVar {
  return { name: environmentVariable.nodeName, valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } };
}

export function contractVersionVariable(): k8s.EnvVar {
  return { name: environmentVariable.contractVersion, value: CONTRACT_VERSION };
}

/** Of the probe at the start. */
const PROBE_SECONDS = 2;

const EVERYWHERE = ['0.0.0.0', '::'];

export interface MainContainerOptions {
  readonly site: SiteSpec;
  /** As the daemon will read it. */
  readonly config: BmsCoreConfig;
  readonly command: readonly string[];
  readonly securityContext: k8s.SecurityContext;
  readonly volumeMounts: readonly k8s.VolumeMount[];
  /** With hostNetwork the kubelet sets hostPort by itself; the original's manifest names it. */
  readonly hostPort?: boolean;
  readonly env?: readonly k8s.EnvVar[];
  /** How long the start may take before the kubelet tries another. @default 120 */
  readonly startSeconds?: number;
}

export function mainContainer({
  site,
  config,
  command,
  securityContext,
  volumeMounts,
  hostPort,
  env = [],
  startSeconds = 120,
}: MainContainerOptions): k8s.Container {
  const { resources } = site.bmsCore;
  const { Quantity, IntOrString } = objects;
  const { api } = config;
  const apiPort = config.DEFAULT.server_port;
  const probe = (route: string): Pick<k8s.Probe, 'httpGet' | 'timeoutSeconds'> => ({
    // the kubelet takes any certificate
    httpGet: {
      path: route,
      port: IntOrString.fromString('http'),
      ...(api.tls_cert !== undefined && { scheme: 'HTTPS' }),
      ...(!EVERYWHERE.includes(api.address) && { host: api.address }), // the host's network is the kubelet's own
    },
    timeoutSeconds: 3,
  });
  return {
    name: BMS_CORE,
    image: imageReference(site.images.bmsCore),
    imagePullPolicy: pullPolicy(site.images.bmsCore),
    command: [...command],
    ports: [{ name: 'http', containerPort: apiPort, ...(hostPort && { hostPort: apiPort }) }],
    env: [nodeNameVariable(), contractVersionVariable(), ...env],
    resources: {
      requests: { cpu: Quantity.fromString(resources.cpu), memory: Quantity.fromString(resources.memory) },
      limits: { memory: Quantity.fromString(resources.memoryLimit) },
    },
    ...(api.enabled && {
      startupProbe: { ...probe('/healthz'), periodSeconds: PROBE_SECONDS, failureThreshold: startSeconds / PROBE_SECONDS },
      livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 3 },
      readinessProbe: { ...probe('/readyz'), periodSeconds: 5, failureThreshold: 2 },
    }),
    securityContext,
    volumeMounts: [...volumeMounts],
  };
}

/** Logs on the host, as in the original: they outlive the pod. */
export function logVolume(): k8s.Volume {
  return { name: 'logs', hostPath: { path: path.hostLogDirectory, type: 'DirectoryOrCreate' } };
}

/** Folders that a read-only root must leave writable: pid files, console sockets, temporary files. */
export const SCRATCH = [
  { name: 'run', mountPath: '/var/run/cdsstack' },
  { name: 'console', mountPath: '/var/run/console' },
  { name: 'tmp', mountPath: '/tmp' },
] as const;

/** The node database of the embedded store. */
export function stateVolume(): k8s.Volume {
  return { name: 'state', hostPath: { path: path.stateDirectory, type: 'DirectoryOrCreate' } };
}

/** The API's tokens and certificate. */
export function apiMounts({ bmsCore }: SiteSpec): k8s.VolumeMount[] {
  return apiSecrets(bmsCore).map(({ name, directory }) => ({ name, mountPath: directory, readOnly: true }));
}

/**
 * Only root reads them, which bms-core is. Both Secrets must be there before it starts: without its tokens it would let nobody in, without its certificate
 * it could not speak. Not by subPath, which would never see a renewed one.
 */
export function apiVolumes({ bmsCore }: SiteSpec): k8s.Volume[] {
  return apiSecrets(bmsCore).map(({ name, secretName, keys }) => ({
    name,
    secret: { secretName, defaultMode: 0o400, items: keys.map((key) => ({ key, path: key })) },
  }));
}

interface ApiSecret {
  readonly name: string;
  readonly secretName: string;
  readonly directory: string;
  readonly keys: readonly string[];
}

function apiSecrets({ api: { tokens, tls } }: SiteSpec['bmsCore']): ApiSecret[] {
  return [
    ...(tokens ? [{ name: 'api-tokens', ...tokens, directory: path.apiTokensDirectory, keys: ['tokens'] }] : []),
    ...(tls ? [{ name: 'api-tls', ...tls, directory: path.apiTlsDirectory, keys: ['tls.crt', 'tls.key'] }] : []),
  ];
}

/** Names of the Secrets that hold the BMC credentials of these pods' machines. */
export function credentialSecrets(pods: readonly PodSpec[]): string[] {
  return [...new Set(pods.flatMap((pod) => pod.machines.map((machine) => machine.bmc.credentials.secretName)))].sort();
}

export function credentialMounts(secretNames: readonly string[]): k8s.VolumeMount[] {
  return secretNames.length > 0 ? [{ name: 'credentials', mountPath: path.credentialsDirectory, readOnly: true }] : [];
}

/** BMC credentials as files; a missing Secret keeps its machines from being switched, not bms-core from starting. */
export function credentialVolumes(secretNames: readonly string[]): k8s.Volume[] {
  if (secretNames.length === 0) return [];
  const sources = secretNames.map((name) => ({
    secret: { name, optional: true, items: ['username', 'password'].map((key) => ({ key, path: `${name}/${key}` })) },
  }));
  return [{ name: 'credentials', projected: { defaultMode: 0o400, sources } }];
}
