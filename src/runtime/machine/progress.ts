import type { HandlerContext } from './handler.ts';
import type { NodeRecord } from './node-record.ts';
import type { DeployProgress } from './ports.ts';

/** Progress is for people: more often than this it is not worth a write that is synced to the disk. */
const PROGRESS_INTERVAL_MS = 5_000;

/** Writes progress down now and then. A report that fails is not the image's fault: the next compare-and-swap will show why. */
export function progressReporter(
  context: HandlerContext,
  put: (node: NodeRecord, progress: DeployProgress & { readonly at: number }) => NodeRecord,
): { tell: (progress: DeployProgress) => void; settled: () => Promise<void> } {
  let lastAt = Number.NEGATIVE_INFINITY;
  let pending: Promise<unknown> = Promise.resolve();
  return {
    tell: (progress) => {
      const monotonic = context.clock.monotonic();
      if (monotonic - lastAt < PROGRESS_INTERVAL_MS) return;
      lastAt = monotonic;
      const at = context.clock.now();
      pending = pending
        .then(() => context.report((latest) => put(latest, { ...progress, at })))
        .catch((error) => context.logger.debug({ error: String(error) }, 'progress was not recorded'));
    },
    settled: async () => {
      await pending;
    },
  };
}
