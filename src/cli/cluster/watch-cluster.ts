/** Following objects: what is there, then every change, over broken and expired watches. */
import { sleep } from 'cdk8s-baremetal-runtime/core/clock';
import type { Selection } from '../../operator/engine/api.ts';
import { isApiError } from '../../operator/engine/api-error.ts';
import { keyOf, type LiveObject, type ObjectKey, type ResourceType } from '../../operator/engine/objects.ts';
import type { ClusterContext } from './context.ts';

type FollowContext = Pick<ClusterContext, 'api' | 'clock' | 'progress'>;

const WATCH_SECONDS = 300;
const PAUSE_MS = 1_000;

/** One object. `undefined`: it is not there (any more). Ends only with the signal, whose reason it throws, or with an error that stays. */
export async function* follow(
  context: FollowContext,
  type: ResourceType,
  { namespace, name }: ObjectKey & { readonly namespace: string },
  signal: AbortSignal,
): AsyncGenerator<LiveObject | undefined, void> {
  const selection = { namespace, fieldSelector: `metadata.name=${name}` };
  for await (const objects of followAll(context, type, selection, signal)) yield objects.get(`${namespace}/${name}`);
}

/** All that are selected, by key; the same map again after each change. */
export async function* followAll(
  { api, clock, progress }: FollowContext,
  type: ResourceType,
  selection: Omit<Selection, 'signal'>,
  signal: AbortSignal,
): AsyncGenerator<ReadonlyMap<string, LiveObject>, void> {
  let silent = false;
  for (;;) {
    try {
      const { resourceVersion, items } = await api.list(type, { ...selection, signal });
      if (silent) progress('the API server answers again');
      silent = false;
      const objects = new Map(items.map((item) => [keyOf(item), item]));
      yield objects;
      let at = resourceVersion;
      // the server ends a watch now and then; the next one goes on where it stood
      for (;;) {
        for await (const event of api.watch(type, { ...selection, signal, resourceVersion: at, timeoutSeconds: WATCH_SECONDS })) {
          if (event.type === 'BOOKMARK') {
            at = event.resourceVersion;
            continue;
          }
          at = event.object.metadata.resourceVersion;
          if (event.type === 'DELETED') objects.delete(keyOf(event.object));
          else objects.set(keyOf(event.object), event.object);
          yield objects;
        }
        await sleep(clock, PAUSE_MS, signal); // a proxy may end every watch at once
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!isApiError(error) || !(error.transient || error.kind === 'gone') || error.kind === 'unauthorized') throw error;
      if (error.kind !== 'gone' && !silent) {
        progress(`the API server does not answer (${error.message}); still waiting`);
        silent = true;
      }
      await sleep(clock, error.retryAfterMs ?? PAUSE_MS, signal);
    }
  }
}
