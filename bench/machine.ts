/**
 * The life of machines, measured: 10,000 of them in each store; transitions per second with drivers that answer at once; machines per minute from enrolment to
 * ACTIVE with simulated servers over real protocols on loopback; an idle conductor with 10,000 machines; how long a take-over takes. Prints Markdown. About eight
 * minutes.
 *
 *   node --import tsx bench/machine.ts [stores] [transitions] [deploy] [idle] [takeover] [--quick]      all of them by default
 *
 * A take-over is measured on two processes, a real ZooKeeper and a real MariaDB: from kill -9 of the owner in the middle of an image to the other's claim on
 * the record, and to its first write to the disk.
 *
 * The simulated servers share the cores with the conductor, and so do their disks: what is measured of them is an upper bound of our part.
 * The idle conductor's BMCs answer at once and without a network; bench/power.ts says what a look costs on the wire. Each store has a process of its own, all
 * of them at once: they do nothing most of the time, and CPU and memory are those of the process.
 */
import { spawn as spawnProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { MemoryCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import {
  BootView,
  claimDeployment,
  enrol,
  type MachinePorts,
  MemorySecretStore,
  type NodeRecord,
  nodeKind,
  observe,
  PowerSync,
  Reconciler,
  spawn,
} from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore, openStore, SqliteStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { missingForPod, ReplicaPod } from '../test/runtime/machine/replica-pod.ts';
import { mariaDb, missingForMariaDb } from '../test/runtime/store/maria-db.ts';

const quick = process.argv.includes('--quick');
const parts = process.argv.slice(2).filter((part) => !part.startsWith('--'));
const wanted = (part: string): boolean => parts.length === 0 || parts.includes(part);
const IDLE_MACHINES = Number(process.env.BENCH_MACHINES ?? (quick ? 1_000 : 10_000));
const IDLE_SECONDS = Number(process.env.BENCH_SECONDS ?? (quick ? 10 : 60));
const STORES = ['memory', 'SQLite', 'MariaDB'] as const;
/** Set in the process of one store's idle conductor. */
const IDLE_STORE = process.env.BENCH_IDLE_STORE;
const folder = mkdtempSync(join(tmpdir(), 'bench-machine-'));

try {
  if (IDLE_STORE !== undefined) console.log(JSON.stringify((await inEachStore('idle', idle, [IDLE_STORE]))[0] ?? []));
  else await all();
} finally {
  rmSync(folder, { recursive: true });
}

async function all(): Promise<void> {
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model}), ${Math.round(totalmem() / 1024 ** 3)} GiB\n`);
  if (wanted('stores')) console.log(await childText(['bench/store.ts', ...(quick ? ['--quick'] : [])]));
  if (wanted('transitions')) {
    table(
      ['store', 'machines', 'transitions', 'transitions/s', 'CPU ms per transition'],
      await inEachStore('transitions', (name, store) => transitions(name, store, 500)),
    );
  }
  if (wanted('deploy')) {
    table(
      ['simulated servers', 'seconds', 'to ACTIVE per minute', 'CPU seconds per machine', 'cores in use'],
      quick ? [await deploy(20)] : [await deploy(20), await deploy(200)],
    );
  }
  if (wanted('idle')) {
    const texts = await Promise.all(STORES.map((store) => childText(['bench/machine.ts', ...quickly()], { BENCH_IDLE_STORE: store })));
    const rows = texts.map((text) => JSON.parse(text.trim().split('\n').at(-1) ?? '[]') as string[]);
    table(
      ['store', 'machines', 'looks/s', 'CPU % of a core', 'RSS MiB', 'heap MiB', 'store writes'],
      rows.filter(({ length }) => length > 0),
    );
  }
  if (wanted('takeover')) {
    const missing = missingForPod();
    if (missing !== undefined) console.log(`Take-overs: skipped, ${missing}\n`);
    else {
      table(
        [
          'session',
          'take-overs',
          'kill -9 to claim: median s',
          'worst s',
          'kill -9 to first write: median s',
          'worst s',
          'claim to first write: median ms',
        ],
        quick ? [await takeOver(3, 1)] : [await takeOver(3, 5), await takeOver(15, 3)],
      );
    }
  }
}

function quickly(): string[] {
  return quick ? ['--quick'] : [];
}

/** What another program of ours prints. */
async function childText(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const child = spawnProcess(process.execPath, ['--import', 'tsx', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`);
  return text;
}

