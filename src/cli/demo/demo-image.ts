/** A disk image to deploy where the user brings none: sparse, bootable as far as a BIOS looks, and of contents that a mistake would show. */
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const MIB = 1024 * 1024;
/** Larger than the 64 MiB that a first image should have; the rest of a real one is mostly free space too. */
const DEMO_IMAGE_BYTES = 96 * MIB;
/** Where data lies: boot sector and loader, a file system's start, something in the middle, the very end. */
const EXTENTS = [
  { offset: 0, length: 1 * MIB },
  { offset: 8 * MIB, length: 10 * MIB },
  { offset: 50 * MIB + 4096, length: 3 * MIB },
  { offset: DEMO_IMAGE_BYTES - 512 * 1024, length: 512 * 1024 },
] as const;
/** The partition table, between the boot loader's code and the signature. */
const TABLE_OFFSET = 446;
const SECTOR_BYTES = 512;

/** Writes the image; its data is a stream that no shift or swap of blocks leaves alike. */
export function writeDemoImage(path: string): void {
  const file = openSync(path, 'wx', 0o644);
  try {
    ftruncateSync(file, DEMO_IMAGE_BYTES);
    for (const { offset, length } of EXTENTS) writeSync(file, noise(offset, length), 0, length, offset);
    writeSync(file, partitionTable(), 0, SECTOR_BYTES - TABLE_OFFSET, TABLE_OFFSET);
  } finally {
    closeSync(file);
  }
}

/** One active Linux partition, from the first MiB to the end: what is put behind the image (a config drive) looks where its partitions end. */
function partitionTable(): Buffer {
  const table = Buffer.alloc(SECTOR_BYTES - TABLE_OFFSET);
  table[0] = 0x80; // active
  table[4] = 0x83; // Linux
  table.writeUInt32LE(MIB / SECTOR_BYTES, 8);
  table.writeUInt32LE((DEMO_IMAGE_BYTES - MIB) / SECTOR_BYTES, 12);
  table.writeUInt16BE(0x55aa, 64);
  return table;
}

/** SHA-256 in counter mode, 1 KiB a digest repeated with its position: fast, and different at every sector. */
function noise(seed: number, length: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1024) {
    const digest = createHash('sha256').update(`${seed}/${at}`).digest();
    for (let part = 0; part < 1024 && at + part < length; part += digest.length) data.set(digest, at + part);
    data.writeUInt32LE(at, at + 512);
  }
  return data;
}
