/**
 * The CRD's rules in CEL and validate.ts say the same. One table is held against the validator, and against the definition itself by the libraries that an
 * API server consists of, where kubernetes-cel has been built (kubernetes-cel/build).
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { formatPath } from 'cdk8s-baremetal-contract/data-path';
import {
  catalog,
  clusterRules,
  componentRules,
  onecloudCluster,
  validateChange,
  validateCluster,
  withoutRules,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CORRECTED } from './seed.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests write objects of every shape
type Loose = any;
type RuleName = keyof typeof clusterRules;

interface Case {
  readonly name: string;
  /** Where the rule stands; [] is the object. */
  readonly path: readonly string[];
  /** Absent: the object is created. */
  readonly before?: unknown;
  readonly after: unknown;
  readonly holds: boolean;
}

const named = (name: string): unknown => ({ metadata: { name } });
const mysql = (more: Record<string, unknown>): unknown => ({ host: 'db.example.net', passwordSecretRef: { name: 'p', key: 'k' }, ...more });

const cases: Readonly<Record<RuleName, readonly Case[]>> = {
  name: [
    { name: 'short', path: [], after: named('default'), holds: true },
    { name: '29 characters', path: [], after: named('a'.repeat(29)), holds: true },
    { name: '30 characters', path: [], after: named('a'.repeat(30)), holds: false },
    { name: 'one letter', path: [], after: named('a'), holds: true },
    { name: 'dashes and digits', path: [], after: named('cloud--2'), holds: true },
    { name: 'a dash last', path: [], after: named('cloud-'), holds: false },
    { name: 'a capital', path: [], after: named('Cloud'), holds: false },
    { name: 'a digit first', path: [], after: named('1st'), holds: false },
    { name: 'a dot', path: [], after: named('a.b'), holds: false },
  ],
  region: [
    { name: 'the same', path: ['spec', 'region'], before: 'region0', after: 'region0', holds: true },
    { name: 'another', path: ['spec', 'region'], before: 'region0', after: 'north', holds: false },
    { name: 'the default, no longer said', path: ['spec', 'region'], before: 'region0', after: undefined, holds: true },
    { name: 'the default, now said', path: ['spec', 'region'], before: undefined, after: 'region0', holds: true },
    { name: 'taken out, which makes it the default', path: ['spec', 'region'], before: 'north', after: undefined, holds: false },
    { name: 'of a new cluster', path: ['spec', 'region'], after: 'north', holds: true },
  ],
  zone: [
    { name: 'the same', path: ['spec', 'zone'], before: 'zone1', after: 'zone1', holds: true },
    { name: 'another', path: ['spec', 'zone'], before: 'zone1', after: 'zone0', holds: false },
    { name: 'taken out, which makes it the default', path: ['spec', 'zone'], before: 'zone1', after: undefined, holds: false },
    { name: 'of a new cluster', path: ['spec', 'zone'], after: 'zone1', holds: true },
  ],
  mysqlPassword: [
    { name: 'a Secret', path: ['spec', 'mysql'], after: mysql({}), holds: true },
    { name: 'a value', path: ['spec', 'mysql'], after: { host: 'db.example.net', password: 'x' }, holds: true },
    { name: 'both', path: ['spec', 'mysql'], after: mysql({ password: 'x' }), holds: false },
    { name: 'neither', path: ['spec', 'mysql'], after: { host: 'db.example.net' }, holds: false },
  ],
  mysqlTls: [
    { name: 'an address without TLS', path: ['spec', 'mysql'], after: mysql({ host: '10.0.0.5' }), holds: true },
    { name: 'a name with TLS', path: ['spec', 'mysql'], after: mysql({ tls: {} }), holds: true },
    { name: 'an address with TLS', path: ['spec', 'mysql'], after: mysql({ host: '10.0.0.5', tls: {} }), holds: false },
    { name: 'an IPv6 address with TLS', path: ['spec', 'mysql'], after: mysql({ host: 'fd77::5', tls: {} }), holds: false },
    { name: 'a name of digits and letters with TLS', path: ['spec', 'mysql'], after: mysql({ host: '10a.example', tls: {} }), holds: true },
  ],
  bootstrapPassword: [
    { name: 'neither', path: ['spec', 'keystone'], after: {}, holds: true },
    { name: 'a value', path: ['spec', 'keystone'], after: { bootstrapPassword: 'x' }, holds: true },
    { name: 'a Secret', path: ['spec', 'keystone'], after: { bootstrapPasswordSecretRef: { name: 'a', key: 'b' } }, holds: true },
    {
      name: 'both',
      path: ['spec', 'keystone'],
      after: { bootstrapPassword: 'x', bootstrapPasswordSecretRef: { name: 'a', key: 'b' } },
      holds: false,
    },
  ],
  updateStrategy: [
    { name: 'OnDelete', path: ['spec', 'hostagent', 'updateStrategy'], after: { type: 'OnDelete' }, holds: true },
    { name: 'rolling', path: ['spec', 'hostagent', 'updateStrategy'], after: { type: 'RollingUpdate', maxUnavailable: 2 }, holds: true },
    { name: 'both', path: ['spec', 'hostagent', 'updateStrategy'], after: { type: 'OnDelete', maxUnavailable: 2 }, holds: false },
  ],
  replicasShareVolume: [
    { name: 'unsaid', path: ['spec', 'glance'], after: {}, holds: true },
    { name: 'none', path: ['spec', 'glance'], after: { replicas: 0 }, holds: true },
    { name: 'one', path: ['spec', 'glance'], after: { replicas: 1, accessMode: 'ReadWriteOnce' }, holds: true },
    { name: 'two', path: ['spec', 'glance'], after: { replicas: 2 }, holds: false },
    { name: 'two of one node', path: ['spec', 'glance'], after: { replicas: 2, accessMode: 'ReadWriteOnce' }, holds: false },
    { name: 'two that share', path: ['spec', 'glance'], after: { replicas: 2, accessMode: 'ReadWriteMany' }, holds: true },
  ],
  replicasSingle: catalog
    .filter((row) => componentRules(row).some(({ rule }) => rule === clusterRules.replicasSingle.rule))
    .flatMap(({ key }) => [
      { name: `one ${key}`, path: ['spec', key], after: { replicas: 1 }, holds: true },
      { name: `two of ${key}`, path: ['spec', key], after: { replicas: 2 }, holds: false },
    ]),
};
const table = Object.entries(cases).flatMap(([rule, list]) => list.map((one) => ({ rule: rule as RuleName, ...one })));

