import {
  extendedCdb,
  NO_DATA,
  NO_TAG,
  type Pdu,
  PduError,
  type PduOf,
  readHeader,
  serialBefore,
  wholeCdb,
  writeHeader,
} from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { framePdu, PduStream } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu-stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUZZ_RUNS } from './lab.ts';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');
const answer = { statSn: 0x01020304, expCmdSn: 0x05060708, maxCmdSn: 0x090a0b0c };
const sequence = { cmdSn: 0x11121314, expStatSn: 0x15161718 };
const ANSWER_HEX = '01020304 05060708 090a0b0c';

const FIXTURES: [name: string, pdu: Pdu, header: string][] = [
  [
    'login request, T, operational to full feature',
    {
      kind: 'login-request',
      immediate: true,
      transit: true,
      more: false,
      currentStage: 1,
      nextStage: 3,
      versionMax: 0,
      versionMin: 0,
      isid: hex('800000010007'),
      tsih: 0,
      itt: 5,
      cid: 1,
      ...sequence,
      data: NO_DATA,
    },
    '43870000 00000000 80000001 00070000 00000005 00010000 11121314 15161718 00000000 00000000 00000000 00000000',
  ],
  [
    'login response, authentication failed',
    {
      kind: 'login-response',
      transit: false,
      more: false,
      currentStage: 0,
      nextStage: 0,
      versionMax: 0,
      versionActive: 0,
      isid: hex('800000010007'),
      tsih: 0x1234,
      itt: 5,
      ...answer,
      status: 0x0201,
      data: NO_DATA,
    },
    `23000000 00000000 80000001 00071234 00000005 00000000 ${ANSWER_HEX} 02010000 00000000 00000000`,
  ],
  [
    'WRITE(10) with 4 bytes of immediate data on flat LUN 300',
    {
      kind: 'scsi-command',
      immediate: false,
      final: true,
      read: false,
      write: true,
      attribute: 1,
      lun: 300,
      itt: 0xa0,
      expectedBytes: 4096,
      ...sequence,
      cdb: hex('2a000000080000000800 000000000000'),
      data: hex('01020304'),
    },
    '01a10000 00000004 412c0000 00000000 000000a0 00001000 11121314 15161718 2a000000 08000000 08000000 00000000',
  ],
  [
    'Data-Out, last of its burst',
    { kind: 'data-out', final: true, lun: 1, itt: 0xa0, ttt: 7, expStatSn: 3, dataSn: 2, offset: 0x4000, data: hex('ff') },
    '05800000 00000001 00010000 00000000 000000a0 00000007 00000000 00000003 00000000 00000002 00004000 00000000',
  ],
  [
    'R2T',
    { kind: 'r2t', lun: 1, itt: 0xa0, ttt: 7, ...answer, r2tSn: 1, offset: 0x10000, desiredBytes: 0x40000, data: NO_DATA },
    `31800000 00000000 00010000 00000000 000000a0 00000007 ${ANSWER_HEX} 00000001 00010000 00040000`,
  ],
  [
    'Data-In with status and underflow',
    {
      kind: 'data-in',
      final: true,
      acknowledge: false,
      overflow: false,
      underflow: true,
      hasStatus: true,
      status: 0,
      lun: 1,
      itt: 9,
      ttt: NO_TAG,
      ...answer,
      dataSn: 0,
      offset: 0,
      residual: 16,
      data: hex('0102'),
    },
    `25830000 00000002 00010000 00000000 00000009 ffffffff ${ANSWER_HEX} 00000000 00000000 00000010`,
  ],
  [
    'SCSI response, check condition',
    {
      kind: 'scsi-response',
      overflow: false,
      underflow: false,
      response: 0,
      status: 2,
      itt: 9,
      ...answer,
      expDataSn: 4,
      residual: 0,
      data: NO_DATA,
    },
    `21800002 00000000 00000000 00000000 00000009 00000000 ${ANSWER_HEX} 00000004 00000000 00000000`,
  ],
  [
    'ABORT TASK',
    {
      kind: 'task-request',
      immediate: true,
      taskFunction: 1,
      lun: 1,
      itt: 10,
      referencedTag: 9,
      ...sequence,
      refCmdSn: 0x31,
      data: NO_DATA,
    },
    '42810000 00000000 00010000 00000000 0000000a 00000009 11121314 15161718 00000031 00000000 00000000 00000000',
  ],
  [
    'async message: asks for a logout within 3 s',
    {
      kind: 'async-message',
      lun: 0,
      itt: NO_TAG,
      ...answer,
      event: 1,
      vendorCode: 0,
      parameter1: 0,
      parameter2: 0,
      parameter3: 3,
      data: NO_DATA,
    },
    `32800000 00000000 00000000 00000000 ffffffff 00000000 ${ANSWER_HEX} 01000000 00000003 00000000`,
  ],
  [
    'reject: protocol error',
    { kind: 'reject', reason: 4, itt: NO_TAG, ...answer, dataSn: 0, data: NO_DATA },
    `3f800400 00000000 00000000 00000000 ffffffff 00000000 ${ANSWER_HEX} 00000000 00000000 00000000`,
  ],
  [
    'NOP-Out, ping',
    { kind: 'nop-out', immediate: true, lun: 0, itt: 3, ttt: NO_TAG, ...sequence, data: NO_DATA },
    '40800000 00000000 00000000 00000000 00000003 ffffffff 11121314 15161718 00000000 00000000 00000000 00000000',
  ],
  [
    'logout response',
    { kind: 'logout-response', response: 0, itt: 4, ...answer, time2Wait: 2, time2Retain: 20, data: NO_DATA },
    `26800000 00000000 00000000 00000000 00000004 00000000 ${ANSWER_HEX} 00000000 00020014 00000000`,
  ],
];

