import { pooledRandom } from 'cdk8s-baremetal-runtime/power/ipmi/pooled-random';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../support.ts';

describe('pooled random', () => {
  it('gives every byte of the source once, in whole requests', () => {
    let asked = 0;
    const source = seededRandom(1);
    const pooled = pooledRandom({
      bytes(length) {
        asked += 1;
        return source.bytes(length);
      },
    });
    const first = Buffer.from(seededRandom(1).bytes(4096));
    const drawn = Array.from({ length: 256 }, () => pooled.bytes(16));
    expect(Buffer.concat(drawn).equals(first)).toBe(true);
    expect(asked).toBe(1);
    expect(pooled.bytes(16)).toHaveLength(16);
    expect(asked).toBe(2);
    expect(pooled.bytes(10_000)).toHaveLength(10_000);
  });

  it('keeps what it gave apart from its pool', () => {
    const pooled = pooledRandom(seededRandom(2));
    const one = pooled.bytes(16);
    const copy = Uint8Array.from(one);
    pooled.bytes(16).fill(0);
    expect(one).toEqual(copy);
  });
});
