import type { Clock } from '../core/clock.ts';
import type { AcquireOptions, Lease } from './coordination.ts';
import { coordinationErrors } from './errors.ts';

interface Waiting {
  readonly limit: number;
  readonly granted: (lease: Lease) => void;
  readonly refused: (reason: unknown) => void;
}

interface Semaphore {
  readonly name: string;
  readonly held: Set<AbortController>;
  readonly line: Waiting[];
}

/** The semaphores of one process. Only its holder, and `close`, end a lease. */
export class MemorySemaphores {
  readonly #clock: Clock;
  readonly #semaphores = new Map<string, Semaphore>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async acquire(name: string, { limit, timeoutMs, signal }: AcquireOptions): Promise<Lease> {
    checkLimit(name, limit);
    signal?.throwIfAborted();
    const semaphore = this.#semaphores.get(name) ?? { name, held: new Set(), line: [] };
    this.#semaphores.set(name, semaphore);
    const { promise, resolve, reject } = Promise.withResolvers<Lease>();
    const waiting: Waiting = { limit, granted: resolve, refused: reject };
    semaphore.line.push(waiting);
    const leave = (reason: unknown): void => {
      const place = semaphore.line.indexOf(waiting);
      if (place < 0) return; // granted at this very moment
      semaphore.line.splice(place, 1);
      reject(reason);
      this.#advance(semaphore);
    };
    const onAbort = (): void => leave(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = this.#clock.after(timeoutMs, () =>
      leave(coordinationErrors.COORDINATION_BUSY({ name, limit, waitedS: timeoutMs / 1000 })),
    );
    this.#advance(semaphore);
    try {
      return await promise;
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  close(): void {
    for (const { name, held, line } of this.#semaphores.values()) {
      for (const waiting of line.splice(0)) waiting.refused(coordinationErrors.COORDINATION_CLOSED({}));
      for (const controller of held) controller.abort(leaseLost(name, 'the service was closed'));
      held.clear();
    }
    this.#semaphores.clear();
  }

  #advance(semaphore: Semaphore): void {
    const { name, held, line } = semaphore;
    for (let first = line[0]; first !== undefined && held.size < first.limit; first = line[0]) {
      line.shift();
      const controller = new AbortController();
      held.add(controller);
      first.granted({
        lost: controller.signal,
        release: async () => {
          if (!held.delete(controller)) return;
          controller.abort(leaseLost(name, 'it was given back'));
          this.#advance(semaphore);
        },
      });
    }
    if (held.size === 0 && line.length === 0 && this.#semaphores.get(name) === semaphore) this.#semaphores.delete(name);
  }
}

export function checkLimit(name: string, limit: number): void {
  if (!Number.isSafeInteger(limit) || limit < 1) throw coordinationErrors.COORDINATION_LIMIT({ name, limit });
}

function leaseLost(name: string, reason: string): Error {
  return coordinationErrors.COORDINATION_LEASE_LOST({ name, reason });
}
