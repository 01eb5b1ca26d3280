/** Bad input and bad clients: a code and a reason for each, never a 500, and nobody holds up the others. */
import { operations } from 'cdk8s-baremetal-contract/api/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeKind, nodeStates, verbs } from 'cdk8s-baremetal-runtime/machine/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Harness } from './harness.ts';

const ENROLMENT = {
  name: 'bm-9',
  macs: ['52:54:00:aa:bb:cc'],
  properties: { cpus: 8, memoryMb: 16_384, localGb: 100, cpuArch: 'x86_64' },
  bmc: { address: '192.0.2.9', username: 'admin', password: 'correct horse' },
};
const NOVA = {
  service_host: 'c',
  cpus: 1,
  memory_mb: 1,
  local_gb: 1,
  pm_address: '192.0.2.9',
  pm_user: 'u',
  pm_password: 'p',
  prov_mac_address: '52:54:00:aa:bb:cc',
};
const nova = (more: object) => ({ node: { ...NOVA, ...more } });
const bmc = (more: object) => ({ ...ENROLMENT, bmc: { ...ENROLMENT.bmc, ...more } });
const OS = '/v2/t/os-baremetal-nodes';

interface Bad {
  readonly name: string;
  readonly request: readonly [method: string, path: string, body?: unknown];
  readonly status: number;
  readonly code: string;
  readonly says: string;
}

