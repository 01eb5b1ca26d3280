/**
 * Keys that want work. A key stands in the queue once however often it is added, is never with two workers at a time, and comes
 * again when it was added while being worked on: what was seen meanwhile is not lost.
 */
import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/clock';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import { type BackoffOptions, exponentialMs, jittered } from './backoff.ts';
import { createMetrics, type Metrics } from './metrics.ts';

export interface WorkQueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics?: Metrics;
  /** Pauses after failures of one key. Default 500 ms doubling to 5 minutes: 0.5 1 2 4 8 16 32 64 128 256 300 s, jittered. */
  readonly backoff?: BackoffOptions;
}

const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 500, maxMs: 300_000 };

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #backoff: BackoffOptions;
  /** In the order of asking; Sets keep it. */
  readonly #waiting = new Set<string>();
  readonly #addedAt = new Map<string, number>();
  readonly #running = new Set<string>();
  /** Added while running. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, { readonly dueAt: number; readonly timer: Timer }>();
  readonly #failures = new Map<string, number>();
  #takers: ((key: string | undefined) => void)[] = [];
  #idlers: (() => void)[] = [];
  #closed = false;
  readonly #depth;
  readonly #latency;
  readonly #retries;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#backoff = options.backoff ?? DEFAULT_BACKOFF;
    const metrics = options.metrics ?? createMetrics();
    this.#depth = metrics.gauge('operator_queue_depth', 'Keys that wait for a worker.');
    this.#latency = metrics.histogram('operator_queue_wait_seconds', 'Time that a key waited for a worker.');
    this.#retries = metrics.counter('operator_queue_retries_total', 'Keys added again after a failure.');
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Keys with a worker now. */
  get running(): number {
    return this.#running.size;
  }

  /** Work on `key` as soon as a worker is free; a delay that stands for it is dropped. */
  add(key: string): void {
    if (this.#closed) return;
    this.#cancelDelay(key);
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    if (this.#waiting.has(key)) return;
    this.#waiting.add(key);
    this.#addedAt.set(key, this.#options.clock.monotonic());
    this.#hand();
  }

  /** Adds `key` after `delayMs`, unless it is due earlier already. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const dueAt = this.#options.clock.monotonic() + delayMs;
    const standing = this.#delayed.get(key);
    if (standing && standing.dueAt <= dueAt) return;
    this.#cancelDelay(key);
    const timer = this.#options.clock.after(delayMs, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { dueAt, timer });
  }

  /** Adds `key` after a pause that grows with its failures; returns the pause. */
  retry(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#retries.inc({ queue: this.#options.name });
    const pauseMs = jittered(this.#options.random, exponentialMs(this.#backoff, failures));
    this.addAfter(key, pauseMs);
    return pauseMs;
  }

  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The key succeeded, or is given up: its next failure is its first. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, which is then the caller's until `done(key)`; undefined when the queue is closed. */
  async take(): Promise<string | undefined> {
    if (this.#closed) return undefined;
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#hand();
    });
  }

  done(key: string): void {
    this.#running.delete(key);
    if (this.#again.delete(key)) this.add(key);
    if (this.#running.size === 0) {
      for (const resolve of this.#idlers.splice(0)) resolve();
    }
  }

  /** Hands out nothing more; resolves when the last key taken is done. */
  close(): Promise<void> {
    this.#closed = true;
    this.#waiting.clear();
    this.#addedAt.clear();
    this.#again.clear();
    for (const key of [...this.#delayed.keys()]) this.#cancelDelay(key);
    for (const resolve of this.#takers.splice(0)) resolve(undefined);
    this.#depth.set(0, { queue: this.#options.name });
    return this.#running.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idlers.push(resolve));
  }

  #hand(): void {
    for (const key of this.#waiting) {
      const taker = this.#takers.shift();
      if (taker === undefined) break;
      this.#waiting.delete(key);
      this.#running.add(key);
      const waitedMs = this.#options.clock.monotonic() - (this.#addedAt.get(key) ?? 0);
      this.#addedAt.delete(key);
      this.#latency.observe(waitedMs / 1000, { queue: this.#options.name });
      taker(key);
    }
    this.#depth.set(this.#waiting.size, { queue: this.#options.name });
  }

  #cancelDelay(key: string): void {
    this.#delayed.get(key)?.timer.cancel();
    this.#delayed.delete(key);
  }
}
