/** Our reader and writer against oslo.config itself, many files in one Python process. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defineConfig, option, types } from '../../../src/contract/config/index.ts';

const PYTHON = '/usr/bin/python3';
const available = spawnSync(PYTHON, ['-c', 'import oslo_config.cfg']).status === 0;
if (!available) console.warn(`SKIPPED: comparison with oslo.config needs ${PYTHON} and the Debian package python3-oslo.config`);

const { boolean, choice, dictOf, float, hostAddress, integer, ipAddress, listOf, port, repeated, string, uri } = types;
const help = 'For the comparison.';

const config = defineConfig({
  daemon: 'test',
  file: '/etc/test.conf',
  envPrefix: 'TEST',
  sections: {
    DEFAULT: {
      text: option(string(), { default: 'd', help }),
      plain: option(string(), { help }),
      whole: option(integer(), { help }),
      small: option(integer({ min: -3, max: 12 }), { help }),
      number: option(float(), { help }),
      flag: option(boolean(), { help }),
      word: option(choice(['one', 'two']), { help }),
      list: option(listOf(string()), { help }),
      wholes: option(listOf(integer()), { help }),
      pairs: option(dictOf(string()), { help }),
      many: option(repeated(string()), { help }),
      several: option(repeated(integer()), { help }),
      derived: option(string(), { defaultFrom: '<$text>', help }),
    },
    net: {
      text: option(string(), { help }),
      ip: option(ipAddress(), { help }),
      host: option(hostAddress(), { help }),
      port: option(port(), { help }),
      url: option(uri(), { help }),
      renamed: option(string(), { help, deprecatedNames: ['old', 'older'] }),
    },
  },
});

const options = [
  { group: 'DEFAULT', name: 'text', type: 'string', default: 'd' },
  { group: 'DEFAULT', name: 'plain', type: 'string' },
  { group: 'DEFAULT', name: 'whole', type: 'integer' },
  { group: 'DEFAULT', name: 'small', type: 'integer', min: -3, max: 12 },
  { group: 'DEFAULT', name: 'number', type: 'float' },
  { group: 'DEFAULT', name: 'flag', type: 'boolean' },
  { group: 'DEFAULT', name: 'word', type: 'choice', choices: ['one', 'two'] },
  { group: 'DEFAULT', name: 'list', type: 'list of string' },
  { group: 'DEFAULT', name: 'wholes', type: 'list of integer' },
  { group: 'DEFAULT', name: 'pairs', type: 'dict of string' },
  { group: 'DEFAULT', name: 'many', type: 'multi string' },
  { group: 'DEFAULT', name: 'several', type: 'multi integer' },
  { group: 'DEFAULT', name: 'derived', type: 'string', default: '<$text>' },
  { group: 'net', name: 'text', type: 'string' },
  { group: 'net', name: 'ip', type: 'ip' },
  { group: 'net', name: 'host', type: 'host' },
  { group: 'net', name: 'port', type: 'port' },
  { group: 'net', name: 'url', type: 'uri' },
  { group: 'net', name: 'renamed', type: 'string', deprecated: ['old', 'older'] },
];

type Read = { load?: string; values?: Record<string, unknown> };

/** Files per test. */
const runs = Number(process.env.FUZZ_RUNS ?? 400);
/** Fixed, so that a failure repeats; another one by FUZZ_SEED. */
const SEED = Number(process.env.FUZZ_SEED ?? 20_201_117);
const sampled = <T>(arbitrary: fc.Arbitrary<T>): T[] => fc.sample(arbitrary, { numRuns: runs, seed: SEED });

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: the dialect's own placeholders
const tricky = fc.constantFrom(
  '$',
  '$$',
  '\\',
  '\\$',
  '#',
  ';',
  '"',
  "'",
  ' ',
  '\t',
  '=',
  ':',
  ',',
  '[',
  ']',
  '{',
  '}',
  '%',
  '\u00a0',
  '\u0085',
  '\u2028',
  '\ufeff',
  '\x1c',
  'é',
  '你',
  '🦊',
  'a',
  'text',
  '$text',
  '${text}',
  '$net.text',
  '0',
  '',
);
const anyLine = fc.array(fc.oneof(tricky, fc.string({ maxLength: 4, unit: 'grapheme' })), { maxLength: 7 }).map((parts) =>
  parts
    .join('')
    .replace(/[\0\r\n]/g, '')
    .toWellFormed(),
);
const item = anyLine.filter((text) => text === text.trim() && types.listOf(string()).encode([text, 'x']).ok);

