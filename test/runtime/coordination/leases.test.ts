/** Leases of an API server that is away, forgets, loses answers or falls silent, on a virtual clock; and members that do. */
import type { Coordination, LeaseCoordination, Membership } from 'cdk8s-baremetal-runtime/coordination/index';
import type { HttpRequest, Network } from 'cdk8s-baremetal-runtime/core/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { openClusterLeases } from 'cdk8s-baremetal-runtime/roles/cluster-leases';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LOST, status, TOKEN } from '../store/fake-kubernetes.ts';
import { LEASE_MS, type LeaseGroup, leaseGroup } from './groups.ts';

let group: LeaseGroup;
beforeEach(() => {
  group = leaseGroup();
});
afterEach(() => group.close());

const run = <T>(work: Promise<T>): Promise<T> => group.clock.run(work);
const pass = (ms: number): Promise<void> => group.clock.runFor(ms);
const memberLeases = (): string[] => [...group.fake.objects.keys()].filter((name) => name.includes('.member.'));
const line = (): unknown[] =>
  [...group.fake.objects.values()].flatMap(({ metadata }) =>
    JSON.parse((metadata as { annotations?: Record<string, string> }).annotations?.['baremetal.bms.io/line'] ?? '[]'),
  );

/** A replica whose cable can be cut: its requests fail, and what it hears of a watch stops. */
function cuttable(): { replica: LeaseCoordination; cut(): void; mend(): void } {
  let whole = true;
  const streams = new Set<AbortController>();
  const refused = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  const { client } = group.fake;
  const network = Object.create(client) as Network;
  network.request = (request) => (whole ? client.request(request) : Promise.reject(refused()));
  network.requestStream = (request) => {
    if (!whole) return Promise.reject(refused());
    const controller = new AbortController();
    streams.add(controller);
    const signal = AbortSignal.any([controller.signal, ...(request.signal ? [request.signal] : [])]);
    return client.requestStream({ ...request, signal });
  };
  return {
    replica: group.replica(network),
    cut: () => {
      whole = false;
      for (const controller of streams) controller.abort(refused());
      streams.clear();
    },
    mend: () => {
      whole = true;
    },
  };
}

/** Until `before` is set anew: the API server has no answer to a list. */
const listsFail = (): void => {
  const isList = ({ method, path }: HttpRequest): boolean => method === 'GET' && path.endsWith('/leases');
  group.fake.before = (request) => (isList(request) ? status(503, 'starting') : undefined);
};

const watched = (replica: Coordination): { changes: () => number } => {
  let changes = 0;
  replica.onChange(() => {
    changes += 1;
  });
  return { changes: () => changes };
};

