/** What [dhcp] unknown_machines = discover does: strangers that want to boot become records that a person completes. */
import type { DiscoveredEntry } from 'cdk8s-baremetal-contract/api/index';
import { type BootJournal, type DiscoveredMachine, Discovery, type Noted } from '../boot/index.ts';
import { isoTime } from '../core/iso-time.ts';
import { discoveredMachines, enrolDiscovered } from '../machine/index.ts';
import type { Store } from '../store/index.ts';
import type { Closing, Surroundings } from './role.ts';

/** For DhcpServer's onDiscovered. */
export function discovering(
  { config, store, secrets, clock, random, logger, metrics }: Surroundings,
  journal: BootJournal,
  closing: Closing,
): (found: DiscoveredMachine) => Noted {
  const { discover_limit: limit, discover_rate: perMinute } = config.dhcp;
  const discovery = new Discovery({
    clock,
    logger,
    perMinute,
    enrol: (found) => enrolDiscovered({ store, secrets, clock, random }, found, limit),
    onOutcome: (outcome) => metrics.add('bms_discoveries_total', { outcome }),
    onProblem: (problem) => {
      journal.problem(problem);
      metrics.add('bms_dhcp_problems_total', { kind: problem.kind });
    },
  });
  closing(() => discovery.settled());
  return (found) => {
    journal.discovered(found);
    return discovery.found(found);
  };
}

/** Those that wait for a person, whichever replica heard them. */
export async function discoveredEntries(store: Store): Promise<DiscoveredEntry[]> {
  return (await discoveredMachines(store)).map(({ name, interfaces, discovered, stateSince }) => ({
    name,
    macs: interfaces.map(({ mac }) => mac),
    ...(discovered?.systemUuid !== undefined && { uuid: discovered.systemUuid }),
    ...(discovered?.arch !== undefined && { arch: discovered.arch }),
    interface: discovered?.interface ?? '',
    ...(discovered?.relay !== undefined && { relay: discovered.relay }),
    since: isoTime(discovered?.at ?? stateSince),
  }));
}
