/** Two clusters that want the same, and two operators one after the other: what the second of them must know. */
import { catalog, clusterStatusSchema } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterEach, describe, expect, it } from 'vitest';
import { at } from '../../../src/operator/engine/objects.ts';
import { waitFor } from '../../../src/operator/onecloud/deadline.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { KEY, Lab, NAMESPACE, REPOSITORY, V1, V2 } from './lab.ts';

let lab = new Lab();
afterEach(async () => {
  await lab.stop();
  lab = new Lab();
});

const internal = Object.fromEntries(
  catalog.filter(({ ports }) => ports?.some(({ nodePort }) => nodePort !== undefined)).map(({ key }) => [key, { internalOnly: true }]),
);
const labelled = 'app.kubernetes.io/instance';
const second = { namespace: NAMESPACE, name: 'second' };
const conditions = (): unknown => at(lab.api.peek(clusterType.kind, `${NAMESPACE}/second`), 'status', 'conditions');
const accepted = (status: string, message?: string) =>
  expect.objectContaining({ type: 'Accepted', status, ...(message !== undefined && { message: expect.stringContaining(message) }) });

describe('004-4: two clusters that want one node port', { timeout: 60_000 }, () => {
  it('the later one is told which and whose, and nothing of it is made', async () => {
    await lab.start();
    await lab.until('Running');
    await lab.add('second', { ...internal, glance: { nodePorts: { api: 30500 } } });
    await lab.clock.runFor(30_000);
    expect(conditions()).toContainEqual(
      accepted('False', 'node port 30500 of onecloud/second glance is already that of onecloud/default keystone'),
    );
    expect(lab.stories).toContainEqual({ reason: 'NodePortTaken', note: expect.stringContaining('ONECLOUD_NODE_PORT_TAKEN') });
    expect(lab.api.all('Deployment').filter(({ metadata }) => metadata.name.startsWith('second-'))).toEqual([]);
    expect(lab.api.all('Secret').filter(({ metadata }) => metadata.name.startsWith('second-'))).toEqual([]);
    expect(lab.status.phase).toBe('Running'); // the first is not concerned
    expect(await lab.quiet(30_000)).toBe(0);
  });

  it.each([
    ['it takes another', () => lab.api.patch(clusterType, second, { spec: { glance: { nodePorts: { api: 30501 } } } })],
    ['the other gives it up', () => lab.patch({ spec: { keystone: { internalOnly: true } } })],
    ['the other goes', () => lab.api.delete(clusterType, KEY)],
  ])('it comes up when %s', async (_, act) => {
    await lab.start();
    await lab.until('Running');
    await lab.add('second', { ...internal, glance: { nodePorts: { api: 30500 } } });
    await lab.clock.runFor(30_000);
    await act();
    await lab.clock.runUntil(() => lab.object('Deployment', 'second-keystone') !== undefined, { limitMs: 600_000 });
    await lab.clock.runFor(30_000);
    expect(conditions()).toContainEqual(accepted('True'));
  });

  it('an elder that takes a port later stops the changes of the younger, which runs on', async () => {
    await lab.start({ keystone: { internalOnly: true } });
    await lab.until('Running');
    await lab.add('second', { ...internal, glance: { nodePorts: { api: 30500 } } });
    await lab.clock.runUntil(() => lab.object('Deployment', 'second-glance') !== undefined, { limitMs: 600_000 });
    await lab.clock.runFor(60_000);
    await lab.patch({ spec: { keystone: { internalOnly: false } } });
    await lab.clock.runFor(10_000);
    expect(conditions()).toContainEqual(accepted('False', '30500'));
    expect(lab.object('Deployment', 'second-glance')).toBeDefined();
  });
});

describe('004-9: two clusters of one namespace with one instance, as copies of a file are', { timeout: 60_000 }, () => {
  const labels = { 'app.kubernetes.io/instance': 'onecloud-cluster-x7' };
  const other = { ...internal, mysql: { host: '10.0.0.9', username: 'root', password: 'another' }, pvcPolicy: 'Delete' };

  it('the later one is told, since its Services would send people to the other’s pods', async () => {
    await lab.start();
    await lab.patch({ metadata: { labels } });
    await lab.until('Running');
    await lab.add('second', { ...other, paused: true });
    await lab.api.patch(clusterType, second, { metadata: { labels }, spec: { paused: false } });
    await lab.clock.runFor(30_000);
    expect(conditions()).toContainEqual(accepted('False', 'onecloud-cluster-x7'));
    expect(lab.object('Service', 'second-glance')).toBeUndefined();
    await lab.api.patch(clusterType, second, { metadata: { labels: { 'app.kubernetes.io/instance': 'onecloud-cluster-x8' } } });
    await lab.clock.runFor(30_000);
    expect(conditions()).toContainEqual(accepted('True'));
  });

  it('the deletion of one takes nothing of the other', async () => {
    await lab.start();
    await lab.until('Running');
    const { [labelled]: instance = '' } = lab.object('Service', 'default-glance')?.metadata.labels ?? {};
    await lab.add('second', other);
    await lab.clock.runUntil(() => lab.object('PersistentVolumeClaim', 'second-glance') !== undefined, { limitMs: 60_000 });
    await lab.api.patch(clusterType, second, { metadata: { labels: { [labelled]: instance } } });
    const claims = lab.api.all('PersistentVolumeClaim').filter(({ metadata }) => metadata.name.startsWith('default-'));
    expect(claims.length).toBeGreaterThan(0);
    await lab.api.delete(clusterType, second);
    await lab.clock.runFor(60_000);
    expect(lab.api.all('PersistentVolumeClaim')).toEqual(expect.arrayContaining(claims));
  });
});

