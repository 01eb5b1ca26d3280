/** Machines that enrol themselves by asking for a boot file: once, whoever hears them, and never to be used before a person has completed them. */
import { bootReport } from 'cdk8s-baremetal-contract/api/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import {
  ask,
  BootView,
  discoveredMachines,
  enrol,
  enrolDiscovered,
  findNodeByMac,
  MemorySecretStore,
  nodeKind,
  reservationKind,
  spawn,
  unenrol,
} from 'cdk8s-baremetal-runtime/machine/index';
import type { BmsCore } from 'cdk8s-baremetal-runtime/main';
import { MemoryStore, modify, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeDhcp } from '../../../src/runtime/boot/dhcp/codec.ts';
import { OPTION, uint16Value } from '../../../src/runtime/boot/dhcp/options.ts';
import { Harness } from '../api/harness.ts';
import { message } from '../boot/dhcp/world.ts';
import { CoreSite } from './core-site.ts';

const UUID = '4c4c4544-0042-3510-8052-b4c04f4e3132';
const bmc = { driver: 'ipmi', address: '10.0.1.5', username: 'admin', password: new Secret('hunter2!') } as const;
const properties = { cpus: 2, memoryMb: 4096, localGb: 80, cpuArch: 'x86_64' };

function context(store: Store = new MemoryStore()) {
  return { store, secrets: new MemorySecretStore(), clock: new VirtualClock(), random: seededRandom(1) };
}
const found = (mac: string, more: { uuid?: string; arch?: number; relay?: string } = {}) => ({ mac, interface: 'eth0', ...more });
const macs = (count: number) => Array.from({ length: count }, (_, index) => `52:54:00:00:00:${(index + 16).toString(16)}`);
const MAC = '52:54:00:12:34:56';

