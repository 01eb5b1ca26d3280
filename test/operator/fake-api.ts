/**
 * An API server in memory, for what a real one cannot be told to do: break a watch between two bytes, answer 503 to every third
 * request, forget its history now. Versions, watches, preconditions, finalizers, garbage collection and field managers follow
 * the real one; tests that run on both say so.
 */
import type {
  ApplyOptions,
  DeleteOptions,
  KubeApi,
  ObjectList,
  RequestOptions,
  Selection,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from '../../src/operator/engine/api.ts';
import { FIELD_MANAGER } from '../../src/operator/engine/api.ts';
import { type ApiError, statusError } from '../../src/operator/engine/api-error.ts';
import {
  formatKey,
  type KubeObject,
  keyOf,
  type LiveObject,
  type ObjectKey,
  type ResourceType,
} from '../../src/operator/engine/objects.ts';
import { type Clock, sleep } from '../../src/runtime/core/clock.ts';
import { isoTime } from '../../src/runtime/core/iso-time.ts';
import { leaves, managersOf, type Path, same, setAt, toFields } from './fake-fields.ts';

export interface FakeRequest {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'apply' | 'delete';
  readonly kind: string;
  readonly key: string;
}

type Fault = (request: FakeRequest) => Error | undefined;

interface Change {
  readonly version: number;
  readonly kind: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: LiveObject;
  readonly before: LiveObject | undefined;
}

interface Watcher {
  readonly wake: () => void;
  broken: Error | undefined;
  ended: boolean;
  bookmark: boolean;
}

const READS = new Set(['get', 'list', 'watch']);

export class FakeApi implements KubeApi {
  /** Everything that was asked, in order. */
  readonly requests: FakeRequest[] = [];
  /** Asked before each request; an error is the answer. */
  fault: Fault | undefined;
  /** Time that every request takes. */
  latencyMs = 0;
  readonly #clock: Clock;
  readonly #objects = new Map<string, LiveObject>();
  readonly #watchers = new Set<Watcher>();
  #history: Change[] = [];
  #version = 100;
  #compacted = 0;
  #uids = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get version(): string {
    return String(this.#version);
  }

  get watching(): number {
    return this.#watchers.size;
  }

  writes(): FakeRequest[] {
    return this.requests.filter(({ verb }) => !READS.has(verb));
  }

  /** All watches break off; with an error, or as if the server had ended them. */
  breakWatches(error?: Error): void {
    for (const watcher of this.#watchers) {
      watcher.broken = error;
      watcher.ended = true;
      watcher.wake();
    }
  }

  bookmark(): void {
    for (const watcher of this.#watchers) {
      watcher.bookmark = true;
      watcher.wake();
    }
  }

  /** Forgets the history so far; watches from before get 410. */
  compact(): void {
    this.#compacted = this.#version;
    this.#history = [];
  }

  /** What a controller of Kubernetes reports: not a request of whom the test is about. */
  report(kind: string, key: string, status: unknown): void {
    const live = this.peek(kind, key);
    if (live && !same(live.status, status)) this.#store(kind, live, this.#managed({ ...live, status }, live, 'controller-manager'));
  }

  /** What a controller of Kubernetes makes: not a request of whom the test is about. */
  place(object: KubeObject): void {
    this.#store(object.kind, undefined, this.#managed(object, undefined, 'controller-manager'));
  }

  /** As it is stored, without a request. */
  peek(kind: string, key: string): LiveObject | undefined {
    return this.#objects.get(`${kind} ${key}`);
  }

  all(kind: string): LiveObject[] {
    return [...this.#objects].filter(([id]) => id.startsWith(`${kind} `)).map(([, object]) => object);
  }

  async get(type: ResourceType, key: ObjectKey, options: RequestOptions = {}): Promise<LiveObject> {
    await this.#arrive({ verb: 'get', kind: type.kind, key: formatKey(key) }, options);
    return this.#find(type, key);
  }

  async list(type: ResourceType, selection: Selection = {}): Promise<ObjectList> {
    await this.#arrive({ verb: 'list', kind: type.kind, key: selection.namespace ?? '' }, selection);
    return { resourceVersion: this.version, items: this.all(type.kind).filter((object) => selected(object, selection)) };
  }

  async *watch(type: ResourceType, options: WatchOptions): AsyncGenerator<WatchEvent, void> {
    await this.#arrive({ verb: 'watch', kind: type.kind, key: options.namespace ?? '' }, options);
    let seen = Number(options.resourceVersion);
    let waiting = Promise.withResolvers<void>();
    const watcher: Watcher = { wake: () => waiting.resolve(), broken: undefined, ended: false, bookmark: false };
    this.#watchers.add(watcher);
    options.signal?.addEventListener('abort', watcher.wake, { once: true });
    const limit = this.#clock.after(options.timeoutSeconds * 1000, () => {
      watcher.ended = true;
      watcher.wake();
    });
    try {
      for (;;) {
        options.signal?.throwIfAborted();
        if (seen < this.#compacted) throw statusError(410, { reason: 'Expired', message: `too old resource version: ${seen}` });
        // what the server has sent before it broke may have arrived or not; here it has not
        if (watcher.ended) {
          if (watcher.broken) throw watcher.broken;
          return;
        }
        const next = this.#history.find(({ version, kind }) => version > seen && kind === type.kind);
        if (next) {
          seen = next.version;
          const event = seenThrough(next, options);
          if (event) yield event;
          continue;
        }
        if (watcher.bookmark) {
          watcher.bookmark = false;
          seen = this.#version;
          yield { type: 'BOOKMARK', resourceVersion: this.version };
          continue;
        }
        await waiting.promise;
        waiting = Promise.withResolvers();
      }
    } finally {
      limit.cancel();
      options.signal?.removeEventListener('abort', watcher.wake);
      this.#watchers.delete(watcher);
    }
  }

  async create(type: ResourceType, object: KubeObject, options: WriteOptions = {}): Promise<LiveObject> {
    await this.#arrive({ verb: 'create', kind: type.kind, key: keyOf(object) }, options);
    if (this.peek(type.kind, keyOf(object)))
      throw statusError(409, { reason: 'AlreadyExists', message: `${keyOf(object)} already exists` });
    return this.#write(type, undefined, this.#managed(object, undefined, options.fieldManager ?? FIELD_MANAGER));
  }

  async replace(type: ResourceType, object: KubeObject, options: WriteOptions = {}): Promise<LiveObject> {
    await this.#arrive({ verb: 'update', kind: type.kind, key: keyOf(object) }, options);
    const live = this.#find(type, object.metadata);
    const { resourceVersion } = object.metadata;
    if (resourceVersion !== undefined && resourceVersion !== live.metadata.resourceVersion) {
      throw statusError(409, { reason: 'Conflict', message: 'the object has been modified' });
    }
    const next =
      options.subresource === 'status'
        ? { ...live, status: object.status }
        : { ...object, ...(live.status !== undefined && { status: live.status }) };
    return this.#write(type, live, this.#managed(next, live, options.fieldManager ?? FIELD_MANAGER));
  }

  async patch(
    type: ResourceType,
    key: ObjectKey,
    patch: Readonly<Record<string, unknown>>,
    options: WriteOptions = {},
  ): Promise<LiveObject> {
    await this.#arrive({ verb: 'patch', kind: type.kind, key: formatKey(key) }, options);
    const live = this.#find(type, key);
    const wanted = (patch.metadata as { resourceVersion?: string } | undefined)?.resourceVersion;
    if (wanted !== undefined && wanted !== live.metadata.resourceVersion)
      throw statusError(409, { reason: 'Conflict', message: 'modified' });
    const merged = mergePatch(live, patch) as LiveObject;
    const next =
      options.subresource === 'status'
        ? { ...live, status: merged.status }
        : { ...merged, ...(live.status !== undefined && { status: live.status }) };
    return this.#write(type, live, this.#managed(next, live, options.fieldManager ?? FIELD_MANAGER));
  }

  async apply(type: ResourceType, object: KubeObject, options: ApplyOptions = {}): Promise<LiveObject> {
    await this.#arrive({ verb: 'apply', kind: type.kind, key: keyOf(object) }, options);
    const { fieldManager = FIELD_MANAGER, force = false, dryRun = false } = options;
    const live = this.peek(type.kind, keyOf(object));
    const desired = leaves(object);
    const current = live ? leaves(live) : new Map<Path, unknown>();
    const managers = live ? managersOf(live) : [];
    const isOurs = ({ entry }: (typeof managers)[number]): boolean => entry.manager === fieldManager && entry.operation === 'Apply';
    const ours = managers.find(isOurs)?.paths ?? new Set();
    const others = managers.filter((manager) => !isOurs(manager));
    const changed = [...desired].filter(([path, value]) => current.has(path) && !same(current.get(path), value)).map(([path]) => path);
    const conflicts = others.flatMap(({ entry, paths }) =>
      changed.filter((path) => paths.has(path)).map((path) => ({ path, manager: entry.manager ?? '' })),
    );
    if (conflicts.length > 0 && !force) throw conflictError(conflicts);
    const next: Record<string, unknown> = structuredClone({ ...(live ?? object) });
    for (const path of ours) if (!desired.has(path) && !others.some(({ paths }) => paths.has(path))) setAt(next, path, undefined);
    for (const [path, value] of desired) setAt(next, path, value);
    const managedFields = [
      ...others
        .map(({ entry, paths }) => ({ ...entry, fieldsV1: toFields([...paths].filter((path) => !changed.includes(path))) }))
        .filter(({ fieldsV1 }) => Object.keys(fieldsV1).length > 0),
      {
        manager: fieldManager,
        operation: 'Apply',
        apiVersion: type.apiVersion,
        fieldsType: 'FieldsV1',
        fieldsV1: toFields(desired.keys()),
      },
    ];
    const applied = { ...next, metadata: { ...(next.metadata as object), managedFields } } as unknown as KubeObject;
    return dryRun ? (applied as LiveObject) : this.#write(type, live, applied);
  }

  async delete(type: ResourceType, key: ObjectKey, options: DeleteOptions = {}): Promise<void> {
    await this.#arrive({ verb: 'delete', kind: type.kind, key: formatKey(key) }, options);
    const live = this.#find(type, key);
    if (options.uid !== undefined && options.uid !== live.metadata.uid)
      throw statusError(409, { reason: 'Conflict', message: 'uid differs' });
    this.#remove(type.kind, live);
  }

  #remove(kind: string, live: LiveObject): void {
    if ((live.metadata.finalizers ?? []).length > 0) {
      if (live.metadata.deletionTimestamp === undefined) {
        this.#store(kind, live, { ...live, metadata: { ...live.metadata, deletionTimestamp: isoTime(this.#clock.now()) } });
      }
      return;
    }
    this.#version += 1;
    const object = { ...live, metadata: { ...live.metadata, resourceVersion: this.version } };
    this.#objects.delete(`${kind} ${keyOf(live)}`);
    this.#note({ version: this.#version, kind, type: 'DELETED', object, before: live });
    for (const [id, dependant] of [...this.#objects]) {
      if (dependant.metadata.ownerReferences?.some(({ uid }) => uid === live.metadata.uid)) this.#remove(id.split(' ')[0] ?? '', dependant);
    }
  }

  async #arrive(request: FakeRequest, { signal }: RequestOptions): Promise<void> {
    signal?.throwIfAborted();
    if (this.latencyMs > 0) await sleep(this.#clock, this.latencyMs, signal);
    else await Promise.resolve();
    signal?.throwIfAborted();
    this.requests.push(request);
    const error = this.fault?.(request);
    if (error) throw error;
  }

  #find(type: ResourceType, key: ObjectKey): LiveObject {
    const live = this.peek(type.kind, formatKey({ name: key.name, ...(key.namespace !== undefined && { namespace: key.namespace }) }));
    if (!live) throw statusError(404, { reason: 'NotFound', message: `${type.plural} "${key.name}" not found` });
    return live;
  }

  /** Update semantics: who changes a field owns it. */
  #managed(object: KubeObject, live: KubeObject | undefined, manager: string): KubeObject {
    const before = live ? leaves(live) : new Map<Path, unknown>();
    const after = leaves(object);
    const changed = [...after].filter(([path, value]) => !before.has(path) || !same(before.get(path), value)).map(([path]) => path);
    const removed = [...before.keys()].filter((path) => !after.has(path));
    const isOwn = (entry: { manager?: string; operation?: string }): boolean => entry.manager === manager && entry.operation === 'Update';
    const managers = live ? managersOf(live) : [];
    const own = new Set([...(managers.find(({ entry }) => isOwn(entry))?.paths ?? []), ...changed].filter((path) => after.has(path)));
    const managedFields = [
      ...managers
        .filter(({ entry }) => !isOwn(entry))
        .map(({ entry, paths }) => ({
          ...entry,
          fieldsV1: toFields([...paths].filter((path) => !changed.includes(path) && !removed.includes(path))),
        })),
      ...(own.size > 0
        ? [{ manager, operation: 'Update', apiVersion: object.apiVersion, fieldsType: 'FieldsV1', fieldsV1: toFields(own) }]
        : []),
    ].filter(({ fieldsV1 }) => Object.keys(fieldsV1 ?? {}).length > 0);
    return { ...object, metadata: { ...object.metadata, managedFields } };
  }

  /** A write that changes nothing writes nothing, as in etcd3's store. */
  #write(type: ResourceType, live: LiveObject | undefined, next: KubeObject): LiveObject {
    if (live && same(comparable(live), comparable(next))) return live;
    return this.#store(type.kind, live, next);
  }

  #store(kind: string, live: LiveObject | undefined, next: KubeObject): LiveObject {
    this.#version += 1;
    const specChanged = !live || !same(specOf(live), specOf(next));
    const object = {
      ...next,
      metadata: {
        ...next.metadata,
        uid: live?.metadata.uid ?? `uid-${++this.#uids}`,
        creationTimestamp: live?.metadata.creationTimestamp ?? isoTime(this.#clock.now()),
        generation: (live?.metadata.generation ?? 0) + (specChanged ? 1 : 0),
        resourceVersion: this.version,
      },
    } as LiveObject;
    if (object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length === 0) {
      this.#remove(kind, object);
      return object;
    }
    this.#objects.set(`${kind} ${keyOf(object)}`, object);
    this.#note({ version: this.#version, kind, type: live ? 'MODIFIED' : 'ADDED', object, before: live });
    return object;
  }

  #note(change: Change): void {
    this.#history.push(change);
    for (const watcher of this.#watchers) watcher.wake();
  }
}

