import { Bandwidth } from 'cdk8s-baremetal-runtime/deploy/bandwidth';
import { VirtualClock } from 'cdk8s-baremetal-simulator/index';
import { describe, expect, it } from 'vitest';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

describe('002-12: the bandwidth of all deployments together', () => {
  it('is kept to, and shared in the order of asking', async () => {
    const clock = new VirtualClock();
    const bandwidth = new Bandwidth(clock, 10 * MIB);
    const sent = new Map<string, number>();
    await clock.run(
      Promise.all(
        ['a', 'b', 'c', 'd'].map(async (name) => {
          for (let chunk = 0; chunk < 10; chunk++) {
            await bandwidth.take(MIB, never);
            sent.set(name, (sent.get(name) ?? 0) + 1);
            if (chunk === 4) expect(Math.max(...sent.values()) - Math.min(...sent.values())).toBeLessThanOrEqual(1);
          }
        }),
      ),
    );
    expect(clock.monotonic()).toBeGreaterThanOrEqual(3_900); // 40 MiB at 10 MiB/s, the first of them at once
    expect(clock.monotonic()).toBeLessThan(4_100);
  });

  it('is no limit when it is 0', async () => {
    const clock = new VirtualClock();
    const bandwidth = new Bandwidth(clock, 0);
    await clock.run(bandwidth.take(1e12, never));
    expect(clock.monotonic()).toBe(0);
  });

  it('who leaves does not hold the others up', async () => {
    const clock = new VirtualClock();
    const bandwidth = new Bandwidth(clock, MIB);
    const leaving = new AbortController();
    await clock.run(
      (async () => {
        await bandwidth.take(MIB, never);
        const left = bandwidth.take(MIB, leaving.signal).catch((error: Error) => error.message);
        leaving.abort(new Error('destroyed'));
        expect(await left).toBe('destroyed');
        await bandwidth.take(MIB, never);
      })(),
    );
    expect(clock.monotonic()).toBeLessThanOrEqual(2_000);
  });
});
