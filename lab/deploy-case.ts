/** One machine of the lab from bare to its own system, and how long each part of the way took. */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BmcKind, startBmc } from './support/bmc.ts';
import { Core, type CoreOptions } from './support/core.ts';
import { checkDisk } from './support/disk-check.ts';
import { LabMachine } from './support/machine.ts';
import { LabNetwork } from './support/namespace.ts';
import type { Phase, RunPicture } from './support/timeline.ts';

export interface DeployCase {
  readonly firmware: 'bios' | 'uefi';
  readonly method: 'iscsi' | 'direct';
  readonly layout: 'whole-disk' | 'partition';
  readonly bmc: BmcKind;
}

export interface LabFiles {
  readonly deployKernel: string;
  readonly deployRamdisk: string;
  /** Of the original's protocol alone. */
  readonly seedRamdisk: string;
  readonly image: { readonly disk: string; readonly root: string; readonly kernel: string; readonly ramdisk: string };
  readonly loaders: (folder: string) => void;
}

export interface CaseResult {
  readonly name: string;
  readonly ok: boolean;
  readonly problem?: string;
  /** Power-on to marker. */
  readonly seconds: number;
  readonly picture: RunPicture;
}

interface NodeView {
  readonly state: string;
  readonly reason?: string;
  readonly lastFailure?: { readonly reason: string };
}

/** Outside of the range that DHCP leases from. */
const STATIC = '10.77.0.50';
export const MAC = '52:54:00:77:00:01';
const LIMIT_MS = 300_000;
/** What a deployed disk holds, in the words of blkid. */
const ON_DISK: Readonly<Record<DeployCase['layout'], readonly string[]>> = {
  'whole-disk': ['no file system', 'vfat', 'ext4 "root"', 'iso9660 "config-2"'], // first comes the partition for GRUB's core
  partition: ['ext4 "root"', 'swap "swap1"', 'iso9660 "config-2"'],
};
const DISK_BYTES = 256 * 1024 * 1024;
export const INSTANCE = '9b1f9a54-7d7c-4a0e-8a4e-5c1f7be6b001';

export function caseName({ firmware, method, layout, bmc }: DeployCase): string {
  return `${firmware} ${method} ${layout} ${bmc}`;
}

/** What a run is put together from, and what is left of it: nothing. */
export class Lab {
  private constructor(
    readonly folder: string,
    readonly network: LabNetwork,
  ) {}

