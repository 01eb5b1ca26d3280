/** The histories notice the faults of the original: each is put back, and a named history must fail that passes without it. */
import { describe, expect, it } from 'vitest';
import { liveHistory } from './history.ts';
import { mutations } from './mutations.ts';

/** When a change of the code shifts them, look for others among the first 700. */
const NAMED: Readonly<Record<string, readonly { readonly seed: number; readonly says: RegExp }[]>> = {
  'N3: a key that is good for more than one use': [13, 17, 24].map((seed) => ({ seed, says: /accepted \d times/ })),
  'N8: a queue in memory': [36, 88, 157].map((seed) => ({ seed, says: /nobody alive has looked after it/ })),
  'N11: a cleanup that ends at its first failure': [7, 31, 103].map((seed) => ({
    seed,
    says: /before it was clean|still holding|and holds/,
  })),
  'no epoch check': [
    { seed: 133, says: /nothing is left that could happen/ },
    { seed: 397, says: /logged in to write in epoch 1 of 2/ },
    { seed: 557, says: /still associated/ },
  ],
};

describe('faults that are put back', () => {
  it('each has its named histories', () => {
    expect(Object.keys(NAMED).sort()).toEqual(Object.keys(mutations).sort());
  });

  it.each(Object.entries(mutations))('%s: is noticed', async (name, faults) => {
    for (const { seed, says } of NAMED[name] ?? []) {
      await liveHistory(seed);
      await expect(liveHistory(seed, faults()), `seed ${seed}`).rejects.toThrow(says);
    }
  });
});
