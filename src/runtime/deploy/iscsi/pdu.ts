/**
 * The basic header segments of iSCSI (RFC 7143 section 11), for the initiator and the simulated target alike.
 * Pure: a PDU object in, a header out, and back. Framing (additional headers, padding, digests) is in pdu-stream.ts.
 *
 * Every header begins so, and the boxes below leave out what is always the same:
 *
 *        0               1               2               3
 *   0 | . |I| opcode  |F| specific  |            specific           |
 *   4 | AHS words     |           data segment length (3)           |
 *   8 | LUN or specific (8)                                         |
 *  16 | initiator task tag, ITT                                     |
 */
import { type AnyField, bits, type FieldValues, flag, lunField, raw, u8, u16, u32 } from './fields.ts';

export const BHS_BYTES = 48;
/** No task tag: an unsolicited message, or a transfer tag that the sender does not use. */
export const NO_TAG = 0xffffffff;
export const NO_DATA: Uint8Array = new Uint8Array(0);

/** A PDU that cannot be what it claims, or a stream that is out of bounds. The connection cannot go on after it. */
export class PduError extends Error {
  override readonly name = 'PduError';
}

const immediate = flag(0, 0x40);
const final = flag(1, 0x80);
const itt = u32(16);
const ttt = u32(20);
/** Initiator to target. */
const sequence = { cmdSn: u32(24), expStatSn: u32(28) };
/** Target to initiator. */
const answer = { statSn: u32(24), expCmdSn: u32(28), maxCmdSn: u32(32) };

