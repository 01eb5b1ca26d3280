/** The API's first form: machines as people see them, and why they boot what they boot. */

import { explain } from 'cdk8s-baremetal-runtime/api/explain';
import { type Explanation, nodeTimeline } from 'cdk8s-baremetal-runtime/api/index';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { type NodeRecord, type NodeState, nodeKind, nodeStates, observe } from 'cdk8s-baremetal-runtime/machine/index';
import type { Kind } from 'cdk8s-baremetal-runtime/store/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Machine, World } from '../machine/world.ts';
import { type Ask, asker } from './ask.ts';

let world: World;
let machine: Machine;
let ask: Ask;
let notReady: string | undefined;

beforeEach(async () => {
  world = new World();
  machine = await world.clock.run(world.enrol(1));
  const daemon = world.daemon();
  await world.clock.run(daemon.started);
  await world.until(machine, 'available');
  notReady = undefined;
  ask = asker({
    store: world.store,
    clock: world.clock,
    logger: silentLogger,
    machines: daemon.bootView,
    bootSettings: {},
    leaseOfMac: (mac) => (mac === machine.mac ? { mac, address: machine.address } : undefined),
    notReady: () => notReady,
  });
});
afterEach(() => world.close());

/** The record in another state, without living through the way to it. */
async function put(change: (node: NodeRecord) => NodeRecord): Promise<void> {
  await world.close(); // nobody works on it any more
  const record = await world.store.get(nodeKind, machine.uuid);
  if (!record) throw new Error('the record is gone');
  await world.store.update(nodeKind, { id: record.id, value: change(record.value) }, record.version);
}

describe('health', () => {
  it('is alive at once, and ready when machines are looked after', async () => {
    notReady = 'machines are being looked at for the first time';
    expect((await ask('/healthz')).status).toBe(200);
    expect(await ask('/readyz')).toMatchObject({ status: 503, text: 'machines are being looked at for the first time\n' });
    notReady = undefined;
    expect((await ask('/readyz')).status).toBe(200);
  });
});

describe('machines', () => {
  it('are listed by number', async () => {
    await world.clock.run(world.enrol(3));
    await world.clock.run(world.enrol(2));
    const { json } = await ask('/v1/nodes');
    expect(json).toMatchObject({
      nodes: [
        { number: 1, name: 'bm-1' },
        { number: 2, name: 'bm-3' },
        { number: 3, name: 'bm-2' },
      ],
    });
  });

  it('are listed although one record cannot be read', async () => {
    const raw: Kind<unknown> = { name: nodeKind.name, parse: (value) => value };
    await world.store.create(raw, 'from-a-newer-version', { shape: 'unknown' });
    const { status, json } = await ask('/v1/nodes');
    expect(status).toBe(200);
    expect(json).toMatchObject({ nodes: [{ name: 'bm-1' }] });
  });

  it.each([
    ['UUID', () => machine.uuid],
    ['number', () => '1'],
    ['name', () => 'bm-1'],
    ['MAC address', () => machine.mac],
    ['MAC address with dashes, in capitals', () => machine.mac.replaceAll(':', '-').toUpperCase()],
  ])('are found by %s', async (_, key) => {
    for (const path of ['/v1/nodes/:key', '/v1/nodes/:key/timeline', '/v1/explain/:key']) {
      const { status, text } = await ask(path.replace(':key', key()));
      expect(status, path).toBe(200);
      expect(text).toContain('bm-1');
    }
  });

  it.each(['bm-2', '2', '0', '-1', '01', '99999999999999999', '02:00:00:00:00:09', 'bm-1 ', '../nodes', '__proto__', 'name.bm-1'])(
    'that are not there: %s',
    async (key) => {
      const { status, json } = await ask(`/v1/nodes/${key}`);
      expect(status).toBe(404);
      // `..` is a segment of its own, so that no machine can be meant
      expect(json).toMatchObject({ error: { code: key.includes('/') ? 'API_NO_ROUTE' : 'API_NO_NODE' } });
    },
  );

  it('show what is going on while an image is written', async () => {
    await world.clock.run(world.spawn(machine));
    await world.until(machine, 'deploying');
    await world.clock.runUntil(() => world.writing > 0);
    await world.clock.runFor(2_000);
    const { json } = await ask('/v1/nodes/bm-1');
    expect(json).toMatchObject({
      state: 'deploying',
      instance: 'host-inst-1',
      address: machine.address,
      bmc: 'ipmi://10.0.1.11',
      progress: { totalBytes: 4_000 },
      epoch: 1,
      generation: 1,
    });
    expect(json).toMatchObject({ deadline: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) });
  });

  it('have a timeline in order of time', async () => {
    await world.clock.run(world.spawn(machine));
    const node = await world.until(machine, 'active');
    const { json } = await ask('/v1/nodes/bm-1/timeline');
    const { timeline } = json as { timeline: { at: string; type: string }[] };
    expect(timeline.map(({ at }) => at)).toEqual(timeline.map(({ at }) => at).sort());
    expect(timeline.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['deploy POST accepted', 'deploying → deploy complete', 'deploy complete → active']),
    );
    expect(timeline).toEqual(nodeTimeline(node));
  });

  it('show the last failure, also when they are free again', async () => {
    world.knobs.ramdisk = 'reports error';
    await world.clock.run(world.spawn(machine));
    await world.until(machine, 'deploy failed');
    await world.until(machine, 'available');
    const { json } = await ask('/v1/nodes/bm-1');
    expect(json).toMatchObject({ state: 'available', lastFailure: { reason: expect.stringContaining('Could not find disk to use.') } });
  });
});

