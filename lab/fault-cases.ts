/** What goes wrong with real machines, on purpose: the state, the sentence on the console, and what bmctl says of it must be right. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { instance, Lab, type LabFiles, MAC, prepare, startCore, tail, untilState } from './deploy-case.ts';
import { type LabBmc, startBmc } from './support/bmc.ts';
import { type Core, type CoreOptions, PROJECT, SERVER } from './support/core.ts';
import { type LabDisk, LabMachine } from './support/machine.ts';

export interface World {
  readonly lab: Lab;
  readonly core: Core;
  readonly machine: LabMachine;
  readonly bmc: LabBmc;
  readonly signal: AbortSignal;
  readonly tell: (what: string) => void;
  /** Waits for a line of the console; fails when it does not come. */
  console(pattern: RegExp): Promise<RegExpExecArray>;
  /** Spawns the instance and leaves it to its fate. */
  spawn(): Promise<void>;
  /** Waits until the deployment has failed or the machine is in use; the reason. */
  outcome(): Promise<{ readonly state: string; readonly reason: string }>;
}

export interface FaultCase {
  readonly name: string;
  readonly method?: 'iscsi' | 'direct';
  readonly disks?: (lab: Lab) => LabDisk[];
  readonly rootDiskSerial?: string;
  /** Hardware address of a second card. */
  readonly looseCard?: string;
  /** Before the machine is there. */
  readonly before?: (lab: Lab, files: LabFiles) => void;
  readonly settings?: Readonly<Record<string, readonly string[]>>;
  readonly limitMs?: number;
  readonly core?: (lab: Lab) => Pick<CoreOptions, 'program' | 'environment'>;
  /** Other files than usual, e.g. another ramdisk. */
  readonly files?: (files: LabFiles) => LabFiles;
  readonly run: (world: World) => Promise<void>;
}

const LIMIT_MS = 150_000;
/** A machine that is gone is waited for by several attempts, or for two minutes of silence. */
const POWER_CUT_LIMIT_MS = 420_000;
const MIB = 1024 * 1024;
const SMALL_BYTES = 32 * MIB;
/** Address of a second management node. */
const SECOND = '10.77.0.2';
/** In the middle of the image's data, at the start of a chunk. */
const BAD_BYTE = 24 * MIB;

