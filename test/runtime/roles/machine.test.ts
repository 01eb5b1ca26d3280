/** What the role of machines tells of its power sync. */
import { MetricsRegistry } from 'cdk8s-baremetal-runtime/api/index';
import { powerSyncCollector } from 'cdk8s-baremetal-runtime/roles/machine';
import { expect, it } from 'vitest';

it('the metrics of the power sync are its counts and its fleet, however often they are read', async () => {
  const metrics = new MetricsRegistry();
  const sync = {
    fleet: { total: 40, faulty: 3, outage: true },
    stats: { looks: 100, failures: 9, writes: 4, claims: 2, late: 1, held: 5 },
  };
  metrics.collect(powerSyncCollector(metrics, sync));
  const shown = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      [...(await metrics.render()).matchAll(/^bms_((?:power_sync|remedies)_\w+|nodes_faulty) (\d+)$/gm)].map(([, name, value]) => [
        name,
        Number(value),
      ]),
    );
  const first = {
    nodes_faulty: 3,
    power_sync_outage: 1,
    power_sync_looks_total: 100,
    power_sync_failures_total: 9,
    power_sync_late_total: 1,
    power_sync_claims_total: 2,
    power_sync_writes_total: 4,
    remedies_held_total: 5,
  };
  expect(await shown()).toEqual(first);
  expect(await shown()).toEqual(first);
  sync.fleet = { total: 40, faulty: 0, outage: false };
  sync.stats = { ...sync.stats, looks: 140, held: 6 };
  expect(await shown()).toEqual({
    ...first,
    nodes_faulty: 0,
    power_sync_outage: 0,
    power_sync_looks_total: 140,
    remedies_held_total: 6,
  });
});
