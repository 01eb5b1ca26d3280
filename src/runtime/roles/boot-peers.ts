/** The replicas that answer DHCP on the same networks: each writes its addresses down, so that nobody takes another's offer for a stranger's. */
import { z } from 'zod';
import type { Logger } from '../core/logger.ts';
import { type Kind, modify, type Store } from '../store/index.ts';

const server = z.object({ addresses: z.array(z.string()) });
export const bootServerKind: Kind<z.infer<typeof server>> = { name: 'boot-server', parse: (value) => server.parse(value) };

export interface BootPeers {
  /** Of all replicas, this one included. */
  readonly addresses: () => ReadonlySet<string>;
  close(): void;
}

/** A record that cannot be written now is not worth a start that fails: a replica is then reported as a rival. */
export async function joinBootServers(store: Store, memberName: string, own: readonly string[], logger: Logger): Promise<BootPeers> {
  const known = new Map<string, readonly string[]>();
  let all: ReadonlySet<string> = new Set(own);
  const learn = (member: string, addresses: readonly string[]): void => {
    known.set(member, addresses);
    all = new Set([...own, ...[...known.values()].flat()]);
  };
  const watch = store.watch(bootServerKind, (event) => {
    if (event.type === 'put') learn(event.record.id, event.record.value.addresses);
  });
  try {
    for (const { id, value } of await store.list(bootServerKind, { onInvalid: () => undefined })) learn(id, value.addresses);
    const value = { addresses: [...own] };
    const created = await store.create(bootServerKind, memberName, value);
    if (created.outcome === 'exists') await modify(store, bootServerKind, memberName, () => value);
  } catch (error) {
    logger.warn({ error: error instanceof Error ? error.message : String(error) }, 'the other boot servers are not known');
  }
  return { addresses: () => all, close: () => watch.close() };
}
