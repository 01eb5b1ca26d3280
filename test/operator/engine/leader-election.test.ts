import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { guardedApi } from '../../../src/operator/engine/guarded-api.ts';
import { type Leadership, runElection } from '../../../src/operator/engine/leader-election.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { type Clock, sleep } from '../../../src/runtime/core/clock.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import { FakeApi } from '../fake-api.ts';
import { configMap } from '../support.ts';

const LEASE = { namespace: 'default', name: 'onecloud-operator' };

/** A clock that can stand still, as a process in SIGSTOP does: time goes on, timers are late. */
class PausableClock implements Clock {
  readonly #clock: Clock;
  #paused = false;
  #late: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now = (): number => this.#clock.now();
  monotonic = (): number => this.#clock.monotonic();

  after(delayMs: number, callback: () => void): { cancel(): void } {
    let cancelled = false;
    const timer = this.#clock.after(delayMs, () => {
      if (this.#paused) this.#late.push(() => void (cancelled || callback()));
      else callback();
    });
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    for (const callback of this.#late.splice(0)) callback();
  }
}

interface Elector {
  readonly name: string;
  readonly clock: PausableClock;
  readonly stop: AbortController;
  /** Cut off from the API server. */
  cutOff: boolean;
  leading: Leadership | undefined;
  readonly terms: { from: number; to: number | undefined }[];
  readonly running: Promise<void>;
}

class Lab {
  readonly clock = new VirtualClock();
  readonly api = new FakeApi(this.clock);
  readonly electors: Elector[] = [];

  add(name: string, { offsetMs = 0, rate = 1, windDownMs = 0 } = {}): Elector {
    const clock = new PausableClock(this.clock.skewed(offsetMs, rate));
    const stop = new AbortController();
    const elector: Elector = { name, clock, stop, cutOff: false, leading: undefined, terms: [], running: Promise.resolve() };
    const { signal } = new AbortController();
    const reach = guardedApi(this.api, {
      signal,
      mayWrite: () => {
        if (elector.cutOff) throw new ApiError('network', 'no route to host');
      },
    });
    const api = {
      ...reach,
      get: async (...[type, key, options]: Parameters<typeof reach.get>) => {
        if (elector.cutOff) throw new ApiError('network', 'no route to host');
        return reach.get(type, key, options);
      },
    };
    const lead = async (leadership: Leadership): Promise<void> => {
      const term: { from: number; to: number | undefined } = { from: this.clock.monotonic(), to: undefined };
      elector.leading = leadership;
      elector.terms.push(term);
      await new Promise((resolve) => leadership.signal.addEventListener('abort', resolve, { once: true }));
      if (windDownMs > 0) await sleep(clock, windDownMs);
      term.to = this.clock.monotonic();
      elector.leading = undefined;
    };
    const options = { api, lease: LEASE, identity: name, clock, random: seededRandom(name), logger: silentLogger };
    const running = runElection(options, lead, stop.signal);
    this.electors.push(Object.assign(elector, { running }));
    return elector;
  }

  leaders(): string[] {
    return this.electors.filter(({ leading }) => leading?.valid()).map(({ name }) => name);
  }

  async stop(): Promise<void> {
    for (const { stop, clock } of this.electors) {
      clock.resume();
      stop.abort(new Error('test over'));
    }
    await this.clock.run(Promise.all(this.electors.map(({ running }) => running)));
  }

  holder(): unknown {
    return at(this.api.peek('Lease', 'default/onecloud-operator'), 'spec', 'holderIdentity');
  }
}

