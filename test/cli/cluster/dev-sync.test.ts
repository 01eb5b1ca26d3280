import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { devReset, devSync } from '../../../src/cli/cluster/dev-sync.ts';
import type { ExecRequest, PodAccess } from '../../../src/cli/cluster/pod-access.ts';
import type { ApplyOptions } from '../../../src/operator/engine/api.ts';
import { at, type KubeObject, listAt } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { addCluster, KEY, refusal, type World, world } from './world.ts';

const PATH = '/opt/yunion/bin/glance';
const LABELS = { 'app.kubernetes.io/instance': 'onecloud-cluster-default', 'app.kubernetes.io/component': 'glance' };
const TARGET = { name: 'default-glance', namespace: 'onecloud' };

/** A cluster with glance's Deployment; what is applied is written down, since this server knows no keyed lists. */
async function running(replicas = 1): Promise<{ here: World; applied: { object: KubeObject; options: ApplyOptions }[] }> {
  const here = world();
  await addCluster(here);
  await here.api.create(resourceTypes.deployments, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { ...TARGET, labels: LABELS },
    spec: { replicas, template: { spec: { containers: [{ name: 'glance', image: 'r/glance:1', imagePullPolicy: 'Always' }] } } },
  });
  const applied: { object: KubeObject; options: ApplyOptions }[] = [];
  here.api.apply = async (_type, object, options = {}) => {
    applied.push({ object, options });
    const annotations = { ...object.metadata.annotations };
    const template = at(object, 'spec', 'template', 'metadata');
    return here.api.patch(resourceTypes.deployments, TARGET, {
      metadata: { annotations },
      ...(template !== undefined && { spec: { template: { metadata: template } } }),
    });
  };
  return { here, applied };
}

async function addPod(here: World, name: string, waitingIn: 'dev-sync' | 'glance', path = PATH): Promise<void> {
  const state = { running: {} };
  await here.api.create(resourceTypes.pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'onecloud', labels: LABELS, annotations: { 'onecloud.yunion.io/dev-sync': path } },
    status:
      waitingIn === 'glance'
        ? { containerStatuses: [{ name: 'glance', state }] }
        : { initContainerStatuses: [{ name: 'dev-sync', state }] },
  });
}

class Pods implements PodAccess {
  readonly requests: ExecRequest[] = [];
  exitCode = 0;
  broken: Error | undefined;

  async exec(request: ExecRequest) {
    this.requests.push(request);
    if (this.broken) throw this.broken;
    return { exitCode: this.exitCode, output: '', errors: this.exitCode === 0 ? '' : 'No space left on device' };
  }
}

