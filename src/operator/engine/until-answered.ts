/** What must be asked before anything can run, asked until somebody answers: an API server that comes later than its clients is every restart of a node. */
import { type Clock, sleep } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import { isApiError } from './api-error.ts';
import { exponentialMs, jittered } from './backoff.ts';

export interface UntilAnsweredOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** 0.5 1 2 4 8 16 30 30 … s, jittered. */
const BACKOFF = { baseMs: 500, maxMs: 30_000 };

/** Rejects with what does not pass by itself, or with the signal's reason. */
export async function untilAnswered<T>(work: () => Promise<T>, { clock, random, logger, signal }: UntilAnsweredOptions): Promise<T> {
  for (let failures = 0; ; failures++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!isApiError(error) || !error.transient) throw error;
      const pauseMs = Math.round(jittered(random, exponentialMs(BACKOFF, failures)));
      logger.warn({ error: error.message, failures: failures + 1, pauseMs }, 'the API server does not answer yet');
      await sleep(clock, pauseMs, signal);
    }
  }
}
