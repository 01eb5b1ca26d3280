import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { KubeApi } from '../../../src/operator/engine/api.ts';
import { type Applied, type ApplyObjectOptions, applyAnnotation, applyObject } from '../../../src/operator/engine/apply.ts';
import { at, type KubeObject, type LiveObject } from '../../../src/operator/engine/objects.ts';
import { prune } from '../../../src/operator/engine/prune.ts';
import { resourceTypes, typeTable } from '../../../src/operator/engine/resource-types.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { withoutCluster } from '../../support/cluster.ts';
import { eventually, type RealApi, realApi } from '../cluster.ts';
import { FakeApi } from '../fake-api.ts';
import { configMap, deployment } from '../support.ts';

const { configMaps, deployments, persistentVolumeClaims, secrets, services } = resourceTypes;
const INVENTORY = { label: 'app.kubernetes.io/instance', value: 'engine-test' };
const types = typeTable();

interface Server {
  readonly api: KubeApi;
  readonly namespace: string;
  /** Writes since the last call. */
  writes(): number;
}

const fakeServer = async (): Promise<{ server: Server; close: () => Promise<void> }> => {
  const api = new FakeApi(new VirtualClock());
  const server: Server = {
    api,
    namespace: 'default',
    writes: () => {
      const count = api.writes().length;
      api.requests.length = 0;
      return count;
    },
  };
  return { server, close: async () => undefined };
};

const realServer = async (): Promise<{ server: Server; close: () => Promise<void> }> => {
  const real: RealApi = realApi();
  const namespace = await real.namespace();
  return { server: { api: real.api, namespace, writes: () => real.writes.splice(0).length }, close: () => real.close() };
};

const servers = [
  { name: 'in memory', skip: false, open: fakeServer },
  { name: 'a real API server', skip: withoutCluster('server-side apply on an API server'), open: realServer },
];

