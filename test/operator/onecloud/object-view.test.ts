/** What the operator wrote itself counts until its informer has come past it, and not a moment longer. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createInformer } from '../../../src/operator/engine/informer.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { byNamespace } from '../../../src/operator/engine/store.ts';
import { NAMESPACE_INDEX, ObjectView } from '../../../src/operator/onecloud/object-view.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import { FakeApi } from '../fake-api.ts';

const { configMaps } = resourceTypes;
const KEY = { namespace: 'onecloud', name: 'a' };
const OURS = { mine: 'yes' };

describe('objects as they were written and as they were seen', () => {
  const clock = new VirtualClock();
  let api = new FakeApi(clock);
  let stop = new AbortController();
  let view = new ObjectView([]);
  let running = Promise.resolve();

  beforeEach(async () => {
    api = new FakeApi(clock);
    stop = new AbortController();
    const random = seededRandom(1);
    const indexers = { [NAMESPACE_INDEX]: byNamespace };
    const informer = createInformer({ api, type: configMaps, clock, random, logger: silentLogger, indexers, labelSelector: 'mine=yes' });
    view = new ObjectView([informer]);
    informer.subscribe((event) => {
      if (event.type === 'deleted') view.gone(event.object);
    });
    running = informer.run(stop.signal);
    await clock.run(informer.whenSynced());
  });
  afterEach(async () => {
    stop.abort(new Error('test over'));
    await clock.run(running);
  });

  const make = (labels: Record<string, string>, name = KEY.name) =>
    api.create(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...KEY, name, labels } });

  it('a write is known before the informer tells of it', async () => {
    view.written(await make(OURS));
    expect(view.get('ConfigMap', KEY)).toBeDefined();
  });

  it('an answer that comes after the news of the deletion brings nothing back', async () => {
    const made = await make(OURS);
    await api.delete(configMaps, KEY);
    await clock.runFor(1);
    view.written(made);
    expect(view.get('ConfigMap', KEY)).toBeUndefined();
  });

  it('what was made and deleted while no watch stood is gone after the new list', async () => {
    api.fault = ({ verb }) => (verb === 'watch' || verb === 'list' ? new Error('the server is away') : undefined);
    api.breakWatches();
    await clock.runFor(1);
    view.written(await make(OURS));
    await api.delete(configMaps, KEY);
    api.compact();
    api.fault = undefined;
    await clock.runFor(60_000);
    expect(view.get('ConfigMap', KEY)).toBeUndefined();
  });

  it('what the informer does not select is not remembered for ever', async () => {
    view.written(await make({}));
    expect(view.get('ConfigMap', KEY)).toBeDefined();
    api.bookmark(); // a server sends one a minute
    await clock.runFor(1);
    expect(view.get('ConfigMap', KEY)).toBeUndefined();
  });
});
