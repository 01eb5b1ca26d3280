/**
 * The SCSI commands that a disk writer needs (SBC-4, SPC-5): their command blocks, and the answers read. Pure. Numbers of blocks
 * and bytes are plain numbers: 2^53 bytes are 8 PiB. Answers shorter than the standard's are read as far as they go.
 */
import { PduError } from './pdu.ts';

export const OP = {
  testUnitReady: 0x00,
  inquiry: 0x12,
  modeSense6: 0x1a,
  readCapacity10: 0x25,
  read10: 0x28,
  write10: 0x2a,
  synchronizeCache10: 0x35,
  unmap: 0x42,
  read16: 0x88,
  write16: 0x8a,
  persistentReserveIn: 0x5e,
  persistentReserveOut: 0x5f,
  synchronizeCache16: 0x91,
  writeSame16: 0x93,
  serviceActionIn16: 0x9e,
  reportLuns: 0xa0,
} as const;

export const SERVICE_ACTION_READ_CAPACITY_16 = 0x10;
export const VPD = { supported: 0x00, serial: 0x80, identifiers: 0x83, blockLimits: 0xb0, provisioning: 0xb2 } as const;
const LARGEST_LBA_10 = 0xffffffff;
const LARGEST_COUNT_10 = 0xffff;

/** A command block with its name for messages. */
export interface NamedCdb {
  readonly name: string;
  readonly cdb: Uint8Array;
}

/*  0 | 00h | reserved (4) | control */
export const testUnitReady = (): NamedCdb => ({ name: 'TEST UNIT READY', cdb: Buffer.alloc(6) });

/*  0 | 12h | EVPD | page code | allocation length (2) | control */
export function inquiry(allocationBytes: number, page?: number): NamedCdb {
  const cdb = Buffer.from([OP.inquiry, page === undefined ? 0 : 1, page ?? 0, 0, 0, 0]);
  cdb.writeUInt16BE(allocationBytes, 3);
  return { name: page === undefined ? 'INQUIRY' : `INQUIRY page ${page.toString(16)}h`, cdb };
}

/*  0 | A0h | reserved | select report | reserved (3) | 6 allocation length (4) | reserved | control */
export function reportLuns(allocationBytes: number): NamedCdb {
  const cdb = Buffer.alloc(12);
  cdb.writeUInt8(OP.reportLuns, 0);
  cdb.writeUInt32BE(allocationBytes, 6);
  return { name: 'REPORT LUNS', cdb };
}

/*  0 | 25h | reserved (8) | control */
export function readCapacity10(): NamedCdb {
  const cdb = Buffer.alloc(10);
  cdb.writeUInt8(OP.readCapacity10, 0);
  return { name: 'READ CAPACITY(10)', cdb };
}

/*  0 | 9Eh | service action 10h | reserved (8) | 10 allocation length (4) | reserved | control */
export function readCapacity16(): NamedCdb {
  const cdb = Buffer.alloc(16);
  cdb.writeUInt8(OP.serviceActionIn16, 0);
  cdb.writeUInt8(SERVICE_ACTION_READ_CAPACITY_16, 1);
  cdb.writeUInt32BE(32, 10);
  return { name: 'READ CAPACITY(16)', cdb };
}

/** READ or WRITE: (10) where it reaches, as older targets have only that, else (16). */
export function transfer(kind: 'read' | 'write', lba: number, blocks: number): NamedCdb {
  const word = kind === 'read' ? 'READ' : 'WRITE';
  if (lba + blocks - 1 <= LARGEST_LBA_10 && blocks <= LARGEST_COUNT_10)
    return { name: `${word}(10) of ${blocks} blocks at ${lba}`, cdb: extent10(kind === 'read' ? OP.read10 : OP.write10, lba, blocks) };
  return { name: `${word}(16) of ${blocks} blocks at ${lba}`, cdb: extent16(kind === 'read' ? OP.read16 : OP.write16, 0, lba, blocks) };
}

/** WRITE SAME(16): one block, repeated. `unmap` lets the disk deallocate instead, where what is unmapped reads as that block. */
export function writeSame16(lba: number, blocks: number, unmap: boolean): NamedCdb {
  return { name: `WRITE SAME(16) of ${blocks} blocks at ${lba}`, cdb: extent16(OP.writeSame16, unmap ? 0x08 : 0, lba, blocks) };
}

