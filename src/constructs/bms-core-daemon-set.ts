import { Lazy } from 'cdk8s';
import {
  annotation,
  BMS_CORE,
  CONFIG_KEY,
  CONTRACT_VERSION,
  label,
  MANAGEMENT_NODE_SELECTOR,
  MANAGEMENT_PRIORITY_CLASS,
  path,
  podConfig,
  SERVICE_ACCOUNT,
} from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import type { PodConfig } from './bms-core.ts';
import {
  apiMounts,
  apiVolumes,
  credentialMounts,
  credentialSecrets,
  credentialVolumes,
  GRACE_SECONDS,
  logVolume,
  MIN_READY_SECONDS,
  mainContainer,
  SCRATCH,
  SERVICE_ANNOTATION,
  stateVolume,
  UNPRIVILEGED_ROOT,
} from './bms-core-container.ts';
import { objectsEnvironment } from './bms-core-objects.ts';
import { storeEnvironment, storeMounts, storeVolumes } from './bms-core-store.ts';
import { checksum } from './checksum.ts';
import type { Pod } from './pod.ts';
import { type TftpbootForm, TftpbootVolume } from './tftpboot.ts';

export interface BmsCoreDaemonSetProps {
  readonly pod: Pod;
  readonly config: PodConfig;
}

/**
 * bms-core on the two management nodes of one pod, which mounts the pod's ConfigMap: no look-up by node name, no privileged
 * container, and with a store that the nodes share no API access but to its own records and its machines' objects.
 */
export class BmsCoreDaemonSet extends Construct {
  constructor(scope: Construct, id: string, { pod, config }: BmsCoreDaemonSetProps) {
    super(scope, id);
    const name = `${BMS_CORE}-${pod.node.id}-${pod.site.input.name}`;
    const tftpboot = new TftpbootVolume(this, 'tftpboot', { pod, name: `${name}-tftpboot`, form: tftpbootForm(pod) });
    new k8s.KubeDaemonSet(this, 'Resource', {
      metadata: {
        name,
        labels: { app: BMS_CORE, name: BMS_CORE, version: 'v1', [label.pod]: pod.node.id },
        annotations: { ...SERVICE_ANNOTATION, [annotation.contractVersion]: CONTRACT_VERSION },
      },
      spec: Lazy.any({ produce: () => daemonSetSpec(pod, config, tftpboot) }),
    });
  }
}

function tftpbootForm(pod: Pod): TftpbootForm {
  const form = pod.site.input.bmsCore?.tftpboot;
  return form === undefined || form === 'mount' ? 'persistent-volume' : form;
}

function daemonSetSpec(pod: Pod, config: PodConfig, tftpboot: TftpbootVolume): k8s.DaemonSetSpec {
  const { site } = pod;
  const selector = { name: BMS_CORE, [label.pod]: pod.spec.name, [label.site]: site.spec.name };
  const credentials = credentialSecrets([pod.spec]);
  return {
    minReadySeconds: MIN_READY_SECONDS,
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromNumber(1) } },
    selector: { matchLabels: selector },
    template: {
      metadata: {
        labels: { app: BMS_CORE, version: 'v1', ...selector },
        annotations: { [annotation.configChecksum]: checksum([config.data]) },
      },
      spec: {
        serviceAccountName: SERVICE_ACCOUNT,
        automountServiceAccountToken: false,
        hostNetwork: true,
        dnsPolicy: 'ClusterFirstWithHostNet',
        priorityClassName: MANAGEMENT_PRIORITY_CLASS,
        nodeSelector: { ...MANAGEMENT_NODE_SELECTOR },
        affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: onNodes(pod) } } },
        terminationGracePeriodSeconds: GRACE_SECONDS,
        imagePullSecrets: [{ name: site.spec.images.pullSecret }],
        containers: [
          mainContainer({
            site: site.spec,
            config: podConfig(site.spec, pod.spec),
            command: ['node', '/app/bms-core.cjs', '--config', path.configFile],
            env: [...storeEnvironment(site.spec, pod.spec), ...objectsEnvironment(site.spec, pod.spec)],
            securityContext: UNPRIVILEGED_ROOT,
            volumeMounts: [
              { name: 'config', mountPath: path.configDirectory, readOnly: true },
              { name: 'logs', mountPath: path.logDirectory },
              { name: 'state', mountPath: path.stateDirectory },
              ...tftpboot.mounts(),
              ...credentialMounts(credentials),
              ...apiMounts(site.spec),
              ...storeMounts(site.spec),
              ...SCRATCH,
            ],
          }),
        ],
        volumes: [
          {
            name: 'config',
            configMap: {
              name: config.objectName,
              items: [{ key: CONFIG_KEY, path: path.configFile.slice(path.configDirectory.length + 1) }],
            },
          },
          logVolume(),
          stateVolume(),
          ...tftpboot.volumes(),
          ...credentialVolumes(credentials),
          ...apiVolumes(site.spec),
          ...storeVolumes(site.spec),
          ...SCRATCH.map((scratch) => ({ name: scratch.name, emptyDir: {} })),
        ],
      },
    },
  };
}

/** By the nodes' names in the model: no label has to be put on them. A field takes one value, so each node is a term. */
function onNodes(pod: Pod): k8s.NodeSelectorTerm[] {
  return pod.spec.managementNodes.map(({ name }) => ({ matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }] }));
}
