import type { Clock } from './clock.ts';

/** setTimeout fires at once for delays above this (a signed 32-bit count of milliseconds, 24.8 days). */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** The machine's own clock. */
export const nodeClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    const handle = setTimeout(callback, Math.min(delayMs, LONGEST_TIMEOUT_MS));
    return { cancel: () => clearTimeout(handle) };
  },
};
