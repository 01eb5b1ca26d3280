/**
 * Images ready to be written: fetched, checked, unpacked and converted once, however many deployments wait for them. What is kept is a raw file
 * with holes and its manifest, in a folder per image under `directory`; a raw file of an image directory is used where it lies, and only its
 * manifest is kept. The least recently used go first when the cache is full; one in use never does. One process per directory.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Clock } from '../../../core/clock.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Network } from '../../../core/network.ts';
import { buildManifest } from '../build-manifest.ts';
import type { DiskImage, ImageFormat } from '../disk-image.ts';
import { imageErrors } from '../errors.ts';
import { ImageFile } from '../image-file.ts';
import { encodeManifest, type ImageManifest, parseManifest } from '../manifest.ts';
import { type OpenImageOptions, openImage as openImageFile } from '../open-image.ts';
import { CacheRoom, type Claim } from './cache-room.ts';
import { type Checksum, verifyFile } from './checksum.ts';
import { imageCacheErrors } from './errors.ts';
import { fetchFile, remoteVersion } from './fetch.ts';
import { parseSource, type Source, shown } from './source.ts';
import { SparseWriter } from './sparse-file.ts';
import { packingOf, unpack } from './unpack.ts';

export interface ImageWanted {
  /** A path, a `file:` URL, or an http(s) URL. */
  readonly source: string;
  /** The path was chosen by whoever runs this node: links are followed wherever they lead. */
  readonly placed?: boolean;
  /** What the image is, unpacked; anything else is refused. */
  readonly format?: ImageFormat;
  /** Of the file as published. */
  readonly checksum?: Checksum;
  /** Of the raw form. */
  readonly sha256?: string;
}

/** An image that stays where it is until `release`. */
export interface ReadyImage {
  readonly path: string;
  readonly manifest: ImageManifest;
  open(signal?: AbortSignal): Promise<DiskImage>;
  /** Harmless when repeated. */
  release(): void;
  /** Its bytes turned out not to be what the manifest says: it is made anew when it is asked for again. Absent where that is of no use. */
  distrust?(): Promise<void>;
}

export interface ImageCacheOptions {
  readonly directory: string;
  /** For everything in `directory`, partly fetched files included. */
  readonly maxBytes: number;
  /** Where files may be taken from. */
  readonly sources: readonly string[];
  readonly network: Network;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For https, in PEM. */
  readonly ca?: string;
  /** Largest raw form. Default 64 TiB. */
  readonly maxVirtualSizeBytes?: number;
  /** What one image may store: the file as fetched, as unpacked, and its raw form, each without its holes. Default: no limit but `maxBytes`. */
  readonly maxStoredBytes?: number;
  /** Opens images; the simulator has its own. */
  readonly openImage?: (options: OpenImageOptions) => Promise<DiskImage>;
}

/** An image that somebody waits for or uses. */
interface Entry {
  readonly work: Promise<Content>;
  readonly abort: AbortController;
  users: number;
}

interface Content {
  readonly path: string;
  readonly manifest: ImageManifest;
}

interface Plan {
  readonly key: string;
  readonly source: Source;
  /** A raw file that is used where it lies. */
  readonly inPlace: boolean;
  /** Of a file: as it was when it was looked at. */
  readonly version?: string;
}

const RAW = 'raw';
const MANIFEST = 'manifest.json';
const PART = '.part';
const FETCHED = 'fetched';
const UNPACKED = 'unpacked';
const LONGEST_MAGIC_BYTES = 16;
const DEFAULT_MAX_VIRTUAL_BYTES = 64 * 2 ** 40;

export class ImageCache {
  private readonly entries = new Map<string, Entry>();
  private readonly room: CacheRoom;
  /** By folder: work that was given up and has not ended yet. Its successor must not meet it. */
  private readonly ending = new Map<string, Promise<unknown>>();
  /** What came from a web server, by what it was asked as and its digest: a version that is here need not be asked for. */
  private readonly had = new Map<string, Plan>();

  constructor(private readonly options: ImageCacheOptions) {
    const { directory, maxBytes, logger } = options;
    this.room = new CacheRoom({
      directory,
      maxBytes,
      inUse: (folder) => this.entries.has(folder.replace(PART, '')) || this.ending.has(folder.replace(PART, '')),
      onEvict: (folder, bytes) => logger.info({ folder, bytes }, 'an image was thrown out of the cache'),
    });
  }

