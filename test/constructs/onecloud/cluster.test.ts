import { App, Chart } from 'cdk8s';
import {
  ClusterSpecError,
  clusterManifests,
  configChecksum,
  OnecloudCluster,
  OnecloudClusterResource,
} from 'cdk8s-baremetal/onecloud/index';
import { catalog, onecloudAnnotation, requiredSecrets } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { onecloud } from '../../../examples/onecloud.ts';
import { type Manifest, schemaProblems } from '../../support/kubernetes-schema.ts';
import { type AnyManifest, find } from '../../support/synth.ts';
import { build, podOf, seedSpec } from './build.ts';

const KINDS: Readonly<Record<string, string>> = {
  Deployment: 'Deployment',
  StatefulDeployment: 'Deployment',
  DaemonSet: 'DaemonSet',
  CronJob: 'CronJob',
};
const PASSWORD = 'your-sql-password';
const workloads = (manifests: readonly AnyManifest[]): AnyManifest[] =>
  manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'DaemonSet' || kind === 'CronJob');

describe('the manifests of a cluster', () => {
  const manifests = build();

  it.each(catalog.map(({ name, kind }) => [name, kind] as const))('004-2: default-%s is a %s with all that belongs to it', (name, kind) => {
    const own = manifests.filter(({ metadata }) => metadata.labels?.['app.kubernetes.io/component'] === name);
    expect(own.filter(({ metadata }) => metadata.name !== `default-${name}` || metadata.namespace !== 'onecloud')).toEqual([]);
    const kinds = own.map((manifest) => manifest.kind);
    expect(kinds).toContain(KINDS[kind]);
    expect(kinds).toContain('ServiceAccount');
    const row = catalog.find((component) => component.name === name);
    expect(kinds.includes('ConfigMap')).toBe(row?.config !== undefined);
    expect(kinds.includes('PersistentVolumeClaim')).toBe(row?.storage !== undefined);
    if (row?.ports?.some(({ nodePort }) => nodePort !== undefined)) expect(kinds).toContain('Service');
  });

  it('004-2: ConfigMaps and claims that the document lists', () => {
    const names = (kind: string): string[] => manifests.filter((manifest) => manifest.kind === kind).map(({ metadata }) => metadata.name);
    expect(names('ConfigMap')).toEqual(
      expect.arrayContaining(['devtool', 'esxi-agent', 'glance', 'host', 'influxdb', 'keystone'].map((name) => `default-${name}`)),
    );
    expect(names('PersistentVolumeClaim').sort()).toEqual(
      ['baremetal-agent', 'esxi-agent', 'glance', 'influxdb', 'meter', 'notify'].map((name) => `default-${name}`),
    );
  });

  it.each([
    ['keystone', [30500, 30357]],
    ['glance', [30292]],
    ['cloudevent', [30892]],
    ['cloudnet', [30891]],
    ['devtool', [30997]],
    ['influxdb', [30086]],
    ['kubeserver', [30442]],
  ])('004-4: default-%s is a NodePort with port = nodePort %j', (name, ports) => {
    const { spec } = find(manifests, 'Service', `default-${name}`);
    expect(spec.type).toBe('NodePort');
    expect(spec.ports.map(({ port, nodePort, protocol }: Record<string, unknown>) => [port, nodePort, protocol])).toEqual(
      ports.map((port) => [port, port, 'TCP']),
    );
  });

  it.each(Object.entries({ 'esxi-agent': '30G', glance: '100G', influxdb: '20G', meter: '100G', notify: '1G', 'baremetal-agent': '100G' }))(
    '004-4: default-%s claims %s',
    (name, storage) => {
      expect(find(manifests, 'PersistentVolumeClaim', `default-${name}`).spec).toEqual({
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'local-path',
        resources: { requests: { storage } },
      });
      expect(podOf(find(manifests, 'Deployment', `default-${name}`)).volumes).toContainEqual({
        name: 'data',
        persistentVolumeClaim: { claimName: `default-${name}` },
      });
    },
  );

  it('every label that the original puts, and selectors of what never changes', () => {
    for (const manifest of manifests) {
      const name = manifest.metadata.name.replace('default-', '');
      expect(manifest.metadata.labels).toEqual({
        'app.kubernetes.io/name': 'onecloud-cluster',
        'app.kubernetes.io/instance': 'onecloud-cluster-default',
        'app.kubernetes.io/managed-by': 'onecloud-operator',
        'app.kubernetes.io/component': name,
        app: name,
      });
    }
    for (const { kind, spec } of workloads(manifests)) {
      if (kind === 'CronJob') continue;
      expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
      expect(Object.keys(spec.selector.matchLabels).sort()).toEqual(['app', 'app.kubernetes.io/component', 'app.kubernetes.io/instance']);
    }
  });

  it('every Service finds its pods, and every port that it names', () => {
    for (const { metadata, spec } of manifests.filter(({ kind }) => kind === 'Service')) {
      const workload = workloads(manifests).find((manifest) => manifest.metadata.name === metadata.name);
      expect(workload?.spec.template.metadata.labels).toMatchObject(spec.selector);
      const open = podOf(workload as AnyManifest).containers.flatMap(({ ports = [] }: { ports?: { containerPort: number }[] }) =>
        ports.map(({ containerPort }) => containerPort),
      );
      expect(open).toEqual(expect.arrayContaining(spec.ports.map(({ targetPort }: { targetPort: number }) => targetPort)));
    }
  });

  it('every mount has its volume, every volume is used, every path is mounted once', () => {
    for (const workload of workloads(manifests)) {
      const { volumes, containers, initContainers = [] } = podOf(workload);
      const known = volumes.map(({ name }: { name: string }) => name);
      expect(new Set(known).size).toBe(known.length);
      const used = new Set<string>();
      for (const { volumeMounts = [] } of [...containers, ...initContainers]) {
        const paths = volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath);
        expect(new Set(paths).size).toBe(paths.length);
        for (const { name } of volumeMounts) used.add(name);
      }
      expect([...used].sort()).toEqual([...known].sort());
    }
  });

  it('every Secret that a pod mounts is one that the operator makes, and every key is there', () => {
    const made = new Map(requiredSecrets('default').map(({ name, keys }) => [name, keys]));
    for (const workload of workloads(manifests)) {
      for (const { secret } of podOf(workload).volumes) {
        if (!secret) continue;
        expect([...made.keys()]).toContain(secret.secretName);
        for (const { key } of secret.items ?? []) expect(made.get(secret.secretName)).toContain(key);
      }
    }
  });

  it('every placeholder of a ConfigMap is a key of the Secret that its pods mount', () => {
    const made = new Map(requiredSecrets('default').map(({ name, keys }) => [name, keys]));
    const seen = new Set<string>();
    for (const { metadata, data } of manifests.filter(({ kind }) => kind === 'ConfigMap')) {
      const workload = workloads(manifests).find((manifest) => manifest.metadata.name === metadata.name) as AnyManifest;
      const secrets = podOf(workload).volumes.find(({ name }: { name: string }) => name === 'secrets');
      for (const [, key] of Object.values<string>(data).flatMap((text) => [...text.matchAll(/@\{secret:([a-z-]+)/g)])) {
        seen.add(key ?? '');
        expect(made.get(secrets?.secret.secretName), metadata.name).toContain(key);
      }
    }
    expect([...seen].sort()).toEqual(['bootstrap-password', 'db-password', 'ipmi-password', 'service-password']);
  });

  it('no password is anywhere in them, and none that everybody knows', () => {
    const text = JSON.stringify(build({ keystone: { bootstrapPassword: 'hunter2' } }));
    for (const secret of [PASSWORD, 'hunter2', 'YunionDev@123']) expect(text).not.toContain(secret);
  });

  it('no pod holds a token', () => {
    for (const workload of workloads(manifests)) expect(podOf(workload)).toMatchObject({ automountServiceAccountToken: false });
    for (const { metadata, ...account } of manifests.filter(({ kind }) => kind === 'ServiceAccount'))
      expect(account, metadata.name).toMatchObject({ automountServiceAccountToken: false });
    expect(manifests.filter(({ kind }) => kind.includes('Role'))).toEqual([]);
  });

  it('tolerates the control plane under its old names and its new one', () => {
    for (const key of ['master', 'controlplane', 'control-plane'])
      expect(podOf(find(manifests, 'Deployment', 'default-keystone')).tolerations).toContainEqual({
        effect: 'NoSchedule',
        key: `node-role.kubernetes.io/${key}`,
      });
  });

  it('every field is known to Kubernetes 1.36, with every option in use', () => {
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
    const everything = build(
      {
        imagePullSecrets: [{ name: 'registry' }],
        priorityClassName: 'mine',
        loadBalancerEndpoint: '10.0.0.1',
        keystone: { replicas: 3, affinity: { podAffinity: {} }, limits: { cpu: 2 }, annotations: { a: 'b' } },
        hostagent: { updateStrategy: { type: 'RollingUpdate', maxUnavailable: 3 } },
        cloudmonping: { suspend: true },
        baremetalagent: { replicas: 2, accessMode: 'ReadWriteMany' },
      },
      {
        owner: { apiVersion: 'onecloud.yunion.io/v1alpha1', kind: 'OnecloudCluster', name: 'default', uid: 'u', controller: true },
        secretChecksums: { glance: 'abc' },
      },
    );
    expect(everything.flatMap(schemaProblems)).toEqual([]);
  });

  it('004-1: the custom resource is valid too', () => {
    const chart = new Chart(new App(), 'c');
    const mysql = { host: '10.168.26.216', passwordSecretRef: { name: 'mysql-root' } };
    new OnecloudClusterResource(chart, 'default', { namespace: 'onecloud', spec: seedSpec({ mysql }) });
    const [resource] = chart.toJson() as Manifest[];
    expect(resource).toMatchObject({ kind: 'OnecloudCluster', metadata: { name: 'default', namespace: 'onecloud' } });
    expect(resource && schemaProblems(resource)).toEqual([]);
  });
});

