/** The pod of the example site in virtual time: bms-core on a simulated network, machines on its provisioning VLAN, their BMCs on another. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { bytesFile, type FileSource, NOT_FOUND, normalisePath } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { MemoryCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { type DiskImage, type OpenImageOptions, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { enrol, imageKind, MemorySecretStore, type NodeRecord, nodeKind, spawn } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmsCore, type BmsCoreOptions, startBmsCore } from 'cdk8s-baremetal-runtime/main';
import { MemoryStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import {
  formatEvent,
  type LinkFaults,
  MemoryDisk,
  type SeededRandom,
  type SimHost,
  SimNetwork,
  seededRandom,
  type TraceEvent,
  VirtualClock,
} from 'cdk8s-baremetal-simulator';
import {
  broadcastWire,
  type ServerEvent,
  type SimulatedMachine,
  type SimulatedMachineOptions,
  startMachine,
} from 'cdk8s-baremetal-simulator/server/index';

export const PROVISIONING = 'vlan1800';
export const MANAGEMENT = 'vlan401';
const SERVER = '192.168.50.20';
const MIB = 1024 * 1024;
const BMC_USER = 'admin';

export interface VirtualSiteOptions {
  readonly seed?: number | string;
  readonly machines?: number;
  /** An empty folder for the boot tree and the image. */
  readonly folder: string;
  readonly imageBytes?: number;
  /** Default: one in memory. */
  readonly openStore?: (clock: VirtualClock) => Store;
  readonly settings?: BmsCoreOptions['settings'];
  readonly trace?: (event: TraceEvent) => void;
  readonly selfTestMs?: number;
  /** Default: 30,000. `never`: a machine that finds nothing to boot stands still, as a desktop does. */
  readonly bootRetryMs?: number | 'never';
}

export interface VirtualMachine extends SimulatedMachine {
  readonly uuid: string;
  readonly name: string;
  readonly mac: string;
  readonly host: SimHost;
  readonly disk: MemoryDisk;
  readonly events: ServerEvent[];
}

export class VirtualSite {
  readonly clock = new VirtualClock();
  readonly network: SimNetwork;
  readonly mgmt: SimHost;
  readonly store: Store;
  readonly secrets = new MemorySecretStore();
  readonly machines: VirtualMachine[] = [];
  readonly image: { readonly id: string; readonly path: string; readonly sha256: string; readonly bytes: number };
  private readonly random: SeededRandom;
  private core: BmsCore | undefined;

  private constructor(private readonly options: VirtualSiteOptions) {
    const { seed = 1, folder, imageBytes = 2 * MIB, trace } = options;
    this.random = seededRandom(seed);
    this.network = new SimNetwork({ clock: this.clock, random: this.random.fork('network'), ...(trace && { trace }) });
    this.store = options.openStore?.(this.clock) ?? new MemoryStore();
    this.mgmt = this.network.host({
      name: 'mgmt',
      interfaces: [
        { segment: PROVISIONING, address: `${SERVER}/24` },
        { segment: MANAGEMENT, address: '10.128.192.21/16' },
      ],
    });
    const path = join(folder, 'tftpboot/user_images/image-1');
    const content = diskImage(imageBytes);
    this.image = { id: 'image-1', path, sha256: createHash('sha256').update(content).digest('hex'), bytes: imageBytes };
    for (const part of ['pxelinux.cfg', 'deploy_image_template', 'user_images'])
      mkdirSync(join(folder, 'tftpboot', part), { recursive: true });
    const files = this.random.fork('files');
    writeFileSync(path, content);
    writeFileSync(join(folder, 'tftpboot/pxelinux.0'), files.bytes(42 * 1024));
    writeFileSync(join(folder, 'tftpboot/deploy_image_template/deploy_kernel'), files.bytes(100 * 1024));
    writeFileSync(join(folder, 'tftpboot/deploy_image_template/deploy_ramdisk'), files.bytes(200 * 1024));
  }

