import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../../src/operator/engine/metrics.ts';
import { WorkQueue } from '../../../src/operator/engine/workqueue.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';

const make = (clock = new VirtualClock()): { clock: VirtualClock; queue: WorkQueue } => ({
  clock,
  queue: new WorkQueue({ name: 'test', clock, random: seededRandom(1) }),
});

describe('work queue', () => {
  it('keeps a key once, in the order of asking', async () => {
    const { queue } = make();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect(queue.size).toBe(3);
    expect([await queue.take(), await queue.take(), await queue.take()]).toEqual(['a', 'b', 'c']);
  });

  it('a key added while worked on comes again, once, and not before it is done', async () => {
    const { clock, queue } = make();
    queue.add('a');
    expect(await queue.take()).toBe('a');
    queue.add('a');
    queue.add('a');
    let second: string | undefined;
    const taking = queue.take().then((key) => {
      second = key;
    });
    await clock.runFor(1000);
    expect(second).toBeUndefined();
    queue.done('a');
    await taking;
    expect(second).toBe('a');
    queue.done('a');
    expect(queue.size).toBe(0);
  });

  it('retries with pauses that double up to the maximum, jittered; success starts over', async () => {
    const { clock, queue } = make();
    const pauses = Array.from({ length: 14 }, () => queue.retry('a'));
    pauses.forEach((pause, failures) => {
      const plain = Math.min(300_000, 500 * 2 ** failures);
      expect(pause).toBeGreaterThanOrEqual(plain / 2);
      expect(pause).toBeLessThanOrEqual(plain * 1.5);
    });
    expect(new Set(pauses.map((pause, i) => pause / Math.min(300_000, 500 * 2 ** i))).size).toBeGreaterThan(10);
    queue.forget('a');
    expect(queue.retry('a')).toBeLessThanOrEqual(750);
    await clock.runFor(1000);
    expect(queue.size).toBe(1);
  });

  it('of two delays the earlier one counts; adding at once drops the delay', async () => {
    const { clock, queue } = make();
    queue.addAfter('a', 5000);
    queue.addAfter('a', 1000);
    queue.addAfter('a', 9000);
    await clock.runFor(999);
    expect(queue.size).toBe(0);
    await clock.runFor(1);
    expect(await queue.take()).toBe('a');
    queue.done('a');
    queue.addAfter('b', 5000);
    queue.add('b');
    expect(await queue.take()).toBe('b');
    queue.done('b');
    await clock.runFor(20_000);
    expect(queue.size).toBe(0);
  });

  it('closing ends the waiting takers, drops what waits, and resolves when the running keys are done', async () => {
    const { clock, queue } = make();
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 10);
    expect(await queue.take()).toBe('a');
    let closed = false;
    const closing = queue.close().then(() => {
      closed = true;
    });
    expect(await queue.take()).toBeUndefined();
    queue.add('a');
    await clock.runFor(1000);
    expect(closed).toBe(false);
    queue.done('a');
    await closing;
    expect([queue.size, queue.running]).toEqual([0, 0]);
    await clock.runFor(1); // no timer is left that would add to a closed queue
  });

  it('measures depth and waiting time', async () => {
    const clock = new VirtualClock();
    const metrics = createMetrics();
    const queue = new WorkQueue({ name: 'q', clock, random: seededRandom(1), metrics });
    queue.add('a');
    queue.add('b');
    expect(metrics.render()).toContain('operator_queue_depth{queue="q"} 2\n');
    await clock.runFor(3000);
    await queue.take();
    expect(metrics.render()).toContain('operator_queue_wait_seconds_bucket{le="2.5",queue="q"} 0\n');
    expect(metrics.render()).toContain('operator_queue_wait_seconds_bucket{le="5",queue="q"} 1\n');
  });

  it('property: no key is with two workers, every add is followed by work, at most so many run at once', async () => {
    const action = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e'), afterMs: fc.nat(50), pauseMs: fc.nat(20) });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), async (actions, workers) => {
        const { clock, queue } = make();
        const running = new Set<string>();
        const lastStart = new Map<string, number>();
        const dueBy = new Map<string, number>();
        let most = 0;
        const work = async (): Promise<void> => {
          for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
            expect(running.has(key)).toBe(false);
            running.add(key);
            most = Math.max(most, running.size);
            lastStart.set(key, clock.monotonic());
            await sleep(clock, 7);
            running.delete(key);
            queue.done(key);
          }
        };
        const crew = Array.from({ length: workers }, work);
        await clock.run(
          (async () => {
            for (const { key, afterMs, pauseMs } of actions) {
              queue.addAfter(key, afterMs);
              dueBy.set(key, clock.monotonic());
              await sleep(clock, pauseMs);
            }
            await sleep(clock, 10_000);
            await queue.close();
            await Promise.all(crew);
          })(),
        );
        expect(most).toBeLessThanOrEqual(workers);
        for (const [key, at] of dueBy) expect(lastStart.get(key) ?? -1).toBeGreaterThanOrEqual(at);
      }),
      { numRuns: 200 },
    );
  });
});
