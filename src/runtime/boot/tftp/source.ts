/**
 * Where the server's files come from: a port that disks, memory and the boot decision implement, and the ways to join
 * several of them.
 */
import type { Endpoint } from '../../core/network.ts';
import { TFTP_ERROR } from './codec.ts';

export interface TftpFile {
  /** Bytes; undefined when it is known only at the end. */
  readonly size: number | undefined;
  /**
   * Up to `length` bytes at `offset`: at least one, or none at the end of the file. The server only reads what it is given
   * and may keep it until the transfer ends, so the bytes must not change afterwards.
   */
  read(offset: number, length: number): Promise<Uint8Array> | Uint8Array;
  /** Called once, when the transfer is over. Never throws. */
  close(): void | Promise<void>;
}

/** An answer that the client shows or logs: a code of `TFTP_ERROR` and a short English sentence. */
export interface TftpRefusal {
  readonly code: number;
  readonly message: string;
}

export interface FileRequest {
  /** As sent, bounded at 512 bytes, not normalised. */
  readonly path: string;
  readonly remote: Endpoint;
  /** The address and port that the request reached. */
  readonly local: Endpoint;
}

export type FileSource = (request: FileRequest) => Promise<TftpFile | TftpRefusal>;

export const NOT_FOUND: TftpRefusal = { code: TFTP_ERROR.notFound, message: 'File not found' };
export const ACCESS_VIOLATION: TftpRefusal = { code: TFTP_ERROR.accessViolation, message: 'Access violation' };

export function isRefusal(answer: TftpFile | TftpRefusal): answer is TftpRefusal {
  return 'code' in answer;
}

/** A file whose bytes are at hand: a generated pxelinux.cfg, a small loader. */
export function bytesFile(data: Uint8Array | string): TftpFile {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length), close: () => undefined };
}

/** Files by normalised name (no leading slash). The map is read at each request, so it may change at any time. */
export function memorySource(files: ReadonlyMap<string, Uint8Array | string>, options: PathOptions = {}): FileSource {
  return async ({ path }) => {
    const name = normalisePath(path, options);
    if (name === undefined) return ACCESS_VIOLATION;
    const data = files.get(name);
    return data === undefined ? NOT_FOUND : bytesFile(data);
  };
}

/** The first source that has the file. Any answer but "not found" ends the search: a refusal is not overruled by a later source. */
export function combine(...sources: readonly FileSource[]): FileSource {
  return async (request) => {
    for (const source of sources) {
      const answer = await source(request);
      if (!isRefusal(answer) || answer.code !== TFTP_ERROR.notFound) return answer;
    }
    return NOT_FOUND;
  };
}

export interface PathOptions {
  /** Directories that clients put in front because the server's root was once there. Default: tftpboot. */
  readonly stripPrefixes?: readonly string[];
}

const DEFAULT_STRIP_PREFIXES = ['tftpboot'];

/**
 * The path relative to the root, with "/" between its parts; undefined when it climbs above the root or names no file.
 * Firmware sends "/tftpboot/pxelinux.0", "\\tftpboot\\pxelinux.0" (Windows loaders), "//pxelinux.0" or "./pxelinux.0".
 */
export function normalisePath(path: string, { stripPrefixes = DEFAULT_STRIP_PREFIXES }: PathOptions = {}): string | undefined {
  if (/\p{Cc}/u.test(path)) return undefined;
  const parts: string[] = [];
  for (const part of path.replaceAll('\\', '/').split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  const heads = stripPrefixes.map((prefix) => prefix.split('/').filter((part) => part !== '')).filter(({ length }) => length > 0);
  const headOf = (): readonly string[] | undefined =>
    heads.find((head) => parts.length > head.length && head.every((part, index) => parts[index] === part));
  // all of them: what is normalised twice, by the decision and by the folder, must name the same file both times
  for (let head = headOf(); head; head = headOf()) parts.splice(0, head.length);
  return parts.length === 0 ? undefined : parts.join('/');
}
