import { CoarseClock } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { describe, expect, it } from 'vitest';
import { seededRandom, VirtualClock } from '../support.ts';

describe('CoarseClock', () => {
  it('fires never early, and at most 10 ms late', async () => {
    const clock = new VirtualClock();
    const coarse = new CoarseClock(clock);
    const random = seededRandom(7);
    const late: number[] = [];
    for (let i = 0; i < 500; i++) {
      const [a = 0, b = 0] = random.bytes(2);
      const dueMs = clock.monotonic() + a * 9 + b / 7;
      coarse.after(dueMs - clock.monotonic(), () => late.push(clock.monotonic() - dueMs));
      if (i % 5 === 0) await clock.advance(b / 3);
    }
    await clock.advance(5000);
    expect(late).toHaveLength(500);
    expect(Math.min(...late)).toBeGreaterThan(-1e-6);
    expect(Math.max(...late)).toBeLessThanOrEqual(10 + 1e-6);
    expect(clock.pending).toBe(0);
  });

  it('has one real timer for all, and leaves it when the earliest is cancelled', async () => {
    const clock = new VirtualClock();
    const coarse = new CoarseClock(clock);
    const fired: string[] = [];
    coarse.after(900, () => fired.push('cancelled')).cancel();
    coarse.after(1000, () => fired.push('second'));
    coarse.after(100, () => fired.push('first'));
    expect(clock.pending).toBe(1);
    await clock.advance(2000);
    expect(fired).toEqual(['first', 'second']);
    expect(clock.pending).toBe(0);
  });

  it('does not fire what another timer of the same moment cancels, and takes new ones while it fires', async () => {
    const clock = new VirtualClock();
    const coarse = new CoarseClock(clock);
    const fired: string[] = [];
    coarse.after(50, () => {
      fired.push('first');
      second.cancel();
      coarse.after(0, () => fired.push('later'));
    });
    const second = coarse.after(50, () => fired.push('second'));
    await clock.advance(1000);
    expect(fired).toEqual(['first', 'later']);
  });

  it('close cancels all', async () => {
    const clock = new VirtualClock();
    const coarse = new CoarseClock(clock);
    coarse.after(50, () => expect.unreachable());
    coarse.close();
    expect(clock.pending).toBe(0);
    await clock.advance(100);
  });
});
