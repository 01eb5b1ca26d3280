import { MemoryCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import {
  clearFault,
  decideRemedy,
  defaultRemedyPolicy,
  type NodeRecord,
  nodeKind,
  PowerSync,
  type PowerSyncOptions,
  Reconciler,
  remedyBudgetKind,
  reportFault,
  setMaintenance,
} from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { slowLists } from '../../../support/slow-lists.ts';
import { World } from '../world.ts';

const MINUTE = 60_000;

function record(number: number, more: Partial<NodeRecord> = {}): NodeRecord {
  return nodeKind.parse({
    uuid: `uuid-${number}`,
    name: `bm-${number}`,
    number,
    interfaces: [{ mac: `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}` }],
    properties: { cpus: 8, memoryMb: 32_768, localGb: 500, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: `10.0.${number >> 8}.${number & 255}`, username: 'u', passwordRef: 'p' },
    state: 'active',
    stateSince: 0,
    reason: '',
    power: { state: 'on', at: 0 },
    instance: { uuid: `i${number}`, name: `i${number}`, imageId: 'm', at: 0 },
    ...more,
  });
}

/** A quarantined machine cannot be reported; anything else is a failure of the test. */
function inMaintenance(error: unknown): void {
  expect(error).toMatchObject({ code: 'MACHINE_IN_MAINTENANCE' });
}

class Fleet {
  readonly clock = new VirtualClock();
  readonly store = new MemoryStore();
  readonly coordination = new MemoryCoordination({ clock: this.clock });
  readonly powers = new Map<string, 'on' | 'off'>();
  readonly unreachable = new Set<string>();
  readonly commands: string[] = [];
  readonly lookedAt: { node: string; at: number }[] = [];
  stores = 0;
  atOnce = 0;
  mostAtOnce = 0;

  async enrol(count: number, more: (number: number) => Partial<NodeRecord> = () => ({})): Promise<void> {
    for (let number = 1; number <= count; number++) {
      const node = record(number, more(number));
      await this.store.create(nodeKind, node.uuid, node);
      this.powers.set(node.uuid, node.power?.state ?? 'off');
    }
    this.store.watch(nodeKind, () => void this.stores++);
  }

  async start(options: Partial<PowerSyncOptions> = {}, name = 'mgmt-1') {
    const { clock, store, coordination } = this;
    const unused = async () => {
      throw new Error('not in these tests');
    };
    const switched = (state: 'on' | 'off') => async (node: NodeRecord) => {
      if (this.unreachable.has(node.uuid)) throw new Error('no answer');
      this.commands.push(`${node.name} ${state}`);
      this.powers.set(node.uuid, state);
    };
    const power = {
      status: async (node: NodeRecord, signal: AbortSignal) => {
        this.lookedAt.push({ node: node.name, at: clock.now() });
        this.atOnce += 1;
        this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce);
        try {
          await sleep(clock, this.unreachable.has(node.uuid) ? 1e9 : 20, signal);
          return this.powers.get(node.uuid) ?? 'off';
        } finally {
          this.atOnce -= 1;
        }
      },
      ensureOn: switched('on'),
      ensureOff: switched('off'),
      softOff: async (node: NodeRecord) => void this.commands.push(`${node.name} soft`),
      setBootDevice: unused,
    };
    const reconciler = new Reconciler({
      store,
      coordination,
      memberName: name,
      clock,
      random: seededRandom(1),
      logger: silentLogger,
      ports: {
        power,
        vifs: { plug: unused, unplug: unused },
        volumes: { attach: unused, detach: unused, attachVolume: unused, detachVolume: unused },
        firewall: { start: unused, stop: unused },
        images: { cache: unused, cacheRamdisk: unused, release: unused },
        bootloader: { activate: unused, switchToBoot: unused, deactivate: unused },
        deployer: { identify: unused, write: unused, erase: unused },
        notifier: { done: unused },
        secrets: { read: unused, write: unused, remove: unused },
      },
    });
    const sync = new PowerSync({
      store,
      clock,
      logger: silentLogger,
      power,
      owner: reconciler,
      isAlive: (id) => coordination.isAlive(id),
      ...options,
    });
    await clock.run(reconciler.start());
    await clock.run(sync.start());
    return { sync, reconciler };
  }

  async node(number: number): Promise<NodeRecord> {
    const found = await this.store.get(nodeKind, `uuid-${number}`);
    if (found === undefined) throw new Error('gone');
    return found.value;
  }
}

