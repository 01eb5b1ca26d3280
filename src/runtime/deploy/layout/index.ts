export { layoutErrors } from './errors.ts';
export { decodeGpt, encodeGpt, GPT_TYPE, type Gpt, type GptEntry } from './gpt.ts';
export { decodeMbr, encodeMbr, MBR_BYTES, MBR_TYPE, type Mbr, type MbrEntry } from './mbr.ts';
export { type ByteRange, DISK_END_BYTES, metadataExtents } from './metadata-extents.ts';
export { type Layout, type LayoutRequest, type Partition, type PartitionRole, planLayout } from './plan-layout.ts';
export { describeStart, type FileSystem, fileSystemOf, SUPERBLOCK_BYTES } from './superblock.ts';
export { encodeSwapHeader, type SwapHeader } from './swap-header.ts';
export { type PartitionImageOptions, type ReadableSink, type WrittenPartitions, writePartitionImage } from './write-partition-image.ts';
