/** What the simulated network does beyond the contract: broadcasts, routes, faults, power cuts, and one history per seed. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '../../src/runtime/core/clock.ts';
import type { TcpConnection, UdpSocket } from '../../src/runtime/core/network.ts';
import { VirtualClock } from '../../src/simulator/clock.ts';
import { formatEvent, type LinkFaults, type SimHost, SimNetwork } from '../../src/simulator/network/index.ts';
import { seededRandom } from '../../src/simulator/random.ts';

let clock: VirtualClock;
let network: SimNetwork;
let trace: string[];

function build(seed = 'test'): void {
  clock = new VirtualClock();
  trace = [];
  network = new SimNetwork({ clock, random: seededRandom(seed), trace: (event) => trace.push(formatEvent(event)) });
}

beforeEach(() => build());

function host(name: string, address: string, segment = 'lan'): SimHost {
  return network.host({ name, addresses: [address], segment });
}

/** A socket that keeps what it hears as `text from address:port`. */
async function ear(on: SimHost, port: number, options: { address?: string; fd?: number; broadcast?: boolean } = {}) {
  const heard: string[] = [];
  const errors: unknown[] = [];
  const socket: UdpSocket = await on.udp(
    { port, broadcast: true, ...options },
    {
      onMessage: (data, from) => heard.push(`${Buffer.from(data)} from ${from.address}:${from.port}`),
      onError: (error) => errors.push((error as NodeJS.ErrnoException).code),
    },
  );
  return {
    heard,
    errors,
    socket,
    say: (text: string, address: string, to = port) => socket.send(Buffer.from(text), { address, port: to }),
  };
}

async function readAll(connection: TcpConnection): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of connection) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no failure',
    (error: NodeJS.ErrnoException) => error.code ?? error.message,
  );

