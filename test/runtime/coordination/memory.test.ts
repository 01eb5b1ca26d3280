import { MemoryCoordination, openCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { describe, expect, it } from 'vitest';

const setup = () => {
  const clock = new VirtualClock();
  return { clock, group: new MemoryCoordination({ clock, leaseMs: 15_000 }) };
};

describe('membership in one process', () => {
  it('a member is alive until it leaves, and others hear of it', async () => {
    const { group } = setup();
    let changes = 0;
    const watch = group.onChange(() => {
      changes += 1;
    });
    const member = await group.join('a');
    expect(await group.isAlive(member.id)).toBe(true);
    await member.leave();
    await member.leave();
    expect([await group.isAlive(member.id), member.lost.aborted, changes]).toEqual([false, true, 2]);
    watch.close();
  });

  it('joining again under one name ends the earlier life, with another id', async () => {
    const { group } = setup();
    const [first, other] = [await group.join('a'), await group.join('b')];
    const second = await group.join('a');
    expect(second.id).not.toBe(first.id);
    expect([first.lost.aborted, second.lost.aborted, other.lost.aborted]).toEqual([true, false, false]);
    expect([await group.isAlive(first.id), await group.isAlive(second.id)]).toEqual([false, true]);
  });

  it('the watchdog: a cut-off member is told at two thirds of the lease, others count it dead at the end of it', async () => {
    const { clock, group } = setup();
    const member = await group.join('a');
    group.partition(member.id);
    await clock.runFor(9_999);
    expect([member.lost.aborted, await group.isAlive(member.id)]).toEqual([false, true]);
    await clock.runFor(2);
    expect([member.lost.aborted, await group.isAlive(member.id)]).toEqual([true, true]);
    await clock.runFor(5_000);
    expect(await group.isAlive(member.id)).toBe(false);
  });

  it('a crashed member is dead when its lease has run out', async () => {
    const { clock, group } = setup();
    const member = await group.join('a');
    group.crash(member.id);
    await clock.runFor(14_999);
    expect(await group.isAlive(member.id)).toBe(true);
    await clock.runFor(2);
    expect(await group.isAlive(member.id)).toBe(false);
  });

  it('opens by URL and refuses others', async () => {
    const { clock } = setup();
    const group = openCoordination('memory://', { clock });
    await group.close();
    await expect(group.join('a')).rejects.toMatchObject({ code: 'COORDINATION_CLOSED' });
    expect(() => openCoordination('etcd://x', { clock })).toThrow(expect.objectContaining({ code: 'COORDINATION_URL' }));
  });
});
