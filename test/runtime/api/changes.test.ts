/** Asking twice, asking at the same time, and reading in pages. */

import { silentLogger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NodeIndex } from '../../../src/runtime/api/node-index.ts';
import { page } from '../../../src/runtime/api/pages.ts';
import { slowLists } from '../../support/slow-lists.ts';
import { Harness } from './harness.ts';

const DAY_MS = 24 * 3600 * 1000;
const enrolment = ({ bmc }: { readonly bmc: { readonly address: string } }) => ({
  name: 'bm-3',
  macs: ['52:54:00:00:00:03'],
  properties: { cpus: 32, memoryMb: 131_072, localGb: 480, cpuArch: 'x86_64' },
  bmc: { username: 'admin', password: 'correct horse', ...bmc },
});
const flavor = { id: 'f-1', cpus: 1, memoryMb: 1, localGb: 1 };

describe('idempotency keys', () => {
  const post = (harness: Harness, key: string, body: unknown = flavor, target = '/v1/flavors') =>
    harness.ask('POST', target, { body, headers: { 'idempotency-key': key } });

  it('the same key again gets the same answer, and nothing is done twice', async () => {
    const harness = new Harness();
    const first = await post(harness, 'k');
    const second = await post(harness, 'k');
    expect(second).toMatchObject({ status: 201, text: first.text });
    expect(second.headers['idempotency-replayed']).toBe('true');
    expect(second.headers.etag).toBe(first.headers.etag);
    expect((await post(harness, 'other')).status).toBe(409);
    expect(await harness.metrics()).toContain('bms_idempotent_replays_total 1');
  });

  it('a refusal is an answer, too', async () => {
    const harness = new Harness();
    await harness.machine(1);
    const refused = await post(harness, 'k', {}, '/v1/nodes/bm-1/reboot');
    expect(refused.status).toBe(409);
    await harness.change((await harness.ask('GET', '/v1/nodes/bm-1')).json.uuid, (node) => ({ ...node, state: 'active' }));
    expect((await post(harness, 'k', {}, '/v1/nodes/bm-1/reboot')).text).toBe(refused.text);
    expect((await post(harness, 'k2', {}, '/v1/nodes/bm-1/reboot')).status).toBe(202);
  });

  it.each([
    ['another body', { ...flavor, id: 'f-2' }, '/v1/flavors', 422],
    ['another path is another key', flavor, '/v1/plan', 422],
  ])('%s', async (_, body, target, status) => {
    const harness = new Harness();
    await post(harness, 'k');
    expect((await post(harness, 'k', body, target)).status).toBe(status);
  });

  it.each(['', 'a b', 'ä', 'x'.repeat(256)])('is refused when it is none: %j', async (key) => {
    expect((await post(new Harness(), key)).status).toBe(400);
  });

  it('while the first one runs, the second is told to wait; when its replica has died, it is done again', async () => {
    const harness = new Harness();
    const answers = await Promise.all([post(harness, 'k'), post(harness, 'k')]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    // what a replica leaves that dies in the middle
    const dead = new Harness();
    await dead.store.create({ name: 'idempotency', parse: (value) => value as never }, await idOf(dead), {
      fingerprint: await fingerprintOf(),
      at: dead.clock.now(),
    } as never);
    expect((await post(dead, 'k')).status).toBe(409);
    await dead.clock.runFor(60_000);
    expect((await post(dead, 'k')).status).toBe(201);
  });

  it('what takes longer than a minute is not done a second time, and its answer is there for who asks again', async () => {
    let calls = 0;
    const harness: Harness = new Harness({
      openImage: async () => {
        calls += 1;
        await sleep(harness.clock, 150_000);
        throw Object.assign(new Error('it is gone'), { code: 'ENOENT' });
      },
    });
    const register = () => post(harness, 'k', { id: 'large', boot: 'local' }, '/v1/images');
    const first = register();
    await harness.clock.runFor(100_000);
    expect(await register()).toMatchObject({ status: 409, json: { error: { code: 'API_KEY_RUNNING' } } });
    await harness.clock.runFor(60_000);
    const { status, text } = await first;
    expect([status, (await register()).text, calls]).toEqual([404, text, 1]);
  });

  it('is forgotten after a day, and swept away', async () => {
    const harness = new Harness();
    await post(harness, 'k');
    await harness.clock.runFor(DAY_MS);
    expect((await post(harness, 'k')).status).toBe(409); // done anew: the flavor is there
    await harness.clock.runFor(DAY_MS);
    await post(harness, 'k3');
    expect(await harness.store.list({ name: 'idempotency', parse: (value) => value })).toHaveLength(1);
  });

  async function idOf(harness: Harness): Promise<string> {
    const probe = new Harness();
    await post(probe, 'k');
    const [record] = await probe.store.list({ name: 'idempotency', parse: (value) => value });
    expect(harness).toBeDefined();
    return record?.id ?? '';
  }
  async function fingerprintOf(): Promise<string> {
    const probe = new Harness();
    await post(probe, 'k');
    const [record] = await probe.store.list({ name: 'idempotency', parse: (value) => value as { fingerprint: string } });
    return record?.value.fingerprint ?? '';
  }
});

describe('ETag and If-Match', () => {
  it('of many who change the same version, one does', async () => {
    const harness = new Harness();
    await harness.machine(1);
    const { etag = '' } = (await harness.ask('GET', '/v1/nodes/bm-1')).headers;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        harness.ask('PATCH', '/v1/nodes/bm-1', { body: { properties: { cpus: index + 1 } }, headers: { 'if-match': etag } }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(19);
    const winner = answers.find(({ status }) => status === 200);
    expect((await harness.ask('GET', '/v1/nodes/bm-1')).json.properties.cpus).toBe(winner?.json.properties.cpus);
  });

  it.each([
    ['PATCH', '/v1/nodes/bm-1', { properties: { cpus: 1 } }],
    ['DELETE', '/v1/nodes/bm-1', undefined],
    ['POST', '/v1/nodes/bm-1/maintenance', { on: true }],
    ['POST', '/v1/nodes/bm-1/manage', {}],
    ['POST', '/v1/nodes/bm-1/interfaces', { mac: '52:54:00:99:99:99' }],
  ])('%s %s: 412 for a version that has passed, and nothing is changed', async (method, target, body) => {
    const harness = new Harness();
    const { uuid } = await harness.machine(1);
    const { etag = '' } = (await harness.ask('GET', '/v1/nodes/bm-1')).headers;
    await harness.change(uuid, (node) => ({ ...node, reason: 'something else' }));
    const before = await harness.store.get(nodeKind, uuid);
    expect((await harness.ask(method, target, { body, headers: { 'if-match': etag } })).status).toBe(412);
    expect(await harness.store.get(nodeKind, uuid)).toEqual(before);
    // the address that was not added is free
    expect((await harness.ask('POST', '/v1/nodes/bm-1/interfaces', { body: { mac: '52:54:00:99:99:99' } })).status).toBe(201);
    const now = (await harness.ask('GET', '/v1/nodes/bm-1')).headers.etag ?? '';
    const again = method === 'POST' && target.endsWith('interfaces') ? { mac: '52:54:00:99:99:98' } : body;
    expect((await harness.ask(method, target, { body: again, headers: { 'if-match': now } })).status).toBeLessThan(300);
  });

  it('002-5: an address that DHCP keeps for one interface is kept for no other; it is free again with the interface, and with the machine', async () => {
    const harness = new Harness();
    await Promise.all([1, 2].map((index) => harness.machine(index)));
    const add = async (name: string, mac: string, address: string): Promise<string> => {
      const { status, text } = await harness.ask('POST', `/v1/nodes/${name}/interfaces`, { body: { mac, address } });
      return status === 201 ? 'added' : `${status} ${text}`;
    };
    const [one, two, three] = ['52:54:00:99:99:01', '52:54:00:99:99:02', '52:54:00:99:99:03'];
    const both = await Promise.all([add('bm-1', one, '192.0.2.30'), add('bm-2', two, '192.0.2.30')]);
    expect(both).toEqual(['added', expect.stringMatching(/^409 .*the address 192\.0\.2\.30 belongs to the machine bm-1 already/)]);
    expect(await add('bm-1', three, '192.0.2.30')).toMatch(/^409 .*the address 192\.0\.2\.30/);
    expect(await add('bm-2', two, '192.0.2.31')).toBe('added'); // what was refused has taken nothing
    await harness.ask('DELETE', `/v1/nodes/bm-1/interfaces/${one}`);
    expect(await add('bm-1', three, '192.0.2.30')).toBe('added');
    expect((await harness.ask('DELETE', '/v1/nodes/bm-2')).status).toBeLessThan(300);
    expect(await add('bm-1', one, '192.0.2.31')).toBe('added');
  });

  it('* stands for whatever is there', async () => {
    const harness = new Harness();
    await harness.machine(1);
    expect((await harness.ask('PATCH', '/v1/nodes/bm-1', { body: { properties: { cpus: 3 } }, headers: { 'if-match': '*' } })).status).toBe(
      200,
    );
  });

  it('of two changes without If-Match none is lost', async () => {
    const harness = new Harness();
    await harness.machine(1);
    await Promise.all([
      harness.ask('PATCH', '/v1/nodes/bm-1', { body: { properties: { cpus: 3 } } }),
      harness.ask('PATCH', '/v1/nodes/bm-1', { body: { properties: { memoryMb: 7 } } }),
      harness.ask('PATCH', '/v1/nodes/bm-1', { body: { rootDiskSerial: 'X' } }),
    ]);
    expect((await harness.ask('GET', '/v1/nodes/bm-1')).json).toMatchObject({ properties: { cpus: 3, memoryMb: 7 }, rootDiskSerial: 'X' });
  });

  it("a BMC's address goes with its machine: what it left is free, what another has is refused", async () => {
    const harness = new Harness();
    await harness.machine(1);
    await harness.machine(2);
    expect((await harness.ask('PATCH', '/v1/nodes/bm-1', { body: { bmc: { address: '192.0.2.2' } } })).status).toBe(409);
    expect((await harness.ask('PATCH', '/v1/nodes/bm-1', { body: { bmc: { address: '192.0.2.77' } } })).status).toBe(200);
    expect((await harness.ask('PATCH', '/v1/nodes/bm-2', { body: { bmc: { address: '192.0.2.1' } } })).status).toBe(200);
    // a change that is refused leaves no trace
    const stale = { body: { bmc: { address: '192.0.2.88' } }, headers: { 'if-match': '"0"' } };
    expect((await harness.ask('PATCH', '/v1/nodes/bm-1', stale)).status).toBe(412);
    expect((await harness.ask('PATCH', '/v1/nodes/bm-2', { body: { bmc: { address: '192.0.2.88' } } })).status).toBe(200);
    // a hypervisor switches many machines: it is nobody's own, and the BMC that it takes the place of is free
    const virtual = { driver: 'virtual', address: 'virtual+ssh://root@192.0.2.200/bm-2' };
    expect((await harness.ask('PATCH', '/v1/nodes/bm-2', { body: { bmc: virtual } })).status).toBe(200);
    expect((await harness.ask('POST', '/v1/nodes', { body: enrolment({ bmc: { address: '192.0.2.88' } }) })).status).toBe(201);
    // half of what a BMC is, e.g. its user alone, keeps its address
    expect((await harness.ask('PATCH', '/v1/nodes/bm-1', { body: { bmc: { username: 'root' } } })).json.bmc).toBe('ipmi://192.0.2.77');
  });
});

describe('pages', () => {
  it('together are everything, once, in order, whatever comes and goes meanwhile', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.record({ add: fc.integer({ min: 1, max: 500 }), remove: fc.integer({ min: 1, max: 500 }) }), { maxLength: 8 }),
        (start, limit, changes) => {
          let all = [...start].sort((a, b) => a - b);
          const stayed = new Set(all);
          const seen: number[] = [];
          let cursor: string | undefined;
          for (let turn = 0; ; turn++) {
            const { entries, next } = page(all, (entry) => entry, { limit, cursor });
            expect(entries.length).toBeLessThanOrEqual(limit);
            seen.push(...entries);
            if (next === undefined) break;
            cursor = next;
            const change = changes[turn];
            if (!change) continue;
            stayed.delete(change.remove);
            all = [...new Set([...all.filter((entry) => entry !== change.remove), change.add])].sort((a, b) => a - b);
          }
          expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
          for (const entry of stayed) expect(seen).toContain(entry);
        },
      ),
    );
  });

  it('of machines: limit, cursor and filters', async () => {
    const harness = new Harness();
    for (let number = 1; number <= 7; number++) await harness.machine(number);
    const names: string[] = [];
    for (let target = '/v1/nodes?limit=3'; ; ) {
      const { json } = await harness.ask('GET', target);
      names.push(...json.nodes.map(({ name }: { name: string }) => name));
      if (json.next === undefined) break;
      target = `/v1/nodes?limit=3&cursor=${json.next}`;
    }
    expect(names).toEqual([1, 2, 3, 4, 5, 6, 7].map((number) => `bm-${number}`));
    expect((await harness.ask('GET', '/v1/nodes?name=bm-7')).json.nodes).toHaveLength(1);
    expect((await harness.ask('GET', '/v1/nodes?state=active')).json.nodes).toEqual([]);
  });

  it.each(['limit=0', 'limit=1001', 'limit=x', 'limit=1&limit=2', 'state=a&state=b', 'free=yes'])(
    'a query that is none: %s',
    async (query) => {
      expect((await new Harness().ask('GET', `/v1/nodes?${query}`)).status).toBe(400);
    },
  );

  it.each(['x', '', 'YWZ0ZXIgLTE', '../..'])('a cursor that is none: %j', async (cursor) => {
    expect((await new Harness().ask('GET', `/v1/nodes?cursor=${encodeURIComponent(cursor)}`)).status).toBe(422);
  });
});

