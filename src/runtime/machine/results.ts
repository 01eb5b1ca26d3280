/** The closed family of things that a handler may answer. It says what happened; the reconciler alone writes it down. */
import type { NodeRecord, NodeState } from './node-record.ts';

/**
 * A change of the machine's own facts (deployment, disk, assignment), never of state, owner, deadline or history. Applied to the newest
 * record, so it must depend on nothing else; it may be applied again after a lost compare-and-swap.
 */
export type Change = (node: NodeRecord) => NodeRecord;

export type StepResult =
  /** The step is done; go on with `step` in the same state, at once. Without one: the state has nothing more to do. */
  | { readonly kind: 'continue'; readonly step: string | undefined; readonly change?: Change }
  /** Nothing to do until something happens to the record, or until `untilMs` (wall clock), or the state's deadline. */
  | { readonly kind: 'wait'; readonly untilMs?: number }
  | { readonly kind: 'done'; readonly next: NodeState; readonly reason: string; readonly change?: Change }
  /** Again, later; too many in a row become `failed`. */
  | { readonly kind: 'retry'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string; readonly change?: Change };

export function proceed(step: string | undefined, change?: Change): StepResult {
  return { kind: 'continue', step, ...(change && { change }) };
}

export function waitFor(untilMs?: number): StepResult {
  return { kind: 'wait', ...(untilMs !== undefined && { untilMs }) };
}

export function done(next: NodeState, reason: string, change?: Change): StepResult {
  return { kind: 'done', next, reason, ...(change && { change }) };
}

export function retry(reason: string): StepResult {
  return { kind: 'retry', reason };
}

export function failed(reason: string, change?: Change): StepResult {
  return { kind: 'failed', reason, ...(change && { change }) };
}
