/** The Kubernetes store beside an API server that restarts, forgets, garbles and loses answers; on a virtual clock. */
import { type Kind, KubernetesStore, type KubernetesStoreOptions, modify, type WatchEvent } from 'cdk8s-baremetal-runtime/store/index';
import { parseKubernetesUrl } from 'cdk8s-baremetal-runtime/store/kubernetes/kubernetes-url';
import { objectName } from 'cdk8s-baremetal-runtime/store/kubernetes/record-object';
import { WatchBroken, WatchCut, type WatchLine, watchLines } from 'cdk8s-baremetal-runtime/store/kubernetes/watch-lines';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import { FakeKubernetes, LOST, status, TOKEN } from './fake-kubernetes.ts';

interface Thing {
  readonly n: number;
}
const thing: Kind<Thing> = { name: 'thing', parse: (value) => value as Thing };
const RUNS = Number(process.env.FUZZ_RUNS ?? 2000);

let fake: FakeKubernetes;
let stores: KubernetesStore[];
let current: string;
beforeEach(async () => {
  fake = new FakeKubernetes();
  stores = [];
  current = TOKEN;
  await fake.start();
});

function open(options: Partial<KubernetesStoreOptions> = {}): KubernetesStore {
  const access = { server: fake.url, namespace: 'default', credentials: () => ({ token: current, ca: '' }) };
  const random = seededRandom(`store ${stores.length}`);
  const store = new KubernetesStore({ access, scope: 'pod45-wuxi2', network: fake.client, clock: fake.clock, random, ...options });
  stores.push(store);
  return store;
}

/** A test on the fake's time; stores are closed at its end. */
const scenario = (title: string, work: () => Promise<void>): void =>
  it(title, () =>
    fake.clock.run(
      work().finally(() => Promise.all(stores.map((store) => store.close()))),
      { limitMs: 3_600_000 },
    ),
  );

const pass = (ms: number): Promise<void> => sleep(fake.clock, ms);
const show = (event: WatchEvent<Thing>): string =>
  event.type === 'put' ? `put ${event.record.id} ${event.record.value.n}` : `${event.type} ${event.id}`;
const caught = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );
const put = async (store: KubernetesStore, id: string, n: number): Promise<string> => {
  const made = await store.create(thing, id, { n });
  if (made.outcome === 'stored') return made.record.version;
  const changed = await store.update(thing, { id, value: { n } }, made.current.version);
  if (changed.outcome !== 'stored') throw new Error('a conflict');
  return changed.record.version;
};
const remove = async (store: KubernetesStore, id: string): Promise<void> => {
  const record = await store.get(thing, id);
  if (record) await store.delete(thing, record, record.version);
};

/** One replica watches, another one changes. */
async function pair(): Promise<{ events: string[]; watcher: KubernetesStore; other: KubernetesStore }> {
  const watcher = open();
  const other = open();
  const events: string[] = [];
  await put(other, 'kept', 0);
  watcher.watch(thing, (event) => events.push(show(event)));
  await watcher.list(thing);
  await pass(1000);
  return { events, watcher, other };
}

