/**
 * `npm run lab`: machines under emulation, from power on to their own system, by a real bms-core in a network namespace of its own. Needs root. What
 * it makes is gone afterwards; pictures of the runs stay in lib/lab.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildImage } from '../images/disk-image/build.ts';
import { buildRamdisk } from '../images/ramdisk/build.ts';
import { commandLine, wrongArguments } from '../scripts/command-line.ts';
import { compare, standInFiles } from './compare.ts';
import { caseName, type DeployCase, type LabFiles, runCase } from './deploy-case.ts';
import { type FaultCase, faultCases, runFault } from './fault-cases.ts';
import { compareMethods, methodCases } from './methods.ts';
import type { BmcKind } from './support/bmc.ts';
import { DISK_CHECKERS } from './support/disk-check.ts';
import { missingForNamespaces } from './support/namespace.ts';
import { drawRun } from './support/timeline.ts';
import { verbCases } from './verb-cases.ts';

const USAGE = `npm run lab -- --one                       the shortest case: BIOS, iSCSI, a whole disk
npm run lab                                {BIOS, UEFI} × {iSCSI, direct} × {whole disk, partition}
npm run lab -- --case 'uefi direct'        those whose name has all of these words
npm run lab -- --bmc ipmi_sim|simulated    of every machine; in turns otherwise
npm run lab -- --verbs                     inspection, cleaning and rescue
npm run lab -- --compare [--runs 2]        ours and a stand-in of dnsmasq, qemu-img and busybox in turns: some 12 minutes on a quiet machine
npm run lab -- --methods [--runs 1]        iSCSI against direct, also with 1.2 GB and with four machines at once
npm run lab -- --faults [--case power-cut] what goes wrong with real machines, on purpose`;
const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '..');
const CACHE = join(PROJECT, 'lib/cache/debian');
const PICTURES = join(PROJECT, 'lib/lab');

const { values } = commandLine(USAGE, {
  options: {
    one: { type: 'boolean', default: false },
    case: { type: 'string' },
    bmc: { type: 'string' },
    faults: { type: 'boolean', default: false },
    verbs: { type: 'boolean', default: false },
    compare: { type: 'boolean', default: false },
    methods: { type: 'boolean', default: false },
    runs: { type: 'string' },
  },
});

// what is asked for in vain would be another run than the one that was meant
const bmcOfAll = bmcNamed(values.bmc);
if (values.runs !== undefined && !/^[1-9]\d*$/.test(values.runs)) wrongArguments(USAGE, `--runs ${values.runs}: a number from 1 on`);

const missing =
  missingForNamespaces([
    { name: 'qemu-system-x86_64', debian: 'qemu-system-x86' },
    { name: 'ipmi_sim', debian: 'openipmi' },
    { name: 'grub-mkimage', debian: 'grub-common' },
    { name: 'mke2fs', debian: 'e2fsprogs' },
    { name: 'debugfs', debian: 'e2fsprogs' },
    { name: 'mformat', debian: 'mtools' },
    { name: 'depmod', debian: 'kmod' },
    { name: 'curl', debian: 'curl' },
    { name: 'dnsmasq', debian: 'dnsmasq-base' },
    ...(values.compare
      ? [
          { name: 'busybox', debian: 'busybox-static' },
          { name: 'qemu-img', debian: 'qemu-utils' },
        ]
      : []),
    ...DISK_CHECKERS,
  ]) ??
  ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/lib/ipxe/qemu', '/usr/lib/PXELINUX/pxelinux.0']
    .filter((path) => !existsSync(path))
    .map((path) => `${path} is missing`)[0];
if (missing !== undefined) {
  console.error(`the lab cannot run here: ${missing}`);
  process.exit(2);
}

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

const files = await prepareFiles();
if (values.faults) process.exit(await runEach(faultCases, 'faults'));
if (values.verbs) process.exit(await runEach(verbCases, 'verbs'));
if (values.methods) {
  const words = (values.case ?? '').split(' ');
  const chosen = someOf(
    methodCases.filter((name) => words.every((word) => name.includes(word))),
    methodCases,
  );
  const options = { runs: Number(values.runs ?? 1), chosen };
  process.exit(ended(await compareMethods(files, join(PROJECT, 'lib/lab/files'), options, stop.signal)));
}
const cases = chosenCases();
if (values.compare) process.exit(ended(await runCompare()));
let failed = 0;
const rows: string[] = [];
for (const one of cases) {
  if (stop.signal.aborted) break;
  console.log(`\n${caseName(one)}`);
  const startedAt = performance.now();
  const tell = (what: string): void => console.log(`  ${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${what}`);
  const { name, ok, problem, seconds, picture } = await runCase(one, files, tell, stop.signal);
  mkdirSync(PICTURES, { recursive: true });
  writeFileSync(join(PICTURES, `${name.replaceAll(' ', '-')}.svg`), drawRun(picture));
  if (!ok) {
    failed++;
    console.log(`  FAILED: ${problem}`);
  }
  const phases = picture.phases.map(({ name: phase, fromS, toS }) => `${phase} ${(toS - fromS).toFixed(1)}`).join(', ');
  rows.push(`${name.padEnd(40)} ${ok ? `${seconds.toFixed(1).padStart(6)} s` : '  FAILED'}   ${phases}`);
}
console.log(`\n${rows.join('\n')}\n`);
console.log(
  failed === 0 ? `${rows.length} of ${cases.length} booted their own system; pictures in lib/lab` : `${failed} of ${cases.length} failed`,
);
process.exit(stop.signal.aborted ? 130 : failed === 0 ? 0 : 1);

/** Every case has each kind of BMC in turn; a run of all has both with every firmware. */
function chosenCases(): readonly DeployCase[] {
  const all: DeployCase[] = [];
  for (const firmware of ['bios', 'uefi'] as const) {
    for (const method of ['iscsi', 'direct'] as const) {
      for (const layout of ['whole-disk', 'partition'] as const) {
        const bmc: BmcKind = bmcOfAll ?? (all.length % 2 === 0 ? 'ipmi_sim' : 'simulated');
        all.push({ firmware, method, layout, bmc });
      }
    }
  }
  if (values.one) return all.slice(0, 1);
  const words = (values.case ?? '').split(' ').filter((word) => word !== '');
  return someOf(
    all.filter((one) => words.every((word) => caseName(one).split(' ').includes(word))),
    all.map(caseName),
  );
}

