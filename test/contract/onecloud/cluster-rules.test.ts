/**
 * The CRD's rules in CEL and validate.ts say the same. The table is held against the validator; and against the expressions themselves where a CEL
 * evaluator is there: CEL_EVALUATOR names a module that exports `evaluate(expression, context)`, such as @marcbachmann/cel-js.
 */
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
type Evaluate = (expression: string, context: Record<string, unknown>) => unknown;

interface Case {
  readonly name: string;
  /** Where the rule stands; [] is the object. */
  readonly path: readonly string[];
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
    { name: 'a digit first', path: [], after: named('1st'), holds: false },
    { name: 'a dot', path: [], after: named('a.b'), holds: false },
  ],
  region: [
    { name: 'the same', path: ['spec', 'region'], before: 'region0', after: 'region0', holds: true },
    { name: 'another', path: ['spec', 'region'], before: 'region0', after: 'north', holds: false },
  ],
  zone: [
    { name: 'the same', path: ['spec', 'zone'], before: 'zone1', after: 'zone1', holds: true },
    { name: 'another', path: ['spec', 'zone'], before: 'zone1', after: 'zone0', holds: false },
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
  it.each(table)('$rule, $name: the validator says holds = $holds', ({ path, before, after, holds }) => {
    const object = objectWith(path, after);
    const errors = validateCluster(object).filter(({ severity }) => severity === 'error');
    const changed = before === undefined ? [] : validateChange(objectWith(path, before).spec, object.spec);
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

const evaluator = process.env.CEL_EVALUATOR;
if (evaluator === undefined)
  console.warn('SKIPPED the rules in CEL: no evaluator (set CEL_EVALUATOR to a module such as @marcbachmann/cel-js)');

describe.skipIf(evaluator === undefined)('004-1: the same rules in CEL', () => {
  it.each(table)('$rule, $name: $holds', async ({ rule, before, after, holds }) => {
    const { evaluate } = (await import(/* @vite-ignore */ evaluator ?? '')) as { evaluate: Evaluate };
    const numbers = (_: string, value: unknown): unknown => (typeof value === 'number' ? BigInt(value) : value);
    const of = (value: unknown): unknown => JSON.parse(JSON.stringify(value), numbers);
    const context = { self: of(after), ...(before !== undefined && { oldSelf: of(before) }) };
    expect(evaluate(clusterRules[rule].rule, context)).toBe(holds);
  });
});
