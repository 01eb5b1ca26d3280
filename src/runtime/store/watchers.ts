import { readValue } from './read-value.ts';
import type { Kind, Watch, WatchEvent } from './store.ts';

/** What changed, before it is read through a kind: `json` is absent for a deleted record. */
export interface RawChange {
  readonly kind: string;
  readonly id: string;
  readonly version: string;
  readonly json: string | undefined;
}

/** Hands changes to watchers, each from its own microtask so that no handler runs inside the call that changed something. */
export class Watchers {
  readonly #byKind = new Map<string, Set<(change: RawChange) => void>>();

  get active(): boolean {
    return this.#byKind.size > 0;
  }

  add<T>(kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Watch {
    let open = true;
    const deliver = (change: RawChange): void => {
      if (open) handler(toEvent(kind, change));
    };
    const set = this.#byKind.get(kind.name) ?? new Set();
    set.add(deliver);
    this.#byKind.set(kind.name, set);
    return {
      close: () => {
        open = false;
        set.delete(deliver);
        if (set.size === 0 && this.#byKind.get(kind.name) === set) this.#byKind.delete(kind.name);
      },
    };
  }

  tell(change: RawChange): void {
    for (const deliver of this.#byKind.get(change.kind) ?? []) queueMicrotask(() => deliver(change));
  }

  clear(): void {
    this.#byKind.clear();
  }
}

function toEvent<T>(kind: Kind<T>, change: RawChange): WatchEvent<T> {
  if (change.json === undefined) return { type: 'delete', id: change.id };
  try {
    return { type: 'put', record: { id: change.id, version: change.version, value: readValue(kind, change.id, change.json) } };
  } catch (error) {
    return { type: 'invalid', id: change.id, error };
  }
}
