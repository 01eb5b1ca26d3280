/** Several provisioning networks on one host, squatters, strangers and load: foreign clients in namespaces of their own, on the real ports. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { OPEN_DEVICE_SOCKETS } from '../../../../src/runtime/boot/device-sockets.ts';
import { type Finished, missingForNamespaces, type Namespace, NamespacePair } from '../../../support/netns.ts';
import { describeWith, serve } from './fixtures/boot-server.ts';
import { MAC, machine, OTHER_MAC, SITE } from './world.ts';

const UDHCPC = { name: 'udhcpc', debian: 'udhcpc' };
const PERL = { name: 'perl', debian: 'perl-base' };
const PERFDHCP = { name: 'perfdhcp', debian: 'kea-admin' };
const SERVER = '192.168.50.20';

let folder: string;
const pairs: NamespacePair[] = [];
const runnable = missingForNamespaces() === undefined;

beforeEach(async () => {
  if (runnable) folder = await mkdtemp(join(tmpdir(), 'dhcp-networks-'));
});
afterEach(async () => {
  if (!runnable) return;
  for (const pair of pairs.splice(0)) await pair.close();
  await rm(folder, { recursive: true });
});

async function cable(mac: string): Promise<NamespacePair> {
  const pair = await NamespacePair.create({ right: { mac } });
  pairs.push(pair);
  return pair;
}

async function udhcpc(where: Namespace): Promise<Finished> {
  const script = join(folder, 'print');
  await writeFile(script, '#!/bin/sh\necho "event $1"; env | sort\n');
  await chmod(script, 0o755);
  return where.exec(['udhcpc', '-i', 'eth0', '-f', '-n', '-q', '-t', '3', '-T', '2', '-s', script]);
}

function told({ output }: Finished, name: string): string | undefined {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(output)?.[1];
}

/** Prints each datagram that reaches the client port. */
const LISTENER = `
const socket = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true });
socket.on('message', (data, from) => console.log('heard ' + from.address));
socket.bind(68, () => console.log('listening'));
`;

describeWith([UDHCPC, PERL], 'two provisioning networks', () => {
  it('002-5: each has a socket of its own; neither hears the offers of the other, nor is answered from the wrong network', async () => {
    // the server's namespace has two bridges, a client's namespace behind each
    const first = await cable(MAC);
    const second = await cable(OTHER_MAC);
    const server = first.left;
    await second.left.ip('link', 'set', 'eth0', 'netns', server.name, 'name', 'eth1');
    for (const [bridge, port, address] of [
      ['br0', 'eth0', `${SERVER}/24`],
      ['br1', 'eth1', '192.168.51.20/24'],
    ] as const) {
      await server.ip('link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0');
      await server.ip('link', 'set', port, 'master', bridge, 'up');
      await server.ip('address', 'add', address, 'dev', bridge);
      await server.ip('link', 'set', bridge, 'up');
    }
    const running = await serve(
      server,
      {
        settings: {
          ...SITE,
          interfaces: [
            { name: 'br0', address: SERVER },
            { name: 'br1', address: '192.168.51.20' },
          ],
          subnets: [
            { cidr: '192.168.50.0/24', pools: [{ first: '192.168.50.100', last: '192.168.50.102' }] },
            { cidr: '192.168.51.0/24', pools: [{ first: '192.168.51.100', last: '192.168.51.102' }] },
          ],
        },
        machines: [machine({ id: '1', mac: MAC }), machine({ id: '2', mac: OTHER_MAC })],
      },
      ['perl', '-e', OPEN_DEVICE_SOCKETS, '67', 'br0', 'br1', '--'],
    );
    for (const [client, bystander, network, serverId] of [
      [first.right, second.right, '192.168.50.', SERVER],
      [second.right, first.right, '192.168.51.', '192.168.51.20'],
    ] as const) {
      const listener = bystander.spawn([process.execPath, '-e', LISTENER]);
      let heard = '';
      await new Promise<void>((resolve) =>
        listener.stdout?.on('data', (chunk: Buffer) => {
          heard += chunk.toString();
          resolve();
        }),
      );
      const result = await udhcpc(client);
      expect(result.code, result.output).toBe(0);
      expect([told(result, 'ip')?.startsWith(network), told(result, 'serverid')]).toEqual([true, serverId]);
      listener.kill();
      expect(heard.trim()).toBe('listening');
    }
    const answers = running.events.filter(({ exchange }) => exchange?.answer === 'ack');
    expect(answers.map(({ exchange }) => exchange?.mac)).toEqual([MAC, OTHER_MAC]);
  });
});

describeWith([UDHCPC], 'an address that somebody has already', () => {
  it('002-14: is passed over, kept back, and reported with the MAC address that answered', async () => {
    const pair = await NamespacePair.create({ left: { address: `${SERVER}/24` }, right: { mac: MAC, address: '192.168.50.100/24' } });
    pairs.push(pair);
    // one namespace is both: the squatter (its address) and the client (another interface on the same cable)
    await pair.right.ip('link', 'add', 'link', 'eth0', 'name', 'client0', 'address', OTHER_MAC, 'type', 'macvlan', 'mode', 'bridge');
    await pair.right.ip('link', 'set', 'client0', 'up');
    const server = await serve(pair.left, {
      settings: { ...SITE, subnets: [{ cidr: '192.168.50.0/24', pools: [{ first: '192.168.50.100', last: '192.168.50.101' }] }] },
      machines: [machine({ mac: OTHER_MAC })],
    });
    const script = join(folder, 'print');
    await writeFile(script, '#!/bin/sh\necho "event $1"; env | sort\n');
    await chmod(script, 0o755);
    // the address that hashing would give it first must be the squatter's: it asks for it
    const asked = ['udhcpc', '-i', 'client0', '-f', '-n', '-q', '-t', '3', '-T', '2', '-r', '192.168.50.100', '-s', script];
    const result = await pair.right.exec(asked);
    expect(result.code, result.output).toBe(0);
    expect(told(result, 'ip')).toBe('192.168.50.101');
    const { problem } = await server.until((event) => event.problem !== undefined);
    expect(problem).toMatchObject({ kind: 'address-conflict', subject: '192.168.50.100', mac: MAC });
  });
});

describeWith([PERFDHCP], 'perfdhcp (Kea)', () => {
  it('002-5: hundreds of clients get their leases, none twice', { timeout: 60_000 }, async () => {
    const pair = await NamespacePair.create({ left: { address: `${SERVER}/16` }, right: { address: '192.168.60.1/16' } });
    pairs.push(pair);
    // it sends as a relay, from its own address and port 67
    await serve(pair.left, {
      settings: {
        ...SITE,
        subnets: [{ cidr: '192.168.0.0/16', pools: [{ first: '192.168.100.1', last: '192.168.110.254' }] }],
        unknownMachines: 'offer',
      },
      machines: [],
    });
    const args = ['-4', '-r', '200', '-n', '400', '-R', '400', '-d', '2', '-l', '192.168.60.1', SERVER];
    const result = await pair.right.exec(['perfdhcp', ...args]);
    const counts = [...result.output.matchAll(/received packets: (\d+)/g)].map(([, count]) => Number(count));
    expect(counts.length, result.output).toBe(2);
    for (const count of counts) expect(count).toBeGreaterThanOrEqual(398); // it ends at its last answers, without waiting for those under way
    expect(result.output).toMatch(/drops ratio: 0[.\d]* %[\s\S]*rejected leases: 0/);
    expect(result.output).not.toMatch(/non unique addresses: [1-9]/);
  });
});
