/** One watch of an API server, as its lines: ended by the server now and then, or here where it has been silent for too long. */
import type { Clock } from '../core/clock.ts';
import { type Random, randomInt } from '../core/random.ts';
import type { RecordsApi } from '../store/kubernetes/records-api.ts';
import { type WatchLine, watchLines } from '../store/kubernetes/watch-lines.ts';

export interface ClusterWatchOptions {
  readonly api: RecordsApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly labelSelector?: string;
  readonly position: string;
  readonly signal: AbortSignal;
  /** The server has forgotten the position. */
  readonly lost: () => Error;
}

/** The server ends a watch after so long, at least, and up to as long again. */
const WATCH_S = 300;
/** Bookmarks come about once a minute; a connection that is silent for longer than two of them may be dead. */
const SILENCE_MS = 150_000;

export async function* clusterWatch(options: ClusterWatchOptions): AsyncGenerator<WatchLine> {
  const { api, clock, random, labelSelector, position, signal, lost } = options;
  const timeoutSeconds = `${WATCH_S + randomInt(random, WATCH_S)}`;
  const cut = new AbortController();
  const onStop = (): void => cut.abort(signal.reason);
  signal.addEventListener('abort', onStop, { once: true });
  const silent = (): void => cut.abort(new Error(`not a word for ${SILENCE_MS / 1000} s`));
  let timer = clock.after(SILENCE_MS, silent);
  try {
    const query = {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: position,
      timeoutSeconds,
      ...(labelSelector !== undefined && { labelSelector }),
    };
    const { status, body } = await api.watch(query, cut.signal);
    if (status === 410) throw lost();
    for await (const line of watchLines(body)) {
      timer.cancel();
      timer = clock.after(SILENCE_MS, silent);
      yield line;
    }
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onStop);
    cut.abort(new Error('the watch is over'));
  }
}
