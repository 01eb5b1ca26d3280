import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError, statusError } from '../../../src/operator/engine/api-error.ts';
import { createInformer, type Informer, type InformerOptions } from '../../../src/operator/engine/informer.ts';
import { keyOf } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import type { Indexer } from '../../../src/operator/engine/store.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import { FakeApi } from '../fake-api.ts';
import { configMap, Recorder } from '../support.ts';

const { configMaps } = resourceTypes;
const RUNS = Number(process.env.FUZZ_RUNS ?? 300);

interface Lab {
  readonly clock: VirtualClock;
  readonly api: FakeApi;
  readonly informer: Informer;
  readonly recorder: Recorder;
  readonly stop: () => Promise<void>;
}

function lab(options: Partial<InformerOptions> = {}): Lab {
  const clock = new VirtualClock();
  const api = new FakeApi(clock);
  const informer = createInformer({ api, type: configMaps, clock, random: seededRandom(1), logger: silentLogger, ...options });
  const recorder = new Recorder(informer);
  const end = new AbortController();
  const running = informer.run(end.signal);
  return {
    clock,
    api,
    informer,
    recorder,
    stop: async () => {
      end.abort(new Error('test over'));
      await clock.run(running);
    },
  };
}

const told = ({ recorder }: Lab): string[] => recorder.events.map(({ type, object }) => `${type} ${object.metadata.name}`);

/** What is known is what is there. */
function expectCaughtUp({ api, informer, recorder }: Lab): void {
  const truth = Object.fromEntries(api.all('ConfigMap').map((object) => [keyOf(object), object.metadata.resourceVersion]));
  expect(Object.fromEntries(informer.store.list().map((object) => [keyOf(object), object.metadata.resourceVersion]))).toEqual(truth);
  expect(Object.fromEntries([...recorder.state].map(([key, object]) => [key, object.metadata.resourceVersion]))).toEqual(truth);
  expect(recorder.nonsense).toEqual([]);
}