describe('004-7: the deadline of a layer', { timeout: 60_000 }, () => {
  it('holds for the next operator too', async () => {
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 600 } });
    await lab.until('Running');
    lab.kubelet.startMs = 10_000_000; // it makes no progress and says no word
    await lab.patch({ spec: { version: V2 } });
    await lab.clock.runFor(500_000);
    expect(lab.status).toMatchObject({ phase: 'Upgrading', waiting: { layer: 0, revision: 2 } });
    await lab.replaceOperator();
    await lab.clock.runFor(90_000);
    expect(lab.status.phase).toBe('Upgrading'); // 590 s
    await lab.clock.runFor(30_000);
    expect(lab.status.history?.at(-1)).toMatchObject({
      outcome: 'Failed',
      message: expect.stringContaining('keystone did not become ready within 600 s'),
    });
    expect(lab.image('region')).toBe(`${REPOSITORY}/region:${V1}`);
    lab.kubelet.startMs = 3_000;
    await lab.clock.runUntil(() => lab.version === V2, { limitMs: 3_600_000 });
    expect(lab.status).not.toHaveProperty('waiting');
    expect(lab.status.history?.map(({ to, component }) => [to, component])).toEqual([
      [V1, undefined],
      [V2, undefined], // what the failed version left undone is its own, not a change of single components
    ]);
  });

  const layer = { generation: 4, revision: 2, layer: 1 };
  const since = '2026-01-05T12:00:00.000Z';
  const noon = Date.UTC(2026, 0, 5, 12);
  it.each([
    ['nothing is waited for', undefined, { ...layer, since }, noon, undefined],
    ['it begins', layer, undefined, noon, 600_000],
    ['it goes on', layer, { ...layer, since }, noon + 599_000, 1_000],
    ['it is over', layer, { ...layer, since }, noon + 700_000, -100_000],
    ['another layer', layer, { ...layer, layer: 0, since }, noon + 700_000, 600_000],
    ['another rollout', layer, { ...layer, revision: 1, since }, noon + 700_000, 600_000],
    ['the spec was changed', layer, { ...layer, generation: 3, since }, noon + 700_000, 600_000],
    ['the clock was ahead', layer, { ...layer, since }, noon - 1, 600_000],
    ['no time at all', layer, { ...layer, since: 'soon' }, noon, 600_000],
  ])('%s', (_, now, before, wallMs, leftMs) => {
    expect(waitFor(now, before, 600_000, wallMs).leftMs).toBe(leftMs);
  });
});

describe('what a pause, or another cluster, stops', { timeout: 60_000 }, () => {
  it('no layer’s time runs meanwhile', async () => {
    await lab.start({ keystone: { internalOnly: true } });
    await lab.until('Running');
    await lab.add('second', { ...internal, updateStrategy: { autoRollback: true }, glance: { nodePorts: { api: 30500 } } });
    const status = () => clusterStatusSchema.parse(lab.api.peek(clusterType.kind, `${NAMESPACE}/second`)?.status ?? {});
    await lab.clock.runUntil(() => status().phase === 'Running', { limitMs: 3_600_000 });
    lab.kubelet.bad.add(`${REPOSITORY}/keystone:${V2}`);
    await lab.api.patch(clusterType, second, { spec: { version: V2 } });
    await lab.clock.runFor(60_000);
    expect(status().waiting).toBeDefined();
    await lab.patch({ spec: { keystone: { internalOnly: false } } });
    await lab.clock.runFor(300_000);
    expect(status().waiting).toBeUndefined();
    const resumedAt = lab.clock.now();
    await lab.patch({ spec: { keystone: { internalOnly: true } } });
    await lab.clock.runFor(60_000);
    expect(status().history?.at(-1)).toMatchObject({ to: V2, outcome: 'InProgress' });
    expect(Date.parse(status().waiting?.since ?? '')).toBeGreaterThanOrEqual(resumedAt);
  });

  it('a pause leaves no condition of a spec that was corrected with it', async () => {
    await lab.start();
    await lab.until('Running');
    await lab.patch({ spec: { updateStrategy: { window: { cron: '* * * * *', timeZone: 'Mars/Olympus' } } } });
    await lab.clock.runFor(10_000);
    expect(lab.condition('Accepted')).toMatchObject({ status: 'False', reason: 'InvalidSpec' });
    await lab.patch({ spec: { paused: true, updateStrategy: { window: null } } });
    await lab.clock.runFor(10_000);
    for (const type of ['Accepted', 'Ready', 'Degraded'])
      expect(lab.condition(type)).toMatchObject({ status: 'Unknown', reason: 'Paused' });
    await lab.patch({ spec: { paused: false } });
    await lab.until('Running');
    expect(lab.condition('Accepted')).toMatchObject({ status: 'True' });
    expect(lab.condition('Degraded')).toMatchObject({ status: 'False' });
  });
});
