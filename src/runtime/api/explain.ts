/** Why a machine gets what it gets: the boot decision for each thing it could ask now, in its own words. */
import { type BootLease, type BootMachine, type BootSettings, dashedMac, decideBoot } from '../boot/index.ts';
import { isoTime } from '../core/iso-time.ts';
import { deadlineOf, type NodeRecord } from '../machine/index.ts';

export interface ExplainInput {
  readonly mac: string;
  readonly node: NodeRecord | undefined;
  readonly machine: BootMachine | undefined;
  /** Why the boot plane does not know what to answer now. */
  readonly problem?: string;
  /** Of the address that the interface was last known at; beside another DHCP server somebody else may answer there by now. */
  readonly lease: BootLease | undefined;
  readonly settings: BootSettings;
  readonly nowMs: number;
  /** What the boot plane saw of the interface, a line each. */
  readonly boot?: readonly string[] | undefined;
}

export interface Explanation {
  readonly mac: string;
  readonly machine?: string;
  readonly state?: string;
  readonly reason?: string;
  readonly deadline?: string;
  readonly lease?: string;
  /** Why nothing can be answered now. */
  readonly problem?: string;
  /** What would be answered now, and why. */
  readonly answers: readonly { readonly request: string; readonly answer: string; readonly reasons: readonly string[] }[];
  /** The last things seen of it, newest last. */
  readonly seen: readonly string[];
  readonly boot?: readonly string[];
}

const SEEN = 8;

export function explain({ mac, node, machine, problem, lease, settings, nowMs, boot }: ExplainInput): Explanation {
  const deadline = node && deadlineOf(node);
  const config = `pxelinux.cfg/01-${dashedMac(mac)}`;
  const from = { address: lease?.address ?? 'unknown', ...(lease && { lease }), nowMs };
  const script = `${dashedMac(mac)}.ipxe`;
  const over = settings.http ? 'http' : 'tftp'; // as iPXE is told by DHCP
  const requests = [
    { name: 'DHCP from its boot ROM (BIOS)', request: { protocol: 'dhcp', mac, client: 'pxe', arch: 0 } },
    { name: 'DHCP from its boot ROM (UEFI x86-64)', request: { protocol: 'dhcp', mac, client: 'pxe', arch: 7 } },
    { name: 'DHCP from UEFI HTTP boot (x86-64)', request: { protocol: 'dhcp', mac, client: 'uefi-http', arch: 16 } },
    { name: 'DHCP from iPXE', request: { protocol: 'dhcp', mac, client: 'ipxe', arch: 0 } },
    { name: `TFTP ${config}`, request: { protocol: 'tftp', path: config, ...from } },
    { name: `TFTP grub/grub.cfg-01-${dashedMac(mac)}`, request: { protocol: 'tftp', path: `grub/grub.cfg-01-${dashedMac(mac)}`, ...from } },
    { name: `${over.toUpperCase()} ${script}`, request: { protocol: over, path: script, ...from } },
  ] as const;
  return {
    mac,
    ...(node && { machine: node.name, state: node.state, reason: node.reason }),
    ...(deadline !== undefined && { deadline: isoTime(deadline) }),
    ...(lease?.mac === mac && { lease: lease.address }),
    ...(problem !== undefined && { problem }),
    answers: (problem === undefined ? requests : []).map(({ name, request }) => {
      const decision = decideBoot(machine, request, settings);
      return { request: name, answer: inWords(decision), reasons: decision.reasons };
    }),
    ...(boot && { boot: [...boot] }),
    seen: (node?.timeline ?? [])
      .slice(-SEEN)
      .map(
        ({ at, type, detail, count }) =>
          `${isoTime(at)} ${type}${detail === undefined ? '' : ` ${detail}`}${count > 1 ? ` (${count} times)` : ''}`,
      ),
  };
}

/** Never the text of a configuration: it may carry the deployment key. */
function inWords(decision: ReturnType<typeof decideBoot>): string {
  switch (decision.kind) {
    case 'loader':
      return `load ${decision.path} over ${decision.over.toUpperCase()}`;
    case 'config':
      return `${/^[aeiou]/.test(decision.format) ? 'an' : 'a'} ${decision.format} configuration${decision.secret ? ' with its deployment key' : ''}`;
    case 'file':
      return `the file ${decision.path}`;
    case 'local':
      return 'no boot file: its own disk';
    case 'refuse':
      return `nothing (${decision.code})`;
  }
}
