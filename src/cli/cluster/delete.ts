/** bmctl cluster delete: what goes and what stays, and then the deletion itself. */
import { catalog, certificatesSecretName, databaseDumpSecretName, resolveCluster } from 'cdk8s-baremetal-contract/onecloud/index';
import { isApiError } from '../../operator/engine/api-error.ts';
import { formatKey, type ResourceType } from '../../operator/engine/objects.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { shownServer } from '../../operator/onecloud/databases.ts';
import { type Cluster, clusterType, findCluster } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { BMCTL_MANAGER, componentSelector } from './names.ts';

export interface DeleteOptions {
  readonly key: ClusterKey;
  /** Absent: as the cluster says. */
  readonly pvcPolicy?: 'Retain' | 'Delete';
  readonly databasePolicy?: 'Retain' | 'Drop';
  readonly yes?: boolean;
}

const LISTED: readonly ResourceType[] = [
  resourceTypes.deployments,
  resourceTypes.daemonSets,
  resourceTypes.cronJobs,
  resourceTypes.services,
  resourceTypes.ingresses,
  resourceTypes.podDisruptionBudgets,
  resourceTypes.configMaps,
  resourceTypes.serviceAccounts,
];

/** Whether there is something to wait for. @throws CodedError CLUSTER_NOT_CONFIRMED */
export async function deleteCluster(context: ClusterContext, options: DeleteOptions): Promise<boolean> {
  const { key } = options;
  const cluster = await findCluster(context, key);
  if (!cluster) {
    context.print(`onecloudcluster ${formatKey(key)} is not there: nothing to delete`);
    return false;
  }
  try {
    await printFate(context, cluster, options);
    if (!options.yes) throw clusterErrors.CLUSTER_NOT_CONFIRMED({ cluster: formatKey(key) });
    const policies = {
      ...(options.pvcPolicy !== undefined && { pvcPolicy: options.pvcPolicy }),
      ...(options.databasePolicy !== undefined && { databasePolicy: options.databasePolicy }),
    };
    const { api, signal } = context;
    // before the deletion: the operator reads them when it cleans up
    if (Object.keys(policies).length > 0) await api.patch(clusterType, key, { spec: policies }, { fieldManager: BMCTL_MANAGER, signal });
    await api.delete(clusterType, key, { uid: cluster.object.metadata.uid, signal });
    context.print(`onecloudcluster ${formatKey(key)} is being deleted`);
    return true;
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

async function printFate(context: ClusterContext, cluster: Cluster, options: DeleteOptions): Promise<void> {
  const { key, spec, instance } = cluster;
  const { settings } = resolveCluster(spec);
  const pvcPolicy = options.pvcPolicy ?? settings.pvcPolicy;
  const databasePolicy = options.databasePolicy ?? settings.databasePolicy;
  const selection = { namespace: key.namespace, labelSelector: componentSelector(instance), signal: context.signal };
  const names = async (type: ResourceType): Promise<string[]> => {
    try {
      return (await context.api.list(type, selection)).items.map(({ metadata }) => metadata.name);
    } catch (error) {
      if (isApiError(error, 'forbidden', 'not-found')) return []; // not served, or not for this account
      throw error;
    }
  };
  const found: (readonly [kind: string, names: readonly string[]])[] = await Promise.all(
    LISTED.map(async (type) => [type.kind, await names(type)] as const),
  );
  const claims = await names(resourceTypes.persistentVolumeClaims);
  // as the operator does it: databases are of no use without their passwords
  const secrets = await names(resourceTypes.secrets);
  const ofPods = new Set([certificatesSecretName(key.name), databaseDumpSecretName(key.name)]);
  const passwords = databasePolicy === 'Retain' ? secrets.filter((name) => !ofPods.has(name)) : [];
  found.push([resourceTypes.secrets.kind, secrets.filter((name) => !passwords.includes(name))]);
  context.print(`Goes: onecloudcluster ${formatKey(key)}`);
  for (const [kind, all] of found) if (all.length > 0) context.print(`  ${kind} ${all.join(', ')}`);
  if (claims.length > 0 && pvcPolicy === 'Delete')
    context.print(`  with their data (pvcPolicy: Delete): PersistentVolumeClaim ${claims.join(', ')}`);
  const likely = catalog.flatMap(({ key: component, database }) =>
    database && !(spec[component]?.disable ?? false) ? [database.name] : [],
  );
  const server = shownServer(settings.mysql);
  const used = cluster.status.databases?.flatMap((database) => (database.server === server ? [database.name] : []));
  const databases = used ?? likely;
  if (databasePolicy === 'Drop') context.print(`  databases at ${settings.mysql.host} (databasePolicy: Drop): ${databases.join(', ')}`);
  const stays = [
    ...(claims.length > 0 && pvcPolicy === 'Retain' ? [`PersistentVolumeClaim ${claims.join(', ')} (pvcPolicy: Retain)`] : []),
    ...(databasePolicy === 'Retain' ? [`databases at ${settings.mysql.host} (databasePolicy: Retain)`] : []),
    ...(passwords.length > 0 ? [`  with their passwords: Secret ${passwords.join(', ')}`] : []),
    ...(settings.mysql.passwordSecretRef ? [`Secret ${settings.mysql.passwordSecretRef.name}`] : []),
    `Namespace ${key.namespace}`,
  ];
  context.print(`Stays:\n${stays.map((line) => `  ${line}`).join('\n')}`);
}
