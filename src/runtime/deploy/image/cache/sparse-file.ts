/** Writes a file from its start, leaving holes where zeros are: what an image costs on the disk is what is in it. */
import { type FileHandle, open } from 'node:fs/promises';
import { isZero } from '../zero-blocks.ts';

const GRAIN_BYTES = 64 * 1024;

export class SparseWriter {
  /** Bytes that take room on the disk. */
  storedBytes = 0;
  private at = 0;

  private constructor(
    private readonly file: FileHandle,
    /** Asked before each byte is stored, with the sum so far. What it throws ends the writing. */
    private readonly onStored: (storedBytes: number) => Promise<void>,
  ) {}

  static async create(path: string, onStored: (storedBytes: number) => Promise<void>): Promise<SparseWriter> {
    return new SparseWriter(await open(path, 'w', 0o640), onStored);
  }

  get sizeBytes(): number {
    return this.at;
  }

  async append(data: Uint8Array): Promise<void> {
    for (let from = 0; from < data.length; ) {
      const zero = isZero(data.subarray(from, from + GRAIN_BYTES));
      let to = Math.min(data.length, from + GRAIN_BYTES);
      while (to < data.length && isZero(data.subarray(to, to + GRAIN_BYTES)) === zero) to = Math.min(data.length, to + GRAIN_BYTES);
      if (!zero) await this.store(data.subarray(from, to), this.at + from);
      from = to;
    }
    this.at += data.length;
  }

  /** On the disk for good, with its whole length. */
  async finish(): Promise<void> {
    await this.file.truncate(this.at);
    await this.file.datasync();
    await this.file.close();
  }

  async abandon(): Promise<void> {
    await this.file.close();
  }

  private async store(data: Uint8Array, position: number): Promise<void> {
    this.storedBytes += data.length;
    await this.onStored(this.storedBytes);
    for (let done = 0; done < data.length; ) done += (await this.file.write(data, done, data.length - done, position + done)).bytesWritten;
  }
}
