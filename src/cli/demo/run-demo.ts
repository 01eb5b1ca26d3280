/**
 * The main job on one machine: bms-core with its embedded defaults deploys simulated servers over real DHCP, TFTP, IPMI, HTTP and
 * iSCSI on loopback. Nothing is faked but the metal.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodedError, defineErrors, entry, PROVISIONING_VLAN, type SiteInput } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, type Logger, type Network, type Random, randomUuid, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { contentDigest, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { enrol, imageKind, type NodeRecord, nodeKind, spawn } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmsCore, startBmsCore } from 'cdk8s-baremetal-runtime/main';
import type { Store } from 'cdk8s-baremetal-runtime/store/index';
import { FileDisk } from 'cdk8s-baremetal-simulator';
import { RelayWire, type ServerEvent, type SimulatedMachine, startMachine } from 'cdk8s-baremetal-simulator/server/index';
import { writeDemoImage } from './demo-image.ts';
import { type LoopbackPlan, loopbackConfig, loopbackPlan, MOST_MACHINES, synthesize, withMachines } from './loopback-site.ts';

export const demoErrors = defineErrors('The demo', {
  DEMO_NODES: entry<{ nodes: number }>({
    message: ({ nodes }) => `${nodes} is not a number of machines`,
    cure: `Give 1 to ${MOST_MACHINES}`,
  }),
  DEMO_NOT_ACTIVE: entry<{ name: string; state: string; reason: string }>({
    message: ({ name, state, reason }) => `${name} is ${state}: ${reason}`,
    cure: 'Read its timeline above; run again with --keep to look at it with bmctl',
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

const DISK_BYTES = 2 * 1024 ** 3;
const BMC_USER = 'admin';
/** A second from power to the first packet, where real machines take minutes. */
const SELF_TEST_MS = 300;
const POLL_MS = 100;
const NODE_LIMIT_MS = 120_000;

/** Rejects with a CodedError when a machine is not deployed, with the signal's reason when interrupted; leaves nothing behind either way. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { site, nodes, signal, network, clock, print } = options;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MOST_MACHINES) throw demoErrors.DEMO_NODES({ nodes });
  const folder = mkdtempSync(join(tmpdir(), 'bms-demo-'));
  const closers: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  try {
    const { objects, configText, pod } = synthesize(withMachines(site, nodes));
    print(`Synthesized ${site.name}: ${objects} Kubernetes objects; bms-core starts from the ConfigMap of ${pod.name} among them.`);
    const plan = loopbackPlan(Number(pod.name.slice('pod'.length)), options.portBase);
    const imageId = prepareFolder(folder, options);
    const config = loopbackConfig(configText, plan, folder);
    const core = await startBmsCore({
      ...options,
      config,
      memberName: pod.managementNodes[0]?.name ?? 'demo',
      serverAddress: plan.server,
      stateDirectory: folder,
    });
    closers.push(() => core.close());
    print(
      `bms-core is up on ${plan.server}: DHCP ${plan.ports.dhcp}, TFTP ${plan.ports.tftp}, HTTP boot ${plan.ports.httpBoot}, deploy-helper ${plan.ports.deployHelper}, API ${plan.ports.api}.`,
    );
    const wire = new RelayWire({ network, address: plan.relay, server: { address: plan.server, port: plan.ports.dhcp } });
    await wire.start();
    closers.push(() => wire.close());

    const machines: DemoMachine[] = [];
    for (const [index, machine] of pod.machines.entries()) {
      const mac = machine.interfaces.find(({ vlan }) => vlan === undefined || vlan === PROVISIONING_VLAN)?.mac ?? '';
      const started = await startDemoMachine(options, { plan, wire, folder, index, name: machine.name, mac, core, machine });
      closers.push(async () => {
        await started.close();
        await started.disk.close();
      });
      machines.push(started);
    }
    const image = await imageFacts(core, imageId, join(folder, 'tftpboot/user_images', imageId), options);
    const began = clock.monotonic();
    await Promise.all(machines.map((machine) => untilState(options, core.store, machine.name, 'available')));
    print(`Enrolled ${machines.map(({ name }) => name).join(', ')}: each BMC answers on IPMI ${plan.ports.ipmi}.`);
    print(`Deploying ${image.name}: ${mebibytes(image.sizeBytes)} MiB, SHA-256 ${image.sha256.slice(0, 16)}…`);
    for (const machine of machines) await spawnOn(core.store, machine.name, imageId, options);
    const outcomes = await Promise.allSettled(machines.map((machine) => untilState(options, core.store, machine.name, 'active')));
    for (const machine of machines.length > 3 ? machines.slice(0, 1) : machines) await printTimeline(core.store, machine, print);
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure) throw failure.reason;
    for (const machine of machines) {
      const disk = await diskDigest(machine.disk, image.sizeBytes, signal);
      if (disk !== image.sha256) throw demoErrors.DEMO_DISK_DIFFERS({ name: machine.name, disk, image: image.sha256 });
    }
    const seconds = ((clock.monotonic() - began) / 1000).toFixed(1);
    print(
      `\n${machines.length === 1 ? 'The machine is' : `All ${machines.length} machines are`} ACTIVE after ${seconds} s; disk and image have the same SHA-256, ${image.sha256}.`,
    );
    await options.keep?.({ core, plan, machines, folder });
    for (const machine of machines) machine.server.powerOff();
    print(machines.length === 1 ? 'Powered down.' : 'All powered down.');
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** What the boot ROM, the loader and the ramdisk load. The bytes stand for programs: the simulated machine plays them, and loads every one. */
function prepareFolder(folder: string, { image, random }: DemoOptions): string {
  const boot = join(folder, 'tftpboot');
  for (const part of ['pxelinux.cfg', 'deploy_image_template', 'user_images']) mkdirSync(join(boot, part), { recursive: true });
  writeFileSync(join(boot, 'pxelinux.0'), random.bytes(42 * 1024));
  writeFileSync(join(boot, 'deploy_image_template/deploy_kernel'), random.bytes(1024 * 1024));
  writeFileSync(join(boot, 'deploy_image_template/deploy_ramdisk'), random.bytes(2 * 1024 * 1024));
  const id = randomUuid(random);
  const path = join(boot, 'user_images', id);
  if (image === undefined) writeDemoImage(path);
  else copyFileSync(image, path);
  return id;
}

