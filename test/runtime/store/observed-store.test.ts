/** Who hears how the calls of a store end. */
import { type Kind, MemoryStore, observedStore, storeErrors } from 'cdk8s-baremetal-runtime/store/index';
import { expect, it } from 'vitest';

const thing: Kind<string> = { name: 'thing', parse: String };

it('how every call ended is told, and what went wrong reaches the caller', async () => {
  const store = new MemoryStore();
  const told: string[] = [];
  const observed = observedStore(store, (operation, result) => told.push(`${operation} ${result}`));
  await observed.create(thing, 'a', 'one');
  await observed.create(thing, 'a', 'two'); // exists: an answer like any other
  const { version = '' } = (await observed.get(thing, 'a')) ?? {};
  await observed.update(thing, { id: 'a', value: 'three' }, version);
  await observed.update(thing, { id: 'a', value: 'four' }, version); // lost
  await observed.list(thing);
  expect(told.splice(0)).toEqual(['create ok', 'create ok', 'get ok', 'update ok', 'update ok', 'list ok']);
  const away = storeErrors.STORE_UNREACHABLE({ path: 'bms@db', seconds: 5, reason: 'ECONNREFUSED' });
  store.get = () => Promise.reject(away);
  store.delete = () => Promise.reject(new TypeError('a defect'));
  await expect(observed.get(thing, 'a')).rejects.toBe(away);
  await expect(observed.delete(thing, { id: 'a' }, version)).rejects.toThrow('a defect');
  expect(told).toEqual(['get STORE_UNREACHABLE', 'delete other']);
});
