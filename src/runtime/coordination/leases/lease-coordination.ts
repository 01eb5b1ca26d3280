/**
 * Membership and semaphores as Lease objects of a cluster: for sites whose records are Kubernetes objects, and which then need no ZooKeeper. `kubectl get leases`
 * shows who is alive. What another cluster component may do to them: deleting a member's Lease ends its life, and it joins again.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Clock, sleep } from '../../core/clock.ts';
import { type Random, randomUuid } from '../../core/random.ts';
import type { AcquireOptions, Coordination, Lease, Membership } from '../coordination.ts';
import { coordinationErrors } from '../errors.ts';
import { checkLimit } from '../memory-semaphores.ts';
import { HeldLease } from './held-lease.ts';
import { LeaseBoard } from './lease-board.ts';
import { LeaseLine } from './lease-line.ts';
import { leaseName } from './lease-name.ts';
import type { LeaseKind, LeaseSource, StoredLease } from './lease-source.ts';

export interface LeaseCoordinationOptions {
  /** Leases of the scope below; closed with this. */
  readonly source: LeaseSource;
  /** Replicas that are to know each other have the same: `pod45-wuxi2`. */
  readonly scope: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How long others count a silent member alive, in whole seconds. Default 15,000. */
  readonly leaseMs?: number;
}

const RETRY_MS = 1_000;
/** Ids known to be dead, so that 10,000 machines of one dead owner cost one question. */
const DEAD_LIMIT = 1_000;

export class LeaseCoordination implements Coordination {
  readonly #options: Required<LeaseCoordinationOptions>;
  readonly #board: LeaseBoard;
  readonly #closing = new AbortController();
  readonly #handlers = new Set<() => void>();
  readonly #dead = new Set<string>();
  readonly #held = new Set<HeldLease>();
  readonly #lines = new Map<string, LeaseLine>();
  #session: Promise<HeldLease> | undefined;

  constructor(options: LeaseCoordinationOptions) {
    this.#options = { leaseMs: 15_000, ...options };
    const { source, clock } = options;
    this.#board = new LeaseBoard({ source, clock, signal: this.#closing.signal, onChange: ({ was, is }) => this.#changed(was, is) });
  }

  async join(name: string): Promise<Membership> {
    this.#mustBeOpen();
    this.#board.start();
    const id = `${encodeURIComponent(name)}#${randomUuid(this.#options.random)}`;
    const life = await this.#hold('member', name, id, (reason) => coordinationErrors.COORDINATION_LOST({ member: id, reason }));
    return { id, lost: life.lost, leave: () => this.#release(life, 'it left') };
  }

  async isAlive(memberId: string): Promise<boolean> {
    this.#mustBeOpen();
    if (this.#dead.has(memberId)) return false;
    this.#board.start();
    const name = leaseName(this.#options.scope, 'member', memberName(memberId));
    if (this.#board.get(name)?.holder === memberId) return true;
    // not in what we know, and what we know may be older than the record that named the member
    if ((await this.#board.read(name))?.holder === memberId) return true;
    if (this.#dead.size >= DEAD_LIMIT) this.#dead.clear();
    this.#dead.add(memberId);
    return false;
  }

  onChange(handler: () => void): { close(): void } {
    this.#handlers.add(handler);
    if (!this.#closing.signal.aborted) this.#board.start();
    return { close: () => this.#handlers.delete(handler) };
  }

  async acquire(name: string, { limit, timeoutMs, signal }: AcquireOptions): Promise<Lease> {
    checkLimit(name, limit);
    this.#mustBeOpen();
    signal?.throwIfAborted();
    this.#board.start();
    const { clock } = this.#options;
    const late = new AbortController();
    const busy = coordinationErrors.COORDINATION_BUSY({ name, limit, waitedS: timeoutMs / 1000 });
    const timer = clock.after(timeoutMs, () => late.abort(busy));
    const stop = AbortSignal.any([late.signal, this.#closing.signal, ...(signal ? [signal] : [])]);
    try {
      for (;;) {
        try {
          const session = await raced(this.#live(), stop);
          return await raced(this.#line(name).stand(session, limit, stop), stop);
        } catch (error) {
          stop.throwIfAborted();
          if (!(error instanceof CodedError)) throw error;
          await sleep(clock, RETRY_MS, stop); // the place in the line is gone with the session: back to its end
        }
      }
    } finally {
      timer.cancel();
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(coordinationErrors.COORDINATION_CLOSED({}));
    this.#handlers.clear();
    await this.#session?.catch(() => undefined);
    await Promise.all([...this.#held].map((lease) => this.#release(lease, 'the service was closed')));
    this.#options.source.close();
    await this.#board.ended();
  }

  /** The session of the moment; a new one when the last was lost. */
  #live(): Promise<HeldLease> {
    this.#mustBeOpen();
    if (this.#session !== undefined) return this.#session;
    const id = randomUuid(this.#options.random);
    const lostError = (reason: string): Error => coordinationErrors.COORDINATION_LEASE_LOST({ name: `session ${id}`, reason });
    const opened = this.#hold('session', id, id, lostError);
    this.#session = opened;
    const forget = (): void => {
      if (this.#session === opened) this.#session = undefined;
    };
    opened.then((session) => session.lost.addEventListener('abort', forget, { once: true }), forget);
    return opened;
  }

  async #hold(kind: LeaseKind, subject: string, holder: string, lostError: (reason: string) => Error): Promise<HeldLease> {
    const { source, clock, scope, leaseMs } = this.#options;
    const lease = await HeldLease.claim({
      source,
      clock,
      fields: { kind, name: leaseName(scope, kind, subject), subject, holder, durationMs: leaseMs, line: [] },
      lostError,
      onWritten: (written) => this.#board.learn(written),
    });
    this.#held.add(lease);
    lease.lost.addEventListener('abort', () => this.#held.delete(lease), { once: true });
    if (this.#closing.signal.aborted) await this.#release(lease, 'the service was closed');
    return lease;
  }

  async #release(lease: HeldLease, reason: string): Promise<void> {
    await lease.release(reason);
    this.#held.delete(lease);
  }

  #line(subject: string): LeaseLine {
    const { source, clock, random, scope } = this.#options;
    const name = leaseName(scope, 'line', subject);
    const known = this.#lines.get(name);
    if (known) return known;
    const line = new LeaseLine({ source, board: this.#board, clock, random, name, subject, closing: this.#closing.signal });
    this.#lines.set(name, line);
    return line;
  }

  #changed(was: StoredLease | undefined, is: StoredLease | undefined): void {
    const lease = is ?? was;
    if (lease === undefined) return;
    if (lease.kind === 'line') this.#lines.get(lease.name)?.changed();
    else if (was?.holder !== is?.holder) {
      for (const held of this.#held) if (held.name === lease.name && held.holder !== is?.holder) held.check();
      if (lease.kind === 'member') for (const handler of this.#handlers) queueMicrotask(handler);
      else for (const line of this.#lines.values()) line.changed();
    }
  }

  #mustBeOpen(): void {
    if (this.#closing.signal.aborted) throw coordinationErrors.COORDINATION_CLOSED({});
  }
}

/** The node's name in a life's id; ids of other services have it in the same place. */
function memberName(memberId: string): string {
  const [name = ''] = memberId.split('#');
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** `work`, or the signal's reason when it comes first. */
async function raced<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
