import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Clock } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { type Kind, newestSchema, openStore, SqliteStore, sqlitePath, sqliteSchemaVersion } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const word: Kind<string> = { name: 'word', parse: (value) => String(value) };

describe('002-6: the SQLite store', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sqlite-'));
    path = join(directory, 'state.db');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const open = (clock: Clock = nodeClock, pollMs = 0) => new SqliteStore({ path, clock, pollMs, lockTimeoutMs: 50 });

  it('keeps records over a restart, mode 0600, and records its migrations', async () => {
    const first = open();
    await first.create(word, 'a', 'kept');
    await first.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const second = open();
    expect((await second.get(word, 'a'))?.value).toBe('kept');
    await second.close();
    expect(sqliteSchemaVersion(path)).toBe(newestSchema);
    expect(sqliteSchemaVersion(join(directory, 'none.db'))).toBe(0);
  });

  it('a look at what others wrote that fails is made again later, and ends nobody', async () => {
    const clock = new VirtualClock();
    const mine = open(clock, 1_000);
    const seen: string[] = [];
    mine.watch(word, (event) => seen.push(event.type === 'put' ? event.record.value : event.type));
    const theirs = open(clock);
    const damage = new DatabaseSync(path);
    damage.exec('ALTER TABLE record RENAME TO elsewhere');
    await clock.runFor(3_000);
    damage.exec('ALTER TABLE elsewhere RENAME TO record');
    damage.close();
    await theirs.create(word, 'a', 'heard');
    await clock.runFor(3_000);
    expect(seen).toEqual(['heard']);
    await mine.close();
    await theirs.close();
  });

  it('runs in WAL mode', async () => {
    const store = open();
    await store.create(word, 'a', 'x');
    const db = new DatabaseSync(path);
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    db.close();
    await store.close();
  });

  it('refuses a file of a newer schema and leaves it as it is', async () => {
    await open().close();
    const db = new DatabaseSync(path);
    db.prepare('INSERT INTO migrations (version, name, applied_at) VALUES (?, ?, ?)').run(newestSchema + 1, 'future', 'later');
    db.close();
    expect(() => open()).toThrow(expect.objectContaining({ code: 'STORE_NEWER_SCHEMA' }));
    expect(sqliteSchemaVersion(path)).toBe(newestSchema + 1);
  });

  it.each([
    { name: 'garbage', content: Buffer.alloc(8192, 0x5a) },
    { name: 'text', content: Buffer.from('not a database\n'.repeat(100)) },
  ])('a file of $name is STORE_CORRUPT', ({ content }) => {
    writeFileSync(path, content);
    expect(() => open()).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
  });

  it('a store with a damaged page is STORE_CORRUPT, at open', async () => {
    const store = open();
    for (let i = 0; i < 200; i++) await store.create(word, `id-${i}`, 'x'.repeat(100));
    await store.close();
    const file = new DatabaseSync(path);
    const { page_count: pages } = file.prepare('PRAGMA page_count').get() as { page_count: number };
    const { page_size: pageBytes } = file.prepare('PRAGMA page_size').get() as { page_size: number };
    file.close();
    const { openSync, writeSync, closeSync } = await import('node:fs');
    const fd = openSync(path, 'r+');
    writeSync(fd, Buffer.alloc(pageBytes, 0xff), 0, pageBytes, (pages - 2) * pageBytes);
    closeSync(fd);
    expect(() => open()).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
  });

  it("another program's SQLite file is not taken over", () => {
    const db = new DatabaseSync(path);
    db.exec('CREATE TABLE precious (x)');
    db.close();
    expect(() => open()).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT', message: expect.stringContaining('another program') }));
  });

  it('a missing directory is STORE_OPEN with the path', () => {
    path = join(directory, 'none', 'state.db');
    expect(() => open()).toThrow(expect.objectContaining({ code: 'STORE_OPEN', message: expect.stringContaining(path) }));
  });

  it('two processes on one file: compare-and-swap holds, and a poll shows the changes of the other', async () => {
    const due: (() => void)[] = [];
    const clock: Clock = {
      ...nodeClock,
      after: (_ms, callback) => {
        due.push(callback);
        return { cancel: () => undefined };
      },
    };
    const mine = open(clock, 1000);
    const theirs = open();
    const seen: string[] = [];
    mine.watch(word, (event) => seen.push(event.type === 'put' ? event.record.value : event.type));
    const made = await theirs.create(word, 'a', 'theirs');
    if (made.outcome !== 'stored') throw new Error();
    expect((await mine.create(word, 'a', 'mine')).outcome).toBe('exists');
    expect((await mine.update(word, { id: 'a', value: 'mine' }, made.record.version)).outcome).toBe('stored');
    expect((await theirs.update(word, { id: 'a', value: 'again' }, made.record.version)).outcome).toBe('conflict');
    await theirs.create(word, 'b', 'second');
    due.shift()?.();
    await Promise.resolve();
    expect(seen).toEqual(['theirs', 'mine', 'second']);
    await mine.close();
    await theirs.close();
  });

  it('a lock that is not given back in time is STORE_IO, not a hang', async () => {
    const store = open();
    const db = new DatabaseSync(path);
    db.exec('BEGIN IMMEDIATE');
    await expect(store.create(word, 'a', 'x')).rejects.toMatchObject({ code: 'STORE_IO' });
    db.exec('ROLLBACK');
    db.close();
    expect((await store.create(word, 'a', 'x')).outcome).toBe('stored');
    await store.close();
  });

  it.each([
    ['sqlite:///var/lib/bms/state.db', '/var/lib/bms/state.db'],
    ['sqlite:////var/lib/bms/state.db', '/var/lib/bms/state.db'],
  ])('%s names %s', (url, expected) => {
    expect(sqlitePath(url)).toBe(expected);
  });

  it('opens by URL, and refuses others without repeating a password', async () => {
    await openStore(`sqlite://${path}`, { clock: nodeClock }).close();
    await openStore('memory://', { clock: nodeClock }).close();
    for (const url of ['sqlite://', 'sqlite:///', 'sqlite:///dir/', 'postgres://bms:s3cret@db/x', '']) {
      let caught: unknown;
      try {
        openStore(url, { clock: nodeClock });
      } catch (error) {
        caught = error;
      }
      expect(caught).toMatchObject({ code: 'STORE_URL' });
      expect(String(caught)).not.toContain('s3cret');
    }
  });
});