describe('power sync', () => {
  it('looks at each machine once per interval, spread evenly, a few at a time, and writes nothing when nothing changed', async () => {
    const fleet = new Fleet();
    await fleet.enrol(1_200);
    const { sync } = await fleet.start({ concurrency: 8 });
    await fleet.clock.runFor(MINUTE);
    expect(sync.stats).toMatchObject({ looks: 1_200, claims: 1_200, writes: 0, late: 0 });
    const claims = fleet.stores;
    fleet.lookedAt.length = 0;
    await fleet.clock.runFor(10 * MINUTE);
    expect([fleet.lookedAt.length, sync.stats.writes, fleet.stores - claims]).toEqual([12_000, 0, 0]);
    expect(fleet.mostAtOnce).toBeLessThanOrEqual(8);
    const perSecond = new Map<number, number>();
    for (const { at } of fleet.lookedAt) perSecond.set(Math.floor(at / 1000), (perSecond.get(Math.floor(at / 1000)) ?? 0) + 1);
    expect(Math.max(...perSecond.values())).toBeLessThan(60); // 20 on average
    await fleet.clock.run(sync.close());
  });

  it('of two replicas each looks at its own, and the survivor at all', async () => {
    const fleet = new Fleet();
    await fleet.enrol(100);
    const first = await fleet.start({}, 'mgmt-1');
    await fleet.clock.runFor(30_000);
    const second = await fleet.start({}, 'mgmt-2');
    await fleet.clock.runFor(2 * MINUTE);
    fleet.lookedAt.length = 0;
    await fleet.clock.runFor(5 * MINUTE);
    expect(fleet.lookedAt.length).toBe(500);
    const { memberId = '' } = first.reconciler;
    await fleet.clock.run(first.sync.close());
    fleet.coordination.crash(memberId);
    await fleet.clock.runFor(3 * MINUTE);
    fleet.lookedAt.length = 0;
    await fleet.clock.runFor(2 * MINUTE);
    expect([fleet.lookedAt.length, (await fleet.node(7)).owner]).toEqual([200, second.reconciler.memberId]);
    await fleet.clock.run(second.sync.close());
  });

  it('what changes or goes while the fleet is read for the first time is known as it is now', async () => {
    const fleet = new Fleet();
    const { clock, store, coordination } = fleet;
    const other = await coordination.join('mgmt-2');
    await fleet.enrol(2, (number) => ({ owner: other.id, state: number === 1 ? 'deploying' : 'active' }));
    clock.after(500, async () => {
      await modify(store, nodeKind, 'uuid-1', (node) => ({ ...node, state: 'active' as const }));
      const gone = await store.get(nodeKind, 'uuid-2');
      if (gone) await store.delete(nodeKind, gone, gone.version);
    });
    const { sync } = await fleet.start({ store: slowLists(store, () => sleep(clock, 1_000)) });
    expect(sync.fleet.total).toBe(1);
    await other.leave();
    await clock.runFor(2 * MINUTE);
    expect(new Set(fleet.lookedAt.map(({ node }) => node))).toEqual(new Set(['bm-1']));
    await clock.run(sync.close());
  });

  it('record-follows-bmc: the record and its timeline', async () => {
    const fleet = new Fleet();
    await fleet.enrol(3);
    const { sync } = await fleet.start();
    await fleet.clock.runFor(MINUTE);
    fleet.powers.set('uuid-2', 'off');
    await fleet.clock.runFor(5 * MINUTE);
    const node = await fleet.node(2);
    expect([node.power?.state, node.timeline.map(({ type, detail, count }) => [type, detail, count])]).toEqual([
      'off',
      [['power changed', 'on on record, off by the BMC', 1]],
    ]);
    expect([sync.stats.writes, fleet.commands]).toEqual([1, []]);
    await fleet.clock.run(sync.close());
  });

  it.each(['record-follows-bmc', 'bmc-follows-record'] as const)(
    '%s: an answer from before a verb that has ended meanwhile says nothing of what the verb has left',
    async (policy) => {
      const fleet = new Fleet();
      await fleet.enrol(1);
      const { clock, store } = fleet;
      let looks = 0;
      const status = async (node: NodeRecord, signal: AbortSignal) => {
        const state = fleet.powers.get(node.uuid) ?? 'off';
        if (++looks === 1)
          clock.after(2_000, () => {
            fleet.powers.set(node.uuid, 'off');
            void modify(store, nodeKind, node.uuid, (latest) => ({ ...latest, power: { state: 'off' as const, at: clock.now() } }));
          });
        await sleep(clock, 5_000, signal);
        return state;
      };
      const { sync } = await fleet.start({ policy, power: { status } });
      await clock.runFor(5 * MINUTE);
      const { power, timeline, fault } = await fleet.node(1);
      expect([power?.state, timeline, fault]).toEqual(['off', [], undefined]);
      await clock.run(sync.close());
    },
  );

  it('report: the timeline once, and nothing else', async () => {
    const fleet = new Fleet();
    await fleet.enrol(1);
    const { sync } = await fleet.start({ policy: 'report' });
    await fleet.clock.runFor(MINUTE);
    fleet.powers.set('uuid-1', 'off');
    await fleet.clock.runFor(10 * MINUTE);
    const node = await fleet.node(1);
    expect([node.power?.state, node.timeline.length, node.timeline[0]?.count, sync.stats.writes, fleet.commands]).toEqual([
      'on',
      1,
      1,
      1,
      [],
    ]);
    fleet.powers.set('uuid-1', 'on');
    await fleet.clock.runFor(2 * MINUTE);
    fleet.powers.set('uuid-1', 'off');
    await fleet.clock.runFor(2 * MINUTE);
    expect((await fleet.node(1)).timeline[0]?.count).toBe(2);
    await fleet.clock.run(sync.close());
  });

  it('bmc-follows-record: a machine in use is powered on again after a while, a free one is left', async () => {
    const fleet = new Fleet();
    await fleet.enrol(100, (number) => (number === 2 ? { state: 'available', instance: undefined } : {}));
    const { sync, reconciler } = await fleet.start({ policy: 'bmc-follows-record' });
    await fleet.clock.runFor(MINUTE);
    fleet.powers.set('uuid-1', 'off');
    fleet.powers.set('uuid-2', 'off');
    await fleet.clock.runFor(2 * MINUTE);
    expect(fleet.commands).toEqual([]);
    expect((await fleet.node(1)).fault).toMatchObject({ kind: 'power lost' });
    await fleet.clock.runFor(10 * MINUTE);
    expect(fleet.commands).toEqual(['bm-1 on']);
    const node = await fleet.node(1);
    expect([node.fault, node.power?.state, (await fleet.node(2)).power?.state]).toEqual([undefined, 'on', 'off']);
    await fleet.clock.run(sync.close());
    await fleet.clock.run(reconciler.close());
  });

  it('bmc-follows-record: one that was switched off by a verb and on by somebody is switched off again', async () => {
    const fleet = new Fleet();
    await fleet.enrol(100, (number) => (number === 1 ? { power: { state: 'off', at: 0 } } : {}));
    const { sync } = await fleet.start({ policy: 'bmc-follows-record' });
    await fleet.clock.runFor(MINUTE);
    fleet.powers.set('uuid-1', 'on');
    await fleet.clock.runFor(10 * MINUTE);
    expect(fleet.commands).toEqual(['bm-1 off']);
    await fleet.clock.run(sync.close());
  });

  it('a BMC that does not answer is a fault after three looks, written once, and no reason for a power command', async () => {
    const fleet = new Fleet();
    await fleet.enrol(100);
    const { sync } = await fleet.start({ remedies: { graceMs: 1e12, patienceMs: 1e12 } });
    await fleet.clock.runFor(MINUTE);
    fleet.unreachable.add('uuid-5');
    await fleet.clock.runFor(150_000);
    expect((await fleet.node(5)).fault).toBeUndefined();
    await fleet.clock.runFor(20 * MINUTE);
    expect((await fleet.node(5)).fault).toMatchObject({ kind: 'bmc unreachable', reason: 'no answer within 15 s' });
    expect([sync.stats.writes, sync.fleet]).toEqual([1, { total: 100, faulty: 1, outage: false }]);
    fleet.unreachable.clear();
    await fleet.clock.runFor(2 * MINUTE);
    const node = await fleet.node(5);
    expect([node.fault, node.timeline.map(({ type }) => type), sync.fleet.faulty]).toEqual([
      undefined,
      ['BMC unreachable', 'BMC reachable again'],
      0,
    ]);
    await fleet.clock.run(sync.close());
  });

  it('a machine at work for us is not looked at, and one in maintenance is not remedied', async () => {
    const fleet = new Fleet();
    await fleet.enrol(60, (number) => (number === 1 ? { step: 'reboot', maintenance: true } : {}));
    const { sync } = await fleet.start();
    await fleet.clock.runFor(5 * MINUTE);
    expect(fleet.lookedAt.some(({ node }) => node === 'bm-1')).toBe(false);
    await reportFault(fleet, 'uuid-2', 'kubelet is silent');
    await setMaintenance(fleet, 'uuid-2', true);
    await fleet.clock.runFor(3 * 60 * MINUTE);
    expect(fleet.commands).toEqual([]);
    await fleet.clock.run(sync.close());
  });
});

