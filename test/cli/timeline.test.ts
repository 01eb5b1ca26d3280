import type { ServerEvent } from 'cdk8s-baremetal-simulator/server/index';
import { describe, expect, it } from 'vitest';
import { type TimelineInput, timelineLines, timeSpent, timeSpentLines } from '../../src/cli/demo/timeline.ts';

const T0 = 1_000_000;
const events = (...seen: [at: number, type: string][]): ServerEvent[] => seen.map(([at, type]) => ({ server: 'bm', at: T0 + at, type }));
const step = (at: number, from: string, to: string) =>
  ({ at: T0 + at, from, to, reason: '', durationMs: 0 }) as TimelineInput['node']['history'][number];

const STRAIGHT: TimelineInput = {
  events: events(
    [0, 'power on'],
    [300, 'network boot'],
    [305, 'DHCP lease'],
    [310, 'loaded'],
    [350, 'deploy ramdisk started'],
    [355, 'posted to the deploy-helper'],
    [1500, 'told that it is done'],
    [1500, 'reset'],
    [1500, 'power on'],
    [1800, 'network boot'],
    [1805, 'DHCP lease'],
    [1820, 'running'],
  ),
  node: {
    stateSince: T0,
    history: [
      step(-50, 'available', 'building'),
      step(1000, 'building', 'prepared'),
      step(1005, 'prepared', 'deploying'),
      step(1480, 'deploying', 'deploy complete'),
      step(1830, 'deploy complete', 'active'),
    ],
    timeline: [{ at: T0 + 304, type: 'DHCP lease', detail: '127.0.45.73', count: 2 }],
  },
};

describe('where the time went', () => {
  it('adds up to the way from power-on to ACTIVE', () => {
    const parts = timeSpent(STRAIGHT) ?? [];
    expect(parts.map(({ ms }) => ms)).toEqual([300, 5, 45, 5, 650, 475, 20, 300, 20, 10]);
    expect(timeSpentLines(parts).at(-1)).toBe(
      "   1.830  from power-on to ACTIVE, of which 1.250 are the protocols' and the firmware's own waiting",
    );
  });

  it('stays a sum when the controller hears of something before the machine has said so', () => {
    const early = STRAIGHT.events.map((event) => (event.type === 'told that it is done' ? { ...event, at: T0 + 1470 } : event));
    const parts = timeSpent({ ...STRAIGHT, events: early }) ?? [];
    expect(parts.every(({ ms }) => ms >= 0)).toBe(true);
    expect(parts.reduce((sum, { ms }) => sum + ms, 0)).toBe(1830);
  });

  it.each(['deploy ramdisk started', 'running', 'power on'])('says nothing of a machine that never came to "%s"', (missing) => {
    expect(timeSpent({ ...STRAIGHT, events: STRAIGHT.events.filter(({ type }) => type !== missing) })).toBeUndefined();
  });
});

describe('the timeline', () => {
  it('has both sides in order of time, in columns, from power-on on', () => {
    const lines = timelineLines(STRAIGHT);
    expect(lines.slice(0, 4)).toEqual([
      '   0.000  machine   power on',
      '   0.300  machine   network boot',
      '   0.304  bms-core  DHCP lease (2 times)         127.0.45.73',
      '   0.305  machine   DHCP lease',
    ]);
    expect(lines.join()).not.toContain('available → building');
    expect(lines).toHaveLength(12 + 4 + 1);
  });

  it('of a machine that was never powered on begins with its state', () => {
    expect(timelineLines({ events: [], node: { ...STRAIGHT.node, history: [step(5, 'available', 'building')], timeline: [] } })).toEqual([
      '   0.005  bms-core  available → building',
    ]);
  });
});
