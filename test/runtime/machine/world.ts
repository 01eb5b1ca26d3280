/**
 * A site of a few machines for the tests of their life: BMC, ramdisk, disk and boot order as far as the reconciler can see them, with knobs.
 * The deploy-helper, the boot view, the claim and the store are the real ones. It outlives the daemons that come and go in it.
 */
import { createHash } from 'node:crypto';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Coordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { type Clock, type HttpHandler, type Logger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { deployHelper, RAMDISK_REPORT_PATH } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import {
  acceptReport,
  BootView,
  type ClaimPolicy,
  claimDeployment,
  type DeployTarget,
  defaultSettings,
  doneToken,
  type EnrolRequest,
  enrol,
  type isCurrent,
  type MachinePorts,
  type MachineSettings,
  MemorySecretStore,
  type NodeRecord,
  nodeKind,
  observe,
  Reconciler,
  type StateTable,
  spawn,
  states,
} from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { Gate } from './gate.ts';
import { MemoryGroup, type WorldGroup } from './world-group.ts';

export const IMAGE = { bytes: 4_000, sha256: createHash('sha256').update('the image').digest('hex') };
export const BMC_PASSWORD = 'bmc-S3cret!';
const PERMANENT = { permanent: true };

export interface Knobs {
  /** Calls of this port method that fail first; Infinity: all. */
  failures: Partial<Record<Call, number>>;
  /** Calls that never end unless their signal aborts. */
  hangs: Set<Call>;
  permanent: Set<Call>;
  /** What the ramdisk does once it is up. */
  ramdisk: 'posts' | 'silent' | 'reports error' | 'never boots';
  /** What is posted instead of the truth. */
  post: Record<string, string>;
  /** Sends each POST twice at once, and once more after it has been told "done". */
  replays: boolean;
  /** What the writer finds on the disk after writing. */
  writtenSha256: string;
  diskGeneration: number | undefined;
  diskBytes: number;
  chunks: number;
  chunkMs: number;
  /** The next call of this method takes so long, and does not listen to its signal. */
  slow: { call: Call; ms: number } | undefined;
  /** So many power-ons are accepted and then forgotten by the BMC. */
  lostPowerOns: number;
  /** The ramdisk's connection breaks when it is told "done": before it has read that, or after. */
  resets: 'before reading' | 'after reading' | undefined;
  /** Drivers put every secret of the deployment into their errors. */
  leaks: boolean;
  /** The disk's own boot is seen on the network. */
  bootSeen: boolean;
  /** The instance shuts down when it is asked to. */
  listensToSoftOff: boolean;
  /** What the inspection ramdisk finds. */
  facts: Record<string, unknown>;
  /** The instance is to report that it is up. */
  phonesHome: boolean;
  /** A ramdisk that knows nothing of bms_action. */
  oldRamdisk: boolean;
}

export type Call =
  | 'status'
  | 'ensureOn'
  | 'ensureOff'
  | 'softOff'
  | 'setBootDevice'
  | 'plug'
  | 'unplug'
  | 'attach'
  | 'detach'
  | 'attachVolume'
  | 'detachVolume'
  | 'start'
  | 'stop'
  | 'cache'
  | 'cacheRamdisk'
  | 'release'
  | 'activate'
  | 'switchToBoot'
  | 'deactivate'
  | 'identify'
  | 'write'
  | 'erase'
  | 'done';

interface Ramdisk {
  readonly key: string;
  readonly iqn: string;
  readonly address: string;
  waiting: boolean;
}

export interface Machine {
  readonly uuid: string;
  readonly mac: string;
  readonly address: string;
  power: 'on' | 'off';
  /** Rises at each power-on: what an older one started is dead. */
  session: number;
  bootDevice: 'pxe' | 'disk' | 'none';
  ramdisk: Ramdisk | undefined;
  running: 'nothing' | 'ramdisk' | 'instance';
  content: string | undefined;
  /** The iSCSI session that may write; a new login drops the old one. */
  writer: symbol | undefined;
  held: Set<'vifs' | 'volumes' | 'firewall' | 'images' | 'bootloader'>;
  /** Exported to it one by one. */
  volumes: Set<string>;
}

export interface Daemon {
  readonly gate: Gate;
  readonly name: string;
  readonly reconciler: Reconciler;
  readonly helper: HttpHandler;
  readonly bootView: BootView;
  readonly observe: (nodeId: string, seen: Parameters<typeof observe>[2]) => Promise<unknown>;
  started: Promise<void>;
}

export interface Faults {
  /** Called once per daemon. */
  readonly states?: (gate: Gate) => StateTable;
  readonly isCurrent?: typeof isCurrent;
  readonly claimPolicy?: ClaimPolicy;
}

export interface WorldOptions {
  readonly seed?: number | string;
  readonly knobs?: Partial<Knobs>;
  readonly settings?: Partial<MachineSettings>;
  /** Default: in memory. */
  readonly store?: (clock: VirtualClock) => Store;
  /** Default: in one process's memory. */
  readonly group?: (clock: VirtualClock) => WorldGroup;
}

export class World {
  readonly clock = new VirtualClock();
  readonly store: Store;
  readonly secrets = new MemorySecretStore();
  readonly coordination: WorldGroup;
  readonly random;
  readonly machines = new Map<string, Machine>();
  readonly calls: string[] = [];
  readonly logs: string[] = [];
  readonly answers: { key: string; status: number; body: string }[] = [];
  readonly violations: string[] = [];
  /** What was to be written beside each image. */
  readonly drives: (NonNullable<NodeRecord['deployment']>['image']['configDrive'] | undefined)[] = [];
  readonly knobs: Knobs;
  readonly settings: Partial<MachineSettings>;
  /** Every secret that was ever in use, for greps. */
  readonly knownSecrets = new Set<string>([BMC_PASSWORD]);
  /** By daemon: how far its wall clock is ahead. */
  skewsMs: Record<string, number> = {};
  /** Old faults put back, for the proof that these tests would notice. */
  faults: Faults = {};
  daemons: Daemon[] = [];
  /** What else the failures of a call say. */
  readonly noise: Partial<Record<Call, string>> = {};
  writing = 0;
  mostWriting = 0;

  constructor(options: WorldOptions = {}) {
    this.store = options.store?.(this.clock) ?? new MemoryStore();
    this.coordination = options.group?.(this.clock) ?? new MemoryGroup(this.clock);
    this.random = seededRandom(options.seed ?? 1);
    this.settings = options.settings ?? {};
    this.knobs = {
      failures: {},
      hangs: new Set(),
      permanent: new Set(),
      ramdisk: 'posts',
      post: {},
      replays: false,
      writtenSha256: IMAGE.sha256,
      diskGeneration: undefined,
      diskBytes: 10_000,
      chunks: 4,
      chunkMs: 1_000,
      slow: undefined,
      lostPowerOns: 0,
      resets: undefined,
      leaks: false,
      bootSeen: true,
      listensToSoftOff: true,
      facts: { interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', linkUp: true }] },
      phonesHome: false,
      oldRamdisk: false,
      ...options.knobs,
    };
    this.store.watch(nodeKind, (event) => {
      if (event.type === 'put') this.#check(event.record.value);
    });
  }

  /** `suspended`: it hears nothing of its lease nor of others' writes, as a process that was stopped and goes on later. */
  daemon(name = 'mgmt-1', crashAt?: number, onDeath?: () => void, suspended = false): Daemon {
    const gate = new Gate(crashAt, onDeath);
    const clock = skewed(this.clock, this.skewsMs[name] ?? 0);
    const store = gate.wrap(suspended ? deaf(this.store) : this.store, ['watch']);
    const replica = this.coordination.replica();
    const coordination = suspended ? unaware(replica) : replica;
    const secrets = gate.wrap(this.secrets);
    const reconciler = new Reconciler({
      store,
      coordination: gate.wrap(coordination, ['onChange']),
      memberName: name,
      clock,
      random: this.random,
      logger: this.#logger({ daemon: name }),
      ports: { ...this.#ports(gate), secrets },
      settings: this.settings,
      ...(this.faults.states && { states: this.faults.states(gate) }),
      ...(this.faults.isCurrent && { isCurrent: this.faults.isCurrent }),
      onTransition: (_node, { from, to }) => {
        if (!states[from].next.includes(to)) this.violations.push(`illegal transition ${from} -> ${to}`);
      },
    });
    const daemon: Daemon = {
      gate,
      name,
      reconciler,
      helper: deployHelper({
        claimDeployment: claimDeployment({ store, clock, ...(this.faults.claimPolicy && { policy: this.faults.claimPolicy }) }),
        acceptReport: acceptReport({ store, clock }),
        logger: this.#logger({ daemon: name }),
      }),
      bootView: new BootView({ store, secrets }),
      observe: (nodeId, seen) => observe({ store, clock }, nodeId, seen),
      started: Promise.resolve(),
    };
    daemon.started = reconciler.start();
    this.daemons.push(daemon);
    return daemon;
  }

  /** `index` 1 gets the address 10.0.0.11 and so on. */
  async enrol(index = 1, more: Partial<EnrolRequest> = {}): Promise<Machine> {
    const mac = `02:00:00:00:00:0${index}`;
    const properties = { cpus: 4, memoryMb: 8192, localGb: 100, cpuArch: 'x86_64' };
    const bmc = { driver: 'ipmi', address: `10.0.1.${10 + index}`, username: 'admin', password: new Secret(BMC_PASSWORD) } as const;
    const record = await enrol(this, { name: `bm-${index}`, macs: [mac], properties, bmc, ...more });
    const machine: Machine = {
      uuid: record.id,
      mac,
      address: `10.0.0.${10 + index}`,
      power: 'off',
      session: 0,
      bootDevice: 'none',
      ramdisk: undefined,
      running: 'nothing',
      content: undefined,
      writer: undefined,
      held: new Set(),
      volumes: new Set(),
    };
    this.machines.set(machine.uuid, machine);
    return machine;
  }

  spawn(machine: Machine, uuid = 'inst-1') {
    return spawn(this, machine.uuid, { uuid, name: `host-${uuid}`, imageId: 'image-1', approval: { yes: true } });
  }

  async node(machine: Machine): Promise<NodeRecord> {
    const record = await this.store.get(nodeKind, machine.uuid);
    if (record === undefined) throw new Error('the record is gone');
    return record.value;
  }

  /** Lets time pass until the machine is in this state. */
  async until(machine: Machine, state: NodeRecord['state'], limitMs = 4 * 3_600_000): Promise<NodeRecord> {
    let latest = await this.node(machine);
    const watch = this.store.watch(nodeKind, (event) => {
      if (event.type === 'put' && event.record.id === machine.uuid) latest = event.record.value;
    });
    try {
      await this.clock.runUntil(() => latest.state === state, { limitMs });
      return latest;
    } finally {
      watch.close();
    }
  }

  async close(): Promise<void> {
    const open = this.daemons.filter(({ gate }) => !gate.dead);
    await this.clock.run(Promise.all(open.map(({ reconciler }) => reconciler.close())));
    for (const { bootView } of open) bootView.close();
  }

  /** A POST of this form to the first daemon that answers, from this address. */
  post(form: Record<string, string>, from: string): Promise<{ status: number; body: string } | undefined> {
    return this.#send('/', new URLSearchParams(form).toString(), from, form.k ?? '');
  }

  async #send(path: string, body: string, from: string, key: string): Promise<{ status: number; body: string } | undefined> {
    const daemon = this.daemons.find(({ gate }) => !gate.dead);
    if (daemon === undefined) return undefined;
    const answer = daemon.helper({
      method: 'POST',
      path,
      query: new URLSearchParams(),
      headers: {},
      body: Buffer.from(body),
      remote: { address: from, port: 40_000 },
      local: { address: '10.0.0.1', port: 10_000 },
      signal: new AbortController().signal,
    });
    const response = await Promise.race([answer, daemon.gate.death]);
    if (response === undefined) return undefined;
    const result = { status: response.status, body: String(response.body ?? '') };
    this.answers.push({ key, ...result });
    return result;
  }

  #powerOn(machine: Machine): void {
    if (machine.power === 'on') return;
    machine.power = 'on';
    machine.session += 1;
    void this.#boot(machine, machine.session);
  }

  #powerOff(machine: Machine): void {
    machine.power = 'off';
    machine.session += 1;
    machine.ramdisk = undefined;
    machine.running = 'nothing';
    machine.writer = undefined;
  }

  /** The machine's firmware, and what it starts. Every wait ends quietly when the power has gone meanwhile. */
  async #boot(machine: Machine, session: number): Promise<void> {
    const alive = (): boolean => machine.session === session;
    if (this.knobs.ramdisk === 'never boots') return;
    await sleep(this.clock, 10_000);
    for (;;) {
      if (!alive()) return;
      const daemon = this.daemons.find(({ gate }) => !gate.dead);
      const found = daemon && (await Promise.race([this.#netboot(daemon, machine), daemon.gate.death]));
      if (!alive()) return;
      if (found === undefined) {
        await sleep(this.clock, 3_000);
        continue;
      }
      if (found.kind === 'deploy') {
        this.knownSecrets.add(found.deploymentKey).add(doneToken(new Secret(found.deploymentKey)).reveal());
        machine.running = 'ramdisk';
        machine.ramdisk = { key: found.deploymentKey, iqn: found.iscsiTargetIqn, address: machine.address, waiting: true };
        await sleep(this.clock, 5_000);
        if (!alive() || this.knobs.ramdisk === 'silent') return;
        const action = /bms_action=(\w+)/.exec(found.append ?? '')?.[1];
        if (!this.knobs.oldRamdisk && (action === 'inspect' || action === 'rescue')) {
          await this.#report(machine, action, Number(found.deploymentId), machine.ramdisk, alive);
        } else await this.#post(machine, found.deploymentId, machine.ramdisk, alive);
        return;
      }
      if (found.kind === 'local-disk') {
        machine.running = 'instance';
        if (machine.content !== IMAGE.sha256) this.violations.push(`booted a disk with ${machine.content}`);
      }
      return;
    }
  }

  async #netboot(daemon: Daemon, machine: Machine) {
    await daemon.observe(machine.uuid, { type: 'DHCP lease', lease: { mac: machine.mac, address: machine.address } });
    const { boot } = (await daemon.bootView.findMachine(machine.mac)) ?? { boot: { kind: 'none' as const, reason: 'unknown' } };
    if (boot.kind === 'deploy') await daemon.observe(machine.uuid, { type: 'TFTP served', detail: 'deploy_ramdisk', intent: 'deploy' });
    if (boot.kind === 'local-disk' && this.knobs.bootSeen)
      await daemon.observe(machine.uuid, { type: 'TFTP served', detail: 'config', intent: 'local' });
    return boot;
  }

  async #post(machine: Machine, id: string, ramdisk: Ramdisk, alive: () => boolean): Promise<void> {
    const error: Record<string, string> = this.knobs.ramdisk === 'reports error' ? { e: 'Could not find disk to use.' } : {};
    const form: Record<string, string> = { i: id, k: ramdisk.key, a: ramdisk.address, n: ramdisk.iqn, ...error, ...this.knobs.post };
    for (let tries = 0; tries < 200 && alive(); tries++) {
      const answers = await Promise.all([
        this.post(form, machine.address),
        this.knobs.replays ? this.post(form, machine.address) : undefined,
      ]);
      // 409: the answer to an earlier try was lost; it has been accepted, and "done" will come.
      if (answers.some((answer) => answer?.status === 200 || answer?.status === 409)) return;
      if (answers[0]?.status === 400) return;
      await sleep(this.clock, 5_000);
    }
  }

  /** What a ramdisk does that inspects or rescues. */
  async #report(machine: Machine, action: string, node: number, ramdisk: Ramdisk, alive: () => boolean): Promise<void> {
    const error = this.knobs.ramdisk === 'reports error' ? { error: 'no disk answers' } : {};
    const facts = action === 'inspect' ? { facts: this.knobs.facts } : {};
    for (let tries = 0; tries < 200 && alive(); tries++) {
      const body = JSON.stringify({ node, key: ramdisk.key, ...facts, ...error });
      const answers = await Promise.all([
        this.#send(RAMDISK_REPORT_PATH, body, machine.address, ramdisk.key),
        this.knobs.replays ? this.#send(RAMDISK_REPORT_PATH, body, machine.address, ramdisk.key) : undefined,
      ]);
      if (answers.some((answer) => answer?.status === 200 || answer?.status === 409)) return;
      if (answers[0]?.status === 400) return;
      await sleep(this.clock, 5_000);
    }
  }

  #ports(gate: Gate): Omit<MachinePorts, 'secrets'> {
    const act = (call: Call, effect: (machine: Machine) => void) => async (node: NodeRecord, signal: AbortSignal) => {
      await this.#knob(call, signal);
      effect(this.#machine(node.uuid));
    };
    const hold = (what: 'vifs' | 'volumes' | 'firewall' | 'images' | 'bootloader') => (machine: Machine) => void machine.held.add(what);
    const drop = (what: 'vifs' | 'volumes' | 'firewall' | 'images' | 'bootloader') => (machine: Machine) => void machine.held.delete(what);
    return {
      power: gate.wrap({
        status: async (node, signal) => {
          await this.#knob('status', signal);
          return this.#machine(node.uuid).power;
        },
        ensureOn: act('ensureOn', (machine) => {
          if (this.knobs.lostPowerOns > 0 && machine.power === 'off') this.knobs.lostPowerOns -= 1;
          else this.#powerOn(machine);
        }),
        ensureOff: act('ensureOff', (machine) => this.#powerOff(machine)),
        softOff: act('softOff', (machine) => {
          if (this.knobs.listensToSoftOff && machine.running === 'instance')
            void sleep(this.clock, 5_000).then(() => this.#powerOff(machine));
        }),
        setBootDevice: async (node, device, _options, signal) => {
          await this.#knob('setBootDevice', signal);
          this.#machine(node.uuid).bootDevice = device;
        },
      } satisfies MachinePorts['power']),
      vifs: gate.wrap({
        plug: async (node, signal) => {
          await act('plug', hold('vifs'))(node, signal);
          return {};
        },
        unplug: act('unplug', drop('vifs')),
      } satisfies MachinePorts['vifs']),
      volumes: gate.wrap({
        attach: act('attach', hold('volumes')),
        detach: act('detach', (machine) => {
          drop('volumes')(machine);
          machine.volumes.clear();
        }),
        attachVolume: async (node, volume, signal) => act('attachVolume', (machine) => void machine.volumes.add(volume))(node, signal),
        detachVolume: async (node, volume, signal) => act('detachVolume', (machine) => void machine.volumes.delete(volume))(node, signal),
      } satisfies MachinePorts['volumes']),
      firewall: gate.wrap({ start: act('start', hold('firewall')), stop: act('stop', drop('firewall')) }),
      images: gate.wrap({
        cache: async (node, signal) => {
          await act('cache', hold('images'))(node, signal);
          return { sizeBytes: IMAGE.bytes, sha256: IMAGE.sha256, phonesHome: this.knobs.phonesHome };
        },
        cacheRamdisk: act('cacheRamdisk', hold('images')),
        release: act('release', drop('images')),
      } satisfies MachinePorts['images']),
      bootloader: gate.wrap({
        activate: async (node, key, signal) => {
          this.knownSecrets.add(key.reveal());
          await act('activate', hold('bootloader'))(node, signal);
        },
        switchToBoot: act('switchToBoot', () => undefined),
        deactivate: act('deactivate', drop('bootloader')),
      } satisfies MachinePorts['bootloader']),
      deployer: gate.wrap({
        identify: async (target, signal) => {
          await this.#knob('identify', signal);
          this.#login(target);
          return {
            serial: 'DISK-1',
            sizeBytes: this.knobs.diskBytes,
            ...(this.knobs.diskGeneration && { generation: this.knobs.diskGeneration }),
          };
        },
        write: async (target, { image }, { onProgress }, signal) => {
          this.drives.push(image.configDrive);
          const session = this.#login(target);
          const machine = this.#machine(target.nodeUuid);
          const { epoch } = await this.node(machine);
          // An old owner's session that is open already is dropped by the new owner's login; it must not open another.
          if (epoch !== target.epoch) this.violations.push(`logged in to write in epoch ${target.epoch} of ${epoch}`);
          await this.#knob('write', signal);
          this.writing += 1;
          this.mostWriting = Math.max(this.mostWriting, this.writing);
          using _ended = { [Symbol.dispose]: () => void this.writing-- };
          for (let chunk = 1; chunk <= this.knobs.chunks; chunk++) {
            await sleep(this.clock, this.knobs.chunkMs, signal);
            if (gate.dead) return new Promise(() => undefined);
            if (machine.writer !== session || machine.running !== 'ramdisk') throw new Error('the iSCSI session was dropped');
            const { state, epoch } = await this.node(machine);
            if (state !== 'deploying' || epoch !== target.epoch)
              this.violations.push(`wrote in ${state}, epoch ${target.epoch} of ${epoch}`);
            machine.content = chunk === this.knobs.chunks ? this.knobs.writtenSha256 : `partly ${chunk}`;
            onProgress({ bytes: chunk * 1000, totalBytes: IMAGE.bytes });
          }
          return { bytes: IMAGE.bytes, sha256: this.knobs.writtenSha256 };
        },
        erase: async (target, mode, { onProgress }, signal) => {
          const session = this.#login(target);
          const machine = this.#machine(target.nodeUuid);
          await this.#knob('erase', signal);
          for (let chunk = 1; chunk <= (mode === 'full' ? 4 : 1); chunk++) {
            await sleep(this.clock, this.knobs.chunkMs, signal);
            if (gate.dead) return new Promise(() => undefined);
            if (machine.writer !== session || machine.running !== 'ramdisk') throw new Error('the iSCSI session was dropped');
            const { state, epoch, instance } = await this.node(machine);
            if (state !== 'cleaning' || epoch !== target.epoch || instance !== undefined)
              this.violations.push(`erased in ${state}, epoch ${target.epoch} of ${epoch}`);
            machine.content = undefined;
            onProgress({ bytes: chunk });
          }
          return 4_000;
        },
      } satisfies MachinePorts['deployer']),
      notifier: gate.wrap({
        done: async (address, token, signal) => {
          await this.#knob('done', signal);
          const machine = [...this.machines.values()].find((known) => known.address === address);
          const ramdisk = machine?.ramdisk;
          if (machine === undefined || !ramdisk?.waiting) throw new Error('connection refused');
          if (token.reveal() !== doneToken(new Secret(ramdisk.key)).reveal()) throw new Error('the ramdisk did not accept the token');
          const { resets } = this.knobs;
          const broken = Object.assign(new Error('ECONNRESET'), { maybeTold: true });
          if (resets === 'before reading') throw broken;
          ramdisk.waiting = false;
          machine.ramdisk = undefined;
          machine.running = 'nothing';
          machine.session += 1;
          void this.#boot(machine, machine.session);
          if (this.knobs.replays) void this.post({ i: '1', k: ramdisk.key, a: ramdisk.address, n: ramdisk.iqn }, ramdisk.address);
          if (resets === 'after reading') throw broken;
        },
      } satisfies MachinePorts['notifier']),
    };
  }

  #login(target: DeployTarget): symbol {
    const machine = this.#machine(target.nodeUuid);
    if (!machine.ramdisk?.waiting || machine.ramdisk.iqn !== target.iqn || machine.address !== target.address) {
      throw new Error('connection refused');
    }
    this.knownSecrets.add(target.chap.secret.reveal());
    machine.writer = Symbol('session');
    return machine.writer;
  }

  async #knob(call: Call, signal: AbortSignal): Promise<void> {
    this.calls.push(call);
    const slow = this.knobs.slow?.call === call ? this.knobs.slow.ms : 0;
    await sleep(this.clock, 100, signal);
    if (slow > 0) await sleep(this.clock, slow);
    if (this.knobs.hangs.has(call)) await sleep(this.clock, 100 * 86_400_000, signal);
    const left = this.knobs.failures[call] ?? 0;
    if (left > 0) {
      this.knobs.failures[call] = left - 1;
      const leaked = this.knobs.leaks ? [...this.knownSecrets].filter((secret) => secret !== BMC_PASSWORD).join(' ') : '';
      throw Object.assign(
        new Error(`${call} failed${leaked && ` with ${leaked}`}${this.noise[call] ?? ''}`),
        this.knobs.permanent.has(call) ? PERMANENT : {},
      );
    }
  }

  #machine(uuid: string): Machine {
    const machine = this.machines.get(uuid);
    if (machine === undefined) throw new Error(`no machine ${uuid}`);
    return machine;
  }

  /** What must hold of every record that is ever stored. */
  #check(node: NodeRecord): void {
    const machine = this.machines.get(node.uuid);
    if (machine === undefined) return;
    if (node.state === 'active' && machine.content !== IMAGE.sha256) this.violations.push(`active with ${machine.content} on its disk`);
    if (node.state === 'available' && machine.held.size > 0) this.violations.push(`available, but still holding ${[...machine.held]}`);
    if (node.state === 'deleted' && (node.instance !== undefined || machine.held.size > 0 || machine.power === 'on')) {
      this.violations.push('deleted before it was clean');
    }
    const entry = states[node.state];
    const limited = entry.deadline(defaultSettings, node) !== undefined || (node.state === 'active' && node.step !== undefined);
    if (limited && !entry.rests(node) && !entry.deadlineFromStart && node.stateDeadline === undefined) {
      this.violations.push(`${node.state} without a deadline`);
    }
    const text = JSON.stringify(node);
    for (const secret of this.knownSecrets) if (text.includes(secret)) this.violations.push(`a secret on the record in ${node.state}`);
  }

  #logger(base: Record<string, unknown>): Logger {
    const write = (fields: unknown, message?: string): void => void this.logs.push(JSON.stringify({ ...base, fields, message }));
    return { debug: write, info: write, warn: write, error: write, child: (fields) => this.#logger({ ...base, ...fields }) };
  }
}

function skewed(clock: Clock, aheadMs: number): Clock {
  return {
    now: () => clock.now() + aheadMs,
    monotonic: () => clock.monotonic(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
  };
}

function deaf(store: Store): Store {
  return new Proxy(store, {
    get: (object, name) => (name === 'watch' ? () => ({ close: () => undefined }) : Reflect.get(object, name, object).bind(object)),
  });
}

function unaware(coordination: Coordination): Coordination {
  return {
    join: async (name) => ({ ...(await coordination.join(name)), lost: new AbortController().signal }),
    isAlive: (id) => coordination.isAlive(id),
    acquire: (name, options) => coordination.acquire(name, options),
    onChange: () => ({ close: () => undefined }),
    close: async () => undefined,
  };
}
