import { NetasciiDecoder, toNetascii } from 'cdk8s-baremetal-runtime/boot/tftp/netascii';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

describe('netascii (RFC 764)', () => {
  it.each([
    { local: '', wire: '' },
    { local: 'a', wire: 'a' },
    { local: 'a\nb', wire: 'a\r\nb' },
    { local: '\r', wire: '\r\0' },
    { local: 'a\r\nb', wire: 'a\r\0\r\nb' },
  ])('%j', ({ local, wire }) => {
    expect(text(toNetascii(Buffer.from(local)))).toBe(wire);
    const decoder = new NetasciiDecoder();
    expect(text(decoder.push(Buffer.from(wire))) + text(decoder.end())).toBe(local);
  });

  it('keeps a bare CR of a sloppy sender, also at the end', () => {
    const decoder = new NetasciiDecoder();
    expect(text(decoder.push(Buffer.from('a\rb\r\r'))) + text(decoder.end())).toBe('a\rb\r\r');
  });

  it('comes back the same, however it is cut', () => {
    const bytes = fc
      .uint8Array({ maxLength: 60 })
      .chain((raw) => fc.constant(raw.map((byte) => (byte % 5 === 0 ? 10 : byte % 5 === 1 ? 13 : byte))));
    fc.assert(
      fc.property(bytes, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (data, cuts) => {
        const wire = toNetascii(data);
        const decoder = new NetasciiDecoder();
        let out = '';
        for (let offset = 0, turn = 0; offset < wire.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1;
          out += text(decoder.push(wire.subarray(offset, offset + length)));
          offset += length;
        }
        expect(out + text(decoder.end())).toBe(text(data));
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
    );
  });
});
