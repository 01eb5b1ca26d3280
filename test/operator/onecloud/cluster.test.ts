/** OneCloud clusters by the operator, on an API server in memory and on virtual time. */
import { catalog, HISTORY_LIMIT, onecloudAnnotation } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterEach, describe, expect, it } from 'vitest';
import { outcomeOf } from '../../../src/cli/cluster/wait.ts';
import { configChecksum } from '../../../src/constructs/onecloud/config-checksum.ts';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { at } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { clusterType, operatorAnnotation } from '../../../src/operator/onecloud/names.ts';
import { KEY, Lab, NAMESPACE, REPOSITORY, V1, V2 } from './lab.ts';

describe('OneCloud clusters', () => {
  let lab = new Lab();
  afterEach(async () => {
    await lab.stop();
    lab = new Lab();
  });

  /** A version whose region never becomes ready, and which went back by itself. */
  const rolledBack = async (strategy: object = {}): Promise<void> => {
    await lab.start({ updateStrategy: { autoRollback: true, layerTimeoutSeconds: 120, ...strategy } });
    await lab.until('Running');
    lab.kubelet.bad.add(`${REPOSITORY}/region:${V2}`);
    await lab.patch({ spec: { version: V2 } });
    await lab.until('RollingBack');
    await lab.until('Degraded');
  };

  it('004-2: installs every component, layer by layer, and then writes nothing', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.clock.runFor(2_000);
    expect(lab.api.all('Deployment').map(({ metadata }) => metadata.name)).toEqual(['default-keystone']);
    expect(lab.status).toMatchObject({ phase: 'Installing', components: { glance: { phase: 'Waiting', message: 'waits for keystone' } } });
    // what its pods will need is there meanwhile
    for (const kind of ['Service', 'ConfigMap', 'PersistentVolumeClaim']) expect(lab.object(kind, 'default-glance')).toBeDefined();
    await lab.until('Running');
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    for (const name of ['keystone', 'region', 'glance', 'web', 'kubeserver', 'influxdb'])
      expect(lab.status.components?.[name]).toMatchObject({ phase: 'Ready' });
    expect(lab.status).toMatchObject({ version: V1, history: [{ revision: 1, who: 'bmctl', to: V1, outcome: 'Succeeded' }] });
    expect(lab.condition('Ready')).toMatchObject({ status: 'True', observedGeneration: 1 });
    expect(lab.object('PersistentVolumeClaim', 'default-glance')?.metadata.ownerReferences).toBeUndefined();
    expect(lab.object('Service', 'default-glance')?.metadata.ownerReferences?.[0]).toMatchObject({
      kind: 'OnecloudCluster',
      controller: true,
    });
    await lab.clock.runFor(60_000);
    expect(await lab.quiet(3_600_000)).toBe(0);
  });

  it('004-2: passwords are made once, unlike each other, and survive another operator and an upgrade', {
    timeout: 60_000,
  }, async () => {
    await lab.start();
    await lab.until('Running');
    const secrets = (): Record<string, unknown> =>
      Object.fromEntries(lab.api.all('Secret').map(({ metadata, data }) => [metadata.name, data]));
    const made = secrets();
    expect(Object.keys(made)).toContain('default-keystone-credentials');
    const passwords = Object.entries(made)
      .filter(([name]) => name.endsWith('-credentials'))
      .flatMap(([, data]) => Object.values(data as object));
    expect(passwords.length).toBeGreaterThan(15);
    expect(new Set(passwords).size).toBe(passwords.length);
    await lab.replaceOperator();
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    const text = JSON.stringify([lab.api.all('ConfigMap'), lab.api.all('Deployment'), lab.api.all('Event'), lab.status]);
    for (const password of passwords) expect(text).not.toContain(Buffer.from(String(password), 'base64').toString());
    expect(secrets()).toEqual(made);
  });

  it('004-5: a new version rolls every component in order, each layer after the one before is ready', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    lab.kubelet.rolled.length = 0;
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Upgrading');
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V2}`);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect(lab.status.version).toBe(V1);
    await lab.until('Running');
    const order = lab.kubelet.rolled.filter((line) => line.endsWith(V2)).map((line) => line.split(' ')[0]);
    expect(order.indexOf('default-keystone')).toBe(0);
    expect(order.indexOf('default-region')).toBeLessThan(order.indexOf('default-glance'));
    expect(order.indexOf('default-glance')).toBeLessThan(order.indexOf('default-web'));
    expect(lab.status).toMatchObject({ version: V2 });
    expect(lab.status.history?.at(-1)).toMatchObject({ revision: 2, who: 'kubectl-edit', from: V1, to: V2, outcome: 'Succeeded' });
    const tags = lab.api.all('Deployment').map((object) =>
      String(at(object, 'spec', 'template', 'spec', 'containers', '0', 'image'))
        .split(':')
        .at(-1),
    );
    expect(new Set(tags.filter((tag) => tag === V1))).toEqual(new Set());
  });

  it('004-6: a component’s own image wins, is noted, and clearing it derives it again', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    const own = `${REPOSITORY}/glance:v3.1.3-hotfix`;
    await lab.patch({ spec: { glance: { image: own } } });
    await lab.clock.runFor(30_000);
    expect([lab.image('glance'), lab.image('region')]).toEqual([own, `${REPOSITORY}/region:${V1}`]);
    expect(lab.status.history?.at(-1)).toMatchObject({
      who: 'kubectl-edit', // the version is bmctl's
      component: 'glance',
      from: `${REPOSITORY}/glance:${V1}`,
      to: own,
      outcome: 'Succeeded',
    });
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Upgrading');
    await lab.until('Running');
    expect([lab.image('glance'), lab.image('region')]).toEqual([own, `${REPOSITORY}/region:${V2}`]);
    await lab.patch({ spec: { glance: { image: null } } });
    await lab.clock.runFor(30_000);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V2}`);
  });

  it('004-6: one component’s image that never becomes ready is told like a version, and so is its end', { timeout: 60_000 }, async () => {
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 120 } });
    await lab.until('Running');
    const [daemonSet] = lab.api.all('DaemonSet');
    const row = catalog.find(({ name }) => daemonSet?.metadata.name === `default-${name}`);
    const bad = `${REPOSITORY}/bad:${V2}`; // a DaemonSet has no deadline of its own
    lab.kubelet.bad.add(bad);
    await lab.patch({ spec: { [row?.key ?? '']: { image: bad, updateStrategy: { type: 'RollingUpdate' } } } });
    await lab.clock.runFor(240_000);
    expect(lab.status.history?.at(-1)).toMatchObject({ component: row?.name, outcome: 'Failed' });
    expect(lab.condition('Degraded')).toMatchObject({ status: 'True', reason: 'RolloutFailed', message: expect.stringContaining('120 s') });
    const outcome = () => {
      const object = lab.api.peek(clusterType.kind, 'onecloud/default');
      return object && outcomeOf(object);
    };
    expect(outcome()).toMatchObject({ type: 'failed', reason: expect.stringContaining('120 s') });
    lab.kubelet.bad.clear(); // somebody pushes the image
    await lab.until('Running');
    expect(lab.status.history?.at(-1)).toMatchObject({ component: row?.name, outcome: 'Succeeded' });
    expect(lab.condition('Degraded')).toMatchObject({ status: 'False' });
    expect(outcome()).toEqual({ type: 'there' });
  });

  it('004-6: of one component’s images those that never came to run are not told as succeeded', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    const [broken, fixed] = ['broken', 'fixed'].map((tag) => `${REPOSITORY}/web:${tag}`);
    lab.kubelet.bad.add(broken ?? '');
    await lab.patch({ spec: { web: { image: broken } } });
    await lab.clock.runUntil(() => lab.image('web') === broken, { limitMs: 60_000 });
    await lab.patch({ spec: { web: { image: fixed } } });
    await lab.until('Running');
    await lab.clock.runFor(60_000);
    expect(lab.status.history?.slice(1).map(({ to, outcome }) => [to, outcome])).toEqual([
      [broken, 'Superseded'],
      [fixed, 'Succeeded'],
    ]);
  });

  it('004-7: a version that does not become ready is rolled back by itself, when asked to', { timeout: 60_000 }, async () => {
    await rolledBack();
    await lab.clock.runFor(60_000);
    for (const name of ['keystone', 'region', 'glance']) expect(lab.image(name)).toBe(`${REPOSITORY}/${name}:${V1}`);
    expect(lab.status.history?.at(-1)).toMatchObject({
      from: V1,
      to: V2,
      outcome: 'RolledBack',
      message: expect.stringContaining('region'),
    });
    expect(lab.condition('Degraded')).toMatchObject({ status: 'True', reason: 'RolledBack' });
    expect(lab.condition('Ready')).toMatchObject({ status: 'True' });
    expect(await lab.quiet(600_000)).toBe(0); // it does not try again by itself
    lab.kubelet.bad.clear();
    await lab.patch({ spec: { version: `${V2}-fixed` } });
    await lab.until('Running');
    expect(lab.status.version).toBe(`${V2}-fixed`);
  });

  it('004-7: a wall clock that is put forward rolls nothing back', { timeout: 60_000 }, async () => {
    await lab.start({ updateStrategy: { autoRollback: true, layerTimeoutSeconds: 600 } });
    await lab.until('Running');
    lab.kubelet.startMs = 120_000;
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Upgrading');
    await lab.clock.runFor(60_000);
    lab.clock.stepWall(3_600_000);
    await lab.until('Running');
    expect(lab.status.history?.at(-1)).toMatchObject({ to: V2, outcome: 'Succeeded' });
  });

  it('004-6: an image of its own, given after a version was rolled back, is a change like any other', { timeout: 60_000 }, async () => {
    await rolledBack();
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:fixed` } } });
    await lab.clock.runFor(60_000);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:fixed`);
    expect(lab.status.history?.slice(-2)).toMatchObject([
      { to: V2, outcome: 'RolledBack' },
      { component: 'glance', from: `${REPOSITORY}/glance:${V1}`, to: `${REPOSITORY}/glance:fixed`, databaseDump: { state: 'NotTaken' } },
    ]);
  });

  it('the history keeps the version through any number of changes of single components', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    for (let turn = 1; turn <= HISTORY_LIMIT + 2; turn++) {
      await lab.patch({ spec: { web: { image: `${REPOSITORY}/web:${turn}` } } });
      await lab.clock.runFor(10_000);
    }
    const history = lab.status.history ?? [];
    expect(history).toHaveLength(HISTORY_LIMIT);
    expect(history[0]).toMatchObject({ to: V1, outcome: 'Succeeded' });
    expect(history.slice(1).map(({ component }) => component)).toEqual(Array.from({ length: HISTORY_LIMIT - 1 }, () => 'web'));
    expect(history.every(({ outcome }) => outcome === 'Succeeded')).toBe(true);
  });

  it('004-7: without automatic rollback it stops there and says so; setting the version back rolls back', { timeout: 60_000 }, async () => {
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 120 } });
    await lab.until('Running');
    lab.kubelet.bad.add(`${REPOSITORY}/region:${V2}`);
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Degraded');
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect(lab.status.history?.at(-1)).toMatchObject({ to: V2, outcome: 'Failed' });
    expect(lab.condition('Degraded')?.message).toContain('region');
    // keystone's tables are V2's by now: without a word nothing moves
    await lab.patch({ spec: { version: V1 } });
    await lab.clock.runFor(60_000);
    expect([lab.image('keystone'), lab.condition('Accepted')?.reason]).toEqual([`${REPOSITORY}/keystone:${V2}`, 'RollbackRefused']);
    await lab.patch({ metadata: { annotations: { [operatorAnnotation.acceptDatabase]: V1 } } });
    await lab.until('Running');
    for (const name of ['keystone', 'region', 'glance']) expect(lab.image(name)).toBe(`${REPOSITORY}/${name}:${V1}`);
    expect(lab.status.history?.map(({ to, outcome, migrated, notRolledBack }) => [to, outcome, migrated, notRolledBack])).toEqual([
      [V1, 'Succeeded', undefined, undefined],
      [V2, 'Failed', ['keystone'], undefined],
      [V1, 'Succeeded', ['keystone'], ['keystone']], // region's new program never started
    ]);
    expect(lab.condition('Accepted')).toMatchObject({ status: 'True' });
  });

  it('004-8: disable takes the workload away and keeps configuration and claim; other overrides reach it', {
    timeout: 60_000,
  }, async () => {
    await lab.start();
    await lab.until('Running');
    await lab.patch({ spec: { glance: { disable: true }, webconsole: { replicas: 3, nodeSelector: { zone: 'a' } } } });
    await lab.clock.runFor(60_000);
    expect([lab.object('Deployment', 'default-glance'), lab.object('Service', 'default-glance')]).toEqual([undefined, undefined]);
    expect(lab.object('PersistentVolumeClaim', 'default-glance')).toBeDefined();
    expect(lab.object('ConfigMap', 'default-glance')).toBeDefined();
    expect(lab.status).toMatchObject({ phase: 'Running', components: { glance: { phase: 'Disabled' } } });
    expect(lab.object('Deployment', 'default-webconsole')?.spec).toMatchObject({
      replicas: 3,
      template: { spec: { nodeSelector: { zone: 'a' } } },
    });
  });

  it.each([
    ['Retain', true],
    ['Delete', false],
  ])('004-9: deleting the cluster removes all it owns; pvcPolicy %s', { timeout: 60_000 }, async (pvcPolicy, stays) => {
    await lab.start({ pvcPolicy });
    await lab.until('Running');
    const foreign = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'theirs', namespace: NAMESPACE }, data: {} };
    await lab.api.create(resourceTypes.configMaps, foreign);
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runUntil(() => lab.api.peek(clusterType.kind, 'onecloud/default') === undefined, { limitMs: 600_000 });
    for (const kind of ['Deployment', 'DaemonSet', 'CronJob', 'Service', 'Ingress', 'ServiceAccount'])
      expect(lab.api.all(kind)).toEqual([]);
    expect(lab.api.all('ConfigMap').map(({ metadata }) => metadata.name)).toEqual(['theirs']);
    expect(lab.api.all('PersistentVolumeClaim').length > 0).toBe(stays);
    expect(lab.api.all('Secret').every(({ metadata }) => /-credentials$|-ca$/.test(metadata.name))).toBe(true);
  });

  it('004-12: an edited ConfigMap rolls its component, survives, and is reported; accept and reset decide', {
    timeout: 60_000,
  }, async () => {
    await lab.start();
    await lab.until('Running');
    const key = { namespace: NAMESPACE, name: 'default-glance' };
    const template = (): unknown =>
      at(lab.object('Deployment', 'default-glance'), 'spec', 'template', 'metadata', 'annotations', onecloudAnnotation.configChecksum);
    const generated = lab.object('ConfigMap', 'default-glance')?.data;
    const before = template();
    await lab.api.patch(resourceTypes.configMaps, key, { data: { config: 'debug: true\n' } }, { fieldManager: 'kubectl-edit' });
    await lab.clock.runFor(60_000);
    expect(lab.object('ConfigMap', 'default-glance')?.data).toEqual({ config: 'debug: true\n' });
    const edited = template();
    expect(edited).not.toBe(before);
    expect(lab.condition('ConfigDrift')).toMatchObject({ status: 'True', message: expect.stringContaining('glance') });
    expect(lab.status.components?.glance).toMatchObject({ configDrift: true, phase: 'Ready' });
    expect(await lab.quiet(600_000)).toBe(0);

    const annotate = (annotation: string, value: string) =>
      lab.api.patch(resourceTypes.configMaps, key, { metadata: { annotations: { [annotation]: value } } }, { fieldManager: 'bmctl' });
    await annotate(operatorAnnotation.acceptedConfig, configChecksum({ config: 'debug: true\n' }));
    await lab.clock.runFor(60_000);
    expect(lab.condition('ConfigDrift')).toMatchObject({ status: 'False' });
    expect([lab.object('ConfigMap', 'default-glance')?.data, template()]).toEqual([{ config: 'debug: true\n' }, edited]);

    await annotate(operatorAnnotation.resetConfig, 'please');
    await lab.clock.runFor(60_000);
    expect([lab.object('ConfigMap', 'default-glance')?.data, template()]).toEqual([generated, before]);
    expect(lab.object('ConfigMap', 'default-glance')?.metadata.annotations).not.toHaveProperty(operatorAnnotation.resetConfig);
    expect(await lab.quiet(600_000)).toBe(0);
  });

  it('004-12: a reset that cannot be carried out yet is not forgotten', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    const key = { namespace: NAMESPACE, name: 'default-glance' };
    const generated = lab.object('ConfigMap', 'default-glance')?.data;
    await lab.api.patch(resourceTypes.configMaps, key, { data: { config: 'debug: true\n' } }, { fieldManager: 'kubectl-edit' });
    await lab.clock.runFor(60_000);
    lab.api.fault = ({ verb, kind, key: name }) =>
      verb === 'apply' && kind === 'ConfigMap' && name === 'onecloud/default-glance'
        ? new ApiError('forbidden', 'exceeded quota: configmaps')
        : undefined;
    const annotations = { [operatorAnnotation.resetConfig]: 'please' };
    await lab.api.patch(resourceTypes.configMaps, key, { metadata: { annotations } }, { fieldManager: 'bmctl' });
    await lab.clock.runFor(60_000);
    lab.api.fault = undefined;
    await lab.clock.runFor(600_000);
    expect(lab.object('ConfigMap', 'default-glance')?.data).toEqual(generated);
    expect(lab.object('ConfigMap', 'default-glance')?.metadata.annotations).not.toHaveProperty(operatorAnnotation.resetConfig);
  });

  it('004-17: an update waits for its window, says until when, and rolls in it', { timeout: 60_000 }, async () => {
    await lab.start({ updateStrategy: { window: { cron: '0 2 * * tue', durationMinutes: 60, timeZone: 'Asia/Shanghai' } } });
    await lab.until('Running'); // an installation waits for nothing
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(600_000);
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    expect(lab.status.plan).toMatchObject({ notBefore: '2026-01-05T18:00:00.000Z', waitingFor: expect.stringContaining('0 2 * * tue') });
    expect(lab.status.plan?.changes).toContainEqual({
      component: 'keystone',
      what: 'image of keystone',
      from: `${REPOSITORY}/keystone:${V1}`,
      to: `${REPOSITORY}/keystone:${V2}`,
    });
    expect(lab.condition('Progressing')).toMatchObject({ status: 'False', reason: 'WaitingForWindow' });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 8 * 3_600_000 });
    const when = lab.status.history?.at(-1)?.when ?? '';
    expect(when.slice(0, 16)).toBe('2026-01-05T18:00');
    expect(lab.status.plan).toBeUndefined();
  });

  it('004-17: after a version was rolled back only the way back is open at all times', { timeout: 60_000 }, async () => {
    const window = { cron: '0 */2 * * *', durationMinutes: 30, timeZone: 'UTC' };
    await rolledBack({ window }); // in the window of noon
    await lab.clock.runFor(3_600_000); // which has closed
    for (const name of ['keystone', 'region']) expect(lab.image(name)).toBe(`${REPOSITORY}/${name}:${V1}`);
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:fixed` } } });
    await lab.clock.runFor(600_000);
    expect(lab.image('glance')).toBe(`${REPOSITORY}/glance:${V1}`);
    expect(lab.status.plan?.waitingFor).toContain('0 */2 * * *');
    await lab.clock.runUntil(() => lab.image('glance') === `${REPOSITORY}/glance:fixed`, { limitMs: 2 * 3_600_000 });
    expect(new Date(lab.clock.now()).toISOString()).toMatch(/^2026-01-05T14:00/);
  });

  it('004-17: neither a version after one that was rolled back, nor one beside a component on its way, slips past the window', {
    timeout: 60_000,
  }, async () => {
    const window = { cron: '0 */2 * * *', durationMinutes: 30, timeZone: 'UTC' };
    await lab.start({ updateStrategy: { autoRollback: true, layerTimeoutSeconds: 3600, window } });
    await lab.until('Running');
    lab.kubelet.bad.add(`${REPOSITORY}/web:slow`);
    await lab.patch({ spec: { web: { image: `${REPOSITORY}/web:slow` } } });
    await lab.clock.runUntil(() => lab.image('web') === `${REPOSITORY}/web:slow`, { limitMs: 60_000 });
    await lab.clock.runFor(1_800_000); // the window closes before the hour of the layer is over
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(5_000);
    lab.kubelet.bad.clear();
    await lab.clock.runFor(600_000);
    expect(lab.image('keystone')).toBe(`${REPOSITORY}/keystone:${V1}`);
    expect(lab.status.plan?.waitingFor).toContain('0 */2 * * *');
    expect(lab.status.history?.at(-1)).toMatchObject({ component: 'web', outcome: 'Succeeded' }); // it waits for no window

    lab.kubelet.bad.add(`${REPOSITORY}/region:${V2}`);
    await lab.clock.runUntil(() => lab.status.history?.at(-1)?.outcome === 'RolledBack', { limitMs: 4 * 3_600_000 });
    await lab.clock.runFor(600_000);
    await lab.patch({ spec: { version: `${V2}-fixed` } });
    await lab.clock.runFor(600_000);
    expect(lab.image('region')).toBe(`${REPOSITORY}/region:${V1}`);
    expect(lab.status.plan?.waitingFor).toContain('0 */2 * * *');
  });

  it('paused: reports, changes nothing, goes on afterwards', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    await lab.patch({ spec: { paused: true, version: V2 } });
    await lab.until('Paused');
    await lab.api.delete(resourceTypes.services, { namespace: NAMESPACE, name: 'default-glance' });
    await lab.clock.runFor(600_000);
    expect([lab.object('Service', 'default-glance'), lab.image('keystone')]).toEqual([undefined, `${REPOSITORY}/keystone:${V1}`]);
    await lab.patch({ spec: { paused: false } });
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(lab.object('Service', 'default-glance')).toBeDefined();
  });

  it('a spec that is wrong is refused with the nearest field, and nothing is touched', async () => {
    await lab.start({ alance: { replicas: 1 } });
    await lab.clock.runFor(10_000);
    expect(lab.status.phase).toBe('Degraded');
    expect(lab.condition('Degraded')).toMatchObject({ reason: 'InvalidSpec', message: expect.stringContaining('glance') });
    expect(lab.api.all('Deployment')).toEqual([]);
  });

  it('a spec that is refused in the middle of a rollout stops it, and who waits for it is told', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.clock.runUntil(() => lab.condition('Progressing')?.status === 'True', { limitMs: 60_000 });
    await lab.patch({ spec: { glanse: { replicas: 2 } } });
    await lab.clock.runFor(30_000);
    expect(lab.condition('Progressing')).toMatchObject({ status: 'False', reason: 'InvalidSpec' });
    const object = lab.api.peek(clusterType.kind, 'onecloud/default');
    expect(object && outcomeOf(object)).toMatchObject({ type: 'failed', reason: expect.stringContaining('glanse') });
    await lab.patch({ spec: { paused: true, glanse: null } });
    await lab.until('Paused');
    expect(lab.condition('Progressing')).toMatchObject({ status: 'False', reason: 'Paused' });
    await lab.patch({ spec: { paused: null } });
    await lab.until('Running');
  });

  it('one certificate serves whatever addresses and names are asked for', { timeout: 60_000 }, async () => {
    await lab.start({
      certSANs: ['fd00::1', 'FD00:0::2', '::ffff:10.1.2.3', '10.1.2.4', '*.Example.org', 'host.'],
      loadBalancerEndpoint: 'fd00::3',
    });
    await lab.until('Running');
    await lab.clock.runFor(60_000);
    const before = lab.object('Secret', 'default-certs')?.metadata.resourceVersion;
    expect(before).toBeDefined();
    await lab.patch({ metadata: { annotations: { look: 'again' } } });
    expect(await lab.quiet(60_000)).toBe(0);
  });

  it('another release of the operator restarts nothing; its renderer comes with the next change of each component', {
    timeout: 60_000,
  }, async () => {
    const renderers = (): Record<string, unknown> =>
      Object.fromEntries(
        lab.api
          .all('Deployment')
          .map(({ metadata, spec }) => [metadata.name, at(spec, 'template', 'spec', 'initContainers', '0', 'image')] as const)
          .filter(([name]) => ['default-keystone', 'default-glance', 'default-web'].includes(name)),
      );
    await lab.add('default');
    await lab.operate('o:1');
    await lab.until('Running');
    const first = { 'default-keystone': 'o:1', 'default-glance': 'o:1', 'default-web': renderers()['default-web'] };
    expect(renderers()).toEqual(first);
    lab.kubelet.rolled.length = 0;
    await lab.replaceOperator('o:2');
    await lab.clock.runFor(60_000);
    expect(renderers()).toEqual(first);
    expect(lab.kubelet.rolled).toEqual([]);
    await lab.patch({ spec: { glance: { image: `${REPOSITORY}/glance:v3.1.3-hotfix` } } });
    await lab.clock.runFor(30_000);
    expect(renderers()).toEqual({ ...first, 'default-glance': 'o:2' });
    // what waits for the layer before it waits with all of its images
    await lab.patch({ spec: { version: V2, glance: { image: null } } });
    await lab.until('Upgrading');
    expect([lab.image('keystone'), renderers()['default-keystone']]).toEqual([`${REPOSITORY}/keystone:${V2}`, 'o:2']);
    expect(lab.status.history?.at(-1)).toMatchObject({ from: V1, to: V2, outcome: 'InProgress' });
    await lab.until('Running');
    expect(renderers()).toMatchObject({ 'default-keystone': 'o:2', 'default-glance': 'o:2' });
    const before = lab.kubelet.rolled.length;
    await lab.clock.runFor(7 * 3_600_000);
    expect(lab.kubelet.rolled.length).toBe(before);
  });

  it('an operator that is replaced in the middle of an upgrade, and an API server that stumbles, do not hurt it', {
    timeout: 60_000,
  }, async () => {
    await lab.start();
    await lab.until('Running');
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Upgrading');
    await lab.replaceOperator();
    let asked = 0;
    lab.api.fault = () => (++asked % 7 === 0 ? new ApiError('server', 'HTTP 503') : undefined);
    await lab.clock.runFor(5_000);
    lab.api.breakWatches(new ApiError('network', 'reset'));
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 7_200_000 });
    lab.api.fault = undefined;
    expect(lab.status.history?.map(({ to, outcome }) => [to, outcome])).toEqual([
      [V1, 'Succeeded'],
      [V2, 'Succeeded'],
    ]);
  });
});
