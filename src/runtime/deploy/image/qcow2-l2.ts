/**
 * One L2 table: where the clusters of a stretch of the disk are.
 *
 *   standard   63 used once | 62 = 0 | 55–9 offset in the file | 0 reads as zeros (version 3)
 *   compressed 62 = 1 | 61–x sectors beyond the first | x–0 offset, where x = 62 - (cluster bits - 8)
 *   extended   a second word: 32 bits "reads as zeros", 32 bits "allocated", one for each subcluster
 */
import type { ImageFile } from './image-file.ts';
import type { Qcow2Header } from './qcow2-header.ts';

export type Source =
  | { readonly kind: 'zero' }
  /** Bytes of the file as they are. */
  | { readonly kind: 'stored'; readonly at: number }
  /** One packed cluster: `length` bytes at `at`, of which the last may belong to its neighbour. */
  | { readonly kind: 'compressed'; readonly at: number; readonly length: number };

export interface Mapping {
  /** Of the virtual disk. */
  readonly offset: number;
  readonly length: number;
  readonly source: Source;
}

const SUBCLUSTERS = 32;
const COMPRESSED = 0x4000_0000;
const ZERO: Source = { kind: 'zero' };

export class L2Table {
  private readonly view: DataView;

  constructor(
    bytes: Uint8Array,
    /** Offset of the virtual disk where this table's reach begins. */
    private readonly start: number,
    private readonly header: Qcow2Header,
    private readonly file: ImageFile,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The stretch `from`–`to` of the virtual disk, neighbours joined where the file lets them be read at once. */
  *map(from: number, to: number): Generator<Mapping> {
    let last: Mapping | undefined;
    for (const piece of this.pieces(from, to)) {
      const joined: Mapping | undefined = last && follows(last, piece) ? { ...last, length: last.length + piece.length } : undefined;
      if (last && !joined) yield last;
      last = joined ?? piece;
    }
    if (last) yield last;
  }

  private *pieces(from: number, to: number): Generator<Mapping> {
    const { clusterBytes, l2EntryBytes } = this.header;
    const grainBytes = l2EntryBytes === 16 ? clusterBytes / SUBCLUSTERS : clusterBytes;
    for (let offset = from; offset < to; ) {
      const source = this.source(offset, grainBytes);
      const step = source.kind === 'compressed' ? clusterBytes : grainBytes;
      const end = Math.min(to, (Math.floor(offset / step) + 1) * step);
      yield { offset, length: end - offset, source };
      offset = end;
    }
  }

  private source(offset: number, grainBytes: number): Source {
    const { clusterBytes, l2EntryBytes, version } = this.header;
    const index = Math.floor((offset - this.start) / clusterBytes);
    const high = this.view.getUint32(index * l2EntryBytes);
    const low = this.view.getUint32(index * l2EntryBytes + 4);
    if (high & COMPRESSED) return this.compressed(index);
    const cluster = (high & 0x00ff_ffff) * 2 ** 32 + (low - (low & 0x1ff));
    const reserved = version === 2 || l2EntryBytes === 16 ? 0x1ff : 0x1fe;
    if (high & 0x3f00_0000 || low & reserved) throw this.file.corrupt(`the L2 entry of byte ${offset} has reserved bits set`);
    if (cluster % clusterBytes !== 0) throw this.file.corrupt(`the cluster of byte ${offset} is said to begin at ${cluster}`);
    if (l2EntryBytes === 16) {
      if (!this.subclusterAllocated(index, offset)) return ZERO;
      if (cluster === 0) throw this.file.corrupt(`a subcluster of byte ${offset} is allocated nowhere`);
    } else if (low & 1 || cluster === 0) return ZERO;
    const at = cluster + (offset % clusterBytes);
    // the file may end where the disk does, or after the last subcluster that is in use, but not within either
    const grainEnd = Math.min((Math.floor(offset / grainBytes) + 1) * grainBytes, this.header.virtualSizeBytes);
    const needed = at + grainEnd - offset;
    if (needed > this.file.sizeBytes) throw this.file.truncated('data', needed);
    return { kind: 'stored', at };
  }

  private subclusterAllocated(index: number, offset: number): boolean {
    const zeros = this.view.getUint32(index * 16 + 8);
    const allocated = this.view.getUint32(index * 16 + 12);
    if (zeros & allocated) throw this.file.corrupt(`a subcluster of byte ${offset} is both allocated and zero`);
    const subcluster = Math.floor(((offset % this.header.clusterBytes) * SUBCLUSTERS) / this.header.clusterBytes);
    return ((allocated >>> subcluster) & 1) === 1; // zero and unallocated read alike: there is no backing file
  }

  private compressed(index: number): Source {
    const entry = this.view.getBigUint64(index * this.header.l2EntryBytes);
    const offsetBits = BigInt(62 - (this.header.clusterBits - 8));
    const at = Number(entry & ((1n << offsetBits) - 1n));
    const moreSectors = Number((entry & ((1n << 62n) - 1n)) >> offsetBits);
    if (entry >> 63n) throw this.file.corrupt(`compressed cluster ${index} claims to be writable`);
    if (at >= this.file.sizeBytes) throw this.file.truncated('compressed data', at + 1);
    const length = (moreSectors + 1) * 512 - (at % 512);
    return { kind: 'compressed', at, length: Math.min(length, this.file.sizeBytes - at) };
  }
}

function follows(last: Mapping, { source }: Mapping): boolean {
  if (source.kind === 'zero') return last.source.kind === 'zero';
  return source.kind === 'stored' && last.source.kind === 'stored' && last.source.at + last.length === source.at;
}
