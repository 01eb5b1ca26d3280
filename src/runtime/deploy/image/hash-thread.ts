/**
 * SHA-256 beside the event loop, for all deployments of a process. A MiB takes 0.5 ms, twice what sending it takes the loop. The buffer is handed over
 * and back (a transfer, 10 µs), so that nothing is copied: libuv's own threads are not used, since Web Crypto copies what it is given, which is half as
 * much work again. One thread does 2 GB/s where the processor knows SHA, more than a network of 10 Gbit/s carries.
 *
 * Time on a virtual clock would not wait for a thread: the simulator hashes on the spot.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type Hashed, type Sha256, sha256OnTheSpot } from './sha256.ts';

/** Plain JavaScript, since a bundle is one file, and a thread has no loader. Answers in the order of the questions. */
const THREAD = `
const { parentPort } = require('node:worker_threads');
const { hash } = require('node:crypto');
parentPort.on('message', ({ buffer, offset, length }) => {
  const digest = hash('sha256', new Uint8Array(buffer, offset, length), 'hex');
  parentPort.postMessage({ digest, buffer }, [buffer]);
});
`;

/** Below this the way there and back is the larger part. It is also more than Node ever cuts out of a shared pool, which cannot be handed over. */
const SMALLEST_BYTES = 64 * 1024;

interface Question {
  readonly offset: number;
  readonly length: number;
  readonly resolve: (hashed: Hashed) => void;
  readonly reject: (error: Error) => void;
}

interface Answer {
  readonly digest: string;
  readonly buffer: ArrayBuffer;
}

export class HashThread {
  private worker: Worker | undefined;
  private readonly asked: Question[] = [];
  private onIdle: (() => void) | undefined;
  private closed = false;

  /** `startThread` is for tests. */
  constructor(private readonly startThread: () => Worker = hashingThread) {}

  /** On a machine with one processor, and after `close`, on the spot. */
  readonly sha256: Sha256 = (data) => {
    if (this.closed || data.length < SMALLEST_BYTES || availableParallelism() === 1) return sha256OnTheSpot(data);
    return new Promise((resolve, reject) => {
      const { buffer, byteOffset: offset, length } = data;
      const worker = this.start();
      worker.postMessage({ buffer, offset, length }, [buffer]);
      this.asked.push({ offset, length, resolve, reject });
      worker.ref();
    });
  };

  /** Resolves when the thread has ended; what was asked of it is answered before. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.asked.length > 0)
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
    await this.worker?.terminate();
  }

  private start(): Worker {
    if (this.worker) return this.worker;
    const worker = this.startThread();
    worker.on('message', (answer: Answer) => this.take(answer));
    let failure: Error | undefined;
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', () => this.lose(worker, failure ?? new Error('the thread that hashes has ended')));
    this.worker = worker;
    return worker;
  }

  private take({ digest, buffer }: Answer): void {
    const question = this.asked.shift();
    question?.resolve({ digest, data: new Uint8Array(buffer, question.offset, question.length) });
    if (this.asked.length === 0) this.rest();
  }

  /** The next question starts another. */
  private lose(worker: Worker, error: Error): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    for (const { reject } of this.asked.splice(0)) reject(error);
    this.rest();
  }

  private rest(): void {
    this.worker?.unref(); // nobody waits: it holds no process up
    this.onIdle?.();
  }
}

function hashingThread(): Worker {
  // no loaders of this process, and a heap for messages only
  return new Worker(THREAD, { eval: true, name: 'sha256', execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 2 } });
}