/** bm-1 is free, with 52:54:00:00:00:01 and the BMC 192.0.2.1; bm-2 carries an instance of image-1. */
const TABLE: readonly Bad[] = [
  {
    name: 'too short a MAC',
    request: ['POST', '/v1/nodes', { ...ENROLMENT, macs: ['52:54:00'] }],
    status: 422,
    code: 'API_INVALID',
    says: 'macs.0',
  },
  {
    name: 'a multicast MAC',
    request: ['POST', '/v1/nodes', { ...ENROLMENT, macs: ['01:00:5e:00:00:01'] }],
    status: 422,
    code: 'API_INVALID',
    says: 'macs.0',
  },
  {
    name: 'the MAC of nobody',
    request: ['POST', '/v1/nodes', { ...ENROLMENT, macs: ['00:00:00:00:00:00'] }],
    status: 422,
    code: 'API_INVALID',
    says: 'macs.0',
  },
  {
    name: 'mixed separators',
    request: ['POST', '/v1/nodes', { ...ENROLMENT, macs: ['52:54-00:aa:bb:cc'] }],
    status: 422,
    code: 'API_INVALID',
    says: 'macs.0',
  },
  {
    name: 'a MAC that is taken',
    request: ['POST', '/v1/nodes', { ...ENROLMENT, macs: ['52-54-00-00-00-01'] }],
    status: 409,
    code: 'MACHINE_TAKEN',
    says: 'bm-1',
  },
  {
    name: 'a BMC that is taken',
    request: ['POST', '/v1/nodes', bmc({ address: '192.0.2.1' })],
    status: 409,
    code: 'MACHINE_TAKEN',
    says: 'the BMC 192.0.2.1:623 belongs to the machine bm-1',
  },
  {
    name: 'a BMC that is taken, its port told',
    request: ['POST', '/v1/nodes', bmc({ address: '192.0.2.1', port: 623 })],
    status: 409,
    code: 'MACHINE_TAKEN',
    says: 'bm-1',
  },
  {
    name: 'a correction to a BMC that is taken',
    request: ['PATCH', '/v1/nodes/bm-2', { bmc: { address: '192.0.2.1' } }],
    status: 409,
    code: 'API_REFUSED',
    says: 'bm-1',
  },
  {
    name: 'an unknown power driver',
    request: ['POST', '/v1/nodes', bmc({ driver: 'ssh' })],
    status: 422,
    code: 'API_INVALID',
    says: 'bmc.driver',
  },
  {
    name: 'a port that is none',
    request: ['POST', '/v1/nodes', bmc({ port: 65_536 })],
    status: 422,
    code: 'API_INVALID',
    says: 'bmc.port',
  },
  {
    name: 'an interface that is taken',
    request: ['POST', '/v1/nodes/bm-2/interfaces', { mac: '52:54:00:00:00:01' }],
    status: 409,
    code: 'MACHINE_TAKEN',
    says: 'bm-1',
  },
  {
    name: 'an interface that is none',
    request: ['POST', '/v1/nodes/bm-1/interfaces', { mac: 'eth0' }],
    status: 422,
    code: 'API_INVALID',
    says: 'mac',
  },
  {
    name: 'removing an interface that is none',
    request: ['DELETE', '/v1/nodes/bm-1/interfaces/eth0'],
    status: 400,
    code: 'API_BAD_MAC',
    says: 'eth0',
  },
  {
    name: 'an unknown flavor',
    request: ['POST', '/v1/instances', { name: 'a', imageId: 'image-1', flavorId: 'huge', yes: true }],
    status: 404,
    code: 'API_NO_FLAVOR',
    says: 'huge',
  },
  {
    name: 'an unknown image',
    request: ['POST', '/v1/instances', { name: 'a', imageId: 'none', node: 'bm-1', yes: true }],
    status: 404,
    code: 'API_NO_IMAGE',
    says: 'none',
  },
  {
    name: 'neither flavor nor machine',
    request: ['POST', '/v1/instances', { name: 'a', imageId: 'image-1', yes: true }],
    status: 422,
    code: 'API_INVALID',
    says: 'flavorId or node',
  },
  {
    name: 'a machine that is used',
    request: ['POST', '/v1/instances', { name: 'a', imageId: 'image-1', node: 'bm-2', yes: true }],
    status: 409,
    code: 'API_REFUSED',
    says: 'associated with another instance',
  },
  {
    name: 'no confirmation',
    request: ['POST', '/v1/instances', { name: 'a', imageId: 'image-1', node: 'bm-1' }],
    status: 428,
    code: 'API_CONFIRM',
    says: 'WIPE',
  },
  {
    name: 'a fault of a machine that is not in use',
    request: ['POST', '/v1/nodes/bm-1/fault', { reason: 'not ready' }],
    status: 409,
    code: 'MACHINE_NOT_IN_USE',
    says: 'bm-1 is available',
  },
  {
    name: 'a fault without a reason',
    request: ['POST', '/v1/nodes/bm-2/fault', { reason: ' ' }],
    status: 422,
    code: 'API_INVALID',
    says: 'reason',
  },
  {
    name: 'a fault with a novel for a reason',
    request: ['POST', '/v1/nodes/bm-2/fault', { reason: 'x'.repeat(501) }],
    status: 422,
    code: 'API_INVALID',
    says: 'reason',
  },
  {
    name: 'a verb in the wrong state',
    request: ['POST', '/v1/nodes/bm-1/reboot'],
    status: 409,
    code: 'MACHINE_WRONG_STATE',
    says: 'it is available',
  },
  { name: 'forgetting a machine that is used', request: ['DELETE', '/v1/nodes/bm-2'], status: 409, code: 'MACHINE_IN_USE', says: 'bm-2' },
  { name: 'an unknown verb', request: ['POST', '/v1/nodes/bm-1/explode'], status: 404, code: 'API_NO_ROUTE', says: 'explode' },
  {
    name: 'an unknown plan',
    request: ['POST', '/v1/plan', { verb: 'explode', node: 'bm-1' }],
    status: 422,
    code: 'API_INVALID',
    says: 'verb',
  },
  {
    name: 'a plan for what cannot be done now',
    request: ['POST', '/v1/plan', { verb: 'clean', node: 'bm-2' }],
    status: 409,
    code: 'MACHINE_WRONG_STATE',
    says: '"clean" cannot be done with the machine bm-2: it is active',
  },
  { name: "nova's bad MAC", request: ['POST', OS, nova({ prov_mac_address: 'x' })], status: 422, code: 'MACHINE_INVALID', says: '"x"' },
  {
    name: "nova's multicast MAC",
    request: ['POST', `${OS}/1/action`, { add_interface: { address: '01:00:5e:00:00:01' } }],
    status: 400,
    code: 'API_BAD_MAC',
    says: '01:00:5e',
  },
  {
    name: "nova's duplicate MAC",
    request: ['POST', OS, nova({ prov_mac_address: '52:54:00:00:00:01' })],
    status: 409,
    code: 'MACHINE_TAKEN',
    says: 'bm-1',
  },
  {
    name: "nova's duplicate BMC",
    request: ['POST', OS, nova({ pm_address: '192.0.2.1' })],
    status: 409,
    code: 'MACHINE_TAKEN',
    says: 'bm-1',
  },
  { name: "nova's unknown machine", request: ['DELETE', `${OS}/77`], status: 404, code: 'API_NO_NODE', says: '77' },
];

