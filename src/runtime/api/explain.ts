/** Why a machine gets what it gets: the boot decision for each thing it could ask now, in its own words. */
import { type BootLease, type BootMachine, type BootSettings, dashedMac, decideBoot } from '../boot/index.ts';
import { isoTime } from '../core/iso-time.ts';
import type { NodeRecord } from '../machine/index.ts';

export interface ExplainInput {
  readonly mac: string;
  readonly node: NodeRecord | undefined;
  readonly machine: BootMachine | undefined;
  /** Why the boot plane does not know what to answer now. */
  readonly problem?: string;
  readonly lease: BootLease | undefined;
  readonly settings: BootSettings;
  readonly nowMs: number;
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
}

const SEEN = 8;

export function explain({ mac, node, machine, problem, lease, settings, nowMs }: ExplainInput): Explanation {
  const config = `pxelinux.cfg/01-${dashedMac(mac)}`;
  const requests = [
    { name: 'DHCP from its boot ROM (BIOS)', request: { protocol: 'dhcp', mac, client: 'pxe', arch: 0 } },
    { name: 'DHCP from its boot ROM (UEFI x86-64)', request: { protocol: 'dhcp', mac, client: 'pxe', arch: 7 } },
    {
      name: `TFTP ${config}`,
      request: { protocol: 'tftp', path: config, address: lease?.address ?? 'unknown', ...(lease && { lease }), nowMs },
    },
  ] as const;
  return {
    mac,
    ...(node && { machine: node.name, state: node.state, reason: node.reason }),
    ...(node?.stateDeadline !== undefined && { deadline: isoTime(node.stateDeadline) }),
    ...(lease && { lease: lease.address }),
    ...(problem !== undefined && { problem }),
    answers: (problem === undefined ? requests : []).map(({ name, request }) => {
      const decision = decideBoot(machine, request, settings);
      return { request: name, answer: inWords(decision), reasons: decision.reasons };
    }),
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
      return `a ${decision.format} configuration${decision.secret ? ' with its deployment key' : ''}`;
    case 'file':
      return `the file ${decision.path}`;
    case 'local':
      return 'no boot file: its own disk';
    case 'refuse':
      return `nothing (${decision.code})`;
  }
}
