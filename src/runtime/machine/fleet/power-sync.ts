/**
 * Looks at the power of every machine that rests, once per interval: spread evenly over it, so many at a time, and without a write to the store
 * when nothing has changed. Each replica looks at the machines that it owns; those of a dead owner, and those that nobody owned, it claims on the
 * way. Faults that persist are answered by grades (remedy.ts), within the pod's budget.
 */
import { type Clock, type Timer, withDeadline } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import { follow, modify, type Store, type Watch } from '../../store/index.ts';
import { type NodeRecord, nodeKind, RECORD_VERSION } from '../node-record.ts';
import { isPermanent, type MachinePower } from '../ports.ts';
import { withEvent } from '../timeline.ts';
import { cleanText } from '../transition.ts';
import { afterLook, type Look, type PowerPolicy } from './power-decision.ts';
import { decideRemedy, defaultRemedyPolicy, type FleetHealth, looksLikeOutage, type RemedyPolicy, withRemedy } from './remedy.ts';
import { RemedyBudget } from './remedy-budget.ts';

export interface PowerSyncOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly power: Pick<MachinePower, 'status'>;
  /** Who this replica is, and how it becomes an owner: a Reconciler. */
  readonly owner: { readonly memberId: string | undefined; claim(id: string): Promise<boolean> };
  readonly isAlive: (memberId: string) => Promise<boolean>;
  /** Default `record-follows-bmc`. */
  readonly policy?: PowerPolicy;
  /** Default 60,000. */
  readonly intervalMs?: number;
  /** Looks under way at once. Default 64. */
  readonly concurrency?: number;
  /** For one look. Default 15,000: an IPMI session and its retransmissions. */
  readonly timeoutMs?: number;
  /** Failed looks in a row before a BMC counts as unreachable. Default 3. */
  readonly unreachableAfter?: number;
  readonly remedies?: Partial<RemedyPolicy>;
}

/** Since the start. */
export interface PowerSyncStats {
  looks: number;
  failures: number;
  /** Records changed by what was seen, and by remedies. */
  writes: number;
  claims: number;
  /** Looks that were left out since the one before had not ended. */
  late: number;
  /** Remedies that were due and held back: an outage, or the budget. */
  held: number;
}

/** How often a part of the machines is looked at. */
const TICK_MS = 1_000;

interface Entry {
  /** The record without what grows: 10,000 of them are kept. */
  node: NodeRecord;
  failures: number;
  /** The difference that was reported last. */
  told: 'on' | 'off' | undefined;
}

export class PowerSync {
  readonly stats: PowerSyncStats = { looks: 0, failures: 0, writes: 0, claims: 0, late: 0, held: 0 };
  readonly #options: PowerSyncOptions;
  readonly #policy: PowerPolicy;
  readonly #remedies: RemedyPolicy;
  readonly #budget: RemedyBudget;
  readonly #entries = new Map<string, Entry>();
  readonly #slots: Set<string>[];
  readonly #queue: string[] = [];
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  #faulty = 0;
  /** Of these, the ones in maintenance: quarantined one after the other, they are no outage. */
  #outOfService = 0;
  #watch: Watch | undefined;
  #timer: Timer | undefined;
  #slot = 0;
  /** Members that were asked about in this round. */
  #alive = new Map<string, Promise<boolean>>();

  constructor(options: PowerSyncOptions) {
    this.#options = options;
    this.#policy = options.policy ?? 'record-follows-bmc';
    this.#remedies = { ...defaultRemedyPolicy, ...options.remedies };
    this.#budget = new RemedyBudget({ store: options.store, clock: options.clock, policy: this.#remedies });
    const count = Math.max(1, Math.round((options.intervalMs ?? 60_000) / TICK_MS));
    this.#slots = Array.from({ length: count }, () => new Set<string>());
  }

