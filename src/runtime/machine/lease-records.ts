/**
 * The leases of DHCP's server mode, as records. A daemon that forgets them at a restart no longer knows which machine an address
 * belongs to, and refuses a loader its configuration in the middle of a deployment.
 */
import { z } from 'zod';
import { type Lease, type LeaseStore, standsInTheWay } from '../boot/index.ts';
import type { Clock } from '../core/clock.ts';
import type { Kind, Store } from '../store/index.ts';

const lease = z.object({
  address: z.string().min(1),
  mac: z.string().min(1),
  state: z.enum(['offered', 'bound', 'released', 'declined']),
  untilMs: z.number().int().nonnegative(),
});
export const leaseKind: Kind<Lease> = { name: 'lease', parse: (value) => lease.parse(value) };

export function leaseRecords(store: Store, clock: Pick<Clock, 'now'>): LeaseStore {
  return {
    async load() {
      return (await store.list(leaseKind, { onInvalid: () => undefined })).map(({ value }) => value);
    },
    async save(leases) {
      const inTheWay: Lease[] = [];
      for (const value of leases) inTheWay.push(...(await put(store, value, clock)));
      return inTheWay;
    },
    watch(onChange) {
      return store.watch(leaseKind, (event) => {
        if (event.type === 'put') onChange(event.record.value);
      });
    },
  };
}

/** Replicas of a pod answer the same requests, so two may want one address at the same moment: the record's version decides. */
async function put(store: Store, value: Lease, clock: Pick<Clock, 'now'>): Promise<readonly Lease[]> {
  const id = value.address;
  let current = await store.get(leaseKind, id);
  for (;;) {
    if (current && standsInTheWay(current.value, value, clock.now())) return [current.value];
    const result = current ? await store.update(leaseKind, { id, value }, current.version) : await store.create(leaseKind, id, value);
    if (result.outcome === 'stored') return [];
    current = result.current;
  }
}
