/** A pass that failed before it came to any component: told by condition and event, since nobody reads the log first. */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { ClusterStatus } from 'cdk8s-baremetal-contract/onecloud/index';
import { isApiError } from '../engine/api-error.ts';
import { type Condition, conditionOf, setConditions } from '../engine/conditions.ts';
import type { ReconcileContext } from '../engine/controller.ts';
import { operatorErrors } from '../engine/errors.ts';
import type { EventRecorder } from '../engine/events.ts';
import { parseKey } from '../engine/objects.ts';
import { clusterType } from './names.ts';
import type { ObjectView } from './object-view.ts';

export interface TroubleOptions {
  readonly view: ObjectView;
  readonly events: EventRecorder;
}

/** Nobody's to cure: another replica, or the next start, goes on. */
const PASSING = new Set(['OPERATOR_LEADERSHIP_LOST', 'OPERATOR_STOPPING']);

/** Never rejects, and says nothing of what passes by itself. */
export async function tellTrouble(
  { view, events }: TroubleOptions,
  key: string,
  { api, clock, logger }: ReconcileContext,
  error: unknown,
): Promise<void> {
  const told = explained(error);
  const cluster = view.get(clusterType.kind, parseKey(key));
  if (told === undefined || cluster === undefined) return;
  const { generation } = cluster.metadata;
  const message = String(told);
  const before = (cluster.status ?? {}) as ClusterStatus;
  const conditions = (before.conditions ?? []) as readonly Condition[];
  const degraded = { type: 'Degraded', status: 'True', reason: 'PassFailed', message } as const;
  await events.record(cluster, { type: 'Warning', reason: 'PassFailed', action: 'Reconcile', note: message });
  if (before.phase === 'Degraded' && conditionOf(conditions, 'Degraded')?.message === message) return;
  const status = {
    ...before,
    phase: 'Degraded',
    conditions: setConditions(conditions, [{ ...degraded, ...(generation !== undefined && { observedGeneration: generation }) }], clock),
  };
  try {
    view.written(await api.replace(clusterType, { ...cluster, status }, { subresource: 'status' }));
  } catch (failure) {
    logger.warn({ failure: failure instanceof Error ? failure.message : String(failure) }, 'the trouble was not written into the status');
  }
}

function explained(error: unknown): CodedError | undefined {
  if (error instanceof CodedError) return PASSING.has(error.code) ? undefined : error;
  if (isApiError(error, 'forbidden'))
    return operatorErrors.OPERATOR_FORBIDDEN({ what: 'a request of the operator', reason: error.message });
  return undefined;
}
