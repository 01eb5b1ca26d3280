/** A disk in memory that costs only what is written to it: terabytes are cheap while they are empty. */
import { createHash } from 'node:crypto';
import type { BlockDevice } from './block-device.ts';
import { assertGeometry, assertRange } from './geometry.ts';

export interface MemoryDiskOptions {
  readonly sizeBytes: number;
  /** Default 512. */
  readonly blockBytes?: number;
}

const CHUNK_BYTES = 64 * 1024;
const ZEROS = new Uint8Array(CHUNK_BYTES);

export class MemoryDisk implements BlockDevice {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  /** By chunk number. A chunk may be shared with clones: it is replaced, never changed, while `owned` lacks it. */
  private chunks = new Map<number, Uint8Array>();
  private owned = new Set<number>();

  constructor({ sizeBytes, blockBytes = 512 }: MemoryDiskOptions) {
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    assertGeometry(this);
  }

  /** Memory held by contents. */
  get storedBytes(): number {
    return this.chunks.size * CHUNK_BYTES;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    assertRange(this, offset, length);
    const data = new Uint8Array(length);
    for (const piece of pieces(offset, length)) {
      const chunk = this.chunks.get(piece.chunk);
      if (chunk) data.set(chunk.subarray(piece.from, piece.to), piece.at);
    }
    return data;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    assertRange(this, offset, data.length);
    for (const { chunk, from, to, at } of pieces(offset, data.length)) this.writable(chunk).set(data.subarray(at, at + to - from), from);
  }

  async zero(offset: number, length: number): Promise<void> {
    assertRange(this, offset, length);
    for (const { chunk, from, to } of pieces(offset, length)) {
      if (to - from === CHUNK_BYTES) {
        this.chunks.delete(chunk);
        this.owned.delete(chunk);
      } else if (this.chunks.has(chunk)) this.writable(chunk).fill(0, from, to);
    }
  }

  async flush(): Promise<void> {
    // memory that loses its power has no later
  }

  /** An independent disk with the same content; costs nothing until one of the two is written. */
  clone(): MemoryDisk {
    const copy = new MemoryDisk(this);
    copy.chunks = new Map(this.chunks);
    this.owned = new Set();
    return copy;
  }

  /** SHA-256 of the first `lengthBytes`, in hex. Default: all of it. */
  sha256(lengthBytes: number = this.sizeBytes): string {
    assertRange(this, 0, lengthBytes);
    const hash = createHash('sha256');
    for (const { chunk, from, to } of pieces(0, lengthBytes)) hash.update((this.chunks.get(chunk) ?? ZEROS).subarray(from, to));
    return hash.digest('hex');
  }

  private writable(number: number): Uint8Array {
    const known = this.chunks.get(number);
    if (known && this.owned.has(number)) return known;
    const chunk = known?.slice() ?? new Uint8Array(CHUNK_BYTES);
    this.chunks.set(number, chunk);
    this.owned.add(number);
    return chunk;
  }
}

/** The parts of a range chunk by chunk: `from`–`to` within the chunk, `at` within the range. */
function* pieces(offset: number, length: number): Generator<{ chunk: number; from: number; to: number; at: number }> {
  for (let at = 0; at < length; ) {
    const from = (offset + at) % CHUNK_BYTES;
    const to = Math.min(CHUNK_BYTES, from + length - at);
    yield { chunk: Math.floor((offset + at) / CHUNK_BYTES), from, to, at };
    at += to - from;
  }
}
