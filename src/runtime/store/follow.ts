/** For those who keep an index of a kind's records: every change, and all records once, in an order that can be trusted. */
import type { Kind, ListOptions, Store, Stored, Watch, WatchEvent } from './store.ts';

export interface Followed<T> extends Watch {
  /**
   * Calls `use` for each stored record but for those of which the handler has heard since this began: what the list says of them may be older. Rejects as
   * `Store.list` does; may be repeated.
   */
  read(use: (record: Stored<T>) => void, options?: ListOptions<T>): Promise<void>;
}

/** `handler` as for `Store.watch`, from now on. */
export function follow<T>(store: Store, kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Followed<T> {
  const reading = new Set<Set<string>>();
  const watch = store.watch(kind, (event) => {
    for (const heard of reading) heard.add(event.type === 'put' ? event.record.id : event.id);
    handler(event);
  });
  return {
    close: () => watch.close(),
    async read(use, options) {
      const heard = new Set<string>();
      reading.add(heard);
      try {
        // in one go with the look at who was heard of: an event between the two would be overwritten
        for (const record of await store.list(kind, options)) if (!heard.has(record.id)) use(record);
      } finally {
        reading.delete(heard);
      }
    },
  };
}
