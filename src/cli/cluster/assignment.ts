/** `--component glance.image=…`: one field of one component, read as its schema wants it. */
import { nearest } from 'cdk8s-baremetal-contract';
import { asObject, type Fields } from 'cdk8s-baremetal-contract/loose';
import { type ClusterSpec, type Component, catalog, clusterSpecSchema } from 'cdk8s-baremetal-contract/onecloud/index';
import { clusterErrors } from './errors.ts';

export interface Assignment {
  /** From the spec's root: ['glance', 'image']. */
  readonly path: readonly string[];
  /** Absent: the field is cleared, and what it overrode is derived again. */
  readonly value?: unknown;
}

/** @throws CodedError CLUSTER_ASSIGNMENT_MALFORMED, CLUSTER_COMPONENT_UNKNOWN; the rest is for `validateCluster` to say */
export function parseAssignment(text: string): Assignment {
  const match = /^(?<path>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)=(?<value>.*)$/s.exec(text);
  if (!match?.groups) throw clusterErrors.CLUSTER_ASSIGNMENT_MALFORMED({ assignment: withoutValue(text) });
  const [component = '', ...rest] = (match.groups.path ?? '').split('.');
  const path = [findComponent(component).key, ...rest];
  const value = match.groups.value ?? '';
  return value === '' ? { path } : { path, value: readAs(path, value) };
}

/** What --database-backup and --database-backup-class set. `none` takes the whole backup out of the spec. */
export function backupAssignments(size: string | undefined, storageClass: string | undefined): Assignment[] {
  if (size === 'none') return [{ path: ['databaseBackup'] }];
  return [
    ...(size === undefined ? [] : [{ path: ['databaseBackup', 'storage'], value: size }]),
    ...(storageClass === undefined ? [] : [{ path: ['databaseBackup', 'storageClassName'], value: storageClass }]),
  ];
}

/** By its spec key (regionServer) or its name (region). @throws CodedError CLUSTER_COMPONENT_UNKNOWN */
export function findComponent(word: string): Component {
  const found = catalog.find(({ key, name }) => key === word || name === word);
  if (found) return found;
  const known = catalog.map(({ key }) => key);
  const near = nearest(word, [...known, ...catalog.map(({ name }) => name)]);
  throw clusterErrors.CLUSTER_COMPONENT_UNKNOWN({ component: word, known, ...(near !== undefined && { nearest: near }) });
}

/** The spec with the assignments in it. */
export function assigned(spec: ClusterSpec, assignments: readonly Assignment[]): ClusterSpec {
  return assignments.reduce<Fields>(
    (whole, { path, value }) => withValue(whole, path, value),
    spec as unknown as Fields,
  ) as unknown as ClusterSpec;
}

/** The same as a JSON merge patch of the spec (RFC 7396), which keeps the fields of an object that it does not name. */
export function mergePatchOf(spec: ClusterSpec, assignments: readonly Assignment[]): Fields {
  return differences(spec as unknown as Fields, assigned(spec, assignments) as unknown as Fields);
}

function differences(before: Fields, after: Fields): Fields {
  const patch: Record<string, unknown> = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[name], after[name]];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    patch[name] = isObject(was) && isObject(is) ? differences(was, is) : (is ?? null);
  }
  return patch;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withValue(fields: Fields, [first = '', ...rest]: readonly string[], value: unknown): Fields {
  if (rest.length > 0) return { ...fields, [first]: withValue(asObject(fields[first]), rest, value) };
  const { [first]: _, ...others } = fields;
  return value === undefined ? others : { ...fields, [first]: value };
}

/** A tag may look like a number and a count like a word: the schema decides, and prefers text. */
function readAs(path: readonly string[], text: string): unknown {
  const json = asJson(text);
  const accepts = (value: unknown): boolean => {
    const probe = withValue({}, path, value);
    const { error } = clusterSpecSchema.safeParse(probe);
    return !error?.issues.some(
      (issue) => issue.path.join('.').startsWith(path.join('.')) || issue.path.join('.') === path.slice(0, -1).join('.'),
    );
  };
  return json !== undefined && !accepts(text) && accepts(json) ? json : text;
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a word
  }
}

/** What is told of a malformed one: a value could be a password. */
function withoutValue(text: string): string {
  const equals = text.indexOf('=');
  return equals < 0 ? text : `${text.slice(0, equals)}=…`;
}
