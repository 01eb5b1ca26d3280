/**
 * One more partition, at the end of a disk whose image brought its own table: the config drive. Nothing that the table names is moved, and the boot
 * code beside it stays. A GUID table's second copy, which lies where the image ended, goes to the end of the disk, where firmware looks for it.
 */
import { type Random, randomUuid } from '../../core/random.ts';
import { layoutErrors } from './errors.ts';
import { decodeGpt, encodeGpt, GPT_TYPE, type Gpt } from './gpt.ts';
import { decodeMbr, encodeMbr, MBR_TYPE, type Mbr } from './mbr.ts';
import { MIB } from './plan-layout.ts';
import type { ReadableSink } from './write-partition-image.ts';

/** Left free behind it: the second GUID table needs 33 blocks. */
const TABLE_BYTES = MIB;
/** As far as MBR counts. */
const MBR_LIMIT_BLOCKS = 2 ** 32;

export interface AppendedPartition {
  /** From 1. */
  readonly number: number;
  readonly firstBlock: number;
  readonly blocks: number;
}

/** Throws LAYOUT_CONFIG_DRIVE when there is no table, no place in it, or no room behind the last partition. The content goes before the table. */
export async function appendPartition(
  disk: ReadableSink,
  content: Uint8Array,
  { name, random }: { readonly name: string; readonly random: Random },
): Promise<AppendedPartition> {
  const { blockBytes } = disk;
  const diskBlocks = Math.floor(disk.sizeBytes / blockBytes);
  const start = await disk.read(0, MIB);
  const gpt = decodeGpt(start, blockBytes);
  const mbr = gpt ? undefined : decodeMbr(start);
  if (!gpt && !mbr?.entries.some((entry) => entry !== undefined)) throw refuse('the image brought no partition table');
  const taken = gpt ? gpt.entries : (mbr?.entries ?? []).filter((entry) => entry !== undefined);
  const bytes = Math.ceil(content.length / MIB) * MIB;
  const blocks = bytes / blockBytes;
  const reach = gpt ? diskBlocks : Math.min(diskBlocks, MBR_LIMIT_BLOCKS);
  const firstBlock = (Math.floor((reach * blockBytes - TABLE_BYTES - bytes) / MIB) * MIB) / blockBytes;
  const end = Math.max(0, ...taken.map((entry) => entry.firstBlock + entry.blocks));
  if (firstBlock < end)
    throw refuse(`the image’s partitions reach to block ${end} of ${diskBlocks}, and ${bytes / MIB} MiB are needed behind them`);
  const padded = new Uint8Array(bytes);
  padded.set(content);
  const write = async (): Promise<void> => {
    await disk.write(firstBlock * blockBytes, padded);
    await disk.flush();
  };
  if (gpt) {
    const used = new Set(gpt.entries.map((entry) => entry.number));
    const number = Array.from({ length: gpt.entries.length + 1 }, (_, index) => index + 1).find((free) => !used.has(free)) ?? 1;
    const partition = { number, type: GPT_TYPE.basicData, guid: randomUuid(random), firstBlock, blocks, name };
    await intoGpt(disk, start, gpt, partition, diskBlocks, write);
    return { number, firstBlock, blocks };
  }
  return { number: await intoMbr(disk, start, mbr, { firstBlock, blocks }, write), firstBlock, blocks };
}

async function intoGpt(
  disk: ReadableSink,
  start: Uint8Array,
  { diskGuid, entries }: Gpt,
  partition: Gpt['entries'][number],
  diskBlocks: number,
  write: () => Promise<void>,
): Promise<void> {
  await write();
  const { blockBytes } = disk;
  const { primary, backup, backupOffset } = encodeGpt({ diskGuid, entries: [...entries, partition] }, { blockBytes, diskBlocks });
  await disk.write(backupOffset, backup);
  const table = Uint8Array.from(primary);
  table.set(bootBlock(start.slice(0, blockBytes), primary));
  await disk.write(0, table);
  await disk.flush();
}

/**
 * Block 0 as the image has it, where a BIOS finds its boot code; but a protective entry spans the disk that it is on (UEFI 2.10 table 5-4), and not the
 * image's. Beside other entries (a hybrid table) it spans what those leave, and stays.
 */
function bootBlock(block: Uint8Array, primary: Uint8Array): Uint8Array {
  const entries = decodeMbr(block)?.entries ?? [];
  const slot = entries.findIndex((entry) => entry?.type === MBR_TYPE.protective);
  if (slot < 0 || entries.filter((entry) => entry !== undefined).length > 1) return block;
  block.set(primary.subarray(446 + 12, 446 + 16), 446 + 16 * slot + 12); // of an entry: its blocks
  return block;
}

async function intoMbr(
  disk: ReadableSink,
  start: Uint8Array,
  mbr: Mbr | undefined,
  extent: { readonly firstBlock: number; readonly blocks: number },
  write: () => Promise<void>,
): Promise<number> {
  const entries = [...(mbr?.entries ?? [])];
  const slot = entries.indexOf(undefined);
  if (slot < 0) throw refuse('all four places of the partition table are taken');
  await write();
  entries[slot] = { type: MBR_TYPE.linux, ...extent };
  const block = start.slice(0, disk.blockBytes);
  // only this entry: the others, with the geometry that they name, and the boot code stay as they are
  const encoded = encodeMbr({ diskSignature: 0, entries });
  block.set(encoded.subarray(446 + 16 * slot, 462 + 16 * slot), 446 + 16 * slot);
  await disk.write(0, block);
  await disk.flush();
  return slot + 1;
}

function refuse(reason: string): Error {
  return layoutErrors.LAYOUT_CONFIG_DRIVE({ reason });
}