describe('002-6: the watch of a Kubernetes store', () => {
  scenario('tells what others change, once, in order; its own changes once, at once', async () => {
    const { events, watcher, other } = await pair();
    await put(other, 'a', 1);
    await put(other, 'a', 2);
    await pass(100);
    await put(watcher, 'a', 3);
    await Promise.resolve();
    expect(events).toEqual(['put a 1', 'put a 2', 'put a 3']);
    await remove(watcher, 'a');
    await put(other, 'a', 4);
    await remove(other, 'a');
    await pass(1000);
    expect(events.slice(3)).toEqual(['delete a', 'put a 4', 'delete a']);
  });

  scenario('tells an end once, also where the watch hears of it before the call is answered', async () => {
    const { events, watcher } = await pair();
    await put(watcher, 'a', 1);
    fake.after = async (request, response) => {
      if (request.method === 'DELETE') await pass(500);
      return response;
    };
    await remove(watcher, 'a');
    await put(watcher, 'a', 2);
    await pass(1000);
    expect(events).toEqual(['put a 1', 'delete a', 'put a 2']);
  });

  scenario('a write of its own that is answered after the watch has told its end by another is not told again', async () => {
    const { events, watcher, other } = await pair();
    await put(watcher, 'a', 1);
    fake.after = async (request, response) => {
      if (request.method === 'PUT') await pass(500);
      return response;
    };
    const written = put(watcher, 'a', 2);
    await pass(100);
    await remove(other, 'a');
    await written;
    await pass(1000);
    expect(events).toEqual(['put a 1', 'put a 2', 'delete a']);
  });

  scenario('a write of its own that meets the first list of a watch is told: the list must not take it for known', async () => {
    const store = open();
    const events: string[] = [];
    fake.after = async (request, response) => {
      if (request.method !== 'GET') await pass(500); // carried out, and seen by a list, before its answer is here
      return response;
    };
    store.watch(thing, (event) => events.push(show(event)));
    await put(store, 'a', 1);
    await put(store, 'a', 2);
    await remove(store, 'a');
    await pass(1000);
    expect(events).toEqual(['put a 1', 'put a 2', 'delete a']);
  });

  scenario('a write is refused while nobody can say what is new, and goes through when the first list does', async () => {
    const store = open({ patienceMs: 1000 });
    const events: string[] = [];
    store.watch(thing, (event) => events.push(show(event)));
    fake.before = (request) => (request.method === 'GET' ? status(500, 'etcd is slow') : undefined);
    expect(await caught(put(store, 'a', 1))).toMatchObject({ code: 'STORE_KUBERNETES_UNREACHABLE' });
    expect(fake.log.filter((line) => line.startsWith('POST'))).toEqual([]);
    fake.before = () => undefined;
    await put(store, 'a', 1);
    await pass(20_000);
    expect(events).toEqual(['put a 1']);
  });

  scenario('goes on where it was after the server ended or broke it, without another list', async () => {
    const { events, other } = await pair();
    const lists = (): number => fake.log.filter((line) => line === 'GET').length;
    const before = lists();
    for (const error of [undefined, new Error('reset')]) {
      fake.endWatches(error);
      await put(other, 'a', error ? 2 : 1);
      await pass(5000);
    }
    expect([events, lists() - before]).toEqual([['put a 1', 'put a 2'], 0]);
  });

  scenario('after an event that was cut off in its middle that event comes again', async () => {
    const { events, other } = await pair();
    fake.inject('{"type":"MODIFIED","object":{"metadata":{"na');
    fake.endWatches();
    await put(other, 'a', 1);
    await pass(5000);
    expect(events).toEqual(['put a 1']);
  });

  scenario('garbled bytes, events without sense and objects that are no records lose nothing', async () => {
    const { events, other } = await pair();
    for (const text of ['\u0000\u0001 garbage\n', '[]\n', '{"type":"MODIFIED","object":{}}\n', '{"type":"NEWS","object":null}\n', '\n\n']) {
      fake.inject(text);
      await put(other, 'a', events.length + 1);
      await pass(20_000);
    }
    expect(events).toEqual(['put a 1', 'put a 2', 'put a 3', 'put a 4', 'put a 5']);
  });

  scenario('what comes late of a record that was deleted from here does not bring it back', async () => {
    const { events, watcher, other } = await pair();
    fake.held = true;
    await put(other, 'a', 1);
    await put(other, 'a', 2);
    await remove(watcher, 'a');
    fake.release();
    await pass(1000);
    expect(events).toEqual(['delete a']);
    fake.held = true;
    await put(other, 'a', 3);
    await remove(watcher, 'a');
    await put(other, 'a', 4);
    fake.release();
    await pass(1000);
    expect(events.slice(1)).toEqual(['delete a', 'put a 4']);
  });

  scenario('what can never be read from one place on is gone around by a list', async () => {
    const { events, other } = await pair();
    const place = `${fake.revision}`;
    fake.before = ({ query }) =>
      query.get('resourceVersion') === place ? { status: 200, body: '{"type":"ADDED","object":\n' } : undefined;
    fake.endWatches();
    await put(other, 'a', 1);
    await pass(30_000);
    expect(events).toEqual(['put a 1']);
  });

  scenario('410: lists again and tells the difference, deletions too', async () => {
    const { events, other } = await pair();
    await put(other, 'gone', 1);
    await pass(100);
    fake.before = ({ query }) => (query.get('watch') === '1' ? status(500, 'not now') : undefined);
    fake.endWatches();
    await remove(other, 'gone');
    await put(other, 'new', 1);
    await put(other, 'kept', 7);
    await pass(30_000);
    expect(events).toEqual(['put gone 1']);
    fake.compact();
    fake.before = () => undefined;
    await pass(30_000);
    expect(events.slice(1).sort()).toEqual(['delete gone', 'put kept 7', 'put new 1']);
    await put(other, 'new', 2);
    await pass(1000);
    expect(events.at(-1)).toBe('put new 2');
  });

  scenario('bookmarks carry the place on: what was compacted before them is not missed', async () => {
    const { other } = await pair();
    await other.create({ name: 'noise', parse: (value) => value }, 'x', {});
    fake.bookmark();
    await pass(100);
    const lists = fake.log.filter((line) => line === 'GET').length;
    fake.compact();
    fake.endWatches();
    await pass(5000);
    expect([fake.watching, fake.log.filter((line) => line === 'GET').length - lists]).toEqual([1, 0]);
  });

  scenario('a server that dies without a word is noticed, and heard again when it is back', async () => {
    const { events, watcher, other } = await pair();
    fake.server.down();
    await pass(60_000);
    fake.server.up();
    await fake.start();
    await put(other, 'a', 1);
    await pass(200_000);
    expect([events, fake.watching]).toEqual([['put a 1'], 1]);
    expect((await watcher.list(thing)).map(({ id }) => id)).toEqual(['a', 'kept']);
  });

  scenario('records of another pair of management nodes are neither listed nor told', async () => {
    const { events, watcher } = await pair();
    const neighbour = open({ scope: 'pod46-wuxi2' });
    expect(await neighbour.list(thing)).toEqual([]);
    await put(neighbour, 'kept', 46);
    await pass(1000);
    expect([events, (await watcher.get(thing, 'kept'))?.value.n]).toEqual([[], 0]);
  });

  scenario('nothing is asked for any more after close', async () => {
    const { watcher } = await pair();
    await watcher.close();
    await pass(1000);
    const asked = fake.watches;
    await pass(600_000);
    expect([fake.watching, fake.watches]).toEqual([0, asked]);
  });

  scenario('whatever the server does, the watcher ends where the records are', async () => {
    const random = seededRandom('storm');
    const { watcher, other } = await pair();
    const seen = new Map<string, number>([['kept', 0]]);
    watcher.watch(thing, (event) => {
      if (event.type === 'put') seen.set(event.record.id, event.record.value.n);
      else seen.delete(event.id);
    });
    for (let step = 0; step < 400; step++) {
      const [what = 0, which = 0] = random.bytes(2);
      const id = `r${which % 5}`;
      const by = what & 1 ? watcher : other;
      if (what % 16 < 9) await put(by, id, step);
      else if (what % 16 < 12) await remove(by, id);
      else if (what % 16 === 12) fake.endWatches(what & 64 ? new Error('reset') : undefined);
      else if (what % 16 === 13) fake.compact();
      else if (what % 16 === 14) fake.inject('?\n');
      else await pass(which * 10);
    }
    await pass(60_000);
    const records = (await other.list(thing)).map(({ id, value }): [string, number] => [id, value.n]);
    expect([...seen].sort()).toEqual(records);
  });
});

