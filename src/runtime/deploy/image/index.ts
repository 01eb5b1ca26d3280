/** A user's disk image: opening it, checking it, writing it to a disk. */
export { type BuildManifestOptions, buildManifest } from './build-manifest.ts';
export { contentDigest, type DigestOptions } from './digest.ts';
export type { DiskImage, Extent, ImageFormat, Progress } from './disk-image.ts';
export { imageErrors } from './errors.ts';
export { HashThread } from './hash-thread.ts';
export type { ImageFile } from './image-file.ts';
export {
  type ChunkDigest,
  chunkAt,
  chunkBytesFor,
  encodeManifest,
  type ImageManifest,
  MANIFEST_FORMAT,
  type ManifestChunk,
  parseManifest,
} from './manifest.ts';
export { type OpenImageOptions, openImage } from './open-image.ts';
export { type Hashed, type Sha256, sha256OnTheSpot } from './sha256.ts';
export { type DiskSink, type ReadBack, type WriteImageOptions, type WrittenImage, writeImage } from './write-image.ts';
