import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BootContentOptions, type BootExchange, bootContent } from '../../../src/runtime/boot/boot-content.ts';
import { type DownloadReport, directoryValidator, httpBootHandler } from '../../../src/runtime/boot/http-boot.ts';
import type { BootIntent, BootMachine } from '../../../src/runtime/boot/machine.ts';
import { CHUNK_BYTES, directorySource } from '../../../src/runtime/boot/tftp/files.ts';
import { type FileSource, isRefusal, memorySource } from '../../../src/runtime/boot/tftp/source.ts';
import { tftpBootSource } from '../../../src/runtime/boot/tftp-content.ts';
import type { HttpRequest, HttpResponse } from '../../../src/runtime/core/network.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';

const UUID = '8d0f5a5e-6c1b-4a55-9d53-0d1c3b1f9a10';
const MAC = '52:54:00:12:34:56';
const CONFIG = '/pxelinux.cfg/01-52-54-00-12-34-56';
const ADDRESS = '192.168.50.100';
const KEY = 'Q8ZK2LMXV0R7T4D1N6B3C5H9J2P8W4YA';
const DEPLOY: BootIntent = {
  kind: 'deploy',
  kernel: 'images/vmlinuz',
  ramdisk: 'images/initrd',
  iscsiTargetIqn: 'iqn-x',
  deploymentId: '7',
  deploymentKey: KEY,
};
const CONTENT = Uint8Array.from({ length: 700_000 }, (_, index) => (index * 7) & 0xff);

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'boot-root-'));
  await mkdir(join(root, 'images'));
  await writeFile(join(root, 'pxelinux.0'), 'loader');
  await writeFile(join(root, 'bootx64.efi'), 'efi');
  await writeFile(join(root, 'images/vmlinuz'), CONTENT);
  await writeFile(join(root, 'images/initrd'), '');
  await symlink('/etc/passwd', join(root, 'escape'));
});
afterEach(() => rm(root, { recursive: true }));

function content(boot: BootIntent = DEPLOY, over: Partial<BootContentOptions> = {}) {
  const machine: BootMachine = { id: '7', uuid: UUID, interfaces: [{ mac: MAC }], boot };
  return bootContent({
    machines: {
      findMachine: async (mac) => (mac === MAC ? machine : undefined),
      findMachineByUuid: async (uuid) => (uuid === UUID ? machine : undefined),
    },
    files: directorySource(root),
    validatorOf: directoryValidator(root),
    leaseOf: (address) => (address === ADDRESS ? { mac: MAC, address } : undefined),
    clock: nodeClock,
    ...over,
  });
}

function request(path: string, over: Partial<HttpRequest> = {}): HttpRequest {
  return {
    method: 'GET',
    path,
    query: new URLSearchParams(),
    headers: {},
    body: new Uint8Array(),
    remote: { address: ADDRESS, port: 40_000 },
    local: { address: '192.168.50.20', port: 80 },
    signal: new AbortController().signal,
    ...over,
  };
}

