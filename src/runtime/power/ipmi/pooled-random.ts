import type { Random } from '../../core/random.ts';

/** 256 initialisation vectors. */
const POOL_BYTES = 4096;

/**
 * The same generator, asked for 4 KiB at a time: each sealed packet needs 16 random bytes, and one system call a packet was a quarter of the
 * gateway's processor time. Bytes are given out once and wiped from the pool.
 */
export function pooledRandom(source: Random): Random {
  let pool: Uint8Array = new Uint8Array(0);
  let used = 0;
  return {
    bytes(length) {
      if (length > POOL_BYTES) return source.bytes(length);
      if (pool.length - used < length) {
        pool = source.bytes(POOL_BYTES);
        used = 0;
      }
      const bytes = pool.slice(used, used + length);
      pool.fill(0, used, used + length);
      used += length;
      return bytes;
    },
  };
}
