import { describe, expect, it } from 'vitest';
import { decodeDhcp } from '../../../../src/runtime/boot/dhcp/codec.ts';
import { addressOption, macOf, messageType, numberOption, OPTION, textOption } from '../../../../src/runtime/boot/dhcp/options.ts';
import { compileDhcpSettings, type DhcpSettings } from '../../../../src/runtime/boot/dhcp/settings.ts';
import * as captures from './captures.ts';
import { MAC, machine, OTHER_MAC, SERVER, SITE, World } from './world.ts';

const PXE = { vendor: 'PXEClient:Arch:00000:UNDI:002001', arch: 0 };
const BROADCAST = { address: '255.255.255.255', port: 68 };

describe('the seed’s dnsmasq line: a range, a boot file, a TFTP root, one interface', () => {
  it('002-5: discover, offer, request, ack', () => {
    const world = new World().add(machine());
    const [offer] = world.send(decodeDhcp(captures.INTEL_PXE_DISCOVER)).replies;
    expect(offer?.to).toEqual(BROADCAST);
    expect(offer?.message).toMatchObject({ op: 'reply', xid: 0x3456789a, siaddr: SERVER, file: 'pxelinux.0', ciaddr: '0.0.0.0' });
    const address = offer?.message.yiaddr ?? '';
    expect(address).toMatch(/^192\.168\.50\.10[0-2]$/);

    const [ack] = world.ask('request', { ...PXE, requested: address, serverId: SERVER }).replies;
    if (!ack) throw new Error('no ACK');
    expect(messageType(ack.message)).toBe('ack');
    expect(ack.message).toMatchObject({ yiaddr: address, file: 'pxelinux.0', siaddr: SERVER });
    expect(addressOption(ack.message, OPTION.serverId)).toBe(SERVER);
    expect(addressOption(ack.message, OPTION.subnetMask)).toBe('255.255.255.0');
    expect(addressOption(ack.message, OPTION.router)).toBe('192.168.50.254');
    expect([OPTION.leaseTime, OPTION.renewalTime, OPTION.rebindingTime].map((code) => numberOption(ack.message, code))).toEqual([
      3600, 1800, 3150,
    ]);
    expect(world.leases.holder(address, world.nowMs)?.mac).toBe(MAC);
  });

  it('002-5: names boot file and server in options 66 and 67 too, where the ROM asks for them', () => {
    const world = new World().add(machine({ mac: '52:54:00:aa:bb:07' }));
    const offer = world.send(decodeDhcp(captures.EDK2_X64_DISCOVER)).replies[0]?.message;
    if (!offer) throw new Error('no offer');
    expect([offer.file, textOption(offer, OPTION.bootFile), textOption(offer, OPTION.tftpServer)]).toEqual([
      'bootx64.efi',
      'bootx64.efi',
      SERVER,
    ]);
    expect(offer.options.has(OPTION.vendorClass)).toBe(false); // would send the ROM looking for a boot server
    expect(offer.options.get(OPTION.clientGuid)).toEqual(decodeDhcp(captures.EDK2_X64_DISCOVER).options.get(OPTION.clientGuid));
  });

  it('002-5: gives iPXE its script, and no wait for a proxy', () => {
    const offer = new World().add(machine()).send(decodeDhcp(captures.IPXE_DISCOVER)).replies[0]?.message;
    expect(offer?.file).toBe('52-54-00-12-34-56.ipxe');
    expect([...(offer?.options.get(OPTION.ipxe) ?? [])]).toEqual([176, 1, 1]);
    const overHttp = new World({}, { http: true, httpPort: 8080 }).add(machine()).send(decodeDhcp(captures.IPXE_DISCOVER))
      .replies[0]?.message;
    expect(overHttp?.file).toBe(`http://${SERVER}:8080/52-54-00-12-34-56.ipxe`);
  });

  it('002-5: gives UEFI HTTP boot a URL under its own vendor class', () => {
    const world = new World({}, { http: true }).add(machine({ mac: '52:54:00:aa:bb:10' }));
    const offer = world.send(decodeDhcp(captures.EDK2_HTTP_DISCOVER)).replies[0]?.message;
    if (!offer) throw new Error('no offer');
    expect([textOption(offer, OPTION.vendorClass), textOption(offer, OPTION.bootFile), offer.file]).toEqual([
      'HTTPClient',
      `http://${SERVER}/bootx64.efi`,
      '',
    ]);
  });

  it('gives UEFI HTTP boot an address but no file where HTTP is not served, and says so', () => {
    const world = new World().add(machine({ mac: '52:54:00:aa:bb:10' }));
    const outcome = world.send(decodeDhcp(captures.EDK2_HTTP_DISCOVER));
    expect(outcome.replies[0]?.message.options.has(OPTION.bootFile)).toBe(false);
    expect(outcome.exchange.reason).toContain('it boots over HTTP, which is not served here');
  });

  it('gives an operating system an address and no boot file', () => {
    const offer = new World().add(machine()).ask('discover').replies[0]?.message;
    expect([offer?.file, offer?.siaddr]).toEqual(['', '0.0.0.0']);
  });
});