describe('informer', () => {
  it('tells what is there, what comes, changes and goes', async () => {
    const it = lab();
    expect(it.informer.synced()).toBe(false);
    await it.api.create(configMaps, configMap('a'));
    await it.clock.run(it.informer.whenSynced());
    await it.clock.runFor(1);
    await it.api.create(configMaps, configMap('b'));
    await it.api.patch(configMaps, { namespace: 'default', name: 'a' }, { data: { x: '1' } });
    await it.api.delete(configMaps, { namespace: 'default', name: 'b' });
    await it.clock.runFor(1);
    expect(told(it)).toEqual(['added a', 'added b', 'updated a', 'deleted b']);
    expectCaughtUp(it);
    await it.stop();
  });

  it('goes on from the last version when the watch ends: no second list, nothing told twice', async () => {
    const it = lab();
    await it.clock.run(it.informer.whenSynced());
    await it.clock.runFor(2000);
    for (let i = 0; i < 5; i++) {
      await it.api.create(configMaps, configMap(`c${i}`));
      await it.clock.runFor(2000);
      it.api.breakWatches(i % 2 === 0 ? undefined : new ApiError('network', 'connection reset'));
      await it.api.patch(configMaps, { namespace: 'default', name: `c${i}` }, { data: { i: String(i) } });
      await it.clock.runFor(60_000);
    }
    expect(told(it)).toEqual([0, 1, 2, 3, 4].flatMap((i) => [`added c${i}`, `updated c${i}`]));
    expect(it.api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(1);
    expectCaughtUp(it);
    await it.stop();
  });

  it('lists again after 410 Gone and tells the difference alone, also of what was deleted meanwhile', async () => {
    const it = lab();
    for (const name of ['stays', 'changes', 'goes', 'is-replaced']) await it.api.create(configMaps, configMap(name));
    await it.clock.run(it.informer.whenSynced());
    await it.clock.runFor(1);
    it.recorder.events.length = 0;
    it.api.fault = ({ verb }) => (verb === 'watch' ? new ApiError('network', 'away') : undefined);
    it.api.breakWatches(new ApiError('network', 'away'));
    await it.clock.runFor(1);
    await it.api.patch(configMaps, { namespace: 'default', name: 'changes' }, { data: { x: '1' } });
    await it.api.delete(configMaps, { namespace: 'default', name: 'goes' });
    await it.api.delete(configMaps, { namespace: 'default', name: 'is-replaced' });
    await it.api.create(configMaps, configMap('is-replaced'));
    it.api.compact();
    it.api.fault = undefined;
    await it.clock.runFor(120_000);
    expect(told(it).sort()).toEqual(['added is-replaced', 'deleted goes', 'deleted is-replaced', 'updated changes']);
    expect(it.api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(2);
    expectCaughtUp(it);
    await it.stop();
  });

  it('a bookmark saves the list when the history before it is gone', async () => {
    const it = lab();
    await it.clock.run(it.informer.whenSynced());
    await it.clock.runFor(1);
    await it.api.create(resourceTypes.secrets, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'default' } }); // moves the version on
    it.api.bookmark();
    await it.clock.runFor(1);
    it.api.compact();
    it.api.breakWatches();
    await it.api.create(configMaps, configMap('a'));
    await it.clock.runFor(60_000);
    expect(it.api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(1);
    expectCaughtUp(it);
    await it.stop();
  });

  it('while the server is away it asks ever more rarely, at most every 45 s, and keeps what it knows', async () => {
    const it = lab();
    await it.api.create(configMaps, configMap('a'));
    await it.clock.run(it.informer.whenSynced());
    await it.clock.runFor(10);
    it.api.fault = () => new ApiError('network', 'connect ECONNREFUSED');
    it.api.breakWatches(new ApiError('network', 'connection reset'));
    const before = it.api.requests.length;
    await it.clock.runFor(600_000);
    const asked = it.api.requests.length - before;
    expect(asked).toBeGreaterThan(15); // 600 / 45
    expect(asked).toBeLessThan(60); // 7 while doubling + 600 / 15
    expect(it.informer.store.get('default/a')).toBeDefined();
    it.api.fault = undefined;
    await it.api.create(configMaps, configMap('b'));
    await it.clock.runFor(45_000);
    expectCaughtUp(it);
    await it.stop();
  });

  it('a server that ends every watch at once is not hammered', async () => {
    const it = lab();
    await it.clock.run(it.informer.whenSynced());
    it.api.fault = ({ verb }) => (verb === 'watch' ? statusError(410, { reason: 'Expired' }) : undefined);
    it.api.breakWatches();
    const before = it.api.requests.length;
    await it.clock.runFor(600_000);
    expect(it.api.requests.length - before).toBeLessThan(120);
    await it.stop();
  });

  it('resyncs at intervals, and finds by owner and label', async () => {
    const owner: Indexer = ({ metadata }) => (metadata.ownerReferences ?? []).map(({ uid }) => uid);
    const app: Indexer = ({ metadata }) => (metadata.labels?.app === undefined ? [] : [metadata.labels.app]);
    const it = lab({ resyncMs: 30_000, indexers: { owner, app } });
    await it.api.create(
      configMaps,
      configMap('a', {}, { labels: { app: 'x' }, ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'o', uid: 'u1' }] }),
    );
    await it.api.create(configMaps, configMap('b', {}, { labels: { app: 'x' } }));
    await it.clock.runFor(95_000);
    expect(told(it)).toEqual(['added a', 'added b', ...[1, 2, 3].flatMap(() => ['resync a', 'resync b'])]);
    const names = (index: string, value: string): string[] => it.informer.store.find(index, value).map(({ metadata }) => metadata.name);
    expect([names('owner', 'u1'), names('app', 'x'), names('app', 'y')]).toEqual([['a'], ['a', 'b'], []]);
    await it.api.patch(configMaps, { namespace: 'default', name: 'a' }, { metadata: { labels: { app: 'y' } } });
    await it.clock.runFor(1);
    expect([names('app', 'x'), names('app', 'y')]).toEqual([['b'], ['a']]);
    await it.stop();
  });

  it('sees an object leave its selection as deleted', async () => {
    const it = lab({ labelSelector: 'app=x' });
    await it.api.create(configMaps, configMap('a', {}, { labels: { app: 'x' } }));
    await it.api.create(configMaps, configMap('b'));
    await it.clock.runFor(1);
    await it.api.patch(configMaps, { namespace: 'default', name: 'a' }, { metadata: { labels: { app: 'y' } } });
    await it.clock.runFor(1);
    expect(told(it)).toEqual(['added a', 'deleted a']);
    await it.stop();
  });

  it('late subscribers hear what is known; those who left hear nothing', async () => {
    const it = lab();
    await it.api.create(configMaps, configMap('a'));
    await it.clock.runFor(1);
    const heard: string[] = [];
    const leave = it.informer.subscribe(({ type, object }) => heard.push(`${type} ${object.metadata.name}`));
    leave();
    await it.api.create(configMaps, configMap('b'));
    await it.clock.runFor(1);
    expect(heard).toEqual(['added a']);
    await it.stop();
  });

  type Step =
    | { do: 'write' | 'delete'; name: string }
    | { do: 'break' | 'reset' | 'compact' | 'bookmark' | 'away' | 'back' }
    | { do: 'wait'; ms: number };
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('write' as const, 'delete' as const), name }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constantFrom('break', 'reset', 'compact', 'bookmark', 'away', 'back' as const) }) as fc.Arbitrary<Step>,
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(40_000) }) },
  );

  it('property: whatever breaks, it ends up knowing the truth, and what it told along the way fits together', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer(), async (steps, seed) => {
        const it = lab({ random: seededRandom(seed) });
        let writes = 0;
        for (const next of steps) {
          switch (next.do) {
            case 'write': {
              const { fault } = it.api;
              it.api.fault = undefined;
              await it.api.apply(configMaps, configMap(next.name, { n: String(++writes) }), { force: true });
              it.api.fault = fault;
              break;
            }
            case 'delete': {
              const { fault } = it.api;
              it.api.fault = undefined;
              await it.api.delete(configMaps, { namespace: 'default', name: next.name }).catch(() => undefined);
              it.api.fault = fault;
              break;
            }
            case 'break':
              it.api.breakWatches();
              break;
            case 'reset':
              it.api.breakWatches(new ApiError('network', 'connection reset'));
              break;
            case 'compact':
              it.api.compact();
              break;
            case 'bookmark':
              it.api.bookmark();
              break;
            case 'away':
              it.api.fault = () => new ApiError('server', 'HTTP 503');
              break;
            case 'back':
              it.api.fault = undefined;
              break;
            case 'wait':
              await it.clock.runFor(next.ms);
              break;
          }
        }
        it.api.fault = undefined;
        await it.clock.runFor(120_000);
        expectCaughtUp(it);
        await it.stop();
        expect(it.api.watching).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });
});
