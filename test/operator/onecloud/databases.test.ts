/** What the operator does with databases: made before what needs them, dumped before upgrades, kept or dropped in the end. */
import { databaseDump } from 'cdk8s-baremetal/onecloud/index';
import { Secret } from 'cdk8s-baremetal-contract';
import { catalog } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { at, textAt } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { operatorOnecloudErrors } from '../../../src/operator/onecloud/errors.ts';
import { clusterType, operatorAnnotation } from '../../../src/operator/onecloud/names.ts';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { KEY, Lab, NAMESPACE, REPOSITORY, V1, V2 } from './lab.ts';
import { MemoryDatabases } from './memory-databases.ts';

const OWN = catalog.flatMap(({ database }) => (database ? [database.name] : []));
const unreachable = (): Error =>
  operatorOnecloudErrors.ONECLOUD_DATABASE_UNREACHABLE({ server: 'db:3306', reason: 'connect ECONNREFUSED' });
const BACKUP = { databaseBackup: { storage: '50G' } };

let databases = new MemoryDatabases();
let lab = new Lab({ databases });
beforeEach(() => {
  databases = new MemoryDatabases();
  lab = new Lab({ databases });
});
afterEach(() => lab.stop());

const rotate = (component: string, password: string) =>
  lab.api.patch(
    resourceTypes.secrets,
    { namespace: NAMESPACE, name: `default-${component}-credentials` },
    { data: { 'db-password': Buffer.from(password).toString('base64') } },
    { fieldManager: 'kubectl-edit' },
  );

