import { defineErrors, entry } from 'cdk8s-baremetal-contract';

/** A stranger's image must never be handed to a tool that follows references: the cure is always at its origin. */
const FLATTEN =
  'Flatten it where it was made, with `qemu-img convert -O qcow2 IMAGE FLAT`, and upload the result; never do so here, for the reference would be followed';

export const imageErrors = defineErrors('IMAGE', {
  IMAGE_NOT_A_FILE: entry<{ path: string }>({
    message: ({ path }) => `${path} is not a regular file`,
    cure: 'Give the path of an image file',
  }),
  IMAGE_EMPTY: entry<{ path: string }>({
    message: ({ path }) => `${path} holds no data`,
    cure: 'Download the image again and compare its checksum',
  }),
  IMAGE_UNSUPPORTED_FORMAT: entry<{ path: string; format: string }>({
    message: ({ path, format }) => `${path} is a ${format} file, not a raw or qcow2 image`,
    cure: ({ format }) =>
      COMPRESSED.has(format)
        ? 'Unpack it first'
        : 'Convert it where it was made, with `qemu-img convert -O qcow2 IMAGE OUT`, or say format raw if these bytes are meant to go to the disk as they are',
  }),
  IMAGE_FORMAT_MISMATCH: entry<{ path: string }>({
    message: ({ path }) => `${path} is said to be qcow2, but does not begin as one`,
    cure: 'Correct the format in the image description, or upload the image again',
  }),
  IMAGE_TOO_LARGE: entry<{ path: string; bytes: bigint | number; limit: number }>({
    message: ({ path, bytes, limit }) => `${path} holds a disk of ${bytes} bytes, more than the ${limit} allowed`,
    cure: 'Shrink the image, or raise [image_cache] largest_disk_gb if its disk is meant to be that large',
  }),
  IMAGE_TRUNCATED: entry<{ path: string; what: string; offset: number; fileSizeBytes: number }>({
    message: ({ path, what, offset, fileSizeBytes }) => `${path} ends at byte ${fileSizeBytes}, but its ${what} reaches to byte ${offset}`,
    cure: 'Download the image again and compare its checksum',
  }),
  IMAGE_CORRUPT: entry<{ path: string; what: string }>({
    message: ({ path, what }) => `${path} is damaged: ${what}`,
    cure: 'Download the image again, or let `qemu-img check` look at it where it was made',
  }),
  IMAGE_UNCLEAN: entry<{ path: string; mark: 'dirty' | 'corrupt' }>({
    message: ({ path, mark }) => `${path} is marked ${mark}: its writer did not finish`,
    cure: 'Repair it where it was made, with `qemu-img check -r all IMAGE`, and upload it again',
  }),
  IMAGE_ENCRYPTED: entry<{ path: string }>({
    message: ({ path }) => `${path} is encrypted`,
    cure: 'Decrypt it where its key is, with `qemu-img convert -O qcow2`, and upload the result',
  }),
  IMAGE_BACKING_FILE: entry<{ path: string }>({
    message: ({ path }) => `${path} is only the difference to another image, its backing file`,
    cure: FLATTEN,
  }),
  IMAGE_EXTERNAL_DATA: entry<{ path: string }>({
    message: ({ path }) => `${path} keeps its data in another file`,
    cure: FLATTEN,
  }),
  IMAGE_UNKNOWN_FEATURE: entry<{ path: string; feature: string }>({
    message: ({ path, feature }) => `${path} uses a qcow2 feature that is not supported: ${feature}`,
    cure: 'Rewrite it with `qemu-img convert -O qcow2 -o compat=1.1 IMAGE OUT` where it was made',
  }),
  IMAGE_RANGE: entry<{ offset: number; length: number; virtualSizeBytes: number }>({
    message: ({ offset, length, virtualSizeBytes }) => `${length} bytes at ${offset} are not inside an image of ${virtualSizeBytes} bytes`,
    cure: 'Report this as a defect',
  }),
  IMAGE_DIGEST_MISMATCH: entry<{ path: string; expected: string; actual: string }>({
    message: ({ path, expected, actual }) => `${path} has the SHA-${actual.length * 4} ${actual}, not ${expected}`,
    cure: 'Download the image again; if it was replaced on purpose, update the digest in its description',
  }),
  IMAGE_MANIFEST: entry<{ where: string; reason: string }>({
    message: ({ where, reason }) => `the manifest ${where} cannot be used: ${reason}`,
    cure: 'Remove it, so that it is made again from the image',
  }),
  IMAGE_CHUNK_MISMATCH: entry<{ path: string; offset: number; length: number }>({
    message: ({ path, offset, length }) =>
      `${path} has changed or rotted since it was checked: its ${length} bytes at ${offset} are others`,
    cure: 'Check the memory and the disk of the management node, and who writes to its images; nothing of that part was written to the machine',
  }),
  IMAGE_DISK_TOO_SMALL: entry<{ imageBytes: number; diskBytes: number }>({
    message: ({ imageBytes, diskBytes }) => `the image needs ${imageBytes} bytes, and the disk has ${diskBytes}`,
    cure: 'Choose a larger disk, or shrink the image',
  }),
  IMAGE_READ_BACK_UNSUPPORTED: entry<Record<string, never>>({
    message: () => 'the written image is to be verified, but the disk cannot be read',
    cure: 'Turn verification off for this disk',
  }),
  IMAGE_READ_BACK_MISMATCH: entry<{ offset: number | undefined }>({
    message: ({ offset }) => `the disk does not hold what was written${offset === undefined ? '' : `: it differs near byte ${offset}`}`,
    cure: 'Replace the disk or its cabling, and look for another initiator that writes to it',
  }),
});

const COMPRESSED: ReadonlySet<string> = new Set(['gzip', 'xz', 'zstd', 'bzip2', 'zip']);