  /** Resolves when the fleet is known; the first looks follow at once, the last within an interval. */
  async start(): Promise<void> {
    const { store, logger } = this.#options;
    const followed = follow(store, nodeKind, (event) => {
      if (event.type === 'put') this.#put(event.record.value);
      else this.#remove(event.id);
    });
    this.#watch = followed;
    const onInvalid = (id: string, error: unknown): void => logger.error({ node: id, error: String(error) }, 'the record cannot be read');
    await followed.read(({ value }) => this.#put(value), { onInvalid });
    this.#tick();
  }

  /** Resolves when the last look has ended. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the daemon is closing'));
    this.#watch?.close();
    this.#timer?.cancel();
    await Promise.all(this.#running.values());
  }

  /** What is known of the fleet, for metrics. */
  get fleet(): { readonly total: number; readonly faulty: number; readonly outage: boolean } {
    return { total: this.#entries.size, faulty: this.#faulty, outage: looksLikeOutage(this.#inService, this.#remedies) };
  }

  get #inService(): Pick<FleetHealth, 'total' | 'faulty'> {
    return { total: this.#entries.size, faulty: this.#faulty - this.#outOfService };
  }

  #count({ fault, maintenance }: NodeRecord, by: 1 | -1): void {
    if (fault === undefined) return;
    this.#faulty += by;
    if (maintenance) this.#outOfService += by;
  }

  #put(record: NodeRecord): void {
    const node: NodeRecord = { ...record, timeline: [], history: [], inspection: undefined, deployment: undefined };
    const known = this.#entries.get(record.uuid);
    if (known !== undefined) this.#count(known.node, -1);
    this.#count(node, 1);
    if (known === undefined) {
      this.#entries.set(record.uuid, { node, failures: 0, told: undefined });
      this.#slots[slotOf(record.uuid, this.#slots.length)]?.add(record.uuid);
    } else known.node = node;
  }

