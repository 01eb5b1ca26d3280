import { Secret } from 'cdk8s-baremetal-contract/secret';
import {
  adopt,
  ask,
  type EnrolRequest,
  imageKind,
  type NodeRecord,
  nodeKind,
  nodeStates,
  planOf,
  refuseVerb,
  reportFault,
  setMaintenance,
  spawn,
  states,
  unenrol,
  verbs,
} from 'cdk8s-baremetal-runtime/machine/index';
import { modify } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it } from 'vitest';
import { IMAGE, type Machine, World } from './world.ts';

const YES = { yes: true } as const;
const INSTANCE = { uuid: 'inst-1', name: 'host-inst-1', imageId: 'image-1', vifs: [], volumes: [], at: 0 };

async function site(options: ConstructorParameters<typeof World>[0] = {}, more: Partial<EnrolRequest> = {}) {
  const world = new World(options);
  await world.store.create(imageKind, 'image-1', {
    id: 'image-1',
    name: 'one',
    format: 'raw',
    sizeBytes: IMAGE.bytes,
    sha256: IMAGE.sha256,
    boot: 'local',
  });
  const machine = await world.enrol(1, more);
  world.daemon();
  return { world, machine };
}

async function inUse(options: ConstructorParameters<typeof World>[0] = {}) {
  const made = await site(options);
  await made.world.until(made.machine, 'available');
  await made.world.spawn(made.machine);
  await made.world.until(made.machine, 'active');
  made.world.calls.length = 0;
  return made;
}

/** Lets time pass until nothing is asked nor under way any more. */
async function settled(world: World, machine: Machine): Promise<NodeRecord> {
  let latest = await world.node(machine);
  const watch = world.store.watch(nodeKind, (event) => {
    if (event.type === 'put') latest = event.record.value;
  });
  await world.clock.runUntil(() => latest.request === undefined && latest.step === undefined, { limitMs: 24 * 3_600_000 });
  watch.close();
  return latest;
}

const path = (node: NodeRecord) => node.history.map(({ to }) => to);

describe('002-9: enrolment', () => {
  it('goes from enrolled over the verification to available, touching nothing but the power status', async () => {
    const { world, machine } = await site();
    const node = await world.until(machine, 'available');
    expect(path(node)).toEqual(['verifying', 'manageable', 'initializing', 'available']);
    expect(new Set(world.calls)).toEqual(new Set(['status']));
    expect(node.power?.state).toBe('off');
    await world.close();
  });

  it('can be held at manageable, inspected and cleaned first, and provided later', async () => {
    const { world, machine } = await site({}, { target: 'manageable', inspect: true, clean: 'full' });
    machine.content = 'the last owner';
    const node = await world.until(machine, 'cleaning');
    expect(node.inspection?.differences).toEqual([]);
    await world.until(machine, 'manageable');
    await world.clock.runFor(3_600_000);
    const held = await world.node(machine);
    expect([held.state, held.todo, held.stateDeadline, machine.content, machine.power]).toEqual([
      'manageable',
      [],
      undefined,
      undefined,
      'off',
    ]);
    expect(await world.spawn(machine)).toMatchObject({ kind: 'refused' });
    await ask(world, machine.uuid, 'provide');
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'manage');
    await world.until(machine, 'manageable');
    expect(world.violations).toEqual([]);
    expect(world.secrets.names()).toEqual([`bmc.${machine.uuid}`]);
    await world.close();
  });

  it('a wrong password is not tried again, and the machine says so', async () => {
    const { world, machine } = await site({ knobs: { failures: { status: 1 }, permanent: new Set(['status']) } });
    const node = await world.until(machine, 'error');
    expect([node.lastFailure?.state, node.reason, world.calls]).toEqual(['verifying', 'status failed', ['status']]);
    await world.close();
  });

  it('two records for one BMC, however they came about, are told apart by the verification', async () => {
    const { world, machine } = await site();
    await world.until(machine, 'available');
    const other = await world.enrol(2);
    await modify(world.store, nodeKind, other.uuid, (node) => ({ ...node, bmc: { ...node.bmc, address: '10.0.1.11' } }));
    const node = await world.until(other, 'error');
    expect(node.reason).toBe('the BMC 10.0.1.11:623 belongs to the machine bm-1 already [MACHINE_TAKEN]');
    await world.close();
  });
});

