/**
 * Brings one object to its desired state by server-side apply, and sends nothing when it is there already.
 *
 * What was applied is remembered on the object: a hash of the desired state, and the sections of it (spec.replicas,
 * spec.template.spec, data …). The hash tells that nothing else is wanted now; the field manager's own fields, which the server
 * takes away when somebody changes them, tell that nothing was changed since. Fields that were never applied are never touched,
 * and never taken from another manager.
 */
import { createHash } from 'node:crypto';
import { FIELD_MANAGER, type KubeApi } from './api.ts';
import { ifFound, isApiError } from './api-error.ts';
import { applyProblem } from './apply-problem.ts';
import { operatorErrors } from './errors.ts';
import { appliedFields, foreignFields, uncovered } from './field-coverage.ts';
import { at, controllerReference, describeObject, type KubeObject, type LiveObject } from './objects.ts';
import type { TypeTable } from './resource-types.ts';

export const applyAnnotation = {
  hash: 'baremetal.bms.io/applied-hash',
  sections: 'baremetal.bms.io/applied-sections',
} as const;

/** The label that marks what belongs to one installation; pruning goes by it. */
export interface Inventory {
  readonly label: string;
  readonly value: string;
}

export interface ApplyObjectOptions {
  readonly api: KubeApi;
  readonly types: TypeTable;
  readonly inventory: Inventory;
  /** Becomes the controller of the object, which then goes when it goes. Absent: the object stays. */
  readonly owner?: LiveObject;
  /** The object as an informer knows it; asked of the API server when absent. `null`: known not to be there. */
  readonly live?: LiveObject | null;
  /** Fields that another manager may take over (an autoscaler: `spec.replicas`), with everything below. */
  readonly yields?: readonly string[];
  /** Take an object over that exists without our label. Default false. */
  readonly adopt?: boolean;
}

export interface Applied {
  readonly outcome: 'created' | 'updated' | 'unchanged';
  readonly object: LiveObject;
}

/**
 * @throws CodedError OPERATOR_OBJECT_NOT_OURS, OPERATOR_FIELD_CONFLICT, OPERATOR_IMMUTABLE_FIELD, OPERATOR_INVALID_OBJECT,
 * OPERATOR_FORBIDDEN, OPERATOR_NAMESPACE_MISSING, OPERATOR_KIND_NOT_SERVED; ApiError for what may pass
 */
export async function applyObject(desired: KubeObject, options: ApplyObjectOptions): Promise<Applied> {
  const { api, types, inventory, owner, adopt = false, yields = [] } = options;
  const type = types(desired);
  try {
    const live = options.live === undefined ? await ifFound(api.get(type, desired.metadata)) : (options.live ?? undefined);
    if (live && !adopt) refuseForeign(live, inventory, owner);
    const wanted = prepare(desired, inventory, owner);
    if (live && isCurrent(live, wanted, yields)) return { outcome: 'unchanged', object: live };
    const object = await apply(wanted, live);
    const outcome =
      live === undefined ? 'created' : object.metadata.resourceVersion === live.metadata.resourceVersion ? 'unchanged' : 'updated';
    return { outcome, object };
  } catch (error) {
    throw applyProblem(error, desired);
  }

  async function apply(wanted: KubeObject, live: LiveObject | undefined): Promise<LiveObject> {
    try {
      return await api.apply(type, wanted);
    } catch (error) {
      const conflicts = isApiError(error, 'conflict') ? error.causes.filter(({ reason }) => reason === 'FieldManagerConflict') : [];
      if (conflicts.length === 0) throw error;
      const yielded = conflicts.flatMap(({ field }) => yields.filter((path) => isBelow(namesOf(field ?? ''), path.split('.'))));
      const disputed = conflicts.filter(({ field }) => !yields.some((path) => isBelow(namesOf(field ?? ''), path.split('.'))));
      const before = live?.metadata.annotations?.[applyAnnotation.sections]?.split(' ') ?? [];
      const foreign = disputed.filter(({ field }) => !before.includes(sectionOf(namesOf(field ?? ''))));
      if (foreign.length > 0) {
        throw operatorErrors.OPERATOR_FIELD_CONFLICT({
          object: describeObject(desired),
          fields: [...new Set(foreign.map(({ field }) => (field ?? '').replace(/^\./, '')))],
          managers: [...new Set(foreign.flatMap(({ message }) => /with "([^"]+)"/.exec(message ?? '')?.[1] ?? []))],
        });
      }
      const rest = yielded.reduce<KubeObject>((object, path) => without(object, path.split('.')), wanted);
      // what is left are sections that were ours at the last apply: somebody edited them
      return await api.apply(type, rest, { force: disputed.length > 0 });
    }
  }
}

/** True when an apply would change nothing. */
function isCurrent(live: LiveObject, wanted: KubeObject, yields: readonly string[]): boolean {
  if (live.metadata.deletionTimestamp !== undefined) return false;
  if (live.metadata.annotations?.[applyAnnotation.hash] !== wanted.metadata.annotations?.[applyAnnotation.hash]) return false;
  if (wanted.kind === 'Secret' && !sameData(live.data, wanted.data)) return false;
  const { apiVersion: _, kind: __, ...content } = wanted;
  const { name: ___, namespace: ____, ...metadata } = wanted.metadata;
  const missing = uncovered(appliedFields(live, FIELD_MANAGER) ?? {}, { ...content, metadata });
  if (appliedFields(live, FIELD_MANAGER) === undefined) return false;
  const others = foreignFields(live, FIELD_MANAGER);
  const taken = (path: readonly string[]): boolean =>
    others.some((fields) => path.reduce<unknown>((place, name) => at(place, `f:${name}`), fields) !== undefined);
  return missing.every((path) => yields.some((prefix) => isBelow(path, prefix.split('.'))) && taken(path));
}

/** The same manifests come at every pass. By the object itself: manifests are never changed once they are made. */
const prepared = new WeakMap<KubeObject, { readonly as: string; readonly wanted: KubeObject }>();

function prepare(desired: KubeObject, inventory: Inventory, owner: LiveObject | undefined): KubeObject {
  const as = `${inventory.label}=${inventory.value} ${owner?.metadata.uid ?? ''}`;
  const known = prepared.get(desired);
  if (known?.as === as) return known.wanted;
  const wanted = mark(desired, inventory, owner);
  prepared.set(desired, { as, wanted });
  return wanted;
}

function mark(desired: KubeObject, { label, value }: Inventory, owner: LiveObject | undefined): KubeObject {
  const { metadata } = desired;
  const marked: KubeObject = {
    ...(withProtocols(desired) as KubeObject),
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, [label]: value },
      ...(owner && { ownerReferences: [controllerReference(owner)] }),
    },
  };
  const annotations = {
    ...metadata.annotations,
    [applyAnnotation.hash]: hashOf(marked),
    [applyAnnotation.sections]: sectionsOf(marked).join(' '),
  };
  return { ...marked, metadata: { ...marked.metadata, annotations } };
}