describe('leader election', () => {
  it('one of two leads, and goes on leading', async () => {
    const lab = new Lab();
    lab.add('a');
    lab.add('b');
    for (let minute = 0; minute < 10; minute++) {
      await lab.clock.runFor(60_000);
      expect(lab.leaders()).toEqual(['a']);
    }
    const spec = lab.api.peek('Lease', 'default/onecloud-operator')?.spec;
    expect(spec).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 0 });
    expect((spec as { renewTime: string }).renewTime).toMatch(/^2026-01-01T00:\d\d:\d\d\.\d{6}Z$/);
    await lab.stop();
  });

  it('told to stop, it lets its work end, frees the lease, and the other follows within seconds', async () => {
    const lab = new Lab();
    const a = lab.add('a', { windDownMs: 1500 });
    await lab.clock.runFor(10_000);
    lab.add('b');
    await lab.clock.runFor(10_000);
    a.stop.abort(new Error('SIGTERM'));
    await lab.clock.runFor(1400);
    expect(lab.holder()).toBe('a'); // its work has not ended yet
    await lab.clock.run(a.running);
    expect(lab.holder()).toBe('');
    await lab.clock.runFor(3100);
    expect(lab.leaders()).toEqual(['b']);
    await lab.stop();
  });

  it('cut off from the API server it stops at 10 s; the other begins after 15 s, not earlier', async () => {
    const lab = new Lab();
    const a = lab.add('a');
    await lab.clock.runFor(10_000);
    const b = lab.add('b');
    await lab.clock.runFor(30_000);
    a.cutOff = true;
    const at = lab.clock.monotonic();
    await lab.clock.runFor(40_000);
    expect(lab.leaders()).toEqual(['b']);
    const ended = (a.terms[0]?.to ?? Infinity) - at;
    const began = (b.terms[0]?.from ?? 0) - at;
    expect(ended).toBeLessThanOrEqual(10_000);
    expect(ended).toBeGreaterThan(7_000); // the last renewal was at most 3 s before
    expect(began - ended).toBeGreaterThanOrEqual(5_000 - 100);
    expect(began).toBeLessThan(19_000);
    await lab.stop();
  });

  it('a process that stood still knows at once that its time is over, before any timer fires', async () => {
    const lab = new Lab();
    const a = lab.add('a');
    await lab.clock.runFor(10_000);
    lab.add('b');
    await lab.clock.runFor(5_000);
    const held = a.leading;
    a.clock.pause();
    await lab.clock.runFor(30_000);
    expect(held?.valid()).toBe(false);
    expect(held?.signal.aborted).toBe(false); // nothing could tell it yet
    expect(lab.leaders()).toEqual(['b']);
    const refusing = guardedApi(lab.api, {
      signal: new AbortController().signal,
      mayWrite: () => {
        if (!held?.valid()) throw new Error('refused');
      },
    });
    await expect(refusing.create(resourceTypes.configMaps, configMap('late'))).rejects.toThrow('refused');
    a.clock.resume();
    await lab.clock.runFor(60_000);
    expect(held?.signal.aborted).toBe(true);
    expect(lab.leaders()).toEqual(['b']);
    await lab.stop();
  });

  it('wall clocks that are hours apart do not matter, nor clocks that run 2 % apart', async () => {
    const lab = new Lab();
    lab.add('slow', { offsetMs: -7_200_000, rate: 0.99 });
    await lab.clock.runFor(10_000);
    lab.add('fast', { offsetMs: 7_200_000, rate: 1.01 });
    await lab.clock.runFor(600_000);
    expect(lab.leaders()).toEqual(['slow']);
    expect(lab.electors.map(({ terms }) => terms.length)).toEqual([1, 0]);
    await lab.stop();
  });

  it('a lease that another tool deleted or took is looked at again, not fought over', async () => {
    const lab = new Lab();
    const a = lab.add('a');
    await lab.clock.runFor(5_000);
    await lab.api.delete(resourceTypes.leases, LEASE);
    await lab.clock.runFor(5_000);
    expect(lab.leaders()).toEqual(['a']);
    await lab.api.patch(resourceTypes.leases, LEASE, { spec: { holderIdentity: 'somebody', leaseDurationSeconds: 60 } });
    await lab.clock.runFor(4_000);
    expect(lab.leaders()).toEqual([]);
    await lab.clock.runFor(50_000);
    expect(lab.leaders()).toEqual([]); // 60 s are the other's word
    await lab.clock.runFor(20_000);
    expect(lab.leaders()).toEqual(['a']);
    expect(a.terms).toHaveLength(2);
    await lab.stop();
  });

  it('a renewal whose answer is lost does not cost the lease', async () => {
    const lab = new Lab();
    const a = lab.add('a');
    await lab.clock.runFor(5_000);
    const { replace } = FakeApi.prototype;
    let lost = 0;
    lab.api.replace = async (...parameters) => {
      const written = await replace.apply(lab.api, parameters);
      lost += 1;
      if (lost % 2 === 1) throw new ApiError('network', 'connection reset after the request was sent');
      return written;
    };
    await lab.clock.runFor(120_000);
    expect(lost).toBeGreaterThan(20);
    expect(a.terms).toHaveLength(1);
    expect(lab.leaders()).toEqual(['a']);
    await lab.stop();
  });

  it('work that fails ends the election with its error', async () => {
    const lab = new Lab();
    const options = { api: lab.api, lease: LEASE, identity: 'a', clock: lab.clock, random: seededRandom(1), logger: silentLogger };
    const broken = runElection(options, () => Promise.reject(new Error('broken')), new AbortController().signal);
    await expect(lab.clock.run(broken)).rejects.toThrow('broken');
    expect(lab.holder()).toBe('');
  });

  const trouble = fc.record({
    who: fc.nat(2),
    what: fc.constantFrom('cut', 'heal', 'pause', 'resume', 'stop' as const),
    afterMs: fc.nat(12_000),
  });
  it('property: never two at once, whoever is cut off, stands still or leaves; and one again when all is well', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(trouble, { maxLength: 25 }),
        fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 3, maxLength: 3 }),
        async (troubles, rates) => {
          const lab = new Lab();
          for (const [i, percent] of rates.entries()) lab.add(`e${i}`, { rate: 1 + percent / 100, offsetMs: i * 3_600_000 });
          lab.api.latencyMs = 20;
          const watch = async (ms: number): Promise<void> => {
            for (let passed = 0; passed < ms; passed += 500) {
              await lab.clock.runFor(500);
              expect(lab.leaders().length).toBeLessThanOrEqual(1);
            }
          };
          for (const { who, what, afterMs } of troubles) {
            const elector = lab.electors[who];
            if (!elector) continue;
            if (what === 'cut') elector.cutOff = true;
            if (what === 'heal') elector.cutOff = false;
            if (what === 'pause') elector.clock.pause();
            if (what === 'resume') elector.clock.resume();
            if (what === 'stop' && who === 2) elector.stop.abort(new Error('SIGTERM'));
            await watch(afterMs);
          }
          for (const elector of lab.electors) {
            elector.cutOff = false;
            elector.clock.resume();
          }
          await watch(40_000);
          expect(lab.leaders()).toHaveLength(1);
          await lab.stop();
        },
      ),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 60) },
    );
  });
});