async function site(): Promise<Harness> {
  const harness = new Harness();
  await harness.image();
  await harness.machine(1);
  await harness.inUse(2);
  return harness;
}

describe('002-9: bad input', () => {
  it.each(TABLE)('$name: $status $code', async ({ request: [method, path, body], status, code, says }) => {
    const harness = await site();
    const before = JSON.stringify(await harness.store.list(nodeKind));
    const answer = await harness.ask(method, path, body === undefined ? {} : { body });
    expect([answer.status, answer.json.error.code]).toEqual([status, code]);
    expect(`${answer.json.error.message} ${JSON.stringify(answer.json.error.details ?? '')}`).toContain(says);
    expect(answer.json.error.cure).not.toBe('');
    const after = JSON.stringify(await harness.store.list(nodeKind));
    expect(after).toBe(before);
  });

  it('what was refused leaves nothing reserved: the same enrolment, corrected, is taken', async () => {
    const harness = await site();
    expect((await harness.ask('POST', '/v1/nodes', { body: bmc({ address: '192.0.2.1' }) })).status).toBe(409);
    expect((await harness.ask('POST', '/v1/nodes', { body: ENROLMENT })).status).toBe(201);
  });

  it.each(nodeStates)('no verb is a surprise for a machine that is %s: done, or refused with what is possible', async (state) => {
    const harness = await site();
    const node = await harness.machine(3, (value) => ({ ...value, state }));
    const paths = { 'attach volume': { volume: 'v' }, 'detach volume': { volume: 'v' }, 'plug vifs': { vifs: [] } } as const;
    for (const verb of verbs) {
      const body =
        verb in paths ? paths[verb as keyof typeof paths] : { ...(['destroy', 'rebuild', 'clean'].includes(verb) && { yes: true }) };
      const answer = await harness.ask('POST', `/v1/nodes/bm-3/${verb.replace(' ', '-')}`, { body });
      if (answer.status === 202) await harness.change(node.uuid, ({ request: _, ...value }) => value);
      else
        expect([answer.status, answer.json.error.code]).toEqual([expect.toBeOneOf([404, 409]), expect.stringMatching(/^(MACHINE|API)_/)]);
    }
  });
});

describe('whatever is sent', () => {
  const rows = Object.values(operations).map(({ method, path }) => ({ method, path }));
  const word = fc.oneof(
    fc.constantFrom('bm-1', 'bm-2', '1', 'image-1', '52:54:00:00:00:01', '__proto__', '..', '%', '\u0000'),
    fc.string({ maxLength: 12 }),
  );
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom(ENROLMENT, nova({}), { yes: true }, { name: 'a', imageId: 'image-1', node: 'bm-1', yes: true }),
  );
  const request = fc.record({
    row: fc.constantFrom(...rows),
    words: fc.array(word, { minLength: 3, maxLength: 3 }),
    query: fc.dictionary(
      fc.oneof(fc.constantFrom('limit', 'cursor', 'state', 'once'), fc.string({ maxLength: 6 })),
      fc.string({ maxLength: 12 }),
      { maxKeys: 3 },
    ),
    headers: fc.dictionary(
      fc.constantFrom('content-type', 'if-match', 'idempotency-key', 'authorization', 'x-request-id', 'last-event-id', 'origin', 'host'),
      fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom('application/json', '*', '"1"', 'Bearer x')),
      { maxKeys: 3 },
    ),
    body: fc.option(
      fc.oneof(
        value.map((one) => JSON.stringify(one)),
        fc.string({ maxLength: 30 }),
      ),
      { nil: undefined },
    ),
  });

  it('is answered with a status of its row and a problem in its form, and never with 500', async () => {
    const harness = await site();
    await fc.assert(
      fc.asyncProperty(request, async ({ row, words, query, headers, body }) => {
        let index = 0;
        const path = row.path.replaceAll(/:[a-z]+/g, () => words[index++ % words.length] ?? '');
        const lower = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, text]));
        const response = await harness.api.handle({
          method: row.method,
          path,
          query: new URLSearchParams({ ...query, ...(row.path === '/v1/events' && { once: 'true' }) }),
          headers: { 'content-type': 'application/json', host: '127.0.0.1', ...lower },
          body: Buffer.from(body ?? ''),
          remote: { address: '127.0.0.1', port: 5 },
          local: { address: '127.0.0.1', port: 7081 },
          signal: new AbortController().signal,
        });
        if (response.status >= 500 && response.status !== 503) throw new Error(`${row.method} ${path}: ${String(response.body)}`);
        if (response.status < 400 || typeof response.body !== 'string') return;
        const { error } = JSON.parse(response.body);
        if (![error.code, error.message, error.cure].every((text) => typeof text === 'string' && text !== ''))
          throw new Error(response.body);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
    );
  });
});

