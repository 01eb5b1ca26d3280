/**
 * A Lease that this process holds: renewed every third of its time, and given up by its own watchdog at two thirds of it after the sending of the last
 * renewal that was confirmed, while others wait for the whole time.
 */
import { type Clock, sleep, type Timer } from '../../core/clock.ts';
import type { LeaseFields, LeaseSource, StoredLease } from './lease-source.ts';

export interface HeldLeaseOptions {
  readonly source: LeaseSource;
  readonly clock: Clock;
  readonly fields: LeaseFields;
  readonly lostError: (reason: string) => Error;
  /** After each write of it. */
  readonly onWritten: (lease: StoredLease) => void;
}

/** After a renewal that failed: often enough to succeed before the watchdog, where that can be. */
const RETRIES_PER_LEASE = 15;

export class HeldLease {
  readonly #options: HeldLeaseOptions;
  readonly #over = new AbortController();
  #stored: StoredLease;
  #watchdog: Timer | undefined;
  #wake = new AbortController();
  #renewing: Promise<void>;

  /** Takes it over from whoever holds it: the youngest life under a name wins. */
  static async claim(options: HeldLeaseOptions): Promise<HeldLease> {
    const { source, clock, fields } = options;
    for (;;) {
      const sentAt = clock.monotonic();
      const created = await source.create(fields);
      if (created !== undefined) return new HeldLease(options, created, sentAt);
      const found = await source.get(fields.name);
      if (found === undefined) continue;
      // an answer that was lost: it is ours already
      const taken = found.holder === fields.holder ? found : await source.replace(found, fields);
      if (taken !== undefined) return new HeldLease(options, taken, sentAt);
    }
  }

  private constructor(options: HeldLeaseOptions, stored: StoredLease, sentAt: number) {
    this.#options = options;
    this.#stored = stored;
    this.#confirm(stored, sentAt);
    this.#renewing = this.#renew();
  }

  get lost(): AbortSignal {
    return this.#over.signal;
  }

  get holder(): string {
    return this.#options.fields.holder;
  }

  get name(): string {
    return this.#options.fields.name;
  }

  /** Somebody says that it may be another's by now: look. */
  check(): void {
    this.#wake.abort();
  }

  /** Ends it, for others too; those wait for its end where the API server cannot be told. */
  async release(reason: string): Promise<void> {
    if (!this.#over.signal.aborted) {
      this.#end(reason);
      await this.#renewing;
      await this.#removed().catch(() => undefined);
    }
  }

  async #renew(): Promise<void> {
    const { source, clock, fields } = this.#options;
    const signal = this.#over.signal;
    let pauseMs = fields.durationMs / 3;
    while (!signal.aborted) {
      await sleep(clock, pauseMs, AbortSignal.any([signal, this.#wake.signal])).catch(() => undefined);
      if (signal.aborted) return;
      if (this.#wake.signal.aborted) this.#wake = new AbortController();
      try {
        const sentAt = clock.monotonic();
        const renewed = await source.replace(this.#stored, fields);
        if (renewed !== undefined) {
          this.#confirm(renewed, sentAt);
          pauseMs = fields.durationMs / 3;
          continue;
        }
        const found = await source.get(fields.name);
        if (found?.holder !== fields.holder) return this.#end(found === undefined ? 'its Lease is gone' : 'the same member joined again');
        this.#stored = found; // an earlier renewal, whose answer was lost: no confirmation of when it was
        pauseMs = 0;
      } catch {
        pauseMs = fields.durationMs / RETRIES_PER_LEASE;
      }
    }
  }

  #confirm(stored: StoredLease, sentAt: number): void {
    const { clock, fields, onWritten } = this.#options;
    this.#stored = stored;
    if (!this.#over.signal.aborted) onWritten(stored);
    this.#watchdog?.cancel();
    const leftMs = sentAt + (fields.durationMs * 2) / 3 - clock.monotonic();
    this.#watchdog = clock.after(Math.max(0, leftMs), () => this.#end('no renewal in time'));
  }

  #end(reason: string): void {
    this.#watchdog?.cancel();
    if (!this.#over.signal.aborted) this.#over.abort(this.#options.lostError(reason));
  }

  async #removed(): Promise<void> {
    const { source, fields } = this.#options;
    let seen: StoredLease | undefined = this.#stored;
    while (seen?.holder === fields.holder && !(await source.remove(seen))) seen = await source.get(fields.name);
  }
}
