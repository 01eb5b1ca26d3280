/** What an object says of its machine, and when that is worth writing: pure. Nothing secret is in it, since nothing secret is in a record. */
import type { BareMetalNodeStatus } from 'cdk8s-baremetal-contract/crd/index';
import { isoTime } from '../core/iso-time.ts';
import type { NodeRecord } from '../machine/index.ts';
import type { MachineObject } from './machine-object.ts';

export type Verdict =
  | { readonly accepted: true; readonly note?: string }
  | { readonly accepted: false; readonly code: string; readonly message: string; readonly cure: string };

type Condition = NonNullable<BareMetalNodeStatus['conditions']>[number];
type Finding = Pick<Condition, 'type' | 'status' | 'reason'> & { readonly message: string };

const LONGEST_TEXT = 1024;

export function statusOf(object: MachineObject, node: NodeRecord | undefined, verdict: Verdict, nowMs: number): BareMetalNodeStatus {
  const before = object.status?.conditions ?? [];
  const conditions = [acceptance(verdict), readiness(node)].map((found): Condition => {
    const known = before.find(({ type }) => type === found.type);
    const lastTransitionTime = known?.status === found.status ? known.lastTransitionTime : isoTime(nowMs);
    return { ...found, message: clip(found.message), observedGeneration: object.generation, lastTransitionTime };
  });
  if (node === undefined) return { observedGeneration: object.generation, conditions };
  const { instance, lastFailure, owner } = node;
  return {
    state: node.state,
    reason: clip(node.reason),
    power: node.power?.state ?? 'unknown',
    uuid: node.uuid,
    ...(owner !== undefined && { owner }),
    epoch: node.epoch,
    ...(instance && { instance: { uuid: instance.uuid, name: instance.name, imageId: instance.imageId } }),
    ...(lastFailure && { lastError: { reason: clip(lastFailure.reason), at: isoTime(lastFailure.at) } }),
    observedGeneration: object.generation,
    conditions,
  };
}

export function sameStatus(one: BareMetalNodeStatus | undefined, other: BareMetalNodeStatus): boolean {
  return canonical(one) === canonical(other);
}

function acceptance(verdict: Verdict): Finding {
  if (verdict.accepted)
    return { type: 'Accepted', status: 'True', reason: 'Applied', message: verdict.note ?? 'the machine has this spec' };
  return { type: 'Accepted', status: 'False', reason: verdict.code, message: `${verdict.message}. ${verdict.cure}.` };
}

/** Whether it is free for an instance, or runs one, and nothing is wrong with it. */
function readiness(node: NodeRecord | undefined): Finding {
  const not = (reason: string, message: string): Finding => ({ type: 'Ready', status: 'False', reason, message });
  if (node === undefined) return not('NotEnrolled', 'there is no such machine in bms-core');
  if (node.maintenance) return not('Maintenance', node.maintenanceReason ?? 'no reason was given');
  if (node.fault) return not('Fault', `${node.fault.kind}: ${node.fault.reason}`);
  const reason = node.state.replace(/(?:^| )([a-z])/g, (_, letter: string) => letter.toUpperCase());
  if (node.state !== 'available' && node.state !== 'active') return not(reason, node.reason);
  return { type: 'Ready', status: 'True', reason, message: node.reason };
}

function clip(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT - 1)}…` : text;
}

/** Whatever the order of its fields. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
