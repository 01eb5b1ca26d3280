/** A whole machine: the server, and the BMC that switches it. */
import type { Endpoint, Network } from 'cdk8s-baremetal-runtime/core/index';
import { type BmcUser, type ChassisDelays, SimulatedBmc } from '../bmc/index.ts';
import { SimulatedServer, type SimulatedServerOptions } from './simulated-server.ts';

export interface SimulatedMachineOptions extends Omit<SimulatedServerOptions, 'restart'> {
  readonly bmc: {
    /** The management network, which may be another than the machine's own. */
    readonly network: Network;
    readonly address?: string;
    readonly port?: number;
    readonly users: readonly BmcUser[];
    readonly delays?: ChassisDelays;
  };
}

export interface SimulatedMachine {
  readonly server: SimulatedServer;
  readonly bmc: SimulatedBmc;
  /** Where the BMC listens. */
  readonly bmcEndpoint: Endpoint;
  /** Pulls the plug of both; resolves when every socket is closed. */
  close(): Promise<void>;
}

/** Resolves when the BMC listens; the server is off. */
export async function startMachine({ bmc: management, ...options }: SimulatedMachineOptions): Promise<SimulatedMachine> {
  const { clock, random, logger } = options;
  const wired: { bmc?: SimulatedBmc } = {};
  const server = new SimulatedServer({ ...options, restart: () => wired.bmc?.hostReset() });
  const bmc = await SimulatedBmc.start({ clock, random, logger, chassis: server, ...management });
  wired.bmc = bmc;
  return {
    server,
    bmc,
    bmcEndpoint: bmc.local,
    async close() {
      await bmc.close();
      await server.close();
    },
  };
}
