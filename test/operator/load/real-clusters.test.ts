/**
 * Many clusters at once, and operators, API servers and histories that go away in the middle: the operator as programs of their own on an API server of its own.
 * CLUSTERS says how many clusters (5 by default; 50 for the long form).
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { catalog } from '../../../src/contract/onecloud/catalog.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { type FakeKubelet, startFakeKubelet } from '../../support/fake-kubelet.ts';
import { eventually, type RealApi, realApi } from '../cluster.ts';
import { type Kubetest, startKubetest, withoutKubetest } from '../kubetest.ts';
import { clusterObject, clusterStatus, installKinds, loadSpec, REPOSITORY, V1, V2 } from './clusters.ts';
import { type OperatorProgram, startOperatorProgram } from './operator-program.ts';

const CLUSTERS = Number(process.env.CLUSTERS ?? 5);
/** The short form gives several faults to one upgrade; the long one gives each its own, and looks closer. */
const LONG = process.env.BMS_LONG === '1' || process.env.CLUSTERS !== undefined;
/** Times that are short enough to wait for a lease to run out, and long enough for a busy machine. */
const ELECTION = [4_000, 3_000, 500] as const;
/** Three layers: enough to be in the middle of. */
const FEW = ['keystone', 'regionServer', 'glance'];
/** Keeps an upgrade in its second layer. */
const HELD = `${REPOSITORY}/region:${V2}`;
const MANAGED = 'app.kubernetes.io/managed-by=onecloud-operator';
/** What an operator writes; Pods, ReplicaSets and Endpoints are other controllers'. */
const WRITTEN = [
  clusterType,
  resourceTypes.configMaps,
  resourceTypes.secrets,
  resourceTypes.services,
  resourceTypes.serviceAccounts,
  resourceTypes.persistentVolumeClaims,
  resourceTypes.deployments,
  resourceTypes.daemonSets,
  resourceTypes.ingresses,
];

if (!LONG) console.warn('SHORTENED clusters, operators and API servers that come and go: BMS_LONG=1 tries each fault by itself');

