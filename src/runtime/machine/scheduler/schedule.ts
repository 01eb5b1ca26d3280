/**
 * Which machine an instance gets: pure. A machine is given whole. Of those that suffice the smallest comes first, in the original's order (memory,
 * CPUs, disk); of equals the one whose failure domain carries the fewest of its group; then the lowest number. Who asks for something that no
 * machine has is told of each machine why not.
 */
import type { FlavorRecord } from '../catalog-records.ts';
import type { NodeRecord } from '../node-record.ts';
import { refuseSpawn } from '../verbs.ts';
import { capabilitiesOf, unmetSpec } from './extra-specs.ts';

export interface ScheduleRequest {
  readonly instanceUuid: string;
  readonly flavor: FlavorRecord;
  /** Only this machine, by UUID or name. */
  readonly node?: string;
  readonly spread?: {
    /** The capability that names a failure domain, e.g. `rack` or `pod`. */
    readonly by: string;
    /** UUIDs of instances that belong together. */
    readonly group: readonly string[];
    /** Two of a group in one domain are worse than a larger machine (`prefer`), or not to be had (`require`). Default: among equals only. */
    readonly mode?: 'among equals' | 'prefer' | 'require';
  };
}

export interface Schedule {
  /** Best first; empty: nothing fits. */
  readonly candidates: readonly NodeRecord[];
  /** In the order of their numbers. */
  readonly refusals: readonly { readonly node: string; readonly reason: string }[];
}

export function schedule(nodes: readonly NodeRecord[], request: ScheduleRequest): Schedule {
  const { spread } = request;
  const used = domainsInUse(nodes, spread);
  const load = (node: NodeRecord): number => used.get(domainOf(node, spread?.by) ?? '') ?? 0;
  const candidates: NodeRecord[] = [];
  const refusals: { node: string; reason: string }[] = [];
  for (const node of nodes.toSorted((a, b) => a.number - b.number)) {
    const reason = refuse(node, request) ?? (spread?.mode === 'require' ? refuseDomain(node, spread.by, load(node)) : undefined);
    if (reason === undefined) candidates.push(node);
    else refusals.push({ node: node.name, reason });
  }
  const size = ({ properties: a }: NodeRecord, { properties: b }: NodeRecord): number =>
    a.memoryMb - b.memoryMb || a.cpus - b.cpus || a.localGb - b.localGb;
  const domain = (a: NodeRecord, b: NodeRecord): number => load(a) - load(b);
  const order = spread?.mode === 'prefer' ? [domain, size] : [size, domain];
  candidates.sort((a, b) => order.map((compare) => compare(a, b)).find((difference) => difference !== 0) ?? a.number - b.number);
  return { candidates, refusals };
}

/** Why this machine cannot take it; undefined when it can. */
function refuse(node: NodeRecord, { instanceUuid, flavor, node: only }: ScheduleRequest): string | undefined {
  if (only !== undefined && node.uuid !== only && node.name !== only) return `another machine was asked for, ${only}`;
  const busy = refuseSpawn(node, instanceUuid);
  if (busy !== undefined) return busy.startsWith(`${node.name} is `) ? busy.slice(node.name.length + 1) : busy;
  const { memoryMb, cpus, localGb, cpuArch } = node.properties;
  if (memoryMb < flavor.memoryMb) return `it has ${memoryMb} MiB of memory, wanted ${flavor.memoryMb}`;
  if (cpus < flavor.cpus) return `it has ${cpus} CPUs, wanted ${flavor.cpus}`;
  const wantedGb = flavor.localGb + (flavor.ephemeralGb ?? 0);
  if (localGb < wantedGb) return `it has ${localGb} GB of disk, wanted ${wantedGb}`;
  if (flavor.cpuArch !== undefined && flavor.cpuArch !== cpuArch) return `its architecture is ${cpuArch}, wanted ${flavor.cpuArch}`;
  return unmetSpec(flavor.extraSpecs ?? {}, capabilitiesOf(node));
}

function refuseDomain(node: NodeRecord, by: string, load: number): string | undefined {
  const domain = domainOf(node, by);
  if (domain === undefined) return `its ${by} is not known, and the group is to be spread over it`;
  return load > 0 ? `the ${by} ${domain} carries ${load} of the group already` : undefined;
}

function domainsInUse(nodes: readonly NodeRecord[], spread: ScheduleRequest['spread']): Map<string, number> {
  const used = new Map<string, number>();
  const group = new Set(spread?.group);
  for (const node of nodes) {
    const domain = domainOf(node, spread?.by);
    if (domain === undefined || node.instance === undefined || !group.has(node.instance.uuid)) continue;
    used.set(domain, (used.get(domain) ?? 0) + 1);
  }
  return used;
}

function domainOf(node: NodeRecord, by: string | undefined): string | undefined {
  return by === undefined ? undefined : capabilitiesOf(node)[by];
}