describe('the index of machines', () => {
  it('keeps nothing of a machine that went while it was read for the first time', async () => {
    const harness = new Harness();
    const { store } = harness;
    const { uuid } = await harness.machine(1);
    const read = Promise.withResolvers<void>();
    const index = new NodeIndex({ store: slowLists(store, () => read.promise), logger: silentLogger });
    const begun = index.ready();
    await harness.ask('DELETE', `/v1/nodes/${uuid}`);
    read.resolve();
    await begun;
    expect(index.list()).toEqual([]);
  });

  it('after any changes is what a fresh reading of the store gives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('enrol', 'change', 'remove'), fc.integer({ min: 1, max: 4 })), { maxLength: 25 }),
        async (steps) => {
          const harness = new Harness();
          const index = new NodeIndex({ store: harness.store, logger: silentLogger });
          const begun = index.ready();
          let added = 0;
          const alive: string[] = [];
          for (const [what, which] of steps) {
            const id = alive[which % Math.max(1, alive.length)];
            if (what === 'enrol') alive.push((await harness.machine(++added)).uuid);
            else if (id !== undefined && what === 'change') await harness.change(id, (node) => ({ ...node, reason: `${node.reason}.` }));
            else if (id !== undefined) {
              await harness.ask('DELETE', `/v1/nodes/${id}`);
              alive.splice(alive.indexOf(id), 1);
            }
          }
          await begun;
          await Promise.resolve();
          const fresh = new NodeIndex({ store: harness.store, logger: silentLogger });
          await fresh.ready();
          expect(index.list()).toEqual(fresh.list());
        },
      ),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 60) },
    );
  });
});
