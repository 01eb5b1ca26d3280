/** The program itself against a real API server: argv in, exit code and text out. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { clusterManifests } from 'cdk8s-baremetal/onecloud/index';
import { catalog, componentOf } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleObjects } from '../../../src/cli/cluster/bundle.ts';
import { devPatch, emptyPatch } from '../../../src/cli/cluster/dev-patch.ts';
import { applyObject } from '../../../src/operator/engine/apply.ts';
import { at, type KubeObject, listAt } from '../../../src/operator/engine/objects.ts';
import { resourceTypes, typeTable } from '../../../src/operator/engine/resource-types.ts';
import { AS_PRINTED } from '../../contract/onecloud/seed.ts';
import { type RealApi, realApi } from '../../operator/cluster.ts';
import { established, kubectl, withoutCluster } from '../../support/cluster.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { PASSWORD } from './world.ts';

const SUFFIX = randomBytes(3).toString('hex');
const NAMESPACE = `bmctl-test-${SUFFIX}`;
const SYSTEM = `bmctl-system-${SUFFIX}`;
const VERSION = 'v3.1.3-20200312.0';
const CRD = 'crds/onecloud.yunion.io.yaml';

/** Node ports belong to the whole server, which other tests use at the same time: this cluster keeps them inside. */
const INSIDE = catalog.flatMap(({ key, ports = [] }) =>
  ports.some(({ nodePort }) => nodePort !== undefined) ? ['--component', `${key}.internalOnly=true`] : [],
);

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function bmctl(
  args: readonly string[],
  { input = '', env = {} }: { readonly input?: string; readonly env?: Record<string, string> } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/bmctl.ts', ...args], { env: { ...process.env, ...env } });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
    child.stdin.on('error', () => undefined); // it may end before it reads
    child.stdin.end(input);
  });
}

/** Rules in CEL came with Kubernetes 1.25; kubectl refuses them before the server would ignore them. */
function servesValidationRules(): boolean {
  const { serverVersion } = JSON.parse(kubectl('version', '-o', 'json'));
  const serves = Number.parseInt(serverVersion.major, 10) > 1 || Number.parseInt(serverVersion.minor, 10) >= 25;
  if (!serves) console.warn('WITHOUT the rules in CEL, which this API server is too old for');
  return serves;
}

const cluster = (verb: readonly string[], options?: Parameters<typeof bmctl>[1]): Promise<Ended> =>
  bmctl(['cluster', '-n', NAMESPACE, ...verb], options);

