/**
 * One answer to GET /v1/events (the HTML standard's server-sent events). It begins with the present state of the machines, or after
 * the event that Last-Event-ID names; when that is not kept any more, a `reset` says so and the present state follows. So a
 * reader that resumes always ends up with the truth, though it may have missed steps on the way (the history has them).
 */
import type { ApiEvent } from 'cdk8s-baremetal-contract/api/index';
import type { Clock } from '../core/clock.ts';
import type { EventHub } from './event-hub.ts';
import type { NodeIndex } from './node-index.ts';

export interface EventStreamOptions {
  readonly hub: EventHub;
  readonly index: NodeIndex;
  readonly clock: Clock;
  /** The client went away. */
  readonly signal: AbortSignal;
  readonly lastEventId: string | undefined;
  /** Of this machine only. */
  readonly nodeUuid: string | undefined;
  /** End after the first events, or at the first heartbeat. */
  readonly once: boolean;
  readonly onReset: () => void;
}

/** Below the idle time-outs of usual proxies. */
const HEARTBEAT_MS = 15_000;
const BATCH = 256;

export async function* eventStream(options: EventStreamOptions): AsyncGenerator<string> {
  const { hub, index, clock, signal, lastEventId, nodeUuid, once, onReset } = options;
  let at = lastEventId === undefined ? undefined : hub.sequenceOf(lastEventId);
  if (lastEventId === undefined) {
    at = hub.last;
    yield snapshot(options, at);
    if (once) return;
  }
  let saidAt = clock.monotonic();
  while (!signal.aborted && !hub.closed) {
    const events = at === undefined ? undefined : hub.after(at, BATCH);
    if (at === undefined || events === undefined) {
      onReset();
      at = hub.last;
      const reason = 'events between are not kept: the daemon was started again, another replica answers, or the reader was too slow';
      yield `${block(undefined, { type: 'reset', reason })}${snapshot(options, at)}`;
      if (once) return;
      continue;
    }
    const last = events.at(-1);
    if (last) {
      at = last.sequence;
      const wanted = events.filter((event) => nodeUuid === undefined || event.nodeUuid === nodeUuid);
      if (wanted.length > 0) {
        saidAt = clock.monotonic();
        yield wanted.map(({ sequence, type, data }) => text(hub.idOf(sequence), type, data)).join('');
        if (once) return;
      }
      continue;
    }
    // Counted from what this reader was told, not from what others were.
    const leftMs = saidAt + HEARTBEAT_MS - clock.monotonic();
    if (leftMs <= 0 || (await quiet(hub, clock, signal, leftMs))) {
      saidAt = clock.monotonic();
      yield `: heartbeat\nid: ${hub.idOf(at)}\n\n`;
      if (once) return;
    }
  }

  function snapshot({ nodeUuid: only }: EventStreamOptions, sequence: number): string {
    const nodes = only === undefined ? index.list() : [index.get(only)].filter((node) => node !== undefined);
    const id = hub.idOf(sequence);
    // An id alone is remembered by readers, too: where there is no machine, resuming works all the same.
    return `retry: 1000\nid: ${id}\n\n${nodes.map(({ summary }) => block(id, { type: 'node', node: summary })).join('')}`;
  }
}

/** Waits for the next event. True when a heartbeat is due instead. */
function quiet(hub: EventHub, clock: Clock, signal: AbortSignal, limitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (due: boolean): void => {
      timer.cancel();
      next.cancel();
      signal.removeEventListener('abort', onAbort);
      resolve(due);
    };
    const onAbort = (): void => settle(false);
    const timer = clock.after(limitMs, () => settle(true));
    const next = hub.onNext(() => settle(false));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted || hub.closed) settle(false);
  });
}

function block(id: string | undefined, event: ApiEvent): string {
  return text(id, event.type, JSON.stringify(event));
}

/** JSON has no line breaks, so that one data line is enough. */
function text(id: string | undefined, type: string, data: string): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${type}\ndata: ${data}\n\n`;
}
