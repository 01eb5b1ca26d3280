/** Where the kinds that the operator handles are served. A table: discovery would be a request per group at every start. */
import { operatorErrors } from './errors.ts';
import type { KubeObject, ResourceType } from './objects.ts';

function served(apiVersion: string, kind: string, plural: string, scope: 'namespaced' | 'cluster' = 'namespaced'): ResourceType {
  return { apiVersion, kind, plural, namespaced: scope === 'namespaced' };
}

export const resourceTypes = {
  namespaces: served('v1', 'Namespace', 'namespaces', 'cluster'),
  nodes: served('v1', 'Node', 'nodes', 'cluster'),
  pods: served('v1', 'Pod', 'pods'),
  configMaps: served('v1', 'ConfigMap', 'configmaps'),
  secrets: served('v1', 'Secret', 'secrets'),
  services: served('v1', 'Service', 'services'),
  serviceAccounts: served('v1', 'ServiceAccount', 'serviceaccounts'),
  endpoints: served('v1', 'Endpoints', 'endpoints'),
  persistentVolumeClaims: served('v1', 'PersistentVolumeClaim', 'persistentvolumeclaims'),
  persistentVolumes: served('v1', 'PersistentVolume', 'persistentvolumes', 'cluster'),
  deployments: served('apps/v1', 'Deployment', 'deployments'),
  replicaSets: served('apps/v1', 'ReplicaSet', 'replicasets'),
  statefulSets: served('apps/v1', 'StatefulSet', 'statefulsets'),
  daemonSets: served('apps/v1', 'DaemonSet', 'daemonsets'),
  jobs: served('batch/v1', 'Job', 'jobs'),
  cronJobs: served('batch/v1', 'CronJob', 'cronjobs'),
  ingresses: served('networking.k8s.io/v1', 'Ingress', 'ingresses'),
  networkPolicies: served('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies'),
  podDisruptionBudgets: served('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets'),
  roles: served('rbac.authorization.k8s.io/v1', 'Role', 'roles'),
  roleBindings: served('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings'),
  leases: served('coordination.k8s.io/v1', 'Lease', 'leases'),
  events: served('events.k8s.io/v1', 'Event', 'events'),
  storageClasses: served('storage.k8s.io/v1', 'StorageClass', 'storageclasses', 'cluster'),
  customResourceDefinitions: served('apiextensions.k8s.io/v1', 'CustomResourceDefinition', 'customresourcedefinitions', 'cluster'),
} as const satisfies Record<string, ResourceType>;

export type TypeTable = (object: Pick<KubeObject, 'apiVersion' | 'kind'>) => ResourceType;

/**
 * Looks up the built-in kinds and `more` (custom resources).
 * @throws CodedError OPERATOR_UNKNOWN_KIND
 */
export function typeTable(more: readonly ResourceType[] = []): TypeTable {
  const table = new Map([...Object.values(resourceTypes), ...more].map((type) => [`${type.apiVersion} ${type.kind}`, type] as const));
  return ({ apiVersion, kind }) => {
    const type = table.get(`${apiVersion} ${kind}`);
    if (type === undefined) throw operatorErrors.OPERATOR_UNKNOWN_KIND({ apiVersion, kind });
    return type;
  };
}

/** "/apis/apps/v1/namespaces/onecloud/deployments/default-glance". Without a name: the collection; without a namespace: of all. */
export function pathOf(type: ResourceType, { namespace, name }: { namespace?: string; name?: string } = {}, subresource?: string): string {
  const root = type.apiVersion.includes('/') ? `/apis/${type.apiVersion}` : `/api/${type.apiVersion}`;
  const within = type.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const one = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${root}${within}/${type.plural}${one}${subresource === undefined ? '' : `/${subresource}`}`;
}
