/** Why a deadline was missed, from what was really observed and nothing else. */
import { isoTime } from '../core/iso-time.ts';
import type { NodeRecord, TimelineEvent } from './node-record.ts';
import { defaultSettings } from './settings.ts';

/**
 * E.g. `no POST from the deploy ramdisk for 300 s; last observed: TFTP served deploy_ramdisk at 12:01:07`. The time is the state's own (of a machine
 * in use: the verb's), the event the last one since then, or since the power-on that led to it. What the record has of the work itself follows: the image's
 * progress, the power as the BMC told it, errors of the cleanup, failed attempts. Times of day are UTC.
 */
export function diagnose(node: NodeRecord, awaited: string, now: number, verbTimeoutMs = defaultSettings.verbTimeoutMs): string {
  const began = beginning(node, verbTimeoutMs);
  const what = node.state === 'active' && node.step !== undefined ? `end of "${node.step}"` : awaited.replace(/^(an?|the) /, '');
  const from = observedFrom(node, began);
  const last = lastObserved(node, from);
  return [
    `no ${what} for ${Math.round((now - began) / 1000)} s`,
    last === undefined ? 'nothing was observed of the machine' : `last observed: ${describeEvent(last)}`,
    ...(node.state !== 'active' && node.step !== undefined ? [`it is at "${node.step}"`] : []),
    ...work(node),
    ...(node.power !== undefined && node.power.at >= from ? [`its BMC said ${node.power.state} at ${timeOfDay(node.power.at)}`] : []),
    ...(node.cleanup?.errors ?? []).map((error) => `the cleanup so far: ${error}`),
    ...(node.attempts > 0 ? [`${node.attempts} failed ${node.attempts === 1 ? 'attempt' : 'attempts'}, the last: ${node.reason}`] : []),
  ].join('; ');
}

/** What was seen of the machine last; undefined: nothing since `from`. What was decided about it stands on the timeline too, and does not count. */
export function lastObserved(node: NodeRecord, from = 0): TimelineEvent | undefined {
  return node.timeline
    .filter((event) => !isDecision(event) && lastAt(event) >= from)
    .reduce<TimelineEvent | undefined>(
      (newest, event) => (newest === undefined || lastAt(event) >= lastAt(newest) ? event : newest),
      undefined,
    );
}

/** `TFTP served deploy_ramdisk at 12:01:07 (3 times)`, UTC. */
export function describeEvent(event: TimelineEvent): string {
  const what = event.detail === undefined ? event.type : `${event.type} ${event.detail}`;
  return `${what} at ${timeOfDay(lastAt(event))}${event.count > 1 ? ` (${event.count} times)` : ''}`;
}

function isDecision({ type }: TimelineEvent): boolean {
  return type === 'deadline missed' || type.startsWith('remedy: ');
}

function beginning({ state, stateSince, stateDeadline }: NodeRecord, verbTimeoutMs: number): number {
  if (stateDeadline === undefined) return stateSince;
  // A machine may have been in use for years when a verb is asked of it.
  return state === 'active' ? Math.max(stateSince, stateDeadline - verbTimeoutMs) : Math.min(stateSince, stateDeadline);
}

/** In `prepared`, what came between the power-on and the bookkeeping counts as well. */
function observedFrom(node: NodeRecord, began: number): number {
  const previous = node.history.at(-1);
  return node.state === 'prepared' && previous !== undefined ? node.stateSince - previous.durationMs : began;
}

function work({ state, deployment }: NodeRecord): string[] {
  const progress = deployment?.progress;
  if (state !== 'deploying' || progress === undefined) return [];
  const of = progress.totalBytes === undefined ? '' : ` of ${progress.totalBytes}`;
  return [`${progress.bytes}${of} bytes ${progress.phase === 'verify' ? 'read back' : 'written'} by ${timeOfDay(progress.at)}`];
}

function timeOfDay(at: number): string {
  return isoTime(at).slice(11, 19);
}

function lastAt(event: TimelineEvent): number {
  return event.lastAt ?? event.at;
}
