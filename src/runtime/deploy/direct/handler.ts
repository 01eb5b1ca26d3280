/**
 * The `direct` method: the ramdisk pulls its image by itself, from any replica, and checks each chunk against the manifest before it writes it. On
 * the deploy-helper's port, below /v1/direct/MACHINE, with `Authorization: Bearer TOKEN`, the token being what both sides compute from the
 * deployment key: `printf 'direct %s' "$DEPLOYMENT_KEY" | sha256sum`.
 *
 *   GET  plan        what to do to the disk (plan.ts); 202 while the disk is still being looked at, or the image made ready on this replica
 *   GET  manifest    the image, chunk by chunk (../image/manifest.ts)
 *   GET  image       its bytes; one range (RFC 9110 section 14.2)
 *   POST progress    bytes=N
 *   POST done        sha256=HEX, once everything is on the disk
 *   POST error       e=SENTENCE
 */
import { createHash, type Hash } from 'node:crypto';
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Clock, sleep } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { HttpHandler, HttpRequest, HttpResponse } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import { canonicalAddress } from '../helper/ip-address.ts';
import type { ReadyImage } from '../image/cache/index.ts';
import { chunkAt, encodeManifest } from '../image/manifest.ts';
import { type Sha256, sha256OnTheSpot } from '../image/sha256.ts';
import type { DirectDeployment, DirectDesk, DirectNews, DirectRefusal, DirectRequest } from './access.ts';
import { directSteps, encodePlan } from './plan.ts';

export const DIRECT_PATH = '/v1/direct/';

export interface DirectServiceOptions {
  readonly desk: DirectDesk;
  readonly acquireImage: (image: { readonly id: string; readonly sha256?: string }, signal: AbortSignal) => Promise<ReadyImage>;
  readonly random: Random;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How much is read back from the disk: as over iSCSI. */
  readonly verify?: 'none' | 'sample' | 'all';
  /** Addresses at which the image is to be had, this one's among them; all at the same port. */
  readonly replicas?: () => Iterable<string>;
  /** Default: on the spot. */
  readonly sha256?: Sha256;
  /** Waits until so many bytes may go out. */
  readonly throttle?: (bytes: number, signal: AbortSignal) => Promise<void>;
}

/** What one answer holds in memory. */
const PIECE_BYTES = 1024 * 1024;
/** A ramdisk gives an answer up after 60 s, … */
const ANSWER_MS = 20_000;
/** … and asks again within seconds, for what goes on so long without a request. */
const KEPT_MS = 60_000;
const NOT_READY = 'the image is being made ready here';
const VERIFY_EVERY = { none: 0, sample: 16, all: 1 } as const;

export function directService(options: DirectServiceOptions): HttpHandler {
  const { desk, logger } = options;
  return async (request) => {
    const [, number = '', what = ''] = /^\/v1\/direct\/(\d{1,15})\/(\w{1,16})$/.exec(request.path) ?? [];
    const token = /^Bearer ([0-9a-f]{64})$/.exec(request.headers.authorization ?? '')?.[1];
    if (number === '') return text(404, 'there is nothing here');
    if (token === undefined) return text(401, 'the token is missing');
    const asking = { node: Number(number), token, remoteAddress: canonicalAddress(request.remote.address) };
    try {
      return request.method === 'POST' ? await hear(desk, asking, what, request) : await give(options, asking, what, request);
    } catch (error) {
      request.signal.throwIfAborted();
      // Sizes do not change by asking again; everything else may.
      const forGood = error instanceof CodedError && /^(LAYOUT_|IMAGE_DISK_TOO_SMALL)/.test(error.code);
      logger.warn({ machine: asking.node, what, error: String(error) }, 'a direct deployment could not be served');
      return text(forGood ? 409 : 503, error instanceof Error ? error.message : String(error));
    }
  };
}

