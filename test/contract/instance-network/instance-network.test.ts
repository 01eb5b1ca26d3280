/** Row 002-16: from the settings of an instance to what kernels, cloud-init and /etc/network/interfaces are told. */
import { spawnSync } from 'node:child_process';
import {
  type InstanceNetwork,
  instanceNetwork,
  kernelArguments,
  netplan,
  networkData,
  noCloudConfigDrive,
  openstackConfigDrive,
  type ResolvedNetwork,
  renderInterfacesFile,
  resolveNetwork,
} from 'cdk8s-baremetal-contract/instance-network/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const MACS = ['52:54:00:00:00:01', '52:54:00:00:00:02'] as const;

const STATIC = {
  interfaces: [
    { on: 0, ipv4: { address: '10.0.0.5/24', gateway: '10.0.0.1' }, dns: ['10.0.0.2', 'fd00::2'], mtu: 9000 },
    { on: '52-54-00-00-00-02', ipv6: { address: 'fd00:1::5/64', gateway: 'fe80::1' } },
  ],
  search: ['example.org'],
};

function resolved(given: unknown = STATIC, macs: readonly string[] = MACS): ResolvedNetwork {
  const network = resolveNetwork(instanceNetwork.parse(given), macs);
  if (typeof network === 'string') throw new Error(network);
  return network;
}

