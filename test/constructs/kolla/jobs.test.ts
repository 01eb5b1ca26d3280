/** The order of Jobs and rollout, and the waiting container against an API server of the test's own. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { KOLLA_JOB_VARIABLE } from 'cdk8s-baremetal/kolla/jobs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AnyManifest, find } from '../../support/synth.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { type Changes, synth } from './service.ts';

const JOBS: Changes = { jobs: { before: ['bootstrap', 'upgrade-check', 'upgrade'], after: ['online-migration'] } };
const jobsOf = (changes: Changes): AnyManifest[] => synth(changes).filter(({ kind }) => kind === 'Job');
/** What the first init container of a pod waits for. */
const waitsFor = (manifest: AnyManifest): string[] => {
  const [first] = manifest.spec.template.spec.initContainers;
  return first.name === 'wait' ? first.command.slice(4) : [];
};

describe('001-10: one-time work around a rollout, with kubectl apply alone', () => {
  const manifests = synth({ ...JOBS, replicas: 3 });
  const jobs = manifests.filter(({ kind }) => kind === 'Job');
  const names = jobs.map(({ metadata }) => metadata.name);
  const deployment = find(manifests, 'Deployment', 'nova-api');
  const release = deployment.spec.template.metadata.annotations['baremetal.bms.io/release'];

  it('each waits for the one before it, the pods for the last, the migration for the rollout', () => {
    expect(names.map((name) => name.slice(0, -11))).toEqual([
      'nova-api-bootstrap',
      'nova-api-upgrade-check',
      'nova-api-upgrade',
      'nova-api-online-migration',
    ]);
    expect(jobs.map(waitsFor)).toEqual([[], ['job', names[0]], ['job', names[1]], ['rollout', 'deployments', 'nova-api', release]]);
    expect(waitsFor(deployment)).toEqual(['job', names[2]]);
  });

  it("kolla's variable, set, in the service's own container; no probes", () => {
    const variables = jobs.map(({ spec }) => spec.template.spec.containers[0].env.at(-1));
    expect(variables).toEqual(
      ['bootstrap', 'upgrade-check', 'upgrade', 'online-migration'].map((kind) => ({
        name: KOLLA_JOB_VARIABLE[kind as 'upgrade'],
        value: 'true',
      })),
    );
    for (const { spec } of jobs) {
      expect(spec.template.spec).toMatchObject({ restartPolicy: 'Never', nodeSelector: deployment.spec.template.spec.nodeSelector });
      expect(Object.keys(spec.template.spec.containers[0]).filter((key) => key.endsWith('Probe'))).toEqual([]);
      expect(spec).not.toHaveProperty('ttlSecondsAfterFinished'); // pods that start later still ask for it
    }
  });

  it('a new image or configuration is a new Job; the same release is the same', () => {
    expect(jobsOf({ ...JOBS, replicas: 3 }).map(({ metadata }) => metadata.name)).toEqual(names);
    for (const change of [{ definition: { image: 'x/nova-api:2' } }, { files: { 'nova.conf': 'x' } }] satisfies Changes[])
      for (const { metadata } of jobsOf({ ...JOBS, replicas: 3, ...change })) expect(names).not.toContain(metadata.name);
  });

  it('scaling is no release: a Job cannot be changed', () => {
    expect(JSON.stringify(jobsOf({ ...JOBS, replicas: 5 }))).toBe(JSON.stringify(jobs));
  });

  it('jobs are not selected by the Deployment or a Service of its pods', () => {
    const { matchLabels } = deployment.spec.selector;
    for (const { spec } of jobs) expect(spec.template.metadata.labels).not.toMatchObject(matchLabels);
  });

  it('may get exactly what is waited for, and only the waiting container holds the token', () => {
    expect(find(manifests, 'Role', 'nova-api').rules).toEqual([
      { apiGroups: ['batch'], resources: ['jobs'], resourceNames: names, verbs: ['get'] },
      { apiGroups: ['apps'], resources: ['deployments'], resourceNames: ['nova-api'], verbs: ['get'] },
    ]);
    for (const { spec } of [deployment, ...jobs.slice(1)]) {
      const { initContainers, containers, automountServiceAccountToken } = spec.template.spec;
      const holders = [...initContainers, ...containers].filter(({ volumeMounts }) => JSON.stringify(volumeMounts).includes('api-token'));
      expect(holders.map(({ name }) => name)).toEqual(['wait']);
      expect(automountServiceAccountToken).toBe(false);
    }
    expect(find(manifests, 'RoleBinding', 'nova-api').subjects).toEqual([
      { kind: 'ServiceAccount', name: 'nova-api', namespace: 'openstack' },
    ]);
  });

  it('without jobs there is neither account nor right', () => {
    expect(synth().map(({ kind }) => kind)).toEqual(['ConfigMap', 'Deployment']);
  });

  it('of a DaemonSet the rollout is waited for on every node', () => {
    const [job] = jobsOf({ kind: 'daemon-set', jobs: { after: ['online-migration'] } });
    expect(job && waitsFor(job).slice(0, 3)).toEqual(['rollout', 'daemonsets', 'nova-api']);
  });
});

const missing = ['curl', 'openssl'].filter((program) => spawnSync(program, ['--version']).error);
if (missing.length > 0)
  console.warn(`test/constructs/kolla: ${missing.join(' and ')} missing (Debian packages of these names): waiting is not tested`);

