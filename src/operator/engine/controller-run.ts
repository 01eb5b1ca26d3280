/** One controller at work: its queue, its workers, and the way they stop. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi } from './api.ts';
import type { Controller, ReconcileResult } from './controller.ts';
import { operatorErrors } from './errors.ts';
import { guardedApi } from './guarded-api.ts';
import type { Metrics } from './metrics.ts';
import type { Slots } from './slots.ts';
import { WorkQueue } from './workqueue.ts';

export interface ControllerSurroundings {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Throws when nothing may be written any more. */
  readonly mayWrite: () => void;
  /** Shared with the other controllers. Absent: only the controller's own concurrency counts. */
  readonly slots?: Slots;
}

export interface RunningController {
  /** No new work; resolves when the running reconciles have ended. */
  drain(): Promise<void>;
  /** Aborts the running reconciles with `reason`. */
  abort(reason: unknown): void;
}

const DEFAULT_CONCURRENCY = 4;
const DEFAULT_TIMEOUT_MS = 120_000;

export function startController(controller: Controller, surroundings: ControllerSurroundings): RunningController {
  const { name, sources, concurrency = DEFAULT_CONCURRENCY, reconcileTimeoutMs = DEFAULT_TIMEOUT_MS, backoff } = controller;
  const { api, clock, random, metrics, mayWrite, slots } = surroundings;
  const logger = surroundings.logger.child({ controller: name });
  const queue = new WorkQueue({ name, clock, random, metrics, ...(backoff && { backoff }) });
  const stop = new AbortController();
  let draining = false;
  const results = metrics.counter('operator_reconcile_total', 'Reconciles by controller and result.');
  const seconds = metrics.histogram('operator_reconcile_seconds', 'Time of a reconcile.');
  const busy = metrics.gauge('operator_reconcile_running', 'Reconciles under way.');

  const attempt = async (key: string): Promise<ReconcileResult> => {
    const limit = new AbortController();
    const timer = clock.after(reconcileTimeoutMs, () =>
      limit.abort(operatorErrors.OPERATOR_RECONCILE_TIMEOUT({ controller: name, key, limitMs: reconcileTimeoutMs })),
    );
    const signal = AbortSignal.any([stop.signal, limit.signal]);
    try {
      // not raced against the limit: a reconcile that is slow to stop keeps its key until it has stopped
      return await controller.reconcile(key, { api: guardedApi(api, { signal, mayWrite }), clock, logger: logger.child({ key }), signal });
    } catch (error) {
      if (limit.signal.aborted) return { type: 'retry', reason: reasonOf(limit.signal.reason) };
      return { type: 'retry', reason: reasonOf(error) };
    } finally {
      timer.cancel();
    }
  };

  const settle = (key: string, result: ReconcileResult): void => {
    if (stop.signal.aborted) return; // the successor looks at every key anyway
    switch (result.type) {
      case 'done':
        queue.forget(key);
        return;
      case 'requeue':
        queue.forget(key);
        queue.addAfter(key, result.afterMs);
        return;
      case 'retry': {
        const failures = queue.failures(key) + 1;
        const pauseMs = Math.round(queue.retry(key));
        logger.warn({ key, reason: result.reason, failures, pauseMs }, 'to be tried again');
        return;
      }
      case 'failed':
        queue.forget(key);
        logger.error({ key, reason: result.reason }, 'given up until the object changes');
        return;
    }
  };

  const work = async (): Promise<void> => {
    for (;;) {
      const key = await queue.take();
      if (key === undefined) return;
      const leave = await slots?.take();
      if (draining) {
        // it stood in line for a slot, and would only begin now
        leave?.();
        queue.done(key);
        continue;
      }
      const startedAt = clock.monotonic();
      busy.add(1, { controller: name });
      const result = await attempt(key);
      busy.add(-1, { controller: name });
      seconds.observe((clock.monotonic() - startedAt) / 1000, { controller: name });
      results.inc({ controller: name, result: result.type });
      leave?.();
      settle(key, result);
      queue.done(key);
    }
  };

  const unsubscribe = sources.map(({ informer, keys, gatherMs = 0 }) =>
    informer.subscribe((event) => {
      for (const key of keys(event)) queue.addAfter(key, gatherMs);
    }),
  );
  const workers = Array.from({ length: concurrency }, work);
  return {
    drain: async () => {
      draining = true;
      for (const leave of unsubscribe) leave();
      await queue.close();
      await Promise.all(workers);
    },
    abort: (reason) => stop.abort(reason),
  };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && typeof error.code === 'string' ? `${error.code}: ${error.message}` : error.message;
}
