/**
 * Archives in cpio's "new ASCII" form, which is what the kernel unpacks as its first file system (Documentation/driver-api/early-userspace/
 * buffer-format.rst). The same files give the same bytes, whoever builds them and when: sorted, owned by root, of one time.
 */

export type ArchiveEntry =
  | { readonly path: string; readonly kind: 'file'; readonly content: Uint8Array; readonly executable?: boolean }
  | { readonly path: string; readonly kind: 'folder' }
  | { readonly path: string; readonly kind: 'link'; readonly target: string }
  | { readonly path: string; readonly kind: 'character device'; readonly major: number; readonly minor: number };

const TYPE = { file: 0o100000, folder: 0o040000, link: 0o120000, 'character device': 0o020000 } as const;
/** The kernel reads archives of any length; other readers want whole blocks. */
const BLOCK_BYTES = 512;

/** Parent folders that are not listed are added. Throws where one path is given twice. */
export function encodeCpio(entries: readonly ArchiveEntry[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const add = (piece: Uint8Array): void => {
    pieces.push(piece);
    bytes += piece.length;
  };
  const pad = (to: number): void => {
    if (bytes % to !== 0) add(new Uint8Array(to - (bytes % to)));
  };
  withParents(entries).forEach((entry, index) => {
    const content = entry.kind === 'file' ? entry.content : Buffer.from(entry.kind === 'link' ? entry.target : '');
    const device = entry.kind === 'character device' ? entry : { major: 0, minor: 0 };
    // The kernel takes two entries of one inode number for one file.
    add(
      header({ inode: index + 1, mode: modeOf(entry), links: entry.kind === 'folder' ? 2 : 1, size: content.length, device }, entry.path),
    );
    pad(4);
    add(content);
    pad(4);
  });
  add(header({ inode: 0, mode: 0, links: 1, size: 0, device: { major: 0, minor: 0 } }, 'TRAILER!!!'));
  pad(BLOCK_BYTES);
  return Buffer.concat(pieces);
}

function withParents(entries: readonly ArchiveEntry[]): ArchiveEntry[] {
  const byPath = new Map<string, ArchiveEntry>();
  for (const entry of entries) {
    if (!/^[^/\0][^\0]*[^/\0]$|^[^/\0]$/.test(entry.path)) throw new Error(`${JSON.stringify(entry.path)} is no path of an archive`);
    if (byPath.has(entry.path)) throw new Error(`${entry.path} is in the archive twice`);
    byPath.set(entry.path, entry);
  }
  for (const path of [...byPath.keys()]) {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const parent = path.slice(0, at);
      if (!byPath.has(parent)) byPath.set(parent, { path: parent, kind: 'folder' });
    }
  }
  // By code point: the order must not depend on anybody's language. A folder sorts before what is in it.
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function modeOf(entry: ArchiveEntry): number {
  const permissions = entry.kind === 'file' && !entry.executable ? 0o644 : entry.kind === 'link' ? 0o777 : 0o755;
  return TYPE[entry.kind] | (entry.kind === 'character device' ? 0o600 : permissions);
}

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly size: number;
  readonly device: { readonly major: number; readonly minor: number };
}

/**
 *   magic "070701" | ino | mode | uid | gid | nlink | mtime | filesize | devmajor | devminor | rdevmajor | rdevminor | namesize | check
 *
 * Each field but the magic is 8 hex digits; the name with its NUL follows.
 */
function header({ inode, mode, links, size, device }: Header, name: string): Uint8Array {
  const nameBytes = Buffer.from(`${name}\0`);
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, device.major, device.minor, nameBytes.length, 0];
  return Buffer.concat([
    Buffer.from(`070701${fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('')}`),
    nameBytes,
  ]);
}
