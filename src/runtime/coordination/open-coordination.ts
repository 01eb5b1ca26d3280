import type { Clock } from '../core/clock.ts';
import type { Random } from '../core/random.ts';
import type { Coordination } from './coordination.ts';
import { coordinationErrors } from './errors.ts';
import { LeaseCoordination } from './leases/lease-coordination.ts';
import type { LeaseSource } from './leases/lease-source.ts';
import { parseLeasesUrl } from './leases/leases-url.ts';
import { MemoryCoordination } from './memory-coordination.ts';
import { parseKazooUrl } from './zookeeper/kazoo-url.ts';
import { connectZooKeeper } from './zookeeper/node-zookeeper.ts';
import { ZooKeeperCoordination } from './zookeeper/zookeeper-coordination.ts';

export interface CoordinationContext {
  readonly clock: Clock;
  /** Of a ZooKeeper session, as asked for: how long others count a silent member alive. Default 15,000. */
  readonly sessionTimeoutMs?: number;
  /** What `kubernetes://` needs; refused without. */
  readonly leases?: {
    readonly random: Random;
    /** For a URL that names none: that of the own pod of management nodes. */
    readonly scope: string | undefined;
    /** `namespace` as in the URL; undefined: the service account's. */
    readonly open: (where: { readonly namespace: string | undefined; readonly scope: string }) => LeaseSource;
  };
}

/** Opens the service that a URL names: `kazoo://host:2181[,host…][/path]`, `kubernetes://[namespace][/scope]`, or `memory://`. Connects when it is first used. */
export function openCoordination(url: string, { clock, sessionTimeoutMs, leases }: CoordinationContext): Coordination {
  if (url.startsWith('kubernetes://') && leases !== undefined) {
    const { namespace, scope = leases.scope ?? 'default' } = parseLeasesUrl(url);
    const source = leases.open({ namespace, scope });
    const leaseMs = sessionTimeoutMs === undefined ? {} : { leaseMs: sessionTimeoutMs };
    return new LeaseCoordination({ source, scope, clock, random: leases.random, ...leaseMs });
  }
  if (url === 'memory://' || url === 'memory:') return new MemoryCoordination({ clock });
  if (!url.startsWith('kazoo://')) throw coordinationErrors.COORDINATION_URL({ url });
  return new ZooKeeperCoordination({
    ...parseKazooUrl(url),
    clock,
    connect: connectZooKeeper,
    ...(sessionTimeoutMs !== undefined && { sessionTimeoutMs }),
  });
}