describe('databases before services', { timeout: 60_000 }, () => {
  it('004-11: each is there before the workload whose init container fills it, with the password of its Secret', async () => {
    await lab.start();
    const early: string[] = [];
    lab.api.fault = ({ verb, kind, key }) => {
      const row = catalog.find(({ name }) => key === `onecloud/default-${name}`);
      if (verb === 'apply' && kind === 'Deployment' && row?.database && !databases.accounts.has(row.database.name)) early.push(key);
      return undefined;
    };
    await lab.until('Running');
    expect(early).toEqual([]);
    expect([...databases.accounts.keys()].sort()).toEqual([...OWN].sort());
    for (const row of catalog.filter(({ database }) => database)) {
      const data = lab.object('Secret', `default-${row.name}-credentials`)?.data;
      const kept = Buffer.from(textAt(data, 'db-password') ?? '', 'base64').toString();
      expect(databases.accounts.get(row.database?.name ?? '')?.password.reveal(), row.name).toBe(kept);
    }
    expect(lab.condition('DatabasesReady')).toMatchObject({ status: 'True' });
    expect(lab.status.databases).toHaveLength(OWN.length);
    expect(databases.openNow).toBe(0);
  });

  it('comes by one connection a pass, writes nothing on the second, and trusts what it saw for a while', async () => {
    await lab.start();
    await lab.until('Running');
    await lab.clock.runFor(60_000);
    const [connections, writes] = [databases.connections.length, databases.writes.length];
    const look = async (): Promise<void> => {
      await lab.patch({ metadata: { annotations: { look: String(lab.clock.now()) } } });
      await lab.clock.runFor(5_000);
    };
    await lab.clock.runFor(600_000);
    await look();
    expect(databases.connections.length).toBe(connections + 1);
    await look();
    await look();
    expect(databases.connections.length).toBe(connections + 1);
    expect(databases.writes.length).toBe(writes);
    expect(await lab.quiet(60_000)).toBe(0);
  });

  it('a password changed in the Secret reaches the account before the pods that use it', async () => {
    await lab.start();
    await lab.until('Running');
    const checksum = (): unknown => at(lab.object('Deployment', 'default-glance'), 'spec', 'template', 'metadata', 'annotations');
    const before = checksum();
    let stale = false;
    lab.api.fault = ({ verb, kind, key }) => {
      if (verb === 'apply' && kind === 'Deployment' && key.endsWith('glance'))
        stale ||= !databases.accounts.get('glance')?.password.equals(new Secret('rotated'));
      return undefined;
    };
    await rotate('glance', 'rotated');
    await lab.clock.runFor(30_000);
    expect(databases.accounts.get('glance')?.password.reveal()).toBe('rotated');
    expect(checksum()).not.toEqual(before);
    expect(stale).toBe(false);
  });

  it('a Secret of somebody’s own, to which a password was added, is read anew at every pass', async () => {
    await lab.api.create(resourceTypes.secrets, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace: NAMESPACE, name: 'default-glance-credentials' },
      data: { 'db-password': Buffer.from('given').toString('base64') },
    });
    await lab.start();
    await lab.until('Running');
    expect(databases.accounts.get('glance')?.password.reveal()).toBe('given');
    await rotate('glance', 'rotated');
    lab.api.bookmark(); // a server sends one a minute
    await lab.patch({ spec: { glance: { annotations: { a: 'b' } } } });
    await lab.clock.runFor(60_000);
    expect(databases.accounts.get('glance')?.password.reveal()).toBe('rotated');
  });

  it('a server that is away keeps what needs it from starting, with a condition and an event; it goes on when the server is back', async () => {
    databases.fault = (what) => (what === 'open' ? unreachable() : undefined);
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 3600 } });
    await lab.clock.runFor(120_000);
    expect(lab.api.all('Deployment')).toEqual([]);
    const condition = lab.condition('DatabasesReady');
    expect(condition).toMatchObject({ status: 'False', reason: 'Unreachable' });
    expect(condition?.message).toContain(
      'ONECLOUD_DATABASE_UNREACHABLE: The database server db:3306 cannot be reached: connect ECONNREFUSED. Correct',
    );
    expect(lab.stories).toContainEqual({ reason: 'DatabaseFailed', note: condition?.message });
    // growing pauses: 0.5 1 2 4 8 16 32 64 s
    expect(databases.connections.length).toBeLessThan(12);
    expect(lab.status.phase).toBe('Installing');
    databases.fault = undefined;
    await lab.until('Running');
    expect(lab.condition('DatabasesReady')).toMatchObject({ status: 'True' });
  });

  it.each([
    [
      'LoginRefused',
      operatorOnecloudErrors.ONECLOUD_DATABASE_LOGIN({
        server: 'db:3306',
        user: 'root',
        reason: 'Access denied',
        source: 'the Secret default-mysql',
      }),
    ],
    [
      'NotAllowed',
      operatorOnecloudErrors.ONECLOUD_DATABASE_FORBIDDEN({
        server: 'db:3306',
        user: 'ops',
        what: 'create the account glance',
        grants: 'CREATE USER',
      }),
    ],
    [
      'Refused',
      operatorOnecloudErrors.ONECLOUD_DATABASE_REFUSED({ server: 'db:3306', what: 'create the database glance', reason: 'read-only' }),
    ],
  ])('%s is told with its next step, and touches nothing of what runs', async (reason, error) => {
    await lab.start();
    await lab.until('Running');
    const before = lab.object('Deployment', 'default-glance')?.metadata.resourceVersion;
    databases.fault = (what) => (what === 'ensure glance' ? error : undefined);
    await rotate('glance', 'rotated');
    await lab.patch({ spec: { glance: { replicas: 1, annotations: { a: 'b' } } } });
    await lab.clock.runFor(60_000);
    expect(lab.condition('DatabasesReady')).toMatchObject({ status: 'False', reason, message: String(error) });
    expect(lab.object('Deployment', 'default-glance')?.metadata.resourceVersion).toBe(before);
    expect(lab.condition('Ready')).toMatchObject({ status: 'False', message: expect.stringContaining('glance') });
    databases.fault = undefined;
    await lab.until('Running');
    expect(databases.accounts.get('glance')?.password.reveal()).toBe('rotated');
  });

  it('a cluster that names a Secret which is not there says so', async () => {
    await lab.start({ mysql: { host: 'db', passwordSecretRef: { name: 'nowhere' } } });
    await lab.clock.runFor(30_000);
    expect(lab.condition('DatabasesReady')).toMatchObject({ reason: 'SecretMissing', message: expect.stringContaining('nowhere') });
    expect(databases.connections).toEqual([]);
  });

  it('two clusters on one server would take the databases from each other: the later gives way', async () => {
    await lab.start();
    await lab.until('Running');
    const internal = Object.fromEntries(
      catalog.filter(({ ports }) => ports?.some(({ nodePort }) => nodePort)).map(({ key }) => [key, { internalOnly: true }]),
    );
    await lab.add('second', internal);
    await lab.clock.runFor(30_000);
    const conditions = at(lab.api.peek(clusterType.kind, `${NAMESPACE}/second`), 'status', 'conditions');
    expect(conditions).toContainEqual(
      expect.objectContaining({
        type: 'Accepted',
        status: 'False',
        reason: 'DatabasesShared',
        message: expect.stringContaining('onecloud/default'),
      }),
    );
    expect(lab.object('Secret', 'second-keystone-credentials')).toBeUndefined();
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runUntil(() => lab.object('Deployment', 'second-keystone') !== undefined, { limitMs: 600_000 });
  });
});

