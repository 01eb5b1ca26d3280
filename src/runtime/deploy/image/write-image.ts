/**
 * Writes an image to a disk: data as data, everything else explicitly as zeros, since a disk remembers its last owner. Several
 * commands are under way at once; none is left when the function returns or throws.
 */
import { createHash, type Hash } from 'node:crypto';
import type { DiskImage, Extent, Progress } from './disk-image.ts';
import { imageErrors } from './errors.ts';

/** What a disk must be able to do; an iSCSI session's logical unit is one. Offsets and lengths are whole blocks. */
export interface DiskSink {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  write(offset: number, data: Uint8Array): Promise<void>;
  zero(offset: number, length: number): Promise<void>;
  flush(): Promise<void>;
  read?(offset: number, length: number): Promise<Uint8Array>;
}

export interface WriteImageOptions {
  /** Reads the written range back and compares. Needs a sink with `read`. Default false. */
  readonly verify?: boolean;
  readonly onProgress?: (progress: Progress & { readonly phase: 'write' | 'verify' }) => void;
  readonly signal?: AbortSignal;
  /** Commands under way at once. Default 8. */
  readonly queueDepth?: number;
  /** Largest write. Default 1 MiB. Rounded down to whole blocks. */
  readonly chunkBytes?: number;
}

export interface WrittenImage {
  readonly bytesWritten: number;
  readonly bytesZeroed: number;
  /** SHA-256 of the virtual disk's content, in hex, as `contentDigest` gives it. */
  readonly sha256: string;
}

const DEFAULT_QUEUE_DEPTH = 8;
const DEFAULT_CHUNK_BYTES = 1024 * 1024;
/** Zeros shorter than this go as data, and longer ones in steps small enough for progress and cancelling. */
const SHORTEST_ZERO_BYTES = 64 * 1024;
const ZERO_STEP_BYTES = 64 * 1024 * 1024;
const ZEROS = new Uint8Array(1024 * 1024);

/** Throws IMAGE_DISK_TOO_SMALL, IMAGE_READ_BACK_*, the image's and the sink's errors, and the signal's reason. */
export async function writeImage(image: DiskImage, disk: DiskSink, options: WriteImageOptions = {}): Promise<WrittenImage> {
  const { signal, onProgress, queueDepth = DEFAULT_QUEUE_DEPTH } = options;
  const totalBytes = image.virtualSizeBytes;
  if (disk.sizeBytes < totalBytes) throw imageErrors.IMAGE_DISK_TOO_SMALL({ imageBytes: totalBytes, diskBytes: disk.sizeBytes });
  const read = disk.read?.bind(disk);
  if (options.verify && !read) throw imageErrors.IMAGE_READ_BACK_UNSUPPORTED({});
  const chunkBytes = Math.max(disk.blockBytes, roundDown(options.chunkBytes ?? DEFAULT_CHUNK_BYTES, disk.blockBytes));

  const hash = createHash('sha256');
  const counts = { data: 0, zero: 0 };
  const queue = new CommandQueue(queueDepth);
  try {
    for await (const { offset, length, kind } of commands(image, disk.blockBytes, chunkBytes)) {
      signal?.throwIfAborted();
      const inImage = Math.min(length, totalBytes - offset); // the last block may reach past the image's end
      if (kind === 'zero') hashZeros(hash, inImage);
      // a buffer of its own for each command: the sink may hold on to it until the disk has answered
      const data = kind === 'zero' ? undefined : new Uint8Array(length);
      if (data) hash.update(await image.read(offset, inImage, data.subarray(0, inImage)));
      await queue.add(async () => {
        await (data ? disk.write(offset, data) : disk.zero(offset, length));
        counts[kind] += length;
        onProgress?.({ phase: 'write', doneBytes: Math.min(counts.data + counts.zero, totalBytes), totalBytes });
      });
    }
  } finally {
    await queue.idle();
  }
  queue.throwIfFailed();
  signal?.throwIfAborted();
  await disk.flush();
  const sha256 = hash.digest('hex');
  if (options.verify && read) await readBack(image, disk.blockBytes, read, chunkBytes, sha256, options);
  return { bytesWritten: counts.data, bytesZeroed: counts.zero, sha256 };
}

