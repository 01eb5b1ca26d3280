/** All of a cluster against a real API server: the CRD takes what it should, and a second pass changes nothing. */
import { writeFileSync } from 'node:fs';
import { catalog } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AS_PRINTED, CORRECTED } from '../../contract/onecloud/seed.ts';
import { established, kubectl, withoutCluster } from '../../support/cluster.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { build } from './build.ts';

const NAMESPACE = 'onecloud-model-test';
const CRD = 'crds/onecloud.yunion.io.yaml';
const COMPONENTS = 'configmap,pvc,serviceaccount,service,deployment,daemonset,ingress';

/** Node ports belong to the whole API server: other tests may use the documented ones at the same time. */
let next = 32300;
const nodePorts = Object.fromEntries(
  catalog.flatMap(({ key, ports = [] }) => {
    const exposed = ports.filter(({ nodePort }) => nodePort !== undefined);
    return exposed.length > 0 ? [[key, { nodePorts: Object.fromEntries(exposed.map(({ name }) => [name, next++])) }]] : [];
  }),
);

describe.skipIf(withoutCluster('OneCloud manifests on an API server'))('a real API server', () => {
  const folder = temporaryFolder();
  // 1.20 serves neither policy/v1 nor batch/v1 CronJob; any other kind must be taken
  const manifests = build({ keystone: { replicas: 2, ...nodePorts.keystone }, ...nodePorts }, { namespace: NAMESPACE });
  const served = new Set(['PodDisruptionBudget', 'CronJob']);
  const versions = (): string[] =>
    JSON.parse(kubectl('get', COMPONENTS, '-n', NAMESPACE, '-l', 'app.kubernetes.io/managed-by=onecloud-operator', '-o', 'json'))
      .items.map(
        ({ kind, metadata }: { kind: string; metadata: { name: string; generation?: number; resourceVersion: string } }) =>
          // controllers write to the others' status
          `${kind} ${metadata.name} ${kind === 'ConfigMap' || kind === 'Service' ? metadata.resourceVersion : (metadata.generation ?? '')}`,
      )
      .sort();
  const apply = (): string[] =>
    kubectl('apply', '--server-side', '--field-manager=onecloud-operator', '-f', folder.path('cluster.json')).trim().split('\n');

  beforeAll(() => {
    folder.create();
    // without kubectl's own check, which refuses rules in CEL before the server, if it is older than 1.25, ignores them
    kubectl('apply', '--validate=false', '-f', CRD);
    established(CRD);
    writeFileSync(folder.path('namespace.json'), JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }));
    kubectl('apply', '-f', folder.path('namespace.json'));
    const items = manifests.filter(({ kind }) => !served.has(kind));
    writeFileSync(folder.path('cluster.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  });
  afterAll(() => {
    kubectl('delete', '-f', folder.path('cluster.json'), '--ignore-not-found', '--wait=false');
    kubectl('delete', 'onecloudclusters', '--all', '-n', NAMESPACE, '--wait=false');
    kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false');
    folder.remove();
  });

  it('004-2: takes every object of every component; applying it again changes nothing', () => {
    expect(apply().filter((line) => !line.endsWith(' serverside-applied'))).toEqual([]);
    const first = versions();
    expect(first).toHaveLength(manifests.filter(({ kind }) => !served.has(kind)).length);
    apply();
    expect(versions()).toEqual(first);
    const diff = kubectl('diff', '--server-side', '--field-manager=onecloud-operator', '-f', folder.path('cluster.json'));
    expect(diff).toBe('');
  });

  const cluster = (name: string, text: string): string => {
    const file = folder.path(`${name}.yaml`);
    writeFileSync(file, text.replace('namespace: "onecloud"', `namespace: "${NAMESPACE}"`));
    return file;
  };

  it("004-1: takes the document's example with its scan errors corrected, and fills the defaults in", () => {
    kubectl('apply', '-f', cluster('corrected', CORRECTED));
    const { spec } = JSON.parse(kubectl('get', 'oc', 'default', '-n', NAMESPACE, '-o', 'json'));
    expect(spec).toMatchObject({ mysql: { port: 3306 }, zone: 'zone0', pvcPolicy: 'Retain', glance: { requests: { storage: '100G' } } });
  });

  it('004-1: refuses it as printed', () => {
    expect(() => kubectl('apply', '-f', cluster('printed', AS_PRINTED))).toThrow(/mysql/);
  });

  it('004-1: refuses a database without a password', () => {
    const text = CORRECTED.replace('password: "your-sql-password"', '');
    expect(() => kubectl('apply', '-f', cluster('open', text))).toThrow(/oneOf/);
  });

  it('004-1: has a status of its own', () => {
    const status = { phase: 'Running', components: { glance: { phase: 'Ready', image: 'x', ready: 1, desired: 1 } } };
    const file = folder.path('status.json');
    const object = JSON.parse(kubectl('get', 'onecloud', 'default', '-n', NAMESPACE, '-o', 'json'));
    writeFileSync(file, JSON.stringify({ ...object, status, spec: { ...object.spec, version: 'not-through-here' } }));
    kubectl('replace', '--raw', `/apis/onecloud.yunion.io/v1alpha1/namespaces/${NAMESPACE}/onecloudclusters/default/status`, '-f', file);
    const after = JSON.parse(kubectl('get', 'onecloud', 'default', '-n', NAMESPACE, '-o', 'json'));
    expect(after.status).toEqual(status);
    expect(after.spec).toEqual(object.spec);
  });
});
