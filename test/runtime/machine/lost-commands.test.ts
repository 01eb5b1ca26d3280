/** What a BMC or a connection loses without a word, and what it costs. */
import { ask } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';
import { IMAGE, World, type WorldOptions } from './world.ts';

async function available(options: WorldOptions) {
  const world = new World(options);
  const machine = await world.enrol();
  world.daemon();
  await world.until(machine, 'available');
  return { world, machine };
}

describe('a power-on that a BMC accepts and forgets', () => {
  it.each([1, 2])(
    '%i times: seen within a minute each, and done again; the deployment goes on long before its deadline',
    async (lostPowerOns) => {
      const { world, machine } = await available({ knobs: { lostPowerOns } });
      const begun = world.clock.now();
      await world.spawn(machine);
      const node = await world.until(machine, 'active');
      expect([machine.content, node.lastFailure, world.violations]).toEqual([IMAGE.sha256, undefined, []]);
      expect(world.clock.now() - begun).toBeLessThan((lostPowerOns + 2) * 61_000);
      expect(node.timeline.find(({ type }) => type === 'power on again')).toMatchObject({
        detail: 'it was off while its ramdisk was waited for',
      });
      await world.close();
    },
  );

  it('for an inspection too', async () => {
    const { world, machine } = await available({ knobs: { lostPowerOns: 1 } });
    const begun = world.clock.now();
    await ask(world, machine.uuid, 'inspect');
    await world.until(machine, 'inspecting');
    await world.until(machine, 'available');
    expect((await world.node(machine)).inspection).toBeDefined();
    expect(world.clock.now() - begun).toBeLessThan(180_000);
    await world.close();
  });

  it('a machine that cannot be switched on any more fails with that for a reason, not with a missed deadline', async () => {
    const { world, machine } = await available({ knobs: { lostPowerOns: 1 } });
    const begun = world.clock.now();
    await world.spawn(machine);
    await world.until(machine, 'prepared');
    world.knobs.failures = { ensureOn: Infinity };
    const node = await world.until(machine, 'available');
    expect(node.lastFailure).toMatchObject({ state: 'prepared', reason: 'ensureOn failed (5 attempts)' });
    expect(world.clock.now() - begun).toBeLessThan(300_000);
    await world.close();
  });

  it('a BMC that does not answer meanwhile costs the deployment nothing, and each POST 15 s at most', async () => {
    const { world, machine } = await available({});
    await world.spawn(machine);
    await world.until(machine, 'prepared');
    world.knobs.hangs.add('status');
    world.knobs.ramdisk = 'never boots'; // what is on already goes on
    const node = await world.until(machine, 'deploying');
    world.knobs.hangs.clear();
    expect(node.attempts).toBe(0);
    await world.until(machine, 'active');
    await world.close();
  });

  it('while all is well, the BMC is asked once a minute and the power stays as it is', async () => {
    const { world, machine } = await available({ knobs: { ramdisk: 'silent' } });
    await world.spawn(machine);
    await world.until(machine, 'prepared');
    const calls = world.calls.length;
    await world.clock.runFor(601_000);
    expect(world.calls.slice(calls)).toEqual(Array.from({ length: 10 }, () => 'status'));
    expect((await world.node(machine)).power).toMatchObject({ state: 'on' });
    await world.close();
  });
});

describe('a connection that breaks when the ramdisk is told "done"', () => {
  it('after it has read that: its own boot is waited for, and its power is left alone', async () => {
    const { world, machine } = await available({ knobs: { resets: 'after reading' } });
    await world.spawn(machine);
    await world.until(machine, 'deploy complete');
    const calls = world.calls.length;
    const node = await world.until(machine, 'active');
    expect(world.calls.slice(calls).filter((call) => call === 'ensureOff' || call === 'ensureOn')).toEqual([]);
    expect(world.calls.filter((call) => call === 'done')).toHaveLength(1);
    expect([node.lastFailure, machine.running, machine.content]).toEqual([undefined, 'instance', IMAGE.sha256]);
    await world.close();
  });

  it('before it has read that: nothing is seen of a boot, and the machine is restarted; it is never called active in its ramdisk', async () => {
    const { world, machine } = await available({ knobs: { resets: 'before reading' } });
    await world.spawn(machine);
    const node = await world.until(machine, 'active');
    expect([node.lastFailure, machine.running, machine.content, world.violations]).toEqual([undefined, 'instance', IMAGE.sha256, []]);
    await world.close();
  });
});
