import {
  ackBlock,
  decode,
  encode,
  packAck,
  packData,
  packError,
  packRequest,
  TftpCodecError,
  type TftpPacket,
} from 'cdk8s-baremetal-runtime/boot/tftp/codec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 3000);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** Both directions: these bytes are exactly what we send. */
const fixtures: { name: string; bytes: string; packet: TftpPacket }[] = [
  {
    name: 'RRQ as iPXE sends it',
    bytes: '0001 7078656c696e75782e3000 6f6374657400 626c6b73697a6500 3134333200 7473697a6500 3000',
    packet: {
      type: 'rrq',
      path: 'pxelinux.0',
      mode: 'octet',
      options: new Map([
        ['blksize', '1432'],
        ['tsize', '0'],
      ]),
    },
  },
  {
    name: 'RRQ without options',
    bytes: '0001 6100 6e6574617363696900',
    packet: { type: 'rrq', path: 'a', mode: 'netascii', options: new Map() },
  },
  { name: 'WRQ', bytes: '0002 6100 6f6374657400', packet: { type: 'wrq', path: 'a', mode: 'octet', options: new Map() } },
  { name: 'DATA', bytes: '0003 ffff 68690a', packet: { type: 'data', block: 65535, data: hex('68690a') } },
  { name: 'DATA, empty last block', bytes: '0003 0001', packet: { type: 'data', block: 1, data: hex('') } },
  { name: 'ACK of block 0', bytes: '0004 0000', packet: { type: 'ack', block: 0 } },
  { name: 'ACK', bytes: '0004 0100', packet: { type: 'ack', block: 256 } },
  { name: 'ERROR 1', bytes: '0005 0001 4e6f207375636800', packet: { type: 'error', code: 1, message: 'No such' } },
  { name: 'OACK', bytes: '0006 77696e646f7773697a6500 313600', packet: { type: 'oack', options: new Map([['windowsize', '16']]) } },
];

