/** What was really seen of a machine, by any replica: leases, files served, POSTs, power. The diagnosis reads it, and people do. */
import type { Clock } from '../core/clock.ts';
import { modify, type Store } from '../store/index.ts';
import { type NodeRecord, nodeKind, TIMELINE_LIMIT, type TimelineEvent } from './node-record.ts';
import { mayHavePosted, sessionOf, withSession } from './ramdisk-session.ts';
import { cleanText } from './transition.ts';

export interface Observation {
  /** E.g. `DHCP lease`, `TFTP served`, `HTTP served`, `power on`. */
  readonly type: string;
  /** E.g. the file's name. Never a secret. */
  readonly detail?: string;
  readonly intent?: NonNullable<TimelineEvent['intent']>;
  /** A lease that was given, or seen to be given by another server. */
  readonly lease?: { readonly mac: string; readonly address: string };
}

/** Puts an observation on the machine's record. Undefined when there is no such machine. */
export async function observe(options: { store: Store; clock: Clock }, nodeId: string, seen: Observation): Promise<NodeRecord | undefined> {
  const result = await modify(options.store, nodeKind, nodeId, (node) => withObservation(node, seen, options.clock.now()));
  return result.outcome === 'missing' ? undefined : result.record.value;
}

function withObservation(node: NodeRecord, seen: Observation, now: number): NodeRecord {
  const { type, detail, intent, lease } = seen;
  const next = withEvent(node, { type, ...(detail !== undefined && { detail }), ...(intent && { intent }) }, now);
  if (lease === undefined || !node.interfaces.some(({ mac }) => mac === lease.mac)) return next;
  // The key is bound to the lease that the ramdisk has when it may use it (N4, N13); a later lease moves the bond along.
  const bound = mayHavePosted(node) && sessionOf(node)?.claim === undefined;
  const leased = { ...next, lease: { ...lease, at: now } };
  return bound ? withSession(leased, { allowedAddress: lease.address }) : leased;
}

/** The same event again in a row is counted: a machine that asks every second must not push out what happened before. */
export function withEvent(node: NodeRecord, event: Pick<TimelineEvent, 'type' | 'detail' | 'intent'>, now: number): NodeRecord {
  const clean = { ...event, ...(event.detail !== undefined && { detail: cleanText(event.detail) }) };
  const last = node.timeline.at(-1);
  if (last !== undefined && last.type === clean.type && last.detail === clean.detail && last.intent === clean.intent) {
    return { ...node, timeline: [...node.timeline.slice(0, -1), { ...last, count: last.count + 1, lastAt: now }] };
  }
  return { ...node, timeline: [...node.timeline, { at: now, count: 1, ...clean }].slice(-TIMELINE_LIMIT) };
}
