/** Our server on real sockets, against clients that others wrote, and our client against itself there. */
import { execFile, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createTftpServer, directorySource, type TftpServer, type TransferReport, tftpGet } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { type Endpoint, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seeded } from './fake-network.ts';
import { content } from './lab.ts';

const run = promisify(execFile);
const HOST = '127.0.0.1';

/** False, and said aloud, when a foreign client is missing. */
function have(program: string, probe: string[], debianPackage: string): boolean {
  const found = spawnSync(program, probe, { stdio: 'ignore' }).error === undefined;
  if (!found) console.warn(`${program} (Debian package ${debianPackage}) is missing: its TFTP tests are skipped`);
  return found;
}
const haveTftp = have('tftp', ['-V'], 'tftp-hpa');
const haveAtftp = have('atftp', ['--version'], 'atftp');
const haveBusybox = have('busybox', [], 'busybox-static');
const haveCurl = have('curl', ['--version'], 'curl');

let folder = '';
let server: TftpServer;
let local: Endpoint;
const reports: TransferReport[] = [];
const kernel = content(3_000_001);
const files: Record<string, Uint8Array> = {
  kernel,
  empty: new Uint8Array(0),
  'whole-512': content(5120),
  'whole-1456': content(14_560),
  small: content(100),
  'text.cfg': Buffer.from('default linux\nlabel linux\n  kernel vmlinuz\n'),
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tftp-peers-'));
  for (const [name, data] of Object.entries(files)) await writeFile(join(folder, name), data);
  server = createTftpServer({
    network: nodeNetwork,
    clock: nodeClock,
    random: nodeRandom,
    source: directorySource(folder),
    address: HOST,
    port: 0,
    onTransfer: (report) => reports.push(report),
  });
  local = await server.start();
});
afterAll(async () => {
  await server.close(0);
  await rm(folder, { recursive: true });
});

/** The foreign client's file, compared with ours. */
async function expectFetched(fetched: Promise<Uint8Array>, name: string): Promise<void> {
  expect(Buffer.compare(await fetched, files[name] ?? new Uint8Array(1)), name).toBe(0);
}

async function intoFile(fetch: (target: string) => Promise<unknown>): Promise<Uint8Array> {
  const target = join(folder, `fetched-${process.pid}`);
  await rm(target, { force: true });
  await fetch(target);
  return readFile(target);
}

const names = Object.keys(files);
const port = (): string => String(local.port);

describe.skipIf(!haveTftp)('tftp-hpa', () => {
  it.each(names)('octet: %s', (name) =>
    expectFetched(
      intoFile((target) => run('tftp', ['-m', 'binary', HOST, port(), '-c', 'get', name, target])),
      name,
    ),
  );
  it('netascii, translated back', () =>
    expectFetched(
      intoFile((target) => run('tftp', ['-m', 'ascii', HOST, port(), '-c', 'get', 'text.cfg', target])),
      'text.cfg',
    ));
  it('is told what is not there, and that it may not write', async () => {
    const missing = await run('tftp', ['-m', 'binary', HOST, port(), '-c', 'get', 'nothing', join(folder, 'x')]).catch((error) => error);
    expect(`${missing.stdout}${missing.stderr}`).toContain('File not found');
    const put = await run('tftp', ['-m', 'binary', HOST, port(), '-c', 'put', join(folder, 'small'), 'small2']).catch((error) => error);
    expect(`${put.stdout}${put.stderr}`).toContain('read-only');
  });
});

describe.skipIf(!haveAtftp)('atftp', () => {
  const variants: { name: string; options: string[] }[] = [
    { name: 'no option', options: [] },
    { name: 'blksize 1456', options: ['blksize 1456'] },
    { name: 'blksize 8192, tsize', options: ['blksize 8192', 'tsize 0'] },
    { name: 'blksize 65464', options: ['blksize 65464'] },
    { name: 'windowsize 16', options: ['windowsize 16'] },
    { name: 'windowsize 16, blksize 1456, timeout', options: ['windowsize 16', 'blksize 1456', 'timeout 2'] },
    { name: 'windowsize 3, blksize 8', options: ['windowsize 3', 'blksize 8'] },
  ];
  for (const { name, options } of variants)
    it(name, async () => {
      for (const file of options.includes('blksize 8') ? names.filter((candidate) => candidate !== 'kernel') : names) {
        const flags = options.flatMap((option) => ['--option', option]);
        await expectFetched(
          intoFile((target) => run('atftp', [...flags, '-g', '-r', file, '-l', target, HOST, port()])),
          file,
        );
      }
    });
});

describe.skipIf(!haveCurl)('curl', () => {
  it.each(['512', '1456', '8192'])('blksize %s', async (blksize) => {
    for (const name of names) {
      if (name === 'empty') continue; // curl leaves no file for an empty one
      await expectFetched(
        intoFile((target) => run('curl', ['-sS', '--tftp-blksize', blksize, '-o', target, `tftp://${HOST}:${port()}/${name}`])),
        name,
      );
    }
  });
  it('without options', () =>
    expectFetched(
      intoFile((target) => run('curl', ['-sS', '--tftp-no-options', '-o', target, `tftp://${HOST}:${port()}/kernel`])),
      'kernel',
    ));
  it('finds the file behind /tftpboot/', () =>
    expectFetched(
      intoFile((target) => run('curl', ['-sS', '-o', target, `tftp://${HOST}:${port()}//tftpboot/small`])),
      'small',
    ));
});

