/** The ramdisk's side of the `direct` method, in busybox, against the real service over loopback; the disk is a file. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HttpHandler, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type DirectDeployment, type DirectNews, directService } from 'cdk8s-baremetal-runtime/deploy/direct/index';
import { buildManifest, type DiskImage, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { DISK_END_BYTES, decodeGpt, decodeMbr, encodeGpt, GPT_TYPE } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { busyboxShell, sourced } from './support.ts';

const MIB = 1024 * 1024;
const KEY = 'K3Y';
/** Room for the image, for somebody else's bytes, and for the end that is erased. */
const DISK = 8 * MIB + DISK_END_BYTES;
const base = mkdtempSync(join(tmpdir(), 'ramdisk-direct-'));
const shell = busyboxShell(base);
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
afterAll(() => rmSync(base, { recursive: true }));
let number = 0;

interface Setup {
  readonly diskBytes?: number;
  readonly partitions?: DirectDeployment['partitions'];
  readonly configDrive?: DirectDeployment['configDrive'];
  /** To the image. */
  readonly change?: (image: Buffer) => void;
  /** In front of the service. */
  readonly meddle?: (handler: HttpHandler) => HttpHandler;
  /** In place of what the image file says, at a chunk. */
  readonly corrupt?: (chunk: number, bytes: Uint8Array) => Uint8Array;
}

/** Five chunks: data, data, zeros, data, and half a chunk. */
function content(): Buffer {
  const bytes = Buffer.alloc(4.5 * MIB);
  for (const chunk of [0, 1, 3, 4]) bytes.fill(`chunk ${chunk} `, chunk * MIB, Math.min((chunk + 1) * MIB, bytes.length));
  return bytes;
}

async function setup({ diskBytes = DISK, partitions, configDrive, change, meddle = (handler) => handler, corrupt }: Setup = {}) {
  const folder = join(base, `run${number++}`);
  mkdirSync(folder);
  const [path, disk] = [join(folder, 'image'), join(folder, 'disk')];
  const image = content();
  change?.(image);
  writeFileSync(path, image);
  writeFileSync(disk, Buffer.alloc(diskBytes, 0xa5));
  const opened = await openImage({ path });
  const manifest = await buildManifest(opened);
  await opened.close();
  const news: DirectNews[] = [];
  const replicas: string[] = [];
  const token = createHash('sha256').update(`direct ${KEY}`).digest('hex');
  const service = (corrupted: Setup['corrupt']) =>
    directService({
      random: nodeRandom,
      clock: nodeClock,
      logger: silentLogger,
      verify: 'all',
      replicas: () => replicas,
      desk: {
        access: async (request) =>
          request.token === token
            ? {
                kind: 'granted',
                deployment: { id: 'd', diskBytes, imageId: 'i', ...(partitions && { partitions }), ...(configDrive && { configDrive }) },
              }
            : { kind: 'wrong-token' },
        report: async (_request, what) => {
          news.push(what);
          return { kind: 'noted' };
        },
      },
      acquireImage: async () => ({
        path,
        manifest,
        release: () => undefined,
        open: async () => meddled(await openImage({ path }), corrupted),
      }),
    });
  const own = service(corrupt);
  const posts: URLSearchParams[] = [];
  const handler: HttpHandler = async (request) => {
    if (request.path !== '/') return own(request);
    posts.push(new URLSearchParams(Buffer.from(request.body).toString()));
    return { status: 200, body: '' };
  };
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, meddle(handler));
  closers.push(() => server.close(0));
  /** One more replica, with the same store and the same image, at the same port of another address. */
  const replica = async (address: string, wrong?: Setup['corrupt']): Promise<{ asked: string[] }> => {
    const other = service(wrong);
    const asked: string[] = [];
    const listener = await nodeNetwork.serveHttp({ address, port: server.local.port }, async (request) => {
      asked.push(request.path.replace(/^.*\//, ''));
      return other(request);
    });
    closers.push(() => listener.close(0));
    replicas.push(address);
    return { asked };
  };
  const run = (more = ''): Promise<{ code: number | null; output: string }> => {
    if (shell === undefined) throw new Error('no busybox');
    const variables = [
      `DISK=${disk} DISK_BYTES=${diskBytes} DISK_SERIAL=S1 DISK_BLOCK_BYTES=4096 HELPER=127.0.0.1 HELPER_PORT=${server.local.port} ADDRESS=127.0.0.1`,
      `DEPLOYMENT_ID=7 DEPLOYMENT_KEY=${KEY} IQN=iqn.2026-11.test:d METHOD=direct RUN=${folder}`,
      'say() { echo "bms: $1"; }; fail() { echo "FAILED $1"; report_error "$1"; exit 3; }; blockdev() { :; }; sleep() { busybox sleep 0.02; }',
    ];
    return shell.run(sourced(['http', 'helper', 'direct'], [...variables, more, 'direct'].join('\n')));
  };
  return { disk, image, manifest, news, posts, run, server, replica };
}

/** What a disk or a memory between the manifest and the network may do to an image. */
function meddled(image: DiskImage, corrupt: Setup['corrupt']): DiskImage {
  if (!corrupt) return image;
  const read: DiskImage['read'] = async (offset, length, into = new Uint8Array(length)) => {
    into.set(corrupt(offset / MIB, await image.read(offset, length)));
    return into;
  };
  return {
    ...image,
    format: image.format,
    virtualSizeBytes: image.virtualSizeBytes,
    extents: () => image.extents(),
    close: () => image.close(),
    read,
  };
}

const flipped = (bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes);
  copy[1000] = (copy[1000] ?? 0) ^ 1;
  return copy;
};