describe('headers', () => {
  it.each(FIXTURES)('%s: to bytes and back', (_, pdu, header) => {
    const bytes = Buffer.alloc(48);
    writeHeader(pdu, bytes);
    expect(bytes.toString('hex')).toBe(header.replace(/\s/g, ''));
    const back = readHeader(bytes, pdu.data) as unknown as Record<string, unknown>;
    const plain = (value: unknown): unknown => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value);
    for (const [name, value] of Object.entries(pdu)) expect(plain(back[name]), name).toBe(plain(value));
  });

  it('a CDB of 32 bytes goes on in an additional header segment', () => {
    const cdb = Buffer.from(Array.from({ length: 32 }, (_, i) => i + 1));
    const ahs = extendedCdb(cdb);
    expect(Buffer.from(ahs ?? []).toString('hex')).toBe(`00110100${cdb.subarray(16).toString('hex')}`);
    const command = { ...(FIXTURES[2]?.[1] as PduOf<'scsi-command'>), cdb, ...(ahs && { ahs }) };
    const [head] = framePdu(command, { header: false, data: false });
    const back = readHeader(
      Buffer.from(head ?? []).subarray(0, 48),
      NO_DATA,
      Buffer.from(head ?? []).subarray(48),
    ) as PduOf<'scsi-command'>;
    expect(Buffer.from(wholeCdb(back)).equals(cdb)).toBe(true);
  });

  it('an additional header segment that is longer than its PDU is refused', () => {
    const command = { ...(FIXTURES[2]?.[1] as PduOf<'scsi-command'>), ahs: hex('00ff0100') };
    expect(() => wholeCdb(command)).toThrow(PduError);
  });

  it('serial numbers wrap', () => {
    expect(serialBefore(0xffffffff, 0)).toBe(true);
    expect(serialBefore(0, 0xffffffff)).toBe(false);
    expect(serialBefore(5, 5)).toBe(false);
  });
});

const digestChoices = fc.record({ header: fc.boolean(), data: fc.boolean() });

describe('PduStream', () => {
  const sample = fc.constantFrom(...FIXTURES.map(([, pdu]) => pdu));

  it('gives the same PDUs for every cut of the stream, with and without digests', () => {
    const property = fc.property(
      fc.array(fc.tuple(sample, fc.uint8Array({ maxLength: 70 })), { minLength: 1, maxLength: 6 }),
      digestChoices,
      fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 20 }),
      (items, digests, cuts) => {
        const pdus = items.map(([pdu, data]) => ({ ...pdu, data }) as Pdu);
        const bytes = Buffer.concat(pdus.flatMap((pdu) => framePdu(pdu, digests)));
        const stream = new PduStream({ maxDataBytes: 100, digests });
        const found: { kind: string; data: Uint8Array }[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const end = at + (cuts[turn % cuts.length] ?? 1);
          for (const { kind, data } of stream.push(bytes.subarray(at, end))) found.push({ kind, data: Buffer.from(data) });
          at = end;
        }
        expect(stream.idle).toBe(true);
        expect(found).toEqual(pdus.map(({ kind, data }) => ({ kind, data: Buffer.from(data) })));
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  it('a flipped bit anywhere is found by the digests, or refused', () => {
    const [, pdu] = FIXTURES[2] ?? [];
    const bytes = Buffer.concat(framePdu(pdu as Pdu, { header: true, data: true }));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const broken = Buffer.from(bytes);
      broken[bit >>> 3] = (broken[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      const stream = new PduStream({ maxDataBytes: 1 << 24, digests: { header: true, data: true } });
      let outcome = 'incomplete';
      try {
        for (const _ of stream.push(broken)) outcome = 'accepted';
      } catch (error) {
        expect(error).toBeInstanceOf(PduError);
        outcome = 'refused';
      }
      expect(outcome, `bit ${bit}`).not.toBe('accepted'); // a length that grew leaves it waiting for more
    }
  });

  it('refuses a data segment above the negotiated size before it comes', () => {
    const [head] = framePdu({ ...(FIXTURES[2]?.[1] as Pdu), data: new Uint8Array(101) }, { header: false, data: false });
    const stream = new PduStream({ maxDataBytes: 100, digests: { header: false, data: false } });
    expect(() => [...stream.push(head ?? NO_DATA)]).toThrow(/101 bytes exceeds the negotiated 100/);
  });

  it('garbage never gives anything but PDUs or PduError', () => {
    const property = fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), digestChoices, (chunks, digests) => {
      const stream = new PduStream({ maxDataBytes: 4096, digests });
      try {
        for (const chunk of chunks) for (const pdu of stream.push(chunk)) if (pdu.kind === 'scsi-command') wholeCdb(pdu);
      } catch (error) {
        expect(error).toBeInstanceOf(PduError);
      }
    });
    fc.assert(property, { numRuns: FUZZ_RUNS });
  });

  it('headers that are nearly right never give anything but PDUs or PduError', () => {
    const property = fc.property(
      sample,
      fc.uint8Array({ maxLength: 64 }),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 }),
      (pdu, data, changes) => {
        const bytes = Buffer.concat(framePdu({ ...pdu, data } as Pdu, { header: false, data: false }));
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const stream = new PduStream({ maxDataBytes: 8192, digests: { header: false, data: false } });
        try {
          for (const found of stream.push(bytes)) if (found.kind === 'scsi-command') wholeCdb(found);
        } catch (error) {
          expect(error).toBeInstanceOf(PduError);
        }
      },
    );
    fc.assert(property, { numRuns: FUZZ_RUNS });
  });
});