/**
 * Lists of ports are keyed by number and protocol. Servers before 1.21 refuse to merge an element without the protocol, later ones
 * fill TCP in; saying it means the same to all.
 */
function withProtocols(value: unknown, name?: string): unknown {
  if (Array.isArray(value)) return value.map((element) => (name === 'ports' ? withProtocol(element) : withProtocols(element)));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([field, below]) => [field, withProtocols(below, field)]));
}

function withProtocol(port: unknown): unknown {
  const keyed = typeof port === 'object' && port !== null && ('port' in port || 'containerPort' in port);
  return keyed ? { protocol: 'TCP', ...port } : port;
}

function refuseForeign(live: LiveObject, { label, value }: Inventory, owner: LiveObject | undefined): void {
  const controller = live.metadata.ownerReferences?.find((reference) => reference.controller === true);
  const strange = controller && owner && controller.uid !== owner.metadata.uid;
  const held = live.metadata.labels?.[label];
  const unmarked = held === undefined && controller !== undefined && controller.uid === owner?.metadata.uid; // somebody took its label
  if (unmarked || (held === value && !strange)) return;
  const other = controller ? `${controller.kind} ${controller.name}` : (held ?? 'nobody that this installation knows');
  throw operatorErrors.OPERATOR_OBJECT_NOT_OURS({ object: describeObject(live), owner: other });
}

/** A Secret's values stay out of the hash, which everybody may read who may list objects. */
function hashOf(object: KubeObject): string {
  const content = object.kind === 'Secret' ? { ...object, data: Object.keys((object.data as object | undefined) ?? {}) } : object;
  return createHash('sha256').update(canonical(content)).digest('hex').slice(0, 32);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  fields.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}

/** Depth to which a field is told apart from its neighbours: enough for replicas, selector, strategy and the pod's own spec. */
const SECTION_DEPTH = 3;

function sectionOf(names: readonly string[]): string {
  const depth = names[0] === 'spec' ? SECTION_DEPTH : names[0] === 'metadata' ? 2 : 1;
  return names.slice(0, depth).join('.');
}

function sectionsOf(object: KubeObject): string[] {
  const walk = (value: unknown, names: readonly string[]): string[] => {
    const section = sectionOf(names);
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
    if (!isMap || names.join('.') !== section || names.length >= depthOf(names)) return [section];
    return Object.entries(value).flatMap(([name, below]) => walk(below, [...names, name]));
  };
  const { apiVersion: _, kind: __, ...content } = object;
  return [...new Set(Object.entries(content).flatMap(([name, value]) => walk(value, [name])))]
    .filter((section) => section !== 'metadata.name' && section !== 'metadata.namespace')
    .sort();
}

function depthOf([first]: readonly string[]): number {
  return first === 'spec' ? SECTION_DEPTH : first === 'metadata' ? 2 : 1;
}

/** `.spec.template.spec.containers[name="main"].image` → names. Names in brackets belong to lists, below any section. */
function namesOf(field: string): string[] {
  return field
    .replace(/\[.*$/, '')
    .split('.')
    .filter((name) => name !== '');
}

function isBelow(path: readonly string[], prefix: readonly string[]): boolean {
  return prefix.every((name, index) => path[index] === name);
}

function without<T>(value: T, [name = '', ...below]: readonly string[]): T {
  if (typeof value !== 'object' || value === null || !(name in value)) return value;
  const { [name]: field, ...rest } = value as Record<string, unknown>;
  return (below.length === 0 ? rest : { ...rest, [name]: without(field, below) }) as T;
}

function sameData(a: unknown, b: unknown): boolean {
  return canonical(a ?? {}) === canonical(b ?? {});
}
