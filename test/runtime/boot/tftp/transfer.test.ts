import { decode, encode, packAck } from 'cdk8s-baremetal-runtime/boot/tftp/codec';
import { type TftpDownload, type TftpGetOptions, tftpGet } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { describe, expect, it } from 'vitest';
import { FakeClock, FakeNetwork, type Faults, seeded } from './fake-network.ts';
import { content, type Lab, lab, SERVER } from './lab.ts';

const FAULT_SEEDS = Number(process.env.FUZZ_RUNS ?? 150);
const CLIENT = '10.0.0.9';

function get(site: Pick<Lab, 'wire' | 'clock'>, options: Partial<TftpGetOptions> = {}): Promise<TftpDownload> {
  return tftpGet({ network: site.wire, clock: site.clock, server: SERVER, path: 'f', localAddress: CLIENT, ...options });
}

/** Everything has ended: no session, no port but the listener's, no armed timer. */
async function expectIdle(site: Lab): Promise<void> {
  await site.clock.pass(60_000);
  expect(site.server.sessions).toBe(0);
  await site.clock.settle(site.server.close());
  expect(site.network.open).toBe(0);
  expect(site.clock.armed).toBe(0);
}

describe('TFTP transfers between our server and our client', () => {
  for (const blockBytes of [8, 512, 1456, 8192, 65464])
    for (const windowBlocks of [1, 2, 7, 64]) {
      it(`block ${blockBytes}, window ${windowBlocks}: every length around a boundary arrives whole, each packet once`, async () => {
        const lengths = [0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 7 * blockBytes - 1, 7 * blockBytes, 7 * blockBytes + 1];
        for (const length of lengths) {
          const data = content(length);
          const site = await lab({ f: data });
          const download = await site.clock.settle(get(site, { blockBytes, windowBlocks }));
          expect(Buffer.compare(download.data, data), `${length} bytes`).toBe(0);
          expect(download).toMatchObject({ blockBytes, announcedBytes: length });
          await site.clock.pass(10);
          expect(site.reports, `${length} bytes`).toMatchObject([{ outcome: 'complete', bytes: length, retransmits: 0 }]);
          await site.clock.settle(site.server.close());
        }
      });
    }

  it.each([1, 3, 64])('goes on past block 65,535, with window %d', async (windowBlocks) => {
    const data = content((65_536 + 700) * 8 + 3);
    const site = await lab({ f: data });
    const download = await site.clock.settle(get(site, { blockBytes: 8, windowBlocks }));
    expect(Buffer.compare(download.data, data)).toBe(0);
    await expectIdle(site);
    expect(site.reports).toMatchObject([{ outcome: 'complete', bytes: data.length, retransmits: 0 }]);
  });

  it('goes past block 65,535 on a bad wire', async () => {
    const data = content((65_536 + 700) * 8 + 3);
    const site = await lab({ f: data }, { faults: { loss: 0.002, duplicate: 0.01, jitterMs: 0.3 }, seed: 5 });
    const download = await site.clock.settle(get(site, { blockBytes: 8, windowBlocks: 32 }));
    expect(Buffer.compare(download.data, data)).toBe(0);
    await expectIdle(site);
  });

  const wires: { name: string; faults: Faults; mostSentPerBlock: number }[] = [
    { name: 'every datagram twice', faults: { duplicate: 1 }, mostSentPerBlock: 3.5 },
    { name: 'a third of the datagrams twice', faults: { duplicate: 0.33 }, mostSentPerBlock: 3 },
    { name: 'disorder', faults: { jitterMs: 2 }, mostSentPerBlock: 16 },
    { name: 'a slow wire', faults: { delayMs: 400 }, mostSentPerBlock: 3.5 },
    { name: 'one in ten lost', faults: { loss: 0.1 }, mostSentPerBlock: 3.5 },
  ];
  for (const { name, faults, mostSentPerBlock } of wires)
    for (const windowBlocks of [1, 4, 16]) {
      it(`window ${windowBlocks}, ${name}: whole, and without a flood`, async () => {
        const data = content(200 * 512 + 100);
        const site = await lab({ f: data }, { faults, seed: 11 });
        const download = await site.clock.settle(get(site, { blockBytes: 512, windowBlocks }));
        expect(Buffer.compare(download.data, data)).toBe(0);
        // 201 blocks, each with its ACK in a window of one
        expect(site.network.sentCount / 201).toBeLessThan(mostSentPerBlock);
        await expectIdle(site);
      });
    }

  it('a lost packet costs tens of milliseconds on a fast wire, not a second', async () => {
    for (const windowBlocks of [1, 16]) {
      const data = content(400 * 512);
      const dropped = new Set<number>();
      const drop: Faults['drop'] = (bytes) => {
        const packet = decode(bytes);
        if (packet.type !== 'data' || packet.block % 50 !== 25 || dropped.has(packet.block)) return false;
        dropped.add(packet.block);
        return true;
      };
      const site = await lab({ f: data }, { faults: { drop } });
      const download = await site.clock.settle(get(site, { blockBytes: 512, windowBlocks }));
      expect(Buffer.compare(download.data, data)).toBe(0);
      expect(dropped.size).toBe(8);
      expect(download.durationMs).toBeLessThan(8 * 90 + 100);
      await expectIdle(site);
    }
  });

  it(`${FAULT_SEEDS} random bad wires: each transfer is whole, or ends with a named outcome`, async () => {
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= FAULT_SEEDS; seed++) {
      const chance = seeded(seed);
      const blockBytes = [8, 100, 512, 1428][Math.floor(chance() * 4)] ?? 512;
      const windowBlocks = [1, 1, 2, 5, 16, 64][Math.floor(chance() * 6)] ?? 1;
      const data = content(Math.floor(chance() * 60 * blockBytes), seed);
      const faults = { loss: chance() * 0.4, duplicate: chance() * 0.5, jitterMs: chance() * 20, delayMs: chance() * 50 };
      const withoutOptions = chance() < 0.2;
      const site = await lab({ f: data }, { faults, seed });
      const label = `seed ${seed}: ${JSON.stringify({ blockBytes, windowBlocks, withoutOptions, length: data.length, faults })}`;
      let outcome = 'whole';
      try {
        const download = await site.clock.settle(get(site, { blockBytes, windowBlocks, withoutOptions }));
        expect(Buffer.compare(download.data, data), label).toBe(0);
      } catch (error) {
        outcome = (error as { code?: string }).code ?? String(error);
        expect(outcome, label).toBe('TFTP_NO_ANSWER');
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      await expectIdle(site);
      for (const report of site.reports)
        expect(['complete', 'unconfirmed', 'aborted', 'timeout', 'superseded'], label).toContain(report.outcome);
    }
    expect(outcomes.get('whole') ?? 0).toBeGreaterThan(FAULT_SEEDS * 0.97);
  }, 600_000);

  it('fifty clients at once', async () => {
    const data = content(100_000);
    const site = await lab({ f: data }, { faults: { loss: 0.01 } });
    const downloads = Array.from({ length: 50 }, (_, index) => get(site, { localAddress: `10.0.1.${index}`, windowBlocks: 8 }));
    for (const download of await site.clock.settle(Promise.all(downloads))) expect(Buffer.compare(download.data, data)).toBe(0);
    await expectIdle(site);
    expect(site.reports.filter(({ bytes }) => bytes === data.length)).toHaveLength(50);
  });
});

