/**
 * Records with compare-and-swap on one record's version, and a watch. That is all that SQLite, MySQL and Kubernetes objects
 * have in common, so it is all that the floors above may use: there is no transaction over two records. What must change together
 * lives on one record; what must be unique is the id of a record (`create` refuses the second one).
 */
export interface Kind<T> {
  /** Stable name, e.g. `node`: lower-case letters and dashes. */
  readonly name: string;
  /** Checks a stored value and fills in what older versions did not write. Throws on what it cannot read. */
  parse(value: unknown): T;
}

export interface Stored<T> {
  readonly id: string;
  /** Opaque: compare for equality only. A record that is deleted and created again never gets an old version back. */
  readonly version: string;
  readonly value: T;
}

export type CreateResult<T> =
  | { readonly outcome: 'stored'; readonly record: Stored<T> }
  | { readonly outcome: 'exists'; readonly current: Stored<T> };

export type UpdateResult<T> =
  | { readonly outcome: 'stored'; readonly record: Stored<T> }
  /** `current` is absent when the record is gone. */
  | { readonly outcome: 'conflict'; readonly current: Stored<T> | undefined };

export type DeleteResult<T> = { readonly outcome: 'deleted' } | { readonly outcome: 'conflict'; readonly current: Stored<T> | undefined };

export type WatchEvent<T> =
  | { readonly type: 'put'; readonly record: Stored<T> }
  | { readonly type: 'delete'; readonly id: string }
  /** The record changed into something that its kind cannot read (a newer program wrote it). */
  | { readonly type: 'invalid'; readonly id: string; readonly error: unknown };

export interface Watch {
  /** No call of the handler begins after this. Harmless when repeated. */
  close(): void;
}

export interface ListOptions<T> {
  readonly where?: (value: T) => boolean;
  /** Called for each record that cannot be read, which is then left out; without it the first such record fails the call. */
  readonly onInvalid?: (id: string, error: unknown) => void;
}

export interface Store {
  get<T>(kind: Kind<T>, id: string): Promise<Stored<T> | undefined>;
  /** Ordered by id. */
  list<T>(kind: Kind<T>, options?: ListOptions<T>): Promise<Stored<T>[]>;
  create<T>(kind: Kind<T>, id: string, value: T): Promise<CreateResult<T>>;
  /** Stores `record.value` if the stored version still is `expectedVersion`. When it returns, the change survives a power cut. */
  update<T>(kind: Kind<T>, record: { readonly id: string; readonly value: T }, expectedVersion: string): Promise<UpdateResult<T>>;
  delete<T>(kind: Kind<T>, record: { readonly id: string }, expectedVersion: string): Promise<DeleteResult<T>>;
  /**
   * Calls `handler` after each change made from now on, whoever makes it; a record that changes quickly may be reported once with
   * its newest value. Never calls it from inside the changing call. List after watching to miss nothing.
   */
  watch<T>(kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Watch;
  close(): Promise<void>;
}

export type ModifyResult<T> =
  | { readonly outcome: 'stored'; readonly record: Stored<T> }
  /** `change` returned undefined: nothing to do. */
  | { readonly outcome: 'unchanged'; readonly record: Stored<T> }
  | { readonly outcome: 'missing' };

/**
 * Read, change, compare-and-swap, again from the start while others win. `change` is called once per try and must be pure;
 * it returns undefined to leave the record alone. Ends, because each lost try means that somebody else's write went through.
 */
export async function modify<T>(
  store: Store,
  kind: Kind<T>,
  id: string,
  change: (value: T, version: string) => T | undefined,
): Promise<ModifyResult<T>> {
  let current = await store.get(kind, id);
  for (;;) {
    if (current === undefined) return { outcome: 'missing' };
    const value = change(current.value, current.version);
    if (value === undefined) return { outcome: 'unchanged', record: current };
    const result: UpdateResult<T> = await store.update(kind, { id, value }, current.version);
    if (result.outcome === 'stored') return result;
    current = result.current;
  }
}
