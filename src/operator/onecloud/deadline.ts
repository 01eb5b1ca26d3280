/** Since when a layer is waited for. It stands in the status, so that a new operator does not begin to count again. */
import type { ClusterStatus } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { isoTime, parseIsoTime } from 'cdk8s-baremetal-runtime/core/iso-time';

export type Waiting = NonNullable<ClusterStatus['waiting']>;

export interface Wait {
  readonly waiting: Waiting | undefined;
  /** Until the deadline; not above 0: it has passed. Undefined when nothing is waited for. */
  readonly leftMs: number | undefined;
}

/** A changed spec, another rollout and another layer begin anew. Times are the wall clock's, in milliseconds. */
export function waitFor(
  layer: Omit<Waiting, 'since'> | undefined,
  before: Waiting | undefined,
  limitMs: number,
  now: number,
  ageOf = (since: number): number => now - since,
): Wait {
  if (layer === undefined) return { waiting: undefined, leftMs: undefined };
  const same = before?.generation === layer.generation && before.revision === layer.revision && before.layer === layer.layer;
  const since = same ? parseIsoTime(before.since) : undefined;
  // a clock that was ahead would otherwise postpone the deadline
  if (same && since !== undefined && since <= now) return { waiting: before, leftMs: limitMs - ageOf(since) };
  return { waiting: { ...layer, since: isoTime(now) }, leftMs: limitMs - ageOf(now) };
}

/** How long each cluster has been waiting: what passed while this process looked on is measured, so a wall clock that is put forward ends no layer. */
export class WaitingAges {
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly since: number; readonly ageMs: number; readonly at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** In milliseconds; `since` is the wall clock's. */
  of(cluster: string, since: number): number {
    const [byWall, at] = [this.#clock.now() - since, this.#clock.monotonic()];
    const known = this.#known.get(cluster);
    if (known?.since === since) return Math.min(byWall, known.ageMs + at - known.at);
    this.#known.set(cluster, { since, ageMs: byWall, at });
    return byWall;
  }

  forget(cluster: string): void {
    this.#known.delete(cluster);
  }
}
