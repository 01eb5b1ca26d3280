/**
 * The replicas that do the same work on the same networks: each writes its addresses down. Those that answer DHCP, so that nobody takes another's offer
 * for a stranger's; those that give out images, so that a ramdisk has somewhere to turn when one of them is gone.
 */
import { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { follow, type Kind, modify, type Store } from '../store/index.ts';

const server = z.object({
  addresses: z.array(z.string()),
  /** Wall-clock milliseconds at which it last said that it is there. Absent from what older versions write. */
  at: z.number().optional(),
});
export type PeerKind = Kind<z.infer<typeof server>>;
export const bootServerKind: PeerKind = { name: 'boot-server', parse: (value) => server.parse(value) };
export const deployHelperKind: PeerKind = { name: 'deploy-helper', parse: (value) => server.parse(value) };

const TOLD_EVERY_MS = 3_600_000;
/** A management node that was taken away: its address may be anybody's. Long enough for a store that stands still over a night. */
const FORGOTTEN_MS = 86_400_000;

export interface PeerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly memberName: string;
  /** This replica's addresses. */
  readonly own: readonly string[];
  readonly logger: Logger;
}

export interface Peers {
  /** Of all replicas, this one included. */
  readonly addresses: () => ReadonlySet<string>;
  close(): void;
}

/** A record that cannot be written now is not worth a start that fails: a replica is then reported as a rival, or not asked for images, for an hour. */
export async function joinPeers(kind: PeerKind, { store, clock, memberName, own, logger }: PeerOptions): Promise<Peers> {
  const known = new Map<string, { readonly addresses: readonly string[]; readonly seenMs: number }>();
  let all: ReadonlySet<string> = new Set(own);
  const gather = (): void => {
    const there = [...known.values()].filter(({ seenMs }) => seenMs > clock.now() - FORGOTTEN_MS);
    all = new Set([...own, ...there.flatMap(({ addresses }) => addresses)]);
  };
  const learn = (member: string, { addresses, at }: z.infer<typeof server>): void => {
    known.set(member, { addresses, seenMs: at ?? known.get(member)?.seenMs ?? clock.now() });
    gather();
  };
  const followed = follow(store, kind, (event) => {
    if (event.type === 'put') learn(event.record.id, event.record.value);
  });
  const meet = async (): Promise<void> => {
    try {
      await followed.read(({ id, value }) => learn(id, value), { onInvalid: () => undefined });
      const value = { addresses: [...own], at: clock.now() };
      const created = await store.create(kind, memberName, value);
      if (created.outcome === 'exists') await modify(store, kind, memberName, () => value);
    } catch (error) {
      logger.warn({ kind: kind.name, error: error instanceof Error ? error.message : String(error) }, 'the other replicas are not known');
    }
    gather();
    if (!closed) timer = clock.after(TOLD_EVERY_MS, () => void meet());
  };
  let closed = false;
  let timer: ReturnType<Clock['after']> | undefined;
  await meet();
  return {
    addresses: () => all,
    close: () => {
      closed = true;
      timer?.cancel();
      followed.close();
    },
  };
}
