/**
 * The header of a qcow2 image (qemu's docs/interop/qcow2), and the refusal of everything that would make reading it unsafe or
 * wrong. Pure: bytes in, header or coded error out.
 *
 *   0 magic | 4 version | 8 backing offset, 16 length | 20 cluster bits | 24 virtual size | 32 encryption
 *   36 L1 entries, 40 offset | 48 refcounts | 60 snapshots | from version 3: 72 incompatible features
 *   80 compatible | 88 autoclear | 96 refcount order | 100 header length | 104 compression | then extensions
 */
import { imageErrors } from './errors.ts';

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterBytes: number;
  readonly virtualSizeBytes: number;
  readonly l1Offset: number;
  /** Entries that the virtual size needs; further ones are ignored. */
  readonly l1Entries: number;
  readonly l2EntryBytes: 8 | 16;
  readonly l2Entries: number;
  readonly compression: 'deflate' | 'zstd';
}

export interface HeaderLimits {
  readonly path: string;
  readonly fileSizeBytes: number;
  readonly maxVirtualSizeBytes: number;
}

const QCOW2_MAGIC = 0x514649fb; // "QFI\xfb"
/** Enough for the header and its extensions' names. */
export const HEADER_READ_BYTES = 4096;

const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 104;
const MIN_CLUSTER_BITS = 9;
const MAX_CLUSTER_BITS = 21;
const MIN_EXTENDED_CLUSTER_BITS = 14;
/** As in qemu: QCOW_MAX_L1_SIZE. */
const MAX_L1_BYTES = 32 * 1024 * 1024;
const EXTERNAL_DATA_EXTENSION = 0x44415441; // "DATA"
const END_OF_EXTENSIONS = 0;

const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const EXTERNAL_DATA = 1n << 2n;
const COMPRESSION_TYPE = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;
const KNOWN = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

/** Parses the first bytes of a file (HEADER_READ_BYTES, or all of a shorter one). Throws the IMAGE_ errors and nothing else. */
export function parseQcow2Header(bytes: Uint8Array, limits: HeaderLimits): Qcow2Header {
  const { path, fileSizeBytes } = limits;
  const corrupt = (what: string): Error => imageErrors.IMAGE_CORRUPT({ path, what });
  const truncated = (what: string, offset: number): Error => imageErrors.IMAGE_TRUNCATED({ path, what, offset, fileSizeBytes });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < V2_HEADER_BYTES) throw truncated('header', V2_HEADER_BYTES);
  if (view.getUint32(0) !== QCOW2_MAGIC) throw imageErrors.IMAGE_FORMAT_MISMATCH({ path });
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw imageErrors.IMAGE_UNKNOWN_FEATURE({ path, feature: `version ${version}` });
  if (version === 3 && bytes.length < V3_HEADER_BYTES) throw truncated('header', V3_HEADER_BYTES);

  const clusterBits = view.getUint32(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) throw corrupt(`clusters of 2^${clusterBits} bytes`);
  const clusterBytes = 2 ** clusterBits;
  const headerBytes = version === 3 ? view.getUint32(100) : V2_HEADER_BYTES;
  if (version === 3 && (headerBytes < V3_HEADER_BYTES || headerBytes % 8 !== 0 || headerBytes > clusterBytes))
    throw corrupt(`a header of ${headerBytes} bytes`);
  if (headerBytes > fileSizeBytes) throw truncated('header', headerBytes);

  const incompatible = version === 3 ? view.getBigUint64(72) : 0n;
  const compressionType = headerBytes > V3_HEADER_BYTES ? (bytes[V3_HEADER_BYTES] ?? 0) : 0;
  if (view.getBigUint64(8) !== 0n) throw imageErrors.IMAGE_BACKING_FILE({ path });
  if (incompatible & EXTERNAL_DATA || namesExternalData(view, headerBytes)) throw imageErrors.IMAGE_EXTERNAL_DATA({ path });
  if (view.getUint32(32) !== 0) throw imageErrors.IMAGE_ENCRYPTED({ path });
  if (incompatible & ~KNOWN) throw imageErrors.IMAGE_UNKNOWN_FEATURE({ path, feature: `bits 0x${(incompatible & ~KNOWN).toString(16)}` });
  if (incompatible & CORRUPT) throw imageErrors.IMAGE_UNCLEAN({ path, mark: 'corrupt' });
  if (incompatible & DIRTY) throw imageErrors.IMAGE_UNCLEAN({ path, mark: 'dirty' });
  if (compressionType > 1) throw imageErrors.IMAGE_UNKNOWN_FEATURE({ path, feature: `compression type ${compressionType}` });
  if ((compressionType !== 0) !== ((incompatible & COMPRESSION_TYPE) !== 0n)) throw corrupt('two statements about its compression');
  const extended = (incompatible & EXTENDED_L2) !== 0n;
  if (extended && clusterBits < MIN_EXTENDED_CLUSTER_BITS) throw corrupt(`subclusters in clusters of 2^${clusterBits} bytes`);

  const virtualSize = view.getBigUint64(24);
  if (virtualSize > BigInt(limits.maxVirtualSizeBytes))
    throw imageErrors.IMAGE_TOO_LARGE({ path, bytes: virtualSize, limit: limits.maxVirtualSizeBytes });
  const virtualSizeBytes = Number(virtualSize);
  if (virtualSizeBytes === 0) throw imageErrors.IMAGE_EMPTY({ path });
  if (virtualSizeBytes % 512 !== 0) throw corrupt(`a disk of ${virtualSizeBytes} bytes, not a whole number of sectors`);

  const l2EntryBytes = extended ? 16 : 8;
  const l2Entries = clusterBytes / l2EntryBytes;
  const l1Entries = Math.ceil(virtualSizeBytes / (clusterBytes * l2Entries));
  const l1Stated = view.getUint32(36);
  if (l1Stated * 8 > MAX_L1_BYTES) throw corrupt(`an L1 table of ${l1Stated} entries`);
  if (l1Stated < l1Entries) throw corrupt(`an L1 table of ${l1Stated} entries where the disk needs ${l1Entries}`);
  const l1Offset = Number(view.getBigUint64(40));
  if (l1Offset === 0 || l1Offset % clusterBytes !== 0) throw corrupt(`an L1 table at ${l1Offset}`);
  if (l1Offset + l1Entries * 8 > fileSizeBytes) throw truncated('L1 table', l1Offset + l1Entries * 8);
  const compression = compressionType === 1 ? 'zstd' : 'deflate';
  return { version, clusterBits, clusterBytes, virtualSizeBytes, l1Offset, l1Entries, l2EntryBytes, l2Entries, compression };
}

/** Whether an extension names an external data file, feature bit or not: nobody means well by it. */
function namesExternalData(view: DataView, headerBytes: number): boolean {
  for (let at = headerBytes; at + 8 <= view.byteLength; ) {
    const type = view.getUint32(at);
    if (type === END_OF_EXTENSIONS) return false;
    if (type === EXTERNAL_DATA_EXTENSION) return true;
    at += 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8;
  }
  return false;
}
