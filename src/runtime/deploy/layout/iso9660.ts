/**
 * A read-only file system for a handful of small files: ISO 9660 (ECMA-119) with Rock Ridge names (IEEE P1282), which is what config drives are
 * made of. Every Linux has its driver, and cloud-init, Ignition and Afterburn look for its label. All in memory; pure.
 *
 *   16 sectors for whoever boots | volume descriptor | terminator | path table, both byte orders | directories | files      sectors of 2,048 bytes
 */
import { layoutErrors } from './errors.ts';
import { type Directory, type DriveFile, inOrder, treeOf } from './file-tree.ts';

export interface IsoOptions {
  /** At most 32 characters of [A-Za-z0-9_-], e.g. `config-2`. */
  readonly label: string;
  readonly files: readonly DriveFile[];
}

const SECTOR = 2048;
const DESCRIPTOR_AT = 16;
const PATH_TABLES_AT = 18;
const FLAG_DIRECTORY = 2;
/** Read-only for everybody but root, who cannot write either: user data may hold passwords. */
const FILE_MODE = 0o100_400;
const DIRECTORY_MODE = 0o040_500;

/** Throws LAYOUT_CONFIG_DRIVE for names that cannot be in one. */
export function encodeIso9660({ label, files }: IsoOptions): Uint8Array {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(label)) throw layoutErrors.LAYOUT_CONFIG_DRIVE({ reason: `"${label.slice(0, 80)}" is no label` });
  const root = treeOf(files);
  const directories = inOrder(root);
  // where everything lies, then the bytes
  const tableBytes = directories.reduce((sum, directory) => sum + pathRecord(directory, 'LE').length, 0);
  const tableSectors = sectors(tableBytes);
  let at = PATH_TABLES_AT + 2 * tableSectors;
  for (const directory of directories) {
    directory.bytes = sectors(records(directory).length) * SECTOR;
    directory.sector = at;
    at += directory.bytes / SECTOR;
  }
  const leaves = directories.flatMap((directory) => [...directory.files.values()]);
  for (const leaf of leaves) {
    leaf.sector = at;
    at += sectors(leaf.content.length);
  }
  const image = Buffer.alloc(at * SECTOR);
  image.set(volumeDescriptor({ label, sectors: at, tableBytes, tableSectors, root }), DESCRIPTOR_AT * SECTOR);
  image.set(Buffer.from([255, ...Buffer.from('CD001'), 1]), (DESCRIPTOR_AT + 1) * SECTOR);
  for (const [index, order] of (['LE', 'BE'] as const).entries())
    image.set(
      Buffer.concat(directories.map((directory) => pathRecord(directory, order))),
      (PATH_TABLES_AT + index * tableSectors) * SECTOR,
    );
  for (const directory of directories) image.set(records(directory), directory.sector * SECTOR);
  for (const { content, sector } of leaves) image.set(content, sector * SECTOR);
  return image;
}

/** Names of ISO 9660 itself, for readers without Rock Ridge: unique, sorted, and without meaning. */
function identifier(kind: 'D' | 'F', index: number): Buffer {
  const number = String(index).padStart(7, '0');
  return Buffer.from(kind === 'D' ? `D${number}` : `F${number}.;1`, 'latin1');
}

function records(directory: Directory): Buffer {
  const { parent = directory } = directory;
  const subdirectories = directory.directories.size;
  const of = (one: Directory): Place => ({ sector: one.sector, bytes: one.bytes, directory: true });
  const self = [...(directory.parent ? [] : [sharing(), extension()]), posix(DIRECTORY_MODE, 2 + subdirectories)];
  const all = [record(Buffer.from([0]), of(directory), self), record(Buffer.from([1]), of(parent), [posix(DIRECTORY_MODE, 2)])];
  for (const [index, [name, child]] of [...directory.directories].entries())
    all.push(record(identifier('D', index), of(child), [posix(DIRECTORY_MODE, 2 + child.directories.size), named(name)]));
  for (const [index, [name, { sector, content }]] of [...directory.files].entries())
    all.push(record(identifier('F', index), { sector, bytes: content.length, directory: false }, [posix(FILE_MODE, 1), named(name)]));
  // no record crosses the end of a sector
  let at = 0;
  const pieces: Buffer[] = [];
  for (const one of all) {
    const left = SECTOR - (at % SECTOR);
    if (one.length > left) {
      pieces.push(Buffer.alloc(left));
      at += left;
    }
    pieces.push(one);
    at += one.length;
  }
  return Buffer.concat(pieces);
}