describe('lists', () => {
  scenario('come in pages', async () => {
    const store = open();
    for (let n = 0; n < 25; n++) await put(store, `r${String(n).padStart(2, '0')}`, n);
    fake.pageSize = 10;
    fake.log.length = 0;
    expect((await store.list(thing)).map(({ value }) => value.n)).toEqual(Array.from({ length: 25 }, (_, n) => n));
    expect(fake.log).toEqual(['GET', 'GET', 'GET']);
  });

  scenario('410 between two pages: again from the start, whole', async () => {
    const store = open();
    for (let n = 0; n < 25; n++) await put(store, `r${n}`, n);
    fake.pageSize = 10;
    fake.after = ({ query }, response) => {
      if (query.has('limit')) fake.compact();
      return response;
    };
    fake.before = ({ query }) => {
      fake.pageSize = query.has('limit') ? 10 : Number.POSITIVE_INFINITY;
      return undefined;
    };
    fake.log.length = 0;
    expect(await store.list(thing)).toHaveLength(25);
    expect(fake.log).toHaveLength(3); // a page, a refused one, the whole
  });

  scenario('an object that wears our labels and is no record is named', async () => {
    const store = open();
    await put(store, 'a', 1);
    const [object] = fake.objects.values();
    if (object) fake.objects.set('copy', { ...object, metadata: { ...object.metadata, name: 'copy' } });
    expect(await caught(store.list(thing))).toMatchObject({ code: 'STORE_KUBERNETES_OBJECT' });
    const invalid: string[] = [];
    expect(await store.list(thing, { onInvalid: (id) => invalid.push(id) })).toHaveLength(1);
    expect(invalid).toEqual(['copy']);
  });
});

