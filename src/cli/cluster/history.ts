/** What a cluster's history says of its versions. Pure. */
import type { ClusterSpec, VersionChange } from 'cdk8s-baremetal-contract/onecloud/index';
import { isStepBack, migratesDatabase, programVersion, resolveCluster, versionsAtTables } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Cluster } from './cluster-object.ts';

type HistoryHolder = Pick<Cluster, 'spec' | 'status'>;

/** Changes of the whole cluster, the oldest first. */
function versionChanges({ status }: HistoryHolder): readonly VersionChange[] {
  return (status.history ?? []).filter(({ component }) => component === undefined);
}

/** Versions that were in force before the one that is wanted now, the latest first. */
export function earlierVersions(cluster: HistoryHolder): string[] {
  const current = cluster.spec.version ?? 'latest';
  const changes = versionChanges(cluster);
  const proven = changes.flatMap(({ from, to, outcome }) => [
    ...(from === undefined ? [] : [from]),
    ...(outcome === 'Succeeded' ? [to] : []),
  ]);
  // a failed upgrade's own target never ran; what is in force did
  const inForce = cluster.status.version;
  const all = [...proven, ...(inForce === undefined ? [] : [inForce])].reverse();
  return [...new Set(all)].filter((version) => version !== current);
}

/** Where a rollback without a target goes: what was in force before the wanted version, as the last change to it says. */
export function previousVersion(cluster: HistoryHolder): string | undefined {
  const current = cluster.spec.version ?? 'latest';
  const last = versionChanges(cluster).findLast(({ to, from }) => to === current && from !== undefined && from !== current);
  return last?.from ?? earlierVersions(cluster)[0];
}

export interface StepBack {
  /** Name. */
  readonly component: string;
  /** Version that last was at its tables. */
  readonly tables: string;
  /** The older one that it would get. */
  readonly to: string;
}

/** What the operator refuses of `wanted` without a word: programs older than their tables, by the same rule. */
export function stepsBack({ spec, status }: HistoryHolder, wanted: ClusterSpec): StepBack[] {
  return changedPrograms({ spec, status }, wanted).filter(({ component, tables, to }) =>
    isStepBack({ tables, to, ranBefore: versionsAtTables(component, status.history ?? []) }),
  );
}

/**
 * Components whose tables are newer than the program that they would get in `wanted`, as far as the operator has told. Where it has
 * not, every changed image of such a component counts: whoever asks for a rollback means an older one.
 */
export function migratedBetween(cluster: HistoryHolder, wanted: ClusterSpec): string[] {
  return changedPrograms(cluster, wanted)
    .filter(({ tables, to }) => isStepBack({ tables, to, ranBefore: [to] }))
    .map(({ component }) => component);
}

function changedPrograms({ spec, status }: HistoryHolder, wanted: ClusterSpec): StepBack[] {
  const then = new Map(resolveCluster(wanted).components.map(({ row, image, disabled }) => [row.key, { image, disabled }]));
  return resolveCluster(spec).components.flatMap(({ row, image, disabled }) => {
    const other = then.get(row.key);
    if (!migratesDatabase(row) || other === undefined || other.image === image || other.disabled || disabled) return [];
    const to = programVersion(other.image);
    const tables = status.components?.[row.name]?.databaseVersion ?? programVersion(image);
    return [{ component: row.name, tables, to }];
  });
}
