/**
 * A clock whose timers are cheap to cancel: for answers, which nearly always come before the time is up. Timers fire never early and up to 10 ms late.
 *
 * Node keeps a list, and a place in a heap, for each different delay; with jittered delays that is one for nearly every packet sent. Here a timer is a member of a set,
 * and one real timer stands for all: it is not moved when the earliest is cancelled, and finds out itself that nothing was due.
 */
import type { Clock, Timer } from '../../core/clock.ts';

const GRAIN_MS = 10;

export class CoarseClock implements Clock {
  readonly #clock: Clock;
  /** By the tick that they are due at. */
  readonly #timers = new Map<number, Set<CoarseTimer>>();
  #alarm: { readonly tick: number; readonly timer: Timer } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  after(delayMs: number, callback: () => void): Timer {
    const tick = Math.ceil((this.#clock.monotonic() + delayMs) / GRAIN_MS);
    let due = this.#timers.get(tick);
    if (due === undefined) {
      due = new Set();
      this.#timers.set(tick, due);
    }
    const timer = new CoarseTimer(callback, due);
    due.add(timer);
    if (this.#alarm === undefined || tick < this.#alarm.tick) this.#setAlarm(tick);
    return timer;
  }

  /** Cancels every timer. */
  close(): void {
    this.#timers.clear();
    this.#alarm?.timer.cancel();
    this.#alarm = undefined;
  }

  #setAlarm(tick: number): void {
    this.#alarm?.timer.cancel();
    const delayMs = Math.max(tick * GRAIN_MS - this.#clock.monotonic(), 0);
    this.#alarm = { tick, timer: this.#clock.after(delayMs, () => this.#ring()) };
  }

  #ring(): void {
    this.#alarm = undefined;
    const now = this.#clock.monotonic() / GRAIN_MS;
    let next = Number.POSITIVE_INFINITY;
    const ready: CoarseTimer[] = [];
    for (const [tick, due] of this.#timers) {
      if (tick <= now || due.size === 0) this.#timers.delete(tick);
      if (tick <= now) ready.push(...due);
      else if (due.size > 0) next = Math.min(next, tick);
    }
    if (next < Number.POSITIVE_INFINITY) this.#setAlarm(next);
    for (const timer of ready) timer.fire();
  }
}

class CoarseTimer implements Timer {
  readonly #callback: () => void;
  readonly #due: Set<CoarseTimer>;

  constructor(callback: () => void, due: Set<CoarseTimer>) {
    this.#callback = callback;
    this.#due = due;
  }

  cancel(): void {
    this.#due.delete(this);
  }

  /** Unless another one that was due at the same moment has cancelled it. */
  fire(): void {
    if (this.#due.delete(this)) this.#callback();
  }
}