describe('answers that get lost', () => {
  const loseOnce = (method: string, also: () => void = () => undefined): void => {
    fake.after = (request, response) => {
      if (request.method !== method) return response;
      fake.after = (_, others) => others;
      also();
      return LOST;
    };
  };

  scenario('of a create, an update: they are found to have been ours, and are done once', async () => {
    const store = open();
    loseOnce('POST');
    const version = await put(store, 'a', 1);
    expect((await store.get(thing, 'a'))?.version).toBe(version);
    loseOnce('PUT');
    const result = await store.update(thing, { id: 'a', value: { n: 2 } }, version);
    expect(result).toEqual({ outcome: 'stored', record: await store.get(thing, 'a') });
    for (let n = 0; n < 20; n++) {
      if (n % 3 === 0) loseOnce('PUT');
      await modify(store, thing, 'a', (value) => ({ n: value.n + 1 }));
    }
    expect((await store.get(thing, 'a'))?.value.n).toBe(22);
  });

  scenario('written over by others meanwhile: stored, with a version that no record has any more', async () => {
    const store = open();
    const version = await put(store, 'a', 1);
    loseOnce('PUT', () => fake.overwrite('pod45-wuxi2.thing.a', { n: 20 }, 'another1'));
    const result = await store.update(thing, { id: 'a', value: { n: 2 } }, version);
    expect(result).toMatchObject({ outcome: 'stored', record: { value: { n: 2 } } });
    if (result.outcome !== 'stored') return;
    const again = await store.update(thing, { id: 'a', value: { n: 3 } }, result.record.version);
    expect(again).toMatchObject({ outcome: 'conflict', current: { value: { n: 20 } } });
  });

  scenario('so often that our mark is gone: the outcome is not known', async () => {
    const store = open();
    const version = await put(store, 'a', 1);
    loseOnce('PUT', () => {
      for (let n = 1; n <= 4; n++) fake.overwrite('pod45-wuxi2.thing.a', { n }, `another${n}`);
    });
    expect(await caught(store.update(thing, { id: 'a', value: { n: 2 } }, version))).toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' });
  });

  scenario('of a request that was not carried out, while another writer was faster: a conflict', async () => {
    const store = open();
    const version = await put(store, 'a', 1);
    fake.before = ({ method }) => {
      if (method !== 'PUT') return undefined;
      fake.before = () => undefined;
      fake.overwrite('pod45-wuxi2.thing.a', { n: 20 }, 'another1');
      return LOST;
    };
    const result = await store.update(thing, { id: 'a', value: { n: 2 } }, version);
    expect(result).toMatchObject({ outcome: 'conflict', current: { value: { n: 20 } } });
  });

  scenario('of a deletion: nobody can tell who it was, and that is said', async () => {
    const store = open();
    const version = await put(store, 'a', 1);
    loseOnce('DELETE');
    expect(await caught(store.delete(thing, { id: 'a' }, version))).toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' });
    expect(await store.get(thing, 'a')).toBeUndefined();
  });

  scenario('for as long as one waits: the outcome is not known', async () => {
    const store = open();
    const version = await put(store, 'a', 1);
    fake.after = ({ method }, response) => (method === 'PUT' ? LOST : response);
    fake.before = ({ method }) => (method === 'PUT' ? LOST : undefined);
    expect(await caught(store.update(thing, { id: 'a', value: { n: 2 } }, version))).toMatchObject({ code: 'STORE_OUTCOME_UNKNOWN' });
  });
});