  /** bms-core is up, and every machine enrolled and available. */
  static async create(options: VirtualSiteOptions): Promise<VirtualSite> {
    const site = new VirtualSite(options);
    const { clock, store, image } = site;
    await site.startCore();
    await clock.run(
      store.create(imageKind, image.id, {
        id: image.id,
        name: 'image',
        format: 'raw',
        sizeBytes: image.bytes,
        sha256: image.sha256,
        boot: 'local',
      }),
    );
    for (let index = 0; index < (options.machines ?? 1); index++) await clock.run(site.addMachine(index));
    for (const machine of site.machines) await site.until(machine, ({ state }) => state === 'available');
    return site;
  }

  async startCore(): Promise<void> {
    const { clock, store, secrets, options } = this;
    this.core = await clock.run(
      startBmsCore({
        config: configuration(options.folder),
        memberName: 'mgmt',
        serverAddress: SERVER,
        stateDirectory: options.folder,
        network: this.mgmt,
        clock,
        random: this.random.fork(`core/${clock.monotonic()}`),
        logger: silentLogger,
        store,
        secrets,
        coordination: new MemoryCoordination({ clock }), // of one process: the embedded form
        files: synchronousFiles(join(options.folder, 'tftpboot')),
        openImage: synchronousImage,
        ...(options.settings && { settings: options.settings }),
      }),
    );
  }

  async stopCore(): Promise<void> {
    const { core } = this;
    this.core = undefined;
    if (core) await this.clock.run(core.close());
  }

  async close(): Promise<void> {
    for (const machine of this.machines) await this.clock.run(machine.close());
    await this.stopCore();
  }

  async spawn(machine: VirtualMachine): Promise<void> {
    const { clock, store, image } = this;
    const outcome = await clock.run(
      spawn({ store, clock }, machine.uuid, {
        uuid: `instance-of-${machine.name}`,
        name: `host-${machine.name}`,
        imageId: image.id,
        approval: { yes: true },
      }),
    );
    if (outcome.kind !== 'associated') throw new Error(`refused: ${JSON.stringify(outcome)}`);
  }

  /** Lets time pass until the record is so; gives the record. */
  async until(machine: VirtualMachine, predicate: (node: NodeRecord) => boolean, limitMs?: number): Promise<NodeRecord> {
    let latest = await this.clock.run(this.node(machine));
    const watch = this.store.watch(nodeKind, (event) => {
      if (event.type === 'put' && event.record.id === machine.uuid) latest = event.record.value;
    });
    try {
      await this.clock.runUntil(() => predicate(latest), limitMs === undefined ? {} : { limitMs });
    } finally {
      watch.close();
    }
    return latest;
  }

  /** ACTIVE, or back after a failure. */
  settled(machine: VirtualMachine): Promise<NodeRecord> {
    return this.until(machine, (node) => node.state === 'active' || node.state === 'error' || hasFailed(node));
  }

  async node(machine: VirtualMachine): Promise<NodeRecord> {
    const record = await this.store.get(nodeKind, machine.uuid);
    if (!record) throw new Error(`the record of ${machine.name} is gone`);
    return record.value;
  }

  holdsImage({ disk }: VirtualMachine): boolean {
    return disk.sha256(this.image.bytes) === this.image.sha256;
  }

  degrade(faults: Partial<LinkFaults>): void {
    this.network.segment(PROVISIONING).degrade(faults);
  }

