/** How a machine is, in a few sentences that people can act on: from its record, that is from what was observed and decided. */
import type { Diagnosis } from 'cdk8s-baremetal-contract/api/index';
import { isoTime } from '../core/iso-time.ts';
import { diagnose, type NodeRecord, states } from '../machine/index.ts';

export function diagnosis(node: NodeRecord, now: number): Diagnosis {
  const { name, state, stateDeadline } = node;
  const entry = states[state];
  const rests = entry.rests(node);
  const overdue = stateDeadline !== undefined && now > stateDeadline;
  const findings: Diagnosis['findings'] = [];
  const say = (what: string, cure?: string): void => void findings.push({ what, ...(cure !== undefined && { cure }) });

  if (node.maintenance) say('It is in maintenance: nothing changes its power or disks', `bmctl maintenance off ${name}`);
  if (overdue)
    say(
      `Its state should have ended at ${isoTime(stateDeadline)}: ${diagnose(node, entry.awaited, now)}`,
      `bmctl retry ${name}, or look for its owner ${node.owner ?? '(none)'}`,
    );
  else if (!rests && stateDeadline !== undefined) say(`It waits for ${entry.awaited}, until ${isoTime(stateDeadline)} at most`);
  if (node.attempts > 0) say(`${node.attempts} ${node.attempts === 1 ? 'try' : 'tries'} failed, the last one: ${node.reason}`);
  if (state === 'error') say(`It failed: ${node.reason}`, `Remove the cause, then bmctl retry ${name}`);
  if (node.cleanup?.gaveUp)
    for (const error of node.cleanup.errors) say(`The cleanup left this behind: ${error}`, `bmctl retry ${name} cleans up again`);
  if (node.lastFailure) {
    say(`Its last deployment failed at ${isoTime(node.lastFailure.at)} in ${node.lastFailure.state}: ${node.lastFailure.reason}`);
    for (const error of node.lastFailure.cleanupErrors) say(`Cleaning up after that: ${error}`);
  }
  if (node.request) say(`${node.request.verb} was asked for at ${isoTime(node.request.at)} and is not begun yet`);
  if (node.owner === undefined && !rests)
    say('No replica drives it', 'Look whether bms-core runs, and at the log of the coordination service');
  const last = node.timeline.at(-1);
  if (last) say(`Last seen: ${last.type}${last.detail === undefined ? '' : ` ${last.detail}`} at ${isoTime(last.lastAt ?? last.at)}`);
  else say('Nothing was ever seen of it on the network');

  const verdict = overdue
    ? 'late'
    : state === 'error' || node.cleanup?.gaveUp
      ? 'failed'
      : !rests
        ? 'working'
        : state === 'active'
          ? 'well'
          : 'resting';
  return { name, state, verdict, findings };
}
