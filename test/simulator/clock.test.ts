import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sleep, withDeadline } from '../../src/runtime/core/clock.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';

const DAY_MS = 86_400_000;

describe('VirtualClock', () => {
  it('jumps over idle time and stands still otherwise', async () => {
    const clock = new VirtualClock({ startMs: 1000 });
    expect([clock.now(), clock.monotonic()]).toEqual([1000, 0]);
    await clock.run(sleep(clock, 10 * DAY_MS), { limitMs: 11 * DAY_MS });
    expect([clock.now(), clock.monotonic()]).toEqual([1000 + 10 * DAY_MS, 10 * DAY_MS]);
  });

  it('property: timers fire in order of time, those of one time in order of setting', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.record({ delay: fc.nat(20), cancel: fc.boolean() }), { maxLength: 60 }), async (timers) => {
        const clock = new VirtualClock();
        const fired: number[] = [];
        const set = timers.map(({ delay }, i) => clock.after(delay, () => fired.push(i)));
        for (const [i, { cancel }] of timers.entries()) if (cancel) set[i]?.cancel();
        await clock.runFor(21);
        const expected = timers
          .map(({ delay, cancel }, i) => ({ delay, cancel, i }))
          .filter(({ cancel }) => !cancel)
          .sort((a, b) => a.delay - b.delay || a.i - b.i)
          .map(({ i }) => i);
        expect(fired).toEqual(expected);
      }),
    );
  });

  it('keeps its order when most of many timers are cancelled', async () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    const set = Array.from({ length: 10_000 }, (_, i) => clock.after((i * 7919) % 10_007, () => fired.push((i * 7919) % 10_007)));
    for (const [i, timer] of set.entries()) if (i % 10 !== 0) timer.cancel();
    for (const timer of set.filter((_, i) => i % 10 === 1)) timer.cancel(); // twice is harmless
    await clock.runFor(10_007);
    expect(fired.length).toBe(1000);
    expect(fired).toEqual([...fired].sort((a, b) => a - b));
  });

  it('does not move while promises, however long their chain, can go on', async () => {
    const clock = new VirtualClock();
    let early = false;
    clock.after(1, () => {
      early = true;
    });
    const chain = async (depth: number): Promise<number> => (depth === 0 ? clock.monotonic() : chain(depth - 1));
    const ticks = new Promise<void>((resolve) => {
      const next = (left: number): unknown => (left === 0 ? resolve() : process.nextTick(() => queueMicrotask(() => next(left - 1))));
      next(500);
    });
    expect(await clock.run(Promise.all([chain(5000), ticks]))).toEqual([0, undefined]);
    expect(early).toBe(false);
  });

  it('does not move while a file is being read or written', async () => {
    const clock = new VirtualClock();
    const folder = await mkdtemp(join(tmpdir(), 'clock-'));
    const work = async (): Promise<number> => {
      for (let i = 0; i < 20; i++) {
        await writeFile(join(folder, 'a'), `${i}`);
        await readFile(join(folder, 'a'));
      }
      return clock.monotonic();
    };
    clock.after(1, () => undefined);
    try {
      expect(await clock.run(work())).toBe(0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('does not move while external work is under way', async () => {
    const clock = new VirtualClock();
    clock.after(1, () => undefined);
    const child = promisify(execFile)(process.execPath, ['-e', '0']);
    const ended = clock.external(child).then(() => clock.monotonic());
    expect(await clock.run(ended)).toBe(0);
    await expect(clock.run(clock.external(Promise.reject(new Error('its own failure'))))).rejects.toThrow('its own failure');
  });

  it('a deadlock says what waits', async () => {
    const clock = new VirtualClock();
    clock.reportPending(() => ['node-1: tcp reads']);
    await expect(clock.run(new Promise(() => undefined))).rejects.toMatchObject({
      code: 'SIMULATOR_DEADLOCK',
      message: expect.stringContaining('node-1: tcp reads'),
    });
  });

  it('a limit of simulated time holds', async () => {
    const clock = new VirtualClock();
    await expect(clock.run(sleep(clock, 1001), { limitMs: 1000 })).rejects.toMatchObject({ code: 'SIMULATOR_TIME_LIMIT' });
    expect(clock.monotonic()).toBe(1000);
  });

  it('a loop at one instant is found out', async () => {
    const clock = new VirtualClock({ turn: () => Promise.resolve() });
    const again = (): void => {
      clock.after(0, again);
    };
    again();
    await expect(clock.runFor(1)).rejects.toMatchObject({ code: 'SIMULATOR_LIVELOCK' });
  });

  it('an error thrown by a timer ends the run, and the clock can be run again', async () => {
    const clock = new VirtualClock();
    clock.after(5, () => {
      throw new Error('in a timer');
    });
    await expect(clock.runFor(10)).rejects.toThrow('in a timer');
    await clock.runFor(10);
    expect(clock.monotonic()).toBe(15);
  });

  it('has one runner at a time', async () => {
    const clock = new VirtualClock();
    const first = clock.runFor(1);
    await expect(clock.runFor(1)).rejects.toMatchObject({ code: 'SIMULATOR_ALREADY_RUNNING' });
    await first;
  });

  it('gives sleep and withDeadline their meaning', async () => {
    const clock = new VirtualClock();
    const late = withDeadline(
      clock,
      100,
      () => new Error('too late'),
      (signal) => sleep(clock, 200, signal),
    );
    await expect(clock.run(late)).rejects.toThrow('too late');
    expect(clock.monotonic()).toBe(100);
  });

  it('runs until a predicate holds', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const tick = (): void => {
      count++;
      clock.after(10, tick);
    };
    tick();
    await clock.runUntil(() => count === 5);
    expect(clock.monotonic()).toBe(40);
  });

  it('steps of the wall clock leave durations alone', async () => {
    const clock = new VirtualClock({ startMs: 5000 });
    clock.after(10, () => clock.stepWall(-3000));
    await clock.runFor(20);
    expect([clock.now(), clock.monotonic()]).toEqual([2020, 20]);
  });

  it('a skewed view is ahead by its offset and drifts by its rate', async () => {
    const clock = new VirtualClock({ startMs: 0 });
    await clock.runFor(1000);
    const fast = clock.skewed(500, 2);
    let firedAt = 0;
    fast.after(100, () => {
      firedAt = clock.monotonic();
    });
    await clock.runFor(100);
    expect(firedAt).toBe(1050);
    expect(fast.monotonic()).toBe(200);
    expect(fast.now()).toBe(1000 + 200 + 500);
  });

  it('property: no timer of a skewed view is a hair early', async () => {
    // from a picosecond on: where doubles lose their precision (5e-324 / 2 is 0) no clock has an instant of its own
    const anyDelay = fc.oneof(fc.constant(0), fc.double({ min: 1e-9, max: 1e6, noNaN: true }));
    await fc.assert(
      fc.asyncProperty(fc.double({ min: 0.5, max: 2, noNaN: true }), anyDelay, async (rate, delay) => {
        const clock = new VirtualClock();
        const view = clock.skewed(0, rate);
        let waited = -1;
        view.after(delay, () => {
          waited = view.monotonic();
        });
        await clock.runUntil(() => waited >= 0);
        expect(waited).toBeGreaterThanOrEqual(delay * (1 - Number.EPSILON * 4));
      }),
    );
  });
});
