import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { glob, segmentMatcher } from '../../../src/runtime/launch/glob.ts';
import { Sandbox } from './sandbox.ts';

describe('segmentMatcher', () => {
  const scenarios: [pattern: string, name: string, matches: boolean][] = [
    ['*', 'nova.conf', true],
    ['*', '.hidden', false],
    ['.*', '.hidden', true],
    ['*.conf', 'nova.conf', true],
    ['*.conf', 'nova.conf.bak', false],
    ['n?va', 'nova', true],
    ['n?va', 'nva', false],
    ['[ab].c', 'b.c', true],
    ['[!ab].c', 'b.c', false],
    ['[!ab].c', 'x.c', true],
    ['[a-c]', 'b', true],
    ['[c-a]', 'b', false],
    ['[]]', ']', true],
    ['[', '[', true],
    ['[^a]', '^', true],
    ['[a-]', '-', true],
    ['a.b', 'axb', false],
    ['a+(b)|{c}$', 'a+(b)|{c}$', true],
    ['**', 'x', true],
  ];
  for (const [pattern, name, matches] of scenarios)
    it(`${pattern} ${matches ? 'matches' : 'does not match'} ${name}`, () => expect(segmentMatcher(pattern)(name)).toBe(matches));

  it('any pattern compiles', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (pattern, name) => {
        expect(typeof segmentMatcher(pattern)(name)).toBe('boolean');
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 3000) },
    );
  });
});

describe('glob', () => {
  let box: Sandbox;
  beforeAll(() => {
    box = new Sandbox();
    for (const path of ['/s/a.conf', '/s/b.conf', '/s/c.txt', '/s/.d.conf', '/s/one/x', '/s/two/x', '/s/two/y']) box.write(path, '');
    box.symlink('/nowhere', '/s/dangling');
  });
  afterAll(() => box.remove());

  const scenarios: [pattern: string, found: string[]][] = [
    ['/s/*.conf', ['/s/a.conf', '/s/b.conf']],
    ['/s/*/x', ['/s/one/x', '/s/two/x']],
    ['/s/*/y', ['/s/two/y']],
    ['/s/a.conf', ['/s/a.conf']],
    ['/s/absent', []],
    ['/absent/*', []],
    ['/s/a.conf/*', []],
    ['/s/dang*', ['/s/dangling']],
    ['/s/dangling', ['/s/dangling']],
    ['/s/**', ['/s/a.conf', '/s/b.conf', '/s/c.txt', '/s/dangling', '/s/one', '/s/two']],
  ];
  for (const [pattern, found] of scenarios) it(pattern, () => expect(glob(pattern, box.root)).toEqual(found));
});