describe.skipIf(!available)('oslo.config', () => {
  it('000-5: reads every value that we write', () => {
    const values = sampled(
      fc.record(
        {
          text: anyLine,
          plain: anyLine,
          whole: fc.maxSafeInteger(),
          small: fc.integer({ min: -3, max: 12 }),
          number: fc.double({ noNaN: true, noDefaultInfinity: true }),
          flag: fc.boolean(),
          word: fc.constantFrom('one' as const, 'two' as const),
          list: fc.array(
            item.filter((text) => text !== ''),
            { maxLength: 4 },
          ),
          wholes: fc.array(fc.integer(), { maxLength: 4 }),
          pairs: fc.dictionary(
            fc.stringMatching(/^[a-z_]{1,8}$/),
            item.filter((text) => types.dictOf(string()).encode({ k: text, x: 'x' }).ok),
            { maxKeys: 3, noNullPrototype: true },
          ),
          many: fc.array(anyLine, { minLength: 1, maxLength: 3 }),
          several: fc.array(fc.integer(), { minLength: 1, maxLength: 3 }),
        },
        { requiredKeys: [] },
      ),
    );
    const texts = values.map((DEFAULT) => config.render({ DEFAULT }));
    for (const [index, answer] of askOslo(texts).entries()) {
      const text = texts[index] ?? '';
      for (const [key, value] of Object.entries(values[index] ?? {})) {
        expect(answer.values?.[`DEFAULT.${key}`], `${key} in ${JSON.stringify(text)}`).toEqual(value);
      }
      expect(ours(text), JSON.stringify(text)).toEqual(answer);
    }
  });

  it('000-5: agrees with us about arbitrary files, right or wrong', () => {
    const key = fc.constantFrom(...options.map(({ name }) => name), 'old', 'older', 'TEXT');
    const raw = fc.oneof(
      anyLine,
      fc.constantFrom(
        '1',
        '-2',
        '+7',
        '007',
        '1_000',
        '13',
        '1e3',
        '.5',
        '5.',
        '1_0.2_5e1',
        'TRUE',
        'off',
        'one',
        'One',
        'a,b, c,,',
        '1, 2',
        '1,x',
        'a:b, c : d',
        'a:b,a:c',
        ':x',
        '$plain',
        '${plain}x',
        '$net.text',
        '\\$x',
        '"',
        '""',
        '"a',
        "'a'",
      ),
      fc.constantFrom(
        '10.0.0.1',
        '010.0.0.1',
        '10.0.0',
        '::1',
        '::ffff:1.2.3.4',
        'fe80::1%eth0',
        '1::2::3',
        'host',
        'host.',
        'h.1',
        '-h',
        'a_b',
        '0',
        '65535',
        '65536',
        'http://h/p',
        'http://h:8x/',
        'http:///p',
        '//h',
        'mysql://u:p@h/db?x=1#y',
        'a://[::1]:1/',
        'x://h /',
      ),
    );
    const separator = fc.constantFrom('=', ' = ', ':', ' : ', '=\t', ' =');
    const line = fc.oneof(
      { weight: 10, arbitrary: fc.tuple(key, separator, raw).map((parts) => parts.join('')) },
      { weight: 2, arbitrary: fc.constantFrom('[DEFAULT]', '[net]', '[NET]', '[default]', '[ net ]') },
      { weight: 2, arbitrary: raw.map((value) => ` ${value}`) },
      { weight: 2, arbitrary: fc.constantFrom('', '   ', '# text = no', '; text = no', '#') },
      { weight: 1, arbitrary: fc.constantFrom('[net', '[]', '[net] # no', 'text', '= x', '\u00a0plain = x', '\ufeff') },
    );
    const texts = sampled(
      fc
        .tuple(fc.array(line, { minLength: 1, maxLength: 8 }), fc.constantFrom('\n', '\n', '\r\n', '\r'))
        .map(([lines, end]) => ['[DEFAULT]', ...lines].join(end)),
    );
    let read = 0;
    for (const [index, answer] of askOslo(texts).entries()) {
      const text = texts[index] ?? '';
      if (compare(text, answer)) read++;
    }
    // Guards the generator: a comparison of broken files only would prove little.
    expect(read).toBeGreaterThan(runs / 5);
  });
});

