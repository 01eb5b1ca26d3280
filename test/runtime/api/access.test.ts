/** Who gets in: tokens and their file, the loopback rule, limits, TLS, and what no caller ever sees. */
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { FileTokens, matchToken, newToken, parseTokens, tokenLine } from 'cdk8s-baremetal-runtime/api/index';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { Harness, PASSWORD } from './harness.ts';

const random = seededRandom('tokens');
const folder = temporaryFolder();
beforeEach(folder.create);
afterEach(folder.remove);

describe('002-9: tokens', () => {
  it('are found by their hash, and by nothing else', () => {
    const [one, two] = [newToken(random), newToken(random)];
    const tokens = parseTokens(`# who\n\n${tokenLine('ci', 'operator', one)} # the pipeline\n${tokenLine('me', 'admin', two)}\n`);
    expect(matchToken(tokens, two)).toMatchObject({ name: 'me', role: 'admin' });
    expect(matchToken(tokens, `${two} `)).toBeUndefined();
    expect(matchToken(tokens, Buffer.from(tokens[0]?.sha256 ?? []).toString('hex'))).toBeUndefined();
    expect(tokenLine('ci', 'operator', one)).not.toContain(one);
  });

  it('a file of any bytes is read or refused by line, and never quoted', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        try {
          parseTokens(text);
        } catch (error) {
          expect((error as Error).message).toMatch(
            /^line \d+ (is not "name reader\|operator\|admin sha256"|has a name that was there before)$/,
          );
        }
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 500) },
    );
  });

  const file = () => {
    const clock = new VirtualClock();
    const path = folder.path('tokens');
    const token = newToken(random);
    writeFileSync(path, tokenLine('ci', 'admin', token), { mode: 0o600 });
    return { clock, path, token, source: new FileTokens({ path, clock, logger: silentLogger }) };
  };

  it('are read again when the file changes, within a second', async () => {
    const { clock, path, token, source } = file();
    expect(matchToken(source.current(), token)?.name).toBe('ci');
    const next = newToken(random);
    writeFileSync(`${path}.new`, tokenLine('ci', 'admin', next), { mode: 0o600 });
    renameSync(`${path}.new`, path);
    await clock.runFor(1_000);
    expect(matchToken(source.current(), token)).toBeUndefined();
    expect(matchToken(source.current(), next)?.name).toBe('ci');
  });

  it.each([
    ['others may read it', (path: string) => chmodSync(path, 0o644)],
    ['its group may write it', (path: string) => chmodSync(path, 0o620)],
    ['a line is wrong', (path: string) => writeFileSync(path, 'ci root 00')],
    ['it is gone', (path: string) => renameSync(path, `${path}.away`)],
  ])('nobody gets in when %s, until it is right again', async (_, spoil) => {
    const { clock, path, token, source } = file();
    const harness = new Harness({ tokens: source });
    const headers = { authorization: `Bearer ${token}` };
    expect((await harness.ask('GET', '/v1/nodes', { headers })).status).toBe(200);
    spoil(path);
    await clock.runFor(1_000);
    expect(await harness.ask('GET', '/v1/nodes', { headers })).toMatchObject({ status: 503, json: { error: { code: 'API_TOKENS_FILE' } } });
    expect((await harness.ask('GET', '/healthz')).status).toBe(200);
    writeFileSync(path, tokenLine('ci', 'admin', token));
    chmodSync(path, 0o440);
    await clock.runFor(1_000);
    expect((await harness.ask('GET', '/v1/nodes', { headers })).status).toBe(200);
  });
});

describe('without tokens', () => {
  it.each([
    ['a program of this machine', '127.0.0.1', {}, 202],
    ['one on another loopback address', '127.9.9.9', {}, 202],
    ['one over IPv6', '::1', { host: '[::1]:7081' }, 202],
    ['localhost by name', '127.0.0.1', { host: 'localhost:7081' }, 202],
    ['another machine', '192.0.2.7', {}, 403],
    ['another machine that calls itself localhost', '192.0.2.7', { host: 'localhost' }, 403],
    ['a proxy on this machine', '127.0.0.1', { 'x-forwarded-for': '127.0.0.1' }, 403],
    ['a page in a browser on this machine', '127.0.0.1', { origin: 'https://example.com' }, 403],
    ['a page whose name points here (DNS rebinding)', '127.0.0.1', { host: 'evil.example.com:7081' }, 403],
  ])('%s', async (_, from, headers, status) => {
    const harness = new Harness();
    await harness.machine(1);
    const answer = await harness.ask('POST', '/v1/nodes/bm-1/maintenance', { body: { on: true }, from, headers });
    expect(answer.status).toBe(status);
    // looking is open to everybody
    expect((await harness.ask('GET', '/v1/nodes/bm-1', { from, headers })).json.maintenance).toBe(status === 202);
  });
});

