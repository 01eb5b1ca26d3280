/** Why a deadline was missed, from what was really observed and nothing else. */
import { isoTime } from '../core/iso-time.ts';
import type { NodeRecord, TimelineEvent } from './node-record.ts';

/**
 * E.g. `no POST from the deploy ramdisk for 300 s; last observed: TFTP served deploy_ramdisk at 12:01:07`. The time is the state's own,
 * the event the last one since the state began, or since the power-on that led to it.
 */
export function diagnose(node: NodeRecord, awaited: string, now: number): string {
  const since = node.stateDeadline === undefined ? node.stateSince : Math.min(node.stateSince, node.stateDeadline);
  const waited = `no ${awaited.replace(/^(an?|the) /, '')} for ${Math.round((now - since) / 1000)} s`;
  const seen = node.timeline.filter((event) => (event.lastAt ?? event.at) >= observedFrom(node));
  const last = seen.reduce<TimelineEvent | undefined>(
    (newest, event) => (newest === undefined || lastAt(event) >= lastAt(newest) ? event : newest),
    undefined,
  );
  const trouble = node.attempts > 0 ? `; ${node.attempts} failed attempts, the last: ${node.reason}` : '';
  if (last === undefined) return `${waited}; nothing was observed of the machine${trouble}`;
  return `${waited}; last observed: ${describeEvent(last)}${trouble}`;
}

/** `TFTP served deploy_ramdisk at 12:01:07 (3 times)`, UTC. */
export function describeEvent(event: TimelineEvent): string {
  const time = isoTime(lastAt(event)).slice(11, 19);
  const what = event.detail === undefined ? event.type : `${event.type} ${event.detail}`;
  return `${what} at ${time}${event.count > 1 ? ` (${event.count} times)` : ''}`;
}

/** In `prepared`, what came between the power-on and the bookkeeping counts as well. */
function observedFrom(node: NodeRecord): number {
  const previous = node.history.at(-1);
  return node.state === 'prepared' && previous !== undefined ? node.stateSince - previous.durationMs : node.stateSince;
}

function lastAt(event: TimelineEvent): number {
  return event.lastAt ?? event.at;
}
