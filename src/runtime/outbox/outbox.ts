/**
 * Tells bms_control ([center] scheduler_callback) what has become of its machines: at least once, in order for each machine, across
 * restarts and replicas. A notification that is not taken is sent again `maxRetries` times with back-off (1, 2, 4 … at most 300 s), then
 * given up: it is kept as a dead letter, and the next one has its turn.
 *
 * Every replica watches; a lease on the machine's outbox record says which one sends. A replica that dies after the receiver has
 * said yes and before that is written down leaves a notification that is sent twice: the id tells the receiver.
 */
import { NOTIFICATION_ID_HEADER } from 'cdk8s-baremetal-contract/api/index';
import { type Clock, type Timer, withDeadline } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import { type Random, randomInt } from '../core/random.ts';
import { type NodeRecord, nodeKind } from '../machine/index.ts';
import { modify, type Store, type Stored, type Watch } from '../store/index.ts';
import {
  beginKind,
  buried,
  type DeadNotification,
  emptyOutbox,
  MOST_DEAD,
  type OutboxRecord,
  outboxKind,
  withNews,
} from './outbox-record.ts';

export interface OutboxOptions {
  readonly store: Store;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** [center] scheduler_callback */
  readonly url: string;
  /** [DEFAULT] max_retries */
  readonly maxRetries: number;
  readonly onDelivery?: (result: 'delivered' | 'failed' | 'given up') => void;
}

