/**
 * A disk made of a partition image: root and swap, and an ephemeral partition whose file system is left to the instance (or kept as it is). The
 * content goes first and the table last, so that a disk whose writing was cut short has none; only where the ephemeral partition is kept the
 * table stays untouched, since it is right already.
 */
import { type Random, randomUuid } from '../../core/random.ts';
import { type DiskImage, type DiskSink, type WriteImageOptions, writeImage } from '../image/index.ts';
import { layoutErrors } from './errors.ts';
import { decodeGpt, encodeGpt, GPT_TYPE } from './gpt.ts';
import { decodeMbr, encodeMbr, MBR_TYPE } from './mbr.ts';
import { type Layout, type LayoutRequest, MIB, type Partition, planLayout } from './plan-layout.ts';
import { describeStart, type FileSystem, fileSystemOf, SUPERBLOCK_BYTES } from './superblock.ts';
import { encodeSwapHeader } from './swap-header.ts';

export interface ReadableSink extends DiskSink {
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

export interface PartitionImageOptions extends WriteImageOptions {
  readonly partitions: Pick<LayoutRequest, 'rootMb' | 'swapMb' | 'ephemeralMb' | 'table'>;
  readonly preserveEphemeral?: boolean;
  /** A file system as it is, e.g. of `encodeConfigDrive`, for a partition of its own. */
  readonly configDrive?: Uint8Array;
  readonly random: Random;
}

export interface WrittenPartitions {
  readonly layout: Layout;
  /** Of the image, as `writeImage` gives it. */
  readonly sha256: string;
  readonly root: FileSystem;
}

const SWAP_LABEL = 'swap1';

/** Throws the LAYOUT_ errors (of which LAYOUT_NOT_PRESERVED before anything is written) and those of writeImage. */
export async function writePartitionImage(
  image: DiskImage,
  disk: ReadableSink,
  options: PartitionImageOptions,
): Promise<WrittenPartitions> {
  const { random, preserveEphemeral = false, partitions, configDrive, ...writing } = options;
  const { blockBytes, sizeBytes } = disk;
  const configMb = Math.ceil((configDrive?.length ?? 0) / MIB);
  const layout = planLayout({ blockBytes, diskBytes: sizeBytes, imageBytes: image.virtualSizeBytes, ...partitions, configMb });
  if (preserveEphemeral) await mustBePreserved(disk, layout);
  else await eraseTables(disk);
  for (const partition of layout.partitions) {
    if (partition.role === 'swap') await writeSwap(window(disk, layout, partition), random);
    if (partition.role === 'config' && configDrive) await writeWhole(window(disk, layout, partition), configDrive);
    // No old file system may show through where a new one is to be made.
    if (partition.role === 'ephemeral' && !preserveEphemeral) await eraseEnds(window(disk, layout, partition));
  }
  const rootSink = window(disk, layout, partitionOf(layout, 'root'));
  const { sha256 } = await writeImage(image, rootSink, writing);
  const start = await rootSink.read(0, Math.max(SUPERBLOCK_BYTES, blockBytes));
  const root = fileSystemOf(start);
  if (root === undefined) throw layoutErrors.LAYOUT_NO_ROOT({ found: describeStart(start) });
  if (!preserveEphemeral) await writeTable(disk, layout, random);
  await disk.flush();
  return { layout, sha256, root };
}

/** The table that is there must be the one that we would write: then the partition is where the new instance looks for it. */
async function mustBePreserved(disk: ReadableSink, layout: Layout): Promise<void> {
  const refuse = (reason: string): Error => layoutErrors.LAYOUT_NOT_PRESERVED({ reason });
  if (!layout.partitions.some(({ role }) => role === 'ephemeral')) throw refuse('the flavor has none');
  const start = await disk.read(0, MIB);
  const gpt = decodeGpt(start, disk.blockBytes);
  const found = gpt?.entries ?? decodeMbr(start)?.entries.filter((entry) => entry !== undefined) ?? [];
  if (found.length === 0) throw refuse('the disk has no partition table');
  const same = (layout.table === 'gpt') === (gpt !== undefined) && found.length === layout.partitions.length;
  const differs = layout.partitions.find(
    ({ firstBlock, blocks }, index) => found[index]?.firstBlock !== firstBlock || found[index]?.blocks !== blocks,
  );
  if (!same || differs !== undefined) throw refuse(`the disk is partitioned otherwise (${differs?.role ?? 'another table'})`);
}

async function eraseTables(disk: ReadableSink): Promise<void> {
  const endBytes = Math.min(MIB, disk.sizeBytes);
  await disk.zero(0, endBytes);
  const from = Math.floor((disk.sizeBytes - endBytes) / disk.blockBytes) * disk.blockBytes;
  await disk.zero(from, Math.floor(disk.sizeBytes / disk.blockBytes) * disk.blockBytes - from);
}

async function eraseEnds(part: ReadableSink): Promise<void> {
  await part.zero(0, Math.min(MIB, part.sizeBytes));
  if (part.sizeBytes > MIB) await part.zero(part.sizeBytes - MIB, MIB);
}

async function writeSwap(part: ReadableSink, random: Random): Promise<void> {
  await part.zero(0, Math.min(MIB, part.sizeBytes));
  const header = encodeSwapHeader({ partitionBytes: part.sizeBytes, uuid: randomUuid(random), label: SWAP_LABEL });
  await part.write(0, header);
}

/** With zeros after it, to the end of its partition. */
async function writeWhole(part: ReadableSink, content: Uint8Array): Promise<void> {
  const padded = new Uint8Array(part.sizeBytes);
  padded.set(content);
  await part.write(0, padded);
}

async function writeTable(disk: ReadableSink, layout: Layout, random: Random): Promise<void> {
  if (layout.table === 'gpt') {
    const entries = layout.partitions.map(({ role, firstBlock, blocks }) => ({
      type: role === 'swap' ? GPT_TYPE.swap : GPT_TYPE.linux,
      guid: randomUuid(random),
      firstBlock,
      blocks,
      name: role,
    }));
    const { primary, backup, backupOffset } = encodeGpt({ diskGuid: randomUuid(random), entries }, layout);
    await disk.write(backupOffset, backup);
    await disk.write(0, primary);
    return;
  }
  const signature = random.bytes(4);
  const entries = layout.partitions.map(({ role, firstBlock, blocks }) => ({
    type: role === 'swap' ? MBR_TYPE.swap : MBR_TYPE.linux,
    firstBlock,
    blocks,
  }));
  const block = new Uint8Array(disk.blockBytes);
  block.set(encodeMbr({ diskSignature: new DataView(signature.buffer, signature.byteOffset).getUint32(0), entries }));
  await disk.write(0, block);
}

function partitionOf(layout: Layout, role: Partition['role']): Partition {
  const found = layout.partitions.find((partition) => partition.role === role);
  if (found === undefined) throw new Error(`a layout without a ${role} partition`);
  return found;
}

/** A partition as a disk of its own: nothing outside of it can be reached. */
function window(disk: ReadableSink, layout: Layout, { firstBlock, blocks }: Partition): ReadableSink {
  const base = firstBlock * layout.blockBytes;
  const sizeBytes = blocks * layout.blockBytes;
  const inside = (offset: number, length: number): number => {
    if (offset < 0 || offset + length > sizeBytes) throw new RangeError(`${length} bytes at ${offset} of a partition of ${sizeBytes}`);
    return base + offset;
  };
  return {
    blockBytes: layout.blockBytes,
    sizeBytes,
    read: async (offset, length) => disk.read(inside(offset, length), length),
    write: async (offset, data) => disk.write(inside(offset, data.length), data),
    zero: async (offset, length) => disk.zero(inside(offset, length), length),
    flush: () => disk.flush(),
  };
}
