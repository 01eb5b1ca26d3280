/**
 * The Leases of a scope as they are now, from one watch, and the end of those that nobody renews.
 *
 * When a Lease has expired is measured by the clock of who watches, from the moment that he saw it change: nobody's idea of the time of day counts. Who finds
 * one expired deletes it, in the very version that he has seen all that while: that succeeds only if there was no renewal, and from then on nobody can
 * take it for alive, its holder included, whose next renewal finds nothing. So "dead" is final, and the same for all.
 */
import { type Clock, sleep, type Timer } from '../../core/clock.ts';
import { LeasePositionLost, type LeaseSource, type StoredLease } from './lease-source.ts';

export interface LeaseBoardOptions {
  readonly source: LeaseSource;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** After a Lease has come, changed or gone; `was` and `is` are the same in a renewal but for their revision. */
  readonly onChange: (change: { readonly was: StoredLease | undefined; readonly is: StoredLease | undefined }) => void;
}

interface Known {
  readonly lease: StoredLease;
  readonly expiry: Timer | undefined;
}

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** Between attempts to end an expired one while the API server is away. */
const RETRY_MS = 1_000;

export class LeaseBoard {
  readonly #options: LeaseBoardOptions;
  readonly #known = new Map<string, Known>();
  #running: Promise<void> | undefined;
  #listed = false;

  constructor(options: LeaseBoardOptions) {
    this.#options = options;
  }

  /** Begins to watch; harmless when repeated. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Once the signal has aborted. */
  async ended(): Promise<void> {
    for (const { expiry } of this.#known.values()) expiry?.cancel();
    await this.#running;
  }

  get(name: string): StoredLease | undefined {
    return this.#known.get(name)?.lease;
  }

  /** Past all that is cached. */
  async read(name: string): Promise<StoredLease | undefined> {
    const lease = await this.#options.source.get(name);
    if (lease !== undefined) this.learn(lease);
    return lease;
  }

  learn(lease: StoredLease): void {
    const { clock, signal } = this.#options;
    const known = this.#known.get(lease.name);
    if (signal.aborted || (known !== undefined && known.lease.revision >= lease.revision)) return; // own writes come back, late
    known?.expiry?.cancel();
    const expiry = lease.kind === 'line' ? undefined : clock.after(lease.durationMs, () => void this.#expired(lease));
    this.#known.set(lease.name, { lease, expiry });
    this.#tell(known?.lease, lease);
  }

  #forget(name: string, position: bigint): void {
    const known = this.#known.get(name);
    if (known === undefined || known.lease.revision > position) return; // made anew since
    known.expiry?.cancel();
    this.#known.delete(name);
    this.#tell(known.lease, undefined);
  }

  /** What the first list finds is the state of things; but what was read or written before it, somebody may have relied on. */
  #tell(was: StoredLease | undefined, is: StoredLease | undefined): void {
    if ((this.#listed || was !== undefined) && !this.#options.signal.aborted) this.#options.onChange({ was, is });
  }

  async #expired(seen: StoredLease): Promise<void> {
    const { source, clock, signal } = this.#options;
    while (!signal.aborted && this.get(seen.name)?.revision === seen.revision) {
      try {
        if (await source.remove(seen)) return this.#forget(seen.name, seen.revision);
        const found = await this.read(seen.name); // it was renewed, and the watch did not say so
        if (found === undefined) this.#forget(seen.name, seen.revision);
      } catch {
        await sleep(clock, RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  /** Until the signal aborts. What goes wrong only delays the news: who asks for something hears of it. */
  async #run(): Promise<void> {
    const { source, clock, signal } = this.#options;
    let position: bigint | undefined;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      try {
        if (position === undefined) {
          position = await this.#list();
          pauseMs = FIRST_PAUSE_MS;
        }
        for await (const event of source.watch(position, signal)) {
          position = event.position;
          if (event.type === 'put') this.learn(event.lease);
          else if (event.type === 'gone') this.#forget(event.name, event.position);
        }
      } catch (error) {
        if (signal.aborted) return;
        position = undefined;
        if (error instanceof LeasePositionLost) continue;
        await sleep(clock, pauseMs, signal).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    }
  }

  async #list(): Promise<bigint> {
    const { leases, position } = await this.#options.source.list();
    const names = new Set(leases.map(({ name }) => name));
    for (const name of [...this.#known.keys()]) if (!names.has(name)) this.#forget(name, position);
    for (const lease of leases) this.learn(lease);
    this.#listed = true;
    return position;
  }
}
