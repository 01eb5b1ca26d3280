/**
 * Virtual time, for scenarios that live through hours in milliseconds and do so the same way each time. Time stands still
 * while anything can still run, and then jumps to the earliest timer.
 *
 * "Anything can still run" is found out by turning the real event loop once: a message sent through a MessageChannel
 * arrives as a macrotask of its own, which Node runs only when the queues of microtasks and of process.nextTick are both
 * empty (1.3 µs a turn; setImmediate would do as well, and may be given as `turn`). Real work under way holds time still:
 * file operations are seen by themselves, through Node's list of active requests; everything else that ends outside of this
 * process or on its thread pool (child processes, real sockets, zlib, subtle crypto) is declared with `external`.
 */
import { MessageChannel } from 'node:worker_threads';
import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/clock';
import { simulatorErrors } from './errors.ts';
import { TimerQueue } from './timer-queue.ts';

export interface VirtualClockOptions {
  /** Wall-clock time at the start. Default 2026-01-01T00:00:00Z. */
  readonly startMs?: number;
  /** Resolves in a later macrotask of the real event loop. Default: a message to ourselves. */
  readonly turn?: () => Promise<void>;
}

export interface RunOptions {
  /** Simulated time that the work may take. Default: a day. */
  readonly limitMs?: number;
}

const START_MS = 1_767_225_600_000;
const DAY_MS = 86_400_000;
/** Delays are rounded up to this many parts of a millisecond: sums of them are exact in binary, so no timer is a hair early. */
const TICKS_PER_MS = 1024;
/** More timers than this at one instant is a loop, not a scenario. */
const LIVELOCK_TIMERS = 1_000_000;

export class VirtualClock implements Clock {
  private elapsedMs = 0;
  private wallOffsetMs: number;
  private readonly timers = new TimerQueue();
  private readonly turn: () => Promise<void>;
  private readonly externals = new Set<Promise<unknown>>();
  private readonly reporters: (() => readonly string[])[] = [];
  private running = false;

  constructor(options: VirtualClockOptions = {}) {
    this.wallOffsetMs = options.startMs ?? START_MS;
    this.turn = options.turn ?? messageTurn;
  }

  now(): number {
    return Math.floor(this.wallOffsetMs + this.elapsedMs);
  }

  monotonic(): number {
    return this.elapsedMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.timers.add(this.elapsedMs + quantised(delayMs), callback);
  }

  /** Moves the wall clock (an NTP step, an operator's hand); durations and timers do not notice. */
  stepWall(byMs: number): void {
    this.wallOffsetMs += byMs;
  }

  /** Another machine's view: its wall clock is `offsetMs` ahead and it runs `rate` times as fast (1.0001: 100 ppm fast). */
  skewed(offsetMs: number, rate = 1): Clock {
    const start = this.elapsedMs;
    return {
      now: () => Math.floor(this.wallOffsetMs + start + (this.elapsedMs - start) * rate + offsetMs),
      monotonic: () => (this.elapsedMs - start) * rate,
      after: (delayMs, callback) => this.after(delayMs / rate, callback),
    };
  }

  /** Holds time still until `work`, real asynchronous work, has settled; gives `work` back. */
  external<T>(work: Promise<T>): Promise<T> {
    const settled: Promise<unknown> = work.then(
      () => this.externals.delete(settled),
      () => this.externals.delete(settled),
    );
    this.externals.add(settled);
    return work;
  }

  /** Adds lines to what a deadlock or an exceeded limit reports, e.g. the connections that somebody reads from. */
  reportPending(reporter: () => readonly string[]): void {
    this.reporters.push(reporter);
  }

  /**
   * Lets time pass until `work` settles, and gives its result. Rejects with SIMULATOR_DEADLOCK when nothing is left that could
   * settle it, and with SIMULATOR_TIME_LIMIT after `limitMs` of simulated time. An error thrown by a timer's callback ends the run.
   */
  async run<T>(work: Promise<T>, options: RunOptions = {}): Promise<T> {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    work.then(settle, settle);
    await this.runUntil(() => settled, options);
    return work;
  }

  /** Lets time pass until `predicate`, asked after every event, is true. Rejects as `run` does. */
  async runUntil(predicate: () => boolean, { limitMs = DAY_MS }: RunOptions = {}): Promise<void> {
    const endMs = this.elapsedMs + limitMs;
    await this.exclusively(async () => {
      for (let sameInstant = 0; ; sameInstant++) {
        await this.drain();
        if (predicate()) return;
        const next = this.timers.nextMs();
        if (next === undefined) throw simulatorErrors.SIMULATOR_DEADLOCK({ atMs: this.elapsedMs, pending: this.pending() });
        if (next > endMs) {
          this.elapsedMs = endMs;
          throw simulatorErrors.SIMULATOR_TIME_LIMIT({ limitMs, pending: this.pending() });
        }
        if (next > this.elapsedMs) sameInstant = 0;
        if (sameInstant > LIVELOCK_TIMERS) throw simulatorErrors.SIMULATOR_LIVELOCK({ atMs: this.elapsedMs, timers: sameInstant });
        this.elapsedMs = next;
        this.timers.take()?.();
      }
    });
  }

  /** Lets exactly `durationMs` pass, whatever happens in it; time passes even when no timer is set. */
  async runFor(durationMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.after(durationMs, resolve);
    await this.run(promise, { limitMs: durationMs + 1 });
  }

  /** Resolves when nothing can run any more at this instant: no microtask, no file operation, no external work. */
  private async drain(): Promise<void> {
    await this.turn();
    while (this.externals.size > 0 || fileWorkPending()) {
      if (this.externals.size > 0) await Promise.race(this.externals);
      await this.turn();
    }
  }

  private async exclusively(work: () => Promise<void>): Promise<void> {
    if (this.running) throw simulatorErrors.SIMULATOR_ALREADY_RUNNING({});
    this.running = true;
    try {
      await work();
    } finally {
      this.running = false;
    }
  }

  private pending(): readonly string[] {
    const timers = this.timers.size;
    return [
      ...this.reporters.flatMap((report) => report()),
      ...(timers ? [`${timers} timers, the next at ${this.timers.nextMs()} ms`] : []),
    ];
  }
}

function quantised(delayMs: number): number {
  return delayMs > 0 ? Math.ceil(delayMs * TICKS_PER_MS) / TICKS_PER_MS : 0; // also catches NaN
}

/** node:fs reports its requests here while the kernel or the thread pool works on them ("CloseReq": a FileHandle's close). */
function fileWorkPending(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq') || name === 'CloseReq');
}

/** One macrotask. The port is referenced only while somebody waits, so that an idle clock does not keep the process alive. */
const messageTurn: () => Promise<void> = (() => {
  const { port1, port2 } = new MessageChannel();
  let waiting: (() => void)[] = [];
  port1.on('message', () => {
    port1.unref();
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  });
  port1.unref();
  port2.unref();
  return () =>
    new Promise((resolve) => {
      if (waiting.length === 0) {
        port1.ref();
        port2.postMessage(0);
      }
      waiting.push(resolve);
    });
})();
