/**
 * A pod as it is run: two bms-core processes (the bundle that the image carries) on loopback addresses of their own, one MariaDB, one ZooKeeper, and
 * simulated servers that hear both. For what can only be tried on processes: kill -9, SIGSTOP, a database that restarts.
 */
import { type ChildProcess, spawn as spawnProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import {
  enrol,
  imageKind,
  type NodeRecord,
  nodeKind,
  SecretKeyFile,
  SharedSecretStore,
  spawn,
} from 'cdk8s-baremetal-runtime/machine/index';
import { openStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { type BlockDevice, MemoryDisk } from 'cdk8s-baremetal-simulator';
import { type ProvisioningWire, RelayWire, type SimulatedMachine, startMachine } from 'cdk8s-baremetal-simulator/server/index';
import { bundles, writeBundle } from '../../../scripts/bundles.ts';
import { missingForZooKeeper, type ZooKeeperProcess, zooKeeperServers } from '../coordination/zookeeper-server.ts';
import { type MariaDb, mariaDb, missingForMariaDb } from '../store/maria-db.ts';

const NET = '127.0.94';
const PORTS = { api: 27_081, dhcp: 27_067, tftp: 27_069, http: 27_082, helper: 27_000, ipmi: 27_623 };
const MIB = 1024 * 1024;
const IMAGE_BYTES = 16 * MIB;

export interface PodMachine {
  readonly uuid: string;
  readonly disk: MemoryDisk;
  /** Writes that the disk still takes; then it stands still until there are more. */
  readonly pace: { left: number };
  readonly simulated: SimulatedMachine;
}

export interface Replica {
  readonly name: string;
  readonly child: ChildProcess;
  readonly lines: Record<string, unknown>[];
  readonly ended: Promise<number | null>;
  /** Resolves when a line with this message has been logged. */
  said(message: string): Promise<void>;
}

/** What is missing here, as a sentence. */
export function missingForPod(): string | undefined {
  return missingForMariaDb() ?? missingForZooKeeper();
}

export class ReplicaPod {
  readonly folder = mkdtempSync(join(tmpdir(), 'replica-pod-'));
  readonly database: MariaDb = mariaDb();
  readonly replicas: Replica[] = [];
  readonly imageSha256: string;
  readonly #image: Buffer;
  readonly #sessionS: number;
  readonly #machines: PodMachine[] = [];
  readonly #relays: RelayWire[] = [];
  #zookeeper: ZooKeeperProcess | undefined;
  #url = '';
  #store: Store | undefined;
  #secrets: SharedSecretStore | undefined;

  private constructor(sessionS: number) {
    this.#sessionS = sessionS;
    this.#image = randomBytes(IMAGE_BYTES);
    this.#image.set([0x55, 0xaa], 510);
    this.imageSha256 = createHash('sha256').update(this.#image).digest('hex');
  }

  /** Both servers serve, and the bundle is there; no replica runs yet. */
  static async create({ sessionS = 3 } = {}): Promise<ReplicaPod> {
    const pod = new ReplicaPod(sessionS);
    const { folder, database } = pod;
    for (const part of ['pxelinux.cfg', 'deploy_image_template', 'user_images'])
      mkdirSync(join(folder, 'tftpboot', part), { recursive: true });
    for (const file of ['pxelinux.0', 'deploy_image_template/deploy_kernel', 'deploy_image_template/deploy_ramdisk'])
      writeFileSync(join(folder, 'tftpboot', file), randomBytes(20_000));
    writeFileSync(join(folder, 'tftpboot/user_images/image-1'), pod.#image);
    writeFileSync(join(folder, 'key'), `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    const bundle = bundles.find(({ name }) => name === 'bms-core');
    if (!bundle) throw new Error('no bundle');
    const [zookeeper] = await zooKeeperServers(1, folder);
    pod.#zookeeper = zookeeper;
    await Promise.all([database.start(), zookeeper?.start(), writeBundle(bundle, folder)]);
    pod.#url = await database.database();
    pod.#store = openStore(pod.#url, { clock: nodeClock, password: database.password, pollMs: 50 });
    pod.#secrets = new SharedSecretStore({ store: pod.#store, keys: new SecretKeyFile(join(folder, 'key')), random: nodeRandom });
    await pod.#store.create(imageKind, 'image-1', {
      id: 'image-1',
      name: 'image',
      format: 'raw',
      sizeBytes: IMAGE_BYTES,
      sha256: pod.imageSha256,
      boot: 'local',
    });
    for (const index of [1, 2]) {
      const relay = new RelayWire({
        network: nodeNetwork,
        address: `${NET}.${250 + index}`,
        server: { address: `${NET}.${index}`, port: PORTS.dhcp },
      });
      await relay.start();
      pod.#relays.push(relay);
    }
    return pod;
  }

  get store(): Store {
    if (!this.#store) throw new Error('create it first');
    return this.#store;
  }

  get zookeeper(): ZooKeeperProcess {
    if (!this.#zookeeper) throw new Error('create it first');
    return this.#zookeeper;
  }

  /** `mgmt-1` or `mgmt-2`; resolves when it is up. */
  async start(index: 1 | 2, settings: Record<string, string> = {}): Promise<Replica> {
    const name = `mgmt-${index}`;
    const address = `${NET}.${index}`;
    const state = join(this.folder, name);
    mkdirSync(state, { recursive: true });
    writeFileSync(join(state, 'empty.ini'), '');
    const env: Record<string, string> = {
      PATH: process.env.PATH ?? '',
      NODE_NAME: name,
      BMS_DEFAULT__SERVER_PORT: String(PORTS.api),
      BMS_API__ADDRESS: address,
      BMS_SW_COORDINATION__BACKEND_URL: `kazoo://127.0.0.1:${this.zookeeper.port}/bms`,
      BMS_MEMBERSHIP__SESSION_TIMEOUT: String(this.#sessionS),
      BMS_PXE__TFTPBOOT_DIR: join(this.folder, 'tftpboot'),
      BMS_DHCP__MODE: 'server',
      BMS_DHCP__SERVER_IP: address,
      BMS_DHCP__SUBNET: `${NET}.0/24`,
      BMS_DHCP__RANGE_START: `${NET}.${index * 50}`,
      BMS_DHCP__RANGE_END: `${NET}.${index * 50 + 49}`,
      BMS_DHCP__PORT: String(PORTS.dhcp),
      BMS_TFTP__ADDRESS: address,
      BMS_TFTP__PORT: String(PORTS.tftp),
      BMS_HTTP_BOOT__ADDRESS: address,
      BMS_HTTP_BOOT__PORT: String(PORTS.http),
      BMS_DEPLOY_HELPER__ADDRESS: address,
      BMS_DEPLOY_HELPER__PORT: String(PORTS.helper),
      BMS_STORE__URL: this.#url,
      BMS_STORE__PASSWORD: this.database.password.reveal(),
      BMS_STORE__SECRETS_KEY_FILE: join(this.folder, 'key'),
      BMS_IMAGE_CACHE__DIR: join(state, 'images'),
      ...settings,
    };
    const child = spawnProcess(process.execPath, [join(this.folder, 'bms-core.cjs'), '--config', join(state, 'empty.ini')], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const replica = follow(name, child);
    this.replicas.push(replica);
    await replica.said('bms-core is up');
    return replica;
  }

  /** Enrolled and available. Needs a replica. */
  async machine(number: number): Promise<PodMachine> {
    const name = `bm-${number}`;
    const mac = `52:54:00:94:00:${number.toString(16).padStart(2, '0')}`;
    const disk = new MemoryDisk({ sizeBytes: 32 * MIB });
    const pace = { left: Infinity };
    const address = `127.1.94.${number}`;
    const password = randomBytes(9).toString('base64url');
    const shared = { network: nodeNetwork, clock: nodeClock, random: nodeRandom, logger: silentLogger };
    const simulated = await startMachine({
      ...shared,
      name,
      mac,
      disk: paced(disk, pace),
      diskSerial: `SIM-${number}`,
      wire: this.#wire(),
      selfTestMs: 50,
      bootRetryMs: 500,
      ports: { tftp: PORTS.tftp, deployHelper: PORTS.helper },
      bmc: { network: nodeNetwork, address, port: PORTS.ipmi, users: [{ name: 'admin', password, privilege: 'administrator' }] },
    });
    const { store } = this;
    const secrets = this.#secrets;
    if (!secrets) throw new Error('create it first');
    const { id: uuid } = await enrol(
      { store, secrets, clock: nodeClock, random: nodeRandom },
      {
        name,
        macs: [mac],
        properties: { cpus: 4, memoryMb: 8192, localGb: 1, cpuArch: 'x86_64' },
        bmc: { driver: 'ipmi', address, port: PORTS.ipmi, username: 'admin', password: new Secret(password) },
        rootDiskSerial: `SIM-${number}`,
      },
    );
    const machine = { uuid, disk, pace, simulated };
    this.#machines.push(machine);
    await this.until(machine, ({ state }) => state === 'available');
    return machine;
  }

  async spawn({ uuid }: PodMachine): Promise<void> {
    const instance = { uuid: `inst-${uuid}`, name: 'host', imageId: 'image-1', approval: { yes: true as const } };
    const outcome = await spawn({ store: this.store, clock: nodeClock }, uuid, instance);
    if (outcome.kind !== 'associated') throw new Error(JSON.stringify(outcome));
  }

  async node({ uuid }: PodMachine): Promise<NodeRecord> {
    const found = await this.store.get(nodeKind, uuid);
    if (!found) throw new Error('the record is gone');
    return found.value;
  }

  async until(machine: PodMachine, predicate: (node: NodeRecord) => boolean, limitMs = 60_000): Promise<NodeRecord> {
    for (const end = nodeClock.monotonic() + limitMs; ; ) {
      const node = await this.node(machine);
      if (predicate(node)) return node;
      if (nodeClock.monotonic() > end) throw new Error(`still ${node.state} of ${node.owner}: ${node.reason}\n${this.#tail()}`);
      await sleep(nodeClock, 20);
    }
  }

  /** In the middle of the image: some of it is on the disk, and the rest waits until `pace` lets it. */
  async writing(machine: PodMachine): Promise<NodeRecord> {
    machine.pace.left = 3;
    await this.spawn(machine);
    await this.until(machine, ({ state }) => state === 'deploying');
    while (machine.pace.left > 0) await sleep(nodeClock, 20);
    return this.node(machine);
  }

  /** The replica whose machine it is, and the other one. */
  between({ owner = '' }: NodeRecord): { owner: Replica; other: Replica } {
    const alive = this.replicas.filter(({ child }) => child.exitCode === null && child.signalCode === null);
    const own = alive.find(({ name }) => owner.startsWith(`${name}#`));
    const other = alive.find((replica) => replica !== own);
    if (!own || !other) throw new Error(`owner ${owner} among ${alive.map(({ name }) => name)}`);
    return { owner: own, other };
  }

  async holdsImage({ disk }: PodMachine): Promise<boolean> {
    return (
      createHash('sha256')
        .update(await disk.read(0, IMAGE_BYTES))
        .digest('hex') === this.imageSha256
    );
  }

  async close(): Promise<void> {
    for (const { child, ended } of this.replicas) {
      child.kill('SIGKILL');
      await ended;
    }
    for (const { simulated } of this.#machines) await simulated.close();
    for (const relay of this.#relays) await relay.close();
    this.#secrets?.close();
    await this.#store?.close();
    await this.#zookeeper?.kill();
    await this.database.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Both relays, as a router with two helper addresses. */
  #wire(): ProvisioningWire {
    return {
      open: async (mac, onReply) => {
        const ports = await Promise.all(this.#relays.map((relay) => relay.open(mac, onReply)));
        return {
          send: (message) => {
            for (const port of ports) port.send(message);
          },
          close: async () => {
            for (const port of ports) await port.close();
          },
        };
      },
    };
  }

  #tail(): string {
    return this.replicas
      .map(
        ({ name, lines }) =>
          `${name}: ${lines
            .slice(-5)
            .map((line) => JSON.stringify(line))
            .join('\n')}`,
      )
      .join('\n');
  }
}

function follow(name: string, child: ChildProcess): Replica {
  const lines: Record<string, unknown>[] = [];
  let rest = '';
  let told = Promise.withResolvers<void>();
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = `${rest}${chunk}`.split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) if (line.startsWith('{')) lines.push(JSON.parse(line));
    told.resolve();
    told = Promise.withResolvers();
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const said = async (message: string): Promise<void> => {
    while (!lines.some(({ msg }) => msg === message)) {
      const over = await Promise.race([told.promise, ended.then(() => true)]);
      if (over === true) throw new Error(`${name} ended without "${message}": ${JSON.stringify(lines.at(-1))}`);
    }
  };
  return { name, child, lines, ended, said };
}

function paced(disk: MemoryDisk, pace: PodMachine['pace']): BlockDevice {
  return {
    blockBytes: disk.blockBytes,
    sizeBytes: disk.sizeBytes,
    read: (offset, length) => disk.read(offset, length),
    zero: (offset, length) => disk.zero(offset, length),
    flush: () => disk.flush(),
    write: async (offset, data) => {
      const copy = data.slice(); // the caller reuses its buffer once this resolves, and we write later
      while (pace.left <= 0) await sleep(nodeClock, 20);
      pace.left -= 1;
      await disk.write(offset, copy);
    },
  };
}
