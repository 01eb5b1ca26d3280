/** Replicas tell each other their addresses, by the store that they share. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { bootServerKind, deployHelperKind, joinPeers } from 'cdk8s-baremetal-runtime/roles/peers';
import { MemoryStore } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it, vi } from 'vitest';

describe('replicas of one kind of work', () => {
  it('know each other, whoever came first, and nobody of another kind', async () => {
    const store = new MemoryStore();
    const first = await joinPeers(deployHelperKind, store, 'a', ['10.0.0.1'], silentLogger);
    const second = await joinPeers(deployHelperKind, store, 'b', ['10.0.0.2'], silentLogger);
    const other = await joinPeers(bootServerKind, store, 'b', ['10.9.9.9'], silentLogger);
    await vi.waitFor(() => expect([...first.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2']));
    expect([...second.addresses()].sort()).toEqual(['10.0.0.1', '10.0.0.2']);
    expect([...other.addresses()]).toEqual(['10.9.9.9']);
    for (const peers of [first, second, other]) peers.close();
  });

  it('have one address each, also after a start with another', async () => {
    const store = new MemoryStore();
    (await joinPeers(deployHelperKind, store, 'a', ['10.0.0.1'], silentLogger)).close();
    const again = await joinPeers(deployHelperKind, store, 'a', ['10.0.0.7'], silentLogger);
    const other = await joinPeers(deployHelperKind, store, 'b', ['10.0.0.2'], silentLogger);
    expect([...other.addresses()].sort()).toEqual(['10.0.0.2', '10.0.0.7']);
    again.close();
    other.close();
  });
});
