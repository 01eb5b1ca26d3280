/** What people and clusters do wrong, on a real API server: each is told by condition and event with the next step, and leaves nothing half done. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { operatorClusterRules, operatorLeaseRules, operatorNamespaceRules } from '../../../src/constructs/operator-rules.ts';
import type { Condition } from '../../../src/operator/engine/conditions.ts';
import { at, type KubeObject, numberAt, type ResourceType, textAt } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { type FakeKubelet, startFakeKubelet } from '../../support/fake-kubelet.ts';
import { eventually, type RealApi, realApi } from '../cluster.ts';
import { type Kubetest, startKubetest, withoutKubetest } from '../kubetest.ts';
import { clusterObject, clusterStatus, installKinds, loadSpec, notes, REPOSITORY, V1, V2 } from './clusters.ts';
import { type OperatorProgram, startOperatorProgram } from './operator-program.ts';

/** The long form waits for deadlines and pauses; the short one asks for a look where a pause of half a minute stands. */
const LONG = process.env.BMS_LONG === '1';
const FEW = ['keystone', 'regionServer', 'glance'];
const ELECTION = [4_000, 3_000, 500] as const;
const quotas: ResourceType = { apiVersion: 'v1', kind: 'ResourceQuota', plural: 'resourcequotas', namespaced: true };
const rbac = (kind: string, plural: string, namespaced: boolean): ResourceType => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind,
  plural,
  namespaced,
});
const ROWS = ['version', 'services', 'pods', 'class', 'immutable', 'deleted', 'ports', 'foreign', 'secret'] as const;
const SHORT_ROWS = ['version', 'services', 'class', 'immutable', 'deleted', 'secret'] as const satisfies readonly (typeof ROWS)[number][];

if (!LONG)
  console.warn(
    'SHORTENED bad input on an API server: BMS_LONG=1 waits for deadlines and pauses, and tries node ports of strangers and of other clusters, missing rights, quotas on pods, a database server that is away',
  );

