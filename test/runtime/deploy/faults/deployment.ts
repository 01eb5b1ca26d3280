/**
 * One deployment among faults, in virtual time: helpers on two hosts that take it over from each other, a target that dies and comes back, a
 * disk that loses what was not flushed, a network that fails, an image file that rots. The writer, the initiator and the cache are the real ones.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Random, randomInt, silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { ImageCache, type ReadyImage } from 'cdk8s-baremetal-runtime/deploy/image/cache/index';
import { buildManifest, type ImageManifest, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { ChapSecret } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { OP } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { IscsiDeployer } from 'cdk8s-baremetal-runtime/machine/iscsi-deployer';
import type { DeployHooks, DeployTarget } from 'cdk8s-baremetal-runtime/machine/ports';
import { VolatileDisk } from 'cdk8s-baremetal-simulator/disk/index';
import { type SeededRandom, SimNetwork, seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { type IscsiTarget, startIscsiTarget } from 'cdk8s-baremetal-simulator/iscsi-target/index';

/** An old fault put back. */
export type Mutation =
  /** N8: who writes which image is known to one process only. */
  | 'queue in memory'
  /** N14: what is written is what the file holds now, whatever was checked before. */
  | 'no checksum'
  /** A target that lets two sessions of one initiator port live side by side, and a helper that does not ask whose the machine is. */
  | 'no fence';

export interface Ending {
  readonly state: 'done' | 'failed' | 'hangs';
  readonly reason: string;
  /** Of what must never be. */
  readonly violations: readonly string[];
  readonly told: readonly string[];
}

interface Job {
  epoch: number;
  owner: string | undefined;
  synced: number | undefined;
  attempts: number;
  state: 'deploying' | 'done' | 'failed';
  reason: string;
}

const MIB = 1024 * 1024;
export const IMAGE_BYTES = MIB;
const CHUNK_BYTES = 32 * 1024;
const DISK_BYTES = 2 * MIB;
/** One deployment takes some seconds, and so most faults fall into it. */
const LAN_BYTES_PER_SECOND = MIB;
const IQN = 'iqn.2026-11.io.bms:node-7';
const NODE = '192.0.2.7';
const WRITES = new Set<number>([OP.write10, OP.write16, OP.writeSame16, OP.unmap]);
const LEASE_MS = 10_000;
const MOST_ATTEMPTS = 12;
const LIMIT_MS = 3_600_000;

export async function deployAmongFaults(seed: string, imagePath: string, cacheFolder: string, mutation?: Mutation): Promise<Ending> {
  const clock = new VirtualClock();
  const world = new Deployment(clock, seededRandom(seed), imagePath, cacheFolder, mutation);
  return clock.run(world.run());
}

class Deployment {
  private readonly network: SimNetwork;
  private readonly disk = new VolatileDisk({ sizeBytes: DISK_BYTES });
  private readonly job: Job = { epoch: 0, owner: undefined, synced: undefined, attempts: 0, state: 'deploying', reason: '' };
  private readonly hosts;
  private readonly node;
  private readonly violations: string[] = [];
  private readonly told: string[] = [];
  private readonly content: Buffer;
  private target: IscsiTarget | undefined;
  private newestWriter = 0;
  private tsihBase = 0;
  private readonly helpers = new Map<string, AbortController>();
  /** Processes that were stopped and may wake up. */
  private readonly sleeping = new Set<string>();
  private ended = false;

  constructor(
    private readonly clock: VirtualClock,
    private readonly random: SeededRandom,
    private readonly imagePath: string,
    private readonly cacheFolder: string,
    private readonly mutation: Mutation | undefined,
  ) {
    this.network = new SimNetwork({ clock, random: random.fork('network') });
    this.node = this.network.host({ name: 'node', addresses: [`${NODE}/24`], segment: 'lan' });
    this.network.segment('lan').degrade({ bytesPerSecond: LAN_BYTES_PER_SECOND });
    this.hosts = new Map(
      ['a', 'b'].map((name, index) => [name, this.network.host({ name, addresses: [`192.0.2.${index + 1}/24`], segment: 'lan' })]),
    );
    this.content = readFileSync(imagePath);
  }

