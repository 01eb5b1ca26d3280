import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../../src/contract/secret.ts';

describe('Secret', () => {
  const secret = new Secret('hunter2');
  const printed: [string, () => string][] = [
    ['a template', () => `${secret}`],
    ['JSON', () => JSON.stringify({ secret, list: [secret] })],
    ['inspect', () => inspect({ secret, list: [secret] }, { depth: 9, showHidden: true })],
    ['spread', () => JSON.stringify({ ...secret })],
    ['keys', () => Reflect.ownKeys(secret).map(String).join()],
    ['a structured clone', () => inspect(structuredClone(secret))],
    ['an error with a cause', () => inspect(new Error('x', { cause: secret }))],
  ];
  it.each(printed)('is not seen in %s', (_name, print) => {
    expect(print()).not.toContain('hunter2');
  });

  it('is shown as *** and revealed on demand', () => {
    expect([String(secret), JSON.stringify(secret), inspect(secret)]).toEqual(['***', '"***"', '***']);
    expect(secret.reveal()).toBe('hunter2');
  });
});
