/**
 * One replica works, the others wait: a coordination.k8s.io Lease, renewed by who holds it.
 *
 * Clocks of different machines are never compared: a lease has run out when this replica has not seen it change for the lease's
 * duration by its own monotonic clock. The holder gives up at `renewDeadlineMs`, counted from before its last successful
 * renewal was sent, so `leaseDurationMs - renewDeadlineMs` remain for its workers to stop before anybody else can begin.
 */
import { type Clock, sleep, withDeadline } from 'cdk8s-baremetal-runtime/core/clock';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi } from './api.ts';
import { ApiError, ifFound, isApiError } from './api-error.ts';
import { jittered } from './backoff.ts';
import { operatorErrors } from './errors.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { formatKey, type KubeObject, type LiveObject, type ObjectKey } from './objects.ts';
import { resourceTypes } from './resource-types.ts';

export interface LeaderElectionOptions {
  /** Should have a throttle of its own: a busy controller must not starve the renewals. */
  readonly api: KubeApi;
  readonly lease: ObjectKey & { readonly namespace: string };
  /** Unlike that of any other replica, also of this pod's earlier life: pod name + random. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Default 15,000. What others wait after the last renewal. Whole seconds. */
  readonly leaseDurationMs?: number;
  /** Default 10,000. */
  readonly renewDeadlineMs?: number;
  /** Default 2,000. */
  readonly retryPeriodMs?: number;
}

export interface Leadership {
  /** Aborts when the lease is lost or given up. */
  readonly signal: AbortSignal;
  /** False from the renew deadline on, even when no timer could fire because the process stood still. */
  valid(): boolean;
}

interface LeaseSpec {
  readonly holderIdentity?: string | null;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/**
 * Waits for the lease, then runs `lead` while it is held; again after a loss, until `signal` aborts. `lead` must end when its
 * signal aborts; the lease is released after that. Rejects with what `lead` rejects with while the lease is held.
 */
export async function runElection(
  options: LeaderElectionOptions,
  lead: (leadership: Leadership) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const {
    clock,
    random,
    identity,
    metrics = createMetrics(),
    leaseDurationMs = 15_000,
    renewDeadlineMs = 10_000,
    retryPeriodMs = 2_000,
  } = options;
  if (!(retryPeriodMs < renewDeadlineMs && renewDeadlineMs < leaseDurationMs)) {
    throw new RangeError('retryPeriodMs < renewDeadlineMs < leaseDurationMs must hold');
  }
  const name = formatKey(options.lease);
  const logger = options.logger.child({ lease: name, identity });
  const leading = metrics.gauge('operator_leader', '1 while this replica holds the lease.');
  const tooSlow = (): Error => new ApiError('timeout', `no answer about the lease ${name} in time`);
  const lease = leaseOf(options, leaseDurationMs);
  leading.set(0, { lease: name });

  while (!signal.aborted) {
    let renewedAt = await acquire();
    if (renewedAt === undefined) return;
    logger.info('leading');
    leading.set(1, { lease: name });
    const lost = new AbortController();
    const valid = (): boolean => !lost.signal.aborted && renewedAt !== undefined && clock.monotonic() - renewedAt < renewDeadlineMs;
    const renewing = renew(
      (at) => {
        renewedAt = at;
      },
      renewedAt,
      lost,
    );
    try {
      await lead({ signal: lost.signal, valid });
    } catch (error) {
      if (!lost.signal.aborted) throw error;
      logger.debug({ error: String(error) }, 'the work ended with the lease');
    } finally {
      lost.abort(operatorErrors.OPERATOR_STOPPING({}));
      await renewing;
      leading.set(0, { lease: name });
      await lease.release().catch((error: unknown) => logger.warn({ error: String(error) }, 'the lease was not released'));
    }
    logger.info('no longer leading');
    if (!signal.aborted) await pause();
  }

  function pause(): Promise<void> {
    return sleep(clock, jittered(random, retryPeriodMs), signal).catch(() => undefined);
  }

  /** The moment before the request that won was sent; undefined when told to stop. */
  async function acquire(): Promise<number | undefined> {
    while (!signal.aborted) {
      const sentAt = clock.monotonic();
      try {
        if (await withDeadline(clock, renewDeadlineMs / 2, tooSlow, (within) => lease.tryTake(within), signal)) {
          // an answer that took as long as the deadline is worth nothing: the others count from when it was written
          if (clock.monotonic() - sentAt < renewDeadlineMs) return sentAt;
        }
      } catch (error) {
        if (signal.aborted) return undefined;
        logger.warn({ error: String(error) }, 'the lease could not be read or taken');
      }
      await pause();
    }
    return undefined;
  }

  /** Renews until lost or stopped; aborts `lost` when the deadline passes. */
  async function renew(renewed: (at: number) => void, since: number, lost: AbortController): Promise<void> {
    let last = since;
    const give = (): void => lost.abort(operatorErrors.OPERATOR_LEADERSHIP_LOST({ lease: name, identity }));
    const onStop = (): void => lost.abort(signal.reason);
    signal.addEventListener('abort', onStop, { once: true });
    if (signal.aborted) onStop();
    let deadline = clock.after(last + renewDeadlineMs - clock.monotonic(), give);
    try {
      while (!lost.signal.aborted) {
        await sleep(clock, retryPeriodMs, lost.signal);
        const sentAt = clock.monotonic();
        if (sentAt - last >= renewDeadlineMs) break; // stood still past the deadline
        try {
          // half the deadline, so that one hung connection does not cost the lease
          if (!(await withDeadline(clock, renewDeadlineMs / 2, tooSlow, (within) => lease.tryTake(within), lost.signal))) {
            logger.warn('the lease is held by another');
            break;
          }
        } catch (error) {
          if (lost.signal.aborted) break;
          logger.warn({ error: String(error) }, 'the lease was not renewed');
          continue;
        }
        if (clock.monotonic() - last >= renewDeadlineMs) break;
        last = sentAt;
        renewed(last);
        deadline.cancel();
        deadline = clock.after(last + renewDeadlineMs - clock.monotonic(), give);
      }
    } catch (error) {
      if (!lost.signal.aborted) throw error; // sleep ends this way when the lease is gone
    } finally {
      deadline.cancel();
      signal.removeEventListener('abort', onStop);
      give();
    }
  }
}

/** Reading, taking and releasing the Lease object by compare-and-swap on its resourceVersion. */
function leaseOf(
  { api, lease: key, identity, clock }: LeaderElectionOptions,
  leaseDurationMs: number,
): { tryTake(signal: AbortSignal): Promise<boolean>; release(): Promise<void> } {
  const type = resourceTypes.leases;
  /** What was last seen of somebody's lease, and when by our clock. */
  let observed: { readonly version: string; readonly at: number } | undefined;
  let held: LiveObject | undefined;

  const desired = (live: LiveObject | undefined): KubeObject => {
    const before = (live?.spec ?? {}) as LeaseSpec;
    const ours = before.holderIdentity === identity;
    const time = microTime(clock);
    const spec: LeaseSpec = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      acquireTime: ours && before.acquireTime !== undefined ? before.acquireTime : time,
      renewTime: time,
      leaseTransitions: (before.leaseTransitions ?? 0) + (ours || live === undefined ? 0 : 1),
    };
    return {
      apiVersion: type.apiVersion,
      kind: type.kind,
      metadata: {
        ...key,
        ...(live && {
          resourceVersion: live.metadata.resourceVersion,
          labels: live.metadata.labels,
          annotations: live.metadata.annotations,
        }),
      },
      spec,
    };
  };

