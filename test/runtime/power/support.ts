/** A virtual clock, a seeded generator and a wire that loses, repeats and reorders: the power tests wait for nothing real. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { type Clock, type Endpoint, type Network, type Random, silentLogger, type UdpHandlers } from 'cdk8s-baremetal-runtime/core/index';
import { type BmcAccess, IpmiGateway, type IpmiGatewayOptions, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { type BootOverride, type Chassis, SimulatedBmc, type SimulatedBmcOptions } from 'cdk8s-baremetal-simulator/bmc/index';

export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  #timers: { at: number; order: number; callback: () => void }[] = [];

  now(): number {
    return 1_800_000_000_000 + this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(delayMs: number, callback: () => void): { cancel(): void } {
    const timer = { at: this.#now + delayMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Runs timers until `promise` settles; fails when nothing is left that could settle it. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    for (let steps = 0; steps < 200_000; steps++) {
      await drain();
      if (settled) return promise;
      if (!this.#next()) throw new Error(`nothing left to wait for at ${this.#now} ms`);
    }
    throw new Error('no end in sight');
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await drain();
    while (this.#timers.some((timer) => timer.at <= end)) {
      this.#next();
      await drain();
    }
    this.#now = end;
  }

  #next(): boolean {
    const timer = this.#timers.toSorted((a, b) => a.at - b.at || a.order - b.order)[0];
    if (!timer) return false;
    this.#timers = this.#timers.filter((other) => other !== timer);
    this.#now = Math.max(this.#now, timer.at);
    timer.callback();
    return true;
  }
}

/** Lets everything run that waits for promises only. */
function drain(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function seededRandom(seed: number): Random {
  let counter = 0;
  return {
    bytes(length) {
      const out = new Uint8Array(length);
      for (let filled = 0; filled < length; filled += 32)
        out.set(
          createHash('sha256')
            .update(`${seed}/${counter++}`)
            .digest()
            .subarray(0, Math.min(32, length - filled)),
          filled,
        );
      return out;
    },
  };
}

export interface Wire {
  /** Fates of one datagram: a delay in ms for each copy that arrives; none is a loss. */
  fate(data: Uint8Array, from: Endpoint, to: Endpoint): readonly number[];
}

export const perfectWire: Wire = { fate: () => [0.1] };

/** Loses, repeats and delays (so reorders) with the given chances out of 100. */
export function badWire(seed: number, percent: { loss: number; duplicate: number; reorder: number }): Wire {
  const random = seededRandom(seed);
  const chance = (): number => (random.bytes(1)[0] ?? 0) / 2.56;
  return {
    fate() {
      if (chance() < percent.loss) return [];
      const delay = (): number => (chance() < percent.reorder ? 5 + chance() : 0.1);
      return chance() < percent.duplicate ? [delay(), delay()] : [delay()];
    },
  };
}

export class FakeNetwork implements Network {
  wire: Wire = perfectWire;
  /** Every datagram sent, in order. */
  readonly log: { from: Endpoint; to: Endpoint; data: Uint8Array }[] = [];
  readonly #sockets = new Map<string, UdpHandlers & { endpoint: Endpoint }>();
  #port = 40_000;

  constructor(private readonly clock: Clock) {}

  get open(): number {
    return this.#sockets.size;
  }

  async udp(options: { address?: string; port?: number }, handlers: UdpHandlers) {
    const local = { address: options.address ?? '10.0.0.1', port: options.port || this.#port++ };
    const key = `${local.address}:${local.port}`;
    if (this.#sockets.has(key)) throw new Error(`${key} is taken`);
    const socket = {
      local,
      send: (data: Uint8Array, to: Endpoint): void => {
        const copy = Uint8Array.from(data);
        this.log.push({ from: local, to, data: copy });
        for (const delay of this.wire.fate(copy, local, to)) {
          this.clock.after(delay, () => {
            this.#sockets.get(`${to.address}:${to.port}`)?.onMessage(Uint8Array.from(copy), local, socket);
          });
        }
      },
      close: async (): Promise<void> => void this.#sockets.delete(key),
    };
    this.#sockets.set(key, { ...handlers, endpoint: local });
    return socket;
  }

  connect = (): never => refuse();
  listen = (): never => refuse();
  serveHttp = (): never => refuse();
  request = (): never => refuse();
  requestStream = (): never => refuse();
}

function refuse(): never {
  throw new Error('only UDP here');
}

export class TestChassis implements Chassis {
  powered = false;
  readonly events: string[] = [];

  powerOn(boot: BootOverride): void {
    this.powered = true;
    this.events.push(`on ${boot.device}${boot.efi ? ' efi' : ''}`);
  }

  powerOff(): void {
    this.powered = false;
    this.events.push('off');
  }

  reset(boot: BootOverride): void {
    this.events.push(`reset ${boot.device}`);
  }
}

export const USERS = [
  { name: 'admin', password: 'correct-horse', privilege: 'administrator' },
  { name: 'op', password: 'operate', privilege: 'operator' },
  { name: 'viewer', password: 'look', privilege: 'user' },
  { name: 'nopass', password: '', privilege: 'administrator' },
] as const;

export interface Lab {
  readonly clock: VirtualClock;
  readonly network: FakeNetwork;
  readonly chassis: TestChassis;
  readonly bmc: SimulatedBmc;
  readonly gateway: IpmiGateway;
  access(overrides?: Partial<Omit<BmcAccess, 'password'>> & { password?: string }): BmcAccess;
  close(): Promise<void>;
}

/** One simulated BMC and one gateway on a virtual wire. */
export async function makeLab(
  options: { bmc?: Partial<SimulatedBmcOptions>; gateway?: Partial<IpmiGatewayOptions>; seed?: number } = {},
): Promise<Lab> {
  const clock = new VirtualClock();
  const network = new FakeNetwork(clock);
  const chassis = new TestChassis();
  const logger = silentLogger;
  const seed = options.seed ?? 1;
  const bmc = await SimulatedBmc.start({
    clock,
    network,
    logger,
    random: seededRandom(seed),
    address: '10.0.0.20',
    users: USERS,
    chassis,
    ...options.bmc,
  });
  const gateway = new IpmiGateway({ clock, network, logger, random: seededRandom(seed + 1000), ...options.gateway });
  return {
    clock,
    network,
    chassis,
    bmc,
    gateway,
    access: ({ password = 'correct-horse', ...overrides } = {}) => ({
      address: '10.0.0.20',
      username: 'admin',
      ...overrides,
      password: new Secret(password),
    }),
    async close() {
      await clock.until(gateway.close());
      await bmc.close();
    },
  };
}

/** The code of the error that `promise` rejects with, on the lab's clock. */
export async function failure(lab: Lab, promise: Promise<unknown>): Promise<string> {
  try {
    await lab.clock.until(promise);
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
  return 'no error';
}

/** Is the program there? If not, says so once: a skipped test must be seen. */
export function available(program: string, debianPackage: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  if (!found) console.warn(`SKIPPED: ${program} is missing (Debian package ${debianPackage}); its interoperability tests do not run`);
  return found;
}

/** Runs of each fuzz property; FUZZ_RUNS asks for more. */
export const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 2000);
