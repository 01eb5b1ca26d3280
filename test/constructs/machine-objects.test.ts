import { bareMetalNode, bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { describe, expect, it } from 'vitest';
import { seedSite } from '../support/seed-site.ts';
import { find, synthSite } from '../support/synth.ts';

const secretsKey = { secretName: 'bms-secrets-key' };
const mysql = { mysql: { url: 'mysql://bms@db.example/bms', password: { secretName: 'bms-db' } } };

describe('machines as objects, where the management nodes share a store', () => {
  it.each([
    ['kubernetes', 'kubernetes' as const],
    ['mysql', mysql],
  ])('%s: bms-core may read them and write their status, and is told whose they are', (_name, store) => {
    const manifests = synthSite({ ...seedSite(), namespace: 'bms', bmsCore: { store, secretsKey } });
    expect(find(manifests, 'Role', 'bms-core-objects').rules).toEqual([
      { apiGroups: ['baremetal.bms.io'], resources: ['baremetalnodes'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['baremetal.bms.io'], resources: ['baremetalnodes/status'], verbs: ['update'] },
      { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create'] },
    ]);
    expect(find(manifests, 'RoleBinding', 'bms-core-objects')).toMatchObject({
      roleRef: { kind: 'Role', name: 'bms-core-objects' },
      subjects: [{ kind: 'ServiceAccount', name: 'bms-admin', namespace: 'bms' }],
    });
    const { containers, volumes } = find(manifests, 'DaemonSet', 'bms-core-pod45-wuxi2').spec.template.spec;
    const env = Object.fromEntries(containers[0].env.map(({ name, value }: { name: string; value?: string }) => [name, value]));
    const { objects } = bmsCoreConfig.parse('[sw_coordination]\nbackend_url = memory://\n', {
      env: Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('BMS_OBJECTS__'))) as Record<string, string>,
    });
    expect(objects).toMatchObject({ enabled: true, site: 'wuxi2', pod: 'pod45', forget_after: 600 });
    expect(volumes.filter(({ name }: { name: string }) => name === 'token')).toHaveLength(1);
    // what the objects say is what the daemon looks for
    const machines = manifests.filter(({ kind }) => kind === bareMetalNode.kind);
    expect(machines.length).toBeGreaterThan(0);
    expect(machines.filter(({ spec }) => spec.site !== objects.site || spec.pod !== objects.pod)).toEqual([]);
  });

  it.each([
    ['a file on each node', {}],
    ["the original's form", { bmsCore: { form: 'seed' as const } }],
  ])('%s: no rights, and nothing is read', (_name, more) => {
    const manifests = synthSite({ ...seedSite(), ...more });
    expect(JSON.stringify(manifests)).not.toMatch(/bms-core-objects|BMS_OBJECTS|"baremetalnodes/);
  });
});