async function give(options: DirectServiceOptions, asking: DirectRequest, what: string, request: HttpRequest): Promise<HttpResponse> {
  if (request.method !== 'GET') return text(405, 'GET or POST');
  const access = await options.desk.access(asking);
  if (access.kind === 'wait') return text(202, 'the disk is being looked at');
  if (access.kind !== 'granted') return refused(access);
  switch (what) {
    case 'plan': {
      const work = async (ready: ReadyImage) => text(200, await planText(options, access.deployment, ready, request));
      const plan = await withImage(options, access.deployment, request, work);
      if (plan !== undefined) return plan;
      await options.desk.report(asking, { kind: 'progress', bytes: 0 }); // the owner waits for a sign of life
      return text(202, NOT_READY);
    }
    case 'manifest': {
      const work = async ({ manifest }: ReadyImage) => text(200, encodeManifest(manifest));
      return (await withImage(options, access.deployment, request, work)) ?? text(503, NOT_READY);
    }
    case 'image':
      return image(options, access.deployment, request);
    default:
      return text(404, 'there is nothing here');
  }
}

async function planText(
  { random, verify = 'sample', replicas }: DirectServiceOptions,
  { diskBytes, blockBytes, partitions, configDrive }: DirectDeployment,
  ready: ReadyImage,
  { signal }: HttpRequest,
): Promise<string> {
  const { manifest } = ready;
  const image = await ready.open(signal);
  try {
    const steps = await directSteps({
      diskBytes,
      image,
      manifest,
      random,
      ...(blockBytes !== undefined && { blockBytes }),
      ...(partitions && { partitions }),
      ...(configDrive && { configDrive }),
    });
    const digest = createHash('sha256').update(encodeManifest(manifest)).digest('hex');
    return encodePlan(steps, digest, VERIFY_EVERY[verify], [...(replicas?.() ?? [])]);
  } finally {
    await image.close();
  }
}

async function image(options: DirectServiceOptions, deployment: DirectDeployment, request: HttpRequest): Promise<HttpResponse> {
  const ready = await acquire(options, deployment, request.signal);
  if (ready === undefined) return text(503, NOT_READY);
  const { sizeBytes } = ready.manifest;
  const range = rangeOf(request.headers.range, sizeBytes);
  if (range === undefined) {
    ready.release();
    return { status: 416, headers: { 'content-range': `bytes */${sizeBytes}`, 'content-length': '0' } };
  }
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(range.to - range.from),
    'content-range': `bytes ${range.from}-${range.to - 1}/${sizeBytes}`,
    'accept-ranges': 'bytes',
    'cache-control': 'no-store',
  };
  return { status: 206, headers, body: pieces(options, ready, range, request.signal) };
}

async function* pieces(
  { throttle, sha256 = sha256OnTheSpot }: DirectServiceOptions,
  ready: ReadyImage,
  { from, to }: { from: number; to: number },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    const opened = await ready.open(signal);
    const compared = comparing(ready, sha256);
    try {
      for (let at = from; at < to; at += PIECE_BYTES) {
        signal.throwIfAborted();
        const length = Math.min(PIECE_BYTES, to - at);
        await throttle?.(length, signal);
        const bytes = new Uint8Array(length);
        await opened.read(at, length, bytes);
        yield await compared(at, bytes);
      }
    } finally {
      await opened.close();
    }
  } finally {
    ready.release();
  }
}

/** The ramdisk refuses what is not in the manifest; and a rotten file would fail every deployment from now on. What is no whole chunk is given as it is. */
function comparing(ready: ReadyImage, sha256: Sha256): (at: number, bytes: Uint8Array<ArrayBuffer>) => Promise<Uint8Array> {
  /** Of a chunk that comes in several pieces, from its first one on. */
  let gathering: Hash | undefined;
  return async (at, bytes) => {
    const { offset, length, digest } = chunkAt(ready.manifest, Math.floor(at / ready.manifest.chunkBytes));
    if (offset === at && length === bytes.length && digest !== null) {
      const hashed = await sha256(bytes);
      if (hashed.digest !== digest) await ready.distrust?.();
      return hashed.data;
    }
    if (offset === at) gathering = createHash('sha256');
    gathering?.update(bytes);
    if (gathering === undefined || at + bytes.length < offset + length) return bytes;
    if (digest !== null && gathering.digest('hex') !== digest) await ready.distrust?.();
    gathering = undefined;
    return bytes;
  };
}

