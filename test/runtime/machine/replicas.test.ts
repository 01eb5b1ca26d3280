/** Two management nodes of one pod and the machines between them. */
import type { Coordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { type Clock, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { ask, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';
import { IMAGE, World } from './world.ts';
import { MemoryGroup } from './world-group.ts';

describe('replicas', () => {
  it('two live ones never fight: each machine keeps one owner, and all of them are deployed', async () => {
    const world = new World();
    const machines = [];
    for (let index = 1; index <= 8; index++) machines.push(await world.enrol(index));
    world.daemon('mgmt-1');
    world.daemon('mgmt-2');
    for (const machine of machines) await world.until(machine, 'available');
    for (const [index, machine] of machines.entries()) await world.spawn(machine, `inst-${index}`);
    for (const machine of machines) {
      await world.until(machine, 'active');
      expect((await world.node(machine)).epoch).toBe(1);
    }
    expect(world.calls.filter((call) => call === 'write')).toHaveLength(machines.length);
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('an owner that left while somebody asked whether it is alive is not taken for alive', async () => {
    class SlowGroup extends MemoryGroup {
      slow = false;
      constructor(readonly clock: Clock) {
        super(clock);
      }
      override replica(): Coordination {
        const replica = super.replica();
        return new Proxy(replica, {
          get: (object, name) => {
            if (name !== 'isAlive') return Reflect.get(object, name, object).bind(object);
            return async (member: string) => {
              const alive = await object.isAlive(member);
              if (this.slow) await sleep(this.clock, 1_000); // the answer of a moment ago
              return alive;
            };
          },
        });
      }
    }
    let group: SlowGroup | undefined;
    const world = new World({ group: (clock) => (group = new SlowGroup(clock)) });
    const machines = [await world.enrol(1), await world.enrol(2)] as const;
    const first = world.daemon('mgmt-1');
    for (const machine of machines) await world.until(machine, 'available');
    world.daemon('mgmt-2');
    await world.clock.runFor(1_000);
    if (group) group.slow = true;
    await ask(world, machines[0].uuid, 'manage');
    await world.clock.runFor(500);
    await world.clock.run(first.reconciler.close());
    await world.clock.runFor(10_000);
    await ask(world, machines[1].uuid, 'manage');
    await world.clock.runFor(10_000);
    expect((await world.node(machines[1])).state).toBe('manageable');
    await world.close();
  });

  it('a POST that reaches the other replica is accepted there and executed by the owner', async () => {
    const world = new World();
    const machine = await world.enrol();
    const other = world.daemon('mgmt-2');
    await world.clock.run(other.reconciler.close());
    const owner = world.daemon('mgmt-1');
    await world.until(machine, 'available');
    await world.spawn(machine);
    // `other` comes first in the list of those that answer, and its reconciler is closed.
    const node = await world.until(machine, 'active');
    expect(node.owner).toMatch(/^mgmt-1#/);
    expect(world.logs.filter((line) => line.includes('deploy POST accepted')).every((line) => line.includes('"daemon":"mgmt-2"'))).toBe(
      true,
    );
    await world.clock.run(owner.reconciler.close());
  });

  it('a reboot that was cut short goes on, however long nobody was there: the machine does not stay off', async () => {
    const world = new World({ settings: { softOffMs: 1_000 } });
    const machine = await world.enrol();
    const first = world.daemon('mgmt-1');
    await world.until(machine, 'available');
    await world.spawn(machine);
    await world.until(machine, 'active');
    world.knobs.hangs.add('ensureOn');
    await ask(world, machine.uuid, 'reboot', { args: { mode: 'hard' } });
    await world.clock.runUntil(() => machine.power === 'off');
    first.gate.kill();
    await world.clock.runFor(2 * 3_600_000);
    world.knobs.hangs.clear();
    world.daemon('mgmt-1');
    await world.clock.runFor(60_000);
    expect([machine.power, (await world.node(machine)).reason]).toEqual(['on', 'reboot: done']);
    await world.close();
  });

  it('a pause between two tries ends in time, though the clock of whoever began it was ahead', async () => {
    const world = new World({ knobs: { failures: { plug: 2 } } });
    world.skewsMs = { 'mgmt-1': 300_000 };
    const machine = await world.enrol();
    const first = world.daemon('mgmt-1');
    await world.until(machine, 'available');
    await world.spawn(machine);
    await world.until(machine, 'building');
    await world.clock.runFor(100);
    expect((await world.node(machine)).attempts).toBe(1);
    await world.clock.run(first.reconciler.close());
    world.daemon('mgmt-2');
    await world.until(machine, 'prepared', 60_000);
    await world.close();
  });

  it('a replica that leaves hands over at once; one that loses the group stops first and is succeeded when its lease has run out', async () => {
    for (const way of ['leave', 'partition'] as const) {
      const world = new World({ knobs: { chunks: 60 } });
      const machine = await world.enrol();
      const first = world.daemon('mgmt-1');
      await world.until(machine, 'available');
      await world.spawn(machine);
      await world.until(machine, 'deploying');
      world.daemon('mgmt-2');
      await world.clock.runFor(2_000);
      const writing = (await world.node(machine)).owner ?? '';
      const at = world.clock.now();
      let takenAt = 0;
      world.store.watch(nodeKind, (event) => {
        if (event.type === 'put' && event.record.value.owner !== writing) takenAt ||= world.clock.now();
      });
      if (way === 'leave') await world.clock.run(first.reconciler.close());
      else world.coordination.partition(writing);
      const node = await world.until(machine, 'active');
      expect(node.epoch).toBe(2);
      expect(takenAt - at).toBeLessThanOrEqual(way === 'leave' ? 200 : 15_200);
      if (way === 'partition') expect(takenAt - at).toBeGreaterThan(9_900);
      expect(machine.content).toBe(IMAGE.sha256);
      expect(world.violations).toEqual([]);
      await world.close();
    }
  });

  it('a machine that waited for a POST while nobody was there is given time, and its key with it', async () => {
    const world = new World({ knobs: { ramdisk: 'silent' }, settings: { pxeDeployTimeoutMs: 600_000 } });
    const machine = await world.enrol();
    const first = world.daemon('mgmt-1');
    await world.until(machine, 'available');
    await world.spawn(machine);
    await world.until(machine, 'prepared');
    await world.clock.runUntil(() => machine.ramdisk !== undefined);
    first.gate.kill();
    await world.clock.runFor(3_600_000);
    const second = world.daemon('mgmt-1');
    await world.clock.run(second.started);
    await world.clock.runFor(60_000);
    const { key = '', iqn = '' } = machine.ramdisk ?? {};
    expect(await world.clock.run(world.post({ i: '1', k: key, a: machine.address, n: iqn }, machine.address))).toMatchObject({
      status: 200,
    });
    await world.until(machine, 'active');
    await world.close();
  });

  /** The first daemon is suspended in the middle of this call; the second one takes over; then the first one goes on. */
  it.each(['plug', 'activate', 'ensureOn', 'identify', 'write', 'done'] as const)(
    'an owner that was suspended in %s and wakes after the take-over changes neither the record nor the disk',
    async (call) => {
      const world = new World({ knobs: { chunks: 30 } });
      const machine = await world.enrol();
      const first = world.daemon('mgmt-1', undefined, undefined, true);
      await world.until(machine, 'available');
      await world.clock.runFor(1_000);
      const { owner = '' } = await world.node(machine);
      world.knobs.slow = { call, ms: 40_000 };
      await world.spawn(machine);
      first.reconciler.wake(machine.uuid);
      // Until it is suspended, it is told of others' writes like anybody.
      const nudge = world.store.watch(nodeKind, () => first.reconciler.wake(machine.uuid));
      await world.clock.runUntil(() => world.calls.includes(call));
      world.knobs.slow = undefined;
      nudge.close();
      world.coordination.crash(owner);
      world.daemon('mgmt-2');
      const node = await world.until(machine, 'active');
      await world.clock.runFor(120_000);
      expect(node.owner).toMatch(/^mgmt-2#/);
      expect(node.epoch).toBe(2);
      expect((await world.node(machine)).history).toEqual(node.history);
      expect(machine.content).toBe(IMAGE.sha256);
      expect(world.violations).toEqual([]);
      await world.close();
    },
  );

  it.each([
    { ahead: 'the dead one', skews: { 'mgmt-1': 300_000, 'mgmt-2': 0 } },
    { ahead: 'its successor', skews: { 'mgmt-1': 0, 'mgmt-2': 300_000 } },
    { ahead: 'by more than a deadline', skews: { 'mgmt-1': 0, 'mgmt-2': 3_600_000 } },
  ])('clocks that disagree, $ahead ahead: a deployment survives the take-over in every state', async ({ skews }) => {
    for (const state of ['building', 'prepared', 'deploying', 'deploy complete'] as const) {
      const world = new World({ knobs: { chunks: 60 }, settings: { pxeDeployTimeoutMs: 600_000, writeTimeoutMs: 600_000 } });
      world.skewsMs = skews;
      const machine = await world.enrol();
      const first = world.daemon('mgmt-1');
      await world.until(machine, 'available');
      await world.spawn(machine);
      await world.until(machine, state);
      const { owner = '' } = await world.node(machine);
      first.gate.kill();
      world.coordination.crash(owner);
      world.daemon('mgmt-2');
      const node = await world.until(machine, 'active');
      expect([state, node.epoch, machine.content, world.violations]).toEqual([state, 2, IMAGE.sha256, []]);
      await world.close();
    }
  });
});
