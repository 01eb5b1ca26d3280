/**
 * What is to be done next about one object and its machine: pure. Called again after each step until nothing is left, by every replica; each step is a
 * compare-and-swap, so it does not matter who takes it.
 *
 *   object   machine         next
 *   there    none            bind, enrol, apply
 *   there    held by us      release, apply
 *   there    there           apply what changed in the spec; follow the Secret's user name
 *   gone     there           hold; after a while unenrol, if it carries nothing
 *   gone     none            forget
 *
 * Nothing here wipes a disk or changes power.
 */
import type { NodeRecord } from '../machine/index.ts';
import type { Binding } from './binding.ts';
import type { MachineObject } from './machine-object.ts';

export interface Seen {
  /** Undefined: a complete list says that there is none. */
  readonly object: MachineObject | undefined;
  /** Of this replica: `pod45-wuxi2`. */
  readonly place: string;
  readonly binding: Binding | undefined;
  readonly node: NodeRecord | undefined;
  /** In the Secret that the object names; undefined while that is not mounted. */
  readonly username: string | undefined;
  readonly nowMs: number;
  readonly forgetAfterMs: number;
}

export type Step =
  /** Follow this object from now on, from the start. */
  | { readonly kind: 'bind'; readonly nodeUuid: string }
  | { readonly kind: 'enrol' }
  | { readonly kind: 'release' }
  /** Bring the machine's record to the spec. */
  | { readonly kind: 'apply' }
  | { readonly kind: 'rename user'; readonly username: string }
  | { readonly kind: 'note gone' }
  | { readonly kind: 'hold'; readonly reason: string }
  | { readonly kind: 'unenrol' }
  | { readonly kind: 'forget' }
  /** Nothing before then. */
  | { readonly kind: 'wait'; readonly untilMs: number }
  | { readonly kind: 'nothing' };

export const MAINTENANCE_BY_SPEC = 'spec.maintenance of its BareMetalNode object';
const GONE = 'its BareMetalNode object was deleted';

export function nextStep({ object, place, binding, node, username, nowMs, forgetAfterMs }: Seen): Step {
  if (object === undefined || object.deleting) {
    if (binding === undefined || binding.place !== place) return { kind: 'nothing' };
    if (binding.goneSince === undefined) return { kind: 'note gone' };
    if (node === undefined) return { kind: 'forget' };
    // somebody else's reason stays
    if (!node.maintenance) return { kind: 'hold', reason: GONE };
    if (carries(node)) return { kind: 'nothing' };
    const untilMs = binding.goneSince + forgetAfterMs;
    return nowMs < untilMs ? { kind: 'wait', untilMs } : { kind: 'unenrol' };
  }
  if (binding === undefined) return { kind: 'bind', nodeUuid: object.uid };
  // It was deleted and made again, under the same name: the machine is the same one.
  const same = binding.uid === object.uid && binding.place === place && binding.goneSince === undefined;
  if (!same) return { kind: 'bind', nodeUuid: binding.nodeUuid };
  if (node === undefined) return { kind: 'enrol' };
  if (node.maintenance && node.maintenanceReason === GONE) return { kind: 'release' };
  if (binding.generation !== object.generation) return { kind: 'apply' };
  const secret = 'value' in object.spec ? object.spec.value.bmc.credentialsSecretRef.name : undefined;
  const follows = node.bmc.passwordRef === `credentials.${secret}`;
  if (follows && username !== undefined && username !== node.bmc.username) return { kind: 'rename user', username };
  return { kind: 'nothing' };
}

/** What would be lost with its record. */
function carries(node: NodeRecord): boolean {
  return node.instance !== undefined || node.adopt !== undefined || node.ramdisk !== undefined;
}
