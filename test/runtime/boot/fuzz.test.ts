/**
 * Bytes that nobody meant, against the services as a whole: no crash, no hang, no growth, and honest clients are served all the while. A short run here;
 * `FUZZ_RUNS=1000000 npx vitest run test/runtime/boot/fuzz.test.ts` sends a million of each.
 */
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { bootContent } from '../../../src/runtime/boot/boot-content.ts';
import { encodeDhcp } from '../../../src/runtime/boot/dhcp/codec.ts';
import { DhcpServer } from '../../../src/runtime/boot/dhcp/server.ts';
import { httpBootHandler } from '../../../src/runtime/boot/http-boot.ts';
import { BootJournal } from '../../../src/runtime/boot/journal.ts';
import { createTftpServer, memorySource, packAck, packError, packRequest, tftpGet } from '../../../src/runtime/boot/tftp/index.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import * as captures from './dhcp/captures.ts';
import { MAC, machine, message, SITE } from './dhcp/world.ts';
import { FakeClock, FakeNetwork, seeded, seededRandom } from './tftp/fake-network.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 5000);
const LONG = Math.max(30_000, RUNS / 2);
/** Requests on one connection; the first that is no HTTP at all ends it. */
const PIPELINED = 4;
/** The journal, leases and what is remembered of strangers, all of them bounded. */
const GROWTH_MAX_BYTES = 16 * 1024 * 1024;

/** Changes, cuts, doubles and inserts bytes of something that is nearly right, or makes up everything. */
function mutated(chance: () => number, seeds: readonly Uint8Array[]): Uint8Array {
  const pick = (below: number): number => Math.floor(chance() * below);
  if (chance() < 0.1) return Uint8Array.from({ length: pick(700) }, () => pick(256));
  const bytes = Uint8Array.from(seeds[pick(seeds.length)] ?? []);
  for (let changes = 1 + pick(6); changes > 0 && bytes.length > 0; changes--) bytes[pick(bytes.length)] = chance() < 0.3 ? 0xff : pick(256);
  const cut = chance() < 0.3 ? bytes.slice(0, pick(bytes.length + 1)) : bytes;
  return chance() < 0.1 ? Uint8Array.from([...cut, ...cut.slice(pick(cut.length + 1))]).slice(0, 2000) : cut;
}

// vitest's workers are started without it
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function growth(work: () => Promise<void>): Promise<number> {
  collectGarbage();
  const before = process.memoryUsage();
  await work();
  collectGarbage();
  const after = process.memoryUsage();
  return after.heapUsed + after.external - before.heapUsed - before.external;
}

it(`DHCP: ${RUNS} datagrams`, { timeout: LONG }, async () => {
  const chance = seeded(20_261_121);
  const clock = new FakeClock();
  const network = new FakeNetwork(clock);
  const journal = new BootJournal({ clock, leaseOf: () => undefined });
  const server = new DhcpServer({
    settings: { ...SITE, unknownMachines: 'offer', authoritative: true, interfaces: [{ name: 'eth0', address: '192.168.50.20' }] },
    machines: { findMachine: async (mac) => (mac === MAC ? machine() : undefined), findMachineByUuid: async () => undefined },
    clock,
    network,
    onExchange: (exchange) => journal.dhcp(exchange),
    onProblem: (problem) => journal.problem(problem),
  });
  await server.start();
  const client = await network.udp({ address: '192.168.50.99', port: 68 }, { onMessage: () => undefined });
  const own = (['discover', 'request', 'decline', 'release', 'inform'] as const).map((type) =>
    encodeDhcp(message(type, { requested: '192.168.50.100', vendor: 'PXEClient', arch: 7 })),
  );
  const seeds = [...own, ...Object.values(captures)];
  const grown = await growth(async () => {
    for (let run = 0; run < RUNS; run++) {
      client.send(mutated(chance, seeds), { address: run % 2 === 0 ? '0.0.0.0' : '192.168.50.20', port: 67 });
      if (run % 64 === 63) await clock.pass(1);
    }
    await clock.pass(1000);
  });
  expect(grown).toBeLessThan(GROWTH_MAX_BYTES);
  const answers: Uint8Array[] = [];
  const honest = await network.udp({ address: '255.255.255.255', port: 68 }, { onMessage: (data) => answers.push(data) });
  await clock.pass(4_000_000); // what was made up holds its addresses for an hour at most
  client.send(encodeDhcp(message('discover')), { address: '0.0.0.0', port: 67 });
  await clock.pass(10);
  expect(answers.length).toBe(1);
  await Promise.all([server.close(), client.close(), honest.close()]);
});