describe('002-5: a machine that is discovered', () => {
  it('is a record without a BMC that rests as enrolled, has a number, and says what its firmware said', async () => {
    const site = context();
    expect(await enrolDiscovered(site, found(MAC, { uuid: UUID, arch: 11, relay: '10.0.0.1' }), 10)).toEqual({
      outcome: 'enrolled',
      node: 'discovered-525400123456',
    });
    const [node] = await discoveredMachines(site.store);
    expect(node).toMatchObject({
      name: 'discovered-525400123456',
      number: 1,
      state: 'enrolled',
      interfaces: [{ mac: MAC }],
      properties: { cpus: 0, memoryMb: 0, localGb: 0, cpuArch: 'aarch64' },
      bmc: { driver: 'none' },
      discovered: { at: site.clock.now(), systemUuid: UUID, arch: 11, interface: 'eth0', relay: '10.0.0.1' },
    });
    expect(node?.stateDeadline).toBeUndefined();
    expect(node?.uuid).not.toBe(UUID); // what it says of itself names no directory of the boot tree
  });

  const cases = [
    { name: 'the same interface', ask: [found(MAC), found(MAC)], records: 1, interfaces: [1] },
    {
      name: 'two interfaces of one UUID',
      ask: [found(MAC, { uuid: UUID }), found('52:54:00:12:34:57', { uuid: UUID })],
      records: 1,
      interfaces: [2],
    },
    {
      name: 'two boards whose maker gave all of them one UUID',
      ask: [
        found(MAC, { uuid: '03000200-0400-0500-0006-000700080009' }),
        found('52:54:00:12:34:57', { uuid: '03000200-0400-0500-0006-000700080009' }),
      ],
      records: 2,
      interfaces: [1, 1],
    },
    { name: 'two interfaces without a UUID', ask: [found(MAC), found('52:54:00:12:34:57')], records: 2, interfaces: [1, 1] },
    { name: 'an interface with and then without its UUID', ask: [found(MAC, { uuid: UUID }), found(MAC)], records: 1, interfaces: [1] },
  ];
  it.each(cases)('$name: $records in all', async ({ ask: asked, records, interfaces }) => {
    const site = context();
    for (const one of asked) await enrolDiscovered(site, one, 10);
    const nodes = await discoveredMachines(site.store);
    expect(nodes).toHaveLength(records);
    expect(nodes.map((node) => node.interfaces.length)).toEqual(interfaces);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'two replicas that hear two of its interfaces at the same moment make one record (order %i)',
    async (seed) => {
      const store = slow(new MemoryStore(), seed);
      const site = context(store);
      const [first, second] = ['52:54:00:12:34:56', '52:54:00:12:34:57'];
      const replicas = [{ ...site }, { ...site, random: seededRandom(2) }];
      await Promise.all(
        replicas.flatMap((replica, index) =>
          [first, second].map((mac) => enrolDiscovered(replica, found(mac, { uuid: UUID }), 10 + index)),
        ),
      );
      // who lost a race asks again
      for (const mac of [first, second]) await enrolDiscovered(site, found(mac, { uuid: UUID }), 10);
      const nodes = await store.list(nodeKind);
      expect(nodes.map(({ value }) => value.interfaces.map(({ mac }) => mac).sort())).toEqual([[first, second]]);
      const held = (await store.list(reservationKind)).filter(({ id }) => !id.startsWith('number.'));
      expect(new Set(held.map(({ value }) => value.nodeId))).toEqual(new Set([nodes[0]?.id]));
    },
  );

  it('no more than the limit wait, and there is room again when one is completed or removed', async () => {
    const site = context();
    const outcomes = [];
    for (const mac of macs(5)) outcomes.push((await enrolDiscovered(site, found(mac), 3)).outcome);
    expect(outcomes).toEqual(['enrolled', 'enrolled', 'enrolled', 'full', 'full']);
    const [first, second] = await discoveredMachines(site.store);
    await unenrol(site, first?.uuid ?? '');
    await enrol(site, { name: 'a', macs: [second?.interfaces[0]?.mac ?? ''], properties, bmc });
    for (const mac of macs(5).slice(3)) expect(await enrolDiscovered(site, found(mac), 3)).toMatchObject({ outcome: 'enrolled' });
    expect(await enrolDiscovered(site, found(MAC), 3)).toEqual({ outcome: 'full', limit: 3 });
  });

  it('a further interface of a machine that somebody enrolled is known, by its UUID or by its inspection, and changes nothing', async () => {
    const site = context();
    await enrolDiscovered(site, found(MAC, { uuid: UUID }), 10);
    const { id } = await enrol(site, { name: 'a', macs: [MAC], properties, bmc });
    expect(await enrolDiscovered(site, found('52:54:00:12:34:57', { uuid: UUID }), 10)).toEqual({ outcome: 'known', node: 'a' });
    await modify(site.store, nodeKind, id, (node) => ({
      ...node,
      discovered: undefined,
      inspection: { at: 1, facts: { disks: [], interfaces: [{ name: 'eth2', mac: '52:54:00:12:34:58' }] }, differences: [] },
    }));
    expect(await enrolDiscovered(site, found('52:54:00:12:34:58'), 10)).toEqual({ outcome: 'known', node: 'a' });
    expect((await site.store.list(nodeKind)).map(({ value }) => value.interfaces.length)).toEqual([1]);
  });

  it('is in no use before it is completed: not for an instance, not by a verb, not over the network', async () => {
    const site = context();
    await enrolDiscovered(site, found(MAC), 10);
    const [node] = await discoveredMachines(site.store);
    const id = node?.uuid ?? '';
    for (const verb of ['provide', 'inspect', 'clean', 'retry', 'unstick', 'power on'] as const)
      await expect(ask(site, id, verb)).rejects.toMatchObject({ code: 'MACHINE_WRONG_STATE' });
    expect(await spawn(site, id, { uuid: 'i', name: 'i', imageId: 'x', approval: { yes: true } })).toMatchObject({ kind: 'refused' });
    const view = new BootView(site);
    expect(await view.findMachine(MAC)).toMatchObject({
      incomplete: true,
      boot: { kind: 'none', reason: expect.stringContaining('discovered') },
    });
    view.close();
  });
});

describe('002-5: completing a discovered machine', () => {
  it('an enrolment of its interface takes its place, and keeps what it knew', async () => {
    const site = context();
    await enrolDiscovered(site, found(MAC, { uuid: UUID }), 10);
    const { value } = await enrol(site, { name: 'bm-1', macs: [MAC], properties, bmc });
    expect(value).toMatchObject({ name: 'bm-1', number: 2, state: 'enrolled', discovered: { systemUuid: UUID } });
    expect(await site.store.list(nodeKind)).toHaveLength(1);
    expect((await site.store.list(reservationKind)).map(({ id }) => id)).toEqual([
      'bmc.10.0.1.5_623',
      `mac.${MAC}`,
      'name.bm-1',
      'number.2',
    ]);
  });

  it('an enrolment that is refused leaves it as it is', async () => {
    const site = context();
    await enrol(site, { name: 'other', macs: ['52:54:00:99:99:99'], properties, bmc });
    await enrolDiscovered(site, found(MAC), 10);
    await expect(enrol(site, { name: 'bm-1', macs: [MAC], properties, bmc })).rejects.toMatchObject({ code: 'MACHINE_TAKEN' }); // the other's BMC
    await expect(enrol(site, { name: 'bm-1', macs: [MAC], properties: { ...properties, cpus: 0 }, bmc })).rejects.toMatchObject({
      code: 'MACHINE_INVALID',
    });
    expect((await findNodeByMac(site.store, MAC))?.value.name).toBe('discovered-525400123456');
  });

  it('over the API: shown as it is, refused by halves, and verified once its BMC is said', async () => {
    const api = new Harness();
    await enrolDiscovered(api, found(MAC, { uuid: UUID }), 10);
    const name = 'discovered-525400123456';
    const shown = await api.ask('GET', `/v1/nodes/${name}`);
    expect(shown.json).toMatchObject({ state: 'enrolled', bmc: 'none', properties: { cpus: 0 } });
    expect((await api.ask('GET', `/v1/nodes/${name}/diagnosis`)).json).toMatchObject({
      verdict: 'resting',
      findings: [{ what: expect.stringContaining('nobody has said'), cure: expect.stringContaining('bmctl update') }, {}],
    });
    const half = await api.ask('PATCH', `/v1/nodes/${name}`, { body: { bmc: { address: '10.0.1.5' } } });
    expect([half.status, half.text]).toEqual([422, expect.stringContaining('come together')]);
    const whole = await api.ask('PATCH', `/v1/nodes/${name}`, {
      body: { bmc: { address: '10.0.1.5', username: 'admin', password: 'hunter2!' } },
    });
    expect(whole.json).toMatchObject({ bmc: 'ipmi://10.0.1.5', reason: 'its BMC is known now' });
    const node = await findNodeByMac(api.store, MAC);
    expect((await api.secrets.read(node?.value.bmc.passwordRef ?? '')).reveal()).toBe('hunter2!');
    expect(await discoveredMachines(api.store)).toEqual([]);
  });
});

describe('002-5: [dhcp] unknown_machines = discover, in two management nodes of one pod', () => {
  let site: CoreSite;
  const cores: BmsCore[] = [];
  beforeEach(() => {
    site = new CoreSite();
  });
  afterEach(async () => {
    for (const core of cores.splice(0)) await site.clock.run(core.close());
    await site.close();
  });

  const PXE = { vendor: 'PXEClient:Arch:00007:UNDI:003016', options: [[OPTION.clientArch, uint16Value(7)]] as [number, Uint8Array][] };
  const guid = (last: number): [number, Uint8Array] => [
    OPTION.clientGuid,
    Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, last),
  ];

  async function pod(dhcp: Record<string, string>) {
    const settings = { dhcp: { server_ip: '10.1.0.1', unknown_machines: 'discover', ...dhcp } };
    cores.push(await site.start(settings));
    const second = site.network.host({ name: 'mgmt-2', segment: 'lan', addresses: ['10.1.0.2/16'] });
    const other = { memberName: 'mgmt-2', serverAddress: '10.1.0.2', network: second };
    cores.push(await site.start({ ...settings, dhcp: { ...settings.dhcp, server_ip: '10.1.0.2' } }, other));
    const client = site.network.host({ name: 'client', segment: 'lan', addresses: ['10.1.9.9/16'] });
    const socket = await client.udp({ port: 68, broadcast: true }, { onMessage: () => undefined });
    const get = async (path: string): Promise<string> => {
      const { body } = await site.clock.run(client.request({ url: `http://10.1.0.1:7081${path}` }));
      return Buffer.from(body).toString();
    };
    const send = (mac: string, options: readonly [number, Uint8Array][] = []): void =>
      socket.send(encodeDhcp(message('discover', { mac, ...PXE, options: [...PXE.options, ...options] })), {
        address: '255.255.255.255',
        port: 67,
      });
    return { send, report: async () => bootReport.parse(JSON.parse(await get('/v1/boot'))), metrics: () => get('/metrics') };
  }

  it('both hear it and one record comes of it, which outlives them; its second interface joins it', async () => {
    const { send, report } = await pod({});
    for (let time = 0; time < 4; time++) {
      send(MAC, [guid(1)]);
      await site.clock.runFor(4_000);
    }
    send('52:54:00:12:34:57', [guid(1)]);
    await site.clock.runFor(1_000);
    expect((await discoveredMachines(site.store)).map(({ name, interfaces }) => [name, interfaces.length])).toEqual([
      ['discovered-525400123456', 2],
    ]);
    expect((await report()).discovered).toMatchObject([{ name: 'discovered-525400123456', macs: [MAC, '52:54:00:12:34:57'], arch: 7 }]);
    await site.clock.runFor(3_600_000);
    expect((await discoveredMachines(site.store))[0]).toMatchObject({ state: 'enrolled', attempts: 0 }); // no deadline, no try, no fault

    for (const core of cores.splice(0)) await site.clock.run(core.close());
    cores.push(await site.start({ dhcp: { server_ip: '10.1.0.1', unknown_machines: 'discover' } }));
    send(MAC, [guid(1)]);
    await site.clock.runFor(5_000);
    expect((await report()).discovered).toHaveLength(1);
    expect(await site.store.list(nodeKind)).toHaveLength(1);
  });

  it('a flood of made-up machines: so many records and no more, said in the metrics and in the report', async () => {
    const { send, report, metrics } = await pod({ discover_limit: '12', discover_rate: '8' });
    for (let index = 0; index < 600; index++) {
      send(`52:54:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`);
      if (index % 20 === 0) await site.clock.runFor(2_000);
    }
    await site.clock.runFor(5_000);
    const waiting = (await discoveredMachines(site.store)).length;
    expect(waiting).toBeGreaterThanOrEqual(12);
    expect(waiting).toBeLessThanOrEqual(13); // each replica may let one in as the last is let in by the other
    const { problems, strangers } = await report();
    expect(problems.map(({ kind, subject }) => `${kind} ${subject}`).sort()).toEqual([
      'discovery-limited number',
      'discovery-limited rate',
    ]);
    expect(strangers.length).toBeLessThanOrEqual(512);
    const counted = await metrics();
    expect(counted).toMatch(/^bms_discoveries_total\{outcome="too fast"\} [1-9]/m);
    expect(counted).toMatch(/^bms_discoveries_total\{outcome="full"\} [1-9]/m);
  });

  it('by default nobody is enrolled', async () => {
    const { send } = await pod({ unknown_machines: 'ignore' });
    send(MAC, [guid(1)]);
    await site.clock.runFor(10_000);
    expect(await site.store.list(nodeKind)).toEqual([]);
  });
});

/** Each answer comes after a number of turns of its own, so that replicas overtake each other. */
function slow(store: MemoryStore, seed: number): Store {
  const random = seededRandom(seed);
  const late = async <T>(work: () => Promise<T>): Promise<T> => {
    for (let turns = random.bytes(1)[0] ?? 0; turns > 0; turns -= 16) await Promise.resolve();
    return work();
  };
  return {
    get: (kind, id) => late(() => store.get(kind, id)),
    list: (kind, options) => late(() => store.list(kind, options)),
    create: (kind, id, value) => late(() => store.create(kind, id, value)),
    update: (kind, record, version) => late(() => store.update(kind, record, version)),
    delete: (kind, record, version) => late(() => store.delete(kind, record, version)),
    watch: (kind, handler) => store.watch(kind, handler),
    close: () => store.close(),
  };
}