  static async open(): Promise<Lab> {
    const folder = mkdtempSync(join(tmpdir(), 'bms-lab-'));
    try {
      const network = await LabNetwork.create('10.77.0.1/24');
      await announceRouter(network);
      return new Lab(folder, network);
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  /** A disk full of somebody else's bytes: what is left of them would be seen. */
  disk(name: string, bytes = DISK_BYTES): string {
    const file = join(this.folder, name);
    writeFileSync(file, Buffer.alloc(1024 * 1024, 0xa5));
    truncateSync(file, bytes);
    return file;
  }

  machineFolder(name: string): string {
    const folder = join(this.folder, name);
    mkdirSync(folder);
    return folder;
  }

  async close(): Promise<void> {
    await this.network.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * iPXE waits 13 s for an IPv6 router that is not there, at every start, whatever it boots from. dnsmasq announces one; it does nothing else here.
 */
async function announceRouter(network: LabNetwork): Promise<void> {
  const { namespace } = network;
  await namespace.ip('address', 'add', 'fd77::1/64', 'dev', 'br0', 'nodad');
  const only = [
    '--keep-in-foreground',
    '--port=0',
    '--user=root',
    '--leasefile-ro',
    '--conf-file=/dev/null',
    '--interface=br0',
    '--pid-file=',
  ];
  const child = namespace.spawn(['dnsmasq', ...only, '--enable-ra', '--dhcp-range=fd77::,ra-only,64', '--ra-param=br0,4,0']);
  child.stdout?.resume();
  child.stderr?.resume();
}

/** Milestones in order; a phase lies between two of them. */
const MILESTONES: readonly { readonly phase: string; readonly seen: (at: Milestones) => number | undefined }[] = [
  { phase: 'firmware and loader', seen: ({ console: c }) => c('deploy ramdisk') },
  { phase: 'ramdisk to POST', seen: ({ history: h }) => h('deploying') },
  { phase: 'write and verify', seen: ({ history: h }) => h('deploy complete') },
  { phase: 'done, restart', seen: ({ console: c }) => c('restarting') },
  { phase: 'own system', seen: ({ console: c }) => c('marker') },
];

interface Milestones {
  readonly console: (what: string) => number | undefined;
  readonly history: (state: string) => number | undefined;
}

export async function runCase(one: DeployCase, files: LabFiles, tell: (what: string) => void, abort: AbortSignal): Promise<CaseResult> {
  const name = caseName(one);
  const signal = AbortSignal.any([abort, AbortSignal.timeout(LIMIT_MS)]);
  const lab = await Lab.open();
  let poweredAt: number | undefined;
  const seen = new Map<string, number>();
  const events: { at: number; what: string }[] = [];
  const note = (what: string): void => {
    if (what.startsWith('power on')) poweredAt ??= Date.now();
    if (poweredAt !== undefined) events.push({ at: Date.now(), what });
    tell(what);
  };
  let machine: LabMachine | undefined;
  let core: Core | undefined;
  try {
    const folder = lab.machineFolder('m1');
    const disk = lab.disk('m1.raw');
    machine = new LabMachine({
      network: lab.network,
      name: 'm1',
      mac: MAC,
      firmware: one.firmware,
      disks: [{ file: disk, serial: 'LAB-1' }],
      folder,
      onEvent: note,
    });
    const bmc = startBmc(one.bmc, lab.network, machine, folder, 9001);
    core = await startCore(lab, files, bmc.cipherSuite);
    const phonesHome = one.method === 'direct' || one.layout === 'partition'; // and the others show the way without
    await prepare(core, { ...one, phonesHome }, bmc);
    await core.api('POST', '/v1/instances', instance(one.layout));
    const watching = [
      watch(machine, 'deploy ramdisk', /bms: deploy ramdisk/, seen, note, signal),
      watch(machine, 'exported', /bms: (exporting|pulling) /, seen, note, signal),
      watch(machine, 'restarting', /bms: done; restarting/, seen, note, signal),
    ];
    // A deployment that failed says so; nobody waits for its marker then.
    const gaveUp = new AbortController();
    void failure(core, signal).then((why) => why !== undefined && gaveUp.abort(new Error(why)));
    const either = AbortSignal.any([signal, gaveUp.signal]);
    const marker = await watch(machine, 'marker', /BMS-MARKER booted from (\S+) by (BIOS|UEFI)/, seen, note, either);
    await watch(machine, 'first boot', /BMS-MARKER (instance \S+ is \S+|no config drive)(?=\s)/, seen, note, either);
    if (!marker) {
      void Promise.all(watching);
      const { state, reason, lastFailure } = await core.api<NodeView>('GET', '/v1/nodes/m1');
      throw new Error(
        `no marker; the machine is ${state} (${lastFailure?.reason ?? reason}); the console ends with\n${tail(machine.console)}`,
      );
    }
    if (phonesHome) await watch(machine, 'phone home', /BMS-MARKER (reported home|nobody answered at \S+)/, seen, note, either);
    const node = await settled(core, signal);
    const history = await core.api<{ history: { to: string; at: string }[] }>('GET', '/v1/nodes/m1/history');
    const at = new Map(history.history.map(({ to, at }) => [to, Date.parse(at)]));
    const start = poweredAt ?? 0;
    const phases = phasesOf(start, { console: (what) => seen.get(what), history: (state) => at.get(state) });
    const picture = { title: name, phases, events: events.map(({ at: when, what }) => ({ atS: (when - start) / 1000, what })) };
    note(`${node.state}: ${node.reason}`);
    const running =
      node.state === 'active'
        ? (wrongFirmware(one, marker) ?? unreported(phonesHome, node) ?? (await unreachable(lab, machine)))
        : `the machine is ${node.state}: ${node.lastFailure?.reason ?? node.reason}`;
    await machine.cut();
    const verdict = await checkDisk(disk, ON_DISK[one.layout]);
    note(`on the disk: ${verdict.found}`);
    const problem = running ?? verdict.problem;
    const seconds = ((seen.get('marker') ?? start) - start) / 1000;
    return { name, ok: problem === undefined, ...(problem && { problem }), seconds, picture };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { name, ok: false, problem, seconds: Number.NaN, picture: { title: name, phases: [], events: [] } };
  } finally {
    await core?.stop();
    await machine?.close();
    await lab.close();
  }
}

export function startCore(
  lab: Lab,
  files: LabFiles,
  cipherSuite: 3 | 17,
  settings: Readonly<Record<string, readonly string[]>> = {},
  more: Pick<CoreOptions, 'program' | 'environment'> = {},
): Promise<Core> {
  return Core.start({
    network: lab.network,
    folder: lab.folder,
    cipherSuite,
    loaders: files.loaders,
    images: {
      'disk-image': files.image.disk,
      'root-image': files.image.root,
      'the-kernel': files.image.kernel,
      'the-ramdisk': files.image.ramdisk,
    },
    deployImages: { deploy_kernel: files.deployKernel, deploy_ramdisk: files.deployRamdisk },
    settings,
    ...more,
    ...(process.env.LAB_LOG && { onLog: (line: string) => console.error(line) }),
  });
}

/** Image, flavor and machine as a person would register them. */
export async function prepare(
  core: Core,
  { method, layout, phonesHome = false }: Pick<DeployCase, 'method' | 'layout'> & { readonly phonesHome?: boolean },
  bmc: ReturnType<typeof startBmc>,
  rootDiskSerial?: string,
): Promise<void> {
  const { address, port, username, password } = bmc;
  await core.api('POST', '/v1/images', {
    ...(layout === 'partition'
      ? { id: 'root-image', layout, boot: 'kernel', kernelId: 'the-kernel', ramdiskId: 'the-ramdisk' }
      : { id: 'disk-image' }),
  });
  const extraSpecs = { 'baremetal:deploy_method': method, 'baremetal:wait_for_phone_home': String(phonesHome) };
  await core.api('POST', '/v1/flavors', { id: 'lab', cpus: 1, memoryMb: 256, localGb: 0, swapMb: 16, extraSpecs });
  await core.api('POST', '/v1/nodes', {
    name: 'm1',
    macs: [MAC],
    properties: { cpus: 1, memoryMb: 512, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address, port, username, password },
    ...(rootDiskSerial !== undefined && { rootDiskSerial }),
  });
  await untilState(core, (state) => state === 'available', AbortSignal.timeout(30_000));
}

export function instance(layout: DeployCase['layout'] = 'whole-disk'): Record<string, unknown> {
  return {
    uuid: INSTANCE,
    name: 'lab-1',
    imageId: layout === 'partition' ? 'root-image' : 'disk-image',
    flavorId: 'lab',
    yes: true,
    // row 002-16: the system has this address and no other, by its config drive
    network: { interfaces: [{ on: 0, ipv4: { address: `${STATIC}/24`, gateway: '10.77.0.1' }, dns: ['10.77.0.1'] }] },
  };
}

export async function untilState(core: Core, is: (state: string) => boolean, signal: AbortSignal): Promise<NodeView> {
  for (;;) {
    const node = await core.api<NodeView>('GET', '/v1/nodes/m1');
    if (is(node.state) || signal.aborted) return node;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function settled(core: Core, signal: AbortSignal): Promise<NodeView> {
  return untilState(core, (state) => state === 'active' || state === 'error' || state === 'available', signal);
}

/** Why the instance came to nothing; undefined when the signal aborts first or the machine is in use. */
async function failure(core: Core, signal: AbortSignal): Promise<string | undefined> {
  const isOver = (state: string): boolean => ['active', 'deploy failed', 'error', 'available', 'deleted'].includes(state);
  // the request may not have been taken up yet
  await untilState(core, (state) => state !== 'available', signal).catch(() => undefined);
  const node = await untilState(core, isOver, signal).catch(() => undefined);
  return node === undefined || node.state === 'active' ? undefined : (node.lastFailure?.reason ?? node.reason ?? node.state);
}

async function watch(
  machine: LabMachine,
  name: string,
  pattern: RegExp,
  seen: Map<string, number>,
  note: (what: string) => void,
  signal: AbortSignal,
): Promise<RegExpExecArray | undefined> {
  const match = await machine.until(pattern, signal);
  if (match && !seen.has(name)) {
    seen.set(name, Date.now());
    note(match[0].replace('BMS-MARKER ', 'marker: '));
  }
  return match;
}

export function phasesOf(start: number, milestones: Milestones): Phase[] {
  let from = start;
  return MILESTONES.flatMap(({ phase, seen }) => {
    const to = seen(milestones);
    if (to === undefined || to < from) return [];
    const made = { name: phase, fromS: (from - start) / 1000, toS: (to - start) / 1000 };
    from = to;
    return [made];
  });
}

function wrongFirmware({ firmware }: DeployCase, marker: RegExpExecArray): string | undefined {
  const wanted = firmware === 'uefi' ? 'UEFI' : 'BIOS';
  return marker[2] === wanted ? undefined : `the system was started by ${marker[2]}`;
}

function unreported(phonesHome: boolean, { reason = '' }: NodeView): string | undefined {
  return phonesHome && !reason.includes('has reported that it is up') ? `it did not report itself: ${reason}` : undefined;
}

/** Whether the system has the address that its instance was given. */
async function unreachable({ network }: Lab, machine: LabMachine): Promise<string | undefined> {
  if (!machine.console.includes(`eth0 has ${STATIC}/24, static`)) return 'the system did not take its static address';
  const { code } = await network.namespace.exec(['curl', '--silent', '--max-time', '5', `http://${STATIC}:9/`]);
  // 7: the address answers, and nobody listens there
  return code === 7 ? undefined : `nobody answers at ${STATIC} (curl ends with ${code})`;
}

export function tail(text: string, lines = 15): string {
  return text.trim().split(/\r?\n/).slice(-lines).join('\n');
}
