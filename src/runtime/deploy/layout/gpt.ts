/**
 * The GUID partition table (UEFI 2.10 section 5.3): a header in block 1 with 128 entries after it, both again in reverse at the end of the disk,
 * and a protective MBR in block 0.
 *
 *   header: +0 "EFI PART"  +8 revision  +12 header bytes  +16 CRC of the header  +24 this block  +32 the other one  +40 first usable block
 *           +48 last usable block  +56 disk GUID  +72 block of the entries  +80 count  +84 bytes of one  +88 CRC of the entries
 *   entry:  +0 type GUID  +16 own GUID  +32 first block  +40 last block  +48 attributes  +56 name (72 bytes of UTF-16LE)
 */
import { crc32 } from 'node:zlib';
import { layoutErrors } from './errors.ts';
import { encodeMbr, MBR_TYPE } from './mbr.ts';

export interface GptEntry {
  /** From 1; images leave gaps (1, 14, 15). Default: its place in the list. */
  readonly number?: number;
  /** Lower-case text. */
  readonly type: string;
  readonly guid: string;
  readonly firstBlock: number;
  readonly blocks: number;
  /** At most 36 characters. */
  readonly name: string;
  /** Such as bit 2, "a BIOS may boot it". Default: none. */
  readonly attributes?: bigint;
}

export interface Gpt {
  readonly diskGuid: string;
  readonly entries: readonly GptEntry[];
}

export const GPT_TYPE = {
  linux: '0fc63daf-8483-4772-8e79-3d69d8477de4',
  basicData: 'ebd0a0a2-b9e5-4433-87c0-68b6b72699c7',
  swap: '0657fd6d-a4ab-43c4-84e5-0933c84b4f4f',
} as const;

const ENTRIES = 128;
const ENTRY_BYTES = 128;
const HEADER_BYTES = 92;
const REVISION = 0x0001_0000;

/** What to write at the start of the disk, and what at `backupOffset`. */
export function encodeGpt(
  { diskGuid, entries }: Gpt,
  { blockBytes, diskBlocks }: { readonly blockBytes: number; readonly diskBlocks: number },
): { readonly primary: Uint8Array; readonly backup: Uint8Array; readonly backupOffset: number } {
  const tableBlocks = Math.ceil((ENTRIES * ENTRY_BYTES) / blockBytes);
  const table = Buffer.alloc(tableBlocks * blockBytes);
  for (const [index, entry] of entries.entries()) {
    const at = ((entry.number ?? index + 1) - 1) * ENTRY_BYTES;
    table.set(guidBytes(entry.type), at);
    table.set(guidBytes(entry.guid), at + 16);
    table.writeBigUInt64LE(BigInt(entry.firstBlock), at + 32);
    table.writeBigUInt64LE(BigInt(entry.firstBlock + entry.blocks - 1), at + 40);
    table.writeBigUInt64LE(entry.attributes ?? 0n, at + 48);
    table.write(entry.name.slice(0, 36), at + 56, 'utf16le');
  }
  const tableCrc = crc32(table.subarray(0, ENTRIES * ENTRY_BYTES));
  const last = diskBlocks - 1;
  const header = (own: number, other: number, tableBlock: number): Buffer => {
    const bytes = Buffer.alloc(blockBytes);
    bytes.write('EFI PART', 0, 'latin1');
    bytes.writeUInt32LE(REVISION, 8);
    bytes.writeUInt32LE(HEADER_BYTES, 12);
    bytes.writeBigUInt64LE(BigInt(own), 24);
    bytes.writeBigUInt64LE(BigInt(other), 32);
    bytes.writeBigUInt64LE(BigInt(2 + tableBlocks), 40);
    bytes.writeBigUInt64LE(BigInt(last - tableBlocks - 1), 48);
    bytes.set(guidBytes(diskGuid), 56);
    bytes.writeBigUInt64LE(BigInt(tableBlock), 72);
    bytes.writeUInt32LE(ENTRIES, 80);
    bytes.writeUInt32LE(ENTRY_BYTES, 84);
    bytes.writeUInt32LE(tableCrc, 88);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, HEADER_BYTES)), 16);
    return bytes;
  };
  const protective = Buffer.alloc(blockBytes);
  const whole = { type: MBR_TYPE.protective, firstBlock: 1, blocks: Math.min(last, 0xffff_ffff) };
  protective.set(encodeMbr({ diskSignature: 0, entries: [whole] }));
  protective.set([0x00, 0x02, 0x00], 447); // the exact CHS of block 1, which strict readers look for
  return {
    primary: Buffer.concat([protective, header(1, last, 2), table]),
    backup: Buffer.concat([table, header(last, 1, last - tableBlocks)]),
    backupOffset: (last - tableBlocks) * blockBytes,
  };
}

