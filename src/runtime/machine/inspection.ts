/** What an inspection found, beside what was enrolled: pure. */
import type { HardwareFacts } from '../deploy/helper/index.ts';
import type { NodeRecord } from './node-record.ts';

const GIB = 1024 ** 3;
/** Firmware and graphics take a share of what is plugged in. */
const MEMORY_TOLERANCE = 0.06;

/** One sentence per difference; empty when the machine is what the record says. */
export function compareFacts(node: NodeRecord, facts: HardwareFacts): string[] {
  const { properties } = node;
  const differences: string[] = [];
  const differs = (what: string, recorded: unknown, found: unknown): void =>
    void differences.push(`${what}: recorded ${recorded}, found ${found}`);
  if (facts.cpus !== undefined && facts.cpus !== properties.cpus) differs('cpus', properties.cpus, facts.cpus);
  if (facts.memoryMb !== undefined && Math.abs(facts.memoryMb - properties.memoryMb) > properties.memoryMb * MEMORY_TOLERANCE) {
    differs('memory in MiB', properties.memoryMb, facts.memoryMb);
  }
  if (facts.cpuArch !== undefined && facts.cpuArch !== properties.cpuArch) differs('architecture', properties.cpuArch, facts.cpuArch);
  const root = rootDisk(node, facts);
  if (node.rootDiskSerial !== undefined && root === undefined) {
    differs(
      'root disk',
      node.rootDiskSerial,
      facts.disks.map(({ name, serial }) => `${name} ${serial ?? 'without a serial number'}`).join(', ') || 'no disk',
    );
  } else if (
    root !== undefined &&
    Math.floor(root.sizeBytes / GIB) < properties.localGb &&
    Math.floor(root.sizeBytes / 1e9) < properties.localGb
  ) {
    differs('disk in GB', properties.localGb, Math.floor(root.sizeBytes / 1e9));
  }
  const found = new Set(facts.interfaces.map(({ mac }) => mac));
  for (const { mac } of node.interfaces) if (!found.has(mac)) differs('interface', mac, 'no such interface');
  const known = new Set(node.interfaces.map(({ mac }) => mac));
  for (const { mac, name, linkUp } of facts.interfaces) {
    if (!known.has(mac) && linkUp === true) differs('interface', 'nothing', `${name} ${mac} with a link`);
  }
  return differences;
}

/** The inspection on record; with `applyFacts` the sizes that were found become the machine's own. Never its interfaces: those are identities. */
export function withFacts(node: NodeRecord, facts: HardwareFacts, differences: string[], at: number): NodeRecord {
  const next = { ...node, inspection: { at, facts, differences }, applyFacts: undefined };
  if (!node.applyFacts) return next;
  const root = rootDisk(node, facts);
  const { cpus, memoryMb, cpuArch } = facts;
  return {
    ...next,
    properties: {
      ...node.properties,
      ...(cpus !== undefined && { cpus }),
      ...(memoryMb !== undefined && memoryMb > 0 && { memoryMb }),
      ...(cpuArch !== undefined && cpuArch !== '' && { cpuArch }),
      ...(root !== undefined && root.sizeBytes >= 1e9 && { localGb: Math.floor(root.sizeBytes / 1e9) }),
    },
  };
}

function rootDisk(node: NodeRecord, facts: HardwareFacts): HardwareFacts['disks'][number] | undefined {
  if (node.rootDiskSerial !== undefined) return facts.disks.find(({ serial }) => serial === node.rootDiskSerial);
  return facts.disks[0];
}
