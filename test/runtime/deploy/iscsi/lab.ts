/** A deployer and a node's disk on a simulated network, in virtual time. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { type DiskOptions, type IscsiDisk, makeIsid, openDisk, type Preferences } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { MemoryDisk, SimNetwork, seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { type IscsiTarget, type IscsiTargetOptions, type LunOptions, startIscsiTarget } from 'cdk8s-baremetal-simulator/iscsi-target/index';

export const TARGET_NAME = 'iqn.2026-11.io.bms:node-7';
export const INITIATOR_NAME = 'iqn.2026-11.io.bms:deployer';
export const MIB = 1024 * 1024;
export const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 3000);

export interface LabOptions {
  readonly target?: Partial<IscsiTargetOptions>;
  readonly unit?: Partial<LunOptions>;
  readonly sizeBytes?: number;
  readonly blockBytes?: number;
  readonly tcpSegmentBytes?: number;
}

export class Lab {
  readonly clock = new VirtualClock();
  readonly random = seededRandom('iscsi');
  readonly network: SimNetwork;
  readonly disk: MemoryDisk;
  private readonly node;
  private readonly deployer;
  private running: IscsiTarget | undefined;

  constructor(private readonly options: LabOptions = {}) {
    const { sizeBytes = 64 * MIB, blockBytes = 512, tcpSegmentBytes } = options;
    this.network = new SimNetwork({ clock: this.clock, random: this.random, ...(tcpSegmentBytes && { tcpSegmentBytes }) });
    this.disk = new MemoryDisk({ sizeBytes, blockBytes });
    this.node = this.network.host({ name: 'node', addresses: ['192.0.2.7/24'], segment: 'lan' });
    this.deployer = this.network.host({ name: 'deployer', addresses: ['192.0.2.1/24'], segment: 'lan' });
  }

  get target(): IscsiTarget {
    if (!this.running) throw new Error('the target is not running');
    return this.running;
  }

  async start(): Promise<void> {
    this.running = await startIscsiTarget({
      network: this.node,
      clock: this.clock,
      random: this.random.fork('target'),
      logger: silentLogger,
      port: 3260,
      targetName: TARGET_NAME,
      luns: { 1: { device: this.disk, ...this.options.unit } },
      ...this.options.target,
    });
  }

  base(overrides: Partial<DiskOptions> = {}): DiskOptions {
    return {
      network: this.deployer,
      clock: this.clock,
      random: this.random.fork('initiator'),
      logger: silentLogger,
      portal: { address: '192.0.2.7', port: 3260 },
      targetName: TARGET_NAME,
      lun: 1,
      initiatorName: INITIATOR_NAME,
      isid: makeIsid(1, 7),
      ...overrides,
    };
  }

  open(overrides: Partial<DiskOptions> = {}): Promise<IscsiDisk> {
    return openDisk(this.base(overrides));
  }

  /** Starts the target, runs `work` in virtual time, and stops the target. */
  run<T>(work: (lab: Lab) => Promise<T>): Promise<T> {
    return this.clock.run(
      (async () => {
        await this.start();
        try {
          return await work(this);
        } finally {
          await this.running?.close();
        }
      })(),
    );
  }
}

/** Runs `work` against a fresh target. */
export function withLab<T>(options: LabOptions, work: (lab: Lab) => Promise<T>): Promise<T> {
  return new Lab(options).run(work);
}

export function preferences(overrides: Partial<Preferences>): { preferences: Partial<Preferences> } {
  return { preferences: overrides };
}

/** The code of the CodedError that `work` rejects with. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'no error';
}
