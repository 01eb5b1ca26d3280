/**
 * What is to be told to bms_control about one machine: one record per machine, so that its notifications keep their order and a change is
 * one compare-and-swap. They are made from the machine's own history, which is written together with its state: a crash between
 * the two loses nothing, since whoever comes next finds the transitions that the cursor has not passed.
 */
import { type Notification, notification } from 'cdk8s-baremetal-contract/api/index';
import { z } from 'zod';
import { isoTime } from '../core/iso-time.ts';
import { HISTORY_LIMIT, type NodeRecord, type Transition } from '../machine/index.ts';
import type { Kind } from '../store/index.ts';

const time = z.number().int().nonnegative();

const pending = z.object({
  notification,
  attempts: z.number().int().nonnegative(),
  nextAttemptAt: time,
  lastError: z.string().optional(),
});
const dead = z.object({ notification, attempts: z.number().int(), error: z.string(), gaveUpAt: time });

const outbox = z.object({
  /** The last transition that has been looked at. */
  cursor: z.object({ at: time, from: z.string(), to: z.string() }).optional(),
  /** Whose instance the machine had last: the end of one is told when the machine has let go of it already. */
  instanceUuid: z.string().optional(),
  sequence: z.number().int().nonnegative(),
  pending: z.array(pending),
  dead: z.array(dead),
  /** Which replica is sending, and until when that is believed. */
  sender: z.object({ id: z.string(), until: time }).optional(),
});
export type OutboxRecord = z.infer<typeof outbox>;
export type DeadNotification = z.infer<typeof dead>;

export const outboxKind: Kind<OutboxRecord> = { name: 'outbox', parse: (value) => outbox.parse(value) };

const begin = z.object({ at: time });
/** When notifications began to be wanted: what happened before is nobody's news. */
export const beginKind: Kind<z.infer<typeof begin>> = { name: 'outbox-begin', parse: (value) => begin.parse(value) };

export const emptyOutbox: OutboxRecord = { sequence: 0, pending: [], dead: [] };

/** Enough for days of failing deployments of one machine. */
const MOST_PENDING = 100;
export const MOST_DEAD = 20;

/** States in which something is under way: nobody is told of them, since they end in another. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'initializing',
  'verifying',
  'inspecting',
  'building',
  'prepared',
  'deploying',
  'deploy complete',
  'rescuing',
  'unrescuing',
  'adopting',
  'deleting',
  'cleaning',
]);

/** With what is new in the machine's history; undefined when nothing is. Pure. */
export function withNews(record: OutboxRecord, node: NodeRecord, since: number, now: number): OutboxRecord | undefined {
  const news = newTransitions(node.history, record.cursor, since);
  const last = news.at(-1);
  if (last === undefined) return undefined;
  let { sequence, instanceUuid } = record;
  const added: OutboxRecord['pending'][number][] = [];
  // The instance on the record came after the machine was free last: what was before that is the end of the one before.
  const freeAt = news.findLastIndex(({ to }) => to === 'available');
  for (const [index, transition] of news.entries()) {
    if (transition.to === 'available') instanceUuid = undefined;
    else if (index > freeAt) instanceUuid = node.instance?.uuid ?? instanceUuid;
    if (TRANSIENT.has(transition.to)) continue;
    sequence += 1;
    added.push({ notification: told(node, transition, instanceUuid, sequence), attempts: 0, nextAttemptAt: now });
  }
  const all = [...record.pending, ...added];
  // The first one may be on its way to the receiver: it keeps its place.
  const tooMany = all.splice(1, Math.max(0, all.length - MOST_PENDING));
  const dropped = tooMany.map((one) => buried(one, `more than ${MOST_PENDING} were waiting`, now));
  return {
    ...record,
    cursor: { at: last.at, from: last.from, to: last.to },
    instanceUuid,
    sequence,
    pending: all,
    dead: [...record.dead, ...dropped].slice(-MOST_DEAD),
  };
}

export function buried({ notification: what, attempts }: OutboxRecord['pending'][number], error: string, now: number): DeadNotification {
  return { notification: what, attempts, error, gaveUpAt: now };
}

/**
 * Those after the cursor. When the cursor is not among them, either it has been pushed out of the history, and then all of it is news; or `history` is
 * older than the cursor (another replica was quicker), and then nothing is.
 */
function newTransitions(history: readonly Transition[], cursor: OutboxRecord['cursor'], since: number): readonly Transition[] {
  if (cursor === undefined) return history.filter(({ at }) => at >= since);
  const index = history.findLastIndex(({ at, from, to }) => at === cursor.at && from === cursor.from && to === cursor.to);
  if (index >= 0) return history.slice(index + 1);
  const [first] = history;
  const pushedOut = history.length >= HISTORY_LIMIT && first !== undefined && first.at >= cursor.at;
  return pushedOut ? history : history.filter(({ at }) => at > cursor.at);
}

function told(node: NodeRecord, { from, to, reason, at }: Transition, instanceUuid: string | undefined, sequence: number): Notification {
  return {
    id: `${node.uuid}.${sequence}`,
    task_id: instanceUuid ?? node.uuid,
    node_uuid: node.uuid,
    node_name: node.name,
    instance_uuid: instanceUuid ?? null,
    state: to,
    previous_state: from,
    reason,
    at: isoTime(at),
  };
}
