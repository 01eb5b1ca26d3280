/** bmctl cluster update: another version, repository or component, shown before it is sent. */
import type { ClusterSpec } from 'cdk8s-baremetal-contract/onecloud/index';
import { isApiError } from '../../operator/engine/api-error.ts';
import { formatKey } from '../../operator/engine/objects.ts';
import { type Assignment, assigned, mergePatchOf } from './assignment.ts';
import { type Cluster, clusterOf, clusterType, findCluster, getCluster, isAskedAlike } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { earlierVersions } from './history.ts';
import { BMCTL_MANAGER, clusterAnnotation } from './names.ts';
import { planOf, printPlan, type TotalPlan } from './plan.ts';

export interface UpdateOptions {
  readonly key: ClusterKey;
  readonly version?: string;
  readonly imageRepository?: string;
  readonly edition?: 'ce' | 'ee';
  readonly components: readonly Assignment[];
  /** A component may get a program that is older than its tables. */
  readonly acceptDatabaseNotRolledBack?: boolean;
  /** Show what would happen, and send nothing. */
  readonly dryRun?: boolean;
}

/** @throws CodedError CLUSTER_VERSION_BEFORE, CLUSTER_INVALID, CLUSTER_CHANGED_MEANWHILE, CLUSTER_NOTHING_ASKED, CLUSTER_DATABASE_NOT_ROLLED_BACK, … */
export async function updateCluster(context: ClusterContext, options: UpdateOptions): Promise<Cluster> {
  const assignments = assignmentsOf(options);
  if (assignments.length === 0)
    throw clusterErrors.CLUSTER_NOTHING_ASKED({ flags: '--version, --image-repository, --edition and --component' });
  const cluster = await getCluster(context, options.key);
  const from = cluster.spec.version;
  if (options.version !== undefined && options.version !== from && earlierVersions(cluster).includes(options.version)) {
    throw clusterErrors.CLUSTER_VERSION_BEFORE({ from: from ?? 'latest', to: options.version });
  }
  const { acceptDatabaseNotRolledBack, dryRun } = options;
  return changeSpec(context, cluster, {
    assignments,
    ...(acceptDatabaseNotRolledBack && { acceptDatabaseNotRolledBack }),
    ...(dryRun && { dryRun }),
  });
}

/**
 * bmctl cluster plan: the same without sending; without flags, what differs between the spec and what runs.
 * @throws CodedError CLUSTER_INVALID when it could not be carried out, once it is shown
 */
export async function planUpdate(context: ClusterContext, options: UpdateOptions): Promise<TotalPlan> {
  const cluster = await getCluster(context, options.key);
  const plan = await planOf(context, cluster, assigned(cluster.spec, assignmentsOf(options)));
  printPlan(context, plan);
  const { plan: known } = cluster.status;
  if (!context.asJson && known?.waitingFor !== undefined) {
    context.print(`The operator waits: ${known.waitingFor}${known.notBefore === undefined ? '' : `, not before ${known.notBefore}`}`);
  }
  if (plan.conflicts.length > 0) throw clusterErrors.CLUSTER_INVALID({ problems: plan.conflicts });
  return plan;
}

/** The plan, then the patch against exactly what was planned on. */
export async function changeSpec(
  context: ClusterContext,
  cluster: Cluster,
  {
    assignments,
    acceptDatabaseNotRolledBack = false,
    dryRun = false,
    shown = false,
  }: {
    readonly assignments: readonly Assignment[];
    /** The version, where it is known; otherwise that of the plan. */
    readonly acceptDatabaseNotRolledBack?: string | boolean;
    readonly dryRun?: boolean;
    /** The plan was shown already. */
    readonly shown?: boolean;
  },
): Promise<Cluster> {
  const { key, object } = cluster;
  const wanted = assigned(cluster.spec, assignments);
  const plan = await planOf(context, cluster, wanted);
  if (!shown) printPlan(context, plan);
  if (plan.conflicts.length > 0) throw clusterErrors.CLUSTER_INVALID({ problems: plan.conflicts });
  if (dryRun) return cluster;
  const { resourceVersion } = object.metadata;
  const word = acceptDatabaseNotRolledBack === true ? plan.stepsBack[0]?.to : acceptDatabaseNotRolledBack || undefined;
  const said = word ?? object.metadata.annotations?.[clusterAnnotation.acceptDatabase];
  // one word is for one version
  const unsaid = plan.stepsBack.filter(({ to }) => said === undefined || (said !== to && said !== wanted.version));
  const [first] = unsaid;
  if (first !== undefined) {
    const components = unsaid.map(({ component }) => component);
    throw clusterErrors.CLUSTER_DATABASE_NOT_ROLLED_BACK({ from: first.tables, to: first.to, components });
  }
  const annotations = word !== undefined && { annotations: { [clusterAnnotation.acceptDatabase]: word } };
  const patch = { metadata: { resourceVersion, ...annotations }, spec: mergePatchOf(cluster.spec, assignments) };
  try {
    const changed = await context.api.patch(clusterType, key, patch, { fieldManager: BMCTL_MANAGER, signal: context.signal });
    const same = changed.metadata.resourceVersion === resourceVersion;
    context.progress(`onecloudcluster ${formatKey(key)} ${same ? 'is so already' : 'changed'}`);
    return clusterOf(changed);
  } catch (error) {
    const now = isApiError(error, 'conflict') ? await findCluster(context, key) : undefined;
    // an operator at work writes its status by the second: the same was planned on, and is judged by the new status
    if (now && isAskedAlike(now, cluster)) return changeSpec(context, now, { assignments, acceptDatabaseNotRolledBack, shown: true });
    throw explained(error, { ...key, cluster: key.name });
  }
}

function assignmentsOf({ version, imageRepository, edition, components }: UpdateOptions): Assignment[] {
  const settings: Partial<ClusterSpec> = { version, imageRepository, edition } as Partial<ClusterSpec>;
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  return [...given.map(([name, value]) => ({ path: [name], value })), ...components];
}
