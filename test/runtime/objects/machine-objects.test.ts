import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { enrol, MemorySecretStore, machineErrors, type NodeRecord, nodeKind, reservationKind } from 'cdk8s-baremetal-runtime/machine/index';
import { MachineObjects } from 'cdk8s-baremetal-runtime/objects/index';
import { MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import { describe, expect, it } from 'vitest';
import { FakeCluster } from './fake-cluster.ts';

const PASSWORD = 'hunter2!';
const properties = { cpuArch: 'x86_64' as const, cpus: 4, memoryMb: 8192, localGb: 100 };
const spec = (n: number, more: object = {}) => ({
  site: 'wuxi2',
  pod: 'pod45',
  interfaces: [{ mac: `52:54:00:00:00:0${n}`, vlan: 1800 }],
  bmc: { address: `10.0.0.${n}`, port: 623, protocol: 'ipmi' as const, credentialsSecretRef: { name: 'rack-1' } },
  properties,
  ...more,
});

class World {
  readonly clock = new VirtualClock();
  readonly random = seededRandom(1);
  readonly store = new MemoryStore();
  readonly secrets = new MemorySecretStore();
  readonly cluster = new FakeCluster(() => this.clock.now());
  readonly users = new Map([['credentials.rack-1', 'admin']]);
  readonly replicas: MachineObjects[] = [];
  readonly logged: string[] = [];
  readonly news: string[] = [];

  async start(memberId = 'mgmt-1'): Promise<MachineObjects> {
    const { clock, random, store, secrets, cluster } = this;
    await secrets.write('credentials.rack-1', new Secret(PASSWORD));
    const log = (...words: unknown[]): number => this.logged.push(JSON.stringify(words));
    const replica = new MachineObjects({
      source: cluster,
      namespace: 'bms',
      site: 'wuxi2',
      pod: 'pod45',
      store,
      secrets,
      clock,
      random,
      logger: { ...silentLogger, info: log, warn: log, debug: log },
      credentialsDirectory: '/etc/baremetal-credentials',
      cipherSuite: '17',
      forgetAfterMs: 600_000,
      memberId: () => memberId,
      onNews: ({ change, object, message, warning }) => this.news.push(`${warning ? 'Warning ' : ''}${change} ${object.name}: ${message}`),
      isAlive: async (member) => member === 'mgmt-1' || member === 'mgmt-2',
      username: async (name) => {
        const user = this.users.get(name);
        if (user === undefined) throw machineErrors.SECRET_UNKNOWN({ name });
        return user;
      },
    });
    replica.start();
    this.replicas.push(replica);
    return replica;
  }

  run(ms = 10_000): Promise<unknown> {
    return this.clock.runFor(ms);
  }

  async node(name: string): Promise<NodeRecord | undefined> {
    return (await this.store.list(nodeKind)).find(({ value }) => value.name === name)?.value;
  }

  async change(name: string, change: Partial<NodeRecord>): Promise<void> {
    const node = await this.node(name);
    await modify(this.store, nodeKind, node?.uuid ?? '', (value) => ({ ...value, ...change }));
  }

  async close(): Promise<void> {
    for (const replica of this.replicas) await this.clock.run(replica.close());
  }
}

async function world(work: (site: World) => Promise<void>): Promise<void> {
  const site = new World();
  try {
    await work(site);
  } finally {
    await site.close();
  }
}

const instance = { uuid: 'i-1', name: 'web', imageId: 'debian', vifs: [], volumes: [], at: 0 };

describe('002-9: machines enrolled by their objects', () => {
  it('enrols with the uid as UUID, the Secret by its name, and writes what it knows', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1, { address: '192.168.50.77' }));
      site.cluster.put('elsewhere', spec(2, { pod: 'pod46' }));
      site.cluster.put('other-site', spec(3, { site: 'wuxi3' }));
      await site.start();
      await site.run();
      const node = await site.node('bm-1');
      expect(node).toMatchObject({
        uuid: site.cluster.get('bm-1').uid,
        interfaces: [{ mac: '52:54:00:00:00:01', address: '192.168.50.77' }],
        bmc: { driver: 'ipmi', address: '10.0.0.1', port: 623, username: 'admin', passwordRef: 'credentials.rack-1' },
        properties,
        state: 'enrolled',
      });
      expect(await site.store.list(nodeKind)).toHaveLength(1);
      expect(site.cluster.get('elsewhere').status).toBeUndefined();
      expect(site.cluster.get('bm-1').status).toMatchObject({
        state: 'enrolled',
        uuid: node?.uuid,
        power: 'unknown',
        observedGeneration: 1,
      });
      expect(site.cluster.condition('bm-1', 'Accepted')).toMatchObject({ status: 'True', observedGeneration: 1 });
      expect(site.cluster.condition('bm-1', 'Ready')).toMatchObject({ status: 'False', reason: 'Enrolled' });
      expect(JSON.stringify([site.cluster.get('bm-1'), site.logged, node])).not.toContain(PASSWORD);
    }));

  it.each<[string, object, string]>([
    ['its MAC address', { bmc: spec(2).bmc }, 'MACHINE_TAKEN'],
    ['its BMC', { interfaces: spec(2).interfaces }, 'MACHINE_TAKEN'],
    [
      'a Secret that is not mounted',
      { ...spec(2), bmc: { ...spec(2).bmc, credentialsSecretRef: { name: 'rack-9' } } },
      'OBJECT_CREDENTIALS',
    ],
    ['a virtual BMC without its URL', { ...spec(2), bmc: { ...spec(2).bmc, protocol: 'virtual' } }, 'API_INVALID'],
    ['a spec that the schema refuses', { ...spec(2), interfaces: [] }, 'OBJECT_INVALID'],
  ])('refuses %s with code and cure, leaves the machine of the API alone, and accepts once that is cured', (_what, wrong, code) =>
    world(async (site) => {
      const bmc = { driver: 'ipmi', address: '10.0.0.1', username: 'root', password: new Secret('secret') } as const;
      const { value: before } = await enrol(site, { name: 'by-api', macs: ['52:54:00:00:00:01'], properties, bmc });
      site.cluster.put('bm', { ...spec(1), ...wrong });
      await site.start();
      await site.run();
      expect(site.cluster.condition('bm', 'Accepted')).toMatchObject({
        status: 'False',
        reason: code,
        message: expect.stringMatching(/\. \S.*\.$/),
      });
      expect(site.cluster.condition('bm', 'Ready')).toMatchObject({ status: 'False', reason: 'NotEnrolled' });
      expect(await site.node('by-api')).toEqual(before);
      expect(await site.store.list(nodeKind)).toHaveLength(1);
      const { length } = site.cluster.writes;
      await site.run(600_000);
      expect(site.cluster.writes).toHaveLength(length); // told once
      site.cluster.put('bm', spec(2));
      await site.run();
      expect(site.cluster.condition('bm', 'Accepted')?.status).toBe('True');
      expect(await site.node('bm')).toBeDefined();
    }),
  );

  it('accepts by itself what was refused, once the Secret is mounted', () =>
    world(async (site) => {
      site.users.clear();
      site.cluster.put('bm-1', spec(1));
      await site.start();
      await site.run();
      expect(site.cluster.condition('bm-1', 'Accepted')?.reason).toBe('OBJECT_CREDENTIALS');
      site.users.set('credentials.rack-1', 'admin');
      await site.run(70_000);
      expect(site.cluster.condition('bm-1', 'Accepted')?.status).toBe('True');
      site.users.set('credentials.rack-1', 'operator'); // the Secret's user name is followed
      await site.run(70_000);
      expect((await site.node('bm-1'))?.bmc.username).toBe('operator');
    }));

  it('two replicas: one machine, its reservations whole, the status by the owner alone', () =>
    world(async (site) => {
      for (let n = 1; n <= 6; n++) site.cluster.put(`bm-${n}`, spec(n));
      await site.start('mgmt-1');
      await site.start('mgmt-2');
      await site.run(30_000);
      expect(await site.store.list(nodeKind)).toHaveLength(6);
      const reserved = (await site.store.list(reservationKind)).map(({ id }) => id.split('.')[0]);
      for (const what of ['mac', 'bmc', 'name', 'number']) expect(reserved.filter((one) => one === what)).toHaveLength(6);
      await site.change('bm-1', { owner: 'mgmt-2', epoch: 1 });
      await site.run();
      const before = site.cluster.writes.length;
      for (let n = 0; n < 100; n++) {
        await site.change('bm-1', { reason: `step ${n}` });
        await site.run(1_000);
      }
      const writes = site.cluster.writes.slice(before);
      expect(writes.every(({ name }) => name === 'bm-1')).toBe(true);
      expect(writes.length).toBeGreaterThanOrEqual(15);
      expect(writes.length).toBeLessThanOrEqual(21); // one in 5 s
      await site.run();
      expect(site.cluster.get('bm-1').status).toMatchObject({ reason: 'step 99', owner: 'mgmt-2', epoch: 1 });
    }));
});