const NOTHING = /^nothing/;
/** What a loader that asks for its configuration gets, state by state. */
const CONFIGURATIONS: Readonly<Partial<Record<NodeState, RegExp>>> = {
  initializing: NOTHING,
  available: NOTHING,
  building: NOTHING,
  prepared: /^a pxelinux configuration with its deployment key$/,
  deploying: NOTHING,
  'deploy complete': /^a pxelinux configuration$/,
  active: /^a pxelinux configuration$/,
  'deploy failed': NOTHING,
  deleting: NOTHING,
  deleted: NOTHING,
  error: NOTHING,
};

describe('explain', () => {
  const explained = async (key: string = machine.mac): Promise<Explanation> => {
    const { status, json } = await ask(`/v1/explain/${key}`);
    expect(status).toBe(200);
    return json as Explanation;
  };
  const deployment: NonNullable<NodeRecord['deployment']> = {
    id: 'd-1',
    generation: 1,
    imageId: 'image-1',
    image: { boot: 'local' },
    iqn: 'iqn.2010-10.org.openstack.baremetal:d-1',
    keyHash: '0'.repeat(64),
    expiresAt: Number.MAX_SAFE_INTEGER,
    written: { bytes: 1, sha256: '1'.repeat(64), at: 0 },
  };

  it.each(nodeStates)('in the state %s says what is answered, and why', async (state: NodeState) => {
    await world.secrets.write('deploy-key.d-1', await world.secrets.read(`bmc.${machine.uuid}`));
    await put((node) => ({ ...node, state, deployment }));
    const told = await explained();
    expect(told).toMatchObject({ mac: machine.mac, machine: 'bm-1', state, lease: machine.address });
    expect(told.problem).toBeUndefined();
    expect(told.answers).toHaveLength(7);
    for (const { answer, reasons } of told.answers) {
      expect(answer).toMatch(/\S/);
      expect(reasons.length).toBeGreaterThan(0);
      expect(reasons.join()).toMatch(/\S/);
    }
    const wanted = CONFIGURATIONS[state];
    if (wanted === undefined) return;
    const [bios] = told.answers;
    const config = told.answers.find(({ request }) => request.startsWith('TFTP pxelinux.cfg/'));
    expect(bios?.answer.startsWith('load pxelinux.0')).toBe(wanted !== NOTHING);
    expect(config?.answer).toMatch(wanted);
  });

  it.each([true, false])('002-5: asks for the iPXE script by the way that iPXE is told of; HTTP is served: %s', (http) => {
    const intent = { kind: 'local-disk' } as const;
    const booting = { id: 'bm-1', uuid: machine.uuid, interfaces: [{ mac: machine.mac }], boot: intent };
    const { answers } = explain({ mac: machine.mac, node: undefined, machine: booting, lease: undefined, settings: { http }, nowMs: 0 });
    const protocol = http ? 'HTTP' : 'TFTP';
    expect(answers.find(({ request }) => request === 'DHCP from iPXE')?.answer).toMatch(new RegExp(`\\.ipxe over ${protocol}$`));
    expect(answers.find(({ request }) => request.endsWith('.ipxe'))).toMatchObject({
      request: expect.stringMatching(`^${protocol} `),
      answer: 'an ipxe configuration',
    });
  });

  it('002-14: does not call an address its lease that another machine answers for', () => {
    const lease = { mac: '52:54:00:99:99:99', address: '192.0.2.30' };
    const told = explain({ mac: machine.mac, node: undefined, machine: undefined, lease, settings: {}, nowMs: 0 });
    expect(told.lease).toBeUndefined();
    expect(explain({ mac: lease.mac, node: undefined, machine: undefined, lease, settings: {}, nowMs: 0 }).lease).toBe('192.0.2.30');
  });

  it('of a machine that nobody knows', async () => {
    const told = await explained('02-aa-00-00-00-01');
    expect(told.mac).toBe('02:aa:00:00:00:01');
    expect(told.machine).toBeUndefined();
    expect(told.answers.map(({ answer }) => answer)).toEqual(told.answers.map(() => expect.stringMatching(/^nothing/)));
    expect(told.seen).toEqual([]);
  });

  it('of a machine whose deployment key is lost says so, where an answer is impossible', async () => {
    await put((node) => ({ ...node, state: 'prepared', deployment }));
    const told = await explained();
    expect(told.problem).toContain('deploy-key.d-1');
    expect(told.answers).toEqual([]);
  });

  it('shows what was last seen, and how often', async () => {
    for (const detail of ['a', 'b', 'b']) await world.clock.run(observe(world, machine.uuid, { type: 'TFTP served', detail }));
    expect((await explained()).seen.slice(-2)).toEqual([
      expect.stringMatching(/TFTP served a$/),
      expect.stringMatching(/TFTP served b \(2 times\)$/),
    ]);
  });

  it.each(['02:00:00:00:00', '02:00:00:00:00:0g', ':'])('400: %s is no MAC address', async (key) => {
    expect(await ask(`/v1/explain/${key}`)).toMatchObject({ status: 400, json: { error: { code: 'API_BAD_MAC' } } });
  });

  it.each(['bm-9', '7', 'nothing'])('404: there is no machine %s', async (key) => {
    expect(await ask(`/v1/explain/${key}`)).toMatchObject({ status: 404, json: { error: { code: 'API_NO_NODE' } } });
  });
});
