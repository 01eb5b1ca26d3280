/** Databases, dumps and ways back with nothing of ours on the other side: a real API server, its controllers, and MariaDB. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { restoreCluster } from '../../../src/cli/cluster/restore.ts';
import type { ClusterStatus } from '../../../src/contract/onecloud/cluster-status.ts';
import { clientNodeTransport, loadKubeConfig } from '../../../src/operator/engine/client-node-transport.ts';
import { at, listAt, textAt } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { type Operator, startOperator } from '../../../src/operator/main.ts';
import { mysqlDatabases } from '../../../src/operator/onecloud/mysql-databases.ts';
import { clusterType, operatorAnnotation } from '../../../src/operator/onecloud/names.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';
import { type MariaDb, mariaDb, missingForMariaDb } from '../../runtime/store/maria-db.ts';
import { type FakeKubelet, startFakeKubelet } from '../../support/fake-kubelet.ts';
import { findProgram } from '../../support/netns.ts';
import { eventually, type RealApi, realApi } from '../cluster.ts';
import { type Kubetest, startKubetest, withoutKubetest } from '../kubetest.ts';
import { clusterObject, clusterStatus, installKinds, loadSpec, REPOSITORY, V1, V2 } from '../load/clusters.ts';

const SUITE = 'databases of clusters on an API server';
const missing =
  missingForMariaDb() ?? (findProgram('mariadb-dump') === undefined ? 'mariadb-dump missing (Debian package mariadb-client)' : undefined);
if (missing !== undefined) console.warn(`SKIPPED ${SUITE}: ${missing}`);
const DUMP_IMAGE = 'registry.example.net/mariadb:11.4';
/** Keystone and the three after it, of which two have databases. */
const ONLY = ['keystone', 'regionServer', 'scheduler', 'glance'];

