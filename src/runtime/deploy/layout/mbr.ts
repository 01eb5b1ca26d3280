/**
 * The PC partition table in block 0: four entries of 16 bytes from byte 446, then the signature.
 *
 *   +0 status  +1 CHS of the first block (3)  +4 type  +5 CHS of the last block (3)  +8 first block (LE32)  +12 blocks (LE32)
 */
export interface MbrEntry {
  readonly type: number;
  readonly firstBlock: number;
  readonly blocks: number;
  readonly active?: boolean;
}

export interface Mbr {
  /** What Windows and `PARTUUID` know the disk by. */
  readonly diskSignature: number;
  /** Up to four; the place in the list is the number less one. */
  readonly entries: readonly (MbrEntry | undefined)[];
}

export const MBR_TYPE = { empty: 0x00, swap: 0x82, linux: 0x83, protective: 0xee } as const;

export const MBR_BYTES = 512;
const SIGNATURE_OFFSET = 440;
const TABLE_OFFSET = 446;
/** "Not to be expressed in cylinders": every reader takes the block numbers then. */
const CHS_OUT_OF_RANGE = [0xfe, 0xff, 0xff];

export function encodeMbr({ diskSignature, entries }: Mbr): Uint8Array {
  const bytes = Buffer.alloc(MBR_BYTES);
  bytes.writeUInt32LE(diskSignature >>> 0, SIGNATURE_OFFSET);
  for (const [index, entry] of entries.slice(0, 4).entries()) {
    if (entry === undefined) continue;
    const at = TABLE_OFFSET + 16 * index;
    bytes[at] = entry.active ? 0x80 : 0;
    bytes.set(CHS_OUT_OF_RANGE, at + 1);
    bytes[at + 4] = entry.type;
    bytes.set(CHS_OUT_OF_RANGE, at + 5);
    bytes.writeUInt32LE(entry.firstBlock, at + 8);
    bytes.writeUInt32LE(entry.blocks, at + 12);
  }
  bytes[510] = 0x55;
  bytes[511] = 0xaa;
  return bytes;
}

/** Undefined when block 0 carries no table. A boot sector without entries is one of four empty ones. */
export function decodeMbr(block: Uint8Array): Mbr | undefined {
  if (block.length < MBR_BYTES || block[510] !== 0x55 || block[511] !== 0xaa) return undefined;
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  const entries = Array.from({ length: 4 }, (_, index) => {
    const at = TABLE_OFFSET + 16 * index;
    const type = bytes[at + 4] ?? 0;
    if (type === MBR_TYPE.empty) return undefined;
    return {
      type,
      firstBlock: bytes.readUInt32LE(at + 8),
      blocks: bytes.readUInt32LE(at + 12),
      ...(bytes[at] === 0x80 && { active: true }),
    };
  });
  return { diskSignature: bytes.readUInt32LE(SIGNATURE_OFFSET), entries };
}
