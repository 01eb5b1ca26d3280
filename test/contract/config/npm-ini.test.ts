/** npm `ini` as one more independent reader, on the part of the dialect where it is exact; docs/decisions/0001-ini-dialect.md. */
import fc from 'fast-check';
import * as ini from 'ini';
import { describe, expect, it } from 'vitest';
import { formatIni, parseIni } from '../../../src/contract/config/ini.ts';

describe('npm ini', () => {
  // Left out: # ; \ (comments and escapes there), quotes (JSON there), true, false, null (typed there), . and [] in names
  // (nesting and arrays there), blanks outside of ASCII (trimmed by another rule).
  const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/).filter((text) => !['constructor', 'true', 'false', 'null'].includes(text));
  const value = fc
    .stringMatching(/^[\w /:.,=@%+*()!?<>{}|~^&$é你-]{0,20}$/u)
    .map((text) => text.trim())
    .filter((text) => !['true', 'false', 'null'].includes(text));

  it('reads the same sections, keys and values', () => {
    fc.assert(
      fc.property(fc.dictionary(name, fc.dictionary(name, value, { minKeys: 1 }), { noNullPrototype: true }), (sections) => {
        const text = formatIni(
          Object.entries(sections).map(([section, table]) => ({
            name: section,
            entries: Object.entries(table).map(([key, each]) => ({ key, value: each })),
          })),
        );
        expect(structuredClone(ini.parse(text))).toEqual(structuredClone(sections));
        const ours: Record<string, Record<string, string>> = {};
        for (const { section, key, value: each } of parseIni(text).assignments) ours[section] = { ...ours[section], [key]: each };
        expect(ours).toEqual(structuredClone(sections));
      }),
      { numRuns: 1000 },
    );
  });

  // The reasons why it is not our reader and writer: when one of these fails, the decision can be looked at again.
  it.each([
    ['cuts at a semicolon', 'p = a;b', 'a', 'a;b'],
    ['cuts at a hash', 'p = a#b', 'a', 'a#b'],
    ['types words', 'p = true', true, 'true'],
    ['keeps the last of repeated lines only', 'p = 1\np = 2', '2', '1'],
    ['takes a continuation for a key', 'p = a\n  b', 'a', 'a\nb'],
  ])('%s, oslo.config does not', (_name, lines, theirs, exact) => {
    expect(ini.parse(`[s]\n${lines}\n`).s.p).toEqual(theirs);
    expect(parseIni(`[s]\n${lines}\n`).assignments[0]?.value).toBe(exact);
  });

  it('writes a semicolon with a backslash, which oslo.config would read as part of a password', () => {
    expect(ini.stringify({ s: { p: 'a;b' } })).toContain('a\\;b');
    expect(formatIni([{ name: 's', entries: [{ key: 'p', value: 'a;b' }] }])).toContain('p = a;b\n');
  });
});
