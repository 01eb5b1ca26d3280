import { chmodSync, existsSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Clock, Timer } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import { storeErrors } from './errors.ts';
import { readList, readValue } from './read-value.ts';
import { migrations, newestSchema } from './sqlite-migrations.ts';
import type { CreateResult, DeleteResult, Kind, ListOptions, Store, Stored, UpdateResult, Watch, WatchEvent } from './store.ts';
import type { Dumpable, RawRecord } from './transfer.ts';
import { Watchers } from './watchers.ts';

export interface SqliteStoreOptions {
  /** The database file; created (mode 0600) when absent, in a directory that exists. */
  readonly path: string;
  readonly clock: Clock;
  /** How often to look for changes made by another process, while somebody watches. 0: never. Default 1,000. */
  readonly pollMs?: number;
  /** How long a call waits for another process's write lock; it blocks this process meanwhile. Default 2,000. */
  readonly lockTimeoutMs?: number;
}

interface Row {
  readonly id: string;
  readonly version: number;
  readonly value: string;
}

/** SQLite's result codes (sqlite.org/rescode.html), the low byte of an extended code. */
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/**
 * The embedded store: one file, WAL, `synchronous=FULL`. FULL and not NORMAL because in WAL mode NORMAL does not sync at commit: after
 * a power cut the last commits may be missing, and here such a commit may be "this deployment key has been used" or "replica B owns
 * the node now". The price is one fsync per write; a whole deployment writes some forty times.
 */
export class SqliteStore implements Store, Dumpable {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #pollMs: number;
  readonly #db: DatabaseSync;
  readonly #statements: Statements;
  readonly #watchers = new Watchers();
  #seen = 0;
  #dataVersion: unknown;
  #poll: Timer | undefined;
  #closed = false;

  constructor(options: SqliteStoreOptions) {
    this.#path = options.path;
    this.#clock = options.clock;
    this.#pollMs = options.pollMs ?? 1_000;
    this.#db = openMigrated(options);
    this.#statements = prepare(this.#db);
    this.#seen = this.#sequence();
    this.#dataVersion = this.#statements.dataVersion.get()?.data_version;
  }

  async get<T>(kind: Kind<T>, id: string): Promise<Stored<T> | undefined> {
    return this.#run('get', () => this.#read(kind, id));
  }

  async list<T>(kind: Kind<T>, options: ListOptions<T> = {}): Promise<Stored<T>[]> {
    return this.#run('list', () => {
      const rows = this.#statements.list.all(kind.name) as unknown as Row[];
      return readList(
        kind,
        rows.map(({ id, version, value }) => ({ id, version, json: value })),
        options,
      );
    });
  }

  async create<T>(kind: Kind<T>, id: string, value: T): Promise<CreateResult<T>> {
    const json = JSON.stringify(kind.parse(value));
    return this.#write('create', (nextVersion) => {
      const current = this.#read(kind, id);
      if (current !== undefined) return { outcome: 'exists', current };
      return { outcome: 'stored', record: this.#put(kind, id, json, nextVersion()) };
    });
  }

  async update<T>(kind: Kind<T>, record: { readonly id: string; readonly value: T }, expectedVersion: string): Promise<UpdateResult<T>> {
    const json = JSON.stringify(kind.parse(record.value));
    return this.#write('update', (nextVersion) => {
      const current = this.#read(kind, record.id);
      if (current?.version !== expectedVersion) return { outcome: 'conflict', current };
      return { outcome: 'stored', record: this.#put(kind, record.id, json, nextVersion()) };
    });
  }

  async delete<T>(kind: Kind<T>, record: { readonly id: string }, expectedVersion: string): Promise<DeleteResult<T>> {
    return this.#write('delete', (nextVersion) => {
      const current = this.#read(kind, record.id);
      if (current?.version !== expectedVersion) return { outcome: 'conflict', current };
      this.#statements.put.run(kind.name, record.id, nextVersion(), null);
      return { outcome: 'deleted' };
    });
  }

  watch<T>(kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Watch {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what: 'watch' });
    // Changes up to here are the past: without this, a first watcher would hear what was written before it came.
    if (!this.#watchers.active) this.#seen = this.#sequence();
    const watch = this.#watchers.add(kind, handler);
    this.#schedulePoll();
    return watch;
  }

  /** As of one moment: read at once, since an open cursor would keep the write-ahead log from being folded in. */
  async *dump(): AsyncGenerator<RawRecord> {
    const rows = this.#run('dump', () => this.#statements.dump.all());
    for (const { kind, id, version, value } of rows)
      yield { kind: String(kind), id: String(id), version: String(version), json: String(value) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#poll?.cancel();
    this.#watchers.clear();
    this.#db.close();
  }

  #read<T>(kind: Kind<T>, id: string): Stored<T> | undefined {
    const row = this.#statements.get.get(kind.name, id) as Row | undefined;
    return row && stored(kind, row);
  }

  #put<T>(kind: Kind<T>, id: string, json: string, version: number): Stored<T> {
    this.#statements.put.run(kind.name, id, version, json);
    return { id, version: String(version), value: readValue(kind, id, json) };
  }

  #sequence(): number {
    return Number(this.#statements.sequence.get()?.last ?? 0);
  }

  /** IMMEDIATE takes the write lock before the version is read, so the comparison and the swap cannot be parted by another process. */
  #write<R>(what: string, work: (nextVersion: () => number) => R): R {
    return this.#run(what, () => {
      this.#db.exec('BEGIN IMMEDIATE');
      let result: R;
      try {
        result = work(() => Number(this.#statements.next.get()?.last));
        this.#db.exec('COMMIT');
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
        throw error;
      }
      this.#tellChanges();
      return result;
    });
  }

  #tellChanges(): void {
    if (!this.#watchers.active) return;
    for (const row of this.#statements.changes.all(this.#seen)) {
      const version = Number(row.version);
      this.#seen = Math.max(this.#seen, version);
      const json = row.value === null ? undefined : String(row.value);
      this.#watchers.tell({ kind: String(row.kind), id: String(row.id), version: String(version), json });
    }
  }

  #schedulePoll(): void {
    if (this.#pollMs === 0 || this.#poll !== undefined) return;
    this.#poll = this.#clock.after(this.#pollMs, () => {
      this.#poll = undefined;
      if (this.#closed || !this.#watchers.active) return;
      try {
        // data_version changes when another connection has committed; it costs no read of the tables.
        const dataVersion = this.#statements.dataVersion.get()?.data_version;
        if (dataVersion !== this.#dataVersion) this.#tellChanges();
        this.#dataVersion = dataVersion;
      } catch {
        // What fails is reported by the calls of those who use the store; what was not told is told by a later poll.
      }
      this.#schedulePoll();
    });
  }

  #run<R>(what: string, work: () => R): R {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what });
    try {
      return work();
    } catch (error) {
      throw explain(this.#path, error, (reason) => storeErrors.STORE_IO({ path: this.#path, reason }, { cause: error }));
    }
  }
}