  private async addMachine(index: number): Promise<void> {
    const { clock, network, store, secrets } = this;
    const { bootRetryMs = 30_000 } = this.options;
    const number = index + 1;
    const name = `bm-${String(number).padStart(2, '0')}`;
    const mac = `52:54:00:45:${hex(number >> 8)}:${hex(number)}`;
    const random = this.random.fork(name);
    const host = network.host({ name, segment: PROVISIONING });
    host.down();
    const bmcAddress = `10.128.${193 + (number >> 7)}.${(number & 127) + 1}`;
    const bmcHost = network.host({ name: `bmc-${name}`, segment: MANAGEMENT, addresses: [`${bmcAddress}/16`] });
    const events: ServerEvent[] = [];
    const disk = new MemoryDisk({ sizeBytes: 64 * MIB });
    const diskSerial = `SIM-${number}`;
    const password = Buffer.from(random.bytes(9)).toString('base64url');
    const bmc: SimulatedMachineOptions['bmc'] = {
      network: bmcHost,
      address: bmcAddress,
      users: [{ name: BMC_USER, password, privilege: 'administrator' }],
    };
    const started = await startMachine({
      name,
      mac,
      disk,
      diskSerial,
      wire: broadcastWire(host),
      network: host,
      configureAddress: (address) => host.attach(PROVISIONING, `${address}/24`),
      clock,
      random,
      logger: silentLogger,
      selfTestMs: this.options.selfTestMs ?? 20_000,
      ...(bootRetryMs !== 'never' && { bootRetryMs }),
      onEvent: (event) => {
        events.push(event);
        // what power does to a card: its address and its sockets are gone
        if (event.type === 'power off' || event.type === 'reset') {
          host.down();
          host.removeAddresses(PROVISIONING);
        }
        if (event.type === 'power on') host.up();
      },
      bmc,
    });
    const { id } = await enrol(
      { store, secrets, clock, random },
      {
        name,
        macs: [mac],
        properties: { cpus: 32, memoryMb: 131_072, localGb: 480, cpuArch: 'x86_64' },
        bmc: { driver: 'ipmi', address: bmcAddress, username: BMC_USER, password: new Secret(password) },
        rootDiskSerial: diskSerial,
      },
    );
    this.machines.push({ ...started, uuid: id, name, mac, host, disk, events });
  }
}

/** Back to free after a failure, or stuck with it. */
export function hasFailed(node: NodeRecord): boolean {
  return node.lastFailure !== undefined && (node.instance === undefined || node.cleanup?.gaveUp === true);
}

/** One line per packet with a digest of its bytes: two histories are the same when their lines are. */
export function packetLine(event: TraceEvent): string {
  return `${formatEvent(event)} ${createHash('sha256').update(event.packet.data).digest('base64url').slice(0, 12)}`;
}

function configuration(folder: string): ReturnType<typeof bmsCoreConfig.parse> {
  const settings: Record<string, Record<string, string>> = {
    pxe: { tftpboot_dir: `${folder}/tftpboot`, deploy_image_dir: `${folder}/tftpboot/deploy_image_template` },
    sw_coordination: { backend_url: 'memory://' },
    dhcp: {
      mode: 'server',
      server_ip: SERVER,
      subnet: '192.168.50.0/24',
      range_start: '192.168.50.100',
      range_end: '192.168.50.250',
      gateway: '192.168.50.1',
    },
    store: { url: 'memory://' },
    image_cache: { dir: `${folder}/images` },
  };
  const env = Object.entries(settings).flatMap(([section, values]) =>
    Object.entries(values).map(([key, value]) => [bmsCoreConfig.envName(section as keyof typeof bmsCoreConfig.sections, key), value]),
  );
  return bmsCoreConfig.parse('', { env: Object.fromEntries(env) });
}

/** Bootable as far as a BIOS looks; data, a hole, data up to the end. */
function diskImage(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 32) {
    if (at >= bytes / 4 && at < bytes / 2) continue;
    createHash('sha256').update(`sector ${at}`).digest().copy(content, at);
  }
  content.set([0x55, 0xaa], 510);
  return content;
}

/** Two histories are alike only when nothing hangs on the order in which a thread pool ends: files are read on the spot. */
function synchronousFiles(root: string): FileSource {
  return async ({ path }) => {
    const name = normalisePath(path);
    if (name === undefined) return NOT_FOUND;
    try {
      return bytesFile(readFileSync(join(root, name)));
    } catch {
      return NOT_FOUND;
    }
  };
}

async function synchronousImage(options: OpenImageOptions): Promise<DiskImage> {
  const image = await openImage(options);
  const file = openSync(options.path, 'r');
  const { size } = fstatSync(file);
  return {
    format: image.format,
    file: image.file,
    virtualSizeBytes: size,
    extents: () => image.extents(),
    read: async (offset, length, into = new Uint8Array(length)) => {
      options.signal?.throwIfAborted();
      readSync(file, into, 0, length, offset);
      return into;
    },
    close: async () => {
      closeSync(file);
      await image.close();
    },
  };
}

function hex(value: number): string {
  return (value & 0xff).toString(16).padStart(2, '0');
}
