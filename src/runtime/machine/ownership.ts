/** Whose a machine is, on its record: pure. */
import type { NodeRecord } from './node-record.ts';
import { mayHavePosted, sessionOf, withSession } from './ramdisk-session.ts';

/** What a machine that was taken over gets at least: nobody listened to it while its owner was away. */
const TAKEOVER_GRACE_MS = 120_000;

/** The record as its new owner writes it, in a new epoch. `limitMs`: how long its state may last; undefined: for ever, but for a verb under way. */
export function claimed(node: NodeRecord, memberId: string, limitMs: number | undefined, now: number): NodeRecord {
  const graceMs = node.owner === undefined ? undefined : Math.min(limitMs ?? TAKEOVER_GRACE_MS, TAKEOVER_GRACE_MS);
  return { ...withTime(node, graceMs, now), owner: memberId, epoch: node.epoch + 1 };
}

/** The record with at least so much time left in its state, where that has an end. */
export function withTime(node: NodeRecord, leftMs: number | undefined, now: number): NodeRecord {
  const stateDeadline =
    leftMs !== undefined && node.stateDeadline !== undefined ? Math.max(node.stateDeadline, now + leftMs) : node.stateDeadline;
  // The key lives as long as somebody waits for it.
  const session = mayHavePosted(node) ? sessionOf(node) : undefined;
  const kept =
    session !== undefined && stateDeadline !== undefined
      ? withSession(node, { expiresAt: Math.max(session.expiresAt, stateDeadline) })
      : node;
  return { ...kept, stateDeadline };
}

/** The epoch check, and that nothing has happened to the machine meanwhile: the same state again may be a later life of it. */
export function isCurrent(latest: NodeRecord, begun: NodeRecord, owner: string | undefined): boolean {
  const sameOwner = latest.owner === owner && latest.epoch === begun.epoch;
  return sameOwner && latest.state === begun.state && latest.stateSince === begun.stateSince;
}
