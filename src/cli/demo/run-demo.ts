/**
 * The main job on one machine: bms-core with its embedded defaults deploys simulated servers over real DHCP, TFTP, IPMI, HTTP and
 * iSCSI on loopback. Nothing is faked but the metal.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CodedError, defineErrors, entry, PROVISIONING_VLAN, type SiteInput } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, type Logger, type Network, type Random, randomUuid, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { contentDigest, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { enrol, type ImageRecord, imageKind, type NodeRecord, nodeKind, spawn } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmsCore, startBmsCore } from 'cdk8s-baremetal-runtime/main';
import type { Store } from 'cdk8s-baremetal-runtime/store/index';
import { FileDisk } from 'cdk8s-baremetal-simulator';
import { RelayWire, type ServerEvent, type SimulatedMachine, startMachine } from 'cdk8s-baremetal-simulator/server/index';
import { writeDemoImage } from './demo-image.ts';
import { type LoopbackPlan, loopbackConfig, loopbackPlan, MOST_MACHINES, synthesize, withMachines } from './loopback-site.ts';
import { timelineLines, timeSpent, timeSpentLines } from './timeline.ts';

const ANOTHER_PORT = 'Stop what uses it (another demo?), or give --port-base, a number that is added to every port';

export const demoErrors = defineErrors('The demo', {
  DEMO_NODES: entry<{ nodes: number }>({
    message: ({ nodes }) => `${nodes} is not a number of machines`,
    cure: `Give 1 to ${MOST_MACHINES}`,
  }),
  DEMO_PORT_TAKEN: entry<{ role: string; where: string }>({
    message: ({ role, where }) => `${role} cannot listen on ${where}: the port is in use or may not be used`,
    cure: ANOTHER_PORT,
  }),
  DEMO_PORT_BASE: entry<{ portBase: number; most: number }>({
    message: ({ portBase }) => `the port base ${portBase} leads to ports that do not exist`,
    cure: ({ most }) => `Give 0 to ${most}`,
  }),
  DEMO_IMAGE: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the image ${path} cannot be read: ${reason}`,
    cure: 'Give the path of a raw or qcow2 disk image with --image, or leave it out for a small one that is made here',
  }),
  DEMO_NOT_ACTIVE: entry<{ name: string; state: string; reason: string }>({
    message: ({ name, state, reason }) => `${name} is ${state}: ${reason}`,
    cure: 'Read its timeline above; run again with --keep to look at it with bmctl',
  }),
  DEMO_NODE_GONE: entry<{ name: string }>({
    message: ({ name }) => `${name} is not enrolled any more`,
    cure: 'Start the demo again',
  }),
  DEMO_DISK_DIFFERS: entry<{ name: string; disk: string; image: string }>({
    message: ({ name, disk, image }) => `the disk of ${name} has SHA-256 ${disk}, the image ${image}`,
    cure: 'This is a defect: please report it with the timeline above',
  }),
});

export interface DemoOptions {
  readonly site: SiteInput;
  readonly nodes: number;
  /** An image of the user's, raw or qcow2. Default: a sparse one of 96 MiB. */
  readonly image?: string;
  /** Calls back when everything is active, and ends when that resolves. */
  readonly keep?: (running: RunningDemo) => Promise<void>;
  readonly signal: AbortSignal;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly print: (line: string) => void;
  /** A line that may be overwritten by the next. */
  readonly progress?: (line: string) => void;
  /** Added to every port, where the usual ones are taken. Default 0. */
  readonly portBase?: number;
  /** The password that bms-core is told, where it is to be a wrong one. */
  readonly enrolledPassword?: Secret;
  /** The root disk's serial number that bms-core is told, where it is to be another disk's. */
  readonly enrolledDiskSerial?: string;
  /** Default 2 GiB; sparse. */
  readonly diskBytes?: number;
  /** Calls back when every machine is enrolled, before the first one is deployed. */
  readonly started?: (running: RunningDemo) => void;
}

export interface RunningDemo {
  readonly core: BmsCore;
  readonly plan: LoopbackPlan;
  readonly machines: readonly DemoMachine[];
  readonly folder: string;
}

export interface DemoMachine extends SimulatedMachine {
  readonly name: string;
  readonly mac: string;
  readonly disk: FileDisk;
  readonly diskPath: string;
  readonly events: ServerEvent[];
}

const DEFAULT_DISK_BYTES = 2 * 1024 ** 3;
const LAST_PORT = 65_535;
const BMC_USER = 'admin';
/** A second from power to the first packet, where real machines take minutes. */
const SELF_TEST_MS = 300;
const POLL_MS = 100;
/** For all of them: images are written a few at a time. */
const LIMIT_MS = 120_000;
const LIMIT_PER_NODE_MS = 5_000;

