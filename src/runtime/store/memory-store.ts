import { storeErrors } from './errors.ts';
import { readList, readValue } from './read-value.ts';
import type { CreateResult, DeleteResult, Kind, ListOptions, Store, Stored, UpdateResult, Watch, WatchEvent } from './store.ts';
import type { Dumpable, RawRecord } from './transfer.ts';
import { Watchers } from './watchers.ts';

interface Row {
  readonly version: string;
  readonly json: string;
}

/** A store that is gone with its process: simulations, tests, trials. Values are kept as text, so nobody shares an object with it. */
export class MemoryStore implements Store, Dumpable {
  readonly #kinds = new Map<string, Map<string, Row>>();
  readonly #watchers = new Watchers();
  #sequence = 0;
  #closed = false;

  async get<T>(kind: Kind<T>, id: string): Promise<Stored<T> | undefined> {
    this.#mustBeOpen('get');
    return this.#read(kind, id);
  }

  async list<T>(kind: Kind<T>, options: ListOptions<T> = {}): Promise<Stored<T>[]> {
    this.#mustBeOpen('list');
    const rows = [...this.#rows(kind)].map(([id, row]) => ({ id, ...row }));
    return readList(
      kind,
      rows.sort((a, b) => byText(a.id, b.id)),
      options,
    );
  }

  async create<T>(kind: Kind<T>, id: string, value: T): Promise<CreateResult<T>> {
    this.#mustBeOpen('create');
    const current = this.#read(kind, id);
    if (current !== undefined) return { outcome: 'exists', current };
    return { outcome: 'stored', record: this.#put(kind, id, value) };
  }

  async update<T>(kind: Kind<T>, record: { readonly id: string; readonly value: T }, expectedVersion: string): Promise<UpdateResult<T>> {
    this.#mustBeOpen('update');
    const current = this.#read(kind, record.id);
    if (current?.version !== expectedVersion) return { outcome: 'conflict', current };
    return { outcome: 'stored', record: this.#put(kind, record.id, record.value) };
  }

  async delete<T>(kind: Kind<T>, record: { readonly id: string }, expectedVersion: string): Promise<DeleteResult<T>> {
    this.#mustBeOpen('delete');
    const current = this.#read(kind, record.id);
    if (current?.version !== expectedVersion) return { outcome: 'conflict', current };
    this.#rows(kind).delete(record.id);
    this.#watchers.tell({ kind: kind.name, id: record.id, version: this.#nextVersion(), json: undefined });
    return { outcome: 'deleted' };
  }

  watch<T>(kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Watch {
    this.#mustBeOpen('watch');
    return this.#watchers.add(kind, handler);
  }

  async *dump(): AsyncGenerator<RawRecord> {
    this.#mustBeOpen('dump');
    const kinds = [...this.#kinds].sort(([a], [b]) => byText(a, b));
    for (const [kind, rows] of kinds) {
      for (const [id, row] of [...rows].sort(([a], [b]) => byText(a, b))) yield { kind, id, ...row };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watchers.clear();
  }

  #read<T>(kind: Kind<T>, id: string): Stored<T> | undefined {
    const row = this.#rows(kind).get(id);
    return row && { id, version: row.version, value: readValue(kind, id, row.json) };
  }

  #put<T>(kind: Kind<T>, id: string, value: T): Stored<T> {
    const row = { version: this.#nextVersion(), json: JSON.stringify(kind.parse(value)) };
    this.#rows(kind).set(id, row);
    this.#watchers.tell({ kind: kind.name, id, ...row });
    return { id, version: row.version, value: readValue(kind, id, row.json) };
  }

  #rows(kind: Kind<unknown>): Map<string, Row> {
    let rows = this.#kinds.get(kind.name);
    if (rows === undefined) {
      rows = new Map();
      this.#kinds.set(kind.name, rows);
    }
    return rows;
  }

  #nextVersion(): string {
    this.#sequence += 1;
    return String(this.#sequence);
  }

  #mustBeOpen(what: string): void {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what });
  }
}

/** By UTF-16 code unit here; SQLite's BINARY is by UTF-8 byte, which is the same for the ids in use (ASCII). */
function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
