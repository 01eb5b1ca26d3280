/** The simulated HTTP server reads bytes from the network: whatever they are, it answers or hangs up, and lives on. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { VirtualClock } from '../../src/simulator/clock.ts';
import { SimNetwork } from '../../src/simulator/network/index.ts';
import { seededRandom } from '../../src/simulator/random.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 2000);

/** Pieces of HTTP in any order, and noise. */
const piece = fc.oneof(
  fc.constantFrom(
    'GET / HTTP/1.1\r\n',
    'POST /a?b=c HTTP/1.1\r\n',
    'Host: x\r\n',
    'content-length: 5\r\n',
    'transfer-encoding: chunked\r\n',
  ),
  fc.constantFrom(
    '\r\n',
    '\r\n\r\n',
    '5\r\nhello\r\n',
    '0\r\n\r\n',
    'ffffffffffff\r\n',
    'content-length: 99999999999999\r\n',
    'content-length: -1\r\n',
  ),
  fc.string({ maxLength: 30 }),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);

it('property: garbage is answered or dropped, and the next request is served', async () => {
  const clock = new VirtualClock();
  const network = new SimNetwork({ clock, random: seededRandom('http') });
  const server = network.host({ name: 'server', addresses: ['10.0.0.1/24'], segment: 'lan' });
  const client = network.host({ name: 'client', addresses: ['10.0.0.2/24'], segment: 'lan' });
  await server.serveHttp({ port: 80, maxBodyBytes: 1000 }, async ({ body }) => ({ status: 200, body: `${body.length}` }));
  const talk = async (pieces: readonly string[]): Promise<string> => {
    const connection = await client.connect({ address: '10.0.0.1', port: 80 });
    for (const one of pieces) await connection.write(Buffer.from(one, 'latin1'));
    connection.end();
    let answer = '';
    for await (const chunk of connection) answer += Buffer.from(chunk).toString('latin1');
    return answer;
  };
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      const answer = await clock.run(talk(pieces), { limitMs: 10_000 });
      expect(answer).toMatch(/^$|^HTTP\/1\.1 (200|400|413|500) /);
      expect(answer).not.toMatch(/^HTTP\/1\.1 500/);
    }),
    { numRuns: RUNS },
  );
  expect((await clock.run(client.request({ url: 'http://server/', method: 'POST', body: 'four' }))).status).toBe(200);
});

it.each([
  ['lengths that disagree', 'POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello', 400],
  ['a chunk longer than it says', 'POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n', 400],
  ['chunks with trailers', 'POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n', 200],
  ['chunks above the limit', 'POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n', 413],
  ['a head without an end', `GET / HTTP/1.1\r\nA: ${'x'.repeat(40_000)}`, 400],
  ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n', 400],
  ['a body cut short', 'POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nhello', 400],
])('%s', async (_, bytes, status) => {
  const clock = new VirtualClock();
  const network = new SimNetwork({ clock, random: seededRandom('http'), tcpSegmentBytes: 7 });
  const server = network.host({ name: 'server', addresses: ['10.0.0.1/24'], segment: 'lan' });
  await server.serveHttp({ port: 80, maxBodyBytes: 1000 }, async ({ body }) => ({ status: 200, body }));
  const talk = async (): Promise<string> => {
    const connection = await server.connect({ address: '127.0.0.1', port: 80 });
    await connection.write(Buffer.from(bytes));
    connection.end();
    let answer = '';
    for await (const chunk of connection) answer += Buffer.from(chunk).toString();
    return answer;
  };
  expect(await clock.run(talk())).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
});
