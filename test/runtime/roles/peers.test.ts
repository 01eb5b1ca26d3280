/** Replicas tell each other their addresses, by the store that they share. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { bootServerKind, deployHelperKind, joinPeers, type PeerKind, type Peers } from 'cdk8s-baremetal-runtime/roles/peers';
import { MemoryStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { describe, expect, it, vi } from 'vitest';
import { slowLists } from '../../support/slow-lists.ts';

function join(kind: PeerKind, store: Store, memberName: string, own: readonly string[], clock = new VirtualClock()): Promise<Peers> {
  return joinPeers(kind, { store, clock, memberName, own, logger: silentLogger });
}

describe('replicas of one kind of work', () => {
  it('know each other, whoever came first, and nobody of another kind', async () => {
    const store = new MemoryStore();
    const first = await join(deployHelperKind, store, 'a', ['10.0.0.1']);
    const second = await join(deployHelperKind, store, 'b', ['10.0.0.2']);
    const other = await join(bootServerKind, store, 'b', ['10.9.9.9']);
    await vi.waitFor(() => expect([...first.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2']));
    expect([...second.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2']);
    expect([...other.addresses()]).toEqual(['10.9.9.9']);
    for (const peers of [first, second, other]) peers.close();
  });

  it('have one address each, also after a start with another', async () => {
    const store = new MemoryStore();
    (await join(deployHelperKind, store, 'a', ['10.0.0.1'])).close();
    const again = await join(deployHelperKind, store, 'a', ['10.0.0.7']);
    const other = await join(deployHelperKind, store, 'b', ['10.0.0.2']);
    expect([...other.addresses()].sort()).toEqual(['10.0.0.2', '10.0.0.7']);
    again.close();
    other.close();
  });

  it('002-14: one that was taken away is forgotten after a day: whoever answers at its address then is a stranger', async () => {
    const [store, clock] = [new MemoryStore(), new VirtualClock()];
    await store.create(bootServerKind, 'old', { addresses: ['10.0.0.9'] }); // by a version that tells no time
    const first = await join(bootServerKind, store, 'a', ['10.0.0.1'], clock);
    const second = await join(bootServerKind, store, 'b', ['10.0.0.2'], clock);
    const gone = await join(bootServerKind, store, 'c', ['10.0.0.3'], clock);
    gone.close();
    await clock.runFor(23 * 3_600_000);
    expect([...first.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.9']);
    await clock.runFor(2 * 3_600_000);
    expect([...first.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2']);
    for (const peers of [first, second]) peers.close();
  });

  it('002-14: one that could not say that it is there says so an hour later', async () => {
    const [store, clock] = [new MemoryStore(), new VirtualClock()];
    let away = true;
    const reached = <T>(call: () => Promise<T>): Promise<T> => (away ? Promise.reject(new Error('the store is away')) : call());
    const first = await join(bootServerKind, store, 'a', ['10.0.0.1'], clock);
    const shaky = new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return name === 'watch' ? value.bind(target) : (...given: unknown[]) => reached(() => value.apply(target, given));
      },
    });
    const second = await join(bootServerKind, shaky, 'b', ['10.0.0.2'], clock);
    expect([[...first.addresses()], [...second.addresses()]]).toEqual([['10.0.0.1'], ['10.0.0.2']]);
    away = false;
    await clock.runFor(3_600_000);
    for (const peers of [first, second]) {
      expect([...peers.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2']);
      peers.close();
    }
  });

  it('what the list says of one that has changed meanwhile is older than what was told of it', async () => {
    const store = new MemoryStore();
    await store.create(bootServerKind, 'b', { addresses: ['10.0.0.2'] });
    const slow = slowLists(store, async () => {
      (await join(bootServerKind, store, 'b', ['10.0.0.7'])).close();
      await vi.waitFor(() => expect(told).toBe(true));
    });
    let told = false;
    store.watch(bootServerKind, () => {
      told = true;
    });
    const first = await join(bootServerKind, slow, 'a', ['10.0.0.1']);
    expect([...first.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.7']);
    first.close();
  });
});
