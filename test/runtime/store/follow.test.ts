/** Whoever follows a kind has it as it is, whatever changes while all of it is read. */
import { follow, type Kind, MemoryStore, modify } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it } from 'vitest';
import { slowLists } from '../../support/slow-lists.ts';

const word: Kind<string> = { name: 'word', parse: String };

function index() {
  const store = new MemoryStore();
  const known = new Map<string, string>();
  let listed = Promise.withResolvers<void>();
  const followed = follow(
    slowLists(store, () => listed.promise),
    word,
    (event) => (event.type === 'put' ? known.set(event.record.id, event.record.value) : known.delete(event.id)),
  );
  const read = async (meanwhile: () => Promise<unknown>, failure?: Error): Promise<void> => {
    listed = Promise.withResolvers();
    const reading = followed.read(({ id, value }) => known.set(id, value));
    await meanwhile();
    if (failure) listed.reject(failure);
    else listed.resolve();
    await reading;
  };
  return { store, known, followed, read };
}

describe('following the records of a kind', () => {
  it('what was told meanwhile counts, and not what the list says: changed, gone, made', async () => {
    const { store, known, read } = index();
    for (const id of ['a', 'b', 'c']) await store.create(word, id, 'old');
    known.clear();
    await read(async () => {
      await modify(store, word, 'a', () => 'new');
      const gone = await store.get(word, 'b');
      if (gone) await store.delete(word, gone, gone.version);
      await store.create(word, 'd', 'new');
    });
    expect(Object.fromEntries(known)).toEqual({ a: 'new', c: 'old', d: 'new' });
  });

  it('may be read again, also after a list that failed: what was told before that is not held against it', async () => {
    const { store, known, read } = index();
    await store.create(word, 'a', 'old');
    const away = new Error('the store is away');
    await expect(read(() => modify(store, word, 'a', () => 'new'), away)).rejects.toBe(away);
    known.clear();
    await read(async () => undefined);
    expect(Object.fromEntries(known)).toEqual({ a: 'new' });
  });

  it('tells nothing once it is closed', async () => {
    const { store, known, followed } = index();
    followed.close();
    await store.create(word, 'a', 'x');
    await Promise.resolve();
    expect(known.size).toBe(0);
  });
});