describe.skipIf(!haveBusybox)('busybox', () => {
  it.each(['512', '1428', '65464'])('block size %s', async (blksize) => {
    for (const name of names)
      await expectFetched(
        intoFile((target) => run('busybox', ['tftp', '-g', '-b', blksize, '-r', name, '-l', target, HOST, port()])),
        name,
      );
  });
});

describe.skipIf(!haveAtftp || !haveCurl)('over the one port, and over IPv6', () => {
  const extra: TftpServer[] = [];
  const start = async (address: string, singlePort: boolean): Promise<string> => {
    const one = createTftpServer({
      network: nodeNetwork,
      clock: nodeClock,
      random: nodeRandom,
      source: directorySource(folder),
      address,
      port: 0,
      singlePort,
    });
    extra.push(one);
    return String((await one.start()).port);
  };
  afterAll(async () => {
    for (const one of extra) await one.close(0);
  });

  it('single port: curl, atftp with windows, several at once', async () => {
    const single = await start(HOST, true);
    const fetches = Array.from({ length: 8 }, async (_, index) => {
      const target = join(folder, `single-${index}`);
      const options = index % 2 === 0 ? [] : ['--option', 'windowsize 8', '--option', 'blksize 1428'];
      if (index < 4) await run('atftp', [...options, '-g', '-r', 'kernel', '-l', target, HOST, single]);
      else await run('curl', ['-sS', '-o', target, `tftp://${HOST}:${single}/kernel`]);
      expect(Buffer.compare(await readFile(target), kernel)).toBe(0);
    });
    await Promise.all(fetches);
  });

  it.each(['::1', '::'])('IPv6, listening on %s', async (address) => {
    const v6 = await start(address, false);
    await expectFetched(
      intoFile((target) => run('curl', ['-sS', '-g', '--tftp-blksize', '1428', '-o', target, `tftp://[::1]:${v6}/kernel`])),
      'kernel',
    );
    if (address === '::1') return;
    // both families on one socket
    await expectFetched(
      intoFile((target) => run('curl', ['-sS', '-o', target, `tftp://${HOST}:${v6}/kernel`])),
      'kernel',
    );
  });
});

interface NpmTftp {
  createClient(options: Record<string, unknown>): {
    get(remote: string, local: string, done: (error?: Error) => void): void;
  };
}

describe('npm tftp', () => {
  const npmTftp = createRequire(import.meta.url)('tftp') as NpmTftp;
  it.each([
    { blockSize: 512, windowSize: 1 },
    { blockSize: 1468, windowSize: 4 },
    { blockSize: 1468, windowSize: 64 },
  ])('%j', async (options) => {
    const client = npmTftp.createClient({ host: HOST, port: local.port, ...options });
    for (const name of names)
      await expectFetched(
        intoFile((target) => promisify(client.get.bind(client))(name, target)),
        name,
      );
  });
});

describe('our client, on real sockets', () => {
  const get = (path: string, options: object = {}): ReturnType<typeof tftpGet> =>
    tftpGet({ network: nodeNetwork, clock: nodeClock, server: local, path, localAddress: HOST, dallyMs: 20, ...options });

  it.each([
    { blockBytes: 512, windowBlocks: 1 },
    { blockBytes: 1428, windowBlocks: 8 },
    { blockBytes: 8192, windowBlocks: 4 },
    { blockBytes: 65_464, windowBlocks: 1 },
  ])('%j', async (options) => {
    for (const name of names)
      await expectFetched(
        get(name, options).then(({ data }) => data),
        name,
      );
  });

  it('fifty at once', async () => {
    const downloads = await Promise.all(Array.from({ length: 50 }, () => get('whole-1456', { windowBlocks: 4 })));
    for (const { data } of downloads) expect(Buffer.compare(data, files['whole-1456'] ?? kernel)).toBe(0);
  });

  it('garbage from many ports does not disturb a transfer, nor the next one', async () => {
    const chance = seeded(20_261_121);
    const noise = createSocket('udp4');
    await new Promise<void>((resolve) => noise.bind(0, HOST, resolve));
    const download = get('kernel', { blockBytes: 512 });
    for (let round = 0; round < 200; round++) {
      for (let shot = 0; shot < 10; shot++) {
        const bytes = Buffer.from(Array.from({ length: Math.floor(chance() * 30) }, () => Math.floor(chance() * 256)));
        if (chance() < 0.5 && bytes.length > 1) bytes.set([0, Math.floor(chance() * 8)]);
        noise.send(bytes, local.port, HOST);
      }
      await sleep(nodeClock, 1);
    }
    await expectFetched(
      download.then(({ data }) => data),
      'kernel',
    );
    await expectFetched(
      get('small').then(({ data }) => data),
      'small',
    );
    await new Promise<void>((resolve) => noise.close(() => resolve()));
  });

  it('a client’s 0- and 1-byte datagrams on its own transfer port harm nothing', async () => {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
    const heard = new Promise<number>((resolve) => socket.once('message', (_, from) => resolve(from.port)));
    socket.send(Buffer.from('\0\u0001kernel\0octet\0'), local.port, HOST);
    const transferPort = await heard;
    socket.send(Buffer.alloc(0), transferPort, HOST);
    socket.send(Buffer.alloc(1), transferPort, HOST);
    const second = new Promise<Buffer>((resolve) => socket.on('message', (data) => data[3] === 2 && resolve(data)));
    socket.send(Buffer.from([0, 4, 0, 1]), transferPort, HOST);
    expect((await second).length).toBe(516);
    socket.send(Buffer.from([0, 5, 0, 0, 0]), transferPort, HOST);
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  });

  it('counts every transfer once, none failed', () => {
    expect(reports.length).toBeGreaterThan(50);
    expect(reports.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  });
});
