/** How long to wait before the next try. */
import { type Random, randomInt } from 'cdk8s-baremetal-runtime/core/random';

export interface BackoffOptions {
  /** Pause after the first failure. */
  readonly baseMs: number;
  /** Longest pause, before jitter. */
  readonly maxMs: number;
}

/** base × 2^failures up to the maximum; `failures` counts from 0. */
export function exponentialMs({ baseMs, maxMs }: BackoffOptions, failures: number): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(failures, 40)); // 2^40 ms are 34 years
}

/** Between ½ and 1½ of `ms`, so that what failed together does not come back together. */
export function jittered(random: Random, ms: number): number {
  return ms / 2 + (ms * randomInt(random, 1_000_001)) / 1_000_000;
}
