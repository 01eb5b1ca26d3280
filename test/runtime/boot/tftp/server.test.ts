import {
  createTftpServer,
  decode,
  encode,
  memorySource,
  packAck,
  packError,
  packRequest,
  type TftpFile,
} from 'cdk8s-baremetal-runtime/boot/tftp/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock, FakeNetwork, seededRandom } from './fake-network.ts';
import { content, type Lab, lab, names, RawClient, SERVER } from './lab.ts';

const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 2000);

function rrq(path: string, options: Record<string, string> = {}, mode: 'octet' | 'netascii' = 'octet'): Buffer {
  return packRequest({ type: 'rrq', path, mode, options: new Map(Object.entries(options)) });
}

async function shut({ clock, server, network }: Lab): Promise<void> {
  await clock.settle(server.close(0));
  expect(network.open).toBeLessThanOrEqual(3); // what is left are the clients of the test
  expect(server.sessions).toBe(0);
}

describe('TFTP server, packet by packet', () => {
  it.each<{ name: string; options: Record<string, string>; want: string[] }>([
    { name: 'no options: DATA 1 at once', options: {}, want: ['data 1'] },
    { name: 'unknown options alone: DATA 1', options: { multicast: '' }, want: ['data 1'] },
    { name: 'values out of range: DATA 1', options: { blksize: '7', timeout: '0', windowsize: '0' }, want: ['data 1'] },
    { name: 'values that are no numbers: DATA 1', options: { blksize: '0x200', timeout: '-1', windowsize: '1e3' }, want: ['data 1'] },
  ])('$name', async ({ options, want }) => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    expect(names(await client.say(rrq('f', options), SERVER))).toEqual(want);
    await shut(site);
  });

  it.each<{ name: string; options: Record<string, string>; want: Record<string, string> }>([
    { name: 'blksize', options: { blksize: '1456' }, want: { blksize: '1456' } },
    { name: 'blksize above the RFC', options: { blksize: '65535' }, want: { blksize: '65464' } },
    { name: 'smallest blksize', options: { blksize: '8' }, want: { blksize: '8' } },
    { name: 'tsize', options: { tsize: '0' }, want: { tsize: '600' } },
    { name: 'timeout', options: { timeout: '255' }, want: { timeout: '255' } },
    { name: 'windowsize', options: { windowsize: '16' }, want: { windowsize: '16' } },
    { name: 'windowsize above ours', options: { windowsize: '65535' }, want: { windowsize: '64' } },
    { name: 'window bounded in bytes', options: { blksize: '65464', windowsize: '64' }, want: { blksize: '65464', windowsize: '2' } },
    { name: 'known ones beside unknown ones', options: { foo: '1', blksize: '1024', bar: '' }, want: { blksize: '1024' } },
  ])('negotiates $name', async ({ options, want }) => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    const [oack] = await client.say(rrq('f', options), SERVER);
    expect(oack).toEqual({ type: 'oack', options: new Map(Object.entries(want)) });
    expect(names(await client.say(packAck(0), client.peer))[0]).toBe('data 1');
    await shut(site);
  });

  it('sends each block once per ACK, and nothing for an ACK that comes again (Sorcerer’s Apprentice)', async () => {
    const site = await lab({ f: content(2000) });
    const client = await RawClient.open(site);
    expect(names(await client.say(rrq('f'), SERVER))).toEqual(['data 1']);
    expect(names(await client.say(packAck(1), client.peer))).toEqual(['data 2']);
    expect(names(await client.say(packAck(1), client.peer))).toEqual([]);
    expect(names(await client.say(packAck(0), client.peer))).toEqual([]);
    expect(names(await client.say(packAck(9), client.peer))).toEqual([]);
    expect(names(await client.say(packAck(2), client.peer))).toEqual(['data 3']);
    expect(names(await client.say(packAck(3), client.peer))).toEqual(['data 4']);
    expect(names(await client.say(packAck(4), client.peer))).toEqual([]);
    expect(site.reports).toMatchObject([{ outcome: 'complete', bytes: 2000, retransmits: 0, file: 'f' }]);
    await shut(site);
  });

  it('ends a file of whole blocks with an empty one, and an empty file too', async () => {
    const site = await lab({ whole: content(1024), empty: '' });
    const client = await RawClient.open(site);
    await client.say(rrq('whole'), SERVER);
    await client.say(packAck(1), client.peer);
    expect(await client.say(packAck(2), client.peer)).toMatchObject([{ type: 'data', block: 3, data: { length: 0 } }]);
    await client.say(packAck(3), client.peer);
    expect(await client.say(rrq('empty'), SERVER)).toMatchObject([{ type: 'data', block: 1, data: { length: 0 } }]);
    await client.say(packAck(1), client.peer);
    expect(site.reports).toMatchObject([
      { outcome: 'complete', bytes: 1024 },
      { outcome: 'complete', bytes: 0 },
    ]);
    await shut(site);
  });

  it('repeats a lost packet after a quarter of a second, then later and later, and gives up', async () => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    await client.say(rrq('f'), SERVER, 20_000);
    const times = client.received.map(({ at }) => Math.round(at));
    expect(times[0]).toBeLessThan(5);
    expect(times[1]).toBeGreaterThanOrEqual(250);
    expect(times[1]).toBeLessThan(270);
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    for (const [index, gap] of gaps.entries()) expect(gap, `gap ${index}`).toBeLessThanOrEqual(1260);
    for (const gap of gaps.slice(2)) expect(gap).toBeGreaterThanOrEqual(990);
    expect(site.reports).toMatchObject([{ outcome: 'timeout', bytes: 0, retransmits: times.length - 1 }]);
    expect(site.reports[0]?.durationMs).toBeLessThan(10_100);
    await shut(site);
  });

  it('measures the round trip and repeats after less than 60 ms on a fast wire', async () => {
    const site = await lab({ f: content(20_000) });
    const client = await RawClient.open(site);
    await client.say(rrq('f'), SERVER);
    for (let block = 1; block <= 20; block++) await client.say(packAck(block), client.peer, 1);
    const [first, ...more] = await client.listen(62); // the ACK of 21 is lost
    expect(names(first ? [first] : [])).toEqual(['data 21']);
    expect(more).toEqual([]);
    await shut(site);
  });

  it('keeps to the letter of a negotiated timeout', async () => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    await client.say(rrq('f', { timeout: '3' }), SERVER, 10_000);
    expect(client.received.map(({ at }) => Math.round(at / 1000))).toEqual([0, 3, 6, 9]);
    await shut(site);
  });

  it('waits for long intervals only of a client that has answered: a request may be made up, and holds a place', async () => {
    const site = await lab({ f: content(600) });
    const [silent, slow] = [await RawClient.open(site), await RawClient.open(site)];
    await silent.say(rrq('f', { timeout: '255' }), SERVER, 1);
    await slow.say(rrq('f', { timeout: '255' }), SERVER, 1);
    await slow.say(packAck(0), slow.peer, 31_000);
    expect([site.server.sessions, site.reports.map(({ outcome }) => outcome)]).toEqual([1, ['timeout']]);
    expect(names(await slow.listen(250_000))).toEqual(['data 1']); // again, after 255 s
    await slow.say(packAck(1), slow.peer, 1);
    await slow.say(packAck(2), slow.peer, 1);
    expect(site.reports[1]?.outcome).toBe('complete');
    await shut(site);
  });

  it('recovers a gap inside a window from the block behind it, and a lost first block from a duplicate ACK (RFC 7440)', async () => {
    const site = await lab({ f: content(100 * 512) });
    const client = await RawClient.open(site);
    await client.say(rrq('f', { windowsize: '4' }), SERVER);
    expect(names(await client.say(packAck(0), client.peer))).toEqual(['data 1', 'data 2', 'data 3', 'data 4']);
    expect(names(await client.say(packAck(2), client.peer))).toEqual(['data 3', 'data 4', 'data 5', 'data 6']);
    expect(names(await client.say(packAck(6), client.peer))).toEqual(['data 7', 'data 8', 'data 9', 'data 10']);
    expect(names(await client.say(packAck(10), client.peer))).toEqual(['data 11', 'data 12', 'data 13', 'data 14']);
    expect(names(await client.say(packAck(10), client.peer))).toEqual(['data 11', 'data 12', 'data 13', 'data 14']);
    expect(names(await client.say(packAck(10), client.peer))).toEqual([]); // once a window
    expect(names(await client.say(packAck(14), client.peer))).toEqual(['data 15', 'data 16', 'data 17', 'data 18']);
    expect(names(await client.say(packAck(14), client.peer))).toEqual([]); // explained by the second copy of the window before
    await shut(site);
  });

  it('takes an ERROR after the OACK as the end: ROMs that only ask for the size', async () => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    expect(await client.say(rrq('f', { tsize: '0' }), SERVER)).toMatchObject([{ type: 'oack' }]);
    expect(await client.say(packError(0, 'TFTP Aborted'), client.peer, 3000)).toEqual([]);
    expect(site.reports).toMatchObject([{ outcome: 'aborted', detail: '0 TFTP Aborted', bytes: 0 }]);
    expect(site.server.sessions).toBe(0);
    await shut(site);
  });

  it('answers a stranger on a transfer port with error 5 and goes on with its client', async () => {
    const site = await lab({ f: content(2000) });
    const client = await RawClient.open(site);
    const stranger = await RawClient.open(site, '10.0.0.66');
    await client.say(rrq('f'), SERVER);
    const port = client.peer;
    expect(names(await stranger.say(packAck(1), port))).toEqual(['error 5']);
    expect(names(await stranger.say(packError(0, 'die'), port))).toEqual([]);
    for (let round = 0; round < 50; round++) await stranger.say(packAck(1), port, 0.5);
    expect(stranger.received.length).toBeLessThanOrEqual(8);
    expect(names(await client.say(packAck(1), port))).toEqual(['data 2']);
    await shut(site);
  });

  it.each([
    { name: 'nothing', bytes: '' },
    { name: 'one byte', bytes: '00' },
    { name: 'the opcode of DATA alone', bytes: '0003' },
    { name: 'half an ACK', bytes: '000400' },
    { name: 'an unknown opcode', bytes: '00ff0001' },
    { name: 'another request', bytes: '0001610061006f6374657400' },
  ])('does not mind $name from its own client', async ({ bytes }) => {
    const site = await lab({ f: content(2000) });
    const client = await RawClient.open(site);
    await client.say(rrq('f'), SERVER);
    expect(await client.say(Buffer.from(bytes, 'hex'), client.peer)).toEqual([]);
    expect(names(await client.say(packAck(1), client.peer))).toEqual(['data 2']);
    await shut(site);
  });

  it.each([
    { name: 'WRQ: error 2', bytes: encode({ type: 'wrq', path: 'f', mode: 'octet', options: new Map() }), want: ['error 2'] },
    { name: 'a missing file: error 1', bytes: rrq('nothing'), want: ['error 1'] },
    { name: 'a climb out of the root: error 2', bytes: rrq('../../etc/passwd'), want: ['error 2'] },
    { name: 'a request in mode mail: error 4', bytes: Buffer.from('0001660 06d61696c00'.replaceAll(' ', ''), 'hex'), want: ['error 4'] },
    { name: 'DATA out of nowhere: error 5', bytes: Buffer.from('00030001', 'hex'), want: ['error 5'] },
    { name: 'ERROR: silence', bytes: packError(5, ''), want: [] },
    { name: 'no byte: silence', bytes: Buffer.alloc(0), want: [] },
    { name: 'one byte: silence', bytes: Buffer.of(0), want: [] },
    { name: 'garbage: silence', bytes: Buffer.from('ffffffffffff', 'hex'), want: [] },
  ])('on its port answers $name', async ({ bytes, want }) => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    expect(names(await client.say(bytes, SERVER))).toEqual(want);
    expect(names(await client.say(rrq('f'), SERVER))).toEqual(['data 1']);
    await shut(site);
  });

  it('sees a repeated request as one transfer, and lets the client choose when it began anew', async () => {
    const site = await lab({ f: content(2000) });
    const client = await RawClient.open(site);
    expect(names(await client.say(rrq('f'), SERVER))).toEqual(['data 1']);
    expect(names(await client.say(rrq('f'), SERVER))).toEqual([]);
    const first = client.peer;
    expect(names(await client.say(packAck(1), first))).toEqual(['data 2']);
    expect(names(await client.say(rrq('f'), SERVER))).toEqual(['data 1']);
    const second = client.peer;
    expect(second.port).not.toBe(first.port);
    expect(site.server.sessions).toBe(2);
    expect(names(await client.say(packAck(1), second))).toEqual(['data 2']);
    expect(site.reports).toMatchObject([{ outcome: 'superseded' }]);
    await shut(site);
  });

  it('translates netascii, also at block edges, and promises no size for it', async () => {
    const text = `${'x'.repeat(511)}\n\r\n${'y'.repeat(509)}\rz`;
    const site = await lab({ f: text });
    const client = await RawClient.open(site);
    const [oack] = await client.say(rrq('f', { tsize: '0', blksize: '512' }, 'netascii'), SERVER);
    expect(oack).toEqual({ type: 'oack', options: new Map([['blksize', '512']]) });
    const wire: Buffer[] = [];
    for (let block = 0; block < 3; block++) {
      const [data] = await client.say(packAck(block), client.peer);
      if (data?.type === 'data') wire.push(Buffer.from(data.data));
    }
    expect(Buffer.concat(wire).toString('latin1')).toBe(`${'x'.repeat(511)}\r\n\r\0\r\n${'y'.repeat(509)}\r\0z`);
    await shut(site);
  });

  it('leaves requests beyond its limits unanswered, and serves again when there is room', async () => {
    const site = await lab({ f: content(600) }, { sessionsMax: 3, sessionsPerSource: 2 });
    const clients = await Promise.all(
      ['10.0.0.9', '10.0.0.9', '10.0.0.9', '10.0.0.10', '10.0.0.11'].map((address) => RawClient.open(site, address)),
    );
    const answers: string[][] = [];
    for (const client of clients) answers.push(names(await client.say(rrq('f'), SERVER)));
    expect(answers).toEqual([['data 1'], ['data 1'], [], ['data 1'], []]);
    expect(site.reports.map(({ outcome }) => outcome)).toEqual(['busy', 'busy']);
    await clients[0]?.say(packError(0, ''), clients[0].peer);
    expect(names((await clients[2]?.say(rrq('f'), SERVER)) ?? [])).toEqual(['data 1']);
    await site.clock.settle(site.server.close(0));
  });

  it('bounds a transfer in time, also for a client that dawdles', async () => {
    const site = await lab({ f: content(100_000) }, { transferLimitMs: 5000 });
    const client = await RawClient.open(site);
    await client.say(rrq('f'), SERVER);
    const port = client.peer;
    for (let block = 1; block <= 60; block++) await client.say(packAck(block), port, 100);
    expect(site.reports).toMatchObject([{ outcome: 'deadline' }]);
    expect(client.received.at(-1)?.packet).toMatchObject({ type: 'error', code: 0 });
    await shut(site);
  });

  it('says that the last confirmation is missing when all was sent', async () => {
    const site = await lab({ f: content(600) });
    const client = await RawClient.open(site);
    await client.say(rrq('f'), SERVER);
    await client.say(packAck(1), client.peer, 15_000);
    expect(site.reports).toMatchObject([{ outcome: 'unconfirmed', bytes: 512 }]);
    await shut(site);
  });

  const failing: { name: string; file: Partial<TftpFile>; detail: RegExp }[] = [
    {
      name: 'a read that rejects',
      file: {
        read: async () => {
          throw new Error('EIO');
        },
      },
      detail: /EIO/,
    },
    {
      name: 'a read that throws',
      file: {
        read: () => {
          throw new Error('EIO');
        },
      },
      detail: /EIO/,
    },
    { name: 'a file cut short', file: { size: 5000, read: (offset) => content(Math.max(0, 1000 - offset)) }, detail: /1000 of 5000/ },
    {
      name: 'a close that throws',
      file: {
        read: async () => {
          throw new Error('EIO');
        },
        close: () => {
          throw new Error('close');
        },
      },
      detail: /EIO/,
    },
  ];
  it.each(failing)('tells the client about $name', async ({ file, detail }) => {
    const site = await lab(async () => ({ size: 5000, read: () => content(10), close: () => undefined, ...file }));
    const client = await RawClient.open(site);
    let last = (await client.say(rrq('f'), SERVER)).at(-1);
    if (last?.type === 'data') last = (await client.say(packAck(1), client.peer)).at(-1);
    expect(last).toMatchObject({ type: 'error', code: 0 });
    expect(site.reports).toMatchObject([{ outcome: 'failed', detail: expect.stringMatching(detail) }]);
    await shut(site);
  });

  it('tells a disk that stands still from a client that is gone', async () => {
    const still = new Promise<Uint8Array>(() => undefined);
    const site = await lab(async () => ({
      size: 5000,
      read: (offset) => (offset === 0 ? content(512) : still),
      close: () => undefined,
    }));
    const client = await RawClient.open(site);
    await client.say(rrq('f'), SERVER);
    const heard = await client.say(packAck(1), client.peer, 60_000);
    expect(site.reports).toMatchObject([{ outcome: 'failed', bytes: 512, detail: 'nothing was read of the file for 30 s' }]);
    expect(heard).toMatchObject([{ type: 'error', code: 0, message: 'The file cannot be read' }]);
    await shut(site);
  });

  it('outlives a source that throws, one that never answers, and an observer that throws', async () => {
    const answers = [() => Promise.reject(new Error('broken')), () => new Promise<TftpFile>(() => undefined)];
    const site = await lab(async () => answers.shift()?.() ?? { code: 99_999, message: 'odd' }, {
      onTransfer: () => {
        throw new Error('observer');
      },
    });
    const client = await RawClient.open(site);
    expect(names(await client.say(rrq('a'), SERVER))).toEqual(['error 0']);
    expect(names(await client.say(rrq('b'), SERVER, 5000))).toEqual([]);
    expect(names(await client.say(rrq('c'), SERVER))).toEqual(['error 0']);
    await shut(site);
  });

  it('sends a file of unknown size', async () => {
    const data = content(1024);
    const site = await lab(async () => ({
      size: undefined,
      read: async (offset, length) => data.subarray(offset, offset + Math.min(length, 300)),
      close: () => undefined,
    }));
    const client = await RawClient.open(site);
    expect(names(await client.say(rrq('f', { tsize: '0' }), SERVER))).toEqual(['data 1']);
    expect(names(await client.say(packAck(1), client.peer))).toEqual(['data 2']);
    expect(await client.say(packAck(2), client.peer)).toMatchObject([{ block: 3, data: { length: 0 } }]);
    await shut(site);
  });

  it('closes with word to its clients, lets the others end, and frees every port and timer', async () => {
    const site = await lab({ f: content(600) });
    const [quick, slow] = [await RawClient.open(site), await RawClient.open(site)];
    await quick.say(rrq('f'), SERVER);
    await slow.say(rrq('f'), SERVER);
    const closed = site.server.close(1000);
    expect(names(await quick.say(rrq('f'), SERVER))).toEqual([]);
    expect(names(await quick.say(packAck(1), quick.peer))).toEqual(['data 2']);
    await quick.say(packAck(2), quick.peer);
    await site.clock.settle(closed);
    expect(site.reports.map(({ outcome }) => outcome)).toEqual(['complete', 'closed']);
    await slow.listen(1);
    expect(names(slow.received.map(({ packet }) => packet)).at(-1)).toBe('error 0');
    await Promise.all([quick.socket.close(), slow.socket.close(), site.server.close()]);
    expect(site.network.open).toBe(0);
    expect(site.clock.armed).toBe(0);
  });

  it('is not started after it was closed', async () => {
    const clock = new FakeClock();
    const server = createTftpServer({ network: new FakeNetwork(clock), clock, random: seededRandom(1), source: memorySource(new Map()) });
    await server.close();
    await expect(server.start()).rejects.toMatchObject({ code: 'TFTP_SERVER_CLOSED' });
  });

  it('lives through garbage on its port and on a transfer port', async () => {
    const site = await lab({ f: content(100_000) });
    const client = await RawClient.open(site);
    const stranger = await RawClient.open(site, '10.0.0.66');
    await client.say(rrq('f', { windowsize: '4' }), SERVER);
    const port = client.peer;
    await client.say(packAck(0), port);
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .tuple(fc.integer({ min: 0, max: 7 }), fc.uint8Array({ maxLength: 40 }))
        .map(([opcode, rest]) => Buffer.concat([Buffer.of(0, opcode), rest])),
    );
    for (const bytes of fc.sample(garbage, { numRuns: FUZZ_RUNS, seed: 20_261_121 })) {
      stranger.socket.send(bytes, SERVER);
      stranger.socket.send(bytes, port);
      if (!isMeaningful(bytes)) client.socket.send(bytes, port);
      await site.clock.pass(0.3);
    }
    expect(site.server.sessions).toBeGreaterThanOrEqual(1);
    expect(names(await client.say(packAck(4), port)).slice(-4)).toEqual(['data 5', 'data 6', 'data 7', 'data 8']);
    await client.say(packError(0, ''), port);
    await shut(site);
  });
});

/** ACK and ERROR from the true client move or end the transfer, as they should. */
function isMeaningful(bytes: Uint8Array): boolean {
  if (bytes[0] === 0 && bytes[1] === 5) return true;
  try {
    return decode(bytes).type === 'ack';
  } catch {
    return false;
  }
}
