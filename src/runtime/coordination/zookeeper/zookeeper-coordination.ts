/**
 * Membership and semaphores in ZooKeeper, all over one session at a time: what is lost with it is told to everybody who holds something, and the
 * next call opens another. Below the URL's path:
 *
 *     members/<name>#<session>.<n>-<sequence>      one life of one member, ephemeral; the id is the node's name
 *     semaphores/<name>/<session>.<n>-<sequence>   a place in line, ephemeral; the first `limit` of them hold
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Clock, sleep } from '../../core/clock.ts';
import type { AcquireOptions, Coordination, Lease, Membership } from '../coordination.ts';
import { coordinationErrors } from '../errors.ts';
import { checkLimit } from '../memory-semaphores.ts';
import { holdNode } from './held-node.ts';
import { LiveSession } from './live-session.ts';
import { sequenceOf, standInLine } from './stand-in-line.ts';
import { type ConnectZooKeeper, ZooKeeperError, type ZooKeeperServer } from './zookeeper-client.ts';

export interface ZooKeeperCoordinationOptions {
  readonly servers: readonly ZooKeeperServer[];
  /** Absolute; created when absent. Replicas that are to know each other use the same. */
  readonly path: string;
  readonly clock: Clock;
  readonly connect: ConnectZooKeeper;
  /** How long others count a silent member alive, as asked for; the server grants between 2 and 20 of its ticks. Default 15,000. */
  readonly sessionTimeoutMs?: number;
}

/** Between attempts to watch the group while there is no session. */
const WATCH_RETRY_MS = 1_000;
/** Ids known to be dead, so that 10,000 machines of one dead owner cost one question. */
const DEAD_LIMIT = 1_000;

export class ZooKeeperCoordination implements Coordination {
  readonly #options: ZooKeeperCoordinationOptions;
  readonly #members: string;
  readonly #handlers = new Set<() => void>();
  readonly #dead = new Set<string>();
  readonly #closing = new AbortController();
  /** Members as last read with a watch set; undefined while nobody watches. */
  #known: ReadonlySet<string> | undefined;
  /** What handlers and callers have been told of: who is alive as far as they know. */
  #told: Set<string> | undefined;
  #session: Promise<LiveSession> | undefined;
  #current: LiveSession | undefined;
  #watching: Promise<void> | undefined;
  #looking: Promise<ReadonlySet<string>> | undefined;

  constructor(options: ZooKeeperCoordinationOptions) {
    this.#options = options;
    this.#members = `${options.path}/members`;
  }

