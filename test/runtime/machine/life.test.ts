import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { ask, nodeKind, setMaintenance } from 'cdk8s-baremetal-runtime/machine/index';
import { SqliteStore } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it } from 'vitest';
import { IMAGE, type Knobs, World } from './world.ts';

const YES = { approval: { yes: true } } as const;

/** A site with one machine that is free, and its daemon. */
async function site(options: ConstructorParameters<typeof World>[0] = {}) {
  const world = new World(options);
  const machine = await world.enrol();
  world.daemon();
  await world.until(machine, 'available');
  world.calls.length = 0;
  return { world, machine };
}

const spawnCalls = ['plug', 'attach', 'start', 'cache', 'activate', 'ensureOff', 'setBootDevice', 'ensureOn'];
const cleanupCalls = ['ensureOff', 'deactivate', 'release', 'detach', 'stop', 'unplug'];

describe('the life of a machine', () => {
  it('002-11: spawn runs the steps in the order of the original and ends active', async () => {
    const { world, machine } = await site();
    expect(await world.spawn(machine)).toMatchObject({ kind: 'associated' });
    const node = await world.until(machine, 'active');
    expect(world.calls).toEqual([...spawnCalls, 'identify', 'write', 'switchToBoot', 'setBootDevice', 'done', 'setBootDevice']);
    expect(node.history.map(({ to }) => to)).toEqual([
      ...['verifying', 'manageable', 'initializing', 'available'],
      ...['building', 'prepared', 'deploying', 'deploy complete', 'active'],
    ]);
    expect(node).toMatchObject({
      targetState: 'active',
      generation: 1,
      installed: { generation: 1, sha256: IMAGE.sha256, disk: { serial: 'DISK-1' } },
    });
    expect(machine).toMatchObject({ running: 'instance', content: IMAGE.sha256, bootDevice: 'disk' });
    expect(world.secrets.names()).toEqual([`bmc.${machine.uuid}`]);
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('002-11: each transition has a reason and its duration, and the progress is on the record', async () => {
    const { world, machine } = await site({ knobs: { chunks: 20, chunkMs: 2_000 } });
    await world.spawn(machine);
    const progress: number[] = [];
    world.store.watch(nodeKind, (event) => {
      if (event.type === 'put' && event.record.value.deployment?.progress) progress.push(event.record.value.deployment.progress.bytes);
    });
    const node = await world.until(machine, 'active');
    for (const step of node.history) expect(step.reason).not.toBe('');
    expect(node.history.find(({ from }) => from === 'deploying')?.durationMs).toBeGreaterThanOrEqual(40_000);
    expect(new Set(progress).size).toBeGreaterThan(5);
    await world.close();
  });

  it('002-11: many destroys at once, more than are worked on, all end free', async () => {
    const world = new World({ knobs: { ramdisk: 'silent' }, settings: { maxConcurrent: 1 } });
    const machines = [await world.enrol(1), await world.enrol(2), await world.enrol(3)];
    world.daemon();
    for (const machine of machines) await world.until(machine, 'available');
    for (const [index, machine] of machines.entries()) await world.spawn(machine, `inst-${index}`);
    for (const machine of machines) await world.until(machine, 'prepared');
    world.knobs.slow = { call: 'ensureOff', ms: 40_000 }; // BMCs that take their time
    for (const machine of machines) await ask(world, machine.uuid, 'destroy', YES);
    await world.clock.runFor(600_000);
    const nodes = await Promise.all(machines.map((machine) => world.node(machine)));
    expect(nodes.map(({ state, reason }) => `${state}: ${reason}`)).toEqual(Array(3).fill('available: free again'));
    await world.close();
  });

  it('002-11: of two spawns on one machine one is refused, the same one again is not', async () => {
    const { world, machine } = await site();
    const outcomes = await Promise.all([world.spawn(machine, 'a'), world.spawn(machine, 'b')]);
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual(['associated', 'refused']);
    const winner = outcomes[0]?.kind === 'associated' ? 'a' : 'b';
    expect(await world.spawn(machine, winner)).toMatchObject({ kind: 'associated', node: { generation: 1 } });
    await world.until(machine, 'active');
    await world.close();
  });

  it('002-1: destroy cleans up in the recorded order and the machine is free again, for the next instance', async () => {
    const { world, machine } = await site();
    await world.spawn(machine);
    await world.until(machine, 'active');
    world.calls.length = 0;
    const refused = { code: 'MACHINE_WRONG_STATE' };
    await expect(ask(world, machine.uuid, 'destroy', { ...YES, instanceUuid: 'another' })).rejects.toMatchObject(refused);
    await ask(world, machine.uuid, 'destroy', YES);
    const node = await world.until(machine, 'available');
    expect(world.calls).toEqual(cleanupCalls);
    expect(node.history.slice(-3).map(({ to }) => to)).toEqual(['deleting', 'deleted', 'available']);
    expect([node.instance, node.deployment, node.generation]).toEqual([undefined, undefined, 1]);
    await expect(ask(world, machine.uuid, 'destroy', YES)).rejects.toMatchObject(refused);
    await world.spawn(machine, 'inst-2');
    expect((await world.until(machine, 'active')).generation).toBe(2);
    expect(world.violations).toEqual([]);
    await world.close();
  });

  interface Failure {
    readonly name: string;
    readonly knobs: Partial<Knobs>;
    readonly state: string;
    readonly reason: RegExp;
  }
  const failures: Failure[] = [
    {
      name: 'a BMC that never turns on',
      knobs: { failures: { ensureOn: Infinity } },
      state: 'building',
      reason: /^power on: ensureOn failed \(5 attempts\)/,
    },
    {
      name: 'a missing image',
      knobs: { failures: { cache: 1 }, permanent: new Set(['cache']) },
      state: 'building',
      reason: /cache images: cache failed$/,
    },
    {
      name: 'no free interface',
      knobs: { failures: { plug: 1 }, permanent: new Set(['plug']) },
      state: 'building',
      reason: /plug vifs: plug failed$/,
    },
    {
      name: 'a step that hangs',
      knobs: { hangs: new Set(['attach']) },
      state: 'building',
      reason: /^no end of the preparations for 1800 s/,
    },
    {
      name: 'N1: a ramdisk that reports an error',
      knobs: { ramdisk: 'reports error' },
      state: 'prepared',
      reason: /reported: Could not find disk to use\./,
    },
    {
      name: 'N7: a ramdisk that never posts',
      knobs: { ramdisk: 'silent' },
      state: 'prepared',
      reason:
        /^no POST from the deploy ramdisk for 1800 s; last observed: TFTP served deploy_ramdisk at \d\d:\d\d:\d\d; its BMC said on at \d\d:\d\d:\d\d$/,
    },
    {
      name: 'N7: a machine that does not boot',
      knobs: { ramdisk: 'never boots' },
      state: 'prepared',
      reason: /^no POST .* nothing was observed of the machine; its BMC said on at \d\d:\d\d:\d\d$/,
    },
    {
      name: 'N4: a POST that names another address',
      knobs: { post: { a: '10.0.0.99' } },
      state: 'prepared',
      reason: /^no POST from the deploy ramdisk/,
    },
    {
      name: 'N14: a written image with another checksum',
      knobs: { writtenSha256: 'f'.repeat(64) },
      state: 'deploying',
      reason: /has SHA-256 ffff.*\(5 attempts\)/,
    },
    { name: 'N14: a disk that is too small', knobs: { diskBytes: 100 }, state: 'deploying', reason: /at least 4000 bytes/ },
    { name: 'N14: a disk of a later install', knobs: { diskGeneration: 7 }, state: 'deploying', reason: /installed by generation 7/ },
    { name: 'a writer that hangs', knobs: { hangs: new Set(['write']) }, state: 'deploying', reason: /^no end of the image for 3600 s/ },
    {
      name: 'a corrupt image',
      knobs: { failures: { write: 1 }, permanent: new Set(['write']) },
      state: 'deploying',
      reason: /write failed/,
    },
    {
      name: 'a boot loader that cannot be switched',
      knobs: { failures: { switchToBoot: Infinity } },
      state: 'deploy complete',
      reason: /switchToBoot failed/,
    },
  ];

  it.each(failures)('002-11: $name ends in a clean, free machine with the reason', async ({ knobs, state, reason }) => {
    const { world, machine } = await site({ knobs });
    await world.spawn(machine);
    const node = await world.until(machine, 'available', 8 * 3_600_000);
    expect(node.lastFailure).toMatchObject({ state, instanceUuid: 'inst-1', cleanupErrors: [] });
    expect(node.lastFailure?.reason).toMatch(reason);
    expect(node.history.map(({ to }) => to)).not.toContain('active');
    expect(world.calls.slice(-cleanupCalls.length)).toEqual(cleanupCalls);
    expect([node.instance, node.deployment]).toEqual([undefined, undefined]);
    expect(machine.power).toBe('off');
    expect(world.secrets.names()).toEqual([`bmc.${machine.uuid}`]);
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it.each(['plug', 'cache', 'ensureOff', 'ensureOn', 'identify', 'write', 'switchToBoot', 'done'] as const)(
    '002-11: two failures of %s in a row are overcome',
    async (call) => {
      const { world, machine } = await site({ knobs: { failures: { [call]: 2 } } });
      await world.spawn(machine);
      await world.until(machine, 'active');
      expect(machine.content).toBe(IMAGE.sha256);
      expect(world.violations).toEqual([]);
      await world.close();
    },
  );

  it('a boot device that cannot be set is no failure', async () => {
    const { world, machine } = await site({ knobs: { failures: { setBootDevice: Infinity } } });
    await world.spawn(machine);
    await world.until(machine, 'active');
    await world.close();
  });

  it('N6: a ramdisk that cannot be told is restarted by its power, after the boot loader was switched', async () => {
    const { world, machine } = await site({ knobs: { failures: { done: Infinity } } });
    await world.spawn(machine);
    await world.until(machine, 'active');
    expect(world.calls.slice(world.calls.indexOf('switchToBoot'))).toEqual([
      'switchToBoot',
      'setBootDevice',
      'done',
      'done',
      'done',
      'ensureOff',
      'ensureOn',
      'setBootDevice',
    ]);
    expect(machine.running).toBe('instance');
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('N12: the machine is told to boot its disk for good, and one that does so without asking the network is active by its power state', async () => {
    const { world, machine } = await site({ knobs: { bootSeen: false } });
    await world.spawn(machine);
    const node = await world.until(machine, 'active');
    expect(node.reason).toContain('is powered on; it did not ask the network');
    await world.close();
  });

  it('N11: a cleanup step that fails skips none of the others, all errors are collected, and it is tried again', async () => {
    const { world, machine } = await site({ knobs: { failures: { deactivate: 1, stop: 1 } } });
    await world.spawn(machine);
    await world.until(machine, 'active');
    world.calls.length = 0;
    await ask(world, machine.uuid, 'destroy', YES);
    const node = await world.until(machine, 'available');
    expect(world.calls).toEqual([...cleanupCalls, ...cleanupCalls]);
    expect(node.state).toBe('available');
    await world.close();
  });

  it('N11: a cleanup that cannot succeed ends in error with the association and all reasons, and a retry finishes it', async () => {
    const { world, machine } = await site({ knobs: { ramdisk: 'reports error', failures: { detach: Infinity, unplug: Infinity } } });
    await world.spawn(machine);
    let node = await world.until(machine, 'error');
    expect(node).toMatchObject({
      instance: { uuid: 'inst-1' },
      cleanup: { errors: ['detach volumes: detach failed', 'unplug vifs: unplug failed'] },
    });
    expect(node.lastFailure).toMatchObject({ cleanupErrors: ['detach volumes: detach failed', 'unplug vifs: unplug failed'] });
    expect(node.lastFailure?.reason).toContain('Could not find disk');
    expect(machine.held).toEqual(new Set(['volumes', 'vifs']));
    await world.clock.runFor(3_600_000);
    expect((await world.node(machine)).state).toBe('error');
    world.knobs.failures = {};
    await ask(world, machine.uuid, 'retry');
    node = await world.until(machine, 'available');
    expect(node.instance).toBeUndefined();
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('N11: what a cleanup meets is one printable line each of bounded length, as every reason', async () => {
    const { world, machine } = await site({ knobs: { ramdisk: 'reports error', failures: { detach: Infinity } } });
    const error = `\u001b[2J\n${'x'.repeat(2_000)}`;
    world.noise.detach = error;
    await world.spawn(machine);
    const node = await world.until(machine, 'error');
    for (const [line = ''] of [node.cleanup?.errors ?? [], node.lastFailure?.cleanupErrors ?? []])
      expect(line).toMatch(/^detach volumes: detach failed[\x20-\x7e]{1,480}\.\.\.$/);
    await world.close();
  });

  it('N11: a cleanup step that hangs costs the others nothing', async () => {
    const { world, machine } = await site({ knobs: { ramdisk: 'reports error', hangs: new Set(['release']) } });
    await world.spawn(machine);
    const node = await world.until(machine, 'error');
    expect(node.cleanup?.errors).toEqual(['release images: "release images" did not end within 120 s [MACHINE_STEP_TIMEOUT]']);
    expect(machine.held).toEqual(new Set(['images']));
    await world.close();
  });

  it.each(['building', 'prepared', 'deploying', 'deploy complete'] as const)(
    'a destroy in %s interrupts what runs and cleans up',
    async (state) => {
      const { world, machine } = await site({ knobs: { chunks: 100, bootSeen: false } });
      await world.spawn(machine);
      await world.until(machine, state);
      await world.clock.runFor(150);
      await ask(world, machine.uuid, 'destroy', YES);
      const node = await world.until(machine, 'available');
      expect(node.history.slice(-4).map(({ to }) => to)).toEqual([state, 'deleting', 'deleted', 'available']);
      expect(node.history.map(({ to }) => to)).not.toContain('active');
      expect(world.violations).toEqual([]);
      await world.close();
    },
  );

  it('002-1: a BMC that is busy for a moment does not cut the power of a machine in the middle of its soft reboot', async () => {
    const { world, machine } = await site();
    await world.spawn(machine);
    await world.until(machine, 'active');
    world.calls.length = 0;
    world.knobs.failures.softOff = 1;
    await ask(world, machine.uuid, 'reboot');
    await world.clock.runFor(3_000);
    world.knobs.failures.status = 1;
    await world.clock.runFor(200_000);
    const looks = ['status', 'softOff', 'status', 'softOff', 'status', 'status', 'status'];
    expect(world.calls).toEqual([...looks, 'ensureOff', 'ensureOn']);
  });

  it('002-1: reboot, power off and power on act on a machine in use and leave it active', async () => {
    const { world, machine } = await site();
    await expect(ask(world, machine.uuid, 'reboot')).rejects.toMatchObject({ code: 'MACHINE_WRONG_STATE' });
    await world.spawn(machine);
    await world.until(machine, 'active');
    const act = async (verb: 'reboot' | 'power on' | 'power off', mode?: 'hard') => {
      world.calls.length = 0;
      await ask(world, machine.uuid, verb, { ...(mode && { args: { mode } }) });
      await world.clock.runFor(200_000);
      return [world.calls, machine.power, machine.running, (await world.node(machine)).state];
    };
    expect(await act('reboot', 'hard')).toEqual([['ensureOff', 'ensureOn'], 'on', 'instance', 'active']);
    // Soft first: it looks every two seconds, and cuts the power of one that does not listen.
    expect((await act('reboot'))[0]).toEqual(['status', 'softOff', 'status', 'status', 'status', 'ensureOff', 'ensureOn']);
    world.knobs.listensToSoftOff = false;
    expect((await act('reboot'))[0]).toEqual(['status', 'softOff', ...Array(58).fill('status'), 'ensureOff', 'ensureOn']);
    world.knobs.failures.softOff = 1;
    world.knobs.permanent.add('softOff');
    expect((await act('reboot'))[0]).toEqual(['status', 'softOff', 'ensureOff', 'ensureOn']);
    world.knobs.permanent.clear();
    expect(await act('power off')).toEqual([['ensureOff'], 'off', 'nothing', 'active']);
    expect((await world.node(machine)).power?.state).toBe('off');
    expect(await act('power on')).toEqual([['ensureOn'], 'on', 'instance', 'active']);
    world.knobs.hangs.add('ensureOff');
    world.calls.length = 0;
    await ask(world, machine.uuid, 'power off');
    await world.clock.runFor(1_000_000);
    expect(await world.node(machine)).toMatchObject({
      state: 'active',
      reason: expect.stringContaining('did not end within 120 s [MACHINE_STEP_TIMEOUT] (5 attempts)'),
    });
    expect(world.calls).toHaveLength(5);
    world.knobs.hangs.clear();
    await ask(world, machine.uuid, 'destroy', YES);
    await expect(ask(world, machine.uuid, 'power on')).rejects.toMatchObject({ code: 'MACHINE_BUSY' });
    await world.until(machine, 'available');
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('a destroy interrupts a power verb that hangs', async () => {
    const { world, machine } = await site();
    await world.spawn(machine);
    await world.until(machine, 'active');
    world.knobs.hangs.add('ensureOn');
    await ask(world, machine.uuid, 'reboot');
    await world.clock.runFor(10_000);
    const at = world.clock.now();
    await ask(world, machine.uuid, 'destroy', YES);
    await world.until(machine, 'available');
    expect(world.clock.now() - at).toBeLessThan(5_000);
    await world.close();
  });

  it.each(['write', 'done', 'identify'] as const)(
    'N15: a driver that puts keys into the errors of %s does not get them onto the record',
    async (call) => {
      const { world, machine } = await site({ knobs: { failures: { [call]: 3 }, leaks: true } });
      await world.spawn(machine);
      await world.until(machine, 'active');
      const log = world.logs.filter((line) => line.includes(`${call} failed`));
      expect(log.length).toBeGreaterThan(0);
      for (const secret of world.knownSecrets) expect(world.logs.join('\n')).not.toContain(secret);
      expect(world.violations).toEqual([]);
      await world.close();
    },
  );

  it('N8: goes on from an SQLite file after a restart in the middle of writing', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'life-'));
    const store = new SqliteStore({ path: join(directory, 'state.db'), clock: nodeClock, pollMs: 0 });
    const world = new World({ store: () => store, knobs: { chunks: 30 } });
    const machine = await world.enrol();
    const first = world.daemon();
    await world.until(machine, 'available');
    await world.spawn(machine);
    await world.until(machine, 'deploying');
    await world.clock.runFor(5_000);
    first.gate.kill();
    world.daemon();
    const node = await world.until(machine, 'active');
    expect([node.epoch, machine.content, world.violations]).toEqual([2, IMAGE.sha256, []]);
    await world.close();
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('a driver that does not listen to its signal holds a destroy up for half a minute, and what it says later counts for nothing', async () => {
    const { world, machine } = await site({ knobs: { slow: { call: 'attach', ms: 600_000 } } });
    await world.spawn(machine);
    await world.clock.runUntil(() => world.calls.includes('attach'));
    await world.clock.runFor(150);
    const at = world.clock.now();
    await ask(world, machine.uuid, 'destroy', YES);
    await world.until(machine, 'available');
    expect(world.clock.now() - at).toBeGreaterThan(29_000);
    expect(world.clock.now() - at).toBeLessThan(40_000);
    const before = await world.node(machine);
    world.violations.length = 0; // the late driver attaches in the middle of nothing: its own fault
    await world.clock.runFor(900_000);
    expect(await world.node(machine)).toEqual(before);
    await world.close();
  });

  it('maintenance stops the work, and its end resumes it', async () => {
    const { world, machine } = await site({ knobs: { chunks: 60 } });
    await world.spawn(machine);
    await world.until(machine, 'deploying');
    await world.clock.runFor(2_000);
    await setMaintenance(world, machine.uuid, true);
    await world.clock.runFor(60_000);
    const calls = world.calls.length;
    await world.clock.runFor(600_000);
    expect(world.calls.length).toBe(calls);
    await setMaintenance(world, machine.uuid, false);
    await world.until(machine, 'active');
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it.each(['building', 'prepared', 'deploying', 'deploy complete'] as const)(
    '002-8: the time of a maintenance in %s is not held against the machine, however long it lasts',
    async (state) => {
      const { world, machine } = await site({ knobs: { chunks: 20, chunkMs: 2_000 } });
      await world.spawn(machine);
      await world.until(machine, state);
      await setMaintenance(world, machine.uuid, true, 'a new fan');
      await world.clock.runFor(24 * 3_600_000);
      await setMaintenance(world, machine.uuid, false);
      await world.until(machine, 'active');
      expect([(await world.node(machine)).lastFailure, world.violations]).toEqual([undefined, []]);
      await world.close();
    },
  );

  it('002-9: a machine whose BMC does not answer is in error, and available after a retry', async () => {
    const world = new World({ knobs: { failures: { status: 5 } } });
    const machine = await world.enrol();
    world.daemon();
    const node = await world.until(machine, 'error');
    expect(node.reason).toContain('status failed (5 attempts)');
    expect(await world.spawn(machine)).toMatchObject({ kind: 'refused', reason: expect.stringContaining('bm-1 is error') });
    await ask(world, machine.uuid, 'retry');
    await world.until(machine, 'available');
    await world.close();
  });

  it('N8: images are written a few at a time, first come first served, and waiting costs no deadline', async () => {
    const world = new World({ knobs: { chunks: 600, chunkMs: 2_000 }, settings: { maxWrites: 2 } });
    const machines = [];
    for (let index = 1; index <= 6; index++) machines.push(await world.enrol(index));
    world.daemon();
    for (const machine of machines) await world.until(machine, 'available');
    const [turns, begun] = [new Map<string, number>(), new Map<string, number>()];
    world.store.watch(nodeKind, (event) => {
      if (event.type !== 'put' || event.record.value.state !== 'deploying') return;
      const { uuid, stateDeadline, deployment } = event.record.value;
      if (stateDeadline !== undefined && !turns.has(uuid)) turns.set(uuid, world.clock.now());
      if (deployment?.disk !== undefined && !begun.has(uuid)) begun.set(uuid, world.clock.now());
    });
    for (const [index, machine] of machines.entries()) await world.spawn(machine, `inst-${index}`);
    for (const machine of machines) await world.until(machine, 'active');
    // whose turn it is begins, and does not stand in line again
    expect([...turns].map(([uuid, at]) => (begun.get(uuid) ?? Number.NaN) - at < 10_000)).toEqual(Array(6).fill(true));
    expect(world.mostWriting).toBe(2);
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('002-1: a machine that waits for its turn behind others whose BMCs are silent is not held to the time that it has waited', async () => {
    const world = new World({ knobs: { hangs: new Set(['status']) }, settings: { maxConcurrent: 1, verifyTimeoutMs: 60_000 } });
    const machines = [await world.enrol(1), await world.enrol(2), await world.enrol(3), await world.enrol(4)];
    world.daemon();
    await world.clock.runFor(30_000);
    world.knobs.hangs.clear(); // the first one's BMC stays silent, those of the others never were
    await world.clock.runFor(60_000);
    const nodes = await Promise.all(machines.map((machine) => world.node(machine)));
    expect(nodes.map(({ state }) => state).sort()).toEqual(['available', 'available', 'available', 'error']);
    expect(nodes.filter(({ lastFailure }) => lastFailure !== undefined)).toMatchObject([{ reason: expect.stringContaining('no answer') }]);
    await world.close();
  });

  it('N7: a limit of zero is refused', () => {
    const world = new World({ settings: { pxeDeployTimeoutMs: 0 } });
    expect(() => world.daemon()).toThrow(expect.objectContaining({ code: 'MACHINE_NO_LIMIT' }));
  });
});
