/**
 * Where a disk keeps what makes it look used: partition tables, superblocks, RAID and volume-manager labels. They lie at both ends of the disk and
 * at both ends of each partition (mdraid 0.90 and 1.0, ZFS and the second GPT are at ends; btrfs keeps a copy at 64 KiB, LVM in the first sectors).
 */
import { decodeGpt } from './gpt.ts';
import { decodeMbr, MBR_TYPE } from './mbr.ts';
import { MIB } from './plan-layout.ts';

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export const DISK_END_BYTES = 16 * MIB;
const PARTITION_END_BYTES = MIB;

/** In order, without overlap, in whole blocks. `start`: the first MiB of the disk as it is, or all of a smaller one. */
export function metadataExtents(start: Uint8Array, { blockBytes, sizeBytes }: { blockBytes: number; sizeBytes: number }): ByteRange[] {
  const ranges: ByteRange[] = [
    { offset: 0, length: DISK_END_BYTES },
    { offset: sizeBytes - DISK_END_BYTES, length: DISK_END_BYTES },
  ];
  for (const { firstBlock, blocks } of partitionsOf(start, blockBytes)) {
    const offset = firstBlock * blockBytes;
    const length = blocks * blockBytes;
    ranges.push({ offset, length: Math.min(length, PARTITION_END_BYTES) });
    ranges.push({ offset: offset + Math.max(0, length - PARTITION_END_BYTES), length: Math.min(length, PARTITION_END_BYTES) });
  }
  return merged(ranges, blockBytes, sizeBytes);
}

function partitionsOf(start: Uint8Array, blockBytes: number): { firstBlock: number; blocks: number }[] {
  const gpt = decodeGpt(start, blockBytes);
  if (gpt !== undefined) return gpt.entries.map(({ firstBlock, blocks }) => ({ firstBlock, blocks }));
  const entries = decodeMbr(start)?.entries ?? [];
  return entries.flatMap((entry) => (entry === undefined || entry.type === MBR_TYPE.protective ? [] : [entry]));
}

/** A table may say anything: what is outside of the disk is cut off. */
function merged(ranges: readonly ByteRange[], blockBytes: number, sizeBytes: number): ByteRange[] {
  const clipped = ranges
    .map(({ offset, length }) => ({
      from: Math.max(0, Math.floor(offset / blockBytes) * blockBytes),
      to: Math.min(sizeBytes, Math.ceil((offset + length) / blockBytes) * blockBytes),
    }))
    .filter(({ from, to }) => to > from)
    .sort((a, b) => a.from - b.from);
  const result: { from: number; to: number }[] = [];
  for (const range of clipped) {
    const last = result.at(-1);
    if (last !== undefined && range.from <= last.to) last.to = Math.max(last.to, range.to);
    else result.push({ ...range });
  }
  return result.map(({ from, to }) => ({ offset: from, length: to - from }));
}