describe.skipIf(withoutCluster('bmctl cluster on an API server'))('bmctl on a real API server', { timeout: 60_000 }, () => {
  const folder = temporaryFolder();
  let real: RealApi;

  beforeAll(() => {
    folder.create();
    real = realApi();
    // without kubectl's own check, which refuses rules in CEL before the server, if it is older than 1.25, ignores them
    kubectl('apply', '--validate=false', '-f', CRD);
    established(CRD);
    writeFileSync(folder.path('printed.yaml'), AS_PRINTED);
  });
  afterAll(async () => {
    kubectl('delete', 'onecloudclusters', '--all', '-n', NAMESPACE, '--ignore-not-found', '--wait=false');
    for (const name of [NAMESPACE, SYSTEM]) kubectl('delete', 'namespace', name, '--ignore-not-found', '--wait=false');
    for (const kind of ['clusterrole', 'clusterrolebinding']) kubectl('delete', kind, `onecloud-operator-${SUFFIX}`, '--ignore-not-found');
    await real.close();
    folder.remove();
  });

  const create = ['create', '--version', VERSION, '--mysql-host', '10.168.26.216', '--mysql-password-stdin', ...INSIDE];

  it('004-10: creates a cluster once, whatever is asked twice; the password is seen nowhere', async () => {
    const first = await cluster(create, { input: `${PASSWORD}\n` });
    expect(first).toMatchObject({ code: 0, err: '' });
    expect(first.out).toContain(`onecloudcluster ${NAMESPACE}/default created with version ${VERSION}`);
    const created = JSON.parse(kubectl('get', 'oc', 'default', '-n', NAMESPACE, '-o', 'json'));
    expect(created.spec.mysql).toMatchObject({
      host: '10.168.26.216',
      port: 3306,
      passwordSecretRef: { name: 'default-mysql', key: 'password' },
    });
    expect(kubectl('get', 'secret', 'default-mysql', '-n', NAMESPACE, '-o', 'jsonpath={.data.password}')).toBe(
      Buffer.from(PASSWORD).toString('base64'),
    );

    const second = await cluster(create, { input: PASSWORD });
    expect(second.code).toBe(0);
    expect(JSON.parse(kubectl('get', 'oc', 'default', '-n', NAMESPACE, '-o', 'json')).metadata.resourceVersion).toBe(
      created.metadata.resourceVersion,
    );
    const third = await cluster(
      create.map((word) => (word === VERSION ? 'v9' : word)),
      { input: 'wh4t-else' },
    );
    expect(third.code).toBe(6);
    expect(third.err).toContain('CLUSTER_EXISTS_OTHERWISE');
    for (const { out, err } of [first, second, third]) expect(out + err).not.toMatch(new RegExp(`${PASSWORD}|wh4t-else`));
    const inArgv = await cluster(['create', '--version', 'v1', '--mysql-host', 'x', '--mysql-password', PASSWORD]);
    expect(inArgv.err).toContain('CLUSTER_PASSWORD_IN_ARGV');
    expect(inArgv.out + inArgv.err).not.toContain(PASSWORD);
  });

  it('004-10: plans, updates and shows it', async () => {
    const plan = await cluster(['plan', '--version', 'v3.1.4']);
    expect(plan).toMatchObject({ code: 0 });
    expect(plan.out).toContain('yunion/keystone:v3.1.4');
    const update = await cluster(['update', '--version', 'v3.1.4', '--component', 'glance.requests.storage=200G']);
    expect(update.code).toBe(0);
    const { spec } = JSON.parse(kubectl('get', 'oc', 'default', '-n', NAMESPACE, '-o', 'json'));
    expect(spec).toMatchObject({ version: 'v3.1.4', glance: { requests: { storage: '200G' }, internalOnly: true } });
    const status = await cluster(['status']);
    expect(status.out).toContain('The operator has not reported');
    const wait = await cluster(['wait', '--timeout', '0.03']);
    expect(wait).toMatchObject({ code: 124, err: expect.stringContaining('CLUSTER_WAIT_DEADLINE') });
    const wrong = await cluster(['update', '--component', 'glance.replicas=2']);
    expect(wrong.err).toContain('ONECLOUD_REPLICAS_SHARE_VOLUME');
  });

  it('004-10: says in words what stands in its way', async () => {
    const kubeconfig = folder.path('nowhere');
    writeFileSync(kubeconfig, kubectl('config', 'view', '--raw').replaceAll(/server: .*/g, 'server: https://127.0.0.1:1'));
    const nowhere = await bmctl(['cluster', '--kubeconfig', kubeconfig, 'status']);
    expect(nowhere).toMatchObject({ code: 3, err: expect.stringContaining('CLUSTER_API_UNREACHABLE') });
    const stranger = folder.path('stranger');
    // whom RBAC knows nothing of
    writeFileSync(stranger, kubectl('config', 'view', '--raw').replaceAll(/client-(?:certificate|key)(?:-data)?: .*/g, ''));
    expect((await bmctl(['cluster', '--kubeconfig', stranger, 'status'])).err).toMatch(/CLUSTER_(FORBIDDEN|UNAUTHORIZED)/);
    expect((await cluster(['--name', 'other', 'status'])).err).toMatch(new RegExp(`CLUSTER_NOT_FOUND.*${NAMESPACE}/default`));
    expect((await bmctl(['cluster', '--kubeconfig', folder.path('absent'), 'status'])).err).toContain('CLUSTER_NO_KUBECONFIG');
  });

  it('004-1: validates files', async () => {
    const { code, out } = await bmctl(['cluster', 'validate', folder.path('printed.yaml')]);
    expect(code).toBe(2);
    expect(out).toMatch(/printed\.yaml:8:3: ONECLOUD_KEY_UNKNOWN: spec\.mysal .* Did you mean mysql\?/);
  });

  it('004-18: what dev sync adds survives the operator’s next pass, and goes without a trace', async () => {
    const row = componentOf('glance');
    const [manifest] = clusterManifests({ mysql: { host: 'x', passwordSecretRef: { name: 'y' } }, version: 'v1' }, { namespace: NAMESPACE })
      .filter(({ component }) => component === 'glance')
      .flatMap(({ manifests }) => manifests.filter(({ kind }) => kind === 'Deployment')) as unknown as KubeObject[];
    if (!row || !manifest) throw new Error('glance is a component');
    const options = { api: real.api, types: typeTable(), inventory: { label: 'test.bms.io/installation', value: SUFFIX } };
    const before = await applyObject(manifest, options);
    const patch = devPatch(before.object, { row, path: '/opt/yunion/bin/glance', note: 'a test' });
    const synced = await real.api.apply(resourceTypes.deployments, patch, { fieldManager: 'bmctl-dev-sync', force: true });
    const pod = (object: KubeObject): unknown => at(object, 'spec', 'template', 'spec');
    const names = (object: KubeObject, field: string): unknown[] => listAt(pod(object), field).map((one) => at(one, 'name'));
    expect(names(synced, 'initContainers').at(-1)).toBe('dev-sync');
    expect(listAt(pod(synced), 'containers')[0]).toMatchObject({ image: 'registry.hub.docker.com/yunion/glance:v1' });
    expect(listAt(listAt(pod(synced), 'containers')[0], 'volumeMounts').map((mount) => at(mount, 'mountPath'))).toContain(
      '/opt/yunion/bin/glance',
    );

    expect(await applyObject(manifest, options)).toMatchObject({ outcome: 'unchanged' });
    const upgraded = JSON.parse(JSON.stringify(manifest).replaceAll('glance:v1', 'glance:v2')) as KubeObject;
    const next = await applyObject(upgraded, options);
    expect(next.outcome).toBe('updated');
    expect(names(next.object, 'initContainers').at(-1)).toBe('dev-sync');

    const reset = await real.api.apply(resourceTypes.deployments, emptyPatch(next.object), { fieldManager: 'bmctl-dev-sync' });
    expect(names(reset, 'initContainers')).toEqual(names(before.object, 'initContainers'));
    expect(JSON.stringify([reset.spec, reset.metadata.annotations])).not.toContain('dev-sync');
  });

  it('004-10: the bundle installs in one go, and its account may do what a reconcile does and no more', async () => {
    const validationRules = servesValidationRules();
    const { out } = await bmctl([
      'bundle',
      '-n',
      SYSTEM,
      '--watch-namespaces',
      NAMESPACE,
      ...(validationRules ? [] : ['--no-validation-rules']),
    ]);
    // names of the whole cluster get this run's own; 1.20 does not serve policy/v1
    const text = out
      .split(/^---$/m)
      .filter((document) => !document.includes('kind: PodDisruptionBudget'))
      .map((document) =>
        /kind: ClusterRole/.test(document)
          ? document.replaceAll('name: onecloud-operator\n', `name: onecloud-operator-${SUFFIX}\n`)
          : document,
      )
      .map((document) =>
        document.replace(
          `kind: ServiceAccount\n    name: onecloud-operator-${SUFFIX}`,
          'kind: ServiceAccount\n    name: onecloud-operator',
        ),
      )
      .join('---');
    writeFileSync(folder.path('bundle.yaml'), text);
    expect(kubectl('apply', '-f', folder.path('bundle.yaml'))).toContain('deployment.apps/onecloud-operator created');
    expect(bundleObjects({ namespace: SYSTEM, watchNamespaces: [NAMESPACE] }).length).toBe(text.split(/^---$/m).length + 1);
    const can = (...args: string[]): string => {
      try {
        return kubectl('auth', 'can-i', ...args, '--as', `system:serviceaccount:${SYSTEM}:onecloud-operator`).trim();
      } catch (error) {
        return String((error as { stdout?: unknown }).stdout).trim();
      }
    };
    const may = [
      ...[
        'deployments.apps',
        'daemonsets.apps',
        'cronjobs.batch',
        'configmaps',
        'secrets',
        'services',
        'persistentvolumeclaims',
        'ingresses.networking.k8s.io',
      ].flatMap((kind) => ['get', 'watch', 'create', 'patch', 'delete'].map((verb) => [verb, kind, '-n', NAMESPACE])),
      ['patch', 'onecloudclusters.onecloud.yunion.io', '--subresource', 'status', '-n', NAMESPACE],
      ['update', 'onecloudclusters.onecloud.yunion.io', '--subresource', 'finalizers', '-n', NAMESPACE],
      ['list', 'nodes'],
      ...['get', 'update'].map((verb) => [verb, 'leases.coordination.k8s.io/onecloud-operator', '-n', SYSTEM]),
      ['create', 'leases.coordination.k8s.io', '-n', SYSTEM],
    ];
    const mayNot = [
      ['get', 'secrets', '-n', SYSTEM],
      ['get', 'secrets', '-n', 'kube-system'],
      ['update', 'leases.coordination.k8s.io/another', '-n', SYSTEM],
      ['delete', 'leases.coordination.k8s.io/onecloud-operator', '-n', SYSTEM],
      ['create', 'pods', '-n', NAMESPACE],
      ['create', 'pods/exec', '-n', NAMESPACE],
      ['create', 'rolebindings.rbac.authorization.k8s.io', '-n', NAMESPACE],
      ['patch', 'nodes'],
      ['delete', 'namespaces'],
      ...['update', 'delete'].map((verb) => [verb, 'onecloudclusters.onecloud.yunion.io', '-n', NAMESPACE]),
      ['update', 'secrets', '-n', NAMESPACE],
    ];
    expect(may.filter((args) => can(...args) !== 'yes')).toEqual([]);
    expect(mayNot.filter((args) => can(...args) !== 'no')).toEqual([]);
  });

  it('004-9: deletes only when told so', async () => {
    const shown = await cluster(['delete']);
    expect(shown).toMatchObject({ code: 6, err: expect.stringContaining('CLUSTER_NOT_CONFIRMED') });
    expect(shown.out).toContain('databases at 10.168.26.216 (databasePolicy: Retain)');
    expect(kubectl('get', 'oc', '-n', NAMESPACE, '-o', 'name').trim()).not.toBe('');
    const deleted = await cluster(['delete', '--yes', '--wait', '--timeout', '0.5']);
    expect(deleted).toMatchObject({ code: 0 });
    expect(kubectl('get', 'oc', '-n', NAMESPACE, '-o', 'name').trim()).toBe('');
    expect((await cluster(['delete', '--yes'])).out).toContain('nothing to delete');
  });
});