describe('inspection', () => {
  it('compares what was found with the record, and takes it over on request only', async () => {
    const facts = {
      cpus: 8,
      memoryMb: 16_000,
      cpuArch: 'x86_64',
      disks: [{ name: 'sda', sizeBytes: 50e9, serial: 'DISK-1' }],
      interfaces: [
        { name: 'eth0', mac: '02:00:00:00:00:99' },
        { name: 'eth1', mac: '02:00:00:00:00:98', linkUp: true },
      ],
    };
    const { world, machine } = await site({ knobs: { facts } });
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'inspect');
    await world.until(machine, 'inspecting');
    let node = await world.until(machine, 'available');
    expect(node.inspection?.differences).toEqual([
      'cpus: recorded 4, found 8',
      'memory in MiB: recorded 8192, found 16000',
      'disk in GB: recorded 100, found 50',
      'interface: recorded 02:00:00:00:00:01, found no such interface',
      'interface: recorded nothing, found eth1 02:00:00:00:00:98 with a link',
    ]);
    expect(node.properties.cpus).toBe(4);
    await ask(world, machine.uuid, 'inspect', { args: { apply: true } });
    await world.until(machine, 'inspecting');
    node = await world.until(machine, 'available');
    expect(node.properties).toMatchObject({ cpus: 8, memoryMb: 16_000, localGb: 50 });
    expect(node.interfaces.map(({ mac }) => mac)).toEqual(['02:00:00:00:00:01']);
    expect([machine.power, [...machine.held], world.violations]).toEqual(['off', [], []]);
    await world.close();
  });

  it.each([
    { name: 'a ramdisk that reports an error', knobs: { ramdisk: 'reports error' } as const, reason: /reported: no disk answers/ },
    { name: 'an old ramdisk that exports its disk', knobs: { oldRamdisk: true }, reason: /does not know bms_action=inspect/ },
    {
      name: 'a machine that never boots',
      knobs: { ramdisk: 'never boots' } as const,
      reason: /^no facts of the inspection ramdisk for 1800 s; nothing was observed/,
    },
    { name: 'facts without an interface', knobs: { facts: { interfaces: [] } }, reason: /^no facts of the inspection ramdisk/ },
  ])('$name ends in error with nothing left behind, and a retry begins again', async ({ knobs, reason }) => {
    const { world, machine } = await site({ knobs });
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'inspect');
    await world.until(machine, 'error');
    await world.clock.runFor(120_000);
    const node = await world.node(machine);
    expect(node.lastFailure?.reason).toMatch(reason);
    expect([machine.power, [...machine.held], node.ramdisk, world.secrets.names()]).toEqual([
      'off',
      [],
      undefined,
      [`bmc.${machine.uuid}`],
    ]);
    await ask(world, machine.uuid, 'retry');
    await world.until(machine, 'available');
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('whose cleanup gave up is cleaned up and verified again by one retry', async () => {
    const { world, machine } = await site({ knobs: { ramdisk: 'reports error' } });
    await world.until(machine, 'available');
    world.knobs.failures.deactivate = Infinity;
    await ask(world, machine.uuid, 'inspect');
    await world.until(machine, 'error');
    await world.clock.runFor(3_600_000);
    expect((await world.node(machine)).cleanup?.gaveUp).toBe(true);
    world.knobs.failures = {};
    world.knobs.ramdisk = 'posts';
    await ask(world, machine.uuid, 'retry');
    await world.until(machine, 'available', 600_000);
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('the deadline is an event on the timeline', async () => {
    const { world, machine } = await site({ knobs: { ramdisk: 'silent' } });
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'inspect');
    const node = await world.until(machine, 'error');
    expect(node.timeline.find(({ type }) => type === 'deadline missed')?.detail).toMatch(
      /^inspecting: no facts of the inspection ramdisk for 1800 s; last observed: TFTP served deploy_ramdisk/,
    );
    await world.close();
  });
});

describe('cleaning', () => {
  it('after each instance, where the site asks for it', async () => {
    const { world, machine } = await inUse({ settings: { cleanAfterDestroy: 'metadata' } });
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    const node = await world.until(machine, 'available');
    expect(path(node).slice(-6)).toEqual(['deleting', 'deleted', 'cleaning', 'manageable', 'initializing', 'available']);
    expect([machine.content, machine.power, node.installed, world.violations]).toEqual([undefined, 'off', undefined, []]);
    await world.close();
  });

  it('never of another disk than the recorded one', async () => {
    const { world, machine } = await site({}, { rootDiskSerial: 'DISK-7' });
    machine.content = 'something';
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'clean', { approval: YES });
    const node = await world.until(machine, 'error');
    expect(node.reason).toContain('the exported disk is the disk DISK-1');
    expect([world.calls.includes('erase'), machine.content]).toEqual([false, 'something']);
    await world.close();
  });

  it('never of another disk than the last instance was on, until that one is named', async () => {
    const { world, machine } = await inUse();
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    await world.until(machine, 'available');
    const name = (part: Partial<NodeRecord>) => modify(world.store, nodeKind, machine.uuid, (latest) => ({ ...latest, ...part }));
    const { installed } = await world.node(machine);
    await name({ installed: installed && { ...installed, disk: { sizeBytes: 1, serial: 'DISK-9' } } });
    await ask(world, machine.uuid, 'clean', { approval: YES });
    const node = await world.until(machine, 'error');
    expect(node.reason).toContain('DISK-9, which the last instance was on; nothing was written');
    expect(world.calls).not.toContain('erase');
    await name({ rootDiskSerial: 'DISK-1' });
    await ask(world, machine.uuid, 'retry');
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'clean', { approval: YES });
    await world.clock.runUntil(() => world.calls.includes('erase'));
    await world.until(machine, 'available');
    await world.close();
  });

  it('a cleaning that was aborted half way leaves no free machine before it is cleaned or verified again', async () => {
    const { world, machine } = await site({ knobs: { chunkMs: 60_000 } });
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'clean', { args: { wipe: 'full' }, approval: YES });
    await world.clock.runUntil(() => world.calls.includes('erase'));
    await ask(world, machine.uuid, 'abort');
    const node = await world.until(machine, 'available');
    expect(path(node).slice(-5)).toEqual(['error', 'verifying', 'manageable', 'initializing', 'available']);
    expect([machine.power, [...machine.held], world.violations]).toEqual(['off', [], []]);
    await world.close();
  });
});