function bmcNamed(name: string | undefined): BmcKind | undefined {
  if (name === undefined || name === 'ipmi_sim' || name === 'simulated') return name;
  return wrongArguments(USAGE, `--bmc ${name}: ipmi_sim or simulated`);
}

/** A run of nothing would end well. */
function someOf<T>(chosen: readonly T[], names: readonly string[]): readonly T[] {
  if (chosen.length > 0) return chosen;
  console.error(`--case '${values.case}' is none of these:\n  ${names.join('\n  ')}`);
  process.exit(2);
}

/** The exit code. */
async function runEach(all: readonly FaultCase[], what: string): Promise<number> {
  const words = values.case?.split(' ');
  const wanted = someOf(
    all.filter(({ name }) => words === undefined || words.some((word) => name === word || name.startsWith(`${word}-`))),
    all.map(({ name }) => name),
  );
  const wrong: string[] = [];
  for (const one of wanted) {
    if (stop.signal.aborted) return 130;
    console.log(`\n${one.name}`);
    const startedAt = performance.now();
    const tell = (what: string): void => console.log(`  ${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${what}`);
    const problem = await runFault(one, files, tell, stop.signal);
    if (problem === undefined) continue;
    wrong.push(one.name);
    console.log(`  FAILED: ${problem}`);
  }
  console.log(
    `\n${wanted.length - wrong.length} of ${wanted.length} ${what} ended as they should${wrong.length === 0 ? '' : `; not ${wrong.join(', ')}`}`,
  );
  return wrong.length === 0 ? 0 : 1;
}

/** What failed. */
async function runCompare(): Promise<readonly string[]> {
  const out = join(PROJECT, 'lib/lab/files');
  const init = join(PROJECT, 'lab/stand-in/init');
  const { ramdisk } = await buildRamdisk({ profile: 'cloud', arch: 'amd64', out: join(out, 'stand-in'), cache: CACHE, init });
  return compare(cases, standInFiles(files, ramdisk.path, join(out, 'stand-in')), Number(values.runs ?? 2), stop.signal);
}

/** The exit code. */
function ended(failures: readonly string[]): number {
  for (const failure of failures) console.log(`FAILED: ${failure}`);
  return stop.signal.aborted ? 130 : failures.length > 0 ? 1 : 0;
}

/** Built on first use, and again when it is older than its sources would have it: the builders are quick once their packages are there. */
async function prepareFiles(): Promise<LabFiles> {
  const cache = CACHE;
  const out = join(PROJECT, 'lib/lab/files');
  const ramdisk = await buildRamdisk({ profile: 'cloud', arch: 'amd64', out: join(out, 'ramdisk'), cache });
  const seed = await buildRamdisk({ profile: 'cloud', arch: 'amd64', out: join(out, 'seed'), cache, init: join(PROJECT, 'lab/seed-init') });
  const image = await buildImage({
    kind: 'minimal',
    arch: 'amd64',
    out: join(out, 'image'),
    cache,
    suite: 'bookworm',
    mirror: 'http://deb.debian.org',
    packages: [],
  });
  console.log(`deploy ramdisk ${(ramdisk.ramdisk.bytes / 1e6).toFixed(1)} MB, Linux ${ramdisk.release}; image: ${image.about}`);
  const loaders = (folder: string): void => {
    execFileSync(join(PROJECT, 'images/bms-core/loaders'), [folder, 'bios', 'efi-x64'], { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  return { deployKernel: ramdisk.kernel.path, deployRamdisk: ramdisk.ramdisk.path, seedRamdisk: seed.ramdisk.path, image, loaders };
}
