/** bmctl cluster rollback: back to a version that ran, of everything or of one component. */
import { nearest } from 'cdk8s-baremetal-contract';
import { imageOf, resolveCluster } from 'cdk8s-baremetal-contract/onecloud/index';
import { type Assignment, assigned, findComponent } from './assignment.ts';
import { type Cluster, getCluster } from './cluster-object.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { earlierVersions, migratedBetween, previousVersion } from './history.ts';
import { changeSpec } from './update.ts';

export interface RollbackOptions {
  readonly key: ClusterKey;
  /** Absent: the version before the one that is wanted now. */
  readonly to?: string;
  /** Key or name of one component, which then keeps that image until `update --component KEY.image=` clears it. */
  readonly component?: string;
  readonly acceptDatabaseNotRolledBack?: boolean;
  readonly dryRun?: boolean;
}

/** @throws CodedError CLUSTER_NO_EARLIER_VERSION, CLUSTER_VERSION_NEVER_RAN, CLUSTER_DATABASE_NOT_ROLLED_BACK, … */
export async function rollbackCluster(context: ClusterContext, options: RollbackOptions): Promise<Cluster> {
  const cluster = await getCluster(context, options.key);
  const from = cluster.spec.version ?? 'latest';
  const to = target(cluster, options.to);
  const assignments = [assignmentOf(cluster, to, options.component)];
  const components = migratedBetween(cluster, assigned(cluster.spec, assignments));
  if (components.length > 0 && !options.acceptDatabaseNotRolledBack && !options.dryRun) {
    throw clusterErrors.CLUSTER_DATABASE_NOT_ROLLED_BACK({ from, to, components });
  }
  context.progress(`rollback of ${options.component ?? 'every component'} from ${from} to ${to}`);
  if (components.length > 0) context.progress(`the databases of ${components.join(', ')} stay as ${from} left them`);
  const accepted = options.acceptDatabaseNotRolledBack && { acceptDatabaseNotRolledBack: to };
  return changeSpec(context, cluster, { assignments, ...accepted, ...(options.dryRun && { dryRun: true }) });
}

function target(cluster: Cluster, wanted: string | undefined): string {
  if (wanted === undefined) {
    const previous = previousVersion(cluster);
    if (previous === undefined) throw clusterErrors.CLUSTER_NO_EARLIER_VERSION({ version: cluster.spec.version ?? 'latest' });
    return previous;
  }
  const known = earlierVersions(cluster);
  if (known.includes(wanted)) return wanted;
  const near = nearest(wanted, known);
  throw clusterErrors.CLUSTER_VERSION_NEVER_RAN({ version: wanted, known, ...(near !== undefined && { nearest: near }) });
}

function assignmentOf({ spec }: Cluster, version: string, component: string | undefined): Assignment {
  if (component === undefined) return { path: ['version'], value: version };
  const row = findComponent(component);
  const resolved = resolveCluster(spec);
  const overrides = resolved.components.find((one) => one.row.key === row.key)?.overrides ?? {};
  const { image: _, tag: __, ...rest } = overrides; // the version decides, not what held it until now
  return { path: [row.key, 'image'], value: imageOf(row, rest, { ...resolved.settings, version }) };
}
