/**
 * A service of one image in one environment as manifests. One function for both deliveries: the construct calls it with values,
 * the helm chart with placeholders that become expressions, so that the two cannot differ.
 */
import { API_GROUP, annotation, CONTRACT_VERSION } from 'cdk8s-baremetal-contract';
import { LAUNCH_DIRECTORY, launchProgram, servicePath, serviceVariable } from 'cdk8s-baremetal-contract/launch/index';
import { k8s } from 'cdk8s-plus-28';
import { UNPRIVILEGED } from '../unprivileged.ts';
import { FILEBEAT_CONFIG, filebeatSidecar } from './filebeat.ts';

/** Every value is final: nothing here computes with one, so each may be a placeholder. */
export interface EnvironmentManifestOptions {
  readonly release: string;
  readonly containerName: string;
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly proc: string;
  readonly gitDirectory: string;
  readonly runenv: string;
  readonly project: string;
  readonly revision: string;
  /** The protocol of the project's URL. */
  readonly protocol: string;
  readonly gitSecret: string | undefined;
  readonly launchImage: string;
  readonly filebeatImage: string;
  readonly filebeatPullPolicy: string;
  readonly filebeatConfig: string;
  readonly filebeatChecksum: string;
  readonly redisPasswordSecret: string | undefined;
  /** Logs on NFS; on a volume of the pod when absent. */
  readonly nfs: { readonly server: string; readonly path: string } | undefined;
  readonly runAsUser: number | undefined;
  readonly replicas: number;
  readonly resources: k8s.ResourceRequirements;
  readonly pullSecret: string | undefined;
  readonly graceSeconds: number;
}

/** Two releases of one program in a namespace must not select each other's pods. */
export const RELEASE_LABEL = `${API_GROUP}/release`;
/** May read the checkout and the Secret of its project, and write the logs: the group of all containers of the pod. */
const SHARED_GROUP = 10001;
const CREDENTIALS_DIRECTORY = '/var/run/secrets/git';
const START_DIRECTORY = '/launch';
const SCRATCH_DIRECTORY = '/scratch';

export function configMapProps(options: EnvironmentManifestOptions): k8s.KubeConfigMapProps {
  return { metadata: { name: configMapName(options) }, data: { [FILEBEAT_CONFIG]: options.filebeatConfig } };
}

export function deploymentProps(options: EnvironmentManifestOptions): k8s.KubeDeploymentProps {
  const { containerName, release } = options;
  const selector = { name: containerName, [RELEASE_LABEL]: release };
  return {
    metadata: { name: `posp-${release}`, labels: selector, annotations: { [annotation.contractVersion]: CONTRACT_VERSION } },
    spec: {
      replicas: options.replicas,
      selector: { matchLabels: selector },
      template: {
        metadata: { labels: selector, annotations: { [annotation.configChecksum]: options.filebeatChecksum } },
        spec: podSpec(options),
      },
    },
  };
}

function configMapName({ release }: EnvironmentManifestOptions): string {
  return `${release}-filebeat-config`;
}

function podSpec(options: EnvironmentManifestOptions): k8s.PodSpec {
  const { release, nfs, gitSecret, runAsUser } = options;
  // on NFS each release has a directory of its own: filebeat must not read its neighbours' logs again
  const logs: k8s.VolumeMount = { name: 'app-logs', mountPath: servicePath.logs, ...(nfs && { subPath: release }) };
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: options.graceSeconds,
    securityContext: { fsGroup: SHARED_GROUP, fsGroupChangePolicy: 'OnRootMismatch' },
    ...(options.pullSecret !== undefined && { imagePullSecrets: [{ name: options.pullSecret }] }),
    initContainers: [
      {
        name: 'launch',
        image: options.launchImage,
        imagePullPolicy: 'IfNotPresent',
        command: ['cp', `${LAUNCH_DIRECTORY}/${launchProgram.environmentStart}`, `${START_DIRECTORY}/`],
        securityContext: UNPRIVILEGED,
        volumeMounts: [{ name: 'launch', mountPath: START_DIRECTORY }],
      },
      checkout(options),
      filebeatSidecar(options.filebeatImage, options.filebeatPullPolicy, options.redisPasswordSecret, logs),
    ],
    containers: [
      {
        name: options.containerName,
        image: options.image,
        imagePullPolicy: options.imagePullPolicy,
        command: [`${START_DIRECTORY}/${launchProgram.environmentStart}`],
        env: [
          { name: serviceVariable.environment, value: options.runenv },
          { name: serviceVariable.proc, value: options.proc },
          { name: serviceVariable.gitDirectory, value: options.gitDirectory },
        ],
        resources: options.resources,
        securityContext: {
          ...(runAsUser !== undefined && { runAsUser, runAsGroup: SHARED_GROUP, runAsNonRoot: true }),
          // /data/bin is the image's own directory and gets the program at each start, so the root stays writable
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          seccompProfile: { type: 'RuntimeDefault' },
        },
        volumeMounts: [
          { name: 'launch', mountPath: START_DIRECTORY, readOnly: true },
          { name: 'git-volume', mountPath: servicePath.checkouts },
          logs,
        ],
      },
    ],
    volumes: [
      { name: 'launch', emptyDir: {} },
      { name: 'git-volume', emptyDir: {} },
      { name: 'app-logs', ...(nfs ? { nfs: { server: nfs.server, path: nfs.path } } : { emptyDir: {} }) },
      { name: 'filebeat-config', configMap: { name: configMapName(options) } },
      { name: 'filebeat-data', emptyDir: {} },
      { name: 'scratch', emptyDir: { medium: 'Memory', sizeLimit: k8s.Quantity.fromString('16Mi') } },
      ...(gitSecret === undefined ? [] : [credentialsVolume(gitSecret)]),
    ],
  };
}

/** What the gitRepo volume did. Its private files, a key among them, are in memory and out of the service's reach. */
function checkout(options: EnvironmentManifestOptions): k8s.Container {
  const { gitSecret } = options;
  return {
    name: 'checkout',
    image: options.launchImage,
    imagePullPolicy: 'IfNotPresent',
    command: [`${LAUNCH_DIRECTORY}/${launchProgram.checkout}`],
    env: [
      { name: serviceVariable.gitProject, value: options.project },
      { name: serviceVariable.gitRevision, value: options.revision },
      { name: serviceVariable.gitDirectory, value: options.gitDirectory },
      { name: serviceVariable.gitProtocols, value: options.protocol },
      ...(gitSecret === undefined ? [] : [{ name: serviceVariable.gitCredentials, value: CREDENTIALS_DIRECTORY }]),
      { name: 'TMPDIR', value: SCRATCH_DIRECTORY },
    ],
    securityContext: UNPRIVILEGED,
    volumeMounts: [
      { name: 'git-volume', mountPath: servicePath.checkouts },
      { name: 'scratch', mountPath: SCRATCH_DIRECTORY },
      ...(gitSecret === undefined ? [] : [{ name: 'git-credentials', mountPath: CREDENTIALS_DIRECTORY, readOnly: true }]),
    ],
  };
}

/** Read by the group that the pod shares; no container but the checkout mounts it. */
function credentialsVolume(secretName: string): k8s.Volume {
  return { name: 'git-credentials', secret: { secretName, defaultMode: 0o440 } };
}
