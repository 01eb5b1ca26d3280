/**
 * Fetches a file by HTTP(S) in byte ranges (RFC 9110 section 14), so that it needs the memory of one range only, and goes on where it stopped
 * after a lost connection or a restart. A validator (ETag or Last-Modified, in If-Range) keeps two versions from being mixed.
 */
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Clock, sleep } from '../../../core/clock.ts';
import type { HttpClientResponse, Network } from '../../../core/network.ts';
import type { Progress } from '../disk-image.ts';
import { imageCacheErrors } from './errors.ts';
import { shown } from './source.ts';

export interface FetchOptions {
  readonly network: Network;
  readonly clock: Clock;
  /** For https: authorities to trust beside none of the system's, in PEM. */
  readonly ca?: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Called before anything is stored. What it throws ends the fetch. */
  readonly onSize?: (totalBytes: number) => Promise<void>;
}

/** What tells one version of a file from another. */
export interface RemoteVersion {
  readonly totalBytes: number;
  /** Strong ETag, else Last-Modified, else empty. */
  readonly validator: string;
}

const RANGE_BYTES = 8 * 1024 * 1024;
const version = z.object({ totalBytes: z.number().int().positive(), validator: z.string() });
/** For one range: 8 MiB at 28 kB/s. A server that has fallen silent keeps its connection open for hours. */
const RANGE_TIMEOUT_MS = 300_000;
/** In a row without a byte in between; the pauses double from one second. */
const MOST_FAILURES = 5;
const PAUSE_MS = 1_000;

/** Asks for one byte, to learn the size and the version. Throws IMAGE_FETCH, IMAGE_NO_RANGES. */
export async function remoteVersion(url: string, options: FetchOptions): Promise<RemoteVersion> {
  return (await range(url, 0, 1, '', options)).version;
}

/** Leaves the file at `path`, complete; its size and version lie beside it, in `path`.json, as long as it is not. */
export async function fetchFile(url: string, path: string, options: FetchOptions): Promise<RemoteVersion> {
  const { clock, signal, onProgress, onSize } = options;
  let known = await earlier(path);
  let at = known === undefined ? 0 : await sizeOf(path);
  // of a server that names no version nobody can tell whether the rest is of the same one
  if (known === undefined || known.validator === '' || at > known.totalBytes) {
    await rm(path, { force: true });
    known = undefined;
    at = 0;
  }
  const file = await open(path, 'a');
  try {
    for (let failures = 0; known === undefined || at < known.totalBytes; ) {
      let part: Awaited<ReturnType<typeof range>>;
      try {
        part = await range(url, at, RANGE_BYTES, known?.validator ?? '', options);
      } catch (error) {
        signal.throwIfAborted();
        if (isFinal(error) || ++failures >= MOST_FAILURES) throw error;
        await sleep(clock, PAUSE_MS * 2 ** (failures - 1), signal);
        continue;
      }
      failures = 0;
      if (known === undefined) {
        await onSize?.(part.version.totalBytes);
        known = part.version;
        await writeFile(`${path}.json`, JSON.stringify(known));
      } else if (part.version.totalBytes !== known.totalBytes || part.version.validator !== known.validator) {
        await rm(`${path}.json`, { force: true }); // the next try begins with the new version
        throw imageCacheErrors.IMAGE_CHANGED({ source: shown(url) });
      }
      await file.appendFile(part.body);
      at += part.body.length;
      onProgress?.({ doneBytes: at, totalBytes: known.totalBytes });
    }
    await file.datasync();
    return known;
  } finally {
    await file.close();
  }
}

async function range(
  url: string,
  from: number,
  bytes: number,
  validator: string,
  { network, clock, signal, ca }: FetchOptions,
): Promise<{ readonly body: Uint8Array; readonly version: RemoteVersion }> {
  const source = shown(url);
  const refuse = (reason: string, cause?: unknown): Error => imageCacheErrors.IMAGE_FETCH({ source, reason }, { cause });
  const headers = {
    range: `bytes=${from}-${from + bytes - 1}`,
    'accept-encoding': 'identity',
    ...(validator && { 'if-range': validator }),
  };
  let response: HttpClientResponse;
  const late = new AbortController();
  const timer = clock.after(RANGE_TIMEOUT_MS, () => late.abort(new Error(`no answer within ${RANGE_TIMEOUT_MS / 1000} s`)));
  const either = AbortSignal.any([signal, late.signal]);
  try {
    response = await network.request({ url, headers, maxBodyBytes: RANGE_BYTES, signal: either, ...(ca !== undefined && { ca }) });
  } catch (cause) {
    signal.throwIfAborted();
    if (late.signal.aborted) throw refuse(late.signal.reason.message, cause);
    const text = cause instanceof Error ? cause.message : String(cause);
    if (/larger than|too large/i.test(text)) {
      // all of it in place of a range of the version that was named: If-Range did not hold
      if (validator) throw final(imageCacheErrors.IMAGE_CHANGED({ source }, { cause }));
      throw final(imageCacheErrors.IMAGE_NO_RANGES({ source, limitBytes: RANGE_BYTES }, { cause }));
    }
    throw refuse(text, cause);
  } finally {
    timer.cancel();
  }
  const { status, body } = response;
  const found = response.headers.etag?.startsWith('"') ? response.headers.etag : (response.headers['last-modified'] ?? '');
  if (status === 206) {
    const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers['content-range'] ?? '');
    const [first, last, totalBytes] = match?.slice(1).map(Number) ?? [];
    const whole = last !== undefined && last >= from && body.length === last - from + 1;
    if (first !== from || !whole || totalBytes === undefined || last >= totalBytes)
      throw final(refuse(`the server answered ${headers.range} with ${response.headers['content-range'] ?? 'no content-range'}`));
    return { body, version: { totalBytes, validator: found } };
  }
  // A server without ranges sends all of it, which is well if it is small; one whose version changed does the same.
  if (status === 200 && from === 0 && body.length > 0) return { body, version: { totalBytes: body.length, validator: found } };
  if (status === 200) throw final(imageCacheErrors.IMAGE_CHANGED({ source }));
  const failure = refuse(
    status >= 300 && status < 400 ? `it is redirected to ${shown(response.headers.location ?? '')}` : `status ${status}`,
  );
  throw status === 429 || status >= 500 ? failure : final(failure);
}

function final(error: Error): Error {
  return Object.assign(error, { final: true });
}

function isFinal(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'final' in error;
}

async function earlier(path: string): Promise<RemoteVersion | undefined> {
  try {
    return version.parse(JSON.parse(await readFile(`${path}.json`, 'utf8')));
  } catch {
    return undefined; // none, or one that a crash has cut off
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}