  return {
    async tryTake(signal) {
      if (held !== undefined) {
        // the usual renewal: one request
        try {
          held = await api.replace(type, desired(held), { signal });
          return true;
        } catch (error) {
          if (!isApiError(error, 'conflict', 'not-found')) throw error;
          held = undefined; // somebody wrote: look
        }
      }
      const live = await ifFound(api.get(type, key, { signal }));
      if (live === undefined) {
        held = await api.create(type, desired(undefined), { signal }).catch(nullOn('already-exists'));
        return held !== undefined;
      }
      const { holderIdentity, leaseDurationSeconds } = live.spec as LeaseSpec;
      if (observed?.version !== live.metadata.resourceVersion) observed = { version: live.metadata.resourceVersion, at: clock.monotonic() };
      const free = holderIdentity === undefined || holderIdentity === null || holderIdentity === '';
      const runsMs = Math.max((leaseDurationSeconds ?? 0) * 1000, leaseDurationMs);
      if (!free && holderIdentity !== identity && clock.monotonic() - observed.at < runsMs) return false;
      held = await api.replace(type, desired(live), { signal }).catch(nullOn('conflict', 'not-found'));
      return held !== undefined;
    },
    async release() {
      if (held === undefined) return;
      const { spec, ...rest } = held;
      held = undefined;
      const freed: LeaseSpec = { ...(spec as LeaseSpec), holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(clock) };
      const limit = (): Error => new ApiError('timeout', 'the lease could not be released in time');
      await withDeadline(clock, 2_000, limit, (signal) => api.replace(type, { ...rest, spec: freed }, { signal })).catch(
        nullOn('conflict', 'not-found'),
      );
    },
  };
}

function nullOn(...kinds: Parameters<typeof isApiError>[1][]): (error: unknown) => undefined {
  return (error) => {
    if (isApiError(error, ...kinds)) return undefined;
    throw error;
  };
}

/** Lease times are micro times: 2026-11-21T03:04:05.678000Z. For people only. */
function microTime(clock: Clock): string {
  return isoTime(clock.now()).replace('Z', '000Z');
}
