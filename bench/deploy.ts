/**
 * Writing a 512 MiB image to tgtd on loopback: this initiator against `qemu-img convert -n` to iscsi://. Prints a Markdown table.
 * Needs Debian's tgt, qemu-utils and qemu-block-extra. `node --import tsx bench/deploy.ts [rounds]`, about two minutes.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { makeIsid, openDisk } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { missingPrograms, Tgtd } from '../test/runtime/deploy/iscsi/tgtd.ts';

const IMAGE_BYTES = 512 * 1024 * 1024;
const CHUNK_BYTES = 4 * 1024 * 1024;
const PLAIN = 'iqn.2026-11.io.bms:plain';
const LARGE = 'iqn.2026-11.io.bms:large-pdus';
const DIGESTS = 'iqn.2026-11.io.bms:digests';

interface Run {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

if (missingPrograms({ tgtd: 'tgt', 'qemu-img': 'qemu-utils' }).length > 0) process.exit(1);
const rounds = Number(process.argv[2] ?? 3);
const folder = mkdtempSync(join(tmpdir(), 'iscsi-'));
const image = join(folder, 'image');
const file = openSync(image, 'w');
for (let at = 0; at < IMAGE_BYTES; at += CHUNK_BYTES) writeSync(file, nodeRandom.bytes(CHUNK_BYTES));
closeSync(file);
const tgtd = await Tgtd.start(folder);
try {
  for (const [index, name] of [PLAIN, LARGE, DIGESTS].entries()) tgtd.addDisk(index + 1, name, join(folder, `disk${index}`), IMAGE_BYTES);
  // tgt takes 8 KiB in one PDU unless it is told otherwise, and knows no digests
  tgtd.admin('--op', 'update', '--mode', 'target', '--tid', '2', '--name', 'MaxRecvDataSegmentLength', '--value', '262144');
  for (const key of ['HeaderDigest', 'DataDigest'])
    tgtd.admin('--op', 'update', '--mode', 'target', '--tid', '3', '--name', key, '--value', 'CRC32C');
  const rows: [string, () => Promise<Run> | Run][] = [
    ['this initiator, tgt as it comes (PDUs of 8 KiB)', () => ours(PLAIN)],
    ['qemu-img convert -n, tgt as it comes', () => qemu(PLAIN)],
    ['this initiator, PDUs of 256 KiB', () => ours(LARGE)],
    ['qemu-img convert -n, PDUs of 256 KiB', () => qemu(LARGE)],
    ['this initiator, CRC32C digests', () => ours(DIGESTS)],
  ];
  const results = new Map<string, Run[]>(rows.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round++) for (const [name, run] of rows) results.get(name)?.push(await checked(run));
  const reference = median((results.get('qemu-img convert -n, tgt as it comes') ?? []).map(({ seconds }) => seconds));
  console.log(`| 512 MiB to tgtd, loopback, median of ${rounds} | MB/s | of qemu-img | CPU s (initiator) |\n|---|---|---|---|`);
  for (const [name, runs] of results) {
    const seconds = median(runs.map((run) => run.seconds));
    const cpu = median(runs.map((run) => run.cpuSeconds));
    console.log(`| ${name} | ${(IMAGE_BYTES / 1e6 / seconds).toFixed(0)} | ${(reference / seconds).toFixed(2)}x | ${cpu.toFixed(2)} |`);
  }
} finally {
  await tgtd.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** Every run begins with empty disks and must leave the image on one of them. */
async function checked(run: () => Promise<Run> | Run): Promise<Run> {
  const disks = [0, 1, 2].map((index) => join(folder, `disk${index}`));
  for (const disk of disks) {
    truncateSync(disk, 0);
    truncateSync(disk, IMAGE_BYTES);
  }
  const result = await run();
  if (!disks.some((disk) => spawnSync('cmp', ['-s', image, disk]).status === 0)) throw new Error('the image did not arrive');
  return result;
}

/** Reads the image and writes it, as the deploy-helper does, and flushes. */
async function ours(targetName: string): Promise<Run> {
  const cpuBefore = process.cpuUsage();
  const before = nodeClock.monotonic();
  const disk = await openDisk({
    network: nodeNetwork,
    clock: nodeClock,
    random: nodeRandom,
    logger: silentLogger,
    portal: { address: '127.0.0.1', port: tgtd.port },
    targetName,
    lun: 1,
    initiatorName: 'iqn.2026-11.io.bms:bench-initiator',
    isid: makeIsid(1, 1),
    ...(targetName === DIGESTS && { preferences: { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] } }),
  });
  const source = openSync(image, 'r');
  const pipeline = disk.pipeline();
  for (let at = 0; at < IMAGE_BYTES; at += CHUNK_BYTES) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    readSync(source, chunk, 0, CHUNK_BYTES, at);
    await pipeline.write(at, chunk);
  }
  await pipeline.finish();
  await disk.flush();
  await disk.close();
  closeSync(source);
  const { user, system } = process.cpuUsage(cpuBefore);
  return { seconds: (nodeClock.monotonic() - before) / 1000, cpuSeconds: (user + system) / 1e6 };
}

function qemu(name: string): Run {
  const before = nodeClock.monotonic();
  const url = `iscsi://127.0.0.1:${tgtd.port}/${name}/1`;
  const script = `qemu-img convert -n -f raw -O raw "$0" "$1" && times`;
  const ran = spawnSync('bash', ['-c', script, image, url], { encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(`qemu-img failed: ${ran.stderr}`);
  // the second line of `times` is the children's: 0m0.123s 0m0.456s
  const children = ran.stdout.trim().split('\n').at(-1) ?? '';
  const cpuSeconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, rest]) => sum + Number(minutes) * 60 + Number(rest),
    0,
  );
  return { seconds: (nodeClock.monotonic() - before) / 1000, cpuSeconds };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