function specOf({ metadata: _, status: __, ...rest }: KubeObject): unknown {
  return rest;
}

function comparable({ metadata, ...rest }: KubeObject): unknown {
  const { resourceVersion: _, ...stays } = metadata;
  return { ...rest, metadata: JSON.parse(JSON.stringify(stays)) };
}

/** A change as a watch with selectors sees it: what leaves the selection counts as deleted. */
function seenThrough({ type, object, before }: Change, selection: Selection): WatchEvent | undefined {
  const was = before !== undefined && selected(before, selection);
  const is = type !== 'DELETED' && selected(object, selection);
  if (was && is) return { type: 'MODIFIED', object };
  if (is) return { type: 'ADDED', object };
  // as it was, with the version at which it went
  const { resourceVersion } = object.metadata;
  return was ? { type: 'DELETED', object: { ...before, metadata: { ...before.metadata, resourceVersion } } } : undefined;
}

function selected({ metadata }: KubeObject, { namespace, labelSelector, fieldSelector }: Selection): boolean {
  if (namespace !== undefined && metadata.namespace !== namespace) return false;
  if (fieldSelector !== undefined && fieldSelector !== `metadata.name=${metadata.name}`) return false;
  return (labelSelector ?? '')
    .split(',')
    .filter((term) => term !== '')
    .every((term) => {
      const [, name = '', not, value] = /^([^!=]+)(!?)=?(.*)$/.exec(term) ?? [];
      const label = metadata.labels?.[name];
      return not ? label !== value : term === name ? label !== undefined : label === value;
    });
}

function conflictError(conflicts: readonly { path: Path; manager: string }[]): ApiError {
  return statusError(409, {
    reason: 'Conflict',
    message: `Apply failed with ${conflicts.length} conflicts`,
    details: {
      causes: conflicts.map(({ path, manager }) => ({
        reason: 'FieldManagerConflict',
        message: `conflict with "${manager}"`,
        field: `.${(JSON.parse(path) as string[]).join('.')}`,
      })),
    },
  });
}

/** RFC 7396. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const merged: Record<string, unknown> = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}
