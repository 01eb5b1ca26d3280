/**
 * The leases of DHCP's server mode, as records. A daemon that forgets them at a restart no longer knows which machine an address
 * belongs to, and refuses a loader its configuration in the middle of a deployment.
 */
import { z } from 'zod';
import type { Lease, LeaseStore } from '../boot/index.ts';
import type { Kind, Store } from '../store/index.ts';

const lease = z.object({
  address: z.string().min(1),
  mac: z.string().min(1),
  state: z.enum(['offered', 'bound', 'released', 'declined']),
  untilMs: z.number().int().nonnegative(),
});
export const leaseKind: Kind<Lease> = { name: 'lease', parse: (value) => lease.parse(value) };

export function leaseRecords(store: Store): LeaseStore {
  return {
    async load() {
      return (await store.list(leaseKind, { onInvalid: () => undefined })).map(({ value }) => value);
    },
    async save(leases) {
      for (const value of leases) await put(store, value);
    },
  };
}

async function put(store: Store, value: Lease): Promise<void> {
  const id = value.address;
  let current = await store.get(leaseKind, id);
  for (;;) {
    const result = current ? await store.update(leaseKind, { id, value }, current.version) : await store.create(leaseKind, id, value);
    if (result.outcome === 'stored') return;
    current = result.current;
  }
}
