import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { HashThread, sha256OnTheSpot } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import { afterEach, describe, expect, it } from 'vitest';

const KIB = 1024;
const random = seededRandom('hash-thread');

function bytes(length: number): Uint8Array<ArrayBuffer> {
  const own = new Uint8Array(length);
  own.set(random.bytes(length));
  return own;
}

function digestOf(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

describe('the thread that hashes', () => {
  let thread = new HashThread();
  afterEach(async () => {
    await thread.close();
    thread = new HashThread();
  });

  it('takes the buffer along and brings it back as it was, with the digest', async () => {
    const data = bytes(300 * KIB);
    const copy = data.slice();
    const pending = thread.sha256(data);
    expect(data.length).toBe(0); // nobody else can write it meanwhile
    const hashed = await pending;
    expect(hashed.digest).toBe(digestOf(copy));
    expect(Buffer.compare(hashed.data, copy)).toBe(0);
  });

  it('hashes a part of a buffer, and gives the same part', async () => {
    const whole = bytes(300 * KIB);
    const part = whole.slice(4 * KIB, 204 * KIB);
    const hashed = await thread.sha256(whole.subarray(4 * KIB, 204 * KIB));
    expect(hashed.digest).toBe(digestOf(part));
    expect([hashed.data.byteOffset, hashed.data.length, hashed.data.buffer.byteLength]).toEqual([4 * KIB, 200 * KIB, 300 * KIB]);
  });

  it('gives each of many its own digest', async () => {
    const all = Array.from({ length: 40 }, (_, index) => bytes((64 + index) * KIB));
    const due = all.map(digestOf);
    expect((await Promise.all(all.map(thread.sha256))).map(({ digest }) => digest)).toEqual(due);
  });

  it('does what is small on the spot, also out of the pool of small buffers', () => {
    const small = Buffer.from('the quick brown fox') as Buffer<ArrayBuffer>;
    expect(thread.sha256(small)).toEqual({ digest: digestOf(small), data: small });
  });

  it('answers before it closes, and afterwards on the spot', async () => {
    const data = bytes(200 * KIB);
    const due = digestOf(data);
    const pending = thread.sha256(data);
    await thread.close();
    const { digest, data: back } = await pending;
    expect(digest).toBe(due);
    expect(thread.sha256(back)).toEqual(sha256OnTheSpot(back));
  });

  it('rejects what a thread that dies had, and starts another', async () => {
    let started = 0;
    const start = (): Worker => {
      const program =
        started++ === 0 ? "require('node:worker_threads').parentPort.once('message', () => { throw new Error('no memory'); })" : '';
      return program ? new Worker(program, { eval: true }) : new Worker(ECHO, { eval: true });
    };
    const mortal = new HashThread(start);
    const lost = await Promise.allSettled([mortal.sha256(bytes(64 * KIB)), mortal.sha256(bytes(64 * KIB))]);
    expect(lost.map((result) => result.status === 'rejected' && String(result.reason))).toEqual(['Error: no memory', 'Error: no memory']);
    expect((await mortal.sha256(bytes(64 * KIB))).digest).toBe('echo');
    await mortal.close();
    expect(started).toBe(2);
  });
});

const ECHO = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', ({ buffer }) => parentPort.postMessage({ digest: 'echo', buffer }, [buffer]));
`;