function objectWith(path: readonly string[], value: unknown): Loose {
  const object: Loose = parse(CORRECTED);
  object.spec.mysql = { host: '10.168.26.216', passwordSecretRef: { name: 'mysql-root' } };
  object.spec.keystone = {};
  if (path.length === 0) return { ...object, ...(value as object) };
  const last = path.at(-1) ?? '';
  const parent = path.slice(0, -1).reduce((inner, key) => {
    inner[key] ??= {};
    return inner[key];
  }, object);
  parent[last] = value;
  return object;
}

/** Rule → where in the schema it stands. */
function placesOf(manifest: unknown): Map<string, string[]> {
  const places = new Map<string, string[]>();
  const walk = (node: Loose, path: readonly string[]): void => {
    for (const { rule } of node['x-kubernetes-validations'] ?? []) places.set(rule, [...(places.get(rule) ?? []), path.join('.')]);
    for (const [name, inner] of Object.entries(node.properties ?? {})) walk(inner, [...path, name]);
    if (node.items) walk(node.items, [...path, '[]']);
    if (typeof node.additionalProperties === 'object') walk(node.additionalProperties, [...path, '*']);
  };
  walk((manifest as Loose).spec.versions[0].schema.openAPIV3Schema, []);
  return places;
}

describe('004-1: rules between fields', () => {
  it.each(table)('$rule, $name: the validator says holds = $holds', ({ path, after, holds, ...more }) => {
    const object = objectWith(path, after);
    const errors = validateCluster(object).filter(({ severity }) => severity === 'error');
    const changed = 'before' in more ? validateChange(objectWith(path, more.before).spec, object.spec) : [];
    expect(errors.length + changed.length > 0, [...errors.map(({ error }) => String(error)), ...changed].join('\n')).toBe(!holds);
    for (const problem of errors) expect(formatPath(problem.path)).toContain(path.slice(0, 2).join('.'));
  });

  it('stand in the CRD where the table tries them, and nowhere without a case', () => {
    const places = placesOf(onecloudCluster.manifest());
    expect([...places.keys()].sort()).toEqual([...new Set(Object.values(clusterRules).map(({ rule }) => rule))].sort());
    for (const { rule, path } of table) expect(places.get(clusterRules[rule].rule)).toContain(path.join('.'));
    for (const rule of Object.keys(clusterRules) as RuleName[])
      expect(new Set(cases[rule].map(({ holds }) => holds))).toEqual(new Set([true, false]));
  });

  it('every component that may have one replica alone has its rule', () => {
    const singles = catalog.filter(({ single }) => single !== undefined).map(({ key }) => `spec.${key}`);
    expect(placesOf(onecloudCluster.manifest()).get(clusterRules.replicasSingle.rule)?.sort()).toEqual(singles.sort());
  });

  it('regions and zones that nobody wrote down are the defaults', () => {
    expect(validateChange({}, { region: 'region0', zone: 'zone0' })).toEqual([]);
    expect(validateChange({ region: 'north' }, {}).map(String)).toEqual([
      'ONECLOUD_FIELD_IMMUTABLE: spec.region is north and cannot become region0: services and machines are registered under it. Leave it; another region or zone is another cluster',
    ]);
  });

  it('without them the CRD is the same but for them', () => {
    const bare = withoutRules(onecloudCluster.manifest());
    expect(placesOf(bare).size).toBe(0);
    const strip = (_: string, value: Loose): unknown => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      const { 'x-kubernetes-validations': __, ...rest } = value;
      return rest;
    };
    expect(bare).toEqual(JSON.parse(JSON.stringify(onecloudCluster.manifest(), strip)));
  });
});

