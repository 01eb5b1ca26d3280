/** bmctl node …, and bmctl explain: what the API says, for people or as JSON. */
import type { Explanation, NodeDetail, NodeSummary } from 'cdk8s-baremetal-contract/api/index';
import type { ApiClient } from './api-client.ts';
import { progressText } from './progress-text.ts';
import type { Surroundings } from './surroundings.ts';
import { table } from './table.ts';

export interface CommandContext extends Surroundings {
  readonly api: ApiClient;
  readonly asJson: boolean;
  readonly print: (text: string) => void;
}

/** What was done: in a sentence, or as JSON (what the API answers; where it answers nothing, the same as fields). */
export function said({ asJson, print }: CommandContext, json: object, sentence: string): void {
  print(asJson ? JSON.stringify(json, undefined, 2) : sentence);
}

export async function nodeList({ api, asJson, print }: CommandContext, filters: Readonly<Record<string, string>> = {}): Promise<void> {
  const nodes: NodeSummary[] = [];
  for (let cursor: string | undefined; ; ) {
    const answer = await api.ask('listNodes', {}, { query: { limit: 1000, cursor, ...filters } });
    nodes.push(...answer.nodes);
    cursor = answer.next;
    if (cursor === undefined) break;
  }
  const answer = { nodes };
  if (asJson) return print(JSON.stringify(answer, undefined, 2));
  if (answer.nodes.length === 0) return print(Object.keys(filters).length === 0 ? 'No machine is enrolled.' : 'No machine is like that.');
  print(
    table(
      ['NAME', 'STATE', 'MAC', 'ADDRESS', 'BMC', 'INSTANCE', 'WHY'],
      answer.nodes.map((node) => [
        node.name,
        state(node),
        node.macs[0] ?? '',
        node.address ?? '-',
        node.bmc,
        node.instance ?? '-',
        node.maintenanceReason ?? node.fault?.reason ?? node.reason,
      ]),
    ),
  );
}

export async function nodeShow({ api, asJson, print }: CommandContext, key: string): Promise<void> {
  const node = await api.ask('showNode', { node: key });
  if (asJson) return print(JSON.stringify(node, undefined, 2));
  const { properties: has, installed, lastFailure } = node;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['Name', `${node.name} (number ${node.number}, ${node.uuid})`],
    ['State', `${state(node)} since ${node.since}`],
    ['Why', node.reason],
    ['Step', node.step],
    ['Deadline', node.deadline],
    ['Asked', node.asked && `${node.asked}, not begun yet`],
    ['Instance', node.instance && `${node.instance} (${node.instanceUuid ?? '-'}), image ${node.imageId ?? '-'}`],
    ['Power', node.power && `${node.power.state}, heard ${node.power.at}`],
    ['Hardware', `${has.cpus} CPUs ${has.cpuArch}, ${has.memoryMb} MiB, ${has.localGb} GiB`],
    ['Root disk', node.rootDiskSerial && `only the one with serial ${node.rootDiskSerial}`],
    ['MAC', node.macs.join(', ')],
    ['Address', node.address],
    ['BMC', node.bmc],
    ...inspected(node.inspection),
    [
      'Installed',
      installed &&
        `image ${installed.imageId} at ${installed.at}, SHA-256 ${installed.sha256}${installed.diskSerial === undefined ? '' : `, disk ${installed.diskSerial}`}`,
    ],
    [
      'Last failure',
      lastFailure && `${lastFailure.at} ${lastFailure.reason}${lastFailure.cleanupErrors.map((error) => `; cleanup: ${error}`).join('')}`,
    ],
    ['Fault', node.fault && faultText(node.fault)],
    [
      'Maintenance',
      node.maintenance ? `${node.maintenanceReason ?? 'no reason was given'}: nothing changes its power or disks` : undefined,
    ],
    ['Owner', node.owner === undefined ? undefined : `${node.owner}, epoch ${node.epoch}`],
  ];
  for (const [name, value] of facts) if (value !== undefined) print(`${name.padEnd(13)} ${value}`);
  print(
    `\n${table(
      ['AT', 'TRANSITION', 'AFTER', 'WHY'],
      node.history.map(({ at, from, to, reason, durationMs }) => [at, `${from} → ${to}`, seconds(durationMs), reason]),
    )}`,
  );
}

/** What was found, and where each cable ends, of those whose switch has said so. */
function inspected(inspection: NodeDetail['inspection']): (readonly [string, string])[] {
  if (inspection === undefined) return [];
  const { at, differences, facts } = inspection;
  const cables = facts.interfaces.flatMap(({ name, mac, switchId, switchPort, lldp }) => {
    if (switchId === undefined) return [];
    const { systemName, portVlan, managementVlan } = lldp ?? {};
    const vlans = [portVlan && `VLAN ${portVlan}`, managementVlan && `managed in VLAN ${managementVlan}`].filter(Boolean).join(', ');
    const to = `${systemName === undefined ? switchId : `${systemName} (${switchId})`}, port ${switchPort ?? '-'}`;
    return [['Cable', `${name} ${mac} to ${to}${vlans === '' ? '' : `, ${vlans}`}`] as const];
  });
  return [['Inspected', `${at}, ${differences.length === 0 ? 'as recorded' : differences.join('; ')}`], ...cables];
}

export async function nodeTimeline({ api, asJson, print }: CommandContext, key: string): Promise<void> {
  const answer = await api.ask('nodeTimeline', { node: key });
  if (asJson) return print(JSON.stringify(answer, undefined, 2));
  print(
    table(
      ['AT', 'WHAT', ''],
      answer.timeline.map(({ at, type, detail, count }) => [at, `${type}${count > 1 ? ` (${count} times)` : ''}`, detail ?? '']),
    ),
  );
}

