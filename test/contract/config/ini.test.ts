import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIni, parseIni, strip, unwritable } from '../../../src/contract/config/ini.ts';

const valuesOf = (text: string) => parseIni(text).assignments.map(({ section, key, value }) => [section, key, value]);

describe('reading', () => {
  const cases: [string, string, string[][]][] = [
    [
      'equals sign or colon, whichever comes first',
      '[a]\nk = v:w\nk : v=w\n',
      [
        ['a', 'k', 'v:w'],
        ['a', 'k', 'v=w'],
      ],
    ],
    ['no blanks needed', '[a]\nk=v', [['a', 'k', 'v']]],
    ['empty value', '[a]\nk =\n', [['a', 'k', '']]],
    ['comments at column 0 only', '[a]\n# k = 1\n; k = 2\nk = v # w ; x\n', [['a', 'k', 'v # w ; x']]],
    ['continuation', '[a]\nk = v\n  w\n\tx\n', [['a', 'k', 'v\nw\nx']]],
    ['an indented comment is a continuation', '[a]\nk = v\n # w\n', [['a', 'k', 'v\n# w']]],
    [
      'a blank line ends a value',
      '[a]\nk = v\n \t\nl = w\n',
      [
        ['a', 'k', 'v'],
        ['a', 'l', 'w'],
      ],
    ],
    [
      'one pair of equal quotes',
      `[a]\nk = " v "\nl = ''v''\nm = "v'\nn = "v" w\n`,
      [
        ['a', 'k', ' v '],
        ['a', 'l', "'v'"],
        ['a', 'm', `"v'`],
        ['a', 'n', '"v" w'],
      ],
    ],
    ['a lone quote vanishes, as in oslo.config', '[a]\nk = "\n', [['a', 'k', '']]],
    [
      'repeated keys and sections, in order',
      '[a]\nk = 1\n[b]\nk = 2\n[a]\nk = 3\n',
      [
        ['a', 'k', '1'],
        ['b', 'k', '2'],
        ['a', 'k', '3'],
      ],
    ],
    [
      'CRLF and CR end lines',
      '[a]\r\nk = 1\rl = 2\r\n',
      [
        ['a', 'k', '1'],
        ['a', 'l', '2'],
      ],
    ],
    ['blanks that only Unicode knows', '[a]\nk =\u00a0\u2003v\u3000\n', [['a', 'k', 'v']]],
    ['a byte order mark is no blank', '[a]\nk = \ufeffv\ufeff\n', [['a', 'k', '\ufeffv\ufeff']]],
    [
      'header names are taken as they are',
      '[ a ]\nk = v\n[[b]]\nk = w\n',
      [
        [' a ', 'k', 'v'],
        ['[b]', 'k', 'w'],
      ],
    ],
    ['names of object members', '[__proto__]\nconstructor = v\n', [['__proto__', 'constructor', 'v']]],
  ];
  it.each(cases)('%s', (_name, text, expected) => {
    expect(parseIni(text).problems).toEqual([]);
    expect(valuesOf(text)).toEqual(expected);
  });

  const faults: [string, string, string, number][] = [
    ['a value before the first section', 'k = v\n[a]\n', 'CONFIG_NO_SECTION', 1],
    ['a line without a sign', '[a]\n\npassword hunter2\n', 'CONFIG_ASSIGNMENT', 3],
    ['no key', '[a]\n= v\n', 'CONFIG_EMPTY_KEY', 2],
    ['continuation of nothing', '[a]\n  v\n', 'CONFIG_CONTINUATION', 2],
    ['continuation of a comment', '[a]\n# c\n  v\n', 'CONFIG_CONTINUATION', 3],
    ['text after a header', '[a] # b\n', 'CONFIG_SECTION_HEADER', 1],
    ['an open header', '[a]\n[b\n', 'CONFIG_SECTION_HEADER', 2],
    ['an empty header', '[]\n', 'CONFIG_SECTION_HEADER', 1],
    ['a byte order mark', '\ufeff[a]\nk = v\n', 'CONFIG_BYTE_ORDER_MARK', 1],
    ['a NUL', '[a]\nk = v\0w\n', 'CONFIG_NUL', 2],
  ];
  it.each(faults)('%s is one fault with its line', (_name, text, code, line) => {
    const { problems } = parseIni(text, 'x.ini');
    expect(problems.map((problem) => problem.code)).toEqual([code]);
    expect(problems[0]?.message).toMatch(new RegExp(`^x\\.ini line ${line}\\b`));
    expect(problems[0]?.message).not.toContain('hunter2');
  });

  it('reports all faults, and none of their after-effects', () => {
    const { problems, assignments } = parseIni('[a\nk = v\n  w\n[b]\noops\n  more\nk = v\n= x\n', 'x.ini');
    expect(problems.map(({ code }) => code)).toEqual(['CONFIG_SECTION_HEADER', 'CONFIG_ASSIGNMENT', 'CONFIG_EMPTY_KEY']);
    expect(assignments).toEqual([{ section: 'b', key: 'k', value: 'v', line: 7 }]);
  });

  it('takes any text without throwing', () => {
    const piece = fc.oneof(
      fc.constantFrom('[', ']', '=', ':', '\n', '\r', ' ', '\t', '"', "'", '#', ';', '\0', '\ufeff', 'k'),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = pieces.join('');
        const { assignments } = parseIni(text);
        const lines = text.split(/\r\n|\r|\n/).length;
        for (const { line, key } of assignments) expect(line <= lines && key !== '').toBe(true);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
    );
  });

  it('reads a long run of blanks in linear time', () => {
    const blanks = ' \u00a0'.repeat(200_000);
    expect(valuesOf(`[a]\nk = v${blanks}w${blanks}\n`)).toEqual([['a', 'k', `v${blanks}w`]]);
  });
});

