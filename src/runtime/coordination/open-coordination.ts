import type { Clock } from '../core/clock.ts';
import type { Coordination } from './coordination.ts';
import { coordinationErrors } from './errors.ts';
import { MemoryCoordination } from './memory-coordination.ts';
import { parseKazooUrl } from './zookeeper/kazoo-url.ts';
import { connectZooKeeper } from './zookeeper/node-zookeeper.ts';
import { ZooKeeperCoordination } from './zookeeper/zookeeper-coordination.ts';

export interface CoordinationContext {
  readonly clock: Clock;
  /** Of a ZooKeeper session, as asked for: how long others count a silent member alive. Default 15,000. */
  readonly sessionTimeoutMs?: number;
}

/** Opens the service that a URL names: `kazoo://host:2181[,host…][/path]`, or `memory://`. Connects when it is first used. */
export function openCoordination(url: string, { clock, sessionTimeoutMs }: CoordinationContext): Coordination {
  if (url === 'memory://' || url === 'memory:') return new MemoryCoordination({ clock });
  if (!url.startsWith('kazoo://')) throw coordinationErrors.COORDINATION_URL({ url });
  return new ZooKeeperCoordination({
    ...parseKazooUrl(url),
    clock,
    connect: connectZooKeeper,
    ...(sessionTimeoutMs !== undefined && { sessionTimeoutMs }),
  });
}
