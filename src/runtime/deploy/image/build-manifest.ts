/** Reads an image once and writes down what it holds. */
import { createHash } from 'node:crypto';
import type { DigestOptions } from './digest.ts';
import type { DiskImage } from './disk-image.ts';
import { type ChunkDigest, chunkBytesFor, type ImageManifest, MANIFEST_FORMAT } from './manifest.ts';
import { isZero } from './zero-blocks.ts';

export interface BuildManifestOptions extends DigestOptions {
  /** A power of two. Default: by the size of the image. */
  readonly chunkBytes?: number;
  /** Called with each chunk in order before it is reused, e.g. to keep a copy. */
  readonly onChunk?: (offset: number, chunk: Uint8Array, zero: boolean) => Promise<void>;
}

/** Throws the image's errors and the signal's reason. */
export async function buildManifest(image: DiskImage, options: BuildManifestOptions = {}): Promise<ImageManifest> {
  const { signal, onProgress, onChunk, chunkBytes = chunkBytesFor(image.virtualSizeBytes) } = options;
  const totalBytes = image.virtualSizeBytes;
  const whole = createHash('sha256');
  const chunks: ChunkDigest[] = [];
  const buffer = new Uint8Array(Math.min(chunkBytes, totalBytes));
  // qcow2: read first what its tables promise, so that a lying header is refused before anything is kept
  if (image.format !== 'raw') for await (const _ of image.extents()) signal?.throwIfAborted();
  for (let offset = 0; offset < totalBytes; offset += chunkBytes) {
    signal?.throwIfAborted();
    const part = buffer.subarray(0, Math.min(chunkBytes, totalBytes - offset));
    await image.read(offset, part.length, part);
    const zero = isZero(part);
    whole.update(part);
    chunks.push(zero ? null : createHash('sha256').update(part).digest('hex'));
    await onChunk?.(offset, part, zero);
    onProgress?.({ doneBytes: offset + part.length, totalBytes });
  }
  return { format: MANIFEST_FORMAT, sizeBytes: totalBytes, chunkBytes, sha256: whole.digest('hex'), chunks };
}
