/** What the two forms of ZooKeeper have in common. */

import { type ImageSpec, port, type SiteSpec } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';

/** The official image; a site may name its own mirror. */
const OFFICIAL_IMAGE: ImageSpec = { repository: 'docker.io/library/zookeeper', tag: '3.9.3', pullPolicy: 'IfNotPresent' };

export const ZOOKEEPER = 'zookeeper';

export function zookeeperImage(site: SiteSpec): ImageSpec {
  return site.images.zookeeper ?? OFFICIAL_IMAGE;
}

/** `srvr` is the one command that says whether this server is part of a quorum; a server without one answers in words. */
const SERVES = `exec 3<>/dev/tcp/127.0.0.1/${port.zookeeper} && printf srvr >&3 && grep -q '^Mode: ' <&3`;
/** `ruok` is answered by any live server, quorum or not: restarting a server that waits for its peers helps nobody. */
const LIVES = `exec 3<>/dev/tcp/127.0.0.1/${port.zookeeper} && printf ruok >&3 && grep -q imok <&3`;

/** The image has bash (its entry point is one), but no nc in every version. */
export function zookeeperProbes(): Pick<k8s.Container, 'startupProbe' | 'livenessProbe' | 'readinessProbe'> {
  const run = (script: string): Pick<k8s.Probe, 'exec' | 'timeoutSeconds'> => ({
    exec: { command: ['bash', '-c', script] },
    timeoutSeconds: 5,
  });
  return {
    startupProbe: { ...run(LIVES), periodSeconds: 2, failureThreshold: 60 },
    livenessProbe: { ...run(LIVES), periodSeconds: 10, failureThreshold: 6 },
    readinessProbe: { ...run(SERVES), periodSeconds: 5, failureThreshold: 3 },
  };
}

/** A quarter of the limit is left for what the JVM keeps beside its heap. */
export function zookeeperResources(): Pick<k8s.Container, 'resources' | 'env'> {
  return {
    env: [
      { name: 'ZOO_4LW_COMMANDS_WHITELIST', value: 'srvr, ruok' },
      { name: 'ZOO_AUTOPURGE_PURGEINTERVAL', value: '24' }, // hours; without it logs and snapshots fill the disk
      { name: 'ZOO_ADMINSERVER_ENABLED', value: 'false' }, // on the host's network its port 8080 belongs to others
      { name: 'JVMFLAGS', value: '-Xms384m -Xmx384m' },
    ],
    resources: {
      requests: { cpu: k8s.Quantity.fromString('100m'), memory: k8s.Quantity.fromString('512Mi') },
      limits: { memory: k8s.Quantity.fromString('512Mi') },
    },
  };
}
