/** Two replicas on one network and one store; strangers; relays; a network on which somebody already uses an address. All on a simulated network. */
import { describe, expect, it } from 'vitest';
import type { Lease } from '../../../../src/runtime/boot/dhcp/lease.ts';
import { OPTION, uint16Value } from '../../../../src/runtime/boot/dhcp/options.ts';
import { A, B, world } from './two-replicas.ts';
import { MAC, OTHER_MAC } from './world.ts';

describe('two replicas that answer on one network', () => {
  it('002-5: offer the same address, leave the client to the one it chose, and know its lease both', async () => {
    const { clock, servers, ask, problems } = await world();
    const offers = await ask('discover');
    expect(offers.map(({ server }) => server)).toEqual([A, B]);
    expect(new Set(offers.map(({ address }) => address)).size).toBe(1);
    const address = offers[0]?.address ?? '';
    expect(await ask('request', { requested: address, serverId: B })).toEqual([{ type: 'ack', address, server: B }]);
    await clock.runFor(100);
    expect(servers.map((server) => server.leaseOf(address)?.mac)).toEqual([MAC, MAC]);
    expect(servers.map((server) => server.addressOf(MAC))).toEqual([address, address]);
    expect(problems).toEqual([]); // a replica is no rogue server
    // the other one confirms it when its own server is gone
    await servers[1]?.close();
    expect(await ask('request', { requested: address })).toEqual([{ type: 'ack', address, server: A }]);
  });

  it('002-14: are no rivals to each other on the client port either; a third server is', async () => {
    const { ask, problems, reply } = await world({}, { watchReplies: true });
    const [offer] = await ask('discover');
    await ask('request', { requested: offer?.address ?? '', serverId: A });
    expect(problems).toEqual([]);
    await reply('192.168.50.1');
    expect(problems.map(({ kind, subject }) => [kind, subject])).toEqual([
      ['rival-server', '192.168.50.1'],
      ['rival-server', '192.168.50.1'],
    ]);
  });

  it('002-14: beside another DHCP server its replies are what is expected', async () => {
    const { problems, reply } = await world({}, { mode: 'proxy', watchReplies: true });
    await reply('192.168.50.1');
    expect(problems).toEqual([]);
  });

  it('a replica that starts later knows what was given', async () => {
    const { servers, ask, store } = await world({}, { authoritative: true });
    await servers[1]?.close();
    const first = await ask('request', { mac: MAC, requested: '192.168.50.101' });
    expect(first).toEqual([{ type: 'ack', address: '192.168.50.101', server: A }]);
    const late = await world({ store }, { authoritative: true });
    await late.servers[0]?.close();
    const second = await late.ask('request', { mac: OTHER_MAC, requested: '192.168.50.101' });
    expect(second).toMatchObject([{ type: 'nak', server: B }]);
    expect(store.rows.get('192.168.50.101')?.mac).toBe(MAC);
  });

  it('a lease that another replica stored wins over an offer that was made meanwhile', async () => {
    const { clock, servers, ask, store } = await world();
    const [offer] = await ask('discover');
    const address = offer?.address ?? '';
    await store.save([{ address, mac: OTHER_MAC, state: 'bound', untilMs: clock.now() + 3_600_000 }]);
    // not told yet: the store itself refuses
    const answer = await ask('request', { requested: address, serverId: A });
    expect(answer).toMatchObject([{ type: 'nak', server: A }]);
    expect(servers[0]?.leaseOf(address)?.mac).toBe(OTHER_MAC);
  });

  it('what its client declined to the other one is given by neither, told of it or not', async () => {
    const { clock, ask } = await world();
    const [offer] = await ask('discover');
    const requested = offer?.address ?? '';
    await ask('request', { requested, serverId: A });
    await clock.runFor(100);
    await ask('decline', { requested, serverId: A });
    expect(await ask('request', { requested })).toMatchObject([
      { type: 'nak', server: A },
      { type: 'nak', server: B },
    ]);
  });

  it('who gives back what it no longer has takes it from nobody to whom the other one gave it', async () => {
    const { clock, ask, store } = await world();
    const [offer] = await ask('discover');
    const address = offer?.address ?? '';
    await ask('request', { requested: address, serverId: A });
    await clock.runFor(3_600_000);
    await ask('request', { mac: OTHER_MAC, requested: address, serverId: B });
    await ask('release', { ciaddr: address, serverId: A });
    expect(store.rows.get(address)).toMatchObject({ mac: OTHER_MAC, state: 'bound' });
  });

  it('a machine that went from one to the other keeps its lease when the first one’s news comes late', async () => {
    const { clock, servers, ask } = await world();
    const [offer] = await ask('discover');
    const address = offer?.address ?? '';
    await ask('request', { requested: address, serverId: B });
    await clock.runFor(100);
    await ask('release', { ciaddr: address, serverId: B }); // firmware gives its address back before the loader asks for one
    await ask('discover');
    expect(await ask('request', { requested: address, serverId: A })).toMatchObject([{ type: 'ack', server: A }]);
    await clock.runFor(100);
    expect(servers.map((server) => server.leaseOf(address)?.mac)).toEqual([MAC, MAC]);
  });

  it.each([
    ['is told in time', 50],
    ['is told late', 5000],
  ])('an address that the other one gives away while it is looked for is not taken for a squatter’s, when that %s', async (_, lateMs) => {
    const address = (await (await world()).ask('discover'))[0]?.address ?? ''; // the one that it is always offered first
    const neighbours = new Map<string, string>();
    const { clock, servers, ask, heard, store, problems } = await world({}, {}, { lateMs, neighbours });
    await ask('discover');
    await clock.runFor(100);
    const given: Lease = { address, mac: OTHER_MAC, state: 'bound', untilMs: clock.now() + 3_600_000 };
    await store.save([given]);
    neighbours.set(address, OTHER_MAC);
    await clock.runFor(1000);
    expect(store.rows.get(address)).toEqual(given);
    expect(servers[0]?.leaseOf(address)?.mac).toBe(OTHER_MAC);
    expect(problems).toEqual([]);
    expect(heard.filter((offer) => offer.address === address)).toEqual([]);
  });

  it('an address that the other one gives away while it is looked for is not offered, when nobody answers at it yet', async () => {
    const address = (await (await world()).ask('discover'))[0]?.address ?? '';
    const { clock, ask, heard, store } = await world({}, {}, { neighbours: new Map() });
    await ask('discover');
    await clock.runFor(100);
    await store.save([{ address, mac: OTHER_MAC, state: 'bound', untilMs: clock.now() + 3_600_000 }]);
    await clock.runFor(1000);
    expect(heard.map((offer) => offer.address)).toEqual([expect.not.stringContaining(address), expect.not.stringContaining(address)]);
  });
});

