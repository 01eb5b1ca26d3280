/** A namespace of the test cluster with the rights that bms-core gets, and a service account's token to use them with. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type ApiAccess, KubernetesStore, type KubernetesStoreOptions, serviceAccount } from 'cdk8s-baremetal-runtime/store/index';
import { established, kubectl } from '../../support/cluster.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

export interface KubernetesPeer {
  readonly namespace: string;
  access(): ApiAccess;
  /** For a process of its own: what a container has in its environment, and where its token is mounted. */
  readonly container: { readonly env: Readonly<Record<string, string>>; readonly directory: string };
  /** A store of its own scope, unless one is named. */
  store(options?: Partial<KubernetesStoreOptions>): KubernetesStore;
  remove(): void;
}

const RULES = [
  { apiGroups: ['baremetal.bms.io'], resources: ['bmsrecords'], verbs: ['get', 'list', 'watch', 'create', 'update', 'delete'] },
];

export function kubernetesPeer({ rules = RULES }: { rules?: readonly object[] } = {}): KubernetesPeer {
  const namespace = `bms-store-${randomBytes(4).toString('hex')}`;
  const folder = temporaryFolder();
  folder.create();
  const apply = (...objects: object[]): void => {
    const file = folder.path('objects.json');
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
    kubectl('apply', '-f', file);
  };
  kubectl('apply', '-f', 'crds/baremetal.bms.io.yaml');
  established('crds/baremetal.bms.io.yaml');
  apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  const rbac = 'rbac.authorization.k8s.io';
  apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'bms-admin', namespace } },
    { apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name: 'bms-core-store', namespace }, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'bms-core-store', namespace },
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'bms-core-store' },
      subjects: [{ kind: 'ServiceAccount', name: 'bms-admin', namespace }],
    },
  );
  const { clusters } = JSON.parse(kubectl('config', 'view', '--minify', '--raw', '--flatten', '-o', 'json'));
  const server = new URL(clusters[0].cluster.server);
  const request = folder.path('token-request.json');
  writeFileSync(
    request,
    JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } }),
  );
  const { token } = JSON.parse(
    kubectl('create', '--raw', `/api/v1/namespaces/${namespace}/serviceaccounts/bms-admin/token`, '-f', request),
  ).status;
  const directory = folder.path('account');
  mkdirSync(directory);
  writeFileSync(folder.path('account', 'token'), token);
  writeFileSync(folder.path('account', 'namespace'), namespace);
  writeFileSync(folder.path('account', 'ca.crt'), Buffer.from(clusters[0].cluster['certificate-authority-data'], 'base64'));
  const env = { KUBERNETES_SERVICE_HOST: server.hostname, KUBERNETES_SERVICE_PORT: server.port };
  const access = (): ApiAccess => serviceAccount({ env, clock: nodeClock, directory });
  return {
    namespace,
    access,
    container: { env, directory },
    store: (options = {}) =>
      new KubernetesStore({
        access: access(),
        scope: `s${randomBytes(6).toString('hex')}`,
        network: nodeNetwork,
        clock: nodeClock,
        random: nodeRandom,
        ...options,
      }),
    remove: () => {
      kubectl('delete', 'namespace', namespace, '--ignore-not-found', '--wait=false');
      folder.remove();
    },
  };
}