describe('002-1: verbs on a machine in use', () => {
  it('attach and detach a volume; one that cannot be attached is withdrawn and leaves the list', async () => {
    const { world, machine } = await inUse();
    await ask(world, machine.uuid, 'attach volume', { args: { volume: 'vol-1', mountpoint: '/dev/vdb' } });
    let node = await settled(world, machine);
    expect([node.state, node.instance?.volumes, node.instance?.mountpoints, [...machine.volumes]]).toEqual([
      'active',
      ['vol-1'],
      { 'vol-1': '/dev/vdb' },
      ['vol-1'],
    ]);
    world.knobs.failures.attachVolume = Infinity;
    await ask(world, machine.uuid, 'attach volume', { args: { volume: 'vol-2' } });
    node = await settled(world, machine);
    expect([node.instance?.volumes, node.reason]).toEqual([['vol-1'], 'attach volume: attachVolume failed']);
    await ask(world, machine.uuid, 'detach volume', { args: { volume: 'vol-1' } });
    node = await settled(world, machine);
    expect([node.instance?.volumes, [...machine.volumes], node.stateDeadline]).toEqual([[], [], undefined]);
    await world.close();
  });

  it('a volume whose attaching fails and cannot be withdrawn stays on the list, so that the cleanup knows of it', async () => {
    const { world, machine } = await inUse({ knobs: { failures: { attachVolume: Infinity, detachVolume: Infinity } } });
    await ask(world, machine.uuid, 'attach volume', { args: { volume: 'vol-1' } });
    const node = await settled(world, machine);
    expect([node.instance?.volumes, node.reason]).toEqual([['vol-1'], 'attach volume: detachVolume failed (5 attempts)']);
    await world.close();
  });

  it('plug vifs replaces what is plugged', async () => {
    const { world, machine } = await inUse();
    await ask(world, machine.uuid, 'plug vifs', { args: { vifs: ['net-a'] } });
    const node = await settled(world, machine);
    expect([node.instance?.vifs, world.calls]).toEqual([['net-a'], ['plug']]);
    await world.close();
  });

  it('of two verbs the second is refused until the first has ended, but a destroy comes through', async () => {
    const { world, machine } = await inUse();
    world.knobs.hangs.add('attachVolume');
    await ask(world, machine.uuid, 'attach volume', { args: { volume: 'v' } });
    await expect(ask(world, machine.uuid, 'plug vifs')).rejects.toMatchObject({ code: 'MACHINE_BUSY' });
    await world.clock.runFor(1_000);
    await expect(ask(world, machine.uuid, 'reboot')).rejects.toMatchObject({
      code: 'MACHINE_BUSY',
      message: expect.stringContaining('attach volume'),
    });
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    await world.until(machine, 'available');
    await world.close();
  });

  it('rebuild deploys the same instance again with the next generation', async () => {
    const { world, machine } = await inUse();
    await reportFault(world, machine.uuid, 'its node is not ready');
    await ask(world, machine.uuid, 'rebuild', { args: { preserveEphemeral: true }, approval: YES });
    await world.until(machine, 'building');
    const node = await world.until(machine, 'active');
    expect(node.fault).toBeUndefined(); // of what was overwritten
    expect([node.generation, node.instance?.uuid, node.instance?.preserveEphemeral, node.deployment?.generation]).toEqual([
      2,
      'inst-1',
      true,
      2,
    ]);
    expect(node.deployment?.image.preserveEphemeral).toBe(true);
    expect(world.violations).toEqual([]);
    await expect(ask(world, machine.uuid, 'rebuild', { args: { imageId: 'nope' }, approval: YES })).rejects.toMatchObject({
      code: 'MACHINE_IMAGE_UNKNOWN',
    });
    await world.close();
  });

  it('rescue starts a ramdisk beside the disk, hands out the public keys, and unrescue starts the instance again', async () => {
    const { world, machine } = await inUse();
    const { content } = machine;
    await ask(world, machine.uuid, 'rescue', { args: { authorizedKeys: ['ssh-ed25519 AAAA somebody'] } });
    await world.until(machine, 'rescue');
    expect(machine.running).toBe('ramdisk');
    expect(world.answers.at(-1)).toMatchObject({ status: 200, body: '{"authorizedKeys":["ssh-ed25519 AAAA somebody"]}' });
    await world.clock.runFor(48 * 3_600_000);
    expect((await world.node(machine)).state).toBe('rescue');
    await ask(world, machine.uuid, 'unrescue');
    await world.until(machine, 'active');
    await world.clock.runUntil(() => machine.running === 'instance');
    expect([machine.content, world.calls.includes('write'), world.calls.includes('identify'), world.violations]).toEqual([
      content,
      false,
      false,
      [],
    ]);
    expect((await world.node(machine)).ramdisk).toBeUndefined();
    expect(world.secrets.names()).toEqual([`bmc.${machine.uuid}`]);
    await world.close();
  });

  it.each([{ ramdisk: 'never boots' }, { oldRamdisk: true }, { failures: { cacheRamdisk: Infinity } }] as const)(
    'a rescue that fails (%o) brings the instance back, and its disk is not touched',
    async (knobs) => {
      const { world, machine } = await inUse();
      Object.assign(world.knobs, structuredClone(knobs));
      await ask(world, machine.uuid, 'rescue');
      await world.until(machine, 'unrescuing');
      world.knobs.ramdisk = 'posts';
      await world.until(machine, 'active');
      await world.clock.runUntil(() => machine.running === 'instance');
      expect([machine.content, world.violations]).toEqual([IMAGE.sha256, []]);
      await world.close();
    },
  );

  it('a destroy ends a rescue too', async () => {
    const { world, machine } = await inUse();
    await ask(world, machine.uuid, 'rescue');
    await world.until(machine, 'rescue');
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    await world.until(machine, 'available');
    expect([machine.power, [...machine.held], world.secrets.names()]).toEqual(['off', [], [`bmc.${machine.uuid}`]]);
    await world.close();
  });
});

