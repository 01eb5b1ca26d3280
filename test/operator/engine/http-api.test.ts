import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeApi, WatchEvent } from '../../../src/operator/engine/api.ts';
import { isApiError } from '../../../src/operator/engine/api-error.ts';
import { guardedApi } from '../../../src/operator/engine/guarded-api.ts';
import { httpApi } from '../../../src/operator/engine/http-api.ts';
import { createMetrics } from '../../../src/operator/engine/metrics.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { TokenBucket } from '../../../src/operator/engine/token-bucket.ts';
import type { Transport, TransportRequest } from '../../../src/operator/engine/transport.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { withoutCluster } from '../../support/cluster.ts';
import { type RealApi, realApi } from '../cluster.ts';
import { configMap } from '../support.ts';

const { configMaps, deployments, nodes } = resourceTypes;
const KEY = { namespace: 'default', name: 'a' };

type Answer = { status: number; body?: unknown; headers?: Record<string, string>; pieces?: string[]; breaks?: Error } | Error | 'never';

/** Answers in turn, and keeps what was asked. */
function scripted(answers: Answer[], clock = new VirtualClock()) {
  const asked: TransportRequest[] = [];
  const transport: Transport = {
    exchange: async (request) => {
      asked.push(request);
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer === undefined) throw new Error('nothing scripted');
      if (answer === 'never')
        return new Promise((_, reject) => request.signal.addEventListener('abort', () => reject(request.signal.reason)));
      if (answer instanceof Error) throw answer;
      const { status, body, headers = {}, pieces, breaks } = answer;
      async function* stream(): AsyncGenerator<Uint8Array> {
        for (const piece of pieces ?? [JSON.stringify(body ?? {})]) yield Buffer.from(piece, 'latin1');
        if (breaks) throw breaks;
      }
      return { status, headers, body: stream() };
    },
    close: async () => undefined,
  };
  const metrics = createMetrics();
  return { asked, metrics, clock, api: httpApi({ transport, clock, metrics }) };
}

const live = (name = 'a', version = '1') => ({ metadata: { name, namespace: 'default', uid: name, resourceVersion: version } });
const failure = (code: number, reason: string, details?: object) => ({
  kind: 'Status',
  status: 'Failure',
  message: `says ${reason}`,
  reason,
  code,
  details,
});

async function gather(api: KubeApi): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of api.watch(configMaps, { resourceVersion: '5', timeoutSeconds: 300 })) events.push(event);
  return events;
}

describe('requests', () => {
  it.each<[string, (api: KubeApi) => Promise<unknown>, string, unknown, string | undefined]>([
    ['get', (api) => api.get(deployments, KEY), 'GET /apis/apps/v1/namespaces/default/deployments/a', undefined, undefined],
    ['get of the cluster’s own', (api) => api.get(nodes, { name: 'n' }), 'GET /api/v1/nodes/n', undefined, undefined],
    [
      'apply',
      (api) => api.apply(configMaps, configMap('a'), { force: true }),
      'PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=cdk8s-baremetal-operator&force=true',
      configMap('a'),
      'application/apply-patch+yaml',
    ],
    [
      'status patch',
      (api) => api.patch(deployments, KEY, { status: { replicas: 1 } }, { subresource: 'status' }),
      'PATCH /apis/apps/v1/namespaces/default/deployments/a/status?fieldManager=cdk8s-baremetal-operator',
      { status: { replicas: 1 } },
      'application/merge-patch+json',
    ],
    [
      'replace',
      (api) => api.replace(configMaps, configMap('a')),
      'PUT /api/v1/namespaces/default/configmaps/a?fieldManager=cdk8s-baremetal-operator',
      configMap('a'),
      'application/json',
    ],
    [
      'create',
      (api) => api.create(configMaps, configMap('a')),
      'POST /api/v1/namespaces/default/configmaps?fieldManager=cdk8s-baremetal-operator',
      configMap('a'),
      'application/json',
    ],
    [
      'delete',
      (api) => api.delete(configMaps, KEY, { uid: 'u' }),
      'DELETE /api/v1/namespaces/default/configmaps/a',
      { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions: { uid: 'u' } },
      'application/json',
    ],
  ])('%s', async (_, ask, line, body, contentType) => {
    const { api, asked } = scripted([{ status: 200, body: live() }]);
    await ask(api);
    expect(asked.map(({ method, path }) => `${method} ${path}`)).toEqual([line]);
    expect(asked[0]?.body === undefined ? undefined : JSON.parse(asked[0].body)).toEqual(body);
    expect(asked[0]?.headers['content-type']).toBe(contentType);
  });

  it('a list is read page by page, and each item gets its kind', async () => {
    const { api, asked } = scripted([
      { status: 200, body: { metadata: { resourceVersion: '9', continue: 'tok' }, items: [live('a')] } },
      { status: 200, body: { metadata: { resourceVersion: '9' }, items: [live('b')] } },
    ]);
    const { items, resourceVersion } = await api.list(configMaps, { namespace: 'default', labelSelector: 'app=x' });
    expect(items.map(({ kind, metadata: { name } }) => `${kind} ${name}`)).toEqual(['ConfigMap a', 'ConfigMap b']);
    expect(resourceVersion).toBe('9');
    expect(asked.map(({ path }) => path)).toEqual([
      '/api/v1/namespaces/default/configmaps?labelSelector=app%3Dx&limit=500',
      '/api/v1/namespaces/default/configmaps?labelSelector=app%3Dx&limit=500&continue=tok',
    ]);
  });

  it('a list that is compacted between two pages starts over', async () => {
    const { api } = scripted([
      { status: 200, body: { metadata: { resourceVersion: '9', continue: 'tok' }, items: [live('a')] } },
      { status: 410, body: failure(410, 'Expired') },
      { status: 200, body: { metadata: { resourceVersion: '12' }, items: [live('a'), live('b')] } },
    ]);
    expect((await api.list(configMaps)).items).toHaveLength(2);
  });
});

