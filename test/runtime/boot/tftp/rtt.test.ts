import { INITIAL_RTO_MS, RetransmitTimer } from 'cdk8s-baremetal-runtime/boot/tftp/rtt';
import { describe, expect, it } from 'vitest';
import { seededRandom } from './fake-network.ts';

/** The waits of `count` repetitions in a row. */
function waits(timer: RetransmitTimer, count: number): number[] {
  return Array.from({ length: count }, () => timer.nextMs());
}

describe('when a TFTP packet is sent again', () => {
  it('starts at a quarter of a second, doubles to one second, and adds at most a quarter by chance', () => {
    const timer = new RetransmitTimer(seededRandom(1), undefined);
    expect(timer.firstMs()).toBe(INITIAL_RTO_MS);
    for (const [index, base] of [500, 1000, 1000, 1000].entries()) {
      const wait = waits(timer, 1)[0] ?? 0;
      expect(wait, `repetition ${index + 1}`).toBeGreaterThanOrEqual(base);
      expect(wait, `repetition ${index + 1}`).toBeLessThan(base * 1.25);
    }
  });

  it('is silent for longer than the five seconds of a client that ignores repetitions, again and again', () => {
    const timer = new RetransmitTimer(seededRandom(1), undefined);
    timer.sample(0.3);
    const row = waits(timer, 15);
    const silences = row.flatMap((wait, index) => (wait >= 6000 ? [index] : []));
    expect(silences).toEqual([4, 9, 14]);
    expect(row.slice(0, 4).reduce((sum, wait) => sum + wait)).toBeLessThan(3000);
    expect(row.slice(0, 10).reduce((sum, wait) => sum + wait)).toBeLessThan(30_000); // before the server gives up
  });

  it('differs between servers that lost the same packet', () => {
    const of = (seed: number): number[] => waits(new RetransmitTimer(seededRandom(seed), undefined), 5);
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
  });

  it.each([
    { name: 'a LAN', rttMs: 0.3, low: 50, high: 50 },
    { name: 'a campus', rttMs: 40, low: 50, high: 60 },
    { name: 'a far site', rttMs: 300, low: 300, high: 400 },
    { name: 'a satellite', rttMs: 2000, low: 1000, high: 1000 },
  ])('settles on $name', ({ rttMs, low, high }) => {
    const timer = new RetransmitTimer(seededRandom(1), undefined);
    for (let sample = 0; sample < 50; sample++) timer.sample(rttMs);
    expect(timer.firstMs()).toBeGreaterThanOrEqual(low);
    expect(timer.firstMs()).toBeLessThanOrEqual(high);
  });

  it('waits longer when the round trip varies', () => {
    const timer = new RetransmitTimer(seededRandom(1), undefined);
    for (let sample = 0; sample < 50; sample++) timer.sample(sample % 2 === 0 ? 10 : 110);
    expect(timer.firstMs()).toBeGreaterThan(200);
  });

  it('takes one late answer for loss, and a row of them for a slow wire', () => {
    const timer = new RetransmitTimer(seededRandom(1), undefined);
    timer.sample(1);
    const firsts: number[] = [];
    for (let late = 0; late < 4; late++) {
      waits(timer, 4);
      timer.progress(true);
      firsts.push(timer.firstMs());
    }
    expect(firsts).toEqual([50, 50, 400, 400]);
    timer.progress(false);
    expect(timer.firstMs()).toBe(50);
  });

  it('keeps the longer wait as long as nothing was measured', () => {
    const timer = new RetransmitTimer(seededRandom(1), undefined);
    waits(timer, 2);
    timer.progress(true);
    expect(timer.firstMs()).toBe(1000);
  });

  it('never departs from a negotiated interval', () => {
    const timer = new RetransmitTimer(seededRandom(1), 3000);
    timer.sample(1);
    expect([timer.firstMs(), ...waits(timer, 3)]).toEqual([3000, 3000, 3000, 3000]);
  });
});