async function bytesOf({ body }: HttpResponse): Promise<Buffer> {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return Buffer.from(body ?? '');
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

describe('files', () => {
  it('002-4: a kernel by its name in the tree, whole', async () => {
    const response = await httpBootHandler(content())(request(`/${UUID}/deploy_kernel`));
    expect(response.status).toBe(200);
    expect(response.headers).toMatchObject({
      'content-length': '700000',
      'accept-ranges': 'bytes',
      'content-type': 'application/octet-stream',
    });
    expect((await bytesOf(response)).equals(CONTENT)).toBe(true);
  });

  it('HEAD tells the length without a body: UEFI asks so before it allocates', async () => {
    const response = await httpBootHandler(content())(request('/bootx64.efi', { method: 'HEAD' }));
    expect(response).toMatchObject({ status: 200, headers: { 'content-length': '3', 'content-type': 'application/efi' } });
    expect(response.body).toBeUndefined();
    // ranges are defined for GET only (RFC 9110 section 14.2)
    const part = await httpBootHandler(content())(request('/bootx64.efi', { method: 'HEAD', headers: { range: 'bytes=0-0' } }));
    expect(part).toMatchObject({ status: 200, headers: { 'content-length': '3' } });
  });

  const ranges = [
    { range: 'bytes=0-0', status: 206, from: 0, to: 1 },
    { range: 'bytes=300000-', status: 206, from: 300_000, to: 700_000 },
    { range: 'bytes=-10', status: 206, from: 699_990, to: 700_000 },
    { range: 'bytes=-9999999', status: 206, from: 0, to: 700_000 },
    { range: 'bytes=699999-9999999', status: 206, from: 699_999, to: 700_000 },
    { range: 'bytes=700000-', status: 416, from: 0, to: 0 },
    { range: 'bytes=-0', status: 416, from: 0, to: 0 },
    { range: 'bytes=5-4', status: 200, from: 0, to: 700_000 },
    { range: 'bytes=0-1,4-5', status: 200, from: 0, to: 700_000 },
    { range: 'lines=1-2', status: 200, from: 0, to: 700_000 },
    { range: 'bytes=-', status: 200, from: 0, to: 700_000 },
  ];
  it.each(ranges)('$range is $status', async ({ range, status, from, to }) => {
    const response = await httpBootHandler(content())(request(`/${UUID}/deploy_kernel`, { headers: { range } }));
    expect(response.status).toBe(status);
    expect((await bytesOf(response)).equals(CONTENT.subarray(from, to))).toBe(true);
    expect(response.headers?.['content-length']).toBe(String(to - from));
    if (status === 206) expect(response.headers?.['content-range']).toBe(`bytes ${from}-${to - 1}/700000`);
    if (status === 416) expect(response.headers?.['content-range']).toBe('bytes */700000');
  });

  it('an ETag saves a second download, and a changed file is not continued', async () => {
    const handle = httpBootHandler(content());
    const path = `/${UUID}/deploy_kernel`;
    const etag = (await handle(request(path, { method: 'HEAD' }))).headers?.etag ?? '';
    expect(etag).toMatch(/^"[0-9a-z-]+"$/);
    expect((await handle(request(path, { headers: { 'if-none-match': `"other", ${etag}` } }))).status).toBe(304);
    const rest = await handle(request(path, { headers: { range: 'bytes=5-', 'if-range': etag } }));
    expect([rest.status, (await bytesOf(rest)).length]).toEqual([206, CONTENT.length - 5]);
    await writeFile(join(root, 'images/vmlinuz'), 'a shorter kernel');
    const changed = await handle(request(path, { headers: { 'if-none-match': etag } }));
    expect([changed.status, (await bytesOf(changed)).toString()]).toEqual([200, 'a shorter kernel']);
    const again = await handle(request(path, { headers: { range: 'bytes=5-', 'if-range': etag } }));
    expect([again.status, (await bytesOf(again)).toString()]).toEqual([200, 'a shorter kernel']);
  });

  it('any range is the same bytes as a slice', async () => {
    const handle = httpBootHandler(content());
    await fc.assert(
      fc.asyncProperty(fc.nat(699_999), fc.nat(800_000), async (from, length) => {
        const response = await handle(request(`/${UUID}/deploy_kernel`, { headers: { range: `bytes=${from}-${from + length}` } }));
        expect((await bytesOf(response)).equals(CONTENT.subarray(from, from + length + 1))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it.each(['/escape', '/nothing', '/images', '/../../etc/passwd'])('%s is not given', async (path) => {
    const response = await httpBootHandler(content())(request(path));
    expect([403, 404]).toContain(response.status);
    expect((await bytesOf(response)).toString()).not.toContain('root:');
  });

  it('only reads', async () => {
    expect(await httpBootHandler(content())(request('/pxelinux.0', { method: 'PUT' }))).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    });
  });

  it('closes a file once: read to its end, left half-way, asked for by HEAD, or never begun', async () => {
    let closed = 0;
    const files: FileSource = async () => ({ size: 600_000, read: (_, length) => new Uint8Array(length), close: () => void closed++ });
    const handle = httpBootHandler(content(DEPLOY, { files }));
    await bytesOf(await handle(request('/x')));
    expect(closed).toBe(1);
    const half = await handle(request('/x'));
    for await (const _ of half.body as AsyncIterable<Uint8Array>) break;
    expect(closed).toBe(2);
    await handle(request('/x', { method: 'HEAD' }));
    expect(closed).toBe(3);
    const gone = new AbortController();
    await handle(request('/x', { signal: gone.signal }));
    gone.abort();
    expect(closed).toBe(4);
  });

  it('of 1,000 clients that stand still 128 may hold a chunk of the cache each, the others hold a small copy', async () => {
    const chunk = Buffer.alloc(CHUNK_BYTES, 7);
    const files: FileSource = async () => ({
      size: 3 * CHUNK_BYTES,
      read: (_, length) => (length < CHUNK_BYTES ? chunk.subarray(0, length) : chunk),
      close: () => undefined,
    });
    const handle = httpBootHandler(content(DEPLOY, { files }));
    const begin = async (): Promise<AsyncIterator<Uint8Array>> =>
      ((await handle(request('/x'))).body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    const clients: AsyncIterator<Uint8Array>[] = [];
    const held: Uint8Array[] = [];
    for (let count = 0; count < 1000; count++) {
      const client = await begin();
      clients.push(client);
      held.push((await client.next()).value);
    }
    const whole = held.filter((piece) => piece.buffer === chunk.buffer);
    expect(whole.map((piece) => piece.length)).toEqual(Array.from({ length: 128 }, () => CHUNK_BYTES));
    const alive = new Set(held.map(({ buffer }) => buffer));
    expect([...alive].reduce((sum, { byteLength }) => sum + byteLength, CHUNK_BYTES * 127)).toBeLessThan(175 * 1024 * 1024);
    expect(held.every((piece) => piece[0] === 7 && piece.at(-1) === 7)).toBe(true);

    for (const client of clients.slice(1)) await client.return?.();
    expect((await clients[0]?.next())?.value).toBe(chunk); // the crowd has gone
  });

  it('a file that is cut while it is read breaks the download, it does not end it', async () => {
    const files: FileSource = async () => ({ size: 10, read: (offset) => new Uint8Array(offset === 0 ? 4 : 0), close: () => undefined });
    await expect(bytesOf(await httpBootHandler(content(DEPLOY, { files }))(request('/x')))).rejects.toThrow(/6 bytes are missing/);
  });
});

describe('how a download went', () => {
  /** A file of 1,000 bytes on a disk that gives 100 of them in 40 ms, and `pieces` times at most. */
  function watched(pieces: number) {
    let nowMs = 0;
    const reports: DownloadReport[] = [];
    const read = (offset: number): Uint8Array => {
      if (offset >= pieces * 100) throw new Error('EIO');
      nowMs += 40;
      return new Uint8Array(100);
    };
    const files: FileSource = async () => ({ size: 1000, read, close: () => undefined });
    const options = { clock: { monotonic: () => nowMs }, onDownload: (report: DownloadReport) => void reports.push(report) };
    return { reports, handle: httpBootHandler(content(DEPLOY, { files }), options) };
  }

  it('002-5: is told once, with its first byte and its end', async () => {
    const { reports, handle } = watched(10);
    await bytesOf(await handle(request('/x', { headers: { range: 'bytes=500-' } })));
    const remote = { address: ADDRESS, port: 40_000 };
    expect(reports).toEqual([{ remote, file: '/x', bytes: 500, durationMs: 200, firstByteMs: 40, outcome: 'complete' }]);
    await handle(request('/x', { method: 'HEAD' }));
    await handle(request('/x', { headers: { range: 'bytes=1000-' } }));
    expect(reports.length).toBe(1); // nothing was loaded
  });

  it('002-5: a client that leaves and a disk that fails are told apart', async () => {
    const { reports, handle } = watched(4);
    for await (const _ of (await handle(request('/x'))).body as AsyncIterable<Uint8Array>) break;
    await expect(bytesOf(await handle(request('/x')))).rejects.toThrow('EIO');
    const gone = new AbortController();
    await handle(request('/x', { signal: gone.signal }));
    gone.abort();
    expect(reports.map(({ outcome, bytes, detail }) => [outcome, bytes, detail])).toEqual([
      ['aborted', 100, undefined],
      ['failed', 400, 'EIO'],
      ['aborted', 0, undefined],
    ]);
    expect(reports[2]?.firstByteMs).toBeUndefined();
  });
});

describe('configurations', () => {
  it('N13: the key goes to the lease holder, uncached, and to nobody else; no log or refusal has it', async () => {
    const seen: BootExchange[] = [];
    const lines: string[] = [];
    const log = (...parts: unknown[]): void => void lines.push(JSON.stringify(parts));
    const logger = { debug: log, info: log, warn: log, error: log, child: () => logger };
    const handle = httpBootHandler(content(DEPLOY, { onBoot: (exchange) => seen.push(exchange), logger }));
    const mine = await handle(request(CONFIG));
    expect((await bytesOf(mine)).toString()).toContain(`deployment_key=${KEY}`);
    expect(mine.headers).toMatchObject({ 'cache-control': 'no-store' });
    expect(mine.headers?.etag).toBeUndefined();
    const theirs = await handle(request(CONFIG, { remote: { address: '192.168.50.66', port: 1 } }));
    expect([theirs.status, (await bytesOf(theirs)).toString()]).toEqual([403, 'The file is not given out.\n']);
    expect(seen.map(({ answer }) => answer)).toEqual(['config', 'not-lease-holder']);
    expect(seen[1]?.reasons.join()).toContain('192.168.50.66, for which no lease is known');
    expect(JSON.stringify(seen) + lines.join()).not.toContain(KEY);
  });

  it('N13: over TFTP likewise', async () => {
    const source = tftpBootSource(content());
    const local = { address: '192.168.50.20', port: 69 };
    const refused = await source({ path: CONFIG, remote: { address: '192.168.50.66', port: 2070 }, local });
    expect(refused).toEqual({ code: 2, message: 'Access violation' });
    const given = await source({ path: CONFIG, remote: { address: ADDRESS, port: 2070 }, local });
    if (isRefusal(given)) throw new Error(given.message);
    expect(Buffer.from(await given.read(0, 4096)).toString()).toContain(KEY);
  });

  it.each(['/', '/tftpboot/', '/tftpboot/tftpboot/', '/tftpboot/./tftpboot/'])(
    '002-5: what is generated is not looked for in the folder, whatever comes before its name: %s',
    async (before) => {
      await mkdir(join(root, 'pxelinux.cfg'));
      await writeFile(join(root, 'pxelinux.cfg/default'), 'left here by another system');
      expect((await httpBootHandler(content())(request(`${before}pxelinux.cfg/default`))).status).toBe(404);
    },
  );

  it('GRUB’s plain grub.cfg is that of the machine that holds the address', async () => {
    const handle = httpBootHandler(content());
    expect((await bytesOf(await handle(request('/grub/grub.cfg')))).toString()).toContain('BOOTIF=01-52-54-00-12-34-56');
    expect((await handle(request('/grub/grub.cfg', { remote: { address: '10.0.0.1', port: 1 } }))).status).toBe(404);
  });

  it('records that do not answer are a 503, not a 404 that the firmware would believe', async () => {
    const broken = async (): Promise<undefined> => {
      throw new Error('connection refused');
    };
    const options = { machines: { findMachine: broken, findMachineByUuid: broken } };
    expect((await httpBootHandler(content(DEPLOY, options))(request(CONFIG))).status).toBe(503);
    const answer = await tftpBootSource(content(DEPLOY, options))({
      path: CONFIG,
      remote: { address: ADDRESS, port: 1 },
      local: { address: '', port: 69 },
    });
    expect(answer).toEqual({ code: 0, message: 'The boot service is busy' });
  });
});

it('002-5: TFTP and HTTP give the same bytes for every name, to everyone', async () => {
  const paths = [
    CONFIG,
    '/pxelinux.0',
    '/nothing',
    '/../x',
    '/grub/grub.cfg',
    '/52-54-00-12-34-56.ipxe',
    `/${UUID}/deploy_kernel`,
    `/${UUID}/kernel`,
    `/${UUID}/config`,
  ];
  for (const boot of [DEPLOY, { kind: 'local-disk' } as const, { kind: 'none', reason: 'x' } as const])
    for (const path of paths)
      for (const address of [ADDRESS, '10.0.0.1']) {
        const source = content(boot, {
          files: memorySource(
            new Map<string, string | Uint8Array>([
              ['pxelinux.0', 'loader'],
              ['images/vmlinuz', CONTENT],
            ]),
          ),
          validatorOf: undefined,
        });
        const remote = { address, port: 1 };
        const overHttp = await httpBootHandler(source)(request(path, { remote }));
        const overTftp = await tftpBootSource(source)({ path, remote, local: { address: '192.168.50.20', port: 69 } });
        if (isRefusal(overTftp)) expect([403, 404], path).toContain(overHttp.status);
        else expect((await bytesOf(overHttp)).equals(Buffer.from(await overTftp.read(0, 1 << 20))), path).toBe(true);
      }
});

it('002-5: over a real HTTP server', async () => {
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, httpBootHandler(content()));
  try {
    const url = `http://127.0.0.1:${server.local.port}/${UUID}/deploy_kernel`;
    const whole = await nodeNetwork.request({ url });
    expect(Buffer.from(whole.body).equals(CONTENT)).toBe(true);
    const part = await nodeNetwork.request({ url, headers: { range: 'bytes=699990-' } });
    expect([part.status, part.body.length]).toEqual([206, 10]);
    const head = await nodeNetwork.request({ url, method: 'HEAD' });
    expect([head.headers['content-length'], head.body.length]).toEqual(['700000', 0]);
  } finally {
    await server.close(0);
  }
});