// each row has a namespace of its own, and waits most of the time: side by side
describe.skipIf(withoutKubetest('bad input on an API server'))('bad input and faults', { concurrent: true }, () => {
  let server: Kubetest;
  let real: RealApi;
  let kubelet: FakeKubelet;
  const operators: OperatorProgram[] = [];
  const places = new Map<string, string>();
  let folder: string;

  const start = async (home: string, watchNamespaces: readonly string[], more: { kubeconfig?: string; databases?: boolean } = {}) => {
    const operator = await startOperatorProgram({
      kubeconfig: server.kubeconfig,
      namespace: home,
      watchNamespaces,
      election: ELECTION,
      ...more,
    });
    operators.push(operator);
    return operator;
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'bad-input-'));
    server = await startKubetest();
    real = realApi(server.kubeconfig);
    await installKinds(real.api);
    kubelet = await startFakeKubelet(real.api, undefined);
    for (const row of LONG ? ROWS : SHORT_ROWS) places.set(row, await real.namespace());
    await start(await real.namespace(), [...places.values()]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all(operators.map((operator) => operator.stop()));
    await kubelet?.stop();
    await real?.close();
    server?.remove();
    if (folder) rmSync(folder, { recursive: true });
  }, 60_000);

  const placeOf = (row: (typeof ROWS)[number]): string => places.get(row) ?? '';
  const create = (namespace: string, spec: Record<string, unknown>, name = 'default') =>
    real.api.create(clusterType, clusterObject({ namespace, name }, spec), { fieldManager: 'bmctl' });
  const patch = (namespace: string, spec: Record<string, unknown>) =>
    real.api.patch(clusterType, { namespace, name: 'default' }, { spec }, { fieldManager: 'kubectl-edit' });
  const status = (namespace: string, name = 'default') => clusterStatus(real.api, { namespace, name });
  const running = (namespace: string) =>
    eventually(async () => (await status(namespace)).phase === 'Running', `the cluster in ${namespace} runs`, 60_000);
  /** The message of a condition, once it has this status and, when given, this reason. */
  const told = (namespace: string, type: string, wanted: string, reason?: string, name?: string) =>
    eventually(
      async () => {
        const conditions = ((await status(namespace, name)).conditions ?? []) as Condition[];
        const found = conditions.find((condition) => condition.type === type);
        return found?.status === wanted && (reason === undefined || found.reason === reason) ? (found.message ?? ' ') : undefined;
      },
      `${type} ${wanted} ${reason ?? ''}`,
      60_000,
    );
  /** What it needs may be refused while it still waits; then that is told in other words. */
  const turnOf = (namespace: string, component: string) =>
    eventually(async () => (await status(namespace)).components?.[component]?.phase === 'Failed', `the turn of ${component}`, 60_000);
  const event = (namespace: string, reason: string, text: string) =>
    eventually(
      async () => (await notes(real.api, namespace, reason)).find((note) => note.includes(text)),
      `an event ${reason} with ${text}`,
      30_000,
    );
  const there = (type: ResourceType, namespace: string, name: string) => real.api.get(type, { namespace, name }).catch(() => undefined);
  const image = async (namespace: string, component: string) =>
    at(await there(resourceTypes.deployments, namespace, `default-${component}`), 'spec', 'template', 'spec', 'containers', '0', 'image');
  const nudge = async (namespace: string): Promise<void> => {
    const metadata = { annotations: { 'example.org/look': 'now' } };
    if (!LONG) await real.api.patch(clusterType, { namespace, name: 'default' }, { metadata }, { fieldManager: 'kubectl-annotate' });
  };
  const quota = async (namespace: string, hard: Record<string, string>): Promise<void> => {
    const object: KubeObject = { ...quotas, metadata: { name: 'limits', namespace }, spec: { hard } };
    const { apiVersion, kind, metadata, spec } = object;
    await real.api.apply(quotas, { apiVersion, kind, metadata, spec }, { fieldManager: 'admin', force: true });
    await eventually(
      async () => JSON.stringify(at(await real.api.get(quotas, { namespace, name: 'limits' }), 'status', 'hard')) === JSON.stringify(hard),
      'the quota is counted',
    );
  };

  it('an unknown version: the first layer waits for its image and says so, everything goes on with the old one, and the way back is one field', {
    timeout: 120_000,
  }, async () => {
    const namespace = placeOf('version');
    await create(namespace, { ...loadSpec({ only: FEW }), updateStrategy: { layerTimeoutSeconds: 30 } });
    await running(namespace);
    await expect(patch(namespace, { version: 'not a tag' })).rejects.toMatchObject({ kind: 'invalid' });
    const unknown = 'v3.1.3-29990101.0';
    kubelet.bad.add(`${REPOSITORY}/keystone:${unknown}`);
    await patch(namespace, { version: unknown });
    const why = `${REPOSITORY}/keystone:${unknown}): ImagePullBackOff`;
    await eventually(async () => (await status(namespace)).components?.keystone?.message?.includes(why), 'the reason', 30_000);
    if (LONG) {
      expect(await told(namespace, 'Degraded', 'True', 'RolloutFailed')).toContain(why);
      expect(await event(namespace, 'RolloutFailed', 'ONECLOUD_LAYER_TIMEOUT')).toContain('set spec.version back');
    }
    expect([await image(namespace, 'region'), await image(namespace, 'glance')]).toEqual([
      `${REPOSITORY}/region:${V1}`,
      `${REPOSITORY}/glance:${V1}`,
    ]);
    // the old pod serves as long as the new one does not
    expect(numberAt(await there(resourceTypes.deployments, namespace, 'default-keystone'), 'status', 'availableReplicas')).toBe(1);
    await patch(namespace, { version: V1 });
    await running(namespace);
    await told(namespace, 'Degraded', 'False');
    expect(await image(namespace, 'keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
  });

  it.runIf(LONG)('a node port that a stranger has: the component that wants it says so', { timeout: 120_000 }, async () => {
    const [namespace, elsewhere] = [placeOf('foreign'), await real.namespace()];
    const stranger = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'stranger', namespace: elsewhere },
      spec: { type: 'NodePort', selector: { app: 'stranger' }, ports: [{ port: 80, nodePort: 30888 }] },
    };
    await real.api.create(resourceTypes.services, stranger);
    await create(namespace, { ...loadSpec({ only: FEW }), regionServer: {} });
    await turnOf(namespace, 'region');
    const message = await told(namespace, 'Degraded', 'True', 'ComponentsFailed');
    expect(message).toMatch(/region: OPERATOR_INVALID_OBJECT: .*port is already allocated/);
    await event(namespace, 'ComponentFailed', 'already allocated');
    expect(await there(resourceTypes.deployments, namespace, 'default-region')).toBeUndefined();
    await real.api.delete(resourceTypes.services, { namespace: elsewhere, name: 'stranger' });
    await nudge(namespace);
    await running(namespace);
  });

  it.runIf(LONG)(
    'an account without the right to write Services: named with the rule that is missing; the rest goes as far as it may',
    {
      timeout: 120_000,
    },
    async () => {
      const [namespace, home] = [await real.namespace(), await real.namespace()];
      const rules = operatorNamespaceRules().map((rule) =>
        rule.resources?.includes('services') ? { ...rule, resources: rule.resources } : rule,
      );
      const narrowed = rules.flatMap((rule) =>
        rule.resources?.includes('services')
          ? [
              { ...rule, resources: rule.resources.filter((resource) => resource !== 'services') },
              { ...rule, resources: ['services'], verbs: ['get', 'list', 'watch'] },
            ]
          : [rule],
      );
      const kubeconfig = await accountWith(home, [
        [namespace, narrowed],
        [home, operatorLeaseRules('onecloud-operator')],
      ]);
      const operator = await start(home, [namespace], { kubeconfig });
      await create(namespace, loadSpec({ only: FEW }));
      const message = await told(namespace, 'Degraded', 'True', 'ComponentsFailed');
      expect(message).toContain('keystone: OPERATOR_FORBIDDEN');
      expect(message).toMatch(/cannot (create|patch) resource "services"/);
      await event(namespace, 'ComponentFailed', 'OPERATOR_FORBIDDEN');
      expect(await there(resourceTypes.deployments, namespace, 'default-keystone')).toBeUndefined();
      expect((await operator.health('/readyz')).status).toBe(200);
      // given the right, it goes on by itself
      await real.api.apply(
        rbac('Role', 'roles', true),
        {
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'Role',
          metadata: { name: 'operator', namespace },
          rules: operatorNamespaceRules(),
        },
        { fieldManager: 'admin', force: true },
      );
      await nudge(namespace);
      await running(namespace);
    },
  );

  it('a quota that the API server refuses by: nothing after it is made; it goes on by itself when there is room', {
    timeout: 120_000,
  }, async () => {
    const namespace = placeOf('services');
    await quota(namespace, { services: '1' });
    await create(namespace, loadSpec({ only: FEW }));
    await turnOf(namespace, 'region');
    const message = await told(namespace, 'Degraded', 'True');
    expect(message).toContain('region: OPERATOR_FORBIDDEN');
    expect(message).toContain('exceeded quota: limits');
    expect(message).toContain('look at the quota');
    await event(namespace, 'ComponentFailed', 'exceeded quota: limits');
    expect(await there(resourceTypes.deployments, namespace, 'default-region')).toBeUndefined();
    expect(await there(resourceTypes.deployments, namespace, 'default-glance')).toBeUndefined();
    await quota(namespace, { services: '10' });
    await nudge(namespace);
    await running(namespace);
    expect((await status(namespace)).history).toMatchObject([{ to: V1, outcome: 'Succeeded' }]);
  });

  it.runIf(LONG)(
    'a quota that keeps pods from being made: the component says so, and goes on when there is room',
    { timeout: 120_000 },
    async () => {
      const namespace = placeOf('pods');
      await quota(namespace, { pods: '2' });
      await create(namespace, loadSpec({ only: FEW }));
      await eventually(
        async () => (await status(namespace)).components?.glance?.message?.includes('exceeded quota: limits'),
        'the reason',
        60_000,
      );
      expect(await told(namespace, 'Ready', 'False')).toContain('glance: pods "default-glance-');
      await quota(namespace, { pods: '10' });
      await running(namespace);
    },
  );

  it('a storage class that does not exist: named, with the nearest and what to do; the others run', { timeout: 120_000 }, async () => {
    const namespace = placeOf('class');
    const storageClass = {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'local-path' },
      provisioner: 'example.net/none',
    };
    await real.api.apply(resourceTypes.storageClasses, storageClass, { fieldManager: 'admin' });
    kubelet.unbound.add(`${namespace}/default-glance`);
    await create(namespace, { ...loadSpec({ only: FEW }), glance: { internalOnly: true, storageClassName: 'lokal-path' } });
    const message = await told(namespace, 'Degraded', 'True');
    expect(message).toContain('glance: ONECLOUD_STORAGE_CLASS_MISSING');
    expect(message).toContain('did you mean local-path?');
    expect(message).toContain('set spec.glance.storageClassName and delete the PersistentVolumeClaim default-glance');
    await event(namespace, 'ComponentFailed', 'ONECLOUD_STORAGE_CLASS_MISSING');
    expect((await status(namespace)).components).toMatchObject({ keystone: { phase: 'Ready' }, region: { phase: 'Ready' } });
    // and what it says helps
    await patch(namespace, { glance: { storageClassName: 'local-path' } });
    await real.api.delete(resourceTypes.persistentVolumeClaims, { namespace, name: 'default-glance' });
    await real.api.delete(resourceTypes.deployments, { namespace, name: 'default-glance' });
    kubelet.unbound.clear();
    await running(namespace);
    const claim = await there(resourceTypes.persistentVolumeClaims, namespace, 'default-glance');
    expect(textAt(claim, 'spec', 'storageClassName')).toBe('local-path');
  });

  it('a field that cannot change: the component stays as it is and says which field; set back, all is well', {
    timeout: 120_000,
  }, async () => {
    const namespace = placeOf('immutable');
    await create(namespace, loadSpec({ only: FEW }));
    await running(namespace);
    const before = (await there(resourceTypes.deployments, namespace, 'default-glance'))?.metadata.resourceVersion;
    await patch(namespace, { glance: { accessMode: 'ReadWriteMany', annotations: { 'example.org/also': 'this' } } });
    const message = await told(namespace, 'Degraded', 'True', 'ComponentsFailed');
    expect(message).toContain('glance: OPERATOR_IMMUTABLE_FIELD');
    expect(message).toContain('Set it back');
    await event(namespace, 'ComponentFailed', 'OPERATOR_IMMUTABLE_FIELD');
    // not half: the annotation waits with it
    expect((await there(resourceTypes.deployments, namespace, 'default-glance'))?.metadata.resourceVersion).toBe(before);
    await patch(namespace, { glance: { accessMode: null, annotations: null } });
    await told(namespace, 'Degraded', 'False');
    await running(namespace);
  });

  it('deleted in mid-upgrade: what it owns goes, nothing comes back, claims and passwords stay', { timeout: 120_000 }, async () => {
    const namespace = placeOf('deleted');
    await create(namespace, loadSpec({ only: FEW }));
    await running(namespace);
    kubelet.bad.add(`${REPOSITORY}/region:${V2}`);
    await patch(namespace, { version: V2 });
    await eventually(async () => (await status(namespace)).components?.region?.message?.includes('ImagePullBackOff'), 'half-way', 30_000);
    await real.api.delete(clusterType, { namespace, name: 'default' });
    await eventually(async () => !(await there(clusterType, namespace, 'default')), 'the object goes', 60_000);
    kubelet.heal(`${REPOSITORY}/region:${V2}`);
    expect(await event(namespace, 'Deleted', 'kept by policy: PersistentVolumeClaim ')).toMatch(/default-glance.*; Secret default-/);
    for (const type of [resourceTypes.deployments, resourceTypes.services, resourceTypes.configMaps, resourceTypes.pods]) {
      await eventually(
        async () =>
          (await real.api.list(type, { namespace, labelSelector: 'app.kubernetes.io/managed-by=onecloud-operator' })).items.length === 0,
        `no ${type.plural}`,
      );
    }
    expect(await there(resourceTypes.persistentVolumeClaims, namespace, 'default-glance')).toBeDefined();
    expect(await there(resourceTypes.secrets, namespace, 'default-glance-credentials')).toBeDefined();
  });

  it.runIf(LONG)(
    '004-4: two clusters that want one node port: the later one is told whose it is, and nothing of it is made',
    {
      timeout: 120_000,
    },
    async () => {
      const namespace = placeOf('ports');
      const spec = loadSpec({ only: FEW });
      await create(namespace, { ...spec, keystone: {} });
      await running(namespace);
      await create(namespace, { ...spec, glance: { nodePorts: { api: 30500 } } }, 'second');
      expect(await told(namespace, 'Accepted', 'False', 'NodePortTaken', 'second')).toContain('30500');
      await event(namespace, 'NodePortTaken', 'ONECLOUD_NODE_PORT_TAKEN');
      expect(await there(resourceTypes.configMaps, namespace, 'second-keystone')).toBeUndefined();
      expect((await status(namespace)).phase).toBe('Running');
      await real.api.delete(clusterType, { namespace, name: 'default' });
      await real.api.delete(clusterType, { namespace, name: 'second' });
    },
  );

  it('a Secret that the spec names and nobody made: told before anything is begun', { timeout: 120_000 }, async () => {
    const namespace = placeOf('secret');
    await create(namespace, {
      ...loadSpec({ only: FEW }),
      keystone: { internalOnly: true, bootstrapPasswordSecretRef: { name: 'mine', key: 'password' } },
    });
    expect(await told(namespace, 'Degraded', 'True', 'PassFailed')).toContain('ONECLOUD_SECRET_MISSING');
    expect(await event(namespace, 'PassFailed', 'ONECLOUD_SECRET_MISSING')).toContain('kubectl create secret generic mine');
    expect((await real.api.list(resourceTypes.deployments, { namespace })).items).toEqual([]);
    const data = { password: Buffer.from('chosen by people').toString('base64') };
    await real.api.create(resourceTypes.secrets, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'mine', namespace }, data });
    await running(namespace);
    await told(namespace, 'Degraded', 'False');
  });

  it.runIf(LONG)(
    'a database server that does not answer: told by condition and event, and nothing that needs it is begun',
    {
      timeout: 120_000,
    },
    async () => {
      const [namespace, home] = [await real.namespace(), await real.namespace()];
      await start(home, [namespace], { databases: true });
      const mysql = { host: '127.0.0.1', port: 1, username: 'root', password: 'not a secret' };
      await create(namespace, { ...loadSpec({ only: FEW }), mysql });
      expect(await told(namespace, 'DatabasesReady', 'False', 'Unreachable')).toContain('127.0.0.1:1');
      expect(await event(namespace, 'DatabaseFailed', 'ONECLOUD_DATABASE_UNREACHABLE')).toContain('spec.mysql.host');
      expect(await there(resourceTypes.deployments, namespace, 'default-keystone')).toBeUndefined();
    },
  );

  /** A ServiceAccount with these Roles, and the operator's cluster-wide rights; its kubeconfig. */
  async function accountWith(home: string, roles: readonly (readonly [string, readonly object[]])[]): Promise<string> {
    const subjects = [{ kind: 'ServiceAccount', name: 'operator', namespace: home }];
    const apiVersion = 'rbac.authorization.k8s.io/v1';
    await real.api.create(resourceTypes.serviceAccounts, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'operator', namespace: home },
    });
    const bind = async (kind: 'Role' | 'ClusterRole', name: string, rules: readonly object[], namespace?: string): Promise<void> => {
      const metadata = { name, ...(namespace !== undefined && { namespace }) };
      const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind, name };
      await real.api.apply(
        rbac(kind, `${kind.toLowerCase()}s`, kind === 'Role'),
        { apiVersion, kind, metadata, rules },
        { fieldManager: 'admin' },
      );
      await real.api.apply(
        rbac(`${kind}Binding`, `${kind.toLowerCase()}bindings`, kind === 'Role'),
        { apiVersion, kind: `${kind}Binding`, metadata, roleRef, subjects },
        { fieldManager: 'admin' },
      );
    };
    for (const [namespace, rules] of roles) await bind('Role', 'operator', rules, namespace);
    await bind('ClusterRole', `operator-${home}`, operatorClusterRules());
    const metadata = { name: 'operator-token', namespace: home, annotations: { 'kubernetes.io/service-account.name': 'operator' } };
    await real.api.create(resourceTypes.secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata,
      type: 'kubernetes.io/service-account-token',
    });
    const token = await eventually(
      async () => textAt(await there(resourceTypes.secrets, home, 'operator-token'), 'data', 'token'),
      'the token',
    );
    const { clusters } = parse(readFileSync(server.kubeconfig, 'utf8')) as { clusters: { name: string }[] };
    const path = join(folder, `${home}.yaml`);
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'it',
      clusters,
      users: [{ name: 'operator', user: { token: Buffer.from(token, 'base64').toString() } }],
      contexts: [{ name: 'it', context: { cluster: clusters[0]?.name, user: 'operator' } }],
    };
    writeFileSync(path, stringify(config), { mode: 0o600 });
    return path;
  }
});