describe('news of objects, for events and metrics', () => {
  const uuid = '00000000-0000-4000-8000-000000000001';

  it('enrolled, corrected, held, let go, withdrawn: each once, and the first spec is no correction', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1, { address: '192.168.50.77', maintenance: true }));
      const replica = await site.start();
      await site.run();
      expect(site.news.splice(0)).toEqual([`Enrolled bm-1: enrolled as the machine ${uuid}`]);
      expect(replica.summary).toEqual({ objects: 1, refused: 0, reading: true });
      site.cluster.put('bm-1', spec(1, { properties: { ...properties, cpus: 8 } }));
      await site.run();
      expect(site.news.splice(0)).toEqual([
        "Corrected bm-1: generation 2 of the spec has changed the machine's interfaces, properties, maintenance",
      ]);
      site.cluster.put('bm-1', spec(1, { properties: { ...properties, cpus: 8 }, interfaces: [{ mac: '52:54:00:00:00:01', vlan: 401 }] }));
      await site.run();
      expect(site.news.splice(0)).toEqual([]); // nothing that concerns the machine
      site.users.set('credentials.rack-1', 'operator');
      await site.run(70_000);
      expect(site.news.splice(0)).toEqual(['Corrected bm-1: the user of its BMC is operator now, as its Secret says']);
      site.cluster.remove('bm-1');
      await site.run();
      expect(site.news.splice(0)).toEqual([
        'Warning Held bm-1: the object was deleted: its machine is held in maintenance, and its record removed after 600 s, once nothing is under way',
      ]);
      site.cluster.put('bm-1', spec(1, { properties: { ...properties, cpus: 8 } }));
      await site.run();
      expect(site.news.splice(0)).toEqual(['Released bm-1: the object is there again, and its machine is no longer held']);
      site.cluster.remove('bm-1');
      await site.run(700_000);
      expect(site.news.splice(0).slice(1)).toEqual(['Withdrawn bm-1: the object was deleted, and the record of its machine is removed']);
      expect(replica.summary).toEqual({ objects: 0, refused: 0, reading: true });
    }));

  it('a refusal has code and cure, is told once while it stays the same, and counts; so does an API server that is away', () =>
    world(async (site) => {
      site.users.clear();
      site.cluster.put('bm-1', spec(1));
      site.cluster.put('bm-2', spec(2, { interfaces: [] }));
      const replica = await site.start();
      await site.run(600_000);
      expect(site.news).toHaveLength(2);
      expect(site.news[0]).toMatch(
        /^Warning Refused bm-1: OBJECT_CREDENTIALS: the Secret rack-1 .* is not mounted .*\. Create the Secret rack-1 .*\.$/,
      );
      expect(site.news[1]).toMatch(/^Warning Refused bm-2: OBJECT_INVALID: .*spec\.interfaces.*kubectl apply -f crds/);
      expect(replica.summary).toEqual({ objects: 2, refused: 2, reading: true });
      site.cluster.goAway();
      await site.run(1_000);
      expect(replica.summary).toEqual({ objects: 2, refused: 2, reading: false });
      site.cluster.away = false;
      await site.run(60_000);
      expect([replica.summary.reading, site.news.length]).toEqual([true, 2]);
    }));

  it('a machine that is deleted with its instance says what it waits for', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1));
      await site.start();
      await site.run();
      await site.change('bm-1', { state: 'active', instance });
      site.cluster.remove('bm-1');
      await site.run();
      expect(site.news.at(-1)).toContain(
        'held in maintenance with its instance web, until the object is made again or the instance is deleted',
      );
    }));
});

