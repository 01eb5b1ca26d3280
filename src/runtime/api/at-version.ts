/** If-Match: a store in which one record may only be changed while it has the version that the caller has seen. */
import type { CreateResult, DeleteResult, Kind, Store, Stored, UpdateResult } from '../store/index.ts';
import { apiErrors, Refusal } from './errors.ts';

/**
 * The machine's verbs read, change and compare-and-swap in a loop; over this store the loop ends at the first lost try, with 412. So the
 * check and the change are one, however many others write.
 */
export function atVersion(store: Store, kindName: string, id: string, version: string): Store {
  const isIt = (kind: Kind<unknown>, other: string): boolean => kind.name === kindName && other === id;
  const changed = (): Refusal => new Refusal(apiErrors.API_CHANGED({ what: `the ${kindName}` }));
  let expected = version;
  return {
    async get<T>(kind: Kind<T>, wanted: string): Promise<Stored<T> | undefined> {
      const record = await store.get(kind, wanted);
      if (isIt(kind, wanted) && record?.version !== expected) throw changed();
      return record;
    },
    async update<T>(kind: Kind<T>, record: { readonly id: string; readonly value: T }, from: string): Promise<UpdateResult<T>> {
      const result = await store.update(kind, record, from);
      if (isIt(kind, record.id)) {
        if (result.outcome === 'conflict') throw changed();
        expected = result.record.version;
      }
      return result;
    },
    async delete<T>(kind: Kind<T>, record: { readonly id: string }, from: string): Promise<DeleteResult<T>> {
      const result = await store.delete(kind, record, from);
      if (isIt(kind, record.id) && result.outcome === 'conflict') throw changed();
      return result;
    },
    create: <T>(kind: Kind<T>, name: string, value: T): Promise<CreateResult<T>> => store.create(kind, name, value),
    list: (kind, options) => store.list(kind, options),
    watch: (kind, handler) => store.watch(kind, handler),
    close: async () => undefined, // it belongs to somebody else
  };
}

/** `"7"` or `7`; undefined for `*` and for no header. A weak tag never fits. */
export function versionOf(ifMatch: string | undefined): string | undefined {
  if (ifMatch === undefined || ifMatch.trim() === '*') return undefined;
  return /^"([^"]*)"$/.exec(ifMatch.trim())?.[1] ?? ifMatch.trim();
}

export function etagOf(record: Pick<Stored<unknown>, 'version'>): string {
  return `"${record.version}"`;
}
