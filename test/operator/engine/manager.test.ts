import { describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { type Controller, primarySource } from '../../../src/operator/engine/controller.ts';
import { createInformer } from '../../../src/operator/engine/informer.ts';
import { keyOf } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { type Logger, silentLogger } from '../../../src/runtime/core/logger.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import { FakeApi } from '../fake-api.ts';
import { type Mirror, type MirrorOptions, startMirror } from '../mirror.ts';
import { configMap, NAMESPACE } from '../support.ts';

const { configMaps } = resourceTypes;
const original = (name: string, data: Record<string, string> = { v: '1' }) => configMap(name, data, { labels: { mirror: 'yes' } });

class Lab {
  readonly clock = new VirtualClock();
  readonly api = new FakeApi(this.clock);
  readonly mirrors: Mirror[] = [];

  mirror(options: Partial<MirrorOptions> = {}): Mirror {
    const mirror = startMirror({ api: this.api, clock: this.clock, namespace: NAMESPACE, ...options });
    this.mirrors.push(mirror);
    return mirror;
  }

  copies(): Record<string, unknown> {
    const copies = this.api.all('ConfigMap').filter(({ metadata }) => metadata.name.endsWith('-copy'));
    return Object.fromEntries(copies.map(({ metadata, data }) => [metadata.name, data]));
  }

  async stop(): Promise<void> {
    for (const { stop } of this.mirrors) stop.abort(new Error('SIGTERM'));
    await this.clock.run(Promise.all(this.mirrors.map(({ running }) => running)));
  }
}

describe('manager', () => {
  it('brings what is there and what comes to its state, and what is touched back to it', async () => {
    const lab = new Lab();
    await lab.api.create(configMaps, original('a'));
    const mirror = lab.mirror();
    expect(mirror.manager.state()).toEqual({ unsynced: ['ConfigMap', 'ConfigMap'], leading: false, stopping: false });
    await lab.clock.runFor(100);
    await lab.api.create(configMaps, original('b'));
    await lab.clock.runFor(100);
    expect(lab.copies()).toEqual({ 'a-copy': { v: '1' }, 'b-copy': { v: '1' } });
    await lab.api.patch(configMaps, { namespace: NAMESPACE, name: 'a' }, { data: { v: '2' } });
    await lab.api.delete(configMaps, { namespace: NAMESPACE, name: 'b-copy' });
    await lab.clock.runFor(100);
    expect(lab.copies()).toEqual({ 'a-copy': { v: '2' }, 'b-copy': { v: '1' } });
    expect(mirror.manager.state()).toEqual({ unsynced: [], leading: true, stopping: false });
    await lab.stop();
    expect(mirror.manager.state()).toEqual({ unsynced: [], leading: false, stopping: true });
  });

  it('50 keys at once: as many at a time as allowed, no key twice at a time, and then silence', async () => {
    const lab = new Lab();
    lab.api.latencyMs = 30;
    for (let i = 0; i < 50; i++) lab.api.create(configMaps, original(`c${i}`)).catch(() => undefined);
    await lab.clock.runFor(100);
    const mirror = lab.mirror({ controller: { concurrency: 8 } });
    await lab.clock.runFor(10_000);
    expect(Object.keys(lab.copies())).toHaveLength(50);
    expect(mirror.most).toBe(8);
    const before = lab.api.writes().length;
    await lab.clock.runFor(600_000);
    expect(lab.api.writes().length).toBe(before);
    expect(mirror.metrics.render()).toMatch(/operator_reconcile_total\{controller="mirror",result="done"\} \d+/);
    await lab.stop();
  });

  it('results: done is forgotten, requeue comes back in time, retry ever later, failed only after a change', async () => {
    const lab = new Lab();
    const starts: Record<string, number[]> = {};
    for (const name of ['done', 'requeue', 'retry', 'failed', 'throws']) await lab.api.create(configMaps, original(name));
    lab.mirror({
      before: async (key) => {
        const name = key.split('/')[1] ?? '';
        starts[name] = [...(starts[name] ?? []), lab.clock.monotonic()];
        if (name === 'requeue') return { type: 'requeue', afterMs: 60_000 };
        if (name === 'retry') return { type: 'retry', reason: 'not yet' };
        if (name === 'failed') return { type: 'failed', reason: 'no use' };
        if (name === 'throws') throw new ApiError('server', 'HTTP 500');
        return { type: 'done' };
      },
    });
    await lab.clock.runFor(300_000);
    expect(starts.done).toHaveLength(1);
    expect(starts.failed).toHaveLength(1);
    expect(starts.requeue?.map((at) => Math.round(at / 1000))).toEqual([0, 60, 120, 180, 240, 300].slice(0, starts.requeue?.length));
    expect(starts.requeue?.length).toBeGreaterThanOrEqual(5);
    for (const name of ['retry', 'throws']) {
      const gaps = (starts[name] ?? []).slice(1).map((at, i) => at - (starts[name]?.[i] ?? 0));
      gaps.forEach((gap, i) => {
        expect(gap).toBeGreaterThanOrEqual(250 * 2 ** i);
        expect(gap).toBeLessThanOrEqual(750 * 2 ** i);
      });
      expect(gaps.length).toBeGreaterThanOrEqual(7);
    }
    await lab.api.patch(configMaps, { namespace: NAMESPACE, name: 'failed' }, { data: { v: '2' } });
    await lab.clock.runFor(10);
    expect(starts.failed).toHaveLength(2);
    await lab.stop();
  });

  it('a reconcile past its deadline is aborted, keeps its key until it has stopped, and is tried again', async () => {
    const lab = new Lab();
    await lab.api.create(configMaps, original('slow'));
    const stopped: number[] = [];
    const mirror = lab.mirror({
      controller: { reconcileTimeoutMs: 10_000 },
      before: async (_, { signal }) => {
        await sleep(lab.clock, 3_600_000, signal).catch(() => undefined);
        expect(signal.reason).toMatchObject({ code: 'OPERATOR_RECONCILE_TIMEOUT' });
        await sleep(lab.clock, 5_000); // unwinding takes its time
        stopped.push(lab.clock.monotonic());
        throw signal.reason;
      },
    });
    await lab.clock.runFor(40_000);
    expect(stopped.map((at) => Math.floor(at / 1000))[0]).toBe(15);
    expect(mirror.most).toBe(1);
    expect(mirror.begun.length).toBeGreaterThanOrEqual(2);
    mirror.stop.abort(new Error('SIGTERM'));
    await lab.clock.run(mirror.running);
  });

  it('told to stop in the middle: running reconciles end and write, nothing new begins, the lease is freed last', async () => {
    const lab = new Lab();
    for (let i = 0; i < 20; i++) await lab.api.create(configMaps, original(`c${i}`));
    const mirror = lab.mirror({
      identity: 'a',
      controller: { concurrency: 4 },
      before: () => sleep(lab.clock, 12_000).then(() => undefined),
    });
    await lab.clock.runFor(2_000);
    expect(mirror.begun).toHaveLength(4);
    mirror.stop.abort(new Error('SIGTERM'));
    await lab.clock.run(mirror.running);
    expect(lab.clock.monotonic()).toBeLessThan(13_000);
    expect(mirror.begun).toHaveLength(4);
    expect(Object.keys(lab.copies())).toHaveLength(4);
    const last = lab.api.writes().at(-1);
    expect(last).toMatchObject({ kind: 'Lease', verb: 'update' });
    expect(lab.api.peek('Lease', `${NAMESPACE}/mirror`)?.spec).toMatchObject({ holderIdentity: '' });
    expect(lab.api.watching).toBe(0);
  });

  it('reconciles that do not end are aborted after the drain time', async () => {
    const lab = new Lab();
    await lab.api.create(configMaps, original('a'));
    let reason: unknown;
    const mirror = lab.mirror({
      identity: 'a',
      manager: { drainMs: 5_000 },
      before: async (_, { signal }) => {
        await sleep(lab.clock, 3_600_000, signal).catch(() => undefined);
        reason = signal.reason;
        return { type: 'done' };
      },
    });
    await lab.clock.runFor(1_000);
    mirror.stop.abort(new Error('SIGTERM'));
    await lab.clock.run(mirror.running);
    expect(lab.clock.monotonic()).toBe(6_000);
    expect(reason).toMatchObject({ code: 'OPERATOR_STOPPING' });
  });

  it('two managers: the second takes over when the first is cut off, and the first writes nothing more', async () => {
    const lab = new Lab();
    await lab.api.create(configMaps, original('a'));
    const cut = { from: Infinity };
    const cutOff: FakeApi = Object.create(lab.api, {
      ...Object.fromEntries(
        (['get', 'list', 'create', 'replace', 'patch', 'apply', 'delete'] as const).map((verb) => [
          verb,
          {
            value: async (...parameters: unknown[]) => {
              if (lab.clock.monotonic() >= cut.from) throw new ApiError('network', 'no route to host');
              return (lab.api[verb] as (...all: unknown[]) => unknown).apply(lab.api, parameters);
            },
          },
        ]),
      ),
      watch: { value: (...parameters: Parameters<FakeApi['watch']>) => lab.api.watch(...parameters) },
    });
    const first = lab.mirror({ identity: 'first', api: cutOff });
    await lab.clock.runFor(5_000);
    const second = lab.mirror({ identity: 'second' });
    await lab.clock.runFor(10_000);
    expect([first.manager.state().leading, second.manager.state().leading]).toEqual([true, false]);
    expect(second.begun).toEqual([]);
    cut.from = lab.clock.monotonic();
    await lab.clock.runFor(30_000);
    expect([first.manager.state().leading, second.manager.state().leading]).toEqual([false, true]);
    const begunByFirst = first.begun.length;
    await lab.api.create(configMaps, original('b'));
    await lab.clock.runFor(10_000);
    expect(lab.copies()).toHaveProperty('b-copy');
    expect(first.begun.length).toBe(begunByFirst); // its informers still see, but nobody works
    await lab.stop();
  });

  it('the API server away for ten minutes: work goes on by itself afterwards', async () => {
    const lab = new Lab();
    await lab.api.create(configMaps, original('a'));
    const mirror = lab.mirror({ identity: 'a' });
    await lab.clock.runFor(5_000);
    lab.api.fault = () => new ApiError('network', 'connect ECONNREFUSED');
    lab.api.breakWatches(new ApiError('network', 'read ECONNRESET'));
    await lab.clock.runFor(600_000);
    expect(mirror.manager.state().leading).toBe(false);
    lab.api.compact();
    lab.api.fault = undefined;
    await lab.api.create(configMaps, original('b'));
    await lab.clock.runFor(60_000);
    expect(Object.keys(lab.copies())).toEqual(['a-copy', 'b-copy']);
    await lab.stop();
  });

  it('stops while it still waits for its first list', async () => {
    const lab = new Lab();
    lab.api.fault = () => new ApiError('network', 'connect ECONNREFUSED');
    const mirror = lab.mirror({ identity: 'a' });
    await lab.clock.runFor(60_000);
    expect(mirror.manager.state().unsynced).toEqual(['ConfigMap', 'ConfigMap']);
    mirror.stop.abort(new Error('SIGTERM'));
    await lab.clock.run(mirror.running);
  });

  it('logs reasons, not objects', async () => {
    const lab = new Lab();
    const lines: string[] = [];
    const note = (...parts: unknown[]): void => void lines.push(JSON.stringify(parts));
    const logger: Logger = { debug: note, info: note, warn: note, error: note, child: () => logger };
    await lab.api.create(configMaps, original('a', { password: 'hunter2' }));
    lab.api.fault = ({ verb }) => (verb === 'apply' ? new ApiError('server', 'HTTP 500') : undefined);
    lab.mirror({ logger });
    await lab.clock.runFor(60_000);
    expect(lines.some((line) => line.includes('HTTP 500') && line.includes('pauseMs'))).toBe(true);
    expect(lines.filter((line) => line.includes('hunter2'))).toEqual([]);
    await lab.stop();
  });
});

describe('sources', () => {
  it('a primary object wakes its controller by spec, labels, annotations, finalizers or deletion, not by status', async () => {
    const lab = new Lab();
    const seen: string[] = [];
    const { deployments } = resourceTypes;
    const object = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd', namespace: NAMESPACE }, spec: { replicas: 1 } };
    await lab.api.create(deployments, object);
    const informer = createInformer({ api: lab.api, type: deployments, clock: lab.clock, random: seededRandom(1), logger: silentLogger });
    const controller: Pick<Controller, 'sources'> = { sources: [primarySource(informer)] };
    informer.subscribe((event) => {
      if ((controller.sources[0]?.keys(event) ?? []).length > 0) seen.push(`${event.type} ${keyOf(event.object)}`);
    });
    const end = new AbortController();
    const running = informer.run(end.signal);
    const key = { namespace: NAMESPACE, name: 'd' };
    const steps: [Record<string, unknown>, boolean][] = [
      [{ spec: { replicas: 2 } }, true],
      [{ metadata: { labels: { a: 'b' } } }, true],
      [{ metadata: { annotations: { a: 'b' } } }, true],
      [{ metadata: { finalizers: ['x/y'] } }, true],
    ];
    await lab.clock.runFor(10);
    for (const [patch, wakes] of steps) {
      seen.length = 0;
      await lab.api.patch(deployments, key, patch);
      await lab.clock.runFor(10);
      expect(seen.length > 0).toBe(wakes);
    }
    seen.length = 0;
    await lab.api.patch(deployments, key, { status: { replicas: 2 } }, { subresource: 'status' });
    await lab.clock.runFor(10);
    expect(seen).toEqual([]);
    await lab.api.delete(deployments, key);
    await lab.clock.runFor(10);
    expect(seen).toEqual([`updated ${NAMESPACE}/d`]);
    end.abort(new Error('over'));
    await lab.clock.run(running);
  });
});
