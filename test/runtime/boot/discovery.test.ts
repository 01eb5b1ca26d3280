/** How fast strangers become records, and what is said when it is too fast. */
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { describe, expect, it } from 'vitest';
import type { DhcpProblem } from '../../../src/runtime/boot/dhcp/problems.ts';
import { Strangers } from '../../../src/runtime/boot/dhcp/strangers.ts';
import { Discovery, type DiscoveryOutcome } from '../../../src/runtime/boot/discovery.ts';
import { BootJournal } from '../../../src/runtime/boot/journal.ts';
import { silentLogger } from '../../../src/runtime/core/index.ts';
import { MAC, message } from './dhcp/world.ts';

const heardOn = { name: 'eth0', address: '192.168.50.20' };

function world(perMinute: number, enrol: (mac: string) => Promise<DiscoveryOutcome> = async (node) => ({ outcome: 'enrolled', node })) {
  const clock = new VirtualClock();
  const outcomes: string[] = [];
  const problems: DhcpProblem[] = [];
  const discovery = new Discovery({
    clock,
    logger: silentLogger,
    perMinute,
    enrol: ({ mac }) => enrol(mac),
    onOutcome: (outcome) => outcomes.push(outcome),
    onProblem: (problem) => problems.push(problem),
  });
  let next = 0;
  const flood = async (count: number): Promise<string[]> => {
    outcomes.length = 0;
    for (let index = 0; index < count; index++) discovery.found({ mac: `02:00:00:00:00:${next++}`, interface: 'eth0' });
    await discovery.settled();
    return [...outcomes].sort();
  };
  return { clock, discovery, problems, flood, outcomes };
}

describe('unknown machines, as they are found', () => {
  it('002-5: of a flood so many in a minute become records; the rest is counted and said once a minute, with a cure', async () => {
    const { clock, problems, flood } = world(3);
    expect(await flood(100)).toEqual([...Array(3).fill('enrolled'), ...Array(97).fill('too fast')]);
    expect(problems).toMatchObject([{ kind: 'discovery-limited', subject: 'rate', detail: expect.stringContaining('more than 3') }]);
    await clock.runFor(20_000);
    expect(await flood(5)).toEqual(['enrolled', ...Array(4).fill('too fast')]);
    expect(problems).toHaveLength(1);
    await clock.runFor(120_000); // an hour of quiet would give no more than a minute's worth
    expect(await flood(5)).toEqual([...Array(3).fill('enrolled'), ...Array(2).fill('too fast')]);
    expect(problems).toHaveLength(2);
    const journal = new BootJournal({ clock, leaseOf: () => undefined });
    for (const problem of problems) journal.problem(problem);
    expect(journal.seenProblems).toMatchObject([{ count: 2, cure: expect.stringContaining('discover_limit') }]);
  });

  it('002-5: who came too fast is enrolled when it asks again, within the same minute, too', async () => {
    const { clock, discovery, outcomes } = world(2);
    const strangers = new Strangers(clock, (found) => discovery.found(found));
    const asks = async (index: number): Promise<readonly string[]> => {
      outcomes.length = 0;
      strangers.saw(message('discover', { mac: `02:00:00:00:00:0${index}`, vendor: 'PXEClient' }), `02:00:00:00:00:0${index}`, heardOn);
      await discovery.settled();
      return [...outcomes];
    };
    expect([await asks(1), await asks(2), await asks(3)]).toEqual([['enrolled'], ['enrolled'], ['too fast']]);
    await clock.runFor(32_000); // a boot ROM repeats itself after 4, 8, 16 and 32 s
    expect(await asks(3)).toEqual(['enrolled']);
    expect([await asks(1), await asks(3)]).toEqual([[], []]);
  });

  it('002-5: whose record could not be made since the store was away is enrolled when it asks again', async () => {
    let away = true;
    const { clock, discovery, outcomes } = world(10, async (node) => {
      if (away) throw new Error('the store is away');
      return { outcome: 'enrolled', node };
    });
    const strangers = new Strangers(clock, (found) => discovery.found(found));
    const asks = async (): Promise<void> => {
      strangers.saw(message('discover', { mac: MAC, vendor: 'PXEClient' }), MAC, heardOn);
      await discovery.settled();
      await clock.runFor(4000);
    };
    await asks();
    away = false;
    await asks();
    await asks();
    expect(outcomes).toEqual(['failed', 'enrolled']);
  });

  it('one enrolment is under way at a time, in the order in which they were heard', async () => {
    let running = 0;
    let most = 0;
    const order: string[] = [];
    const { flood } = world(5, async (mac) => {
      most = Math.max(most, ++running);
      order.push(mac);
      await Promise.resolve();
      running--;
      return { outcome: 'enrolled', node: mac };
    });
    await flood(5);
    expect(most).toBe(1);
    expect(order).toEqual(order.toSorted());
  });

  it('a store that fails costs this one only, and a full house is said', async () => {
    const answers: (() => DiscoveryOutcome)[] = [
      () => {
        throw new Error('the store is away');
      },
      () => ({ outcome: 'full', limit: 64 }),
      () => ({ outcome: 'known', node: 'n' }),
    ];
    const { discovery, outcomes, problems } = world(10, async () => answers.shift()?.() ?? { outcome: 'known', node: 'n' });
    for (const mac of ['a', 'b', 'c']) discovery.found({ mac, interface: 'eth0' });
    await discovery.settled();
    expect(outcomes).toEqual(['failed', 'full', 'known']);
    expect(problems).toMatchObject([{ kind: 'discovery-limited', subject: 'number', detail: expect.stringContaining('64 discovered') }]);
  });
});
