/** The file system that carries a config drive, on a disk with such blocks. */
import { encodeIso9660, type IsoOptions } from './iso9660.ts';
import { encodeVfat } from './vfat.ts';

/** Linux mounts no file system whose blocks are smaller than the disk's. */
const LARGEST_ISO_BLOCK_BYTES = 2048;

/** Throws LAYOUT_CONFIG_DRIVE for names that cannot be in one. */
export function encodeConfigDrive(drive: IsoOptions, blockBytes: number): Uint8Array {
  return blockBytes > LARGEST_ISO_BLOCK_BYTES ? encodeVfat({ ...drive, sectorBytes: blockBytes }) : encodeIso9660(drive);
}
