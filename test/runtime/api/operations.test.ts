/** Every row of the table of operations: it is answered, by whom it may be asked, and what it refuses. */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { type Operation, type OperationId, operations, roleCovers, roles } from 'cdk8s-baremetal-contract/api/index';
import { parseTokens, type TokenSource, tokenLine } from 'cdk8s-baremetal-runtime/api/index';
import { type NodeState, nodeKind, reservationKind } from 'cdk8s-baremetal-runtime/machine/index';
import type { Store } from 'cdk8s-baremetal-runtime/store/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { type AskOptions, Harness } from './harness.ts';

const folder = temporaryFolder();
beforeEach(() => {
  folder.create();
  mkdirSync(folder.path('images'));
});
afterEach(folder.remove);

interface Case {
  /** Brings about what the request needs; says where it goes. */
  readonly prepare?: (harness: Harness) => Promise<unknown>;
  readonly target: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const enrolment = {
  name: 'bm-9',
  macs: ['52-54-00-AA-BB-CC'],
  properties: { cpus: 8, memoryMb: 16_384, localGb: 100, cpuArch: 'x86_64' },
  bmc: { address: '192.0.2.9', username: 'admin', password: 'correct horse' },
};
const novaNode = {
  service_host: 'compute-1',
  cpus: '8',
  memory_mb: 1024,
  local_gb: '10',
  pm_address: '192.0.2.9',
  pm_user: 'admin',
  pm_password: 'correct horse',
  prov_mac_address: '52:54:00:AA:BB:CC',
};
const desk = {
  callback: 'http://192.0.2.20:17070/notify',
  state: async () => ({ pending: 0, dead: [] }),
  retry: async () => true,
  drop: async () => true,
};
const free = (harness: Harness) => harness.machine(1);
const used = async (harness: Harness) => {
  await harness.image();
  await harness.inUse(1);
};
const broken = (harness: Harness) => harness.machine(1, (node) => ({ ...node, state: 'error' }));

const inState = (state: NodeState) => (harness: Harness) => harness.machine(1, (node) => ({ ...node, state }));
const manageable = inState('manageable');
const cleaning = inState('cleaning');
const rescued = async (harness: Harness) => {
  await harness.image();
  const { uuid } = await harness.inUse(1);
  await harness.change(uuid, (node) => ({ ...node, state: 'rescue' }));
};
const withVolume = async (harness: Harness) => {
  await harness.image();
  const { uuid } = await harness.inUse(1);
  await harness.change(uuid, (node) => ({ ...node, ...(node.instance && { instance: { ...node.instance, volumes: ['v-1'] } }) }));
};

/** One for each row: a new row does not compile until it has one. */
const cases: Readonly<Record<OperationId, Case>> = {
  healthz: { target: '/healthz' },
  readyz: { target: '/readyz' },
  metrics: { target: '/metrics' },
  openapi: { target: '/v1/openapi.json' },
  listNodes: { prepare: free, target: '/v1/nodes?state=available,active&name=bm&free=true&maintenance=false' },
  enrolNode: { target: '/v1/nodes', body: enrolment },
  showNode: { prepare: used, target: '/v1/nodes/bm-1' },
  updateNode: {
    prepare: free,
    target: '/v1/nodes/bm-1',
    body: { properties: { cpus: 4 }, bmc: { password: 'new' }, rootDiskSerial: null },
  },
  removeNode: { prepare: free, target: '/v1/nodes/bm-1' },
  addInterface: { prepare: free, target: '/v1/nodes/bm-1/interfaces', body: { mac: '52:54:00:AA:BB:CC', address: '192.0.2.30' } },
  removeInterface: {
    prepare: async (harness) => {
      await harness.machine(1);
      await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52-54-00-aa-bb-cc' }, headers: bearer('admin') });
    },
    target: '/v1/nodes/bm-1/interfaces/52:54:00:aa:bb:cc',
  },
  nodeHistory: { prepare: free, target: '/v1/nodes/1/history' },
  nodeTimeline: { prepare: free, target: '/v1/nodes/1/timeline' },
  diagnoseNode: { prepare: broken, target: '/v1/nodes/1/diagnosis' },
  explainMac: { prepare: free, target: '/v1/explain/52:54:00:00:00:01' },
  bootReport: { target: '/v1/boot' },
  powerOnNode: { prepare: used, target: '/v1/nodes/bm-1/power-on' },
  powerOffNode: { prepare: used, target: '/v1/nodes/bm-1/power-off', body: {} },
  rebootNode: { prepare: used, target: '/v1/nodes/bm-1/reboot' },
  destroyNode: { prepare: used, target: '/v1/nodes/bm-1/destroy', body: { yes: true } },
  retryNode: { prepare: broken, target: '/v1/nodes/bm-1/retry' },
  rebuildNode: { prepare: used, target: '/v1/nodes/bm-1/rebuild', body: { yes: true, preserveEphemeral: true } },
  abortNode: { prepare: cleaning, target: '/v1/nodes/bm-1/abort' },
  unstickNode: { prepare: cleaning, target: '/v1/nodes/bm-1/unstick' },
  inspectNode: { prepare: manageable, target: '/v1/nodes/bm-1/inspect', body: { apply: true } },
  cleanNode: { prepare: manageable, target: '/v1/nodes/bm-1/clean', body: { yes: true, wipe: 'full' } },
  rescueNode: { prepare: used, target: '/v1/nodes/bm-1/rescue', body: { authorizedKeys: ['ssh-ed25519 AAAA'] } },
  unrescueNode: { prepare: rescued, target: '/v1/nodes/bm-1/unrescue' },
  manageNode: { prepare: free, target: '/v1/nodes/bm-1/manage' },
  provideNode: { prepare: manageable, target: '/v1/nodes/bm-1/provide' },
  adoptNode: {
    prepare: manageable,
    target: '/v1/nodes/bm-1/adopt',
    body: { uuid: '11111111-1111-4111-8111-111111111111', name: 'old-1', imageId: 'image-1' },
  },
  attachVolume: { prepare: used, target: '/v1/nodes/bm-1/attach-volume', body: { volume: 'v-1', mountpoint: '/dev/vdb' } },
  detachVolume: { prepare: withVolume, target: '/v1/nodes/bm-1/detach-volume', body: { volume: 'v-1' } },
  plugVifs: { prepare: used, target: '/v1/nodes/bm-1/plug-vifs', body: { vifs: ['vif-1'] } },
  maintainNode: { prepare: free, target: '/v1/nodes/bm-1/maintenance', body: { on: true, reason: 'a new fan' } },
  reportFault: { prepare: used, target: '/v1/nodes/bm-1/fault', body: { reason: 'its node is not ready' } },
  clearFault: { prepare: used, target: '/v1/nodes/bm-1/fault' },
  listImages: { prepare: (harness) => harness.image(), target: '/v1/images' },
  registerImage: {
    prepare: async () => writeFileSync(folder.path('images/debian-13'), Buffer.alloc(4096, 7)),
    target: '/v1/images',
    body: { id: 'debian-13' },
  },
  showImage: { prepare: (harness) => harness.image(), target: '/v1/images/image-1' },
  removeImage: { prepare: (harness) => harness.image(), target: '/v1/images/image-1' },
  listFlavors: { prepare: (harness) => harness.flavor(), target: '/v1/flavors' },
  createFlavor: { target: '/v1/flavors', body: { id: 'large', cpus: 32, memoryMb: 1024, localGb: 100, cpuArch: 'x86_64' } },
  showFlavor: { prepare: (harness) => harness.flavor(), target: '/v1/flavors/small' },
  removeFlavor: { prepare: (harness) => harness.flavor(), target: '/v1/flavors/small' },
  listInstances: { prepare: used, target: '/v1/instances?limit=10' },
  spawnInstance: {
    prepare: async (harness) => {
      await harness.image();
      await harness.machine(1);
    },
    target: '/v1/instances',
    body: { name: 'web-1', imageId: 'image-1', node: 'bm-1', yes: true },
  },
  showInstance: { prepare: used, target: '/v1/instances/host-1' },
  destroyInstance: { prepare: used, target: '/v1/instances/host-1/destroy', body: { yes: true } },
  plan: { prepare: used, target: '/v1/plan', body: { verb: 'destroy', node: 'bm-1' } },
  events: { prepare: free, target: '/v1/events?once=true&node=bm-1' },
  listBmcs: { target: '/v1/bmcs' },
  retryBmc: { prepare: free, target: '/v1/nodes/bm-1/bmc/retry' },
  listNotifications: { target: '/v1/notifications' },
  retryNotification: { target: '/v1/notifications/n.1/retry' },
  dropNotification: { target: '/v1/notifications/n.1' },
  novaList: { prepare: used, target: '/v2/t/os-baremetal-nodes' },
  novaShow: { prepare: used, target: '/v2/t/os-baremetal-nodes/1' },
  novaCreate: { target: '/v2/t/os-baremetal-nodes', body: { node: novaNode } },
  novaDelete: { prepare: free, target: '/v2/t/os-baremetal-nodes/1' },
  novaAction: { prepare: free, target: '/v2/t/os-baremetal-nodes/1/action', body: { add_interface: { address: '52:54:00:aa:bb:cc' } } },
};

const tokenOf = (name: string): string => `bms_${createHash('sha256').update(name).digest('base64url')}`;
const tokens: TokenSource = { current: () => parseTokens(roles.map((role) => tokenLine(role, role, tokenOf(role))).join('\n')) };
const bearer = (role: string): Readonly<Record<string, string>> => ({ authorization: `Bearer ${tokenOf(role)}` });

const newHarness = (): Harness => new Harness({ tokens, notifications: desk, userImages: folder.path('images') });

async function perform(harness: Harness, id: OperationId, options: AskOptions): Promise<number> {
  const { target, body } = cases[id];
  const row: Operation = operations[id];
  const given = { ...options, ...(body !== undefined && { body }) };
  if (row.media !== 'text/event-stream') return (await harness.ask(row.method, target, given)).status;
  const { status, body: stream } = await harness.send(row.method, target, given);
  // an event stream: what it says is tested with the events
  if (typeof stream === 'object' && !(stream instanceof Uint8Array)) for await (const chunk of stream) harness.emitted.push(String(chunk));
  return status;
}

describe('002-9: the table of operations', () => {
  it.each(Object.keys(operations) as OperationId[])('%s answers as its row says', async (id) => {
    const harness = newHarness();
    await cases[id].prepare?.(harness);
    expect(await perform(harness, id, { headers: bearer('admin'), from: '198.51.100.7' })).toBe(operations[id].status);
  });

  it.each(Object.keys(operations) as OperationId[])('%s lets in whom its row says', async (id) => {
    const row: Operation = operations[id];
    const needed = row.role;
    for (const [who, headers] of [
      ['nobody', {}],
      ['a stranger', { authorization: 'Bearer bms_wrong' }],
      ['no scheme', { authorization: tokenOf('admin') }],
      ...roles.map((role) => [role, bearer(role)] as const),
    ] as const) {
      const harness = newHarness();
      await cases[id].prepare?.(harness);
      // also from loopback: with tokens, nothing but a token opens
      const status = await perform(harness, id, { headers, from: '127.0.0.1' });
      const role = roles.find((one) => one === who);
      const wanted = needed === 'public' ? row.status : role === undefined ? 401 : roleCovers(role, needed) ? row.status : 403;
      expect(status, who).toBe(wanted);
    }
  });

  it.each(Object.keys(operations) as OperationId[])('%s refuses what is no query and no body of its own', async (id) => {
    const row: Operation = operations[id];
    const harness = newHarness();
    await cases[id].prepare?.(harness);
    const { target } = cases[id];
    const headers = bearer('admin');
    const bad = await harness.ask(row.method, `${target}${target.includes('?') ? '&' : '?'}unheard-of=1`, {
      headers,
      body: cases[id].body,
    });
    expect(bad).toMatchObject({ status: 400, json: { error: { code: 'API_QUERY' } } });
    if (!row.body) {
      expect((await harness.ask(row.method, target, { headers, body: {} })).json.error.code).toBe('API_NO_BODY');
      return;
    }
    expect((await harness.ask(row.method, target, { headers, body: '{' })).json.error.code).toBe('API_NOT_JSON');
    expect((await harness.ask(row.method, target, { headers, body: '{"a":"\ud800"}' })).status).toBeGreaterThanOrEqual(400);
    expect((await harness.ask(row.method, target, { headers: { ...headers, 'content-type': 'text/plain' }, body: {} })).status).toBe(400);
    if (row.tag !== 'nova')
      expect((await harness.ask(row.method, target, { headers, body: { surprise: 1 } })).json.error.code).toBe('API_INVALID');
  });

  it.each((Object.keys(operations) as OperationId[]).filter((id) => (operations[id] as Operation).refusals.includes(404)))(
    '%s: 404 for what is not there',
    async (id) => {
      if (id === 'registerImage' || id === 'spawnInstance' || id === 'plan' || id === 'events') return; // theirs are below
      const harness = new Harness({ userImages: folder.path('images') });
      const row: Operation = operations[id];
      const path = row.path.replace(/:mac$/, '52:54:00:00:00:09').replaceAll(/:[a-z]+/g, 'nowhere');
      expect((await harness.ask(row.method, path, { body: cases[id].body })).status).toBe(404);
    },
  );

  it.each([
    ['POST', '/v1/images', { id: 'nowhere' }, 'API_NO_IMAGE_FILE'],
    ['POST', '/v1/instances', { name: 'a', imageId: 'nowhere', node: 'x', yes: true }, 'API_NO_IMAGE'],
    ['POST', '/v1/plan', { verb: 'destroy', node: 'nowhere' }, 'API_NO_NODE'],
  ])('%s %s: 404 for what a body names and is not there', async (method, target, body, code) => {
    expect(await new Harness({ userImages: folder.path('images') }).ask(method, target, { body })).toMatchObject({
      status: 404,
      json: { error: { code } },
    });
  });
});

describe('002-9: enrolment over the API', () => {
  it('keeps the password in the secret store and answers without it', async () => {
    const harness = newHarness();
    const { status, json, headers } = await harness.ask('POST', '/v1/nodes', { body: enrolment, headers: bearer('admin') });
    expect(status).toBe(201);
    expect(headers.location).toBe(`/v1/nodes/${json.uuid}`);
    expect((await harness.secrets.read(`bmc.${json.uuid}`)).reveal()).toBe('correct horse');
    expect(JSON.stringify(json)).not.toContain('correct horse');
    expect(json).toMatchObject({ macs: ['52:54:00:aa:bb:cc'], bmc: 'ipmi://192.0.2.9' });
  });

  it.each([
    ['an invalid MAC', { macs: ['52:54:00:aa:bb'] }, 422, 'API_INVALID', 'macs.0'],
    ['no MAC', { macs: [] }, 422, 'API_INVALID', 'macs'],
    ['a name with a slash', { name: 'a/b' }, 422, 'API_INVALID', 'name'],
    ['a BMC by name', { bmc: { ...enrolment.bmc, address: 'bmc-9.example.com' } }, 422, 'API_INVALID', 'bmc.address'],
    ['no memory', { properties: { ...enrolment.properties, memoryMb: 0 } }, 422, 'API_INVALID', 'properties.memoryMb'],
    ['a password that is no text', { bmc: { ...enrolment.bmc, password: 7 } }, 422, 'API_INVALID', 'bmc.password'],
    ['a MAC of another machine', { macs: ['52:54:00:00:00:01'] }, 409, 'MACHINE_TAKEN', '52:54:00:00:00:01'],
    ['a name of another machine', { name: 'bm-1' }, 409, 'MACHINE_TAKEN', 'bm-1'],
    ['a MAC twice', { macs: ['52:54:00:aa:bb:cc', '52-54-00-AA-BB-CC'] }, 422, 'MACHINE_INVALID', 'twice'],
  ])('refuses %s', async (_, wrong, status, code, named) => {
    const harness = newHarness();
    await harness.machine(1);
    const answer = await harness.ask('POST', '/v1/nodes', { body: { ...enrolment, ...wrong }, headers: bearer('admin') });
    expect(answer).toMatchObject({ status, json: { error: { code } } });
    expect(answer.json.error.message).toContain(named);
    expect(answer.text).not.toContain('correct horse');
    expect((await harness.ask('GET', '/v1/nodes', { headers: bearer('reader') })).json.nodes).toHaveLength(1);
  });

  it('a new password reaches the secret store, and only with the version that was asked for', async () => {
    const harness = new Harness();
    const node = await harness.machine(1);
    const wrong = await harness.ask('PATCH', '/v1/nodes/bm-1', { body: { bmc: { password: 'other' } }, headers: { 'if-match': '"0"' } });
    expect(wrong.status).toBe(412);
    expect((await harness.secrets.read(`bmc.${node.uuid}`)).reveal()).not.toBe('other');
    await harness.ask('PATCH', '/v1/nodes/bm-1', { body: { bmc: { password: 'other' } } });
    expect((await harness.secrets.read(`bmc.${node.uuid}`)).reveal()).toBe('other');
  });

  it('interfaces: the last one stays, one of another machine is refused, one that was removed is free again', async () => {
    const harness = new Harness();
    await harness.machine(1);
    await harness.machine(2);
    expect((await harness.ask('DELETE', '/v1/nodes/bm-1/interfaces/52:54:00:00:00:01')).status).toBe(422);
    expect((await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52:54:00:00:00:02' } })).status).toBe(409);
    expect((await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52:54:00:00:00:01' } })).status).toBe(409);
    await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52:54:00:00:01:01' } });
    expect((await harness.ask('GET', '/v1/nodes/52:54:00:00:01:01')).json.name).toBe('bm-1');
    await harness.ask('DELETE', '/v1/nodes/bm-1/interfaces/52:54:00:00:01:01');
    expect((await harness.ask('POST', '/v1/nodes/bm-2/interfaces', { body: { mac: '52:54:00:00:01:01' } })).status).toBe(201);
  });

  it.each([
    ['as nova wrote it', 'sw-7', '12', ['sw-7', 12]],
    ['as a number', 'sw-7', 12, ['sw-7', 12]],
    ['without a port', 'sw-7', null, [null, null]],
    ['of which nothing is said', undefined, undefined, [null, null]],
  ])('interfaces: the switch port of one that is added over nova, %s, is known from then on', async (_way, datapath_id, port_no, told) => {
    const harness = new Harness();
    await harness.machine(1);
    const at = '/v2/t/os-baremetal-nodes/1';
    const body = { add_interface: { address: '52:54:00:00:01:01', datapath_id, port_no } };
    const { json } = await harness.ask('POST', `${at}/action`, { body });
    expect([json.interface.datapath_id, json.interface.port_no]).toEqual(told);
    const shown = (await harness.ask('GET', at)).json.node.interfaces.at(-1);
    expect([shown.address, shown.datapath_id, shown.port_no]).toEqual(['52:54:00:00:01:01', ...told]);
  });

  it('interfaces: one that an instance is plugged into stays, since nothing else says which switch port is to be cleared after it', async () => {
    const harness = new Harness();
    await harness.image();
    const { uuid } = await harness.inUse(1);
    const mac = '52:54:00:00:01:01';
    const plug = (vif: string | undefined) =>
      harness.change(uuid, ({ interfaces: [first], ...node }) => ({
        ...node,
        interfaces: [...(first ? [first] : []), { mac, datapathId: 'sw-7', portNo: 12, ...(vif !== undefined && { vif }) }],
      }));
    await plug('blue');
    const remove = () => harness.ask('DELETE', `/v1/nodes/bm-1/interfaces/${mac}`);
    expect(await remove()).toMatchObject({
      status: 409,
      json: { error: { code: 'API_PLUGGED', message: expect.stringContaining('blue') } },
    });
    await plug(undefined);
    expect((await remove()).status).toBe(204);
  });

  it('interfaces: what an enrolment that died had reserved is to be had after a minute', async () => {
    const harness = new Harness();
    await harness.machine(1);
    await harness.store.create(reservationKind, 'mac.52:54:00:00:01:01', { nodeId: 'dead', at: harness.clock.now() });
    const add = (headers = {}) => harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52:54:00:00:01:01' }, headers });
    expect((await add()).status).toBe(409);
    await harness.clock.runFor(61_000);
    expect((await add()).status).toBe(201);
    expect((await harness.ask('GET', '/v1/nodes/52:54:00:00:01:01')).json.name).toBe('bm-1');
    // asked for again, in whatever way: refused, and still its own
    expect([(await add()).status, (await add({ 'if-match': '"0"' })).status]).toEqual([409, 412]);
    expect((await harness.ask('GET', '/v1/nodes/52:54:00:00:01:01')).json.name).toBe('bm-1');
  });

  it('interfaces: what a removal that died had not given back yet is to be had after a minute', async () => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    await harness.machine(2);
    const mac = '52:54:00:00:01:01';
    await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac } });
    await harness.change(uuid, (node) => ({ ...node, interfaces: node.interfaces.filter((one) => one.mac !== mac) }));
    const add = () => harness.ask('POST', '/v1/nodes/bm-2/interfaces', { body: { mac } });
    expect((await add()).status).toBe(409);
    await harness.clock.runFor(61_000);
    expect((await add()).status).toBe(201);
    expect((await harness.ask('GET', `/v1/nodes/${mac}`)).json.name).toBe('bm-2');
  });

  it('interfaces of a machine that is being deployed are left alone', async () => {
    const harness = new Harness();
    await harness.machine(1, (node) => ({ ...node, state: 'prepared' }));
    expect((await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52:54:00:00:01:01' } })).status).toBe(409);
    expect((await harness.machine(2, (node) => ({ ...node, interfaces: [{ mac: '52:54:00:00:01:01' }] }))).name).toBe('bm-2');
  });
});

describe('images', () => {
  it('a file is read whole: its size and SHA-256 are what is registered', async () => {
    const harness = new Harness({ userImages: folder.path('images') });
    const content = Buffer.alloc(8192, 'debian');
    writeFileSync(folder.path('images/debian-13'), content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    const wrong = await harness.ask('POST', '/v1/images', { body: { id: 'debian-13', sha256: 'b'.repeat(64) } });
    expect(wrong).toMatchObject({ status: 422, json: { error: { code: 'API_IMAGE_DIFFERS' } } });
    const { json } = await harness.ask('POST', '/v1/images', { body: { id: 'debian-13', sha256, name: 'debian' } });
    expect(json).toEqual({ id: 'debian-13', name: 'debian', format: 'raw', sizeBytes: 8192, sha256, boot: 'local' });
    expect((await harness.ask('POST', '/v1/images', { body: { id: 'debian-13' } })).status).toBe(409);
  });

  it.each(['../secrets', '..', '.hidden', 'a/b', ''])('an id that would leave the folder is refused: %s', async (id) => {
    const harness = new Harness({ userImages: folder.path('images') });
    expect((await harness.ask('POST', '/v1/images', { body: { id } })).status).toBe(422);
  });

  it('one that is being deployed stays', async () => {
    const harness = new Harness();
    await harness.image();
    const { uuid } = await harness.inUse(1);
    await harness.change(uuid, (node) => ({ ...node, state: 'deploying' }));
    await harness.api.start();
    expect(await harness.ask('DELETE', '/v1/images/image-1')).toMatchObject({ status: 409, json: { error: { code: 'API_USED' } } });
    await harness.change(uuid, (node) => ({ ...node, state: 'active' }));
    expect((await harness.ask('DELETE', '/v1/images/image-1')).status).toBe(204);
  });
});

describe('verbs and instances', () => {
  it.each([
    ['power-on', undefined],
    ['reboot', undefined],
    ['destroy', { yes: true }],
    ['retry', undefined],
  ])('%s on a free machine: 409 with the state and what to do', async (verb, body) => {
    const harness = new Harness();
    await harness.machine(1);
    const { status, json } = await harness.ask('POST', `/v1/nodes/bm-1/${verb}`, { body });
    expect(status).toBe(409);
    expect(json.error).toMatchObject({
      code: 'MACHINE_WRONG_STATE',
      message: expect.stringContaining('available'),
    });
  });

  it('002-11: what loses data wants a confirmation: yes, or the plan that was read', async () => {
    const harness = new Harness();
    await harness.image();
    await harness.machine(1);
    const wish = { name: 'web-1', imageId: 'image-1', node: 'bm-1' };
    const unconfirmed = await harness.ask('POST', '/v1/instances', { body: wish });
    expect(unconfirmed).toMatchObject({ status: 428, json: { error: { code: 'API_CONFIRM', message: expect.stringContaining('WIPE') } } });
    const plan = (await harness.ask('POST', '/v1/plan', { body: { verb: 'spawn', ...wish } })).json;
    expect(plan.steps.join()).toContain('S-1');
    expect(plan).toMatchObject({ node: 'bm-1', wipes: true });
    const stale = await harness.ask('POST', '/v1/instances', { body: { ...wish, plan: 'f'.repeat(64) } });
    expect(stale).toMatchObject({ status: 412, json: { error: { code: 'API_PLAN_CHANGED' } } });
    expect((await harness.ask('GET', '/v1/nodes/bm-1')).json.instance).toBeUndefined();
    expect((await harness.ask('POST', '/v1/instances', { body: { ...wish, plan: plan.hash } })).status).toBe(202);
  });

  it('the plan of a rebuild is good for what it was asked for, also where that says that nothing is kept', async () => {
    const harness = new Harness();
    await harness.image();
    await harness.inUse(1);
    for (const preserveEphemeral of [false, true]) {
      const { json } = await harness.ask('POST', '/v1/plan', { body: { verb: 'rebuild', node: 'bm-1', preserveEphemeral } });
      const rebuild = await harness.ask('POST', '/v1/nodes/bm-1/rebuild', { body: { preserveEphemeral, plan: json.hash } });
      expect([rebuild.status, rebuild.json.error?.code]).toEqual([202, undefined]);
      await harness.change(rebuild.json.node.uuid, (node) => ({ ...node, request: undefined }));
    }
  });

  it('a plan is stale when the disk is another one by then', async () => {
    const harness = new Harness();
    await harness.image();
    const { uuid } = await harness.machine(1);
    const wish = { name: 'web-1', imageId: 'image-1', node: 'bm-1' };
    const { hash } = (await harness.ask('POST', '/v1/plan', { body: { verb: 'spawn', ...wish } })).json;
    await harness.change(uuid, (node) => ({ ...node, rootDiskSerial: 'ANOTHER' }));
    expect((await harness.ask('POST', '/v1/instances', { body: { ...wish, plan: hash } })).status).toBe(412);
  });

  it('the same instance asked for twice is one', async () => {
    const harness = new Harness();
    await harness.image();
    await harness.machine(1);
    await harness.machine(2);
    const uuid = '11111111-1111-4111-8111-111111111111';
    const wish = { uuid, name: 'web-1', imageId: 'image-1', yes: true };
    await harness.api.start();
    const first = await harness.ask('POST', '/v1/instances', { body: { ...wish, node: 'bm-1' } });
    const second = await harness.ask('POST', '/v1/instances', { body: { ...wish, node: 'bm-2' } });
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(second.json.node.name).toBe('bm-1');
    expect((await harness.ask('GET', '/v1/instances')).json.instances).toHaveLength(1);
  });

  it('the same instance asked for again at a replica that has not heard of it yet is one, though a better machine is free by now', async () => {
    const first = new Harness();
    const { store } = first;
    const deaf: Store = new Proxy(store, {
      get: (object, name) => (name === 'watch' ? () => ({ close: () => undefined }) : Reflect.get(object, name, object).bind(object)),
    });
    const second = new Harness({ store: deaf });
    await first.image();
    await first.flavor();
    const better = await first.machine(1, (node) => ({ ...node, maintenance: true }));
    await first.machine(2);
    await second.ask('GET', '/v1/nodes');
    const body = { uuid: '00000000-0000-4000-8000-000000000001', name: 'host-1', imageId: 'image-1', flavorId: 'small', yes: true };
    expect((await first.ask('POST', '/v1/instances', { body })).json.node.name).toBe('bm-2');
    await first.change(better.uuid, (node) => ({ ...node, maintenance: false }));
    expect((await second.ask('POST', '/v1/instances', { body })).json.node.name).toBe('bm-2');
    // it is there for who asks after it, too
    expect((await second.ask('GET', `/v1/instances/${body.uuid}`)).json.node.name).toBe('bm-2');
    // nor on another machine by name
    expect((await second.ask('POST', '/v1/instances', { body: { ...body, node: 'bm-1' } })).json.node.name).toBe('bm-2');
    expect((await store.list(nodeKind)).filter(({ value }) => value.instance !== undefined)).toHaveLength(1);
  });

  it('the same instance asked for at the same time, at one replica or at two, is one', async () => {
    const first = new Harness();
    const second = new Harness({ store: first.store });
    await first.image();
    await first.flavor();
    for (const number of [1, 2, 3]) await first.machine(number);
    const body = { uuid: '00000000-0000-4000-8000-000000000001', name: 'host-1', imageId: 'image-1', flavorId: 'small', yes: true };
    const answers = await Promise.all([first, first, second].map((harness) => harness.ask('POST', '/v1/instances', { body })));
    expect(answers.map(({ status, json }) => [status, json.node.name])).toEqual(answers.map(() => [202, 'bm-1']));
    expect((await first.store.list(nodeKind)).filter(({ value }) => value.instance !== undefined)).toHaveLength(1);
  });

  it('002-10: goes to the smallest machine that suffices; a refusal says why, machine by machine', async () => {
    const harness = new Harness();
    await harness.image();
    await harness.flavor('small');
    await harness.machine(1);
    await harness.machine(2, (node) => ({ ...node, properties: { ...node.properties, memoryMb: 2048 } }));
    const spawned = await harness.ask('POST', '/v1/instances', { body: { name: 'a', imageId: 'image-1', flavorId: 'small', yes: true } });
    expect(spawned.json).toMatchObject({ flavorId: 'small', node: { name: 'bm-2' } });
    await harness.ask('POST', '/v1/nodes/bm-1/maintenance', { body: { on: true } });
    const refused = await harness.ask('POST', '/v1/instances', { body: { name: 'b', imageId: 'image-1', flavorId: 'small', yes: true } });
    expect(refused).toMatchObject({ status: 409, json: { error: { code: 'API_NO_CANDIDATE' } } });
    expect(refused.json.error.details).toEqual([
      { what: 'bm-1', why: expect.stringContaining('maintenance') },
      { what: 'bm-2', why: expect.stringContaining('another instance') },
    ]);
  });

  it('of two instances for one machine one is refused, with the reason', async () => {
    const harness = new Harness();
    await harness.image();
    await harness.machine(1);
    const ask = (name: string) => harness.ask('POST', '/v1/instances', { body: { name, imageId: 'image-1', node: 'bm-1', yes: true } });
    const answers = await Promise.all([ask('a'), ask('b')]);
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 409]);
    expect(answers.find(({ status }) => status === 409)?.json.error.message).toContain('another instance');
  });
});
