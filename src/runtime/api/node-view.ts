/** A machine as the API shows it: everything but what only the controllers need. Passwords are not on the record at all. */
import type { NodeDetail, NodeSummary, TimelineEntry } from 'cdk8s-baremetal-contract/api/index';
import { isoTime } from '../core/iso-time.ts';
import { type Deployment, deadlineOf, type Fault, isIncomplete, type NodeRecord, type TimelineEvent } from '../machine/index.ts';
import { powerUrlOf } from '../power/index.ts';

export type { NodeDetail, NodeSummary, TimelineEntry };

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
    bmc: isIncomplete(node) ? 'none' : powerUrlOf(node.bmc),
    ...(node.lease && { address: node.lease.address }),
    ...(node.instance && { instance: node.instance.name }),
    maintenance: node.maintenance,
    ...(node.maintenance && node.maintenanceReason !== undefined && { maintenanceReason: node.maintenanceReason }),
    ...(node.fault && { fault: faultView(node.fault) }),
    ...(progress && { progress: progressView(progress) }),
  };
}

function faultView({ kind, reason, since, remedies }: Fault): NonNullable<NodeSummary['fault']> {
  return { kind, reason, since: isoTime(since), remedies: remedies.map(({ remedy, at }) => ({ remedy, at: isoTime(at) })) };
}

function progressView({ at: _, remainingMs, ...progress }: NonNullable<Deployment['progress']>): NonNullable<NodeSummary['progress']> {
  return { ...progress, ...(remainingMs !== undefined && { remainingSeconds: Math.ceil(remainingMs / 1000) }) };
}

export function nodeDetail(node: NodeRecord): NodeDetail {
  const { inspection, installed, instance, lastFailure } = node;
  const deadline = deadlineOf(node);
  return {
    ...nodeSummary(node),
    properties: node.properties,
    ...(deadline !== undefined && { deadline: isoTime(deadline) }),
    ...(node.step !== undefined && { step: node.step }),
    attempts: node.attempts,
    ...(node.owner !== undefined && { owner: node.owner }),
    epoch: node.epoch,
    generation: node.generation,
    ...(instance && { instanceUuid: instance.uuid, imageId: instance.imageId }),
    ...(instance?.flavorId !== undefined && { flavorId: instance.flavorId }),
    ...(node.rootDiskSerial !== undefined && { rootDiskSerial: node.rootDiskSerial }),
    ...(node.power && { power: { state: node.power.state, at: isoTime(node.power.at) } }),
    ...(node.request && { asked: node.request.verb }),
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
    ...(inspection && { inspection: { at: isoTime(inspection.at), differences: inspection.differences, facts: inspection.facts } }),
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
