import { Buffer } from 'node:buffer';
import type { Random } from '../../core/random.ts';
import { storeErrors } from '../errors.ts';
import { readList, readValue } from '../read-value.ts';
import type { CreateResult, DeleteResult, Kind, ListOptions, Store, Stored, UpdateResult, Watch, WatchEvent } from '../store.ts';
import type { Dumpable, RawRecord } from '../transfer.ts';
import { Watchers } from '../watchers.ts';
import { ChangeFeed } from './change-feed.ts';
import { MysqlConnections, type MysqlConnectionsOptions, type Row } from './mysql-connections.ts';
import { migrateMysql } from './mysql-migrations.ts';

export interface MysqlStoreOptions extends MysqlConnectionsOptions {
  /** Marks writes, so that one is known again after its answer got lost. */
  readonly random: Random;
  /** How often to look for changes made by others, while somebody watches. 0: never. Default 500. */
  readonly pollMs?: number;
}

/** Characters of a write's mark: 6 random bytes in base64. It is told from the 32 of one record, not from all. */
const TOKEN_LENGTH = 8;
/** Marks that a record keeps. */
const TOKENS = 32;
const READ_AT_ONCE = 1_000;

type Swap = { readonly done: true; readonly version: number } | { readonly done: false; readonly current: Row | undefined };

/**
 * The store for replicas: a database on MySQL (8.0.21 or later) or MariaDB (10.6 or later). Every change is one statement that compares and swaps,
 * by itself one transaction. It connects and brings the schema up to date at its first call.
 */
export class MysqlStore implements Store, Dumpable {
  readonly #options: MysqlStoreOptions;
  readonly #connections: MysqlConnections;
  readonly #watchers = new Watchers();
  readonly #feed: ChangeFeed;
  #opened: Promise<unknown> | undefined;
  #closed = false;

  constructor(options: MysqlStoreOptions) {
    this.#options = options;
    this.#connections = new MysqlConnections(options);
    const tell = this.#watchers.tell.bind(this.#watchers);
    this.#feed = new ChangeFeed({ connections: this.#connections, clock: options.clock, pollMs: options.pollMs ?? 500, tell });
  }

