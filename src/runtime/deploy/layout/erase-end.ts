/** The end of a disk that an image does not reach: a second partition table or a RAID label of its last owner could wake up there. */
import type { DiskSink } from '../image/index.ts';
import { DISK_END_BYTES } from './metadata-extents.ts';

export async function eraseEnd(disk: Pick<DiskSink, 'blockBytes' | 'sizeBytes' | 'zero'>, imageBytes: number): Promise<void> {
  const { blockBytes } = disk;
  const end = disk.sizeBytes - (disk.sizeBytes % blockBytes);
  const from = Math.max(Math.ceil(imageBytes / blockBytes) * blockBytes, end - DISK_END_BYTES);
  if (from < end) await disk.zero(from, end - from);
}