describe('which address', () => {
  it('a configured reservation wins over the machine’s record, which wins over the pool', () => {
    const world = new World({ reservations: [{ mac: OTHER_MAC.toUpperCase(), address: '192.168.50.50', hostname: 'node-2' }] });
    world.add(machine({ address: '192.168.50.40' }), machine({ id: '8', mac: OTHER_MAC, address: '192.168.50.41' }));
    expect(world.boots()).toBe('192.168.50.40');
    expect(world.boots({ mac: OTHER_MAC })).toBe('192.168.50.50');
  });

  it('002-5: an address that a record reserves is given to nobody else, even while its machine is off', () => {
    const others = [1, 2, 3].map((index) => `52:54:00:00:00:0${index}`);
    const world = new World({ authoritative: true });
    world.add(machine({ address: '192.168.50.101' }), ...others.map((mac) => machine({ id: mac, mac })));
    expect(others.map((mac) => world.boots({ mac }))).toEqual([
      ...[expect.any(String), expect.any(String)], // 100 and 102
      undefined,
    ]);
    expect(world.ask('request', { mac: others[2] ?? '', requested: '192.168.50.101' }).exchange).toMatchObject({
      answer: 'nak',
      reason: '192.168.50.101 is reserved for another client',
    });
    expect(world.boots()).toBe('192.168.50.101');
  });

  it('who holds an address when it is reserved for another keeps it until its next start', () => {
    const world = new World().add(machine({ id: '8', mac: OTHER_MAC }));
    const address = world.boots({ mac: OTHER_MAC }) ?? '';
    world.add(machine({ address }));
    expect(world.ask('request', { mac: OTHER_MAC, ciaddr: address }).exchange).toMatchObject({ answer: 'ack', address });
    expect(world.boots({ mac: OTHER_MAC })).not.toBe(address);
    expect(world.boots()).toBe(address);
  });

  it.each([SERVER, '192.168.50.254', '192.168.50.255', '10.0.0.1', 'nonsense'])(
    'a record that names %s gets an address of the pool',
    (address) => {
      expect(new World().add(machine({ address })).boots()).toMatch(/^192\.168\.50\.10[0-2]$/);
    },
  );

  it('boot ROM, ramdisk and system keep one address although their client ids differ', () => {
    const world = new World().add(machine());
    const ids = [[1, 0x52], [0xff, 1, 2, 3], [0]].map((bytes) => Uint8Array.from(bytes));
    const addresses = ids.map((id) => world.boots({ options: [[OPTION.clientId, id]] }));
    expect(new Set(addresses).size).toBe(1);
    const ack = world.ask('discover', { options: [[OPTION.clientId, Uint8Array.of(9, 9)]] }).replies[0]?.message;
    expect([...(ack?.options.get(OPTION.clientId) ?? [])]).toEqual([9, 9]); // RFC 6842
  });

  it('a MAC gets its former address, even after the lease ran out', () => {
    const world = new World().add(machine(), machine({ id: '8', mac: OTHER_MAC }));
    const first = world.boots();
    world.nowMs += 7_200_000;
    expect(world.boots({ requested: '192.168.50.102' })).toBe(first);
  });

  it('a new MAC gets the free address that it asks for, but no address outside the pool', () => {
    const world = new World().add(machine());
    expect(world.ask('discover', { requested: '192.168.50.102' }).replies[0]?.message.yiaddr).toBe('192.168.50.102');
    const other = new World().add(machine());
    expect(other.ask('discover', { requested: '192.168.50.9' }).replies[0]?.message.yiaddr).toMatch(/\.10[0-2]$/);
  });

  it('a used-up pool is no answer; an offer that nobody took frees its address', () => {
    const macs = [0, 1, 2, 3].map((index) => `52:54:00:00:00:0${index}`);
    const world = new World().add(...macs.map((mac) => machine({ id: mac, mac })));
    const offers = macs.slice(0, 3).map((mac) => world.ask('discover', { mac }).replies[0]?.message.yiaddr);
    expect(new Set(offers).size).toBe(3);
    const last = { mac: macs[3] ?? '' };
    const refused = world.ask('discover', last);
    expect([refused.replies.length, refused.exchange.reason]).toEqual([0, 'the pool of 192.168.50.0/24 is used up']);
    world.nowMs += 60_000;
    expect(world.boots(last)).toMatch(/\.10[0-2]$/);
  });

  it('never the server’s, the gateway’s or a reserved address, even inside the pool', () => {
    const subnets = [{ cidr: '192.168.50.0/29', pools: [{ first: '192.168.50.0', last: '192.168.50.7' }], gateway: '192.168.50.6' }];
    const interfaces = [{ name: 'eth0', address: '192.168.50.1' }];
    const world = new World({ subnets, interfaces, reservations: [{ mac: MAC, address: '192.168.50.2' }], unknownMachines: 'offer' });
    const offered = [1, 2, 3, 4].map((n) => world.ask('discover', { mac: `52:54:00:00:00:0${n}` }).replies[0]?.message.yiaddr);
    expect(offered.sort()).toEqual(['192.168.50.3', '192.168.50.4', '192.168.50.5', undefined]);
  });
});