describe.skipIf(missing.length > 0)('the waiting container', () => {
  const folder = temporaryFolder();
  let server: Server;
  /** What the API answers next, the last one for ever. */
  let answers: (object | number)[] = [];
  let asked: { url: string | undefined; token: string | undefined }[] = [];

  beforeAll(async () => {
    folder.create();
    const [key, certificate] = [folder.path('key.pem'), folder.path('ca.crt')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '1',
        '-subj',
        '/CN=api',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    );
    mkdirSync(folder.path('account'));
    writeFileSync(folder.path('account/token'), 'the-token');
    writeFileSync(folder.path('account/namespace'), 'openstack');
    writeFileSync(folder.path('account/ca.crt'), readFileSync(certificate));
    server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
      asked.push({ url: request.url, token: request.headers.authorization });
      const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? 404;
      response.statusCode = typeof answer === 'number' ? answer : 200;
      // the API server indents what it sends to curl
      response.end(typeof answer === 'number' ? '' : JSON.stringify(answer, undefined, 2));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  beforeEach(() => {
    asked = [];
  });
  afterAll(() => {
    server.close();
    folder.remove();
  });

  const wait = (manifest: AnyManifest | undefined): Promise<{ status: number | null; stdout: string; stderr: string }> => {
    const [program = '', ...args] = manifest?.spec.template.spec.initContainers[0].command ?? [];
    const child = spawn(program, args, {
      env: {
        PATH: '/usr/bin:/bin',
        KUBERNETES_SERVICE_HOST: '127.0.0.1',
        KUBERNETES_SERVICE_PORT: String((server.address() as AddressInfo).port),
        WAIT_ACCOUNT: folder.path('account'),
        WAIT_SECONDS: '0.01',
      },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    return new Promise((resolve) => child.once('close', (status) => resolve({ status, stdout, stderr })));
  };
  const job = (...conditions: string[]) => ({ kind: 'Job', status: { conditions: conditions.map((type) => ({ type, status: 'True' })) } });

  const manifests = synth({ ...JOBS, replicas: 2 });
  const deployment = find(manifests, 'Deployment', 'nova-api');
  const upgrade = manifests.filter(({ kind }) => kind === 'Job')[2];
  const migration = manifests.filter(({ kind }) => kind === 'Job')[3];
  const release = deployment.spec.template.metadata.annotations['baremetal.bms.io/release'];

  it('until the Job is there and complete', async () => {
    answers = [404, 503, { kind: 'Job', status: { active: 1 } }, job('SuccessCriteriaMet'), job('SuccessCriteriaMet', 'Complete')];
    expect(await wait(deployment)).toMatchObject({ status: 0 });
    expect(asked).toHaveLength(5);
    expect(asked[0]).toEqual({ url: `/apis/batch/v1/namespaces/openstack/jobs/${upgrade?.metadata.name}`, token: 'Bearer the-token' });
  });

  it('ends when the Job has failed, so that the old pods stay', async () => {
    answers = [job('FailureTarget', 'Failed')];
    expect(await wait(deployment)).toMatchObject({ status: 1, stderr: `the Job ${upgrade?.metadata.name} has failed\n` });
  });

  it('until the rollout of this very release is done', async () => {
    const state = (generation: number, annotation: string, status: object) => ({
      metadata: {
        generation,
        annotations: {
          'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify({ a: { 'baremetal.bms.io/release': release }, replicas: 2 }),
        },
        managedFields: [{ fieldsV1: { 'f:status': { 'f:replicas': {}, 'f:updatedReplicas': {} } } }],
      },
      spec: { replicas: 2, template: { metadata: { annotations: { 'baremetal.bms.io/release': annotation } } } },
      status,
    });
    const done = { observedGeneration: 7, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 };
    answers = [
      state(6, 'the one before', { ...done, observedGeneration: 6 }),
      state(7, release, { ...done, observedGeneration: 6 }), // not seen by the controller yet
      state(7, release, { ...done, replicas: 3, updatedReplicas: 1 }),
      state(7, release, { ...done, replicas: 3 }), // an old pod still serves
      state(7, release, { ...done, availableReplicas: 1 }),
      state(7, release, done),
    ];
    expect(await wait(migration)).toMatchObject({ status: 0 });
    expect(asked).toHaveLength(6);
    expect(asked[0]?.url).toBe('/apis/apps/v1/namespaces/openstack/deployments/nova-api');
  });

  it('on every node that wants it', async () => {
    const all = synth({ kind: 'daemon-set', jobs: { after: ['online-migration'] } });
    const daemonSet = find(all, 'DaemonSet', 'nova-api').spec.template;
    const state = (status: object) => ({
      metadata: { generation: 1 },
      spec: { template: daemonSet },
      status: { observedGeneration: 1, ...status },
    });
    answers = [
      state({ desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2 }),
      state({ desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 3 }),
    ];
    expect(await wait(all.find(({ kind }) => kind === 'Job'))).toMatchObject({ status: 0 });
    expect(asked).toHaveLength(2);
  });

  it('trusts the API server of the mounted certificate alone', async () => {
    const honest = readFileSync(folder.path('account/ca.crt'));
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '1',
        '-subj',
        '/CN=other',
        '-keyout',
        '/dev/null',
        '-out',
        folder.path('account/ca.crt'),
      ],
      { stdio: 'ignore' },
    );
    answers = [job('Complete')];
    const waiting = wait(deployment);
    await new Promise((resolve) => server.once('tlsClientError', resolve));
    expect(asked).toEqual([]);
    writeFileSync(folder.path('account/ca.crt'), honest);
    expect(await waiting).toMatchObject({ status: 0 });
  });
});
