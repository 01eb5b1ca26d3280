/** The boot decision as an HTTP service: UEFI HTTP boot, iPXE and GRUB load the same names as over TFTP. */
import { realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Endpoint, HttpHandler, HttpRequest, HttpResponse } from '../core/index.ts';
import type { BootContent, BootContentSource } from './boot-content.ts';
import { TFTP_ERROR } from './tftp/codec.ts';
import { CHUNK_BYTES } from './tftp/files.ts';
import type { TftpFile } from './tftp/source.ts';

/** A piece is what waits when a client stands still: so many may hold a chunk each, which the cache may long have dropped (64 MiB in all) … */
const DOWNLOADS_BY_CHUNKS = 128;
/** … and what a piece is while there are more: a copy, since a view of a chunk would keep all of it. */
const CROWD_PIECE_BYTES = 128 * 1024;
/** EDK2 takes the type of a download from here, or from the name. */
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  efi: 'application/efi',
  iso: 'application/vnd.efi-iso',
  img: 'application/vnd.efi-img',
};

/** What became of one file that a client began to load. Configurations are so short that being given out is all that is known of them. */
export interface DownloadReport {
  readonly remote: Endpoint;
  /** As the client sent it. */
  readonly file: string;
  /** Bytes of the file that were handed to the connection. */
  readonly bytes: number;
  readonly durationMs: number;
  /** From the request to the first bytes that were handed to the connection; undefined when there were none. */
  readonly firstByteMs?: number;
  /** `aborted`: the client left. `failed`: the file could not be read to its end. */
  readonly outcome: 'complete' | 'aborted' | 'failed';
  /** The source's failure. */
  readonly detail?: string;
}

export interface HttpBootOptions {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Called at the end of every download. Must not throw. */
  readonly onDownload: (report: DownloadReport) => void;
}

export function httpBootHandler(content: BootContentSource, options?: HttpBootOptions): HttpHandler {
  const downloads: Downloads = { open: 0 };
  return async (request) => {
    const download = new Download(request, options);
    if (request.method !== 'GET' && request.method !== 'HEAD') return plain(405, 'Boot files are only read.', { allow: 'GET, HEAD' });
    const answer = await content({ protocol: 'http', path: request.path, remote: request.remote, local: request.local });
    switch (answer.kind) {
      case 'text':
        return textResponse(request, answer);
      case 'file':
        return fileResponse(request, answer, downloads, download);
      case 'missing':
        return answer.refusal.code === TFTP_ERROR.notFound
          ? plain(404, 'There is no such file.')
          : plain(403, 'The file is not given out.');
      case 'refused':
        return refusedResponse(answer.code);
    }
  };
}

/** Inode, size and times of a file below `root`; the tree is the one that `directorySource` serves. */
export function directoryValidator(root: string): (path: string) => Promise<string | undefined> {
  return async (path) => {
    try {
      const status = await stat(await realpath(join(root, path)), { bigint: true });
      if (!status.isFile()) return undefined;
      return [status.ino, status.size, status.mtimeNs, status.ctimeNs].map((part) => part.toString(36)).join('-');
    } catch {
      return undefined; // whether the file is there is the source's answer to give
    }
  };
}

function textResponse(request: HttpRequest, { text, secret }: BootContent & { kind: 'text' }): HttpResponse {
  const bytes = Buffer.from(text);
  const headers = {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': String(bytes.length),
    // another answer follows as soon as the machine's intent changes; the key must stay in no proxy's cache
    'cache-control': secret ? 'no-store' : 'no-cache',
  };
  return { status: 200, headers, ...(request.method === 'GET' && { body: bytes }) };
}

/** Bodies under way, of all clients. */
interface Downloads {
  open: number;
}

async function fileResponse(
  request: HttpRequest,
  { path, file, validator }: BootContent & { kind: 'file' },
  downloads: Downloads,
  download: Download,
): Promise<HttpResponse> {
  const etag = validator === undefined ? undefined : `"${validator}"`;
  const extension = /\.([a-z0-9]+)$/i.exec(path)?.[1]?.toLowerCase() ?? '';
  const { size } = file;
  const headers: Record<string, string> = {
    'content-type': CONTENT_TYPES[extension] ?? 'application/octet-stream',
    ...(etag && { etag }),
    ...(size !== undefined && { 'accept-ranges': 'bytes' }),
  };
  const head = async (status: number, more: Record<string, string> = {}): Promise<HttpResponse> => {
    await file.close();
    return { status, headers: { ...headers, ...more } };
  };

  if (etag && matches(request.headers['if-none-match'], etag)) return head(304);
  const range = size === undefined ? undefined : requestedRange(request, size, etag);
  if (range === 'unsatisfiable') return head(416, { 'content-range': `bytes */${size}`, 'content-length': '0' });

  const from = range?.from ?? 0;
  const to = range?.to ?? size; // exclusive
  const status = range ? 206 : 200;
  if (to !== undefined) headers['content-length'] = String(to - from);
  if (range) headers['content-range'] = `bytes ${range.from}-${range.to - 1}/${size}`;
  if (request.method === 'HEAD') return head(status);
  return { status, headers, body: pieces(file, { from, to }, request.signal, downloads, download) };
}