describe('002-16: the settings', () => {
  it.each([
    ['an address without a prefix', { on: 0, ipv4: { address: '10.0.0.5' } }, 'interfaces.0.ipv4'],
    ["the network's own address", { on: 0, ipv4: { address: '10.0.0.0/24' } }, "10.0.0.0 is the network's own or its broadcast address"],
    ['the broadcast address', { on: 0, ipv4: { address: '10.0.0.255/24' } }, 'broadcast'],
    [
      'a router elsewhere',
      { on: 0, ipv4: { address: '10.0.0.5/24', gateway: '10.0.1.1' } },
      '10.0.1.1 is not in the network of 10.0.0.5/24',
    ],
    ['itself as router', { on: 0, ipv4: { address: '10.0.0.5/24', gateway: '10.0.0.5' } }, 'is the address itself'],
    ['four name servers', { on: 0, dns: ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4'] }, 'interfaces.0.dns'],
    ['a name for a server', { on: 0, dns: ['ns.example'] }, 'interfaces.0.dns'],
    ['no MAC address', { on: 'eth0' }, 'interfaces.0.on'],
    ['an unknown field', { on: 0, ip: '10.0.0.5' }, 'ip'],
    ['a tiny MTU', { on: 0, mtu: 68 }, 'interfaces.0.mtu'],
  ])('%s is refused, naming the field', (_name, one, said) => {
    const read = instanceNetwork.safeParse({ interfaces: [one] });
    const told = read.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ');
    expect(told).toContain(said);
  });

  it.each([
    [
      'two default routers',
      [
        { on: 0, ipv4: { address: '10.0.0.5/24', gateway: '10.0.0.1' } },
        { on: 1, ipv4: { address: '10.1.0.5/24', gateway: '10.1.0.1' } },
      ],
      'a default router for IPv4',
    ],
    [
      'one address twice',
      [
        { on: 0, ipv4: { address: '10.0.0.5/24' } },
        { on: 1, ipv4: { address: '10.0.0.5/16' } },
      ],
      'address 10.0.0.5',
    ],
    ['one interface twice', [{ on: 0 }, { on: 0 }], 'interface 0'],
  ])('%s are refused', (_name, interfaces, said) => {
    expect(instanceNetwork.safeParse({ interfaces }).error?.issues[0]?.message).toBe(`${said} is that of interfaces.0, too`);
  });

  it('are put on the interfaces of one machine, or its lack is named', () => {
    expect(resolved().interfaces.map(({ name, mac, boots }) => [name, mac, boots])).toEqual([
      ['eth0', MACS[0], true],
      ['eth1', MACS[1], false],
    ]);
    const network = instanceNetwork.parse(STATIC);
    expect(resolveNetwork(network, [MACS[0]])).toBe('it has no interface 52:54:00:00:00:02');
    expect(resolveNetwork(instanceNetwork.parse({ interfaces: [{ on: 3 }] }), MACS)).toBe(
      'it has 2 interfaces, and interface 3 is asked for (they are counted from 0)',
    );
    expect(resolveNetwork(instanceNetwork.parse({ interfaces: [{ on: 0 }, { on: MACS[0] }] }), MACS)).toBe(
      `its interface ${MACS[0]} is named twice`,
    );
  });
});

describe('002-16: the kernel command line', () => {
  it("is nova's ip=, with the names of interfaces tied to the hardware", () => {
    expect(kernelArguments(resolved())).toEqual([
      'ifname=eth0:52:54:00:00:00:01',
      'ip=10.0.0.5::10.0.0.1:255.255.255.0::eth0:off:10.0.0.2',
      'BOOTIF=01-52-54-00-00-00-01',
      'ifname=eth1:52:54:00:00:00:02',
      'ip=[fd00:1::5]::[fe80::1]:64::eth1:off',
    ]);
    expect(
      kernelArguments(
        resolved({
          interfaces: [
            { on: 0, ipv4: 'dhcp' },
            { on: 1, ipv6: 'auto' },
          ],
        }),
      ),
    ).toEqual([
      'ifname=eth0:52:54:00:00:00:01',
      'ip=:::::eth0:dhcp',
      'BOOTIF=01-52-54-00-00-00-01',
      'ifname=eth1:52:54:00:00:00:02',
      'ip=eth1:auto6',
    ]);
    expect(kernelArguments(resolved({ interfaces: [{ on: 0, mtu: 1500 }] }))).toEqual([]);
  });
});

describe('002-16: what the templates of nova produced', () => {
  it('net-static.ubuntu: address, netmask, gateway and name servers of each interface', () => {
    expect(renderInterfacesFile(resolved())).toBe(`# Written by bms-core for this instance.

auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address 10.0.0.5
    netmask 255.255.255.0
    gateway 10.0.0.1
    dns-nameservers 10.0.0.2 fd00::2
    dns-search example.org
    mtu 9000

auto eth1
iface eth1 inet6 static
    address fd00:1::5
    netmask 64
    gateway fe80::1
    dns-search example.org
`);
  });

  it('net-dhcp.ubuntu', () => {
    expect(renderInterfacesFile(resolved({ interfaces: [{ on: 0, ipv4: 'dhcp' }] }))).toContain('\nauto eth0\niface eth0 inet dhcp\n');
  });
});

describe('002-16: the config drive', () => {
  const instance = { uuid: '00000000-0000-4000-8000-000000000001', name: 'web-1' };

  it('has network_data.json and the interfaces file in the form of OpenStack', () => {
    const { label, files } = openstackConfigDrive({
      instance,
      network: resolved(),
      authorizedKeys: ['ssh-ed25519 AAAA'],
      userData: '#cloud-config\n',
    });
    expect([label, files.map(({ path }) => path)]).toEqual([
      'config-2',
      ['openstack/latest/meta_data.json', 'openstack/latest/network_data.json', 'openstack/content/0000', 'openstack/latest/user_data'],
    ]);
    const json = (index: number) => JSON.parse(files[index]?.content ?? '');
    expect(json(0)).toMatchObject({ uuid: instance.uuid, hostname: 'web-1', public_keys: { 'key-0': 'ssh-ed25519 AAAA' } });
    expect(json(1)).toEqual(networkData(resolved()));
    expect(json(1).networks[0]).toMatchObject({ type: 'ipv4', ip_address: '10.0.0.5', netmask: '255.255.255.0', link: 'eth0' });
    expect(json(1).networks[0].routes).toEqual([{ network: '0.0.0.0', netmask: '0.0.0.0', gateway: '10.0.0.1' }]);
  });

  it("and version 2 in cloud-init's own form", () => {
    const { label, files } = noCloudConfigDrive({ instance, network: resolved() });
    expect([label, files.map(({ path }) => path)]).toEqual(['cidata', ['meta-data', 'user-data', 'network-config']]);
    expect(JSON.parse(files[2]?.content ?? '')).toEqual(netplan(resolved()));
  });

  it('is there without a network, too', () => {
    expect(openstackConfigDrive({ instance }).files.map(({ path }) => path)).toEqual(['openstack/latest/meta_data.json']);
    expect(noCloudConfigDrive({ instance }).files.map(({ path }) => path)).toEqual(['meta-data', 'user-data']);
  });
});

const READER = `
import json, sys
from cloudinit.net import eni, network_state
from cloudinit.sources.helpers import openstack
given = json.load(sys.stdin)
out = {}
out['data'] = openstack.convert_net_json(given['data'], known_macs={'52:54:00:00:00:01': 'a', '52:54:00:00:00:02': 'b'})
out['plan'] = [i for i in network_state.parse_net_config_data(given['plan'], renderer=None).iter_interfaces()]
out['eni'] = eni.convert_eni_data(given['eni'])
json.dump(out, sys.stdout)
`;
// Debian's own, which sees Debian's packages
const PYTHON = '/usr/bin/python3';
const hasCloudInit = spawnSync(PYTHON, ['-c', 'import cloudinit.net.eni']).status === 0;
if (!hasCloudInit) console.warn('skipped: cloud-init is not installed (package cloud-init), so nobody else reads the network settings');

describe.skipIf(!hasCloudInit)("002-16: cloud-init's own readers", () => {
  it('find the same addresses, routers and name servers in all three forms', () => {
    const network = resolved();
    const input = JSON.stringify({ data: networkData(network), plan: netplan(network), eni: renderInterfacesFile(network) });
    const { stdout, stderr, status } = spawnSync(PYTHON, ['-c', READER], { input, encoding: 'utf8' });
    expect([status, status === 0 ? '' : stderr]).toEqual([0, '']);
    const read = JSON.parse(stdout);
    const [first, second] = read.data.config;
    expect(first).toMatchObject({ type: 'physical', mac_address: MACS[0], mtu: 9000 });
    expect(first.subnets[0]).toMatchObject({ type: 'static', address: '10.0.0.5', netmask: '255.255.255.0' });
    expect(first.subnets[0].routes[0]).toMatchObject({ gateway: '10.0.0.1' });
    expect(second.subnets[0]).toMatchObject({ type: 'static6', address: 'fd00:1::5/64' });
    const plan = Object.fromEntries(read.plan.map((one: { name: string }) => [one.name, one]));
    expect(plan.eth0).toMatchObject({ mac_address: MACS[0], subnets: [{ address: '10.0.0.5', prefix: 24 }] });
    expect(JSON.stringify(plan.eth0)).toContain('10.0.0.1');
    expect(JSON.stringify(plan.eth0)).toContain('10.0.0.2');
    const file = Object.fromEntries(read.eni.config.map((one: { name?: string }) => [one.name ?? 'other', one]));
    expect(file.eth0.subnets[0]).toMatchObject({ type: 'static', address: '10.0.0.5', netmask: '255.255.255.0', gateway: '10.0.0.1' });
    expect(file.eth0.subnets[0].dns_nameservers).toEqual(['10.0.0.2', 'fd00::2']);
  });
});

it('002-16: what is accepted renders in every form without a blank or a quote in a kernel word', () => {
  const octet = fc.integer({ min: 1, max: 254 });
  const one = fc.record(
    {
      ipv4: fc.oneof(
        fc.constant('dhcp' as const),
        fc.tuple(octet, octet, fc.integer({ min: 1, max: 32 })).map(([a, b, prefix]) => ({ address: `10.${a}.0.${b}/${prefix}` })),
      ),
      ipv6: fc.oneof(
        fc.constant('auto' as const),
        octet.map((value) => ({ address: `fd00::${value.toString(16)}/64`, gateway: 'fe80::1' })),
      ),
      dns: fc.array(fc.ipV4(), { maxLength: 3 }),
      mtu: fc.integer({ min: 500, max: 9300 }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 4 }), (list) => {
      const read = instanceNetwork.safeParse({ interfaces: list.map((settings, on) => ({ on, ...settings })) });
      if (!read.success) return;
      const network = resolveNetwork(
        read.data satisfies InstanceNetwork,
        ['0', '1', '2', '3'].map((last) => `52:54:00:00:00:0${last}`),
      );
      if (typeof network === 'string') throw new Error(network);
      for (const word of kernelArguments(network)) expect(word).toMatch(/^[A-Za-z0-9:.=[\]-]+$/);
      expect(networkData(network).links).toHaveLength(list.length);
      JSON.stringify(netplan(network));
      renderInterfacesFile(network);
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 1000) },
  );
});
