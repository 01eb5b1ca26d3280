/** Raw images: the disk's bytes as they are. Zeros are found by looking, so that holes of a sparse file cost no writes. */
import { coalesced, type DiskImage, type Extent } from './disk-image.ts';
import { imageErrors } from './errors.ts';
import type { ImageFile } from './image-file.ts';
import { isZero } from './zero-blocks.ts';

const SECTOR_BYTES = 512;
const SCAN_BYTES = 1024 * 1024;
/** Runs of zeros shorter than this are written as data: one more command costs more than they do. */
const GRAIN_BYTES = 64 * 1024;

export class RawImage implements DiskImage {
  readonly format = 'raw';
  readonly virtualSizeBytes: number;

  constructor(readonly file: ImageFile) {
    // an odd end is filled up with zeros to a whole sector, as qemu does
    this.virtualSizeBytes = Math.ceil(file.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  }

  extents(): AsyncIterable<Extent> {
    return coalesced(this.grains());
  }

  async read(offset: number, length: number, into: Uint8Array = new Uint8Array(length)): Promise<Uint8Array> {
    assertInside(this, offset, length, into);
    const stored = Math.max(0, Math.min(length, this.file.sizeBytes - offset));
    await this.file.read(offset, into.subarray(0, stored), 'content');
    into.fill(0, stored);
    return into;
  }

  close(): Promise<void> {
    return this.file.close();
  }

  private async *grains(): AsyncGenerator<Extent> {
    const buffer = new Uint8Array(SCAN_BYTES);
    for (let offset = 0; offset < this.virtualSizeBytes; offset += SCAN_BYTES) {
      const length = Math.min(SCAN_BYTES, this.virtualSizeBytes - offset);
      const data = await this.read(offset, length, buffer.subarray(0, length));
      for (let at = 0; at < length; at += GRAIN_BYTES) {
        const grain = data.subarray(at, at + GRAIN_BYTES);
        yield { offset: offset + at, length: grain.length, kind: isZero(grain) ? 'zero' : 'data' };
      }
    }
  }
}

/** Throws IMAGE_RANGE. */
export function assertInside({ virtualSizeBytes }: DiskImage, offset: number, length: number, into: Uint8Array): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && into.length === length;
  if (!whole || offset < 0 || length < 0 || offset + length > virtualSizeBytes)
    throw imageErrors.IMAGE_RANGE({ offset, length, virtualSizeBytes });
}