describe('TFTP codec', () => {
  it.each(fixtures)('$name: unpacks', ({ bytes, packet }) => {
    expect(plain(decode(hex(bytes)))).toEqual(plain(packet));
  });

  it.each(fixtures)('$name: packs', ({ bytes, packet }) => {
    expect(encode(packet).toString('hex')).toBe(hex(bytes).toString('hex'));
  });

  it.each([
    { name: 'mode in capitals', bytes: '0001 6100 4f4354455400', want: { mode: 'octet' } },
    {
      name: 'option name in capitals',
      bytes: '0001 6100 6f6374657400 424c4b53495a4500 3800',
      want: { options: new Map([['blksize', '8']]) },
    },
    {
      name: 'the first of two equal options',
      bytes: '0001 6100 6f6374657400 6200 3100 4200 3200',
      want: { options: new Map([['b', '1']]) },
    },
    { name: 'zero padding behind the request', bytes: '0001 6100 6f6374657400 00000000', want: { options: new Map() } },
    { name: 'a padded ACK', bytes: '0004 0007 0000', want: { type: 'ack', block: 7 } },
    { name: 'ERROR without its final NUL', bytes: '0005 0000 6f6f', want: { code: 0, message: 'oo' } },
    { name: 'ERROR without text', bytes: '0005 0008', want: { code: 8, message: '' } },
    { name: 'ERROR in Latin-1', bytes: '0005 0000 e900', want: { message: 'é' } },
    { name: 'ERROR with a terminal escape', bytes: '0005 0000 1b5b3200', want: { message: ' [2' } },
  ])('tolerates: $name', ({ bytes, want }) => {
    expect(decode(hex(bytes))).toMatchObject(want);
  });

  it.each([
    { name: 'nothing', bytes: '' },
    { name: 'one byte', bytes: '00' },
    { name: 'opcode 0', bytes: '0000' },
    { name: 'opcode 7', bytes: '0007 0000' },
    { name: 'opcode 0x0101', bytes: '0101 6100 6f6374657400' },
    { name: 'RRQ without a path', bytes: '0001' },
    { name: 'RRQ with an empty path', bytes: '0001 00 6f6374657400' },
    { name: 'RRQ whose path does not end', bytes: '0001 6161' },
    { name: 'RRQ without a mode', bytes: '0001 6100' },
    { name: 'RRQ in mode mail', bytes: '0001 6100 6d61696c00' },
    { name: 'RRQ whose option has no value', bytes: '0001 6100 6f6374657400 6200' },
    { name: 'RRQ whose value does not end', bytes: '0001 6100 6f6374657400 6200 31' },
    { name: 'RRQ with a path that is not UTF-8', bytes: '0001 ff00 6f6374657400' },
    { name: 'DATA without a block', bytes: '0003 00' },
    { name: 'ACK without a block', bytes: '0004 00' },
    { name: 'ERROR without a code', bytes: '0005 00' },
  ])('refuses: $name', ({ bytes }) => {
    expect(() => decode(hex(bytes))).toThrow(TftpCodecError);
  });

  it('bounds what a request may carry', () => {
    const options = new Map(Array.from({ length: 17 }, (_, index) => [`o${index}`, '1']));
    const request = Buffer.concat([
      hex('0001 6100 6f6374657400'),
      ...[...options].map(([name, value]) => Buffer.from(`${name}\0${value}\0`)),
    ]);
    expect(() => decode(request)).toThrow(TftpCodecError);
    expect(() => decode(Buffer.concat([hex('0001'), Buffer.alloc(513, 'a'), hex('00 6f6374657400')]))).toThrow(TftpCodecError);
    expect(decode(Buffer.concat([hex('0001'), Buffer.alloc(512, 'a'), hex('00 6f6374657400')]))).toMatchObject({ path: 'a'.repeat(512) });
    expect(() => decode(Buffer.concat([hex('0003 0001'), Buffer.alloc(65465)]))).toThrow(TftpCodecError);
    expect(() => packData(1, Buffer.alloc(65465))).toThrow(TftpCodecError);
    expect(() => packRequest({ type: 'rrq', path: 'a\0b', mode: 'octet', options: new Map() })).toThrow(TftpCodecError);
    expect(() => packError(65536, '')).toThrow(TftpCodecError);
  });

  it('reads the block of an ACK, and of nothing else, on the hot path', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), (bytes) => {
        let want = -1;
        try {
          const packet = decode(bytes);
          if (packet.type === 'ack') want = packet.block;
        } catch {
          want = -1;
        }
        expect(ackBlock(bytes)).toBe(want);
      }),
      { numRuns: FUZZ_RUNS },
    );
    expect(ackBlock(packAck(70_000))).toBe(70_000 % 65536);
  });

  it('throws nothing but its own error on garbage, and what it reads it can write', () => {
    const opcodes = fc.integer({ min: 0, max: 8 });
    const tail = fc.oneof(
      fc.uint8Array({ maxLength: 700 }),
      fc.array(fc.constantFrom('octet', 'netascii', 'blksize', '512', 'a', '', '/x', 'é')).map((words) => Buffer.from(words.join('\0'))),
    );
    fc.assert(
      fc.property(opcodes, tail, (opcode, rest) => {
        const bytes = Buffer.concat([Buffer.of(0, opcode), rest]);
        let packet: TftpPacket;
        try {
          packet = decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(TftpCodecError);
          return;
        }
        expect(plain(decode(encode(packet)))).toEqual(plain(packet));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  it('round trip of every packet', () => {
    const word = fc.integer({ min: 0, max: 65535 });
    const string = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
      .filter((text) => !text.includes('\0') && text.isWellFormed());
    const options = fc
      .array(fc.tuple(string, string), { maxLength: 6 })
      .map((pairs) => new Map(pairs.map(([name, value]) => [name.toLowerCase(), value])));
    const packets: fc.Arbitrary<TftpPacket> = fc.oneof(
      fc.record({
        type: fc.constantFrom('rrq' as const, 'wrq' as const),
        path: string,
        mode: fc.constantFrom('octet' as const, 'netascii' as const),
        options,
      }),
      fc.record({ type: fc.constant('data' as const), block: word, data: fc.uint8Array({ maxLength: 600 }) }),
      fc.record({ type: fc.constant('ack' as const), block: word }),
      fc.record({ type: fc.constant('error' as const), code: word, message: string.filter((text) => !/\p{Cc}/u.test(text)) }),
      fc.record({ type: fc.constant('oack' as const), options }),
    );
    fc.assert(
      fc.property(packets, (packet) => {
        expect(plain(decode(encode(packet)))).toEqual(plain(packet));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

/** Data as hex, so that Buffer and Uint8Array compare. */
function plain(packet: TftpPacket): unknown {
  return packet.type === 'data' ? { ...packet, data: Buffer.from(packet.data).toString('hex') } : packet;
}
