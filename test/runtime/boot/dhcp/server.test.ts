import { afterEach, describe, expect, it } from 'vitest';
import { type DhcpMessage, decodeDhcp, encodeDhcp } from '../../../../src/runtime/boot/dhcp/codec.ts';
import { type Lease, MemoryLeaseStore } from '../../../../src/runtime/boot/dhcp/lease.ts';
import { messageType } from '../../../../src/runtime/boot/dhcp/options.ts';
import type { DhcpExchange, RivalServer } from '../../../../src/runtime/boot/dhcp/reply.ts';
import { DhcpServer, type DhcpServerOptions } from '../../../../src/runtime/boot/dhcp/server.ts';
import type { DhcpSettings } from '../../../../src/runtime/boot/dhcp/settings.ts';
import type { UdpSocket } from '../../../../src/runtime/core/network.ts';
import { nodeClock } from '../../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../../src/runtime/core/node-network.ts';
import * as captures from './captures.ts';
import { MAC, machine, message, OTHER_MAC } from './world.ts';

/** The loopback network is a broadcast domain too: 127.255.255.255 reaches every socket on 0.0.0.0. */
const SERVER = '127.0.67.1';

class Client {
  private readonly heard: DhcpMessage[] = [];
  private wake: () => void = () => undefined;
  private socket: UdpSocket | undefined;

  static async open(address = '0.0.0.0'): Promise<Client> {
    const client = new Client();
    client.socket = await nodeNetwork.udp(
      { address, port: 0, broadcast: true, reuseAddress: true },
      {
        onMessage(data) {
          client.heard.push(decodeDhcp(data));
          client.wake();
        },
      },
    );
    return client;
  }

  get port(): number {
    return this.socket?.local.port ?? 0;
  }

  send(data: Uint8Array, port: number, address = '127.255.255.255'): void {
    this.socket?.send(data, { address, port });
  }

