/**
 * A role of bms-core: something that listens or works from its start to its close. Each file beside this one starts one, from the
 * surroundings that all share; main.ts says in which order.
 */
import type { BmsCoreConfig } from 'cdk8s-baremetal-contract';
import type { MetricsRegistry } from '../api/index.ts';
import type { DhcpInterface, FileSource } from '../boot/index.ts';
import type { Coordination } from '../coordination/index.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import type { BootView, CommandRunner, MachineSettings, SecretStore } from '../machine/index.ts';
import type { OpenImage } from '../machine/local-image-cache.ts';
import type { ApiAccess, Store } from '../store/index.ts';
import { coreErrors } from './errors.ts';

/** What every role is given. */
export interface Surroundings {
  readonly config: BmsCoreConfig;
  /** Name of this replica; the Kubernetes node's. */
  readonly memberName: string;
  /** Own address on the provisioning network. */
  readonly serverAddress: string;
  /** Where DHCP is served, an own socket each. @default on `serverAddress`, by one socket for all networks */
  readonly provisioningInterfaces?: readonly DhcpInterface[];
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** One for all: what `/metrics` shows. */
  readonly metrics: MetricsRegistry;
  readonly store: Store;
  readonly coordination: Coordination;
  readonly secrets: SecretStore;
  /** The machines as the boot plane sees them. */
  readonly machines: BootView;
  /** The API server, in place of what Kubernetes tells the container. */
  readonly cluster?: ApiAccess;
  /** In place of the folder of [tftp] root. */
  readonly files?: FileSource;
  readonly openImage?: OpenImage;
  /** In place of programs of this machine: tgtadm. */
  readonly runner?: CommandRunner;
  /** Where the configuration, or a test, says other than the defaults. */
  readonly settings: Partial<MachineSettings>;
}

export interface Role {
  /** Resolves when nothing of it runs any more. */
  close(): Promise<void>;
}

/** Notes what has been begun and must be ended; last begun, first ended. */
export type Closing = (close: () => unknown) => void;

/** Starts a role. What it began before it failed is ended again. What cannot be ended keeps nothing else from its end, and is told after that. */
export async function startRole<T extends object>(begin: (closing: Closing) => Promise<T> | T): Promise<T & Role> {
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const end of closers.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  try {
    return { ...(await begin((end) => closers.push(end))), close };
  } catch (error) {
    await close().catch(() => undefined); // why it could not start is what people look for
    throw error;
  }
}

/** Turns the operating system's word about a port into one that says which, and what to do. */
export async function listening<T>(role: string, where: string, section: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    const { code, address, port } = (cause ?? {}) as { readonly code?: unknown; readonly address?: unknown; readonly port?: unknown };
    // of the several sockets of a role the one that it is about
    const exactly = address !== undefined && port !== undefined ? where.replace(/^.*?(?=\/|$)/, `${address}:${port}`) : where;
    if (code === 'EADDRNOTAVAIL') throw coreErrors.CORE_ADDRESS_MISSING({ role, where: exactly, section }, { cause });
    if (code === 'EADDRINUSE' || code === 'EACCES') throw coreErrors.CORE_PORT_TAKEN({ role, where: exactly, section }, { cause });
    throw cause;
  }
}
