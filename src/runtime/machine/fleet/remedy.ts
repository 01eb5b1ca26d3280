/**
 * What to do about a machine that is faulty, by grades: wait and look again, then the least that may help, then more, then leave it for a person.
 * Pure. Two things stand before every grade but the first: a fault that many have at once is not theirs (a switch, the management network, the power
 * of a room), and then nothing is done to any of them; and a budget for the whole pod, so that a wrong idea of health cannot restart a fleet.
 */
import type { Fault, NodeRecord } from '../node-record.ts';

export interface RemedyPolicy {
  /** How long a fault may pass by itself. */
  readonly patienceMs: number;
  /** What a remedy gets before the next grade. */
  readonly graceMs: number;
  /** At most so many remedies in the pod within the window; quarantine counts as one. */
  readonly budget: number;
  readonly windowMs: number;
  /** From so many faulty machines on, and this share of the fleet, it is not the machines. */
  readonly outageLeast: number;
  readonly outageShare: number;
}

export const defaultRemedyPolicy: RemedyPolicy = {
  patienceMs: 180_000,
  graceMs: 900_000,
  budget: 3,
  windowMs: 600_000,
  outageLeast: 3,
  outageShare: 0.05,
};

export type Disruption = Fault['remedies'][number]['remedy'] | 'power off';

export type Remedy =
  | { readonly kind: 'wait'; readonly reason: string }
  /** Not now, and not because of this machine. */
  | { readonly kind: 'hold'; readonly reason: string }
  | { readonly kind: 'act'; readonly remedy: Disruption }
  | { readonly kind: 'quarantine'; readonly reason: string };

export interface FleetHealth {
  readonly total: number;
  readonly faulty: number;
  /** Remedies in the pod within the window. */
  readonly spent: number;
}

/** Nothing to do about a BMC that does not answer: whoever could be asked for a restart is what is missing. */
const GRADES: Readonly<Record<Fault['kind'], readonly Fault['remedies'][number]['remedy'][]>> = {
  'bmc unreachable': [],
  'power lost': ['power on', 'power on'],
  unhealthy: ['soft reset', 'power cycle'],
};

export function decideRemedy(node: NodeRecord, fault: Fault, fleet: FleetHealth, policy: RemedyPolicy, now: number): Remedy {
  if (node.maintenance) return { kind: 'wait', reason: 'in maintenance' };
  if (node.request !== undefined || node.step !== undefined) return { kind: 'wait', reason: 'something else is under way' };
  const last = fault.remedies.at(-1);
  const waitUntil = last === undefined ? fault.since + policy.patienceMs : last.at + policy.graceMs;
  if (now < waitUntil) return { kind: 'wait', reason: last === undefined ? 'it may pass by itself' : `after "${last.remedy}"` };
  if (looksLikeOutage(fleet, policy)) {
    return { kind: 'hold', reason: `${fleet.faulty} of ${fleet.total} machines are faulty at once: it is not this machine` };
  }
  if (fleet.spent >= policy.budget)
    return { kind: 'hold', reason: `${fleet.spent} remedies in ${policy.windowMs / 60_000} minutes are enough` };
  const next = GRADES[fault.kind][fault.remedies.length];
  // Absolute, as every command: where the record says off, "power lost" is a machine that somebody has switched on.
  if (next === 'power on' && node.power?.state === 'off') return { kind: 'act', remedy: 'power off' };
  if (next !== undefined) return { kind: 'act', remedy: next };
  return { kind: 'quarantine', reason: `${fault.kind}: ${fault.reason}` };
}

export function looksLikeOutage({ total, faulty }: Pick<FleetHealth, 'total' | 'faulty'>, policy: RemedyPolicy): boolean {
  return faulty >= policy.outageLeast && faulty >= total * policy.outageShare;
}

/** The record with the remedy asked for, or out of service. The owner's handler carries it out, as it would for a person. */
export function withRemedy(node: NodeRecord, fault: Fault, remedy: Exclude<Remedy, { kind: 'wait' | 'hold' }>, now: number): NodeRecord {
  if (remedy.kind === 'quarantine') return { ...node, maintenance: true, maintenanceReason: `quarantined: ${remedy.reason}` };
  const by = 'remediation';
  const request: NodeRecord['request'] =
    remedy.remedy === 'soft reset'
      ? { verb: 'reboot', at: now, args: { mode: 'soft' }, by }
      : remedy.remedy === 'power cycle'
        ? { verb: 'reboot', at: now, args: { mode: 'hard' }, by }
        : { verb: remedy.remedy, at: now, by };
  const noted = remedy.remedy === 'power off' ? 'power on' : remedy.remedy; // the same grade, in the other direction
  return { ...node, request, fault: { ...fault, remedies: [...fault.remedies, { remedy: noted, at: now }] } };
}
