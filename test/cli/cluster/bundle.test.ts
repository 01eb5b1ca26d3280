import { existsSync, globSync, readFileSync } from 'node:fs';
import { clusterManifests } from 'cdk8s-baremetal/onecloud/index';
import { operatorClusterRules, operatorNamespaceRules } from 'cdk8s-baremetal/operator-rules';
import { catalog } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { bundleObjects, bundleYaml } from '../../../src/cli/cluster/bundle.ts';
import { clusterAnnotation } from '../../../src/cli/cluster/names.ts';
import { resourceTypes, typeTable } from '../../../src/operator/engine/resource-types.ts';
import { type Manifest, schemaProblems } from '../../support/kubernetes-schema.ts';
import { type AnyManifest, find } from '../../support/synth.ts';
import { seedSpec } from './world.ts';

const bundle = (props: Parameters<typeof bundleObjects>[0] = {}): AnyManifest[] => bundleObjects(props) as unknown as AnyManifest[];

describe('004-10: bmctl bundle', () => {
  it('puts kinds first, the namespace before what lives in it, and no object of a kind of its own', () => {
    const kinds = bundle().map(({ kind }) => kind);
    expect(kinds.slice(0, 2)).toEqual(['CustomResourceDefinition', 'Namespace']);
    expect(kinds).not.toContain('OnecloudCluster');
    expect(new Set(kinds).size).toBeGreaterThan(8);
  });

  it('is YAML that says how it is applied, every field known to Kubernetes 1.36', () => {
    const text = bundleYaml({ watchNamespaces: ['onecloud', 'staging'], imagePullSecrets: ['registry'] });
    expect(text).toMatch(/^# .*\n(?:# .*\n)*#\s+bmctl bundle \| kubectl apply -f -/);
    const objects = [parseAllDocuments(text)].flat().map((document) => document.toJS() as Manifest);
    expect(objects).toHaveLength(bundle({ watchNamespaces: ['onecloud', 'staging'] }).length);
    expect(objects.filter(({ kind }) => kind !== 'CustomResourceDefinition').flatMap(schemaProblems)).toEqual([]);
  });

  it('runs two replicas without any right on their node', () => {
    const { spec } = find(bundle(), 'Deployment', 'onecloud-operator');
    expect(spec.replicas).toBe(2);
    const pod = spec.template.spec;
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      privileged: false,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod.hostNetwork).toBeUndefined();
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
      expect(pod.containers[0][probe].httpGet.path).toMatch(/^\/(healthz|readyz)$/);
    expect(find(bundle(), 'PodDisruptionBudget', 'onecloud-operator').spec.maxUnavailable).toBe(1);
    expect(find(bundle(), 'Namespace', 'onecloud-system').metadata.labels).toMatchObject({
      'pod-security.kubernetes.io/enforce': 'restricted',
    });
  });

  it('lets nobody in but for health and metrics, and starts without the registry where the image has a name for good', () => {
    const policy = find(bundle(), 'NetworkPolicy', 'onecloud-operator').spec;
    const { template, selector } = find(bundle(), 'Deployment', 'onecloud-operator').spec;
    expect(policy).toEqual({
      podSelector: selector,
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ protocol: 'TCP', port: template.spec.containers[0].ports[0].name }] }],
    });
    const policyOf = (image: string): unknown =>
      find(bundle({ image }), 'Deployment', 'onecloud-operator').spec.template.spec.containers[0].imagePullPolicy;
    expect(
      ['r:5000/o', 'r:5000/o:latest', 'r:5000/o:v1', 'r:5000/o@sha256:ab', 'r:5000/o:latest@sha256:ab', 'o:latest-2'].map(policyOf),
    ).toEqual(['Always', 'Always', 'IfNotPresent', 'IfNotPresent', 'IfNotPresent', 'IfNotPresent']);
  });

  it('has rights on its own Lease alone', () => {
    const leases = find(bundle(), 'Role', 'onecloud-operator-leader-election').rules.filter(({ resources }: { resources: string[] }) =>
      resources.includes('leases'),
    );
    expect(leases).toEqual([
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: ['onecloud-operator'], verbs: ['get', 'update'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
    ]);
  });

  it('says how much the API server is asked, and refuses to starve it', () => {
    const env = find(bundle({ requestsPerSecond: 250 }), 'Deployment', 'onecloud-operator').spec.template.spec.containers[0].env;
    expect(env).toContainEqual({ name: 'API_REQUESTS_PER_SECOND', value: '250' });
    expect(() => bundle({ requestsPerSecond: 5 })).toThrow('requestsPerSecond is 5; give 10 or more');
  });

  it('holds no secret', () => {
    expect(bundle().filter(({ kind }) => kind === 'Secret')).toEqual([]);
    expect(bundleYaml()).not.toMatch(/^\s*\w*[pP]assword: \S/m);
  });

  it('gives rights in the watched namespaces alone, when some are named', () => {
    const objects = bundle({ watchNamespaces: ['onecloud'] });
    const { rules } = find(objects, 'ClusterRole', 'onecloud-operator');
    expect(rules.flatMap(({ resources }: { resources: string[] }) => resources).sort()).toEqual(['nodes', 'storageclasses']);
    const role = objects.find(({ kind, metadata }) => kind === 'Role' && metadata.namespace === 'onecloud');
    expect(role?.rules).toEqual(operatorNamespaceRules());
    expect(find(objects, 'Deployment', 'onecloud-operator').spec.template.spec.containers[0].env).toContainEqual({
      name: 'WATCH_NAMESPACES',
      value: 'onecloud',
    });
  });

  it('lets nobody give rights to others, and uses no wildcard', () => {
    const rules = bundle().flatMap((object) => (object.kind.endsWith('Role') ? object.rules : []));
    const words = rules.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs]);
    for (const forbidden of [
      '*',
      'escalate',
      'bind',
      'impersonate',
      'pods/exec',
      'roles',
      'clusterroles',
      'rolebindings',
      'clusterrolebindings',
    ])
      expect(words).not.toContain(forbidden);
  });

  it('gives no word without a use: what is replaced as a whole is the status and the Lease, and events are about clusters', () => {
    const rules = bundle().flatMap((object) => (object.kind.endsWith('Role') ? object.rules : []));
    const replaced = rules.flatMap(({ resources, verbs }) => (verbs.includes('update') ? resources : []));
    expect(replaced.sort()).toEqual(['leases', 'onecloudclusters/finalizers', 'onecloudclusters/status']);
    expect(rules.filter(({ resources }) => resources.includes('events'))).toHaveLength(1);
  });

  it('004-2: lets the operator apply and remove every kind that a cluster consists of', () => {
    const table = typeTable();
    const everything = Object.fromEntries(
      catalog.filter(({ kind }) => kind === 'Deployment').map(({ key, single }) => [key, { replicas: single ? 1 : 2 }]),
    );
    const kinds = clusterManifests(seedSpec(everything)).flatMap(({ manifests }) =>
      manifests.map(({ apiVersion, kind }) => ({ apiVersion, kind })),
    );
    expect(new Set(kinds.map(({ kind }) => kind)).size).toBe(9);
    for (const kind of kinds) {
      const { plural } = table(kind);
      const group = kind.apiVersion.includes('/') ? kind.apiVersion.split('/')[0] : '';
      const rule = operatorNamespaceRules().find(
        ({ apiGroups, resources }) => apiGroups?.includes(group ?? '') && resources?.includes(plural),
      );
      for (const verb of ['get', 'list', 'watch', 'create', 'patch', 'delete']) expect(rule?.verbs, `${verb} ${plural}`).toContain(verb);
    }
  });

  it('lets the operator read every kind that its sources name', () => {
    const sources = globSync('src/operator/onecloud/**/*.ts')
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n');
    const rules = [...operatorNamespaceRules(), ...operatorClusterRules()];
    for (const [, name = ''] of sources.matchAll(/resourceTypes\.(\w+)/g)) {
      const { plural } = resourceTypes[name as keyof typeof resourceTypes];
      expect(
        rules.filter(({ resources, verbs }) => resources?.includes(plural) && verbs.includes('watch')),
        plural,
      ).toHaveLength(1);
    }
  });

  const OPERATOR_NAMES = 'src/operator/onecloud/names.ts';
  it.skipIf(!existsSync(OPERATOR_NAMES))('004-12: calls decisions as the operator does', async () => {
    const { operatorAnnotation } = await import(`../../../${OPERATOR_NAMES}`);
    const { acceptedConfig, resetConfig } = clusterAnnotation;
    expect({ acceptedConfig, resetConfig }).toEqual({
      acceptedConfig: operatorAnnotation.acceptedConfig,
      resetConfig: operatorAnnotation.resetConfig,
    });
  });
});
