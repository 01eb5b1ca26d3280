/** 000-17: which transitions are news, when many happen within one millisecond. */
import { HISTORY_LIMIT, type NodeRecord, type Transition } from 'cdk8s-baremetal-runtime/machine/index';
import { emptyOutbox, withNews } from 'cdk8s-baremetal-runtime/outbox/outbox-record';
import { describe, expect, it } from 'vitest';
import { sampleNode } from '../store/sample-node.ts';

const step = (at: number, index: number): Transition => {
  const [from, to] = index % 2 === 0 ? (['deleted', 'available'] as const) : (['error', 'deleted'] as const);
  return { from, to, reason: `step ${index}`, at, durationMs: 0 };
};
const node = (history: Transition[]): NodeRecord => ({ ...sampleNode(1), history });
const reasons = (record: ReturnType<typeof withNews>): string[] => record?.pending.map(({ notification }) => notification.reason) ?? [];

describe('the cursor of an outbox', () => {
  it('pushed out of the history within its own millisecond: what is left of it is all news', () => {
    const all = Array.from({ length: HISTORY_LIMIT + 2 }, (_, index) => step(1_000, index).reason);
    const first = withNews(emptyOutbox, node([{ ...step(1_000, 0), from: 'adopting' }]), 0, 1_000);
    const later = all.slice(2).map((_, index) => step(1_000, index + 2));
    expect(reasons(withNews({ ...emptyOutbox, cursor: first?.cursor, pending: [] }, node(later), 0, 1_001))).toEqual(all.slice(2));
  });

  it('of a history that is older than the cursor, nothing is, also within one millisecond', () => {
    const [older, newer] = [step(1_000, 1), step(1_000, 2)];
    const told = withNews(emptyOutbox, node([older, newer]), 0, 1_000);
    expect(reasons(told)).toEqual(['step 1', 'step 2']);
    expect(withNews({ ...emptyOutbox, ...told }, node([older]), 0, 1_001)).toBeUndefined();
  });

  it('among the history, only what follows it is', () => {
    const [one, two] = [step(1_000, 1), step(1_000, 2)];
    const told = withNews(emptyOutbox, node([one]), 0, 1_000);
    expect(reasons(withNews({ ...emptyOutbox, cursor: told?.cursor }, node([one, two]), 0, 1_001))).toEqual(['step 2']);
  });
});

describe('the task of a notification', () => {
  it('is that of the instance which ended, also when the next one has begun by the time that its end is looked at', () => {
    const way = (...states: NodeRecord['state'][]): Transition[] =>
      states.slice(1).map((to, index) => ({ from: states[index] ?? to, to, reason: to, at: index, durationMs: 0 }));
    const carrying = (uuid: string, history: Transition[]): NodeRecord => ({
      ...node(history),
      instance: { uuid, name: uuid, imageId: 'i', vifs: [], volumes: [], at: 0 },
    });
    const states: NodeRecord['state'][] = ['available', 'building', 'active'];
    const first = withNews(emptyOutbox, carrying('a', way(...states)), 0, 10);
    const next: NodeRecord['state'][] = ['deleting', 'deleted', 'available', 'building', 'active'];
    const second = withNews({ ...emptyOutbox, ...first, pending: [] }, carrying('b', way(...states, ...next)), 0, 20);
    expect(second?.pending.map(({ notification: { state, instance_uuid: uuid } }) => [state, uuid])).toEqual([
      ['deleted', 'a'],
      ['available', null],
      ['active', 'b'],
    ]);
  });
});
