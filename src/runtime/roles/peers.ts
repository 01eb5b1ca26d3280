/**
 * The replicas that do the same work on the same networks: each writes its addresses down. Those that answer DHCP, so that nobody takes another's offer
 * for a stranger's; those that give out images, so that a ramdisk has somewhere to turn when one of them is gone.
 */
import { z } from 'zod';
import type { Logger } from '../core/logger.ts';
import { type Kind, modify, type Store } from '../store/index.ts';

const server = z.object({ addresses: z.array(z.string()) });
export type PeerKind = Kind<z.infer<typeof server>>;
export const bootServerKind: PeerKind = { name: 'boot-server', parse: (value) => server.parse(value) };
export const deployHelperKind: PeerKind = { name: 'deploy-helper', parse: (value) => server.parse(value) };

export interface Peers {
  /** Of all replicas, this one included. */
  readonly addresses: () => ReadonlySet<string>;
  close(): void;
}

/** A record that cannot be written now is not worth a start that fails: a replica is then reported as a rival, or not asked for images. */
export async function joinPeers(kind: PeerKind, store: Store, memberName: string, own: readonly string[], logger: Logger): Promise<Peers> {
  const known = new Map<string, readonly string[]>();
  let all: ReadonlySet<string> = new Set(own);
  const learn = (member: string, addresses: readonly string[]): void => {
    known.set(member, addresses);
    all = new Set([...own, ...[...known.values()].flat()]);
  };
  const watch = store.watch(kind, (event) => {
    if (event.type === 'put') learn(event.record.id, event.record.value.addresses);
  });
  try {
    for (const { id, value } of await store.list(kind, { onInvalid: () => undefined })) learn(id, value.addresses);
    const value = { addresses: [...own] };
    const created = await store.create(kind, memberName, value);
    if (created.outcome === 'exists') await modify(store, kind, memberName, () => value);
  } catch (error) {
    logger.warn({ kind: kind.name, error: error instanceof Error ? error.message : String(error) }, 'the other replicas are not known');
  }
  return { addresses: () => all, close: () => watch.close() };
}
