/** The whole operator on a real API server with real controllers; pods become Ready by a stand-in for nodes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { catalog } from '../../../src/contract/onecloud/catalog.ts';
import type { ClusterStatus } from '../../../src/contract/onecloud/cluster-status.ts';
import { clientNodeTransport, loadKubeConfig } from '../../../src/operator/engine/client-node-transport.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import type { Transport } from '../../../src/operator/engine/transport.ts';
import { type Operator, startOperator } from '../../../src/operator/main.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';
import { CORRECTED } from '../../contract/onecloud/seed.ts';
import { type FakeKubelet, startFakeKubelet } from '../../support/fake-kubelet.ts';
import { eventually, type RealApi, realApi } from '../cluster.ts';
import { type Kubetest, startKubetest, withoutKubetest } from '../kubetest.ts';
import { installKinds } from '../load/clusters.ts';

const V1 = 'v3.1.3-20200312.0';
const V2 = 'v3.1.3-20200320.0';
const REPOSITORY = 'registry.cn-beijing.aliyuncs.com/yunionio';

describe.skipIf(withoutKubetest('OneCloud clusters on an API server'))('a OneCloud cluster on a real API server', () => {
  let server: Kubetest;
  let real: RealApi;
  let namespace: string;
  let kubelet: FakeKubelet;
  let operator: Operator;
  const stop = new AbortController();
  const writes: string[] = [];

  beforeAll(async () => {
    server = await startKubetest();
    real = realApi(server.kubeconfig);
    await installKinds(real.api);
    namespace = await real.namespace();
    kubelet = await startFakeKubelet(real.api, namespace);
    const inner = clientNodeTransport(loadKubeConfig({ file: server.kubeconfig }), nodeClock);
    const transport: Transport = {
      exchange: (request) => {
        if (request.method !== 'GET' && !request.path.includes('/leases')) writes.push(`${request.method} ${request.path}`);
        return inner.exchange(request);
      },
      close: () => inner.close(),
    };
    const surroundings = { clock: nodeClock, random: nodeRandom, logger: silentLogger, network: nodeNetwork };
    const options = { transport, ...surroundings, podName: 'operator-0', podNamespace: namespace, watchNamespaces: [namespace] };
    operator = await startOperator({ ...options, listen: { address: '127.0.0.1', port: 0 } }, stop.signal);
  }, 120_000);
  afterAll(async () => {
    stop.abort(new Error('SIGTERM'));
    await operator?.ended;
    await kubelet?.stop();
    await real?.close();
    server?.remove();
  }, 60_000);

  const key = () => ({ namespace, name: 'default' });
  const cluster = () => real.api.get(clusterType, key());
  const status = async (): Promise<ClusterStatus> => ((await cluster()).status ?? {}) as ClusterStatus;
  const patch = (spec: Record<string, unknown>) => real.api.patch(clusterType, key(), { spec }, { fieldManager: 'kubectl-edit' });
  const image = async (component: string): Promise<unknown> =>
    at(
      await real.api.get(resourceTypes.deployments, { namespace, name: `default-${component}` }),
      'spec',
      'template',
      'spec',
      'containers',
      '0',
      'image',
    );
  const running = (version: string) =>
    eventually(
      async () => ((await status()).version === version && (await status()).phase === 'Running' ? true : undefined),
      `version ${version} in force`,
      240_000,
    );

  it('004-2: comes up layer by layer, and a second pass writes nothing', { timeout: 300_000 }, async () => {
    const { spec } = parse(CORRECTED);
    delete spec.glance.image;
    delete spec.vpcAgent;
    // Kubernetes 1.20 serves no CronJob of batch/v1
    const cronJobs = catalog.filter(({ kind }) => kind === 'CronJob').map((row) => [row.key, { disable: true }]);
    const object = {
      apiVersion: clusterType.apiVersion,
      kind: clusterType.kind,
      metadata: key(),
      spec: { ...spec, ...Object.fromEntries(cronJobs) },
    };
    await real.api.create(clusterType, object, { fieldManager: 'bmctl' });
    await running(V1);
    expect((await status()).history).toMatchObject([{ who: 'bmctl', to: V1, outcome: 'Succeeded' }]);
    await sleep(nodeClock, 3_000);
    writes.length = 0;
    // a pass over everything, asked for by an annotation
    await real.api.patch(
      clusterType,
      key(),
      { metadata: { annotations: { 'example.org/look': 'again' } } },
      { fieldManager: 'kubectl-annotate' },
    );
    await sleep(nodeClock, 5_000);
    expect(writes).toEqual([]);
    const metrics = await nodeNetwork.request({ url: `http://127.0.0.1:${operator.local.port}/metrics` });
    expect(Buffer.from(metrics.body).toString()).toMatch(/operator_reconcile_total\{controller="onecloud-cluster",result="requeue"\} \d+/);
  });

  it('004-7: an image that cannot be pulled is named, and the version goes back by itself', { timeout: 300_000 }, async () => {
    kubelet.bad.add(`${REPOSITORY}/region:${V2}`);
    await patch({ version: V2, updateStrategy: { autoRollback: true, layerTimeoutSeconds: 30 } });
    await eventually(async () => (await status()).components?.region?.message?.includes('ImagePullBackOff'), 'the reason', 60_000);
    expect(await image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    await eventually(async () => (await status()).history?.at(-1)?.outcome === 'RolledBack', 'the roll-back', 120_000);
    await eventually(
      async () => (await image('region')) === `${REPOSITORY}/region:${V1}` && (await image('keystone')) === `${REPOSITORY}/keystone:${V1}`,
      'the old images',
      120_000,
    );
    await eventually(
      async () => (await status()).conditions?.find(({ type }) => type === 'Ready')?.status === 'True',
      'ready again',
      120_000,
    );
  });

  it('004-5: a good version rolls through', { timeout: 300_000 }, async () => {
    const version = 'v3.1.3-20200327.0';
    await patch({ version });
    await running(version);
    expect(await image('web')).toBe(`${REPOSITORY}/web:${version}`);
  });

  it('004-9: deleting it removes all it owns and keeps the claims', { timeout: 120_000 }, async () => {
    await real.api.delete(clusterType, key());
    await eventually(async () => !(await real.api.list(clusterType, { namespace })).items.length, 'the object goes', 90_000);
    for (const type of [resourceTypes.deployments, resourceTypes.daemonSets, resourceTypes.services, resourceTypes.pods]) {
      await eventually(
        async () =>
          (await real.api.list(type, { namespace, labelSelector: 'app.kubernetes.io/managed-by=onecloud-operator' })).items.length === 0,
        `no ${type.plural}`,
      );
    }
    expect((await real.api.list(resourceTypes.persistentVolumeClaims, { namespace })).items.length).toBeGreaterThan(3);
  });
});