describe('an API server that refuses', () => {
  scenario('a short trouble is waited out: 429, 500, 503, a restart', async () => {
    const store = open();
    for (const code of [429, 500, 503, 504]) {
      let times = 2;
      fake.before = () => (times-- > 0 ? { ...status(code, 'not now'), headers: { 'retry-after': '1' } } : undefined);
      await put(store, `after-${code}`, code);
    }
    fake.server.down();
    const writing = put(store, 'after-restart', 1);
    await pass(5000);
    fake.server.up();
    await fake.start();
    await writing;
    expect(await store.list(thing)).toHaveLength(5);
  });

  scenario('a new token is taken up when the old one is refused', async () => {
    const tokens = ['old', 'new'];
    const access = {
      server: fake.url,
      namespace: 'default',
      credentials: (refused = false) => ({ token: (refused ? tokens[1] : tokens[0]) ?? '', ca: '' }),
    };
    fake.token = 'new';
    await put(open({ access }), 'a', 1);
    fake.token = 'another';
    expect(await caught(open({ access }).get(thing, 'a'))).toMatchObject({ code: 'STORE_KUBERNETES_UNAUTHORIZED' });
  });

  it.each<[string, Parameters<typeof status>, string]>([
    ['no right', [403, 'bmsrecords is forbidden'], 'STORE_KUBERNETES_FORBIDDEN'],
    ['no namespace', [404, 'namespaces "x" not found', 'NotFound', 'namespaces'], 'STORE_KUBERNETES_NAMESPACE'],
    ['a schema that does not fit', [422, 'spec.id: too long', 'Invalid'], 'STORE_KUBERNETES_REFUSED'],
    ['an object that etcd does not take', [500, 'etcdserver: request is too large'], 'STORE_KUBERNETES_TOO_LARGE'],
    ['no definition', [404, '', '', undefined], 'STORE_KUBERNETES_CRD_MISSING'],
    ['trouble without end', [500, 'broken'], 'STORE_OUTCOME_UNKNOWN'],
    ['overload without end', [429, 'busy'], 'STORE_KUBERNETES_UNREACHABLE'],
  ])('%s', async (name, answer, code) => {
    const store = open();
    fake.before = () => (name === 'no definition' ? { status: 404, body: '404 page not found\n' } : status(...answer));
    const error = await fake.clock.run(caught(store.create(thing, 'a', { n: 1 })));
    expect(error).toMatchObject({ code });
    expect(String(error)).not.toContain(TOKEN);
    await fake.clock.run(store.close());
  });

  scenario('a record that is too large is refused before it is sent', async () => {
    const error = await caught(open().create({ name: 'thing', parse: (value: unknown) => value }, 'big', 'x'.repeat(1_600_000)));
    expect(error).toMatchObject({ code: 'STORE_KUBERNETES_TOO_LARGE' });
    expect(fake.log).toEqual([]);
  });

  scenario('a version that it never gave fits no record', async () => {
    const store = open();
    await put(store, 'a', 1);
    for (const version of ['', '7', 'overwritten-x', '7.00-100.'])
      expect((await store.update(thing, { id: 'a', value: { n: 2 } }, version)).outcome).toBe('conflict');
    expect((await store.get(thing, 'a'))?.value.n).toBe(1);
  });
});

