// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the dialect's own placeholders
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { type ConfigOf, defineConfig, option, problemsOf, type ReadOptions, types } from '../../../src/contract/config/index.ts';
import { CodedError } from '../../../src/contract/errors.ts';
import { Secret } from '../../../src/contract/secret.ts';

const { boolean, choice, dictOf, float, integer, listOf, port, repeated, secret, string } = types;
const help = 'H.';

const config = defineConfig({
  daemon: 'testd',
  file: '/etc/testd.ini',
  envPrefix: 'TESTD',
  sections: {
    DEFAULT: {
      server_port: option(port({ min: 1 }), { default: 7081, help }),
      name: option(string(), { help }),
      root: option(string(), { default: '/srv', help }),
      ratio: option(float(), { default: 1, help }),
    },
    pxe: {
      nfs_server_ip: option(string(), { required: true, help: 'the VIP' }),
      images: option(string(), { defaultFrom: '$root/images', help }),
      debug: option(boolean(), { default: false, help, deprecatedNames: ['verbose', { section: 'old', key: 'trace' }] }),
      tags: option(listOf(string()), { default: [], help }),
      hosts: option(repeated(string()), { help }),
      mode: option(choice(['a', 'b']), { default: 'a', help }),
    },
    db: {
      password: option(secret(), { help }),
      passwords: option(listOf(secret()), { help }),
      url: option(string(), { help, env: 'DATABASE_URL' }),
    },
  },
});

const needed = '[pxe]\nnfs_server_ip = 10.0.0.1\n';
const parse = (text: string, options?: ReadOptions) => config.parse(`${needed}${text}`, options);

