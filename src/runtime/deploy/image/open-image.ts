/** Opens a user's image. Its format is told by its first bytes, never by its name. */
import type { DiskImage, ImageFormat } from './disk-image.ts';
import { imageErrors } from './errors.ts';
import { ImageFile } from './image-file.ts';
import { Qcow2Image } from './qcow2.ts';
import { RawImage } from './raw.ts';

export interface OpenImageOptions {
  readonly path: string;
  /** What errors name. Default: `path`. */
  readonly shownAs?: string;
  /**
   * What the image is said to be. `raw` writes the bytes as they are, whatever they look like; without it, a file that is
   * recognised as something else (vmdk, gzip …) is refused.
   */
  readonly format?: ImageFormat;
  /** Largest virtual disk accepted. Default 64 TiB. */
  readonly maxVirtualSizeBytes?: number;
  /** Ends every later read as well. */
  readonly signal?: AbortSignal;
}

const DEFAULT_MAX_VIRTUAL_BYTES = 64 * 2 ** 40;

/** Beginnings (hex) of files that are no disk's first sector. */
const SIGNATURES: readonly (readonly [format: string, offset: number, hex: string])[] = [
  ['qcow2', 0, '514649fb'],
  ['vmdk', 0, '4b444d56'], // KDMV
  ['vmdk', 0, '434f5744'], // COWD
  ['vmdk', 0, Buffer.from('# Disk DescriptorFile').toString('hex')],
  ['vhdx', 0, Buffer.from('vhdxfile').toString('hex')],
  ['vhd', 0, Buffer.from('conectix').toString('hex')],
  ['vdi', 0x40, '7f10dabe'],
  ['qed', 0, '51454400'],
  ['parallels', 0, Buffer.from('WithoutFreeSpace').toString('hex')],
  ['parallels', 0, Buffer.from('WithouFreSpacExt').toString('hex')],
  ['gzip', 0, '1f8b08'],
  ['xz', 0, 'fd377a585a00'],
  ['zstd', 0, '28b52ffd'],
  ['bzip2', 0, '425a6839'],
  ['zip', 0, '504b0304'],
];

/** Throws the IMAGE_ errors and those of the file system. The caller closes the image. */
export async function openImage(options: OpenImageOptions): Promise<DiskImage> {
  const { maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_BYTES } = options;
  const file = await ImageFile.open(options.path, options.signal, options.shownAs);
  const { path } = file;
  try {
    const start = Buffer.from(await file.read(0, new Uint8Array(Math.min(128, file.sizeBytes)), 'first sector'));
    const found = SIGNATURES.find(([, offset, hex]) => start.toString('hex').startsWith(hex, offset * 2))?.[0] ?? 'raw';
    const format = options.format ?? found;
    if (format === 'qcow2') return await Qcow2Image.open(file, maxVirtualSizeBytes);
    if (format !== 'raw') throw imageErrors.IMAGE_UNSUPPORTED_FORMAT({ path, format });
    const image = new RawImage(file);
    if (image.virtualSizeBytes > maxVirtualSizeBytes)
      throw imageErrors.IMAGE_TOO_LARGE({ path, bytes: image.virtualSizeBytes, limit: maxVirtualSizeBytes });
    return image;
  } catch (error) {
    await file.close();
    throw error;
  }
}
