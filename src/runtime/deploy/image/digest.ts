/** Checksums of images: of the disk inside. */
import { createHash } from 'node:crypto';
import type { DiskImage, Progress } from './disk-image.ts';

export interface DigestOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

const STEP_BYTES = 1024 * 1024;

/** SHA-256, in hex, of the virtual disk's content: the same for every format and packing of one disk. */
export async function contentDigest(image: DiskImage, options: DigestOptions = {}): Promise<string> {
  return digest(image.virtualSizeBytes, (offset, into) => image.read(offset, into.length, into), options);
}

async function digest(
  totalBytes: number,
  read: (offset: number, into: Uint8Array) => Promise<Uint8Array>,
  { onProgress, signal }: DigestOptions,
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(STEP_BYTES, totalBytes));
  for (let offset = 0; offset < totalBytes; offset += STEP_BYTES) {
    signal?.throwIfAborted();
    const part = buffer.subarray(0, Math.min(STEP_BYTES, totalBytes - offset));
    hash.update(await read(offset, part));
    onProgress?.({ doneBytes: offset + part.length, totalBytes });
  }
  return hash.digest('hex');
}
