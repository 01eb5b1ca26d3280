/** What an informer knows: the objects of one kind by key, and by whatever indexes were asked for. */
import { keyOf, type LiveObject } from './objects.ts';

/** The index values that an object is found under. */
export type Indexer = (object: LiveObject) => readonly string[];

/** By namespace. */
export const byNamespace: Indexer = ({ metadata: { namespace } }) => (namespace === undefined ? [] : [namespace]);

export interface ReadableStore {
  readonly size: number;
  get(key: string): LiveObject | undefined;
  /** A snapshot. */
  list(): readonly LiveObject[];
  /** A snapshot of the objects that `index` finds under `value`. */
  find(index: string, value: string): readonly LiveObject[];
}

export class ObjectStore implements ReadableStore {
  readonly #objects = new Map<string, LiveObject>();
  readonly #indexes: ReadonlyMap<string, { readonly indexer: Indexer; readonly keys: Map<string, Set<string>> }>;

  constructor(indexers: Readonly<Record<string, Indexer>> = {}) {
    this.#indexes = new Map(Object.entries(indexers).map(([name, indexer]) => [name, { indexer, keys: new Map() }]));
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): LiveObject | undefined {
    return this.#objects.get(key);
  }

  list(): readonly LiveObject[] {
    return [...this.#objects.values()];
  }

  find(index: string, value: string): readonly LiveObject[] {
    const keys = this.#indexes.get(index)?.keys;
    if (keys === undefined) throw new RangeError(`no index ${index}`);
    return [...(keys.get(value) ?? [])].flatMap((key) => this.#objects.get(key) ?? []);
  }

  keys(): readonly string[] {
    return [...this.#objects.keys()];
  }

  set(object: LiveObject): void {
    const key = keyOf(object);
    this.delete(key);
    this.#objects.set(key, object);
    for (const { indexer, keys } of this.#indexes.values()) {
      for (const value of indexer(object)) {
        const members = keys.get(value) ?? new Set();
        members.add(key);
        keys.set(value, members);
      }
    }
  }

  delete(key: string): void {
    const object = this.#objects.get(key);
    if (object === undefined) return;
    this.#objects.delete(key);
    for (const { indexer, keys } of this.#indexes.values()) {
      for (const value of indexer(object)) {
        const members = keys.get(value);
        members?.delete(key);
        if (members?.size === 0) keys.delete(value);
      }
    }
  }
}
