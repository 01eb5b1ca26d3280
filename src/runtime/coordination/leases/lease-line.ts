/**
 * A semaphore: one Lease whose annotation holds the line of those who want a place; the first `limit` of them have one. Every change of the line is a
 * compare-and-swap, so its order is that of asking. A ticket is worth what its session is: those of sessions that are gone are taken out by whoever waits.
 */
import { type Clock, sleep } from '../../core/clock.ts';
import { type Random, randomUuid } from '../../core/random.ts';
import type { Lease } from '../coordination.ts';
import { coordinationErrors } from '../errors.ts';
import type { HeldLease } from './held-lease.ts';
import type { LeaseBoard } from './lease-board.ts';
import type { LeaseSource, StoredLease, Ticket } from './lease-source.ts';

export interface LeaseLineOptions {
  readonly source: LeaseSource;
  readonly board: LeaseBoard;
  readonly clock: Clock;
  readonly random: Random;
  /** The Lease's. */
  readonly name: string;
  /** The semaphore's. */
  readonly subject: string;
  /** Of the coordination as a whole. */
  readonly closing: AbortSignal;
}

/** While others change it, too. */
const CONFLICT_PAUSE_MS = 5;
const RETRY_MS = 1_000;

export class LeaseLine {
  readonly #options: LeaseLineOptions;
  readonly #wakes = new Set<() => void>();
  /** Own edits follow each other: they would only get into each other's way. */
  #editing: Promise<unknown> = Promise.resolve();

  constructor(options: LeaseLineOptions) {
    this.#options = options;
  }

  /** The line, or a session, has changed. */
  changed(): void {
    for (const wake of this.#wakes) wake();
  }

  /** Takes a place at its end and waits until fewer than `limit` stand before it, or `stop` aborts. */
  async stand(session: HeldLease, limit: number, stop: AbortSignal): Promise<Lease> {
    const { clock, random, board, name, subject } = this.#options;
    const ticket: Ticket = { id: randomUuid(random), session: session.name };
    const end = AbortSignal.any([stop, session.lost]);
    let wake = (): void => undefined;
    const woken = (): void => wake();
    this.#wakes.add(woken);
    end.addEventListener('abort', woken, { once: true });
    try {
      await this.#edit((line) => (line.some(({ id }) => id === ticket.id) ? line : [...line, ticket]), end);
      for (;;) {
        const change = Promise.withResolvers<void>();
        wake = change.resolve;
        end.throwIfAborted();
        const line = board.get(name)?.line ?? [];
        const place = line.findIndex(({ id }) => id === ticket.id);
        if (place < 0) throw coordinationErrors.COORDINATION_LEASE_LOST({ name: subject, reason: 'somebody took it out of the line' });
        if (place < limit) return this.#lease(session, ticket);
        await this.#prune(line.slice(0, place)).catch(() => sleep(clock, RETRY_MS, end));
        if (board.get(name)?.line === line) await change.promise;
      }
    } catch (error) {
      this.#leave(ticket, session);
      throw error;
    } finally {
      this.#wakes.delete(woken);
      end.removeEventListener('abort', woken);
    }
  }

  #lease(session: HeldLease, ticket: Ticket): Lease {
    const { subject } = this.#options;
    const over = new AbortController();
    const end = (reason: string): void => over.abort(coordinationErrors.COORDINATION_LEASE_LOST({ name: subject, reason }));
    const onLost = (): void => end('its session is gone');
    session.lost.addEventListener('abort', onLost, { once: true });
    if (session.lost.aborted) onLost();
    return {
      lost: over.signal,
      release: async () => {
        if (over.signal.aborted) return;
        session.lost.removeEventListener('abort', onLost);
        end('it was given back');
        await this.#leave(ticket, session);
      },
    };
  }

  /** Resolves once it is out of the line, or that has failed for now; goes on trying then. Its session's end takes it out, too. */
  #leave(ticket: Ticket, session: HeldLease): Promise<void> {
    const { clock, closing } = this.#options;
    const end = AbortSignal.any([closing, session.lost]);
    const without = (line: readonly Ticket[]): readonly Ticket[] => line.filter(({ id }) => id !== ticket.id);
    const again = async (): Promise<void> => {
      while (!end.aborted) {
        await sleep(clock, RETRY_MS, end).catch(() => undefined);
        if (
          end.aborted ||
          (await this.#edit(without, end).then(
            () => true,
            () => false,
          ))
        )
          return;
      }
    };
    return this.#edit(without, end).catch(() => void again());
  }

  /** Takes out the tickets of sessions that are gone. A session was there before its tickets, so one that cannot be read is over. */
  async #prune(line: readonly Ticket[]): Promise<void> {
    const { board, closing } = this.#options;
    const gone = new Set<string>();
    for (const name of new Set(line.map(({ session }) => session)))
      if (board.get(name) === undefined && (await board.read(name)) === undefined) gone.add(name);
    if (gone.size > 0) await this.#edit((all) => all.filter(({ session }) => !gone.has(session)), closing);
  }

  #edit(change: (line: readonly Ticket[]) => readonly Ticket[], signal: AbortSignal): Promise<void> {
    const edited = this.#editing.then(() => this.#swap(change, signal));
    this.#editing = edited.catch(() => undefined);
    return edited;
  }

  async #swap(change: (line: readonly Ticket[]) => readonly Ticket[], signal: AbortSignal): Promise<void> {
    const { source, board, clock, name, subject } = this.#options;
    const fields = { kind: 'line' as const, name, subject, holder: '', durationMs: 0 };
    for (let tries = 0; ; tries++) {
      signal.throwIfAborted();
      const seen = await source.get(name);
      const before = seen?.line ?? [];
      const line = change(before);
      if (line.length === before.length) {
        if (seen !== undefined) board.learn(seen);
        return;
      }
      let written: StoredLease | undefined;
      if (seen === undefined) written = await source.create({ ...fields, line });
      // nobody stands in it any more
      else if (line.length === 0 && (await source.remove(seen))) return;
      else written = await source.replace(seen, { ...fields, line });
      if (written !== undefined) return board.learn(written);
      await sleep(clock, CONFLICT_PAUSE_MS * Math.min(tries + 1, 10), signal);
    }
  }
}
