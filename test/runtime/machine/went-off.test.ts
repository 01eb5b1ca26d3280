/** A machine whose power goes in mid-write: said with that word, at once, once the BMC confirms it; and only then. */
import { describe, expect, it } from 'vitest';
import { IMAGE, type Knobs, type Machine, World } from './world.ts';

async function writing(knobs: Partial<Knobs> = {}) {
  const world = new World({ knobs: { chunks: 10, chunkMs: 5_000, ...knobs } });
  const machine = await world.enrol();
  world.daemon();
  await world.until(machine, 'available');
  await world.spawn(machine);
  await world.until(machine, 'deploying');
  await later(world, 12_000); // two of the ten chunks
  expect(machine.content).toMatch(/^partly/);
  return { world, machine };
}

function later({ clock }: World, ms: number): Promise<void> {
  return clock.run(new Promise<void>((resolve) => void clock.after(ms, resolve)));
}

/** Not by the BMC, which merely sees it. */
function cut(machine: Machine): void {
  machine.power = 'off';
  machine.session += 1;
  machine.ramdisk = undefined;
  machine.running = 'nothing';
  machine.writer = undefined;
}

describe('a machine that goes off while its disk is written', () => {
  it('fails at once, by that name, with the record saying that it is off; and takes the next deployment', async () => {
    const { world, machine } = await writing();
    cut(machine);
    const cutAt = world.clock.now();
    const node = await world.until(machine, 'available');
    expect(node.lastFailure).toMatchObject({
      state: 'deploying',
      reason:
        'the machine went off while its disk was being written, as its BMC says; what was seen of that: the iSCSI session was dropped',
    });
    // one attempt: the chunk that was under way, and the clean-up of what the deployment held
    expect((node.lastFailure?.at ?? Infinity) - cutAt).toBeLessThanOrEqual(6_000);
    await world.spawn(machine);
    await world.until(machine, 'active');
    expect([machine.content, world.violations]).toEqual([IMAGE.sha256, []]);
    await world.close();
  });

  it('is found out by asking the BMC when the write merely stands still', async () => {
    const { world, machine } = await writing();
    world.knobs.chunkMs = 3_600_000; // what a session that is tried again and again looks like from here
    await later(world, 5_000);
    cut(machine);
    const cutAt = world.clock.now();
    const node = await world.until(machine, 'available');
    expect(node.lastFailure).toMatchObject({
      state: 'deploying',
      reason: expect.stringMatching(/^the machine went off while .* what was seen of that: nothing moved for 1\d s$/),
    });
    expect((node.lastFailure?.at ?? Infinity) - cutAt).toBeLessThanOrEqual(20_000);
    await world.close();
  });

  it('is left alone while its write stands still and its BMC says that it is on', async () => {
    const { world, machine } = await writing();
    world.knobs.chunkMs = 120_000;
    const node = await world.until(machine, 'active');
    expect([node.lastFailure, machine.content, world.violations]).toEqual([undefined, IMAGE.sha256, []]);
    await world.close();
  });

  it.each<[string, (world: World, machine: Machine) => void]>([
    ['its connection alone is lost', () => undefined],
    ['its BMC cannot be asked', ({ knobs }) => void Object.assign(knobs, { failures: { status: Infinity } })],
  ])('is not said to have gone off when %s: the write is tried again', async (_, also) => {
    const { world, machine } = await writing();
    machine.writer = undefined; // whatever the session was, it is over
    also(world, machine);
    await later(world, 60_000);
    world.knobs.failures = {};
    const node = await world.until(machine, 'active');
    expect([node.lastFailure, machine.content, world.violations]).toEqual([undefined, IMAGE.sha256, []]);
    await world.close();
  });
});