export async function explainMac({ api, asJson, print }: CommandContext, mac: string): Promise<void> {
  const told = await api.ask('explainMac', { machine: mac });
  if (asJson) return print(JSON.stringify(told, undefined, 2));
  print(
    told.machine === undefined
      ? `${told.mac} belongs to no enrolled machine: bmctl enrol NAME --mac ${told.mac} … makes it one, bmctl interface add NODE ${told.mac} adds it to one.`
      : `${told.mac} is ${told.machine}, ${told.state}: ${told.reason}.`,
  );
  print(told.lease === undefined ? 'It holds no lease of ours.' : `It holds the lease of ${told.lease}.`);
  if (told.deadline !== undefined) print(`Its state must end by ${told.deadline}.`);
  if (told.problem === undefined) print('\nIf it asked now:');
  else print(`\nNothing can be answered now: ${told.problem}`);
  for (const { requests, answer, reasons } of alike(told.answers)) {
    for (const request of requests) print(`  ${request}`);
    print(`    → ${answer}`);
    for (const reason of reasons) print(`      because ${reason}`);
  }
  // a loader that is named and not there is what the machine would find out
  const { missingLoaders } = await api.ask('bootReport', {});
  if (missingLoaders.length > 0) print(`\nBut here:\n${missingLoaders.map((line) => `  - ${line}`).join('\n')}`);
  if (told.boot && told.boot.length > 0) print(`\nThe boot plane saw:\n${told.boot.map((line) => `  ${line}`).join('\n')}`);
  if (told.seen.length > 0) print(`\nLast seen:\n${told.seen.map((line) => `  ${line}`).join('\n')}`);
}

type Answer = Pick<Explanation['answers'][number], 'answer' | 'reasons'> & { readonly requests: string[] };

/** What is answered the same, for the same reasons, is said once. */
function alike(answers: Explanation['answers']): readonly Answer[] {
  const groups = new Map<string, Answer>();
  for (const { request, answer, reasons } of answers) {
    const key = [answer, ...reasons].join('\n');
    const group = groups.get(key);
    if (group) group.requests.push(request);
    else groups.set(key, { requests: [request], answer, reasons });
  }
  return [...groups.values()];
}

export async function bootReport({ api, asJson, print }: CommandContext): Promise<void> {
  const { problems, strangers, discovered, missingLoaders } = await api.ask('bootReport', {});
  if (asJson) return print(JSON.stringify({ problems, strangers, discovered, missingLoaders }, undefined, 2));
  for (const line of missingLoaders) print(`- ${line}`);
  for (const { detail, cure, count, last } of problems)
    print(`- ${detail} (${count === 1 ? 'once' : `${count} times`}, last at ${last}).\n  → ${cure}`);
  if (problems.length + missingLoaders.length === 0) print('Nothing is wrong with the provisioning networks, as far as this replica sees.');
  if (discovered.length > 0) {
    print(`\nDiscovered, and waiting for somebody to complete them (${discovered.length}):`);
    print(
      table(
        ['NAME', 'MAC', 'UUID', 'ARCHITECTURE', 'INTERFACE', 'SINCE'],
        discovered.map(({ name, macs, uuid, arch, interface: heard, relay, since }) => [
          name,
          macs.join(', '),
          uuid ?? '',
          arch === undefined ? '' : String(arch),
          relay === undefined ? heard : `${heard} by ${relay}`,
          since,
        ]),
      ),
    );
    print(
      '  → bmctl enrol NAME --mac MAC --bmc ADDRESS … under its own name; bmctl update NAME --bmc ADDRESS --user USER --password-file FILE as it is;',
    );
    print('    bmctl remove NAME when it is not yours');
  }
  const listed = new Set(discovered.flatMap(({ macs }) => macs));
  const others = strangers.filter(({ mac }) => !listed.has(mac));
  if (others.length === 0) return;
  print('\nAsked to boot without being enrolled, since this replica started:');
  print(
    table(
      ['MAC', 'UUID', 'ARCHITECTURE', 'INTERFACE', 'TIMES', 'LAST'],
      others.map(({ mac, uuid, arch, interface: name, relay, count, last }) => [
        mac,
        uuid ?? '',
        arch === undefined ? '' : String(arch),
        relay === undefined ? name : `${name} by ${relay}`,
        String(count),
        last,
      ]),
    ),
  );
}

function state({ state: name, maintenance, fault, progress }: NodeSummary): string {
  const doing = progress?.totalBytes ? ` ${progressText(progress)}` : '';
  return `${name}${doing}${fault ? `, ${fault.kind}` : ''}${maintenance ? ', maintenance' : ''}`;
}

function faultText({ kind, reason, since, remedies }: NonNullable<NodeSummary['fault']>): string {
  return `${kind} since ${since}: ${reason}${remedies.map(({ remedy, at }) => `; ${remedy} at ${at}`).join('')}`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

export async function nodeDiagnose({ api, asJson, print }: CommandContext, key: string): Promise<void> {
  const answer = await api.ask('diagnoseNode', { node: key });
  if (asJson) return print(JSON.stringify(answer, undefined, 2));
  print(`${answer.name} is ${answer.state}: ${VERDICTS[answer.verdict]}.`);
  for (const { what, cure } of answer.findings) print(`- ${what}.${cure === undefined ? '' : `\n  → ${cure}`}`);
}

const VERDICTS = {
  well: 'it is well',
  working: 'something is under way',
  late: 'it is late',
  failed: 'something failed, and it wants help',
  resting: 'it rests',
} as const;