describe('writing', () => {
  it('puts a blank line after each section and no blank after an empty value', () => {
    const text = formatIni([
      {
        name: 'DEFAULT',
        entries: [
          { key: 'a', value: '1' },
          { key: 'b', value: '' },
        ],
      },
      { name: 'c', entries: [{ key: 'd', value: ' e' }] },
    ]);
    expect(text).toBe('[DEFAULT]\na = 1\nb =\n\n[c]\nd = " e"\n\n');
  });

  it.each([
    ['a;b', 'k = a;b'],
    ['a # b', 'k = a # b'],
    ['"a"', 'k = ""a""'],
    ['"', 'k = """'],
    ["'", `k = "'"`],
    ['"a', 'k = "a'],
    [' ', 'k = " "'],
    ['\u0085', 'k = "\u0085"'],
    ['\ufeff', 'k = \ufeff'],
  ])('writes %j so that it comes back', (value, line) => {
    const text = formatIni([{ name: 's', entries: [{ key: 'k', value }] }]);
    expect(text).toBe(`[s]\n${line}\n\n`);
    expect(valuesOf(text)).toEqual([['s', 'k', value]]);
  });

  it('brings every writable value back', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }).filter((value) => unwritable(value) === undefined)), (values) => {
        const text = formatIni([{ name: 's', entries: values.map((value) => ({ key: 'k', value })) }]);
        expect(parseIni(text).assignments.map(({ value }) => value)).toEqual(values);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([['a\nb'], ['a\rb'], ['a\0b'], ['\ud800']])('has no spelling for %j', (value) => {
    expect(unwritable(value)).toBeDefined();
  });
});

describe('strip', () => {
  it('drops what Python drops', () => {
    // [chr(i) for i in range(0x10000) if chr(i).isspace()] in Python 3.
    const python = [
      9,
      10,
      11,
      12,
      13,
      28,
      29,
      30,
      31,
      32,
      0x85,
      0xa0,
      0x1680,
      ...Array.from({ length: 11 }, (_, i) => 0x2000 + i),
      0x2028,
      0x2029,
      0x202f,
      0x205f,
      0x3000,
    ];
    const ours = Array.from({ length: 0x10000 }, (_, code) => code).filter((code) => strip(String.fromCharCode(code)) === '');
    expect(ours).toEqual(python);
  });
});
