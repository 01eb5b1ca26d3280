import { type Random, randomInt } from '../../core/random.ts';

/**
 * How long to wait for an answer after each try, in milliseconds; as many tries as waits. Drawn anew for every exchange, so
 * that thousands of BMCs behind one switch that lost a burst are not asked again in the same instant.
 */
export type RetransmissionSchedule = (random: Random) => readonly number[];

const BASE_MS = [1000, 2000, 3000, 4000]; // 4 tries in 10 s: a BMC that is busy with its sensors can take seconds
const JITTER = 0.2;

export const defaultSchedule: RetransmissionSchedule = (random) => jittered(BASE_MS, random);

/** `waits` moved by up to ±20 % each. */
export function jittered(waits: readonly number[], random: Random): readonly number[] {
  return waits.map((ms) => {
    const span = Math.round(ms * JITTER * 2);
    return Math.round(ms * (1 - JITTER)) + (span > 0 ? randomInt(random, span + 1) : 0);
  });
}
