/**
 * One kind of object, followed: listed once, then watched; what is known stands in a store, what changes is told to handlers.
 *
 * A broken watch goes on from the last version seen, so nothing is lost or told twice; a version that the server has compacted
 * away (410) costs a new list, whose difference to the store is told. While the server is away the store stays readable.
 */
import { type Clock, sleep } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import { type Random, randomInt } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi, Selection } from './api.ts';
import { isApiError } from './api-error.ts';
import { exponentialMs, jittered } from './backoff.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { keyOf, type LiveObject, type ResourceType } from './objects.ts';
import { type Indexer, ObjectStore, type ReadableStore } from './store.ts';

export type ObjectEvent =
  | { readonly type: 'added'; readonly object: LiveObject }
  | { readonly type: 'updated'; readonly object: LiveObject; readonly previous: LiveObject }
  /** `object` is the last state that was seen. */
  | { readonly type: 'deleted'; readonly object: LiveObject }
  /** Nothing changed; told at intervals, so that what went by unnoticed is looked at again. */
  | { readonly type: 'resync'; readonly object: LiveObject };

export interface InformerOptions extends Omit<Selection, 'signal'> {
  readonly api: KubeApi;
  readonly type: ResourceType;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  readonly indexers?: Readonly<Record<string, Indexer>>;
  /** Interval of `resync` events; none when absent. */
  readonly resyncMs?: number;
}

export interface Informer {
  readonly type: ResourceType;
  readonly store: ReadableStore;
  /** True once the first list is in the store. */
  synced(): boolean;
  /** The version that the store has caught up with; undefined before a list is in it, and while a new one is wanted. */
  version(): string | undefined;
  /** Resolves when synced; rejects with the signal's reason. */
  whenSynced(signal?: AbortSignal): Promise<void>;
  /**
   * `handler` is called for every change from now on, and now for each object that is known already. It must not throw. The
   * returned function ends it.
   */
  subscribe(handler: (event: ObjectEvent) => void): () => void;
  /** Follows until `signal` aborts; then resolves. Once per informer. */
  run(signal: AbortSignal): Promise<void>;
}

const BACKOFF = { baseMs: 500, maxMs: 30_000 };
/** The server is asked to end each watch between 5 and 10 minutes, spread so that they do not all come back at once. */
const WATCH_SECONDS = 300;
/** A watch that ends sooner did not work, whatever it says. */
const SHORT_WATCH_MS = 1000;

