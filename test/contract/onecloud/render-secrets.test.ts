import { execFileSync } from 'node:child_process';
import { catalog, configEntries, placeholder, renderSecrets, resolveCluster } from 'cdk8s-baremetal-contract/onecloud/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const secrets = (values: Record<string, string>): Map<string, Secret> =>
  new Map(Object.entries(values).map(([key, value]) => [key, new Secret(value)]));
const render = (text: string, values: Record<string, string>): string | undefined =>
  renderSecrets(text, secrets(values), 'glance.conf').text?.reveal();
const codes = (text: string, values: Record<string, string>): string[] =>
  renderSecrets(text, secrets(values), 'glance.conf').problems.map(String);

const RUNS = Number(process.env.FUZZ_RUNS ?? 2000);
const printable = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\p{Cc}\u2028\u2029]/u.test(text));

describe('004-12: secrets in configurations', () => {
  it('take the place of their placeholders', () => {
    expect(render('a: "@{secret:db-password}"\nb: "x:@{secret:db-password|url}@h"\n', { 'db-password': 'p/w d' })).toBe(
      'a: "p/w d"\nb: "x:p%2Fw%20d@h"\n',
    );
  });

  it('any password comes out of YAML as it went in', () => {
    fc.assert(
      fc.property(printable, (password) => {
        const text = render(`a: "@{secret:p}"\nb: "u:@{secret:p|url}@h"\n`, { p: password });
        const { a, b } = parse(text ?? '');
        expect(a).toBe(password);
        const [user, host] = b.split('@');
        expect(host).toBe('h');
        expect(decodeURIComponent(user.slice(2))).toBe(password);
      }),
      { numRuns: RUNS },
    );
  });

  it.each(['plain', 'a b', '$HOME', '`id`', '$(id)', '"\\\'', '!x', '\\$', '汉字', '%s*?[a]~'])(
    'the shell reads %s as it is',
    (password) => {
      const text = render('export P="@{secret:p|sh}"', { p: password });
      expect(execFileSync('sh', ['-c', `${text}\nprintf %s "$P"`], { encoding: 'utf8' })).toBe(password);
    },
  );

  it('leaves every text without placeholders as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        fc.pre(!text.includes('@{secret:'));
        expect(render(text, {})).toBe(text);
      }),
      { numRuns: RUNS },
    );
  });

  it('never throws and never shows a value', () => {
    const piece = fc.constantFrom('@{secret:', 'k', '|url', '}', '@', '"', '\\', '\n', ' ', '{', "'");
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const { problems, text } = renderSecrets(pieces.join(''), secrets({ k: 'hunter2' }), 'f');
        expect(problems.map((problem) => `${problem} ${problem.stack}`).join()).not.toContain('hunter2');
        expect(text === undefined).toBe(problems.length > 0);
        expect(JSON.stringify({ problems, text })).not.toContain('hunter2');
      }),
      { numRuns: RUNS },
    );
  });

  it('one line break at the end of a secret is not part of it', () => {
    expect(render('a: "@{secret:k}"', { k: 'pw\n' })).toBe('a: "pw"');
    expect(render('a: "@{secret:k}"', { k: 'pw\r\n' })).toBe('a: "pw"');
  });

  it('@@{secret: stands for itself', () => {
    expect(render('a: "@@{secret:k} @{secret:k}"', { k: 'v' })).toBe('a: "@{secret:k} v"');
  });

  it.each([
    [
      'a missing secret',
      'a: "@{secret:db-pasword}"',
      { 'db-password': 'x' },
      'RENDER_SECRET_MISSING: glance.conf:1 wants the secret db-pasword, which is not there. Did you mean db-password?',
    ],
    ['an unknown filter', '\na: "@{secret:k|base64}"', { k: 'x' }, 'RENDER_PLACEHOLDER_MALFORMED: glance.conf:2'],
    ['no quotes', 'a: @{secret:k}', { k: 'x' }, 'RENDER_PLACEHOLDER_UNQUOTED'],
    ['single quotes', "a: '@{secret:k}'", { k: 'x' }, 'RENDER_PLACEHOLDER_UNQUOTED'],
    ['an escaped quote before it', 'a: "b\\"" @{secret:k}', { k: 'x' }, 'RENDER_PLACEHOLDER_UNQUOTED'],
    ['a line break inside', 'a: "@{secret:k}"', { k: 'x\nadmin: yes' }, 'RENDER_SECRET_UNPRINTABLE'],
    ['an empty secret', 'a: "@{secret:k}"', { k: '\n' }, 'RENDER_SECRET_UNPRINTABLE'],
    ['half a surrogate', 'a: "@{secret:k|url}"', { k: '\ud800' }, 'RENDER_SECRET_UNPRINTABLE'],
  ])('refuses %s', (_, text, values, expected) => {
    const found = codes(text, values as Record<string, string>);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(expected);
  });

  it('an unrendered file does not parse by accident', () => {
    expect(() => parse(`admin_password: ${placeholder('k')}`)).toThrow();
  });

  it('004-12: every configuration of the catalog renders to YAML without a placeholder left', () => {
    const cluster = resolveCluster({ mysql: { host: '10.168.26.216', passwordSecretRef: { name: 'm' } } });
    const all = { 'db-password': 'd"b\\', 'service-password': "s'v", 'bootstrap-password': 'b t', 'ipmi-password': 'i#p' };
    const entries = cluster.components.flatMap((component) =>
      configEntries(cluster, { name: 'default', namespace: 'onecloud' }, component).map((entry) => ({ ...entry, row: component.row })),
    );
    expect(entries.length).toBeGreaterThan(catalog.length - 3);
    for (const { text, row } of entries) {
      const rendered = render(text, all);
      expect(rendered).not.toContain('@{');
      if (row.config?.template.format !== 'yaml') continue;
      const options = parse(rendered ?? '');
      if ('admin_password' in options) expect(options.admin_password).toBe("s'v");
      if ('sql_connection' in options)
        expect(options.sql_connection).toMatch(/^mysql\+pymysql:\/\/\w+:d%22b%5C@10\.168\.26\.216:3306\/\w+\?charset=utf8$/);
    }
  });
});
