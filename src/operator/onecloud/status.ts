/** What a pass found, as the cluster's status: phase, conditions, one entry per component, history and plan. */
import type { ClusterStatus, ComponentStatus, UpdatePlan, VersionChange } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { type Condition, type NewCondition, setConditions } from '../engine/conditions.ts';
import type { LiveObject } from '../engine/objects.ts';
import type { ComponentResult } from './layers.ts';
import { lastChange } from './rollout.ts';

export interface StatusFacts {
  readonly cluster: LiveObject;
  readonly before: ClusterStatus | undefined;
  readonly clock: Clock;
  /** The spec cannot be used, and why. */
  readonly refused?: string;
  readonly paused?: boolean;
  readonly results?: readonly ComponentResult[];
  readonly history?: readonly VersionChange[];
  readonly plan?: UpdatePlan | undefined;
  /** Components whose configuration was edited. */
  readonly drift?: readonly string[];
  /** Everything is as the spec wants it. */
  readonly complete?: boolean;
  /** The version that is being brought about. */
  readonly version?: string;
  readonly withoutNodes?: readonly string[];
}

type Phase = NonNullable<ClusterStatus['phase']>;

export function statusOf(facts: StatusFacts): ClusterStatus {
  const { cluster, before, clock, refused, paused, results, history, plan, drift = [], complete = false, version } = facts;
  const { generation } = cluster.metadata;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const conditions = (next: readonly NewCondition[]): Condition[] =>
    setConditions(
      (before?.conditions ?? []) as readonly Condition[],
      next.map((condition) => ({ ...condition, ...observed })),
      clock,
    );
  if (refused !== undefined) {
    const told = { reason: 'InvalidSpec', message: refused };
    return {
      ...before,
      ...observed,
      phase: 'Degraded',
      conditions: conditions([
        { type: 'Ready', status: 'False', ...told },
        { type: 'Degraded', status: 'True', ...told },
      ]),
    };
  }
  if (paused || results === undefined || history === undefined) {
    const told = { reason: 'Paused', message: 'spec.paused is true: nothing is changed' };
    return { ...before, ...observed, phase: 'Paused', conditions: conditions([{ type: 'Progressing', status: 'False', ...told }]) };
  }
  const last = lastChange(history);
  const phase = phaseOf(last, results, complete);
  const pending = results.filter(({ state }) => state === 'progressing' || state === 'waiting');
  const failed = results.filter(({ state, error }) => state === 'failed' || error !== undefined);
  const rolledBack = last?.outcome === 'RolledBack';
  const list = (found: readonly ComponentResult[]): string =>
    found
      .map(({ component, message }) => (message ? `${component}: ${message}` : component))
      .join('; ')
      .slice(0, 2000);
  const ready = results.every(({ state }) => state === 'ready' || state === 'disabled');
  const next: NewCondition[] = [
    ready
      ? { type: 'Ready', status: 'True', reason: 'AllReady' }
      : { type: 'Ready', status: 'False', reason: 'NotReady', message: list([...failed, ...pending]) },
    plan?.waitingFor !== undefined
      ? {
          type: 'Progressing',
          status: 'False',
          reason: 'WaitingForWindow',
          message: `${plan.changes.length} changes wait for ${plan.waitingFor}`,
        }
      : pending.length > 0
        ? { type: 'Progressing', status: 'True', reason: 'RollingOut', message: list(pending) }
        : { type: 'Progressing', status: 'False', reason: 'Settled' },
    failed.length > 0
      ? { type: 'Degraded', status: 'True', reason: 'ComponentsFailed', message: list(failed) }
      : rolledBack || last?.outcome === 'Failed'
        ? { type: 'Degraded', status: 'True', reason: rolledBack ? 'RolledBack' : 'RolloutFailed', message: last?.message ?? '' }
        : { type: 'Degraded', status: 'False', reason: 'AsExpected' },
    drift.length > 0
      ? { type: 'ConfigDrift', status: 'True', reason: 'Edited', message: `edited and kept as it is: ${drift.join(', ')}` }
      : { type: 'ConfigDrift', status: 'False', reason: 'AsGenerated' },
  ];
  const components = Object.fromEntries(results.map((result) => [result.component, componentStatus(result, facts)]));
  const settled = results.every(({ state }) => state === 'ready' || state === 'disabled') && plan === undefined;
  const inForce = settled ? version : before?.version;
  return {
    ...observed,
    phase,
    conditions: conditions(next),
    ...(before?.clusterId !== undefined && { clusterId: before.clusterId }),
    ...(inForce !== undefined && { version: inForce }),
    components,
    history: [...history],
    ...(plan && { plan }),
  };
}

function phaseOf(last: VersionChange | undefined, results: readonly ComponentResult[], complete: boolean): Phase {
  const ready = results.every(({ state }) => state === 'ready' || state === 'disabled' || state === 'waiting');
  if (last?.outcome === 'RolledBack') return ready ? 'Degraded' : 'RollingBack';
  if (results.some(({ state }) => state === 'failed') || last?.outcome === 'Failed') return 'Degraded';
  if (last?.outcome === 'InProgress') return last.from === undefined ? 'Installing' : 'Upgrading';
  return complete || ready ? 'Running' : 'Degraded';
}

const PHASES = { ready: 'Ready', progressing: 'Progressing', failed: 'Failed', waiting: 'Waiting', disabled: 'Disabled' } as const;

function componentStatus(
  { component, kind, state, image, ready, desired, message }: ComponentResult,
  { cluster, drift = [], withoutNodes = [] }: StatusFacts,
): ComponentStatus {
  const { generation } = cluster.metadata;
  const lonely = withoutNodes.includes(component) && state === 'ready';
  const told = lonely ? 'waits for a labelled node' : message;
  return {
    ...(kind !== undefined && { kind }),
    phase: lonely ? 'Waiting' : PHASES[state],
    ...(image !== undefined && { image }),
    ...(generation !== undefined && state !== 'waiting' && { observedGeneration: generation }),
    ...(ready !== undefined && { ready }),
    ...(desired !== undefined && { desired }),
    ...(drift.includes(component) && { configDrift: true }),
    ...(told !== undefined && { message: told.slice(0, 1024) }),
  };
}
