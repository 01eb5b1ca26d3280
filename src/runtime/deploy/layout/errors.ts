import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const layoutErrors = defineErrors('Partitions', {
  LAYOUT_DISK_TOO_SMALL: entry<{ neededMb: number; diskMb: number }>({
    message: ({ neededMb, diskMb }) => `the partitions need ${neededMb} MiB, the disk has ${diskMb}`,
    cure: 'Take a flavor with smaller root, swap or ephemeral partitions, or a machine with a larger disk',
  }),
  LAYOUT_ROOT_TOO_SMALL: entry<{ imageBytes: number; rootBytes: number }>({
    message: ({ imageBytes, rootBytes }) => `the image has ${imageBytes} bytes, the root partition ${rootBytes}`,
    cure: 'Take a flavor with a larger root partition',
  }),
  LAYOUT_NOT_PRESERVED: entry<{ reason: string }>({
    message: ({ reason }) => `the ephemeral partition cannot be preserved: ${reason}; nothing was written`,
    cure: 'Rebuild without preserving it, or with the flavor that the disk was partitioned for',
  }),
  LAYOUT_CONFIG_DRIVE: entry<{ reason: string }>({
    message: ({ reason }) => `the config drive cannot be made: ${reason}`,
    cure: 'Correct what the instance is to be given; of a disk, free its end or a place in its partition table',
  }),
  LAYOUT_BLOCKS: entry<{ imageBlockBytes: number; diskBlockBytes: number }>({
    message: ({ imageBlockBytes, diskBlockBytes }) =>
      `the image's partition table counts in blocks of ${imageBlockBytes} bytes, the disk in blocks of ${diskBlockBytes}: nothing would find it there`,
    cure: 'Take an image that was made for such disks, or a partition image, whose table is made for the disk',
  }),
  LAYOUT_NO_ROOT: entry<{ found: string }>({
    message: ({ found }) => `the image begins with ${found}, not with an ext2/3/4, XFS or btrfs file system`,
    cure: 'Register an image that is one file system (layout = partition), or one that brings its own table (layout = whole-disk)',
  }),
});
