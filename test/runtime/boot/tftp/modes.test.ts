/** One port for all, blocks that fit the wire, clients whose port is closed, and a thousand at once, packet by packet. */
import { packAck, packRequest, tftpGet } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { describe, expect, it } from 'vitest';
import { FakeClock } from './fake-network.ts';
import { content, lab, names, RawClient, SERVER } from './lab.ts';

const rrq = (path: string, options: Record<string, string> = {}): Uint8Array =>
  packRequest({ type: 'rrq', path, mode: 'octet', options: new Map(Object.entries(options)) });

describe('blksize', () => {
  const wires = [
    { mtu: 1500, granted: '1468' },
    { mtu: 9000, granted: '8968' },
    { mtu: 65_536, granted: '65464' },
    { mtu: 576, granted: '544' },
  ];
  it.each(wires)('never goes above what an MTU of $mtu carries: $granted', async ({ mtu, granted }) => {
    const site = await lab({ file: content(100_000) });
    site.network.mtu = mtu;
    const client = await RawClient.open(site);
    const [oack] = await client.say(rrq('file', { blksize: '65464' }), SERVER);
    expect(oack).toMatchObject({ type: 'oack', options: new Map([['blksize', granted]]) });
    await site.clock.settle(site.server.close(0));
  });

  it('does when the operator asks for it', async () => {
    const site = await lab({ file: content(100_000) }, { blockBytesMax: 8192 });
    site.network.mtu = 1500;
    const client = await RawClient.open(site);
    const [oack] = await client.say(rrq('file', { blksize: '65464' }), SERVER);
    expect(oack).toMatchObject({ type: 'oack', options: new Map([['blksize', '8192']]) });
    await site.clock.settle(site.server.close(0));
  });
});

describe('single-port mode', () => {
  it('answers from the port that was asked, and keeps clients apart', async () => {
    const site = await lab({ a: content(2000, 1), b: content(2000, 2) }, { singlePort: true });
    const first = await RawClient.open(site, '10.0.0.8');
    const second = await RawClient.open(site, '10.0.0.9');
    expect(names(await first.say(rrq('a'), SERVER))).toEqual(['data 1']);
    expect(names(await second.say(rrq('b'), SERVER))).toEqual(['data 1']);
    expect([first.peer, second.peer]).toEqual([SERVER, SERVER]);
    expect(names(await first.say(packAck(1), SERVER))).toEqual(['data 2']);
    expect(names(await second.say(packAck(1), SERVER))).toEqual(['data 2']);
    await site.clock.settle(site.server.close(0));
    expect(site.network.open).toBe(2);
  });

  it('a late copy of the request disturbs nothing, a new beginning after a silence begins anew', async () => {
    const site = await lab({ a: content(5000) }, { singlePort: true });
    const client = await RawClient.open(site);
    await client.say(rrq('a'), SERVER);
    await client.say(packAck(1), SERVER);
    expect(names(await client.say(rrq('a'), SERVER))).toEqual([]);
    expect(names(await client.say(packAck(2), SERVER))).toEqual(['data 3']);
    await client.listen(1500); // switched off and on again
    expect(names(await client.say(rrq('a'), SERVER))).toContain('data 1');
    expect(site.reports).toMatchObject([{ outcome: 'superseded' }]);
    await site.clock.settle(site.server.close(0));
  });

  it('a server that closes lets transfers end, tells the others, and takes no new ones', async () => {
    const site = await lab({ short: content(700), long: content(90_000) }, { singlePort: true });
    const [quick, slow, late] = [await RawClient.open(site), await RawClient.open(site), await RawClient.open(site)];
    await quick.say(rrq('short'), SERVER);
    await slow.say(rrq('long'), SERVER);
    const closed = site.server.close(1000);
    expect(names(await late.say(rrq('short'), SERVER))).toEqual([]);
    expect(names(await quick.say(packAck(1), SERVER))).toEqual(['data 2']);
    await quick.say(packAck(2), SERVER);
    await site.clock.settle(closed);
    await slow.listen(50);
    expect(site.reports.map(({ outcome }) => outcome)).toEqual(['complete', 'closed']);
    expect(names([...slow.received.map(({ packet }) => packet)]).at(-1)).toBe('error 0');
    expect(site.network.open).toBe(3);
  });

  it('an ACK of nobody is told so', async () => {
    const site = await lab({ a: content(5000) }, { singlePort: true });
    const client = await RawClient.open(site);
    expect(names(await client.say(packAck(7), SERVER))).toEqual(['error 5']);
    await site.clock.settle(site.server.close(0));
  });

  it('whole files on a bad wire', async () => {
    const data = content(60_000);
    const site = await lab({ a: data }, { singlePort: true, faults: { loss: 0.05, duplicate: 0.05, jitterMs: 3 }, seed: 5 });
    for (const windowBlocks of [1, 8]) {
      const download = await site.clock.settle(
        tftpGet({ network: site.wire, clock: site.clock, server: SERVER, path: 'a', localAddress: '10.0.0.7', windowBlocks, dallyMs: 20 }),
      );
      expect(Buffer.compare(download.data, data)).toBe(0);
    }
    await site.clock.settle(site.server.close(0));
  });
});

it('1,000 transfers at once: all are served, and what they hold together is bounded', async () => {
  const clients = 1000;
  const site = await lab({ kernel: content(20_000) }, { sessionsPerSource: clients });
  const all: RawClient[] = [];
  for (let index = 0; index < clients; index++) all.push(await RawClient.open(site, `10.1.${index >> 8}.${index & 255}`));
  const before = process.memoryUsage();
  for (const client of all) client.socket.send(rrq('kernel', { blksize: '1428', windowsize: '8' }), SERVER);
  await site.clock.pass(5);
  expect(site.server.sessions).toBe(clients);
  for (const client of all) client.socket.send(packAck(0), client.peer);
  await site.clock.pass(5);
  const after = process.memoryUsage();
  // a window of 8 × 1,432 bytes and one block more each, cut from slabs of at most 64 KiB; the rest is the test's own copies
  const held = after.external + after.arrayBuffers + after.heapUsed - before.external - before.arrayBuffers - before.heapUsed;
  expect(held / clients).toBeLessThan(256 * 1024);
  for (const client of all) expect(client.received.filter(({ packet }) => packet.type === 'data').length).toBe(8);
  await site.clock.settle(site.server.close(0));
  expect(site.server.sessions).toBe(0);
  expect(site.network.open).toBe(clients);
});

it('a client whose port is closed is given up when the network says so again', async () => {
  const site = await lab({ a: content(5000) });
  const sent: { error: () => void }[] = [];
  const udp = site.network.udp.bind(site.network);
  site.network.udp = (options, handlers) => {
    sent.push({ error: () => handlers.onError?.(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })) });
    return udp(options, handlers);
  };
  const client = await RawClient.open(site);
  await client.say(rrq('a'), SERVER);
  const transfer = sent.at(-1);
  transfer?.error();
  transfer?.error();
  expect(site.reports).toEqual([]);
  transfer?.error();
  expect(site.reports).toMatchObject([{ outcome: 'aborted', detail: 'the client’s port is closed' }]);
  await site.clock.settle(site.server.close(0));
  expect(site.clock).toBeInstanceOf(FakeClock);
});