describe('REQUEST', () => {
  it('renewing: unicast to ciaddr, the lease goes on', () => {
    const world = new World().add(machine());
    const address = world.boots() ?? '';
    world.nowMs += 1_800_000;
    const outcome = world.ask('request', { ciaddr: address });
    expect(outcome.replies[0]?.to).toEqual({ address, port: 68 });
    expect(outcome.replies[0]?.message).toMatchObject({ yiaddr: address, ciaddr: address });
    expect(world.leases.get(address)?.untilMs).toBe(world.nowMs + 3_600_000);
    expect(outcome.changed.map((lease) => lease.state)).toEqual(['bound']);
  });

  const refused = [
    { name: 'an address of another network', ask: { requested: '10.0.0.5' }, reason: '10.0.0.5 is not in 192.168.50.0/24' },
    { name: 'an address that another client holds', ask: { requested: '192.168.50.40' }, reason: '192.168.50.40 is not given out here' },
  ];
  it.each(refused)('a known client that wakes up with $name is told no', ({ ask, reason }) => {
    const world = new World().add(machine());
    world.boots();
    const outcome = world.ask('request', ask);
    expect(outcome.exchange).toMatchObject({ answer: 'nak', reason });
    const nak = outcome.replies[0];
    expect(nak?.to).toEqual(BROADCAST);
    expect(nak?.message).toMatchObject({ yiaddr: '0.0.0.0', ciaddr: '0.0.0.0' });
    expect(nak && textOption(nak.message, OPTION.message)).toBe(reason);
    expect(nak?.message.options.has(OPTION.leaseTime)).toBe(false);
  });

  it('a client without a record gets silence (another server may know it), or an answer where we are the authority', () => {
    const silent = new World().add(machine());
    expect(silent.ask('request', { requested: '192.168.50.101' })).toMatchObject({ replies: [], exchange: { answer: 'none' } });
    const sure = new World({ authoritative: true }).add(machine());
    expect(sure.ask('request', { requested: '192.168.50.101' }).exchange.answer).toBe('ack');
    expect(sure.ask('request', { requested: '192.168.60.1' }).exchange.answer).toBe('nak');
  });

  it('two clients that want one address: the second is refused', () => {
    const world = new World().add(machine(), machine({ id: '8', mac: OTHER_MAC }));
    const address = world.boots() ?? '';
    const outcome = world.ask('request', { mac: OTHER_MAC, requested: address, serverId: SERVER });
    expect(outcome.exchange).toMatchObject({ answer: 'nak', reason: `${address} is held by another client` });
    expect(world.leases.holder(address, world.nowMs)?.mac).toBe(MAC);
  });

  it('after a changed reservation the old address is refused and the new one given; the old one is free again', () => {
    const world = new World().add(machine());
    const old = world.boots() ?? '';
    world.add(machine({ address: '192.168.50.44' }));
    expect(world.ask('request', { ciaddr: old }).exchange.answer).toBe('nak');
    expect(world.boots()).toBe('192.168.50.44');
    expect(world.leases.get(old)?.state).toBe('released');
  });

  it('a restart forgets offers, and the client’s REQUEST is acknowledged all the same', () => {
    const world = new World().add(machine());
    const offered = world.ask('discover').replies[0]?.message.yiaddr ?? '';
    world.leases.remove(offered);
    expect(world.ask('request', { requested: offered, serverId: SERVER }).exchange.answer).toBe('ack');
  });

  it('asks for a lease time within bounds', () => {
    const world = new World({ maxLeaseSeconds: 7200 }).add(machine());
    const given = [1, 600, 7200, 0xffffffff].map((seconds) => {
      const value = new Uint8Array(4);
      new DataView(value.buffer).setUint32(0, seconds);
      const offer = world.ask('discover', { options: [[OPTION.leaseTime, value]] }).replies[0]?.message;
      return offer && numberOption(offer, OPTION.leaseTime);
    });
    expect(given).toEqual([60, 600, 7200, 7200]);
  });
});