describe('what is noticed', () => {
  const PXE = { vendor: 'PXEClient:Arch:00007:UNDI:003016', options: [[OPTION.clientArch, uint16Value(7)]] as [number, Uint8Array][] };

  it('002-5: a stranger that wants to boot, once a minute, where the policy is to discover', async () => {
    const { clock, ask, found } = await world({}, { unknownMachines: 'discover' });
    for (let time = 0; time < 3; time++) expect(await ask('discover', { mac: '52:54:00:99:99:99', ...PXE })).toEqual([]);
    expect(found).toEqual([
      { mac: '52:54:00:99:99:99', interface: 'eth0', arch: 7 },
      { mac: '52:54:00:99:99:99', interface: 'eth0', arch: 7 },
    ]); // one for each replica
    await ask('discover', { mac: '52:54:00:99:99:98' }); // boots from its disk: nothing of ours
    await clock.runFor(61_000);
    await ask('discover', { mac: '52:54:00:99:99:99', ...PXE });
    expect(found.length).toBe(4);
  });

  it('002-14: a relay of no network of ours, and a configured one that never says anything', async () => {
    const { clock, ask, problems } = await world();
    await ask('discover', { giaddr: '10.9.9.1' });
    expect(problems).toMatchObject([
      { kind: 'unknown-relay', subject: '10.9.9.1', mac: MAC },
      { kind: 'unknown-relay', subject: '10.9.9.1', mac: MAC },
    ]);
    problems.length = 0;
    await clock.runFor(3_600_100);
    expect(problems.map(({ kind, subject }) => [kind, subject])).toEqual([
      ['silent-relay', '172.16.0.1'],
      ['silent-relay', '172.16.0.1'],
    ]);
  });

  it('002-14: a pool that is used up, and an address that a client declines', async () => {
    const { ask, problems } = await world({}, { unknownMachines: 'offer' });
    for (const last of ['01', '02', '03', '04']) await ask('discover', { mac: `52:54:00:aa:00:${last}` });
    expect(problems).toMatchObject([
      { kind: 'pool-exhausted', subject: '192.168.50.0/24' },
      { kind: 'pool-exhausted', subject: '192.168.50.0/24' },
    ]);
    problems.length = 0;
    await ask('decline', { mac: '52:54:00:aa:00:01', requested: '192.168.50.100', serverId: A });
    await ask('decline', { mac: '52:54:00:aa:00:01', requested: '192.168.50.101', serverId: A });
    await ask('decline', { mac: '52:54:00:aa:00:01', requested: '192.168.50.102', serverId: A });
    expect(problems.filter(({ kind }) => kind === 'address-conflict').length).toBe(1);
  });
});
