/** Conditions, events, metrics, health. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { type Condition, setConditions } from '../../../src/operator/engine/conditions.ts';
import { createEventRecorder } from '../../../src/operator/engine/events.ts';
import { healthHandler } from '../../../src/operator/engine/health.ts';
import type { ManagerState } from '../../../src/operator/engine/manager.ts';
import { createMetrics } from '../../../src/operator/engine/metrics.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { withoutCluster } from '../../support/cluster.ts';
import { type RealApi, realApi } from '../cluster.ts';
import { FakeApi } from '../fake-api.ts';
import { configMap } from '../support.ts';

describe('conditions', () => {
  it('the transition time moves with the status alone; other types stay where they are', async () => {
    const clock = new VirtualClock();
    let conditions: Condition[] = setConditions(
      [],
      [
        { type: 'Ready', status: 'False', reason: 'A' },
        { type: 'Other', status: 'True', reason: 'X' },
      ],
      clock,
    );
    const start = conditions[0]?.lastTransitionTime;
    await clock.runFor(60_000);
    conditions = setConditions(conditions, [{ type: 'Ready', status: 'False', reason: 'B', message: 'm', observedGeneration: 2 }], clock);
    expect(conditions[0]).toEqual({
      type: 'Ready',
      status: 'False',
      reason: 'B',
      message: 'm',
      observedGeneration: 2,
      lastTransitionTime: start,
    });
    conditions = setConditions(conditions, [{ type: 'Ready', status: 'True', reason: 'C' }], clock);
    expect(conditions.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).toEqual([
      ['Ready', '2026-01-01T00:01:00.000Z'],
      ['Other', '2026-01-01T00:00:00.000Z'],
    ]);
  });
});

describe('events', () => {
  const story = { type: 'Warning', reason: 'RolloutFailed', action: 'Upgrade', note: 'glance does not become ready' } as const;
  const open = async () => {
    const clock = new VirtualClock();
    const api = new FakeApi(clock);
    const recorder = createEventRecorder({
      api,
      clock,
      logger: silentLogger,
      controller: 'onecloud.yunion.io/operator',
      instance: 'operator-0',
    });
    const about = await api.create(resourceTypes.configMaps, configMap('a'));
    return { clock, api, recorder, about };
  };

  it('the same story again counts the first one up, twice a minute at most; after ten minutes it is told anew', async () => {
    const { clock, api, recorder, about } = await open();
    for (let second = 0; second < 300; second++) {
      await clock.run(recorder.record(about, story));
      await clock.runFor(1000);
    }
    expect(api.all('Event')).toHaveLength(1);
    expect(api.all('Event')[0]).toMatchObject({
      note: story.note,
      regarding: { name: 'a', uid: about.metadata.uid },
      series: { count: 271 },
    });
    expect(api.writes().length).toBeLessThanOrEqual(12); // the ConfigMap, the event, and every 30 s
    await clock.runFor(300_000);
    await clock.run(recorder.record(about, story));
    expect(api.all('Event')).toHaveLength(2);
  });

  it('other stories, and the same one of another object, stand for themselves; long notes are cut', async () => {
    const { api, recorder, about } = await open();
    const other = await api.create(resourceTypes.configMaps, configMap('b'));
    await recorder.record(about, story);
    await recorder.record(about, { ...story, note: 'x'.repeat(3000) });
    await recorder.record(other, story);
    expect(api.all('Event').map(({ note }) => String(note).length)).toEqual([story.note.length, 1024, story.note.length]);
  });

  it('an event that was deleted is told anew; a server that is away is not the caller’s trouble', async () => {
    const { clock, api, recorder, about } = await open();
    await recorder.record(about, story);
    for (const event of api.all('Event')) await api.delete(resourceTypes.events, event.metadata);
    await clock.runFor(40_000);
    await recorder.record(about, story);
    expect(api.all('Event')).toHaveLength(1);
    api.fault = () => new ApiError('network', 'away');
    await expect(recorder.record(about, { ...story, note: 'another' })).resolves.toBeUndefined();
  });
});

describe.skipIf(withoutCluster('events on an API server'))('events on a real API server', () => {
  let real: RealApi;
  beforeAll(() => {
    real = realApi();
  });
  afterAll(() => real.close());

  it('are accepted, and counted up', async () => {
    const namespace = await real.namespace();
    const about = await real.api.create(resourceTypes.configMaps, configMap('a', {}, { namespace }));
    let ahead = 0;
    const clock = { ...nodeClock, monotonic: () => nodeClock.monotonic() + ahead };
    const recorder = createEventRecorder({
      api: real.api,
      clock,
      logger: silentLogger,
      controller: 'onecloud.yunion.io/operator',
      instance: 'operator-0',
    });
    const story = { type: 'Normal', reason: 'Upgraded', action: 'Upgrade', note: 'v1 → v2' } as const;
    await recorder.record(about, story);
    ahead = 60_000;
    await recorder.record(about, story);
    const { items } = await real.api.list(resourceTypes.events, { namespace });
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({ reason: 'Upgraded', note: 'v1 → v2', series: { count: 2 }, regarding: { name: 'a' } });
  });
});

describe('metrics', () => {
  it('are written as Prometheus reads them', () => {
    const metrics = createMetrics();
    metrics.counter('b_total', 'Things\nthat "happen" \\ here.').inc({ kind: 'a"b\\c\nd', verb: 'get' }, 3);
    metrics.counter('b_total', 'again').inc({ verb: 'get', kind: 'a"b\\c\nd' });
    metrics.gauge('a', 'Now.').set(Infinity);
    const histogram = metrics.histogram('c_seconds', 'Time.', [0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 7]) histogram.observe(value, { q: 'x' });
    expect(metrics.render()).toBe(`# HELP a Now.
# TYPE a gauge
a +Inf
# HELP b_total Things\\nthat "happen" \\\\ here.
# TYPE b_total counter
b_total{kind="a\\"b\\\\c\\nd",verb="get"} 4
# HELP c_seconds Time.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.1",q="x"} 2
c_seconds_bucket{le="1",q="x"} 3
c_seconds_bucket{le="+Inf",q="x"} 4
c_seconds_sum{q="x"} 7.65
c_seconds_count{q="x"} 4
`);
    expect(() => metrics.gauge('b_total', 'x')).toThrow(/is a counter/);
    expect(() => metrics.counter('b_total', 'x').inc({}, -1)).toThrow(/never falls/);
  });
});

describe('health', () => {
  it('answers over HTTP: alive always, ready when in sync and not stopping', async () => {
    let state: ManagerState = { unsynced: ['Deployment'], leading: false, stopping: false };
    const metrics = createMetrics();
    metrics.counter('x_total', 'X.').inc();
    const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, healthHandler({ metrics, state: () => state }));
    const ask = async (path: string, method = 'GET'): Promise<[number, string]> => {
      const { status, body } = await nodeNetwork.request({ method, url: `http://127.0.0.1:${server.local.port}${path}` });
      return [status, Buffer.from(body).toString()];
    };
    try {
      expect(await ask('/healthz')).toEqual([200, 'ok\n']);
      expect(await ask('/readyz')).toEqual([503, 'waiting for Deployment\n']);
      state = { unsynced: [], leading: false, stopping: false };
      expect(await ask('/readyz')).toEqual([200, 'ok, standing by\n']);
      state = { unsynced: [], leading: true, stopping: true };
      expect(await ask('/readyz')).toEqual([503, 'stopping\n']);
      expect(await ask('/metrics')).toEqual([200, '# HELP x_total X.\n# TYPE x_total counter\nx_total 1\n']);
      expect((await ask('/'))[0]).toBe(404);
      expect((await ask('/healthz', 'POST'))[0]).toBe(405);
    } finally {
      await server.close();
    }
  });
});
