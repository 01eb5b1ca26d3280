/** Does a manager own what it wants? Answered from fieldsV1 alone, which shows how the server divides each list. */
import type { FieldSet, KubeObject } from './objects.ts';

/** The fields that `manager` owns by server-side apply. */
export function appliedFields({ metadata: { managedFields = [] } }: KubeObject, manager: string): FieldSet | undefined {
  return managedFields.find((entry) => entry.manager === manager && entry.operation === 'Apply' && !entry.subresource)?.fieldsV1;
}

/** What all others own, by apply or update. */
export function foreignFields({ metadata: { managedFields = [] } }: KubeObject, manager: string): readonly FieldSet[] {
  return managedFields
    .filter((entry) => !(entry.manager === manager && entry.operation === 'Apply'))
    .flatMap(({ fieldsV1 }) => (fieldsV1 === undefined ? [] : [fieldsV1]));
}

/**
 * The fields of `value` that `fields` does not contain, as paths of names. The server takes a field away from its owner when
 * somebody else changes or removes it, so an empty answer means that all values are still those that were applied.
 */
export function uncovered(fields: FieldSet | undefined, value: unknown, path: readonly string[] = []): string[][] {
  if (value === undefined || value === null) return [];
  if (typeof value === 'object' && Object.keys(value).length === 0) return []; // servers before 1.22 keep no owner of `emptyDir: {}`
  if (fields === undefined) return [[...path]];
  const members = Object.keys(fields).filter((name) => name !== '.');
  if (members.length === 0) return []; // a scalar, or a map or list that counts as one value
  if (Array.isArray(value)) return value.flatMap((element, index) => uncoveredElement(fields, members, element, [...path, String(index)]));
  if (typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, below]) => uncovered(fields[`f:${name}`], below, [...path, name]));
}

/** Members of keyed lists are found by their keys, where a key that the object leaves out has its default (protocol: TCP). */
function uncoveredElement(fields: FieldSet, members: readonly string[], element: unknown, path: readonly string[]): string[][] {
  const member = members.find((name) => {
    if (name.startsWith('v:')) return same(JSON.parse(name.slice(2)), element);
    if (!name.startsWith('k:') || typeof element !== 'object' || element === null) return false;
    const keys = Object.entries(JSON.parse(name.slice(2)) as Record<string, unknown>);
    const own = element as Readonly<Record<string, unknown>>;
    return keys.every(([key, value]) => own[key] === undefined || same(own[key], value)) && keys.some(([key]) => own[key] !== undefined);
  });
  return member === undefined ? [[...path]] : uncovered(fields[member], element, path);
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
