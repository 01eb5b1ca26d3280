/**
 * Files of a directory, for the boot server's tree (/tftpboot/pxelinux.0, pxelinux.cfg/01-<mac>, <uuid>/kernel …). Fifty
 * machines that boot one kernel read it from the disk once: open files and their chunks are shared, within a bound.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { TFTP_ERROR } from './codec.ts';
import { ACCESS_VIOLATION, type FileSource, NOT_FOUND, normalisePath, type PathOptions, type TftpFile } from './source.ts';

export interface DirectorySourceOptions extends PathOptions {
  /**
   * Most bytes of file content kept in memory, over all files. Default 160 MiB: a kernel and a deploy ramdisk whole, since a cache that is one chunk too
   * small for a file helps nobody who reads it in order.
   */
  readonly cacheBytes?: number;
}

/** One read from the disk, and how far ahead of the slowest reader the next chunk is fetched. A reader that takes whole chunks gets them as they are. */
export const CHUNK_BYTES = 512 * 1024;
const DEFAULT_CACHE_BYTES = 160 * 1024 * 1024;

/** Opens what lies below `root`, also through symbolic links as long as they end below `root` too. */
export function directorySource(root: string, options: DirectorySourceOptions = {}): FileSource {
  const cache = new ChunkCache(options.cacheBytes ?? DEFAULT_CACHE_BYTES);
  const openFiles = new Map<string, SharedFile>();

  return async ({ path }) => {
    const name = normalisePath(path, options);
    if (name === undefined) return ACCESS_VIOLATION;
    try {
      // The root is resolved at each request: an operator may swap the link that points to it
      const realRoot = await realpath(root);
      const real = await realpath(join(realRoot, name));
      if (!real.startsWith(realRoot.endsWith(sep) ? realRoot : realRoot + sep)) return ACCESS_VIOLATION;
      const file = await openShared(real, openFiles, cache);
      return file?.reader() ?? ACCESS_VIOLATION;
    } catch (error) {
      return refusalFor(error);
    }
  };
}

/** The shared open file at `real`, a path without symbolic links; undefined when that is no regular file. */
async function openShared(real: string, openFiles: Map<string, SharedFile>, cache: ChunkCache): Promise<SharedFile | undefined> {
  const known = openFiles.get(identify(real, await stat(real, { bigint: true })));
  if (known) return known.acquire();
  // O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOFOLLOW: the name was a file a moment ago, not a link
  const handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  let kept = false;
  try {
    const status = await handle.stat({ bigint: true });
    if (!status.isFile()) return undefined;
    const identity = identify(real, status);
    const meanwhile = openFiles.get(identity); // another client was faster while this one waited for the disk
    if (meanwhile) return meanwhile.acquire();
    const file = new SharedFile(identity, status, handle, cache, () => openFiles.delete(identity));
    openFiles.set(identity, file);
    kept = true;
    return file.acquire();
  } finally {
    if (!kept) await handle.close();
  }
}

/** Changes whenever the content may have changed, so that cached chunks of an older content are never served. */
function identify(real: string, status: { dev: bigint; ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint }): string {
  return `${status.dev}:${status.ino}:${status.size}:${status.mtimeNs}:${status.ctimeNs}:${real}`;
}

function refusalFor(error: unknown): { code: number; message: string } {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
      return NOT_FOUND;
    case 'EACCES':
    case 'EPERM':
    case 'EISDIR':
    case 'ELOOP':
    case 'ENXIO':
      return ACCESS_VIOLATION;
    default:
      return { code: TFTP_ERROR.undefined, message: `The file cannot be opened (${code ?? 'unknown error'})` };
  }
}

/** One open file and its readers; the handle closes with the last of them. */
class SharedFile {
  private readers = 0;
  private readonly loading = new Map<number, Promise<Uint8Array>>();
  private readonly size: number;

  constructor(
    private readonly identity: string,
    private readonly opened: { readonly size: bigint; readonly mtimeNs: bigint },
    private readonly handle: FileHandle,
    private readonly cache: ChunkCache,
    private readonly onLastClose: () => void,
  ) {
    this.size = Number(opened.size);
  }