/** Rejects with a CodedError when a machine is not deployed, with the signal's reason when interrupted; leaves nothing behind either way. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { nodes, signal, portBase = 0 } = options;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MOST_MACHINES) throw demoErrors.DEMO_NODES({ nodes });
  const most = LAST_PORT - Math.max(...Object.values(loopbackPlan(0).ports));
  if (!Number.isInteger(portBase) || portBase < 0 || portBase > most) throw demoErrors.DEMO_PORT_BASE({ portBase, most });
  signal.throwIfAborted();
  const folder = mkdtempSync(join(tmpdir(), 'bms-demo-'));
  const closers: (() => unknown)[] = [];
  try {
    await runIn(folder, options, (close) => closers.push(close));
  } catch (error) {
    signal.throwIfAborted(); // what else breaks while everything is interrupted is no news
    throw error;
  } finally {
    // in the order of opening: bms-core takes leave of BMCs and machines that still answer, and need not wait for those that are gone
    for (const close of closers) await close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runIn(folder: string, options: DemoOptions, onClose: (close: () => unknown) => void): Promise<void> {
  const { site, nodes, signal, network, clock, print } = options;
  const { objects, configText, pod } = synthesize(withMachines(site, nodes));
  print(`Synthesized ${site.name}: ${objects} Kubernetes objects; bms-core starts from the ConfigMap of ${pod.name} among them.`);
  const plan = loopbackPlan(Number(pod.name.slice('pod'.length)), options.portBase);
  const image = await prepareFolder(folder, options);
  const core = await started({
    ...options,
    config: loopbackConfig(configText, plan, folder),
    memberName: pod.managementNodes[0]?.name ?? 'demo',
    serverAddress: plan.server,
    stateDirectory: folder,
  });
  onClose(() => core.close());
  const { ports } = plan;
  print(
    `bms-core is up on ${plan.server}: DHCP ${ports.dhcp}, TFTP ${ports.tftp}, HTTP boot ${ports.httpBoot}, deploy-helper ${ports.deployHelper}, API ${ports.api}.`,
  );
  const { id: imageId, format, sizeBytes, sha256 } = image;
  await core.store.create(imageKind, imageId, { id: imageId, name: image.name, format, sizeBytes, sha256, boot: 'local' });
  const wire = new RelayWire({ network, address: plan.relay, server: { address: plan.server, port: ports.dhcp } });
  await listening('the relay agent of the machines', `${plan.relay}:${ports.dhcp}/udp`, () => wire.start());
  onClose(() => wire.close());

  const machines: DemoMachine[] = [];
  for (const [index, machine] of pod.machines.entries()) {
    signal.throwIfAborted();
    const mac = machine.interfaces.find(({ vlan }) => vlan === undefined || vlan === PROVISIONING_VLAN)?.mac ?? '';
    machines.push(await startDemoMachine(options, { plan, wire, folder, index, name: machine.name, mac, core, machine, onClose }));
  }
  await all(machines.map((machine) => untilState(options, core.store, machine.name, 'available')));
  print(
    `Enrolled ${machines.map(({ name }) => name).join(', ')}: ${machines.length === 1 ? 'its' : 'each'} BMC answers on IPMI ${ports.ipmi}.`,
  );
  options.started?.({ core, plan, machines, folder });
  print(`Deploying ${image.name}: ${mebibytes(sizeBytes)} MiB, SHA-256 ${sha256.slice(0, 16)}…`);
  const began = clock.monotonic();
  for (const machine of machines) await spawnOn(core.store, machine.name, imageId, options);
  const outcomes = await Promise.allSettled(machines.map((machine) => untilState(options, core.store, machine.name, 'active')));
  signal.throwIfAborted();
  const failed = machines.filter((_, index) => outcomes[index]?.status === 'rejected');
  for (const machine of toShow(machines, failed)) await printTimeline(core.store, machine, print);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure) throw failure.reason;
  for (const machine of machines) {
    const disk = await diskDigest(machine.disk, sizeBytes, signal);
    if (disk !== sha256) throw demoErrors.DEMO_DISK_DIFFERS({ name: machine.name, disk, image: sha256 });
  }
  const seconds = ((clock.monotonic() - began) / 1000).toFixed(1);
  const who = machines.length === 1 ? 'The machine is' : `All ${machines.length} machines are`;
  const what = machines.length === 1 ? 'its disk and the image have' : 'every disk and the image have';
  print(`\n${who} ACTIVE after ${seconds} s; ${what} the SHA-256 ${sha256}.`);
  await options.keep?.({ core, plan, machines, folder });
  for (const machine of machines) machine.server.powerOff();
  print(machines.length === 1 ? 'Powered down.' : 'All powered down.');
}

/** There is no configuration to put another port in: the way out is the demo's own option. */
async function started(options: Parameters<typeof startBmsCore>[0]): Promise<BmsCore> {
  try {
    return await startBmsCore(options);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'CORE_PORT_TAKEN')
      throw new CodedError(error.code, error.message, ANOTHER_PORT, { cause: error });
    throw error;
  }
}

