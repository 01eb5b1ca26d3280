import { Lazy } from 'cdk8s';
import {
  annotation,
  BMS_CORE,
  bmsCoreConfig,
  CONTRACT_VERSION,
  environmentVariable,
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
  contractVersionVariable,
  credentialMounts,
  credentialSecrets,
  credentialVolumes,
  GRACE_SECONDS,
  logVolume,
  MIN_READY_SECONDS,
  mainContainer,
  nodeNameVariable,
  SERVICE_ANNOTATION,
  stateVolume,
  UNPRIVILEGED_ROOT,
} from './bms-core-container.ts';
import { checksum } from './checksum.ts';
import { imageReference, pullPolicy } from './image.ts';
import type { Site } from './site.ts';

export interface BmsCoreSeedDaemonSetProps {
  readonly site: Site;
  /** The ConfigMaps of the site's pods; complete at synthesis. */
  readonly configs: readonly PodConfig[];
}

/** A site without pods has no configuration yet, and no node that could start one. */
const NO_PODS = '[sw_coordination]\nbackend_url = memory://\n';

/**
 * mount.nfs tries for 2 min, and ends its last try (nfs(5), `retry`): 122 to 130 s where nobody answers. A container that is killed before that never
 * says what it could not mount.
 */
const MOUNT_SECONDS = 300;

/** A projected token lives this long; the init container needs seconds. The API server's minimum. */
const TOKEN_SECONDS = 600;

/**
 * bms-core as the original runs it: one DaemonSet on every labelled node, whose init container works out pod and site from
 * the node's name, reads that ConfigMap from the API and leaves it in shared folders. Only the init container holds a
 * token, and it may read the site's ConfigMaps by name and nothing else.
 */
export class BmsCoreSeedDaemonSet extends Construct {
  constructor(scope: Construct, id: string, { site, configs }: BmsCoreSeedDaemonSetProps) {
    super(scope, id);
    new k8s.KubeRole(this, 'role', {
      metadata: { name: `${BMS_CORE}-config` },
      rules: Lazy.any({
        produce: () => [
          { apiGroups: [''], resources: ['configmaps'], resourceNames: configs.map((config) => config.objectName), verbs: ['get'] },
        ],
      }),
    });
    new k8s.KubeRoleBinding(this, 'role-binding', {
      metadata: { name: `${BMS_CORE}-config` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: `${BMS_CORE}-config` },
      subjects: [{ kind: 'ServiceAccount', name: SERVICE_ACCOUNT, namespace: site.namespace ?? 'default' }],
    });
    new k8s.KubeDaemonSet(this, 'Resource', {
      metadata: {
        name: BMS_CORE,
        labels: { app: BMS_CORE, name: BMS_CORE, version: 'v1' },
        annotations: { ...SERVICE_ANNOTATION, [annotation.contractVersion]: CONTRACT_VERSION },
      },
      spec: Lazy.any({ produce: () => daemonSetSpec(site, configs) }),
    });
  }
}

function daemonSetSpec(site: Site, configs: readonly PodConfig[]): k8s.DaemonSetSpec {
  const { spec } = site;
  const usesHostFolder = spec.bmsCore.tftpboot === 'host';
  const shared: k8s.VolumeMount[] = [
    { name: 'baremetal-api', mountPath: path.configDirectory },
    { name: 'env-config', mountPath: path.environmentDirectory },
  ];
  const credentials = credentialSecrets(spec.pods);
  const [firstPod] = spec.pods;
  return {
    minReadySeconds: MIN_READY_SECONDS,
    updateStrategy: { type: 'RollingUpdate' },
    selector: { matchLabels: { name: BMS_CORE } },
    template: {
      metadata: {
        labels: { name: BMS_CORE },
        annotations: { [annotation.configChecksum]: checksum(configs.map((config) => config.data)) },
      },
      spec: {
        serviceAccountName: SERVICE_ACCOUNT,
        automountServiceAccountToken: false,
        hostNetwork: true,
        dnsPolicy: 'ClusterFirstWithHostNet',
        restartPolicy: 'Always',
        priorityClassName: MANAGEMENT_PRIORITY_CLASS,
        nodeSelector: { ...MANAGEMENT_NODE_SELECTOR },
        terminationGracePeriodSeconds: GRACE_SECONDS,
        imagePullSecrets: [{ name: spec.images.pullSecret }],
        initContainers: [
          {
            name: 'config',
            image: imageReference(spec.images.bmsCore),
            imagePullPolicy: pullPolicy(spec.images.bmsCore),
            command: ['node', '/app/fetch-config.cjs'],
            env: [
              nodeNameVariable(),
              { name: environmentVariable.namespace, valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
              contractVersionVariable(),
            ],
            resources: {
              requests: { cpu: k8s.Quantity.fromString('50m'), memory: k8s.Quantity.fromString('64Mi') },
              limits: { memory: k8s.Quantity.fromString('128Mi') },
            },
            securityContext: { ...UNPRIVILEGED_ROOT, capabilities: { drop: ['ALL'] } },
            volumeMounts: [...shared, { name: 'token', mountPath: path.serviceAccount, readOnly: true }],
          },
        ],
        containers: [
          mainContainer({
            site: spec,
            config: firstPod ? podConfig(spec, firstPod) : bmsCoreConfig.parse(NO_PODS),
            hostPort: true,
            ...(!usesHostFolder && { startSeconds: MOUNT_SECONDS }),
            env: usesHostFolder ? [{ name: environmentVariable.tftpboot, value: 'volume' }] : [],
            command: ['node', '/app/start.cjs', 'node', '/app/bms-core.cjs', '--config', path.configFile],
            // mounting NFS inside the container takes CAP_SYS_ADMIN and no AppArmor or seccomp profile in the way: privileged
            securityContext: usesHostFolder ? { ...UNPRIVILEGED_ROOT, readOnlyRootFilesystem: false } : { privileged: true },
            volumeMounts: [
              ...shared,
              { name: 'logs', mountPath: path.logDirectory },
              { name: 'state', mountPath: path.stateDirectory },
              ...(usesHostFolder ? [{ name: 'tftpboot', mountPath: path.tftpRoot }] : []),
              ...credentialMounts(credentials),
              ...apiMounts(spec),
            ],
          }),
        ],
        volumes: [
          { name: 'env-config', emptyDir: {} },
          { name: 'baremetal-api', emptyDir: {} },
          logVolume(),
          stateVolume(),
          ...(usesHostFolder ? [{ name: 'tftpboot', hostPath: { path: path.tftpRoot, type: 'DirectoryOrCreate' } }] : []),
          ...credentialVolumes(credentials),
          ...apiVolumes(spec),
          tokenVolume(),
        ],
      },
    },
  };
}

/** What the token volume of an ordinary pod holds, for the one container that needs it. */
function tokenVolume(): k8s.Volume {
  return {
    name: 'token',
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_SECONDS } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      ],
    },
  };
}