export function createInformer(options: InformerOptions): Informer {
  const { api, type, clock, random, metrics = createMetrics(), indexers, resyncMs, ...selection } = options;
  const logger = options.logger.child({ informer: type.plural });
  const { namespace, labelSelector, fieldSelector } = selection;
  const wanted = {
    ...(namespace !== undefined && { namespace }),
    ...(labelSelector !== undefined && { labelSelector }),
    ...(fieldSelector !== undefined && { fieldSelector }),
  };
  const store = new ObjectStore(indexers);
  const handlers = new Set<(event: ObjectEvent) => void>();
  const firstList = Promise.withResolvers<void>();
  let synced = false;
  let version: string | undefined;
  const lists = metrics.counter('operator_informer_lists_total', 'Full lists by kind: one at the start, more after lost versions.');
  const events = metrics.counter('operator_informer_events_total', 'Changes seen by kind and type.');
  const failures = metrics.counter('operator_informer_failures_total', 'Lists and watches that failed, by kind and error.');
  const objects = metrics.gauge('operator_informer_objects', 'Objects known by kind.');

  const tell = (event: ObjectEvent): void => {
    events.inc({ kind: type.kind, type: event.type });
    objects.set(store.size, { kind: type.kind });
    for (const handler of handlers) handler(event);
  };

  const put = (object: LiveObject): void => {
    const previous = store.get(keyOf(object));
    if (previous?.metadata.uid === object.metadata.uid && previous.metadata.resourceVersion === object.metadata.resourceVersion) return;
    if (previous && previous.metadata.uid !== object.metadata.uid) drop(previous); // deleted and made anew in between
    store.set(object);
    tell(previous?.metadata.uid === object.metadata.uid ? { type: 'updated', object, previous } : { type: 'added', object });
  };

  const drop = (object: LiveObject): void => {
    const key = keyOf(object);
    if (store.get(key) === undefined) return;
    store.delete(key);
    tell({ type: 'deleted', object });
  };

  const relist = async (signal: AbortSignal): Promise<string> => {
    lists.inc({ kind: type.kind });
    const { items, resourceVersion } = await api.list(type, { ...wanted, signal });
    const present = new Set(items.map(keyOf));
    for (const object of store.list()) if (!present.has(keyOf(object))) drop(object);
    for (const object of items) put(object);
    if (!synced) {
      synced = true;
      objects.set(store.size, { kind: type.kind });
      firstList.resolve();
    }
    return resourceVersion;
  };

  /** Until the watch ends; `seen` is told every version that the store has caught up with. */
  const follow = async (from: string, seen: (version: string) => void, signal: AbortSignal): Promise<void> => {
    const timeoutSeconds = WATCH_SECONDS + randomInt(random, WATCH_SECONDS);
    for await (const event of api.watch(type, { ...wanted, resourceVersion: from, timeoutSeconds, signal })) {
      switch (event.type) {
        case 'ADDED':
        case 'MODIFIED':
          put(event.object);
          seen(event.object.metadata.resourceVersion);
          break;
        case 'DELETED':
          drop(event.object);
          seen(event.object.metadata.resourceVersion);
          break;
        case 'BOOKMARK':
          seen(event.resourceVersion);
          break;
      }
    }
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    let fruitless = 0;
    const stopResync =
      resyncMs === undefined
        ? undefined
        : repeat(clock, resyncMs, () => {
            for (const object of store.list()) tell({ type: 'resync', object });
          });
    try {
      while (!signal.aborted) {
        const startedAt = clock.monotonic();
        let progress = false;
        try {
          version ??= await relist(signal);
          const seen = (next: string): void => {
            version = next;
            progress = true;
          };
          await follow(version, seen, signal);
          if (clock.monotonic() - startedAt >= SHORT_WATCH_MS) progress = true;
        } catch (error) {
          if (signal.aborted) break;
          if (isApiError(error, 'gone')) {
            logger.info({ version }, 'the version is too old to go on from: listing again');
            version = undefined;
          } else {
            failures.inc({ kind: type.kind, error: isApiError(error) ? error.kind : 'other' });
            logger.warn({ error: error instanceof Error ? error.message : String(error), fruitless }, 'the watch broke');
          }
          fruitless = progress ? 0 : fruitless;
          await sleep(clock, jittered(random, exponentialMs(BACKOFF, fruitless)), signal).catch(() => undefined);
          fruitless += 1;
          continue;
        }
        if (progress) fruitless = 0;
        else await sleep(clock, jittered(random, exponentialMs(BACKOFF, fruitless++)), signal).catch(() => undefined);
      }
    } finally {
      stopResync?.();
    }
  };

  return {
    type,
    store,
    synced: () => synced,
    version: () => version,
    whenSynced: (signal) => orAborted(firstList.promise, signal),
    subscribe: (handler) => {
      const own = (event: ObjectEvent): void => handler(event); // the same handler may subscribe twice
      handlers.add(own);
      for (const object of store.list()) own({ type: 'added', object });
      return () => handlers.delete(own);
    },
    run,
  };
}

/** Calls `work` every `intervalMs` until the returned function is called. */
function repeat(clock: Clock, intervalMs: number, work: () => void): () => void {
  const tick = (): void => {
    work();
    timer = clock.after(intervalMs, tick);
  };
  let timer = clock.after(intervalMs, tick);
  return () => timer.cancel();
}

function orAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