  async run(): Promise<Ending> {
    await this.disk.write(0, new Uint8Array(DISK_BYTES).fill(0xee));
    await this.disk.flush();
    await this.startTarget();
    const faults = this.trouble();
    this.claim('a');
    const deadline = this.clock.monotonic() + LIMIT_MS;
    while (this.job.state === 'deploying' && this.clock.monotonic() < deadline) {
      await sleep(this.clock, 1_000);
      this.takeOver();
    }
    const state = this.job.state === 'deploying' ? 'hangs' : this.job.state;
    this.ended = true;
    // whoever still runs has until now to do harm
    this.network.heal();
    for (const name of this.sleeping) this.wake(name);
    await sleep(this.clock, 120_000);
    await faults;
    for (const helper of this.helpers.values()) helper.abort(new Error('the test ends'));
    await this.target?.close();
    await this.disk.powerCut(this.random);
    const onDisk = Buffer.from(await this.disk.read(0, IMAGE_BYTES));
    if (state === 'done' && Buffer.compare(onDisk, this.content) !== 0) this.violations.push('done, and the disk does not hold the image');
    const { reason } = this.job;
    return { state, reason, violations: this.violations, told: this.told };
  }

  // ---- the two replicas, as far as this deployment sees them ----

  private claim(name: string): void {
    const { job } = this;
    job.epoch++;
    job.owner = name;
    job.attempts++;
    const abort = new AbortController();
    this.helpers.set(name, abort);
    void this.work(name, job.epoch, abort.signal);
  }

  /** A replica that is gone, or has given up, is followed by another; in the original nobody knew what it had been doing. */
  private takeOver(): void {
    const { job } = this;
    if (job.state !== 'deploying' || job.owner !== undefined) return;
    if (job.attempts >= MOST_ATTEMPTS) {
      job.state = 'failed';
      job.reason ||= 'too many attempts';
      return;
    }
    const free = [...this.hosts.keys()].find((name) => !this.helpers.has(name) && !this.sleeping.has(name));
    if (free !== undefined) this.claim(free);
  }

  private async work(name: string, epoch: number, signal: AbortSignal): Promise<void> {
    const { job } = this;
    const mine = (): boolean => job.epoch === epoch && job.state === 'deploying';
    const target: DeployTarget = {
      nodeUuid: 'node-7',
      deploymentId: 'd',
      generation: 1,
      epoch,
      address: NODE,
      port: 3260,
      lun: 1,
      iqn: IQN,
      chap: { username: 'd', secret: new Secret('secret-of-the-deployment') },
    };
    const images = new ImageCache({
      directory: this.cacheFolder,
      maxBytes: 1e9,
      sources: [],
      network: this.host(name),
      clock: this.clock,
      logger: silentLogger,
    });
    const deployer = new IscsiDeployer({
      network: this.host(name),
      clock: this.clock,
      random: this.random.fork(`helper ${epoch}`),
      logger: silentLogger,
      initiatorName: 'iqn.2026-11.io.bms:deploy-helper',
      acquireImage: (_, opening) => this.image(images, opening),
      verify: 'sample',
      syncEveryBytes: 8 * CHUNK_BYTES,
    });
    try {
      const disk = await deployer.identify(target, signal);
      const hooks: DeployHooks = {
        disk,
        onProgress: () => undefined,
        stillOurs: async () => {
          if (this.mutation !== 'no fence' && !mine()) throw new Error('the machine has another owner');
        },
        ...(job.synced !== undefined && { resumeAt: job.synced }),
        onSynced: async (chunks) => {
          if (this.mutation === 'no fence') return;
          if (!mine()) throw new Error('the machine has another owner');
          job.synced = chunks;
        },
      };
      await deployer.write(target, { imageId: 'image', image: { boot: 'local' } }, hooks, signal);
      if (!mine()) throw new Error('the machine has another owner');
      job.state = 'done';
    } catch (error) {
      if (signal.aborted || !mine()) return;
      job.reason = error instanceof Error ? error.message : String(error);
      const permanent = error instanceof Error && ('permanent' in error || ('code' in error && error.code === 'IMAGE_CHUNK_MISMATCH'));
      if (permanent) job.state = 'failed';
      else job.owner = undefined;
    } finally {
      if (this.helpers.get(name)?.signal === signal) this.helpers.delete(name);
    }
  }

  /** With small chunks, so that there are many. */
  private async image(images: ImageCache, signal: AbortSignal): Promise<ReadyImage> {
    const checked = this.mutation !== 'no checksum';
    const sha256 = createHash('sha256').update(this.content).digest('hex');
    const ready = await images.acquire({ source: this.imagePath, placed: true, format: 'raw', ...(checked && { sha256 }) }, signal);
    if (!checked || this.manifest === undefined) {
      const image = await openImage({ path: this.imagePath });
      this.manifest = await buildManifest(image, { chunkBytes: CHUNK_BYTES });
      await image.close();
    }
    return { ...ready, manifest: this.manifest };
  }
  private manifest: ImageManifest | undefined;

  private host(name: string) {
    const host = this.hosts.get(name);
    if (!host) throw new Error(`no host ${name}`);
    return host;
  }

  // ---- faults ----