describe('changes of the spec', () => {
  it('apply interfaces, BMC and sizes, by the way of the API; what the API corrected stays until then', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1));
      await site.start();
      await site.run();
      await site.change('bm-1', { properties: { ...properties, cpus: 8 } });
      await site.run(120_000);
      expect((await site.node('bm-1'))?.properties.cpus).toBe(8);
      const interfaces = [{ mac: '52:54:00:00:00:09' }, { mac: '52:54:00:00:00:01' }];
      site.cluster.put('bm-1', spec(1, { interfaces, bmc: { ...spec(7).bmc, protocol: 'redfish' }, maintenance: true }));
      await site.run();
      expect(await site.node('bm-1')).toMatchObject({
        interfaces,
        bmc: { driver: 'redfish', address: '10.0.0.7', port: 443 },
        properties: { cpus: 4 },
        maintenance: true,
      });
      expect((await site.store.list(reservationKind)).map(({ id }) => id)).toEqual([
        'bmc.10.0.0.7_443',
        'mac.52:54:00:00:00:01',
        'mac.52:54:00:00:00:09',
        'name.bm-1',
        'number.1',
      ]);
      expect(site.cluster.condition('bm-1', 'Ready')?.reason).toBe('Maintenance');
      site.cluster.put('bm-1', spec(1));
      await site.run();
      expect(await site.node('bm-1')).toMatchObject({ maintenance: false, interfaces: [{ mac: '52:54:00:00:00:01' }] });
      expect(site.cluster.get('bm-1').status?.observedGeneration).toBe(3);
    }));

  it('interfaces of a machine under deployment are refused, and changed when it has ended', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1));
      await site.start();
      await site.run();
      await site.change('bm-1', { state: 'deploying', instance });
      site.cluster.put('bm-1', spec(1, { interfaces: [{ mac: '52:54:00:00:00:08' }] }));
      await site.run();
      expect(site.cluster.condition('bm-1', 'Accepted')).toMatchObject({ status: 'False', reason: 'API_DEPLOYING', observedGeneration: 2 });
      await site.change('bm-1', { state: 'active' });
      await site.run(70_000);
      expect((await site.node('bm-1'))?.interfaces).toEqual([{ mac: '52:54:00:00:00:08' }]);
      expect(site.cluster.condition('bm-1', 'Accepted')?.status).toBe('True');
    }));
});