describe('abort and unstick', () => {
  it.each(['building', 'prepared', 'deploying', 'deploy complete'] as const)(
    'an abort in %s cleans up and frees the machine',
    async (state) => {
      const { world, machine } = await site({ knobs: { chunks: 100, bootSeen: false } });
      await world.until(machine, 'available');
      await world.spawn(machine);
      await world.until(machine, state);
      await ask(world, machine.uuid, 'abort');
      const node = await world.until(machine, 'available');
      expect(node.lastFailure).toMatchObject({ state, reason: 'abort was asked for' });
      expect([machine.power, [...machine.held], world.violations]).toEqual(['off', [], []]);
      await world.close();
    },
  );

  it('unstick restarts a cleanup that hangs, and one that gave up', async () => {
    const { world, machine } = await inUse({ settings: { cleanupStepMs: 3_000_000 } });
    world.knobs.hangs.add('detach');
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    await world.clock.runUntil(() => world.calls.includes('detach'));
    world.knobs.hangs.clear();
    await ask(world, machine.uuid, 'unstick');
    await world.until(machine, 'available');
    await world.spawn(machine, 'inst-2');
    await world.until(machine, 'active');
    world.knobs.failures.detach = Infinity;
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    await world.until(machine, 'error');
    world.knobs.failures = {};
    await ask(world, machine.uuid, 'unstick');
    await world.until(machine, 'available');
    expect(world.violations).toEqual([]);
    await world.close();
  });

  it('unstick takes the machine from an owner that holds it without looking after it', async () => {
    const { world, machine } = await site({ knobs: { chunks: 100 } });
    await world.until(machine, 'available');
    world.daemon('mgmt-2');
    await world.spawn(machine);
    const { owner, epoch } = await world.until(machine, 'deploying');
    await ask(world, machine.uuid, 'unstick');
    const node = await world.until(machine, 'available');
    expect(node.epoch).toBeGreaterThan(epoch + 1);
    expect([owner?.startsWith('mgmt-1'), world.violations]).toEqual([true, []]);
    await world.close();
  });

  const underWay: [state: NodeRecord['state'], ends: NodeRecord['state'], part?: Partial<NodeRecord>][] = [
    ['enrolled', 'available'],
    ['verifying', 'available'],
    ['manageable', 'available', { provide: true }],
    ['inspecting', 'available'],
    ['cleaning', 'available'],
    ['initializing', 'available'],
    ['available', 'active', { instance: INSTANCE, targetState: 'active', generation: 1 }],
    ['building', 'available', { instance: INSTANCE }],
    ['prepared', 'available', { instance: INSTANCE }],
    ['deploying', 'available', { instance: INSTANCE }],
    ['deploy complete', 'available', { instance: INSTANCE }],
    ['active', 'active', { instance: INSTANCE, step: 'reboot' }],
    ['rescuing', 'active', { instance: INSTANCE }],
    ['rescue', 'active', { instance: INSTANCE }],
    ['unrescuing', 'active', { instance: INSTANCE }],
    ['adopting', 'manageable', { instance: INSTANCE }],
    ['deploy failed', 'available', { instance: INSTANCE }],
    ['deleting', 'available', { instance: INSTANCE }],
    ['deleted', 'available'],
    ['error', 'available', { instance: INSTANCE }],
  ];

  it('the list below has every state', () => expect(underWay.map(([state]) => state).sort()).toEqual([...nodeStates].sort()));

  it.each(underWay)('%s, held by an owner that lives and does nothing: it waits, and unstick leads to %s', async (state, ends, part) => {
    const { world, machine } = await site();
    await world.until(machine, 'available');
    const zombie = await world.clock.run(world.coordination.replica().join('mgmt-9'));
    await modify(world.store, nodeKind, machine.uuid, (node) => ({ ...node, state, owner: zombie.id, epoch: node.epoch + 1, ...part }));
    await world.clock.runFor(3_600_000);
    expect(await world.node(machine)).toMatchObject({ state, owner: zombie.id });
    await ask(world, machine.uuid, 'unstick');
    const node = await world.until(machine, ends);
    expect(node.owner).toMatch(/^mgmt-1#/);
    await world.clock.runFor(60_000);
    expect(states[ends].rests(await world.node(machine))).toBe(true);
    await world.close();
  });

  it('a verb that was asked of an owner that does nothing is forgotten by unstick, and may be asked again', async () => {
    const { world, machine } = await inUse();
    const zombie = await world.clock.run(world.coordination.replica().join('mgmt-9'));
    await modify(world.store, nodeKind, machine.uuid, (node) => ({ ...node, owner: zombie.id, epoch: node.epoch + 1 }));
    await ask(world, machine.uuid, 'power off');
    await world.clock.runFor(600_000);
    expect((await world.node(machine)).request?.verb).toBe('power off');
    await ask(world, machine.uuid, 'unstick');
    await world.clock.runFor(10_000);
    const { state, request } = await world.node(machine);
    expect([state, request]).toEqual(['active', undefined]);
    await ask(world, machine.uuid, 'power off');
    await world.clock.runFor(60_000);
    expect(machine.power).toBe('off');
    await world.close();
  });

  it('a building that does not begin is late, told, and begun all the same', async () => {
    const { world, machine } = await site();
    await world.until(machine, 'available');
    const zombie = await world.clock.run(world.coordination.replica().join('mgmt-9'));
    await modify(world.store, nodeKind, machine.uuid, (node) => ({ ...node, owner: zombie.id, epoch: node.epoch + 1 }));
    await world.spawn(machine);
    const { stateDeadline } = await world.node(machine);
    expect(stateDeadline).toBeGreaterThan(world.clock.now());
    await world.clock.runFor(3_600_000);
    await world.clock.run(zombie.leave());
    const node = await world.until(machine, 'active');
    expect(node.instance?.uuid).toBe('inst-1');
    await world.close();
  });

  it('unstick on a machine in use ends the verb, not the instance', async () => {
    const { world, machine } = await inUse();
    world.knobs.hangs.add('ensureOff');
    await ask(world, machine.uuid, 'power off');
    await world.clock.runFor(5_000);
    await ask(world, machine.uuid, 'unstick');
    const node = await settled(world, machine);
    expect([node.state, node.instance?.uuid, machine.running]).toEqual(['active', 'inst-1', 'instance']);
    await expect(ask(world, machine.uuid, 'unstick')).rejects.toMatchObject({ code: 'MACHINE_WRONG_STATE' });
    await world.close();
  });

  it('a machine that was only looked at is never powered off by a cleanup', async () => {
    const { world, machine } = await site({ knobs: { hangs: new Set(['status']) } });
    machine.power = 'on';
    await world.until(machine, 'verifying');
    await world.clock.runFor(5_000);
    world.knobs.hangs.clear();
    await ask(world, machine.uuid, 'unstick');
    await world.until(machine, 'available');
    expect([machine.power, world.calls.filter((call) => call !== 'status')]).toEqual(['on', []]);
    await world.close();
  });
});

describe('adoption', () => {
  const instance = { uuid: 'run-1', name: 'db-1', imageId: 'image-of-somebody' };

  it.each(['at enrolment', 'from manageable', 'from available'] as const)(
    '%s: a running machine is taken over, and only its power is read',
    async (way) => {
      const { world, machine } = await site(
        {},
        way === 'at enrolment' ? { adopt: instance } : way === 'from manageable' ? { target: 'manageable' } : {},
      );
      machine.power = 'on';
      machine.running = 'instance';
      machine.content = IMAGE.sha256; // what the invariants of these tests know as a good disk
      if (way !== 'at enrolment') {
        await world.until(machine, way === 'from available' ? 'available' : 'manageable');
        await adopt(world, machine.uuid, instance);
        await adopt(world, machine.uuid, instance);
      }
      const node = await world.until(machine, 'active');
      expect([node.instance?.uuid, node.instance?.adopted, node.power?.state, node.deployment]).toEqual(['run-1', true, 'on', undefined]);
      expect(new Set(world.calls)).toEqual(new Set(['status']));
      const [daemon] = world.daemons;
      expect((await daemon?.bootView.findMachine(machine.mac))?.boot).toEqual({ kind: 'local-disk' });
      expect(world.violations).toEqual([]);
      await world.close();
    },
  );

  it('an instance that another machine carries, or takes over, is not taken over a second time', async () => {
    const { world, machine } = await site({}, { adopt: instance, target: 'manageable' });
    const other = await world.enrol(2, { target: 'manageable' });
    await world.until(other, 'manageable');
    const taken = { code: 'MACHINE_TAKEN', message: expect.stringContaining('bm-1') };
    await expect(adopt(world, other.uuid, instance)).rejects.toMatchObject(taken);
    await expect(world.enrol(3, { adopt: instance })).rejects.toMatchObject(taken);
    await world.until(machine, 'active');
    await expect(adopt(world, other.uuid, instance)).rejects.toMatchObject(taken);
    await adopt(world, machine.uuid, instance);
    await world.close();
  });

  it('one whose BMC does not answer is not associated, not powered off, and not free', async () => {
    const { world, machine } = await site({}, { target: 'manageable' });
    machine.power = 'on';
    await world.until(machine, 'manageable');
    world.knobs.failures.status = Infinity;
    await adopt(world, machine.uuid, instance);
    await world.until(machine, 'adopting');
    const node = await world.until(machine, 'manageable');
    await world.clock.runFor(3_600_000);
    expect([node.instance, (await world.node(machine)).state, machine.power]).toEqual([undefined, 'manageable', 'on']);
    expect(node.lastFailure).toMatchObject({ instanceUuid: 'run-1', state: 'adopting' });
    await world.close();
  });

  it('a machine with an instance is not adopted, and one that is being adopted takes no instance', async () => {
    const { world, machine } = await inUse();
    await expect(adopt(world, machine.uuid, instance)).rejects.toMatchObject({ code: 'MACHINE_WRONG_STATE' });
    const other = await world.enrol(2, { target: 'manageable' });
    await world.until(other, 'manageable');
    await adopt(world, other.uuid, instance);
    expect(await world.spawn(other, 'x')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('takes over') });
    await world.close();
  });
});

