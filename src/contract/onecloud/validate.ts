/**
 * Everything that can be wrong with an OnecloudCluster, told at once and with the nearest field where a name is misspelled:
 * the API server prunes unknown fields without a word, so bmctl and the operator ask here.
 */
import type { z } from 'zod';
import { type DataPath, formatPath } from '../data-path.ts';
import { type CodedError, nearest } from '../errors.ts';
import { asObject, asText, type Fields } from '../loose.ts';
import { maskUrlPasswords } from '../mask.ts';
import { catalog } from './catalog.ts';
import { clusterSpecSchema, SETTING_KEYS, settingsSchema } from './cluster-spec.ts';
import { onecloudErrors } from './errors.ts';
import { DEFAULT_NAMESPACE, ONECLOUD_API_VERSION, ONECLOUD_KIND } from './names.ts';

export interface ClusterProblem {
  /** Index into the objects given to `validateClusters`. */
  readonly cluster: number;
  /** From the object's root: ['spec', 'mysql', 'host']. */
  readonly path: DataPath;
  readonly error: CodedError;
  /** A warning is told and changes nothing. */
  readonly severity: 'error' | 'warning';
}

/** A Service's name begins with a letter; a CronJob's has 52 characters at most, of which -cloudmon-report-server takes 23. */
export const CLUSTER_NAME = /^[a-z](?:[-a-z0-9]{0,27}[a-z0-9])?$/;

/** Every problem of one object, as it came from a file or the API. */
export function validateCluster(object: unknown): ClusterProblem[] {
  return validateClusters([object]);
}

/** Every problem of these objects and between them, as they would stand in one Kubernetes. */
export function validateClusters(objects: readonly unknown[]): ClusterProblem[] {
  const problems: ClusterProblem[] = [];
  const nodePorts = new Map<number, string>();
  const names = new Set<string>();
  objects.forEach((object, cluster) => {
    const report: Report = (path, error, severity = 'error') => void problems.push({ cluster, path, error, severity });
    const { apiVersion, kind, metadata, spec } = asObject(object);
    if (apiVersion !== ONECLOUD_API_VERSION || kind !== ONECLOUD_KIND) {
      const found = `${asText(kind) ?? 'an object without kind'} of ${asText(apiVersion) ?? 'no apiVersion'}`;
      report([], onecloudErrors.ONECLOUD_NOT_A_CLUSTER({ found }));
      return;
    }
    const name = checkMetadata(asObject(metadata), names, report);
    if (spec === undefined) {
      report(['spec'], onecloudErrors.ONECLOUD_FIELD_MISSING({ field: 'spec' }));
      return;
    }
    checkSecrets(asObject(spec), report);
    checkSchema(spec, report);
    checkComponents(asObject(spec), report);
    checkNodePorts(asObject(spec), name, nodePorts, report);
    checkTls(asObject(asObject(spec).mysql), report);
  });
  return problems;
}

/** What one spec cannot become: rules that look at what was there before. Specs of any shape. */
export function validateChange(before: unknown, after: unknown): CodedError[] {
  const defaults = { region: settingsSchema.shape.region.parse(undefined), zone: settingsSchema.shape.zone.parse(undefined) };
  return (['region', 'zone'] as const).flatMap((key) => {
    const [from, to] = [before, after].map((spec) => asText(asObject(spec)[key]) ?? defaults[key]);
    return from === undefined || to === undefined || from === to
      ? []
      : [onecloudErrors.ONECLOUD_FIELD_IMMUTABLE({ field: `spec.${key}`, from, to })];
  });
}

type Report = (path: DataPath, error: CodedError, severity?: ClusterProblem['severity']) => void;

function checkMetadata({ name, namespace }: Fields, names: Set<string>, report: Report): string {
  if (typeof name !== 'string' || !CLUSTER_NAME.test(name)) {
    const error =
      name === undefined
        ? onecloudErrors.ONECLOUD_FIELD_MISSING({ field: 'metadata.name' })
        : onecloudErrors.ONECLOUD_NAME_INVALID({ value: JSON.stringify(name) });
    report(['metadata', 'name'], error);
  }
  const full = `${asText(namespace) ?? DEFAULT_NAMESPACE}/${asText(name) ?? '?'}`;
  if (names.has(full)) report(['metadata', 'name'], onecloudErrors.ONECLOUD_DUPLICATE_CLUSTER({ name: full }));
  names.add(full);
  return full;
}

/** Before anything prints a value. */
function checkSecrets({ mysql, keystone }: Fields, report: Report): void {
  const { password, passwordSecretRef } = asObject(mysql);
  if (mysql !== undefined && (password === undefined) === (passwordSecretRef === undefined)) {
    const given = password === undefined ? 'none' : 'both';
    report(['spec', 'mysql'], onecloudErrors.ONECLOUD_PASSWORD_SOURCE({ field: 'spec.mysql', given }));
  }
  const { bootstrapPassword, bootstrapPasswordSecretRef } = asObject(keystone);
  if (bootstrapPassword !== undefined && bootstrapPasswordSecretRef !== undefined) {
    const params = { field: 'spec.keystone', given: 'both', key: 'bootstrapPassword' } as const;
    report(['spec', 'keystone'], onecloudErrors.ONECLOUD_PASSWORD_SOURCE(params));
  }
  const warn = (path: DataPath, instead: string): void =>
    report(path, onecloudErrors.ONECLOUD_SECRET_AS_VALUE({ field: formatPath(path), instead }), 'warning');
  if (password !== undefined) warn(['spec', 'mysql', 'password'], 'spec.mysql.passwordSecretRef');
  if (bootstrapPassword !== undefined) warn(['spec', 'keystone', 'bootstrapPassword'], 'spec.keystone.bootstrapPasswordSecretRef');
}

