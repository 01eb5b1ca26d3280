/** Stops of BMCs that refused credentials, in the store: restarts and other replicas keep to them. */
import { z } from 'zod';
import type { BmcStop, StopKeeper } from '../power/index.ts';
import type { Kind, Store } from '../store/index.ts';

const time = z.number().nonnegative();
const stop = z.looseObject({
  bmc: z.string(),
  user: z.string(),
  code: z.string(),
  atMs: time,
  probeAtMs: time,
  refused: z.array(z.object({ atMs: time, salt: z.string(), digest: z.string() })),
});

export const bmcStopKind: Kind<BmcStop> = { name: 'bmc-stop', parse: (value) => stop.parse(value) };

/** Wall clock of the last "try again" of a person. */
export const bmcWakeKind: Kind<{ readonly atMs: number }> = {
  name: 'bmc-wake',
  parse: (value) => z.looseObject({ atMs: time }).parse(value),
};

export class StoredStops implements StopKeeper {
  /** What was read last, so that a swap knows which version it replaces. */
  readonly #versions = new WeakMap<BmcStop, string>();

  constructor(private readonly store: Store) {}

  async read(bmc: string): Promise<BmcStop | undefined> {
    const record = await this.store.get(bmcStopKind, idOf(bmc));
    if (!record) return undefined;
    this.#versions.set(record.value, record.version);
    return record.value;
  }

  async swap(bmc: string, before: BmcStop | undefined, next: BmcStop | undefined): Promise<boolean> {
    const id = idOf(bmc);
    if (before === undefined) {
      if (next === undefined) return true;
      const created = await this.store.create(bmcStopKind, id, next);
      if (created.outcome === 'stored') this.#versions.set(next, created.record.version);
      return created.outcome === 'stored';
    }
    const version = this.#versions.get(before);
    if (version === undefined) return false; // not read from here: read first
    if (next === undefined) return (await this.store.delete(bmcStopKind, { id }, version)).outcome === 'deleted';
    const updated = await this.store.update(bmcStopKind, { id, value: next }, version);
    if (updated.outcome === 'stored') this.#versions.set(next, updated.record.version);
    return updated.outcome === 'stored';
  }

  async wake(bmc: string, atMs: number): Promise<void> {
    const id = idOf(bmc);
    let current = await this.store.get(bmcWakeKind, id);
    for (let tries = 0; tries < 5; tries++) {
      const result = current
        ? await this.store.update(bmcWakeKind, { id, value: { atMs } }, current.version)
        : await this.store.create(bmcWakeKind, id, { atMs });
      if (result.outcome === 'stored') return;
      current = await this.store.get(bmcWakeKind, id);
    }
  }

  async wokenAt(bmc: string): Promise<number | undefined> {
    return (await this.store.get(bmcWakeKind, idOf(bmc)))?.value.atMs;
  }
}

/** Ids of records are names in Kubernetes too. One sign for one: where an IPv6 address leaves out its zeros is what tells two apart. */
function idOf(bmc: string): string {
  return bmc
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]/g, '-')
    .replaceAll(/^[-.]+|[-.]+$/g, '');
}
