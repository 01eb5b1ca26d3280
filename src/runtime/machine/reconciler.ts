/**
 * The one writer of a machine's state. Each management node runs one: it claims machines by compare-and-swap on owner and epoch, calls the
 * handler of the state that a machine is in, and writes down what the handler says. It holds nothing that is not on the
 * record, so it may die at any moment; its successor, or itself started again, goes on from the record (N8).
 *
 * At most one handler runs per machine, at most so many in all. A handler is interrupted by its signal when the state's deadline
 * passes, when a request (destroy) leads elsewhere, when maintenance begins, and when the machine or the membership is lost. The next state
 * begins only when the interrupted handler has really ended.
 *
 * What protects against an owner that is not one any more (it was suspended, and another replica claimed with a higher epoch): its writes
 * to the store fail, since owner and epoch are compared in each; disks drop its session when the successor logs in with the same initiator
 * name; a BMC cannot tell, so commands are absolute and the successor's next look corrects a stale one.
 */
import type { Coordination, Membership } from '../coordination/index.ts';
import type { Clock, Timer } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Random } from '../core/random.ts';
import type { Store, Stored, Watch, WatchEvent } from '../store/index.ts';
import { diagnose } from './diagnosis.ts';
import { GroupLife } from './group-life.ts';
import { Lane } from './lane.ts';
import { type NodeRecord, nodeKind, RECORD_VERSION, type Transition } from './node-record.ts';
import { claimed, isCurrent, withTime } from './ownership.ts';
import type { MachinePorts } from './ports.ts';
import { answered, answerTo } from './requests.ts';
import { takenBy } from './reservations.ts';
import { type Change, failed, type StepResult } from './results.ts';
import { runHandler } from './run-handler.ts';
import { checkedSettings, defaultSettings, type MachineSettings } from './settings.ts';
import { type StateTable, states } from './states.ts';
import { withEvent } from './timeline.ts';
import { applyResult } from './transition.ts';

export interface ReconcilerOptions {
  readonly store: Store;
  readonly coordination: Coordination;
  /** The management node's name; unique among the replicas. */
  readonly memberName: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly ports: MachinePorts;
  readonly settings?: Partial<MachineSettings>;
  /** For tests that put an old fault back; see also `isCurrent`. */
  readonly states?: StateTable;
  /** Whether a write of ours is still in order: same owner, epoch and state as when its work began. Replaced only by tests. */
  readonly isCurrent?: typeof isCurrent;
  /** For metrics. */
  readonly onTransition?: (node: NodeRecord, transition: Transition) => void;
}

/** After a failure of the store or of the coordination service. */
const TROUBLE_RETRY_MS = 5_000;

interface Task {
  /** Something happened since the record was read. */
  again: boolean;
  controller?: AbortController;
  ended: Promise<void>;
}

/** Waiting for a turn for less is not worth a write. */
const WAIT_MS = 1_000;

