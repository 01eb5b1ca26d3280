/**
 * Runs controllers: informers on every replica, so that a successor knows everything already; the controllers where the lease
 * is. When told to stop it takes no new work, lets running reconciles end while it goes on renewing, and only then releases.
 */
import { type Clock, sleep } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi } from './api.ts';
import type { Controller } from './controller.ts';
import { startController } from './controller-run.ts';
import { operatorErrors } from './errors.ts';
import type { Informer } from './informer.ts';
import { type LeaderElectionOptions, type Leadership, runElection } from './leader-election.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { formatKey } from './objects.ts';
import { Slots } from './slots.ts';

export interface ManagerOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** Also those that no controller has as a source. */
  readonly informers: readonly Informer[];
  readonly controllers: readonly Controller[];
  /** Keys worked on at once by all controllers together. Default: as many as each of them allows itself. */
  readonly atOnce?: number;
  /** Absent: works without asking anybody; for tools that run once. */
  readonly election?: Omit<LeaderElectionOptions, 'clock' | 'random' | 'logger' | 'metrics'>;
  /** Time that running reconciles get to end when told to stop. Default 20,000; below the pod's grace period. */
  readonly drainMs?: number;
}

export interface ManagerState {
  /** Kinds whose first list is not there yet. */
  readonly unsynced: readonly string[];
  readonly leading: boolean;
  readonly stopping: boolean;
}

export interface Manager {
  /** Until `signal` aborts and everything has stopped. Rejects when something broke that a new start may cure. */
  run(signal: AbortSignal): Promise<void>;
  state(): ManagerState;
}

/** After the leadership is lost, reconciles have this long before they are left to themselves; their writes are refused anyway. */
const ABANDON_MS = 4_000;

export function createManager(options: ManagerOptions): Manager {
  const { api, clock, random, logger, metrics = createMetrics(), controllers, election, atOnce, drainMs = 20_000 } = options;
  const informers = [...new Set([...options.informers, ...controllers.flatMap(({ sources }) => sources.map(({ informer }) => informer))])];
  let leading = false;
  let stopping = false;

  /** Works until the leadership is lost or `stop` aborts. */
  const lead = async (leadership: Leadership, stop: AbortSignal, refuse: () => Error): Promise<void> => {
    if (stop.aborted) return;
    leading = true;
    const mayWrite = (): void => {
      if (!leadership.valid()) throw refuse();
    };
    const slots = atOnce === undefined ? {} : { slots: new Slots(atOnce) };
    const running = controllers.map((controller) =>
      startController(controller, { api, clock, random, logger, metrics, mayWrite, ...slots }),
    );
    const abandon = (): void => {
      for (const one of running) one.abort(leadership.signal.reason);
    };
    leadership.signal.addEventListener('abort', abandon, { once: true });
    try {
      await aborted(AbortSignal.any([leadership.signal, stop]));
      const drained = Promise.all(running.map((one) => one.drain()));
      if (!leadership.signal.aborted && !(await settles(clock, drained, drainMs, leadership.signal))) {
        logger.warn({ drainMs }, 'reconciles did not end in time');
        for (const one of running) one.abort(operatorErrors.OPERATOR_STOPPING({}));
      }
      if (!(await settles(clock, drained, ABANDON_MS))) logger.warn('reconciles are left behind');
    } finally {
      leading = false;
      leadership.signal.removeEventListener('abort', abandon);
    }
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    const stopInformers = new AbortController();
    const onStop = (): void => {
      stopping = true;
    };
    if (signal.aborted) onStop();
    signal.addEventListener('abort', onStop, { once: true });
    const following = informers.map((informer) => informer.run(stopInformers.signal));
    try {
      await Promise.all(informers.map((informer) => informer.whenSynced(signal)));
      logger.info({ kinds: informers.map(({ type }) => type.kind) }, 'informers are in sync');
      if (election === undefined) {
        const always: Leadership = { signal: new AbortController().signal, valid: () => true };
        await lead(always, signal, () => operatorErrors.OPERATOR_STOPPING({}));
        return;
      }
      const { lease, identity } = election;
      const refuse = (): Error => operatorErrors.OPERATOR_LEADERSHIP_LOST({ lease: formatKey(lease), identity });
      // the lease is renewed while reconciles drain: it must not end with `signal` when this replica leads
      const stopElection = new AbortController();
      const leave = (): void => {
        if (!leading) stopElection.abort(signal.reason);
      };
      if (signal.aborted) leave();
      signal.addEventListener('abort', leave, { once: true });
      const work = async (leadership: Leadership): Promise<void> => {
        await lead(leadership, signal, refuse);
        if (signal.aborted) stopElection.abort(signal.reason);
      };
      try {
        await runElection({ ...election, clock, random, logger, metrics }, work, stopElection.signal);
      } finally {
        signal.removeEventListener('abort', leave);
      }
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
    } finally {
      signal.removeEventListener('abort', onStop);
      stopInformers.abort(operatorErrors.OPERATOR_STOPPING({}));
      await Promise.all(following);
    }
  };

  return {
    run,
    state: () => ({ unsynced: informers.filter((informer) => !informer.synced()).map(({ type }) => type.kind), leading, stopping }),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Whether `work` settles within `limitMs`, or before `signal` aborts. */
async function settles(clock: Clock, work: Promise<unknown>, limitMs: number, signal?: AbortSignal): Promise<boolean> {
  const limit = new AbortController();
  const given = signal === undefined ? limit.signal : AbortSignal.any([limit.signal, signal]);
  const late = sleep(clock, limitMs, given).then(
    () => false,
    () => false,
  );
  const inTime = await Promise.race([work.then(() => true), late]);
  limit.abort();
  return inTime;
}