/** All blocks, or an extent. */
export function synchronizeCache10(): NamedCdb {
  return { name: 'SYNCHRONIZE CACHE(10)', cdb: extent10(OP.synchronizeCache10, 0, 0) };
}

export function synchronizeCache16(): NamedCdb {
  return { name: 'SYNCHRONIZE CACHE(16)', cdb: extent16(OP.synchronizeCache16, 0, 0, 0) };
}

/*  0 | 42h | anchor | reserved (4) | group | 7 parameter list length (2) | control */
export function unmap(extents: readonly { lba: number; blocks: number }[]): NamedCdb & { parameters: Uint8Array } {
  const descriptorBytes = extents.length * 16;
  const cdb = Buffer.alloc(10);
  cdb.writeUInt8(OP.unmap, 0);
  cdb.writeUInt16BE(8 + descriptorBytes, 7);
  /*  0 | length after this field (2) | 2 descriptor bytes (2) | reserved (4) |  8 + 16 n | LBA (8) | blocks (4) | reserved (4) */
  const parameters = Buffer.alloc(8 + descriptorBytes);
  parameters.writeUInt16BE(6 + descriptorBytes, 0);
  parameters.writeUInt16BE(descriptorBytes, 2);
  extents.forEach(({ lba, blocks }, index) => {
    parameters.writeBigUInt64BE(BigInt(lba), 8 + 16 * index);
    parameters.writeUInt32BE(blocks, 16 + 16 * index);
  });
  return { name: 'UNMAP', cdb, parameters };
}

/*  0 | opcode | flags | LBA (4) | group | 7 blocks (2) | control */
function extent10(opcode: number, lba: number, blocks: number): Uint8Array {
  const cdb = Buffer.alloc(10);
  cdb.writeUInt8(opcode, 0);
  cdb.writeUInt32BE(lba, 2);
  cdb.writeUInt16BE(blocks, 7);
  return cdb;
}

/*  0 | opcode | flags | 2 LBA (8) | 10 blocks (4) | group | control */
function extent16(opcode: number, flags: number, lba: number, blocks: number): Uint8Array {
  const cdb = Buffer.alloc(16);
  cdb.writeUInt8(opcode, 0);
  cdb.writeUInt8(flags, 1);
  cdb.writeBigUInt64BE(BigInt(lba), 2);
  cdb.writeUInt32BE(blocks, 10);
  return cdb;
}

// ---- answers ----

export interface InquiryData {
  /** 0: connected; 1: could be; 3: no such LUN. */
  readonly qualifier: number;
  /** 0: direct access block device; 0Ch: array controller (tgt's LUN 0); 5: CD. */
  readonly deviceType: number;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
}

export function parseInquiry(answer: Uint8Array): InquiryData {
  const data = view(answer, 5, 'INQUIRY');
  const text = (from: number, to: number): string => data.toString('latin1', from, to).replaceAll('\0', ' ').trim();
  return {
    qualifier: data.readUInt8(0) >>> 5,
    deviceType: data.readUInt8(0) & 0x1f,
    vendor: text(8, 16),
    product: text(16, 32),
    revision: text(32, 36),
  };
}

/** The body of a vital product data page, without its header of four bytes. */
export function parseVpd(answer: Uint8Array, page: number): Buffer {
  const data = view(answer, 4, `VPD page ${page.toString(16)}h`);
  if (data.readUInt8(1) !== page) throw new PduError(`VPD page ${page.toString(16)}h was answered with another page`);
  return data.subarray(4, 4 + data.readUInt16BE(2));
}

export interface Identifier {
  /** What it names. */
  readonly of: 'unit' | 'port' | 'target' | 'other';
  readonly type: 'vendor' | 't10' | 'eui64' | 'naa' | 'name' | 'other';
  /** Hex digits for binary identifiers, else the text. */
  readonly value: string;
}

