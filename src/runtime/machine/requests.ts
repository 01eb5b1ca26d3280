/** What becomes of a record when its owner answers what was asked of it: pure. */
import type { NodeRecord } from './node-record.ts';
import { failed } from './results.ts';
import type { MachineSettings } from './settings.ts';
import type { RequestAnswer, StateTable } from './states.ts';
import { applyResult, moveTo } from './transition.ts';

/** Undefined: nothing was asked, or there is nothing to do for it in this state. */
export function answerTo(node: NodeRecord, states: StateTable): RequestAnswer | undefined {
  return node.request && states[node.state].onRequest(node, node.request.verb, node.request.args);
}

/** The record without the request, and with what it leads to. */
export function answered(node: NodeRecord, states: StateTable, settings: MachineSettings, now: number): NodeRecord {
  const { request, ...rest } = node;
  const quiet: NodeRecord = { ...rest, request: undefined };
  const answer = answerTo(node, states);
  if (request === undefined || answer === undefined) return quiet;
  const reason = `${request.verb} was asked for`;
  switch (answer.kind) {
    case 'move': {
      const changed = answer.change?.(quiet) ?? quiet;
      return moveTo({ ...changed, cleanup: undefined }, answer.to, reason, states, settings, now);
    }
    case 'fail':
      return applyResult(quiet, failed(reason, answer.change), states, settings, now);
    case 'again': {
      const limit = states[node.state].deadline(settings, quiet);
      const changed = answer.change?.(quiet) ?? quiet;
      const restarted = { ...changed, cleanup: undefined, step: undefined, attempts: 0, nextAttemptAt: undefined, reason };
      return { ...restarted, stateDeadline: limit === undefined ? undefined : now + limit };
    }
    case 'step': {
      const changed = answer.change?.(quiet) ?? quiet;
      const armed = { ...changed, step: answer.step, stepArgs: request.args, attempts: 0, nextAttemptAt: undefined };
      return { ...armed, stateDeadline: now + settings.verbTimeoutMs };
    }
  }
}