/** Of requests without a range: the whole. Undefined where there is nothing to give. `to` is exclusive. */
function rangeOf(header: string | undefined, sizeBytes: number): { from: number; to: number } | undefined {
  if (header === undefined) return { from: 0, to: sizeBytes };
  const [, first, last = ''] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header) ?? [];
  if (first === undefined) return undefined;
  const from = Number(first);
  const to = last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  return from < to ? { from, to } : undefined;
}

async function withImage<T>(
  options: DirectServiceOptions,
  deployment: DirectDeployment,
  { signal }: HttpRequest,
  work: (ready: ReadyImage) => Promise<T>,
): Promise<T | undefined> {
  const ready = await acquire(options, deployment, signal);
  if (ready === undefined) return undefined;
  try {
    return await work(ready);
  } finally {
    ready.release();
  }
}

/** Undefined: it is still being fetched or converted. That goes on for a while, since it would begin anew if each request took it along. */
async function acquire(
  { acquireImage, clock, logger }: DirectServiceOptions,
  { imageId, sha256 }: DirectDeployment,
  signal: AbortSignal,
): Promise<ReadyImage | undefined> {
  signal.throwIfAborted();
  const giving = new AbortController();
  const giveUp = (): void => giving.abort(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  const waiting = new AbortController();
  try {
    const work = acquireImage({ id: imageId, ...(sha256 !== undefined && { sha256 }) }, giving.signal);
    const ready = await Promise.race([work, sleep(clock, ANSWER_MS, waiting.signal).then(() => undefined)]);
    if (ready !== undefined) return ready;
    const timer = clock.after(KEPT_MS, () => giving.abort(new Error('no ramdisk asks for this image any more')));
    const onEnd = (error: unknown): void => logger.warn({ image: imageId, error: String(error) }, 'an image was not made ready');
    void work.then((late) => late.release(), onEnd).finally(() => timer.cancel());
    return undefined;
  } finally {
    waiting.abort();
    signal.removeEventListener('abort', giveUp);
  }
}

async function hear(desk: DirectDesk, asking: DirectRequest, what: string, { body }: HttpRequest): Promise<HttpResponse> {
  const news = newsOf(what, new URLSearchParams(Buffer.from(body).toString('utf8')));
  if (news === undefined) return text(400, 'not understood');
  const outcome = await desk.report(asking, news);
  return outcome.kind === 'noted' ? text(200, '') : refused(outcome);
}

function newsOf(what: string, form: URLSearchParams): DirectNews | undefined {
  if (what === 'progress') {
    const bytes = form.get('bytes') ?? '';
    return /^\d{1,16}$/.test(bytes) && Number.isSafeInteger(Number(bytes)) ? { kind: 'progress', bytes: Number(bytes) } : undefined;
  }
  if (what === 'done') {
    const sha256 = form.get('sha256') ?? '';
    return /^[0-9a-f]{64}$/.test(sha256) ? { kind: 'done', sha256 } : undefined;
  }
  if (what === 'error') return { kind: 'error', message: form.get('e') ?? '' };
  return undefined;
}

function refused(refusal: DirectRefusal): HttpResponse {
  switch (refusal.kind) {
    case 'unknown-node':
    case 'wrong-token':
      // one answer for both: which machines there are is nobody's business
      return text(403, 'the token is not valid');
    case 'wrong-address':
      return text(403, refusal.reason);
    case 'not-writing':
      return text(409, `the machine's disk is not to be written: it is ${refusal.state}`);
  }
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }, body };
}