/** VPD page 83h: designators | code set | association, type | reserved | length | value | */
export function parseIdentifiers(body: Buffer): Identifier[] {
  const found: Identifier[] = [];
  for (let at = 0; at + 4 <= body.length; ) {
    const length = body.readUInt8(at + 3);
    const bytes = body.subarray(at + 4, at + 4 + length);
    const binary = (body.readUInt8(at) & 0x0f) === 1;
    const types = ['vendor', 't10', 'eui64', 'naa', 'other', 'other', 'other', 'other', 'name'] as const;
    const value = binary ? bytes.toString('hex') : bytes.toString('utf8').replaceAll('\0', '').trim();
    const of = (['unit', 'port', 'target', 'other'] as const)[(body.readUInt8(at + 1) >>> 4) & 3] ?? 'other';
    if (value !== '') found.push({ of, type: types[body.readUInt8(at + 1) & 0x0f] ?? 'other', value });
    at += 4 + length;
  }
  return found;
}

export interface BlockLimits {
  /** In blocks; 0: no limit told. */
  readonly maxTransferBlocks: number;
  readonly maxUnmapBlocks: number;
  readonly maxUnmapExtents: number;
  readonly maxWriteSameBlocks: number;
}

export const NO_LIMITS: BlockLimits = { maxTransferBlocks: 0, maxUnmapBlocks: 0, maxUnmapExtents: 0, maxWriteSameBlocks: 0 };

/** VPD page B0h; offsets of SBC less the page's header. */
export function parseBlockLimits(body: Buffer): BlockLimits {
  const u32 = (at: number): number => (at + 4 <= body.length ? body.readUInt32BE(at) : 0);
  const writeSame = body.length >= 40 ? body.readBigUInt64BE(32) : 0n;
  return {
    maxTransferBlocks: u32(4),
    maxUnmapBlocks: u32(16),
    maxUnmapExtents: u32(20),
    maxWriteSameBlocks: writeSame > 0xffffffffn ? 0xffffffff : Number(writeSame),
  };
}

export interface Provisioning {
  readonly unmap: boolean;
  /** WRITE SAME(16) may unmap. */
  readonly writeSameUnmap: boolean;
  /** Unmapped blocks read as zeros. */
  readonly unmappedReadZero: boolean;
}

export const NO_PROVISIONING: Provisioning = { unmap: false, writeSameUnmap: false, unmappedReadZero: false };

/** VPD page B2h. */
export function parseProvisioning(body: Buffer): Provisioning {
  const flags = body.length >= 2 ? body.readUInt8(1) : 0;
  return { unmap: (flags & 0x80) !== 0, writeSameUnmap: (flags & 0x40) !== 0, unmappedReadZero: (flags & 0x04) !== 0 };
}

export interface Capacity {
  readonly blocks: number;
  readonly blockBytes: number;
}

/** Undefined when the disk is too large for READ CAPACITY(10). */
export function parseCapacity10(answer: Uint8Array): Capacity | undefined {
  const data = view(answer, 8, 'READ CAPACITY(10)');
  const last = data.readUInt32BE(0);
  return last === LARGEST_LBA_10 ? undefined : { blocks: last + 1, blockBytes: data.readUInt32BE(4) };
}

export function parseCapacity16(answer: Uint8Array): Capacity {
  const data = view(answer, 12, 'READ CAPACITY(16)');
  return { blocks: Number(data.readBigUInt64BE(0)) + 1, blockBytes: data.readUInt32BE(8) };
}

/** The single-level LUNs of a REPORT LUNS answer. */
export function parseReportLuns(answer: Uint8Array): number[] {
  const data = view(answer, 8, 'REPORT LUNS');
  const end = Math.min(data.length, 8 + data.readUInt32BE(0));
  const luns: number[] = [];
  for (let at = 8; at + 8 <= end; at += 8) {
    const first = data.readUInt16BE(at);
    if (first < 0x100 || (first >= 0x4000 && first < 0x8000)) luns.push(first & 0x3fff);
  }
  return luns;
}

function view(answer: Uint8Array, atLeast: number, what: string): Buffer {
  if (answer.length < atLeast) throw new PduError(`the answer to ${what} has only ${answer.length} bytes`);
  return Buffer.from(answer.buffer, answer.byteOffset, answer.length);
}
