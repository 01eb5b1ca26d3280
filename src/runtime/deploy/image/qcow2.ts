/**
 * qcow2 images: a guest offset leads through an L1 entry and an L2 entry to a cluster of the file. Everything read from the file
 * is taken for hostile: offsets are checked against the file, output against the cluster, and the sum of what is mapped against
 * what the file can hold, so that a small file cannot claim to be a large one. Memory: the L1 table (at most 32 MiB), two
 * L2 tables and one cluster (at most 2 MiB each).
 */
import { coalesced, type DiskImage, type Extent } from './disk-image.ts';
import type { ImageFile } from './image-file.ts';
import { decompressCluster } from './qcow2-compression.ts';
import { HEADER_READ_BYTES, parseQcow2Header, type Qcow2Header } from './qcow2-header.ts';
import { L2Table, type Mapping } from './qcow2-l2.ts';
import { assertInside } from './raw.ts';

const CACHED_TABLES = 2;

export class Qcow2Image implements DiskImage {
  readonly format = 'qcow2';
  readonly virtualSizeBytes: number;
  private readonly tables = new Map<number, L2Table>();
  private cluster: { readonly offset: number; readonly data: Uint8Array } | undefined;

  private constructor(
    readonly file: ImageFile,
    readonly header: Qcow2Header,
    /** Offsets of the L2 tables; 0 where nothing is allocated. */
    private readonly l1: Float64Array,
  ) {
    this.virtualSizeBytes = header.virtualSizeBytes;
  }

  /** Throws the IMAGE_ errors. */
  static async open(file: ImageFile, maxVirtualSizeBytes: number): Promise<Qcow2Image> {
    const start = await file.read(0, new Uint8Array(Math.min(HEADER_READ_BYTES, file.sizeBytes)), 'header');
    const header = parseQcow2Header(start, { path: file.path, fileSizeBytes: file.sizeBytes, maxVirtualSizeBytes });
    const l1 = await file.read(header.l1Offset, new Uint8Array(header.l1Entries * 8), 'L1 table');
    return new Qcow2Image(file, header, parseL1(new DataView(l1.buffer), header, file));
  }

  extents(): AsyncIterable<Extent> {
    return coalesced(this.mapped());
  }

  async read(offset: number, length: number, into: Uint8Array = new Uint8Array(length)): Promise<Uint8Array> {
    assertInside(this, offset, length, into);
    for await (const { offset: from, length: bytes, source } of this.map(offset, offset + length)) {
      const target = into.subarray(from - offset, from - offset + bytes);
      if (source.kind === 'zero') target.fill(0);
      else if (source.kind === 'stored') await this.file.read(source.at, target, 'data');
      else {
        const inside = from % this.header.clusterBytes;
        target.set((await this.decompressed(source)).subarray(inside, inside + bytes));
      }
    }
    return into;
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** Every mapping, with the two checks that need all of them. */
  private async *mapped(): AsyncGenerator<Extent> {
    let stored = 0;
    let compressed = 0;
    for await (const { offset, length, source } of this.map(0, this.virtualSizeBytes)) {
      // no two clusters of a disk share one of the file: more than the file holds means tables that overlap or loop
      if (source.kind === 'stored') stored += length;
      if (source.kind === 'compressed') compressed += Math.max(1, source.length - 511); // the rest of its last sector may be shared
      if (stored + compressed > this.file.sizeBytes) throw this.file.corrupt('its tables map more data than the file holds');
      yield { offset, length, kind: source.kind === 'zero' ? 'zero' : 'data' };
    }
  }

  private async *map(from: number, to: number): AsyncGenerator<Mapping> {
    const { clusterBytes, l2Entries } = this.header;
    const reach = clusterBytes * l2Entries;
    for (let offset = from; offset < to; ) {
      this.file.throwIfAborted();
      const index = Math.floor(offset / reach);
      const end = Math.min((index + 1) * reach, to);
      const table = await this.table(index);
      if (table) yield* table.map(offset, end);
      else yield { offset, length: end - offset, source: { kind: 'zero' } };
      offset = end;
    }
  }

  /** Undefined where nothing is allocated. */
  private async table(index: number): Promise<L2Table | undefined> {
    const cached = this.tables.get(index);
    if (cached) return cached;
    const { clusterBytes, l2Entries } = this.header;
    const at = this.l1[index] ?? 0;
    if (at === 0) return undefined;
    const bytes = await this.file.read(at, new Uint8Array(clusterBytes), 'L2 table');
    const table = new L2Table(bytes, index * clusterBytes * l2Entries, this.header, this.file);
    if (this.tables.size >= CACHED_TABLES) for (const oldest of [...this.tables.keys()].slice(0, 1)) this.tables.delete(oldest);
    this.tables.set(index, table);
    return table;
  }

  /** The last cluster is kept: readers take it in pieces. */
  private async decompressed(source: { readonly at: number; readonly length: number }): Promise<Uint8Array> {
    if (this.cluster?.offset === source.at) return this.cluster.data;
    const stored = await this.file.read(source.at, new Uint8Array(source.length), 'data');
    const data = decompressCluster(stored, this.header);
    if (!data) throw this.file.corrupt(`the compressed cluster at ${source.at} does not unpack to ${this.header.clusterBytes} bytes`);
    this.cluster = { offset: source.at, data };
    return data;
  }
}

/** Checks all entries at once: a table that is named twice would be read as often as its author likes. */
function parseL1(view: DataView, { clusterBytes, l1Offset, l1Entries }: Qcow2Header, file: ImageFile): Float64Array {
  const offsets = new Float64Array(l1Entries);
  for (let index = 0; index < l1Entries; index++) {
    const high = view.getUint32(index * 8);
    const at = (high & 0x00ff_ffff) * 2 ** 32 + view.getUint32(index * 8 + 4);
    if (high & 0x7f00_0000) throw file.corrupt(`L1 entry ${index} has reserved bits set`);
    if (at % clusterBytes !== 0) throw file.corrupt(`L1 entry ${index} names a table at ${at}, within a cluster`);
    if (at === 0 && high !== 0) throw file.corrupt(`L1 entry ${index} owns no table`);
    if (at + clusterBytes > file.sizeBytes) throw file.truncated('L2 table', at + clusterBytes);
    if (at !== 0 && at < l1Offset + l1Entries * 8 && l1Offset < at + clusterBytes)
      throw file.corrupt(`L1 entry ${index} names a table that lies on the L1 table`);
    offsets[index] = at;
  }
  const sorted = offsets.slice().sort();
  for (let i = 1; i < sorted.length; i++)
    if (sorted[i] !== 0 && sorted[i] === sorted[i - 1]) throw file.corrupt(`two L1 entries name the table at ${sorted[i]}`);
  return offsets;
}