function failure(action: () => unknown): CodedError {
  try {
    action();
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}
const problems = (text: string, options?: ReadOptions) => problemsOf(failure(() => parse(text, { file: 't.ini', ...options })));

describe('types', () => {
  it('follow from the table', () => {
    type Values = ConfigOf<typeof config>;
    expectTypeOf<Values['DEFAULT']['server_port']>().toEqualTypeOf<number>();
    expectTypeOf<Values['DEFAULT']['name']>().toEqualTypeOf<string | undefined>();
    expectTypeOf<Values['pxe']['nfs_server_ip']>().toEqualTypeOf<string>();
    expectTypeOf<Values['pxe']['images']>().toEqualTypeOf<string>();
    expectTypeOf<Values['pxe']['hosts']>().toEqualTypeOf<readonly string[] | undefined>();
    expectTypeOf<Values['pxe']['mode']>().toEqualTypeOf<'a' | 'b'>();
    expectTypeOf<Values['db']['password']>().toEqualTypeOf<Secret | undefined>();
    // @ts-expect-error no such key
    failure(() => config.render({ pxe: { nsf_server_ip: 'x' } }));
    // @ts-expect-error a default of the wrong type
    option(integer(), { default: 'x', help });
  });
});

describe('where a value comes from', () => {
  it.each([
    ['the default', '', {}, 7081],
    ['the file', '[DEFAULT]\nserver_port = 1\n', {}, 1],
    ['the environment', '', { TESTD_DEFAULT__SERVER_PORT: '2' }, 2],
    ['the environment before the file', '[DEFAULT]\nserver_port = 1\n', { TESTD_DEFAULT__SERVER_PORT: '2' }, 2],
    ['the file when the variable is undefined', '[DEFAULT]\nserver_port = 1\n', { TESTD_DEFAULT__SERVER_PORT: undefined }, 1],
  ])('%s', (_name, text, env, expected) => {
    expect(parse(text, { env }).DEFAULT.server_port).toBe(expected);
  });

  it('the environment wins even over a wrong value in the file', () => {
    expect(parse('[DEFAULT]\nserver_port = x\n', { env: { TESTD_DEFAULT__SERVER_PORT: '2' } }).DEFAULT.server_port).toBe(2);
  });

  it('environment values are literal; repeatable ones have a line per value', () => {
    const values = parse('', {
      env: { DATABASE_URL: '"$x" $$', TESTD_PXE__HOSTS: 'a\nb,c', TESTD_PXE__TAGS: 'x, y', TESTD_DB__PASSWORD: '' },
    });
    expect(values.db.url).toBe('"$x" $$');
    expect(values.pxe).toMatchObject({ hosts: ['a', 'b,c'], tags: ['x', 'y'] });
    expect(values.db.password?.reveal()).toBe('');
  });

  it('references resolve in the own section, then DEFAULT, and across sections', () => {
    const values = parse(
      '[DEFAULT]\nname = $pxe.nfs_server_ip:$server_port $ratio $pxe.debug\n[db]\nurl = ${root}/$$x\n[pxe]\nimages = $mode$name|\n',
    );
    expect(values.DEFAULT.name).toBe('10.0.0.1:7081 1.0 False');
    expect(values.db.url).toBe('/srv/$x');
    expect(values.pxe.images).toBe('a10.0.0.1:7081 1.0 False|');
  });

  it('a deprecated name is read with a warning, and yields to the name itself', () => {
    const old = config.read(`${needed}[old]\ntrace = yes\n`, { file: 't.ini' });
    expect(old).toMatchObject({ ok: true, values: { pxe: { debug: true } } });
    expect(old.warnings).toEqual(['t.ini line 4, [old] trace: write debug in [pxe], of which this is an old or other name']);
    expect(parse('verbose = yes\ndebug = no\n').pxe.debug).toBe(false);
  });

  it('section names ignore case, except DEFAULT', () => {
    expect(parse('[PXE]\nmode = b\n').pxe.mode).toBe('b');
    expect(problems('[default]\n').map(({ cure }) => cure)).toEqual(['Did you mean [DEFAULT]?']);
  });
});

describe('problems', () => {
  const cases: [string, string, ReadOptions, string, string, string][] = [
    ['unknown section', '[pxee]\nx = 1\n', {}, 'CONFIG_UNKNOWN_SECTION', 't.ini line 3, [pxee]', 'Did you mean [pxe]?'],
    ['unknown section like no other', '[zzz]\n', {}, 'CONFIG_UNKNOWN_SECTION', '[zzz]', 'Use one of [DEFAULT] [pxe] [db]'],
    ['unknown key', 'nsf_server_ip = 1\n', {}, 'CONFIG_UNKNOWN_KEY', 't.ini line 3, [pxe] nsf_server_ip', 'Did you mean nfs_server_ip?'],
    ['key of another section', 'server_port = 1\n', {}, 'CONFIG_UNKNOWN_KEY', '[pxe] server_port', 'Move it to section [DEFAULT]'],
    ['key in another case', 'Mode = b\n', {}, 'CONFIG_UNKNOWN_KEY', '[pxe] Mode', 'Did you mean mode?'],
    [
      'wrong type',
      '[DEFAULT]\nserver_port = http\n',
      {},
      'CONFIG_VALUE',
      't.ini line 4, [DEFAULT] server_port: "http" is not',
      'port from 1 to 65535',
    ],
    ['out of range', '[DEFAULT]\nserver_port = 0\n', {}, 'CONFIG_VALUE', '"0" is not a whole number from 1 to 65535', 'port from 1'],
    [
      'wrong environment',
      '',
      { env: { TESTD_DEFAULT__SERVER_PORT: 'x' } },
      'CONFIG_VALUE',
      'environment variable TESTD_DEFAULT__SERVER_PORT, [DEFAULT] server_port: "x"',
      'port',
    ],
    [
      'mistyped environment',
      '',
      { env: { TESTD_PXE__MOED: 'x' } },
      'CONFIG_UNKNOWN_ENV',
      'TESTD_PXE__MOED',
      'Did you mean TESTD_PXE__MODE?',
    ],
    [
      'repeated key',
      '[pxe]\nnfs_server_ip = 10.0.0.2\n',
      {},
      'CONFIG_REPEATED_KEY',
      '[pxe] nfs_server_ip: the option takes one value but is set on lines 2, 4',
      'Keep one',
    ],
    ['unknown reference', 'images = $rot/x\n', {}, 'CONFIG_SUBSTITUTION', '$rot names no option', '$$'],
    ['circular reference', 'images = $images\n', {}, 'CONFIG_SUBSTITUTION', '$images leads back to itself', '$$'],
    ['reference to a secret', 'images = $db.password\n', {}, 'CONFIG_SUBSTITUTION', 'secret', '$$'],
    ['reference to a list', 'images = $tags\n', {}, 'CONFIG_SUBSTITUTION', 'names a list', '$$'],
    [
      'reference to object members',
      'images = $constructor ${__proto__.x}\n',
      {},
      'CONFIG_SUBSTITUTION',
      '$constructor names no option',
      '$$',
    ],
    ['unknown names of object members', 'constructor = x\n', {}, 'CONFIG_UNKNOWN_KEY', '[pxe] constructor', 'Use one of'],
  ];
  it.each(cases)('%s', (_name, text, options, code, message, cure) => {
    const [problem, ...others] = problems(text, options);
    expect(others.map(String)).toEqual([]);
    expect(problem?.code).toBe(code);
    expect(problem?.message).toContain(message);
    expect(problem?.cure).toContain(cure);
  });

  it('a longer circle is told once, and what hangs on a wrong value is not told at all', () => {
    expect(problems('images = $DEFAULT.name\n[DEFAULT]\nname = $pxe.images\n').map(({ code }) => code)).toEqual(['CONFIG_SUBSTITUTION']);
    expect(problems('images = $server_port\n[DEFAULT]\nserver_port = x\n').map(({ code }) => code)).toEqual(['CONFIG_VALUE']);
  });

  it('a required option without value names the variable that can set it', () => {
    const [problem] = problemsOf(failure(() => config.parse('')));
    expect(problem).toMatchObject({ code: 'CONFIG_REQUIRED' });
    expect(problem?.cure).toContain('TESTD_PXE__NFS_SERVER_IP: the VIP');
  });

  it('all are in one error, in its text and one by one', () => {
    const error = failure(() =>
      config.parse('[pxe]\nmode = c\ntags\n[nope]\n[DEFAULT]\nserver_port = -1\n', { file: 't.ini', env: { TESTD_X__Y: '' } }),
    );
    expect(error.code).toBe('CONFIG_INVALID');
    expect(problemsOf(error).map(({ code }) => code)).toEqual([
      'CONFIG_ASSIGNMENT',
      'CONFIG_UNKNOWN_SECTION',
      'CONFIG_UNKNOWN_ENV',
      'CONFIG_VALUE',
      'CONFIG_REQUIRED',
      'CONFIG_VALUE',
    ]);
    for (const problem of problemsOf(error)) expect(error.message).toContain(problem.message);
    expect(error.message).toMatch(/^the configuration of testd in t\.ini has 6 problems: \(1\) /);
  });

  it('without strict, unknown names are warnings and the last of repeated lines wins', () => {
    const result = config.read(`${needed}nfs_server_ip = 10.0.0.2\nnope = 1\n[nope]\n`, { strict: false });
    expect(result).toMatchObject({ ok: true, values: { pxe: { nfs_server_ip: '10.0.0.2' } } });
    expect(result.warnings).toHaveLength(2);
  });

  it('variables of Kubernetes Services and of others are left alone', () => {
    expect(() => parse('', { env: { TESTD_SERVICE_HOST: 'x', TESTD_PORT: 'tcp://x', OTHER__X: '1' } })).not.toThrow();
  });
});

describe('secrets', () => {
  it('are seen neither in errors nor in values', () => {
    const text = '[db]\npassword = hunter2\n  hunter2\npasswords = hunter2,b\nurl hunter2\n';
    const error = failure(() => parse(text, { file: 't.ini' }));
    expect(problemsOf(error).map(({ code }) => code)).toEqual(['CONFIG_ASSIGNMENT', 'CONFIG_VALUE']);
    for (const shown of [String(error), inspect(error, { depth: 9 }), JSON.stringify(error)]) expect(shown).not.toContain('hunter2');
    const values = parse('[db]\npassword = hunter2\npasswords = hunter2,b\n');
    expect(values.db.passwords?.[0]?.reveal()).toBe('hunter2');
    for (const shown of [inspect(values, { depth: 9 }), JSON.stringify(values)]) expect(shown).not.toContain('hunter2');
  });

  it('are not written unless that is asked for', () => {
    const values = { db: { password: new Secret('hunter$2') } };
    const error = failure(() => config.render(values));
    expect(problemsOf(error)).toMatchObject([{ code: 'CONFIG_SECRET_IN_TEXT' }]);
    expect(error.message).toContain('TESTD_DB__PASSWORD');
    expect(error.message).not.toContain('hunter');
    expect(config.render(values, { secrets: 'reveal' })).toBe('[db]\npassword = hunter$$2\n\n');
  });
});

describe('rendering', () => {
  it('writes what is given, in the order of the table', () => {
    const text = config.render({
      pxe: { hosts: ['a', 'b'], nfs_server_ip: '$x', tags: [], debug: true },
      DEFAULT: { ratio: 2, name: undefined },
      db: {},
    });
    expect(text).toBe('[DEFAULT]\nratio = 2.0\n\n[pxe]\nnfs_server_ip = $$x\ndebug = true\ntags =\nhosts = a\nhosts = b\n\n');
  });

  it('refuses unknown names and wrong values, all at once', () => {
    const wrong = JSON.parse(
      '{"pxee": {}, "pxe": {"moed": "a", "mode": "c", "ratio": 1}, "DEFAULT": {"server_port": "7081", "name": "a\\nb"}, "constructor": {}}',
    );
    expect(problemsOf(failure(() => config.render(wrong))).map(({ code }) => code)).toEqual([
      'CONFIG_UNKNOWN_SECTION',
      'CONFIG_UNKNOWN_KEY',
      'CONFIG_UNKNOWN_KEY',
      'CONFIG_UNKNOWN_SECTION',
      'CONFIG_VALUE',
      'CONFIG_VALUE',
      'CONFIG_VALUE',
    ]);
  });

  it('000-5: whatever is written is read back the same, or refused with a code', () => {
    const wide = defineConfig({
      daemon: 'wide',
      file: '/w',
      envPrefix: 'W',
      sections: {
        DEFAULT: {
          text: option(string(), { help }),
          texts: option(listOf(string()), { help }),
          many: option(repeated(string()), { help }),
          pairs: option(dictOf(string()), { help }),
          whole: option(integer(), { help }),
          number: option(float(), { help }),
          flag: option(boolean(), { help }),
        },
        more: { text: option(string(), { help }), secret: option(secret(), { help }) },
      },
    });
    const runs = Number(process.env.FUZZ_RUNS ?? 3000);
    const writable = fc.constantFrom(
      '$',
      '$text',
      '\\',
      '#',
      ';',
      '"',
      "'",
      ' ',
      '\t',
      '=',
      '[',
      ']',
      '\u0085',
      '\ufeff',
      '中',
      '🦊',
      'a',
      'b',
      '',
    );
    const piece = fc.oneof(
      { weight: 40, arbitrary: writable },
      { weight: 10, arbitrary: fc.string({ maxLength: 3 }).map((value) => value.replace(/[,:]/g, '')) },
      { weight: 1, arbitrary: fc.constantFrom(',', ':', '\n', '\r', '\0', '\ud800') },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 5 }) },
    );
    const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''));
    const values = fc.record({
      DEFAULT: fc.record(
        {
          text,
          texts: fc.array(text, { maxLength: 3 }),
          many: fc.array(text, { minLength: 1, maxLength: 3 }),
          pairs: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
          whole: fc.maxSafeInteger(),
          number: fc.double({ noNaN: true, noDefaultInfinity: true }),
          flag: fc.boolean(),
        },
        { requiredKeys: [] },
      ),
      more: fc.record({ text, secret: text.map((value) => new Secret(value)) }, { requiredKeys: [] }),
    });
    let written = 0;
    fc.assert(
      fc.property(values, (given) => {
        let rendered: string;
        try {
          rendered = wide.render(given, { secrets: 'reveal' });
        } catch (error) {
          expect(problemsOf(error).every(({ code }) => code === 'CONFIG_VALUE') && problemsOf(error).length > 0).toBe(true);
          return;
        }
        written++;
        const back = wide.parse(rendered);
        expect(back.more.secret?.reveal()).toBe(given.more.secret?.reveal());
        expect({ ...back.DEFAULT, more: back.more.text }).toEqual({ ...blank, ...given.DEFAULT, more: given.more.text });
      }),
      { numRuns: runs },
    );
    // Guards the generator: refusals alone would prove nothing.
    expect(written).toBeGreaterThan(runs / 5);
  });

  const blank = {
    text: undefined,
    texts: undefined,
    many: undefined,
    pairs: undefined,
    whole: undefined,
    number: undefined,
    flag: undefined,
  };
});

describe('a table that contradicts itself', () => {
  const define = (sections: Parameters<typeof defineConfig>[0]['sections']) => () =>
    defineConfig({ daemon: 'd', file: '/d', envPrefix: 'D', sections });
  const text = option(string(), { help });
  it.each([
    ['two sections that differ in case', define({ a: { k: text }, A: { k: text } })],
    ['a deprecated name that is taken', define({ a: { k: text, l: option(string(), { help, deprecatedNames: ['k'] }) } })],
    ['one variable for two options', define({ a: { k: option(string(), { help, env: 'X' }), l: option(string(), { help, env: 'X' }) } })],
    ['a key that no file could have', define({ a: { 'k = v': text } })],
    ['a default out of range', define({ a: { k: option(integer({ max: 1 }), { help, default: 2 }) } })],
    ['a default that is required', define({ a: { k: option(integer(), { help, default: 2, required: true }) } })],
  ])('%s', (_name, action) => {
    expect(failure(action).code).toBe('CONFIG_DEFINITION');
  });
});
