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
}

/** One question and its answer: sends, sends again, and gives up with IPMI_NO_ANSWER. Whoever hears the answer calls `settle`. */
export class Exchange<T> {
  private readonly promise: Promise<T>;
  #resolve: (value: T) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #timer: Timer | undefined;
  #tries = 0;
  #done = false;
  #startMs = 0;
  readonly #onAbort = (): void => this.fail(this.options.signal?.reason);

  constructor(private readonly options: ExchangeOptions) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Call it when the answer can be heard: a virtual network may deliver it before `send` returns. */
  start(): Promise<T> {
    const { clock, signal } = this.options;
    this.#startMs = clock.monotonic();
    if (signal?.aborted) {
      this.fail(signal.reason);
      return this.promise;
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#try();
    return this.promise;
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
    const { clock, waits, bmc, what } = this.options;
    const wait = waits[this.#tries];
    if (wait === undefined) {
      this.fail(powerErrors.IPMI_NO_ANSWER({ bmc, what, tries: this.#tries, waitedMs: clock.monotonic() - this.#startMs }));
      return;
    }
    this.#tries += 1;
    this.#timer = clock.after(wait, () => this.#try());
    this.options.send();
  }

  #finish(): void {
    this.#done = true;
    this.#timer?.cancel();
    this.options.signal?.removeEventListener('abort', this.#onAbort);
  }
}