const checker = join(process.env.KUBERNETES_CEL_HOME ?? join(homedir(), '.cache/kubernetes-cel'), 'kubernetes-cel');
const unchecked = !existsSync(checker);
if (unchecked)
  console.warn('SKIPPED the rules in CEL: no kubernetes-cel (npm run test:cel builds it from Debian packages, 61 MB, two minutes)');

interface Checked {
  readonly rules: readonly { readonly path: string; readonly transition: boolean; readonly cost: number; readonly error?: string }[];
  readonly total: number;
  readonly refusals: readonly (readonly string[])[];
}

function check(version: string, schema: unknown, changes: readonly { before?: unknown; after: unknown }[] = []): Checked {
  return JSON.parse(execFileSync(checker, { input: JSON.stringify({ version, schema, changes }), encoding: 'utf8' })) as Checked;
}

/** What an API server of that version allows: for one rule as often as it can stand in an object, and for all of a kind. */
const [RULE_COST, KIND_COST] = [10_000_000, 100_000_000];

describe.skipIf(unchecked)('004-1: the same rules by the libraries of an API server', () => {
  const schema = (onecloudCluster.manifest() as Loose).spec.versions[0].schema.openAPIV3Schema;

  it.each(['1.25', '1.28', '1.33'])('as of Kubernetes %s: they compile, and cost a quarter of what they may at most', (version) => {
    const { rules, total } = check(version, schema);
    expect(rules.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(rules).toHaveLength([...placesOf(onecloudCluster.manifest()).values()].flat().length);
    expect(
      rules
        .filter(({ transition }) => transition)
        .map(({ path }) => path)
        .sort(),
    ).toEqual(['spec.region', 'spec.zone']);
    for (const { path, cost } of rules) expect(cost, path).toBeLessThan(path === '' ? RULE_COST / 4 : RULE_COST / 1000); // names have no bound in a schema
    expect(total).toBeLessThan(KIND_COST / 10);
  });

  it.each(table)('$rule, $name: holds = $holds', ({ rule, path, after, holds, ...more }) => {
    const change = { after: objectWith(path, after), ...('before' in more && { before: objectWith(path, more.before) }) };
    expect(check('1.25', schema, [change]).refusals).toEqual([holds ? [] : [`${path.join('.')}: ${clusterRules[rule].message}`]]);
  });

  it('what stood there before there were rules can be corrected', () => {
    const [wrong, right] = [objectWith(['spec', 'glance'], { replicas: 2 }), objectWith(['spec', 'glance'], { replicas: 1 })];
    const { refusals } = check('1.25', schema, [
      { before: wrong, after: right },
      { before: right, after: wrong },
    ]);
    expect(refusals).toEqual([[], [`spec.glance: ${clusterRules.replicasShareVolume.message}`]]);
  });

  it('tells a rule that does not compile, one that is no question, and one that may cost too much', () => {
    const list = { type: 'array', items: { type: 'object', required: ['s'], properties: { s: { type: 'string' } } } };
    const object = (rule: string) => ({ type: 'object', properties: { list }, 'x-kubernetes-validations': [{ rule, message: 'no' }] });
    const errorOf = (rule: string): string | undefined => check('1.25', object(rule)).rules[0]?.error;
    expect(errorOf('self.lisst.size() > 0')).toContain("undefined field 'lisst'");
    expect(errorOf('self.list.size()')).toContain('must be a bool');
    expect(errorOf('self.list.all(a, self.list.exists_one(b, b.s == a.s))')).toContain('may cost');
    expect(errorOf('quantity("1Gi").isGreaterThan(quantity("1Mi"))')).toContain('undeclared reference');
    expect(errorOf('self.list.size() > 0')).toBeUndefined();
  });
});
