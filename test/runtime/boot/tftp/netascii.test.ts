import { toNetascii } from 'cdk8s-baremetal-runtime/boot/tftp/netascii';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
/** As a client reads it. */
const received = (wire: string): string => wire.replace(/\r([\n\0])/g, (_, after) => (after === '\n' ? '\n' : '\r'));

describe('netascii (RFC 764)', () => {
  it.each([
    { local: '', wire: '' },
    { local: 'a', wire: 'a' },
    { local: 'a\nb', wire: 'a\r\nb' },
    { local: '\r', wire: '\r\0' },
    { local: 'a\r\nb', wire: 'a\r\0\r\nb' },
  ])('%j', ({ local, wire }) => {
    expect(text(toNetascii(Buffer.from(local)))).toBe(wire);
    expect(received(wire)).toBe(local);
  });

  it('comes back the same, however it is cut', () => {
    const bytes = fc
      .uint8Array({ maxLength: 60 })
      .chain((raw) => fc.constant(raw.map((byte) => (byte % 5 === 0 ? 10 : byte % 5 === 1 ? 13 : byte))));
    fc.assert(
      fc.property(bytes, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (data, cuts) => {
        let wire = '';
        for (let offset = 0, turn = 0; offset < data.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1;
          wire += text(toNetascii(data.subarray(offset, offset + length)));
          offset += length;
        }
        expect(received(wire)).toBe(text(data));
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
    );
  });
});
