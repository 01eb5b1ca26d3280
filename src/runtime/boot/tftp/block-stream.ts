/**
 * A file as a row of DATA packets, cut from slabs. A packet may wait in a window or in a socket's queue for as long as it likes: its slab is written again only
 * when the caller says that nobody waits for what is in it. Without that each transfer would leave its whole file behind as garbage, and marking for it took a
 * quarter of the server's time.
 */
import { DATA_HEADER_BYTES, type TftpMode, writeDataHeader } from './codec.ts';
import { toNetascii } from './netascii.ts';
import type { TftpFile } from './source.ts';

const SLAB_BYTES = 64 * 1024;
/** One question to the source; sources answer with less where their own chunks end. */
const READ_BYTES = 64 * 1024;

/** The file ended before the size that was promised to the client. */
export class FileCutError extends Error {
  override readonly name = 'FileCutError';
}

export class BlockStream {
  /** Number of the last packet, known once it was taken. Counts from 1 and does not wrap. */
  lastBlock: number | undefined;

  private readonly frameBytes: number;
  private slab: Buffer = Buffer.alloc(0);
  private slabUsed = 0;
  /** Slabs whose packets may still be waited for, the oldest first. */
  private readonly full: { readonly bytes: Buffer; readonly lastBlock: number }[] = [];
  /** Bytes read and not yet in a frame. */
  private pending: Uint8Array = new Uint8Array(0);
  private position = 0;
  private offset = 0;
  private ended: boolean;
  /** Data bytes already in the frame that is being filled. */
  private filled = 0;
  private block = 0;
  private waiting: Promise<Uint8Array> | undefined;

  constructor(
    private readonly file: TftpFile,
    private readonly blockBytes: number,
    private readonly mode: TftpMode,
  ) {
    this.frameBytes = DATA_HEADER_BYTES + blockBytes;
    this.ended = file.size === 0;
  }

  /**
   * The next packet; undefined when there is none, because the last one was taken (`lastBlock` is set) or because the
   * source needs time (wait for `fill`). Packets up to block `done` may be written over; undefined: none that was ever
   * given out. @throws FileCutError, and what the source throws
   */
  next(done: number | undefined): Uint8Array | undefined {
    if (this.lastBlock !== undefined || this.waiting) return undefined;
    if (this.filled === 0) this.makeRoom(done);
    while (this.filled < this.blockBytes) {
      if (this.position < this.pending.length) this.copy();
      else if (this.ended) break;
      else {
        const read = this.file.read(this.offset, READ_BYTES);
        if (!(read instanceof Uint8Array)) {
          this.waiting = read;
          return undefined;
        }
        this.accept(read);
      }
    }
    return this.finishFrame();
  }

  /** Resolves when `next` can go on. @throws FileCutError, and what the source throws */
  async fill(): Promise<void> {
    if (!this.waiting) return;
    const read = await this.waiting;
    this.waiting = undefined;
    this.accept(read);
  }

  private copy(): void {
    const count = Math.min(this.blockBytes - this.filled, this.pending.length - this.position);
    this.slab.set(this.pending.subarray(this.position, this.position + count), this.slabUsed + DATA_HEADER_BYTES + this.filled);
    this.position += count;
    this.filled += count;
  }

  private accept(read: Uint8Array): void {
    const { size } = this.file;
    this.offset += read.length;
    if (read.length === 0 && size !== undefined && this.offset < size)
      throw new FileCutError(`the file ends after ${this.offset} of ${size} bytes`);
    this.ended = read.length === 0 || (size !== undefined && this.offset >= size);
    // A source may give more than the size it named, when the file grew: the promise to the client counts
    const excess = size === undefined ? 0 : Math.max(0, this.offset - size);
    const kept = excess === 0 ? read : read.subarray(0, read.length - excess);
    this.pending = this.mode === 'netascii' ? toNetascii(kept) : kept;
    this.position = 0;
  }

  private makeRoom(done: number | undefined): void {
    if (this.slabUsed + this.frameBytes <= this.slab.length) return;
    if (done === undefined) this.full.length = 0;
    else if (this.block > 0) this.full.push({ bytes: this.slab, lastBlock: this.block });
    const left = this.file.size === undefined ? SLAB_BYTES : this.file.size - this.block * this.blockBytes;
    const frames = Math.max(1, Math.min(Math.floor(SLAB_BYTES / this.frameBytes), Math.ceil(left / this.blockBytes)));
    const oldest = this.full[0];
    const reused = oldest && done !== undefined && oldest.lastBlock <= done ? this.full.shift()?.bytes : undefined;
    this.slab = reused && reused.length >= frames * this.frameBytes ? reused : Buffer.allocUnsafe(frames * this.frameBytes);
    this.slabUsed = 0;
  }

  private finishFrame(): Uint8Array {
    this.block++;
    writeDataHeader(this.slab, this.slabUsed, this.block);
    const frame = this.slab.subarray(this.slabUsed, this.slabUsed + DATA_HEADER_BYTES + this.filled);
    this.slabUsed += this.frameBytes;
    if (this.filled < this.blockBytes) this.lastBlock = this.block;
    this.filled = 0;
    return frame;
  }
}
