/** Reads chunks back from a disk that has been told to keep them, and compares them with the manifest. */
import { hash } from 'node:crypto';
import type { Progress } from './disk-image.ts';
import { imageErrors } from './errors.ts';
import { chunkAt, type ImageManifest } from './manifest.ts';
import type { DiskSink } from './write-image.ts';
import { isZero } from './zero-blocks.ts';

export interface ReadBackOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** Reads under way at once: two, so that the wire is busy while a chunk is hashed. */
const READS_AHEAD = 2;
/** A sample is one chunk in this many, … */
const SAMPLE_STRIDE = 32;
/** … but not fewer than these. */
const SMALLEST_SAMPLE = 16;

/** Whether the disk holds this chunk. */
export async function holds(disk: DiskSink, manifest: ImageManifest, number: number): Promise<boolean> {
  return matches(await read(disk, manifest, number), manifest, number);
}

/** Throws IMAGE_READ_BACK_MISMATCH, naming the first chunk that differs, IMAGE_READ_BACK_UNSUPPORTED, and the disk's errors. */
export async function readBack(
  disk: DiskSink,
  manifest: ImageManifest,
  numbers: readonly number[],
  { onProgress, signal }: ReadBackOptions = {},
): Promise<void> {
  const totalBytes = numbers.reduce((sum, number) => sum + chunkAt(manifest, number).length, 0);
  const ahead: Promise<Uint8Array>[] = [];
  let doneBytes = 0;
  try {
    for (const [index, number] of numbers.entries()) {
      signal?.throwIfAborted();
      while (ahead.length < READS_AHEAD && index + ahead.length < numbers.length) {
        const reading = read(disk, manifest, numbers[index + ahead.length] ?? number);
        reading.catch(() => undefined); // told when its turn comes
        ahead.push(reading);
      }
      const data = await ahead[0];
      ahead.shift();
      if (data === undefined || !matches(data, manifest, number))
        throw imageErrors.IMAGE_READ_BACK_MISMATCH({ offset: chunkAt(manifest, number).offset });
      doneBytes += data.length;
      onProgress?.({ doneBytes, totalBytes });
    }
  } finally {
    await Promise.allSettled(ahead);
  }
}

/**
 * Which chunks a sample reads: some of every part of the disk, the last one among them. `fraction` (0 to 1) shifts the choice, so that it
 * differs from deployment to deployment.
 */
export function sampleOf(manifest: ImageManifest, fraction: number): number[] {
  const { length } = manifest.chunks;
  const stride = Math.max(1, Math.min(SAMPLE_STRIDE, Math.floor(length / SMALLEST_SAMPLE)));
  const first = Math.min(stride - 1, Math.floor(fraction * stride));
  const chosen = Array.from({ length: Math.ceil((length - first) / stride) }, (_, index) => first + index * stride);
  if (length > 0 && chosen.at(-1) !== length - 1) chosen.push(length - 1);
  return chosen;
}

async function read(disk: DiskSink, manifest: ImageManifest, number: number): Promise<Uint8Array> {
  if (!disk.read) throw imageErrors.IMAGE_READ_BACK_UNSUPPORTED({});
  const { offset, length } = chunkAt(manifest, number);
  const whole = Math.ceil(length / disk.blockBytes) * disk.blockBytes;
  return (await disk.read(offset, whole)).subarray(0, length);
}

function matches(data: Uint8Array, manifest: ImageManifest, number: number): boolean {
  const { digest } = chunkAt(manifest, number);
  return digest === null ? isZero(data) : hash('sha256', data, 'hex') === digest;
}
