import { type Clock, sleep } from '../../core/clock.ts';

/** Lets `perSecond` through on average, `burst` at once. `Infinity` lets all through. */
export class TokenBucket {
  #tokens: number;
  #filledMs: number;

  constructor(
    private readonly clock: Clock,
    private readonly perSecond: number,
    private readonly burst: number,
  ) {
    this.#tokens = burst;
    this.#filledMs = clock.monotonic();
  }

  /** Undefined when one may go at once; else a promise to wait for. Takes are served in the order of calls. */
  take(signal?: AbortSignal): Promise<void> | undefined {
    if (!Number.isFinite(this.perSecond)) return undefined;
    const now = this.clock.monotonic();
    this.#tokens = Math.min(this.burst, this.#tokens + ((now - this.#filledMs) * this.perSecond) / 1000);
    this.#filledMs = now;
    this.#tokens -= 1; // below zero: a place in the queue
    return this.#tokens >= 0 ? undefined : sleep(this.clock, (-this.#tokens * 1000) / this.perSecond, signal);
  }
}