interface MachinePlace {
  readonly plan: LoopbackPlan;
  readonly wire: RelayWire;
  readonly folder: string;
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly core: BmsCore;
  readonly machine: { readonly cpus: number; readonly memoryMb: number; readonly diskGb: number; readonly cpuArch: string };
}

async function startDemoMachine(options: DemoOptions, place: MachinePlace): Promise<DemoMachine> {
  const { network, clock, random, logger, enrolledPassword } = options;
  const { plan, wire, folder, index, name, mac, core, machine } = place;
  const events: ServerEvent[] = [];
  const password = Buffer.from(random.bytes(9)).toString('base64url'); // at most 16 characters for old BMCs
  const diskPath = join(folder, `${name}.disk`);
  const disk = await FileDisk.open({ path: diskPath, sizeBytes: DISK_BYTES });
  const diskSerial = `SIM-${mac.replaceAll(':', '')}`;
  const started = await startMachine({
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
    ports: { tftp: plan.ports.tftp, deployHelper: plan.ports.deployHelper },
    onEvent: (event) => events.push(event),
    bmc: { network, address: plan.bmc(index), port: plan.ports.ipmi, users: [{ name: BMC_USER, password, privilege: 'administrator' }] },
  });
  await enrol(
    { store: core.store, secrets: core.secrets, clock, random },
    {
      name,
      macs: [mac],
      properties: { cpus: machine.cpus, memoryMb: machine.memoryMb, localGb: machine.diskGb, cpuArch: machine.cpuArch },
      bmc: {
        driver: 'ipmi',
        address: plan.bmc(index),
        port: plan.ports.ipmi,
        username: BMC_USER,
        password: enrolledPassword ?? new Secret(password),
      },
      rootDiskSerial: diskSerial,
    },
  );
  return { ...started, name, mac, disk, diskPath, events };
}

interface ImageFacts {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

async function imageFacts({ store }: BmsCore, id: string, path: string, { image: source, signal }: DemoOptions): Promise<ImageFacts> {
  const image = await openImage({ path, signal });
  try {
    const name = source === undefined ? 'the demo image' : source;
    const sha256 = await contentDigest(image, { signal });
    const { format, virtualSizeBytes: sizeBytes } = image;
    await store.create(imageKind, id, { id, name, format, sizeBytes, sha256, boot: 'local' });
    return { name, sizeBytes, sha256 };
  } finally {
    await image.close();
  }
}

async function spawnOn(store: Store, name: string, imageId: string, { clock, random }: DemoOptions): Promise<void> {
  const outcome = await spawn({ store, clock }, (await nodeNamed(store, name)).uuid, {
    uuid: randomUuid(random),
    name: `instance-on-${name}`,
    imageId,
  });
  if (outcome.kind === 'refused') throw demoErrors.DEMO_NOT_ACTIVE({ name, state: 'not spawned', reason: outcome.reason });
}

async function nodeNamed(store: Store, name: string): Promise<NodeRecord> {
  const found = (await store.list(nodeKind)).find(({ value }) => value.name === name);
  if (!found) throw new CodedError('DEMO_NODE_GONE', `${name} is not enrolled any more`, 'Start the demo again');
  return found.value;
}

/** Follows one machine until it is in the state; rejects when it has failed instead. */
async function untilState({ clock, signal, progress }: DemoOptions, store: Store, name: string, state: NodeRecord['state']): Promise<void> {
  const { uuid } = await nodeNamed(store, name);
  const until = clock.monotonic() + NODE_LIMIT_MS;
  let told = '';
  for (;;) {
    const node = (await store.get(nodeKind, uuid))?.value;
    if (!node) throw new CodedError('DEMO_NODE_GONE', `${name} is not enrolled any more`, 'Start the demo again');
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

/** Both sides in one order of time: what the controller decided, what the machine did. Seconds since power-on. */
async function printTimeline(store: Store, machine: DemoMachine, print: (line: string) => void): Promise<void> {
  const node = await nodeNamed(store, machine.name);
  const start = machine.events.find(({ type }) => type === 'power on')?.at ?? node.stateSince;
  const lines = [
    ...machine.events.map(({ at, type, detail }) => ({ at, who: 'machine ', what: type, detail })),
    ...node.history.map(({ at, from, to, reason }) => ({ at, who: 'bms-core', what: `${from} → ${to}`, detail: reason })),
    ...node.timeline.map(({ at, type, detail }) => ({ at, who: 'bms-core', what: type, detail })),
  ]
    .filter(({ at }) => at >= start)
    .sort((a, b) => a.at - b.at);
  print(`\nTimeline of ${machine.name} (seconds since power-on):`);
  for (const { at, who, what, detail } of lines)
    print(`  ${((at - start) / 1000).toFixed(3).padStart(8)}  ${who}  ${what}${detail ? `  ${detail}` : ''}`);
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
