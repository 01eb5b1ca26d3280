/** What two clusters cannot both have. The later one gives way: by creation, then by uid, so that every operator says the same. */

import type { CodedError } from 'cdk8s-baremetal-contract';
import { onecloudErrors } from 'cdk8s-baremetal-contract/onecloud/errors';
import { type ClusterSpec, defaultInstance, nodePortsOf, settingsSchema } from 'cdk8s-baremetal-contract/onecloud/index';
import { keyOf, type LiveObject } from '../engine/objects.ts';
import { shownServer } from './databases.ts';
import { operatorOnecloudErrors } from './errors.ts';
import { INSTANCE_LABEL } from './names.ts';

export interface PeerProblem {
  /** One word, for the condition. */
  readonly reason: 'InstanceTaken' | 'NodePortTaken' | 'DatabasesShared';
  readonly error: CodedError;
}

/** @param databases whether the operator makes databases, so that two clusters on one server would take them from each other */
export function peerProblems(cluster: LiveObject, peers: readonly LiveObject[], databases: boolean): PeerProblem[] {
  const earlier = peers.filter((peer) => peer.metadata.uid !== cluster.metadata.uid && comesBefore(peer, cluster));
  if (earlier.length === 0) return [];
  const own = nodePortsOf(cluster.spec);
  const problems: PeerProblem[] = [];
  for (const peer of earlier) {
    const instance = instanceOf(cluster);
    if (cluster.metadata.namespace === peer.metadata.namespace && instance === instanceOf(peer))
      problems.push({ reason: 'InstanceTaken', error: operatorOnecloudErrors.ONECLOUD_INSTANCE_TAKEN({ instance, other: keyOf(peer) }) });
    const theirs = new Map(nodePortsOf(peer.spec).map((port) => [port.port, port]));
    for (const { port, component } of own) {
      const other = theirs.get(port);
      if (other === undefined) continue;
      const params = { port, owner: `${keyOf(cluster)} ${component}`, other: `${keyOf(peer)} ${other.component}` };
      problems.push({ reason: 'NodePortTaken', error: onecloudErrors.ONECLOUD_NODE_PORT_TAKEN(params) });
    }
    const server = serverOf(cluster);
    if (databases && server !== undefined && server === serverOf(peer))
      problems.push({ reason: 'DatabasesShared', error: operatorOnecloudErrors.ONECLOUD_DATABASE_SHARED({ server, other: keyOf(peer) }) });
  }
  return problems;
}

/** Another cluster whose databases are on the same server, whoever was first: what is dropped there would be its own. */
export function sharesDatabases(cluster: LiveObject, peers: readonly LiveObject[]): LiveObject | undefined {
  const server = serverOf(cluster);
  return peers.find((peer) => peer.metadata.uid !== cluster.metadata.uid && server !== undefined && server === serverOf(peer));
}

/** Whether what one cluster has can matter to the other. */
export function couldCollide(a: LiveObject, b: LiveObject): boolean {
  const ports = new Set(nodePortsOf(a.spec).map(({ port }) => port));
  return nodePortsOf(b.spec).some(({ port }) => ports.has(port)) || (serverOf(a) !== undefined && serverOf(a) === serverOf(b));
}

/** Selectors and clean-up go by it. */
export function instanceOf({ metadata: { name, labels } }: LiveObject): string {
  return labels?.[INSTANCE_LABEL] ?? defaultInstance(name);
}

function comesBefore({ metadata: a }: LiveObject, { metadata: b }: LiveObject): boolean {
  const [left = '', right = ''] = [a.creationTimestamp, b.creationTimestamp];
  return left === right ? a.uid < b.uid : left < right;
}

function serverOf({ spec }: LiveObject): string | undefined {
  const parsed = settingsSchema.shape.mysql.safeParse((spec as Partial<ClusterSpec> | undefined)?.mysql);
  return parsed.success ? shownServer({ host: parsed.data.host.toLowerCase(), port: parsed.data.port }) : undefined;
}