describe.skipIf(withoutKubetest('clusters, operators and API servers that come and go'))('many clusters and many faults', () => {
  let server: Kubetest;
  let real: RealApi;
  let kubelet: FakeKubelet;
  let home: string;
  const operators: OperatorProgram[] = [];

  beforeAll(async () => {
    server = await startKubetest();
    real = realApi(server.kubeconfig);
    await installKinds(real.api);
    home = await real.namespace();
    kubelet = await startFakeKubelet(real.api, undefined);
  }, 120_000);
  afterEach(async () => {
    await Promise.all(operators.splice(0).map((operator) => operator.stop()));
    const { items } = await real.api.list(clusterType);
    for (const { metadata } of items) {
      await real.api.delete(clusterType, metadata);
      await real.api.patch(clusterType, metadata, { metadata: { finalizers: null } }).catch(() => undefined);
    }
  }, 60_000);
  afterAll(async () => {
    await kubelet?.stop();
    await real?.close();
    server?.remove();
  }, 60_000);

  const start = async (podName: string): Promise<OperatorProgram> => {
    const operator = await startOperatorProgram({ kubeconfig: server.kubeconfig, namespace: home, podName, election: ELECTION });
    operators.push(operator);
    return operator;
  };
  const create = async (namespace: string, spec: Record<string, unknown>): Promise<void> => {
    await real.api.create(clusterType, clusterObject({ namespace, name: 'default' }, spec), { fieldManager: 'bmctl' });
  };
  const status = (namespace: string) => clusterStatus(real.api, { namespace, name: 'default' });
  const setVersion = (namespace: string, version: string) =>
    real.api.patch(clusterType, { namespace, name: 'default' }, { spec: { version } }, { fieldManager: 'kubectl-edit' });
  const running = (namespace: string, version: string, limitMs = 120_000) =>
    eventually(
      async () => {
        const found = await status(namespace).catch(() => undefined);
        return found?.phase === 'Running' && found.version === version;
      },
      `${version} in force in ${namespace}`,
      limitMs,
    );
  const image = async (namespace: string, component: string): Promise<unknown> => {
    const deployment = await real.api.get(resourceTypes.deployments, { namespace, name: `default-${component}` });
    return at(deployment, 'spec', 'template', 'spec', 'containers', '0', 'image');
  };
  const leader = async (): Promise<string> => {
    const lease = await real.api.get(resourceTypes.leases, { namespace: home, name: 'onecloud-operator' }).catch(() => undefined);
    return String(at(lease, 'spec', 'holderIdentity') ?? '').split('_')[0] ?? '';
  };
  /** Kind and name → version, of everything that an operator may have written. */
  const versions = async (namespaces: readonly string[]): Promise<Record<string, string>> => {
    const found = await Promise.all(
      namespaces.flatMap((namespace) => WRITTEN.map(async (type) => (await real.api.list(type, { namespace })).items)),
    );
    return Object.fromEntries(
      found.flat().map(({ kind, metadata }) => [`${metadata.namespace} ${kind} ${metadata.name}`, metadata.resourceVersion]),
    );
  };
  /** Begins an upgrade that stays in the middle, the second of three layers waiting for its image, until it is let go on. */
  const upgradeHalfWay = async (namespace: string): Promise<void> => {
    kubelet.bad.add(HELD);
    await setVersion(namespace, V2);
    await eventually(
      async () => (await status(namespace)).components?.region?.message?.includes('ImagePullBackOff'),
      'the second layer waits',
      60_000,
    );
    expect(await image(namespace, 'keystone')).toBe(`${REPOSITORY}/keystone:${V2}`);
    expect(await image(namespace, 'glance')).toBe(`${REPOSITORY}/glance:${V1}`);
  };
  const rolledThrough = async (namespace: string): Promise<void> => {
    for (const component of ['keystone', 'region', 'glance'])
      expect(await image(namespace, component)).toBe(`${REPOSITORY}/${component}:${V2}`);
    // one story, told once: nobody began the upgrade anew
    expect((await status(namespace)).history?.map(({ from, to, outcome }) => [from, to, outcome])).toEqual([
      [undefined, V1, 'Succeeded'],
      [V1, V2, 'Succeeded'],
    ]);
  };

  it.runIf(LONG)(
    `004-2: ${CLUSTERS} clusters at once become ready, no more than four are worked on at a time, and another pass writes nothing`,
    {
      timeout: 60_000 + CLUSTERS * 30_000,
    },
    async () => {
      const operator = await start('operator-0');
      const namespaces = await Promise.all(Array.from({ length: CLUSTERS }, () => real.namespace()));
      // the long form with every component of the catalog
      await Promise.all(namespaces.map((namespace) => create(namespace, loadSpec(CLUSTERS > 5 ? {} : { only: FEW }))));
      let most = 0;
      const watching = new AbortController();
      const watch = (async () => {
        while (!watching.signal.aborted) {
          most = Math.max(most, (await operator.metrics()).sum('operator_reconcile_running'));
          await sleep(nodeClock, 20);
        }
      })();
      await Promise.all(namespaces.map((namespace) => running(namespace, V1, 60_000 + CLUSTERS * 25_000)));
      watching.abort();
      await watch;
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(4);

      const wanted = (CLUSTERS > 5 ? catalog.filter(({ kind }) => kind !== 'CronJob') : catalog.filter(({ key }) => FEW.includes(key)))
        .length;
      for (const namespace of namespaces) {
        const { components = {} } = await status(namespace);
        expect(Object.values(components).filter(({ phase }) => phase === 'Ready' || phase === 'Waiting')).toHaveLength(wanted);
      }
      await sleep(nodeClock, 2_000);
      const before = await versions(namespaces);
      const passes = (await operator.metrics()).sum('operator_reconcile_total');
      const metadata = { annotations: { 'example.org/look': 'again' } };
      for (const namespace of namespaces) {
        await real.api.patch(clusterType, { namespace, name: 'default' }, { metadata }, { fieldManager: 'kubectl-annotate' });
      }
      await eventually(async () => (await operator.metrics()).sum('operator_reconcile_total') >= passes + CLUSTERS, 'a pass over each');
      await sleep(nodeClock, 1_000);
      const after = await versions(namespaces);
      for (const namespace of namespaces) {
        // the annotation itself
        delete before[`${namespace} OnecloudCluster default`];
        delete after[`${namespace} OnecloudCluster default`];
      }
      expect(after).toEqual(before);
      const page = await operator.metrics();
      expect(page.sum('operator_api_throttle_seconds_count')).toBeGreaterThan(CLUSTERS);
    },
  );

  it.skipIf(LONG)(
    '004-2: two clusters and four faults on the way: leader killed, API server killed, history forgotten, told to stop',
    {
      timeout: 120_000,
    },
    async () => {
      const [namespace, other] = [await real.namespace(), await real.namespace()];
      const first = await start('operator-a');
      await eventually(async () => (await leader()) === 'operator-a', 'a leads', 30_000);
      const second = await start('operator-b');
      await Promise.all([create(namespace, loadSpec({ only: FEW })), create(other, loadSpec({ only: ['keystone'] }))]);
      await Promise.all([running(namespace, V1), running(other, V1)]);
      // another pass writes nothing
      await sleep(nodeClock, 1_000);
      const before = await versions([other]);
      const passes = (await first.metrics()).sum('operator_reconcile_total');
      const metadata = { annotations: { 'example.org/look': 'again' } };
      await real.api.patch(clusterType, { namespace: other, name: 'default' }, { metadata }, { fieldManager: 'kubectl-annotate' });
      await eventually(async () => (await first.metrics()).sum('operator_reconcile_total') > passes, 'a pass');
      await sleep(nodeClock, 500);
      const after = await versions([other]);
      for (const found of [before, after]) delete found[`${other} OnecloudCluster default`]; // the annotation itself
      expect(after).toEqual(before);

      await upgradeHalfWay(namespace);
      first.signal('SIGKILL');
      expect(await first.exited).toBe('SIGKILL');
      await eventually(async () => (await leader()) === 'operator-b', 'the other leads', 30_000);

      // frozen, while what it watches changes, etcd forgets and the API server dies
      const lists = (await second.metrics()).sum('operator_informer_lists_total');
      second.signal('SIGSTOP');
      await real.api.delete(resourceTypes.services, { namespace, name: 'default-glance' });
      await server.compact();
      server.stop();
      second.signal('SIGCONT');
      await eventually(async () => (await second.metrics()).sum('operator_informer_failures_total') > 0, 'the loss is noticed');
      expect((await second.health('/healthz')).status).toBe(200);
      server.start();
      const third = await start('operator-c');
      await eventually(
        () => real.api.get(resourceTypes.services, { namespace, name: 'default-glance' }).catch(() => undefined),
        'the Service',
        60_000,
      );
      await eventually(async () => (await second.metrics()).sum('operator_informer_lists_total') > lists, 'it lists again', 60_000);

      const led = await leader();
      const [leading, next] = led === 'operator-b' ? [second, 'operator-c'] : [third, 'operator-b'];
      expect(await leading.stop()).toBe(0);
      const stoppedAt = nodeClock.monotonic();
      await eventually(async () => (await leader()) === next, 'the next one leads', 30_000);
      expect(nodeClock.monotonic() - stoppedAt).toBeLessThan(ELECTION[0]); // released, not run out
      kubelet.heal(HELD);
      await running(namespace, V2);
      await rolledThrough(namespace);
      const { items } = await real.api.list(resourceTypes.replicaSets, { namespace, labelSelector: MANAGED });
      // one for each version: no Deployment was sent back and forth
      expect(items.length).toBe(2 * FEW.length);
    },
  );

  it.runIf(LONG)(
    'two operators, the leader killed in mid-upgrade: the other ends it, and nothing is rolled twice',
    { timeout: 120_000 },
    async () => {
      const namespace = await real.namespace();
      const [a, b] = [await start('operator-a'), await start('operator-b')];
      await eventually(leader, 'one of them leads');
      await create(namespace, loadSpec({ only: FEW }));
      await running(namespace, V1);
      const first = await leader();
      await upgradeHalfWay(namespace);
      const killed = first === 'operator-a' ? a : b;
      killed.signal('SIGKILL');
      expect(await killed.exited).toBe('SIGKILL');
      const second = first === 'operator-a' ? 'operator-b' : 'operator-a';
      await eventually(async () => (await leader()) === second, 'the other leads', 30_000);
      kubelet.heal(HELD);
      await running(namespace, V2);
      await rolledThrough(namespace);
      const { items } = await real.api.list(resourceTypes.replicaSets, { namespace, labelSelector: MANAGED });
      // one for each version: no Deployment was sent back and forth
      expect(items.length).toBe(2 * FEW.length);
    },
  );

  it.runIf(LONG)(
    'told to stop in mid-upgrade: ends with 0, hands the lease over at once, and the other goes on',
    { timeout: 120_000 },
    async () => {
      const namespace = await real.namespace();
      const a = await start('operator-a');
      await eventually(async () => (await leader()) === 'operator-a', 'a leads', 30_000);
      const b = await start('operator-b');
      await create(namespace, loadSpec({ only: FEW }));
      await running(namespace, V1);
      await upgradeHalfWay(namespace);
      expect(await a.stop()).toBe(0);
      const stoppedAt = nodeClock.monotonic();
      await eventually(async () => (await leader()) === 'operator-b', 'b leads', 30_000);
      // released, not run out
      expect(nodeClock.monotonic() - stoppedAt).toBeLessThan(ELECTION[0]);
      kubelet.heal(HELD);
      await running(namespace, V2);
      await rolledThrough(namespace);
      expect((await b.health('/readyz')).body).toBe('ok, leading\n');
    },
  );

  it.runIf(LONG)(
    'the API server is killed in mid-upgrade and comes back: the operator stays, and ends what it began',
    {
      timeout: 180_000,
    },
    async () => {
      const namespace = await real.namespace();
      const operator = await start('operator-0');
      await create(namespace, loadSpec({ only: FEW }));
      await running(namespace, V1);
      await upgradeHalfWay(namespace);
      server.stop();
      await eventually(async () => (await operator.metrics()).sum('operator_informer_failures_total') > 0, 'the loss is noticed');
      expect((await operator.health('/healthz')).status).toBe(200);
      await sleep(nodeClock, ELECTION[1] + 500); // past the renew deadline: it may not write until it holds the lease again
      expect((await operator.metrics()).sum('operator_leader')).toBe(0);
      // and one that is started just now waits, instead of ending
      const late = await start('operator-late');
      expect(await late.health('/healthz')).toEqual({ status: 200, body: 'ok\n' });
      expect(await late.health('/readyz')).toEqual({ status: 503, body: 'waiting for the API server\n' });
      server.start();
      kubelet.heal(HELD);
      await running(namespace, V2);
      await rolledThrough(namespace);
      await eventually(async () => (await late.health('/readyz')).status === 200, 'the late one is ready', 60_000);
    },
  );

  it.runIf(LONG)(
    'stood still while etcd forgot: lists again after 410, and sees what was changed meanwhile',
    { timeout: 180_000 },
    async () => {
      const namespace = await real.namespace();
      const operator = await start('operator-0');
      await create(namespace, loadSpec({ only: FEW }));
      await running(namespace, V1);
      const lists = (await operator.metrics()).sum('operator_informer_lists_total');
      operator.signal('SIGSTOP');
      await setVersion(namespace, V2);
      await real.api.delete(resourceTypes.services, { namespace, name: 'default-glance' });
      await server.compact();
      server.stop(); // ends its watches, and the server's own memory of old versions goes, too
      server.start();
      operator.signal('SIGCONT');
      await running(namespace, V2);
      await rolledThrough(namespace);
      await eventually(
        () => real.api.get(resourceTypes.services, { namespace, name: 'default-glance' }).catch(() => undefined),
        'the Service',
      );
      expect((await operator.metrics()).sum('operator_informer_lists_total')).toBeGreaterThan(lists);
    },
  );
});
