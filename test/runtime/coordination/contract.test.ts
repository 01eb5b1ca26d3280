import type { Coordination, Lease } from 'cdk8s-baremetal-runtime/coordination/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Group, groups } from './groups.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 40);

describe.each(groups)('000-16: the contract of coordination: $name', ({ create }) => {
  let group: Group;
  let a: Coordination;
  let b: Coordination;
  beforeEach(() => {
    group = create();
    a = group.replica();
    b = group.replica();
  });
  afterEach(() => group.close());
  const run = <T>(work: Promise<T>): Promise<T> => group.clock.run(work);

  it('a member is alive for the others until it leaves, and they hear of both', async () => {
    let changes = 0;
    const watch = b.onChange(() => {
      changes += 1;
    });
    await run(b.isAlive('nobody')); // now b watches
    const member = await run(a.join('node-a'));
    await group.clock.runFor(100);
    expect([await run(b.isAlive(member.id)), changes]).toEqual([true, 1]);
    await run(member.leave());
    await run(member.leave());
    await group.clock.runFor(100);
    expect([await run(b.isAlive(member.id)), member.lost.aborted, changes]).toEqual([false, true, 2]);
    expect(member.lost.reason).toMatchObject({ code: 'COORDINATION_LOST' });
    watch.close();
    await run(a.join('node-a'));
    await group.clock.runFor(100);
    expect(changes).toBe(2);
  });

  it('joining again under one name ends the earlier life, with another id, and nobody else', async () => {
    const first = await run(a.join('node-a'));
    const other = await run(b.join('node-b'));
    const second = await run(b.join('node-a'));
    await group.clock.runFor(100);
    expect(second.id).not.toBe(first.id);
    expect([first.lost.aborted, second.lost.aborted, other.lost.aborted]).toEqual([true, false, false]);
    expect(await run(Promise.all([a.isAlive(first.id), a.isAlive(second.id), a.isAlive(other.id)]))).toEqual([false, true, true]);
  });

  it('a new member is alive for one who has not heard of it yet', async () => {
    await run(b.isAlive('nobody'));
    const member = await run(a.join('node-a'));
    expect(await run(b.isAlive(member.id))).toBe(true);
  });

  it('a name that is a prefix of another, or has slashes and blanks, is itself only', async () => {
    const names = ['node', 'node-a', 'node-a#1', 'no/de', 'no de'];
    const members = [];
    for (const name of names) members.push(await run(a.join(name)));
    await group.clock.runFor(100);
    expect(members.map(({ lost }) => lost.aborted)).toEqual(names.map(() => false));
  });

  it('a semaphore: limit places, the rest wait in the order of asking', async () => {
    const order: number[] = [];
    let holders = 0;
    let most = 0;
    const task = async (number: number): Promise<void> => {
      await sleep(group.clock, number * 50); // so that the order of asking is known
      const lease = await (number % 2 ? a : b).acquire('switch 10.0.0.1', { limit: 4, timeoutMs: 300_000 });
      order.push(number);
      holders += 1;
      most = Math.max(most, holders);
      await sleep(group.clock, 1_000 + number);
      holders -= 1;
      await lease.release();
      await lease.release();
      expect(lease.lost.aborted).toBe(true);
    };
    await run(Promise.all(Array.from({ length: 12 }, (_, number) => task(number))));
    expect(order).toEqual(Array.from({ length: 12 }, (_, number) => number));
    expect(most).toBe(4);
  });

  it('semaphores of two names do not touch each other', async () => {
    await run(a.acquire('one', { limit: 1, timeoutMs: 1_000 }));
    const lease = await run(b.acquire('two', { limit: 1, timeoutMs: 1_000 }));
    expect(lease.lost.aborted).toBe(false);
  });

  it('waiting ends at the time-out, with what was asked for in the message, and the place in line is free again', async () => {
    const held = await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
    const before = group.clock.monotonic();
    const refused = run(b.acquire('x', { limit: 1, timeoutMs: 300_000 }));
    await expect(refused).rejects.toMatchObject({ code: 'COORDINATION_BUSY', message: 'none of the 1 places in x came free within 300 s' });
    expect(group.clock.monotonic() - before).toBeGreaterThanOrEqual(300_000);
    await group.clock.runFor(100);
    await run(held.release());
    await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
  });

  it('a signal takes the waiting one out of the line; those behind it move up', async () => {
    const held = await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
    const controller = new AbortController();
    const second = b.acquire('x', { limit: 1, timeoutMs: 60_000, signal: controller.signal });
    const refused = expect(second).rejects.toThrow('enough');
    await group.clock.runFor(100);
    const third = a.acquire('x', { limit: 1, timeoutMs: 60_000 });
    await group.clock.runFor(100);
    controller.abort(new Error('enough'));
    await run(refused);
    await run(held.release());
    expect((await run(third)).lost.aborted).toBe(false);
    await expect(a.acquire('x', { limit: 1, timeoutMs: 1, signal: controller.signal })).rejects.toThrow('enough');
  });

  it.each([0, -1, 1.5, Number.NaN])('a limit of %s is refused', async (limit) => {
    await expect(a.acquire('x', { limit, timeoutMs: 1 })).rejects.toMatchObject({ code: 'COORDINATION_LIMIT' });
  });

  it('closing ends lives and leases, refuses who waits, and every later call', async () => {
    const member = await run(a.join('node-a'));
    const lease = await run(a.acquire('x', { limit: 1, timeoutMs: 1_000 }));
    const waiting = a.acquire('x', { limit: 1, timeoutMs: 60_000 });
    const refused = expect(waiting).rejects.toMatchObject({ code: 'COORDINATION_CLOSED' });
    await group.clock.runFor(100);
    await run(a.close());
    await run(a.close());
    await run(refused);
    expect([member.lost.aborted, lease.lost.aborted]).toEqual([true, true]);
    await expect(a.join('a')).rejects.toMatchObject({ code: 'COORDINATION_CLOSED' });
    await expect(a.acquire('x', { limit: 1, timeoutMs: 1 })).rejects.toMatchObject({ code: 'COORDINATION_CLOSED' });
  });

  it('any history of asking, giving back and going away: never more holders than places, and nobody waits for ever', async () => {
    const step = fc.record({
      at: fc.nat(5_000),
      holdMs: fc.nat(2_000),
      patienceMs: fc.integer({ min: 50, max: 20_000 }),
      leaves: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(step, { minLength: 1, maxLength: 25 }), async (limit, steps) => {
        const own = create();
        const replicas = [own.replica(), own.replica(), own.replica()];
        const held = new Set<Lease>();
        const ends: string[] = [];
        const live = async ({ at, holdMs, patienceMs, leaves }: (typeof steps)[number], index: number): Promise<void> => {
          await sleep(own.clock, at);
          const controller = new AbortController();
          const timer = own.clock.after(patienceMs / 2, () => leaves && controller.abort(new Error('left')));
          try {
            const replica = replicas[index % replicas.length];
            const lease = await replica?.acquire('x', { limit, timeoutMs: patienceMs, signal: controller.signal });
            if (lease === undefined) return;
            held.add(lease);
            if (held.size > limit) ends.push('too many');
            await sleep(own.clock, holdMs);
            held.delete(lease);
            if (lease.lost.aborted) ends.push('lost');
            await lease.release();
          } catch (error) {
            const expected =
              error instanceof Error && (error.message === 'left' || ('code' in error && error.code === 'COORDINATION_BUSY'));
            if (!expected) ends.push(String(error));
          } finally {
            timer.cancel();
          }
        };
        await own.clock.run(Promise.all(steps.map(live)), { limitMs: 200_000 });
        await own.clock.runFor(1_000);
        // Whatever went before, all places are there in the end.
        await own.clock.run(Promise.all(Array.from({ length: limit }, () => replicas[0]?.acquire('x', { limit, timeoutMs: 1_000 }))));
        await own.close();
        expect(ends).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });
});
