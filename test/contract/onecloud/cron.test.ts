import { isCron, isTimeZone } from 'cdk8s-baremetal-contract/onecloud/cron';
import { describe, expect, it } from 'vitest';

describe('004-8: cron expressions', () => {
  it.each(['*/5 * * * *', '0 2 * * sat,sun', '0,30 8-18/2 1 jan-mar MON-fri', '@daily', '59 23 31 12 6', '? * * * *'])('%s', (text) =>
    expect(isCron(text)).toBe(true),
  );

  it.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 7', // Kubernetes' parser has no second Sunday
    '*/0 * * * *',
    '5-1 * * * *',
    '1- * * * *',
    '-1 * * * *',
    '1-2-3 * * * *',
    '*/5/5 * * * *',
    ', * * * *',
    'jan * * * *',
    '@sometimes',
  ])('not %j', (text) => expect(isCron(text)).toBe(false));
});

describe('004-17: time zones', () => {
  it.each(['UTC', 'Asia/Shanghai', 'Europe/Berlin'])('%s', (name) => expect(isTimeZone(name)).toBe(true));
  it.each(['', 'Asia/Shangai', 'nowhere'])('not %j', (name) => expect(isTimeZone(name)).toBe(false));
});
