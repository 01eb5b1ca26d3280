/** Reads of an image file, bounded by the size it had when it was opened. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { imageErrors } from './errors.ts';

export class ImageFile {
  private constructor(
    /** What errors name. */
    readonly path: string,
    /** As stored, not the size of the disk inside. */
    readonly sizeBytes: number,
    private readonly handle: FileHandle,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Throws IMAGE_NOT_A_FILE, IMAGE_EMPTY and the errors of the file system. */
  static async open(path: string, signal?: AbortSignal, shownAs = path): Promise<ImageFile> {
    signal?.throwIfAborted();
    // O_NONBLOCK: opening a FIFO must not wait for its writer
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw imageErrors.IMAGE_NOT_A_FILE({ path: shownAs });
      if (stat.size === 0) throw imageErrors.IMAGE_EMPTY({ path: shownAs });
      return new ImageFile(shownAs, stat.size, handle, signal);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Fills `into` from `offset`. Throws IMAGE_TRUNCATED, naming `what`, when the file ends before. */
  async read(offset: number, into: Uint8Array, what: string): Promise<Uint8Array> {
    const end = offset + into.length;
    if (end > this.sizeBytes) throw this.truncated(what, end);
    for (let at = 0; at < into.length; ) {
      this.signal?.throwIfAborted();
      const { bytesRead } = await this.handle.read(into, at, into.length - at, offset + at);
      if (bytesRead === 0) throw this.truncated(what, end); // shrunk since it was opened
      at += bytesRead;
    }
    return into;
  }

  truncated(what: string, end: number): Error {
    return imageErrors.IMAGE_TRUNCATED({ path: this.path, what, offset: end, fileSizeBytes: this.sizeBytes });
  }

  corrupt(what: string): Error {
    return imageErrors.IMAGE_CORRUPT({ path: this.path, what });
  }

  throwIfAborted(): void {
    this.signal?.throwIfAborted();
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
