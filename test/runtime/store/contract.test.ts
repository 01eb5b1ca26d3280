import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import {
  type Kind,
  MemoryStore,
  modify,
  observedStore,
  openStore,
  SqliteStore,
  type Store,
  type WatchEvent,
} from 'cdk8s-baremetal-runtime/store/index';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { withoutCluster } from '../../support/cluster.ts';
import { kubernetesPeer } from './kubernetes-peer.ts';
import { mariaDb, missingForMariaDb } from './maria-db.ts';

const schema = z.object({ colour: z.string(), size: z.number().default(1) });
type Thing = z.infer<typeof schema>;
const thing: Kind<Thing> = { name: 'thing', parse: (value) => schema.parse(value) };
const other: Kind<Thing> = { name: 'other', parse: (value) => schema.parse(value) };

const missing = missingForMariaDb();
if (missing !== undefined) console.warn(`SKIPPED: the contract of a store on MariaDB: ${missing}`);
const mariadb = missing === undefined ? mariaDb() : undefined;
beforeAll(() => mariadb?.start());
afterAll(() => mariadb?.remove());

const implementations: { name: string; open: (directory: string) => Store | Promise<Store> }[] = [
  { name: 'memory', open: () => new MemoryStore() },
  { name: 'memory, with somebody who hears of its calls', open: () => observedStore(new MemoryStore(), () => undefined) },
  { name: 'sqlite', open: (directory) => new SqliteStore({ path: join(directory, 'state.db'), clock: nodeClock, pollMs: 0 }) },
];
if (mariadb !== undefined) {
  const { password } = mariadb;
  implementations.push({
    name: 'mariadb',
    open: async () => openStore(await mariadb.database(), { clock: nodeClock, password, pollMs: 0 }),
  });
}

if (!withoutCluster('the contract of a store on Kubernetes')) {
  const peer = kubernetesPeer();
  afterAll(peer.remove);
  implementations.push({ name: 'kubernetes', open: () => peer.store() });
}