describe('what may be asked', () => {
  it('the wrong state, maintenance and an unknown machine are refused with a code', async () => {
    const { world, machine } = await site();
    await world.until(machine, 'available');
    const node = await world.node(machine);
    expect(verbs.filter((verb) => refuseVerb(node, verb) === undefined)).toEqual(['inspect', 'clean', 'manage']);
    await expect(ask(world, machine.uuid, 'unrescue')).rejects.toMatchObject({
      code: 'MACHINE_WRONG_STATE',
      cure: expect.stringContaining('inspect, clean, manage'),
    });
    await expect(ask(world, 'nobody', 'inspect')).rejects.toMatchObject({ code: 'MACHINE_UNKNOWN' });
    await setMaintenance(world, machine.uuid, true, 'new memory');
    await expect(ask(world, machine.uuid, 'inspect')).rejects.toMatchObject({
      code: 'MACHINE_IN_MAINTENANCE',
      message: expect.stringContaining('new memory'),
    });
    expect(await world.spawn(machine)).toMatchObject({ kind: 'refused', reason: 'bm-1 is in maintenance: new memory' });
    await world.close();
  });

  it('a machine at work for us is not removed', async () => {
    const { world, machine } = await site({ knobs: { ramdisk: 'silent' } });
    await world.until(machine, 'available');
    await ask(world, machine.uuid, 'inspect');
    await world.until(machine, 'inspecting');
    await world.clock.runFor(1_000);
    await expect(unenrol(world, machine.uuid)).rejects.toMatchObject({ code: 'MACHINE_BUSY' });
    await world.close();
  });
});

