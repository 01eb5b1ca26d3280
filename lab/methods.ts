/**
 * `npm run lab -- --methods [--runs N] [--case 'four iscsi']`: iSCSI against direct, for a small image, for one of 1.2 GB, and for four machines at once; the methods take
 * turns. What is told: how long the writing took (`deploying` to `deploy complete`), power-on to the last marker, and what the management node's
 * processor spent meanwhile. The emulated machines have the same two cores.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, copyFileSync, existsSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { cpuSecondsOf } from '../test/runtime/deploy/iscsi/tgtd.ts';
import { median } from './compare.ts';
import { Lab, type LabFiles, startCore, tail } from './deploy-case.ts';
import { startBmc } from './support/bmc.ts';
import { LabMachine } from './support/machine.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const BIG_BYTES = 1144 * MIB; // 1.2 GB
const LIMIT_MS = 900_000;

type Method = 'iscsi' | 'direct';
const METHODS: readonly Method[] = ['iscsi', 'direct'];

interface Scenario {
  readonly title: string;
  readonly machines: number;
  readonly big: boolean;
}

const scenarios: readonly Scenario[] = [
  { title: '58 MB (34 MB of data)', machines: 1, big: false },
  { title: '58 MB, four machines at once', machines: 4, big: false },
  { title: '1.2 GB, all of it data', machines: 1, big: true },
];

interface Ran {
  /** Of each machine. */
  readonly writeSeconds: readonly number[];
  readonly toMarkerSeconds: number;
  readonly cpuSeconds: number;
}

/** `58 MB, four machines at once, iscsi` and so on. */
export const methodCases: readonly string[] = scenarios.flatMap(({ title }) => METHODS.map((method) => caseOf(title, method)));

function caseOf(title: string, method: Method): string {
  return `${title}, ${method}`;
}

