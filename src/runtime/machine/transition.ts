/** From a record and a result to the next record: pure, and the only place that touches state, deadline, attempts and history. */

import { HISTORY_LIMIT, type NodeRecord, type NodeState } from './node-record.ts';
import type { Change, StepResult } from './results.ts';
import type { MachineSettings } from './settings.ts';

/** Undefined: the state may last, because nothing is under way in it. */
export type Duration = (settings: MachineSettings, node?: NodeRecord) => number | undefined;

export interface StateRules {
  /** Where `failed` and a missed deadline lead. */
  readonly onFailure: NodeState;
  /** What a failure takes from the record besides. */
  readonly forget?: Change;
  readonly next: readonly NodeState[];
  readonly deadline: Duration;
  /** Its deadline counts from the moment that a lane is free, not from the transition. */
  readonly deadlineFromStart: boolean;
}

export type Rules = Readonly<Record<NodeState, StateRules>>;

export function applyResult(node: NodeRecord, result: StepResult, rules: Rules, settings: MachineSettings, now: number): NodeRecord {
  const rule = rules[node.state];
  switch (result.kind) {
    case 'continue':
      return {
        ...changed(node, result.change),
        step: result.step,
        // A verb on a machine in use has its own time; without a step there is nothing to wait for there.
        ...(result.step === undefined && {
          stepArgs: undefined,
          ...(rule.deadline(settings, node) === undefined && { stateDeadline: undefined }),
        }),
        attempts: 0,
        nextAttemptAt: undefined,
      };
    case 'wait':
      return node;
    case 'done':
      return moveTo(changed(node, result.change), result.next, result.reason, rules, settings, now);
    case 'failed':
      return fail(changed(node, result.change), rule, result.reason, rules, settings, now);
    case 'retry': {
      const attempts = node.attempts + 1;
      if (attempts >= settings.maxAttempts) {
        return fail(node, rule, `${result.reason} (${attempts} attempts)`, rules, settings, now);
      }
      return { ...node, attempts, nextAttemptAt: now + backoffMs(attempts, settings), reason: cleanText(result.reason) };
    }
  }
}

/** 1, 2, 4, 8 … seconds, at most a minute, with the default settings. No jitter: machines fail at their own times. */
export function backoffMs(attempts: number, settings: Pick<MachineSettings, 'retryBaseMs' | 'retryMaxMs'>): number {
  return Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** Math.min(30, attempts - 1));
}

export function moveTo(node: NodeRecord, to: NodeState, reason: string, rules: Rules, settings: MachineSettings, now: number): NodeRecord {
  if (!rules[node.state].next.includes(to)) throw new Error(`no way from "${node.state}" to "${to}"`); // a fault of the table, not of the site
  const rule = rules[to];
  const limit = rule.deadline(settings, node);
  const text = cleanText(reason);
  const step = { from: node.state, to, reason: text, at: now, durationMs: Math.max(0, now - node.stateSince) };
  return {
    ...node,
    state: to,
    stateSince: now,
    stateDeadline: limit === undefined || rule.deadlineFromStart ? undefined : now + limit,
    reason: text,
    step: undefined,
    stepArgs: undefined,
    attempts: 0,
    nextAttemptAt: undefined,
    history: [...node.history, step].slice(-HISTORY_LIMIT),
  };
}

/** States that clean up: a failure in one of them is the end of the automatism, not of an instance's way. */
const cleaningUp: ReadonlySet<NodeState> = new Set(['deploy failed', 'error', 'deleting', 'deleted']);

/** A failure on the way to an instance is remembered beside the history: it is what the user of that instance is told. */
function fail(before: NodeRecord, rule: StateRules, reason: string, rules: Rules, settings: MachineSettings, now: number): NodeRecord {
  const to = rule.onFailure;
  const node = changed(before, rule.forget);
  const stays = {
    ...node,
    reason: cleanText(reason),
    step: undefined,
    stepArgs: undefined,
    attempts: 0,
    nextAttemptAt: undefined,
    stateDeadline: undefined,
  };
  // A machine in use stays in use when a verb fails on it: the reason tells.
  if (node.state === to && to !== 'error') return stays;
  const moved = node.state === to ? stays : moveTo(node, to, reason, rules, settings, now);
  if (cleaningUp.has(node.state)) return { ...moved, cleanup: { errors: node.cleanup?.errors ?? [cleanText(reason)], gaveUp: true } };
  return {
    ...moved,
    cleanup: undefined,
    lastFailure: { instanceUuid: before.instance?.uuid, state: node.state, reason: cleanText(reason), at: now, cleanupErrors: [] },
  };
}

function changed(node: NodeRecord, change: Change | undefined): NodeRecord {
  return change === undefined ? node : change(node);
}

/** One printable line of bounded length: reasons carry text of BMCs and ramdisks. */
export function cleanText(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();
  return line.length <= 500 ? line : `${line.slice(0, 497)}...`;
}