/**
 * Of an image's first MiB: throws LAYOUT_BLOCKS when its table is made for disks with blocks of another size. Only a GUID table shows that: its header is
 * in the second block.
 */
export function mustSuitBlocks(start: Uint8Array, diskBlockBytes: number): void {
  if (decodeGpt(start, diskBlockBytes) !== undefined) return;
  const imageBlockBytes = [512, 4096].find((bytes) => bytes !== diskBlockBytes && decodeGpt(start, bytes) !== undefined);
  if (imageBlockBytes !== undefined) throw layoutErrors.LAYOUT_BLOCKS({ imageBlockBytes, diskBlockBytes });
}

/** From the first 34 blocks or more of a disk. Undefined when there is no table whose checksums are right. */
export function decodeGpt(start: Uint8Array, blockBytes: number): Gpt | undefined {
  const bytes = Buffer.from(start.buffer, start.byteOffset, start.byteLength);
  if (bytes.length < 2 * blockBytes || bytes.toString('latin1', blockBytes, blockBytes + 8) !== 'EFI PART') return undefined;
  const header = Buffer.from(bytes.subarray(blockBytes, 2 * blockBytes));
  const headerBytes = header.readUInt32LE(12);
  if (headerBytes < HEADER_BYTES || headerBytes > blockBytes) return undefined;
  const headerCrc = header.readUInt32LE(16);
  header.writeUInt32LE(0, 16);
  if (crc32(header.subarray(0, headerBytes)) !== headerCrc) return undefined;
  const at = Number(header.readBigUInt64LE(72)) * blockBytes;
  const count = header.readUInt32LE(80);
  const entryBytes = header.readUInt32LE(84);
  if (entryBytes < ENTRY_BYTES || entryBytes > 4096 || count > 1024) return undefined;
  const table = bytes.subarray(at, at + count * entryBytes);
  if (table.length !== count * entryBytes || crc32(table) !== header.readUInt32LE(88)) return undefined;
  const entries: GptEntry[] = [];
  for (let index = 0; index < count; index++) {
    const entry = table.subarray(index * entryBytes, (index + 1) * entryBytes);
    const type = guidText(entry.subarray(0, 16));
    if (type === '00000000-0000-0000-0000-000000000000') continue;
    const firstBlock = Number(entry.readBigUInt64LE(32));
    const attributes = entry.readBigUInt64LE(48);
    entries.push({
      number: index + 1,
      type,
      guid: guidText(entry.subarray(16, 32)),
      firstBlock,
      blocks: Number(entry.readBigUInt64LE(40)) - firstBlock + 1,
      name: entry.toString('utf16le', 56, 128).replace(/\0.*$/s, ''),
      ...(attributes !== 0n && { attributes }),
    });
  }
  return { diskGuid: guidText(header.subarray(56, 72)), entries };
}

/** The first three fields of a GUID are little-endian on disk. */
function guidBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

function guidText(bytes: Uint8Array): string {
  const copy = Buffer.from(bytes);
  copy.subarray(0, 4).reverse();
  copy.subarray(4, 6).reverse();
  copy.subarray(6, 8).reverse();
  const hex = copy.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
