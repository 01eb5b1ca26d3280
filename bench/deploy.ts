/**
 * Writing images over iSCSI, against `qemu-img convert -n`: tgt with its disks in memory (/dev/shm), over loopback, so that no disk is the limit.
 * A dense image (1.2 GB, nine tenths allocated), a sparse one (10 GB, one tenth), and 32 deployments at once. Runs alternate, medians are told,
 * and every written disk is compared with its image. Ours checks each chunk's SHA-256 on the way; qemu-img checks nothing. Starting a program is in
 * neither figure: ours is timed in a process that has written once already, as a daemon has, from before its login to after its logout; of
 * qemu-img's whole process the median of `qemu-img --version`, started in the same way in the same rounds, is taken off, in time and in CPU.
 *
 * Prints the tables of docs/benchmarks.md. Needs Debian's tgt, qemu-utils and qemu-block-extra, and 9 GB in /dev/shm. About 4 minutes, with --quick one.
 * `npm run bench:deploy -- [--quick] [rounds]`
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { silentLogger, type TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import {
  buildManifest,
  encodeManifest,
  HashThread,
  openImage,
  parseManifest,
  writeImage,
} from 'cdk8s-baremetal-runtime/deploy/image/index';
import { makeIsid, openDisk } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { cpuSecondsOf, missingPrograms, Tgtd } from '../test/runtime/deploy/iscsi/tgtd.ts';

const MIB = 1024 * 1024;
/** What the images are allocated in: a file system's extents, not single blocks. */
const EXTENT_BYTES = 2 * MIB;
const AT_ONCE = 32;
const QEMU = 'qemu-img convert -n';
const SELF = fileURLToPath(import.meta.url);

interface Job {
  readonly port: number;
  readonly names: readonly string[];
  readonly image: string;
  readonly targetPid: number;
  /** The file behind the first one: it is written once before and emptied again, since a daemon's code is warm. */
  readonly warmUp?: string;
}

interface Ran {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly targetCpuSeconds?: number;
  /** Of our process: at its largest, and when everything was ready to begin. */
  readonly peakBytes?: number;
  readonly idleBytes?: number;
  /** Of each deployment, when there are several. */
  readonly each?: readonly number[];
}