describe('a custom resource that is written to dist/', () => {
  it('holds no password', () => {
    const chart = new Chart(new App(), 'c');
    new OnecloudClusterResource(chart, 'default', { spec: seedSpec() });
    expect(() => chart.toJson()).toThrow(/ONECLOUD_SECRET_AS_VALUE: spec.mysql.password/);
  });
});

describe('layers', () => {
  const groups = clusterManifests(seedSpec());

  it('come in order, each component in one of them', () => {
    const order = groups.map(({ layer }) => layer);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(groups.map(({ component }) => component).sort()).toEqual(catalog.map(({ name }) => name).sort());
    expect(groups[0]).toMatchObject({ layer: 0, component: 'keystone' });
  });

  it('give configuration and claim before what uses them', () => {
    const glance = groups.find(({ component }) => component === 'glance');
    expect(glance?.manifests.map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'PersistentVolumeClaim',
      'ServiceAccount',
      'Service',
      'Deployment',
    ]);
  });
});

describe('one implementation', () => {
  it('synthesis writes what the operator applies', () => {
    const chart = new OnecloudCluster(new App(), 'oc', { spec: seedSpec(), createNamespace: false });
    const byName = (a: Manifest, b: Manifest): number => `${a.kind} ${a.metadata.name}`.localeCompare(`${b.kind} ${b.metadata.name}`);
    expect((chart.toJson() as AnyManifest[]).sort(byName)).toEqual(build().sort(byName));
  });

  it('the example synthesizes, its namespace first', () => {
    const [first, ...rest] = onecloud(new App()).toJson() as AnyManifest[];
    expect(first).toMatchObject({ kind: 'Namespace', metadata: { name: 'onecloud' } });
    expect(first?.metadata).not.toHaveProperty('namespace');
    expect(first?.metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'privileged' });
    expect([first, ...rest].flatMap((manifest) => (manifest ? schemaProblems(manifest) : []))).toEqual([]);
    expect(podOf(find(rest, 'Deployment', 'default-vpcagent')).containers[0].image).toBe(
      'registry.cn-beijing.aliyuncs.com/yunionio/vpcagent:v3.1.3-20200312.0',
    );
  });

  it('is the same text every time', () => {
    expect(JSON.stringify(build())).toBe(JSON.stringify(build()));
  });

  it('leaves what it was given unchanged', () => {
    const spec = seedSpec({ hostagent: { nodeSelector: { rack: 'a' } } });
    const before = structuredClone(spec);
    clusterManifests(spec);
    expect(spec).toEqual(before);
  });

  it('two clusters share no state', () => {
    const other = { mysql: { host: '10.0.0.9', passwordSecretRef: { name: 'm' } }, region: 'region9', version: 'v9' };
    const alone = JSON.stringify(clusterManifests(other, { name: 'second', namespace: 'n2' }));
    build();
    const after = JSON.stringify(clusterManifests(other, { name: 'second', namespace: 'n2' }));
    expect(after).toBe(alone);
    for (const leak of ['10.168.26.216', 'region0', 'default-', '20200312']) expect(after).not.toContain(leak);
  });

  it('two clusters of one app that want the same node ports are refused', () => {
    const app = new App();
    new OnecloudCluster(app, 'first', { spec: seedSpec() });
    const second = new OnecloudCluster(app, 'second', { spec: seedSpec(), name: 'second' });
    expect(() => second.toJson()).toThrow(/ONECLOUD_NODE_PORT_TAKEN: node port 30500 of onecloud\/second keystone/);
  });

  it('tells all problems at once', () => {
    const broken = { ...seedSpec(), mysal: {}, region: 'REGION' };
    expect(() => clusterManifests(broken)).toThrow(ClusterSpecError);
    for (const code of [/ONECLOUD_KEY_UNKNOWN/, /ONECLOUD_FIELD_INVALID/]) expect(() => clusterManifests(broken)).toThrow(code);
  });
});