describe.skipIf(shell === undefined)('the ramdisk pulls its image', () => {
  it('and writes all of it, zeros too, then says so', async () => {
    const { disk, image, manifest, news, posts, run } = await setup();
    const { code, output } = await run();
    expect([code, output]).toEqual([0, `bms: pulling the image for ${disk}\nbms: the image is written\n`]);
    const written = readFileSync(disk);
    expect(Buffer.compare(written.subarray(0, image.length), image)).toBe(0);
    // Behind it nothing was touched but the end, where the copy of an old table lies.
    expect(written.subarray(image.length, 8 * MIB).every((byte) => byte === 0xa5)).toBe(true);
    expect(written.subarray(8 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(posts.map((form) => Object.fromEntries(form))).toEqual([
      { i: '7', k: KEY, a: '127.0.0.1', n: 'iqn.2026-11.test:d', b: String(DISK), s: 'S1', z: '4096', h: '1' },
    ]);
    expect(news.filter(({ kind }) => kind !== 'progress')).toEqual([{ kind: 'done', sha256: manifest.sha256 }]);
  });

  it('and says before that an empty disk is empty', async () => {
    const { disk, posts, run } = await setup();
    writeFileSync(disk, Buffer.alloc(DISK));
    expect((await run()).code).toBe(0);
    expect(posts.map((form) => form.get('h'))).toEqual(['0']);
  });

  it('the first chunk, with the table, last of all', async () => {
    const ranges: string[] = [];
    const { disk, image, run } = await setup({
      meddle: (handler) => async (request) => {
        if (request.path.endsWith('/image')) {
          ranges.push(request.headers.range ?? '');
          expect(
            readFileSync(disk)
              .subarray(0, MIB)
              .every((byte) => byte === 0),
          ).toBe(true);
        }
        return handler(request);
      },
    });
    expect((await run()).code).toBe(0);
    expect(ranges).toEqual([`bytes=${MIB}-${2 * MIB - 1}`, `bytes=${3 * MIB}-${4.5 * MIB - 1}`, `bytes=0-${MIB - 1}`]);
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
  });

  it('never writes a chunk that is not what the manifest says, and fails with its number', async () => {
    const { disk, image, news, run } = await setup({ corrupt: (chunk, bytes) => (chunk === 3 ? flipped(bytes) : bytes) });
    const { code, output } = await run('PULL_TRIES=3');
    expect(code).toBe(3);
    expect(output).toContain('bms: chunk 3: it is not what the manifest says; trying again from there');
    expect(output).toContain('FAILED chunk 3: it is not what the manifest says; tried 3 times');
    const written = readFileSync(disk);
    // nothing that boots, neither the last owner's nor half of this
    expect(written.subarray(0, MIB).every((byte) => byte === 0)).toBe(true);
    expect(Buffer.compare(written.subarray(MIB, 3 * MIB), image.subarray(MIB, 3 * MIB))).toBe(0);
    expect(written.subarray(3 * MIB, 8 * MIB).every((byte) => byte === 0xa5)).toBe(true);
    // a report that was under way may come after it
    expect(news.filter(({ kind }) => kind !== 'progress')).toEqual([
      { kind: 'error', message: 'chunk 3: it is not what the manifest says; tried 3 times' },
    ]);
  });

  it.each([1, 2])('in batches of %i, each written while the next one comes', async (chunks) => {
    const { disk, image, run } = await setup({ change: (whole) => whole.fill(7, 2 * MIB, 3 * MIB) });
    const { code, output } = await run(`export BATCH_BYTES=${chunks * MIB}`);
    expect([code, output]).toEqual([0, expect.stringContaining('the image is written')]);
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
  });

  it('writes nothing behind a wrong chunk, though its batch and the next one have come', async () => {
    const { disk, image, run } = await setup({
      change: (whole) => whole.fill(7, 2 * MIB, 3 * MIB),
      corrupt: (chunk, bytes) => (chunk === 2 ? flipped(bytes) : bytes),
    });
    const { code, output } = await run('export BATCH_BYTES=2097152; PULL_TRIES=2');
    expect([code, output]).toEqual([3, expect.stringContaining('FAILED chunk 2: it is not what the manifest says; tried 2 times')]);
    const written = readFileSync(disk);
    expect(Buffer.compare(written.subarray(MIB, 2 * MIB), image.subarray(MIB, 2 * MIB))).toBe(0);
    expect(written.subarray(2 * MIB, 8 * MIB).every((byte) => byte === 0xa5)).toBe(true);
  });

  it('takes no answer for whole that ends before its length', async () => {
    let cutShort = true;
    const { disk, image, run } = await setup({
      meddle: (handler) => async (request) => {
        const answer = await handler(request);
        if (!request.path.endsWith('/plan') || answer.status !== 200 || !cutShort) return answer;
        cutShort = false;
        const whole = Buffer.from(answer.body as string);
        return {
          ...answer,
          headers: { ...answer.headers, 'content-length': String(whole.length) },
          body: cut(pieces(whole), whole.length - 30),
        };
      },
    });
    const { code, output } = await run();
    expect([code, output]).toEqual([0, expect.stringContaining('gave no answer; trying again')]);
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
  });

  it('takes a chunk that came out wrong from another replica', async () => {
    const bad = await setup({ corrupt: (chunk, bytes) => (chunk === 1 ? flipped(bytes) : bytes) });
    let asked = 0;
    const good = await setup();
    // one port for both, as all deploy-helpers have: the second answers on another loopback address
    const relay = await nodeNetwork.serveHttp({ address: '127.0.0.2', port: bad.server.local.port }, async (request) => {
      asked++;
      const { status, headers, body } = await nodeNetwork.request({
        method: request.method,
        url: `http://127.0.0.1:${good.server.local.port}${request.path}`,
        headers: { authorization: request.headers.authorization ?? '', ...(request.headers.range && { range: request.headers.range }) },
        body: request.body,
      });
      return { status, headers: { 'content-range': headers['content-range'] ?? '' }, body };
    });
    closers.push(() => relay.close(0));
    const { code, output } = await bad.run('next_replica() { HELPER=127.0.0.2; }');
    expect([code, asked > 0]).toEqual([0, true]);
    expect(output).toContain('chunk 1: it is not what the manifest says');
    expect(Buffer.compare(readFileSync(bad.disk).subarray(0, bad.image.length), bad.image)).toBe(0);
  });

  it('goes on with the replicas of its plan when its own dies in mid-pull and the next one’s memory turns a bit over', async () => {
    let die: () => Promise<unknown> = async () => undefined;
    const { disk, image, manifest, news, run, server, replica } = await setup({
      change: (whole) => whole.fill(7, 2 * MIB, 3 * MIB),
      meddle: (handler) => async (request) => {
        const answer = await handler(request);
        if (!request.path.endsWith('/image')) return answer;
        const body = answer.body as AsyncIterable<Uint8Array>;
        return { ...answer, body: cut(body, 1.5 * MIB, () => void die()) };
      },
    });
    die = () => server.close(0);
    const bad = await replica('127.0.0.2', (chunk, bytes) => (chunk === 3 ? flipped(bytes) : bytes));
    const good = await replica('127.0.0.3');
    const { code, output } = await run();
    expect([code, output]).toEqual([0, expect.stringContaining('the image is written')]);
    expect(output).toContain('bms: chunk 2: the connection to 127.0.0.1 was lost; trying again from there');
    expect(output).toContain('bms: chunk 3: it is not what the manifest says; trying again from there');
    expect([bad.asked.includes('image'), good.asked.includes('image')]).toEqual([true, true]);
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
    // to whoever is left
    expect(news.filter(({ kind }) => kind !== 'progress')).toEqual([{ kind: 'done', sha256: manifest.sha256 }]);
    expect(good.asked).toContain('done');
  });

  it('says that it is done to another replica when its own is gone by then', async () => {
    let die: () => Promise<unknown> = async () => undefined;
    const { manifest, news, run, server, replica } = await setup({
      meddle: (handler) => async (request) => {
        if (!request.path.endsWith('/done')) return handler(request);
        void die();
        throw new Error('the power is gone');
      },
    });
    die = () => server.close(0);
    const other = await replica('127.0.0.2');
    const { code } = await run();
    expect([code, other.asked.includes('done')]).toEqual([0, true]);
    expect(news.filter(({ kind }) => kind !== 'progress')).toEqual([{ kind: 'done', sha256: manifest.sha256 }]);
  });

  it('fetches the manifest where it is to be had', async () => {
    const { disk, image, run, replica } = await setup({
      meddle: (handler) => async (request) =>
        request.path.endsWith('/manifest') ? { status: 503, body: 'the cache is full' } : handler(request),
    });
    await replica('127.0.0.2');
    const { code, output } = await run();
    expect([code, output]).toEqual([0, expect.stringContaining('answered 503; trying again')]);
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
  });

  it.each([
    { name: 'goes on at the missing chunk when the connection breaks', end: cut, times: 2, settings: '' },
    {
      name: 'leaves a server that says nothing more, with the chunks that it gave',
      end: silentAfter,
      times: 1,
      settings: 'export BATCH_SECONDS=1',
    },
  ])('$name', async ({ end, times, settings }) => {
    const ranges: string[] = [];
    const { disk, image, run } = await setup({
      change: (whole) => whole.fill(7, 2 * MIB, 3 * MIB),
      meddle: (handler) => async (request) => {
        const answer = await handler(request);
        if (!request.path.endsWith('/image')) return answer;
        ranges.push(request.headers.range ?? '');
        return ranges.length > times ? answer : { ...answer, body: end(answer.body as AsyncIterable<Uint8Array>, 1.5 * MIB) };
      },
    });
    const { code, output } = await run(settings);
    expect([code, ranges.slice(0, 2)]).toEqual([0, [`bytes=${MIB}-${4.5 * MIB - 1}`, `bytes=${2 * MIB}-${4.5 * MIB - 1}`]]);
    expect(output).toContain('chunk 2: the connection to 127.0.0.1 was lost; trying again from there');
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
  });

  it('leaves a server that takes the request and never answers it', async () => {
    let asked = 0;
    const { disk, image, run } = await setup({
      meddle: (handler) => (request) =>
        request.path.endsWith('/image') && asked++ === 0 ? new Promise(() => undefined) : handler(request),
    });
    const { code, output } = await run('export HEAD_SECONDS=1');
    expect([code, output]).toEqual([0, expect.stringContaining('the connection to 127.0.0.1 was lost; trying again from there')]);
    expect(Buffer.compare(readFileSync(disk).subarray(0, image.length), image)).toBe(0);
  });

  it('makes the partitions of a partition image, the table last', async () => {
    const { disk, image, run } = await setup({
      diskBytes: 32 * MIB,
      partitions: { rootMb: 0, swapMb: 4, ephemeralMb: 0 },
      change: withSuperblock,
    });
    expect((await run()).code).toBe(0);
    const written = readFileSync(disk);
    const entries = decodeMbr(written)?.entries.flatMap((entry) =>
      entry ? [`${entry.type.toString(16)} ${entry.firstBlock}+${entry.blocks}`] : [],
    );
    expect(entries).toEqual(['83 2048+53248', '82 55296+8192']);
    expect(Buffer.compare(written.subarray(MIB, MIB + image.length), image)).toBe(0);
    expect(written.toString('latin1', 27 * MIB + 4086, 27 * MIB + 4096)).toBe('SWAPSPACE2');
  });

  it('puts the config drive behind a whole-disk image, whose boot code and partitions stay', async () => {
    const { disk, run } = await setup({
      diskBytes: 64 * MIB,
      change: withTable,
      configDrive: { label: 'config-2', files: [{ path: 'a', content: 'b' }] },
    });
    expect((await run()).code).toBe(0);
    const written = readFileSync(disk);
    const entries = decodeGpt(written, 512)?.entries.map(({ name, firstBlock }) => `${name} ${firstBlock}`);
    expect(entries).toEqual(['root 2048', `config-2 ${(62 * MIB) / 512}`]);
    expect(written.toString('latin1', 0, 9)).toBe('boot code');
    expect(written.toString('latin1', 62 * MIB + 32_769, 62 * MIB + 32_774)).toBe('CD001');
  });

  it('says why when its plan does not come, in place of asking until the owner takes it for dead', async () => {
    let asked = 0;
    const { disk, news, run } = await setup({
      meddle: (handler) => async (request) => {
        if (!request.path.endsWith('/plan')) return handler(request);
        if (++asked > 60) throw new Error('it asks on and on');
        return asked === 1 ? { status: 202, body: '' } : { status: 503, body: 'the image cache is full' };
      },
    });
    const { code, output } = await run('PLAN_TRIES=5');
    expect([code, asked]).toEqual([3, 6]);
    expect(output).toContain('FAILED the plan does not come; the deploy-helper 127.0.0.1:');
    expect(news.at(-1)).toMatchObject({ kind: 'error', message: expect.stringMatching(/answered 503: the image cache is full$/) });
    expect(readFileSync(disk).every((byte) => byte === 0xa5)).toBe(true);
  });

  it('says what is wrong when the disk is too small, before a byte is written', async () => {
    const { disk, news, run } = await setup({ diskBytes: 4 * MIB });
    const { code, output } = await run();
    expect(code).toBe(3);
    expect(output).toMatch(/FAILED the deploy-helper answered 409: .*4718592.*4194304/);
    expect(readFileSync(disk).every((byte) => byte === 0xa5)).toBe(true);
    expect(news.filter(({ kind }) => kind !== 'progress').map(({ kind }) => kind)).toEqual(['error']);
  });

  it('reads back from the disk what it wrote', async () => {
    const { disk, run } = await setup();
    // a disk that says yes and keeps something else
    const { code, output } = await run(
      'drop() { printf x | busybox dd of=$DISK bs=1 seek=1048580 conv=notrunc 2> /dev/null; }; sync() { drop; }',
    );
    expect([code, output.includes('did not keep chunk 1 as it was written')]).toEqual([3, true]);
    expect(
      readFileSync(disk)
        .subarray(0, MIB)
        .every((byte) => byte === 0),
    ).toBe(true); // nor does it boot
  });

  it('leaves no file of its work in other places', () => {
    expect(existsSync('/run/digests')).toBe(false);
  });
});

/** Of an ext4 file system. */
function withSuperblock(image: Buffer): void {
  image.fill(0, 1024, 2048);
  image.writeUInt16LE(0xef53, 1024 + 56);
  image.writeUInt32LE(0x240, 1024 + 96);
  image.fill(7, 1024 + 104, 1024 + 120);
}

function withTable(image: Buffer): void {
  const guid = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';
  const entries = [{ type: GPT_TYPE.linux, guid, firstBlock: 2048, blocks: 2048, name: 'root', number: 1 }];
  const { primary, backup, backupOffset } = encodeGpt({ diskGuid: guid, entries }, { blockBytes: 512, diskBlocks: image.length / 512 });
  image.set(primary);
  image.set(backup, backupOffset);
  image.write('boot code', 'latin1');
}

/** Neither goes on nor ends. */
async function* silentAfter(body: AsyncIterable<Uint8Array>, most: number): AsyncGenerator<Uint8Array> {
  try {
    yield* cut(body, most);
  } catch {
    await new Promise(() => undefined);
  }
}

async function* pieces(whole: Uint8Array): AsyncGenerator<Uint8Array> {
  yield whole;
}

async function* cut(body: AsyncIterable<Uint8Array>, most: number, then?: () => void): AsyncGenerator<Uint8Array> {
  let left = most;
  for await (const piece of body) {
    if (piece.length > left) {
      yield piece.subarray(0, left);
      then?.();
      throw new Error('the cable is out');
    }
    left -= piece.length;
    yield piece;
  }
}
