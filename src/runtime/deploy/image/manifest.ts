/**
 * The manifest of an image: what its disk holds, chunk by chunk, for whoever writes it (the deploy-helper over iSCSI, a ramdisk by itself). Made
 * once from the verified image, so that each chunk can be checked before it touches a disk, and writing can go on at any of them.
 *
 * As JSON, laid out so that a shell reads it by lines as well: one chunk per line, in order, the first on line 7.
 *
 *   {
 *   "format": "bms-image-manifest/1",
 *   "sizeBytes": 2621440,                    the disk that the image describes: its raw form, a multiple of 512
 *   "chunkBytes": 1048576,                   a power of two; the last chunk may be shorter
 *   "sha256": "5891b5b5…",                   of the raw form as a whole
 *   "chunks": [
 *   "e258d248…",                             SHA-256 of the chunk's bytes
 *   null,                                    nothing but zeros
 *   "0263829989…"
 *   ]}
 */
import { z } from 'zod';
import { imageErrors } from './errors.ts';

export const MANIFEST_FORMAT = 'bms-image-manifest/1';

/** Digest of a chunk in lower-case hex; `null` when it holds nothing but zeros. */
export type ChunkDigest = string | null;

export interface ImageManifest {
  readonly format: typeof MANIFEST_FORMAT;
  /** Of the virtual disk; a multiple of 512. */
  readonly sizeBytes: number;
  /** A power of two. The last chunk may be shorter. */
  readonly chunkBytes: number;
  /** SHA-256 of all `sizeBytes`, lower-case hex. */
  readonly sha256: string;
  /** By number: chunk n begins at byte `n * chunkBytes`. */
  readonly chunks: readonly ChunkDigest[];
}

/** Small enough that a deployment needs few megabytes, large enough that ten gigabytes have a manifest of 700 KB. */
const SMALLEST_CHUNK_BYTES = 1024 * 1024;
/** A writer holds whole chunks in memory. */
const LARGEST_CHUNK_BYTES = 64 * 1024 * 1024;
const WANTED_CHUNKS = 65_536;
/** 64 TiB in the largest chunks. */
const MOST_CHUNKS = 1_048_576;

const schema = z.object({
  format: z.literal(MANIFEST_FORMAT),
  sizeBytes: z.number().int().positive().multipleOf(512),
  chunkBytes: z.number().int().min(512).max(LARGEST_CHUNK_BYTES),
  sha256: z.string().regex(/^[\da-f]{64}$/),
  chunks: z.array(z.union([z.string().regex(/^[\da-f]{64}$/), z.null()])).max(MOST_CHUNKS),
});

/** 1 MiB up to 64 GiB; then as much as keeps the number of chunks at 65,536, up to 64 MiB. */
export function chunkBytesFor(sizeBytes: number): number {
  let chunkBytes = SMALLEST_CHUNK_BYTES;
  while (chunkBytes < LARGEST_CHUNK_BYTES && sizeBytes / chunkBytes > WANTED_CHUNKS) chunkBytes *= 2;
  return chunkBytes;
}

export function encodeManifest({ sizeBytes, chunkBytes, sha256, chunks }: ImageManifest): string {
  const lines = chunks.map((digest) => JSON.stringify(digest)).join(',\n');
  return (
    `{\n"format": "${MANIFEST_FORMAT}",\n"sizeBytes": ${sizeBytes},\n"chunkBytes": ${chunkBytes},\n` +
    `"sha256": "${sha256}",\n"chunks": [\n${lines}\n]}\n`
  );
}

/** Throws IMAGE_MANIFEST and nothing else. `where` is named in the error. */
export function parseManifest(text: string, where: string): ImageManifest {
  const refuse = (reason: string): Error => imageErrors.IMAGE_MANIFEST({ where, reason });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('it is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw refuse(`${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'not valid'}`);
  }
  const { sizeBytes, chunkBytes, chunks } = parsed.data;
  if (!Number.isInteger(Math.log2(chunkBytes))) throw refuse(`chunkBytes ${chunkBytes} is not a power of two`);
  const due = Math.ceil(sizeBytes / chunkBytes);
  if (chunks.length !== due) throw refuse(`it lists ${chunks.length} chunks where ${due} are due`);
  return parsed.data;
}

export interface ManifestChunk {
  readonly number: number;
  readonly offset: number;
  readonly length: number;
  readonly digest: ChunkDigest;
}

export function chunkAt({ sizeBytes, chunkBytes, chunks }: ImageManifest, number: number): ManifestChunk {
  const offset = number * chunkBytes;
  return { number, offset, length: Math.min(chunkBytes, sizeBytes - offset), digest: chunks[number] ?? null };
}