describe('bad clients, on a real socket', () => {
  const serving = async (work: (port: number, harness: Harness) => Promise<void>): Promise<void> => {
    const harness = new Harness({ clock: nodeClock });
    await harness.machine(1);
    const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, harness.api.handle);
    try {
      await work(server.local.port, harness);
    } finally {
      harness.api.close();
      await server.close(0);
    }
  };
  const list = (port: number) => nodeNetwork.request({ method: 'GET', url: `http://127.0.0.1:${port}/v1/nodes` });

  it('a body beyond the limit is refused with 413, and the next request is served', () =>
    serving(async (port) => {
      const url = `http://127.0.0.1:${port}/v1/nodes`;
      const body = JSON.stringify({ ...ENROLMENT, name: 'x'.repeat(3 * 1024 * 1024) });
      const answer = await nodeNetwork
        .request({ method: 'POST', url, headers: { 'content-type': 'application/json' }, body })
        .catch(() => ({ status: 413 })); // the server may hang up while we still send
      expect(answer.status).toBe(413);
      expect((await list(port)).status).toBe(200);
    }));

  it('one that sends half a request, and one that never reads its stream, hold up nobody', () =>
    serving(async (port, harness) => {
      const half = await nodeNetwork.connect({ address: '127.0.0.1', port });
      await half.write(Buffer.from('POST /v1/nodes HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{"na'));
      const deaf = await nodeNetwork.connect({ address: '127.0.0.1', port });
      await deaf.write(Buffer.from('GET /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'));
      const { uuid } = await harness.machine(2);
      for (let change = 0; change < 2000; change++)
        await harness.change(uuid, (node) => ({ ...node, reason: `change ${change} ${'x'.repeat(500)}` }));
      expect((await list(port)).status).toBe(200);
      half.destroy();
      deaf.destroy();
      expect((await list(port)).status).toBe(200);
    }));
});

it('what breaks inside is a 500 with the number to look for, and no conflict that the caller could solve', async () => {
  const harness = new Harness({
    bootReport: () => {
      throw new TypeError('cannot read what is not there');
    },
  });
  const { status, body } = await harness.send('GET', '/v1/boot', { headers: { 'x-request-id': 'r-1' } });
  expect([status, JSON.parse(String(body)).error]).toMatchObject([500, { code: 'API_INTERNAL', cure: 'Look for r-1 in its log' }]);
  expect(String(body)).not.toContain('not there');
});

it('a machine that failed and rests is not overdue for ever, and shows no deadline; one that nobody drives is', async () => {
  const harness = new Harness();
  const past = { stateDeadline: harness.clock.now() - 1_000 };
  await harness.machine(1, (node) => ({ ...node, ...past, state: 'error', reason: 'BMC has another password' }));
  await harness.machine(2, (node) => ({ ...node, ...past, state: 'building' }));
  await harness.machine(3, (node) => ({ ...node, ...past, state: 'building', maintenance: true }));
  expect(await harness.metrics()).toContain('bms_nodes_overdue 1\n');
  const shown = await Promise.all([1, 2].map(async (number) => (await harness.ask('GET', `/v1/nodes/${number}`)).json.deadline));
  expect(shown).toEqual([undefined, new Date(past.stateDeadline).toISOString()]);
});
