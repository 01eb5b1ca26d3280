/**
 * Randomness that can be told again: one seed, one sequence. The generator is sfc32 (Chris Doty-Humphrey's Small Fast
 * Counting generator, 128 bits of state, passes PractRand); it is not cryptographic and has no place in production.
 */
import { createHash } from 'node:crypto';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';

export interface SeededRandom extends Random {
  /** A number in [0, 1) with 32 bits of precision. */
  fraction(): number;
  /**
   * An independent generator that depends on this one's seed and `label` only, not on what was drawn so far: one more draw in
   * one place then does not change the history of another.
   */
  fork(label: string): SeededRandom;
}

export function seededRandom(seed: number | string): SeededRandom {
  const digest = createHash('sha256').update(`${seed}`).digest();
  let a = digest.readUInt32LE(0);
  let b = digest.readUInt32LE(4);
  let c = digest.readUInt32LE(8);
  let counter = digest.readUInt32LE(12);
  const next = (): number => {
    const result = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  return {
    bytes(length) {
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i += 4) {
        const word = next();
        for (let j = 0; j < 4 && i + j < length; j++) bytes[i + j] = word >>> (8 * j);
      }
      return bytes;
    },
    fraction: () => next() / 2 ** 32,
    fork: (label) => seededRandom(`${seed}/${label}`),
  };
}