describe('plan before harm', () => {
  it('says what will be lost, and its hash is good for exactly that', async () => {
    const { world, machine } = await site({}, { rootDiskSerial: 'DISK-1' });
    const node = await world.until(machine, 'available');
    const image = (await world.store.get(imageKind, 'image-1'))?.value;
    const plan = planOf({ verb: 'spawn', imageId: 'image-1' }, node, image);
    expect(plan).toMatchObject({ wipes: true, expectedMinutes: 11 });
    expect(plan.steps).toEqual([
      'power off, whatever runs',
      'boot the deploy ramdisk over the network',
      'WIPE the disk with serial DISK-1',
      'write the image image-1 (4000 bytes)',
      'restart from the disk',
    ]);
    expect(plan.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(planOf({ verb: 'spawn', imageId: 'image-1' }, { ...node, reason: 'x', epoch: 9, owner: 'other' }, image).hash).toBe(plan.hash);
    const request = { uuid: 'i', name: 'i', imageId: 'image-1', approval: { hash: plan.hash } };
    await modify(world.store, nodeKind, machine.uuid, (latest) => ({ ...latest, rootDiskSerial: 'DISK-2' }));
    await expect(spawn(world, machine.uuid, request)).rejects.toMatchObject({ code: 'MACHINE_PLAN_CHANGED' });
    await modify(world.store, nodeKind, machine.uuid, (latest) => ({ ...latest, rootDiskSerial: 'DISK-1' }));
    expect(await spawn(world, machine.uuid, request)).toMatchObject({ kind: 'associated' });
    await world.until(machine, 'active');
    await world.close();
  });

  it('of an instance whose kernel comes over the network says that it starts so', async () => {
    const { world, machine } = await inUse();
    const node = await world.node(machine);
    const image = (await world.store.get(imageKind, 'image-1'))?.value;
    const over = 'restart over the network, with the kernel of the instance';
    const { deployment } = node;
    const kernel = deployment && { ...node, deployment: { ...deployment, image: { ...deployment.image, boot: 'kernel' as const } } };
    expect(planOf({ verb: 'unrescue' }, kernel ?? node).steps.at(-1)).toBe(over);
    expect(planOf({ verb: 'unrescue' }, node).steps.at(-1)).toBe('restart from the disk');
    expect(planOf({ verb: 'rebuild' }, node, image && { ...image, boot: 'kernel' }).steps.at(-1)).toBe(over);
    await world.close();
  });

  it('a verb that wipes needs the hash or a yes; the hash of yesterday does not do', async () => {
    const { world, machine } = await inUse();
    const node = await world.node(machine);
    const image = (await world.store.get(imageKind, 'image-1'))?.value;
    const { hash } = planOf({ verb: 'rebuild' }, node, image);
    await expect(ask(world, machine.uuid, 'rebuild')).rejects.toMatchObject({ code: 'MACHINE_NOT_APPROVED' });
    await expect(ask(world, machine.uuid, 'rebuild', { args: { preserveEphemeral: true }, approval: { hash } })).rejects.toMatchObject({
      code: 'MACHINE_PLAN_CHANGED',
    });
    await ask(world, machine.uuid, 'rebuild', { approval: { hash } });
    await world.until(machine, 'building');
    await world.until(machine, 'active');
    await expect(ask(world, machine.uuid, 'rebuild', { approval: { hash } })).rejects.toMatchObject({ code: 'MACHINE_PLAN_CHANGED' });
    await ask(world, machine.uuid, 'destroy', { approval: YES });
    await world.until(machine, 'available');
    await expect(ask(world, machine.uuid, 'clean')).rejects.toMatchObject({ code: 'MACHINE_NOT_APPROVED' });
    await world.close();
  });

  it('spawn asks for an approval, whoever calls it, and names the disk, the image and the generation in the hash', async () => {
    const { world, machine } = await site({}, { rootDiskSerial: 'DISK-1' });
    const node = await world.until(machine, 'available');
    const image = (await world.store.get(imageKind, 'image-1'))?.value;
    const plan = (of: NodeRecord, imageOf = image) => planOf({ verb: 'spawn', imageId: 'image-1' }, of, imageOf).hash;
    const others = [
      plan({ ...node, rootDiskSerial: 'DISK-2' }),
      plan({ ...node, generation: node.generation + 1 }),
      plan({ ...node, uuid: 'another' }),
      plan(node, image && { ...image, sha256: 'f'.repeat(64) }),
      plan(node, image && { ...image, sizeBytes: 1 }),
    ];
    expect(new Set([plan(node), ...others]).size).toBe(6);
    const request = { uuid: 'i', name: 'i', imageId: 'image-1' };
    // as a caller without types could
    await expect(spawn(world, machine.uuid, request as Parameters<typeof spawn>[2])).rejects.toMatchObject({
      code: 'MACHINE_NOT_APPROVED',
    });
    for (const hash of others)
      await expect(spawn(world, machine.uuid, { ...request, approval: { hash } })).rejects.toMatchObject({ code: 'MACHINE_PLAN_CHANGED' });
    expect((await world.node(machine)).instance).toBeUndefined();
    await world.close();
  });

  it.each(['none', 'metadata', 'full'] as const)(
    'destroy asks for an approval when it cleans the disk by %s',
    async (cleanAfterDestroy) => {
      const { world, machine } = await inUse({ settings: { cleanAfterDestroy } });
      const node = await world.node(machine);
      const hashOf = (mode: typeof cleanAfterDestroy) => planOf({ verb: 'destroy' }, node, undefined, { cleanAfterDestroy: mode }).hash;
      await expect(ask(world, machine.uuid, 'destroy')).rejects.toMatchObject({ code: 'MACHINE_NOT_APPROVED' });
      const other = cleanAfterDestroy === 'full' ? 'none' : 'full';
      const stale = { hash: hashOf(other) };
      await expect(ask(world, machine.uuid, 'destroy', { approval: stale })).rejects.toMatchObject({ code: 'MACHINE_PLAN_CHANGED' });
      expect((await world.node(machine)).request).toBeUndefined();
      await ask(world, machine.uuid, 'destroy', { approval: { hash: hashOf(cleanAfterDestroy) } });
      await world.until(machine, 'available');
      await world.close();
    },
  );

  it.each(['destroy', 'reboot', 'power off', 'inspect', 'rescue', 'unrescue', 'clean', 'rebuild'] as const)(
    '%s has a plan',
    async (verb) => {
      const { world, machine } = await site();
      const plan = planOf({ verb }, await world.until(machine, 'available'));
      expect(plan.steps.length).toBeGreaterThan(0);
      expect(plan.wipes).toBe(plan.steps.some((step) => step.startsWith('WIPE')));
      await world.close();
    },
  );
});

it('the second POST path takes no key in an answer and refuses what it was not started for', async () => {
  const { world, machine } = await site({ knobs: { ramdisk: 'silent' } });
  await world.until(machine, 'available');
  await world.spawn(machine);
  await world.until(machine, 'prepared');
  await world.clock.runUntil(() => machine.ramdisk !== undefined);
  const { key = '' } = machine.ramdisk ?? {};
  const send = (body: unknown) =>
    world.daemons[0]?.helper({
      method: 'POST',
      path: '/v1/ramdisk',
      query: new URLSearchParams(),
      headers: {},
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      remote: { address: machine.address, port: 1 },
      local: { address: '10.0.0.1', port: 10_000 },
      signal: new AbortController().signal,
    });
  const ok = { node: 1, key, facts: { interfaces: [{ name: 'e', mac: machine.mac }] } };
  for (const [body, status] of [
    ['{', 400],
    [{ node: 'x', key }, 400],
    [{ node: 1 }, 400],
    [{ ...ok, facts: { interfaces: [{ name: 'e', mac: 'XX' }] } }, 400],
    [{ ...ok, node: 99 }, 404],
    [{ ...ok, key: new Secret('wrong').reveal() }, 400],
    [ok, 409],
  ] as const) {
    const answer = await world.clock.run(Promise.resolve(send(body)));
    expect([body, answer?.status]).toEqual([body, status]);
    expect(String(answer?.body)).not.toContain(key);
  }
  await world.close();
});