describe('DECLINE, RELEASE, INFORM', () => {
  it('a declined address is in quarantine, and its reservation falls back to the pool meanwhile', () => {
    const world = new World().add(machine({ address: '192.168.50.40' }));
    const address = world.boots() ?? '';
    const declined = world.ask('decline', { requested: address, serverId: SERVER });
    expect(declined.replies).toEqual([]);
    expect(declined.changed).toEqual([{ address, mac: MAC, state: 'declined', untilMs: world.nowMs + 3_600_000 }]);
    expect(world.boots()).toMatch(/\.10[0-2]$/);
    world.nowMs += 3_600_000;
    expect(world.boots()).toBe(address);
  });

  it('nobody declines what it does not hold', () => {
    const world = new World().add(machine(), machine({ id: '8', mac: OTHER_MAC }));
    const address = world.boots() ?? '';
    expect(world.ask('decline', { mac: OTHER_MAC, requested: address, serverId: SERVER }).changed).toEqual([]);
    expect(world.ask('decline', { mac: OTHER_MAC, requested: '192.168.50.102' }).changed).toEqual([]);
    expect(world.leases.holder(address, world.nowMs)?.mac).toBe(MAC);
  });

  it('a released address can be had by others; a release by others is nothing', () => {
    const world = new World().add(machine(), machine({ id: '8', mac: OTHER_MAC }));
    const address = world.boots() ?? '';
    world.ask('release', { mac: OTHER_MAC, ciaddr: address });
    expect(world.leases.holder(address, world.nowMs)).toBeDefined();
    expect(world.ask('release', { ciaddr: address }).replies).toEqual([]);
    expect(world.leases.holder(address, world.nowMs)).toBeUndefined();
    expect(world.ask('discover', { mac: OTHER_MAC, requested: address }).replies[0]?.message.yiaddr).toBe(address);
  });

  it('INFORM gets options and no lease', () => {
    const [ack] = new World().add(machine()).ask('inform', { ciaddr: '192.168.50.200' }).replies;
    expect(ack?.to).toEqual({ address: '192.168.50.200', port: 68 });
    expect(ack?.message.yiaddr).toBe('0.0.0.0');
    expect(ack?.message.options.has(OPTION.leaseTime)).toBe(false);
    expect(ack && addressOption(ack.message, OPTION.router)).toBe('192.168.50.254');
  });
});

