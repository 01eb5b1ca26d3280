import type { Clock, Timer } from '../core/clock.ts';
import type { AcquireOptions, Coordination, Lease, Membership } from './coordination.ts';
import { coordinationErrors } from './errors.ts';
import { MemorySemaphores } from './memory-semaphores.ts';

export interface MemoryCoordinationOptions {
  readonly clock: Clock;
  /** How long others count a silent member alive. Default 15,000. */
  readonly leaseMs?: number;
}

interface Member {
  readonly name: string;
  readonly controller: AbortController;
  timers: Timer[];
}

/** The group of one process: a single management node, or a simulated pod whose replicas share this object. */
export class MemoryCoordination implements Coordination {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #members = new Map<string, Member>();
  readonly #handlers = new Set<() => void>();
  readonly #semaphores: MemorySemaphores;
  readonly #startedAt: number;
  #lives = 0;
  #closed = false;

  constructor({ clock, leaseMs = 15_000 }: MemoryCoordinationOptions) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#leaseMs = leaseMs;
    this.#semaphores = new MemorySemaphores(clock);
  }

  async join(name: string): Promise<Membership> {
    if (this.#closed) throw coordinationErrors.COORDINATION_CLOSED({});
    for (const [id, member] of this.#members) if (member.name === name) this.#end(id, 'the same member joined again');
    this.#lives += 1;
    // the start of this process's group is in it: records of an earlier process name other lives, and are taken over
    const id = `${name}#${this.#startedAt.toString(36)}.${this.#lives}`;
    const controller = new AbortController();
    this.#members.set(id, { name, controller, timers: [] });
    this.#changed();
    return { id, lost: controller.signal, leave: async () => this.#end(id, 'it left') };
  }

  async isAlive(memberId: string): Promise<boolean> {
    return this.#members.has(memberId);
  }

  onChange(handler: () => void): { close(): void } {
    this.#handlers.add(handler);
    return { close: () => this.#handlers.delete(handler) };
  }

  async acquire(name: string, options: AcquireOptions): Promise<Lease> {
    if (this.#closed) throw coordinationErrors.COORDINATION_CLOSED({});
    return this.#semaphores.acquire(name, options);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#semaphores.close();
    for (const id of this.#members.keys()) this.#end(id, 'the service was closed');
    this.#handlers.clear();
  }

  /** For simulations: the member cannot reach the others from now on, nor they it. */
  partition(memberId: string): void {
    const member = this.#members.get(memberId);
    if (member === undefined || member.timers.length > 0) return;
    const lose = (): void =>
      member.controller.abort(coordinationErrors.COORDINATION_LOST({ member: memberId, reason: 'no renewal in time' }));
    member.timers = [
      this.#clock.after((this.#leaseMs * 2) / 3, lose),
      this.#clock.after(this.#leaseMs, () => this.#end(memberId, 'its lease ran out')),
    ];
  }

  /** For simulations: the process is gone without a word; others notice when the lease has run out. */
  crash(memberId: string): void {
    const member = this.#members.get(memberId);
    if (member === undefined) return;
    for (const timer of member.timers) timer.cancel();
    member.timers = [this.#clock.after(this.#leaseMs, () => this.#end(memberId, 'its lease ran out'))];
  }

  #end(id: string, reason: string): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    this.#members.delete(id);
    for (const timer of member.timers) timer.cancel();
    member.controller.abort(coordinationErrors.COORDINATION_LOST({ member: id, reason }));
    this.#changed();
  }

  #changed(): void {
    for (const handler of this.#handlers) queueMicrotask(handler);
  }
}
