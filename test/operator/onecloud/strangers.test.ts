/** Objects with names of ours that somebody else made. */
import { afterEach, describe, expect, it } from 'vitest';
import type { ResourceType } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { KEY, Lab, NAMESPACE } from './lab.ts';

describe('what is somebody else’s', () => {
  let lab = new Lab();
  afterEach(async () => {
    await lab.stop();
    lab = new Lab();
  });

  const place = (type: ResourceType, name: string, content: Record<string, unknown>) =>
    lab.api.create(
      type,
      { apiVersion: type.apiVersion, kind: type.kind, metadata: { namespace: NAMESPACE, name }, ...content },
      { fieldManager: 'kubectl-create' },
    );

  it('004-9: is told and left alone, and stays when the cluster goes', { timeout: 60_000 }, async () => {
    // none of them has a field that ours would set to another value, so the API server would merge
    const theirs = [
      [resourceTypes.configMaps, 'default-glance', { data: { 'theirs.conf': 'precious' } }],
      [resourceTypes.persistentVolumeClaims, 'default-influxdb', { spec: { volumeName: 'theirs' } }],
    ] as const;
    for (const [type, name, content] of theirs) await place(type, name, content);
    const asTheyWere = theirs.map(([{ kind }, name]) => lab.object(kind, name));
    await lab.start({ pvcPolicy: 'Delete' });
    await lab.clock.runFor(120_000);
    expect(theirs.map(([{ kind }, name]) => lab.object(kind, name))).toEqual(asTheyWere);
    expect(lab.status.components?.glance).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('ConfigMap onecloud/default-glance exists'),
    });
    await lab.api.delete(clusterType, KEY);
    await lab.clock.runUntil(() => lab.api.peek(clusterType.kind, 'onecloud/default') === undefined, { limitMs: 60_000 });
    expect(theirs.map(([{ kind }, name]) => lab.object(kind, name))).toEqual(asTheyWere);
  });

  it('is taken up once it is handed over or gone', { timeout: 60_000 }, async () => {
    await place(resourceTypes.configMaps, 'default-glance', { data: { 'theirs.conf': 'precious' } });
    await lab.start();
    await lab.clock.runUntil(() => lab.status.components?.glance?.phase === 'Failed', { limitMs: 120_000 });
    await lab.api.delete(resourceTypes.configMaps, { namespace: NAMESPACE, name: 'default-glance' });
    await lab.until('Running');
  });

  it('a cluster that is given another instance leaves what runs as it is', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    const before = [lab.object('Service', 'default-glance'), lab.object('Deployment', 'default-glance')];
    await lab.patch({ metadata: { labels: { 'app.kubernetes.io/instance': 'another' } } });
    await lab.clock.runFor(60_000);
    expect([lab.object('Service', 'default-glance'), lab.object('Deployment', 'default-glance')]).toEqual(before);
    expect(lab.status.phase).toBe('Degraded');
  });

  it('an object of ours that lost its labels is not', { timeout: 60_000 }, async () => {
    await lab.start();
    await lab.until('Running');
    const key = { namespace: NAMESPACE, name: 'default-glance' };
    const labels = Object.fromEntries(Object.keys(lab.object('Service', key.name)?.metadata.labels ?? {}).map((label) => [label, null]));
    await lab.api.patch(resourceTypes.services, key, { metadata: { labels } }, { fieldManager: 'kubectl-label' });
    await lab.clock.runFor(60_000);
    expect(lab.object('Service', key.name)?.metadata.labels).toMatchObject({ 'app.kubernetes.io/managed-by': 'onecloud-operator' });
    expect(lab.status.phase).toBe('Running');
  });
});