const LAYOUTS = {
  /*  8 | LUN (8)                           20 | target transfer tag | 24 CmdSN | 28 ExpStatSN | data: ping */
  'nop-out': { opcode: 0x00, fields: { immediate, lun: lunField(8), itt, ttt, ...sequence } },
  /*  1 |F|R|W|0 0|attr(3)|   8 LUN (8)
   * 20 | expected data transfer length | 24 CmdSN | 28 ExpStatSN | 32 CDB (16); a longer one goes on in an AHS */
  'scsi-command': {
    opcode: 0x01,
    fields: {
      immediate,
      final,
      read: flag(1, 0x40),
      write: flag(1, 0x20),
      attribute: bits(1, 0, 3),
      lun: lunField(8),
      itt,
      expectedBytes: u32(20),
      ...sequence,
      cdb: raw(32, 16),
    },
  },
  /*  1 |1| function(7) |     8 LUN (8)
   * 20 | referenced task tag | 24 CmdSN | 28 ExpStatSN | 32 RefCmdSN | 36 ExpDataSN */
  'task-request': {
    opcode: 0x02,
    fields: { immediate, taskFunction: bits(1, 0, 7), lun: lunField(8), itt, referencedTag: u32(20), ...sequence, refCmdSn: u32(32) },
  },
  /*  1 |T|C|0 0|CSG|NSG|   2 | version max | 3 version min |   8 ISID (6) | 14 TSIH
   * 20 | CID (2) | reserved | 24 CmdSN | 28 ExpStatSN | data: key=value text */
  'login-request': {
    opcode: 0x03,
    fields: {
      immediate,
      transit: flag(1, 0x80),
      more: flag(1, 0x40),
      currentStage: bits(1, 2, 2),
      nextStage: bits(1, 0, 2),
      versionMax: u8(2),
      versionMin: u8(3),
      isid: raw(8, 6),
      tsih: u16(14),
      itt,
      cid: u16(20),
      ...sequence,
    },
  },
  /*  1 |F|C|               8 LUN (8) | 20 target transfer tag | 24 CmdSN | 28 ExpStatSN | data: text */
  'text-request': { opcode: 0x04, fields: { immediate, final, more: flag(1, 0x40), lun: lunField(8), itt, ttt, ...sequence } },
  /*  1 |F|                 8 LUN (8) | 20 target transfer tag | 28 ExpStatSN | 36 DataSN | 40 buffer offset | data */
  'data-out': { opcode: 0x05, fields: { final, lun: lunField(8), itt, ttt, expStatSn: u32(28), dataSn: u32(36), offset: u32(40) } },
  /*  1 |1| reason(7) |    20 | CID (2) | 24 CmdSN | 28 ExpStatSN */
  'logout-request': { opcode: 0x06, fields: { immediate, reason: bits(1, 0, 7), itt, cid: u16(20), ...sequence } },

  /*  8 | LUN (8)          20 | target transfer tag | 24 StatSN | 28 ExpCmdSN | 32 MaxCmdSN | data: ping returned */
  'nop-in': { opcode: 0x20, fields: { lun: lunField(8), itt, ttt, ...answer } },
  /*  1 |1|0 0|o|u|O|U|0|   2 | response | 3 status
   * 20 | SNACK tag | 24 StatSN | 28 ExpCmdSN | 32 MaxCmdSN | 36 ExpDataSN | 40 bidirectional residual | 44 residual
   * data: sense length (2), sense */
  'scsi-response': {
    opcode: 0x21,
    fields: {
      overflow: flag(1, 0x04),
      underflow: flag(1, 0x02),
      response: u8(2),
      status: u8(3),
      itt,
      ...answer,
      expDataSn: u32(36),
      residual: u32(44),
    },
  },
  /*  2 | response |       24 | StatSN | 28 ExpCmdSN | 32 MaxCmdSN */
  'task-response': { opcode: 0x22, fields: { response: u8(2), itt, ...answer } },
  /*  1 |T|C|0 0|CSG|NSG|   2 | version max | 3 version active |   8 ISID (6) | 14 TSIH
   * 24 | StatSN | 28 ExpCmdSN | 32 MaxCmdSN | 36 status class | 37 status detail | data: text */
  'login-response': {
    opcode: 0x23,
    fields: {
      transit: flag(1, 0x80),
      more: flag(1, 0x40),
      currentStage: bits(1, 2, 2),
      nextStage: bits(1, 0, 2),
      versionMax: u8(2),
      versionActive: u8(3),
      isid: raw(8, 6),
      tsih: u16(14),
      itt,
      ...answer,
      /** Class in the upper byte, detail in the lower. */
      status: u16(36),
    },
  },
  /*  1 |F|C|               8 LUN (8) | 20 target transfer tag | 24 StatSN | 28 ExpCmdSN | 32 MaxCmdSN | data: text */
  'text-response': { opcode: 0x24, fields: { final, more: flag(1, 0x40), lun: lunField(8), itt, ttt, ...answer } },
  /*  1 |F|A|0 0 0|O|U|S|   3 | status, when S |   8 LUN (8) | 20 target transfer tag
   * 24 | StatSN, when S | 28 ExpCmdSN | 32 MaxCmdSN | 36 DataSN | 40 buffer offset | 44 residual | data */
  'data-in': {
    opcode: 0x25,
    fields: {
      final,
      acknowledge: flag(1, 0x40),
      overflow: flag(1, 0x04),
      underflow: flag(1, 0x02),
      hasStatus: flag(1, 0x01),
      status: u8(3),
      lun: lunField(8),
      itt,
      ttt,
      ...answer,
      dataSn: u32(36),
      offset: u32(40),
      residual: u32(44),
    },
  },
  /*  2 | response |       24 | StatSN | 28 ExpCmdSN | 32 MaxCmdSN | 40 Time2Wait (2) | 42 Time2Retain (2) */
  'logout-response': { opcode: 0x26, fields: { response: u8(2), itt, ...answer, time2Wait: u16(40), time2Retain: u16(42) } },
  /*  8 | LUN (8) | 20 target transfer tag | 24 StatSN (not advanced) | 28 ExpCmdSN | 32 MaxCmdSN
   * 36 | R2TSN | 40 buffer offset | 44 desired data transfer length */
  r2t: { opcode: 0x31, fields: { lun: lunField(8), itt, ttt, ...answer, r2tSn: u32(36), offset: u32(40), desiredBytes: u32(44) } },
  /*  8 | LUN (8) | 24 StatSN | 28 ExpCmdSN | 32 MaxCmdSN
   * 36 | event | 37 vendor code | 38 parameter 1 (2) | 40 parameter 2 (2) | 42 parameter 3 (2) | data: sense */
  'async-message': {
    opcode: 0x32,
    fields: {
      lun: lunField(8),
      itt,
      ...answer,
      event: u8(36),
      vendorCode: u8(37),
      parameter1: u16(38),
      parameter2: u16(40),
      parameter3: u16(42),
    },
  },
  /*  2 | reason |         24 | StatSN | 28 ExpCmdSN | 32 MaxCmdSN | 36 DataSN or R2TSN | data: the refused header */
  reject: { opcode: 0x3f, fields: { reason: u8(2), itt, ...answer, dataSn: u32(36) } },
} as const satisfies Record<string, { opcode: number; fields: Readonly<Record<string, AnyField>> }>;

type Layouts = typeof LAYOUTS;
export type PduKind = keyof Layouts;
/** One kind's PDU. `data` is the data segment without padding; `ahs` the additional header segments, whole words. */
export type PduOf<K extends PduKind> = K extends PduKind
  ? { readonly kind: K; readonly data: Uint8Array; readonly ahs?: Uint8Array } & FieldValues<Layouts[K]['fields']>
  : never;
