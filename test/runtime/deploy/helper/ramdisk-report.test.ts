import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { deployHelper, parseReport, type RamdiskReport, type ReportOutcome } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const KEY = 'A'.repeat(52);
const good = { node: 12, key: KEY, facts: { interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01' }] } };

async function post(body: unknown, outcome: ReportOutcome | Error, path = '/v1/ramdisk') {
  const seen: RamdiskReport[] = [];
  const logs: unknown[] = [];
  const note = (...args: unknown[]): void => void logs.push(args);
  const helper = deployHelper({
    claimDeployment: async () => ({ kind: 'accepted' }),
    acceptReport: async (report) => {
      seen.push(report);
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
    logger: { ...silentLogger, info: note, warn: note, error: note },
  });
  const answer = await helper({
    method: 'POST',
    path,
    query: new URLSearchParams(),
    headers: {},
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    remote: { address: '::ffff:10.0.0.5', port: 1 },
    local: { address: '10.0.0.1', port: 10_000 },
    signal: new AbortController().signal,
  });
  expect(JSON.stringify(logs) + String(answer.body)).not.toContain(KEY); // N15
  return { status: answer.status, body: String(answer.body), seen };
}

describe('the report of a ramdisk that exports no disk', () => {
  it('reaches the claim with the sender’s address, and brings the keys of a rescue back', async () => {
    const { status, body, seen } = await post(good, { kind: 'accepted', authorizedKeys: ['ssh-ed25519 AAAA'] });
    expect([status, JSON.parse(body)]).toEqual([200, { authorizedKeys: ['ssh-ed25519 AAAA'] }]);
    expect(seen).toMatchObject([{ id: 12, key: KEY, remoteAddress: '10.0.0.5', facts: { disks: [], interfaces: [{ name: 'eth0' }] } }]);
  });

  it.each([
    [{ kind: 'unknown-node' }, 404],
    [{ kind: 'wrong-key' }, 400],
    [{ kind: 'used' }, 409],
    [{ kind: 'expired', at: '2026-11-21T00:00:00Z' }, 409],
    [{ kind: 'not-waiting', state: 'active' }, 409],
    [{ kind: 'wrong-address', reason: 'no' }, 400],
    [{ kind: 'wrong-purpose', purpose: 'deploy' }, 409],
    [{ kind: 'facts-missing' }, 400],
    [new Error('the store is away'), 503],
  ] as const)('%o is answered %i', async (outcome, status) => {
    expect((await post(good, outcome)).status).toBe(status);
  });

  it.each([
    ['no JSON', `{"key":"${KEY}"`],
    ['no node', { key: KEY }],
    ['no key', { node: 1 }],
    ['a node that is no number', { ...good, node: '12' }],
    ['no interface', { ...good, facts: { interfaces: [] } }],
    ['an interface without an address', { ...good, facts: { interfaces: [{ name: 'x', mac: KEY }] } }],
    ['negative memory', { ...good, facts: { ...good.facts, memoryMb: -1 } }],
    ['a disk of infinite size', { ...good, facts: { ...good.facts, disks: [{ name: 'sda', sizeBytes: 1e300 }] } }],
  ])('%s is refused without repeating a value', async (_name, body) => {
    const { status, seen } = await post(body, { kind: 'accepted', authorizedKeys: [] });
    expect([status, seen]).toEqual([400, []]);
  });

  it('a body that no hardware explains is refused unread', async () => {
    expect((await post(' '.repeat(300_000), { kind: 'accepted', authorizedKeys: [] })).status).toBe(413);
  });

  it('any bytes are read or refused, never an exception', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
        ),
        (bytes) => {
          expect(['report', 'invalid']).toContain(parseReport(bytes).kind);
        },
      ),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2_000) },
    );
  });
});