describe('errors', () => {
  it.each([
    [404, 'NotFound', 'not-found', false],
    [409, 'AlreadyExists', 'already-exists', false],
    [409, 'Conflict', 'conflict', true],
    [410, 'Expired', 'gone', false],
    [401, 'Unauthorized', 'unauthorized', true],
    [403, 'Forbidden', 'forbidden', false],
    [422, 'Invalid', 'invalid', false],
    [429, 'TooManyRequests', 'throttled', true],
    [500, 'InternalError', 'server', true],
    [503, 'ServiceUnavailable', 'server', true],
  ])('%i %s is %s', async (status, reason, kind, transient) => {
    const causes = [{ reason: 'FieldValueInvalid', field: 'spec.x', message: 'no' }];
    const { api } = scripted([{ status, body: failure(status, reason, { causes }) }]);
    const error = await api.get(configMaps, KEY).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ kind, status, reason, transient, causes, message: `says ${reason}` });
  });

  it('a connection that breaks is a network error, an error page of a proxy is one of the server', async () => {
    const reset = scripted([Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })]);
    await expect(reset.api.get(configMaps, KEY)).rejects.toMatchObject({ kind: 'network', transient: true });
    const proxy = scripted([{ status: 502, pieces: ['<html>Bad gateway'] }]);
    await expect(proxy.api.get(configMaps, KEY)).rejects.toMatchObject({ kind: 'server', status: 502 });
    const nonsense = scripted([{ status: 200, pieces: ['<html>Log in'] }]);
    await expect(nonsense.api.get(configMaps, KEY)).rejects.toMatchObject({ kind: 'protocol' });
    const other = scripted([{ status: 200, body: { hello: 'world' } }]);
    await expect(other.api.get(configMaps, KEY)).rejects.toMatchObject({ kind: 'protocol' });
  });

  it('no answer within 30 s is a timeout; the caller’s signal ends it earlier, with its reason', async () => {
    const { api, clock } = scripted(['never']);
    await expect(clock.run(api.get(configMaps, KEY))).rejects.toMatchObject({ kind: 'timeout' });
    expect(clock.monotonic()).toBe(30_000);
    const end = new AbortController();
    const asking = api.get(configMaps, KEY, { signal: end.signal });
    clock.after(1000, () => end.abort(new Error('enough')));
    await expect(clock.run(asking)).rejects.toThrow('enough');
    expect(clock.monotonic()).toBe(31_000);
  });

  it('429 with Retry-After is asked again after that time, four times at most', async () => {
    const busy = { status: 429, body: failure(429, 'TooManyRequests'), headers: { 'retry-after': '2' } };
    const once = scripted([busy, { status: 200, body: live() }]);
    await once.clock.run(once.api.get(configMaps, KEY));
    expect(once.clock.monotonic()).toBe(2000);
    const always = scripted([busy]);
    await expect(always.clock.run(always.api.get(configMaps, KEY))).rejects.toMatchObject({ kind: 'throttled', retryAfterMs: 2000 });
    expect(always.asked).toHaveLength(5);
  });
});