  acquire(): SharedFile {
    this.readers++;
    return this;
  }

  reader(): TftpFile {
    let open = true;
    return {
      size: this.size,
      read: (offset, length) => this.read(offset, length),
      close: () => {
        if (!open) return;
        open = false;
        if (--this.readers > 0) return;
        this.onLastClose();
        this.handle.close().catch(() => undefined); // waits for reads under way; nobody is left to hear a failure
      },
    };
  }

  private read(offset: number, length: number): Uint8Array | Promise<Uint8Array> {
    if (offset >= this.size) return new Uint8Array(0);
    const index = Math.floor(offset / CHUNK_BYTES);
    const within = offset - index * CHUNK_BYTES;
    const cached = this.cache.get(this.identity, index);
    // The next chunk is on its way before anyone waits for it
    if (within + length > CHUNK_BYTES / 2 || !cached) this.readAhead(index + 1);
    if (cached) return part(cached, within, length);
    return this.load(index).then((chunk) => part(chunk, within, length));
  }

  private readAhead(index: number): void {
    if (index * CHUNK_BYTES >= this.size || this.loading.has(index) || this.cache.get(this.identity, index)) return;
    this.load(index).catch(() => undefined); // whoever needs the chunk loads it again and hears the error
  }

  private load(index: number): Promise<Uint8Array> {
    const running = this.loading.get(index);
    if (running) return running;
    const loaded = this.readChunk(index).finally(() => this.loading.delete(index));
    this.loading.set(index, loaded);
    return loaded;
  }

  private async readChunk(index: number): Promise<Uint8Array> {
    const start = index * CHUNK_BYTES;
    const wanted = Math.min(CHUNK_BYTES, this.size - start);
    const buffer = Buffer.allocUnsafeSlow(wanted);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await this.handle.read(buffer, filled, wanted - filled, start + filled);
      if (bytesRead === 0) return buffer.subarray(0, filled); // cut since it was opened: not cached, the session notices
      filled += bytesRead;
    }
    // written over in place: half of the old kernel and half of the new one is neither. One that was renamed over stays as it was
    const { size, mtimeNs } = await this.handle.stat({ bigint: true });
    if (size !== this.opened.size || mtimeNs !== this.opened.mtimeNs) throw new Error('the file was written to while it was read');
    this.cache.set(this.identity, index, buffer);
    return buffer;
  }
}

/** The chunk itself where that is asked for: a view of it costs more than finding it. */
function part(chunk: Uint8Array, from: number, length: number): Uint8Array {
  return from === 0 && length >= chunk.length ? chunk : chunk.subarray(from, from + length);
}

interface CachedChunk {
  readonly identity: string;
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** Chunks by file and index, the least recently used dropped first. A hit builds no string: it comes once for each piece that is sent. */
class ChunkCache {
  private readonly files = new Map<string, Map<number, CachedChunk>>();
  /** A Set iterates in order of insertion: the oldest use comes first. */
  private readonly byUse = new Set<CachedChunk>();
  private bytes = 0;

  constructor(private readonly limitBytes: number) {}

  get(identity: string, index: number): Uint8Array | undefined {
    const chunk = this.files.get(identity)?.get(index);
    if (!chunk) return undefined;
    this.byUse.delete(chunk);
    this.byUse.add(chunk);
    return chunk.bytes;
  }

  set(identity: string, index: number, bytes: Uint8Array): void {
    if (bytes.length > this.limitBytes) return;
    const chunks = this.files.get(identity) ?? new Map<number, CachedChunk>();
    const before = chunks.get(index);
    if (before) this.drop(before);
    const chunk = { identity, index, bytes };
    this.files.set(identity, chunks.set(index, chunk));
    this.byUse.add(chunk);
    this.bytes += bytes.length;
    for (const oldest of this.byUse) {
      if (this.bytes <= this.limitBytes) break;
      this.drop(oldest);
    }
  }

  private drop(chunk: CachedChunk): void {
    this.byUse.delete(chunk);
    this.bytes -= chunk.bytes.length;
    const chunks = this.files.get(chunk.identity);
    chunks?.delete(chunk.index);
    if (chunks?.size === 0) this.files.delete(chunk.identity);
  }
}