// biome-ignore-end lint/suspicious/noTemplateCurlyInString: until here

function askOslo(texts: readonly string[]): Read[] {
  const { stdout, stderr, status } = spawnSync(PYTHON, [new URL('fixtures/oslo-read.py', import.meta.url).pathname], {
    input: JSON.stringify({ options, texts }),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Our values in the shape of the script's answer; null where there is none. */
function ours(text: string): Read {
  const values = config.parse(text, { strict: false });
  return { values: flat(values) };
}

function flat(values: Readonly<Record<string, Readonly<Record<string, unknown>>>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([section, table]) => Object.entries(table).map(([key, value]) => [`${section}.${key}`, value ?? null])),
  );
}

/** True when both could read the file. Option by option: the same value, or a problem where oslo.config has one, or one of the refusals that are ours alone. */
function compare(text: string, answer: Read): boolean {
  const shown = JSON.stringify(text);
  const result = config.read(text, { strict: false });
  if (answer.load !== undefined) {
    expect(result.ok, `oslo.config cannot load ${shown}`).toBe(false);
    return false;
  }
  const theirs = answer.values ?? {};
  const wrong = new Map<string, string>();
  for (const { code, message } of result.ok ? [] : result.problems) {
    const [, section, key] = /\[(\w+)\] (\w+)/.exec(message) ?? [];
    expect(section, `${code}: ${message} in ${shown}`).toBeDefined();
    wrong.set(`${section}.${key}`, `${code}: ${message}`);
  }
  for (const [name, value] of Object.entries(theirs)) {
    const problem = wrong.get(name);
    const refused = typeof value === 'object' && value !== null && 'error' in value;
    if (problem === undefined) {
      if (refused && !result.ok) continue; // It may hang on another option, whose problem is ours.
      expect(refused, `${name}: oslo.config refuses what we accept in ${shown}`).toBe(false);
      if (result.ok) expect(flat(result.values)[name], `${name} in ${shown}`).toEqual(value);
    } else if (!refused) {
      expect(isOurRefusal(problem, value), `${name}: ${problem}; oslo.config reads ${JSON.stringify(value)} in ${shown}`).toBe(true);
    }
  }
  return result.ok;
}

/** What we refuse on purpose, each with what oslo.config makes of it; docs/decisions/0001-ini-dialect.md lists the same. */
function isOurRefusal(problem: string, value: unknown): boolean {
  // A line break within one value, list item or pair, from a continuation line.
  if (problem.startsWith('CONFIG_VALUE') && JSON.stringify(value).includes('\\n')) return true;
  // A number without digits, which oslo.config turns into None.
  if (/"(\s|\\n)*"(, .*)? is not a (whole number|number|port)/.test(problem)) return [value].flat().includes(null);
  // Digits of other scripts, which Python's int and float take.
  if (/(?=\P{ASCII})\p{Nd}.* is not a (whole number|number|port)|(?=\P{ASCII})\p{Nd}.*part that is not a whole number/u.test(problem))
    return true;
  // Python's repr of a list within another value.
  return problem.includes('names a list, which has no text of its own');
}
