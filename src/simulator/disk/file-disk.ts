/** A disk in a sparse file, for contents too large for memory and for programs that want a file (qemu-img, a virtual machine). */
import { type FileHandle, open } from 'node:fs/promises';
import type { BlockDevice } from './block-device.ts';
import { assertGeometry, assertRange } from './geometry.ts';

export interface FileDiskOptions {
  readonly path: string;
  /** Creates the file, or grows it, as holes. Default: the size of the existing file. */
  readonly sizeBytes?: number;
  /** Default 512. */
  readonly blockBytes?: number;
}

const ZEROS = new Uint8Array(1024 * 1024);

export class FileDisk implements BlockDevice {
  private constructor(
    private readonly file: FileHandle,
    readonly sizeBytes: number,
    readonly blockBytes: number,
  ) {}

  static async open({ path, sizeBytes, blockBytes = 512 }: FileDiskOptions): Promise<FileDisk> {
    const file = await open(path, sizeBytes === undefined ? 'r+' : await openFlags(path));
    try {
      const { size } = await file.stat();
      const disk = new FileDisk(file, sizeBytes ?? size, blockBytes);
      assertGeometry(disk);
      if (size !== disk.sizeBytes) await file.truncate(disk.sizeBytes);
      return disk;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    assertRange(this, offset, length);
    const data = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.file.read(data, at, length - at, offset + at);
      if (bytesRead === 0) break; // somebody truncated the file: what is missing reads as zeros
      at += bytesRead;
    }
    return data;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    assertRange(this, offset, data.length);
    for (let at = 0; at < data.length; ) at += (await this.file.write(data, at, data.length - at, offset + at)).bytesWritten;
  }

  /** Up to the end of the disk by cutting the file and growing it again, which leaves a hole; else by writing where data is. */
  async zero(offset: number, length: number): Promise<void> {
    assertRange(this, offset, length);
    if (length > 0 && offset + length === this.sizeBytes) {
      await this.file.truncate(offset);
      await this.file.truncate(this.sizeBytes);
      return;
    }
    for (let at = 0; at < length; ) {
      const step = Math.min(ZEROS.length, length - at);
      const present = await this.read(offset + at, step);
      if (Buffer.compare(present, ZEROS.subarray(0, step)) !== 0) await this.write(offset + at, ZEROS.subarray(0, step)); // a hole stays a hole
      at += step;
    }
  }

  async flush(): Promise<void> {
    await this.file.datasync();
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

async function openFlags(path: string): Promise<string> {
  try {
    await (await open(path, 'wx')).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return 'r+';
}
