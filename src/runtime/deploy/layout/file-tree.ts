/** The files of a config drive as directories, for whichever file system carries them. */
import { layoutErrors } from './errors.ts';

export interface DriveFile {
  /** Relative, with slashes. */
  readonly path: string;
  readonly content: string | Uint8Array;
}

/** In bytes: what fits in a record of ISO 9660 beside a NM entry of Rock Ridge, PX, and the identifier. */
const LONGEST_NAME = 150;

export interface Directory {
  readonly name: string;
  readonly parent: Directory | undefined;
  readonly directories: Map<string, Directory>;
  readonly files: Map<string, Leaf>;
  /** Where the file system puts it: a sector, or a cluster. */
  sector: number;
  bytes: number;
  number: number;
}

export interface Leaf {
  readonly content: Uint8Array;
  sector: number;
}

/** Throws LAYOUT_CONFIG_DRIVE for names that cannot be in one. */
export function treeOf(files: readonly DriveFile[]): Directory {
  const root = newDirectory('', undefined);
  for (const { path, content } of files) {
    const names = path.split('/');
    const name = names.pop() ?? '';
    const bad = [...names, name].find((one) => one === '' || one === '.' || one === '..' || Buffer.byteLength(one) > LONGEST_NAME);
    if (bad !== undefined || names.length > 6) throw layoutErrors.LAYOUT_CONFIG_DRIVE({ reason: `"${path.slice(0, 200)}" is no path` });
    let directory = root;
    for (const part of names) {
      const known = directory.directories.get(part) ?? newDirectory(part, directory);
      directory.directories.set(part, known);
      directory = known;
    }
    if (directory.files.has(name)) throw layoutErrors.LAYOUT_CONFIG_DRIVE({ reason: `"${path}" is there twice` });
    directory.files.set(name, { content: typeof content === 'string' ? Buffer.from(content) : content, sector: 0 });
  }
  return root;
}

function newDirectory(name: string, parent: Directory | undefined): Directory {
  return { name, parent, directories: new Map(), files: new Map(), sector: 0, bytes: 0, number: 1 };
}

/** Level by level, numbered from 1. */
export function inOrder(root: Directory): Directory[] {
  const all = [root];
  for (const directory of all) all.push(...directory.directories.values());
  for (const [index, directory] of all.entries()) directory.number = index + 1;
  return all;
}
