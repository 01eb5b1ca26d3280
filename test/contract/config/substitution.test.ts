// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the dialect's own placeholders
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeDollars, substitute } from '../../../src/contract/config/substitution.ts';

describe('substitution', () => {
  const resolve = (text: string) => substitute(text, (name) => `<${name}>`);
  it.each([
    ['$a', '<a>'],
    ['${a}b', '<a>b'],
    ['$a.b/c', '<a.b>/c'],
    ['$a.', '<a.>'],
    ['$_A1-', '<_A1>-'],
    ['$$a', '$a'],
    ['$$$a', '$<a>'],
    ['\\$a', '$a'],
    ['\\\\$a', '\\$a'],
    ['\\$$', '$$'],
    ['$', '$'],
    ['$1', '$1'],
    ['${', '${'],
    ['${a', '${a'],
    ['${a-b}', '${a-b}'],
    ['$\u0131x', '<\u0131x>'],
  ])('%s becomes %s', (text, expected) => {
    expect(resolve(text)).toBe(expected);
  });

  it('does not look into what it has put in', () => {
    expect(substitute('$a$a', () => '$a$$')).toBe('$a$$$a$$');
  });

  it('gives every escaped text back', () => {
    const text = fc.array(fc.oneof(fc.constantFrom('$', '\\', '{', 'a', '}'), fc.string())).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (value) => {
        expect(resolve(escapeDollars(value))).toBe(value);
      }),
      { numRuns: 2000 },
    );
  });
});
