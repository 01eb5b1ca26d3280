/** Where the objects come from: an API server, or a test. */
import type { BareMetalNodeStatus } from 'cdk8s-baremetal-contract/crd/index';
import type { MachineObject } from './machine-object.ts';

export interface Listing {
  readonly objects: readonly MachineObject[];
  /** Where a watch goes on from. */
  readonly position: string;
}

export type ObjectEvent =
  | { readonly type: 'put'; readonly object: MachineObject; readonly position: string }
  | { readonly type: 'gone'; readonly name: string; readonly position: string }
  /** Nothing has changed, and the watch has come so far. */
  | { readonly type: 'bookmark'; readonly position: string };

export type StatusOutcome =
  | { readonly kind: 'written'; readonly object: MachineObject }
  /** It is another one by now, or none; the watch tells. */
  | { readonly kind: 'changed' };

/** The position is forgotten: list again. */
export class PositionLost extends Error {}

export interface ObjectSource {
  /** All objects of the namespace. */
  list(signal: AbortSignal): Promise<Listing>;
  /** Changes after `position`; ends when the server has had enough, throws PositionLost or what went wrong. */
  watch(position: string, signal: AbortSignal): AsyncIterable<ObjectEvent>;
  /** Compare-and-swap on the object's version. */
  updateStatus(object: MachineObject, status: BareMetalNodeStatus, signal: AbortSignal): Promise<StatusOutcome>;
}
