/**
 * What others changed in the database. The sum of all versions is the sequence number of the whole: each change adds one to it, in whatever order
 * transactions commit, and while it equals the sum of the versions that we know, each single one does (none ever gets smaller). So a poll that
 * finds nothing new reads one number, and a change can be late but not missed: when the recently changed rows do not explain the sum, all versions are
 * compared.
 */
import type { Clock, Timer } from '../../core/clock.ts';
import type { RawChange } from '../watchers.ts';
import type { MysqlConnections, Row } from './mysql-connections.ts';

export interface ChangeFeedOptions {
  readonly connections: MysqlConnections;
  readonly clock: Clock;
  readonly pollMs: number;
  readonly tell: (change: RawChange) => void;
}

/** How far before the newest change that was seen the quick reading begins: commits are not in the order of their times. */
const OVERLAP_S = 10;

export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  readonly #known = new Map<string, number>();
  #sum = 0;
  #newest: string | null = null;
  #active = false;
  #started: Promise<void> | undefined;
  #timer: Timer | undefined;
  #polling: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
  }

  /** From now on; harmless when repeated. */
  activate(): void {
    if (this.#active || this.#closed) return;
    this.#active = true;
    this.#start().catch(() => undefined); // the next poll tries again
    this.#schedule();
  }

  /** Resolves when changes by others are no longer missed: at once, after the first reading. */
  async ready(): Promise<void> {
    if (this.#active) await this.#start();
  }

  /** A change of our own, told at once. */
  wrote(change: RawChange): void {
    if (this.#active) this.#learn(change);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#polling;
  }

  #start(): Promise<void> {
    this.#started ??= this.#readVersions().catch((error) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  async #readVersions(): Promise<void> {
    const { newest } = await this.#total();
    for (const row of await this.#versions()) {
      const key = keyOf(row);
      const version = Number(row.version);
      const known = this.#known.get(key) ?? 0;
      if (version <= known) continue; // our own, written meanwhile
      this.#known.set(key, version);
      this.#sum += version - known;
    }
    this.#newest = newest;
  }

  #schedule(): void {
    if (this.#closed || this.#options.pollMs === 0) return;
    this.#timer = this.#options.clock.after(this.#options.pollMs, () => {
      // What fails is reported by the calls of those who use the store; a poll only comes later.
      this.#polling = this.#poll()
        .catch(() => undefined)
        .then(() => this.#schedule());
    });
  }

  async #poll(): Promise<void> {
    await this.#start();
    const { total, newest } = await this.#total();
    if (total === this.#sum) return;
    const before = this.#sum;
    const since = this.#newest;
    const recent = await this.#options.connections.execute(
      `SELECT kind, id, version, value FROM records ${since === null ? '' : `WHERE changed_at >= CAST(? AS DATETIME(6)) - INTERVAL ${OVERLAP_S} SECOND`} ORDER BY changed_at, version`,
      since === null ? [] : [since],
    );
    for (const row of recent.rows) this.#learn(changeOf(row));
    this.#newest = newest;
    if (this.#sum < total || this.#sum === before) await this.#compareAll();
  }

  /** After a step of the server's clock, a very late commit, or when somebody removed rows by hand. */
  async #compareAll(): Promise<void> {
    const rows = await this.#versions();
    for (const row of rows) {
      if (Number(row.version) <= (this.#known.get(keyOf(row)) ?? 0)) continue;
      const { rows: whole } = await this.#options.connections.execute(
        'SELECT kind, id, version, value FROM records WHERE kind = ? AND id = ?',
        [String(row.kind), String(row.id)],
      );
      for (const one of whole) this.#learn(changeOf(one));
    }
    const present = new Set(rows.map(keyOf));
    for (const [key, version] of [...this.#known]) {
      if (present.has(key)) continue;
      const [kind = '', id = ''] = key.split('\0');
      const { rows: again } = await this.#options.connections.execute('SELECT 1 AS there FROM records WHERE kind = ? AND id = ?', [
        kind,
        id,
      ]);
      if (again.length > 0) continue; // our own, created meanwhile
      this.#known.delete(key);
      this.#sum -= version;
      this.#options.tell({ kind, id, version: String(version), json: undefined });
    }
  }

  #learn(change: RawChange): void {
    const key = `${change.kind}\0${change.id}`;
    const version = Number(change.version);
    const known = this.#known.get(key) ?? 0;
    if (version <= known) return;
    this.#known.set(key, version);
    this.#sum += version - known;
    this.#options.tell(change);
  }

  async #total(): Promise<{ total: number; newest: string | null }> {
    const { rows } = await this.#options.connections.execute(
      'SELECT COALESCE(SUM(version), 0) AS total, MAX(changed_at) AS newest FROM records',
    );
    const newest = rows[0]?.newest;
    return { total: Number(rows[0]?.total), newest: typeof newest === 'string' ? newest : null };
  }

  async #versions(): Promise<readonly Row[]> {
    return (await this.#options.connections.execute('SELECT kind, id, version FROM records')).rows;
  }
}

function keyOf({ kind, id }: Row): string {
  return `${kind}\0${id}`;
}

function changeOf({ kind, id, version, value }: Row): RawChange {
  return { kind: String(kind), id: String(id), version: String(version), json: value === null ? undefined : String(value) };
}
