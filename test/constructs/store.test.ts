/** Where bms-core's records are: what the site says, and what its container is given for it. */
import { existsSync, readFileSync } from 'node:fs';
import { bmsCoreConfig, LEASE_VERBS, path, RECORD_VERBS, type SiteInput } from 'cdk8s-baremetal-contract';
import { parseKubernetesUrl } from 'cdk8s-baremetal-runtime/store/kubernetes/kubernetes-url';
import { parseMysqlUrl } from 'cdk8s-baremetal-runtime/store/mysql/mysql-url';
import { describe, expect, it } from 'vitest';
import { schemaProblems } from '../support/kubernetes-schema.ts';
import { seedSite } from '../support/seed-site.ts';
import { type AnyManifest, find, synthSite } from '../support/synth.ts';

type BmsCoreInput = NonNullable<SiteInput['bmsCore']>;
const KEY = { secretName: 'bms-secrets-key' };
const MYSQL = { mysql: { url: 'mysql://bms@db.example.net/bms', password: { secretName: 'bms-db' } } };

const synth = (bmsCore: BmsCoreInput): AnyManifest[] => synthSite({ ...seedSite(), bmsCore });
const podOf = (manifests: readonly AnyManifest[]) => find(manifests, 'DaemonSet', 'bms-core-pod45-wuxi2').spec.template.spec;
// biome-ignore lint/suspicious/noExplicitAny: parts of manifests
const named = (list: any[], name: string) => list.find((one) => one.name === name);

/** What the daemon makes of the ConfigMap and the plain environment variables. */
const configOf = (manifests: readonly AnyManifest[]) => {
  const env: { name: string; value?: string }[] = podOf(manifests).containers[0].env;
  const values = Object.fromEntries(
    env.map(({ name, value }) => [name, value ?? (name.startsWith('BMS_STORE') ? 'from-a-secret' : undefined)]),
  );
  return bmsCoreConfig.parse(find(manifests, 'ConfigMap', 'pod45-wuxi2-bmscore').data.config, { env: values });
};

