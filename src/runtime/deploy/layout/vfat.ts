/**
 * A file system for a handful of small files on disks whose blocks are larger than the 2,048 bytes of ISO 9660, from which Linux mounts none: FAT12 with
 * long names (Microsoft's FAT specification 1.03), which cloud-init and Ignition know as well. All in memory; pure.
 *
 *   boot sector | FAT | the same again | root directory | clusters
 */
import { crc32 } from 'node:zlib';
import { layoutErrors } from './errors.ts';
import { type Directory, type DriveFile, inOrder, treeOf } from './file-tree.ts';

export interface VfatOptions {
  /** At most 11 characters of [A-Za-z0-9_-], e.g. `config-2`. */
  readonly label: string;
  readonly files: readonly DriveFile[];
  /** The disk's block size, 512 to 4,096. */
  readonly sectorBytes: number;
}

const ENTRY_BYTES = 32;
/** With more it would be FAT16. */
const MOST_CLUSTERS = 4084;
const FIRST_CLUSTER = 2;
const LARGEST_CLUSTER_BYTES = 32 * 1024;
const END_OF_CHAIN = 0xfff;
const ATTRIBUTE = { readOnly: 0x01, label: 0x08, directory: 0x10, longName: 0x0f } as const;
/** 1 January 1980, the first day that it can express: what is in it depends on nothing but the files. */
const DATE = 0x0021;
/** UTF-16 units of one entry, and where they are. */
const LONG_NAME_AT = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/** Throws LAYOUT_CONFIG_DRIVE for names that cannot be in one, and for more than 120 MiB. */
export function encodeVfat({ label, files, sectorBytes }: VfatOptions): Uint8Array {
  const refuse = (reason: string): Error => layoutErrors.LAYOUT_CONFIG_DRIVE({ reason });
  if (!/^[A-Za-z0-9_-]{1,11}$/.test(label)) throw refuse(`"${label.slice(0, 80)}" is no label`);
  if (sectorBytes > 4096) throw refuse(`no file system for one fits blocks of ${sectorBytes} bytes`);
  const root = treeOf(files);
  const [, ...directories] = inOrder(root);
  const leaves = [root, ...directories].flatMap((directory) => [...directory.files.values()]);
  for (const directory of directories) directory.bytes = entriesOf(directory).length;

  const sizes = [...directories.map(({ bytes }) => bytes), ...leaves.map(({ content }) => content.length)];
  const clustersAt = (clusterBytes: number): number => sizes.reduce((sum, bytes) => sum + Math.ceil(bytes / clusterBytes), 0);
  let clusterBytes = sectorBytes;
  while (clustersAt(clusterBytes) > MOST_CLUSTERS && clusterBytes < LARGEST_CLUSTER_BYTES) clusterBytes *= 2;
  const clusters = Math.max(1, clustersAt(clusterBytes));
  if (clusters > MOST_CLUSTERS) throw refuse('its files are too large');

  const fat = new Fat(clusters, sectorBytes);
  for (const directory of directories) directory.sector = fat.chain(Math.ceil(directory.bytes / clusterBytes));
  for (const leaf of leaves) leaf.sector = fat.chain(Math.ceil(leaf.content.length / clusterBytes));
  const rootEntries = Buffer.concat([entry(Buffer.from(label.padEnd(11)), ATTRIBUTE.label, 0, 0), entriesOf(root)]);
  const rootBytes = Math.ceil(rootEntries.length / sectorBytes) * sectorBytes;
  const rootAt = sectorBytes + 2 * fat.bytes.length;
  const dataAt = rootAt + rootBytes;
  const image = Buffer.alloc(dataAt + clusters * clusterBytes);
  const geometry = { sectorBytes, clusterBytes, rootBytes, fatBytes: fat.bytes.length, totalBytes: image.length };
  image.set(bootSector(label, geometry));
  for (const copy of [0, 1]) image.set(fat.bytes, sectorBytes + copy * fat.bytes.length);
  image.set(rootEntries, rootAt);
  const at = (cluster: number): number => dataAt + (cluster - FIRST_CLUSTER) * clusterBytes;
  for (const directory of directories) image.set(entriesOf(directory), at(directory.sector));
  for (const { content, sector } of leaves) if (content.length > 0) image.set(content, at(sector));
  return image;
}

/** Twelve bits for each cluster: the number of the next one. */
class Fat {
  readonly bytes: Buffer;
  private next = FIRST_CLUSTER;

  constructor(clusters: number, sectorBytes: number) {
    this.bytes = Buffer.alloc(Math.ceil(((clusters + FIRST_CLUSTER) * 1.5) / sectorBytes) * sectorBytes);
    this.set(0, 0xff8); // the media byte of the boot sector
    this.set(1, END_OF_CHAIN);
  }

  /** The first of so many clusters; 0 for none. */
  chain(clusters: number): number {
    const first = this.next;
    for (let left = clusters; left > 0; left--, this.next++) this.set(this.next, left === 1 ? END_OF_CHAIN : this.next + 1);
    return clusters === 0 ? 0 : first;
  }

