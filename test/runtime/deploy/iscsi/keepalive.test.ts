import type { Clock } from 'cdk8s-baremetal-runtime/core/index';
import { Keepalive } from 'cdk8s-baremetal-runtime/deploy/iscsi/keepalive';
import { describe, expect, it } from 'vitest';

/** A process that is stopped for a while: timers fire late, and all that was due has its turn before anything is read. */
function stoppable() {
  let nowMs = 0;
  const timers: { readonly atMs: number; readonly callback: () => void }[] = [];
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    after: (delayMs, callback) => {
      const timer = { atMs: nowMs + delayMs, callback };
      timers.push(timer);
      return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
    },
  };
  /** Lets the time pass at once, and then fires what has become due by then, and by `moreMs` later. */
  const wakeAfter = (ms: number, moreMs = 0): void => {
    nowMs += ms;
    for (;;) {
      const [due] = timers.filter(({ atMs }) => atMs <= nowMs + moreMs);
      if (!due) return;
      timers.splice(timers.indexOf(due), 1);
      nowMs = Math.max(nowMs, due.atMs);
      due.callback();
    }
  };
  return { clock, wakeAfter };
}

describe('a process that was stopped', () => {
  it('pings, and gives the target its time to answer', () => {
    const { clock, wakeAfter } = stoppable();
    const told: string[] = [];
    new Keepalive({
      clock,
      intervalMs: 5_000,
      timeoutMs: 5_000,
      ping: () => told.push('ping'),
      onSilent: (silentMs) => told.push(`silent for ${silentMs} ms`),
    });
    wakeAfter(60_000, 4_999);
    expect(told).toEqual(['ping']);
    wakeAfter(5_000);
    expect(told).toEqual(['ping', 'silent for 65000 ms']);
  });
});
