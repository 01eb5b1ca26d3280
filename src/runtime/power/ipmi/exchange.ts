import type { Clock, Timer } from '../../core/clock.ts';
import { powerErrors } from '../errors.ts';

export interface ExchangeOptions {
  readonly clock: Clock;
  /** One try per wait. */
  readonly waits: readonly number[];
  /** For the error. */
  readonly bmc: string;
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
  send(): void;
  /** It is over, one way or the other. */
  onEnd?(): void;
}

/** One question and its answer: sends, sends again, and gives up with IPMI_NO_ANSWER. Whoever hears the answer calls `settle`. */
export class Exchange<T> {
  readonly #options: ExchangeOptions;
  readonly #promise: Promise<T>;
  #resolve: (value: T) => void = nobody;
  #reject: (error: unknown) => void = nobody;
  #timer: Timer | undefined;
  #onAbort: (() => void) | undefined;
  #tries = 0;
  #done = false;
  #startMs = 0;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Call it when the answer can be heard: a virtual network may deliver it before `send` returns. */
  start(): Promise<T> {
    const { clock, signal } = this.#options;
    this.#startMs = clock.monotonic();
    if (signal?.aborted) {
      this.fail(signal.reason);
      return this.#promise;
    }
    if (signal) {
      this.#onAbort = () => this.fail(signal.reason);
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
    this.#try();
    return this.#promise;
  }

  settle(value: T): void {
    if (this.#done) return;
    this.#finish();
    this.#resolve(value);
  }

  fail(error: unknown): void {
    if (this.#done) return;
    this.#finish();
    this.#reject(error);
  }

  #try(): void {
    const { clock, waits, bmc, what } = this.#options;
    const wait = waits[this.#tries];
    if (wait === undefined) {
      this.fail(powerErrors.IPMI_NO_ANSWER({ bmc, what, tries: this.#tries, waitedMs: clock.monotonic() - this.#startMs }));
      return;
    }
    this.#tries += 1;
    this.#timer = clock.after(wait, () => this.#try());
    this.#options.send();
  }

  #finish(): void {
    this.#done = true;
    this.#timer?.cancel();
    if (this.#onAbort) this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.onEnd?.();
  }
}

function nobody(): void {
  // replaced when the promise is made
}