  async join(name: string): Promise<Membership> {
    const session = await this.#live();
    this.#watchGroup();
    const label = `${encodeURIComponent(name)}#`;
    const id = await session.createEphemeral(this.#members, label);
    // The youngest life under a name wins, whatever the order in which two of them come to this line.
    for (const other of await session.children(this.#members)) {
      if (other.startsWith(label) && sequenceOf(other) < sequenceOf(id)) await session.remove(`${this.#members}/${other}`);
    }
    const node = holdNode(session, `${this.#members}/${id}`, (reason, cause) =>
      coordinationErrors.COORDINATION_LOST({ member: id, reason }, { cause }),
    );
    return { id, lost: node.lost, leave: () => node.release('it left') };
  }

  async isAlive(memberId: string): Promise<boolean> {
    this.#mustBeOpen();
    if (this.#dead.has(memberId)) return false;
    this.#watchGroup();
    if (this.#known?.has(memberId)) return true;
    // Not in what we know, and what we know may be older than the record that named the member: look again, behind a write.
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    const looking = this.#looking;
    if ((await looking).has(memberId)) return true;
    if (this.#dead.size >= DEAD_LIMIT) this.#dead.clear();
    this.#dead.add(memberId);
    return false;
  }

  onChange(handler: () => void): { close(): void } {
    this.#handlers.add(handler);
    if (!this.#closing.signal.aborted) this.#watchGroup();
    return { close: () => this.#handlers.delete(handler) };
  }

  async acquire(name: string, options: AcquireOptions): Promise<Lease> {
    checkLimit(name, options.limit);
    this.#mustBeOpen();
    options.signal?.throwIfAborted();
    const path = `${this.#options.path}/semaphores/${encodeURIComponent(name)}`;
    const { clock } = this.#options;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(options.signal?.reason);
    const onClose = (): void => stop.abort(coordinationErrors.COORDINATION_CLOSED({}));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    const busy = coordinationErrors.COORDINATION_BUSY({ name, limit: options.limit, waitedS: options.timeoutMs / 1000 });
    const timer = clock.after(options.timeoutMs, () => stop.abort(busy));
    try {
      for (;;) {
        try {
          const session = await raced(this.#live(), stop.signal);
          return await standInLine(session, { name, path, limit: options.limit, stop: stop.signal });
        } catch (error) {
          stop.signal.throwIfAborted();
          if (!isTrouble(error)) throw error;
          await sleep(clock, WATCH_RETRY_MS, stop.signal); // the place in the line is gone with the session: back to its end
        }
      }
    } finally {
      timer.cancel();
      options.signal?.removeEventListener('abort', onAbort);
      this.#closing.signal.removeEventListener('abort', onClose);
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(coordinationErrors.COORDINATION_CLOSED({}));
    this.#handlers.clear();
    await this.#current?.close('the service was closed');
    await this.#watching;
    await this.#session?.catch(() => undefined);
  }

  /** The session of the moment; a new one when the last was lost. Rejects with COORDINATION_UNREACHABLE after two thirds of its time. */
  #live(): Promise<LiveSession> {
    this.#mustBeOpen();
    if (this.#session !== undefined) return this.#session;
    const session = new LiveSession({ sessionTimeoutMs: 15_000, ...this.#options });
    this.#current = session;
    session.lost.addEventListener(
      'abort',
      () => {
        if (this.#current === session) this.#current = this.#session = undefined;
      },
      { once: true },
    );
    this.#session = session.ensure(this.#members).then(
      () => session,
      async (error) => {
        await session.close('its nodes could not be made');
        throw error;
      },
    );
    return this.#session;
  }

  async #look(): Promise<ReadonlySet<string>> {
    const session = await this.#live();
    await session.catchUp(this.#members);
    const members = new Set(await session.children(this.#members));
    // The watch may never see one that came and went between two of its readings, or before the first; who heard here that it lives must hear of its end.
    this.#told ??= new Set();
    for (const member of members) this.#told.add(member);
    return members;
  }

  #watchGroup(): void {
    this.#watching ??= this.#watchMembers();
  }

  /** Runs until `close`: reads the group with a watch set, tells when it differs from the last reading, and waits for the watch. */
  async #watchMembers(): Promise<void> {
    const { clock } = this.#options;
    const closing = this.#closing.signal;
    while (!closing.aborted) {
      const change = Promise.withResolvers<void>();
      const wake = (): void => change.resolve();
      let session: LiveSession | undefined;
      let reconnected: { close(): void } | undefined;
      try {
        session = await this.#live();
        session.lost.addEventListener('abort', wake, { once: true });
        reconnected = session.onReconnected(wake);
        const members = new Set(await session.children(this.#members, wake));
        this.#known = members;
        if (this.#told !== undefined && !same(this.#told, members)) for (const handler of this.#handlers) queueMicrotask(handler);
        this.#told = new Set(members);
        await change.promise;
      } catch {
        // Whoever calls join, isAlive or acquire hears of it; here it only delays the news.
        await sleep(clock, WATCH_RETRY_MS, closing).catch(() => undefined);
      } finally {
        reconnected?.close();
        session?.lost.removeEventListener('abort', wake);
        if (session?.lost.aborted !== false) this.#known = undefined;
      }
    }
  }

  #mustBeOpen(): void {
    if (this.#closing.signal.aborted) throw coordinationErrors.COORDINATION_CLOSED({});
  }
}

function same(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((member) => b.has(member));
}

/** What passes by itself or with a new session. */
function isTrouble(error: unknown): boolean {
  return error instanceof ZooKeeperError || (error instanceof CodedError && error.code !== 'COORDINATION_CLOSED');
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