const REQUEST_LIMIT_MS = 10_000;
/** Longer than a request may take; after it, another replica believes that the sender has died. */
const LEASE_MS = 30_000;
const BACKOFF_BASE_MS = 1_000;
const BACKOFF_MOST_MS = 300_000;
/** After a failure of the store. */
const TROUBLE_MS = 5_000;
/** One receiver for a whole site: a restart with thousands waiting must not be an attack on it. */
const MOST_AT_ONCE = 8;

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #me: string;
  readonly #stop = new AbortController();
  readonly #timers = new Map<string, Timer>();
  /** Machines that are seen to; true: look again afterwards. */
  readonly #busy = new Map<string, boolean>();
  readonly #queue = new Set<string>();
  readonly #work = new Set<Promise<void>>();
  readonly #watches: Watch[] = [];
  #since = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#me = Buffer.from(options.random.bytes(9)).toString('base64url');
  }

  /** Resolves when what happened while nobody was running is in the outbox. */
  async start(): Promise<void> {
    const { store, clock, logger } = this.#options;
    const begun = await store.create(beginKind, 'begin', { at: clock.now() });
    this.#since = (begun.outcome === 'stored' ? begun.record : begun.current).value.at;
    const onInvalid = (id: string, error: unknown): void => logger.error({ id, error: String(error) }, 'a record cannot be read');
    this.#watches.push(
      store.watch(nodeKind, (event) => {
        if (event.type === 'put') this.#hear(event.record);
        if (event.type === 'delete') this.#wake(event.id);
      }),
      store.watch(outboxKind, (event) => {
        if (event.type === 'put' && event.record.value.pending.length > 0) this.#wake(event.record.id);
      }),
    );
    const nodes = new Map((await store.list(nodeKind, { onInvalid })).map((record) => [record.id, record]));
    const known = new Map((await store.list(outboxKind, { onInvalid })).map(({ id, value }) => [id, value]));
    // Thousands of machines, one after the other, would hold up the start: most have nothing new.
    for (const [id, node] of nodes)
      if (withNews(known.get(id) ?? emptyOutbox, node.value, this.#since, clock.now()) !== undefined) await this.#note(node);
    for (const [id, { pending }] of known) if (pending.length > 0 || !nodes.has(id)) this.#wake(id);
  }

  /** Ends sending; what waits is sent after the next start. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the outbox is closing'));
    for (const watch of this.#watches.splice(0)) watch.close();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    await Promise.all(this.#work);
  }

  async state(): Promise<{ readonly pending: number; readonly dead: readonly DeadNotification[] }> {
    const records = await this.#options.store.list(outboxKind, { onInvalid: () => undefined });
    return {
      pending: records.reduce((sum, { value }) => sum + value.pending.length, 0),
      dead: records.flatMap(({ value }) => value.dead).sort((a, b) => a.gaveUpAt - b.gaveUpAt),
    };
  }

  /** Sends one that was given up again, before what waits. False: there is none of this id. */
  async retry(id: string): Promise<boolean> {
    const now = this.#options.clock.now();
    return this.#changeDead(id, (record, { notification }) => ({
      ...record,
      pending: [...record.pending, { notification, attempts: 0, nextAttemptAt: now }].sort(byNumber),
    }));
  }

  drop(id: string): Promise<boolean> {
    return this.#changeDead(id, (record) => record);
  }

  async #changeDead(id: string, change: (record: OutboxRecord, dead: DeadNotification) => OutboxRecord): Promise<boolean> {
    let found = false;
    const nodeId = id.slice(0, id.lastIndexOf('.'));
    await modify(this.#options.store, outboxKind, nodeId, (record) => {
      const one = record.dead.find(({ notification }) => notification.id === id);
      found = one !== undefined;
      return one && change({ ...record, dead: record.dead.filter((other) => other !== one) }, one);
    });
    return found;
  }

  #hear(node: Stored<NodeRecord>): void {
    this.#run(async () => {
      try {
        await this.#note(node);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#options.logger.error({ node: node.value.name, error: String(error) }, 'a notification could not be stored; trying again');
        this.#later(node.id, TROUBLE_MS);
      }
    });
  }

  async #note({ id, value: node }: Stored<NodeRecord>): Promise<void> {
    const { store, clock } = this.#options;
    const news = (record: OutboxRecord): OutboxRecord | undefined => withNews(record, node, this.#since, clock.now());
    const result = await modify(store, outboxKind, id, news);
    if (result.outcome !== 'missing') return;
    // Numbers go on from the time: a machine that was removed and is enrolled again under its uuid must not repeat the ids that its receiver knows.
    const first = news({ ...emptyOutbox, sequence: clock.now() });
    if (first === undefined) return;
    const created = await store.create(outboxKind, id, first);
    if (created.outcome === 'exists') await modify(store, outboxKind, id, news);
  }

  #wake(id: string): void {
    if (this.#stop.signal.aborted) return;
    this.#timers.get(id)?.cancel();
    this.#timers.delete(id);
    if (this.#busy.has(id)) {
      this.#busy.set(id, true);
      return;
    }
    this.#queue.add(id);
    this.#next();
  }

  #next(): void {
    while (this.#busy.size < MOST_AT_ONCE) {
      const [id] = this.#queue;
      if (id === undefined) return;
      this.#queue.delete(id);
      this.#busy.set(id, false);
      this.#run(() => this.#see(id));
    }
  }

  async #see(id: string): Promise<void> {
    let waitMs: number | undefined;
    try {
      waitMs = await this.#send(id);
    } catch (error) {
      if (!this.#stop.signal.aborted) {
        this.#options.logger.error({ node: id, error: String(error) }, 'the outbox could not be worked on; trying again');
        waitMs = TROUBLE_MS;
      }
    }
    const again = this.#busy.get(id) === true;
    this.#busy.delete(id);
    if (again) this.#queue.add(id);
    else if (waitMs !== undefined) this.#later(id, waitMs);
    this.#next();
  }

  /** Sends what is due, one after the other. How long to wait for the next; undefined: until something changes. */
  async #send(id: string): Promise<number | undefined> {
    const { store, clock } = this.#options;
    for (;;) {
      this.#stop.signal.throwIfAborted();
      // After a failure to store: the machine's history still has it.
      const node = await store.get(nodeKind, id);
      if (node) await this.#note(node);
      const record = await store.get(outboxKind, id);
      if (record === undefined) return undefined;
      const { pending, dead, sender } = record.value;
      const [head] = pending;
      if (head === undefined) {
        if (node === undefined && dead.length === 0) await store.delete(outboxKind, record, record.version);
        return undefined;
      }
      const now = clock.now();
      const heldMs = sender === undefined || sender.id === this.#me ? undefined : msUntil(sender.until, now, LEASE_MS);
      const waitMs = heldMs ?? msUntil(head.nextAttemptAt, now, BACKOFF_MOST_MS);
      if (waitMs !== undefined) return waitMs;
      const lease = { id: this.#me, until: now + LEASE_MS };
      const claimed = await store.update(outboxKind, { id, value: { ...record.value, sender: lease } }, record.version);
      if (claimed.outcome === 'stored') await this.#deliver(id, head);
    }
  }

  async #deliver(id: string, head: OutboxRecord['pending'][number]): Promise<void> {
    const { store, clock, random, logger, maxRetries, onDelivery } = this.#options;
    const { notification } = head;
    const error = await this.#post(notification);
    this.#stop.signal.throwIfAborted();
    const now = clock.now();
    const attempts = head.attempts + 1;
    const givesUp = error !== undefined && attempts > maxRetries;
    const backoffMs = Math.min(BACKOFF_MOST_MS, BACKOFF_BASE_MS * 2 ** Math.min(30, attempts - 1));
    // A tenth more or less: replicas and machines must not keep in step.
    const nextAttemptAt = now + Math.round(backoffMs * (0.9 + randomInt(random, 201) / 1000));
    await modify(store, outboxKind, id, (record) => {
      // Not ours any more, or not waiting any more: it was sent by another, who thought that we had died.
      if (record.sender?.id !== this.#me || !record.pending.some((one) => one.notification.id === notification.id)) return undefined;
      const others = record.pending.filter((one) => one.notification.id !== notification.id);
      const tried = { ...head, attempts, nextAttemptAt, ...(error !== undefined && { lastError: error }) };
      const released = { ...record, sender: undefined };
      if (error === undefined) return { ...released, pending: others };
      if (givesUp) return { ...released, pending: others, dead: [...record.dead, buried(tried, error, now)].slice(-MOST_DEAD) };
      return { ...released, pending: [tried, ...others] };
    });
    onDelivery?.(error === undefined ? 'delivered' : givesUp ? 'given up' : 'failed');
    const fields = { id: notification.id, node: notification.node_name, state: notification.state, attempts };
    if (error === undefined) logger.debug(fields, 'bms_control was told');
    else if (givesUp) logger.error({ ...fields, error }, 'a notification was given up; GET /v1/notifications keeps it');
    else logger.warn({ ...fields, error }, 'bms_control did not take a notification; trying again');
  }

  /** Undefined when it was taken, otherwise why not. */
  async #post(notification: { readonly id: string }): Promise<string | undefined> {
    const { network, clock, url } = this.#options;
    const late = (): Error => new Error(`no answer within ${REQUEST_LIMIT_MS / 1000} s`);
    try {
      const { status } = await withDeadline(
        clock,
        REQUEST_LIMIT_MS,
        late,
        (signal) =>
          network.request({
            method: 'POST',
            url,
            headers: { 'content-type': 'application/json', [NOTIFICATION_ID_HEADER]: notification.id },
            body: JSON.stringify(notification),
            maxBodyBytes: 64 * 1024,
            signal,
          }),
        this.#stop.signal,
      );
      return status >= 200 && status < 300 ? undefined : `status ${status}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #later(id: string, delayMs: number): void {
    if (this.#stop.signal.aborted) return;
    this.#timers.get(id)?.cancel();
    this.#timers.set(
      id,
      this.#options.clock.after(delayMs, () => this.#wake(id)),
    );
  }

  #run(work: () => Promise<void>): void {
    const done: Promise<void> = work()
      .catch(() => undefined) // each kind of work reports its own failures
      .finally(() => this.#work.delete(done));
    this.#work.add(done);
  }
}

/** Undefined: due, as is a time that is further ahead than anybody sets one: a clock was wrong then, or was set back since. */
function msUntil(at: number, now: number, mostMs: number): number | undefined {
  const ms = at - now;
  return ms > 0 && ms <= 2 * mostMs ? ms : undefined;
}

function byNumber(a: OutboxRecord['pending'][number], b: OutboxRecord['pending'][number]): number {
  return numberOf(a.notification.id) - numberOf(b.notification.id);
}

function numberOf(id: string): number {
  return Number(id.slice(id.lastIndexOf('.') + 1));
}