describe.each(implementations)('002-6: the contract of a store: $name', ({ open }) => {
  let directory: string;
  let store: Store;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'store-'));
    store = await open(directory);
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  const created = async (id: string, value: Thing) => {
    const result = await store.create(thing, id, value);
    if (result.outcome !== 'stored') throw new Error('exists');
    return result.record;
  };

  it('gives back what was created, and nothing for an unknown id', async () => {
    const record = await created('a', { colour: 'red', size: 2 });
    expect(await store.get(thing, 'a')).toEqual(record);
    expect(record.value).toEqual({ colour: 'red', size: 2 });
    expect(await store.get(thing, 'b')).toBeUndefined();
    expect(await store.get(other, 'a')).toBeUndefined();
  });

  it('refuses to create an id twice and shows who has it', async () => {
    const record = await created('a', { colour: 'red', size: 2 });
    expect(await store.create(thing, 'a', { colour: 'blue', size: 3 })).toEqual({ outcome: 'exists', current: record });
  });

  it('updates by compare-and-swap: one of two writers wins, the other sees the winner', async () => {
    const first = await created('a', { colour: 'red', size: 1 });
    const results = await Promise.all(
      ['green', 'blue'].map((colour) => store.update(thing, { id: 'a', value: { colour, size: 1 } }, first.version)),
    );
    expect(results.map((result) => result.outcome).sort()).toEqual(['conflict', 'stored']);
    const [winner] = results.filter((result) => result.outcome === 'stored');
    const [loser] = results.filter((result) => result.outcome === 'conflict');
    expect(loser?.current).toEqual(winner?.record);
  });

  it('a conflict on a deleted record shows that it is gone', async () => {
    const first = await created('a', { colour: 'red', size: 1 });
    expect(await store.delete(thing, first, first.version)).toEqual({ outcome: 'deleted' });
    expect(await store.update(thing, first, first.version)).toEqual({ outcome: 'conflict', current: undefined });
    expect(await store.delete(thing, first, first.version)).toEqual({ outcome: 'conflict', current: undefined });
  });

  it('never gives an old version to a record that comes back (ABA)', async () => {
    const first = await created('a', { colour: 'red', size: 1 });
    await store.delete(thing, first, first.version);
    const second = await created('a', { colour: 'red', size: 1 });
    expect(second.version).not.toBe(first.version);
    expect((await store.update(thing, first, first.version)).outcome).toBe('conflict');
  });

  it('delete with an old version changes nothing', async () => {
    const first = await created('a', { colour: 'red', size: 1 });
    const second = await store.update(thing, { id: 'a', value: { colour: 'blue', size: 1 } }, first.version);
    expect((await store.delete(thing, first, first.version)).outcome).toBe('conflict');
    expect(await store.get(thing, 'a')).toEqual(second.outcome === 'stored' && second.record);
  });

  it('lists by id, filtered, one kind only', async () => {
    await created('b', { colour: 'red', size: 1 });
    await created('a', { colour: 'blue', size: 1 });
    await created('c', { colour: 'red', size: 1 });
    await store.create(other, 'd', { colour: 'red', size: 1 });
    expect((await store.list(thing)).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect((await store.list(thing, { where: ({ colour }) => colour === 'red' })).map(({ id }) => id)).toEqual(['b', 'c']);
  });

  it('shares no object with its callers', async () => {
    const value = { colour: 'red', size: 1 };
    const record = await created('a', value);
    value.colour = 'changed';
    record.value.colour = 'changed';
    expect((await store.get(thing, 'a'))?.value.colour).toBe('red');
  });

  it('refuses a value that the kind does not accept, and keeps the old one', async () => {
    const record = await created('a', { colour: 'red', size: 1 });
    await expect(store.update(thing, { id: 'a', value: { colour: 3 } as unknown as Thing }, record.version)).rejects.toThrow();
    expect(await store.get(thing, 'a')).toEqual(record);
  });

  it('a record that cannot be read is named, and does not hide the others when the caller says so', async () => {
    const loose: Kind<unknown> = { name: 'thing', parse: (value) => value };
    await created('good', { colour: 'red', size: 1 });
    await store.create(loose, 'bad', { colour: 7 });
    await expect(store.get(thing, 'bad')).rejects.toMatchObject({ code: 'STORE_RECORD_INVALID' });
    await expect(store.list(thing)).rejects.toMatchObject({ code: 'STORE_RECORD_INVALID' });
    const invalid: string[] = [];
    const records = await store.list(thing, { onInvalid: (id) => invalid.push(id) });
    expect([records.map(({ id }) => id), invalid]).toEqual([['good'], ['bad']]);
  });

  it('watch: tells of every create, update and delete from now on, after the call, until closed', async () => {
    await created('before', { colour: 'red', size: 1 });
    const events: string[] = [];
    const watch = store.watch(thing, (event) => events.push(show(event)));
    const call = store.create(thing, 'a', { colour: 'red', size: 1 });
    expect(events).toEqual([]);
    const record = await call;
    if (record.outcome !== 'stored') throw new Error();
    const second = await store.update(thing, { id: 'a', value: { colour: 'blue', size: 1 } }, record.record.version);
    if (second.outcome !== 'stored') throw new Error();
    await store.create(other, 'x', { colour: 'red', size: 1 });
    await store.delete(thing, { id: 'a' }, second.record.version);
    await Promise.resolve();
    expect(events).toEqual(['put a red', 'put a blue', 'delete a']);
    watch.close();
    watch.close();
    await created('late', { colour: 'red', size: 1 });
    await Promise.resolve();
    expect(events).toHaveLength(3);
  });

  it('watch: an unreadable change is an event, not a crash', async () => {
    const events: string[] = [];
    store.watch(thing, (event) => events.push(show(event)));
    await store.create({ name: 'thing', parse: (value: unknown) => value }, 'bad', { colour: 7 });
    await Promise.resolve();
    expect(events).toEqual(['invalid bad']);
  });

  it('modify: 50 concurrent increments all arrive', async () => {
    await created('a', { colour: 'red', size: 0 });
    await Promise.all(Array.from({ length: 50 }, () => modify(store, thing, 'a', (value) => ({ ...value, size: value.size + 1 }))));
    expect((await store.get(thing, 'a'))?.value.size).toBe(50);
    expect((await modify(store, thing, 'a', () => undefined)).outcome).toBe('unchanged');
    expect((await modify(store, thing, 'none', (value) => value)).outcome).toBe('missing');
  });

  it('a closed store says so', async () => {
    await store.close();
    await store.close();
    await expect(store.get(thing, 'a')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  });
});

function show(event: WatchEvent<Thing>): string {
  return event.type === 'put' ? `put ${event.record.id} ${event.record.value.colour}` : `${event.type} ${event.id}`;
}