describe('000-16: members as Leases', () => {
  it('a member that is cut off stops at two thirds of its lease; others count it dead at the end of it, for good', async () => {
    const { replica: a, cut, mend } = cuttable();
    const b = group.replica();
    const { changes } = watched(b);
    const member = await run(a.join('node-a'));
    await pass(LEASE_MS * 4 + 1_000); // renewals keep it; the last was a second ago
    expect([member.lost.aborted, await run(b.isAlive(member.id)), changes()]).toEqual([false, true, 1]);
    cut();
    await pass((LEASE_MS * 2) / 3 - 1_500);
    expect(member.lost.aborted).toBe(false);
    await pass(1_000);
    expect([member.lost.aborted, await run(b.isAlive(member.id))]).toEqual([true, true]);
    await pass(LEASE_MS / 3);
    expect([await run(b.isAlive(member.id)), changes(), memberLeases()]).toEqual([false, 2, []]);
    mend();
    await pass(LEASE_MS * 2);
    const again = await run(a.join('node-a'));
    expect([await run(b.isAlive(member.id)), await run(b.isAlive(again.id))]).toEqual([false, true]);
  });

  it('whose watch is silent does not bury who goes on renewing', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const { changes } = watched(b);
    const member = await run(a.join('node-a'));
    await pass(100);
    group.fake.held = true;
    await pass(LEASE_MS * 5);
    expect([member.lost.aborted, await run(b.isAlive(member.id)), changes()]).toEqual([false, true, 1]);
    group.fake.release();
  });

  it('nobody reckons with the time of day that a Lease tells', async () => {
    const [a, b] = [group.replica(), group.replica()];
    group.fake.after = (_, response) => {
      for (const object of group.fake.objects.values())
        if ('renewTime' in object.spec) object.spec.renewTime = '1970-01-01T00:00:00.000000Z';
      return response;
    };
    const member = await run(a.join('node-a'));
    await pass(LEASE_MS * 3);
    expect([member.lost.aborted, await run(b.isAlive(member.id))]).toEqual([false, true]);
  });

  it('a Lease that somebody deletes ends a life, and the node may join again', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const member = await run(a.join('node-a'));
    await pass(100);
    const [name = ''] = memberLeases();
    const object = group.fake.objects.get(name);
    const preconditions = { uid: object?.metadata.uid, resourceVersion: object?.metadata.resourceVersion };
    const path = `/apis/coordination.k8s.io/v1/namespaces/bms/leases/${name}`;
    const headers = { authorization: 'Bearer token-of-bms-admin' };
    await run(
      group.fake.client.request({ method: 'DELETE', url: `${group.fake.url}${path}`, headers, body: JSON.stringify({ preconditions }) }),
    );
    await pass(LEASE_MS / 3 + 100);
    expect([member.lost.aborted, await run(b.isAlive(member.id))]).toEqual([true, false]);
    const again = await run(a.join('node-a'));
    expect(await run(b.isAlive(again.id))).toBe(true);
  });

  it('an API server that is away for longer than a lease ends every life, and no life is declared dead before its time', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const members = [await run(a.join('node-a')), await run(b.join('node-b'))];
    group.fake.before = () => status(503, 'starting');
    group.fake.endWatches(new Error('gone'));
    await pass(LEASE_MS);
    expect(members.map(({ lost }) => lost.aborted)).toEqual([true, true]);
    expect(members[0]?.lost.reason).toMatchObject({ code: 'COORDINATION_LOST' });
    await expect(run(b.isAlive('node-c#1'))).rejects.toMatchObject({ code: 'COORDINATION_KUBERNETES' });
    group.fake.before = () => undefined;
    const again = [await run(a.join('node-a')), await run(b.join('node-b'))] as [Membership, Membership];
    await pass(LEASE_MS * 3);
    expect([await run(b.isAlive(again[0].id)), await run(a.isAlive(again[1].id))]).toEqual([true, true]);
  });

  it('a watch that is ended, or whose place is forgotten, goes on with a list', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const { changes } = watched(b);
    await pass(100);
    for (const fault of [() => group.fake.endWatches(), () => group.fake.endWatches(new Error('cut')), () => group.fake.compact()]) {
      const before = changes();
      fault();
      if (fault.toString().includes('compact')) group.fake.endWatches();
      const member = await run(a.join('node-a'));
      await pass(1_000);
      expect(changes()).toBe(before + 1);
      await run(member.leave());
      await pass(100);
      expect(changes()).toBe(before + 2);
    }
  });

  it('the end of a member that was met before the first list came is told with that list', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const member = await run(a.join('node-a'));
    await pass(100);
    listsFail();
    const { changes } = watched(b);
    expect(await run(b.isAlive(member.id))).toBe(true);
    await run(member.leave());
    group.fake.before = () => undefined;
    await pass(LEASE_MS / 2);
    expect([changes(), await run(b.isAlive(member.id))]).toEqual([1, false]);
  });

  it('rights that are missing are named', async () => {
    group.fake.before = () =>
      status(403, 'leases.coordination.k8s.io is forbidden: User "bms-admin" cannot create resource "leases"', 'Forbidden');
    await expect(run(group.replica().join('node-a'))).rejects.toMatchObject({ code: 'COORDINATION_FORBIDDEN' });
    group.fake.before = () => undefined;
  });
});