export const faultCases: readonly FaultCase[] = [
  {
    name: 'no-disk',
    disks: () => [],
    run: async (world) => {
      await world.spawn();
      await world.console(/FAILED: Could not find disk to use\./);
      expectReason(await world.outcome(), /the deploy ramdisk reported: Could not find disk to use\./);
    },
  },
  {
    name: 'disk-too-small',
    disks: (lab) => [{ file: lab.disk('small.raw', SMALL_BYTES), serial: 'LAB-S' }],
    run: async (world) => {
      await world.spawn();
      expectReason(await world.outcome(), /33554432 bytes|33\.5 MB|too small|does not fit/i);
    },
  },
  {
    name: 'disk-too-small-direct',
    method: 'direct',
    disks: (lab) => [{ file: lab.disk('small.raw', SMALL_BYTES), serial: 'LAB-S' }],
    run: async (world) => {
      await world.spawn();
      expectReason(await world.outcome(), /33554432|too small|does not fit/i);
      const untouched = readFileSync(join(world.lab.folder, 'small.raw')).subarray(0, 1024 * 1024);
      if (!untouched.every((byte) => byte === 0xa5)) throw new Error('the disk was written all the same');
    },
  },
  {
    name: 'two-disks',
    rootDiskSerial: 'LAB-B',
    disks: (lab) => [
      { file: lab.disk('first.raw'), serial: 'LAB-A' },
      { file: lab.disk('second.raw'), serial: 'LAB-B', first: true },
    ],
    run: async (world) => {
      const before = digest(join(world.lab.folder, 'first.raw'));
      await world.spawn();
      await world.console(/the disk is \/dev\/vdb, \d+ bytes, serial number LAB-B/);
      const [, device] = await world.console(/BMS-MARKER booted from (\S+) by BIOS/);
      if (device !== '/dev/vdb3') throw new Error(`the system was started from ${device}`);
      if (digest(join(world.lab.folder, 'first.raw')) !== before) throw new Error('the other disk was written');
    },
  },
  {
    name: 'no-carrier',
    run: async (world) => {
      await world.spawn();
      await world.console(/deploy ramdisk cloud/);
      world.machine.monitor('set_link lan off');
      await world.console(/has no carrier: is its cable plugged in/);
      world.tell('the cable is plugged in again');
      world.machine.monitor('set_link lan on');
      await world.console(/BMS-MARKER booted from/);
    },
  },
  {
    name: 'helper-unreachable',
    run: async (world) => {
      await world.spawn();
      await world.console(/deploy ramdisk cloud/);
      await world.core.stop('SIGKILL');
      await world.console(/the deploy-helper \S+ cannot be reached/);
      world.tell('bms-core is started again');
      await world.core.run();
      await world.console(/BMS-MARKER booted from/);
      const { state } = await world.outcome();
      if (state !== 'active') throw new Error(`the machine is ${state}`);
    },
  },
  ...(['iscsi', 'direct'] as const).map(
    (method): FaultCase => ({
      name: `power-cut-${method}`,
      method,
      settings: { deploy_helper: ['bandwidth = 4'] },
      limitMs: POWER_CUT_LIMIT_MS,
      run: async (world) => {
        await world.spawn();
        await world.console(method === 'iscsi' ? /posted; waiting for the image/ : /pulling the image/);
        await pause(4_000); // of the fifteen that the image takes at 4 MB/s
        await world.machine.cut();
        world.tell((await world.core.bmctl('diagnose', 'm1')).trim().replaceAll('\n', '\n            '));
        const { reason } = await world.outcome();
        world.tell(`failed: ${reason}`);
        // and again: the machine is free, and takes the next deployment
        await untilState(world.core, (state) => state === 'available', world.signal);
        const from = world.machine.console.length;
        await world.spawn();
        if (!(await world.machine.until(/BMS-MARKER booted from/, world.signal, from)))
          throw new Error('no marker after the second power-on');
      },
    }),
  ),
  {
    name: 'corrupted-chunk',
    method: 'direct',
    settings: { deploy_helper: ['bandwidth = 8'] },
    core: (lab) => ({
      program: 'lab/support/core-on-bad-disk.ts',
      environment: { LAB_BAD_BYTE: String(BAD_BYTE), LAB_BAD_FLAG: join(lab.folder, 'bad') },
    }),
    run: async (world) => {
      const disk = join(world.lab.folder, 'm1.raw');
      await world.spawn();
      await world.console(/pulling the image/);
      writeFileSync(join(world.lab.folder, 'bad'), '');
      const before = readAt(disk, BAD_BYTE);
      const [, chunk] = await world.console(/chunk (\d+): it is not what the manifest says; trying again from there/);
      if (chunk !== String(BAD_BYTE / MIB)) throw new Error(`chunk ${chunk} was refused`);
      if (readAt(disk, BAD_BYTE) !== before) throw new Error('the corrupted chunk reached the disk');
      world.tell('not a bit of it is on the disk; the management node reads right again');
      rmSync(join(world.lab.folder, 'bad'));
      await world.console(/BMS-MARKER booted from/);
    },
  },
  {
    name: 'replica-lost',
    method: 'direct',
    settings: { deploy_helper: [`address = ${SERVER}`, 'bandwidth = 4'] },
    run: async (world) => {
      await startImageReplica(world);
      await world.spawn();
      await world.console(/pulling the image/);
      await pause(3_000); // of the nine that its data take at 4 MB/s
      await world.core.stop('SIGKILL');
      world.tell('bms-core was killed');
      const [, chunk] = await world.console(/chunk (\d+): [^\r\n]*; trying again from there/);
      if (Number(chunk) < 1) throw new Error('nothing had been pulled yet');
      // nobody else is there now who could have given it the rest
      await world.console(/bms: the image is written/);
      world.tell('bms-core is started again');
      await world.core.run();
      await world.console(/BMS-MARKER booted from/);
      const { state } = await world.outcome();
      if (state !== 'active') throw new Error(`the machine is ${state}`);
    },
  },
  {
    name: 'seed-ramdisk',
    files: (files) => ({ ...files, deployRamdisk: files.seedRamdisk }),
    settings: { deploy_helper: ['open_targets = true'] },
    run: async (world) => {
      await world.spawn();
      await world.console(/seed ramdisk: posted/);
      await world.console(/BMS-MARKER booted from/);
      const { state } = await world.outcome();
      if (state !== 'active') throw new Error(`the machine is ${state}`);
    },
  },
];

