/** How a machine is, in a few sentences that people can act on: from its record, that is from what was observed and decided. */
import { cureOfCode } from 'cdk8s-baremetal-contract';
import type { Diagnosis } from 'cdk8s-baremetal-contract/api/index';
import { isoTime } from '../core/iso-time.ts';
import { codeIn, deadlineOf, diagnose, type Fault, isIncomplete, lastObserved, type NodeRecord, states } from '../machine/index.ts';
import { powerUrlOf } from '../power/index.ts';

/** An owner begins what is asked for at its next look, which a write wakes. */
const UNBEGUN_MS = 30_000;

export function diagnosis(node: NodeRecord, now: number): Diagnosis {
  const { name, state } = node;
  const stateDeadline = deadlineOf(node);
  const entry = states[state];
  const rests = entry.rests(node);
  const overdue = stateDeadline !== undefined && now > stateDeadline;
  const findings: Diagnosis['findings'] = [];
  const say = (what: string, cure?: string): void => void findings.push({ what, ...(cure !== undefined && { cure }) });

  if (node.maintenance) {
    const why = node.maintenanceReason === undefined ? '' : ` (${node.maintenanceReason})`;
    say(`It is in maintenance${why}: nothing changes its power or disks`, `bmctl maintenance off ${name}`);
  }
  if (isIncomplete(node))
    say(
      'It was discovered as it asked for a boot file, and nobody has said where its BMC is: nothing is done to it',
      `bmctl update ${name} --bmc ADDRESS --user USER --password-file FILE, or bmctl enrol with its MAC address; bmctl remove ${name} when it is not yours`,
    );
  if (node.fault) say(`It has a fault since ${isoTime(node.fault.since)}: ${faultText(node.fault)}`, faultCure(node));
  if (overdue)
    say(
      `Its state should have ended at ${isoTime(stateDeadline)}: ${diagnose(node, entry.awaited, now)}`,
      `Look whether its owner ${node.owner ?? '(none)'} runs; bmctl unstick ${name} gives it to another one`,
    );
  else if (!rests && stateDeadline !== undefined) say(`It waits for ${entry.awaited}, until ${isoTime(stateDeadline)} at most`);
  if (node.attempts > 0)
    say(
      `${node.attempts} ${node.attempts === 1 ? 'try' : 'tries'} failed, the last one: ${node.reason}`,
      triesCure(node) ?? helps(node.reason),
    );
  if (state === 'error') say(`It failed: ${node.reason}`, `${helps(node.reason) ?? 'Remove the cause'}; then bmctl retry ${name}`);
  if (node.cleanup?.gaveUp)
    for (const error of node.cleanup.errors) say(`The cleanup left this behind: ${error}`, `bmctl retry ${name} cleans up again`);
  if (state === 'active' && node.step === undefined) say(`It is in use; what was done last: ${node.reason}`);
  if (node.lastFailure) {
    const { at, state: where, reason, instanceUuid } = node.lastFailure;
    // said already where that is how it is now
    if (state !== 'error' || reason !== node.reason)
      say(
        `${instanceUuid === undefined ? 'It last failed ' : 'Its last deployment failed '}at ${isoTime(at)} in ${where}: ${reason}`,
        helps(reason),
      );
    for (const error of node.lastFailure.cleanupErrors) say(`Cleaning up after that: ${error}`);
  }
  if (node.request)
    say(
      `${node.request.verb} was asked for at ${isoTime(node.request.at)} and is not begun yet`,
      now - node.request.at > UNBEGUN_MS
        ? `Look whether its owner ${node.owner ?? '(none)'} runs; bmctl unstick ${name} gives the machine to another one, and forgets what was asked for`
        : undefined,
    );
  if (node.owner === undefined && !rests)
    say('No replica drives it', 'Look whether bms-core runs, and at the log of the coordination service');
  if (node.power) say(`Its power was ${node.power.state} at ${isoTime(node.power.at)}, as its BMC told`);
  const last = lastObserved(node);
  if (last) say(`Last seen: ${last.type}${last.detail === undefined ? '' : ` ${last.detail}`} at ${isoTime(last.lastAt ?? last.at)}`);
  else say('Nothing was ever seen of it on the network');

  const verdict = overdue
    ? 'late'
    : state === 'error' || node.cleanup?.gaveUp || node.fault
      ? 'failed'
      : !rests
        ? 'working'
        : state === 'active'
          ? 'well'
          : 'resting';
  return { name, state, verdict, findings };
}

/** What the table of errors says to the code that a reason carries. */
function helps(reason: string): string | undefined {
  const code = codeIn(reason);
  return code === undefined ? undefined : (cureOfCode(code) ?? `docs/errors.md says what helps against ${code}`);
}

/** What the BMC is asked for in these states is little: it is there or not, and knows the password or not. */
const BY_BMC: ReadonlySet<NodeRecord['state']> = new Set(['verifying', 'initializing', 'adopting']);

function triesCure({ name, state, bmc }: NodeRecord): string | undefined {
  if (!BY_BMC.has(state)) return undefined;
  return `bmctl bmc status says more; bmctl power status ${powerUrlOf(bmc)} asks it from where you are; bmctl update ${name} corrects address, user or password`;
}

function faultText({ kind, reason, remedies }: Fault): string {
  const tried = remedies.map(({ remedy, at }) => `${remedy} at ${isoTime(at)}`);
  return `${kind}, ${reason}${tried.length === 0 ? '' : `; tried: ${tried.join(', ')}`}`;
}

function faultCure({ name, fault, maintenance }: NodeRecord): string | undefined {
  switch (fault?.kind) {
    case 'bmc unreachable':
      return `bmctl bmc status says more; bmctl update ${name} corrects address or password, bmctl bmc retry ${name} asks it at once`;
    case 'power lost':
      return `Look at the machine; bmctl power on ${name}, or bmctl power off ${name} if it is meant to be off`;
    case 'unhealthy':
      return `Look at what runs on it; once it is well, bmctl fault ${name} --clear ends the remedies${maintenance ? ` and bmctl maintenance off ${name} its quarantine` : ''}`;
    default:
      return undefined;
  }
}
