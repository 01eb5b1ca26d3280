import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import {
  exportRecords,
  importRecords,
  type Kind,
  MemoryStore,
  openStore,
  schemaVersion,
  syncSchema,
} from 'cdk8s-baremetal-runtime/store/index';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const any = (name: string): Kind<unknown> => ({ name, parse: (value) => value });
const collect = async (lines: AsyncIterable<string>): Promise<string[]> => {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
};
const backup = (store: MemoryStore): Promise<string[]> => collect(exportRecords(store, { clock: nodeClock }));
const filled = async (): Promise<MemoryStore> => {
  const store = new MemoryStore();
  await store.create(any('node'), 'a', { name: 'a', tags: ['x', 'y'], nested: { b: 1, a: 2 } });
  await store.create(any('node'), 'b', 'text\nwith lines');
  await store.create(any('image'), 'a', null);
  return store;
};

describe('002-6: backup and restore', () => {
  it('any records, any values: what comes back is what was there', async () => {
    const id = fc.string({ minLength: 1, unit: 'grapheme' });
    const record = fc.tuple(fc.constantFrom('node', 'image', 'a-kind'), id, fc.jsonValue());
    await fc.assert(
      fc.asyncProperty(fc.array(record), async (records) => {
        const [first, second] = [new MemoryStore(), new MemoryStore()];
        for (const [kind, id, value] of records) await first.create(any(kind), id, value);
        const lines = await backup(first);
        const { created } = await importRecords(second, lines);
        expect(created).toBe(lines.length - 2);
        expect((await backup(second)).slice(1)).toEqual(lines.slice(1));
        expect(await importRecords(second, lines)).toEqual({ created: 0, overwritten: 0, unchanged: created });
      }),
    );
  });

  it('a record that has changed since stops all of it, unless it may be overwritten; what the file does not name stays', async () => {
    const store = await filled();
    const lines = await backup(store);
    await store.delete(any('node'), { id: 'b' }, (await store.get(any('node'), 'b'))?.version ?? '');
    await store.update(any('node'), { id: 'a', value: 'changed' }, (await store.get(any('node'), 'a'))?.version ?? '');
    await store.create(any('node'), 'new', 1);
    await expect(importRecords(store, lines)).rejects.toMatchObject({
      code: 'STORE_IMPORT_CONFLICT',
      message: expect.stringContaining('node a'),
    });
    expect(await store.get(any('node'), 'b')).toBeUndefined();
    expect(await importRecords(store, lines, { overwrite: true })).toEqual({ created: 1, overwritten: 1, unchanged: 1 });
    expect((await store.list(any('node'))).map(({ id, value }) => [id, value])).toEqual([
      ['a', { name: 'a', tags: ['x', 'y'], nested: { b: 1, a: 2 } }],
      ['b', 'text\nwith lines'],
      ['new', 1],
    ]);
  });

  it('the order of fields makes no difference', async () => {
    const store = await filled();
    const lines = (await backup(store)).map((line) => line.replace('{"b":1,"a":2}', '{"a":2,"b":1}'));
    expect((await importRecords(store, lines)).unchanged).toBe(3);
  });

  it.each([
    { name: 'empty', change: () => [], reason: 'the end is missing' },
    { name: 'cut short', change: (lines: string[]) => lines.slice(0, -1), reason: 'the end is missing' },
    {
      name: 'cut in a line',
      change: (lines: string[]) => [...lines.slice(0, -2), lines.at(-2)?.slice(0, 10) ?? ''],
      reason: 'not a JSON object',
    },
    { name: 'without a record', change: (lines: string[]) => lines.toSpliced(1, 1), reason: 'counts 3 records, the file has 2' },
    { name: 'with a record twice', change: (lines: string[]) => lines.toSpliced(1, 0, lines[1] ?? ''), reason: 'comes twice' },
    { name: 'without its first line', change: (lines: string[]) => lines.slice(1), reason: 'does not begin with' },
    {
      name: 'of a newer format',
      change: (lines: string[]) => [lines[0]?.replace('"version":1', '"version":2') ?? '', ...lines.slice(1)],
      reason: 'version 2',
    },
    { name: 'with more after its end', change: (lines: string[]) => [...lines, lines[1] ?? ''], reason: 'after the end' },
    { name: 'of another kind of file', change: () => ['<html>'], reason: 'not a JSON object' },
  ])('a file $name is refused with its line, and nothing is imported', async ({ change, reason }) => {
    const lines = change(await backup(await filled()));
    const store = new MemoryStore();
    await expect(importRecords(store, lines)).rejects.toMatchObject({
      code: 'STORE_IMPORT_LINE',
      message: expect.stringContaining(reason),
    });
    expect((await backup(store)).length).toBe(2);
  });
});

describe('002-6: db sync and db version of an SQLite file', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'schema-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('makes the file, tells its version, and carries records over from another store', async () => {
    const url = `sqlite://${join(directory, 'state.db')}`;
    const { newest } = await schemaVersion(url, { clock: nodeClock });
    expect(await schemaVersion(url, { clock: nodeClock })).toEqual({ found: 0, newest });
    for (let i = 0; i < 2; i++) expect(await syncSchema(url, { clock: nodeClock })).toEqual({ found: newest, newest });
    expect(await schemaVersion(url, { clock: nodeClock })).toEqual({ found: newest, newest });
    const store = openStore(url, { clock: nodeClock });
    const lines = await backup(await filled());
    await importRecords(store, lines);
    expect((await collect(exportRecords(store, { clock: nodeClock }))).slice(1)).toEqual(lines.slice(1));
    await store.close();
  });

  it('memory has no schema', async () => {
    expect(await syncSchema('memory://', { clock: nodeClock })).toEqual({ found: 0, newest: 0 });
  });
});
