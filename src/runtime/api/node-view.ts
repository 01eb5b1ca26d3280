/** A machine as the API shows it: everything but what only the controllers need. Passwords are not on the record at all. */
import { isoTime } from '../core/iso-time.ts';
import type { NodeRecord, TimelineEvent } from '../machine/index.ts';

export interface NodeSummary {
  readonly uuid: string;
  readonly number: number;
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
  readonly macs: readonly string[];
  readonly bmc: string;
  readonly address?: string;
  readonly instance?: string;
  /** Bytes written and to write, while an image is. */
  readonly progress?: { readonly bytes: number; readonly totalBytes?: number };
}

export interface NodeDetail extends NodeSummary {
  readonly properties: NodeRecord['properties'];
  readonly maintenance: boolean;
  readonly deadline?: string;
  readonly step?: string;
  readonly attempts: number;
  readonly owner?: string;
  readonly epoch: number;
  readonly generation: number;
  readonly installed?: { readonly imageId: string; readonly sha256: string; readonly at: string; readonly diskSerial?: string };
  readonly lastFailure?: { readonly reason: string; readonly at: string; readonly cleanupErrors: readonly string[] };
  readonly history: readonly {
    readonly from: string;
    readonly to: string;
    readonly reason: string;
    readonly at: string;
    readonly durationMs: number;
  }[];
}

export interface TimelineEntry {
  readonly at: string;
  readonly type: string;
  readonly detail?: string;
  readonly count: number;
}

export function nodeSummary(node: NodeRecord): NodeSummary {
  const progress = node.state === 'deploying' ? node.deployment?.progress : undefined;
  return {
    uuid: node.uuid,
    number: node.number,
    name: node.name,
    state: node.state,
    reason: node.reason,
    since: isoTime(node.stateSince),
    macs: node.interfaces.map(({ mac }) => mac),
    bmc: `${node.bmc.driver}://${node.bmc.address}${node.bmc.port === undefined ? '' : `:${node.bmc.port}`}`,
    ...(node.lease && { address: node.lease.address }),
    ...(node.instance && { instance: node.instance.name }),
    ...(progress && { progress: { bytes: progress.bytes, ...(progress.totalBytes !== undefined && { totalBytes: progress.totalBytes }) } }),
  };
}

export function nodeDetail(node: NodeRecord): NodeDetail {
  const { installed, lastFailure } = node;
  return {
    ...nodeSummary(node),
    properties: node.properties,
    maintenance: node.maintenance,
    ...(node.stateDeadline !== undefined && { deadline: isoTime(node.stateDeadline) }),
    ...(node.step !== undefined && { step: node.step }),
    attempts: node.attempts,
    ...(node.owner !== undefined && { owner: node.owner }),
    epoch: node.epoch,
    generation: node.generation,
    ...(installed && {
      installed: {
        imageId: installed.imageId,
        sha256: installed.sha256,
        at: isoTime(installed.at),
        ...(installed.disk?.serial !== undefined && { diskSerial: installed.disk.serial }),
      },
    }),
    ...(lastFailure && {
      lastFailure: { reason: lastFailure.reason, at: isoTime(lastFailure.at), cleanupErrors: lastFailure.cleanupErrors },
    }),
    history: node.history.map(({ from, to, reason, at, durationMs }) => ({ from, to, reason, at: isoTime(at), durationMs })),
  };
}

/** What was seen and what was decided, in one order of time. */
export function nodeTimeline(node: NodeRecord): TimelineEntry[] {
  const seen = node.timeline.map(({ at, type, detail, count }: TimelineEvent) => ({
    at,
    type,
    count,
    ...(detail !== undefined && { detail }),
  }));
  const decided = node.history.map(({ at, from, to, reason }) => ({ at, type: `${from} → ${to}`, detail: reason, count: 1 }));
  return [...seen, ...decided].sort((a, b) => a.at - b.at).map(({ at, ...rest }) => ({ at: isoTime(at), ...rest }));
}
