/** What a controller is made of: sources of keys, and one function that brings one key to where it should be. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { KubeApi } from './api.ts';
import type { BackoffOptions } from './backoff.ts';
import type { Informer, ObjectEvent } from './informer.ts';
import { keyOf, type LiveObject } from './objects.ts';

/** What came of looking at one key. Thrown errors count as `retry`. */
export type ReconcileResult =
  /** As it should be; look again when something changes. */
  | { readonly type: 'done' }
  /** On its way; look again at this time at the latest. */
  | { readonly type: 'requeue'; readonly afterMs: number }
  /** Something failed that may go away: again, with growing pauses. */
  | { readonly type: 'retry'; readonly reason: string }
  /** Only a change of the object helps. */
  | { readonly type: 'failed'; readonly reason: string };

export const done: ReconcileResult = { type: 'done' };

export function requeueAfter(afterMs: number): ReconcileResult {
  return { type: 'requeue', afterMs };
}

export interface ReconcileContext {
  /** Ends with the reconcile; refuses writes once the leadership is lost. */
  readonly api: KubeApi;
  readonly clock: Clock;
  /** Carries controller and key. */
  readonly logger: Logger;
  /** Aborts at the deadline, when the leadership is lost, and when the operator cannot wait longer to stop. */
  readonly signal: AbortSignal;
}

export interface Source {
  readonly informer: Informer;
  /** The keys that an event concerns. */
  readonly keys: (event: ObjectEvent) => readonly string[];
  /** Events that follow within this time of the first are looked at together with it. Default 0. */
  readonly gatherMs?: number;
}

export interface Controller {
  /** In logs and metrics. */
  readonly name: string;
  readonly sources: readonly Source[];
  readonly reconcile: (key: string, context: ReconcileContext) => Promise<ReconcileResult>;
  /** Keys worked on at once. Default 4; one key is never worked on twice at a time. */
  readonly concurrency?: number;
  /** After this time the signal aborts. Default 120,000. */
  readonly reconcileTimeoutMs?: number;
  readonly backoff?: BackoffOptions;
}

/** The objects that the controller is about. Their status alone, which the controller itself writes, does not wake it. */
export function primarySource(informer: Informer): Source {
  return {
    informer,
    keys: (event) => (event.type === 'updated' && !asksForMore(event.previous, event.object) ? [] : [keyOf(event.object)]),
  };
}

/** Objects made for a primary object of `owner`'s kind: found by their controller's owner reference. */
export function ownedSource(informer: Informer, owner: { readonly apiVersion: string; readonly kind: string }): Source {
  const group = groupOf(owner.apiVersion);
  return {
    informer,
    keys: ({ object }) =>
      (object.metadata.ownerReferences ?? [])
        .filter(({ controller, kind, apiVersion }) => controller === true && kind === owner.kind && groupOf(apiVersion) === group)
        .map(({ name }) => keyOf({ metadata: { ...object.metadata, name } })),
  };
}

/** Objects that a function of the controller's own leads back to primary objects. */
export function mappedSource(informer: Informer, keysOf: (object: LiveObject) => readonly string[], gatherMs = 0): Source {
  return { informer, keys: ({ object }) => keysOf(object), gatherMs };
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '';
}

/** Spec (by generation), metadata that people set, or the wish to delete. */
function asksForMore({ metadata: before }: LiveObject, { metadata: after }: LiveObject): boolean {
  return (
    before.generation !== after.generation ||
    before.deletionTimestamp !== after.deletionTimestamp ||
    JSON.stringify([before.labels, before.annotations, before.finalizers]) !==
      JSON.stringify([after.labels, after.annotations, after.finalizers])
  );
}