describe('UDP on segments', () => {
  it('a broadcast is heard on its segment, by sockets of any address, the sender included', async () => {
    const a = await ear(host('a', '10.0.0.1/24'), 67);
    const b = await ear(host('b', '10.0.0.2/24'), 67);
    const bound = await ear(host('bound', '10.0.0.3/24'), 67, { address: '10.0.0.3' });
    const other = await ear(host('other', '10.0.0.4/24', 'elsewhere'), 67);
    a.say('limited', '255.255.255.255');
    a.say('directed', '10.0.0.255');
    await clock.runFor(1);
    const both = ['limited from 10.0.0.1:67', 'directed from 10.0.0.1:67'];
    expect(a.heard).toEqual(both);
    expect(b.heard).toEqual(both);
    expect([bound.heard, other.heard]).toEqual([[], []]);
  });

  it('a socket that did not ask for it may not broadcast', async () => {
    const a = await ear(host('a', '10.0.0.1/24'), 67, { broadcast: false });
    a.say('x', '255.255.255.255');
    a.say('x', '10.0.0.255');
    await clock.runFor(1);
    expect(a.errors).toEqual(['EACCES', 'EACCES']);
  });

  it('a machine without an address is heard as 0.0.0.0, and reached by unicast once it has one', async () => {
    const server = await ear(host('server', '10.0.0.1/24'), 67);
    const machine = network.host({ name: 'machine', segment: 'lan' });
    const client = await ear(machine, 68);
    client.say('discover', '255.255.255.255', 67);
    await clock.runFor(1);
    expect(server.heard).toEqual(['discover from 0.0.0.0:68']);
    server.say('to an address that nobody has', '10.0.0.50', 68);
    server.say('offer', '255.255.255.255', 68);
    await clock.runFor(1);
    machine.attach('lan', '10.0.0.50/24');
    expect(machine.interfaces.length).toBe(1);
    server.say('hello', '10.0.0.50', 68);
    await clock.runFor(1);
    expect(client.heard).toEqual(['offer from 10.0.0.1:67', 'hello from 10.0.0.1:67']);
    machine.removeAddresses('lan');
    server.say('lost', '10.0.0.50', 68);
    await clock.runFor(1);
    expect(client.heard.length).toBe(2);
  });

  it('a multi-homed host hears every segment unlabelled on 0.0.0.0, and one segment on a device', async () => {
    const server = network.host({
      name: 'server',
      interfaces: [
        { segment: 'red', address: '10.1.0.1/24' },
        { segment: 'blue', address: '10.2.0.1/24' },
      ],
    });
    const red = await ear(server, 67, { fd: server.openDevice('red', 67) });
    const blue = await ear(server, 67, { fd: server.openDevice('blue', 67) });
    const clients = [await ear(host('r', '10.1.0.9/24', 'red'), 68), await ear(host('b', '10.2.0.9/24', 'blue'), 68)];
    for (const client of clients) client.say('hi', '255.255.255.255', 67);
    await clock.runFor(1);
    expect([red.heard, blue.heard]).toEqual([['hi from 10.1.0.9:68'], ['hi from 10.2.0.9:68']]);
    blue.say('answer', '255.255.255.255', 68);
    await clock.runFor(1);
    expect(clients.map(({ heard }) => heard)).toEqual([[], ['answer from 10.2.0.1:67']]);
  });

  it('bound addresses: the closer one wins, a wildcard conflicts, another host’s address is refused', async () => {
    const a = host('a', '10.0.0.1/24');
    await ear(a, 69);
    await expect(ear(a, 69, { address: '10.0.0.1' })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await expect(ear(a, 70, { address: '10.0.0.2' })).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    const shared = { port: 4011, reuseAddress: true };
    const heard: string[] = [];
    await a.udp(shared, { onMessage: () => heard.push('any') });
    await a.udp({ ...shared, address: '10.0.0.1' }, { onMessage: () => heard.push('own') });
    (await ear(host('b', '10.0.0.2/24'), 1)).say('x', '10.0.0.1', 4011);
    await clock.runFor(1);
    expect(heard).toEqual(['own']);
  });

  it('other subnets are reached through a router, or not at all', async () => {
    const client = await ear(host('client', '10.1.0.9/24', 'red'), 68);
    const server = await ear(host('server', '10.3.0.1/24', 'green'), 67);
    client.say('too early', '10.3.0.1', 67);
    await clock.runFor(1);
    expect(client.errors).toEqual(['ENETUNREACH']);
    const forwards = true;
    network.host({
      name: 'r1',
      forwards,
      interfaces: [
        { segment: 'red', address: '10.1.0.1/24' },
        { segment: 'blue', address: '10.2.0.1/24' },
      ],
    });
    const r2 = network.host({
      name: 'r2',
      forwards,
      interfaces: [
        { segment: 'blue', address: '10.2.0.2/24' },
        { segment: 'green', address: '10.3.0.254/24' },
      ],
    });
    client.say('through two', '10.3.0.1', 67);
    client.say('to the far side of a router', '10.3.0.254', 67);
    await clock.runFor(1);
    expect(server.heard).toEqual(['through two from 10.1.0.9:68']);
    server.say('and back', '10.1.0.9', 68);
    await clock.runFor(1);
    expect(client.heard).toEqual(['and back from 10.3.0.1:67']);
    r2.down();
    client.say('no more', '10.3.0.1', 67);
    await clock.runFor(1);
    expect([server.heard.length, client.errors]).toEqual([1, ['ENETUNREACH', 'ENETUNREACH']]);
  });
});

describe('faults', () => {
  const send = async (count: number): Promise<{ heard: string[]; times: number[] }> => {
    const times: number[] = [];
    const heard: string[] = [];
    await host('b', '10.0.0.2/24').udp(
      { port: 9 },
      {
        onMessage: (data) => {
          heard.push(`${Buffer.from(data)}`);
          times.push(clock.monotonic());
        },
      },
    );
    const sender = await ear(host('a', '10.0.0.1/24'), 9);
    for (let i = 0; i < count; i++) sender.say(`${i}`, '10.0.0.2');
    await clock.runFor(10_000);
    return { heard, times };
  };

  it('loss takes its share', async () => {
    network.segment('lan').degrade({ lossRatio: 0.25 });
    const { heard } = await send(2000);
    expect(heard.length).toBeGreaterThan(1400);
    expect(heard.length).toBeLessThan(1600);
    expect(heard).toEqual([...heard].sort((a, b) => Number(a) - Number(b)));
  });

  it('duplication repeats its share', async () => {
    network.segment('lan').degrade({ duplicateRatio: 0.5 });
    const { heard } = await send(1000);
    expect(heard.length).toBeGreaterThan(1400);
    expect(heard.length).toBeLessThan(1600);
    expect(new Set(heard).size).toBe(1000);
  });

  it('jitter keeps the order, reordering does not, and neither loses', async () => {
    network.segment('lan').degrade({ latencyMs: 10, jitterMs: 5 });
    const calm = await send(300);
    expect(calm.heard).toEqual(Array.from({ length: 300 }, (_, i) => `${i}`));
    expect(Math.min(...calm.times)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...calm.times)).toBeLessThanOrEqual(15.1);
    build();
    network.segment('lan').degrade({ reorderRatio: 0.3 });
    const wild = await send(300);
    expect(wild.heard.length).toBe(300);
    expect(wild.heard).not.toEqual(calm.heard);
    expect(wild.heard.sort((a, b) => Number(a) - Number(b))).toEqual(calm.heard);
  });

  it('a cable has its speed', async () => {
    network.segment('lan').degrade({ latencyMs: 0, bytesPerSecond: 43_000 }); // 1-byte datagrams are 43 bytes on the wire
    const { times } = await send(10);
    expect(times.map((time) => Math.round(time))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('a filter picks the packet to lose', async () => {
    network.filter = ({ data }) => `${Buffer.from(data)}` !== '1';
    expect((await send(3)).heard).toEqual(['0', '2']);
    expect(trace.filter((line) => line.includes('filtered')).length).toBe(1);
  });

  it('a partition is silent until it heals; a cut may have one direction', async () => {
    const a = await ear(host('a', '10.0.0.1/24'), 9);
    const b = await ear(host('b', '10.0.0.2/24'), 9);
    const c = await ear(host('c', '10.0.0.3/24'), 9);
    const everyone = async (): Promise<number[]> => {
      for (const from of [a, b, c]) from.say('x', '255.255.255.255');
      await clock.runFor(1);
      return [a, b, c].map(({ heard }) => heard.splice(0).length);
    };
    expect(await everyone()).toEqual([3, 3, 3]);
    network.partition(['a'], ['b', 'c']);
    expect(await everyone()).toEqual([1, 2, 2]);
    network.heal('a', 'b');
    expect(await everyone()).toEqual([2, 3, 2]);
    network.heal();
    network.cut('a', 'b', { oneWay: true });
    expect(await everyone()).toEqual([3, 2, 3]);
  });
});

describe('TCP under faults', () => {
  const transfer = async (faults: Partial<LinkFaults>, bytes: number): Promise<void> => {
    const server = host('server', '10.0.0.1/24');
    const client = host('client', '10.0.0.2/24');
    network.segment('lan').degrade(faults);
    const sent = seededRandom('payload').bytes(bytes);
    const work = async (): Promise<Buffer> => {
      const listener = await server.listen({ port: 0 }, async (connection) => {
        for await (const chunk of connection) await connection.write(chunk);
        connection.end();
      });
      const connection = await client.connect({ address: '10.0.0.1', port: listener.local.port });
      const [received] = await Promise.all([readAll(connection), connection.write(sent).then(() => connection.end())]);
      return received;
    };
    const received = await clock.run(work(), { limitMs: 3_600_000 });
    expect(Buffer.compare(received, sent)).toBe(0);
    // the connection is forgotten on both sides, when the last word has arrived or was given up, and nothing more is said
    await clock.runFor(3_600_000);
    const quiet = trace.length;
    await clock.runFor(3_600_000);
    expect(trace.length).toBe(quiet);
  };

  it('property: every byte arrives once and in order, whatever the wire does', async () => {
    const ratio = fc.double({ min: 0, max: 0.25, noNaN: true });
    await fc.assert(
      fc.asyncProperty(
        fc.record({ lossRatio: ratio, duplicateRatio: ratio, reorderRatio: ratio, latencyMs: fc.nat(100), jitterMs: fc.nat(20) }),
        fc.string(),
        fc.nat(600_000),
        async (faults, seed, bytes) => {
          build(seed);
          await transfer(faults, bytes);
        },
      ),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 40) },
    );
  });

  it('a burst that is lost is sent again; a partition shorter than the time-out goes unnoticed', async () => {
    const server = host('server', '10.0.0.1/24');
    const client = host('client', '10.0.0.2/24');
    const heard = Promise.withResolvers<Buffer>();
    await server.listen({ port: 80 }, (connection) => void readAll(connection).then(heard.resolve, heard.reject));
    const connection = await clock.run(client.connect({ address: '10.0.0.1', port: 80 }));
    await clock.runFor(1); // the last word of the handshake arrives
    network.partition(['server'], ['client']);
    const writing = connection.write(new Uint8Array(200_000)).then(() => connection.end());
    await clock.runFor(300_000);
    network.heal();
    expect((await clock.run(heard.promise)).length).toBe(200_000);
    await clock.run(writing);
  });

  it('a partition longer than that is ETIMEDOUT for who writes, and nothing for who only reads', async () => {
    const server = host('server', '10.0.0.1/24');
    const client = host('client', '10.0.0.2/24');
    let serverSaw: unknown = 'nothing';
    await server.listen({ port: 80 }, (connection) => void failure(readAll(connection)).then((what) => (serverSaw = what)));
    const connection = await clock.run(client.connect({ address: '10.0.0.1', port: 80 }));
    await clock.runFor(1);
    network.partition(['server'], ['client']);
    const start = clock.monotonic();
    const reading = failure(readAll(connection));
    await connection.write(Buffer.from('anybody?'));
    expect(await clock.run(reading)).toBe('ETIMEDOUT');
    // 15 retries from 200 ms on, doubling to 120 s: 924.6 s, as Linux documents for tcp_retries2
    expect(Math.round((clock.monotonic() - start) / 100) / 10).toBe(924.6);
    expect(serverSaw).toBe('nothing');
  });

  it('a closed window is probed, so that a lost window update does not stall the connection', async () => {
    const server = host('server', '10.0.0.1/24');
    const client = host('client', '10.0.0.2/24');
    const accepted = Promise.withResolvers<TcpConnection>();
    await server.listen({ port: 80 }, accepted.resolve);
    const connection = await clock.run(client.connect({ address: '10.0.0.1', port: 80 }));
    const writing = connection.write(new Uint8Array(1_000_000)).then(() => connection.end());
    await clock.runFor(2_000_000); // longer than any retransmission limit: a reader may be slow for ever
    network.filter = ({ source }) => source.address !== '10.0.0.1';
    const reading = readAll(await accepted.promise);
    await clock.runFor(10);
    network.filter = undefined;
    expect((await clock.run(reading)).length).toBe(1_000_000);
    await clock.run(writing);
  });
});

describe('power', () => {
  let server: SimHost;
  let client: SimHost;
  beforeEach(() => {
    server = host('server', '10.0.0.1/24');
    client = host('client', '10.0.0.2/24');
  });
  const connected = async (): Promise<{ connection: TcpConnection; other: TcpConnection }> => {
    const accepted = Promise.withResolvers<TcpConnection>();
    await server.listen({ port: 80 }, accepted.resolve);
    const connecting = client.connect({ address: '10.0.0.1', port: 80 });
    const [connection, other] = await clock.run(Promise.all([connecting, accepted.promise]));
    return { connection, other };
  };

  it('a host that is off answers nothing: connecting takes as long as Linux tries', async () => {
    server.down();
    expect(await clock.run(failure(client.connect({ address: '10.0.0.1', port: 80 })))).toBe('ETIMEDOUT');
    expect(clock.monotonic()).toBe(127_000);
    expect(await failure(server.listen({ port: 80 }, () => undefined))).toBe('ENETDOWN');
    expect(trace.some((line) => line.includes(' server sent'))).toBe(false);
  });

  it('a connecting client can give up before', async () => {
    server.down();
    const abort = new AbortController();
    const connecting = failure(client.connect({ address: '10.0.0.1', port: 80, signal: abort.signal }));
    await clock.runFor(2000);
    abort.abort(new Error('no patience'));
    expect(await clock.run(connecting)).toBe('no patience');
    await clock.runFor(200_000);
    expect(trace.filter((line) => line.includes(' client sent')).length).toBe(2); // at 0 and 1 s, none after
  });

  it('its own programs lose their sockets at once, without a packet', async () => {
    const { other } = await connected();
    const reading = failure(readAll(other));
    const packets = trace.length;
    server.down();
    expect(await reading).toBe('ENETDOWN');
    await expect(other.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'ENETDOWN' });
    await clock.runFor(60_000);
    expect(trace.length).toBe(packets);
  });

  it('a peer that writes times out while it is off', async () => {
    const { connection } = await connected();
    server.down();
    await connection.write(new Uint8Array(10));
    expect(await clock.run(failure(readAll(connection)))).toBe('ETIMEDOUT');
  });

  it('a peer that writes after it has come back is reset, and may connect anew', async () => {
    const { connection } = await connected();
    server.down();
    await clock.runFor(30_000);
    server.up();
    const reading = failure(readAll(connection));
    await clock.runFor(30_000); // silence is no news
    await connection.write(new Uint8Array(10));
    expect(await clock.run(reading)).toBe('ECONNRESET');
    expect(await clock.run(failure(client.connect({ address: '10.0.0.1', port: 80 })))).toBe('ECONNREFUSED');
    await server.listen({ port: 80 }, (fresh) => fresh.end());
    expect((await readAllOf(client.connect({ address: '10.0.0.1', port: 80 }))).length).toBe(0);
  });

  it('ports and UDP sockets are gone with the power', async () => {
    const before = await ear(server, 69);
    const speaker = await ear(client, 69);
    server.down();
    speaker.say('lost', '10.0.0.1');
    server.up();
    const after = await ear(server, 69);
    speaker.say('heard', '10.0.0.1');
    before.say('from the grave', '10.0.0.2');
    await clock.runFor(1);
    expect([before.heard, speaker.heard]).toEqual([[], []]);
    expect(after.heard).toContain('heard from 10.0.0.2:69');
  });

  it('an HTTP request in flight is left hanging, and ends by its signal', async () => {
    await server.serveHttp({ port: 80 }, async () => {
      server.down();
      return { status: 200 };
    });
    const abort = new AbortController();
    const asking = failure(client.request({ url: 'http://server/', signal: abort.signal }));
    clock.after(5000, () => abort.abort(new Error('deadline')));
    expect(await clock.run(asking)).toBe('deadline');
    expect(clock.monotonic()).toBe(5000);
  });

  const readAllOf = (connecting: Promise<TcpConnection>): Promise<Buffer> => clock.run(connecting.then(readAll));
});

