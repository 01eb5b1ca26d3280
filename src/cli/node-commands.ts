/** bmctl node …, and bmctl explain: what the API says, for people or as JSON. */
import type { Explanation, NodeDetail, NodeSummary, TimelineEntry } from 'cdk8s-baremetal-runtime/api/index';
import type { ApiClient } from './api-client.ts';
import { table } from './table.ts';

export interface CommandContext {
  readonly api: ApiClient;
  readonly asJson: boolean;
  readonly print: (text: string) => void;
}

export async function nodeList({ api, asJson, print }: CommandContext): Promise<void> {
  const answer = (await api.get('/v1/nodes')) as { nodes: NodeSummary[] };
  if (asJson) return print(JSON.stringify(answer, undefined, 2));
  if (answer.nodes.length === 0) return print('No machine is enrolled.');
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
        node.reason,
      ]),
    ),
  );
}

export async function nodeShow({ api, asJson, print }: CommandContext, key: string): Promise<void> {
  const node = (await api.get(`/v1/nodes/${encodeURIComponent(key)}`)) as NodeDetail;
  if (asJson) return print(JSON.stringify(node, undefined, 2));
  const { properties: has, installed, lastFailure } = node;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['Name', `${node.name} (number ${node.number}, ${node.uuid})`],
    ['State', `${state(node)} since ${node.since}`],
    ['Why', node.reason],
    ['Step', node.step],
    ['Deadline', node.deadline],
    ['Instance', node.instance],
    ['Hardware', `${has.cpus} CPUs ${has.cpuArch}, ${has.memoryMb} MiB, ${has.localGb} GiB`],
    ['MAC', node.macs.join(', ')],
    ['Address', node.address],
    ['BMC', node.bmc],
    [
      'Installed',
      installed &&
        `image ${installed.imageId} at ${installed.at}, SHA-256 ${installed.sha256}${installed.diskSerial === undefined ? '' : `, disk ${installed.diskSerial}`}`,
    ],
    [
      'Last failure',
      lastFailure && `${lastFailure.at} ${lastFailure.reason}${lastFailure.cleanupErrors.map((error) => `; cleanup: ${error}`).join('')}`,
    ],
    ['Maintenance', node.maintenance ? 'yes: nothing changes its power or disks' : undefined],
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

export async function nodeTimeline({ api, asJson, print }: CommandContext, key: string): Promise<void> {
  const answer = (await api.get(`/v1/nodes/${encodeURIComponent(key)}/timeline`)) as { name: string; timeline: TimelineEntry[] };
  if (asJson) return print(JSON.stringify(answer, undefined, 2));
  print(
    table(
      ['AT', 'WHAT', ''],
      answer.timeline.map(({ at, type, detail, count }) => [at, `${type}${count > 1 ? ` (${count} times)` : ''}`, detail ?? '']),
    ),
  );
}

export async function explainMac({ api, asJson, print }: CommandContext, mac: string): Promise<void> {
  const told = (await api.get(`/v1/explain/${encodeURIComponent(mac)}`)) as Explanation;
  if (asJson) return print(JSON.stringify(told, undefined, 2));
  print(
    told.machine === undefined
      ? `${told.mac} belongs to no enrolled machine.`
      : `${told.mac} is ${told.machine}, ${told.state}: ${told.reason}.`,
  );
  print(told.lease === undefined ? 'It holds no lease of ours.' : `It holds the lease of ${told.lease}.`);
  if (told.deadline !== undefined) print(`Its state must end by ${told.deadline}.`);
  print('\nIf it asked now:');
  for (const { request, answer, reasons } of told.answers) {
    print(`  ${request}\n    → ${answer}`);
    for (const reason of reasons) print(`      because ${reason}`);
  }
  if (told.seen.length > 0) print(`\nLast seen:\n${told.seen.map((line) => `  ${line}`).join('\n')}`);
}

function state({ state: name, progress }: NodeSummary): string {
  if (!progress?.totalBytes) return name;
  return `${name} ${Math.round((progress.bytes / progress.totalBytes) * 100)} %`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