  async next(): Promise<DhcpMessage> {
    for (;;) {
      const first = this.heard.shift();
      if (first) return first;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  async close(): Promise<void> {
    await this.socket?.close();
  }
}

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

interface Running {
  server: DhcpServer;
  client: Client;
  exchanges: DhcpExchange[];
  rivals: RivalServer[];
  /** The next exchange that the server reports. */
  reported(): Promise<DhcpExchange>;
}

async function run(settings: Partial<DhcpSettings> = {}, over: Partial<DhcpServerOptions> = {}): Promise<Running> {
  const client = await Client.open();
  open.push(client);
  const exchanges: DhcpExchange[] = [];
  const rivals: RivalServer[] = [];
  let read = 0;
  let wake: () => void = () => undefined;
  const server = new DhcpServer({
    settings: {
      mode: 'server',
      interfaces: [{ name: 'lo', address: SERVER }],
      subnets: [{ cidr: '127.0.67.0/24', pools: [{ first: '127.0.67.100', last: '127.0.67.199' }], gateway: '127.0.67.254' }],
      ports: { server: 0, client: client.port, bootServer: 0 },
      broadcastAddress: '127.255.255.255',
      ...settings,
    },
    machines: { findMachine: async (mac) => (mac === MAC ? machine() : undefined), findMachineByUuid: async () => undefined },
    clock: nodeClock,
    network: nodeNetwork,
    onExchange(exchange) {
      exchanges.push(exchange);
      wake();
    },
    onRival: (rival) => rivals.push(rival),
    ...over,
  });
  await server.start();
  open.push(server);
  const reported = async (): Promise<DhcpExchange> => {
    for (;;) {
      const next = exchanges[read];
      if (next) {
        read++;
        return next;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { server, client, exchanges, rivals, reported };
}

describe('on real sockets', () => {
  it('002-5: discover to ack by broadcast; the lease is known by address, and over a restart', async () => {
    const store = new MemoryLeaseStore();
    const { server, client } = await run({}, { store });
    client.send(captures.INTEL_PXE_DISCOVER, server.listening.server);
    const offer = await client.next();
    expect(offer).toMatchObject({ op: 'reply', siaddr: SERVER, file: 'pxelinux.0' });
    client.send(encodeDhcp(message('request', { requested: offer.yiaddr, serverId: SERVER })), server.listening.server);
    expect(messageType(await client.next())).toBe('ack');
    const lease = { mac: MAC, address: offer.yiaddr, server: SERVER, gateway: '127.0.67.254', netmask: '255.255.255.0' };
    expect(server.leaseOf(offer.yiaddr)).toEqual(lease);
    expect(server.addressOf(MAC)).toBe(offer.yiaddr);
    expect(server.leaseOf('127.0.67.9')).toBeUndefined();
    await server.close();
    const again = await run({}, { store });
    expect(again.server.leaseOf(offer.yiaddr)).toEqual(lease);
  });

  it('a relay is answered at the server port', async () => {
    const { server } = await run();
    const heard: DhcpMessage[] = [];
    let wake: () => void = () => undefined;
    const relay = await nodeNetwork.udp(
      { address: '127.0.67.254', port: server.listening.server, reuseAddress: true },
      {
        onMessage(data) {
          heard.push(decodeDhcp(data));
          wake();
        },
      },
    );
    open.push(relay);
    const answered = new Promise<void>((resolve) => {
      wake = resolve;
    });
    relay.send(encodeDhcp(message('discover', { giaddr: '127.0.67.254' })), { address: SERVER, port: server.listening.server });
    await answered;
    expect(heard[0]).toMatchObject({ giaddr: '127.0.67.254', yiaddr: expect.stringMatching(/^127\.0\.67\.1\d\d$/) });
  });

  it('on an address of its own it hears what relays send to that, and no broadcast', async () => {
    const { server, client, reported } = await run({ listen: SERVER });
    const { server: port } = server.listening;
    client.send(encodeDhcp(message('discover', { mac: OTHER_MAC })), port);
    client.send(encodeDhcp(message('discover', { mac: '52:54:00:12:34:58', giaddr: '127.0.67.254' })), port, SERVER);
    expect(await reported()).toMatchObject({ mac: '52:54:00:12:34:58' });
  });

  it('002-14: the proxy answers on both ports and knows the address afterwards', async () => {
    const { server, client } = await run({ mode: 'proxy' });
    client.send(captures.INTEL_PXE_DISCOVER, server.listening.server);
    expect(await client.next()).toMatchObject({ yiaddr: '0.0.0.0', file: 'pxelinux.0' });
    client.send(captures.PXE_BOOT_SERVER_REQUEST, server.listening.bootServer, SERVER);
    expect(messageType(await client.next())).toBe('ack');
    expect(server.leaseOf('192.168.50.100')).toMatchObject({ mac: MAC, server: SERVER });
    expect(server.addressOf(MAC)).toBe('192.168.50.100');
  });

  it('002-14: hears a rival’s reply on the client port', async () => {
    const watched = await Client.open('127.0.67.68');
    open.push(watched);
    const noticed = Promise.withResolvers<RivalServer>();
    const { client } = await run({ watchReplies: true, ports: { server: 0, client: watched.port } }, { onRival: noticed.resolve });
    client.send(captures.DNSMASQ_OFFER, watched.port);
    expect(await noticed.promise).toEqual({ serverId: '192.168.50.20', seen: 'reply', mac: MAC });
  });

  it('every datagram leaves a line with its reason', async () => {
    const { server, client, reported } = await run();
    client.send(Uint8Array.of(1, 2, 3), server.listening.server);
    expect(await reported()).toEqual({ answer: 'none', reason: 'malformed: 3 bytes are shorter than the 240-byte header' });
    client.send(encodeDhcp(message('discover', { mac: '52:54:00:00:00:99' })), server.listening.server);
    expect(await reported()).toEqual({
      mac: '52:54:00:00:00:99',
      type: 'discover',
      answer: 'none',
      reason: 'no machine has MAC 52:54:00:00:00:99',
    });
  });
});

describe('what fails around it', () => {
  it('records that do not answer: silence, then service as before', async () => {
    let down = true;
    const findMachine = async () => {
      if (down) throw new Error('connection refused');
      return machine();
    };
    const { server, client, reported } = await run({}, { machines: { findMachine, findMachineByUuid: findMachine } });
    client.send(captures.INTEL_PXE_DISCOVER, server.listening.server);
    expect(await reported()).toMatchObject({ mac: MAC, type: 'discover', answer: 'none', reason: 'the machine records do not answer' });
    down = false;
    client.send(captures.INTEL_PXE_DISCOVER, server.listening.server);
    expect(messageType(await client.next())).toBe('offer');
  });

  it('a lease that cannot be stored is not promised', async () => {
    const store = { load: async () => [], save: async () => Promise.reject(new Error('disk full')) };
    const { server, client, reported } = await run({ authoritative: true }, { store });
    client.send(encodeDhcp(message('request', { requested: '127.0.67.100' })), server.listening.server);
    expect(await reported()).toMatchObject({ answer: 'none', reason: 'the lease could not be stored' });
  });

  it('leases are saved one batch after another, in order', async () => {
    const saved: Lease[][] = [];
    const first = Promise.withResolvers<[]>();
    const store = {
      load: async () => [],
      save(leases: readonly Lease[]) {
        saved.push([...leases]);
        return saved.length === 1 ? first.promise : Promise.resolve([]);
      },
    };
    const { server, client } = await run({ authoritative: true }, { store });
    const ask = (type: 'request' | 'release') =>
      client.send(
        encodeDhcp(message(type, type === 'request' ? { requested: '127.0.67.100' } : { ciaddr: '127.0.67.100' })),
        server.listening.server,
      );
    ask('request');
    while (saved.length === 0) await new Promise((resolve) => setImmediate(resolve));
    ask('release');
    ask('request');
    while (server.leaseOf('127.0.67.100') === undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(saved.length).toBe(1);
    first.resolve([]);
    await client.next();
    await client.next();
    expect(saved.flat().map(({ state }) => state)).toEqual(['bound', 'released', 'bound']);
  });

  it('a taken port rejects the start and leaves nothing open', async () => {
    const taken = await nodeNetwork.udp({ address: '0.0.0.0', port: 0 }, { onMessage: () => undefined });
    open.push(taken);
    await expect(run({ ports: { server: taken.local.port } })).rejects.toThrow(/EADDRINUSE/);
  });

  it('close may be called twice, and frees the port', async () => {
    const { server } = await run();
    const { server: port } = server.listening;
    await server.close();
    await server.close();
    const next = await nodeNetwork.udp({ address: '0.0.0.0', port }, { onMessage: () => undefined });
    await next.close();
  });
});
