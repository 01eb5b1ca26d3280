/** Checksums of images: of the file as stored, and of the disk inside. */
import { createHash } from 'node:crypto';
import type { DiskImage, Progress } from './disk-image.ts';
import { imageErrors } from './errors.ts';

export interface DigestOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

const STEP_BYTES = 1024 * 1024;

/** Throws IMAGE_BAD_DIGEST; gives the digest in lower case. */
export function parseSha256(digest: string): string {
  if (!/^[\da-f]{64}$/i.test(digest)) throw imageErrors.IMAGE_BAD_DIGEST({ digest });
  return digest.toLowerCase();
}

/** Compares the file as stored with the digest that its publisher gives. Throws IMAGE_DIGEST_MISMATCH, IMAGE_BAD_DIGEST. */
export async function verifyImage(image: DiskImage, { sha256, ...options }: DigestOptions & { readonly sha256: string }): Promise<void> {
  const expected = parseSha256(sha256);
  const { file } = image;
  const actual = await digest(file.sizeBytes, (offset, into) => file.read(offset, into, 'content'), options);
  if (actual !== expected) throw imageErrors.IMAGE_DIGEST_MISMATCH({ path: file.path, expected, actual });
}

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
