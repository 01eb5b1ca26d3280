import type { ApiEvent } from 'cdk8s-baremetal-contract/api/index';
import { isoTime } from '../../core/iso-time.ts';
import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import type { EventHub } from '../event-hub.ts';
import { eventStream } from '../event-stream.ts';
import { nodeOf } from '../find-node.ts';
import type { NodeChange } from '../node-index.ts';
import type { HandlerContext } from './context.ts';

/** Each is a connection; a site's tools need a handful. */
const MOST_STREAMS = 256;

export function eventHandlers({ store, index, hub, clock, metrics }: HandlerContext): HandlersOf<'events'> {
  let open = 0;
  return {
    events: async ({ query, request }) => {
      if (open >= MOST_STREAMS) throw new Refusal(apiErrors.API_STREAMS({ limit: MOST_STREAMS }));
      await index.ready();
      const nodeUuid = query.node === undefined ? undefined : (await nodeOf(store, query.node)).id;
      const stream = eventStream({
        hub,
        index,
        clock,
        signal: request.signal,
        lastEventId: request.headers['last-event-id'],
        nodeUuid,
        once: query.once === 'true',
        onReset: () => metrics.add('bms_event_resets_total', {}),
      });
      const counted = async function* (): AsyncGenerator<string> {
        open += 1;
        metrics.set('bms_event_streams', {}, open);
        try {
          yield* stream;
        } finally {
          open -= 1;
          metrics.set('bms_event_streams', {}, open);
        }
      };
      return {
        response: {
          status: 200,
          // nginx would hold events back until its buffer is full
          headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
          body: counted(),
        },
      };
    },
  };
}

/** What a change of a machine's record says to those who listen. */
export function publish(hub: EventHub, { before, after, transitions, seen }: NodeChange): void {
  const summary = after?.summary ?? before?.summary;
  if (!summary) return;
  const node = { uuid: summary.uuid, name: summary.name };
  const tell = (event: ApiEvent): void => hub.publish(node.uuid, event);
  for (const { type, detail, at } of seen)
    tell({ type: 'seen', node, what: type, ...(detail !== undefined && { detail }), at: isoTime(at) });
  for (const { from, to, reason, at, durationMs } of transitions)
    tell({ type: 'transition', node, from, to, reason, at: isoTime(at), durationMs });
  if (!after) tell({ type: 'removed', node });
  // What is not shown has no readers: an epoch, a hash.
  else if (!before || JSON.stringify(before.summary) !== JSON.stringify(after.summary)) tell({ type: 'node', node: after.summary });
}
