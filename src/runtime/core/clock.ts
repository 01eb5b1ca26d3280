/**
 * Time as the daemons see it. Nothing outside core's Node adapters may read the real clock or set a real timer: the same
 * code then runs on a virtual clock in the simulator.
 */
export interface Timer {
  /** Harmless when the timer has fired or was cancelled before. */
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, milliseconds since 1970-01-01 UTC. May jump; use it for what people read and what is stored. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. Use it for durations. */
  monotonic(): number;
  /** Calls `callback` once after `delayMs` milliseconds. */
  after(delayMs: number, callback: () => void): Timer;
}

/** Resolves after `delayMs`; rejects with the signal's reason when `signal` aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Runs `work` with a signal that aborts after `limitMs` (reason: `onTimeout()`) or when `parent` aborts (its reason).
 * `work` must listen to the signal; the returned promise settles at the limit even when it does not.
 */
export async function withDeadline<T>(
  clock: Clock,
  limitMs: number,
  onTimeout: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
  parent?: AbortSignal,
): Promise<T> {
  const controller = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
  });
  aborted.catch(() => undefined); // lost the race: nobody is left to hear it
  const onParent = (): void => controller.abort(parent?.reason);
  if (parent?.aborted) onParent();
  parent?.addEventListener('abort', onParent, { once: true });
  const timer = clock.after(limitMs, () => controller.abort(onTimeout()));
  try {
    return await Promise.race([work(controller.signal), aborted]);
  } finally {
    timer.cancel();
    parent?.removeEventListener('abort', onParent);
  }
}
