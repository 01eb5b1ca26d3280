import { inspect } from 'node:util';
import { Secret } from 'cdk8s-baremetal-runtime/power/index';
import { describe, expect, it } from 'vitest';

describe('Secret', () => {
  const secret = new Secret('hunter2!');

  it.each([
    { name: 'string', show: () => String(secret) },
    { name: 'template', show: () => `${secret}` },
    { name: 'JSON', show: () => JSON.stringify({ secret }) },
    { name: 'inspect', show: () => inspect({ nested: { secret } }, { depth: 9, showHidden: true }) },
    { name: 'spread', show: () => JSON.stringify({ ...secret }) },
    { name: 'entries', show: () => JSON.stringify(Object.entries(secret)) },
  ])('does not show in $name', ({ show }) => {
    expect(show()).not.toContain('hunter2');
  });

  it('compares by value', () => {
    expect(secret.equals(new Secret('hunter2!'))).toBe(true);
    expect(secret.equals(new Secret('hunter2'))).toBe(false);
    expect(secret.reveal()).toBe('hunter2!');
  });
});
