/** The table and the pure step from a record and a result to the next record. */
import {
  applyResult,
  backoffMs,
  cleanText,
  defaultSettings,
  diagnose,
  moveTo,
  type NodeRecord,
  type NodeState,
  nodeKind,
  nodeStates,
  states,
  verbs,
} from 'cdk8s-baremetal-runtime/machine/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const T0 = Date.parse('2026-11-21T12:00:00Z');

function record(part: Partial<NodeRecord> = {}): NodeRecord {
  return nodeKind.parse({
    uuid: 'u',
    name: 'bm',
    number: 1,
    interfaces: [{ mac: '02:00:00:00:00:01' }],
    properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: '10.0.0.1', username: 'u', passwordRef: 'p' },
    state: 'building',
    stateSince: T0,
    reason: 'because',
    ...part,
  });
}

describe('the table of states', () => {
  it('has all states of the seed, and leads from each to known ones only', () => {
    const seed = ['initializing', 'building', 'prepared', 'deploying', 'deploy complete', 'deploy failed', 'active', 'deleted', 'error'];
    for (const name of seed) expect(nodeStates).toContain(name);
    expect(Object.keys(states).sort()).toEqual([...nodeStates].sort());
  });

  it.each(nodeStates)('%s: every way out is legal, and the way of a failure exists', (name) => {
    const entry = states[name];
    if (entry.onFailure !== name) expect(entry.next).toContain(entry.onFailure);
    for (const verb of verbs) {
      for (const instance of [undefined, { uuid: 'i', name: 'n', imageId: 'm', vifs: [], volumes: [], at: 0 }]) {
        const answer = entry.onRequest(record({ state: name, instance }), verb);
        if (answer?.kind === 'move') expect(entry.next).toContain(answer.to);
      }
    }
  });

  it.each(nodeStates)('N7: %s has a deadline, or nothing is under way in it', (name) => {
    const entry = states[name];
    if (entry.deadline(defaultSettings) === undefined) expect(entry.rests(record({ state: name }))).toBe(true);
  });

  const instance = { uuid: 'i', name: 'n', imageId: 'm', vifs: [], volumes: [], at: 0 };
  it.each(nodeStates)('%s: where something is to be done, bmctl unstick has an answer, and only there', (name) => {
    const request = { verb: 'power off' as const, at: T0 };
    const variants: Partial<NodeRecord>[] = [
      {},
      { instance },
      { adopt: instance },
      { provide: true },
      { ramdisk: undefined, recover: true },
    ];
    for (const variant of variants) {
      const node = record({ state: name, ...variant });
      if (!states[name].rests(node)) expect(states[name].onRequest(node, 'unstick'), JSON.stringify(variant)).toBeDefined();
      if (name === 'manageable' || name === 'available' || name === 'active')
        expect(states[name].onRequest({ ...node, request }, 'unstick'), JSON.stringify(variant)).toBeDefined();
    }
    if (['manageable', 'available', 'active'].includes(name)) {
      expect(states[name].onRequest(record({ state: name, provide: false }), 'unstick')).toBeUndefined();
    }
  });

  it('every state is reached from enrolled, and from every state the machine can become free again', () => {
    const reach = (from: NodeState): Set<NodeState> => {
      const seen = new Set<NodeState>([from]);
      for (const state of seen) for (const next of states[state].next) seen.add(next);
      return seen;
    };
    expect(reach('enrolled').size).toBe(nodeStates.length);
    for (const name of nodeStates) expect(reach(name)).toContain('available');
  });
});

