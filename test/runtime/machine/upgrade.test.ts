/** A new version goes on with what the one before was doing, and leaves alone what a later one has begun. */
import { nodeKind, RECORD_VERSION } from 'cdk8s-baremetal-runtime/machine/index';
import type { Kind } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it } from 'vitest';
import { IMAGE, type Machine, World } from './world.ts';

type Raw = Record<string, unknown>;
/** The record as JSON, without anybody's schema. */
const rawKind: Kind<Raw> = { name: 'node', parse: (value) => ({ ...(value as Raw) }) };

/** What version 1 of the program wrote. It knew nothing of anything else. */
const FIRST_FORM = [
  ...['uuid', 'name', 'number', 'interfaces', 'properties', 'bmc', 'rootDiskSerial', 'maintenance', 'state', 'targetState', 'stateSince'],
  ...['stateDeadline', 'reason', 'step', 'attempts', 'nextAttemptAt', 'request', 'power', 'owner', 'epoch', 'instance', 'generation'],
  ...['deployment', 'installed', 'lease', 'cleanup', 'lastFailure', 'history', 'timeline'],
];

async function edit(world: World, machine: Machine, change: (raw: Raw) => Raw): Promise<void> {
  const found = await world.store.get(rawKind, machine.uuid);
  if (found === undefined) throw new Error('gone');
  const result = await world.store.update(rawKind, { id: machine.uuid, value: change(found.value) }, found.version);
  if (result.outcome !== 'stored') throw new Error(result.outcome);
}

/** Only the fields of the first form; its history knew no state of ours. */
function asFirstForm(raw: Raw): Raw {
  return Object.fromEntries(FIRST_FORM.flatMap((name) => (name in raw ? [[name, raw[name]]] : [])));
}

describe('the upgrade of ourselves in the middle of a deployment', () => {
  it.each(['building', 'prepared', 'deploying', 'deploy complete'] as const)(
    'a record that the first form left in %s becomes active',
    async (state) => {
      const world = new World({ knobs: { chunks: 40, bootSeen: false } });
      const machine = await world.enrol();
      const old = world.daemon('mgmt-1');
      await world.until(machine, 'available');
      await world.spawn(machine);
      await world.until(machine, state);
      await world.clock.runFor(300);
      old.gate.kill();
      await edit(world, machine, asFirstForm);
      world.daemon('mgmt-1');
      const node = await world.until(machine, 'active');
      expect([machine.content, node.recordVersion, world.violations]).toEqual([IMAGE.sha256, 1, []]);
      await world.close();
    },
  );

  it('one that was just enrolled by the first form, in "initializing", becomes available, and its BMC is reserved at the next verification', async () => {
    const world = new World();
    const machine = await world.enrol();
    await edit(world, machine, (raw) => ({ ...asFirstForm(raw), state: 'initializing', reason: 'enrolled' }));
    world.daemon();
    expect((await world.until(machine, 'available')).history.map(({ to }) => to)).toEqual(['available']);
    await world.close();
  });

  it('a record of a later version is left alone until a program that knows it comes back', async () => {
    const world = new World({ knobs: { chunks: 40 } });
    const machine = await world.enrol();
    world.daemon();
    await world.until(machine, 'available');
    await world.spawn(machine);
    await world.until(machine, 'deploying');
    await edit(world, machine, (raw) => ({ ...raw, recordVersion: RECORD_VERSION + 1, owner: 'mgmt-9#1', epoch: 7 }));
    await world.clock.runFor(60_000);
    const calls = world.calls.length;
    const before = await world.node(machine);
    await world.clock.runFor(10 * 3_600_000);
    expect([await world.node(machine), world.calls.length]).toEqual([before, calls]);
    await edit(world, machine, (raw) => ({ ...raw, recordVersion: RECORD_VERSION }));
    await world.until(machine, 'active');
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('a state that only a later version knows is not guessed at', async () => {
    const world = new World();
    const machine = await world.enrol();
    world.daemon();
    await world.until(machine, 'available');
    await edit(world, machine, (raw) => ({ ...raw, state: 'migrating' }));
    await world.clock.runFor(3_600_000);
    expect((await world.store.get(rawKind, machine.uuid))?.value.state).toBe('migrating');
    expect(world.logs.some((line) => line.includes('the record cannot be read'))).toBe(true);
    await world.clock.run(world.daemons[0]?.reconciler.close() ?? Promise.resolve());
  });

  it('fields of a later minor version survive our writes, also inside of the deployment and the instance', async () => {
    const world = new World();
    const machine = await world.enrol();
    world.daemon();
    await world.until(machine, 'available');
    await world.spawn(machine);
    await world.until(machine, 'prepared');
    const nested = (value: unknown): Raw => ({ ...(value as Raw), futureField: { kept: [1, 2] } });
    await edit(world, machine, (raw) => ({
      ...nested(raw),
      deployment: nested(raw.deployment),
      instance: nested(raw.instance),
      bmc: nested(raw.bmc),
    }));
    await world.until(machine, 'active');
    const raw = (await world.store.get(rawKind, machine.uuid))?.value ?? {};
    for (const part of [raw, raw.deployment, raw.instance, raw.bmc]) expect((part as Raw).futureField).toEqual({ kept: [1, 2] });
    expect(nodeKind.parse(raw).state).toBe('active');
    await world.close();
  });
});
