/** The machines' BMCs: one gateway for all of them, and the drivers that speak through it. */
import { readFileSync } from 'node:fs';
import type { BmcDesk, MetricsRegistry } from '../api/index.ts';
import { nodeProcesses } from '../core/node-processes.ts';
import { PowerAdapter } from '../machine/index.ts';
import { IpmiGateway, PowerDrivers } from '../power/index.ts';
import { StoredStops } from './power-stops.ts';
import { type Role, type Surroundings, startRole } from './role.ts';

export interface PowerRole extends Role {
  readonly power: PowerAdapter;
  /** For `/v1/bmcs`. */
  readonly bmcs: BmcDesk;
}

export function startPower({ config, secrets, store, metrics, network, clock, random, logger }: Surroundings): Promise<PowerRole> {
  return startRole((closing) => {
    const gateway = new IpmiGateway({ clock, random, network, logger, stops: new StoredStops(store) });
    closing(() => gateway.close());
    const counted = new Map<string, number>();
    metrics.collect(() => collect(metrics, gateway, counted));
    const { port: ipmiPort, cipher_suite: suite, retry } = config.ipmi;
    const { ca_file: caFile } = config.redfish;
    const drivers = new PowerDrivers({
      gateway,
      network,
      clock,
      random,
      logger,
      processes: nodeProcesses,
      programs: config.virtual_power.programs,
      ipmiPort,
      ...(suite !== 'auto' && { cipherSuite: suite === '3' ? 3 : 17 }),
      ...(caFile !== undefined && { redfishCa: readFileSync(caFile, 'utf8') }),
    });
    const power = new PowerAdapter({
      drivers: drivers.factories(),
      secrets,
      clock,
      logger,
      ipmiPowerRetry: retry,
    });
    closing(() => power.close());
    return { power, bmcs: { statuses: () => gateway.statuses(), retry: (bmc: string) => gateway.retry(bmc), ipmiPort } };
  });
}

function collect(metrics: MetricsRegistry, gateway: IpmiGateway, counted: Map<string, number>): void {
  metrics.clear('bms_bmcs');
  const states = new Map<string, number>();
  for (const { state } of gateway.statuses()) states.set(state, (states.get(state) ?? 0) + 1);
  for (const [state, count] of states) metrics.set('bms_bmcs', { state }, count);
  const { sessions, results } = gateway.stats();
  metrics.set('bms_bmc_sessions', {}, sessions);
  for (const [result, count] of results) {
    metrics.add('bms_bmc_commands_total', { result }, count - (counted.get(result) ?? 0));
    counted.set(result, count);
  }
}
