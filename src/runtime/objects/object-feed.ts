/**
 * The objects of one pair of management nodes as they are now: a list, then a watch from there on, resumed where it ended and begun anew where it broke.
 * Until the first list, and while the API server is away, nobody concludes from an object's absence that it was deleted.
 */
import { type Clock, sleep } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { MachineObject } from './machine-object.ts';
import { type ObjectSource, PositionLost } from './object-source.ts';

export interface ObjectFeedOptions {
  readonly source: ObjectSource;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Whether it is ours. */
  readonly isOurs: (object: MachineObject) => boolean;
  readonly onChange: (name: string) => void;
  /** A complete list has come. */
  readonly onListed: () => void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;

export class ObjectFeed {
  readonly #options: ObjectFeedOptions;
  readonly #objects = new Map<string, MachineObject>();
  #listed = false;
  #reading = false;

  constructor(options: ObjectFeedOptions) {
    this.#options = options;
  }

  /** Whether what `get` does not know is not there. */
  get listed(): boolean {
    return this.#listed;
  }

  /** Whether what `get` knows is what the API server says now, as far as anybody can tell. */
  get reading(): boolean {
    return this.#reading;
  }

  get(name: string): MachineObject | undefined {
    return this.#objects.get(name);
  }

  names(): string[] {
    return [...this.#objects.keys()];
  }

  /** After a write of our own. */
  learn(object: MachineObject): void {
    if (this.#options.isOurs(object)) this.#objects.set(object.name, object);
    else this.#objects.delete(object.name);
    this.#options.onChange(object.name);
  }

  /** Until the signal aborts. */
  async run(): Promise<void> {
    const { source, clock, logger, signal } = this.#options;
    let position: string | undefined;
    let pauseMs = FIRST_PAUSE_MS;
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (position === undefined) {
          const listing = await source.list(signal);
          this.#replace(listing.objects);
          position = listing.position;
          this.#reading = true;
          if (failures > 0) logger.info('BareMetalNode objects are read again');
          failures = 0;
          pauseMs = FIRST_PAUSE_MS;
        }
        for await (const event of source.watch(position, signal)) {
          position = event.position;
          if (event.type === 'put') this.learn(event.object);
          else if (event.type === 'gone') this.#forget(event.name);
        }
      } catch (error) {
        if (signal.aborted) return;
        position = undefined;
        if (error instanceof PositionLost) continue;
        this.#reading = false;
        failures += 1;
        const code = error instanceof Error && 'code' in error ? { code: error.code } : {};
        if (failures === 1) logger.warn({ error: String(error), ...code }, 'BareMetalNode objects cannot be read; trying again');
        await sleep(clock, pauseMs, signal).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    }
  }

  #replace(objects: readonly MachineObject[]): void {
    const ours = objects.filter((object) => this.#options.isOurs(object));
    const names = new Set(ours.map(({ name }) => name));
    for (const name of this.names()) if (!names.has(name)) this.#forget(name);
    for (const object of ours) this.learn(object);
    this.#listed = true;
    this.#options.onListed();
  }

  #forget(name: string): void {
    if (this.#objects.delete(name)) this.#options.onChange(name);
  }
}
