/** For who watches the health of what runs on a machine: a Kubernetes node that is not ready, a monitoring system, a person; by the API and bmctl. */
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

/**
 * Remedies by grades follow while it lasts (power-sync.ts). Telling it again changes nothing. Refused where no remedy would follow:
 * MACHINE_NOT_IN_USE, and MACHINE_IN_MAINTENANCE, since a machine that comes back from it is given its time before anything is done to it.
 */
export function reportFault(context: FaultContext, nodeId: string, reason: string): Promise<NodeRecord> {
  const now = context.clock.now();
  const text = cleanText(reason) || 'no reason was given';
  return change(context.store, nodeId, (node) => {
    if (isReported(node)) return undefined;
    if (node.state !== 'active') throw machineErrors.MACHINE_NOT_IN_USE({ node: node.name, state: node.state });
    if (node.maintenance)
      throw machineErrors.MACHINE_IN_MAINTENANCE({ node: node.name, reason: node.maintenanceReason ?? 'no reason was given' });
    // A BMC that does not answer, or a machine without power, explains itself.
    if (node.fault !== undefined) return undefined;
    const faulty: NodeRecord = { ...node, fault: { kind: 'unhealthy', reason: text, since: now, remedies: [] } };
    return withEvent(faulty, { type: 'reported unhealthy', detail: text }, now);
  });
}

/**
 * It is well again: the next fault begins at the first grade. Only what was reported ends: who says so of every machine that is well to him must not
 * hide, look after look, that its BMC does not answer. What the power sync has found, it ends itself.
 */
export function clearFault(context: FaultContext, nodeId: string): Promise<NodeRecord> {
  return change(context.store, nodeId, (node) => (isReported(node) ? withoutReport(node, context.clock.now()) : undefined));
}

export function withoutReport(node: NodeRecord, now: number): NodeRecord {
  return isReported(node) ? withEvent({ ...node, fault: undefined }, { type: 'reported well', detail: 'unhealthy' }, now) : node;
}

function isReported({ fault }: NodeRecord): boolean {
  return fault?.kind === 'unhealthy';
}

async function change(store: Store, nodeId: string, next: (value: NodeRecord) => NodeRecord | undefined): Promise<NodeRecord> {
  const result = await modify(store, nodeKind, nodeId, next);
  if (result.outcome === 'missing') throw machineErrors.MACHINE_UNKNOWN({ node: nodeId });
  return result.record.value;
}
