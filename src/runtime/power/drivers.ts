/** Which PowerManager serves an address. A new driver is one more case here, and one more scheme in power-url.ts. */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import type { Processes } from '../core/processes.ts';
import { powerErrors } from './errors.ts';
import { IBootDevices, IBootPower } from './iboot/iboot-power.ts';
import type { IpmiGateway } from './ipmi/gateway.ts';
import { IpmiPower } from './ipmi/ipmi-power.ts';
import type { BmcAccess, PowerDriverName, PowerManager, PowerManagerFactory, Privilege } from './power-manager.ts';
import { isPowerUrl, type PowerTarget, parseNovaIBoot, parsePowerUrl } from './power-url.ts';
import { VirtualPower } from './virtual/virtual-power.ts';

export interface PowerDriversOptions {
  readonly gateway: IpmiGateway;
  readonly clock: Clock;
  readonly network: Network;
  readonly logger: Logger;
  /** Absent: there is no VirtualPower here. */
  readonly processes?: Processes;
  /** Programs that a virtual machine's address may name. Default: none. */
  readonly programs?: readonly string[] | 'any';
  /** For addresses that say nothing of it. */
  readonly cipherSuite?: 0 | 1 | 2 | 3 | 17;
  readonly privilege?: Privilege;
}

export interface Credentials {
  readonly username: string;
  readonly password: Secret;
}

/** Makes managers for addresses. Cheap: sessions, sockets and queues are shared. */
export class PowerDrivers {
  readonly #options: PowerDriversOptions;
  readonly #iboots = new IBootDevices();

  constructor(options: PowerDriversOptions) {
    this.#options = options;
  }

  /** Throws POWER_URL and POWER_ACCESS_INVALID. A user name in the address counts where the credentials have none. */
  open(target: string | PowerTarget, credentials: Credentials): PowerManager {
    const { gateway, processes, programs, cipherSuite, privilege } = this.#options;
    const known = typeof target === 'string' ? parsePowerUrl(target) : target;
    switch (known.driver) {
      case 'ipmi': {
        const { driver: _driver, username, ...where } = known;
        const access = {
          cipherSuite,
          privilege,
          ...defined(where),
          username: credentials.username || (username ?? ''),
          password: credentials.password,
        };
        return new IpmiPower(gateway, defined(access) as BmcAccess);
      }
      case 'iboot':
        return new IBootPower(
          { ...known, username: credentials.username || (known.username ?? ''), password: credentials.password },
          this.#options,
          this.#iboots,
        );
      case 'virtual': {
        if (processes === undefined) throw powerErrors.POWER_NOT_SUPPORTED({ driver: 'virtual', what: 'run programs here' });
        return new VirtualPower(known, { ...this.#options, processes, ...(programs && { programs }) });
      }
    }
  }

  /** As records name them: the driver, and an address that may be a URL of that driver. */
  factories(): Readonly<Partial<Record<PowerDriverName, PowerManagerFactory>>> {
    return {
      ipmi: (access) => this.#fromRecord('ipmi', access),
      iboot: (access) => this.#fromRecord('iboot', access),
      virtual: (access) => this.#fromRecord('virtual', access),
    };
  }

  #fromRecord(driver: PowerTarget['driver'], access: BmcAccess): PowerManager {
    const { address, port, username, password } = access;
    const target = isPowerUrl(address)
      ? parsePowerUrl(address)
      : driver === 'ipmi'
        ? { driver, address, port }
        : driver === 'iboot'
          ? parseNovaIBoot(port === undefined ? address : `${address}:${port}`, username)
          : undefined;
    if (target === undefined)
      throw powerErrors.POWER_URL({ url: address, problem: 'a virtual machine needs virtual+ssh:// or virtual+exec://' });
    if (target.driver !== driver) throw powerErrors.POWER_URL({ url: address, problem: `the machine's record says driver ${driver}` });
    return this.open(target, { username, password });
  }
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}
