/** Client-side throttling: so many requests a second on average, so many at once, in the order in which they asked. */
import { type Clock, sleep } from 'cdk8s-baremetal-runtime/core/clock';

export interface TokenBucketOptions {
  /** Tokens that come back each second. */
  readonly perSecond: number;
  /** Tokens when full. */
  readonly burst: number;
}

export class TokenBucket {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #countedAt: number;

  constructor(clock: Clock, { perSecond, burst }: TokenBucketOptions) {
    this.#clock = clock;
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#countedAt = clock.monotonic();
  }

  /**
   * Resolves when the caller may go, with the milliseconds that it waited. Rejects with the signal's reason, and then takes
   * no token.
   */
  async take(signal?: AbortSignal): Promise<number> {
    signal?.throwIfAborted();
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#countedAt) * this.#perMs);
    this.#countedAt = now;
    this.#tokens -= 1; // may go below zero: that is the queue, and who comes later waits longer
    if (this.#tokens >= 0) return 0;
    const waitMs = Math.ceil(-this.#tokens / this.#perMs);
    try {
      await sleep(this.#clock, waitMs, signal);
    } catch (error) {
      this.#tokens += 1;
      throw error;
    }
    return waitMs;
  }
}