  #remove(id: string): void {
    const known = this.#entries.get(id);
    if (known === undefined) return;
    this.#count(known.node, -1);
    this.#entries.delete(id);
    this.#slots[slotOf(id, this.#slots.length)]?.delete(id);
  }

  #tick(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#slot % 5 === 0) this.#alive = new Map();
    for (const id of this.#slots[this.#slot] ?? []) {
      if (this.#waiting.has(id) || this.#running.has(id)) this.stats.late += 1;
      else {
        this.#waiting.add(id);
        this.#queue.push(id);
      }
    }
    this.#slot = (this.#slot + 1) % this.#slots.length;
    this.#next();
    this.#timer = this.#options.clock.after(TICK_MS, () => this.#tick());
  }

  #next(): void {
    while (this.#running.size < (this.#options.concurrency ?? 64) && this.#queue.length > 0 && !this.#stop.signal.aborted) {
      const id = this.#queue.shift();
      if (id === undefined) return;
      this.#waiting.delete(id);
      const entry = this.#entries.get(id);
      if (entry === undefined || !rests(entry.node)) continue;
      const run = this.#look(id, entry)
        .catch((error: unknown) => {
          if (!this.#stop.signal.aborted)
            this.#options.logger.error({ node: entry.node.name, error: String(error) }, 'the power could not be synchronised');
        })
        .finally(() => {
          this.#running.delete(id);
          this.#next();
        });
      this.#running.set(id, run);
    }
  }

  async #look(id: string, entry: Entry): Promise<void> {
    if (!(await this.#mine(id, entry.node))) return;
    const { power, clock, timeoutMs = 15_000, unreachableAfter = 3 } = this.#options;
    this.stats.looks += 1;
    const begun = entry.node;
    let look: Look;
    try {
      const tooLong = (): Error => new Error(`no answer within ${timeoutMs / 1000} s`);
      const state = await withDeadline(clock, timeoutMs, tooLong, (signal) => power.status(entry.node, signal), this.#stop.signal);
      entry.failures = 0;
      look = { kind: 'seen', state };
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      this.stats.failures += 1;
      entry.failures += 1;
      if (entry.failures < unreachableAfter && !isPermanent(error)) return;
      look = { kind: 'failed', reason: cleanText(error instanceof Error ? error.message : String(error)) };
    }
    await this.#record(id, entry, look, begun);
    if (entry.node.fault !== undefined) await this.#remedy(id, entry);
  }

  async #mine(id: string, { owner }: NodeRecord): Promise<boolean> {
    const me = this.#options.owner.memberId;
    if (me === undefined) return false;
    if (owner === me) return true;
    if (owner !== undefined) {
      let alive = this.#alive.get(owner);
      if (alive === undefined) {
        alive = this.#options.isAlive(owner);
        this.#alive.set(owner, alive);
      }
      if (await alive) return false;
    }
    const claimed = await this.#options.owner.claim(id);
    if (claimed) this.stats.claims += 1;
    return claimed;
  }

  async #record(id: string, entry: Entry, look: Look, begun: NodeRecord): Promise<void> {
    const { clock } = this.#options;
    // A verb was quicker than the BMC's answer, which is of before it.
    const isOf = ({ power, stateSince }: NodeRecord): boolean => power?.at === begun.power?.at && stateSince === begun.stateSince;
    if (!isOf(entry.node)) return;
    const told = look.kind === 'seen' && entry.told === look.state;
    const differs = look.kind === 'seen' && entry.node.power !== undefined && entry.node.power.state !== look.state;
    // Judged by what the watch told last, to spare the store; what is written is judged again by the record itself.
    const wanted = afterLook(entry.node, look, this.#policy, clock.now(), told) !== undefined;
    if (look.kind === 'seen') entry.told = differs ? look.state : undefined;
    if (!wanted) return;
    await this.#change(id, entry, (node) =>
      rests(node) && isOf(node) ? afterLook(node, look, this.#policy, clock.now(), told) : undefined,
    );
  }

  async #remedy(id: string, entry: Entry): Promise<void> {
    const { clock, logger } = this.#options;
    const { fault } = entry.node;
    if (fault === undefined || entry.node.state !== 'active') return;
    const fleet: FleetHealth = { ...this.#inService, spent: 0 };
    const early = decideRemedy(entry.node, fault, fleet, this.#remedies, clock.now());
    if (early.kind === 'wait') return;
    const decision =
      early.kind === 'hold'
        ? early
        : decideRemedy(entry.node, fault, { ...fleet, spent: await this.#budget.spent() }, this.#remedies, clock.now());
    if (decision.kind === 'wait') return;
    if (decision.kind === 'hold') {
      this.stats.held += 1;
      logger.warn({ node: entry.node.name, fault: fault.kind }, `a remedy is due and held back: ${decision.reason}`);
      return;
    }
    const what = decision.kind === 'act' ? decision.remedy : 'quarantine';
    if (!(await this.#budget.take(entry.node.name, what))) {
      this.stats.held += 1;
      return;
    }
    logger.warn({ node: entry.node.name, fault: fault.kind, reason: fault.reason }, `remedy: ${what}`);
    await this.#change(id, entry, (node) => {
      // The same fault of the same machine, still ours to answer.
      if (node.fault?.since !== fault.since || node.fault.remedies.length !== fault.remedies.length) return undefined;
      if (node.state !== 'active' || !rests(node) || node.maintenance || node.owner !== this.#options.owner.memberId) return undefined;
      const now = clock.now();
      return withEvent(withRemedy(node, node.fault, decision, now), { type: `remedy: ${what}`, detail: fault.reason }, now);
    });
  }

  async #change(id: string, entry: Entry, next: (node: NodeRecord) => NodeRecord | undefined): Promise<void> {
    const result = await modify(this.#options.store, nodeKind, id, next);
    if (result.outcome === 'missing') return;
    if (result.outcome === 'stored') this.stats.writes += 1;
    // Not waiting for the watch: the next look must not write the same again.
    if (this.#entries.get(id) === entry) this.#put(result.record.value);
  }
}

/** Machines at work change their power on purpose. */
function rests(node: NodeRecord): boolean {
  const resting = node.state === 'active' || node.state === 'available' || node.state === 'manageable' || node.state === 'rescue';
  const associated = node.state !== 'available' || node.instance === undefined;
  return resting && associated && node.request === undefined && node.step === undefined && node.recordVersion <= RECORD_VERSION;
}

/** The same on every replica and at every start (FNV-1a). */
function slotOf(id: string, slots: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193) >>> 0;
  return hash % slots;
}
