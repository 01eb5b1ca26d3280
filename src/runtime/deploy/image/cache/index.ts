/** Images that are fetched, checked, unpacked and converted once, and shared by all deployments that need them. */
export { type Checksum, parseChecksum } from './checksum.ts';
export { imageCacheErrors } from './errors.ts';
export { ImageCache, type ImageCacheOptions, type ImageWanted, type ReadyImage } from './image-cache.ts';