describe('names and addresses', () => {
  it('a URL may name a host, with a default port; an unknown name is ENOTFOUND', async () => {
    const server = host('server', '10.0.0.1/24');
    const client = host('client', '10.0.0.2/24');
    await server.serveHttp({ port: 80 }, async ({ headers }) => ({ status: 200, body: headers.host ?? '' }));
    await server.serveHttp({ port: 443 }, async () => ({ status: 200, body: 'would be TLS' }));
    const body = async (url: string): Promise<string> => `${Buffer.from((await clock.run(client.request({ url }))).body)}`;
    expect(await body('http://server/x')).toBe('server');
    expect(await body('https://server/')).toBe('would be TLS');
    await expect(client.request({ url: 'http://nobody/' })).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('loopback stays on the host', async () => {
    const a = host('a', '10.0.0.1/24');
    const b = host('b', '10.0.0.2/24');
    await a.serveHttp({ address: '127.0.0.1', port: 80 }, async ({ remote }) => ({ status: 200, body: remote.address }));
    const own = await clock.run(a.request({ url: 'http://localhost/' }));
    expect(`${Buffer.from(own.body)}`).toBe('127.0.0.1');
    expect(await clock.run(failure(b.request({ url: 'http://localhost/' })))).toBe('ECONNREFUSED');
    expect(await clock.run(failure(b.request({ url: 'http://10.0.0.1/' })))).toBe('ECONNREFUSED');
  });

  it('two hosts of one name, and an address without a prefix length, are mistakes', () => {
    host('a', '10.0.0.1/24');
    expect(() => host('a', '10.0.0.2/24')).toThrow(expect.objectContaining({ code: 'SIMULATOR_DUPLICATE' }));
    for (const bad of ['10.0.0.1', '10.0.0.256/24', '10.0.0.1/33', 'x/8'])
      expect(() => host(`with ${bad}`, bad)).toThrow(expect.objectContaining({ code: 'SIMULATOR_BAD_ADDRESS' }));
  });

  it('a deadlock names who waits for whom', async () => {
    const server = host('server', '10.0.0.1/24');
    const client = host('client', '10.0.0.2/24');
    await server.listen({ port: 80 }, () => undefined);
    const reading = client.connect({ address: '10.0.0.1', port: 80 }).then(readAll);
    await expect(clock.run(reading)).rejects.toThrow(/client: tcp 10\.0\.0\.2:\d+ > 10\.0\.0\.1:80 reads/);
  });
});

describe('history', () => {
  /** A little of everything, on a bad wire. */
  const scenario = async (seed: string): Promise<string[]> => {
    build(seed);
    const server = host('server', '10.0.0.1/24');
    const clients = [2, 3, 4].map((n) => host(`client-${n}`, `10.0.0.${n}/24`));
    network.segment('lan').degrade({ lossRatio: 0.1, duplicateRatio: 0.1, reorderRatio: 0.1, jitterMs: 3 });
    await server.udp({ port: 69 }, { onMessage: (data, from, socket) => socket.send(data, from) });
    await server.serveHttp({ port: 80, maxBodyBytes: 1e6 }, async ({ body }) => {
      await sleep(clock, 50);
      return { status: 200, body };
    });
    const work = clients.map(async (client, i) => {
      const socket = await client.udp(
        {},
        { onMessage: (data, from, own) => data.length < 20 && own.send(Buffer.concat([data, data]), from) },
      );
      socket.send(Buffer.from('x'), { address: '10.0.0.1', port: 69 });
      await client.request({ method: 'POST', url: 'http://server/', body: new Uint8Array(50_000 * (i + 1)) });
    });
    await clock.run(Promise.all(work));
    server.down();
    await clock.runFor(100_000);
    return trace;
  };

  it('one seed gives one history, packet for packet; another seed another', async () => {
    const first = await scenario('a');
    expect(first.length).toBeGreaterThan(100);
    expect(await scenario('a')).toEqual(first);
    expect(await scenario('b')).not.toEqual(first);
  });
});
