import type { Deployment } from './deployment-record.ts';
import type { HandlerContext } from './handler.ts';
import type { NodeRecord } from './node-record.ts';
import type { DeployProgress } from './ports.ts';

export type RecordedProgress = NonNullable<Deployment['progress']>;

/** Progress is for people: more often than this it is not worth a write that is synced to the disk. */
const PROGRESS_INTERVAL_MS = 5_000;

/** Writes progress down now and then. A report that fails is not the image's fault: the next compare-and-swap will show why. */
export function progressReporter(
  context: HandlerContext,
  put: (node: NodeRecord, progress: RecordedProgress) => NodeRecord,
): { tell: (progress: DeployProgress) => void; settled: () => Promise<void> } {
  let lastAt = Number.NEGATIVE_INFINITY;
  /** Where this run, or its present phase, began: what was there before says nothing of the rate. */
  let begun: { readonly phase: DeployProgress['phase']; readonly bytes: number; readonly at: number } | undefined;
  let pending: Promise<unknown> = Promise.resolve();
  return {
    tell: (progress) => {
      const monotonic = context.clock.monotonic();
      if (begun === undefined || begun.phase !== progress.phase || progress.bytes < begun.bytes)
        begun = { phase: progress.phase, bytes: progress.bytes, at: monotonic };
      if (monotonic - lastAt < PROGRESS_INTERVAL_MS) return;
      lastAt = monotonic;
      const at = context.clock.now();
      const rate = rateOf(progress, progress.bytes - begun.bytes, monotonic - begun.at);
      pending = pending
        .then(() => context.report((latest) => put(latest, { ...progress, ...rate, at })))
        .catch((error) => context.logger.debug({ error: String(error) }, 'progress was not recorded'));
    },
    settled: async () => {
      await pending;
    },
  };
}

function rateOf({ bytes, totalBytes }: DeployProgress, moved: number, elapsedMs: number): Partial<RecordedProgress> {
  if (moved <= 0 || elapsedMs <= 0) return {};
  const bytesPerSecond = Math.round((moved * 1000) / elapsedMs);
  if (bytesPerSecond === 0 || totalBytes === undefined) return { bytesPerSecond };
  return { bytesPerSecond, remainingMs: Math.round((Math.max(0, totalBytes - bytes) / bytesPerSecond) * 1000) };
}
