import { Lazy } from 'cdk8s';
import { annotation, CONTRACT_VERSION, MANAGEMENT_NODE_SELECTOR, MANAGEMENT_PRIORITY_CLASS, port } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { imageReference, pullPolicy } from './image.ts';
import type { Site } from './site.ts';
import { ZOOKEEPER, zookeeperImage, zookeeperProbes, zookeeperResources } from './zookeeper-container.ts';

/**
 * ZooKeeper as the original runs it: one standalone server per management node, reached through vip1800. Two of them share
 * no state: when the VIP moves, every lock and lease is gone. A compatibility form; an ensemble is the way to run a site.
 */
export class ZooKeeperStandalone extends Construct {
  constructor(scope: Construct, id: string, { site }: { readonly site: Site }) {
    super(scope, id);
    new k8s.KubeDaemonSet(this, 'Resource', {
      metadata: {
        name: ZOOKEEPER,
        labels: { app: ZOOKEEPER, name: ZOOKEEPER, version: 'v1' },
        annotations: { service: ZOOKEEPER, [annotation.contractVersion]: CONTRACT_VERSION },
      },
      spec: Lazy.any({ produce: () => daemonSetSpec(site) }),
    });
  }
}

function daemonSetSpec(site: Site): k8s.DaemonSetSpec {
  const image = zookeeperImage(site.spec);
  return {
    minReadySeconds: 20,
    updateStrategy: { type: 'RollingUpdate' },
    selector: { matchLabels: { name: ZOOKEEPER } },
    template: {
      metadata: { labels: { name: ZOOKEEPER } },
      spec: {
        hostNetwork: true,
        automountServiceAccountToken: false,
        restartPolicy: 'Always',
        priorityClassName: MANAGEMENT_PRIORITY_CLASS,
        nodeSelector: { ...MANAGEMENT_NODE_SELECTOR },
        imagePullSecrets: [{ name: site.spec.images.pullSecret }],
        containers: [
          {
            name: ZOOKEEPER,
            image: imageReference(image),
            imagePullPolicy: pullPolicy(image),
            ports: [{ name: 'http', containerPort: port.zookeeper }],
            ...zookeeperResources(),
            ...zookeeperProbes(),
            // the image's entry point gives its folders to the user zookeeper and becomes that user
            securityContext: {
              allowPrivilegeEscalation: false,
              capabilities: { drop: ['ALL'], add: ['CHOWN', 'DAC_OVERRIDE', 'SETGID', 'SETUID'] },
              seccompProfile: { type: 'RuntimeDefault' },
            },
            volumeMounts: [
              { name: 'workdir', mountPath: '/work-dir' },
              { name: 'data', mountPath: '/data' },
              { name: 'datalog', mountPath: '/datalog' },
            ],
          },
        ],
        volumes: [
          { name: 'workdir', emptyDir: {} },
          { name: 'data', hostPath: { path: '/var/lib/zookeeper/data', type: 'DirectoryOrCreate' } },
          { name: 'datalog', hostPath: { path: '/var/lib/zookeeper/datalog', type: 'DirectoryOrCreate' } },
        ],
      },
    },
  };
}
