import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const imageCacheErrors = defineErrors('Image cache', {
  IMAGE_SOURCE: entry<{ source: string; reason: string }>({
    message: ({ source, reason }) => `an image cannot be taken from ${source}: ${reason}`,
    cure: 'Give an http or https URL without a password in it, or the path of a file in one of the image directories',
  }),
  IMAGE_FETCH: entry<{ source: string; reason: string }>({
    message: ({ source, reason }) => `${source} cannot be fetched: ${reason}`,
    cure: 'Check the URL from the management node with `curl -I`, its certificate and its name server; what has arrived is kept, and goes on at the next try',
  }),
  IMAGE_NO_RANGES: entry<{ source: string; limitBytes: number }>({
    message: ({ source, limitBytes }) => `${source} is served whole only, and is larger than ${limitBytes} bytes`,
    cure: 'Serve it by a server that knows byte ranges (nginx, Apache, any object store), or put the file into an image directory',
  }),
  IMAGE_CHANGED: entry<{ source: string }>({
    message: ({ source }) => `${source} changed while it was fetched`,
    cure: 'Wait until its publisher has finished, and give each version a name of its own',
  }),
  IMAGE_CHECKSUM_FORM: entry<{ checksum: string }>({
    message: ({ checksum }) => `${JSON.stringify(checksum.slice(0, 160))} is not a checksum`,
    cure: 'Write it as sha256: and 64, or sha512: and 128 hexadecimal digits',
  }),
  IMAGE_CACHE_FULL: entry<{ directory: string; neededBytes: number; limitBytes: number }>({
    message: ({ directory, neededBytes, limitBytes }) =>
      `the image cache ${directory} has no room: ${neededBytes} bytes are needed of ${limitBytes}, and what is in use is not thrown out`,
    cure: 'Raise [image_cache] size_gb or the disk under it, or deploy fewer different images at once',
  }),
  IMAGE_CACHE_DISK_FULL: entry<{ directory: string }>({
    message: ({ directory }) => `the disk under the image cache ${directory} is full`,
    cure: 'Free some of it, or lower [image_cache] size_gb to what it really has',
  }),
  IMAGE_STORED_TOO_LARGE: entry<{ source: string; bytes: number; limitBytes: number }>({
    message: ({ source, bytes, limitBytes }) =>
      `${source} wants ${bytes} bytes of the image cache or more, and one image may have ${limitBytes}`,
    cure: 'Look at what it is where it was made; if it is meant to be that large, raise [image_cache] largest_stored_gb, and size_gb with it',
  }),
  IMAGE_UNPACK: entry<{ source: string; packing: string; reason: string }>({
    message: ({ source, packing, reason }) => `${source} cannot be unpacked as ${packing}: ${reason}`,
    cure: 'Check the file where it was made, with `gzip -t`, `zstd -t` or `xz -t`, and upload it again',
  }),
  IMAGE_TOOL: entry<{ program: string; reason: string }>({
    message: ({ program, reason }) => `${program} cannot be run: ${reason}`,
    cure: ({ program }) => `Install ${program} where bms-core runs (Debian package xz-utils), or pack the image with zstd or gzip`,
  }),
});