describe.each(servers)('apply: $name', ({ skip, open, name: where }) => {
  describe.skipIf(skip)('', () => {
    let server: Server;
    let close: () => Promise<void>;
    let counter = 0;
    let name = '';
    beforeAll(async () => {
      ({ server, close } = await open());
    });
    afterAll(() => close());
    beforeEach(() => {
      name = `object-${++counter}`;
      server.writes();
    });

    const apply = (object: KubeObject, options: Partial<ApplyObjectOptions> = {}): Promise<Applied> =>
      applyObject(
        { ...object, metadata: { ...object.metadata, namespace: server.namespace } },
        { api: server.api, types, inventory: INVENTORY, ...options },
      );
    const key = () => ({ namespace: server.namespace, name });
    const secret = (data: Record<string, string>): KubeObject => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name },
      type: 'Opaque',
      data,
    });
    const service: () => KubeObject = () => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: {
        selector: { app: name },
        ports: [
          { name: 'api', port: 80, targetPort: 8080 },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      },
    });
    const claim: () => KubeObject = () => ({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'local-path', resources: { requests: { storage: '1000M' } } },
    });

    it.each<[string, () => KubeObject]>([
      ['ConfigMap', () => configMap(name, { config: 'a = 1\n' })],
      ['Secret', () => secret({ password: 'c2VjcmV0' })],
      ['Service', service],
      ['PersistentVolumeClaim', claim],
      [
        'Deployment',
        () =>
          deployment(name, {
            replicas: 2,
            strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
            template: {
              metadata: { labels: { app: name }, annotations: { checksum: 'abc' } },
              spec: {
                containers: [
                  {
                    name: 'main',
                    image: 'registry.example/glance:1',
                    ports: [{ containerPort: 30292 }],
                    env: [
                      { name: 'A', value: '1' },
                      { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
                    ],
                    resources: { requests: { cpu: '1000m', memory: '1024Mi' } }, // stored as 1 and 1Gi
                    volumeMounts: [{ name: 'config', mountPath: '/etc/yunion', readOnly: true }],
                    securityContext: { capabilities: { drop: ['ALL'] } },
                  },
                ],
                initContainers: [{ name: 'init', image: 'registry.example/glance:1', command: ['true'] }],
                volumes: [
                  { name: 'config', configMap: { name, items: [{ key: 'config', path: 'glance.conf' }] } },
                  { name: 'run', emptyDir: {} },
                ],
                tolerations: [{ key: 'node-role.kubernetes.io/master', effect: 'NoSchedule', operator: 'Exists' }],
                nodeSelector: { 'kubernetes.io/os': 'linux' },
              },
            },
          }),
      ],
    ])('004-2: a second pass over a %s writes nothing, and asks for nothing that changes a version', async (_, make) => {
      const first = await apply(make());
      expect(first.outcome).toBe('created');
      expect(server.writes()).toBe(1);
      const second = await apply(make());
      expect(second.outcome).toBe('unchanged');
      expect(server.writes()).toBe(0);
      expect((await apply(make(), { live: second.object })).outcome).toBe('unchanged');
    });

    it('a change is one write; what is left out goes; annotations and labels of others stay', async () => {
      await apply(configMap(name, { a: '1', b: '1' }, { labels: { app: 'x' } }));
      await server.api.patch(
        configMaps,
        key(),
        { metadata: { annotations: { 'example.org/theirs': 'kept' }, labels: { theirs: 'too' } } },
        { fieldManager: 'kubectl-annotate' },
      );
      server.writes();
      const { outcome, object } = await apply(configMap(name, { a: '2' }));
      expect(outcome).toBe('updated');
      expect(server.writes()).toBe(1);
      expect(object.data).toEqual({ a: '2' });
      expect(object.metadata.annotations).toMatchObject({ 'example.org/theirs': 'kept' });
      expect(object.metadata.labels).toEqual({ theirs: 'too', [INVENTORY.label]: INVENTORY.value });
    });

    it('drift of what we set is put right: a changed value, a removed one', async () => {
      await apply(deployment(name, { replicas: 2 }));
      await server.api.patch(deployments, key(), { spec: { replicas: 5 } }, { fieldManager: 'kubectl-edit' });
      expect(await apply(deployment(name, { replicas: 2 }))).toMatchObject({ outcome: 'updated', object: { spec: { replicas: 2 } } });
      await server.api.patch(
        deployments,
        key(),
        {
          metadata: { labels: { [INVENTORY.label]: INVENTORY.value } },
          spec: { template: { spec: { containers: [{ name: 'main', image: 'evil:1' }] } } },
        },
        { fieldManager: 'kubectl-edit' },
      );
      const { object } = await apply(deployment(name, { replicas: 2 }));
      expect(at(object, 'spec', 'template', 'spec', 'containers', '0', 'image')).toBe('registry.example/glance:1');
      await server.api.patch(
        deployments,
        key(),
        { metadata: { annotations: { [applyAnnotation.hash]: null } } },
        { fieldManager: 'kubectl-edit' },
      );
      expect((await apply(deployment(name, { replicas: 2 }))).outcome).toBe('updated');
      server.writes();
      expect((await apply(deployment(name, { replicas: 2 }))).outcome).toBe('unchanged');
      expect(server.writes()).toBe(0);
    });

    it('a field that we never set is not taken from who did', async () => {
      await apply(deployment(name));
      await server.api.patch(deployments, key(), { spec: { replicas: 7 } }, { fieldManager: 'autoscaler' });
      server.writes();
      expect((await apply(deployment(name))).outcome).toBe('unchanged');
      const error = await apply(deployment(name, { replicas: 2 })).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'OPERATOR_FIELD_CONFLICT' });
      expect(String(error)).toContain('spec.replicas is set by autoscaler');
      expect((await server.api.get(deployments, key())).spec).toMatchObject({ replicas: 7 });
    });

    it('a field that may be yielded is left to who takes it, and everything else is still applied', async () => {
      const yields = ['spec.replicas'];
      await apply(deployment(name, { replicas: 2 }), { yields });
      await server.api.patch(deployments, key(), { spec: { replicas: 7 } }, { fieldManager: 'autoscaler' });
      server.writes();
      expect((await apply(deployment(name, { replicas: 2 }), { yields })).outcome).toBe('unchanged');
      expect(server.writes()).toBe(0);
      const { object } = await apply(deployment(name, { replicas: 2, minReadySeconds: 5 }), { yields });
      expect(object.spec).toMatchObject({ replicas: 7, minReadySeconds: 5 });
      server.writes();
      expect((await apply(deployment(name, { replicas: 2, minReadySeconds: 5 }), { yields })).outcome).toBe('unchanged');
      expect(server.writes()).toBe(0);
    });

    it('an object of the same name that is not ours is neither merged into nor taken', async () => {
      await server.api.create(configMaps, configMap(name, { theirs: 'yes' }, { namespace: server.namespace }), { fieldManager: 'kubectl' });
      server.writes();
      await expect(apply(configMap(name, { ours: 'yes' }))).rejects.toMatchObject({ code: 'OPERATOR_OBJECT_NOT_OURS' });
      expect(server.writes()).toBe(0);
      const { object } = await apply(configMap(name, { ours: 'yes' }), { adopt: true });
      expect(object.data).toEqual({ theirs: 'yes', ours: 'yes' });
    });

    it('an object of another owner is refused, one of ours carries its owner', async () => {
      const [ours, theirs] = await Promise.all(
        ['ours', 'theirs'].map((which) =>
          server.api.create(configMaps, configMap(`${name}-${which}`, {}, { namespace: server.namespace })),
        ),
      );
      const { object } = await apply(configMap(name), { owner: ours });
      expect(object.metadata.ownerReferences).toEqual([
        { apiVersion: 'v1', kind: 'ConfigMap', name: `${name}-ours`, uid: ours?.metadata.uid, controller: true, blockOwnerDeletion: true },
      ]);
      expect((await apply(configMap(name), { owner: ours })).outcome).toBe('unchanged');
      await expect(apply(configMap(name), { owner: theirs })).rejects.toThrow(/belongs to ConfigMap .*-ours/);
    });

    it('a Secret’s values are in no annotation, and a changed value is put right', async () => {
      const { object } = await apply(secret({ password: 'c2VjcmV0' }));
      const hash = object.metadata.annotations?.[applyAnnotation.hash];
      const other = await apply(secret({ password: 'b3RoZXI=' }));
      expect(other.outcome).toBe('updated');
      expect(other.object.metadata.annotations?.[applyAnnotation.hash]).toBe(hash);
      await server.api.patch(secrets, key(), { data: { password: 'aGFja2Vk' } }, { fieldManager: 'kubectl-edit' });
      expect((await apply(secret({ password: 'b3RoZXI=' }))).object.data).toEqual({ password: 'b3RoZXI=' });
    });

    it('prunes what carries our label and is not wanted; claims only when told to', async () => {
      const value = `prune-${name}`;
      const inventory = { ...INVENTORY, value };
      const keep = configMap(`${name}-keep`);
      for (const object of [keep, configMap(`${name}-drop`), claim(), service()]) await apply(object, { inventory });
      await server.api.create(
        configMaps,
        configMap(`${name}-foreign`, {}, { namespace: server.namespace, labels: { [INVENTORY.label]: 'another' } }),
      );
      const wanted = { ...keep, metadata: { ...keep.metadata, namespace: server.namespace } };
      const options = {
        api: server.api,
        namespace: server.namespace,
        inventory,
        desired: [wanted],
        types: [configMaps, services, persistentVolumeClaims],
      };
      const here = server.namespace;
      expect(await prune(options)).toEqual({
        deleted: [`ConfigMap ${here}/${name}-drop`, `Service ${here}/${name}`],
        kept: [`PersistentVolumeClaim ${here}/${name}`],
      });
      expect(await prune({ ...options, keep: () => true, claims: 'Delete' })).toEqual({
        deleted: [],
        kept: [`PersistentVolumeClaim ${here}/${name}`],
      });
      expect((await prune({ ...options, claims: 'Delete' })).deleted).toEqual([`PersistentVolumeClaim ${here}/${name}`]);
      const left = (await server.api.list(configMaps, { namespace: here })).items.map(({ metadata }) => metadata.name);
      expect(left.filter((left) => left.startsWith(`${name}-`)).sort()).toEqual([`${name}-foreign`, `${name}-keep`]);
      server.writes();
      await prune(options);
      expect(server.writes()).toBe(0);
    });

    it('prunes nothing that another owner controls', async () => {
      const inventory = { ...INVENTORY, value: `prune-${name}` };
      const owner: LiveObject = await server.api.create(configMaps, configMap(`${name}-owner`, {}, { namespace: server.namespace }));
      await apply(configMap(name), { inventory, owner });
      const options = { api: server.api, namespace: server.namespace, inventory, desired: [], types: [configMaps] };
      expect((await prune({ ...options, ownerUid: 'another' })).deleted).toEqual([]);
      expect((await prune({ ...options, ownerUid: owner.metadata.uid })).deleted).toEqual([`ConfigMap ${server.namespace}/${name}`]);
    });

    if (where === 'in memory') return;

    it.each<[string, () => KubeObject, (object: KubeObject) => KubeObject, string, RegExp]>([
      [
        'the selector of a Deployment',
        () => deployment(name),
        () =>
          deployment(name, {
            selector: { matchLabels: { app: 'x' } },
            template: { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'main', image: 'a:1' }] } },
          }),
        'spec.selector',
        /--cascade=orphan/,
      ],
      [
        'the size of a claim',
        claim,
        (object) => ({ ...object, spec: { ...(object.spec as object), resources: { requests: { storage: '2G' } } } }),
        'spec',
        /copy the data into a new claim/,
      ],
      [
        'the class of a claim',
        claim,
        (object) => ({ ...object, spec: { ...(object.spec as object), storageClassName: 'fast' } }),
        'spec',
        /Set it back/,
      ],
      [
        'the address of a Service',
        service,
        (object) => ({ ...object, spec: { ...(object.spec as object), clusterIP: '10.96.77.77' } }),
        'spec.clusterIP',
        /delete the Service/,
      ],
    ])('%s cannot change: the error names the field and the way out', async (_, make, change, field, cure) => {
      await apply(make());
      const error = await apply(change(make())).catch((caught: unknown) => caught);
      expect(String(error)).toMatch(
        new RegExp(`(OPERATOR_IMMUTABLE_FIELD|OPERATOR_INVALID_OBJECT).*${name}.*${field.replaceAll('.', '\\.')}`),
      );
      expect(error).toMatchObject({ code: 'OPERATOR_IMMUTABLE_FIELD', cure: expect.stringMatching(cure) });
      expect(String(error).length).toBeLessThan(500); // no dump of a Go structure
    });

    it('names the field that is wrong, the kind that is not served, the namespace that is missing', async () => {
      await expect(apply(deployment(name, { replicas: -1 }))).rejects.toMatchObject({
        code: 'OPERATOR_INVALID_OBJECT',
        message: expect.stringContaining('spec.replicas'),
      });
      await expect(apply({ apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name }, spec: {} })).rejects.toMatchObject({
        code: 'OPERATOR_KIND_NOT_SERVED',
        cure: 'Use Kubernetes 1.25 or later.',
      });
      const elsewhere = { ...configMap(name), metadata: { name, namespace: 'bms-no-such-namespace' } };
      await expect(applyObject(elsewhere, { api: server.api, types, inventory: INVENTORY })).rejects.toMatchObject({
        code: 'OPERATOR_NAMESPACE_MISSING',
      });
    });

    it('a refused Secret does not quote its values', async () => {
      const error = await apply({ ...secret({}), type: 'kubernetes.io/tls', data: { 'tls.crt': 'bm90IGEgY2VydA==' } }).catch(
        (caught: unknown) => caught,
      );
      expect(error).toMatchObject({ code: 'OPERATOR_INVALID_OBJECT', message: expect.stringContaining('data[tls.key]') });
      expect(String(error)).not.toContain('bm90IGEg');
    });

    it('what is owned goes with its owner', async () => {
      const owner = await server.api.create(configMaps, configMap(`${name}-owner`, {}, { namespace: server.namespace }));
      await apply(configMap(name), { owner });
      await server.api.delete(configMaps, owner.metadata);
      await eventually(
        async () =>
          (await server.api.list(configMaps, { namespace: server.namespace })).items.every(({ metadata }) => metadata.name !== name),
        'garbage collection',
      );
    });
  });
});
