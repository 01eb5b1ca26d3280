import type { HttpRequest, Logger } from 'cdk8s-baremetal-runtime/core/index';
import { type ClaimOutcome, type ClaimRequest, canonicalAddress, deployHelper } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const RUNS = Number(process.env.FUZZ_RUNS ?? 2_000);
const KEY = 'K3YK3YK3YK3YK3YK3YK3YK3YK3YK3YK3';

function setup(outcome: ClaimOutcome | Error = { kind: 'accepted' }) {
  const claims: ClaimRequest[] = [];
  const logs: string[] = [];
  const log = (fields: unknown, message?: string): void => void logs.push(JSON.stringify([fields, message]));
  const logger: Logger = { debug: log, info: log, warn: log, error: log, child: () => logger };
  const handler = deployHelper({
    logger,
    claimDeployment: async (request) => {
      claims.push(request);
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
  });
  const send = (body: string | Uint8Array, from = '10.0.0.5', method = 'POST') => handler(request(body, from, method));
  return { claims, logs, send };
}

function request(body: string | Uint8Array, from: string, method: string): HttpRequest {
  return {
    method,
    path: '/',
    query: new URLSearchParams(),
    headers: {},
    body: typeof body === 'string' ? Buffer.from(body) : body,
    remote: { address: from, port: 1234 },
    local: { address: '10.0.0.1', port: 10_000 },
    signal: new AbortController().signal,
  };
}

/** As diskimage-builder's ramdisk sends it: five parameters, nothing escaped, the last one empty. */
const GOOD = `i=7&k=${KEY}&a=10.0.0.5&n=iqn.2010-10.org.openstack.baremetal:d1&e=`;

describe('002-12: the deploy-helper', () => {
  it('accepts what a ramdisk sends, with port 3260 and LUN 1 by default', async () => {
    const { send, claims } = setup();
    expect(await send(GOOD)).toMatchObject({ status: 200, body: '' });
    const iqn = 'iqn.2010-10.org.openstack.baremetal:d1';
    expect(claims).toEqual([{ id: 7, key: KEY, address: '10.0.0.5', remoteAddress: '10.0.0.5', iqn, port: 3260, lun: 1 }]);
  });

  it('takes port, LUN and error when they are given, and escaped text', async () => {
    const { send, claims } = setup();
    await send(`i=7&k=${KEY}&a=10.0.0.5&n=iqn.a%3Ab&p=3261&l=0&e=Could+not+find%20disk`);
    expect(claims[0]).toMatchObject({ port: 3261, lun: 0, iqn: 'iqn.a:b', error: 'Could not find disk' });
  });

  it.each(['GET', 'PUT', 'HEAD', 'DELETE'])('answers %s with 501', async (method) => {
    const { send, claims } = setup();
    expect(await send(GOOD, '10.0.0.5', method)).toMatchObject({ status: 501, body: 'Not Implemented' });
    expect(claims).toEqual([]);
  });

  it.each(['i', 'k', 'a', 'n'])("says which parameter is missing or empty: '%s'", async (name) => {
    const { send, claims } = setup();
    const form = new URLSearchParams(GOOD);
    form.set(name, '');
    expect(await send(form.toString())).toMatchObject({ status: 400, body: `parameter '${name}' is not defined` });
    form.delete(name);
    expect(await send(form.toString())).toMatchObject({ status: 400, body: `parameter '${name}' is not defined` });
    expect(claims).toEqual([]);
  });

  it.each([
    ['N9: i that is no number', { i: 'seven' }, /'i' is not a positive whole number/],
    ['N9: i that is negative', { i: '-1' }, /'i'/],
    ['N9: i of 100 digits', { i: '9'.repeat(100) }, /'i'/],
    ['N9: i with SQL', { i: '1 OR 1=1' }, /'i'/],
    ['N4: a that is a name', { a: 'metadata.google.internal' }, /'a' is not an IP address/],
    ['N4: a with a port', { a: '10.0.0.5:22' }, /'a'/],
    ['N4: a with octal digits', { a: '010.0.0.5' }, /'a'/],
    ['N4: p of 0', { p: '0' }, /'p' is not a TCP port/],
    ['N4: p of 65536', { p: '65536' }, /'p'/],
    ['N4: l that is negative', { l: '-1' }, /'l' is not a logical unit number/],
    ['N9: z that is no block size', { b: '8192', z: '1000' }, /'z' is not the size of a disk's blocks/],
    ['N4: n with a path', { n: 'iqn.x/../../etc' }, /'n' is not the name/],
    ['N4: n with a line break', { n: 'iqn.x\nTargetName=y' }, /'n'/],
    ['N4: n of 224 bytes', { n: 'n'.repeat(224) }, /'n'/],
  ])('%s is 400 with a reason', async (_name, change, reason) => {
    const { send, claims } = setup();
    const form = new URLSearchParams(GOOD);
    for (const [name, value] of Object.entries(change)) form.set(name, value);
    expect(await send(form.toString())).toMatchObject({ status: 400, body: expect.stringMatching(reason) });
    expect(claims).toEqual([]);
  });

  it.each([
    ['that it is not empty', { h: '1' }, { sizeBytes: 8192, holds: 'data' }],
    ['that it is empty', { h: '0' }, { sizeBytes: 8192 }],
    ['all of it', { s: ' S1 ', z: '4096', h: '1' }, { sizeBytes: 8192, serial: 'S1', blockBytes: 4096, holds: 'data' }],
  ])('of the disk that a ramdisk writes by itself: %s', async (_, more, disk) => {
    const { send, claims } = setup();
    await send(new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(GOOD)), b: '8192', ...more }).toString());
    expect(claims.map((claim) => claim.disk)).toEqual([disk]);
  });

  it('a parameter that is given twice is refused', async () => {
    const { send } = setup();
    expect(await send(`${GOOD}&a=10.0.0.6`)).toMatchObject({ status: 400, body: "parameter 'a' is given twice" });
  });

  const outcomes: [ClaimOutcome, number, string][] = [
    [{ kind: 'unknown-node' }, 404, 'there is no node 7'],
    [{ kind: 'wrong-key' }, 400, 'key is not match'],
    [{ kind: 'used' }, 409, 'the key has been used already'],
    [{ kind: 'expired', at: '2026-01-01T00:00:00.000Z' }, 409, 'the key expired at 2026-01-01T00:00:00.000Z'],
    [{ kind: 'not-waiting', state: 'active' }, 409, 'the node does not wait for a deployment: it is active'],
    [{ kind: 'wrong-address', reason: 'no lease of this machine is known' }, 400, 'no lease of this machine is known'],
    [{ kind: 'wrong-target', expected: 'iqn.x' }, 400, "the target's name is not iqn.x"],
  ];
  it.each(outcomes)('answers %j', async (outcome, status, body) => {
    const { send, logs } = setup(outcome);
    expect(await send(GOOD)).toMatchObject({ status, body });
    expect(logs.join()).toContain(outcome.kind);
  });

  it('a store that fails is 503, so that the ramdisk tries again', async () => {
    const { send } = setup(new Error('disk full'));
    expect((await send(GOOD)).status).toBe(503);
  });

  it('N15: the key is in no log line and no answer, whatever happens', async () => {
    for (const outcome of [...outcomes.map(([first]) => first), { kind: 'accepted' } as const, new Error('x')]) {
      const { send, logs } = setup(outcome);
      const answers = [await send(GOOD), await send(GOOD.replace('i=7', 'i=x')), await send(`k=${KEY}`)];
      expect(logs.length).toBeGreaterThan(0);
      expect(logs.join() + JSON.stringify(answers)).not.toContain(KEY);
    }
  });

  it('N4: compares addresses by value: an IPv4 client of a dual-stack socket is itself', async () => {
    const { send, claims } = setup();
    await send(GOOD, '::ffff:10.0.0.5');
    await send(GOOD.replace('10.0.0.5', 'FD77:0:0::5'), 'fd77::5');
    expect(claims.map(({ address, remoteAddress }) => [address, remoteAddress])).toEqual([
      ['10.0.0.5', '10.0.0.5'],
      ['fd77::5', 'fd77::5'],
    ]);
    expect(canonicalAddress('::ffff:192.168.1.255')).toBe('192.168.1.255');
  });

  it('no body makes it throw, and nothing malformed gets through', async () => {
    const { send, claims } = setup();
    const value = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('10.0.0.5', '7', 'iqn.a:b', '3260'));
    const form = fc
      .dictionary(fc.constantFrom('i', 'k', 'a', 'n', 'p', 'l', 'e', 'x'), value)
      .map((entries) => new URLSearchParams(entries).toString());
    const body = fc.oneof(
      form.map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(body, async (bytes) => {
        const before = claims.length;
        const { status } = await send(bytes);
        if (claims.length === before) expect(status).toBe(400);
        else {
          const claim = claims.at(-1);
          expect(status).toBe(200);
          expect(Number.isSafeInteger(claim?.id)).toBe(true);
          expect(claim?.iqn).toMatch(/^[\w.:-]{1,223}$/);
          expect(claim?.port).toBeGreaterThan(0);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('a body above 16 KiB is 413', async () => {
    expect((await setup().send(`${GOOD}${'x'.repeat(17_000)}`)).status).toBe(413);
  });
});