/** The image's extents as commands to the disk: on whole blocks, of a size that a disk takes, short zeros as data. */
async function* commands(image: DiskImage, blockBytes: number, chunkBytes: number): AsyncGenerator<Extent> {
  const end = roundUp(image.virtualSizeBytes, blockBytes);
  let done = 0;
  for await (const { offset, length, kind } of image.extents()) {
    if (kind === 'data') continue;
    const from = roundUp(Math.max(offset, done), blockBytes);
    const to = offset + length === image.virtualSizeBytes ? end : roundDown(offset + length, blockBytes);
    if (to - from < Math.min(SHORTEST_ZERO_BYTES, end)) continue;
    yield* split({ offset: done, length: from - done, kind: 'data' }, chunkBytes);
    yield* split({ offset: from, length: to - from, kind: 'zero' }, ZERO_STEP_BYTES);
    done = to;
  }
  yield* split({ offset: done, length: end - done, kind: 'data' }, chunkBytes);
}

function* split({ offset, length, kind }: Extent, stepBytes: number): Generator<Extent> {
  for (let at = 0; at < length; at += stepBytes) yield { offset: offset + at, length: Math.min(stepBytes, length - at), kind };
}

/** Compares the written range by digest; only when that fails, piece by piece, to say where. */
async function readBack(
  image: DiskImage,
  blockBytes: number,
  read: (offset: number, length: number) => Promise<Uint8Array>,
  chunkBytes: number,
  expected: string,
  { signal, onProgress, queueDepth = DEFAULT_QUEUE_DEPTH }: WriteImageOptions,
): Promise<void> {
  const totalBytes = image.virtualSizeBytes;
  const readPiece = async ({ offset, length }: Extent): Promise<Uint8Array> =>
    (await read(offset, roundUp(length, blockBytes))).subarray(0, length);
  const pieces = (): Generator<Extent> => split({ offset: 0, length: totalBytes, kind: 'data' }, chunkBytes);
  const hash = createHash('sha256');
  const ahead: { readonly piece: Extent; readonly data: Promise<Uint8Array> }[] = [];
  const hashFirst = async (): Promise<void> => {
    const first = ahead[0];
    if (!first) return;
    hash.update(await first.data);
    ahead.shift();
    onProgress?.({ phase: 'verify', doneBytes: first.piece.offset + first.piece.length, totalBytes });
  };
  try {
    for (const piece of pieces()) {
      signal?.throwIfAborted();
      ahead.push({ piece, data: readPiece(piece) });
      if (ahead.length >= queueDepth) await hashFirst();
    }
    while (ahead.length > 0) await hashFirst();
  } finally {
    await Promise.allSettled(ahead.map(({ data }) => data));
  }
  if (hash.digest('hex') === expected) return;
  for (const piece of pieces()) {
    signal?.throwIfAborted();
    const stored = await image.read(piece.offset, piece.length);
    if (Buffer.compare(await readPiece(piece), stored) !== 0) throw imageErrors.IMAGE_READ_BACK_MISMATCH({ offset: piece.offset });
  }
  throw imageErrors.IMAGE_READ_BACK_MISMATCH({ offset: undefined });
}

/** Runs up to `depth` commands at once; after the first failure it starts no more. */
class CommandQueue {
  private readonly running = new Set<Promise<void>>();
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly depth: number) {}

  /** Starts the command, waiting for room first. Rejects with the failure of an earlier one. */
  async add(command: () => Promise<void>): Promise<void> {
    while (this.running.size >= this.depth) await Promise.race(this.running);
    this.throwIfFailed();
    const run = command()
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => this.running.delete(run));
    this.running.add(run);
  }

  /** Resolves when no command is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.running);
  }

  throwIfFailed(): void {
    if (this.failure) throw this.failure.error;
  }
}

function hashZeros(hash: Hash, length: number): void {
  for (let at = 0; at < length; at += ZEROS.length) hash.update(ZEROS.subarray(0, Math.min(ZEROS.length, length - at)));
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function roundDown(value: number, step: number): number {
  return Math.floor(value / step) * step;
}