it(`TFTP: ${RUNS} datagrams on the port and on transfers' ports`, { timeout: LONG }, async () => {
  const chance = seeded(69);
  const clock = new FakeClock();
  const network = new FakeNetwork(clock);
  const data = Uint8Array.from({ length: 30_000 }, (_, index) => index % 251);
  const server = createTftpServer({
    network,
    clock,
    random: seededRandom(3),
    source: memorySource(new Map([['pxelinux.0', data]])),
    address: '10.0.0.1',
  });
  await server.start();
  let peer = { address: '10.0.0.1', port: 69 };
  const client = await network.udp(
    { address: '10.0.0.9', port: 3000 },
    {
      onMessage: (_, from) => {
        peer = from;
      },
    },
  );
  const seeds: Uint8Array[] = [
    packRequest({
      type: 'rrq',
      path: 'pxelinux.0',
      mode: 'octet',
      options: new Map([
        ['blksize', '1408'],
        ['tsize', '0'],
        ['windowsize', '4'],
      ]),
    }),
    packRequest({ type: 'wrq', path: '../../etc/passwd', mode: 'netascii', options: new Map() }),
    packAck(0),
    packAck(1),
    packError(0, 'user aborted'),
    Buffer.from([0, 3, 0, 1, 9, 9]),
    Buffer.from('\0\u0006blksize\x009999999\0', 'latin1'),
  ];
  const grown = await growth(async () => {
    for (let run = 0; run < RUNS; run++) {
      client.send(mutated(chance, seeds), chance() < 0.4 ? peer : { address: '10.0.0.1', port: 69 });
      if (run % 32 === 31) await clock.pass(20);
    }
    await clock.pass(60_000);
  });
  expect(grown).toBeLessThan(GROWTH_MAX_BYTES);
  expect(server.sessions).toBe(0); // who began something by chance and vanished is forgotten
  const download = await clock.settle(
    tftpGet({ network, clock, server: { address: '10.0.0.1', port: 69 }, path: 'pxelinux.0', localAddress: '10.0.0.8', dallyMs: 20 }),
  );
  expect(Buffer.compare(download.data, data)).toBe(0);
  await clock.settle(server.close(0));
  expect(network.open).toBe(1);
});

it(`HTTP: ${RUNS} requests over ${Math.ceil(RUNS / PIPELINED)} connections`, { timeout: LONG }, async () => {
  const chance = seeded(80);
  const content = bootContent({
    machines: { findMachine: async () => undefined, findMachineByUuid: async () => undefined },
    files: memorySource(new Map([['kernel', 'k'.repeat(3000)]])),
    leaseOf: () => undefined,
    clock: nodeClock,
  });
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, httpBootHandler(content));
  const seeds = [
    'GET /kernel HTTP/1.1\r\nhost: a\r\n\r\n',
    'HEAD /kernel HTTP/1.1\r\nhost: a\r\nrange: bytes=5-9\r\n\r\n',
    'GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: a\r\nrange: bytes=-1,9-\r\nif-range: "x"\r\n\r\n',
    'GET http://evil/%00 HTTP/1.0\r\n\r\n',
    'POST /kernel HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    'GET /pxelinux.cfg/01-52-54-00-12-34-56 HTTP/1.1\r\nhost: a\r\nif-none-match: *\r\n\r\n',
  ].map((text) => Buffer.from(text));
  const one = (bytes: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: server.local.port }, () => socket.end(bytes));
      socket.on('data', () => undefined);
      socket.once('error', () => resolve());
      socket.once('close', () => resolve());
    });
  const grown = await growth(async () => {
    for (let run = 0; run < RUNS; run += PIPELINED * 8)
      await Promise.all(
        Array.from({ length: 8 }, () => one(Buffer.concat(Array.from({ length: PIPELINED }, () => mutated(chance, seeds))))),
      );
  });
  expect(grown).toBeLessThan(GROWTH_MAX_BYTES);
  const answer = await nodeNetwork.request({ url: `http://127.0.0.1:${server.local.port}/kernel` });
  expect([answer.status, answer.body.length]).toEqual([200, 3000]);
  await server.close(0);
});
