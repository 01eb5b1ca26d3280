/** What a pass found, as the cluster's status: phase, conditions, one entry per component, history and plan. */

import type { CodedError } from 'cdk8s-baremetal-contract';
import type { ClusterStatus, ComponentStatus, UpdatePlan, VersionChange } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { type Condition, type NewCondition, setConditions } from '../engine/conditions.ts';
import type { LiveObject } from '../engine/objects.ts';
import type { DatabaseName } from './database-step.ts';
import type { ComponentResult } from './layers.ts';
import { lastChange, standingFailures } from './rollout.ts';

export interface StatusFacts {
  readonly cluster: LiveObject;
  readonly before: ClusterStatus | undefined;
  readonly clock: Clock;
  /** The spec cannot be used, and why; nothing is changed. */
  readonly refused?: { readonly reason: string; readonly message: string };
  readonly paused?: boolean;
  readonly results?: readonly ComponentResult[];
  readonly history?: readonly VersionChange[];
  readonly plan?: UpdatePlan | undefined;
  /** Why the plan waits, in one word. */
  readonly waitReason?: string;
  /** Components whose configuration was edited. */
  readonly drift?: readonly string[];
  /** Everything is as the spec wants it. */
  readonly complete?: boolean;
  /** The version that is being brought about. */
  readonly version?: string;
  readonly withoutNodes?: readonly string[];
  /** Since when a layer is waited for. */
  readonly waiting?: ClusterStatus['waiting'];
  /** A version, or single images, that are not brought about, and why. */
  readonly notAccepted?: CodedError;
  /** Databases that were seen right, and what kept others from being so. Absent: somebody else cares for them. */
  readonly databases?: { readonly names: readonly DatabaseName[]; readonly problem: CodedError | undefined };
  /** What kept accounts or endpoints in Keystone from being there. Absent: somebody else cares for them. */
  readonly identity?: { readonly problem: CodedError | undefined };
  readonly dumpFailure?: string;
}

type Phase = NonNullable<ClusterStatus['phase']>;

export function statusOf(facts: StatusFacts): ClusterStatus {
  const { cluster, before, clock, refused, paused, results, history, plan, drift = [], complete = false, version } = facts;
  const { waitReason = 'Waiting', waiting, notAccepted, databases, identity, dumpFailure } = facts;
  const { generation } = cluster.metadata;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const conditions = (next: readonly NewCondition[], without: readonly string[] = []): Condition[] =>
    setConditions(
      ((before?.conditions ?? []) as readonly Condition[]).filter(({ type }) => !without.includes(type)),
      next.map((condition) => ({ ...condition, ...observed })),
      clock,
    );
  // nothing is done meanwhile, so no layer's time runs
  const { waiting: _, ...resting } = before ?? {};
  if (refused !== undefined) {
    return {
      ...resting,
      ...observed,
      phase: 'Degraded',
      conditions: conditions([
        { type: 'Ready', status: 'False', ...refused },
        { type: 'Progressing', status: 'False', ...refused },
        { type: 'Degraded', status: 'True', ...refused },
        { type: 'Accepted', status: 'False', ...refused },
      ]),
    };
  }
  if (paused || results === undefined || history === undefined) {
    const told = { reason: 'Paused', message: 'spec.paused is true: nothing is changed' };
    // what was said of another spec, or of a pass that failed, is not known of this one
    const stale = ((before?.conditions ?? []) as readonly Condition[]).filter(
      ({ type, reason }) => type !== 'Progressing' && PASSED_OVER.has(reason),
    );
    const next: NewCondition[] = [
      { type: 'Progressing', status: 'False', ...told },
      ...stale.map(({ type }): NewCondition => ({ type, status: 'Unknown', ...told })),
    ];
    return { ...resting, ...observed, phase: 'Paused', conditions: conditions(next) };
  }
  const last = lastChange(history);
  const phase = notAccepted ? 'Degraded' : phaseOf(last, results, complete);
  const pending = results.filter(({ state, held }) => (state === 'progressing' || state === 'waiting') && !held);
  const failed = results.filter(({ state, error }) => state === 'failed' || error !== undefined);
  const rolledBack = last?.outcome === 'RolledBack';
  const unready = results.filter(({ state }) => state !== 'ready' && state !== 'disabled');
  const failure = rolledBack || last?.outcome === 'Failed' ? last : standingFailures(history, unready)[0];
  // what waits with the image that it has serves
  const ready = results.every(({ state, held }) => state === 'ready' || state === 'disabled' || held);
  const next: NewCondition[] = [
    ready
      ? { type: 'Ready', status: 'True', reason: 'AllReady' }
      : { type: 'Ready', status: 'False', reason: 'NotReady', message: inWords([...new Set([...failed, ...pending])]) },
    plan?.waitingFor !== undefined
      ? {
          type: 'Progressing',
          status: waitReason === 'DumpingDatabases' ? 'True' : 'False',
          reason: waitReason,
          message: `${plan.changes.length} changes wait for ${plan.waitingFor}`,
        }
      : pending.length > 0
        ? { type: 'Progressing', status: 'True', reason: 'RollingOut', message: inWords(pending) }
        : { type: 'Progressing', status: 'False', reason: 'Settled' },
    notAccepted
      ? { type: 'Degraded', status: 'True', reason: 'RollbackRefused', message: String(notAccepted) }
      : failed.length > 0
        ? { type: 'Degraded', status: 'True', reason: 'ComponentsFailed', message: inWords(failed) }
        : failure
          ? { type: 'Degraded', status: 'True', reason: rolledBack ? 'RolledBack' : 'RolloutFailed', message: failure.message ?? '' }
          : { type: 'Degraded', status: 'False', reason: 'AsExpected' },
    drift.length > 0
      ? { type: 'ConfigDrift', status: 'True', reason: 'Edited', message: `edited and kept as it is: ${drift.join(', ')}` }
      : { type: 'ConfigDrift', status: 'False', reason: 'AsGenerated' },
    notAccepted
      ? { type: 'Accepted', status: 'False', reason: 'RollbackRefused', message: String(notAccepted) }
      : { type: 'Accepted', status: 'True', reason: 'AsAsked' },
    ...(databases ? [externalCondition('DatabasesReady', databases.problem)] : []),
    ...(identity ? [externalCondition('IdentityReady', identity.problem)] : []),
    ...dumpConditions(history, dumpFailure),
  ];
  const components = Object.fromEntries(results.map((result) => [result.component, componentStatus(result, facts)]));
  const known = new Map(
    [...(before?.databases ?? []), ...(databases?.names ?? [])].map((database) => [`${database.server} ${database.name}`, database]),
  );
  const settled = results.every(({ state }) => state === 'ready' || state === 'disabled') && plan === undefined;
  const inForce = settled ? version : before?.version;
  return {
    ...observed,
    phase,
    conditions: conditions(next, [...(databases ? [] : ['DatabasesReady']), ...(identity ? [] : ['IdentityReady'])]),
    ...(before?.clusterId !== undefined && { clusterId: before.clusterId }),
    ...(inForce !== undefined && { version: inForce }),
    components,
    history: [...history],
    ...(waiting && { waiting }),
    ...(known.size > 0 && { databases: [...known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, database]) => database) }),
    ...(plan && { plan }),
  };
}

