import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import type { HttpClientRequest, HttpClientResponse, Network } from 'cdk8s-baremetal-runtime/core/index';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { ImageCache, type ImageWanted, parseChecksum, type ReadyImage } from 'cdk8s-baremetal-runtime/deploy/image/cache/index';
import { openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../../support/temporary-folder.ts';
import { missingPrograms } from '../../iscsi/tgtd.ts';
import { diskContent, handMade, hasQemuImg, qemuImg } from '../support.ts';

const MIB = 1024 * 1024;
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const sha512 = (data: Uint8Array): string => createHash('sha512').update(data).digest('hex');
const noXz = missingPrograms({ xz: 'xz-utils' }).length > 0;
const never = new AbortController().signal;

/** A web server as a function: byte ranges, ETags, and what can go wrong. */
class Web {
  readonly files = new Map<string, { body: Uint8Array; etag: string }>();
  readonly requests: string[] = [];
  ranges = true;
  /** ETags. */
  versions = true;
  /** From here on it has no bytes to give, and says that it has given some. */
  emptyFrom = Number.POSITIVE_INFINITY;
  /** Called before each answer; what it throws is a broken connection. */
  before: (request: HttpClientRequest) => void | Promise<void> = () => undefined;

  put(url: string, body: Uint8Array): void {
    this.files.set(url, { body, etag: `"${sha256(body).slice(0, 8)}"` });
  }

  get network(): Network {
    const refuse = (): never => {
      throw new Error('only HTTP here');
    };
    return {
      udp: refuse,
      connect: refuse,
      listen: refuse,
      serveHttp: refuse,
      request: (request) => this.answer(request),
      requestStream: refuse,
    };
  }

  private async answer(request: HttpClientRequest): Promise<HttpClientResponse> {
    this.requests.push(request.headers?.range ?? '');
    await this.before(request);
    request.signal?.throwIfAborted();
    const file = this.files.get(request.url);
    if (!file) return { status: 404, headers: {}, body: new Uint8Array() };
    const [, from = '0', to = '0'] = /bytes=(\d+)-(\d+)/.exec(request.headers?.range ?? '') ?? [];
    const other = request.headers?.['if-range'] !== undefined && request.headers['if-range'] !== file.etag;
    if (!this.ranges || other) {
      if (file.body.length > (request.maxBodyBytes ?? 0)) throw new Error(`the answer of ${request.url} is larger than allowed`);
      return { status: 200, headers: { etag: file.etag }, body: file.body };
    }
    const body = file.body.slice(Number(from), Number(from) < this.emptyFrom ? Number(to) + 1 : Number(from));
    const headers = {
      ...(this.versions && { etag: file.etag }),
      'content-range': `bytes ${from}-${Number(from) + body.length - 1}/${file.body.length}`,
    };
    return { status: 206, headers, body };
  }
}

describe('the image cache', () => {
  const folder = temporaryFolder();
  let web: Web;
  let cache: ImageCache;
  const URL_A = 'https://images.example/a.img';
  const start = (
    options: {
      maxBytes?: number;
      clock?: VirtualClock;
      maxVirtualSizeBytes?: number;
      maxStoredBytes?: number;
      openImage?: typeof openImage;
    } = {},
  ): ImageCache => {
    const { maxBytes = 256 * MIB, clock = nodeClock, ...more } = options;
    cache = new ImageCache({
      directory: folder.path('cache'),
      maxBytes,
      sources: [folder.path('images'), folder.path('nfs')],
      network: web.network,
      clock,
      logger: silentLogger,
      ...more,
    });
    return cache;
  };
  const file = (name: string, content: Uint8Array): string => {
    const path = folder.path(`images/${name}`);
    writeFileSync(path, content);
    return path;
  };
  const get = (wanted: ImageWanted, signal = never): Promise<ReadyImage> => cache.acquire(wanted, signal);
  const contentOf = (ready: ReadyImage): Buffer => readFileSync(ready.path);
  const codeOf = async (work: Promise<unknown>): Promise<unknown> => work.then(() => 'no error').catch((error) => error.code ?? error);

  beforeEach(() => {
    folder.create();
    for (const name of ['images', 'nfs', 'elsewhere']) mkdirSync(folder.path(name));
    web = new Web();
    start();
  });
  afterEach(() => folder.remove());

  describe('sources', () => {
    it('002-7: a raw file is used where it lies; only its manifest is kept', async () => {
      const content = diskContent(3 * MIB);
      const path = file('a.img', content);
      const ready = await get({ source: path, format: 'raw' });
      expect(ready.path).toBe(path);
      expect(ready.manifest.sha256).toBe(sha256(content));
      expect(cache.usedBytes).toBeLessThan(16_384);
      const image = await ready.open();
      expect(image.virtualSizeBytes).toBe(content.length);
      await image.close();
    });

    it('what a deployment was planned with is had from the cache while the web server is away, and when it has a newer one', async () => {
      const content = diskContent(3 * MIB);
      web.put(URL_A, content);
      const first = await get({ source: URL_A });
      const planned = { source: URL_A, sha256: first.manifest.sha256 };
      first.release();
      web.before = () => {
        throw new Error('connection refused');
      };
      const second = await get(planned);
      expect(Buffer.compare(contentOf(second), content)).toBe(0);
      web.before = () => undefined;
      web.put(URL_A, diskContent(3 * MIB, 5));
      expect((await get(planned)).path).toBe(first.path);
      expect((await get({ source: URL_A })).manifest.sha256).toBe(sha256(diskContent(3 * MIB, 5)));
      // damaged: it is made anew, of what the server has by now
      await second.distrust?.();
      expect(await codeOf(get(planned))).toBe('IMAGE_DIGEST_MISMATCH');
      expect((await get({ source: URL_A })).manifest.sha256).toBe(sha256(diskContent(3 * MIB, 5)));
    });

    it('a file in a mounted directory, by path and by URL', async () => {
      writeFileSync(folder.path('nfs/b.img'), diskContent(MIB));
      expect((await get({ source: `file://${folder.path('nfs/b.img')}` })).path).toBe(folder.path('nfs/b.img'));
    });

    it('HTTP in ranges, in as few as it takes', async () => {
      const content = diskContent(20 * MIB, 4);
      web.put(URL_A, content);
      const ready = await get({ source: URL_A, checksum: parseChecksum(sha256(content)) });
      expect(Buffer.compare(contentOf(ready), content)).toBe(0);
      expect(web.requests).toHaveLength(3);
    });

    it.each([
      ['a file elsewhere', () => folder.path('elsewhere/x')],
      ['a link that leads elsewhere', () => folder.path('images/link')],
      ['a path with dots', () => folder.path('images/../elsewhere/x')],
      ['a file that is not there', () => folder.path('images/none')],
      ['a URL with a password', () => 'https://user:hunter2@images.example/a.img'],
      ['another protocol', () => 'ftp://images.example/a.img'],
      ['a relative path', () => 'images/a.img'],
    ])('refuses %s', async (_, source) => {
      writeFileSync(folder.path('elsewhere/x'), 'secret');
      symlinkSync(folder.path('elsewhere/x'), folder.path('images/link'));
      const error = await get({ source: source() }).catch((reason) => reason);
      expect(error).toMatchObject({ code: 'IMAGE_SOURCE' });
      expect(String(error)).not.toContain('hunter2');
    });
  });

  describe('one for all', () => {
    it('002-7: one download and one conversion, however many wait', async () => {
      web.put(URL_A, handMade({ clusterBits: 16, dataClusters: 4 }));
      const gate = Promise.withResolvers<void>();
      web.before = () => gate.promise;
      const waiting = Array.from({ length: 32 }, () =>
        get({ source: URL_A, format: 'qcow2', checksum: parseChecksum(sha256(web.files.get(URL_A)?.body ?? new Uint8Array())) }),
      );
      gate.resolve();
      const ready = await Promise.all(waiting);
      expect(new Set(ready.map(({ path }) => path)).size).toBe(1);
      expect(web.requests).toHaveLength(1);
      expect(readdirSync(folder.path('cache'))).toHaveLength(1);
    });

    it('who leaves does not take the image from the others; when the last has left the work ends', async () => {
      const content = diskContent(20 * MIB);
      web.put(URL_A, content);
      const leaving = new AbortController();
      let asked = 0;
      web.before = () => {
        if (++asked === 2) leaving.abort(new Error('destroyed'));
      };
      const wanted = { source: URL_A, checksum: parseChecksum(sha512(content)) };
      const [left, stayed] = await Promise.allSettled([get(wanted, leaving.signal), get(wanted)]);
      expect(left).toMatchObject({ status: 'rejected', reason: { message: 'destroyed' } });
      expect(stayed.status).toBe('fulfilled');

      const alone = new AbortController();
      web.put('https://images.example/b.img', diskContent(40 * MIB, 9));
      web.before = () => alone.abort(new Error('destroyed too'));
      await expect(get({ source: 'https://images.example/b.img', checksum: parseChecksum('a'.repeat(64)) }, alone.signal)).rejects.toThrow(
        'destroyed too',
      );
      const before = web.requests.length;
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(web.requests.length).toBe(before);
    });

    it('a second deployment, and the next process, find it ready', async () => {
      const content = diskContent(2 * MIB);
      web.put(URL_A, content);
      const wanted = { source: URL_A, checksum: parseChecksum(`sha512:${sha512(content)}`) };
      (await get(wanted)).release();
      (await get(wanted)).release();
      start();
      web.files.clear(); // the server may be away: the checksum says which image it is
      expect(Buffer.compare(contentOf(await get(wanted)), content)).toBe(0);
      expect(web.requests).toHaveLength(1);
    });

    it('without a checksum the server is asked whether it is still the same', async () => {
      web.put(URL_A, diskContent(MIB, 1));
      const first = await get({ source: URL_A });
      const second = await get({ source: URL_A });
      expect(second.path).toBe(first.path);
      web.put(URL_A, diskContent(MIB, 2));
      expect(Buffer.compare(contentOf(await get({ source: URL_A })), diskContent(MIB, 2))).toBe(0);
    });
  });

  describe('downloads that are cut short', () => {
    const content = diskContent(30 * MIB, 5);
    const wanted = { source: URL_A, checksum: { algorithm: 'sha256', digest: sha256(content) } } as const;

    it('go on where they stopped, after pauses that grow', async () => {
      const clock = new VirtualClock();
      start({ clock });
      web.put(URL_A, content);
      let broken = 3;
      web.before = () => {
        if (web.requests.length > 1 && broken-- > 0) throw new Error('ECONNRESET');
      };
      const ready = await clock.run(get(wanted));
      expect(Buffer.compare(contentOf(ready), content)).toBe(0);
      expect(clock.monotonic()).toBeGreaterThanOrEqual(7_000);
      expect(web.requests.filter((range) => range === 'bytes=0-8388607')).toHaveLength(1);
    });

    it('N8: go on in the next process', async () => {
      web.put(URL_A, content);
      const killed = new AbortController();
      web.before = () => {
        if (web.requests.length === 3) killed.abort(new Error('the process ends'));
      };
      await expect(get(wanted, killed.signal)).rejects.toThrow('the process ends');
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      web.before = () => undefined;
      web.requests.length = 0;
      start();
      expect(Buffer.compare(contentOf(await get(wanted)), content)).toBe(0);
      expect(web.requests[0]).toBe(`bytes=${16 * MIB}-${24 * MIB - 1}`);
    });

    it('begin anew where the server names no version: what was fetched may be of another', async () => {
      web.versions = false;
      web.put(URL_A, content);
      const killed = new AbortController();
      web.before = () => {
        if (web.requests.length === 4) killed.abort(new Error('the process ends'));
      };
      await expect(get({ source: URL_A }, killed.signal)).rejects.toThrow('the process ends');
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      web.before = () => undefined;
      const other = diskContent(30 * MIB, 9);
      web.put(URL_A, other);
      start();
      expect(Buffer.compare(contentOf(await get({ source: URL_A })), other)).toBe(0);
    });

    it('go on when the server falls silent in the middle', async () => {
      const clock = new VirtualClock();
      start({ clock });
      web.put(URL_A, content);
      let silent = true;
      web.before = ({ signal }) => {
        if (web.requests.length !== 3 || !silent) return undefined;
        silent = false;
        return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
      };
      expect(Buffer.compare(contentOf(await clock.run(get(wanted))), content)).toBe(0);
      expect(clock.monotonic()).toBeGreaterThanOrEqual(300_000);
    });

    it('what an earlier try left counts once: it goes on in a cache that has room for the image and no more', async () => {
      start({ maxBytes: 46 * MIB });
      web.put(URL_A, content);
      const killed = new AbortController();
      web.before = () => {
        if (web.requests.length === 4) killed.abort(new Error('the caller gives up'));
      };
      await expect(get(wanted, killed.signal)).rejects.toThrow('the caller gives up');
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      web.before = () => undefined;
      web.requests.length = 0;
      start({ maxBytes: 46 * MIB });
      expect(Buffer.compare(contentOf(await get(wanted)), content)).toBe(0);
      expect(web.requests[0]).toMatch(/^bytes=(?!0-)/);
    });

    it('give up after five failures in a row, with what the network said', async () => {
      const clock = new VirtualClock();
      start({ clock });
      web.before = () => {
        throw new Error('getaddrinfo ENOTFOUND images.example');
      };
      const error = await clock.run(get(wanted).catch((reason) => reason));
      expect(error).toMatchObject({ code: 'IMAGE_FETCH', message: expect.stringContaining('ENOTFOUND') });
      expect(web.requests).toHaveLength(5);
    });

    it('never mix two versions of a file', async () => {
      web.put(URL_A, content);
      web.before = () => {
        if (web.requests.length === 2) web.put(URL_A, diskContent(30 * MIB, 6));
      };
      web.ranges = true;
      expect(await codeOf(get(wanted))).toBe('IMAGE_CHANGED');
      web.put(URL_A, content);
      expect(Buffer.compare(contentOf(await get(wanted)), content)).toBe(0);
    });

    it.each([
      ['nothing there', (): void => void web.files.clear(), 'IMAGE_FETCH'],
      [
        'a server without ranges',
        (): void => {
          web.ranges = false;
        },
        'IMAGE_NO_RANGES',
      ],
    ])('%s ends it at once', async (_, arrange, code) => {
      web.put(URL_A, content);
      arrange();
      expect(await codeOf(get(wanted))).toBe(code);
      expect(web.requests).toHaveLength(1);
    });

    it('a server that answers with no bytes is refused, and not asked for ever', async () => {
      web.put(URL_A, content);
      web.emptyFrom = 8 * MIB;
      web.before = () => {
        if (web.requests.length > 20) throw Object.assign(new Error('it asks on and on'), { final: true });
      };
      await expect(get(wanted)).rejects.toMatchObject({ code: 'IMAGE_FETCH', message: expect.stringContaining('bytes 8388608-8388607/') });
    });

    it('a small file may come whole', async () => {
      web.ranges = false;
      web.put(URL_A, diskContent(MIB));
      expect(contentOf(await get({ source: URL_A })).length).toBe(MIB);
    });
  });

  describe('packed images', () => {
    const content = Buffer.concat([diskContent(2 * MIB, 3), Buffer.alloc(4 * MIB), diskContent(MIB, 7)]);
    it.each([
      ['gzip', (): Uint8Array => gzipSync(content)],
      ['zstd', (): Uint8Array => zstdCompressSync(content)],
      ...(noXz ? [] : [['xz', (): Uint8Array => execFileSync('xz', ['-c'], { input: content })] as const]),
    ] as const)('002-7: %s is unpacked once, with holes where zeros are', async (name, pack) => {
      const packed = pack();
      const ready = await get({ source: file(`a.${name}`, packed), checksum: parseChecksum(sha256(packed)), sha256: sha256(content) });
      expect(Buffer.compare(contentOf(ready), content)).toBe(0);
      expect(statSync(ready.path).blocks * 512).toBeLessThan(content.length - 3 * MIB);
      expect(readdirSync(folder.path(`cache/${readdirSync(folder.path('cache'))[0]}`)).sort()).toEqual(['manifest.json', 'raw']);
    });

    it.each([
      ['in one read', 3_000],
      ['in many', 2 * MIB],
    ])('zstd in several frames, as pzstd writes it, is unpacked to its end: %s', async (_, bytes) => {
      const parts = [1, 2, 3].map((seed) => createHash('shake256', { outputLength: bytes }).update(String(seed)).digest());
      const skippable = Buffer.from('502a4d1804000000 deadbeef'.replace(' ', ''), 'hex'); // RFC 8878 section 3.1.2
      const packed = Buffer.concat(parts.flatMap((part) => [skippable, zstdCompressSync(part)]));
      for (const image of [packed, packed.subarray(skippable.length), Buffer.concat([packed, skippable])])
        expect(Buffer.compare(contentOf(await get({ source: file('frames', image) })), Buffer.concat(parts))).toBe(0);
      expect(await codeOf(get({ source: file('cut', packed.subarray(0, -1000)) }))).toBe('IMAGE_UNPACK');
      expect(await codeOf(get({ source: file('more', Buffer.concat([packed, Buffer.alloc(100, 7)])) }))).toBe('IMAGE_UNPACK');
    });

    it('a packed qcow2 is unpacked and converted', async () => {
      const ready = await get({ source: file('q.gz', gzipSync(handMade({ clusterBits: 16 }))), format: 'qcow2' });
      expect(contentOf(ready).length).toBe(5 * 65_536);
    });

    it.each([
      ['gzip', (data: Uint8Array): Uint8Array => gzipSync(data)],
      ['zstd', (data: Uint8Array): Uint8Array => zstdCompressSync(data, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })],
      ...(noXz ? [] : [['xz', (data: Uint8Array): Uint8Array => execFileSync('xz', ['-c'], { input: data })] as const]),
    ] as const)('a damaged and a cut off %s file are refused', async (name, pack) => {
      const packed = Buffer.from(pack(diskContent(2 * MIB, 2)));
      expect(await codeOf(get({ source: file(`cut.${name}`, packed.subarray(0, 100_000)) }))).toBe('IMAGE_UNPACK');
      packed.fill(0x41, 100_000, 100_064);
      expect(await codeOf(get({ source: file(`bad.${name}`, packed) }))).toBe('IMAGE_UNPACK');
      expect(readdirSync(folder.path('cache'))).toEqual([]);
    });

    describe.each([
      ['gzip', (data: Uint8Array): Uint8Array => gzipSync(data)],
      ['zstd', (data: Uint8Array): Uint8Array => zstdCompressSync(data)],
      ...(noXz ? [] : [['xz', (data: Uint8Array): Uint8Array => execFileSync('xz', ['-c', '-0'], { input: data })] as const]),
    ] as const)('a %s bomb', (name, pack) => {
      /** Zeros cost no room, and would never end. */
      const ofZeros = (): string => file(`zeros.${name}`, pack(Buffer.alloc(64 * MIB)));
      const ofOnes = (): string => file(`ones.${name}`, pack(Buffer.alloc(64 * MIB, 1)));

      it('that would be a larger disk than is allowed is stopped there', async () => {
        start({ maxVirtualSizeBytes: 8 * MIB });
        expect(await codeOf(get({ source: ofZeros() }))).toBe('IMAGE_TOO_LARGE');
        expect(cache.usedBytes).toBeLessThan(65_536);
      });

      it('that would store more than one image may is stopped there, and pushes nobody out', async () => {
        start({ maxBytes: 12 * MIB, maxStoredBytes: 8 * MIB });
        web.put(URL_A, Buffer.alloc(3 * MIB, 2));
        (await get({ source: URL_A })).release();
        const before = cache.usedBytes;
        expect(await codeOf(get({ source: ofOnes() }))).toBe('IMAGE_STORED_TOO_LARGE');
        expect(cache.usedBytes).toBe(before);
        expect(before).toBeGreaterThan(3 * MIB);
        expect(readdirSync(folder.path('cache')).length).toBe(1);
      });

      it('that is within that and more than the cache has is stopped as well', async () => {
        start({ maxBytes: 8 * MIB });
        expect(await codeOf(get({ source: ofOnes() }))).toBe('IMAGE_CACHE_FULL');
        expect(cache.usedBytes).toBeLessThan(65_536);
      });
    });

    it.each([
      ['64 TiB', 2n ** 46n],
      ['a sector more than is allowed', BigInt(8 * MIB + 512)],
    ])('a qcow2 header that claims %s is refused before anything is converted, packed or not', async (_, virtualSize) => {
      start({ maxVirtualSizeBytes: 8 * MIB });
      const image = handMade({ clusterBits: 21, virtualSize, l1: [0n] });
      for (const source of [file('a.qcow2', image), file('a.gz', gzipSync(image))])
        await expect(get({ source, format: 'qcow2' })).rejects.toMatchObject({
          code: 'IMAGE_TOO_LARGE',
          message: expect.stringContaining(`${source} holds`), // not the copy in the cache
        });
      expect(readdirSync(folder.path('cache'))).toEqual([]);
    });

    it('a raw file with a hole of terabytes is refused where it lies', async () => {
      start({ maxVirtualSizeBytes: 8 * MIB });
      const path = file('hole.img', new Uint8Array(1));
      truncateSync(path, 2 ** 42);
      expect(await codeOf(get({ source: path }))).toBe('IMAGE_TOO_LARGE');
    });

    it('a file on the web that is larger than one image may be is refused before it is fetched', async () => {
      start({ maxStoredBytes: MIB });
      web.put(URL_A, diskContent(20 * MIB));
      expect(await codeOf(get({ source: URL_A }))).toBe('IMAGE_STORED_TOO_LARGE');
      expect(web.requests.length).toBeLessThanOrEqual(2);
      expect(readdirSync(folder.path('cache'))).toEqual([]);
    });

    it('a qcow2 whose raw form is larger than one image may store is refused', async () => {
      start({ maxStoredBytes: MIB });
      const dataClusters = 24;
      const l2 = Array.from({ length: dataClusters }, (_, index) => (BigInt(3 + index) << 16n) | (1n << 63n));
      const image = handMade({ clusterBits: 16, virtualSize: BigInt(dataClusters) << 16n, l2, dataClusters });
      expect(await codeOf(get({ source: file('a.qcow2', image), format: 'qcow2' }))).toBe('IMAGE_STORED_TOO_LARGE');
      expect(readdirSync(folder.path('cache'))).toEqual([]);
    });

    it('an archive in an archive is no image', async () => {
      expect(await codeOf(get({ source: file('twice.gz', gzipSync(gzipSync(content))) }))).toBe('IMAGE_UNSUPPORTED_FORMAT');
    });
  });

  describe('N14: what is deployed is what was published', () => {
    it.each([
      ['SHA-256', 'a'.repeat(64)],
      ['SHA-512', 'b'.repeat(128)],
    ])('a wrong %s of the file is refused, and nothing is kept', async (_, checksum) => {
      web.put(URL_A, diskContent(MIB));
      expect(await codeOf(get({ source: URL_A, checksum: parseChecksum(checksum) }))).toBe('IMAGE_DIGEST_MISMATCH');
      expect(readdirSync(folder.path('cache'))).toEqual([]);
    });

    it('a wrong SHA-256 of the content is refused', async () => {
      expect(await codeOf(get({ source: file('a.img', diskContent(MIB)), sha256: 'c'.repeat(64) }))).toBe('IMAGE_DIGEST_MISMATCH');
    });

    it.each(['', 'xyz', 'sha256:abc', `sha512:${'a'.repeat(64)}`, `md5:${'a'.repeat(32)}`])('%j is not a checksum', (text) => {
      expect(() => parseChecksum(text)).toThrow(expect.objectContaining({ code: 'IMAGE_CHECKSUM_FORM' }));
    });

    it('a file that was replaced is read anew', async () => {
      const path = file('a.img', diskContent(MIB, 1));
      const first = await get({ source: path });
      writeFileSync(path, diskContent(MIB, 2));
      utimesSync(path, 1, 1);
      expect((await get({ source: path })).manifest.sha256).not.toBe(first.manifest.sha256);
    });

    it('a cached file that lost its end is made again', async () => {
      const source = file('q', handMade({ clusterBits: 16 }));
      const ready = await get({ source });
      ready.release();
      truncateSync(ready.path, 100);
      start();
      expect(contentOf(await get({ source })).length).toBe(5 * 65_536);
    });

    it('a cached file that rotted is made again once a writer has found it out', async () => {
      const source = file('q', handMade({ clusterBits: 16 }));
      const ready = await get({ source });
      const good = contentOf(ready);
      const rotten = Buffer.from(good);
      rotten.writeUInt8(rotten.readUInt8(9) ^ 1, 9);
      writeFileSync(ready.path, rotten);
      ready.release();
      const again = await get({ source });
      expect(Buffer.compare(contentOf(again), rotten)).toBe(0); // of the right size, so nobody knows yet
      await again.distrust?.();
      expect(Buffer.compare(contentOf(await get({ source })), good)).toBe(0);
    });

    it('of a file that is used where it lies the manifest is all that tells what it was: it is only made again where a checksum tells it too', async () => {
      const content = diskContent(MIB, 1);
      const source = file('a.img', content);
      expect((await get({ source })).distrust).toBeUndefined();
      expect((await get({ source, sha256: sha256(content) })).distrust).toBeUndefined();
      const checked = await get({ source, checksum: parseChecksum(sha256(content)) });
      await checked.distrust?.();
      expect((await get({ source, checksum: parseChecksum(sha256(content)) })).manifest).toEqual(checked.manifest);
      expect(checked.distrust).toBeDefined();
    });

    it('a file that is copied over while it is read is refused, and read anew the next time', async () => {
      const path = file('a.img', diskContent(MIB, 1));
      let copies = 0;
      start({
        openImage: async (options) => {
          const image = await openImage(options);
          if (copies++ === 0) writeFileSync(path, diskContent(MIB, 2));
          return image;
        },
      });
      expect(await codeOf(get({ source: path }))).toBe('IMAGE_CHANGED');
      expect((await get({ source: path })).manifest.sha256).toBe(sha256(diskContent(MIB, 2)));
    });

    it.skipIf(!hasQemuImg)('qcow2 becomes what qemu-img makes of it', async () => {
      const content = diskContent(6 * MIB, 12);
      const raw = file('raw', content);
      for (const options of [[], ['-c'], ['-c', '-o', 'compression_type=zstd'], ['-o', 'extended_l2=on,cluster_size=64k']]) {
        const path = folder.path(`images/q${options.join('')}`.replaceAll(/[=,]/g, ''));
        qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, path);
        qemuImg('convert', '-f', 'qcow2', '-O', 'raw', path, `${path}.raw`);
        const ready = await get({ source: path, format: 'qcow2' });
        expect(Buffer.compare(contentOf(ready), readFileSync(`${path}.raw`))).toBe(0);
        ready.release();
      }
    });

    it('a file that says qcow2 and is none, and one that says raw and is qcow2', async () => {
      expect(await codeOf(get({ source: file('a.img', diskContent(MIB)), format: 'qcow2' }))).toBe('IMAGE_FORMAT_MISMATCH');
      const bytes = handMade();
      const ready = await get({ source: file('b.img', bytes), format: 'raw' });
      expect(ready.manifest.sizeBytes).toBe(Math.ceil(bytes.length / 512) * 512); // pinned: its bytes as they are
    });
  });

  describe('a bounded size', () => {
    const put = (name: string, seed: number): string => {
      const url = `https://images.example/${name}`;
      web.put(
        url,
        Buffer.from(
          createHash('shake256', { outputLength: 4 * MIB })
            .update(String(seed))
            .digest(),
        ),
      );
      return url;
    };

    it('throws out what was not used for the longest time', async () => {
      start({ maxBytes: 13 * MIB });
      const [a = '', b = '', c = '', d = ''] = ['a', 'b', 'c', 'd'].map(put);
      for (const source of [a, b, c, a, d]) (await get({ source })).release();
      web.requests.length = 0;
      for (const source of [a, c, d]) (await get({ source })).release();
      expect(web.requests).toHaveLength(3); // only asked for their versions
      expect(cache.usedBytes).toBeLessThanOrEqual(13 * MIB);
      (await get({ source: b })).release();
      expect(web.requests.length).toBeGreaterThan(4);
    });

    it('remembers the order over a restart', async () => {
      const clock = new VirtualClock();
      start({ maxBytes: 9 * MIB, clock });
      const [a = '', b = '', c = ''] = ['a', 'b', 'c'].map(put);
      await clock.run(
        (async () => {
          for (const source of [a, b, a]) {
            (await get({ source })).release();
            await new Promise<void>((resolve) => clock.after(2_000, resolve));
          }
        })(),
      );
      start({ maxBytes: 9 * MIB, clock });
      await clock.run(get({ source: c }).then((ready) => ready.release()));
      web.requests.length = 0;
      await clock.run(get({ source: a }));
      expect(web.requests).toHaveLength(1);
    });

    it('never throws out what is in use: the new one has to wait for another day', async () => {
      start({ maxBytes: 9 * MIB });
      const held = await Promise.all([get({ source: put('a', 1) }), get({ source: put('b', 2) })]);
      expect(await codeOf(get({ source: put('c', 3) }))).toBe('IMAGE_CACHE_FULL');
      for (const { path } of held) expect(statSync(path).size).toBe(4 * MIB);
      held[0]?.release();
      expect(await codeOf(get({ source: put('c', 3) }))).toBe('no error');
    });

    it('what lies beside it in its directory is not its own: neither counted nor thrown out', async () => {
      const beside = folder.path('cache/lost+found');
      mkdirSync(beside, { recursive: true });
      writeFileSync(`${beside}/of-somebody`, diskContent(6 * MIB));
      start({ maxBytes: 9 * MIB });
      for (const source of ['a', 'b', 'c'].map(put)) (await get({ source })).release();
      expect(statSync(`${beside}/of-somebody`).size).toBe(6 * MIB);
      expect(cache.usedBytes).toBeLessThanOrEqual(9 * MIB);
    });

    it('an image that is asked for while it is thrown out is fetched anew, not half found', async () => {
      start({ maxBytes: 9 * MIB });
      const [a = '', b = '', c = ''] = ['a', 'b', 'c'].map(put);
      for (const source of [a, b]) (await get({ source })).release();
      const [, again] = await Promise.all([
        get({ source: c }).then((ready) => ready.release()),
        get({ source: a }).catch((error) => error),
      ]);
      if (again instanceof Error) expect(again).toMatchObject({ code: 'IMAGE_CACHE_FULL' });
      else expect(contentOf(again).length).toBe(4 * MIB);
    });

    it('what a crash left of something thrown out is removed at the next start', async () => {
      mkdirSync(folder.path(`cache/${'a'.repeat(32)}.gone`), { recursive: true });
      start();
      web.put(URL_A, diskContent(MIB));
      await get({ source: URL_A });
      expect(readdirSync(folder.path('cache')).filter((name) => name.endsWith('.gone'))).toEqual([]);
    });

    it('what is larger than the cache is refused before it is fetched', async () => {
      start({ maxBytes: 2 * MIB });
      expect(await codeOf(get({ source: put('a', 1) }))).toBe('IMAGE_CACHE_FULL');
      expect(web.requests.length).toBeLessThanOrEqual(2);
    });
  });

  it('a cache directory that is gone is made again', async () => {
    rmSync(folder.path('cache'), { recursive: true, force: true });
    web.put(URL_A, diskContent(MIB));
    expect(await codeOf(get({ source: URL_A }))).toBe('no error');
  });
});