/** From the request on: how much of the file went out, and when. */
class Download {
  readonly #request: HttpRequest;
  readonly #options: HttpBootOptions | undefined;
  readonly #startedAt: number;
  #bytes = 0;
  #firstByteMs: number | undefined;

  constructor(request: HttpRequest, options: HttpBootOptions | undefined) {
    this.#request = request;
    this.#options = options;
    this.#startedAt = options?.clock.monotonic() ?? 0;
  }

  sends(bytes: number): void {
    this.#bytes += bytes;
    this.#firstByteMs ??= this.#elapsedMs();
  }

  end(outcome: DownloadReport['outcome'], error: unknown): void {
    const { remote, path } = this.#request;
    this.#options?.onDownload({
      remote,
      file: path,
      bytes: this.#bytes,
      durationMs: this.#elapsedMs(),
      ...(this.#firstByteMs !== undefined && { firstByteMs: this.#firstByteMs }),
      outcome,
      ...(error !== undefined && { detail: error instanceof Error ? error.message : String(error) }),
    });
  }

  #elapsedMs(): number {
    return (this.#options?.clock.monotonic() ?? 0) - this.#startedAt;
  }
}

/** Closes the file once: at the end, when the reader stops, or when the client is gone before it began. */
function pieces(
  file: TftpFile,
  { from, to }: { from: number; to: number | undefined },
  signal: AbortSignal,
  downloads: Downloads,
  download: Download,
): AsyncIterable<Uint8Array> {
  let open = true;
  downloads.open++;
  const close = async (outcome: DownloadReport['outcome'], error?: unknown): Promise<void> => {
    if (!open) return;
    open = false;
    downloads.open--;
    signal.removeEventListener('abort', onAbort);
    download.end(outcome, error);
    await file.close();
  };
  const onAbort = (): void => void close('aborted');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();

  return (async function* () {
    try {
      for (let at = from; to === undefined || at < to; ) {
        if (!open) return;
        const crowded = downloads.open > DOWNLOADS_BY_CHUNKS;
        const piece = await file.read(at, Math.min(crowded ? CROWD_PIECE_BYTES : CHUNK_BYTES, (to ?? Number.POSITIVE_INFINITY) - at));
        if (piece.length === 0) {
          if (to === undefined) break;
          throw new Error(`the file was cut while it was read: ${to - at} bytes are missing`);
        }
        at += piece.length;
        download.sends(piece.length);
        yield crowded ? Buffer.from(piece) : piece;
      }
      await close('complete');
    } catch (error) {
      await close('failed', error);
      throw error;
    } finally {
      await close('aborted');
    }
  })();
}

/** One range only, and of GET only (RFC 9110 section 14.2 lets a server ignore the rest); `to` is exclusive. Undefined: the whole file. */
function requestedRange(
  { method, headers }: HttpRequest,
  size: number,
  etag: string | undefined,
): { from: number; to: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec((method === 'GET' && headers.range) || '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const condition = headers['if-range'];
  if (condition !== undefined && condition !== etag) return undefined; // the content changed: from the start again
  if (match[1] === '') {
    const length = Math.min(Number(match[2]), size);
    return length === 0 ? 'unsatisfiable' : { from: size - length, to: size };
  }
  const from = Number(match[1]);
  const to = match[2] === '' ? size : Math.min(Number(match[2]) + 1, size);
  if (match[2] !== '' && Number(match[2]) < from) return undefined; // not a valid range: ignored
  return from >= size ? 'unsatisfiable' : { from, to };
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}

function refusedResponse(code: (BootContent & { kind: 'refused' })['code']): HttpResponse {
  switch (code) {
    case 'unknown-machine':
    case 'not-booting':
    case 'no-loader':
    case 'no-such-file':
      return plain(404, 'There is no such file.');
    case 'bad-path':
    case 'not-lease-holder':
    case 'key-expired':
      return plain(403, 'The file is not given out.');
    case 'bad-config':
      return plain(500, 'The boot configuration is not valid.');
    case 'unavailable':
      return plain(503, 'The boot service is busy.', { 'retry-after': '5' });
  }
}

function plain(status: number, sentence: string, headers: Record<string, string> = {}): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body: `${sentence}\n` };
}
