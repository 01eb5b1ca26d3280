/**
 * Packed images: gzip and zstd by Node, xz by the xz program. A stranger's archive may unpack to anything, so its output is counted as it comes,
 * its zeros become holes, and the memory of its decoder is bounded.
 */
import { spawn } from 'node:child_process';
import { createReadStream, type ReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { imageErrors } from '../errors.ts';
import { imageCacheErrors } from './errors.ts';
import { SparseWriter } from './sparse-file.ts';

export type Packing = 'gzip' | 'zstd' | 'xz';

export interface UnpackOptions {
  /** What errors name. */
  readonly source: string;
  readonly maxBytes: number;
  /** Asked before bytes that are not zeros are stored. What it throws ends the work. */
  readonly onStored: (storedBytes: number) => Promise<void>;
  readonly signal: AbortSignal;
}

const MAGIC: readonly (readonly [Packing, string])[] = [
  ['gzip', '1f8b08'],
  ['zstd', '28b52ffd'],
  ['zstd', '502a4d18'], // a frame to be skipped, with which pzstd begins
  ['xz', 'fd377a585a00'],
];
/** 128 MiB: what `zstd -d` takes without being told, and far above what its levels without --ultra need. */
const ZSTD_WINDOW_LOG = 27;
/** `xz -9` needs 65 MiB. */
const XZ_MEMORY_LIMIT = '256MiB';
const LONGEST_COMPLAINT = 300;
/** Of one read of a packed file, and of one piece of what comes out. */
const CHUNK_BYTES = 1024 * 1024;

export function packingOf(start: Uint8Array): Packing | undefined {
  const hex = Buffer.from(start).toString('hex');
  return MAGIC.find(([, magic]) => hex.startsWith(magic))?.[0];
}

/** Throws IMAGE_UNPACK, IMAGE_TOO_LARGE, IMAGE_TOOL, what `onStored` throws, and the signal's reason. */
export async function unpack(packing: Packing, from: string, to: string, options: UnpackOptions): Promise<void> {
  const { source, maxBytes, signal } = options;
  signal.throwIfAborted();
  const writer = await SparseWriter.create(to, options.onStored);
  /** Of our own making, and so the reason rather than the stream's. */
  let refusal: unknown;
  const sink = async (output: AsyncIterable<Uint8Array>): Promise<void> => {
    try {
      for await (const part of output) {
        signal.throwIfAborted();
        if (writer.sizeBytes + part.length > maxBytes)
          throw imageErrors.IMAGE_TOO_LARGE({ path: source, bytes: writer.sizeBytes + part.length, limit: maxBytes });
        await writer.append(part);
      }
    } catch (error) {
      refusal ??= fromStream(error) ? undefined : error;
      throw error;
    }
  };
  try {
    if (packing === 'xz') await throughXz(packedFile(from), sink, signal);
    else if (packing === 'gzip') await pipeline(packedFile(from), createGunzip({ chunkSize: CHUNK_BYTES }), sink, { signal });
    else await sink(unpackedFrames(from, source));
    await writer.finish();
  } catch (error) {
    await writer.abandon();
    signal.throwIfAborted();
    if (refusal !== undefined) throw refusal;
    if (error instanceof Error && error.name === 'CodedError') throw error;
    throw imageCacheErrors.IMAGE_UNPACK(
      { source, packing, reason: error instanceof Error ? error.message : String(error) },
      { cause: error },
    );
  }
}

function packedFile(from: string, start = 0): ReadStream {
  return createReadStream(from, { start, highWaterMark: CHUNK_BYTES });
}

/** A decoder for each frame: Node's is done with the first one, and what lies behind that would be missing without a word. */
async function* unpackedFrames(from: string, source: string): AsyncGenerator<Uint8Array> {
  const { size } = await stat(from);
  for (let at = 0; at < size; ) {
    const input = packedFile(from, at);
    const decoder = createZstdDecompress({ chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } });
    input.once('error', (error) => decoder.destroy(error));
    try {
      yield* input.pipe(decoder);
    } finally {
      input.destroy();
      decoder.destroy();
    }
    const taken = decoder.bytesWritten;
    if (taken === 0) throw imageCacheErrors.IMAGE_UNPACK({ source, packing: 'zstd', reason: `what begins at byte ${at} is no frame` });
    at += taken;
  }
}

/** zlib's errors, and a read that ended because the decoder did. */
function fromStream(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(?:Z_|ZSTD_|ERR_|ABORT)/.test(String(error.code));
}

async function throughXz(input: Readable, sink: (output: AsyncIterable<Uint8Array>) => Promise<void>, signal: AbortSignal): Promise<void> {
  const args = ['--decompress', '--stdout', '--format=xz', '--threads=1', `--memlimit-decompress=${XZ_MEMORY_LIMIT}`];
  const child = spawn('xz', args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env.PATH ?? '', LC_ALL: 'C' } });
  let complaint = '';
  child.stderr.on('data', (text) => {
    complaint = (complaint + String(text)).slice(0, LONGEST_COMPLAINT);
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) => reject(imageCacheErrors.IMAGE_TOOL({ program: 'xz', reason: cause.message }, { cause })));
    child.once('close', resolve);
  });
  ended.catch(() => undefined); // told below
  const feeding = pipeline(input, child.stdin, { signal }).catch(() => undefined); // xz says itself what it did not like
  try {
    await sink(child.stdout);
    const status = await ended;
    if (status !== 0) throw new Error(complaint.replace(/\s+/g, ' ').trim() || `xz ended with status ${status}`);
  } finally {
    child.kill('SIGKILL'); // harmless when it has ended
    input.destroy();
    await feeding;
    await ended.catch(() => undefined);
  }
}
