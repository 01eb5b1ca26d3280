import { crc32c } from 'cdk8s-baremetal-runtime/deploy/iscsi/crc32c';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const wire = (data: Uint8Array): string => {
  const digest = Buffer.alloc(4);
  digest.writeUInt32LE(crc32c(data));
  return digest.toString('hex');
};

describe('crc32c', () => {
  // RFC 3720 appendix B.4
  it.each([
    ['32 zeros', new Uint8Array(32), 'aa36918a'],
    ['32 ones', new Uint8Array(32).fill(0xff), '43aba862'],
    ['32 incrementing', Uint8Array.from({ length: 32 }, (_, i) => i), '4e79dd46'],
    ['32 decrementing', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), '5cdb3f11'],
    ['nothing', new Uint8Array(0), '00000000'],
  ])('%s', (_, data, expected) => expect(wire(data)).toBe(expected));

  it('is the same in one piece, in two, and bit by bit', () => {
    const slow = (data: Uint8Array): number => {
      let crc = 0xffffffff;
      for (const byte of data) {
        crc ^= byte;
        for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
      }
      return ~crc >>> 0;
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (data, cut) => {
        const at = Math.min(cut, data.length);
        expect(crc32c(data.subarray(at), crc32c(data.subarray(0, at)))).toBe(crc32c(data));
        expect(crc32c(data)).toBe(slow(data));
      }),
    );
  });
});