export async function runFault(
  one: FaultCase,
  files: LabFiles,
  tell: (what: string) => void,
  abort: AbortSignal,
): Promise<string | undefined> {
  const { method = 'iscsi', settings, rootDiskSerial, looseCard, limitMs = LIMIT_MS } = one;
  const signal = AbortSignal.any([abort, AbortSignal.timeout(limitMs)]);
  const lab = await Lab.open();
  let machine: LabMachine | undefined;
  let core: Core | undefined;
  try {
    const folder = lab.machineFolder('m1');
    const disks = one.disks?.(lab) ?? [{ file: lab.disk('m1.raw'), serial: 'LAB-1' }];
    one.before?.(lab, files);
    const about = { network: lab.network, name: 'm1', mac: MAC, firmware: 'bios', disks, folder } as const;
    const made = new LabMachine({ ...about, onEvent: tell, ...(looseCard !== undefined && { looseCard }) });
    machine = made;
    const bmc = startBmc('simulated', lab.network, made, folder, 9001);
    const running = await startCore(lab, one.files?.(files) ?? files, bmc.cipherSuite, settings, one.core?.(lab));
    core = running;
    await prepare(running, { method, layout: 'whole-disk' }, bmc, rootDiskSerial);
    const world: World = {
      ...{ lab, core: running, machine: made, bmc, signal, tell },
      console: async (pattern) => {
        const match = await made.until(pattern, signal);
        if (!match) throw new Error(`the console never said ${pattern.source}; it ends with\n${tail(made.console)}`);
        tell(match[0]);
        return match;
      },
      spawn: async () => {
        await running.api('POST', '/v1/instances', instance());
        void world.outcome().then(
          ({ state, reason }) => tell(`the machine is ${state}: ${reason}`),
          () => undefined, // the case is over
        );
      },
      outcome: async () => {
        await untilState(running, (state) => state !== 'available', signal);
        const node = await untilState(running, (state) => ['active', 'available', 'error'].includes(state), signal);
        const reason = (node.state === 'active' ? undefined : node.lastFailure?.reason) ?? node.reason ?? '';
        return { state: node.state, reason };
      },
    };
    await one.run(world);
    tell(`bmctl diagnose: ${(await running.bmctl('diagnose', 'm1')).trim().replaceAll('\n', '\n            ')}`);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await core?.stop();
    await machine?.close();
    await lab.close();
  }
}

/** The deploy-helper of a second management node, on the same store. It ends with the namespace. */
async function startImageReplica({ lab: { network, folder } }: World): Promise<void> {
  const { namespace } = network;
  await namespace.ip('address', 'add', `${SECOND}/24`, 'dev', 'br0');
  const program = ['lab/support/image-replica.ts', '--config', join(folder, 'bms-core.ini')];
  const child = namespace.spawn([process.execPath, '--import', 'tsx', ...program], { cwd: PROJECT, env: { LAB_ADDRESS: SECOND } });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.stdout?.on('data', () => resolve());
    child.once('exit', () => reject(new Error(`the second replica does not start: ${said}`)));
  });
}

function expectReason({ state, reason }: { readonly state: string; readonly reason: string }, pattern: RegExp): void {
  if (state === 'active') throw new Error('the machine is in use');
  if (!pattern.test(reason)) throw new Error(`the reason is "${reason}"`);
}

function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

function readAt(file: string, at: number): number {
  const descriptor = openSync(file, 'r');
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, at);
  closeSync(descriptor);
  return byte.readUInt8(0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
