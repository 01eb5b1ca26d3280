/**
 * What a ramdisk does to its disk, in order, as lines that a shell reads:
 *
 *   bms-direct-plan/1
 *   manifest SHA256             of the manifest's text, so that all replicas mean the same image
 *   verify N                    afterwards every Nth chunk is read back; 0: none
 *   replica ADDRESS             where else the image is to be had; none, one or several lines
 *   zero OFFSET LENGTH          bytes, on whole sectors
 *   bytes OFFSET BASE64
 *   image OFFSET                the chunks of the manifest, from there on; the first of them is erased before all others are written, and comes last
 *
 * The order is that of the writer over iSCSI: old tables go first and the new one comes last, so that a disk whose writing was cut short has none.
 */
import type { Random } from '../../core/random.ts';
import { type DiskImage, type ImageManifest, imageErrors } from '../image/index.ts';
import {
  appendPartition,
  encodeConfigDrive,
  eraseEnd,
  mustSuitBlocks,
  planLayout,
  type ReadableSink,
  writePartitionImage,
} from '../layout/index.ts';

export type DirectStep =
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  | { readonly kind: 'bytes'; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: 'image'; readonly offset: number };

export interface PlanRequest {
  readonly diskBytes: number;
  /** In which the disk's tables count. Default 512. */
  readonly blockBytes?: number;
  readonly image: DiskImage;
  readonly manifest: ImageManifest;
  /** Of a partition image; absent: the image brings its own table. */
  readonly partitions?: { readonly rootMb: number; readonly swapMb: number; readonly ephemeralMb: number };
  readonly configDrive?: { readonly label: string; readonly files: readonly { readonly path: string; readonly content: string }[] };
  readonly random: Random;
}

const DEFAULT_BLOCK_BYTES = 512;
const MIB = 1024 * 1024;

/** What the writer over iSCSI would do, noted down in place of done. Throws the LAYOUT_ errors and IMAGE_DISK_TOO_SMALL. */
export async function directSteps(request: PlanRequest): Promise<DirectStep[]> {
  const { diskBytes, blockBytes = DEFAULT_BLOCK_BYTES, image, manifest, partitions, configDrive, random } = request;
  const imageBytes = manifest.sizeBytes;
  if (imageBytes > diskBytes) throw imageErrors.IMAGE_DISK_TOO_SMALL({ imageBytes, diskBytes });
  const drive = configDrive && encodeConfigDrive(configDrive, blockBytes);
  if (partitions === undefined) {
    mustSuitBlocks(await image.read(0, Math.min(MIB, imageBytes)), blockBytes);
    const disk = new NotedDisk(diskBytes, blockBytes, image, 0);
    await eraseEnd(disk, imageBytes);
    disk.steps.push({ kind: 'image', offset: 0 });
    if (drive) await appendPartition(disk, drive, { name: configDrive.label, random });
    return disk.steps;
  }
  const configMb = Math.ceil((drive?.length ?? 0) / MIB);
  const layout = planLayout({ blockBytes, diskBytes, imageBytes, ...partitions, configMb });
  const root = layout.partitions.find(({ role }) => role === 'root')?.firstBlock ?? 0;
  const disk = new NotedDisk(diskBytes, blockBytes, image, root * blockBytes);
  // Of an image that is all zeros nothing is read: where they would go is where the ramdisk puts the chunks.
  const blank = { ...manifest, chunks: manifest.chunks.map(() => null) };
  await writePartitionImage(image, disk, { manifest: blank, verify: 'none', partitions, random, ...(drive && { configDrive: drive }) });
  return disk.steps;
}

export function encodePlan(
  steps: readonly DirectStep[],
  manifestSha256: string,
  verifyEvery: number,
  replicas: readonly string[] = [],
): string {
  const head = [
    'bms-direct-plan/1',
    `manifest ${manifestSha256}`,
    `verify ${verifyEvery}`,
    ...replicas.map((address) => `replica ${address}`),
  ];
  return [...head, ...steps.map(lineOf), ''].join('\n');
}

function lineOf(step: DirectStep): string {
  switch (step.kind) {
    case 'zero':
      return `zero ${step.offset} ${step.length}`;
    case 'bytes':
      return `bytes ${step.offset} ${Buffer.from(step.data).toString('base64')}`;
    case 'image':
      return `image ${step.offset}`;
  }
}

/** A disk that holds the image already, as far as anybody reads, and notes what is written. */
class NotedDisk implements ReadableSink {
  readonly sizeBytes: number;
  readonly steps: DirectStep[] = [];

  constructor(
    diskBytes: number,
    readonly blockBytes: number,
    private readonly image: DiskImage,
    private readonly imageOffset: number,
  ) {
    this.sizeBytes = diskBytes - (diskBytes % blockBytes);
  }

  /** Only the image's own beginning is asked for: its table, its superblock. */
  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    const from = offset - this.imageOffset;
    const inImage = Math.min(length, this.image.virtualSizeBytes - from);
    if (from >= 0 && inImage > 0) bytes.set(await this.image.read(from, inImage));
    return bytes;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.steps.push({ kind: 'bytes', offset, data: Uint8Array.from(data) });
  }

  async zero(offset: number, length: number): Promise<void> {
    const inImage =
      offset >= this.imageOffset &&
      offset + length <= this.imageOffset + Math.ceil(this.image.virtualSizeBytes / this.blockBytes) * this.blockBytes;
    if (!inImage || this.imageOffset === 0) this.steps.push({ kind: 'zero', offset, length });
    else if (!this.steps.some(({ kind }) => kind === 'image')) this.steps.push({ kind: 'image', offset: this.imageOffset });
  }

  async flush(): Promise<void> {
    // what is noted is noted
  }
}