/** One row each; MariaDB is left out, aloud, where it is not installed. */
async function inEachStore(
  part: string,
  measure: (name: string, store: Store) => Promise<string[]>,
  stores: readonly string[] = STORES,
): Promise<string[][]> {
  const rows: string[][] = [];
  if (stores.includes('memory')) rows.push(await measure('memory', new MemoryStore()));
  if (stores.includes('SQLite'))
    rows.push(await measure('SQLite', new SqliteStore({ path: join(folder, `${part}.db`), clock: nodeClock })));
  if (!stores.includes('MariaDB')) return rows;
  const missing = missingForMariaDb();
  if (missing !== undefined) {
    console.warn(`MariaDB: skipped, ${missing}\n`);
    return rows;
  }
  const server = mariaDb();
  try {
    await server.start();
    const store = openStore(await server.database(), { clock: nodeClock, password: server.password });
    return [...rows, await measure('MariaDB', store)];
  } finally {
    await server.remove();
  }
}

/** From enrolment to ACTIVE with drivers that answer at once: what is left is ours and the store's. */
async function transitions(name: string, store: Store, count: number): Promise<string[]> {
  const secrets = new MemorySecretStore();
  const coordination = new MemoryCoordination({ clock: nodeClock });
  const boot = new BootView({ store, secrets });
  const claim = claimDeployment({ store, clock: nodeClock });
  const addresses = new Map<string, string>();
  let done = 0;
  let active = 0;
  /** What a machine does when it is turned on: boots the ramdisk, and its own disk the next time. */
  const poweredOn = async ({ uuid, number, interfaces: [card] }: NodeRecord): Promise<void> => {
    const mac = card?.mac ?? '';
    const address = addresses.get(uuid) ?? '';
    await observe({ store, clock: nodeClock }, uuid, { type: 'DHCP lease', lease: { mac, address } });
    const machine = await boot.findMachine(mac);
    if (machine?.boot.kind !== 'deploy') return;
    const { deploymentKey: key, iscsiTargetIqn: iqn } = machine.boot;
    await claim({ id: number, key, address, remoteAddress: address, iqn, port: 3260, lun: 1 });
  };
  const nothing = async (): Promise<void> => undefined;
  const ports: MachinePorts = {
    power: {
      status: async () => 'off',
      ensureOn: async (node) => void poweredOn(node),
      ensureOff: nothing,
      softOff: nothing,
      setBootDevice: nothing,
    },
    vifs: { plug: async () => ({}), unplug: nothing },
    volumes: { attach: nothing, detach: nothing, attachVolume: nothing, detachVolume: nothing },
    firewall: { start: nothing, stop: nothing },
    images: { cache: async () => ({ sizeBytes: 1e9 }), cacheRamdisk: nothing, release: nothing },
    bootloader: { activate: nothing, switchToBoot: nothing, deactivate: nothing },
    deployer: {
      identify: async () => ({ serial: 'S', sizeBytes: 1e12 }),
      write: async () => ({ bytes: 1e9, sha256: 'a'.repeat(64) }),
      erase: async () => 0,
    },
    notifier: {
      done: async (address) => {
        const uuid = [...addresses].find(([, known]) => known === address)?.[0] ?? '';
        void sleep(nodeClock, 1).then(() => observe({ store, clock: nodeClock }, uuid, { type: 'TFTP configuration', intent: 'local' }));
      },
    },
    secrets,
  };
  const reconciler = new Reconciler({
    store,
    coordination,
    memberName: 'bench',
    clock: nodeClock,
    random: nodeRandom,
    logger: silentLogger,
    ports,
    settings: { maxWrites: 64 },
    onTransition: (_node, { to }) => {
      done += 1;
      if (to === 'active') active += 1;
    },
  });
  await reconciler.start();
  const usage = process.cpuUsage();
  const start = nodeClock.monotonic();
  for (let index = 0; index < count; index++) {
    const { id } = await enrol({ store, secrets, clock: nodeClock, random: nodeRandom }, enrolment(index));
    addresses.set(id, `10.${index >> 8}.${index & 255}.1`);
  }
  const spawned = new Set<string>();
  while (active < count) {
    for (const { id, value } of await store.list(nodeKind)) {
      if (value.state !== 'available' || spawned.has(id)) continue;
      spawned.add(id);
      await spawn({ store, clock: nodeClock }, id, { uuid: `i-${id}`, name: 'i', imageId: 'image', approval: { yes: true } });
    }
    await sleep(nodeClock, 50);
  }
  const seconds = (nodeClock.monotonic() - start) / 1000;
  const { user, system } = process.cpuUsage(usage);
  await reconciler.close();
  boot.close();
  await store.close();
  return [name, String(count), String(done), (done / seconds).toFixed(0), ((user + system) / 1000 / done).toFixed(2)];
}

