import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomInt, randomUuid } from '../../src/runtime/core/random.ts';
import { seededRandom } from '../../src/simulator/random.ts';

describe('seededRandom', () => {
  it('property: one seed, one sequence; another seed, another', () => {
    fc.assert(
      fc.property(fc.oneof(fc.integer(), fc.string()), fc.nat(100), (seed, length) => {
        expect(seededRandom(seed).bytes(length)).toEqual(seededRandom(seed).bytes(length));
        expect(seededRandom(seed).bytes(16)).not.toEqual(seededRandom(`${seed}!`).bytes(16));
      }),
    );
  });

  it('stays as it is from release to release, since seeds are written down', () => {
    const random = seededRandom(1);
    expect(Buffer.from(random.bytes(16)).toString('hex')).toBe(GOLDEN);
  });

  it('a fork depends on the seed and its label, not on what was drawn', () => {
    const drawn = seededRandom('a');
    drawn.bytes(100);
    expect(drawn.fork('x').bytes(16)).toEqual(seededRandom('a').fork('x').bytes(16));
    expect(drawn.fork('x').bytes(16)).not.toEqual(drawn.fork('y').bytes(16));
  });

  it('is even: bytes, fractions and whole numbers', () => {
    const random = seededRandom('even');
    const counts = new Array<number>(256).fill(0);
    for (const byte of random.bytes(256_000)) counts[byte] = (counts[byte] ?? 0) + 1;
    // chi-squared with 255 degrees of freedom: 99.99 % lie below 347
    const chi = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chi).toBeLessThan(347);
    const mean = Array.from({ length: 10_000 }, () => random.fraction()).reduce((a, b) => a + b) / 10_000;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.02);
    expect(new Set(Array.from({ length: 200 }, () => randomInt(random, 7)))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
    expect(randomUuid(random)).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  });
});

const GOLDEN = '6916eeac6aee4ffb88fe783f43193997';