if (process.argv[2] === '--deploy') {
  console.log(JSON.stringify(await deployAll(JSON.parse(process.argv[3] ?? '{}'))));
} else {
  if (missingPrograms({ tgtd: 'tgt', 'qemu-img': 'qemu-utils' }).length > 0) process.exit(1);
  const quick = process.argv.includes('--quick');
  const rounds = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)) ?? (quick ? 1 : 5));
  const began = nodeClock.monotonic();
  const folder = mkdtempSync('/dev/shm/bms-deploy-');
  const tgtd = await Tgtd.start(folder);
  try {
    console.log(
      `| image, median of ${rounds} | | MB/s of the disk | of qemu-img | CPU s | CPU s of tgtd | sent, of allocated |\n|---|---|---|---|---|---|---|`,
    );
    await compare(tgtd, folder, rounds, {
      title: `dense, ${quick ? 0.5 : 1.2} GB, 90 % allocated`,
      sizeBytes: quick ? 480 * MIB : 1_152 * MIB,
      allocated: 0.9,
    });
    await compare(tgtd, folder, rounds, {
      title: `sparse, ${quick ? 2.5 : 10} GB, 10 % allocated`,
      sizeBytes: quick ? 2_400 * MIB : 9_600 * MIB,
      allocated: 0.1,
    });
    await together(tgtd, folder, quick ? 16 * MIB : 64 * MIB);
    console.log(`\n${((nodeClock.monotonic() - began) / 1000).toFixed(0)} s in all${quick ? ', --quick' : ''}`);
  } finally {
    await tgtd.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(
  tgtd: Tgtd,
  folder: string,
  rounds: number,
  { title, sizeBytes, allocated }: { readonly title: string; readonly sizeBytes: number; readonly allocated: number },
): Promise<void> {
  const image = join(folder, 'image');
  const disk = join(folder, 'disk');
  const name = 'iqn.2026-11.io.bms:bench';
  makeImage(image, sizeBytes, allocated);
  writeFileSync(`${image}.json`, await manifestOf(image));
  tgtd.addDisk(1, name, disk, sizeBytes);
  thin(tgtd, 1);
  const clean = (): void => {
    truncateSync(disk, 0);
    truncateSync(disk, sizeBytes);
  };
  const peers: Readonly<Record<string, (port: number) => Promise<Ran>>> = {
    ours: (port) => ours({ port, names: [name], image, targetPid: tgtd.pid, ...(port === tgtd.port && { warmUp: disk }) }),
    [QEMU]: (port) => qemu(['convert', '-n', '-f', 'raw', '-O', 'raw', image, `iscsi://127.0.0.1:${port}/${name}/1`], tgtd),
  };
  const starts: Ran[] = [];
  const results = new Map<string, Ran[]>(Object.keys(peers).map((who) => [who, []]));
  for (let round = 0; round < rounds; round++) {
    starts.push(await qemu(['--version'], tgtd));
    for (const [who, run] of Object.entries(peers)) {
      clean();
      results.get(who)?.push(await run(tgtd.port));
      if (spawnSync('cmp', ['-s', image, disk]).status !== 0) throw new Error(`${title}: ${who} did not write the image`);
    }
  }
  const medianOf = (who: string, field: (ran: Ran) => number): number => {
    const start = who === QEMU ? median(starts.map(field)) : 0;
    return median((results.get(who) ?? []).map(field)) - start;
  };
  const allocatedBytes = statSync(image).blocks * 512;
  const secondsOf = (who: string): number => medianOf(who, ({ seconds }) => seconds);
  for (const [who, run] of Object.entries(peers)) {
    clean();
    const sentBytes = await counted(tgtd.port, run); // in a run of its own: the relay costs time
    const cpu = medianOf(who, ({ cpuSeconds }) => cpuSeconds);
    const targetCpu = medianOf(who, ({ targetCpuSeconds = 0 }) => targetCpuSeconds);
    const rate = whole(sizeBytes / 1e6 / secondsOf(who));
    const ratio = (secondsOf(QEMU) / secondsOf(who)).toFixed(2);
    console.log(
      `| ${title} | ${who} | ${rate} | ${ratio}× | ${cpu.toFixed(2)} | ${targetCpu.toFixed(2)} | ${(sentBytes / allocatedBytes).toFixed(3)} |`,
    );
  }
  tgtd.admin('--op', 'delete', '--mode', 'target', '--force', '--tid', '1');
  for (const path of [image, `${image}.json`, disk]) rmSync(path);
}

/** 32 machines and one image, by one process. */
async function together(tgtd: Tgtd, folder: string, sizeBytes: number): Promise<void> {
  const image = join(folder, 'image');
  makeImage(image, sizeBytes, 0.9);
  writeFileSync(`${image}.json`, await manifestOf(image));
  const names = Array.from({ length: AT_ONCE }, (_, index) => `iqn.2026-11.io.bms:bench-${index}`);
  for (const [index, name] of names.entries()) {
    tgtd.addDisk(index + 1, name, join(folder, `disk${index}`), sizeBytes);
    thin(tgtd, index + 1);
  }
  const alone = await ours({ port: tgtd.port, names: names.slice(0, 1), image, targetPid: tgtd.pid, warmUp: join(folder, 'disk0') });
  truncateSync(join(folder, 'disk0'), 0);
  truncateSync(join(folder, 'disk0'), sizeBytes);
  const ran = await ours({ port: tgtd.port, names, image, targetPid: tgtd.pid, warmUp: join(folder, 'disk0') });
  for (const index of names.keys())
    if (spawnSync('cmp', ['-s', image, join(folder, `disk${index}`)]).status !== 0)
      throw new Error(`disk ${index} does not hold the image`);
  const each = ran.each ?? [];
  // Jain's index: 1 when all have the same, 1/32 when one has everything
  const speeds = each.map((seconds) => sizeBytes / seconds);
  const sum = speeds.reduce((total, speed) => total + speed, 0);
  const fairness = sum ** 2 / (speeds.length * speeds.reduce((total, speed) => total + speed ** 2, 0));
  const perDeployment = ((ran.peakBytes ?? 0) - (ran.idleBytes ?? 0)) / AT_ONCE / MIB;
  console.log(
    `\n| ${AT_ONCE} deployments at once, ${sizeBytes / MIB} MiB each | MB/s together | one alone | fairness (Jain) | slowest / fastest | memory of each, MiB | CPU s |\n|---|---|---|---|---|---|---|`,
  );
  console.log(
    `| one process | ${whole((AT_ONCE * sizeBytes) / 1e6 / ran.seconds)} | ${whole(sizeBytes / 1e6 / alone.seconds)} | ${fairness.toFixed(3)} | ` +
      `${(Math.max(...each) / Math.min(...each)).toFixed(2)} | ${perDeployment.toFixed(1)} | ${ran.cpuSeconds.toFixed(2)} |`,
  );
}

// ---- ours: a process of its own, so that its memory and its CPU time are its own ----

async function ours(job: Job): Promise<Ran> {
  const child = spawn(process.execPath, [...process.execArgv, SELF, '--deploy', JSON.stringify(job)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (text) => {
    output += String(text);
  });
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error('the deployment failed');
  return JSON.parse(output);
}

/** As the deploy-helper does, from the image and its manifest to the last flush. Runs in the process of its own. */
async function deployAll({ port, names, image, targetPid, warmUp }: Job): Promise<Ran> {
  const { size: sizeBytes } = statSync(image);
  const { sha256 } = new HashThread();
  const [first] = names;
  if (warmUp !== undefined && first !== undefined) {
    await deploy(first);
    truncateSync(warmUp, 0);
    truncateSync(warmUp, sizeBytes);
  }
  const idleBytes = process.memoryUsage().rss;
  const cpuBefore = process.cpuUsage();
  const targetBefore = cpuSecondsOf(targetPid);
  const before = nodeClock.monotonic();
  let peakBytes = idleBytes;
  const watch = new AbortController();
  void (async () => {
    while (!watch.signal.aborted) {
      peakBytes = Math.max(peakBytes, process.memoryUsage().rss);
      await new Promise<void>((resolve) => nodeClock.after(20, resolve));
    }
  })();
  const each = await Promise.all(names.map((name) => deploy(name)));
  watch.abort();
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    seconds: (nodeClock.monotonic() - before) / 1000,
    cpuSeconds: (user + system) / 1e6,
    targetCpuSeconds: cpuSecondsOf(targetPid) - targetBefore,
    peakBytes,
    idleBytes,
    each,
  };

  async function deploy(targetName: string): Promise<number> {
    const began = nodeClock.monotonic();
    const manifest = parseManifest(readFileSync(`${image}.json`, 'utf8'), image);
    const disk = await openDisk({
      network: nodeNetwork,
      clock: nodeClock,
      random: nodeRandom,
      logger: silentLogger,
      portal: { address: '127.0.0.1', port },
      targetName,
      lun: 1,
      initiatorName: 'iqn.2026-11.io.bms:bench-initiator',
      isid: makeIsid(1, 0),
    });
    const source = await openImage({ path: image, format: 'raw' });
    await writeImage(source, disk, { manifest, verify: 'none', sha256 });
    await source.close();
    await disk.close();
    return (nodeClock.monotonic() - began) / 1000;
  }
}

// ---- the other ----

async function qemu(args: readonly string[], tgtd: Tgtd): Promise<Ran> {
  const targetBefore = tgtd.cpuSeconds();
  const before = nodeClock.monotonic();
  const child = spawn('bash', ['-c', 'qemu-img "$@" && times', 'bash', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (text) => {
    output += String(text);
  });
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error('qemu-img failed');
  const seconds = (nodeClock.monotonic() - before) / 1000;
  // the second line of `times` is the children's: 0m0.123s 0m0.456s
  const children = output.trim().split('\n').at(-1) ?? '';
  const cpuSeconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, rest]) => sum + Number(minutes) * 60 + Number(rest),
    0,
  );
  return { seconds, cpuSeconds, targetCpuSeconds: tgtd.cpuSeconds() - targetBefore };
}