/** What is left to do for a machine now: go on at once, or nothing before `atMs` (wall clock) or an event. */
type Next = 'again' | { readonly atMs: number | undefined; readonly queued?: true };
const idle: Next = { atMs: undefined };

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #settings: MachineSettings;
  readonly #states: StateTable;
  readonly #isCurrent: typeof isCurrent;
  readonly #lanes: Readonly<Record<'general' | 'write', Lane>>;
  readonly #tasks = new Map<string, Task>();
  readonly #timers = new Map<string, Timer>();
  /** Owners known to be alive since the last change of the group; another set after each, which an answer from before does not reach. */
  #aliveOwners = new Set<string>();
  readonly #stop = new AbortController();
  readonly #life: GroupLife;
  #watch: Watch | undefined;
  #group: { close(): void } | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#settings = checkedSettings({ ...defaultSettings, ...options.settings });
    this.#states = options.states ?? states;
    this.#isCurrent = options.isCurrent ?? isCurrent;
    this.#life = new GroupLife({
      ...options,
      retryMs: TROUBLE_RETRY_MS,
      stopWork: (reason) => this.#interruptAll(reason),
      onRejoined: () => void this.#wakeAll(),
    });
    const wake = (id: string): void => this.wake(id);
    const now = (): number => options.clock.monotonic();
    this.#lanes = { general: new Lane(this.#settings.maxConcurrent, wake, now), write: new Lane(this.#settings.maxWrites, wake, now) };
  }

  /** Resolves when the member has joined and every machine has been looked at once. */
  async start(): Promise<void> {
    const { store, coordination } = this.#options;
    this.#watch = store.watch(nodeKind, (event) => this.#onEvent(event));
    this.#group = coordination.onChange(() => {
      this.#aliveOwners = new Set();
      void this.#wakeAll();
    });
    await this.#life.join();
    await this.#wakeAll();
  }

  /** Interrupts what runs, waits until it has ended, and lets other replicas take over at once. Machines keep their state. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the daemon is closing'));
    this.#life.stop();
    this.#watch?.close();
    this.#group?.close();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    await this.#interruptAll('the daemon is closing');
    await this.#life.leave();
  }

  /** This replica's life in the group; undefined while it has none. */
  get memberId(): string | undefined {
    return this.#life.membership?.id;
  }

  /** Becomes the owner of a machine that nobody alive owns, also of one that rests. Resolves to whether it is ours now. */
  async claim(id: string): Promise<boolean> {
    const record = await this.#options.store.get(nodeKind, id);
    const { membership } = this.#life;
    if (record === undefined || membership === undefined || record.value.recordVersion > RECORD_VERSION) return false;
    if (record.value.owner !== membership.id) await this.#claim(record, membership);
    return (await this.#options.store.get(nodeKind, id))?.value.owner === membership.id;
  }

  /** Look at this machine now. */
  wake(id: string): void {
    if (this.#stop.signal.aborted) return;
    this.#timers.get(id)?.cancel();
    this.#timers.delete(id);
    const running = this.#tasks.get(id);
    if (running !== undefined) {
      running.again = true;
      return;
    }
    const task: Task = { again: true, ended: Promise.resolve() };
    this.#tasks.set(id, task);
    task.ended = this.#drive(id, task);
  }

  async #drive(id: string, task: Task): Promise<void> {
    let next: Next = idle;
    try {
      while ((task.again || next === 'again') && this.#life.membership !== undefined && !this.#stop.signal.aborted) {
        task.again = false;
        const record = await this.#options.store.get(nodeKind, id);
        const { membership } = this.#life;
        next = record === undefined || membership === undefined ? idle : await this.#advance(record, task, membership);
      }
    } catch (error) {
      this.#options.logger.error({ node: id, error: String(error) }, 'the machine could not be looked after; trying again');
      next = { atMs: this.#options.clock.now() + TROUBLE_RETRY_MS };
    }
    this.#tasks.delete(id);
    if (next === 'again' || next.queued === undefined) this.#leaveLanes(id);
    if (next !== 'again' && next.atMs !== undefined && !this.#stop.signal.aborted) {
      const delayMs = Math.max(0, next.atMs - this.#options.clock.now());
      this.#timers.get(id)?.cancel();
      this.#timers.set(
        id,
        this.#options.clock.after(delayMs, () => this.wake(id)),
      );
    }
  }

  /** One step of one machine's life. */
  async #advance(record: Stored<NodeRecord>, task: Task, membership: Membership): Promise<Next> {
    const node = record.value;
    const entry = this.#states[node.state];
    if (node.recordVersion > RECORD_VERSION) return idle; // a newer program's machine: see docs/machine.md
    if (node.maintenance || (node.request === undefined && entry.rests(node))) return idle;
    if (node.owner !== membership.id) return this.#claim(record, membership);

    const now = this.#options.clock.now();
    if (node.request !== undefined) {
      await this.#write(record, answered(node, this.#states, this.#settings, now));
      return 'again';
    }
    const lane = this.#lanes[entry.lane];
    if (node.stateDeadline !== undefined && now >= node.stateDeadline) {
      if (await this.#timed(record, lane)) return 'again';
      const diagnosis = diagnose(node, entry.awaited, now, this.#settings.verbTimeoutMs);
      await this.#apply(
        record,
        failed(diagnosis, (latest) => withEvent(latest, { type: 'deadline missed', detail: `${latest.state}: ${diagnosis}` }, now)),
      );
      return 'again';
    }
    const pauseMs = node.nextAttemptAt === undefined ? 0 : node.nextAttemptAt - now;
    // Longer than any pause: whoever set it had a clock that was ahead, or ours was set back since.
    if (pauseMs > 0 && pauseMs <= this.#settings.retryMaxMs) return { atMs: earliest(node.nextAttemptAt, node.stateDeadline) };

    this.#lanes[entry.lane === 'write' ? 'general' : 'write'].leave(record.id);
    if (!lane.enter(record.id)) return { atMs: node.stateDeadline, queued: true };
    if (await this.#timed(record, lane)) return 'again'; // with its place: a second wait for it would be no shorter
    try {
      return await this.#work(record, task, membership);
    } finally {
      lane.leave(record.id);
    }
  }

  /** Whether the record had to be given its time: what a machine waits for its turn is no time of its state, since nobody has asked it anything. */
  async #timed(record: Stored<NodeRecord>, lane: Lane): Promise<boolean> {
    const { value } = record;
    const { deadline, deadlineFromStart } = this.#states[value.state];
    const now = this.#options.clock.now();
    const limitMs = deadline(this.#settings, value);
    const waitedMs = lane.waitedMs(record.id);
    let next: NodeRecord;
    if (value.stateDeadline !== undefined && waitedMs >= WAIT_MS) next = withTime(value, value.stateDeadline - now + waitedMs, now);
    else if (value.stateDeadline === undefined && deadlineFromStart && limitMs !== undefined)
      next = { ...value, stateDeadline: now + limitMs };
    else return false;
    if ((await this.#write(record, next)).outcome === 'stored') lane.told(record.id);
    return true;
  }

  async #work(record: Stored<NodeRecord>, task: Task, membership: Membership): Promise<Next> {
    const result = await this.#handle(record, task, membership);
    if (result === undefined) return 'again';
    await this.#apply(record, result);
    return result.kind === 'wait' ? { atMs: earliest(result.untilMs, record.value.stateDeadline) } : 'again';
  }

  #leaveLanes(id: string): void {
    this.#lanes.general.leave(id);
    this.#lanes.write.leave(id);
  }

  async #claim(record: Stored<NodeRecord>, membership: Membership): Promise<Next> {
    const node = record.value;
    const { clock, coordination, logger } = this.#options;
    if (node.owner !== undefined) {
      // The group's next change wakes us; until then its owner sees to it.
      const aliveOwners = this.#aliveOwners;
      if (await coordination.isAlive(node.owner)) {
        aliveOwners.add(node.owner);
        return idle;
      }
      logger.info({ node: node.name, from: node.owner, epoch: node.epoch + 1 }, 'taking over');
    }
    const limitMs = this.#states[node.state].deadline(this.#settings, node);
    await this.#write(record, claimed(node, membership.id, limitMs, clock.now()));
    return 'again';
  }

  /** Undefined: it was interrupted, and what it would have said does not count. */
  async #handle(record: Stored<NodeRecord>, task: Task, membership: Membership): Promise<StepResult | undefined> {
    const { clock } = this.#options;
    const node = record.value;
    const controller = new AbortController();
    const onLost = (): void => controller.abort(membership.lost.reason);
    membership.lost.addEventListener('abort', onLost, { once: true });
    if (membership.lost.aborted) onLost();
    const deadline =
      node.stateDeadline === undefined
        ? undefined
        : clock.after(Math.max(0, node.stateDeadline - clock.now()), () =>
            controller.abort(new Error('the deadline of the state has passed')),
          );
    task.controller = controller;
    // A watch event may have come before there was a signal to abort; `again` is then set, and the record must be read again.
    if (task.again) controller.abort(new Error('the record has changed'));
    try {
      if (controller.signal.aborted) return undefined;
      const { ports, random, logger } = this.#options;
      const report = (change: Change): Promise<NodeRecord> => this.#report(record, change, membership);
      return await runHandler(this.#states[node.state].handler, node, controller.signal, {
        ports,
        clock,
        random,
        logger,
        settings: this.#settings,
        takenBy: () => takenBy({ store: this.#options.store, clock }, node),
        report,
      });
    } finally {
      task.controller = undefined;
      deadline?.cancel();
      membership.lost.removeEventListener('abort', onLost);
    }
  }

  async #report(record: Stored<NodeRecord>, change: Change, membership: Membership): Promise<NodeRecord> {
    const written = await this.#change(record, (latest) => change(latest), membership.id);
    if (written === undefined) throw new Error('the machine has another owner or another state now');
    return written;
  }

  async #apply(record: Stored<NodeRecord>, result: StepResult): Promise<void> {
    if (result.kind === 'wait') return;
    const { clock, logger } = this.#options;
    const written = await this.#change(
      record,
      (latest) => applyResult(latest, result, this.#states, this.#settings, clock.now()),
      record.value.owner,
    );
    if (written !== undefined && result.kind === 'retry') {
      logger.warn({ node: written.name, state: record.value.state, attempt: written.attempts }, written.reason);
    }
  }

  /** Applies `change` to the newest record while it still is ours and in the state that was handled; undefined when it is not. */
  async #change(record: Stored<NodeRecord>, change: Change, owner: string | undefined): Promise<NodeRecord | undefined> {
    let latest: Stored<NodeRecord> | undefined = record;
    while (latest !== undefined) {
      const { value } = latest;
      if (!this.#isCurrent(value, record.value, owner)) return undefined;
      const written = await this.#write(latest, change(value));
      if (written.outcome === 'stored') return written.record.value;
      latest = written.current;
    }
    return undefined;
  }

  async #write(
    record: Stored<NodeRecord>,
    value: NodeRecord,
  ): Promise<{ outcome: 'stored'; record: Stored<NodeRecord> } | { outcome: 'conflict'; current: Stored<NodeRecord> | undefined }> {
    const result = await this.#options.store.update(nodeKind, { id: record.id, value }, record.version);
    const transition = value.history.at(-1);
    if (result.outcome === 'stored' && value.state !== record.value.state && transition !== undefined) {
      const { from, to, reason, durationMs } = transition;
      this.#options.logger.info({ node: value.name, from, to, durationMs }, reason);
      this.#options.onTransition?.(value, transition);
    }
    return result;
  }

  #onEvent(event: WatchEvent<NodeRecord>): void {
    if (event.type === 'invalid') this.#options.logger.error({ node: event.id, error: String(event.error) }, 'the record cannot be read');
    if (event.type !== 'put') return;
    const { id, value } = event.record;
    const mine = value.owner === this.#life.membership?.id;
    if (!mine && value.owner !== undefined && this.#aliveOwners.has(value.owner) && !this.#tasks.has(id)) return;
    const task = this.#tasks.get(id);
    if (task?.controller !== undefined) {
      if (!mine) task.controller.abort(new Error('the machine has another owner now'));
      else if (value.maintenance) task.controller.abort(new Error('the machine is in maintenance now'));
      else if (value.request !== undefined) {
        const answer = answerTo(value, this.#states);
        if (answer !== undefined && answer.kind !== 'step') task.controller.abort(new Error(`${value.request.verb} was asked for`));
      }
    }
    this.wake(id);
  }

  async #wakeAll(): Promise<void> {
    try {
      const records = await this.#options.store.list(nodeKind, {
        onInvalid: (id, error) => this.#options.logger.error({ node: id, error: String(error) }, 'the record cannot be read'),
      });
      for (const { id } of records) this.wake(id);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#options.logger.error({ error: String(error) }, 'the machines could not be listed; trying again');
      this.#options.clock.after(TROUBLE_RETRY_MS, () => void this.#wakeAll());
    }
  }

  async #interruptAll(reason: string): Promise<void> {
    for (const task of this.#tasks.values()) task.controller?.abort(new Error(reason));
    await Promise.all([...this.#tasks.values()].map((task) => task.ended));
  }
}

function earliest(...times: (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
