/** Unpacking one cluster, never to more than its size. */
import { constants, inflateRawSync, zstdDecompressSync } from 'node:zlib';
import type { Qcow2Header } from './qcow2-header.ts';

const ZSTD_MAGIC = 0xfd2fb528;
/** A cluster has at most 2 MiB; encoders that do not know this ask for a little more. Bounds the decoder's memory. */
const ZSTD_WINDOW_LOG = 23;

/** Undefined when the bytes do not unpack to exactly one cluster. What follows the packed data is ignored: sectors are shared. */
export function decompressCluster(
  stored: Uint8Array,
  { clusterBytes, compression }: Pick<Qcow2Header, 'clusterBytes' | 'compression'>,
): Uint8Array | undefined {
  try {
    const data =
      compression === 'deflate'
        ? inflateRawSync(stored, { maxOutputLength: clusterBytes })
        : zstdDecompressSync(stored.subarray(0, zstdFrameBytes(stored)), {
            maxOutputLength: clusterBytes,
            params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG },
          });
    return data.length === clusterBytes ? data : undefined;
  } catch {
    return undefined; // damaged, or larger than a cluster
  }
}

/** Length of the first zstd frame (RFC 8878 section 3.1.1): its neighbours in the same sector are not part of it. */
function zstdFrameBytes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== ZSTD_MAGIC) throw new RangeError('not a zstd frame');
  const descriptor = view.getUint8(4);
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  let at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
  for (let last = false; !last; ) {
    const block = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    last = (block & 1) === 1;
    const isRle = ((block >> 1) & 3) === 1;
    at += 3 + (isRle ? 1 : block >> 3);
  }
  return at + (descriptor & 4 ? 4 : 0); // a checksum
}