describe('store: kubernetes', () => {
  const manifests = synth({ store: 'kubernetes', secretsKey: KEY });
  const pod = podOf(manifests);
  const [main] = pod.containers;

  it('002-6: the daemon reads from its environment which records are its own, and where the key is', () => {
    const { store } = configOf(manifests);
    expect(parseKubernetesUrl(store.url)).toEqual({ namespace: undefined, scope: 'pod45-wuxi2' });
    expect(store.secrets_key_file).toBe(path.secretsKeyFile);
  });

  it('000-5: the configuration stays byte-equal to the original, but for where replicas coordinate', () => {
    const original = readFileSync(new URL('../contract/config/fixtures/pod45-wuxi2.ini', import.meta.url), 'utf8');
    const textOf = (made: readonly AnyManifest[]): string => find(made, 'ConfigMap', 'pod45-wuxi2-bmscore').data.config;
    expect(textOf(synth({ store: 'kubernetes', coordination: 'zookeeper', secretsKey: KEY }))).toBe(original);
    expect(textOf(manifests)).toBe(original.replace('kazoo://192.168.50.20:2181', 'kubernetes:///pod45-wuxi2'));
  });

  it('000-12: the service account may work on BmsRecords of its namespace, and beside its machines on nothing else', () => {
    const roles = manifests.filter(({ kind }) => /Role/.test(kind));
    expect(roles.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(
      ['store', 'objects', 'coordination'].flatMap((what) => [`Role bms-core-${what}`, `RoleBinding bms-core-${what}`]),
    );
    expect(find(manifests, 'Role', 'bms-core-store').rules).toEqual([
      { apiGroups: ['baremetal.bms.io'], resources: ['bmsrecords'], verbs: [...RECORD_VERBS] },
    ]);
    expect(find(manifests, 'RoleBinding', 'bms-core-store').subjects).toEqual([
      { kind: 'ServiceAccount', name: 'bms-admin', namespace: 'default' },
    ]);
  });

  it('mounts a token that is renewed, with authority and namespace, where the client looks for them', () => {
    expect(pod.automountServiceAccountToken).toBe(false);
    const sources: { [key: string]: { path?: string; items?: { path: string }[] } }[] =
      named(pod.volumes, 'token')?.projected.sources ?? [];
    const files = sources.flatMap((source) =>
      Object.values(source).flatMap(({ path: file, items }) => file ?? items?.map((item) => item.path)),
    );
    expect(files).toEqual(['token', 'ca.crt', 'namespace']);
    expect(main.volumeMounts).toContainEqual({ name: 'token', mountPath: path.serviceAccount, readOnly: true });
  });

  it('mounts the key for root alone, not optional, not by subPath', () => {
    expect(named(pod.volumes, 'secrets-key')).toEqual({
      name: 'secrets-key',
      secret: { secretName: 'bms-secrets-key', defaultMode: 0o400, items: [{ key: 'key', path: 'key' }] },
    });
    const mount = named(main.volumeMounts, 'secrets-key');
    expect(mount).toEqual({ name: 'secrets-key', mountPath: path.secretsKeyDirectory, readOnly: true });
    const other = podOf(synth({ store: 'kubernetes', secretsKey: { secretName: 's', key: 'aes' } }));
    expect(named(other.volumes, 'secrets-key')?.secret.items).toEqual([{ key: 'aes', path: 'key' }]);
  });

  it('each pod of a site has records of its own', () => {
    const two = { ...seedSite(), bmsCore: { store: 'kubernetes' as const, secretsKey: KEY } };
    const [first] = two.pods;
    if (!first) throw new Error('the site has no pod');
    two.pods.push({
      ...structuredClone(first),
      name: 'pod46',
      managementNodes: [{ name: 'mgmt-pod46-wuxi2-1' }],
      vips: { 401: '10.128.192.22', 1800: '192.168.50.22' },
      machines: [],
    });
    const all = synthSite(two);
    const urls = ['pod45', 'pod46'].map(
      (name) => named(find(all, 'DaemonSet', `bms-core-${name}-wuxi2`).spec.template.spec.containers[0].env, 'BMS_STORE__URL')?.value,
    );
    expect(urls).toEqual(['kubernetes:///pod45-wuxi2', 'kubernetes:///pod46-wuxi2']);
    expect(all.filter(({ kind }) => kind === 'Role')).toHaveLength(3); // records, machines and leases; none for each pod
  });

  it('every field is known to Kubernetes 1.36', () => expect(manifests.flatMap(schemaProblems)).toEqual([]));
});

describe('store: mysql', () => {
  const manifests = synth({ store: MYSQL, secretsKey: KEY });

  it('the password comes from a Secret, and no records are Kubernetes objects', () => {
    const pod = podOf(manifests);
    expect(named(pod.containers[0].env, 'BMS_STORE__PASSWORD')).toEqual({
      name: 'BMS_STORE__PASSWORD',
      valueFrom: { secretKeyRef: { name: 'bms-db', key: 'password' } },
    });
    expect(parseMysqlUrl(configOf(manifests).store.url, undefined)).toMatchObject({ host: 'db.example.net', database: 'bms' });
    expect(manifests.filter(({ metadata }) => metadata.name === 'bms-core-store')).toEqual([]);
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
});

it('store: sqlite is what there is without it', () => expect(synth({ store: 'sqlite' })).toEqual(synth({})));

it.each<[string, BmsCoreInput, RegExp]>([
  ['a shared store without a key', { store: 'kubernetes' }, /bmsCore\.secretsKey.*kubectl create secret generic .*--namespace default/s],
  ['the same on MySQL', { store: MYSQL }, /secretsKey/],
  ["the original's form", { form: 'seed', store: 'kubernetes', secretsKey: KEY }, /original's form/],
  [
    'a password in the URL',
    { store: { mysql: { ...MYSQL.mysql, url: 'mysql://bms:pw@db/bms' } }, secretsKey: KEY },
    /without a password|store/,
  ],
  ['the key itself', { store: 'kubernetes', secretsKey: { ...KEY, key: `${'A'.repeat(43)}=` } }, /SITE_SECRET_AS_VALUE/],
  ['a name that no Secret has', { store: 'kubernetes', secretsKey: { secretName: 'No Name' } }, /secretName/],
])('refuses %s', (_, bmsCore, message) => expect(() => synth(bmsCore)).toThrow(message));

it('refuses overrides of [store] beside it', () => {
  const site = { ...seedSite(), bmsCore: { store: 'kubernetes' as const, secretsKey: KEY } };
  const [pod] = site.pods;
  if (pod) pod.config = { ...pod.config, store: { url: 'memory://' } };
  expect(() => synthSite(site)).toThrow(/another \[store\] than the site/);
});

describe('000-16: what the management nodes of a pair coordinate by', () => {
  type Site = Parameters<typeof synthSite>[0];
  const backendOf = (site: Partial<Site>): string =>
    bmsCoreConfig.parse(find(synthSite({ ...seedSite(), ...site }), 'ConfigMap', 'pod45-wuxi2-bmscore').data.config).sw_coordination
      .backend_url;
  const KUBERNETES = { store: 'kubernetes' as const, secretsKey: KEY };

  it.each<[string, Partial<Site>, string]>([
    ['files of their own', {}, 'kazoo://192.168.50.20:2181'],
    ['a database', { bmsCore: { store: MYSQL, secretsKey: KEY } }, 'kazoo://192.168.50.20:2181'],
    [
      'a database, and Leases by name',
      { bmsCore: { store: MYSQL, secretsKey: KEY, coordination: 'kubernetes' } },
      'kubernetes:///pod45-wuxi2',
    ],
    ['Kubernetes', { bmsCore: KUBERNETES }, 'kubernetes:///pod45-wuxi2'],
    ['Kubernetes, and a ZooKeeper of the site', { bmsCore: KUBERNETES, zookeeper: { form: 'standalone' } }, 'kazoo://192.168.50.20:2181'],
    ['Kubernetes, and one of its neighbours', { bmsCore: { ...KUBERNETES, coordination: 'zookeeper' } }, 'kazoo://192.168.50.20:2181'],
  ])('%s', (_, site, url) => {
    expect(backendOf(site)).toBe(url);
    const manifests = synthSite({ ...seedSite(), namespace: 'bms', ...site });
    const role = manifests.filter(({ kind, metadata }) => kind === 'Role' && metadata.name === 'bms-core-coordination');
    const rules = [{ apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: [...LEASE_VERBS] }];
    expect(role.map((one) => one.rules)).toEqual(url.startsWith('kubernetes') ? [rules] : []);
    // the token to use them with
    if (role.length > 0) expect(named(podOf(manifests).volumes, 'token')).toBeDefined();
    expect(manifests.filter(({ kind }) => kind !== 'BareMetalNode').flatMap(schemaProblems)).toEqual([]);
  });

  const overridden = (bmsCore: BmsCoreInput, url: string): (() => unknown) => {
    const site = { ...seedSite(), bmsCore };
    const [pod] = site.pods;
    if (pod) pod.config = { ...pod.config, sw_coordination: { backend_url: url } };
    return () => synthSite(site);
  };

  it.each<[string, () => unknown, RegExp]>([
    ['Leases over files of their own', () => synth({ coordination: 'kubernetes' }), /SITE_COORDINATION_STORE/],
    ['memory:// for two that share records', overridden(KUBERNETES, 'memory://'), /SITE_COORDINATION_ALONE.*2 management nodes/s],
    ['another service than the site', overridden(KUBERNETES, 'kazoo://192.168.50.20:2181'), /SITE_COORDINATION_TWICE/],
    [
      'Leases that no Role allows',
      overridden({ store: MYSQL, secretsKey: KEY }, 'kubernetes://'),
      /SITE_COORDINATION_TWICE.*bmsCore\.coordination to 'kubernetes'/s,
    ],
  ])('refuses %s', (_, work, message) => expect(work).toThrow(message));

  it('one management node may be alone', () => {
    const site = { ...seedSite(), bmsCore: KUBERNETES };
    const [pod] = site.pods;
    if (pod) {
      pod.config = { ...pod.config, sw_coordination: { backend_url: 'memory://' } };
      pod.managementNodes = [{ name: 'mgmt-pod45-wuxi2-1' }];
    }
    expect(() => synthSite(site)).not.toThrow();
  });
});

it('the committed site shares its records, and says what to create first', () => {
  expect(existsSync('dist/wuxi2.k8s.yaml')).toBe(true);
  expect(readFileSync('dist/wuxi2.k8s.yaml', 'utf8')).toContain('value: kubernetes:///pod45-wuxi2');
});