describe('000-16: Leases tried out before they are needed', () => {
  const source = () =>
    openClusterLeases(
      { namespace: 'bms', scope: 'pod45-wuxi2' },
      {
        env: {},
        access: { server: group.fake.url, namespace: 'bms', credentials: () => ({ token: TOKEN, ca: '' }) },
        network: group.fake.client,
        clock: group.clock,
        random: seededRandom('tried out'),
        leaseMs: LEASE_MS,
      },
    );
  const forbidding =
    (...methods: string[]) =>
    (request: HttpRequest) =>
      methods.includes(request.query.get('watch') === '1' ? 'WATCH' : request.method)
        ? status(403, `leases.coordination.k8s.io is forbidden: User "bms-admin" cannot ${request.method}`, 'Forbidden')
        : undefined;

  it('asks for every verb, and leaves nothing behind', async () => {
    const asked: string[] = [];
    group.fake.before = (request) => {
      asked.push(`${request.method}${request.query.get('watch') === '1' ? ' watch' : (request.query.get('dryRun') ?? '') && ' dry'}`);
      return undefined;
    };
    await run(source().tryOut());
    expect(asked).toEqual(['GET', 'POST dry', 'PUT dry', 'DELETE dry', 'GET', 'GET watch']);
    expect([group.fake.objects.size, group.fake.revision]).toEqual([0, 100]);
    await pass(1_000);
    expect(group.fake.watching).toBe(0);
  });

  it.each([
    [
      'no rights at all',
      forbidding('GET', 'POST', 'PUT', 'DELETE', 'WATCH'),
      'COORDINATION_FORBIDDEN',
      /get, list, watch, create, update, delete refused/,
    ],
    [
      'no right to renew',
      forbidding('PUT'),
      'COORDINATION_FORBIDDEN',
      /namespace bms: update refused \(leases\.coordination.*cannot PUT\)/,
    ],
    ['no right to watch', forbidding('WATCH'), 'COORDINATION_FORBIDDEN', /: watch refused/],
    ['a token that is not accepted', () => status(401, 'Unauthorized'), 'COORDINATION_TOKEN', /does not accept/],
    [
      'a namespace that is not there',
      ({ method }: HttpRequest) => (method === 'POST' ? status(404, 'namespaces "bms" not found', 'NotFound', 'namespaces') : undefined),
      'COORDINATION_NAMESPACE',
      /no namespace bms/,
    ],
    ['a server that is not well', () => status(500, 'etcdserver: no leader'), 'COORDINATION_KUBERNETES', /no leader/],
  ] as const)('%s', async (_name, before, code, message) => {
    group.fake.before = before;
    await expect(run(source().tryOut())).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      cure: expect.stringMatching(/\w/),
    });
    group.fake.before = () => undefined;
  });
});

describe('000-16: places in line as Leases', () => {
  const take = (replica: Coordination) => replica.acquire('switch', { limit: 1, timeoutMs: 300_000 });

  it('a holder that is cut off loses its place when its session has run out, and knows it before', async () => {
    const { replica: a, cut } = cuttable();
    const b = group.replica();
    const held = await run(take(a));
    cut();
    const next = take(b).then((lease) => ({ lease, heldLost: held.lost.aborted, at: group.clock.monotonic() }));
    const begun = group.clock.monotonic();
    const { lease, heldLost, at } = await run(next);
    expect([heldLost, lease.lost.aborted]).toEqual([true, false]);
    expect(at - begun).toBeLessThan(LEASE_MS + 3_000);
    expect(held.lost.reason).toMatchObject({ code: 'COORDINATION_LEASE_LOST' });
  });

  it('a place that came free before the first list is taken with that list', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const held = await run(take(a));
    listsFail();
    const begun = group.clock.monotonic();
    const next = take(b);
    await pass(100);
    await run(held.release());
    group.fake.before = () => undefined;
    await run(next);
    expect(group.clock.monotonic() - begun).toBeLessThan(LEASE_MS);
  });

  it('answers that are lost leave no place behind', async () => {
    const [a, b] = [group.replica(), group.replica()];
    let writes = 0;
    group.fake.after = (request, response) => {
      if (request.method === 'GET') return response;
      writes += 1;
      return writes % 3 === 1 ? LOST : response;
    };
    const order: string[] = [];
    const task = async (replica: Coordination, name: string): Promise<void> => {
      const lease = await take(replica);
      order.push(name);
      await sleep(group.clock, 100);
      await lease.release();
    };
    await run(Promise.all([task(a, 'a1'), task(b, 'b1'), task(a, 'a2'), task(b, 'b2')]));
    await pass(5_000);
    expect([order.length, new Set(order).size, line()]).toEqual([4, 4, []]);
    group.fake.after = (_, response) => response;
  });

  it('who is thrown out of the line goes to its end again', async () => {
    const [a, b] = [group.replica(), group.replica()];
    const held = await run(take(a));
    const waiting = take(b);
    await pass(100);
    const name = [...group.fake.objects.keys()].find((key) => key.includes('.line.')) ?? '';
    const object = group.fake.objects.get(name);
    const metadata = { ...object?.metadata, annotations: { 'baremetal.bms.io/line': 'nonsense' } };
    const url = `${group.fake.url}/apis/coordination.k8s.io/v1/namespaces/bms/leases/${name}`;
    const headers = { authorization: 'Bearer token-of-bms-admin' };
    await run(group.fake.client.request({ method: 'PUT', url, headers, body: JSON.stringify({ ...object, metadata }) }));
    const lease = await run(waiting);
    expect(lease.lost.aborted).toBe(false);
    await run(held.release());
    await run(lease.release());
    expect(line()).toEqual([]);
  });
});