  private set(cluster: number, value: number): void {
    const at = Math.floor(cluster * 1.5);
    const pair = this.bytes.readUInt16LE(at);
    this.bytes.writeUInt16LE(cluster % 2 === 0 ? (pair & 0xf000) | value : (pair & 0x000f) | (value << 4), at);
  }
}

/*  11 bytes of a sector (2) | sectors of a cluster | reserved (2) | FATs | 17 root entries (2) | 21 media | 22 sectors of a FAT (2) | 32 sectors (4)  */
function bootSector(
  label: string,
  geometry: Readonly<Record<'sectorBytes' | 'clusterBytes' | 'rootBytes' | 'fatBytes' | 'totalBytes', number>>,
): Buffer {
  const { sectorBytes, clusterBytes, rootBytes, fatBytes, totalBytes } = geometry;
  const sectors = totalBytes / sectorBytes;
  const bytes = Buffer.alloc(sectorBytes);
  bytes.set([0xeb, 0x3c, 0x90, ...Buffer.from('MSWIN4.1')]);
  bytes.writeUInt16LE(sectorBytes, 11);
  bytes.writeUInt8(clusterBytes / sectorBytes, 13);
  bytes.writeUInt16LE(1, 14);
  bytes.writeUInt8(2, 16);
  bytes.writeUInt16LE(rootBytes / ENTRY_BYTES, 17);
  if (sectors <= 0xffff) bytes.writeUInt16LE(sectors, 19);
  bytes.writeUInt8(0xf8, 21);
  bytes.writeUInt16LE(fatBytes / sectorBytes, 22);
  bytes.writeUInt16LE(63, 24); // a geometry, which nobody uses
  bytes.writeUInt16LE(255, 26);
  if (sectors > 0xffff) bytes.writeUInt32LE(sectors, 32);
  bytes.set([0x80, 0, 0x29], 36);
  bytes.writeUInt32LE(crc32(label), 39);
  bytes.write(label.padEnd(11), 43, 'latin1');
  bytes.write('FAT12   ', 54, 'latin1');
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

function entriesOf(directory: Directory): Buffer {
  const { parent } = directory;
  const own = (name: string, cluster: number): Buffer => entry(Buffer.from(name.padEnd(11)), ATTRIBUTE.directory, cluster, 0);
  const pieces = parent ? [own('.', directory.sector), own('..', parent.parent ? parent.sector : 0)] : [];
  const lower = new Set<string>();
  const add = (name: string, kind: 'D' | 'F', cluster: number, bytes: number): void => {
    const known = name.toLowerCase();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    if (/["*:<>?\\|\x00-\x1f]|[. ]$/.test(name) || lower.has(known))
      throw layoutErrors.LAYOUT_CONFIG_DRIVE({ reason: `"${name}" is no name in a FAT file system, or there twice but for its case` });
    lower.add(known);
    const short = Buffer.from(`${kind}${String(lower.size).padStart(7, '0')}   `);
    pieces.push(...longName(name, short), entry(short, kind === 'D' ? ATTRIBUTE.directory : ATTRIBUTE.readOnly, cluster, bytes));
  };
  for (const [name, { sector }] of directory.directories) add(name, 'D', sector, 0);
  for (const [name, { sector, content }] of directory.files) add(name, 'F', sector, content.length);
  return Buffer.concat(pieces);
}

/*  0 name (11) | attributes | 16 created | 18 read | 24 written | 26 first cluster (2) | bytes (4)  */
function entry(name: Uint8Array, attributes: number, cluster: number, bytes: number): Buffer {
  const whole = Buffer.alloc(ENTRY_BYTES);
  whole.set(name);
  whole.writeUInt8(attributes, 11);
  for (const at of [16, 18, 24]) whole.writeUInt16LE(DATE, at);
  whole.writeUInt16LE(cluster, 26);
  whole.writeUInt32LE(bytes, 28);
  return whole;
}

/** Its entries, the last part of the name first; each carries the checksum of the short name that it belongs to. */
function longName(name: string, short: Uint8Array): Buffer[] {
  const checksum = short.reduce((sum, byte) => (((sum & 1) << 7) + (sum >>> 1) + byte) & 0xff, 0);
  const parts = Math.ceil(name.length / LONG_NAME_AT.length);
  return Array.from({ length: parts }, (_, index) => {
    const part = parts - index;
    const whole = Buffer.alloc(ENTRY_BYTES);
    whole.writeUInt8(index === 0 ? part | 0x40 : part, 0);
    whole.writeUInt8(ATTRIBUTE.longName, 11);
    whole.writeUInt8(checksum, 13);
    for (const [place, at] of LONG_NAME_AT.entries()) {
      const unit = (part - 1) * LONG_NAME_AT.length + place;
      // a name that does not fill its entries ends with 0, and FFFFh after it
      whole.writeUInt16LE(unit < name.length ? name.charCodeAt(unit) : unit === name.length ? 0 : 0xffff, at);
    }
    return whole;
  });
}
