export type { BlockDevice } from './block-device.ts';
export { diskErrors } from './errors.ts';
export { FileDisk, type FileDiskOptions } from './file-disk.ts';
export { MemoryDisk, type MemoryDiskOptions } from './memory-disk.ts';
export { type DiskEvent, DiskRecorder } from './recorded-disk.ts';
export { VolatileDisk } from './volatile-disk.ts';
