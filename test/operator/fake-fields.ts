/**
 * Field management as the API server does it, on plain JSON: maps are merged field by field, lists are one value. That is what
 * unknown types get from a real server, too.
 */
import type { FieldSet, KubeObject, ManagedFieldsEntry } from '../../src/operator/engine/objects.ts';

type Json = Readonly<Record<string, unknown>>;

/** JSON text of a path, so that sets of paths compare. */
export type Path = string;

/** What nobody manages. */
const UNMANAGED = new Set(['apiVersion', 'kind']);
const UNMANAGED_META = new Set([
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'managedFields',
]);

function isMap(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Every leaf with its value; an empty map is a leaf. */
export function leaves(object: Json, prefix: readonly string[] = []): Map<Path, unknown> {
  const found = new Map<Path, unknown>();
  for (const [name, value] of Object.entries(object)) {
    if (prefix.length === 0 && UNMANAGED.has(name)) continue;
    if (prefix.length === 1 && prefix[0] === 'metadata' && UNMANAGED_META.has(name)) continue;
    if (value === undefined || value === null) continue;
    const path = [...prefix, name];
    if (isMap(value) && Object.keys(value).length > 0) for (const [below, leaf] of leaves(value, path)) found.set(below, leaf);
    else found.set(JSON.stringify(path), value);
  }
  return found;
}

export function same(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isMap(value)) return JSON.stringify(value) ?? 'undefined';
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${key}:${canonical(value[key])}`)
    .join()}}`;
}

export function setAt(object: Record<string, unknown>, path: Path, value: unknown): void {
  const names = JSON.parse(path) as string[];
  const last = names.pop() ?? '';
  let place = object;
  for (const name of names) {
    const next = isMap(place[name]) ? { ...place[name] } : {};
    place[name] = next;
    place = next;
  }
  if (value === undefined) delete place[last];
  else place[last] = value;
}

/** fieldsV1 ↔ paths. */
export function toFields(paths: Iterable<Path>): FieldSet {
  const root: Record<string, unknown> = {};
  for (const path of paths) {
    let place = root;
    for (const name of JSON.parse(path) as string[]) {
      place[`f:${name}`] ??= {};
      place = place[`f:${name}`] as Record<string, unknown>;
    }
  }
  return root as FieldSet;
}

export function fromFields(fields: FieldSet, prefix: readonly string[] = []): Path[] {
  return Object.entries(fields).flatMap(([name, below]) => {
    const path = [...prefix, name.slice(2)];
    return Object.keys(below).length === 0 ? [JSON.stringify(path)] : fromFields(below, path);
  });
}

export function managersOf({ metadata: { managedFields = [] } }: KubeObject): { entry: ManagedFieldsEntry; paths: Set<Path> }[] {
  return managedFields.map((entry) => ({ entry, paths: new Set(fromFields(entry.fieldsV1 ?? {})) }));
}
