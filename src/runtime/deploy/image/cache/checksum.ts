/** The checksum that a publisher gives with a file: of the file as it is published, packed or not. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { imageErrors } from '../errors.ts';
import { imageCacheErrors } from './errors.ts';

export interface Checksum {
  readonly algorithm: 'sha256' | 'sha512';
  /** Lower-case hex. */
  readonly digest: string;
}

/** `sha256:…`, `sha512:…`, or the bare digits, whose number tells which. Throws IMAGE_CHECKSUM_FORM. */
export function parseChecksum(text: string): Checksum {
  const match = /^(?:(sha256|sha512):)?([\da-f]+)$/i.exec(text.trim());
  const digest = match?.[2]?.toLowerCase() ?? '';
  const algorithm = digest.length === 64 ? 'sha256' : digest.length === 128 ? 'sha512' : undefined;
  if (algorithm === undefined || (match?.[1] !== undefined && match[1].toLowerCase() !== algorithm))
    throw imageCacheErrors.IMAGE_CHECKSUM_FORM({ checksum: text });
  return { algorithm, digest };
}

/** Throws IMAGE_DIGEST_MISMATCH. `source` is what the error names. */
export async function verifyFile(path: string, source: string, { algorithm, digest }: Checksum, signal: AbortSignal): Promise<void> {
  const hash = createHash(algorithm);
  for await (const part of createReadStream(path, { signal, highWaterMark: 1024 * 1024 })) hash.update(part);
  const actual = hash.digest('hex');
  if (actual !== digest) throw imageErrors.IMAGE_DIGEST_MISMATCH({ path: source, expected: digest, actual });
}