/** The client compares the certificate's name with the host's; it knows no addresses in certificates. */
function checkTls({ host, tls }: Fields, report: Report): void {
  if (tls === undefined || typeof host !== 'string' || !/^[0-9.]+$|:/.test(host)) return;
  const params = {
    field: 'spec.mysql.host',
    value: JSON.stringify(host),
    rule: 'must be the name that the certificate carries, since tls is asked for',
  };
  report(['spec', 'mysql', 'host'], onecloudErrors.ONECLOUD_FIELD_INVALID(params));
}

function checkSchema(spec: unknown, report: Report): void {
  const parsed = clusterSpecSchema.safeParse(spec);
  if (parsed.success) return;
  for (const issue of parsed.error.issues) reportIssue(spec, issue, report);
}

function reportIssue(spec: unknown, issue: z.core.$ZodIssue, report: Report): void {
  const inner = issue.path.filter((key) => typeof key !== 'symbol');
  const path: DataPath = ['spec', ...inner];
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) report([...path, key], unknownKey(path, key));
    return;
  }
  const value = valueAt(spec, inner);
  const field = formatPath(path);
  if (value === undefined) report(path, onecloudErrors.ONECLOUD_FIELD_MISSING({ field }));
  else report(path, onecloudErrors.ONECLOUD_FIELD_INVALID({ field, value: shown(value, inner), rule: ruleOf(issue) }));
}

function unknownKey(path: DataPath, key: string): CodedError {
  const field = formatPath([...path, key]);
  const known = knownKeys(path.slice(1));
  const near = nearest(key, known);
  const suggestion = near !== undefined && { nearest: near };
  return path.length === 1
    ? onecloudErrors.ONECLOUD_KEY_UNKNOWN({ field, components: known.filter((name) => !SETTING_KEYS.includes(name)), ...suggestion })
    : onecloudErrors.ONECLOUD_FIELD_UNKNOWN({ field, known, ...suggestion });
}

function ruleOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_union') {
    const messages = issue.errors.flatMap((errors) => errors.map(({ message }) => message));
    return messages.find((message) => message.startsWith('must')) ?? `is refused (${issue.message})`;
  }
  return issue.message.startsWith('must') ? issue.message : `is refused (${issue.message})`;
}

/** A password that has the wrong type is still a password. */
function shown(value: unknown, path: DataPath): string {
  return /password|secret/i.test(String(path.at(-1))) ? 'not shown' : maskUrlPasswords(JSON.stringify(value));
}

/** The keys that the schema knows at `path`. */
function knownKeys(path: DataPath): string[] {
  let schema: unknown = clusterSpecSchema;
  for (const key of path) {
    const inner = asObject(unwrap(schema));
    schema = typeof key === 'number' ? inner.element : (asObject(inner.shape)[key] ?? inner.valueType);
  }
  return Object.keys(asObject(asObject(unwrap(schema)).shape));
}

/** Through optional and default wrappers. */
function unwrap(schema: unknown): unknown {
  const { innerType } = asObject(asObject(schema).def);
  return innerType === undefined ? schema : unwrap(innerType);
}

function valueAt(value: unknown, path: DataPath): unknown {
  return path.reduce<unknown>((inner, key) => (Array.isArray(inner) ? inner[Number(key)] : asObject(inner)[key]), value);
}

/** What no field says alone. */
function checkComponents(spec: Fields, report: Report): void {
  for (const { key, kind, single } of catalog) {
    const { replicas, accessMode, updateStrategy } = asObject(spec[key]);
    if (typeof replicas === 'number' && replicas > 1) {
      const path = ['spec', key, 'replicas'];
      if (single !== undefined) report(path, onecloudErrors.ONECLOUD_REPLICAS_SINGLE({ component: key, replicas, reason: single }));
      else if (kind === 'StatefulDeployment' && accessMode !== 'ReadWriteMany')
        report(path, onecloudErrors.ONECLOUD_REPLICAS_SHARE_VOLUME({ component: key, replicas }));
    }
    const { type, maxUnavailable } = asObject(updateStrategy);
    if (type === 'OnDelete' && maxUnavailable !== undefined) {
      const path = ['spec', key, 'updateStrategy'];
      report(path, onecloudErrors.ONECLOUD_UPDATE_STRATEGY({ field: formatPath(path) }));
    }
  }
}

function checkNodePorts(spec: Fields, cluster: string, taken: Map<number, string>, report: Report): void {
  for (const { component, name, port } of nodePortsOf(spec)) {
    const owner = `${cluster} ${component}`;
    const other = taken.get(port);
    if (other === undefined) taken.set(port, owner);
    else report(['spec', component, 'nodePorts', name], onecloudErrors.ONECLOUD_NODE_PORT_TAKEN({ port, owner, other }));
  }
}

export interface ClusterNodePort {
  /** Spec key. */
  readonly component: string;
  readonly name: string;
  readonly port: number;
}

/** The ports that a cluster opens on every node, as a spec of any shape asks for them. */
export function nodePortsOf(spec: unknown): ClusterNodePort[] {
  return catalog.flatMap(({ key, ports = [] }) => {
    const { disable, internalOnly, nodePorts } = asObject(asObject(spec)[key]);
    if (disable === true || internalOnly === true) return [];
    return ports.flatMap(({ name, nodePort }) => {
      const port = asObject(nodePorts)[name] ?? nodePort;
      return typeof port === 'number' ? [{ component: key, name, port }] : [];
    });
  });
}