// ---- what both write, and to what ----

function makeImage(path: string, sizeBytes: number, allocated: number): void {
  const file = openSync(path, 'w');
  ftruncateSync(file, sizeBytes);
  const extents = Math.floor(sizeBytes / EXTENT_BYTES);
  for (let n = 0; n < extents; n++)
    if (Math.floor((n + 1) * allocated) > Math.floor(n * allocated))
      writeSync(file, nodeRandom.bytes(EXTENT_BYTES), 0, EXTENT_BYTES, n * EXTENT_BYTES);
  closeSync(file);
}

async function manifestOf(path: string): Promise<string> {
  const image = await openImage({ path, format: 'raw' });
  const manifest = await buildManifest(image);
  await image.close();
  return encodeManifest(manifest);
}

/** UNMAP and WRITE SAME with UNMAP, as a file or a modern disk behind LIO has them. */
function thin(tgtd: Tgtd, tid: number): void {
  tgtd.admin('--op', 'update', '--mode', 'logicalunit', '--tid', `${tid}`, '--lun', '1', '--params', 'thin_provisioning=1');
}

/** Bytes that `run` sends, headers and all. */
async function counted(port: number, run: (port: number) => Promise<unknown>): Promise<number> {
  let bytes = 0;
  const relay = await nodeNetwork.listen({ address: '127.0.0.1', port: 0 }, (client) => {
    void nodeNetwork.connect({ address: '127.0.0.1', port }).then((server) => {
      const pass = async (from: TcpConnection, to: TcpConnection, count: (length: number) => void): Promise<void> => {
        for await (const chunk of from) {
          count(chunk.length);
          await to.write(chunk);
        }
        to.end();
      };
      pass(client, server, (length) => {
        bytes += length;
      }).catch(() => server.destroy());
      pass(server, client, () => undefined).catch(() => client.destroy());
    });
  });
  await run(relay.local.port);
  await relay.close();
  return bytes;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** `12,345`, as the docs write it. */
function whole(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}