describe('TFTP client', () => {
  it.each([
    { name: 'a missing file', path: 'nothing', code: 'TFTP_REFUSED' },
    { name: 'a file above its limit', path: 'f', maxBytes: 100, code: 'TFTP_TOO_LARGE' },
    { name: 'a file above its limit, without tsize', path: 'f', maxBytes: 100, withoutOptions: true, code: 'TFTP_TOO_LARGE' },
  ])('reports $name', async ({ code, ...options }) => {
    const site = await lab({ f: content(1000) });
    await expect(site.clock.settle(get(site, options))).rejects.toMatchObject({ code });
    await expectIdle(site);
  });

  it('reports a server that is not there', async () => {
    const clock = new FakeClock();
    const network = new FakeNetwork(clock);
    await expect(clock.settle(get({ wire: network, clock }, { silenceLimitMs: 7000 }))).rejects.toMatchObject({ code: 'TFTP_NO_ANSWER' });
    expect(clock.monotonic()).toBeGreaterThanOrEqual(7000);
    expect(clock.monotonic()).toBeLessThan(7100);
    await clock.pass(1000);
    expect(network.open).toBe(0);
  });

  it('stops at its signal, and tells the server', async () => {
    const site = await lab({ f: content(500_000) }, { faults: { delayMs: 5 } });
    const stop = new AbortController();
    const download = get(site, { signal: stop.signal });
    site.clock.after(300, () => stop.abort(new Error('enough')));
    await expect(site.clock.settle(download)).rejects.toThrow('enough');
    await expect(get(site, { signal: stop.signal })).rejects.toThrow('enough');
    await expectIdle(site);
    expect(site.reports).toMatchObject([{ outcome: 'aborted' }]);
  });

  it('tells its progress', async () => {
    const site = await lab({ f: content(3000) });
    const seen: number[] = [];
    await site.clock.settle(get(site, { blockBytes: 1000, onProgress: ({ bytes }) => seen.push(bytes) }));
    expect(seen).toEqual([1000, 2000, 3000, 3000]);
    await expectIdle(site);
  });

  /** A server of one file that fits one block, with a mind of its own. */
  async function oddServer(
    answer: (request: ReturnType<typeof decode>) => Buffer,
  ): Promise<Pick<Lab, 'wire' | 'clock'> & { acks: number[] }> {
    const clock = new FakeClock();
    const network = new FakeNetwork(clock);
    const acks: number[] = [];
    await network.udp(SERVER, {
      onMessage: (data, from, socket) => {
        const packet = decode(data);
        if (packet.type === 'rrq') socket.send(answer(packet), from);
        else if (packet.type === 'ack') {
          acks.push(packet.block);
          if (packet.block === 0) socket.send(encode({ type: 'data', block: 1, data: Buffer.from('hello') }), from);
        }
      },
    });
    return { clock, wire: network, acks };
  }
  const hello = encode({ type: 'data', block: 1, data: Buffer.from('hello') });

  it('falls back when the server passes over its options', async () => {
    const site = await oddServer(() => hello);
    const download = await site.clock.settle(get(site, { blockBytes: 1456, windowBlocks: 16 }));
    expect(download).toMatchObject({ blockBytes: 512, windowBlocks: 1, announcedBytes: undefined });
    expect(Buffer.from(download.data).toString()).toBe('hello');
    await site.clock.pass(1);
    expect(site.acks).toEqual([1]);
  });

  it.each([0, 4, 8])('asks again without options when they are refused with error %d', async (code) => {
    const site = await oddServer((request) =>
      'options' in request && request.options.size > 0 ? encode({ type: 'error', code, message: 'no' }) : hello,
    );
    expect(Buffer.from((await site.clock.settle(get(site))).data).toString()).toBe('hello');
  });

  it.each([
    { name: 'a larger block than asked', options: { blksize: '9000' } },
    { name: 'a window that was not asked for', options: { windowsize: '4' } },
    { name: 'a size that is no number', options: { tsize: 'many' } },
  ])('refuses $name', async ({ options }) => {
    const site = await oddServer(() => encode({ type: 'oack', options: new Map(Object.entries(options) as [string, string][]) }));
    await expect(site.clock.settle(get(site))).rejects.toMatchObject({ code: 'TFTP_BAD_ANSWER' });
  });

  it('refuses a file of another length than announced', async () => {
    const site = await oddServer(() => encode({ type: 'oack', options: new Map([['tsize', '6']]) }));
    await expect(site.clock.settle(get(site))).rejects.toMatchObject({
      code: 'TFTP_BAD_ANSWER',
      message: expect.stringContaining('5 bytes came, 6'),
    });
  });

  it('is not led astray by another host, nor by noise from its server', async () => {
    const site = await lab({ f: content(5000) }, { faults: { delayMs: 2 } });
    const download = get(site, { blockBytes: 512 });
    await site.clock.pass(3);
    const bad = await site.wire.udp({ address: '10.0.0.66' }, { onMessage: () => undefined });
    const noise = seeded(3);
    for (let round = 0; round < 40; round++) {
      for (let port = 40_000; port < 40_004; port++) {
        bad.send(encode({ type: 'data', block: round % 8, data: Buffer.from('evil') }), { address: CLIENT, port });
        bad.send(encode({ type: 'error', code: 1, message: 'gone' }), { address: CLIENT, port });
        bad.send(Buffer.from(Array.from({ length: Math.floor(noise() * 6) }, () => Math.floor(noise() * 256))), { address: CLIENT, port });
        bad.send(packAck(1), { address: CLIENT, port });
      }
      await site.clock.pass(1);
    }
    expect(Buffer.compare((await site.clock.settle(download)).data, content(5000))).toBe(0);
    await bad.close();
    await expectIdle(site);
  });
});
