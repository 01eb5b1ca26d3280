/**
 * Writes an image to a disk, chunk by chunk as its manifest lists them. Each chunk is compared with its digest before any of it goes to the
 * disk. Zeros are made explicitly, since a disk remembers its last owner. The first chunk, with the partition table, comes last: a disk whose
 * writing was cut short has none and boots nothing. Several commands are under way at once; none is left when the function returns or throws.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { BufferPool, CommandQueue, type PooledBuffer } from './command-queue.ts';
import type { DiskImage, Progress } from './disk-image.ts';
import { imageErrors } from './errors.ts';
import { chunkAt, type ImageManifest, type ManifestChunk } from './manifest.ts';
import { holds, readBack, sampleOf } from './read-back.ts';
import { type Sha256, sha256OnTheSpot } from './sha256.ts';
import { isZero } from './zero-blocks.ts';

/** What a disk must be able to do; an iSCSI session's logical unit is one. Offsets and lengths are whole blocks. */
export interface DiskSink {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  write(offset: number, data: Uint8Array): Promise<void>;
  zero(offset: number, length: number): Promise<void>;
  /** Resolves when everything written so far survives a power cut. */
  flush(): Promise<void>;
  /** The bytes are the caller's, and the whole buffer that they lie in. */
  read?(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

export type ReadBack = 'none' | 'sample' | 'all';

export interface WriteImageOptions {
  readonly manifest: ImageManifest;
  /** How much is read back and compared at the end. All but `none` need a disk that can be read. Default `sample`. */
  readonly verify?: ReadBack;
  /** 0 to 1: shifts the sample. Default 0. */
  readonly sampleShift?: number;
  /** Chunks that an earlier run has left on this disk for good, as `onSynced` told. Not believed without a look at some of them. */
  readonly resumeAt?: number;
  /** All chunks before this number but the first are on the disk, synchronized; 0 takes that back. What it throws ends the writing. */
  readonly onSynced?: (chunks: number) => void | Promise<void>;
  /** How many bytes may be lost with the connection. Default 256 MiB. */
  readonly syncEveryBytes?: number;
  readonly onProgress?: (progress: Progress & { readonly phase: 'write' | 'verify' }) => void;
  /** Waits until so many bytes may be sent. */
  readonly throttle?: (bytes: number) => Promise<void>;
  readonly signal?: AbortSignal;
  /** Default: on the spot. */
  readonly sha256?: Sha256;
  /** For chunks in memory. Default 4 MiB; two chunks at least. */
  readonly memoryBytes?: number;
}

export interface WrittenImage {
  /** Sent as data, by this run. */
  readonly bytesWritten: number;
  readonly bytesZeroed: number;
  /** Chunks that were on the disk already. */
  readonly resumedChunks: number;
  /** SHA-256 of the virtual disk's content, in hex, as the manifest gives it. */
  readonly sha256: string;
}

const DEFAULT_MEMORY_BYTES = 4 * 1024 * 1024;
const DEFAULT_SYNC_BYTES = 256 * 1024 * 1024;
/** Zeros shorter than this go as data: one more command costs more than they do. */
const GRAIN_BYTES = 64 * 1024;
/** Chunks of data that a disk is asked for before it is believed to have what was written earlier. */
const PROOFS = 4;
/** Small enough for progress and cancelling. */
const ZERO_STEP_BYTES = 64 * 1024 * 1024;

/** Throws IMAGE_DISK_TOO_SMALL, IMAGE_CHUNK_MISMATCH, IMAGE_READ_BACK_*, the image's and the disk's errors, and the signal's reason. */
export async function writeImage(image: DiskImage, disk: DiskSink, options: WriteImageOptions): Promise<WrittenImage> {
  const { manifest, signal, verify = 'sample', onProgress } = options;
  const { sizeBytes, chunks } = manifest;
  if (image.virtualSizeBytes !== sizeBytes) {
    const reason = `it describes ${sizeBytes} bytes, the image has ${image.virtualSizeBytes}`;
    throw imageErrors.IMAGE_MANIFEST({ where: image.file.path, reason });
  }
  if (manifest.chunkBytes % disk.blockBytes !== 0) {
    const reason = `its chunks of ${manifest.chunkBytes} bytes are not whole blocks of ${disk.blockBytes}`;
    throw imageErrors.IMAGE_MANIFEST({ where: image.file.path, reason });
  }
  if (disk.sizeBytes < sizeBytes) throw imageErrors.IMAGE_DISK_TOO_SMALL({ imageBytes: sizeBytes, diskBytes: disk.sizeBytes });
  if (verify !== 'none' && !disk.read) throw imageErrors.IMAGE_READ_BACK_UNSUPPORTED({});

  const from = await resumePoint(disk, options);
  const writer = new ChunkWriter(image, disk, options);
  try {
    if (from === 1) await writer.begin();
    writer.resume(from);
    for (let number = from; number < chunks.length; number++) {
      signal?.throwIfAborted();
      await writer.put(chunkAt(manifest, number));
    }
    await writer.sync(chunks.length);
    const { sampleShift = 0, sha256 } = options;
    const numbers = verify === 'none' ? [] : verify === 'all' ? [...chunks.keys()] : sampleOf(manifest, sampleShift);
    const telling = onProgress && ((progress: Progress): void => onProgress({ phase: 'verify', ...progress }));
    const reading = { sha256, ...(signal && { signal }), ...(telling && { onProgress: telling }) };
    await readBack(
      disk,
      manifest,
      numbers.filter((number) => number !== 0),
      reading,
    );
    signal?.throwIfAborted();
    await writer.put(chunkAt(manifest, 0));
    await writer.sync(chunks.length);
    if (verify !== 'none') await readBack(disk, manifest, [0], { sha256, ...(signal && { signal }) });
  } catch (error) {
    // its own failure would hide what counts
    if (error instanceof CodedError && error.code === 'IMAGE_READ_BACK_MISMATCH') await writer.disown().catch(() => undefined);
    throw error;
  } finally {
    await writer.idle();
  }
  return { ...writer.counts, resumedChunks: from - 1, sha256: manifest.sha256 };
}

/**
 * Number of the first chunk to write, at least 1: a disk that lost what it had promised to keep, or that is another one, is written from the start.
 * Chunks of zeros prove nothing, since an empty disk has them too: the last chunk before the point is asked, and the data that lies before it.
 */
async function resumePoint(disk: DiskSink, { manifest, resumeAt = 1, signal, sha256 }: WriteImageOptions): Promise<number> {
  const wanted = Math.min(resumeAt, manifest.chunks.length);
  if (wanted <= 1 || !disk.read) return 1;
  const proofs = proofsOf(manifest, wanted);
  for (const number of proofs) {
    signal?.throwIfAborted();
    if (!(await holds(disk, manifest, number, sha256))) return 1;
  }
  return proofs.length === 0 ? 1 : wanted;
}

/** Chunks from 1 up to `end` that tell whether the disk has what was written; none when no data is among them. */
function proofsOf({ chunks }: ImageManifest, end: number): number[] {
  const data: number[] = [];
  for (let number = 1; number < end; number++) if (chunks[number] !== null) data.push(number);
  if (data.length === 0) return [];
  const chosen = Array.from(
    { length: Math.min(PROOFS, data.length) },
    (_, index) => data.at(-1 - Math.floor((index * data.length) / PROOFS)) ?? 0,
  );
  return [...new Set([end - 1, ...chosen])];
}

class ChunkWriter {
  readonly counts = { bytesWritten: 0, bytesZeroed: 0 };
  private readonly pool: BufferPool;
  private readonly queue: CommandQueue;
  /** Zeros that wait for their neighbours: a gigabyte of them is a few commands. */
  private zeros: { from: number; to: number } | undefined;
  private sinceSync = 0;
  private doneBytes = 0;

  constructor(
    private readonly image: DiskImage,
    private readonly disk: DiskSink,
    private readonly options: WriteImageOptions,
  ) {
    const { chunkBytes, sizeBytes } = options.manifest;
    const buffers = Math.max(2, Math.floor((options.memoryBytes ?? DEFAULT_MEMORY_BYTES) / chunkBytes));
    this.pool = new BufferPool(buffers, Math.min(chunkBytes, roundUp(sizeBytes, disk.blockBytes)));
    this.queue = new CommandQueue(2 * buffers); // as many again for zeros, which need no buffer
  }

  /** Whatever boots from the disk now ends here: its table is gone before anything else changes. */
  async begin(): Promise<void> {
    const first = chunkAt(this.options.manifest, 0);
    await this.disk.zero(0, roundUp(first.length, this.disk.blockBytes));
    await this.disk.flush();
  }

  /** Of a disk that does not hold what it was given nothing is believed at the next try, whose sample is another; and it boots nothing. */
  async disown(): Promise<void> {
    await this.options.onSynced?.(0);
    await this.begin();
  }

  resume(at: number): void {
    const { chunkBytes, sizeBytes } = this.options.manifest;
    if (at > 1) this.doneBytes = Math.min(at * chunkBytes, sizeBytes) - chunkBytes;
  }

  /** Resolves when the chunk is on its way; of an earlier one's failure it rejects. */
  async put(chunk: ManifestChunk): Promise<void> {
    const { offset, length, digest } = chunk;
    const onDisk = roundUp(length, this.disk.blockBytes);
    this.sinceSync += length;
    if (digest === null) await this.zero(offset, onDisk, length);
    else {
      await this.options.throttle?.(length);
      const buffer = await this.pool.take();
      await this.queue.add(() => this.carry(chunk, buffer, onDisk).finally(() => this.pool.give(buffer)));
    }
    if (chunk.number > 0 && this.sinceSync >= (this.options.syncEveryBytes ?? DEFAULT_SYNC_BYTES)) await this.sync(chunk.number + 1);
  }

  /** Everything up to here is on the disk for good. */
  async sync(chunks: number): Promise<void> {
    await this.flushZeros();
    await this.queue.finish();
    await this.disk.flush();
    this.sinceSync = 0;
    await this.options.onSynced?.(chunks);
  }

  idle(): Promise<void> {
    return this.queue.idle();
  }

  /** From the file to the disk: several chunks at once, each checked before any of it is sent. */
  private async carry({ offset, length, digest }: ManifestChunk, buffer: PooledBuffer, onDisk: number): Promise<void> {
    const { sha256 = sha256OnTheSpot } = this.options;
    await this.image.read(offset, length, buffer.bytes.subarray(0, length));
    const hashed = await sha256(buffer.bytes.subarray(0, length));
    buffer.bytes = new Uint8Array(hashed.data.buffer);
    if (hashed.digest !== digest) throw imageErrors.IMAGE_CHUNK_MISMATCH({ path: this.image.file.path, offset, length });
    buffer.bytes.fill(0, length, onDisk);
    await this.parts(offset, buffer.bytes.subarray(0, onDisk), length);
  }

  /** A chunk that is not all zeros: what is, grain by grain, is made so, the rest is sent. */
  private async parts(offset: number, data: Uint8Array, length: number): Promise<void> {
    const work: Promise<void>[] = [];
    for (let at = 0; at < data.length; ) {
      const zero = isZero(data.subarray(at, at + GRAIN_BYTES));
      let end = Math.min(data.length, at + GRAIN_BYTES);
      while (end < data.length && isZero(data.subarray(end, end + GRAIN_BYTES)) === zero) end = Math.min(data.length, end + GRAIN_BYTES);
      if (zero) this.counts.bytesZeroed += end - at;
      else this.counts.bytesWritten += end - at;
      work.push(zero ? this.disk.zero(offset + at, end - at) : this.disk.write(offset + at, data.subarray(at, end)));
      at = end;
    }
    // all of them: the buffer is in use until the last one is settled
    const failed = (await Promise.allSettled(work)).find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    this.told(length);
  }

  private async zero(offset: number, onDisk: number, length: number): Promise<void> {
    this.counts.bytesZeroed += onDisk;
    if (this.zeros?.to === offset && offset + onDisk - this.zeros.from <= ZERO_STEP_BYTES) this.zeros.to = offset + onDisk;
    else {
      await this.flushZeros();
      this.zeros = { from: offset, to: offset + onDisk };
    }
    this.told(length);
  }

  private async flushZeros(): Promise<void> {
    const { zeros } = this;
    this.zeros = undefined;
    if (zeros) await this.queue.add(() => this.disk.zero(zeros.from, zeros.to - zeros.from));
  }

  private told(length: number): void {
    this.doneBytes += length;
    this.options.onProgress?.({ phase: 'write', doneBytes: this.doneBytes, totalBytes: this.options.manifest.sizeBytes });
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