describe('the dump before an upgrade', { timeout: 60_000 }, () => {
  const dump = () => lab.status.history?.at(-1)?.databaseDump;

  it('004-5: is whole before the first image changes; where it is, the history says', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    expect(lab.status.history?.at(-1)).not.toHaveProperty('databaseDump'); // an installation has nothing to lose
    lab.kubelet.jobs = 'run on';
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(120_000);
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    expect(lab.condition('DatabaseBackup')).toMatchObject({ status: 'Unknown', reason: 'Running' });
    expect(lab.condition('Ready')).toMatchObject({ status: 'True' }); // it serves meanwhile
    expect(lab.status.plan?.waitingFor).toContain('default-database-dump-2');
    const job = lab.object('Job', 'default-database-dump-2');
    expect(at(job, 'spec', 'template', 'spec', 'containers', '0', 'args')).toEqual(
      expect.arrayContaining(['default-r002-v3.1.3-20200312.0.sql.gz', ...OWN]),
    );
    const login = Buffer.from(textAt(lab.object('Secret', 'default-database-dump'), 'data', 'client.cnf') ?? '', 'base64').toString();
    expect(login).toMatch(/^\[client\]\nhost="10\.168\.26\.216"\nport=3306\nuser="root"\npassword=".+"\n$/);
    const password = /password="(.+)"/.exec(login)?.[1] ?? '';
    expect(JSON.stringify(job)).not.toContain(password);
    await lab.replaceOperator(); // the next operator goes on with the same Job
    await lab.clock.runFor(60_000);
    expect(lab.api.all('Job')).toHaveLength(1);
    lab.kubelet.jobs = 'complete';
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(dump()).toEqual({
      state: 'Taken',
      message: 'default-r002-v3.1.3-20200312.0.sql.gz in PersistentVolumeClaim default-database-dumps',
    });
    expect(lab.condition('DatabaseBackup')).toMatchObject({ status: 'True', reason: 'Taken' });
    expect(lab.object('Secret', 'default-database-dump')).toBeUndefined();
    expect(lab.object('PersistentVolumeClaim', 'default-database-dumps')?.spec).toMatchObject({
      resources: { requests: { storage: '50G' } },
    });
    await lab.clock.runFor(60_000);
    expect(await lab.quiet(3_600_000)).toBe(0);
  });

  it.each([
    ['taken', BACKUP, 'Taken'],
    ['none', {}, 'NotTaken'],
  ])('is told (%s) before the first image changes: a pass that ends without its status forgets nothing', async (_, backup, state) => {
    await lab.start(backup);
    await lab.until('Running');
    let cut = 0;
    lab.api.fault = ({ verb, kind }) => {
      // the operator dies, or the object was written, when the new image is there
      if (verb !== 'update' || kind !== clusterType.kind || cut > 0 || !String(lab.image('glance')).endsWith(':fixed')) return undefined;
      cut += 1;
      return new ApiError('conflict', 'the object has been modified', { status: 409 });
    };
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:fixed` } } });
    await lab.clock.runUntil(() => lab.status.history?.at(-1)?.component === 'glance', { limitMs: 600_000 });
    await lab.clock.runUntil(() => lab.status.history?.at(-1)?.outcome === 'Succeeded', { limitMs: 600_000 });
    expect(cut).toBe(1);
    expect(dump()).toMatchObject({ state });
  });

  it('004-6: an image that names no numbers is no way back because its own change stands in the history', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:fixed` } } });
    await lab.clock.runFor(120_000);
    expect(lab.condition('Accepted')).toMatchObject({ status: 'True' });
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:fixed`);
    expect(lab.status.history?.at(-1)).toMatchObject({ component: 'glance', outcome: 'Succeeded' });
  });

  it('of several upgrades the last Job stays, and one that nobody wants any more is stopped', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    lab.kubelet.jobs = 'run on';
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(30_000);
    await lab.patch({ spec: { version: 'v3.1.3-20200401.0' } });
    await lab.clock.runFor(30_000);
    expect(lab.api.all('Job').map(({ metadata }) => metadata.name)).toEqual(['default-database-dump-3']);
    lab.kubelet.jobs = 'complete';
    await lab.clock.runUntil(() => lab.version === 'v3.1.3-20200401.0', { limitMs: 3_600_000 });
    expect(lab.status.history?.map(({ to, outcome }) => [to, outcome]).slice(1)).toEqual([
      [V2, 'Superseded'],
      ['v3.1.3-20200401.0', 'Succeeded'],
    ]);
  });

  it.each([
    ['the version is set back', { version: V1 }, V1],
    ['databaseBackup is taken out', { databaseBackup: null }, V2],
  ])('is stopped, and its login goes, when %s', async (_, change, version) => {
    await lab.start(BACKUP);
    await lab.until('Running');
    lab.kubelet.jobs = 'run on';
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(30_000);
    expect(lab.object('Secret', 'default-database-dump')).toBeDefined();
    await lab.patch({ spec: change });
    await lab.clock.runUntil(() => lab.version === version && lab.status.phase === 'Running', { limitMs: 3_600_000 });
    expect(lab.api.all('Job')).toEqual([]);
    expect(lab.object('Secret', 'default-database-dump')).toBeUndefined();
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${version}`);
  });

  it('004-5: without databaseBackup the upgrade says that there is none', async () => {
    await lab.start();
    await lab.until('Running');
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(dump()).toEqual({ state: 'NotTaken', message: 'spec.databaseBackup is not set' });
    expect(lab.condition('DatabaseBackup')).toMatchObject({ status: 'False', reason: 'NotTaken' });
    expect(lab.stories).toContainEqual({ reason: 'NoDatabaseDump', note: expect.stringContaining('without a database dump') });
    expect(lab.api.all('Job')).toEqual([]);
  });

  it('a dump that fails stops the upgrade before it began, with the client’s words; deleting the Job tries again', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    lab.kubelet.jobs = { fails: 'mariadb-dump: Got error: 1045: "Access denied for user" when trying to connect' };
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(120_000);
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    const condition = lab.condition('DatabaseBackup');
    expect(condition).toMatchObject({ status: 'False', reason: 'Failed' });
    expect(condition?.message).toMatch(/^ONECLOUD_DUMP_FAILED.*Access denied for user.*kubectl delete job default-database-dump-2/);
    expect(lab.status.history?.at(-1)).toMatchObject({ to: V2, outcome: 'Failed', databaseDump: { state: 'Failed' } });
    expect(await lab.quiet(600_000)).toBe(0);
    lab.kubelet.jobs = 'complete';
    await lab.api.delete(resourceTypes.jobs, { namespace: NAMESPACE, name: 'default-database-dump-2' });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(lab.status.history?.map(({ to, outcome }) => [to, outcome])).toEqual([
      [V1, 'Succeeded'],
      [V2, 'Succeeded'],
    ]);
  });

  it('a dump that cannot be begun is told and tried again; everything else goes on', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    lab.api.fault = ({ kind, verb, key }) =>
      kind === 'PersistentVolumeClaim' && verb === 'apply' && key.endsWith('default-database-dumps')
        ? new ApiError('forbidden', 'exceeded quota: storage')
        : undefined;
    await lab.patch({ spec: { version: V2, glance: { annotations: { a: 'b' } } } });
    await lab.clock.runFor(60_000);
    expect(lab.condition('DatabaseBackup')).toMatchObject({
      status: 'False',
      reason: 'CannotBegin',
      message: expect.stringMatching(/^OPERATOR_FORBIDDEN.*exceeded quota/),
    });
    expect(lab.stories).toContainEqual({ reason: 'DumpFailed', note: expect.stringContaining('exceeded quota') });
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    expect(at(lab.object('Deployment', 'default-glance'), 'spec', 'template', 'metadata', 'annotations', 'a')).toBe('b');
    lab.api.fault = undefined;
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(dump()).toMatchObject({ state: 'Taken' });
  });

  it.each([
    ['without a dump', { databaseBackup: null }, V2],
    ['back', { version: V1 }, V1],
  ])('and one may go on %s', async (_, change, version) => {
    await lab.start(BACKUP);
    await lab.until('Running');
    lab.kubelet.jobs = { fails: 'disk full' };
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(120_000);
    await lab.patch({ spec: change });
    await lab.until('Running');
    await lab.clock.runFor(60_000);
    expect([lab.image('keystone'), lab.status.phase]).toEqual([`${REPOSITORY}/keystone:${version}`, 'Running']);
    lab.kubelet.jobs = 'complete';
    await lab.patch({ spec: { version: 'v3.1.3-20200401.0' } });
    await lab.clock.runUntil(() => lab.version === 'v3.1.3-20200401.0', { limitMs: 3_600_000 });
  });

  it('004-6: one component’s own image is dumped for as well, and others need not wait for it', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    await lab.patch({ spec: { web: { image: `${REPOSITORY}/web:fixed` } } });
    await lab.clock.runFor(30_000);
    expect([lab.image('web'), lab.api.all('Job').length]).toEqual([`${REPOSITORY}/web:fixed`, 0]); // it has no database
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:${V2}` } } });
    await lab.clock.runFor(60_000);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V2}`);
    expect(lab.status.history?.at(-1)).toMatchObject({
      component: 'glance',
      outcome: 'Succeeded',
      migrated: ['glance'],
      databaseDump: { state: 'Taken' },
    });
  });

  it('004-6: one component’s image that is taken back before its dump has ended is not told as succeeded', async () => {
    await lab.start(BACKUP);
    await lab.until('Running');
    lab.kubelet.jobs = 'run on';
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:${V2}` } } });
    await lab.clock.runFor(60_000);
    expect(lab.status.history?.at(-1)).toMatchObject({ component: 'glance', outcome: 'InProgress' });
    await lab.patch({ spec: { glance: { image: null } } });
    await lab.clock.runFor(60_000);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect(lab.api.all('Job')).toEqual([]);
    expect(lab.status.history?.at(-1)).toMatchObject({ component: 'glance', outcome: 'Superseded' });
  });

  it('its Job and claim are what Kubernetes knows, with a password in a mounted Secret alone', () => {
    const { job, claim } = databaseDump({
      name: 'default',
      namespace: NAMESPACE,
      instance: 'onecloud-cluster-default',
      backup: { image: 'mariadb:11.4', storage: '20G', storageClassName: 'local-path', keep: 3, timeoutSeconds: 3600 },
      revision: 4,
      from: 'feature/one two',
      databases: ['keystone'],
    });
    expect([job, claim].flatMap((object) => schemaProblems(object as never))).toEqual([]);
    expect(at(job, 'spec', 'template', 'spec', 'containers', '0', 'args', '2')).toBe('default-r004-feature_one_two.sql.gz');
    expect(JSON.stringify(job)).not.toMatch(/password|MYSQL_PWD|"env"/i);
  });
});

describe('ways back over a migration', { timeout: 60_000 }, () => {
  const tables = (component: string): string | undefined => lab.status.components?.[component]?.databaseVersion;

  it('004-7: are refused without a word, whoever asks; the word lasts for one way back', async () => {
    await lab.start();
    await lab.until('Running');
    expect(tables('glance')).toBe(V1);
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(lab.status.history?.at(-1)?.migrated).toEqual(catalog.flatMap(({ database, name }) => (database ? [name] : [])).sort());
    for (let round = 0; round < 2; round++) {
      await lab.clock.runFor(30_000);
      const images = lab.api.all('Deployment').map(({ spec }) => spec);
      await lab.patch({ spec: { version: V1 } });
      await lab.clock.runFor(60_000);
      expect(lab.api.all('Deployment').map(({ spec }) => spec)).toEqual(images);
      expect(lab.condition('Accepted')).toMatchObject({
        status: 'False',
        reason: 'RollbackRefused',
        message: expect.stringContaining(`${operatorAnnotation.acceptDatabase}=${V1}`),
      });
      expect(lab.condition('Degraded')).toMatchObject({ status: 'True', reason: 'RollbackRefused' });
      expect(lab.stories).toContainEqual({ reason: 'RollbackRefused', note: expect.stringContaining('ONECLOUD_DATABASE_NOT_ROLLED_BACK') });
      expect(await lab.quiet(600_000)).toBe(0);
      await lab.patch({ metadata: { annotations: { [operatorAnnotation.acceptDatabase]: V1 } } });
      await lab.clock.runUntil(() => lab.version === V1, { limitMs: 3_600_000 });
      expect(lab.status.history?.at(-1)).toMatchObject({ to: V1, outcome: 'Succeeded', databaseDump: { state: 'NotTaken' } });
      expect(lab.status.history?.at(-1)?.notRolledBack).toContain('glance');
      await lab.clock.runFor(30_000);
      expect(lab.api.peek(clusterType.kind, 'onecloud/default')?.metadata.annotations).not.toHaveProperty(
        operatorAnnotation.acceptDatabase,
      );
      await lab.patch({ spec: { version: V2 } });
      await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    }
  });

  it('a word that nobody needed does not stay for another time', async () => {
    await lab.start();
    await lab.until('Running');
    await lab.patch({ metadata: { annotations: { [operatorAnnotation.acceptDatabase]: V1 } } });
    await lab.clock.runFor(30_000);
    expect(lab.api.peek(clusterType.kind, 'onecloud/default')?.metadata.annotations).not.toHaveProperty(operatorAnnotation.acceptDatabase);
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    await lab.patch({ spec: { version: V1 } });
    await lab.clock.runFor(30_000);
    expect(lab.condition('Accepted')).toMatchObject({ reason: 'RollbackRefused' });
  });

  it('004-17: a word that is given before the window opens lasts until then', async () => {
    await lab.start({ updateStrategy: { window: { cron: '*/30 * * * *', durationMinutes: 10 } } });
    await lab.until('Running');
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 600_000 });
    await lab.clock.runFor(900_000); // closed again
    await lab.patch({ spec: { version: V1 }, metadata: { annotations: { [operatorAnnotation.acceptDatabase]: V1 } } });
    await lab.clock.runFor(60_000);
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V2}`);
    expect(lab.condition('Progressing')).toMatchObject({ reason: 'WaitingForWindow' });
    await lab.clock.runUntil(() => lab.version === V1, { limitMs: 3_600_000 });
    expect(lab.status.history?.at(-1)?.notRolledBack).toContain('keystone');
  });

  it('an older version that never ran here is refused by its name', async () => {
    await lab.start({ version: V2 });
    await lab.until('Running');
    await lab.patch({ spec: { version: 'v3.0.9' } });
    await lab.clock.runFor(60_000);
    expect(lab.condition('Accepted')).toMatchObject({ reason: 'RollbackRefused' });
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V2}`);
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Running');
    expect(lab.condition('Accepted')).toMatchObject({ status: 'True' });
  });

  it('004-6: of one component too, while the others go on', async () => {
    await lab.start({ version: V2 });
    await lab.until('Running');
    const image = (name: string, tag: string) => ({ [name]: { image: `${REPOSITORY}/${name}:${tag}` } });
    await lab.patch({ spec: { ...image('glance', V1), ...image('web', V1) } });
    await lab.clock.runFor(60_000);
    expect([lab.image('glance'), lab.image('web')]).toEqual([`${REPOSITORY}/glance:${V2}`, `${REPOSITORY}/web:${V1}`]);
    expect(lab.condition('Accepted')?.message).toContain('glance');
    await lab.patch({ metadata: { annotations: { [operatorAnnotation.acceptDatabase]: V1 } } });
    await lab.clock.runFor(60_000);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect(lab.condition('Accepted')).toMatchObject({ status: 'True' });
    expect(lab.status.history?.at(-1)).toMatchObject({ component: 'glance', notRolledBack: ['glance'], outcome: 'Succeeded' });
  });

  it('an upgrade that never started its program leaves nothing to accept', async () => {
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 60 } });
    await lab.until('Running');
    lab.kubelet.bad.add(`${REPOSITORY}/keystone:${V2}`);
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Degraded');
    expect(lab.status.history?.at(-1)).not.toHaveProperty('migrated');
    await lab.patch({ spec: { version: V1 } });
    await lab.until('Running');
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
  });

  it('an init container that has begun counts, although the pod never became ready', async () => {
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 60 } });
    await lab.until('Running');
    const image = `${REPOSITORY}/keystone:${V2}`;
    lab.kubelet.bad.add(image);
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(2_000);
    const { labels = {} } = lab.object('Deployment', 'default-keystone')?.metadata ?? {};
    lab.api.place({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'default-keystone-x', namespace: NAMESPACE, labels },
      spec: { initContainers: [{ name: 'init', image }], containers: [{ name: 'keystone', image }] },
      status: { initContainerStatuses: [{ name: 'init', image, state: { running: { startedAt: '2026-01-05T12:00:00Z' } } }] },
    });
    await lab.until('Degraded');
    expect(lab.status.history?.at(-1)?.migrated).toEqual(['keystone']);
    expect(tables('keystone')).toBe(V2);
  });

  it('the automatic way back needs no word: asking for it was one', async () => {
    await lab.start({ updateStrategy: { autoRollback: true, layerTimeoutSeconds: 60 } });
    await lab.until('Running');
    lab.kubelet.bad.add(`${REPOSITORY}/region:${V2}`);
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runUntil(() => lab.status.history?.at(-1)?.outcome === 'RolledBack', { limitMs: 3_600_000 });
    await lab.clock.runFor(60_000);
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    expect(lab.status.history?.at(-1)?.migrated).toEqual(['keystone']);
    await lab.patch({ spec: { version: V1 } });
    await lab.until('Running');
    expect(lab.condition('Accepted')).toMatchObject({ status: 'True' });
  });
});

describe('004-9: databases when the cluster goes', { timeout: 60_000 }, () => {
  const gone = () => lab.clock.runUntil(() => lab.api.peek(clusterType.kind, 'onecloud/default') === undefined, { limitMs: 3_600_000 });

  it('stay unless asked, with their passwords', async () => {
    await lab.start();
    await lab.until('Running');
    await lab.api.delete(clusterType, KEY);
    await gone();
    expect(databases.writes.filter((write) => write.startsWith('drop'))).toEqual([]);
    expect(lab.object('Secret', 'default-glance-credentials')).toBeDefined();
  });

  it('a pod that does not end keeps the object, and is named', async () => {
    await lab.start();
    await lab.until('Running');
    const labels = lab.object('Deployment', 'default-glance')?.metadata.labels ?? {};
    const pod = { namespace: NAMESPACE, name: 'default-glance-x' };
    lab.api.place({ apiVersion: 'v1', kind: 'Pod', metadata: { ...pod, labels } }); // its node is lost
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runFor(60_000);
    expect(lab.status.phase).toBe('Deleting');
    expect(lab.condition('Progressing')).toMatchObject({
      reason: 'Deleting',
      message: expect.stringContaining('Pod onecloud/default-glance-x'),
    });
    expect(await lab.quiet(60_000)).toBe(0);
    await lab.api.delete(resourceTypes.pods, pod);
    await lab.clock.runUntil(() => lab.api.peek(clusterType.kind, 'onecloud/default') === undefined, { limitMs: 60_000 });
  });

  it('Drop drops what this cluster used, after its workloads and before its passwords', async () => {
    await lab.start({ databasePolicy: 'Drop', meter: { disable: true } });
    await lab.until('Running');
    const running: number[] = [];
    const secrets: boolean[] = [];
    databases.fault = (what) => {
      if (what.startsWith('drop')) {
        running.push(lab.api.all('Deployment').length);
        secrets.push(lab.object('Secret', 'default-glance-credentials') !== undefined);
      }
      return undefined;
    };
    await lab.api.delete(clusterType, KEY);
    await gone();
    expect([...new Set(running), ...new Set(secrets)]).toEqual([0, true]);
    expect(databases.writes.filter((write) => write.startsWith('drop')).sort()).toEqual(
      OWN.filter((name) => name !== 'yunionmeter')
        .map((name) => `drop ${name}`)
        .sort(),
    );
    expect(
      lab.api
        .all('Secret')
        .map(({ metadata }) => metadata.name)
        .filter((name) => name.endsWith('-credentials')),
    ).toEqual([]);
    expect(databases.openNow).toBe(0);
  });

  it('a server that is away keeps the object, says so, and the way out is in the words', async () => {
    await lab.start({ databasePolicy: 'Drop' });
    await lab.until('Running');
    databases.fault = (what) => (what === 'open' ? unreachable() : undefined);
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runFor(120_000);
    const condition = lab.condition('DatabasesDropped');
    expect(condition).toMatchObject({ status: 'False', reason: 'DropFailed' });
    expect(condition?.message).toContain(`kubectl -n onecloud patch oc default --type=merge -p '{"spec":{"databasePolicy":"Retain"}}'`);
    expect(lab.status.phase).toBe('Deleting');
    expect(lab.stories).toContainEqual({ reason: 'DatabasesNotDropped', note: condition?.message });
    expect(lab.api.all('Deployment')).toEqual([]);
    await lab.patch({ spec: { databasePolicy: 'Retain' } });
    await gone();
    expect(databases.accounts.size).toBe(OWN.length);
    expect(lab.object('Secret', 'default-glance-credentials')).toBeDefined(); // both are kept
  });

  it('never drops what another cluster uses, nor on a server that the cluster was only pointed at', async () => {
    await lab.start({ databasePolicy: 'Drop' });
    await lab.until('Running');
    const internal = Object.fromEntries(
      catalog.filter(({ ports }) => ports?.some(({ nodePort }) => nodePort)).map(({ key }) => [key, { internalOnly: true }]),
    );
    await lab.add('second', { ...internal, databasePolicy: 'Drop', mysql: { host: 'other', password: 'x' } });
    const second = { namespace: NAMESPACE, name: 'second' };
    await lab.clock.runUntil(() => at(lab.api.peek(clusterType.kind, `${NAMESPACE}/second`), 'status', 'phase') === 'Running', {
      limitMs: 3_600_000,
    });
    // it is pointed at the first one's server, which it never used, and goes
    await lab.api.patch(clusterType, second, { spec: { mysql: { host: '10.168.26.216' } } });
    await lab.clock.runFor(30_000);
    await lab.api.delete(clusterType, second);
    await lab.clock.runUntil(() => lab.api.peek(clusterType.kind, `${NAMESPACE}/second`) === undefined, { limitMs: 600_000 });
    expect(databases.writes.filter((write) => write.startsWith('drop'))).toEqual([]);
    // the first is used by a third one by now
    await lab.add('third', internal);
    await lab.clock.runFor(10_000);
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runFor(60_000);
    expect(lab.condition('DatabasesDropped')?.message).toContain('ONECLOUD_DATABASE_SHARED');
    expect(databases.writes.filter((write) => write.startsWith('drop'))).toEqual([]);
  });

  it('or waits until it is back', async () => {
    await lab.start({ databasePolicy: 'Drop' });
    await lab.until('Running');
    databases.fault = (what) => (what === 'drop glance' ? unreachable() : undefined);
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runFor(60_000);
    databases.fault = undefined;
    await gone();
    expect(databases.accounts.size).toBe(0);
  });

  it('those that were made in a pass that the deletion overtook go, too', async () => {
    lab.api.fault = ({ verb, kind, key }) => {
      // the cluster is deleted while the pass that makes the first databases is under way
      if (verb === 'apply' && kind === 'Deployment' && key === 'onecloud/default-keystone' && databases.accounts.size > 0) {
        lab.api.fault = undefined;
        void lab.api.delete(clusterType, KEY);
      }
      return undefined;
    };
    await lab.start({ databasePolicy: 'Drop' });
    await gone();
    expect(databases.writes.some((write) => write.startsWith('ensure'))).toBe(true);
    expect([...databases.accounts.keys()]).toEqual([]);
  });

  it('a leader that was deposed while it logged in drops nothing', async () => {
    await lab.start({ databasePolicy: 'Drop' });
    await lab.until('Running');
    let refused = 0;
    lab.api.fault = ({ verb, kind }) => {
      if (verb !== 'patch' || kind !== clusterType.kind || databases.openNow === 0) return undefined;
      refused += 1;
      return new ApiError('conflict', 'another cluster of this name', { status: 409 });
    };
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runFor(120_000);
    expect(refused).toBeGreaterThan(0);
    expect(databases.writes.filter((write) => write.startsWith('drop'))).toEqual([]);
    expect(databases.openNow).toBe(0);
    lab.api.fault = undefined;
    await gone();
    expect(databases.accounts.size).toBe(0);
  });

  it('a spec that was never right in other places does not keep them, and one that names no server says so', async () => {
    await lab.start({ databasePolicy: 'Drop' });
    await lab.until('Running');
    const window = { cron: '* * * * *', timeZone: 'Mars/Olympus' };
    await lab.patch({ spec: { updateStrategy: { window }, mysql: { tls: {} } } });
    await lab.clock.runFor(10_000);
    expect(lab.condition('Accepted')).toMatchObject({ status: 'False', reason: 'InvalidSpec' });
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runFor(60_000);
    // an address, where TLS wants a name
    expect(lab.condition('DatabasesDropped')?.message).toContain('spec.mysql.host');
    await lab.patch({ spec: { mysql: { tls: null } } });
    await gone();
    expect(databases.accounts.size).toBe(0);
  });
});