/** Components of which the same is said are told together, the first of them by name: thirty may wait for one. */
function inWords(found: readonly ComponentResult[]): string {
  const components = new Map<string, string[]>();
  for (const { component, message = '' } of found) components.set(message, [...(components.get(message) ?? []), component]);
  return [...components]
    .map(([message, names]) => {
      const who = names.length > NAMED + 1 ? `${names.slice(0, NAMED).join(', ')} and ${names.length - NAMED} more` : names.join(', ');
      return message === '' ? who : `${who}: ${message}`;
    })
    .join('; ')
    .slice(0, 2000);
}

const NAMED = 3;

/** Reasons of conditions that speak of a spec, or a moment, which a pause leaves behind. */
const PASSED_OVER: ReadonlySet<string> = new Set(['InvalidSpec', 'InstanceTaken', 'NodePortTaken', 'DatabasesShared', 'PassFailed']);

const REASONS: Readonly<Record<string, string>> = {
  ONECLOUD_DATABASE_UNREACHABLE: 'Unreachable',
  ONECLOUD_DATABASE_LOGIN: 'LoginRefused',
  ONECLOUD_DATABASE_FORBIDDEN: 'NotAllowed',
  ONECLOUD_DATABASE_REFUSED: 'Refused',
  ONECLOUD_SECRET_MISSING: 'SecretMissing',
  ONECLOUD_IDENTITY_UNREACHABLE: 'Unreachable',
  ONECLOUD_IDENTITY_LOGIN: 'LoginRefused',
  ONECLOUD_IDENTITY_REFUSED: 'Refused',
};

/** Of a server that the operator brings into shape beside Kubernetes. */
function externalCondition(type: string, problem: CodedError | undefined): NewCondition {
  if (problem === undefined) return { type, status: 'True', reason: 'AsWanted' };
  return { type, status: 'False', reason: REASONS[problem.code] ?? 'Failed', message: String(problem) };
}

/** Of the last change that could migrate anything. */
function dumpConditions(history: readonly VersionChange[], failure: string | undefined): NewCondition[] {
  const dump = history.findLast(({ databaseDump }) => databaseDump !== undefined)?.databaseDump;
  if (dump === undefined) return [];
  const message = failure ?? dump.message;
  const told = { type: 'DatabaseBackup', ...(message !== undefined && { message }) };
  switch (dump.state) {
    case 'Taken':
      return [{ ...told, status: 'True', reason: 'Taken' }];
    case 'NotTaken':
      return [{ ...told, status: 'False', reason: 'NotTaken' }];
    case 'Failed':
      return [{ ...told, status: 'False', reason: 'Failed' }];
    case 'Pending':
      return [
        failure === undefined ? { ...told, status: 'Unknown', reason: 'Running' } : { ...told, status: 'False', reason: 'CannotBegin' },
      ];
  }
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
  { component, kind, state, image, ready, desired, message, tables }: ComponentResult,
  { cluster, before, drift = [], withoutNodes = [] }: StatusFacts,
): ComponentStatus {
  const databaseVersion = tables ?? before?.components?.[component]?.databaseVersion;
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
    ...(databaseVersion !== undefined && { databaseVersion }),
    ...(drift.includes(component) && { configDrift: true }),
    ...(told !== undefined && { message: told.slice(0, 1024) }),
  };
}
