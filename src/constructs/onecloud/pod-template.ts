/** The pods of a component: containers, what they see of the node, and where they run. */
import {
  type ConfigEntry,
  onecloudAnnotation,
  type ResolvedCluster,
  type ResolvedComponent,
  renderProgram,
} from 'cdk8s-baremetal-contract/onecloud/index';
import type { k8s } from 'cdk8s-plus-28';
import { configChecksum } from './config-checksum.ts';
import { componentContainers } from './containers.ts';
import type { CompleteContext } from './context.ts';
import { componentVolumes } from './volumes.ts';

export interface PodTemplateOptions {
  readonly cluster: ResolvedCluster;
  readonly component: ResolvedComponent;
  readonly context: CompleteContext;
  readonly entries: readonly ConfigEntry[];
  readonly objectName: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** The ConfigMap's content in force. */
  readonly config: Readonly<Record<string, string>>;
}

export function podTemplate(options: PodTemplateOptions): k8s.PodTemplateSpec {
  const { cluster, component, context, objectName, labels, config } = options;
  const { row, overrides, nodeSelector, tolerations } = component;
  const { host } = row;
  const volumes = componentVolumes(options);
  const { containers, initContainers } = componentContainers(options, volumes);
  const priority = cluster.settings.priorityClassName ?? (row.kind === 'DaemonSet' ? 'system-node-critical' : 'system-cluster-critical');
  const secretChecksum = context.secretChecksums?.[row.name];
  return {
    metadata: {
      labels: { ...labels, ...row.podLabels },
      annotations: {
        ...overrides.annotations,
        [onecloudAnnotation.configChecksum]: configChecksum(config),
        ...(secretChecksum !== undefined && { [onecloudAnnotation.secretChecksum]: secretChecksum }),
      },
    },
    spec: {
      serviceAccountName: objectName,
      automountServiceAccountToken: false,
      enableServiceLinks: false, // a hundred variables named like other services' options
      ...(host?.network && { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }),
      ...(host?.pid && { hostPid: true }),
      ...(host?.ipc && { hostIpc: true }),
      ...(row.kind !== 'CronJob' && priority !== '' && { priorityClassName: priority }),
      ...(row.kind === 'CronJob' && { restartPolicy: 'Never' }),
      terminationGracePeriodSeconds: host?.graceSeconds ?? 30,
      ...(Object.keys(nodeSelector).length > 0 && { nodeSelector: { ...nodeSelector } }),
      tolerations: [...tolerations],
      ...(cluster.settings.imagePullSecrets && { imagePullSecrets: cluster.settings.imagePullSecrets }),
      securityContext: {
        // rendered configurations and certificates are readable for this group alone
        fsGroup: renderProgram.group,
        fsGroupChangePolicy: 'OnRootMismatch', // 100 GB of images are not walked at every start
        seccompProfile: { type: 'RuntimeDefault' },
      },
      ...(initContainers.length > 0 && { initContainers }),
      containers,
      volumes: volumes.all,
    },
  };
}