  /** Connects and brings the schema up to date; every other call does it too. Gives the schema's version. */
  async open(): Promise<void> {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what: 'open' });
    const { address, clock } = this.#options;
    this.#opened ??= migrateMysql(this.#connections, address, clock).catch((error) => {
      this.#opened = undefined;
      throw error;
    });
    await this.#opened;
  }

  async get<T>(kind: Kind<T>, id: string): Promise<Stored<T> | undefined> {
    await this.#ready('get');
    return stored(kind, id, await this.#row(kind.name, id));
  }

  async list<T>(kind: Kind<T>, options: ListOptions<T> = {}): Promise<Stored<T>[]> {
    await this.#ready('list');
    await this.#feed.ready(); // whoever lists after watching misses nothing
    const { rows } = await this.#connections.execute(
      'SELECT id, version, value FROM records WHERE kind = ? AND value IS NOT NULL ORDER BY id',
      [kind.name],
    );
    return readList(
      kind,
      rows.map(({ id, version, value }) => ({ id: String(id), version: Number(version), json: String(value) })),
      options,
    );
  }

  async create<T>(kind: Kind<T>, id: string, value: T): Promise<CreateResult<T>> {
    const json = JSON.stringify(kind.parse(value));
    await this.#readyToWrite('create');
    const result = await this.#create(kind.name, id, json);
    if (result.done) return { outcome: 'stored', record: this.#wrote(kind, id, result.version, json) };
    const current = stored(kind, id, result.current);
    // Deleted between our two looks: then it may be created now.
    return current === undefined ? this.create(kind, id, value) : { outcome: 'exists', current };
  }

  async update<T>(kind: Kind<T>, record: { readonly id: string; readonly value: T }, expectedVersion: string): Promise<UpdateResult<T>> {
    const json = JSON.stringify(kind.parse(record.value));
    await this.#readyToWrite('update');
    const result = await this.#swap(kind.name, record.id, expectedVersion, json);
    if (!result.done) return { outcome: 'conflict', current: stored(kind, record.id, result.current) };
    return { outcome: 'stored', record: this.#wrote(kind, record.id, result.version, json) };
  }

  async delete<T>(kind: Kind<T>, record: { readonly id: string }, expectedVersion: string): Promise<DeleteResult<T>> {
    await this.#readyToWrite('delete');
    const result = await this.#swap(kind.name, record.id, expectedVersion, null);
    if (!result.done) return { outcome: 'conflict', current: stored(kind, record.id, result.current) };
    this.#feed.wrote({ kind: kind.name, id: record.id, version: String(result.version), json: undefined });
    return { outcome: 'deleted' };
  }

  /** Changes by other replicas count from the first reading of all versions on, which `list` waits for. */
  watch<T>(kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Watch {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what: 'watch' });
    const watch = this.#watchers.add(kind, handler);
    this.open().then(
      () => this.#feed.activate(),
      () => undefined, // whoever calls next hears of it, and activates
    );
    return watch;
  }

  /** In the order of kind and id; pages of one table, so a record that changes meanwhile is in it once, old or new. */
  async *dump(): AsyncGenerator<RawRecord> {
    await this.#ready('dump');
    let last = ['', ''];
    for (;;) {
      const { rows } = await this.#connections.execute(
        `SELECT kind, id, version, value FROM records WHERE (kind > ? OR (kind = ? AND id > ?)) AND value IS NOT NULL ORDER BY kind, id LIMIT ${READ_AT_ONCE}`,
        [last[0] ?? '', last[0] ?? '', last[1] ?? ''],
      );
      for (const { kind, id, version, value } of rows) {
        last = [String(kind), String(id)];
        yield { kind: String(kind), id: String(id), version: String(version), json: String(value) };
      }
      if (rows.length < READ_AT_ONCE) return;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watchers.clear();
    await this.#connections.close();
    await this.#feed.close();
  }

  async #ready(what: string): Promise<void> {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what });
    await this.open();
    if (this.#watchers.active) this.#feed.activate();
  }

  /** What the first reading of a watch finds is taken for known and not told: a write of our own must not be among it. */
  async #readyToWrite(what: string): Promise<void> {
    await this.#ready(what);
    await this.#feed.ready();
  }

  async #row(kind: string, id: string): Promise<Row | undefined> {
    const { rows } = await this.#connections.execute('SELECT version, tokens, value FROM records WHERE kind = ? AND id = ?', [kind, id]);
    return rows[0];
  }

  async #create(kind: string, id: string, json: string): Promise<Swap> {
    const token = this.#token();
    const written = { kind, id };
    const inserted = await this.#connections.execute(
      'INSERT INTO records (kind, id, version, tokens, value) VALUES (?, ?, 1, ?, ?)',
      [kind, id, token, json],
      written,
    );
    if (inserted.affected === 1) return { done: true, version: 1 };
    // There is a row: of a record that lives, of one that was deleted, or our own, whose answer got lost.
    const again = await this.#connections.execute(
      `UPDATE records SET value = ?, version = version + 1, tokens = LEFT(CONCAT(?, tokens), ${TOKENS * TOKEN_LENGTH})
       WHERE kind = ? AND id = ? AND value IS NULL AND INSTR(tokens, ?) = 0`,
      [json, token, kind, id, token],
      written,
    );
    const row = await this.#row(kind, id);
    const own = row && versionOf(token, row);
    if (own !== undefined) return { done: true, version: own };
    this.#mustBeSure(again.affected === 1 || ((inserted.uncertain || again.uncertain) && hasForgotten(row, 0)), written);
    return { done: false, current: row };
  }

  async #swap(kind: string, id: string, expectedVersion: string, json: string | null): Promise<Swap> {
    // A version that this store never gave (it came from another) fits no record.
    if (!/^[1-9]\d{0,14}$/.test(expectedVersion)) return { done: false, current: await this.#row(kind, id) };
    const expected = Number(expectedVersion);
    const token = this.#token();
    const { affected, uncertain } = await this.#connections.execute(
      `UPDATE records SET value = ?, version = version + 1, tokens = LEFT(CONCAT(?, tokens), ${TOKENS * TOKEN_LENGTH})
       WHERE kind = ? AND id = ? AND version = ? AND value IS NOT NULL`,
      [json, token, kind, id, expected],
      { kind, id },
    );
    if (affected === 1) return { done: true, version: expected + 1 };
    const row = await this.#row(kind, id);
    if (uncertain && row !== undefined) {
      const own = versionOf(token, row);
      if (own !== undefined) return { done: true, version: own };
      this.#mustBeSure(hasForgotten(row, expected), { kind, id });
    }
    return { done: false, current: row };
  }

  #mustBeSure(unsure: boolean, written: { kind: string; id: string }): void {
    if (!unsure) return;
    const reason = `the answer got lost, and more than ${TOKENS} changes by others came after it`;
    throw storeErrors.STORE_OUTCOME_UNKNOWN({ path: this.#options.address.shown, ...written, reason });
  }

  #wrote<T>(kind: Kind<T>, id: string, version: number, json: string): Stored<T> {
    this.#feed.wrote({ kind: kind.name, id, version: String(version), json });
    return { id, version: String(version), value: readValue(kind, id, json) };
  }

  #token(): string {
    return Buffer.from(this.#options.random.bytes((TOKEN_LENGTH / 4) * 3)).toString('base64url');
  }
}

/** The version that the write with this mark made; each write after it put one mark before it and added one to the version. */
function versionOf(token: string, row: Row): number | undefined {
  const tokens = String(row.tokens);
  for (let newer = 0; newer * TOKEN_LENGTH < tokens.length; newer++) {
    if (tokens.startsWith(token, newer * TOKEN_LENGTH)) return Number(row.version) - newer;
  }
  return undefined;
}

/** Whether a write upon `version` could have left the row's marks by now. */
function hasForgotten(row: Row | undefined, version: number): boolean {
  return row !== undefined && Number(row.version) - version > TOKENS;
}

function stored<T>(kind: Kind<T>, id: string, row: Row | undefined): Stored<T> | undefined {
  if (row === undefined || row.value === null) return undefined;
  return { id, version: String(row.version), value: readValue(kind, id, String(row.value)) };
}