describe('relays', () => {
  it('answers the relay at the server port, from the relay’s network, with its information unchanged and last', () => {
    const request = decodeDhcp(captures.RELAYED_DISCOVER);
    const [offer] = new World().add(machine()).send(request).replies;
    expect(offer?.to).toEqual({ address: '10.128.192.254', port: 67 });
    expect(offer?.message.yiaddr).toMatch(/^10\.128\.192\.1\d\d$/);
    expect(offer?.message.giaddr).toBe('10.128.192.254');
    expect([...(offer?.message.options ?? [])].at(-1)).toEqual([OPTION.relayAgent, request.options.get(OPTION.relayAgent)]);
  });

  const selection = [
    { name: 'a named relay outside the network', ask: { giaddr: '172.16.0.1' }, network: /^10\.128\.192\./ },
    {
      name: 'link selection (RFC 3527)',
      ask: { giaddr: '172.16.9.9', options: [[OPTION.relayAgent, Uint8Array.of(5, 4, 192, 168, 50, 0)]] as [number, Uint8Array][] },
      network: /^192\.168\.50\./,
    },
  ];
  it.each(selection)('$name selects the subnet', ({ ask, network }) => {
    expect(new World().add(machine()).ask('discover', ask).replies[0]?.message.yiaddr).toMatch(network);
  });

  it('a relay of no subnet gets silence', () => {
    expect(new World().add(machine()).ask('discover', { giaddr: '172.16.0.2' }).exchange.reason).toBe(
      'relay 172.16.0.2 serves no subnet of ours',
    );
  });

  it('a NAK through a relay asks it to broadcast', () => {
    const world = new World().add(machine());
    world.boots({ giaddr: '10.128.192.254' });
    const [nak] = world.ask('request', { giaddr: '10.128.192.254', requested: '192.168.50.100' }).replies;
    expect(nak && messageType(nak.message)).toBe('nak');
    expect([nak?.to.address, nak?.message.broadcast]).toEqual(['10.128.192.254', true]);
  });
});

describe('whom it does not answer, each with the reason', () => {
  const world = (): World => new World().add(machine());
  const cases = [
    { name: 'an unknown MAC', outcome: () => new World().ask('discover'), reason: `no machine has MAC ${MAC}` },
    {
      name: 'a garbled GUID',
      outcome: () => world().ask('discover', { options: [[OPTION.clientGuid, new Uint8Array(16)]] }),
      reason: /GUID \(option 97\)/,
    },
    {
      name: 'InfiniBand',
      outcome: () => world().send({ ...decodeDhcp(captures.INTEL_PXE_DISCOVER), hardwareType: 32 }),
      reason: /not an Ethernet MAC/,
    },
    {
      name: 'plain BOOTP',
      outcome: () => world().send({ ...decodeDhcp(captures.INTEL_PXE_DISCOVER), options: new Map() }),
      reason: /plain BOOTP/,
    },
    { name: 'a server’s message type', outcome: () => world().ask('offer'), reason: /only servers/ },
    { name: 'a request for nothing', outcome: () => world().ask('request'), reason: /asks for no address/ },
  ];
  it.each(cases)('$name', ({ outcome, reason }) => {
    const { replies, exchange } = outcome();
    expect(replies).toEqual([]);
    expect(exchange.answer).toBe('none');
    expect(exchange.reason).toMatch(reason);
  });

  it('with unknownMachines: offer, an unknown MAC gets an address and no boot file', () => {
    const offer = new World({ unknownMachines: 'offer' }).ask('discover', PXE).replies[0]?.message;
    expect(offer?.yiaddr).toMatch(/\.10[0-2]$/);
    expect(offer?.file).toBe('');
  });
});

