/**
 * The schema, as numbered steps. A step that has been released never changes; a new one goes at the end. Each runs once, in its own
 * transaction together with its row in `migrations`.
 */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

export const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'records',
    // `version` comes from one counter for the whole file: it is both the record's version and the place of the change in the
    // order of all changes, which lets another process on the same file ask "what changed after n?". A deleted record stays as a
    // row without a value, so that such a process hears of it; `create` puts the row to use again.
    sql: `
      CREATE TABLE sequence (only INTEGER PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL);
      INSERT INTO sequence (only, last) VALUES (1, 0);
      CREATE TABLE record (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        value TEXT,
        PRIMARY KEY (kind, id)
      ) WITHOUT ROWID;
      CREATE UNIQUE INDEX record_by_version ON record (version);
    `,
  },
];

export const newestSchema: number = migrations.at(-1)?.version ?? 0;
