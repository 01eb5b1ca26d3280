import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const diskErrors = defineErrors('SIMULATED DISK', {
  DISK_RANGE: entry<{ offset: number; length: number; blockBytes: number; sizeBytes: number }>({
    message: ({ offset, length, blockBytes, sizeBytes }) =>
      `${length} bytes at ${offset} do not lie on whole blocks of ${blockBytes} bytes inside a disk of ${sizeBytes}`,
    cure: 'Use offsets and lengths that are multiples of the block and end within the disk',
  }),
  DISK_GEOMETRY: entry<{ blockBytes: number; sizeBytes: number }>({
    message: ({ blockBytes, sizeBytes }) => `a disk of ${sizeBytes} bytes with blocks of ${blockBytes} bytes cannot be`,
    cure: 'Give a size that is a whole number of blocks, and blocks of a power of two from 512 bytes on',
  }),
});
