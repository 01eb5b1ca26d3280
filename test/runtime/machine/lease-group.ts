/** Leases of an API server that fails, at the port of the coordination by Leases: for histories, which live through thousands of faults. */
import {
  type Coordination,
  coordinationErrors,
  LeaseCoordination,
  type LeaseEvent,
  type LeaseFields,
  LeasePositionLost,
  type LeaseSource,
  type StoredLease,
} from 'cdk8s-baremetal-runtime/coordination/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import type { WorldGroup } from './world-group.ts';

const LEASE_MS = 15_000;

class Leases {
  away = false;
  /** So many writes that are carried out, and whose answer is lost. */
  lost = 0;
  readonly objects = new Map<string, StoredLease>();
  readonly watchers = new Set<(event: LeaseEvent | 'forgotten') => void>();
  revision = 1n;

  put(fields: LeaseFields): StoredLease {
    this.revision += 1n;
    const uid = this.objects.get(fields.name)?.uid ?? `uid-${this.revision}`;
    const lease = { ...fields, uid, revision: this.revision };
    this.objects.set(fields.name, lease);
    this.#tell({ type: 'put', lease, position: this.revision });
    return lease;
  }

  delete(name: string): void {
    if (!this.objects.delete(name)) return;
    this.revision += 1n;
    this.#tell({ type: 'gone', name, position: this.revision });
  }

  forget(): void {
    for (const watcher of [...this.watchers]) watcher('forgotten');
  }

  #tell(event: LeaseEvent): void {
    for (const watcher of this.watchers) watcher(event);
  }
}

/** As one process reaches them: its cable may be cut. */
class Cable implements LeaseSource {
  cut = false;
  closed = false;
  readonly #leases: Leases;

  constructor(leases: Leases) {
    this.#leases = leases;
  }

  async list() {
    this.#check();
    return { leases: [...this.#leases.objects.values()], position: this.#leases.revision };
  }

  async *watch(position: bigint, signal: AbortSignal): AsyncGenerator<LeaseEvent> {
    this.#check();
    if (position < this.#leases.revision) throw new LeasePositionLost();
    const queue: (LeaseEvent | 'forgotten')[] = [];
    let wake = (): void => undefined;
    const watcher = (event: LeaseEvent | 'forgotten'): void => {
      queue.push(event);
      wake();
    };
    const onAbort = (): void => wake();
    this.#leases.watchers.add(watcher);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const event = queue.shift();
        if (event === 'forgotten') throw new LeasePositionLost();
        // what comes over a cable that is cut is lost, and the place with it
        if (event !== undefined && this.cut) throw new LeasePositionLost();
        if (event !== undefined) yield event;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#leases.watchers.delete(watcher);
    }
  }

  async get(name: string) {
    this.#check();
    return this.#leases.objects.get(name);
  }

  async create(fields: LeaseFields) {
    this.#check();
    if (this.#leases.objects.has(fields.name)) return undefined;
    return this.#answered(this.#leases.put(fields));
  }

  async replace(seen: StoredLease, fields: LeaseFields) {
    this.#check();
    if (this.#leases.objects.get(seen.name)?.revision !== seen.revision) return undefined;
    return this.#answered(this.#leases.put(fields));
  }

  async remove(seen: StoredLease) {
    this.#check();
    const there = this.#leases.objects.get(seen.name);
    if (there !== undefined && there.revision !== seen.revision) return false;
    this.#leases.delete(seen.name);
    return this.#answered(true);
  }

  close(): void {
    this.closed = true;
  }

  #answered<T>(answer: T): T {
    if (this.#leases.lost > 0) {
      this.#leases.lost -= 1;
      throw trouble('the answer is lost');
    }
    return answer;
  }

  #check(): void {
    if (this.closed) throw coordinationErrors.COORDINATION_CLOSED({});
    if (this.cut || this.#leases.away) throw trouble('connect ECONNREFUSED');
  }
}

export class LeaseGroup implements WorldGroup {
  readonly leases = new Leases();
  readonly #clock: Clock;
  readonly #cables = new Map<string, Cable>();
  #replicas = 0;
  #watcher: LeaseCoordination | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  replica(): Coordination {
    const cable = new Cable(this.leases);
    const replica = this.#open(cable);
    const join = replica.join.bind(replica);
    replica.join = async (name) => {
      const membership = await join(name);
      this.#cables.set(membership.id, cable);
      return membership;
    };
    return replica;
  }

  isAlive(memberId: string): Promise<boolean> {
    this.#watcher ??= this.#open(new Cable(this.leases));
    return this.#watcher.isAlive(memberId);
  }

  /** Nobody tells the API server: the Lease runs out. */
  crash(memberId: string): void {
    const cable = this.#cables.get(memberId);
    if (cable) cable.cut = true;
  }

  /** For longer than a lease; a later life of it is reached again. */
  partition(memberId: string): void {
    const cable = this.#cables.get(memberId);
    if (cable === undefined || cable.cut) return;
    cable.cut = true;
    this.#clock.after(LEASE_MS * 1.5, () => {
      cable.cut = false;
    });
  }

  /** Somebody deletes its Lease. */
  expire(memberId: string): void {
    for (const lease of this.leases.objects.values()) if (lease.holder === memberId) this.leases.delete(lease.name);
  }

  #open(source: LeaseSource): LeaseCoordination {
    this.#replicas += 1;
    const random = seededRandom(`leases ${this.#replicas}`);
    return new LeaseCoordination({ source, scope: 'pod45-wuxi2', clock: this.#clock, random, leaseMs: LEASE_MS });
  }
}

function trouble(reason: string): Error {
  return coordinationErrors.COORDINATION_KUBERNETES({ server: 'https://192.0.2.1', reason });
}
