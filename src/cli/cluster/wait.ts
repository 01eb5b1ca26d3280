/** --wait: until the cluster is what was asked for, told as it goes. A watch, not a poll. */
import { asObject } from 'cdk8s-baremetal-contract/loose';
import type { ClusterStatus, ComponentStatus } from 'cdk8s-baremetal-contract/onecloud/index';
import { withDeadline } from 'cdk8s-baremetal-runtime/core/clock';
import { formatKey, type LiveObject } from '../../operator/engine/objects.ts';
import { clusterOf, clusterType } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { follow } from './watch-cluster.ts';

const DEFAULT_WAIT_MINUTES = 30;

export type Outcome =
  | { readonly type: 'there' }
  | { readonly type: 'waiting'; readonly blocking: readonly string[] }
  | { readonly type: 'failed'; readonly reason: string };

/** @throws CodedError CLUSTER_WAIT_DEADLINE, CLUSTER_WAIT_FAILED, CLUSTER_WAIT_DELETED */
export async function waitForCluster(context: ClusterContext, key: ClusterKey, minutes = DEFAULT_WAIT_MINUTES): Promise<void> {
  const cluster = formatKey(key);
  let blocking: readonly string[] = [];
  const late = (): Error => clusterErrors.CLUSTER_WAIT_DEADLINE({ cluster, minutes, blocking });
  const wait = async (signal: AbortSignal): Promise<void> => {
    let known: ClusterStatus['components'] = {};
    let phase: string | undefined;
    for await (const object of follow(context, clusterType, key, signal)) {
      if (object === undefined) throw clusterErrors.CLUSTER_WAIT_DELETED({ cluster });
      const { status } = clusterOf(object);
      if (status.phase !== undefined && status.phase !== phase) context.progress(`${cluster}: ${status.phase}`);
      phase = status.phase;
      for (const line of newlyTold(known, status.components ?? {})) context.progress(line);
      known = status.components;
      const outcome = outcomeOf(object);
      if (outcome.type === 'there') {
        context.progress(`${cluster} runs ${status.version ?? ''}`.trimEnd());
        return;
      }
      if (outcome.type === 'failed') throw clusterErrors.CLUSTER_WAIT_FAILED({ cluster, reason: outcome.reason });
      blocking = outcome.blocking;
    }
  };
  try {
    await withDeadline(context.clock, minutes * 60_000, late, wait, context.signal);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** Until it and its finalizers are gone. */
export async function waitUntilGone(context: ClusterContext, key: ClusterKey, minutes = DEFAULT_WAIT_MINUTES): Promise<void> {
  const cluster = formatKey(key);
  const late = (): Error =>
    clusterErrors.CLUSTER_WAIT_DEADLINE({ cluster, minutes, blocking: ['its finalizers, which the operator clears'] });
  const wait = async (signal: AbortSignal): Promise<void> => {
    for await (const object of follow(context, clusterType, key, signal)) if (object === undefined) return;
  };
  try {
    await withDeadline(context.clock, minutes * 60_000, late, wait, context.signal);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** What the status says, for the generation that was asked for. Pure. */
export function outcomeOf(object: LiveObject): Outcome {
  const { spec, status } = clusterOf(object);
  const generation = object.metadata.generation ?? 0;
  if ((status.observedGeneration ?? 0) < generation)
    return { type: 'waiting', blocking: ['the operator, which has not seen the change yet'] };
  const condition = (type: string) => (status.conditions ?? []).find((one) => one.type === type);
  const current = (type: string): boolean => (condition(type)?.observedGeneration ?? generation) >= generation;
  const last = (status.history ?? []).at(-1);
  const own = last?.component === undefined ? undefined : status.components?.[last.component];
  const stands = last?.component === undefined ? last?.to === spec.version : own?.image === last.to && own.phase !== 'Ready';
  if (last && (last.outcome === 'RolledBack' || last.outcome === 'Failed') && stands) {
    return { type: 'failed', reason: `${last.outcome}${last.message === undefined ? '' : `: ${last.message}`}` };
  }
  const degraded = condition('Degraded');
  const progressing = condition('Progressing');
  if (degraded?.status === 'True' && current('Degraded') && progressing?.status !== 'True') {
    return { type: 'failed', reason: [degraded.reason, degraded.message].filter(Boolean).join(': ') };
  }
  // what runs may be ready while what was asked for waits for its window
  if (status.plan !== undefined) return { type: 'waiting', blocking: blockingOf(status) };
  if (condition('Ready')?.status === 'True' && current('Ready') && progressing?.status !== 'True') return { type: 'there' };
  return { type: 'waiting', blocking: blockingOf(status) };
}

/** What stands between the cluster and readiness, one sentence each. */
export function blockingOf(status: ClusterStatus): string[] {
  const components = Object.entries(status.components ?? {}).filter(([, { phase }]) => phase !== 'Ready' && phase !== 'Disabled');
  const failed = components.filter(([, { phase }]) => phase === 'Failed');
  const told = failed.length > 0 ? failed : components.filter(([, { phase }]) => phase === 'Progressing');
  const { plan } = status;
  const pending = plan?.waitingFor ?? (plan && `${plan.changes.length} changes that have not begun`);
  return [
    ...(pending === undefined ? [] : [pending]),
    ...(status.phase === 'Paused' ? ['spec.paused, which keeps the operator from changing anything'] : []),
    ...(told.length > 0 ? told : components).map(([name, one]) => `${name} (${describe(one)})`),
  ];
}

function newlyTold(before: ClusterStatus['components'] = {}, after: NonNullable<ClusterStatus['components']>): string[] {
  const total = Object.values(after).filter(({ phase }) => phase !== 'Disabled').length;
  const ready = Object.values(after).filter(({ phase }) => phase === 'Ready').length;
  return Object.entries(after).flatMap(([name, one]) => {
    const was = asObject(before[name]);
    if (was.phase === one.phase && was.message === one.message) return [];
    return [`  ${name.padEnd(24)} ${describe(one)}  [${ready}/${total}]`];
  });
}

function describe({ phase, ready, desired, message }: ComponentStatus): string {
  const counts = desired === undefined ? '' : ` ${ready ?? 0}/${desired}`;
  return `${phase}${counts}${message === undefined ? '' : `: ${message}`}`;
}
