/** For who watches the health of what runs on a machine: a Kubernetes node that is not ready, a monitoring system, a person. */
import type { Clock } from '../../core/clock.ts';
import { modify, type Store } from '../../store/index.ts';
import { machineErrors } from '../errors.ts';
import { type NodeRecord, nodeKind } from '../node-record.ts';
import { withEvent } from '../timeline.ts';
import { cleanText } from '../transition.ts';

interface FaultContext {
  readonly store: Store;
  readonly clock: Clock;
}

/** Remedies by grades follow while it lasts (power-sync.ts). Telling it again changes nothing. */
export function reportFault(context: FaultContext, nodeId: string, reason: string): Promise<NodeRecord> {
  const now = context.clock.now();
  const text = cleanText(reason);
  return change(context.store, nodeId, (node) => {
    // A BMC that does not answer, or a machine without power, explains itself.
    if (node.fault !== undefined) return undefined;
    const faulty: NodeRecord = { ...node, fault: { kind: 'unhealthy', reason: text, since: now, remedies: [] } };
    return withEvent(faulty, { type: 'reported unhealthy', detail: text }, now);
  });
}

/** It is well again: the next fault begins at the first grade. Also ends one that the power sync has found. */
export function clearFault(context: FaultContext, nodeId: string): Promise<NodeRecord> {
  return change(context.store, nodeId, (node) =>
    node.fault === undefined
      ? undefined
      : withEvent({ ...node, fault: undefined }, { type: 'reported well', detail: node.fault.kind }, context.clock.now()),
  );
}

async function change(store: Store, nodeId: string, next: (value: NodeRecord) => NodeRecord | undefined): Promise<NodeRecord> {
  const result = await modify(store, nodeKind, nodeId, next);
  if (result.outcome === 'missing') throw machineErrors.MACHINE_UNKNOWN({ node: nodeId });
  return result.record.value;
}
