/** Managers on API servers that restart, forget, and lose replicas. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runElection } from '../../../src/operator/engine/leader-election.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';
import { withoutCluster } from '../../support/cluster.ts';
import { eventually, type RealApi, realApi } from '../cluster.ts';
import { type Kubetest, startKubetest, withoutKubetest } from '../kubetest.ts';
import { type Mirror, startMirror } from '../mirror.ts';
import { configMap, Recorder } from '../support.ts';

const { configMaps, leases } = resourceTypes;
const original = (namespace: string, name: string, data: Record<string, string> = { v: '1' }) =>
  configMap(name, data, { namespace, labels: { mirror: 'yes' } });

const copiesIn = async ({ api }: RealApi, namespace: string): Promise<Record<string, unknown>> => {
  const { items } = await api.list(configMaps, { namespace, labelSelector: 'mirrored=yes' });
  return Object.fromEntries(items.map(({ metadata, data }) => [metadata.name, data]));
};

describe.skipIf(withoutCluster('managers on an API server'))('managers on a real API server', () => {
  let real: RealApi;
  beforeAll(() => {
    real = realApi();
  });
  afterAll(() => real.close());

  it('50 keys at once, then no write at all', { timeout: 60_000 }, async () => {
    const namespace = await real.namespace();
    const own = realApi();
    await Promise.all(Array.from({ length: 50 }, (_, i) => real.api.create(configMaps, original(namespace, `c${i}`))));
    const mirror = startMirror({ api: own.api, clock: nodeClock, namespace, controller: { concurrency: 8 } });
    await eventually(async () => Object.keys(await copiesIn(real, namespace)).length === 50, '50 copies');
    await eventually(() => mirror.begun.length >= 100, 'a second look at each, caused by its copy');
    await sleep(nodeClock, 300);
    expect(own.writes).toHaveLength(50);
    expect(mirror.most).toBeLessThanOrEqual(8);
    mirror.stop.abort(new Error('SIGTERM'));
    await mirror.running;
    await own.close();
  });

  it('two electors: one leads; when it leaves, the other follows', { timeout: 60_000 }, async () => {
    const namespace = await real.namespace();
    const times = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 300 };
    const terms: string[] = [];
    const elect = (identity: string) => {
      const stop = new AbortController();
      const options = {
        api: real.api,
        lease: { namespace, name: 'lease' },
        identity,
        clock: nodeClock,
        random: nodeRandom,
        logger: silentLogger,
        ...times,
      };
      const lead = async ({ signal }: { signal: AbortSignal }): Promise<void> => {
        terms.push(`+${identity}`);
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        terms.push(`-${identity}`);
      };
      return { stop, running: runElection(options, lead, stop.signal) };
    };
    const a = elect('a');
    await eventually(() => terms.length === 1, 'a leads');
    const b = elect('b');
    await sleep(nodeClock, 1_500);
    expect(terms).toEqual(['+a']);
    a.stop.abort(new Error('SIGTERM'));
    await a.running;
    await eventually(() => terms.length === 3, 'b leads');
    expect(terms).toEqual(['+a', '-a', '+b']);
    expect((await real.api.get(leases, { namespace, name: 'lease' })).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    b.stop.abort(new Error('SIGTERM'));
    await b.running;
  });

  it('a leader that is killed is replaced after its lease has run out', { timeout: 90_000 }, async () => {
    const namespace = await real.namespace();
    const child = spawn(process.execPath, ['--import', 'tsx', 'test/operator/mirror-process.ts', namespace, 'child'], { stdio: 'ignore' });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const holder = async (): Promise<unknown> =>
      at(await real.api.get(leases, { namespace, name: 'mirror' }).catch(() => undefined), 'spec', 'holderIdentity');
    let mirror: Mirror | undefined;
    try {
      await real.api.create(configMaps, original(namespace, 'a'));
      await eventually(async () => 'a-copy' in (await copiesIn(real, namespace)), 'the child works');
      expect(await holder()).toBe('child');
      mirror = startMirror({ api: real.api, clock: nodeClock, namespace, identity: 'parent' });
      await eventually(() => mirror?.manager.state().unsynced.length === 0, 'the parent is in sync');
      child.kill('SIGKILL');
      await exited;
      const killedAt = nodeClock.monotonic();
      await real.api.create(configMaps, original(namespace, 'b'));
      await eventually(async () => 'b-copy' in (await copiesIn(real, namespace)), 'the parent takes over', 30_000);
      expect(nodeClock.monotonic() - killedAt).toBeGreaterThan(12_000); // the last renewal was at most 3 s before the kill
      expect(await holder()).toBe('parent');
    } finally {
      child.kill('SIGKILL');
      mirror?.stop.abort(new Error('SIGTERM'));
      await mirror?.running;
    }
  });
});

describe.skipIf(withoutKubetest('API servers that restart'))('an API server of its own', () => {
  let server: Kubetest;
  let real: RealApi;
  let informing: RealApi;
  let namespace: string;
  let mirror: Mirror;
  let recorder: Recorder;
  beforeAll(async () => {
    server = await startKubetest();
    real = realApi(server.kubeconfig);
    informing = realApi(server.kubeconfig);
    namespace = await real.namespace();
    mirror = startMirror({ api: informing.api, clock: nodeClock, namespace, identity: 'a' });
    recorder = new Recorder(mirror.source);
  }, 120_000);
  afterAll(async () => {
    mirror?.stop.abort(new Error('SIGTERM'));
    await mirror?.running;
    await Promise.all([real?.close(), informing?.close()]);
    server?.remove();
  }, 60_000);

  const known = (): string[] => [...recorder.state.keys()].map((key) => key.split('/')[1] ?? '').sort();

  it('restarted in the middle: everything goes on, nothing is told twice', { timeout: 120_000 }, async () => {
    await real.api.create(configMaps, original(namespace, 'a'));
    await eventually(async () => 'a-copy' in (await copiesIn(real, namespace)), 'the first copy');
    server.stop();
    await eventually(() => /operator_informer_failures_total\{error="network"/.test(mirror.metrics.render()), 'the loss is noticed');
    expect(mirror.source.store.size).toBe(1);
    server.start();
    await real.api.create(configMaps, original(namespace, 'b'));
    await eventually(async () => 'b-copy' in (await copiesIn(real, namespace)), 'the copy after the restart', 60_000);
    await real.api.delete(configMaps, { namespace, name: 'a' });
    await eventually(() => known().join() === 'b', 'the deletion is seen');
    expect(recorder.nonsense).toEqual([]);
    expect(recorder.events.map(({ type, object }) => `${type} ${object.metadata.name}`)).toEqual(['added a', 'added b', 'deleted a']);
  });

  it('compacted while cut off: 410 Gone, a new list, and the difference', { timeout: 120_000 }, async () => {
    for (const name of ['stays', 'changes', 'goes']) await real.api.create(configMaps, original(namespace, name));
    await eventually(() => known().join() === 'b,changes,goes,stays', 'all are known');
    const listsBefore = mirror.metrics.counter('operator_informer_lists_total', '').value({ kind: 'ConfigMap' });
    informing.cutOff(true);
    await real.api.patch(configMaps, { namespace, name: 'changes' }, { data: { v: '2' } });
    await real.api.delete(configMaps, { namespace, name: 'goes' });
    await real.api.create(configMaps, original(namespace, 'new'));
    await server.compact();
    server.stop(); // the server's own memory of old versions goes, too
    server.start();
    recorder.events.length = 0;
    informing.cutOff(false);
    await eventually(() => known().join() === 'b,changes,new,stays', 'the truth is known again', 60_000);
    expect(recorder.events.map(({ type, object }) => `${type} ${object.metadata.name}`).sort()).toEqual([
      'added new',
      'deleted goes',
      'updated changes',
    ]);
    expect(recorder.nonsense).toEqual([]);
    expect(mirror.metrics.counter('operator_informer_lists_total', '').value({ kind: 'ConfigMap' })).toBeGreaterThan(listsBefore);
    await eventually(
      async () => JSON.stringify((await copiesIn(real, namespace))['changes-copy']) === '{"v":"2"}',
      'the copy follows',
      60_000,
    );
  });
});