describe('graded remediation', () => {
  it('retry, soft reset, power cycle, quarantine: each when the one before has had its time', async () => {
    const fleet = new Fleet();
    await fleet.enrol(100);
    const { sync, reconciler } = await fleet.start();
    await fleet.clock.runFor(MINUTE);
    await reportFault(fleet, 'uuid-9', 'kubelet is silent');
    await reportFault(fleet, 'uuid-9', 'kubelet is silent');
    await fleet.clock.runFor(2 * MINUTE);
    expect(fleet.commands).toEqual([]);
    await fleet.clock.runFor(10 * MINUTE);
    expect(fleet.commands).toEqual(['bm-9 soft', 'bm-9 off', 'bm-9 on']);
    fleet.commands.length = 0;
    await fleet.clock.runFor(15 * MINUTE);
    expect(fleet.commands).toEqual(['bm-9 off', 'bm-9 on']);
    await fleet.clock.runFor(20 * MINUTE);
    const node = await fleet.node(9);
    expect([node.maintenance, node.maintenanceReason]).toEqual([true, 'quarantined: unhealthy: kubelet is silent']);
    expect(node.timeline.map(({ type }) => type)).toEqual([
      'reported unhealthy',
      'remedy: soft reset',
      'remedy: power cycle',
      'remedy: quarantine',
    ]);
    fleet.commands.length = 0;
    await fleet.clock.runFor(24 * 60 * MINUTE);
    expect(fleet.commands).toEqual([]);
    // whoever takes it out of quarantine has looked at it: it is neither sent back at once nor restarted
    await setMaintenance(fleet, 'uuid-9', false);
    await fleet.clock.runFor(60 * MINUTE);
    const { fault, maintenance, timeline } = await fleet.node(9);
    expect([fault, maintenance, timeline.at(-1)?.type, fleet.commands]).toEqual([undefined, false, 'reported well', []]);
    await fleet.clock.run(sync.close());
    await fleet.clock.run(reconciler.close());
  });

  it('one that is well again before its time is left alone, and its next fault begins at the first grade', async () => {
    const fleet = new Fleet();
    await fleet.enrol(100);
    const { sync } = await fleet.start();
    await reportFault(fleet, 'uuid-9', 'slow');
    await fleet.clock.runFor(2 * MINUTE);
    await clearFault(fleet, 'uuid-9');
    await fleet.clock.runFor(60 * MINUTE);
    expect([fleet.commands, (await fleet.node(9)).fault]).toEqual([[], undefined]);
    // a fault that was found is not the reporter's to end
    fleet.unreachable.add('uuid-8');
    await fleet.clock.runFor(10 * MINUTE);
    const found = (await fleet.node(8)).fault;
    await clearFault(fleet, 'uuid-8');
    expect([found?.kind, (await fleet.node(8)).fault]).toEqual(['bmc unreachable', found]);
    await fleet.clock.run(sync.close());
  });

  it('machines that were quarantined and wait for a person are no outage: the next one is helped', async () => {
    const fleet = new Fleet();
    await fleet.enrol(20);
    const { sync, reconciler } = await fleet.start();
    for (const number of [1, 2, 3]) {
      fleet.unreachable.add(`uuid-${number}`);
      await fleet.clock.runFor(20 * MINUTE);
      expect((await fleet.node(number)).maintenanceReason).toContain('quarantined: bmc unreachable');
    }
    expect(sync.fleet).toEqual({ total: 20, faulty: 3, outage: false });
    await reportFault(fleet, 'uuid-9', 'kubelet is silent');
    await fleet.clock.runFor(10 * MINUTE);
    expect(fleet.commands).toContain('bm-9 soft');
    await fleet.clock.run(sync.close());
    await fleet.clock.run(reconciler.close());
  });

  it('an outage of the management network restarts and quarantines nothing, however long it lasts', async () => {
    const fleet = new Fleet();
    await fleet.enrol(300);
    const { sync, reconciler } = await fleet.start({ policy: 'bmc-follows-record' });
    await fleet.clock.runFor(2 * MINUTE);
    for (let number = 1; number <= 300; number++) fleet.unreachable.add(`uuid-${number}`);
    await fleet.clock.runFor(3 * 60 * MINUTE);
    expect(sync.fleet.outage).toBe(true);
    expect(sync.stats.held).toBeGreaterThan(0);
    fleet.unreachable.clear();
    await fleet.clock.runFor(10 * MINUTE);
    const nodes = (await fleet.store.list(nodeKind)).map(({ value }) => value);
    expect([fleet.commands, nodes.filter(({ maintenance, fault }) => maintenance || fault !== undefined).length]).toEqual([[], 0]);
    await fleet.clock.run(sync.close());
    await fleet.clock.run(reconciler.close());
  });

  it('a rack that lost its power is not restarted all at once, and a few faults only within the budget of the pod', async () => {
    const fleet = new Fleet();
    await fleet.enrol(200);
    const replicas = [await fleet.start({}, 'mgmt-1'), await fleet.start({}, 'mgmt-2')];
    await fleet.clock.runFor(2 * MINUTE);
    for (let number = 1; number <= 9; number++) await reportFault(fleet, `uuid-${number}`, 'kubelet is silent');
    await fleet.clock.runFor(9 * MINUTE);
    const restarted = () => new Set(fleet.commands.map((command) => command.split(' ')[0])).size;
    expect(restarted()).toBe(3); // of nine, by two replicas
    expect((await fleet.store.get(remedyBudgetKind, 'pod'))?.value.spent).toHaveLength(3);
    for (let number = 10; number <= 30; number++) await reportFault(fleet, `uuid-${number}`, 'kubelet is silent');
    fleet.commands.length = 0;
    await fleet.clock.runFor(60 * MINUTE);
    expect(restarted()).toBe(0); // thirty of two hundred at once: not theirs
    for (const { sync, reconciler } of replicas) {
      await fleet.clock.run(sync.close());
      await fleet.clock.run(reconciler.close());
    }
  });

  it('whatever the faults of a fleet, never more than the budget within any window, and none in an outage', async () => {
    const runs = Math.min(30, Math.max(5, Math.floor(Number(process.env.FUZZ_RUNS ?? 500) / 100)));
    for (let seed = 0; seed < runs; seed++) {
      const random = seededRandom(`faults ${seed}`);
      const pick = (limit: number): number => (random.bytes(1)[0] ?? 0) % limit;
      const fleet = new Fleet();
      await fleet.enrol(80);
      const { sync, reconciler } = await fleet.start({ policy: pick(2) === 0 ? 'bmc-follows-record' : 'record-follows-bmc' });
      const acts: number[] = [];
      fleet.store.watch(remedyBudgetKind, (event) => {
        if (event.type === 'put') acts.push(event.record.value.spent.at(-1)?.at ?? 0);
      });
      for (let step = 0; step < 12; step++) {
        const id = `uuid-${1 + pick(80)}`;
        const what = pick(5);
        if (what === 0) fleet.powers.set(id, 'off');
        else if (what === 1) fleet.unreachable.add(id);
        else if (what === 2) fleet.unreachable.clear();
        else if (what === 3) await reportFault(fleet, id, 'unwell').catch(inMaintenance);
        else for (let number = 1; number <= 80; number++) fleet.unreachable.add(`uuid-${number}`);
        await fleet.clock.runFor(pick(30) * MINUTE);
      }
      for (const at of acts)
        expect(acts.filter((other) => other >= at && other < at + defaultRemedyPolicy.windowMs).length).toBeLessThanOrEqual(3);
      await fleet.clock.run(sync.close());
      await fleet.clock.run(reconciler.close());
    }
  });

  it('is decided by nothing but its arguments, and waits before it harms', () => {
    const kinds = fc.constantFrom('bmc unreachable' as const, 'power lost' as const, 'unhealthy' as const);
    fc.assert(
      fc.property(kinds, fc.nat(200), fc.nat(200), fc.nat(5), fc.nat(3_600_000), fc.nat(3), (kind, total, faulty, spent, age, tried) => {
        const remedies = Array.from({ length: tried }, () => ({ remedy: 'soft reset' as const, at: 0 }));
        const fault = { kind, reason: '', since: 0, remedies };
        const decision = decideRemedy(record(1, { fault }), fault, { total, faulty, spent }, defaultRemedyPolicy, age);
        if (decision.kind === 'wait' || decision.kind === 'hold') return;
        expect(age).toBeGreaterThanOrEqual(defaultRemedyPolicy.patienceMs);
        expect(spent).toBeLessThan(defaultRemedyPolicy.budget);
        expect(faulty >= 3 && faulty >= total * 0.05).toBe(false);
        if (kind === 'bmc unreachable') expect(decision.kind).toBe('quarantine');
      }),
    );
  });
});

it('a whole life beside the power sync: nothing is disturbed', async () => {
  const world = new World();
  const machine = await world.enrol();
  const { reconciler } = world.daemon();
  await world.until(machine, 'available');
  const sync = new PowerSync({
    store: world.store,
    clock: world.clock,
    logger: silentLogger,
    power: { status: async (node) => world.machines.get(node.uuid)?.power ?? 'off' },
    owner: reconciler,
    isAlive: (id) => world.coordination.isAlive(id),
    policy: 'bmc-follows-record',
    intervalMs: 1_000,
  });
  await sync.start();
  await world.spawn(machine);
  await world.until(machine, 'active');
  await world.clock.runFor(10 * MINUTE);
  expect([world.violations, machine.running, (await world.node(machine)).fault]).toEqual([[], 'instance', undefined]);
  await world.clock.run(sync.close());
  await world.close();
});