describe.skipIf(withoutKubetest(SUITE) || missing !== undefined)('databases of a OneCloud cluster', () => {
  let server: Kubetest;
  let real: RealApi;
  let namespace: string;
  let kubelet: FakeKubelet;
  let operator: Operator;
  let database: MariaDb;
  let dumps: string;
  const stop = new AbortController();

  beforeAll(async () => {
    dumps = mkdtempSync(join(tmpdir(), 'dumps-'));
    database = mariaDb();
    await database.start();
    server = await startKubetest();
    real = realApi(server.kubeconfig);
    await installKinds(real.api);
    namespace = await real.namespace();
    kubelet = await startFakeKubelet(real.api, namespace);
    kubelet.bad.add(DUMP_IMAGE); // its pods are ours to run
    const data = { password: Buffer.from(database.password.reveal()).toString('base64') };
    await real.api.create(resourceTypes.secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace, name: 'default-mysql' },
      data,
    });
    const surroundings = { clock: nodeClock, random: nodeRandom, logger: silentLogger, network: nodeNetwork };
    operator = await startOperator(
      {
        ...surroundings,
        transport: clientNodeTransport(loadKubeConfig({ file: server.kubeconfig }), nodeClock),
        podName: 'operator-0',
        podNamespace: namespace,
        watchNamespaces: [namespace],
        databases: mysqlDatabases({ clock: nodeClock }),
        listen: { address: '127.0.0.1', port: 0 },
      },
      stop.signal,
    );
  }, 120_000);
  afterAll(async () => {
    stop.abort(new Error('SIGTERM'));
    await operator?.ended;
    await kubelet?.stop();
    await real?.close();
    server?.remove();
    await database?.remove();
    if (dumps !== undefined) rmSync(dumps, { recursive: true, force: true });
  }, 60_000);

  const key = () => ({ namespace, name: 'default' });
  const status = (): Promise<ClusterStatus> => clusterStatus(real.api, key());
  const condition = async (type: string) => (await status()).conditions?.find((one) => one.type === type);
  const patch = (change: Record<string, unknown>) => real.api.patch(clusterType, key(), change, { fieldManager: 'kubectl-edit' });
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
  const inForce = (version: string) => eventually(async () => (await status()).version === version, `version ${version} in force`, 120_000);
  const databases = async (): Promise<string[]> =>
    (
      await database.sql<{ name: string }>(
        "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql','sys','information_schema','performance_schema')",
      )
    )
      .map(({ name }) => name)
      .sort();

  /** Does what the kubelet would with the pod of a Job: mounts the Secret, runs the container's command, and reports how it ended. */
  const runJob = async (job: string, login: string): Promise<void> => {
    const selection = { namespace, labelSelector: `job-name=${job}` };
    const waits = async () =>
      (await real.api.list(resourceTypes.pods, selection)).items.find(({ status }) => textAt(status, 'phase') === 'Pending');
    const pod = await eventually(waits, `the pod of ${job}`, 60_000);
    const secret = await real.api.get(resourceTypes.secrets, { namespace, name: login });
    const folder = mkdtempSync(join(tmpdir(), 'login-'));
    writeFileSync(join(folder, 'client.cnf'), Buffer.from(textAt(secret, 'data', 'client.cnf') ?? '', 'base64'), { mode: 0o600 });
    const [container] = listAt(pod, 'spec', 'containers');
    const inPod = [...listAt(container, 'command'), ...listAt(container, 'args')].map(String);
    const [program = '', ...args] = inPod.map((word) => word.replace(/^\/run\/onecloud\/database/, folder).replace(/^\/dumps$/, dumps));
    const { status: exitCode, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    const terminated = { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', message: stderr, startedAt: null, finishedAt: null };
    const name = textAt(container, 'name');
    const containerStatuses = [{ name, image: DUMP_IMAGE, imageID: '', ready: false, restartCount: 0, state: { terminated } }];
    await real.api.patch(
      resourceTypes.pods,
      pod.metadata,
      { status: { phase: exitCode === 0 ? 'Succeeded' : 'Failed', containerStatuses } },
      { subresource: 'status', fieldManager: 'kubelet' },
    );
  };
  const runDump = (revision: number): Promise<void> => runJob(`default-database-dump-${revision}`, 'default-database-dump');
  /** bmctl cluster restore, with what it says. */
  const restore = async (options: { readonly yes: boolean; readonly dump?: string; readonly version?: string }): Promise<string> => {
    const said: string[] = [];
    const say = (text: string): void => void said.push(text);
    const context = { api: real.api, clock: nodeClock, print: say, progress: say, asJson: false, signal: new AbortController().signal };
    await restoreCluster(context, { key: key(), minutes: 2, ...options }).catch((error: unknown) => say(String(error)));
    return said.join('\n');
  };

  it('004-11: they are made before the services, and a second pass leaves them alone', { timeout: 180_000 }, async () => {
    const mysql = { host: '127.0.0.1', port: database.port, username: 'bms', passwordSecretRef: { name: 'default-mysql' } };
    const databaseBackup = { image: DUMP_IMAGE, storage: '1Gi', storageClassName: 'standard' };
    await real.api.create(
      clusterType,
      clusterObject(key(), { ...loadSpec({ only: ONLY }), mysql, databaseBackup, databasePolicy: 'Drop' }),
      { fieldManager: 'bmctl' },
    );
    await inForce(V1);
    expect(await databases()).toEqual(['glance', 'keystone', 'yunioncloud']);
    expect(await condition('DatabasesReady')).toMatchObject({ status: 'True' });
    const place = `127.0.0.1:${database.port}`;
    expect((await status()).databases).toEqual([
      { name: 'glance', user: 'glance', server: place },
      { name: 'keystone', user: 'keystone', server: place },
      { name: 'yunioncloud', user: 'yunioncloud', server: place },
    ]);
  });

  it('004-5: an upgrade waits for a dump that can be read', { timeout: 180_000 }, async () => {
    await database.sql('CREATE TABLE images (name TEXT)', 'glance');
    await database.sql("INSERT INTO images VALUES ('cirros')", 'glance');
    await patch({ spec: { version: V2 } });
    await eventually(async () => (await condition('DatabaseBackup'))?.status === 'Unknown', 'the dump', 60_000);
    expect(await image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    await runDump(2);
    await inForce(V2);
    const [file = ''] = readdirSync(dumps);
    expect((await status()).history?.at(-1)).toMatchObject({
      databaseDump: { state: 'Taken', message: expect.stringContaining(file) },
      migrated: ['glance', 'keystone', 'region'],
    });
    expect(spawnSync('gzip', ['-dc', join(dumps, file)]).stdout.toString()).toContain("'cirros'");
  });

  it('004-7: the way back waits for a word', { timeout: 180_000 }, async () => {
    await patch({ spec: { version: V1 } });
    await eventually(async () => (await condition('Accepted'))?.reason === 'RollbackRefused', 'the refusal', 60_000);
    expect(await image('keystone')).toBe(`${REPOSITORY}/keystone:${V2}`);
    await patch({ metadata: { annotations: { [operatorAnnotation.acceptDatabase]: V1 } } });
    await inForce(V1);
    expect(await image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect((await real.api.get(clusterType, key())).metadata.annotations ?? {}).not.toHaveProperty(operatorAnnotation.acceptDatabase);
  });

  it('a dump is read back with its version; what fails is told and can be repeated; nobody writes meanwhile', {
    timeout: 240_000,
  }, async () => {
    await patch({ spec: { version: V2 } });
    await eventually(async () => (await condition('DatabaseBackup'))?.status === 'Unknown', 'the dump', 60_000);
    await runDump(4);
    await inForce(V2);
    const [file = ''] = readdirSync(dumps).filter((name) => name.includes('-r004-'));
    await database.sql('DELETE FROM images', 'glance');
    await database.sql('CREATE TABLE newer (id INT)', 'glance');

    expect(await restore({ yes: false, dump: 'nonesuch.sql.gz' })).toContain('CLUSTER_NO_DUMP');
    expect(await restore({ yes: false, dump: 'kept.sql.gz', version: V1 })).toMatch(
      /Restores kept\.sql\.gz of an earlier cluster[\s\S]*comes back as v3\.1\.3-20200312\.0/,
    );
    const shown = await restore({ yes: false });
    expect(shown).toMatch(
      new RegExp(`Restores ${file} .*\\n  disabled meanwhile: keystone, region, glance\\n  then everything comes back as ${V1}`),
    );
    expect(shown).toContain('CLUSTER_RESTORE_CONFIRM');
    expect((await status()).version).toBe(V2);

    renameSync(join(dumps, file), join(dumps, 'elsewhere'));
    const [failed] = await Promise.all([restore({ yes: true }), runJob('default-database-restore', 'default-database-restore')]);
    expect(failed).toMatch(new RegExp(`CLUSTER_RESTORE_FAILED: .*there is no ${file}, but: .*elsewhere`));
    expect((await status()).components?.glance?.phase).toBe('Disabled');
    expect(await restore({ yes: true, dump: 'another.sql.gz' })).toContain('CLUSTER_RESTORE_UNDER_WAY');

    renameSync(join(dumps, 'elsewhere'), join(dumps, file));
    const [done] = await Promise.all([restore({ yes: true }), runJob('default-database-restore', 'default-database-restore')]);
    expect(done).toContain(`${file} is restored`);
    await inForce(V1);
    expect(await image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect(await database.sql('SELECT name FROM images', 'glance')).toEqual([{ name: 'cirros' }]);
    await expect(database.sql('SELECT * FROM newer', 'glance')).rejects.toThrow("doesn't exist");
    const { metadata, spec } = await real.api.get(clusterType, key());
    expect(Object.keys(metadata.annotations ?? {})).not.toContain('onecloud.yunion.io/restoring');
    expect(at(spec, 'glance', 'disable')).toBeUndefined();
    const { items } = await real.api.list(resourceTypes.secrets, { namespace });
    expect(items.map((secret) => secret.metadata.name)).not.toContain('default-database-restore');
  });

  it('004-9: they are dropped in the end, as asked, when the server is back', { timeout: 180_000 }, async () => {
    await database.stop();
    await real.api.delete(clusterType, key());
    await eventually(async () => (await condition('DatabasesDropped'))?.status === 'False', 'the condition', 90_000);
    await database.start();
    await eventually(async () => (await real.api.list(clusterType, { namespace })).items.length === 0, 'the object goes', 120_000);
    expect(await databases()).toEqual([]);
    const { items } = await real.api.list(resourceTypes.secrets, { namespace });
    const left = items.filter(({ type }) => type === 'Opaque' || type === undefined).map(({ metadata }) => metadata.name);
    expect(left).toEqual(['default-mysql']);
  });
});