describe('deletion of an object', () => {
  it('with an instance: held, for as long as it may be; made again under its name: let go', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1));
      await site.start();
      await site.run();
      await site.change('bm-1', { state: 'active', instance });
      const before = await site.node('bm-1');
      site.cluster.remove('bm-1');
      await site.run(86_400_000);
      expect(await site.node('bm-1')).toEqual({ ...before, maintenance: true, maintenanceReason: 'its BareMetalNode object was deleted' });
      site.cluster.put('bm-1', spec(1));
      await site.run();
      expect(await site.node('bm-1')).toMatchObject({ uuid: before?.uuid, maintenance: false, state: 'active', instance });
      expect(site.cluster.get('bm-1').status).toMatchObject({ state: 'active', instance: { uuid: 'i-1', name: 'web' } });
    }));

  it('without one: held at once, its record removed after a while', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1));
      await site.start();
      await site.run();
      site.cluster.remove('bm-1');
      await site.run();
      expect(await site.node('bm-1')).toMatchObject({ maintenance: true });
      await site.run(700_000);
      expect(await site.store.list(nodeKind)).toEqual([]);
      expect(await site.store.list(reservationKind)).toEqual([]);
    }));

  it('nobody concludes anything while the API server is away or has forgotten; what went meanwhile is noticed', () =>
    world(async (site) => {
      site.cluster.put('bm-1', spec(1));
      site.cluster.put('bm-2', spec(2));
      await site.start();
      await site.run();
      site.cluster.goAway();
      site.cluster.remove('bm-1');
      await site.run(3_600_000);
      expect((await site.node('bm-1'))?.maintenance).toBe(false);
      site.cluster.away = false;
      await site.run(40_000);
      expect([(await site.node('bm-1'))?.maintenance, (await site.node('bm-2'))?.maintenance]).toEqual([true, false]);
      site.cluster.remove('bm-2');
      site.cluster.forget();
      await site.run(5_000);
      expect((await site.node('bm-2'))?.maintenance).toBe(true);
    }));
});
