/**
 * A clock that jumps and a UDP network that misbehaves by a seed, for the tests of this folder: losing, duplicating,
 * reordering and delaying datagrams, and counting what was sent.
 */
import type { Clock, Endpoint, Network, Random, UdpHandlers, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';

/** mulberry32: 32 bits of state, enough to vary faults, and the same on every machine. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function seededRandom(seed: number): Random {
  const next = seeded(seed);
  return { bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)) };
}

interface Entry {
  readonly at: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

export class FakeClock implements Clock {
  private time = 0;
  private order = 0;
  /** A binary heap by time, then by order of arming. */
  private readonly heap: Entry[] = [];

  now(): number {
    return 1_700_000_000_000 + this.time;
  }

  monotonic(): number {
    return this.time;
  }

  after(delayMs: number, callback: () => void): { cancel(): void } {
    const entry: Entry = { at: this.time + Math.max(0, delayMs), order: this.order++, callback };
    this.push(entry);
    return {
      cancel: () => {
        entry.callback = undefined;
      },
    };
  }

  /** Timers that would still fire. */
  get armed(): number {
    return this.heap.filter((entry) => entry.callback).length;
  }

  /** Lets time pass until `work` settles; fails when nothing more can happen, or after `limitMs` of this clock. */
  async settle<T>(work: Promise<T>, limitMs = 3_600_000): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    work.then(done, done);
    const end = this.time + limitMs;
    for (let idle = 0; !settled; ) {
      await turn();
      if (settled) break;
      idle = this.step(end) ? 0 : idle + 1;
      // Real work (a file read) may be under way outside this clock: give it some turns before calling it stuck
      if (idle > 2000) throw new Error(`nothing is left to happen at ${this.time} ms`);
      if (this.time >= end) throw new Error(`not settled after ${limitMs} ms`);
    }
    return work;
  }

  /** Lets `forMs` pass. */
  async pass(forMs: number): Promise<void> {
    const end = this.time + forMs;
    await turn();
    while (this.step(end)) await turn();
    this.time = end;
  }

  /** Fires the callbacks of the next moment; false when there is none until `end`. */
  private step(end: number): boolean {
    let fired = false;
    for (let head = this.heap[0]; head && head.at <= end; head = this.heap[0]) {
      if (fired && head.at > this.time) break;
      this.pop();
      if (!head.callback) continue;
      this.time = head.at;
      fired = true;
      head.callback();
    }
    return fired;
  }

  private push(entry: Entry): void {
    const { heap } = this;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.swapIfEarlier(index, parent)) break;
      index = parent;
    }
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop();
    if (heap.length === 0 || !last) return;
    heap[0] = last;
    for (let index = 0; ; ) {
      const left = 2 * index + 1;
      if (left >= heap.length) return;
      const child = left + 1 < heap.length && earlier(heap[left + 1], heap[left]) ? left + 1 : left;
      if (!this.swapIfEarlier(child, index)) return;
      index = child;
    }
  }

  private swapIfEarlier(low: number, high: number): boolean {
    const a = this.heap[low];
    const b = this.heap[high];
    if (!a || !b || !earlier(a, b)) return false;
    this.heap[high] = a;
    this.heap[low] = b;
    return true;
  }
}

function earlier(a: Entry | undefined, b: Entry | undefined): boolean {
  if (!a || !b) return false;
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Lets promises and, where a test reads real files, the operating system come to their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface Faults {
  /** Chance of each datagram to vanish. */
  readonly loss?: number;
  /** Chance to arrive twice. */
  readonly duplicate?: number;
  /** Extra delay, uniform in [0, jitterMs): above the spacing of datagrams it reorders them. */
  readonly jitterMs?: number;
  readonly delayMs?: number;
  /** Decides about single datagrams; true: lost. */
  readonly drop?: (data: Uint8Array, from: Endpoint, to: Endpoint) => boolean;
}

export interface Sent {
  readonly at: number;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly data: Uint8Array;
}

export class FakeNetwork implements Pick<Network, 'udp'> {
  /** Filled when `record` is set. */
  readonly sent: Sent[] = [];
  sentCount = 0;
  record = false;
  /** As on loopback. */
  mtu = 65_536;
  private readonly sockets = new Map<string, { socket: UdpSocket; handlers: UdpHandlers }>();
  private nextPort = 40_000;
  private readonly chance: () => number;

  constructor(
    readonly clock: FakeClock,
    public faults: Faults = {},
    seed = 1,
  ) {
    this.chance = seeded(seed);
  }

  get open(): number {
    return this.sockets.size;
  }

  async udp({ address = '10.0.0.1', port = 0 }: { address?: string; port?: number }, handlers: UdpHandlers): Promise<UdpSocket> {
    const local = { address, port: port || this.nextPort++ };
    const key = `${local.address}:${local.port}`;
    if (this.sockets.has(key)) throw new Error(`EADDRINUSE ${key}`);
    let closed = false;
    const socket: UdpSocket = {
      local,
      mtu: this.mtu,
      // By reference on purpose: whoever writes into a datagram after sending it corrupts the transfer here
      send: (data, to) => {
        if (!closed) this.carry(data, local, to);
      },
      close: async () => {
        closed = true;
        this.sockets.delete(key);
      },
    };
    this.sockets.set(key, { socket, handlers });
    return socket;
  }

  connect = never;
  listen = never;
  serveHttp = never;
  request = never;
  requestStream = never;

  private carry(data: Uint8Array, from: Endpoint, to: Endpoint): void {
    const { loss = 0, duplicate = 0, jitterMs = 0, delayMs = 0.1, drop } = this.faults;
    this.sentCount++;
    if (this.record) this.sent.push({ at: this.clock.monotonic(), from, to, data: Uint8Array.from(data) });
    if (drop?.(data, from, to)) return;
    const copies = duplicate > 0 && this.chance() < duplicate ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (loss > 0 && this.chance() < loss) continue;
      const delay = delayMs + (jitterMs > 0 ? this.chance() * jitterMs : 0);
      this.clock.after(delay, () => {
        const target = this.sockets.get(`${to.address}:${to.port}`);
        target?.handlers.onMessage(data, from, target.socket);
      });
    }
  }
}

function never(): never {
  throw new Error('only UDP here');
}