describe('what the operator knows of the moment', () => {
  const owner = { apiVersion: 'onecloud.yunion.io/v1alpha1', kind: 'OnecloudCluster', name: 'default', uid: 'u1' };

  it('004-9: owns everything except claims', () => {
    const owned = build({}, { owner });
    for (const { kind, metadata } of owned) {
      const references = (metadata as { ownerReferences?: unknown }).ownerReferences;
      if (kind === 'PersistentVolumeClaim') expect(references).toBeUndefined();
      else expect(references).toEqual([owner]);
    }
  });

  it('004-5 004-17: an image that waits stays, database initialization with it', () => {
    const held = podOf(
      find(build({ version: 'v2' }, { heldImages: { glance: { glance: 'r/glance:v1' } } }), 'Deployment', 'default-glance'),
    );
    expect(held.containers[0].image).toBe('r/glance:v1');
    expect(held.initContainers.at(-1)).toMatchObject({ name: 'init', image: 'r/glance:v1' });
  });

  it('004-12: an edited configuration is kept, rolls its pods, and can be recognised', () => {
    const data = { config: 'port: 1\n' };
    const [before, after] = [build(), build({}, { keptConfigs: { glance: data } })];
    const checksums = (manifests: AnyManifest[]): unknown[] => {
      const { metadata } = find(manifests, 'ConfigMap', 'default-glance');
      const { template } = find(manifests, 'Deployment', 'default-glance').spec;
      return [
        metadata.annotations?.[onecloudAnnotation.generatedChecksum],
        template.metadata.annotations[onecloudAnnotation.configChecksum],
      ];
    };
    const [generated, running] = checksums(before);
    expect(running).toBe(generated);
    expect(find(before, 'ConfigMap', 'default-glance').metadata.annotations?.[onecloudAnnotation.generatedChecksum]).toBe(
      configChecksum(find(before, 'ConfigMap', 'default-glance').data),
    );
    expect(find(after, 'ConfigMap', 'default-glance').data).toEqual(data);
    expect(checksums(after)).toEqual([generated, configChecksum(data)]);
  });

  it('004-12: a changed password rolls its pods', () => {
    const annotations = (secret: string): unknown =>
      find(build({}, { secretChecksums: { glance: secret } }), 'Deployment', 'default-glance').spec.template.metadata.annotations;
    expect(annotations('a')).not.toEqual(annotations('b'));
  });

  it('without nodes for it, a component has no replicas', () => {
    const replicas = (context: object): unknown => find(build({}, context), 'Deployment', 'default-baremetal-agent').spec.replicas;
    expect([replicas({}), replicas({ withoutNodes: ['baremetal-agent'] })]).toEqual([1, 0]);
  });
});