describe('names of objects', () => {
  const label = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

  it('ids that are DNS names stay readable, others keep what can be', () => {
    expect(objectName('pod45-wuxi2', 'node', 'node-1')).toBe('pod45-wuxi2.node.node-1');
    expect(objectName('pod45-wuxi2', 'lease', '52:54:00:AA')).toMatch(/^pod45-wuxi2\.lease\.h--52-54-00-aa--[0-9a-f]{40}$/);
  });

  it('no two ids share one, and Kubernetes takes each', () => {
    const id = fc.oneof(
      fc.string({ minLength: 1, maxLength: 300 }),
      fc.constantFrom('a', 'A', 'a.', 'a-', 'h--a', 'a'.repeat(121), 'a..b', '../x'),
    );
    fc.assert(
      fc.property(id, id, (a, b) => {
        const [one, two] = [a, b].map((text) => objectName('s'.repeat(63), 'remedy-budget', text));
        expect(one).toMatch(label);
        expect(one?.split('.').every((part) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(part))).toBe(true);
        expect(one === two).toBe(a === b);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('the reader of watches', () => {
  const read = async (pieces: readonly Uint8Array[]): Promise<WatchLine[]> => {
    const found: WatchLine[] = [];
    const body = (async function* () {
      yield* pieces;
    })();
    for await (const line of watchLines(body, 10_000)) found.push(line);
    return found;
  };
  const cutUp = (bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] => {
    const pieces: Uint8Array[] = [];
    let at = 0;
    for (let turn = 0; at < bytes.length; turn++) {
      const size = (sizes[turn % sizes.length] ?? 0) + 1;
      pieces.push(bytes.subarray(at, at + size));
      at += size;
    }
    return pieces;
  };
  const sizes = fc.array(fc.nat(40), { minLength: 1, maxLength: 8 });

  it('gives back what was written, however it was cut up', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.record({ type: fc.string(), object: fc.jsonValue() })), sizes, async (events, cuts) => {
        const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
        expect(await read(cutUp(bytes, cuts))).toEqual(events.map((event) => JSON.parse(JSON.stringify(event))));
      }),
      { numRuns: RUNS / 4 },
    ));

  it('garbage is WatchBroken or WatchCut, nothing else', () =>
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), sizes, async (bytes, cuts) => {
        const error = await caught(read(cutUp(bytes, cuts)));
        if (error !== undefined) expect(error instanceof WatchBroken || error instanceof WatchCut, String(error)).toBe(true);
      }),
      { numRuns: RUNS },
    ));

  it('a line without an end is not kept for ever', async () => {
    expect(await caught(read(Array.from({ length: 20 }, () => new Uint8Array(1000).fill(32))))).toBeInstanceOf(WatchBroken);
  });
});

it.each<[string, string | undefined, string | undefined]>([
  ['kubernetes://', undefined, undefined],
  ['kubernetes://bms', 'bms', undefined],
  ['kubernetes://bms/pod45-wuxi2', 'bms', 'pod45-wuxi2'],
  ['kubernetes:///pod45-wuxi2', undefined, 'pod45-wuxi2'],
])('%s', (url, namespace, scope) => expect(parseKubernetesUrl(url)).toEqual({ namespace, scope }));

it.each(['kubernetes:', 'kubernetes:///', 'kubernetes://Bms', 'kubernetes://a/b/c', 'kubernetes://a/b.c', 'kubernetes://a?x'])(
  'not %s',
  (url) => expect(() => parseKubernetesUrl(url)).toThrow(expect.objectContaining({ code: 'STORE_URL' })),
);
