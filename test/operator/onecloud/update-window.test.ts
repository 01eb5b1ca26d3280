import { describe, expect, it } from 'vitest';
import { isOpen, nextOpening } from '../../../src/operator/onecloud/update-window.ts';

const at = (text: string): number => Date.parse(text);
const window = (cron: string, durationMinutes = 60, timeZone = 'UTC') => ({ cron, durationMinutes, timeZone });

describe('004-17: update windows', () => {
  it.each([
    ['daily', window('0 2 * * *'), '2026-01-05T12:00:30Z', '2026-01-06T02:00:00Z'],
    ['later today', window('30 14 * * *'), '2026-01-05T12:00:00Z', '2026-01-05T14:30:00Z'],
    ['never now, when it opens this very minute', window('0 12 * * *'), '2026-01-05T12:00:00Z', '2026-01-06T12:00:00Z'],
    [
      'Saturday in Shanghai is Friday evening in UTC',
      window('0 2 * * sat', 60, 'Asia/Shanghai'),
      '2026-01-05T12:00:00Z',
      '2026-01-09T18:00:00Z',
    ],
    ['a zone with a quarter of an hour', window('0 0 * * *', 60, 'Asia/Kathmandu'), '2026-01-05T12:00:00Z', '2026-01-05T18:15:00Z'],
    ['first of the month or Sunday', window('0 3 1 * 0'), '2026-01-05T12:00:00Z', '2026-01-11T03:00:00Z'],
    ['steps and ranges', window('*/20 8-10/2 * 2 *'), '2026-02-01T08:41:00Z', '2026-02-01T10:00:00Z'],
    ['a macro', window('@monthly'), '2026-01-05T12:00:00Z', '2026-02-01T00:00:00Z'],
    ['leap day', window('0 0 29 feb *'), '2026-01-05T12:00:00Z', '2028-02-29T00:00:00Z'],
    [
      'the hour that summer time skips is not there',
      window('30 2 * * *', 60, 'Europe/Berlin'),
      '2026-03-28T12:00:00Z',
      '2026-03-30T00:30:00Z',
    ],
  ])('%s', (_, given, now, next) => {
    expect(new Date(nextOpening(given, at(now)) ?? 0).toISOString()).toBe(new Date(at(next)).toISOString());
  });

  it('30 February never comes', () => {
    expect(nextOpening(window('0 0 30 2 *'), at('2026-01-05T12:00:00Z'))).toBeUndefined();
  });

  it('is open from its minute on for its duration, also past midnight', () => {
    const night = window('30 23 * * *', 90);
    const open = ['2026-01-05T23:29:59Z', '2026-01-05T23:30:00Z', '2026-01-06T00:59:59Z', '2026-01-06T01:00:00Z'].map((now) =>
      isOpen(night, at(now)),
    );
    expect(open).toEqual([false, true, true, false]);
  });
});
