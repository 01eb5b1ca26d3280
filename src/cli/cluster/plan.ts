/** bmctl cluster plan: what a change of the spec would do, without doing it. */
import { asObject } from 'cdk8s-baremetal-contract/loose';
import { type ClusterSpec, componentObjectName, onecloudLabel, validateChange } from 'cdk8s-baremetal-contract/onecloud/index';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { table } from '../table.ts';
import { checkBeside, foreignNodePorts } from './checks.ts';
import { allClusters, type Cluster } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext } from './context.ts';
import { type StepBack, stepsBack } from './history.ts';
import { componentSelector } from './names.ts';
import { type ClusterPlan, imagesOf, planChanges, type Rollout } from './plan-changes.ts';

export interface TotalPlan extends ClusterPlan {
  readonly warnings: readonly string[];
  /** What the operator does not do without --accept-database-not-rolled-back. */
  readonly stepsBack: readonly StepBack[];
}

/** The plan against what runs now: images are those of the live workloads, not those that the spec would like. */
export async function planOf(context: ClusterContext, cluster: Cluster, wanted: ClusterSpec): Promise<TotalPlan> {
  const { key, spec, instance } = cluster;
  const { problems, warnings } = checkBeside(key, wanted, await allClusters(context));
  if (problems.length > 0) return { components: [], conflicts: problems, held: [], warnings, stepsBack: [] };
  const liveImages = await runningImages(context, cluster);
  const plan = planChanges({
    ...key,
    instance,
    live: liveImages === undefined ? undefined : spec,
    asked: spec,
    wanted,
    liveImages: liveImages ?? {},
    takenPorts: await foreignNodePorts(context, instance),
  });
  const impossible = validateChange(spec, wanted).map(String);
  return { ...plan, conflicts: [...plan.conflicts, ...impossible], warnings, stepsBack: stepsBack(cluster, wanted) };
}

const ROLLOUTS: Readonly<Record<Rollout, string>> = {
  none: 'pods stay',
  start: 'starts',
  stop: 'stops; configuration and data stay',
  rolling: 'rolls, the service goes on',
  recreate: 'stops, then starts: a gap',
  'on-delete': 'waits until its pods are deleted by hand',
  'next-run': 'from the next run on',
};

export function printPlan({ print, asJson }: Pick<ClusterContext, 'print' | 'asJson'>, plan: TotalPlan): void {
  if (asJson) {
    print(JSON.stringify(plan, undefined, 2));
    return;
  }
  const rows = plan.components.flatMap(({ layer, component, rollout, changes, migrates }) =>
    changes.map(({ what, from, to }, index) => [
      index === 0 ? String(layer) : '',
      index === 0 ? component : '',
      what,
      from ?? '-',
      to ?? '-',
      index === 0 ? `${ROLLOUTS[rollout]}${migrates ? '; migrates its database' : ''}` : '',
    ]),
  );
  if (rows.length === 0 && plan.conflicts.length === 0) print('Nothing would change.');
  if (rows.length > 0) {
    print(table(['LAYER', 'COMPONENT', 'WHAT', 'FROM', 'TO', 'PODS'], rows));
    print(`\n${summary(plan)}`);
  }
  if (plan.databaseDump !== undefined) print(`databases: ${plan.databaseDump}`);
  for (const line of plan.held) print(`held: ${line}`);
  for (const { component, tables, to } of plan.stepsBack)
    print(`word: ${component} would get ${to} although ${tables} was at its tables: --accept-database-not-rolled-back`);
  for (const line of plan.warnings) print(`warning: ${line}`);
  for (const line of plan.conflicts) print(`conflict: ${line}`);
}

function summary({ components }: ClusterPlan): string {
  const count = (...rollouts: readonly Rollout[]): number => components.filter(({ rollout }) => rollouts.includes(rollout)).length;
  const parts = [
    [count('start'), 'start'],
    [count('stop'), 'stop'],
    [count('rolling', 'recreate'), 'restart'],
    [count('on-delete'), 'wait for a deletion by hand'],
    [count('next-run'), 'change at their next run'],
    [count('none'), 'change without a restart'],
  ] as const;
  const migrating = components.filter(({ migrates }) => migrates).length;
  const told = parts.filter(([number]) => number > 0).map(([number, verb]) => `${number} ${verb}`);
  return `${components.length} components: ${told.join(', ')}${migrating > 0 ? `; ${migrating} migrate their databases, which a rollback does not undo` : ''}`;
}

/** By component and container; undefined when nothing of the cluster runs yet. */
async function runningImages(
  { api, signal }: ClusterContext,
  { key: { name, namespace }, instance }: Cluster,
): Promise<Record<string, Record<string, string>> | undefined> {
  try {
    const selection = { namespace, labelSelector: componentSelector(instance), signal };
    const lists = await Promise.all([resourceTypes.deployments, resourceTypes.daemonSets].map((type) => api.list(type, selection)));
    const workloads = lists.flatMap(({ items }) => items);
    if (workloads.length === 0) return undefined;
    return Object.fromEntries(
      workloads.flatMap((workload) => {
        const component = asObject(workload.metadata.labels)[onecloudLabel.component];
        if (typeof component !== 'string' || workload.metadata.name !== componentObjectName(name, component)) return [];
        return [[component, Object.fromEntries(imagesOf(workload))]];
      }),
    );
  } catch (error) {
    throw explained(error, { namespace, cluster: name });
  }
}