describe("004-18: the developer's loop", () => {
  const folder = temporaryFolder();
  const program = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(100, 7)]);
  beforeAll(() => {
    folder.create();
    writeFileSync(folder.path('glance'), program);
    writeFileSync(folder.path('notes.txt'), 'a text');
  });
  afterAll(folder.remove);

  it('lets the pod be replaced once, waits for the one that takes the program, and copies it', async () => {
    const { here, applied } = await running();
    const pods = new Pods();
    const work = devSync(here.context, pods, { key: KEY, component: 'glance', source: folder.path('glance') });
    const appears = sleep(here.clock, 20_000).then(() => addPod(here, 'default-glance-2', 'dev-sync'));
    await here.clock.run(Promise.all([work, appears]));

    expect(applied).toHaveLength(1);
    const { object, options } = applied[0] ?? { object: {} as KubeObject, options: {} };
    expect(options).toMatchObject({ fieldManager: 'bmctl-dev-sync', force: true });
    const [init] = listAt(object, 'spec', 'template', 'spec', 'initContainers');
    expect(init).toMatchObject({ name: 'dev-sync', image: 'r/glance:1', imagePullPolicy: 'Always' });
    // only what is added: a field of the operator's here would be taken from it
    const [container] = listAt(object, 'spec', 'template', 'spec', 'containers');
    expect(Object.keys(container as object)).toEqual(['name', 'volumeMounts']);
    expect(container).toMatchObject({
      volumeMounts: [{ mountPath: '/dev-sync' }, { mountPath: PATH, subPath: 'program', readOnly: true }],
    });

    expect(pods.requests).toHaveLength(1);
    expect(pods.requests[0]).toMatchObject({ namespace: 'onecloud', pod: 'default-glance-2', container: 'dev-sync' });
    expect(Buffer.from(pods.requests[0]?.input ?? []).equals(program)).toBe(true);
    expect(pods.requests[0]?.command.at(-1)).toBe(String(program.length));
    expect(here.api.peek('Deployment', 'onecloud/default-glance')?.metadata.annotations?.['onecloud.yunion.io/dev-sync']).toMatch(
      /^glance as .*SHA-256/,
    );
  });

  it('restarts the container in place the next time', async () => {
    const { here, applied } = await running();
    await here.api.patch(resourceTypes.deployments, TARGET, {
      spec: { template: { metadata: { annotations: { 'onecloud.yunion.io/dev-sync': PATH } } } },
    });
    await addPod(here, 'default-glance-2', 'glance');
    const pods = new Pods();
    await here.clock.run(devSync(here.context, pods, { key: KEY, component: 'glance', source: folder.path('glance') }));
    expect(pods.requests.map(({ container, command }) => [container, command[2]?.slice(0, 12)])).toEqual([
      ['glance', expect.stringMatching(/^umask/)],
      ['glance', 'kill -TERM 1'],
    ]);
    // the template is as it was: nothing rolls
    expect(at(applied[0]?.object, 'spec', 'template', 'metadata', 'annotations')).toEqual({ 'onecloud.yunion.io/dev-sync': PATH });
    expect(here.progress).toEqual(['default-glance-2: 104 bytes copied, restarting']);
  });

  it('copies to every pod with --all, and to none without', async () => {
    const { here } = await running(2);
    const options = { key: KEY, component: 'glance', source: folder.path('glance') };
    const pods = new Pods();
    expect((await refusal(devSync(here.context, pods, options))).code).toBe('CLUSTER_DEV_SEVERAL');
    await addPod(here, 'default-glance-1', 'dev-sync');
    await addPod(here, 'default-glance-2', 'dev-sync');
    await here.clock.run(devSync(here.context, pods, { ...options, all: true }));
    expect(pods.requests.map(({ pod }) => pod)).toEqual(['default-glance-1', 'default-glance-2']);
  });

  it('goes back to the image', async () => {
    const { here, applied } = await running();
    await devReset(here.context, KEY, 'glance');
    expect(applied).toEqual([]);
    await here.api.patch(resourceTypes.deployments, TARGET, {
      spec: { template: { metadata: { annotations: { 'onecloud.yunion.io/dev-sync': PATH } } } },
    });
    await devReset(here.context, KEY, 'glance');
    expect(applied.map(({ object, options }) => [object, options.fieldManager])).toEqual([
      [{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: TARGET }, 'bmctl-dev-sync'],
    ]);
  });

  it.each<[string, string, () => string, string]>([
    ['a text file', 'glance', () => folder.path('notes.txt'), 'CLUSTER_DEV_FILE'],
    ['no file', 'glance', () => folder.path('absent'), 'CLUSTER_DEV_FILE'],
    ['an agent of the nodes', 'host', () => `${folder.path('glance')}:/opt/yunion/bin/host`, 'CLUSTER_DEV_KIND'],
    ['a component without a program of its own', 'influxdb', () => folder.path('glance'), 'CLUSTER_DEV_NO_PROGRAM'],
    ['a component that does not run', 'logger', () => folder.path('glance'), 'CLUSTER_DEV_NOT_RUNNING'],
  ])('refuses %s', async (_, component, source, code) => {
    const { here, applied } = await running();
    expect((await refusal(devSync(here.context, new Pods(), { key: KEY, component, source: source() }))).code).toBe(code);
    expect(applied).toEqual([]);
  });

  it.each<[string, Partial<Pods>, RegExp]>([
    ['a full disk', { exitCode: 1 }, /exit code 1: No space left on device/],
    ['a broken connection', { broken: new Error('socket hang up') }, /socket hang up/],
  ])('tells what went wrong inside the pod: %s', async (_, fault, told) => {
    const { here } = await running();
    await addPod(here, 'default-glance-2', 'dev-sync');
    const error = await here.clock.run(
      refusal(devSync(here.context, Object.assign(new Pods(), fault), { key: KEY, component: 'glance', source: folder.path('glance') })),
    );
    expect(error.code).toBe('CLUSTER_DEV_EXEC');
    expect(error.message).toMatch(told);
  });

  it('does not wait for ever, nor for pods of an earlier copy', async () => {
    const { here } = await running();
    await addPod(here, 'default-glance-1', 'glance', '/another/path');
    const options = { key: KEY, component: 'glance', source: folder.path('glance'), timeoutSeconds: 60 };
    const error = await here.clock.run(refusal(devSync(here.context, new Pods(), options)));
    expect(error.code).toBe('CLUSTER_DEV_DEADLINE');
  });
});
