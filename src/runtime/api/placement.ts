/** Which machine an instance may go to; the machine's scheduler says it, in its own words. */
import type { FlavorRecord, NodeRecord } from '../machine/index.ts';
import type { Stored } from '../store/index.ts';

export interface Placement {
  /** Best first. */
  readonly candidates: readonly Stored<NodeRecord>[];
  /** Everyone else, each with its reason. */
  readonly refusals: readonly { readonly node: string; readonly reason: string }[];
}

export type Place = (flavor: FlavorRecord, nodes: readonly Stored<NodeRecord>[]) => Placement;