describe('002-14: another DHCP server on the LAN', () => {
  it('002-14: is reported when a client chooses it, and our offer is withdrawn', () => {
    const world = new World().add(machine());
    const offered = world.ask('discover').replies[0]?.message.yiaddr ?? '';
    const outcome = world.ask('request', { requested: '192.168.50.77', serverId: '192.168.50.1' });
    expect(outcome.rival).toEqual({ serverId: '192.168.50.1', seen: 'chosen-by-client', mac: MAC });
    expect(outcome.replies).toEqual([]);
    expect(world.leases.get(offered)).toBeUndefined();
  });

  it('002-14: is reported when its reply is heard; our own replies are not', () => {
    const world = new World().add(machine());
    const foreign = { ...decodeDhcp(captures.DNSMASQ_OFFER), options: new Map(decodeDhcp(captures.DNSMASQ_OFFER).options) };
    expect(world.send(foreign).rival).toBeUndefined(); // 192.168.50.20 is us
    foreign.options.set(OPTION.serverId, Uint8Array.of(192, 168, 50, 1));
    expect(world.send(foreign).rival).toEqual({ serverId: '192.168.50.1', seen: 'reply', mac: macOf(foreign) });
  });
});

describe('settings are refused by name', () => {
  const cases: { name: string; change: Partial<DhcpSettings>; code: string }[] = [
    { name: 'no interface', change: { interfaces: [] }, code: 'DHCP_NO_INTERFACE' },
    {
      name: 'two interfaces without descriptors',
      change: { interfaces: ['10.0.0.1', '10.0.1.1'].map((address) => ({ name: address, address })) },
      code: 'DHCP_INTERFACES_UNLABELLED',
    },
    { name: 'host bits', change: { subnets: [{ cidr: '192.168.50.1/24' }] }, code: 'DHCP_BAD_SUBNET' },
    {
      name: 'a pool elsewhere',
      change: { subnets: [{ cidr: '192.168.50.0/24', pools: [{ first: '192.168.51.1', last: '192.168.51.9' }] }] },
      code: 'DHCP_POOL_OUTSIDE_SUBNET',
    },
    {
      name: 'a pool backwards',
      change: { subnets: [{ cidr: '192.168.50.0/24', pools: [{ first: '192.168.50.9', last: '192.168.50.1' }] }] },
      code: 'DHCP_POOL_OUTSIDE_SUBNET',
    },
    {
      name: 'overlapping subnets',
      change: { subnets: [{ cidr: '192.168.0.0/16' }, { cidr: '192.168.50.0/24' }] },
      code: 'DHCP_SUBNET_OVERLAP',
    },
    { name: 'a gateway that is none', change: { subnets: [{ cidr: '192.168.50.0/24', gateway: 'gw' }] }, code: 'DHCP_BAD_ADDRESS' },
    { name: 'a reservation elsewhere', change: { reservations: [{ mac: MAC, address: '1.2.3.4' }] }, code: 'DHCP_RESERVATION_OUTSIDE' },
    { name: 'a MAC that is none', change: { reservations: [{ mac: 'x', address: '192.168.50.40' }] }, code: 'DHCP_BAD_MAC' },
    {
      name: 'one address for two',
      change: { reservations: [MAC, OTHER_MAC].map((mac) => ({ mac, address: '192.168.50.40' })) },
      code: 'DHCP_RESERVATION_DUPLICATE',
    },
    { name: 'a lease for ever', change: { leaseSeconds: 0xffffffff }, code: 'DHCP_BAD_TIME' },
  ];
  it.each(cases)('$name', ({ change, code }) => {
    expect(() => compileDhcpSettings({ ...SITE, ...change })).toThrow(expect.objectContaining({ code }));
  });
});