  private async trouble(): Promise<void> {
    const { random, clock } = this;
    const troubles: Record<string, () => void | Promise<void>> = {
      'the helper is killed': () => this.kill(),
      'the helper is stopped, and wakes up late': () => this.stop(),
      'the target is killed': () => this.crashTarget(false),
      'the node loses its power for a moment': () => this.crashTarget(true),
      'the network is cut': () => this.cut(),
      'a connection is dropped': () => this.target?.sessions().forEach((session) => void session.drop()),
      'packets are lost': () => {
        this.network.segment('lan').degrade({ lossRatio: 0.02, bytesPerSecond: LAN_BYTES_PER_SECOND });
      },
      'the image file rots': () => this.rot(),
      'a write fails with a medium error': () => this.failOneWrite(),
    };
    const count = 1 + randomInt(random, 4);
    for (let n = 0; n < count && !this.ended; n++) {
      await sleep(clock, randomInt(random, 1_500));
      const name = Object.keys(troubles)[randomInt(random, Object.keys(troubles).length)] ?? '';
      this.told.push(`${Math.round(clock.monotonic())} ms: ${name}`);
      await troubles[name]?.();
    }
    await sleep(clock, 20_000);
    this.network.segment('lan').repair();
    this.network.segment('lan').degrade({ bytesPerSecond: LAN_BYTES_PER_SECOND });
  }

  /** kill -9: whatever it held in memory is gone, and its connections with it. The record stays, and its lease runs out. */
  private kill(): void {
    const { job } = this;
    const name = job.owner;
    if (name === undefined) return;
    this.helpers.get(name)?.abort(new Error('killed'));
    this.helpers.delete(name);
    if (this.mutation === 'queue in memory') return; // nobody else knows of it
    const { epoch } = job;
    this.clock.after(LEASE_MS, () => {
      if (job.epoch === epoch && job.state === 'deploying') job.owner = undefined;
    });
  }

  /** SIGSTOP: it neither hears nor says anything, its lease runs out, and its connections stay open. It wakes up in the middle of its successor's work. */
  private stop(): void {
    const { job } = this;
    const name = job.owner;
    if (name === undefined) return;
    this.network.cut(name, 'node');
    this.sleeping.add(name);
    if (this.mutation !== 'queue in memory') job.owner = undefined;
    this.clock.after(3_000 + randomInt(this.random, 20_000), () => this.wake(name));
  }

  private wake(name: string): void {
    this.sleeping.delete(name);
    this.network.heal(name, 'node');
  }

  private cut(): void {
    for (const name of this.hosts.keys()) this.network.cut(name, 'node');
    this.clock.after(randomInt(this.random, 30_000), () => {
      for (const name of this.hosts.keys()) if (!this.sleeping.has(name)) this.network.heal(name, 'node');
    });
  }

  private async startTarget(): Promise<void> {
    this.tsihBase += 1_000;
    const base = this.tsihBase;
    this.target = await startIscsiTarget({
      network: this.node,
      clock: this.clock,
      random: this.random.fork(`target ${base}`),
      logger: silentLogger,
      port: 3260,
      targetName: IQN,
      luns: { 1: { device: this.disk, reservations: this.mutation !== 'no fence' } },
      chap: { user: 'd', secret: new ChapSecret('secret-of-the-deployment') },
      reinstatement: this.mutation !== 'no fence',
    });
    this.target.faults.onCommand = ({ opcode, tsih }) => {
      if (!WRITES.has(opcode)) return undefined;
      const writer = base + tsih;
      if (writer < this.newestWriter) this.violations.push(`session ${writer} wrote after session ${this.newestWriter}`);
      this.newestWriter = Math.max(this.newestWriter, writer);
      if (!this.failNext) return undefined;
      this.failNext = false;
      return { sense: [3, 0x0c, 0] };
    };
  }
  private failNext = false;

  private failOneWrite(): void {
    this.failNext = true;
  }

  /** The ramdisk's target dies and is started again; with the power, what was not flushed is lost. */
  private async crashTarget(power: boolean): Promise<void> {
    const { target } = this;
    this.target = undefined;
    if (target === undefined) return;
    await target.close();
    if (power) await this.disk.powerCut(this.random);
    await sleep(this.clock, randomInt(this.random, 8_000));
    if (!this.ended) await this.startTarget();
  }

  /** Somewhere in the part that is not written yet, or was: nobody knows. */
  private rot(): void {
    const rotten = Buffer.from(this.content);
    const at = randomInt(this.random as Random, IMAGE_BYTES);
    rotten[at] = (rotten[at] ?? 0) ^ 0x40;
    writeFileSync(this.imagePath, rotten);
  }
}