/** `npm run demo`: everything real but the metal. */
async function deploy(count: number): Promise<string[]> {
  const start = nodeClock.monotonic();
  const args = [
    '-c',
    'command time -f "%U %S" "$0" "$@"',
    process.execPath,
    '--import',
    'tsx',
    'src/cli/demo/main.ts',
    '--nodes',
    String(count),
    '--port-base',
    '300',
  ];
  const child = spawnProcess('bash', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  const seconds = (nodeClock.monotonic() - start) / 1000;
  if (code !== 0) return [String(count), `failed: ${errors.trim().split('\n').at(-1) ?? ''}`, '', '', ''];
  const [, user = '0', system = '0'] = /([\d.]+) ([\d.]+)\s*$/.exec(errors) ?? [];
  const cpu = Number(user) + Number(system);
  return [String(count), seconds.toFixed(1), ((count * 60) / seconds).toFixed(0), (cpu / count).toFixed(2), (cpu / seconds).toFixed(2)];
}

/** A fleet in use, at rest: power sync each minute and nothing else. */
async function idle(name: string, store: Store): Promise<string[]> {
  const coordination = new MemoryCoordination({ clock: nodeClock });
  for (let first = 0; first < IDLE_MACHINES; first += 32) {
    const some = Array.from({ length: Math.min(32, IDLE_MACHINES - first) }, (_, index) => restingNode(first + index));
    await Promise.all(some.map((node) => store.create(nodeKind, node.uuid, node)));
  }
  const refuse = async (): Promise<never> => {
    throw new Error('an idle machine was touched');
  };
  const power = { status: async () => 'on' as const, ensureOn: refuse, ensureOff: refuse, softOff: refuse, setBootDevice: refuse };
  const reconciler = new Reconciler({
    store,
    coordination,
    memberName: 'bench',
    clock: nodeClock,
    random: nodeRandom,
    logger: silentLogger,
    ports: {
      power,
      vifs: { plug: refuse, unplug: refuse },
      volumes: { attach: refuse, detach: refuse, attachVolume: refuse, detachVolume: refuse },
      firewall: { start: refuse, stop: refuse },
      images: { cache: refuse, cacheRamdisk: refuse, release: refuse },
      bootloader: { activate: refuse, switchToBoot: refuse, deactivate: refuse },
      deployer: { identify: refuse, write: refuse, erase: refuse },
      notifier: { done: refuse },
      secrets: new MemorySecretStore(),
    },
  });
  const sync = new PowerSync({
    store,
    clock: nodeClock,
    logger: silentLogger,
    power,
    owner: reconciler,
    isAlive: (id) => coordination.isAlive(id),
  });
  await reconciler.start();
  await sync.start();
  await sleep(nodeClock, 62_000); // every machine has been claimed by now
  const looks = sync.stats.looks;
  const writes = sync.stats.writes;
  const usage = process.cpuUsage();
  await sleep(nodeClock, IDLE_SECONDS * 1000);
  const { user, system } = process.cpuUsage(usage);
  collectGarbage(); // what is left is what is needed; the process's own memory shrinks late, and counts what earlier rows have left
  const { rss, heapUsed } = process.memoryUsage();
  const row = [
    name,
    String(IDLE_MACHINES),
    ((sync.stats.looks - looks) / IDLE_SECONDS).toFixed(0),
    ((user + system) / 10_000 / IDLE_SECONDS).toFixed(1),
    (rss / 1024 ** 2).toFixed(0),
    (heapUsed / 1024 ** 2).toFixed(0),
    String(sync.stats.writes - writes),
  ];
  await sync.close();
  await reconciler.close();
  await store.close();
  return row;
}

/** In turn each replica is the owner that dies. What is on the disk afterwards is checked. */
async function takeOver(sessionS: number, takeOvers: number): Promise<string[]> {
  const pod = await ReplicaPod.create({ sessionS });
  const toClaim: number[] = [];
  const toWrite: number[] = [];
  try {
    await Promise.all([pod.start(1), pod.start(2)]);
    for (let round = 1; round <= takeOvers; round++) {
      const machine = await pod.machine(round);
      const before = await pod.writing(machine);
      const { owner } = pod.between(before);
      owner.child.kill('SIGKILL');
      const killed = nodeClock.monotonic();
      await owner.ended;
      await sleep(nodeClock, 100); // what was on its way to the disk is let go unheard
      machine.pace.left = 1_000_000;
      await sleep(nodeClock, 100);
      const left = machine.pace.left;
      const watched = Promise.withResolvers<void>();
      const watch = pod.store.watch(nodeKind, (event) => {
        if (event.type !== 'put' || event.record.id !== machine.uuid || event.record.value.epoch === before.epoch) return;
        watch.close();
        toClaim.push(nodeClock.monotonic() - killed);
        watched.resolve();
      });
      while (machine.pace.left === left) await sleep(nodeClock, 5);
      toWrite.push(nodeClock.monotonic() - killed);
      await watched.promise;
      await pod.until(machine, ({ state }) => state === 'active');
      if (!(await pod.holdsImage(machine))) throw new Error('the disk does not hold the image');
      await pod.start(owner.name === 'mgmt-1' ? 1 : 2);
    }
  } finally {
    await pod.close();
  }
  const seconds = (ms: number): string => (ms / 1000).toFixed(2);
  const between = toWrite.map((ms, index) => ms - (toClaim[index] ?? 0));
  return [
    `${sessionS} s`,
    String(takeOvers),
    seconds(median(toClaim)),
    seconds(Math.max(...toClaim)),
    seconds(median(toWrite)),
    seconds(Math.max(...toWrite)),
    median(between).toFixed(0),
  ];
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function enrolment(index: number): Parameters<typeof enrol>[1] {
  return {
    name: `bm-${index}`,
    macs: [macOf(index)],
    properties: { cpus: 32, memoryMb: 131_072, localGb: 480, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: `10.128.${index >> 8}.${index & 255}`, username: 'admin', password: new Secret('not a secret') },
  };
}

function restingNode(index: number): NodeRecord {
  const number = index + 1;
  const times = Array.from({ length: 9 }, (_, step) => step);
  return nodeKind.parse({
    ...enrolment(index),
    uuid: `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`,
    number,
    interfaces: [{ mac: macOf(index) }],
    bmc: { driver: 'ipmi', address: `10.128.${index >> 8}.${index & 255}`, username: 'admin', passwordRef: 'p' },
    state: 'active',
    stateSince: 1,
    reason: 'boots',
    power: { state: 'on', at: 1 },
    instance: { uuid: `i-${number}`, name: `host-${number}`, imageId: 'image', at: 1 },
    generation: 1,
    history: times.map((at) => ({
      from: 'building',
      to: 'prepared',
      reason: 'powered on; waiting for the deploy ramdisk',
      at,
      durationMs: 1_000,
    })),
    timeline: times.map((at) => ({ at, type: 'TFTP served', detail: 'deploy_ramdisk, 2097152 bytes' })),
  });
}

function macOf(index: number): string {
  const hex = index.toString(16).padStart(6, '0');
  return `52:54:00:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}`;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  console.log([line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n'));
  console.log();
}
