/** bms-core as a whole on a simulated network in virtual time, with machines that are a record and a BMC: for what the roles are wired to. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { MemoryCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { type Logger, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { enrol, MemorySecretStore, type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmsCore, type BmsCoreOptions, startBmsCore } from 'cdk8s-baremetal-runtime/main';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { SimNetwork, seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import { type Chassis, SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';

const SERVER = '10.1.0.1';

export interface CoreMachine {
  readonly uuid: string;
  readonly chassis: Chassis & { powered: boolean };
  readonly unplug: () => void;
}

export type Settings = Readonly<Record<string, Readonly<Record<string, string>>>>;

export class CoreSite {
  readonly clock = new VirtualClock();
  readonly random = seededRandom('core site');
  readonly network = new SimNetwork({ clock: this.clock, random: this.random.fork('network') });
  readonly store = new MemoryStore();
  readonly secrets = new MemorySecretStore();
  readonly coordination = new MemoryCoordination({ clock: this.clock });
  readonly folder = mkdtempSync(join(tmpdir(), 'core-site-'));
  readonly logs: Record<string, unknown>[] = [];
  readonly #host = this.network.host({ name: 'mgmt', segment: 'lan', addresses: [`${SERVER}/16`] });
  readonly #bmcs: SimulatedBmc[] = [];
  #core: BmsCore | undefined;

  async start(settings: Settings = {}, more: Partial<BmsCoreOptions> = {}): Promise<BmsCore> {
    mkdirSync(join(this.folder, 'tftpboot'), { recursive: true });
    const all: Settings = {
      pxe: { tftpboot_dir: join(this.folder, 'tftpboot') },
      sw_coordination: { backend_url: 'memory://' },
      dhcp: { server_ip: SERVER },
      store: { url: 'memory://' },
      image_cache: { dir: join(this.folder, 'images') },
      ...settings,
    };
    const env = Object.entries(all).flatMap(([section, values]) =>
      Object.entries(values).map(([key, value]) => [bmsCoreConfig.envName(section as keyof typeof bmsCoreConfig.sections, key), value]),
    );
    const { clock, random, store, secrets, coordination, folder } = this;
    this.#core = await clock.run(
      startBmsCore({
        config: bmsCoreConfig.parse('', { env: Object.fromEntries(env) }),
        memberName: 'mgmt',
        serverAddress: SERVER,
        stateDirectory: folder,
        network: this.#host,
        clock,
        random: random.fork('core'),
        logger: this.#logger({}),
        store,
        secrets,
        coordination,
        ...more,
      }),
    );
    return this.#core;
  }

  async close(): Promise<void> {
    if (this.#core) await this.clock.run(this.#core.close());
    for (const bmc of this.#bmcs) await this.clock.run(bmc.close());
    rmSync(this.folder, { recursive: true });
  }

  /** Enrolled, available, and its BMC answers. */
  async machine(number: number, more: Partial<Parameters<typeof enrol>[1]> = {}): Promise<CoreMachine> {
    const address = `10.1.1.${number}`;
    const host = this.network.host({ name: `bmc-${number}`, segment: 'lan', addresses: [`${address}/16`] });
    const password = `a password ${number}`;
    const chassis = {
      powered: false,
      powerOn: () => {
        chassis.powered = true;
      },
      powerOff: () => {
        chassis.powered = false;
      },
      reset: () => undefined,
    };
    const { clock, random } = this;
    const users = [{ name: 'admin', password, privilege: 'administrator' as const }];
    const bmc = { clock, network: host, random: random.fork(`bmc ${number}`), logger: silentLogger, address, users, chassis };
    this.#bmcs.push(await clock.run(SimulatedBmc.start(bmc)));
    const { id } = await this.clock.run(
      enrol(this, {
        name: `bm-${number}`,
        macs: [`02:00:00:00:00:${number.toString(16).padStart(2, '0')}`],
        properties: { cpus: 4, memoryMb: 8192, localGb: 100, cpuArch: 'x86_64' },
        bmc: { driver: 'ipmi', address, username: 'admin', password: new Secret(password) },
        ...more,
      }),
    );
    await this.until(id, ({ state }) => state === 'available' || state === 'manageable');
    return { uuid: id, chassis, unplug: () => host.down() };
  }

  async node(uuid: string): Promise<NodeRecord> {
    const found = await this.store.get(nodeKind, uuid);
    if (!found) throw new Error('gone');
    return found.value;
  }

  /** In use, as after a deployment. */
  async inUse({ uuid, chassis }: CoreMachine, part: Partial<NonNullable<NodeRecord['instance']>> = {}): Promise<void> {
    chassis.powered = true;
    const at = this.clock.now();
    await modify(this.store, nodeKind, uuid, (node) => ({
      ...node,
      state: 'active' as const,
      stateSince: at,
      power: { state: 'on' as const, at },
      instance: { uuid: `inst-${node.number}`, name: `host-${node.number}`, imageId: 'image-1', vifs: [], volumes: [], at, ...part },
      generation: 1,
    }));
  }

  async until(uuid: string, predicate: (node: NodeRecord) => boolean, limitMs = 3_600_000): Promise<NodeRecord> {
    let latest = await this.node(uuid);
    const watch = this.store.watch(nodeKind, (event) => {
      if (event.type === 'put' && event.record.id === uuid) latest = event.record.value;
    });
    try {
      await this.clock.runUntil(() => predicate(latest), { limitMs });
      return latest;
    } finally {
      watch.close();
    }
  }

  #logger(base: Record<string, unknown>): Logger {
    const write = (fields: unknown, message?: string): void => void this.logs.push({ ...base, ...(fields as object), message });
    return { debug: write, info: write, warn: write, error: write, child: (fields) => this.#logger({ ...base, ...fields }) };
  }
}