/** An opcode that nothing here speaks: a target answers Reject, an initiator gives the connection up. */
export interface UnknownPdu {
  readonly kind: 'unknown';
  readonly opcode: number;
  readonly header: Uint8Array;
  readonly itt: number;
  readonly data: Uint8Array;
}
export type Pdu = PduOf<PduKind>;
export type ReceivedPdu = Pdu | UnknownPdu;

type Row = readonly [name: string, field: AnyField];
const ROWS = new Map<PduKind, { opcode: number; rows: readonly Row[] }>();
const KINDS = new Map<number, { kind: PduKind; rows: readonly Row[] }>();
for (const kind of Object.keys(LAYOUTS) as PduKind[]) {
  const { opcode, fields } = LAYOUTS[kind];
  const rows = Object.entries(fields) as Row[];
  ROWS.set(kind, { opcode, rows });
  KINDS.set(opcode, { kind, rows });
}

/** These say "final" by a bit that has no other meaning in them (RFC 7143 section 11.2.1.3): always one. */
const ALWAYS_FINAL = new Set<PduKind>([
  'nop-out',
  'nop-in',
  'task-request',
  'task-response',
  'scsi-response',
  'logout-request',
  'logout-response',
  'r2t',
  'async-message',
  'reject',
]);

/** Writes the 48 bytes of `pdu`'s header to the start of `into`, lengths included. */
export function writeHeader(pdu: Pdu, into: Buffer): void {
  const layout = ROWS.get(pdu.kind);
  if (!layout) throw new PduError(`no layout for a PDU of kind ${pdu.kind}`);
  into.fill(0, 0, BHS_BYTES);
  into.writeUInt8(layout.opcode, 0);
  if (ALWAYS_FINAL.has(pdu.kind)) into.writeUInt8(0x80, 1);
  const values = pdu as unknown as Readonly<Record<string, never>>;
  for (const [name, field] of layout.rows) field.write(into, values[name] as never);
  into.writeUInt8((pdu.ahs?.length ?? 0) >>> 2, 4);
  into.writeUIntBE(pdu.data.length, 5, 3);
}

/** Reads a header of 48 bytes; `data` and `ahs` are handed through. */
export function readHeader(header: Buffer, data: Uint8Array = NO_DATA, ahs?: Uint8Array): ReceivedPdu {
  const opcode = header.readUInt8(0) & 0x3f;
  const layout = KINDS.get(opcode);
  if (!layout) return { kind: 'unknown', opcode, header, itt: header.readUInt32BE(16), data };
  const pdu: Record<string, unknown> = { kind: layout.kind, data };
  for (const [name, field] of layout.rows) pdu[name] = field.read(header);
  if (ahs && ahs.length > 0) pdu.ahs = ahs;
  return pdu as unknown as Pdu;
}

/**
 * The additional header segment that carries a CDB's bytes beyond 16 (RFC 7143 section 11.2.2.3), padded to words; none for a
 * shorter CDB.
 *
 *   0 | AHSLength = bytes after the type (2) | type 1 | reserved |   4 | CDB from byte 16 on, padded
 */
export function extendedCdb(cdb: Uint8Array): Uint8Array | undefined {
  const extra = cdb.length - 16;
  if (extra <= 0) return undefined;
  const ahs = Buffer.alloc(4 + pad4(extra));
  ahs.writeUInt16BE(extra + 1, 0);
  ahs.writeUInt8(1, 2);
  ahs.set(cdb.subarray(16), 4);
  return ahs;
}

/** The whole CDB of a command: 16 bytes, or more when an additional header segment carries the rest. */
export function wholeCdb(command: PduOf<'scsi-command'>): Uint8Array {
  const ahs = command.ahs && Buffer.from(command.ahs.buffer, command.ahs.byteOffset, command.ahs.length);
  for (let at = 0; ahs && at + 4 <= ahs.length; ) {
    const length = ahs.readUInt16BE(at);
    if (at + 3 + length > ahs.length) throw new PduError(`an additional header segment of ${length} bytes exceeds its PDU`);
    if (ahs.readUInt8(at + 2) === 1 && length > 1) return Buffer.concat([command.cdb, ahs.subarray(at + 4, at + 3 + length)]);
    at += pad4(3 + length);
  }
  return command.cdb;
}

/** `length` rounded up to whole words. */
export function pad4(length: number): number {
  return (length + 3) & ~3;
}

/** Serial number arithmetic on 32 bits (RFC 1982): whether `a` comes before `b`. */
export function serialBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** `a` + `count`, wrapping at 2^32. */
export function serialAdd(a: number, count: number): number {
  return (a + count) >>> 0;
}