/** The schema version of the file at `path`, for `db version`; 0 when it has none yet. */
export function sqliteSchemaVersion(path: string): number {
  if (!existsSync(path)) return 0;
  const db = openFile(path, 2_000);
  try {
    return readSchema(db, path);
  } finally {
    db.close();
  }
}

interface Statements {
  readonly get: StatementSync;
  readonly list: StatementSync;
  readonly put: StatementSync;
  readonly next: StatementSync;
  readonly sequence: StatementSync;
  readonly changes: StatementSync;
  readonly dataVersion: StatementSync;
  readonly dump: StatementSync;
}

function prepare(db: DatabaseSync): Statements {
  return {
    get: db.prepare('SELECT id, version, value FROM record WHERE kind = ? AND id = ? AND value IS NOT NULL'),
    list: db.prepare('SELECT id, version, value FROM record WHERE kind = ? AND value IS NOT NULL ORDER BY id'),
    put: db.prepare('INSERT OR REPLACE INTO record (kind, id, version, value) VALUES (?, ?, ?, ?)'),
    next: db.prepare('UPDATE sequence SET last = last + 1 RETURNING last'),
    sequence: db.prepare('SELECT last FROM sequence'),
    changes: db.prepare('SELECT kind, id, version, value FROM record WHERE version > ? ORDER BY version'),
    dataVersion: db.prepare('PRAGMA data_version'),
    dump: db.prepare('SELECT kind, id, version, value FROM record WHERE value IS NOT NULL ORDER BY kind, id'),
  };
}

function stored<T>(kind: Kind<T>, row: Row): Stored<T> {
  return { id: row.id, version: String(row.version), value: readValue(kind, row.id, row.value) };
}

function openMigrated({ path, clock, lockTimeoutMs = 2_000 }: SqliteStoreOptions): DatabaseSync {
  const fresh = !existsSync(path);
  const db = openFile(path, lockTimeoutMs);
  try {
    // Usernames, addresses and key hashes are nobody else's business; -wal and -shm inherit the mode.
    if (fresh) chmodSync(path, 0o600);
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    migrate(db, path, clock);
    const check = db.prepare('PRAGMA quick_check(1)').get();
    if (check?.quick_check !== 'ok') throw storeErrors.STORE_CORRUPT({ path, reason: String(check?.quick_check) });
    return db;
  } catch (error) {
    db.close();
    throw explain(path, error, (reason) => storeErrors.STORE_OPEN({ path, reason }, { cause: error }));
  }
}

function openFile(path: string, timeout: number): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout });
  } catch (error) {
    throw explain(path, error, (reason) => storeErrors.STORE_OPEN({ path, reason }, { cause: error }));
  }
}

function migrate(db: DatabaseSync, path: string, clock: Clock): void {
  // The lock comes first: two processes that start together must not both run a step.
  db.exec('BEGIN IMMEDIATE');
  try {
    const found = readSchema(db, path);
    if (found > newestSchema) throw storeErrors.STORE_NEWER_SCHEMA({ path, found, known: newestSchema });
    db.exec('CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL)');
    for (const { version, name, sql } of migrations) {
      if (version <= found) continue;
      db.exec(sql);
      db.prepare('INSERT INTO migrations (version, name, applied_at) VALUES (?, ?, ?)').run(version, name, isoTime(clock.now()));
    }
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function readSchema(db: DatabaseSync, path: string): number {
  try {
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").all();
    if (tables.length === 0) return 0;
    if (!tables.some(({ name }) => name === 'migrations')) {
      throw storeErrors.STORE_CORRUPT({ path, reason: 'it is an SQLite file of another program (no table "migrations")' });
    }
    return Number(db.prepare('SELECT max(version) AS version FROM migrations').get()?.version ?? 0);
  } catch (error) {
    throw explain(path, error, (reason) => storeErrors.STORE_OPEN({ path, reason }, { cause: error }));
  }
}

function explain(path: string, error: unknown, otherwise: (reason: string) => Error): unknown {
  if (!isSqliteError(error)) return error;
  const code = error.errcode & 0xff;
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB)
    return storeErrors.STORE_CORRUPT({ path, reason: error.message }, { cause: error });
  return otherwise(error.message);
}

function isSqliteError(error: unknown): error is Error & { errcode: number } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
}