interface Place {
  readonly sector: number;
  readonly bytes: number;
  readonly directory: boolean;
}

/*  0 length | 1 ext. attr. | 2 sector (both) | 10 bytes (both) | 18 date (7) | 25 flags | 26, 27 | 28 volume (both) | 32 name length | 33 name | system use  */
function record(name: Buffer, { sector, bytes, directory }: Place, systemUse: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(33 + name.length + (name.length % 2 === 0 ? 1 : 0));
  both32(head, sector, 2);
  both32(head, bytes, 10);
  head.set([70, 1, 1], 18); // 1 January 1970: what is in it depends on nothing but the files
  head.writeUInt8(directory ? FLAG_DIRECTORY : 0, 25);
  both16(head, 1, 28);
  head.writeUInt8(name.length, 32);
  head.set(name, 33);
  const use = Buffer.concat(systemUse);
  const whole = Buffer.concat([head, use, Buffer.alloc(use.length % 2)]);
  whole.writeUInt8(whole.length, 0);
  return whole;
}

// ---- Rock Ridge: signature (2), length, version, content ----

/** SP: system use sharing is in use, and begins at byte 0. */
function sharing(): Buffer {
  return Buffer.from([...Buffer.from('SP'), 7, 1, 0xbe, 0xef, 0]);
}

/** ER: which extension. Description and source may be empty. */
function extension(): Buffer {
  const id = Buffer.from('RRIP_1991A');
  return Buffer.concat([Buffer.from([...Buffer.from('ER'), 8 + id.length, 1, id.length, 0, 0, 1]), id]);
}

/** PX: mode, links, user, group. */
function posix(mode: number, links: number): Buffer {
  const entry = Buffer.alloc(36);
  entry.set([...Buffer.from('PX'), 36, 1]);
  both32(entry, mode, 4);
  both32(entry, links, 12);
  return entry;
}

/** NM: the name. */
function named(name: string): Buffer {
  const text = Buffer.from(name);
  return Buffer.concat([Buffer.from([...Buffer.from('NM'), 5 + text.length, 1, 0]), text]);
}

// ---- tables ----

/*  0 name length | 1 | 2 sector (4) | 6 number of the parent (2) | 8 name, padded to even  */
function pathRecord({ name, sector, parent, number }: Directory, order: 'LE' | 'BE'): Buffer {
  const index = parent ? [...parent.directories.keys()].indexOf(name) : 0;
  const text = parent ? identifier('D', index) : Buffer.from([0]);
  const entry = Buffer.alloc(8 + text.length + (text.length % 2));
  entry.writeUInt8(text.length, 0);
  if (order === 'LE') entry.writeUInt32LE(sector, 2);
  else entry.writeUInt32BE(sector, 2);
  const above = parent?.number ?? number;
  if (order === 'LE') entry.writeUInt16LE(above, 6);
  else entry.writeUInt16BE(above, 6);
  entry.set(text, 8);
  return entry;
}

function volumeDescriptor(volume: {
  readonly label: string;
  readonly sectors: number;
  readonly tableBytes: number;
  readonly tableSectors: number;
  readonly root: Directory;
}): Buffer {
  const { label, tableBytes, tableSectors, root } = volume;
  const block = Buffer.alloc(SECTOR);
  block.set([1, ...Buffer.from('CD001'), 1]);
  block.fill(' ', 8, 72);
  block.write(label, 40, 'latin1');
  both32(block, volume.sectors, 80);
  both16(block, 1, 120); // volumes in the set
  both16(block, 1, 124); // this one
  both16(block, SECTOR, 128);
  both32(block, tableBytes, 132);
  block.writeUInt32LE(PATH_TABLES_AT, 140);
  block.writeUInt32BE(PATH_TABLES_AT + tableSectors, 148);
  block.set(record(Buffer.from([0]), { sector: root.sector, bytes: root.bytes, directory: true }, []), 156);
  block.fill(' ', 190, 813); // set, publisher, preparer, application, three files
  block.fill('0', 813, 881); // created, changed, expires, effective: not specified
  for (const at of [829, 846, 863, 880]) block.writeUInt8(0, at);
  block.writeUInt8(1, 881); // version of this structure
  return block;
}

function both32(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value, at);
  bytes.writeUInt32BE(value, at + 4);
}

function both16(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt16LE(value, at);
  bytes.writeUInt16BE(value, at + 2);
}

function sectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR);
}
