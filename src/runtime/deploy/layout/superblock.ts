/** The file system at the start of a partition, from its superblock, as blkid reads it: for `root=UUID=…`. */
export interface FileSystem {
  readonly type: 'ext2' | 'ext3' | 'ext4' | 'xfs' | 'btrfs';
  /** Lower-case. */
  readonly uuid: string;
  readonly label?: string;
}

/** How much of the partition is needed. */
export const SUPERBLOCK_BYTES = 68 * 1024; // btrfs has its own at 64 KiB

const EXT_OFFSET = 1024;
const EXT_MAGIC = 0xef53;
/** s_feature_compat, s_feature_incompat, s_feature_ro_compat. */
const COMPAT_JOURNAL = 0x4;
const INCOMPAT_EXT3 = 0x2 | 0x4 | 0x10; // filetype, needs recovery, meta_bg
const INCOMPAT_JOURNAL_DEVICE = 0x8;
const RO_COMPAT_EXT3 = 0x1 | 0x2 | 0x4; // sparse superblocks, large files, btree directories
const BTRFS_OFFSET = 64 * 1024;
const BTRFS_MAGIC = '_BHRfS_M';
/** XFS is the one big-endian of them. */
const XFS_MAGIC = 0x58465342; // "XFSB"

/** Undefined when there is none of these; never throws. */
export function fileSystemOf(start: Uint8Array): FileSystem | undefined {
  const bytes = Buffer.from(start.buffer, start.byteOffset, start.byteLength);
  return extOf(bytes) ?? xfsOf(bytes) ?? btrfsOf(bytes);
}

/** What there is instead, for an error: never the content itself. */
export function describeStart(start: Uint8Array): string {
  if (start.every((byte) => byte === 0)) return 'zeros';
  if (start[510] === 0x55 && start[511] === 0xaa) return 'a partition table or boot sector';
  return 'something else';
}

function extOf(bytes: Buffer): FileSystem | undefined {
  if (bytes.length < EXT_OFFSET + 136 || bytes.readUInt16LE(EXT_OFFSET + 56) !== EXT_MAGIC) return undefined;
  const compat = bytes.readUInt32LE(EXT_OFFSET + 92);
  const incompat = bytes.readUInt32LE(EXT_OFFSET + 96);
  const readOnlyCompat = bytes.readUInt32LE(EXT_OFFSET + 100);
  if ((incompat & INCOMPAT_JOURNAL_DEVICE) !== 0) return undefined; // a journal of its own, not a file system
  const uuid = uuidText(bytes.subarray(EXT_OFFSET + 104, EXT_OFFSET + 120));
  if (uuid === undefined) return undefined;
  const newer = (incompat & ~INCOMPAT_EXT3) !== 0 || (readOnlyCompat & ~RO_COMPAT_EXT3) !== 0;
  const type = newer ? 'ext4' : (compat & COMPAT_JOURNAL) !== 0 ? 'ext3' : 'ext2';
  return { type, uuid, ...labelOf(bytes.subarray(EXT_OFFSET + 120, EXT_OFFSET + 136)) };
}

function xfsOf(bytes: Buffer): FileSystem | undefined {
  if (bytes.length < 120 || bytes.readUInt32BE(0) !== XFS_MAGIC) return undefined;
  const uuid = uuidText(bytes.subarray(32, 48));
  return uuid === undefined ? undefined : { type: 'xfs', uuid, ...labelOf(bytes.subarray(108, 120)) };
}

/** btrfs_super_block: +32 fsid, +64 magic, +299 label (256 bytes). */
function btrfsOf(bytes: Buffer): FileSystem | undefined {
  const block = bytes.subarray(BTRFS_OFFSET, BTRFS_OFFSET + 4096);
  if (block.length < 4096 || block.toString('latin1', 64, 72) !== BTRFS_MAGIC) return undefined;
  const uuid = uuidText(block.subarray(32, 48));
  return uuid === undefined ? undefined : { type: 'btrfs', uuid, ...labelOf(block.subarray(299, 555)) };
}

/** All zeros is no identity: a kernel would never find it. */
function uuidText(bytes: Uint8Array): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function labelOf(bytes: Buffer): { label?: string } {
  const [label = ''] = bytes.toString('utf8').split('\0');
  return label === '' ? {} : { label };
}
