/** Reads chunks back from a disk that has been told to keep them, and compares them with the manifest. */
import type { Progress } from './disk-image.ts';
import { imageErrors } from './errors.ts';
import { chunkAt, type ImageManifest } from './manifest.ts';
import { type Sha256, sha256OnTheSpot } from './sha256.ts';
import type { DiskSink } from './write-image.ts';
import { isZero } from './zero-blocks.ts';

export interface ReadBackOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  /** Default: on the spot. */
  readonly sha256?: Sha256 | undefined;
}

/** Reads under way at once: two, so that the wire is busy while a chunk is hashed. */
const READS_AHEAD = 2;
/** A sample is one chunk in this many, … */
const SAMPLE_STRIDE = 32;
/** … but not fewer than these. */
const SMALLEST_SAMPLE = 16;

/** Whether the disk holds this chunk. */
export async function holds(disk: DiskSink, manifest: ImageManifest, number: number, sha256?: Sha256): Promise<boolean> {
  return matches(await read(disk, manifest, number), manifest, number, sha256);
}

/** Throws IMAGE_READ_BACK_MISMATCH, naming the first chunk that differs, IMAGE_READ_BACK_UNSUPPORTED, and the disk's errors. */
export async function readBack(
  disk: DiskSink,
  manifest: ImageManifest,
  numbers: readonly number[],
  { onProgress, signal, sha256 }: ReadBackOptions = {},
): Promise<void> {
  const totalBytes = numbers.reduce((sum, number) => sum + chunkAt(manifest, number).length, 0);
  const ahead: Promise<boolean>[] = [];
  let doneBytes = 0;
  try {
    for (const [index, number] of numbers.entries()) {
      signal?.throwIfAborted();
      while (ahead.length < READS_AHEAD && index + ahead.length < numbers.length) {
        const reading = holds(disk, manifest, numbers[index + ahead.length] ?? number, sha256);
        reading.catch(() => undefined); // told when its turn comes
        ahead.push(reading);
      }
      const { offset, length } = chunkAt(manifest, number);
      if (!(await ahead[0])) throw imageErrors.IMAGE_READ_BACK_MISMATCH({ offset });
      ahead.shift();
      doneBytes += length;
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

async function read(disk: DiskSink, manifest: ImageManifest, number: number): Promise<Uint8Array<ArrayBuffer>> {
  if (!disk.read) throw imageErrors.IMAGE_READ_BACK_UNSUPPORTED({});
  const { offset, length } = chunkAt(manifest, number);
  const whole = Math.ceil(length / disk.blockBytes) * disk.blockBytes;
  return (await disk.read(offset, whole)).subarray(0, length);
}

async function matches(
  data: Uint8Array<ArrayBuffer>,
  manifest: ImageManifest,
  number: number,
  sha256: Sha256 = sha256OnTheSpot,
): Promise<boolean> {
  const { digest } = chunkAt(manifest, number);
  return digest === null ? isZero(data) : (await sha256(data)).digest === digest;
}
