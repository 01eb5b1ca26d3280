/** What happened to one machine, for somebody who watches: both sides' words in one order of time, and where the time went. */
import type { NodeRecord } from 'cdk8s-baremetal-runtime/machine/index';
import type { ServerEvent } from 'cdk8s-baremetal-simulator/server/index';

export interface TimelineInput {
  readonly events: readonly ServerEvent[];
  readonly node: Pick<NodeRecord, 'history' | 'timeline' | 'stateSince'>;
}

/** Lines with the seconds since power-on, what the controller decided and saw beside what the machine did. */
export function timelineLines({ events, node }: TimelineInput): string[] {
  const start = powerOnAt(events) ?? node.stateSince;
  const entries = [
    ...events.map(({ at, type, detail }) => ({ at, who: 'machine', what: type, detail })),
    ...node.history.map(({ at, from, to, reason }) => ({ at, who: 'bms-core', what: `${from} → ${to}`, detail: reason })),
    ...node.timeline.map(({ at, type, detail, count }) => ({
      at,
      who: 'bms-core',
      what: count > 1 ? `${type} (${count} times)` : type,
      detail,
    })),
  ]
    .filter(({ at }) => at >= start)
    .sort((a, b) => a.at - b.at);
  const width = Math.max(0, ...entries.map(({ what }) => what.length));
  return entries.map(({ at, who, what, detail }) =>
    `${seconds(at - start).padStart(8)}  ${who.padEnd('bms-core'.length)}  ${detail ? `${what.padEnd(width)}  ${detail}` : what}`.trimEnd(),
  );
}

export interface TimeSpent {
  readonly what: string;
  readonly ms: number;
  /** Why this is waiting that a protocol or the hardware prescribes, and no work of ours. */
  readonly waitsFor?: string;
}

/** The way from power-on to ACTIVE in parts that add up. Undefined when the machine did not go it straight. */
export function timeSpent({ events, node }: TimelineInput): TimeSpent[] | undefined {
  const on = powerOnAt(events);
  const [first, second] = boots(events);
  const decided = (from: string, to: string): number | undefined =>
    node.history.findLast((step) => step.from === from && step.to === to)?.at;
  const writing = decided('prepared', 'deploying');
  const written = decided('deploying', 'deploy complete');
  const active = decided('deploy complete', 'active');
  const posted = first?.get('posted to the deploy-helper');
  const told = first?.get('told that it is done');
  const running = second?.get('running');
  const marks = [
    { what: 'self-test', until: first?.get('network boot'), waitsFor: 'the firmware' },
    { what: 'DHCP', until: first?.get('DHCP lease') },
    { what: 'TFTP: loader, configuration, kernel, ramdisk', until: first?.get('deploy ramdisk started') },
    { what: 'the ramdisk exports its disk and posts', until: posted },
    // the POST may come before the controller has seen the power on; never the other way round here
    { what: 'until the next look at the power', until: writing, waitsFor: 'IPMI: the power is looked at once a second' },
    { what: 'iSCSI: writing the image and reading it back', until: written },
    { what: 'letting the ramdisk go', until: told },
    { what: 'self-test after the restart', until: second?.get('network boot'), waitsFor: 'the firmware' },
    { what: 'DHCP and TFTP, to the disk', until: running },
    { what: 'the first boot is noticed', until: active },
  ];
  const parts: TimeSpent[] = [];
  let since = on;
  for (const { what, until, waitsFor } of marks) {
    if (since === undefined || until === undefined) return undefined;
    // two clocks' readings of one instant: the later observer may come first by a hair
    parts.push({ what, ms: Math.max(0, until - since), ...(waitsFor !== undefined && { waitsFor }) });
    since = Math.max(since, until);
  }
  return parts;
}

export function timeSpentLines(parts: readonly TimeSpent[]): string[] {
  const width = Math.max(...parts.map(({ what }) => what.length));
  const total = parts.reduce((sum, { ms }) => sum + ms, 0);
  const waiting = parts.reduce((sum, { ms, waitsFor }) => sum + (waitsFor === undefined ? 0 : ms), 0);
  return [
    ...parts.map(({ what, ms, waitsFor }) =>
      `${seconds(ms).padStart(8)}  ${waitsFor === undefined ? what : `${what.padEnd(width)}  waits for ${waitsFor}`}`.trimEnd(),
    ),
    `${seconds(total).padStart(8)}  from power-on to ACTIVE, of which ${seconds(waiting)} are the protocols' and the firmware's own waiting`,
  ];
}

function powerOnAt(events: readonly ServerEvent[]): number | undefined {
  return events.find(({ type }) => type === 'power on')?.at;
}

/** The first time that each thing happened, boot by boot. */
function boots(events: readonly ServerEvent[]): ReadonlyMap<string, number>[] {
  const found: Map<string, number>[] = [];
  for (const { type, at } of events) {
    if (type === 'power on') found.push(new Map());
    const current = found.at(-1);
    if (current && !current.has(type)) current.set(type, at);
  }
  return found;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}