describe('watch', () => {
  const line = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;

  it('reads events however the bytes are cut', async () => {
    const text = Buffer.from(
      line('ADDED', { ...live('ä'), data: { k: '✓ \n' } }) +
        line('BOOKMARK', { metadata: { resourceVersion: '77' } }) +
        line('DELETED', live('ä', '78')),
    ).toString('latin1');
    for (const size of [1, 2, 3, 7, 50, text.length]) {
      const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
      const { api } = scripted([{ status: 200, pieces }]);
      expect(await gather(api)).toEqual([
        { type: 'ADDED', object: { ...live('ä'), data: { k: '✓ \n' } } },
        { type: 'BOOKMARK', resourceVersion: '77' },
        { type: 'DELETED', object: live('ä', '78') },
      ]);
    }
  });

  it('asks for bookmarks and an end', async () => {
    const { api, asked } = scripted([{ status: 200, pieces: [] }]);
    await gather(api);
    expect(asked[0]?.path).toBe('/api/v1/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=300');
  });

  it.each([
    ['410 as the answer', { status: 410, body: failure(410, 'Expired') }, 'gone'],
    ['410 as an event', { status: 200, pieces: [line('ERROR', failure(410, 'Expired'))] }, 'gone'],
    ['500 as an event', { status: 200, pieces: [line('ERROR', failure(500, 'InternalError'))] }, 'server'],
    ['a line that is not JSON', { status: 200, pieces: ['{"type":\n'] }, 'protocol'],
    ['an unknown event', { status: 200, pieces: [line('SURPRISE', live())] }, 'protocol'],
    ['a broken connection', { status: 200, pieces: [line('ADDED', live())], breaks: new Error('socket hang up') }, 'network'],
  ])('%s', async (_, answer, kind) => {
    const { api } = scripted([answer]);
    await expect(gather(api)).rejects.toMatchObject({ kind });
  });

  it('half a line at the end is dropped: the connection broke inside it', async () => {
    const { api } = scripted([{ status: 200, pieces: [line('ADDED', live()), '{"type":"MODI'] }]);
    expect(await gather(api)).toHaveLength(1);
  });

  it('a connection that hangs is given up soon after the server should have ended the watch', async () => {
    const { api, clock } = scripted(['never']);
    await expect(clock.run(gather(api))).rejects.toMatchObject({ kind: 'timeout' });
    expect(clock.monotonic()).toBe(315_000);
  });

  it('a consumer that leaves frees the connection', async () => {
    const { api, asked } = scripted([{ status: 200, pieces: [line('ADDED', live()), line('MODIFIED', live('a', '2'))] }]);
    for await (const event of api.watch(configMaps, { resourceVersion: '5', timeoutSeconds: 300 })) {
      expect(event.type).toBe('ADDED');
      break;
    }
    expect(asked[0]?.signal.aborted).toBe(true);
  });
});

describe('throttling', () => {
  it('a burst passes at once, the rest at the rate; it is measured', async () => {
    const { api, clock, metrics } = scripted([{ status: 200, body: live() }]);
    await clock.run(Promise.all(Array.from({ length: 150 }, () => api.get(configMaps, KEY))));
    expect(clock.monotonic()).toBe(1000); // 100 at once, 50 more at 50 a second
    expect(metrics.render()).toContain('operator_api_requests_total{kind="ConfigMap",status="200",verb="get"} 150\n');
    expect(metrics.render()).toContain('operator_api_throttle_seconds_count 150\n');
    expect(metrics.render()).toMatch(/operator_api_throttle_seconds_bucket\{le="0.005"\} 100\n/);
  });

  it.each<[string, Answer, number, number]>([
    ['for a token', { status: 200, body: live() }, 101, 10],
    ['because the server asked for a pause', { status: 429, headers: { 'retry-after': '2' } }, 100, 1_000],
  ])('a write that waits %s needs leave when it goes, not when it was asked for', async (_, answer, writes, deposedAfterMs) => {
    const { api, clock, asked } = scripted([answer]);
    let deposed = false;
    const mayWrite = (): void => {
      if (deposed) throw new Error('deposed');
    };
    const guarded = guardedApi(api, { signal: new AbortController().signal, mayWrite });
    const writing = Promise.allSettled(Array.from({ length: writes }, () => guarded.patch(configMaps, KEY, {})));
    await clock.runFor(deposedAfterMs);
    deposed = true; // no timer told, since the process stood still
    const outcomes = await clock.run(writing);
    expect(asked).toHaveLength(100);
    expect(outcomes.at(-1)).toEqual({ status: 'rejected', reason: new Error('deposed') });
  });

  it('who gives up takes no token', async () => {
    const clock = new VirtualClock();
    const bucket = new TokenBucket(clock, { perSecond: 1, burst: 1 });
    expect(await bucket.take()).toBe(0);
    const end = new AbortController();
    const leaving = bucket.take(end.signal);
    end.abort(new Error('gone'));
    await expect(leaving).rejects.toThrow('gone');
    expect(await clock.run(bucket.take())).toBe(1000);
  });
});

