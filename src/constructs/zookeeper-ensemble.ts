import { Lazy } from 'cdk8s';
import { annotation, CONTRACT_VERSION, ensembleHosts, port, type SiteSpec } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { imageReference, pullPolicy } from './image.ts';
import type { Site } from './site.ts';
import { ZOOKEEPER, zookeeperImage, zookeeperProbes, zookeeperResources } from './zookeeper-container.ts';

/** uid and gid of the user zookeeper in the official image. */
const USER = 1000;

type EnsembleSpec = Extract<NonNullable<SiteSpec['zookeeper']>, { form: 'ensemble' }>;

/** A real ensemble: one member per named host, each with its own volume, found by stable names. */
export class ZooKeeperEnsemble extends Construct {
  constructor(scope: Construct, id: string, { site }: { readonly site: Site }) {
    super(scope, id);
    const selector = { app: ZOOKEEPER, name: ZOOKEEPER };
    new k8s.KubeService(this, 'service', {
      metadata: { name: ZOOKEEPER, labels: selector },
      spec: {
        clusterIp: 'None',
        publishNotReadyAddresses: true, // members must find each other before there is a quorum to be ready for
        selector,
        ports: [
          { name: 'client', port: port.zookeeper },
          { name: 'peer', port: port.zookeeperPeer },
          { name: 'election', port: port.zookeeperElection },
        ],
      },
    });
    new k8s.KubePodDisruptionBudget(this, 'disruption-budget', {
      metadata: { name: ZOOKEEPER, labels: selector },
      spec: { maxUnavailable: k8s.IntOrString.fromNumber(1), selector: { matchLabels: selector } },
    });
    new k8s.KubeStatefulSet(this, 'Resource', {
      metadata: {
        name: ZOOKEEPER,
        labels: { ...selector, version: 'v1' },
        annotations: { service: ZOOKEEPER, [annotation.contractVersion]: CONTRACT_VERSION },
      },
      spec: Lazy.any({ produce: () => statefulSetSpec(site.spec, ensembleOf(site.spec), selector) }),
    });
  }
}

function ensembleOf(site: SiteSpec): EnsembleSpec {
  if (site.zookeeper?.form !== 'ensemble') throw new Error(`the site ${site.name} has no ensemble`);
  return site.zookeeper;
}

function statefulSetSpec(site: SiteSpec, ensemble: EnsembleSpec, selector: Record<string, string>): k8s.StatefulSetSpec {
  const image = zookeeperImage(site);
  const servers = ensembleHosts(site).map(
    (host, index) => `server.${index + 1}=${host}:${port.zookeeperPeer}:${port.zookeeperElection};${port.zookeeper}`,
  );
  const { env = [], ...resources } = zookeeperResources();
  return {
    serviceName: ZOOKEEPER,
    replicas: ensemble.hosts.length,
    podManagementPolicy: 'Parallel', // the first member alone never becomes ready
    minReadySeconds: 20,
    updateStrategy: { type: 'RollingUpdate' },
    selector: { matchLabels: selector },
    template: {
      metadata: { labels: selector },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 60,
        imagePullSecrets: [{ name: site.images.pullSecret }],
        securityContext: {
          runAsUser: USER,
          runAsGroup: USER,
          runAsNonRoot: true,
          fsGroup: USER,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ensemble.hosts }] }],
            },
          },
          podAntiAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: selector } },
            ],
          },
        },
        containers: [
          {
            name: ZOOKEEPER,
            image: imageReference(image),
            imagePullPolicy: pullPolicy(image),
            // a member's number is its ordinal plus one
            // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it
            command: ['bash', '-c', 'ZOO_MY_ID=$(( ${HOSTNAME##*-} + 1 )) exec /docker-entrypoint.sh zkServer.sh start-foreground'],
            ports: [
              { name: 'client', containerPort: port.zookeeper },
              { name: 'peer', containerPort: port.zookeeperPeer },
              { name: 'election', containerPort: port.zookeeperElection },
            ],
            ...resources,
            env: [
              ...env,
              { name: 'ZOO_SERVERS', value: servers.join(' ') },
              { name: 'ZOO_STANDALONE_ENABLED', value: 'false' },
              { name: 'ZOO_CFG_EXTRA', value: 'quorumListenOnAllIPs=true' }, // a member's own name may not resolve yet when it starts
            ],
            ...zookeeperProbes(),
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            volumeMounts: [
              { name: 'data', mountPath: '/data', subPath: 'data' },
              { name: 'data', mountPath: '/datalog', subPath: 'datalog' },
            ],
          },
        ],
      },
    },
    volumeClaimTemplates: [
      {
        metadata: { name: 'data' },
        spec: {
          accessModes: ['ReadWriteOnce'],
          ...(ensemble.storageClassName !== undefined && { storageClassName: ensemble.storageClassName }),
          resources: { requests: { storage: k8s.Quantity.fromString(ensemble.storage) } },
        },
      },
    ],
  };
}