describe('the step', () => {
  it('a transition records from, to, reason and duration, and sets the deadline of the next state', () => {
    const next = moveTo(record({ step: 'x', attempts: 3, nextAttemptAt: 5 }), 'prepared', 'on', states, defaultSettings, T0 + 5_000);
    expect(next.history).toEqual([{ from: 'building', to: 'prepared', reason: 'on', at: T0 + 5_000, durationMs: 5_000 }]);
    expect(next).toMatchObject({
      state: 'prepared',
      stateDeadline: T0 + 5_000 + 1_800_000,
      attempts: 0,
      step: undefined,
      nextAttemptAt: undefined,
    });
  });

  it('an illegal transition is a fault that is not written down', () => {
    expect(() => moveTo(record({ state: 'active' }), 'deploying', 'x', states, defaultSettings, T0)).toThrow('no way');
  });

  it('the history is bounded', () => {
    let node = record({ state: 'error' });
    for (let i = 0; i < 100; i++) {
      node = moveTo(node, 'initializing', `${i}`, states, defaultSettings, T0 + i);
      node = moveTo(node, 'error', `${i}`, states, defaultSettings, T0 + i);
    }
    expect(node.history).toHaveLength(50);
    expect(node.history.at(-1)?.reason).toBe('99');
  });

  it('retries back off 1, 2, 4 … 60 s and then fail with the last reason', () => {
    expect([1, 2, 3, 4, 7, 100].map((attempts) => backoffMs(attempts, defaultSettings))).toEqual([
      1_000, 2_000, 4_000, 8_000, 60_000, 60_000,
    ]);
    let node = record();
    for (let i = 1; i < 5; i++) {
      node = applyResult(node, { kind: 'retry', reason: 'no' }, states, defaultSettings, T0);
      expect([node.state, node.attempts, node.nextAttemptAt]).toEqual(['building', i, T0 + backoffMs(i, defaultSettings)]);
    }
    node = applyResult(node, { kind: 'retry', reason: 'no' }, states, defaultSettings, T0);
    expect([node.state, node.reason]).toEqual(['error', 'no (5 attempts)']);
  });

  it('whatever a reason contains, it is one printable line of at most 500 characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2_000 }), (text) => {
        const line = cleanText(text);
        return line.length <= 500 && !/[\p{Cc}\u2028\u2029]/u.test(line);
      }),
    );
  });
});

