/** What follows from one look at a machine's power: pure. */
import type { Fault, NodeRecord } from '../node-record.ts';
import type { PowerState } from '../ports.ts';
import { withEvent } from '../timeline.ts';

/**
 * Where record and BMC disagree: `record-follows-bmc` believes the BMC, `bmc-follows-record` wants a machine in use back where its last verb left
 * it, `report` changes neither and says so on the timeline.
 */
export type PowerPolicy = 'record-follows-bmc' | 'bmc-follows-record' | 'report';

export type Look = { readonly kind: 'seen'; readonly state: PowerState } | { readonly kind: 'failed'; readonly reason: string };

/** Of the machine's record as it is now; undefined: nothing to write, which is the rule. `told`: this difference was reported before. */
export function afterLook(node: NodeRecord, look: Look, policy: PowerPolicy, now: number, told = false): NodeRecord | undefined {
  if (look.kind === 'failed') {
    if (node.fault !== undefined) return undefined;
    const fault: Fault = { kind: 'bmc unreachable', reason: look.reason, since: now, remedies: [] };
    return withEvent({ ...node, fault }, { type: 'BMC unreachable', detail: look.reason }, now);
  }
  const answered =
    node.fault?.kind === 'bmc unreachable' ? withEvent({ ...node, fault: undefined }, { type: 'BMC reachable again' }, now) : node;
  const { state } = look;
  const recorded = answered.power?.state;
  if (recorded === state) {
    const back =
      answered.fault?.kind === 'power lost'
        ? withEvent({ ...answered, fault: undefined }, { type: 'power as recorded again' }, now)
        : answered;
    return back === node ? undefined : back;
  }
  const power = { state, at: now };
  // The first look is news to nobody.
  if (recorded === undefined) return { ...answered, power };
  const detail = `${recorded} on record, ${state} by the BMC`;
  // In a free machine nobody counts on the power: there the BMC is always right.
  if (policy === 'record-follows-bmc' || (policy === 'bmc-follows-record' && node.state !== 'active')) {
    return withEvent({ ...answered, power }, { type: 'power changed', detail }, now);
  }
  if (policy === 'report') {
    if (told) return answered === node ? undefined : answered;
    return withEvent(answered, { type: 'power differs', detail }, now);
  }
  if (answered.fault !== undefined) return answered === node ? undefined : answered;
  const fault: Fault = { kind: 'power lost', reason: detail, since: now, remedies: [] };
  return withEvent({ ...answered, fault }, { type: 'power differs', detail }, now);
}