describe.skipIf(withoutCluster("the operator's client on an API server"))('a real API server', () => {
  let real: RealApi;
  let namespace: string;
  beforeAll(async () => {
    real = realApi();
    namespace = await real.namespace();
  });
  afterAll(() => real.close());
  const at = (name: string) => ({ namespace, name });
  const make = (name: string, data = {}) => configMap(name, data, { namespace });

  it('creates, reads, lists, replaces, patches, applies and deletes', async () => {
    const { api } = real;
    const made = await api.create(configMaps, make('a', { x: '1' }));
    expect((await api.get(configMaps, at('a'))).metadata.uid).toBe(made.metadata.uid);
    const replaced = await api.replace(configMaps, { ...made, data: { x: '2' } });
    await expect(api.replace(configMaps, { ...made, data: { x: '3' } })).rejects.toMatchObject({ kind: 'conflict' });
    await api.patch(configMaps, at('a'), { data: { y: '1', x: null } });
    expect((await api.apply(configMaps, make('a', { z: '1' }))).data).toEqual({ y: '1', z: '1' });
    expect((await api.list(configMaps, { namespace })).items.find(({ metadata }) => metadata.name === 'a')).toMatchObject({
      kind: 'ConfigMap',
      data: { y: '1', z: '1' },
    });
    await expect(api.create(configMaps, make('a'))).rejects.toMatchObject({ kind: 'already-exists' });
    await expect(api.delete(configMaps, at('a'), { uid: 'another' })).rejects.toMatchObject({ kind: 'conflict' });
    await api.delete(configMaps, at('a'), { uid: replaced.metadata.uid });
    await expect(api.get(configMaps, at('a'))).rejects.toMatchObject({ kind: 'not-found', reason: 'NotFound' });
  });

  it('tells a refusal with the fields it names', async () => {
    const broken = {
      ...make('b'),
      kind: 'Deployment',
      apiVersion: 'apps/v1',
      data: undefined,
      spec: { selector: { matchLabels: { a: 'b' } }, template: {} },
    };
    const error = await real.api.create(deployments, broken).catch((caught: unknown) => caught);
    expect(isApiError(error, 'invalid') && error.causes.map(({ field }) => field)).toContain('spec.template.metadata.labels');
  });

  it('reads a list of several pages', async () => {
    const own = await real.namespace();
    await Promise.all(
      Array.from({ length: 620 }, (_, i) =>
        real.api.create(configMaps, configMap(`c${i}`, {}, { namespace: own, labels: { many: 'yes' } })),
      ),
    );
    const before = real.requests.length;
    const { items } = await real.api.list(configMaps, { namespace: own, labelSelector: 'many=yes' });
    expect(new Set(items.map(({ metadata }) => metadata.name)).size).toBe(620);
    expect(real.requests.length - before).toBe(2);
  });

  it('watches from a version on, and stops when told', async () => {
    const { resourceVersion } = await real.api.list(configMaps, { namespace });
    const end = new AbortController();
    const events: string[] = [];
    const watching = (async () => {
      for await (const event of real.api.watch(configMaps, { namespace, resourceVersion, timeoutSeconds: 60, signal: end.signal })) {
        if (event.type === 'BOOKMARK') continue;
        events.push(`${event.type} ${event.object.metadata.name}`);
        if (event.type === 'DELETED') end.abort(new Error('seen enough'));
      }
    })();
    const ended = expect(watching).rejects.toThrow('seen enough');
    await real.api.create(configMaps, make('w'));
    await real.api.patch(configMaps, at('w'), { data: { x: '1' } });
    await real.api.delete(configMaps, at('w'));
    await ended;
    expect(events).toEqual(['ADDED w', 'MODIFIED w', 'DELETED w']);
  });
});