describe('limits', () => {
  it('so many requests per second and caller, bursts of twice as many', async () => {
    const harness = new Harness({ rateLimit: 5 });
    const ask = async (from: string) => (await harness.ask('GET', '/v1/nodes', { from })).status;
    const burst = await Promise.all(Array.from({ length: 12 }, () => ask('192.0.2.1')));
    expect(burst.filter((status) => status === 429)).toHaveLength(2);
    expect(await ask('192.0.2.2')).toBe(200);
    expect((await harness.ask('GET', '/healthz', { from: '192.0.2.1' })).status).toBe(200);
    const refused = await harness.ask('GET', '/v1/nodes', { from: '192.0.2.1' });
    expect(refused.headers['retry-after']).toBe('1');
    await harness.clock.runFor(1_000);
    expect(await Promise.all(Array.from({ length: 6 }, () => ask('192.0.2.1')))).toEqual([200, 200, 200, 200, 200, 429]);
  });

  it('a request id of the caller is kept when it is one, in answer and log', async () => {
    const harness = new Harness();
    await harness.machine(1);
    const given = await harness.ask('POST', '/v1/nodes/bm-1/maintenance', { body: { on: true }, headers: { 'x-request-id': 'abc-1' } });
    expect(given.headers['x-request-id']).toBe('abc-1');
    expect(harness.emitted.join('\n')).toContain('"requestId":"abc-1"');
    const bad = await harness.ask('GET', '/v1/nodes', { headers: { 'x-request-id': 'a\nb' } });
    expect(bad.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('secrets', () => {
  it('appear in no answer, header, event, metric or log line, whatever is asked', async () => {
    const token = newToken(random);
    const source = { current: () => parseTokens(tokenLine('ci', 'admin', token)) };
    const harness = new Harness({ tokens: source });
    const headers = { authorization: `Bearer ${token}` };
    const secret = 'S3cret-of-the-BMC';
    const controller = new AbortController();
    const stream = (await harness.send('GET', '/v1/events', { headers, signal: controller.signal })).body as AsyncIterable<string>;
    const heard = (async () => {
      for await (const chunk of stream) harness.emitted.push(chunk);
    })();
    const enrolment = {
      name: 'bm-9',
      macs: ['52:54:00:aa:bb:cc'],
      properties: { cpus: 8, memoryMb: 1, localGb: 1, cpuArch: 'x' },
      bmc: { address: '192.0.2.99', username: 'admin', password: secret },
    };
    await harness.machine(1);
    const requests: [string, string, unknown?][] = [
      ['POST', '/v1/nodes', enrolment],
      ['POST', '/v1/nodes', enrolment], // taken
      ['POST', '/v1/nodes', { ...enrolment, name: secret.repeat(9) }],
      ['POST', '/v1/nodes', { ...enrolment, bmc: { ...enrolment.bmc, password: [secret] } }],
      ['POST', '/v1/nodes', `{"bmc":{"password":"${secret}`], // cut off
      ['POST', '/v1/nodes', { bmc: secret }],
      ['PATCH', '/v1/nodes/bm-9', { bmc: { password: secret } }],
      ['PATCH', '/v1/nodes/bm-9', { bmc: { password: secret, surprise: 1 } }],
      ['GET', '/v1/nodes'],
      ['GET', '/v1/nodes/bm-9'],
      ['GET', '/v1/nodes/bm-9/timeline'],
      ['GET', '/v2/t/os-baremetal-nodes'],
      ['POST', '/v2/t/os-baremetal-nodes', { node: { pm_password: secret } }],
      ['GET', '/metrics'],
      ['GET', '/v1/openapi.json'],
      ['GET', '/v1/nodes/nowhere'],
    ];
    for (const [method, target, body] of requests) {
      for (const key of [undefined, 'k-1']) {
        const keyed = { ...headers, ...(key && method === 'POST' && { 'idempotency-key': key + target + JSON.stringify(body).length }) };
        await harness.ask(method, target, { ...(body !== undefined && { body }), headers: keyed });
      }
    }
    await harness.ask('GET', '/v1/nodes', { headers: { authorization: `Bearer ${token}x` } });
    await harness.ask('GET', `/v1/nodes?token=${token}`, { headers });
    controller.abort();
    await heard;
    const everything = harness.emitted.join('\n');
    expect(everything).toContain('bm-9');
    // the name that was refused holds it: that is what the caller wrote as a name, and no value is quoted all the same
    for (const one of [secret, PASSWORD, token]) expect(everything).not.toContain(one);
    const stored = JSON.stringify(await harness.store.list({ name: 'idempotency', parse: (value) => value }));
    expect(stored).not.toContain(secret);
  });
});