  /** Rejects with the IMAGE_ errors, and with the signal's reason; the work goes on as long as anybody else waits for it. */
  async acquire(wanted: ImageWanted, signal: AbortSignal): Promise<ReadyImage> {
    signal.throwIfAborted();
    await this.room.open();
    const plan = this.planOfKnown(wanted) ?? (await this.plan(wanted, signal));
    const entry = this.entryFor(plan, wanted);
    entry.users++;
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      entry.users--;
      if (entry.users === 0) this.leave(plan.key, entry);
    };
    try {
      const { path, manifest } = await unlessAborted(entry.work, signal);
      if (wanted.sha256 !== undefined && wanted.sha256 !== manifest.sha256)
        throw imageErrors.IMAGE_DIGEST_MISMATCH({ path: shown(wanted.source), expected: wanted.sha256, actual: manifest.sha256 });
      if (plan.source.kind === 'http') this.had.set(askedAs(wanted, manifest.sha256), plan);
      await this.room.used(plan.key, this.options.clock.now());
      const { openImage = openImageFile } = this.options;
      return {
        path,
        manifest,
        release,
        open: (opening) => openImage({ path, format: 'raw', ...(opening && { signal: opening }) }),
        ...(canBeRemade(plan, wanted) && { distrust: () => this.distrust(plan, wanted, entry) }),
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Bytes that the cache takes on its disk. */
  get usedBytes(): number {
    return this.room.usedBytes;
  }

  private entryFor(plan: Plan, wanted: ImageWanted): Entry {
    const known = this.entries.get(plan.key);
    if (known) return known;
    const abort = new AbortController();
    const before = this.ending.get(plan.key) ?? Promise.resolve();
    const work = before.then(() => this.ready(plan, wanted, abort.signal));
    const entry: Entry = { work, abort, users: 0 };
    this.entries.set(plan.key, entry);
    const ended = work.then(
      () => undefined,
      () => {
        if (this.entries.get(plan.key) === entry) this.entries.delete(plan.key); // the next one tries again
      },
    );
    this.ending.set(plan.key, ended);
    void ended.then(() => this.ending.get(plan.key) === ended && this.ending.delete(plan.key));
    return entry;
  }

  private async distrust({ key }: Plan, { source }: ImageWanted, entry: Entry): Promise<void> {
    this.options.logger.warn({ image: shown(source) }, 'an image in the cache is damaged, and is made anew');
    await rm(join(this.options.directory, key, MANIFEST), { force: true });
    if (this.entries.get(key) === entry) this.entries.delete(key);
    for (const [name, plan] of this.had) if (plan.key === key) this.had.delete(name);
  }

  /** A deployment is to end with the image that it began with, also when its server is away by then, or has a newer one. */
  private planOfKnown(wanted: ImageWanted): Plan | undefined {
    if (wanted.sha256 === undefined) return undefined;
    const name = askedAs(wanted, wanted.sha256);
    const plan = this.had.get(name);
    if (plan !== undefined && (this.entries.has(plan.key) || this.room.has(plan.key))) return plan;
    this.had.delete(name);
    return undefined;
  }

  /** Nobody wants it any more: unfinished work ends, keeping what it has fetched. */
  private leave(key: string, entry: Entry): void {
    entry.abort.abort(new Error('nobody waits for this image any more'));
    if (this.entries.get(key) === entry) this.entries.delete(key);
  }

  /** What names an image in the cache: its source and the version of it. With a checksum the version is known without asking. */
  private async plan({ source: text, placed, format, checksum }: ImageWanted, signal: AbortSignal): Promise<Plan> {
    const source = parseSource(text, placed ? 'any' : this.options.sources);
    const given = checksum === undefined ? '' : `${checksum.algorithm}:${checksum.digest}`;
    if (source.kind === 'http') {
      const version = given || JSON.stringify(await remoteVersion(source.url, this.fetching(signal)));
      return { key: keyOf('http', source.url, format ?? '', version), source, inPlace: false };
    }
    const version = await fileVersion(source.path);
    const start = await firstBytes(source.path, signal);
    const packed = packingOf(start) !== undefined;
    const inPlace = !packed && (format === 'raw' || !isQcow2(start));
    return { key: keyOf('file', source.path, format ?? '', `${version} ${given}`), source, inPlace, version };
  }

  private async ready(plan: Plan, wanted: ImageWanted, signal: AbortSignal): Promise<Content> {
    const { directory, clock, logger } = this.options;
    const folder = join(directory, plan.key);
    const path = plan.inPlace && plan.source.kind === 'file' ? plan.source.path : join(folder, RAW);
    const manifest = await kept(join(folder, MANIFEST), path);
    if (manifest !== undefined) return { path, manifest };
    await rm(folder, { recursive: true, force: true });
    const part = `${folder}${PART}`;
    await mkdir(part, { recursive: true });
    const claim = this.room.claim(`${plan.key}${PART}`);
    try {
      const made = await this.make(plan, wanted, part, claim, signal);
      // somebody copied over it while it was read: half of this, half of that
      if (plan.source.kind === 'file' && plan.version !== (await fileVersion(plan.source.path)))
        throw imageCacheErrors.IMAGE_CHANGED({ source: shown(wanted.source) });
      await writeFile(join(part, MANIFEST), encodeManifest(made));
      await rename(part, folder);
      logger.info({ image: shown(wanted.source), bytes: made.sizeBytes, sha256: made.sha256 }, 'an image is ready');
      return { path, manifest: made };
    } catch (error) {
      // a fetch that was cut short goes on at the next try; whatever else is there is of no use
      const fetching = signal.aborted || isCoded(error, 'IMAGE_FETCH');
      for (const name of await readdir(part)) if (!fetching || !name.startsWith(FETCHED)) await rm(join(part, name), { force: true });
      if ((await readdir(part)).length === 0) await rm(part, { recursive: true, force: true });
      throw isOutOfSpace(error) ? imageCacheErrors.IMAGE_CACHE_DISK_FULL({ directory }, { cause: error }) : error;
    } finally {
      await claim.settle([`${plan.key}${PART}`, plan.key], clock.now());
    }
  }

  private async make(plan: Plan, wanted: ImageWanted, part: string, claim: Claim, signal: AbortSignal): Promise<ImageManifest> {
    const { openImage = openImageFile, maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_BYTES, maxStoredBytes = Infinity } = this.options;
    const { checksum, format } = wanted;
    const source = shown(wanted.source);
    const published = plan.source.kind === 'file' ? plan.source.path : join(part, FETCHED);
    let taken = 0;
    /** Before the room is made for it: an image that will be refused must push nobody out. */
    const claimed = async (bytes: number): Promise<void> => {
      if (bytes > maxStoredBytes) throw imageCacheErrors.IMAGE_STORED_TOO_LARGE({ source, bytes, limitBytes: maxStoredBytes });
      await claim.upTo(taken + bytes);
    };
    if (plan.source.kind === 'http') {
      const { totalBytes } = await fetchFile(plan.source.url, published, { ...this.fetching(signal), onSize: claimed });
      await claimed(totalBytes); // of a fetch that went on
      taken = totalBytes;
    }
    if (checksum) await verifyFile(published, source, checksum, signal);
    let stored = published;
    const packing = plan.inPlace ? undefined : packingOf(await firstBytes(published, signal));
    if (packing !== undefined) {
      stored = join(part, UNPACKED);
      await unpack(packing, published, stored, { source, maxBytes: maxVirtualSizeBytes, onStored: claimed, signal });
      taken += (await stat(stored)).blocks * 512;
    }
    // of a copy that is gone by then, errors name where it came from
    const image = await openImage({ path: stored, shownAs: source, ...(format && { format }), maxVirtualSizeBytes, signal });
    try {
      if (plan.inPlace) return await buildManifest(image, { signal });
      if (image.format !== 'raw') return await convert(image, join(part, RAW), claimed, signal);
      const manifest = await buildManifest(image, { signal });
      await rename(stored, join(part, RAW));
      return manifest;
    } finally {
      await image.close();
      if (!plan.inPlace) for (const left of [UNPACKED, FETCHED, `${FETCHED}.json`]) await rm(join(part, left), { force: true });
    }
  }

  private fetching(signal: AbortSignal) {
    const { network, clock, ca } = this.options;
    return { network, clock, signal, ...(ca !== undefined && { ca }) };
  }
}

function askedAs({ source, format, checksum }: ImageWanted, sha256: string): string {
  return JSON.stringify([source, format, checksum, sha256]);
}

/** Of a rotten file without a checksum a second manifest would say that all is well. */
function canBeRemade({ inPlace }: Plan, { checksum }: ImageWanted): boolean {
  return !inPlace || checksum !== undefined;
}

/** Nanoseconds: a file may be replaced by one of the same size within a millisecond. */
async function fileVersion(path: string): Promise<string> {
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

/** What was made before, if all of it is there. */
async function kept(manifestPath: string, path: string): Promise<ImageManifest | undefined> {
  try {
    const manifest = parseManifest(await readFile(manifestPath, 'utf8'), manifestPath);
    return Math.ceil((await stat(path)).size / 512) * 512 === manifest.sizeBytes ? manifest : undefined;
  } catch {
    return undefined;
  }
}

async function convert(
  image: DiskImage,
  path: string,
  onStored: (bytes: number) => Promise<void>,
  signal: AbortSignal,
): Promise<ImageManifest> {
  const writer = await SparseWriter.create(path, onStored);
  try {
    const manifest = await buildManifest(image, { signal, onChunk: (_, chunk) => writer.append(chunk) });
    await writer.finish();
    return manifest;
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

async function firstBytes(path: string, signal: AbortSignal): Promise<Buffer> {
  const file = await ImageFile.open(path, signal);
  try {
    return Buffer.from(await file.read(0, new Uint8Array(Math.min(LONGEST_MAGIC_BYTES, file.sizeBytes)), 'first bytes'));
  } finally {
    await file.close();
  }
}

function isQcow2(start: Uint8Array): boolean {
  return Buffer.from(start.subarray(0, 4)).toString('latin1') === 'QFI\xfb';
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function isCoded(error: unknown, code: string): boolean {
  return error instanceof CodedError && error.code === code;
}

function isOutOfSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}

function keyOf(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32);
}
