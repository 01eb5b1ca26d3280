/** Where bms-core's records are, and what its container needs to reach them: rights, a token, a key. */
import {
  API_GROUP,
  BMS_CORE,
  bmsCoreConfig,
  bmsRecord,
  LEASE_VERBS,
  type PodSpec,
  path,
  RECORD_VERBS,
  SERVICE_ACCOUNT,
  type SiteSpec,
} from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';

/** The kubelet renews it before it ends; the daemon reads it again each minute. */
const TOKEN_SECONDS = 3600;
const ROLE = `${BMS_CORE}-store`;
const COORDINATION_ROLE = `${BMS_CORE}-coordination`;

/** bms-core's service account may work on the BmsRecords of its namespace, and on nothing else. */
export class RecordsAccess extends Construct {
  constructor(scope: Construct, id: string, { namespace }: { readonly namespace: string }) {
    super(scope, id);
    new k8s.KubeRole(this, 'role', {
      metadata: { name: ROLE },
      rules: [{ apiGroups: [API_GROUP], resources: [bmsRecord.plural], verbs: [...RECORD_VERBS] }],
    });
    new k8s.KubeRoleBinding(this, 'role-binding', {
      metadata: { name: ROLE },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: ROLE },
      subjects: [{ kind: 'ServiceAccount', name: SERVICE_ACCOUNT, namespace }],
    });
  }
}

/** bms-core's service account may keep Leases in its namespace: who is alive among the management nodes, and who may speak to a switch. */
export class LeasesAccess extends Construct {
  constructor(scope: Construct, id: string, { namespace }: { readonly namespace: string }) {
    super(scope, id);
    new k8s.KubeRole(this, 'role', {
      metadata: { name: COORDINATION_ROLE },
      rules: [{ apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: [...LEASE_VERBS] }],
    });
    new k8s.KubeRoleBinding(this, 'role-binding', {
      metadata: { name: COORDINATION_ROLE },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: COORDINATION_ROLE },
      subjects: [{ kind: 'ServiceAccount', name: SERVICE_ACCOUNT, namespace }],
    });
  }
}

/** Overrides of the configuration: the ConfigMap's text stays as it is. */
export function storeEnvironment({ name: site, bmsCore: { store, secretsKey } }: SiteSpec, pod: PodSpec): k8s.EnvVar[] {
  if (store === 'sqlite') return [];
  const variable = (key: 'url' | 'password' | 'secrets_key_file'): string => bmsCoreConfig.envName('store', key);
  const where: k8s.EnvVar[] =
    store === 'kubernetes'
      ? [{ name: variable('url'), value: `kubernetes:///${pod.name}-${site}` }]
      : [
          { name: variable('url'), value: store.mysql.url },
          {
            name: variable('password'),
            valueFrom: { secretKeyRef: { name: store.mysql.password.secretName, key: store.mysql.password.key } },
          },
        ];
  return [...where, ...(secretsKey ? [{ name: variable('secrets_key_file'), value: path.secretsKeyFile }] : [])];
}

export function storeMounts({ bmsCore: { store, secretsKey } }: SiteSpec): k8s.VolumeMount[] {
  if (store === 'sqlite') return [];
  return [
    ...(secretsKey ? [{ name: 'secrets-key', mountPath: path.secretsKeyDirectory, readOnly: true }] : []),
    { name: 'token', mountPath: path.serviceAccount, readOnly: true },
  ];
}

/** The key must be there before bms-core starts: without it no password could be read. */
export function storeVolumes({ bmsCore: { store, secretsKey } }: SiteSpec): k8s.Volume[] {
  if (store === 'sqlite') return [];
  const volumes: k8s.Volume[] = [];
  if (secretsKey) {
    const items = [{ key: secretsKey.key, path: path.secretsKeyFile.slice(path.secretsKeyDirectory.length + 1) }];
    volumes.push({ name: 'secrets-key', secret: { secretName: secretsKey.secretName, defaultMode: 0o400, items } });
  }
  // for its records where they are Kubernetes objects, for its machines' objects in any case
  volumes.push({
    name: 'token',
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_SECONDS } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        // apiVersion is the default, written out: the list is merged as a whole, and apply would see a change each time
        { downwardApi: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
      ],
    },
  });
  return volumes;
}