/** All of a few; of many the first, and the first that failed. */
function toShow(machines: readonly DemoMachine[], failed: readonly DemoMachine[]): readonly DemoMachine[] {
  const [first] = failed.length > 0 ? failed : machines;
  return machines.length <= 3 || !first ? machines : [first];
}

/** Like Promise.all, but every promise has settled when it does: nobody works on in what is being taken down. */
async function all(work: readonly Promise<void>[]): Promise<void> {
  const failure = (await Promise.allSettled(work)).find((outcome) => outcome.status === 'rejected');
  if (failure) throw failure.reason;
}

interface ImageFacts {
  readonly id: string;
  readonly name: string;
  readonly format: ImageRecord['format'];
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What the boot ROM, the loader and the ramdisk load. The bytes stand for programs: the simulated machine plays them, and loads every one. */
async function prepareFolder(folder: string, { image: source, random, signal }: DemoOptions): Promise<ImageFacts> {
  const boot = join(folder, 'tftpboot');
  for (const part of ['pxelinux.cfg', 'deploy_image_template', 'user_images']) mkdirSync(join(boot, part), { recursive: true });
  writeFileSync(join(boot, 'pxelinux.0'), random.bytes(42 * 1024));
  for (const file of ['ldlinux.c32', 'bootx64.efi']) writeFileSync(join(boot, file), random.bytes(64 * 1024)); // looked for at the start
  writeFileSync(join(boot, 'deploy_image_template/deploy_kernel'), random.bytes(1024 * 1024));
  writeFileSync(join(boot, 'deploy_image_template/deploy_ramdisk'), random.bytes(2 * 1024 * 1024));
  const id = randomUuid(random);
  const path = join(boot, 'user_images', id);
  if (source === undefined) writeDemoImage(path);
  else symlinkSync(resolve(source), path); // of any size, and only read
  const facts = await imageFacts(source ?? path, signal);
  return { id, name: source ?? 'the demo image', ...facts };
}

async function imageFacts(path: string, signal: AbortSignal): Promise<Omit<ImageFacts, 'id' | 'name'>> {
  try {
    const image = await openImage({ path, signal });
    try {
      return { format: image.format, sizeBytes: image.virtualSizeBytes, sha256: await contentDigest(image, { signal }) };
    } finally {
      await image.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CodedError) throw error;
    throw demoErrors.DEMO_IMAGE({ path, reason: error instanceof Error ? error.message : String(error) }, { cause: error });
  }
}

interface MachinePlace {
  readonly plan: LoopbackPlan;
  readonly wire: RelayWire;
  readonly folder: string;
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly core: BmsCore;
  readonly onClose: (close: () => unknown) => void;
  readonly machine: { readonly cpus: number; readonly memoryMb: number; readonly diskGb: number; readonly cpuArch: string };
}

async function startDemoMachine(options: DemoOptions, place: MachinePlace): Promise<DemoMachine> {
  const { network, clock, random, logger, enrolledPassword, enrolledDiskSerial, diskBytes = DEFAULT_DISK_BYTES } = options;
  const { plan, wire, folder, index, name, mac, core, machine, onClose } = place;
  const events: ServerEvent[] = [];
  const password = Buffer.from(random.bytes(9)).toString('base64url'); // at most 16 characters for old BMCs
  const diskPath = join(folder, `${name}.disk`);
  const disk = await FileDisk.open({ path: diskPath, sizeBytes: diskBytes });
  const diskSerial = `SIM-${mac.replaceAll(':', '')}`;
  const { ports } = plan;
  const address = plan.bmc(index);
  const started = await listening(`the BMC of ${name}`, `${address}:${ports.ipmi}/udp`, () =>
    startMachine({
      name,
      mac,
      disk,
      diskSerial,
      wire,
      network,
      clock,
      random,
      logger,
      selfTestMs: SELF_TEST_MS,
      ports: { tftp: ports.tftp, deployHelper: ports.deployHelper },
      onEvent: (event) => events.push(event),
      bmc: { network, address, port: ports.ipmi, users: [{ name: BMC_USER, password, privilege: 'administrator' }] },
    }),
  ).catch(async (error: unknown) => {
    await disk.close();
    throw error;
  });
  onClose(async () => {
    await started.close();
    await disk.close();
  });
  await enrol(
    { store: core.store, secrets: core.secrets, clock, random },
    {
      name,
      macs: [mac],
      properties: { cpus: machine.cpus, memoryMb: machine.memoryMb, localGb: machine.diskGb, cpuArch: machine.cpuArch },
      bmc: {
        driver: 'ipmi',
        address,
        port: ports.ipmi,
        username: BMC_USER,
        password: enrolledPassword ?? new Secret(password),
      },
      rootDiskSerial: enrolledDiskSerial ?? diskSerial,
    },
  );
  return { ...started, name, mac, disk, diskPath, events };
}

async function spawnOn(store: Store, name: string, imageId: string, { clock, random }: DemoOptions): Promise<void> {
  const outcome = await spawn({ store, clock }, (await nodeNamed(store, name)).uuid, {
    uuid: randomUuid(random),
    name: `instance-on-${name}`,
    imageId,
    approval: { yes: true }, // who starts the demo wants it, and its disk is a file of its own
  });
  if (outcome.kind === 'refused') throw demoErrors.DEMO_NOT_ACTIVE({ name, state: 'not spawned', reason: outcome.reason });
}

async function nodeNamed(store: Store, name: string): Promise<NodeRecord> {
  const found = (await store.list(nodeKind)).find(({ value }) => value.name === name);
  if (!found) throw demoErrors.DEMO_NODE_GONE({ name });
  return found.value;
}

/** Follows one machine until it is in the state; rejects when it has failed instead. */
async function untilState(
  { clock, signal, progress, nodes }: DemoOptions,
  store: Store,
  name: string,
  state: NodeRecord['state'],
): Promise<void> {
  const { uuid } = await nodeNamed(store, name);
  const until = clock.monotonic() + LIMIT_MS + nodes * LIMIT_PER_NODE_MS;
  let told = '';
  for (;;) {
    const node = (await store.get(nodeKind, uuid))?.value;
    if (!node) throw demoErrors.DEMO_NODE_GONE({ name });
    const line = statusLine(node);
    if (line !== told) progress?.(line);
    told = line;
    if (node.state === state) return;
    const failed = node.state === 'error' || (state === 'active' && node.lastFailure !== undefined && node.instance === undefined);
    if (failed || clock.monotonic() > until) {
      throw demoErrors.DEMO_NOT_ACTIVE({ name, state: node.state, reason: node.lastFailure?.reason ?? node.reason });
    }
    await sleep(clock, POLL_MS, signal);
  }
}

function statusLine({ name, state, step, deployment }: NodeRecord): string {
  const { bytes, totalBytes } = deployment?.progress ?? {};
  const written =
    state === 'deploying' && bytes !== undefined && totalBytes !== undefined ? ` ${Math.round((bytes / totalBytes) * 100)} %` : '';
  return `${name}: ${state}${step === undefined ? '' : `, ${step}`}${written}`;
}

async function printTimeline(store: Store, machine: DemoMachine, print: (line: string) => void): Promise<void> {
  const input = { events: machine.events, node: await nodeNamed(store, machine.name) };
  print(`\nTimeline of ${machine.name} (seconds since power-on):`);
  for (const line of timelineLines(input)) print(`  ${line}`);
  const parts = timeSpent(input);
  if (!parts) return;
  print('\nWhere the time went (seconds):');
  for (const line of timeSpentLines(parts)) print(`  ${line}`);
}

/** A port that is taken, in words that name whose it is. */
async function listening<T>(role: string, where: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EADDRINUSE' || code === 'EACCES') throw demoErrors.DEMO_PORT_TAKEN({ role, where }, { cause });
    throw cause;
  }
}

async function diskDigest(disk: FileDisk, bytes: number, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const step = 1024 * 1024;
  for (let offset = 0; offset < bytes; offset += step) {
    signal.throwIfAborted();
    const length = Math.min(step, bytes - offset);
    const padded = Math.ceil(length / disk.blockBytes) * disk.blockBytes;
    hash.update((await disk.read(offset, padded)).subarray(0, length));
  }
  return hash.digest('hex');
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(bytes % 1024 ** 2 === 0 ? 0 : 1);
}
