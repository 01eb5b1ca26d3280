/** The life of the machines: the reconciler with everything that it acts through, and the power sync of those at rest. */
import type { MetricsRegistry } from '../api/index.ts';
import { type MachinePorts, PowerSync, Reconciler } from '../machine/index.ts';
import type { DeployRole } from './deploy.ts';
import { driversOf } from './drivers.ts';
import type { PowerRole } from './power.ts';
import { type Role, type Surroundings, startRole } from './role.ts';

const COUNTERS = {
  looks: 'bms_power_sync_looks_total',
  failures: 'bms_power_sync_failures_total',
  late: 'bms_power_sync_late_total',
  claims: 'bms_power_sync_claims_total',
  writes: 'bms_power_sync_writes_total',
  held: 'bms_remedies_held_total',
} as const;

export interface MachineRole extends Role {
  /** This replica's life in the group; undefined while it has none. */
  readonly memberId: () => string | undefined;
}

export function startMachines(surroundings: Surroundings, { power }: PowerRole, deploy: DeployRole): Promise<MachineRole> {
  const { config, store, coordination, secrets, metrics, memberName, clock, random, logger, settings, runner } = surroundings;
  return startRole(async (closing) => {
    const ports: MachinePorts = { ...deploy.ports, power, secrets, ...driversOf(surroundings, runner) };
    const reconciler = new Reconciler({
      store,
      coordination,
      memberName,
      clock,
      random,
      logger,
      ports,
      settings,
    });
    closing(() => reconciler.close()); // also of one that could not join
    await reconciler.start();
    const memberId = (): string | undefined => reconciler.memberId;
    if (!config.power_sync.enabled) return { memberId };
    const { interval, policy, workers: concurrency, unreachable_after: unreachableAfter } = config.power_sync;
    const { patience, grace, budget, window } = config.remedies;
    const powerSync = new PowerSync({
      store,
      clock,
      logger,
      power,
      owner: reconciler,
      isAlive: (member) => coordination.isAlive(member),
      policy,
      intervalMs: interval * 1000,
      concurrency,
      unreachableAfter,
      remedies: { patienceMs: patience * 1000, graceMs: grace * 1000, budget, windowMs: window * 1000 },
    });
    closing(() => powerSync.close());
    await powerSync.start();
    metrics.collect(powerSyncCollector(metrics, powerSync));
    return { memberId };
  });
}

/** Writes what the power sync knows and has done into the registry, each time that it is called. */
export function powerSyncCollector(metrics: MetricsRegistry, sync: Pick<PowerSync, 'fleet' | 'stats'>): () => void {
  const counted = new Map<string, number>();
  return () => {
    const { fleet, stats } = sync;
    metrics.set('bms_nodes_faulty', {}, fleet.faulty);
    metrics.set('bms_power_sync_outage', {}, Number(fleet.outage));
    for (const [key, value] of Object.entries(stats)) {
      metrics.add(COUNTERS[key as keyof typeof stats], {}, value - (counted.get(key) ?? 0));
      counted.set(key, value);
    }
  };
}