/** Resolves to what failed. `chosen`: of `methodCases`. */
export async function compareMethods(
  files: LabFiles,
  folder: string,
  { runs, chosen }: { readonly runs: number; readonly chosen: readonly string[] },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const failures: string[] = [];
  const rows: string[] = [];
  for (const scenario of scenarios) {
    const ran: Record<Method, Ran[]> = { iscsi: [], direct: [] };
    const methods = METHODS.filter((method) => chosen.includes(caseOf(scenario.title, method)));
    for (let run = 0; run < runs && !signal.aborted; run++) {
      for (const method of run % 2 === 0 ? methods : methods.toReversed()) {
        try {
          const one = await deployAll(scenario, method, scenario.big ? withBigImage(files, folder) : files, signal);
          ran[method].push(one);
          const each = one.writeSeconds.map((seconds) => seconds.toFixed(1)).join(', ');
          console.log(`${caseOf(scenario.title, method)}: written in ${each} s, last marker after ${one.toMarkerSeconds.toFixed(1)} s`);
        } catch (error) {
          failures.push(`${caseOf(scenario.title, method)}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
    }
    for (const method of methods) {
      const of = (figure: (one: Ran) => number): string => median(ran[method].map(figure)).toFixed(1);
      const slowest = of(({ writeSeconds }) => Math.max(...writeSeconds));
      rows.push(
        `| ${scenario.title} | ${method === 'iscsi' ? 'iSCSI' : 'direct'} | ${slowest} | ${of((one) => one.toMarkerSeconds)} | ${of((one) => one.cpuSeconds)} |`,
      );
    }
  }
  console.log(
    `\n| image, median of ${runs} | | written, s (the slowest) | power on → last marker, s | CPU s of bms-core |\n|---|---|---|---|---|\n${rows.join('\n')}`,
  );
  return failures;
}

async function deployAll({ machines: count, big }: Scenario, method: Method, files: LabFiles, abort: AbortSignal): Promise<Ran> {
  const signal = AbortSignal.any([abort, AbortSignal.timeout(LIMIT_MS)]);
  const lab = await Lab.open();
  const machines: LabMachine[] = [];
  let core: Awaited<ReturnType<typeof startCore>> | undefined;
  try {
    let poweredAt = 0;
    const running = await startCore(lab, files, 17);
    core = running;
    const api: Api = (verb, path, body) => running.api(verb, path, body);
    await api('POST', '/v1/images', { id: 'disk-image' });
    const extraSpecs = { 'baremetal:deploy_method': method };
    await api('POST', '/v1/flavors', { id: 'lab', cpus: 1, memoryMb: 256, localGb: 0, swapMb: 16, extraSpecs });
    for (let number = 1; number <= count; number++) {
      const name = `m${number}`;
      const mac = `52:54:00:77:00:0${number}`;
      const folder = lab.machineFolder(name);
      const disks = [{ file: lab.disk(`${name}.raw`, big ? 2 * GIB : 256 * MIB), serial: `LAB-${number}` }];
      const onEvent = (what: string): void => {
        if (what.startsWith('power on')) poweredAt ||= Date.now();
      };
      const machine = new LabMachine({ network: lab.network, name, mac, firmware: 'bios', disks, folder, onEvent });
      machines.push(machine);
      const { address, port, username, password } = startBmc('simulated', lab.network, machine, folder, 9000 + number);
      const bmc = { driver: 'ipmi', address, port, username, password };
      await api('POST', '/v1/nodes', { name, macs: [mac], properties: { cpus: 1, memoryMb: 512, localGb: 1, cpuArch: 'x86_64' }, bmc });
    }
    await every(count, async (name) => (await node(api, name)).state === 'available', signal);
    const before = cpuSecondsOf(running.pid);
    for (let number = 1; number <= count; number++) {
      const network = { interfaces: [{ on: 0, ipv4: { address: `10.77.0.${49 + number}/24`, gateway: '10.77.0.1' } }] };
      const uuid = `9b1f9a54-7d7c-4a0e-8a4e-5c1f7be6b00${number}`;
      await api('POST', '/v1/instances', { uuid, name: `lab-${number}`, imageId: 'disk-image', flavorId: 'lab', yes: true, network });
    }
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const markers = machines.map(async (machine) => {
      const marker = await machine.until(/BMS-MARKER booted from/, either);
      if (!marker) throw new Error(`no marker; the console ends with\n${tail(machine.console)}`);
    });
    const written = every(
      count,
      async (name) => {
        const { state, lastFailure } = await node(api, name);
        if (lastFailure !== undefined) {
          const console = machines[Number(name.slice(1)) - 1]?.console ?? '';
          throw new Error(`${name}: ${lastFailure.reason}; its console ends with\n${tail(console)}`);
        }
        return state === 'active';
      },
      signal,
    ).then(() => cpuSecondsOf(running.pid) - before);
    void written.catch(() => failed.abort());
    const [cpuSeconds] = await Promise.all([written, ...markers]);
    const toMarkerSeconds = (Date.now() - poweredAt) / 1000;
    const writeSeconds: number[] = [];
    for (let number = 1; number <= count; number++) {
      const { history } = await api<{ history: { to: string; at: string }[] }>('GET', `/v1/nodes/m${number}/history`);
      const at = new Map(history.map(({ to, at: when }) => [to, Date.parse(when)]));
      writeSeconds.push(((at.get('deploy complete') ?? Number.NaN) - (at.get('deploying') ?? Number.NaN)) / 1000);
    }
    return { writeSeconds, toMarkerSeconds, cpuSeconds };
  } finally {
    await core?.stop();
    for (const machine of machines) await machine.close();
    await lab.close();
  }
}

type Api = <T>(method: string, path: string, body?: unknown) => Promise<T>;

function node(api: Api, name: string): Promise<{ state: string; lastFailure?: { reason: string } }> {
  return api('GET', `/v1/nodes/${name}`);
}

/** Until it holds for every machine; throws when the signal aborts first. */
async function every(count: number, holds: (name: string) => Promise<boolean>, signal: AbortSignal): Promise<void> {
  for (let number = 1; number <= count; ) {
    signal.throwIfAborted();
    if (await holds(`m${number}`)) number++;
    else await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** The lab's image, which ends where its partitions do, and behind it what no zeros are in. */
function withBigImage(files: LabFiles, folder: string): LabFiles {
  const file = join(folder, 'big.raw');
  const partitions = statSync(files.image.disk).size;
  if (!existsSync(file) || statSync(file).size !== BIG_BYTES || statSync(file).mtimeMs < statSync(files.image.disk).mtimeMs) {
    copyFileSync(files.image.disk, file);
    truncateSync(file, BIG_BYTES);
    const descriptor = openSync(file, 'r+');
    for (let at = partitions; at < BIG_BYTES; at += MIB)
      writeSync(descriptor, randomBytes(Math.min(MIB, BIG_BYTES - at)), 0, undefined, at);
    closeSync(descriptor);
  }
  return { ...files, image: { ...files.image, disk: file } };
}
