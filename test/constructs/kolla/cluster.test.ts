/** The waiting container against a real API server, with the rights that its manifests give it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { App, Chart } from 'cdk8s';
import { KollaService } from 'cdk8s-baremetal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { kubectl, withoutCluster } from '../../support/cluster.ts';
import { type AnyManifest, find, manifestsOf } from '../../support/synth.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { propsWith } from './service.ts';

const NAMESPACE = 'bms-test-kolla';
const noCurl = spawnSync('curl', ['--version']).error !== undefined;
if (noCurl) console.warn('test/constructs/kolla: curl is missing (Debian package curl): waiting is not tested');

describe.skipIf(withoutCluster('jobs around a rollout') || noCurl)('001-10: on a real API server', () => {
  const folder = temporaryFolder();
  const chart = new Chart(new App(), 'test', { namespace: NAMESPACE });
  new KollaService(chart, 'nova-api', propsWith({ stopped: true, jobs: { before: ['upgrade'], after: ['online-migration'] } }));
  const manifests = manifestsOf(chart);
  const job = (kind: string): AnyManifest =>
    manifests.find(({ kind: type, metadata }) => type === 'Job' && metadata.name.startsWith(`nova-api-${kind}-`)) as AnyManifest;
  const children: ChildProcess[] = [];

  beforeAll(() => {
    folder.create();
    kubectl('create', 'namespace', NAMESPACE);
    writeFileSync(folder.path('kolla.yaml'), manifests.map((manifest) => stringify(manifest, { version: '1.1' })).join('---\n'));
    kubectl('apply', '-f', folder.path('kolla.yaml'));
    const { clusters } = parse(kubectl('config', 'view', '--raw', '--minify', '--flatten'));
    writeFileSync(
      folder.path('token.json'),
      JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } }),
    );
    const url = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/nova-api/token`;
    const { status } = JSON.parse(kubectl('create', '--raw', url, '-f', folder.path('token.json')));
    mkdirSync(folder.path('account'));
    writeFileSync(folder.path('account/token'), status.token);
    writeFileSync(folder.path('account/namespace'), NAMESPACE);
    writeFileSync(folder.path('account/ca.crt'), Buffer.from(clusters[0].cluster['certificate-authority-data'], 'base64'));
    server = new URL(clusters[0].cluster.server);
  });
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
    kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait=false');
    folder.remove();
  });
  let server: URL;

  /** Starts the pod's waiting container; resolves when it ends, and tells what it has printed so far. */
  const wait = (manifest: AnyManifest, args?: readonly string[]) => {
    const [program = '', ...given] = manifest.spec.template.spec.initContainers[0].command as string[];
    const child = spawn(program, args ? [...given.slice(0, 3), ...args] : given, {
      env: {
        PATH: '/usr/bin:/bin',
        KUBERNETES_SERVICE_HOST: server.hostname,
        KUBERNETES_SERVICE_PORT: server.port,
        WAIT_ACCOUNT: folder.path('account'),
        WAIT_SECONDS: '0.05',
      },
    });
    children.push(child);
    let [stdout, stderr] = ['', ''];
    let refused: () => void = () => undefined;
    const refusal = new Promise<void>((resolve) => {
      refused = resolve;
    });
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
      refused();
    });
    const ended = new Promise<{ status: number | null; stdout: string }>((resolve) =>
      child.once('close', (status) => resolve({ status, stdout })),
    );
    return { ended, refusal, child, stderr: () => stderr };
  };
  const finish = (name: string, type: string): void => {
    const url = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs/${name}`;
    const object = JSON.parse(kubectl('get', '--raw', url));
    const now = new Date().toISOString().replace(/\.\d+/, '');
    object.status = { conditions: [{ type, status: 'True', lastProbeTime: now, lastTransitionTime: now }], startTime: now };
    writeFileSync(folder.path('job.json'), JSON.stringify(object));
    kubectl('replace', '--raw', `${url}/status`, '-f', folder.path('job.json'));
  };

  it('takes the manifests; applying them again changes nothing', () => {
    const again = kubectl('apply', '-f', folder.path('kolla.yaml')).trim().split('\n');
    expect(again.filter((line) => !line.endsWith(' unchanged'))).toEqual([]);
  });

  it('the pods wait for the Job, the migration for the rollout', async () => {
    const pods = wait(find(manifests, 'Deployment', 'nova-api'));
    const migration = wait(job('online-migration'));
    expect((await migration.ended).status).toBe(0); // no pod is wanted, and the controller has seen this release
    expect(pods.child.exitCode).toBeNull();
    finish(job('upgrade').metadata.name, 'Complete');
    expect(await pods.ended).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`the Job ${job('upgrade').metadata.name} is done`),
    });
  });

  it('fails with the Job', async () => {
    finish(job('online-migration').metadata.name, 'Failed');
    const { ended, stderr } = wait(find(manifests, 'Deployment', 'nova-api'), ['job', job('online-migration').metadata.name]);
    expect((await ended).status).toBe(1);
    expect(stderr()).toContain('has failed');
  });

  it('may not ask about anything else', async () => {
    const { refusal, child, stderr, ended } = wait(find(manifests, 'Deployment', 'nova-api'), ['job', 'another']);
    await refusal;
    child.kill();
    await ended;
    expect(stderr()).toContain('403');
  });
});
