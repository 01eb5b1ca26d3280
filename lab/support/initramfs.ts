/** An initramfs from names and bytes: the kernel's own format (cpio "newc", Documentation/driver-api/early-userspace/buffer-format.rst), gzipped. */
import { gzipSync } from 'node:zlib';

export type InitramfsEntry =
  | { readonly kind: 'folder' }
  | { readonly kind: 'file'; readonly data: Uint8Array | string; readonly mode?: number }
  | { readonly kind: 'link'; readonly to: string }
  | { readonly kind: 'device'; readonly major: number; readonly minor: number };

/** Names without a leading slash; folders before what is in them. */
export function initramfs(entries: Readonly<Record<string, InitramfsEntry>>): Uint8Array {
  const parts = Object.entries(entries).map(([name, entry], index) => record(name, entry, index + 1));
  return gzipSync(Buffer.concat([...parts, record('TRAILER!!!', { kind: 'file', data: '', mode: 0 }, 0)]), { level: 6 });
}

/** A system of busybox alone; `init` is the script that it runs, and nothing else. */
export function busyboxInitramfs(busybox: Uint8Array, init: string, more: Readonly<Record<string, InitramfsEntry>> = {}): Uint8Array {
  const folders = ['bin', 'dev', 'proc', 'sys', 'tmp', 'etc'].map((name) => [name, { kind: 'folder' }] as const);
  return initramfs({
    ...Object.fromEntries(folders),
    'dev/console': { kind: 'device', major: 5, minor: 1 },
    'dev/null': { kind: 'device', major: 1, minor: 3 },
    'bin/busybox': { kind: 'file', data: busybox, mode: 0o755 },
    'bin/sh': { kind: 'link', to: 'busybox' },
    init: { kind: 'file', data: init, mode: 0o755 },
    ...more,
  });
}

const TYPE = { folder: 0o040000, file: 0o100000, link: 0o120000, device: 0o020000 } as const;

function record(name: string, entry: InitramfsEntry, inode: number): Buffer {
  const data = Buffer.from(entry.kind === 'file' ? entry.data : entry.kind === 'link' ? entry.to : '');
  const permissions = entry.kind === 'file' ? (entry.mode ?? 0o644) : entry.kind === 'device' ? 0o600 : 0o755;
  const [major, minor] = entry.kind === 'device' ? [entry.major, entry.minor] : [0, 0];
  const nameBytes = Buffer.from(`${name}\0`);
  // inode, mode, uid, gid, links, mtime, size, device major and minor, of the node itself major and minor, length of the name, check
  const fields = [inode, TYPE[entry.kind] | permissions, 0, 0, 1, 0, data.length, 0, 0, major, minor, nameBytes.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return Buffer.concat([padded(Buffer.concat([header, nameBytes])), padded(data)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
