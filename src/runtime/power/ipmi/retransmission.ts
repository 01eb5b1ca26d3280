import { type Random, randomInt } from '../../core/random.ts';

/**
 * How long to wait for an answer after each try, in milliseconds; as many tries as waits. Drawn anew for every exchange, so
 * that thousands of BMCs behind one switch that lost a burst are not asked again in the same instant.
 */
export type RetransmissionSchedule = (random: Random) => readonly number[];

const BASE_MS = [1000, 2000, 3000, 4000]; // 4 tries in 10 s: a BMC that is busy with its sensors can take seconds
const JITTER = 0.2;
const JITTER_STEPS = 1000;

export const defaultSchedule: RetransmissionSchedule = (random) => jittered(BASE_MS, random);

/** `waits`, all longer or shorter by the same share of up to 20 %. */
export function jittered(waits: readonly number[], random: Random): readonly number[] {
  const factor = 1 - JITTER + (randomInt(random, JITTER_STEPS + 1) * 2 * JITTER) / JITTER_STEPS;
  return waits.map((ms) => Math.round(ms * factor));
}