describe('the diagnosis of a missed deadline', () => {
  const event = (at: number, type: string, detail?: string, more: object = {}) => ({ at: T0 + at, type, detail, count: 1, ...more });
  const waiting = (timeline: NodeRecord['timeline']) =>
    record({
      state: 'prepared',
      stateSince: T0 + 60_000,
      timeline,
      history: [{ from: 'building', to: 'prepared', reason: '', at: T0 + 60_000, durationMs: 20_000 }],
    });

  it.each([
    {
      name: 'the last event',
      timeline: [event(62_000, 'DHCP lease'), event(67_000, 'TFTP served', 'deploy_ramdisk')],
      text: 'no POST from the deploy ramdisk for 300 s; last observed: TFTP served deploy_ramdisk at 12:01:07',
    },
    {
      name: 'what came before the bookkeeping of the power-on',
      timeline: [event(50_000, 'DHCP lease')],
      text: 'no POST from the deploy ramdisk for 300 s; last observed: DHCP lease at 12:00:50',
    },
    {
      name: 'nothing of an earlier deployment',
      timeline: [event(10_000, 'TFTP served')],
      text: 'no POST from the deploy ramdisk for 300 s; nothing was observed of the machine',
    },
    {
      name: 'repetitions',
      timeline: [event(61_000, 'DHCP lease', undefined, { count: 9, lastAt: T0 + 90_000 })],
      text: 'no POST from the deploy ramdisk for 300 s; last observed: DHCP lease at 12:01:30 (9 times)',
    },
  ])('names $name', ({ timeline, text }) => {
    expect(diagnose(waiting(timeline), states.prepared.awaited, T0 + 360_000)).toBe(text);
  });

  /** Each state that may not last, as it looks when its deadline has passed at 12:30:00, and what is said of it. */
  const late: Partial<Record<NodeState, { part?: Partial<NodeRecord>; text: string }>> = {
    enrolled: { text: 'no start of the verification for 1740 s; nothing was observed of the machine' },
    verifying: {
      part: { attempts: 3, reason: 'no answer from 10.0.0.1' },
      text: 'no answer from the BMC for 1740 s; nothing was observed of the machine; 3 failed attempts, the last: no answer from 10.0.0.1',
    },
    manageable: { text: 'no way to available for 1740 s; nothing was observed of the machine' },
    inspecting: {
      part: { timeline: [event(90_000, 'TFTP served', 'deploy_ramdisk')] },
      text: 'no facts of the inspection ramdisk for 1740 s; last observed: TFTP served deploy_ramdisk at 12:01:30',
    },
    cleaning: {
      part: { step: 'erase', power: { state: 'on', at: T0 + 80_000 } },
      text: 'no end of the cleaning for 1740 s; nothing was observed of the machine; it is at "erase"; its BMC said on at 12:01:20',
    },
    initializing: { text: 'no answer from the BMC for 1740 s; nothing was observed of the machine' },
    building: {
      part: { step: 'plug vifs', attempts: 1, reason: 'plug vifs: the switch is busy' },
      text:
        'no end of the preparations for 1740 s; nothing was observed of the machine; it is at "plug vifs"; 1 failed attempt, the last: ' +
        'plug vifs: the switch is busy',
    },
    prepared: {
      part: { power: { state: 'on', at: T0 + 70_000 } },
      text: 'no POST from the deploy ramdisk for 1740 s; nothing was observed of the machine; its BMC said on at 12:01:10',
    },
    deploying: {
      part: { timeline: [event(61_000, 'deploy POST accepted', 'from 192.168.50.9')] },
      text: 'no end of the image for 1740 s; last observed: deploy POST accepted from 192.168.50.9 at 12:01:01',
    },
    'deploy complete': {
      part: { timeline: [event(62_000, 'DHCP lease', '192.168.50.9', { count: 4, lastAt: T0 + 600_000 })] },
      text: 'no first boot from disk for 1740 s; last observed: DHCP lease 192.168.50.9 at 12:10:00 (4 times)',
    },
    active: {
      // in use for a month; the verb was begun half an hour before its deadline
      part: { step: 'reboot', stateSince: T0 - 2_592_000_000, stateDeadline: T0 + 1_800_000, timeline: [event(-9_000, 'DHCP lease')] },
      text: 'no end of "reboot" for 1800 s; nothing was observed of the machine',
    },
    rescuing: { text: 'no report of the rescue ramdisk for 1740 s; nothing was observed of the machine' },
    unrescuing: { text: 'no start of the instance for 1740 s; nothing was observed of the machine' },
    adopting: { text: 'no answer from the BMC for 1740 s; nothing was observed of the machine' },
    'deploy failed': {
      // what was decided is no observation
      part: { timeline: [event(60_000, 'deadline missed', 'prepared: …'), event(60_001, 'remedy: soft reset')] },
      text: 'no end of the cleanup for 1740 s; nothing was observed of the machine',
    },
    deleting: {
      part: { cleanup: { errors: ['detach volumes: refused'], gaveUp: false } },
      text: 'no end of the cleanup for 1740 s; nothing was observed of the machine; the cleanup so far: detach volumes: refused',
    },
    deleted: { text: 'no release of the machine for 1740 s; nothing was observed of the machine' },
    error: { text: 'no end of the cleanup for 1740 s; nothing was observed of the machine' },
  };
  const mayPass = nodeStates.filter((state) => state === 'active' || states[state].deadline(defaultSettings) !== undefined);

  it.each(mayPass)('says what is known in %s', (state) => {
    const { part, text } = late[state] ?? { text: 'a state without a case' };
    const node = record({ state, stateSince: T0 + 60_000, stateDeadline: T0 + 1_790_000, ...part });
    expect(diagnose(node, states[state].awaited, T0 + 1_800_000)).toBe(text);
  });

  it('of an image that does not end says how far it is', () => {
    const deployment = {
      id: 'd',
      iqn: 'iqn.2010-10.org.example:d',
      expiresAt: T0,
      generation: 1,
      imageId: 'i',
      image: { boot: 'local' },
      progress: { phase: 'write', bytes: 4_096, totalBytes: 8_192, at: T0 + 120_000 },
    };
    const node = record({ state: 'deploying', stateSince: T0, ...({ deployment } as object) });
    expect(diagnose(node, states.deploying.awaited, T0 + 3_600_000)).toBe(
      'no end of the image for 3600 s; nothing was observed of the machine; 4096 of 8192 bytes written by 12:02:00',
    );
  });
});
