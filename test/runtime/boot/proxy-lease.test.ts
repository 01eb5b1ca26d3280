/** Beside another DHCP server the machine's address is learnt; the deploy-helper then knows who may use the deployment key. */
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { BootObserver } from 'cdk8s-baremetal-runtime/machine/boot-observer';
import { enrol, MemorySecretStore, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { SimNetwork } from 'cdk8s-baremetal-simulator/network/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { describe, expect, it } from 'vitest';
import { decideBoot } from '../../../src/runtime/boot/decide-boot.ts';
import { encodeDhcp } from '../../../src/runtime/boot/dhcp/codec.ts';
import type { DhcpProblem } from '../../../src/runtime/boot/dhcp/problems.ts';
import { DhcpServer } from '../../../src/runtime/boot/dhcp/server.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { MAC, machine, message, OTHER_MAC, SERVER, SITE, World } from './dhcp/world.ts';
import { FakeClock, FakeNetwork } from './tftp/fake-network.ts';

const ADDRESS = '192.168.50.77';

async function site() {
  const core = { store: new MemoryStore(), clock: new VirtualClock(), secrets: new MemorySecretStore(), random: seededRandom(1) };
  const bmc = { driver: 'ipmi', address: '10.0.1.5', username: 'admin', password: new Secret('hunter2!') } as const;
  const node = await enrol(core, {
    name: 'bm-1',
    macs: [MAC],
    properties: { cpus: 2, memoryMb: 4096, localGb: 80, cpuArch: 'x86_64' },
    bmc,
  });
  const observer = new BootObserver({
    store: core.store,
    clock: core.clock,
    logger: silentLogger,
    machines: { findMachine: async () => machine(), findMachineByUuid: async () => undefined },
    leaseOf: (address) => (address === ADDRESS ? { mac: MAC, address } : undefined),
  });
  const lease = async () => {
    await observer.settled();
    return (await core.store.get(nodeKind, node.id))?.value.lease;
  };
  const timeline = async () => {
    await observer.settled();
    return (await core.store.get(nodeKind, node.id))?.value.timeline.map(({ type, detail }) => [type, detail]);
  };
  return { observer, lease, timeline };
}

it('002-5: the end of a download is on the record, as that of a TFTP transfer is', async () => {
  const { observer, timeline } = await site();
  const before = (await timeline())?.length;
  const remote = { address: ADDRESS, port: 40_000 };
  observer.download({ remote, file: '/kernel', bytes: 7, durationMs: 20, firstByteMs: 2, outcome: 'complete' });
  observer.download({ remote, file: '/ramdisk', bytes: 3, durationMs: 20, firstByteMs: 2, outcome: 'aborted' });
  expect((await timeline())?.slice(before)).toEqual([
    ['HTTP served', '/kernel, 7 bytes'],
    ['HTTP not served', '/ramdisk: aborted after 3 bytes'],
  ]);
});

describe('002-14: the lease on the record, in proxy mode', () => {
  it('002-14: comes from the request to the other server', async () => {
    const { observer, lease } = await site();
    observer.dhcp({ mac: MAC, type: 'discover', answer: 'offer', reason: '' });
    expect(await lease()).toBeUndefined();
    observer.dhcp({ mac: MAC, type: 'request', answer: 'none', address: ADDRESS, uses: true, reason: '' });
    expect(await lease()).toMatchObject({ mac: MAC, address: ADDRESS });
  });

  it('N13: not from the server’s own answer to a client that has an address and asks for options: that is no lease, and anybody may say it', async () => {
    const { observer, lease } = await site();
    const world = new World().add(machine());
    const given = world.ask('discover').replies[0]?.message.yiaddr ?? '';
    observer.dhcp(world.ask('request', { requested: given, serverId: SERVER }).exchange);
    expect(await lease()).toMatchObject({ address: given });
    const informed = world.ask('inform', { ciaddr: '192.168.50.66' }).exchange;
    expect(informed).toMatchObject({ answer: 'ack', address: '192.168.50.66' });
    observer.dhcp(informed);
    expect(await lease()).toMatchObject({ address: given });
  });

  it('002-14: or from the address that was given the configuration', async () => {
    const { observer, lease } = await site();
    observer.boot({ protocol: 'tftp', path: 'pxelinux.cfg/01-52-54-00-12-34-56', address: ADDRESS, answer: 'config', reasons: [] });
    expect(await lease()).toMatchObject({ mac: MAC, address: ADDRESS });
  });

  it('a machine that asks in a loop while the store stands still fills no memory', async () => {
    let asked = 0;
    const store = new Proxy(new MemoryStore(), {
      get: (target, name) => {
        if (name !== 'list' && name !== 'get') return Reflect.get(target, name);
        asked++;
        return () => new Promise(() => undefined);
      },
    });
    const warnings: unknown[] = [];
    const observer = new BootObserver({
      store,
      clock: new VirtualClock(),
      logger: { ...silentLogger, warn: (...given: unknown[]) => void warnings.push(given) },
      machines: { findMachine: async () => undefined, findMachineByUuid: async () => undefined },
      leaseOf: () => undefined,
    });
    for (let n = 0; n < 5_000; n++) observer.dhcp({ mac: MAC, type: 'request', answer: 'ack', address: ADDRESS, reason: '' });
    expect(warnings).toHaveLength(1);
    await Promise.resolve();
    expect(asked).toBeLessThan(5);
  });

  it('what a client declines or gives back is not its address', async () => {
    const { observer, lease } = await site();
    observer.dhcp({ mac: MAC, type: 'release', answer: 'none', address: ADDRESS, reason: '' });
    expect(await lease()).toBeUndefined();
  });
});

describe('002-14: who has an address, in proxy mode', () => {
  it('002-14: the ARP table knows without a word of DHCP, and knows better than a request that anybody may send', async () => {
    const clock = new FakeClock();
    const network = new FakeNetwork(clock);
    const table = new Map<string, string>();
    const problems: DhcpProblem[] = [];
    const server = new DhcpServer({
      settings: { ...SITE, mode: 'proxy' },
      machines: { findMachine: async () => machine(), findMachineByUuid: async () => undefined },
      clock,
      network: { ...nodeNetwork, udp: network.udp.bind(network), hardwareAddressOf: (address) => table.get(address) },
      onProblem: (problem) => problems.push(problem),
    });
    await server.start();
    expect(server.leaseOf(ADDRESS)).toBeUndefined();
    table.set(ADDRESS, MAC);
    expect(server.leaseOf(ADDRESS)).toMatchObject({ mac: MAC, address: ADDRESS });

    const client = await network.udp({ address: '192.168.50.99', port: 68 }, { onMessage: () => undefined });
    client.send(encodeDhcp(message('request', { requested: ADDRESS, serverId: '192.168.50.1' })), { address: '0.0.0.0', port: 67 });
    await clock.pass(10);
    table.set(ADDRESS, OTHER_MAC);
    expect(server.leaseOf(ADDRESS)?.mac).toBe(OTHER_MAC);
    expect(problems).toMatchObject([{ kind: 'address-conflict', subject: ADDRESS, mac: OTHER_MAC }]);
    // one file that is asked for asks several times who asks: that is one sighting
    for (let time = 0; time < 5; time++) server.leaseOf(ADDRESS);
    expect(problems.length).toBe(1);
    await clock.pass(61_000);
    server.leaseOf(ADDRESS);
    expect(problems.length).toBe(2);
    table.clear(); // behind a router: the client's word is all there is
    expect(server.leaseOf(ADDRESS)?.mac).toBe(MAC);
    await Promise.all([server.close(), client.close()]);
  });
  it('002-14: a machine of the second network is not told the server’s address in the first', async () => {
    const clock = new VirtualClock();
    const network = new SimNetwork({ clock, random: seededRandom(1) });
    const interfaces = [
      { segment: 'vlan1', address: '192.168.50.20/24' },
      { segment: 'vlan2', address: '192.168.51.20/24' },
    ];
    const host = network.host({ name: 'server', interfaces });
    const deploy = {
      kind: 'deploy',
      kernel: 'k',
      ramdisk: 'r',
      iscsiTargetIqn: 'iqn.x:y',
      deploymentId: '7',
      deploymentKey: 'key',
    } as const;
    const booting = machine({ boot: deploy });
    const server = new DhcpServer({
      settings: {
        mode: 'proxy',
        interfaces: interfaces.map(({ segment, address }) => ({
          name: segment,
          address: address.replace('/24', ''),
          fd: host.openDevice(segment, 67),
        })),
        subnets: [],
      },
      machines: { findMachine: async () => booting, findMachineByUuid: async () => undefined },
      clock,
      network: host,
    });
    await server.start();
    const client = await network
      .host({ name: 'client', segment: 'vlan2' })
      .udp({ port: 68, broadcast: true }, { onMessage: () => undefined });
    const requested = '192.168.51.77';
    client.send(encodeDhcp(message('request', { requested, serverId: '192.168.51.1' })), { address: '255.255.255.255', port: 67 });
    await clock.runFor(10);
    const lease = server.leaseOf(requested);
    expect(lease).toMatchObject({ mac: MAC, address: requested });
    const path = 'grub/grub.cfg-01-52-54-00-12-34-56';
    const decision = decideBoot(booting, { protocol: 'tftp', path, address: requested, nowMs: 0, ...(lease && { lease }) });
    expect(decision).toMatchObject({ kind: 'config', text: expect.stringContaining('ip=192.168.51.77:$net_default_server::') });
  });
});
