/** Which PowerManager serves an address. A new driver is one more case here, and one more scheme in power-url.ts. */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import type { Processes } from '../core/processes.ts';
import type { Random } from '../core/random.ts';
import { powerErrors } from './errors.ts';
import { IBootDevices, IBootPower } from './iboot/iboot-power.ts';
import type { IpmiGateway } from './ipmi/gateway.ts';
import { IpmiPower } from './ipmi/ipmi-power.ts';
import type { BmcAccess, PowerDriverName, PowerManager, PowerManagerFactory, Privilege } from './power-manager.ts';
import { isPowerUrl, type PowerTarget, type PowerUrlRedfish, parseNovaIBoot, parsePowerUrl, REDFISH_PORT } from './power-url.ts';
import type { RedfishSensor } from './redfish/redfish-sensors.ts';
import { RedfishServices } from './redfish/redfish-services.ts';
import { VirtualPower } from './virtual/virtual-power.ts';

export interface PowerDriversOptions {
  readonly gateway: IpmiGateway;
  readonly clock: Clock;
  readonly network: Network;
  readonly random: Random;
  readonly logger: Logger;
  /** Absent: there is no VirtualPower here. */
  readonly processes?: Processes;
  /** Programs that a virtual machine's address may name. Default: none. */
  readonly programs?: readonly string[] | 'any';
  /** PEM: who signs the certificates of Redfish services. Default: the system's authorities. */
  readonly redfishCa?: string | undefined;
  /** For records that name no port. Default 623. */
  readonly ipmiPort?: number;
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
  readonly #redfish: RedfishServices;

  constructor(options: PowerDriversOptions) {
    this.#options = options;
    const { gateway, network, clock, random, redfishCa: ca } = options;
    this.#redfish = new RedfishServices({ network, clock, random, ca, guard: (bmc) => gateway.guard(bmc) });
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
      case 'redfish':
        return this.#redfish.open(known, credentials.username || (known.username ?? ''), credentials.password);
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

  /** Of a Redfish service; IPMI has `readSensors`. */
  redfishSensors(target: PowerUrlRedfish, { username, password }: Credentials, signal?: AbortSignal): Promise<readonly RedfishSensor[]> {
    return this.#redfish.sensors(target, username || (target.username ?? ''), password, signal);
  }

  /** As records name them: the driver, and an address that may be a URL of that driver. */
  factories(): Readonly<Partial<Record<PowerDriverName, PowerManagerFactory>>> {
    return {
      ipmi: (access) => this.#fromRecord('ipmi', access),
      redfish: (access) => this.#fromRecord('redfish', access),
      iboot: (access) => this.#fromRecord('iboot', access),
      virtual: (access) => this.#fromRecord('virtual', access),
    };
  }

  #fromRecord(driver: PowerTarget['driver'], access: BmcAccess): PowerManager {
    const { address, port, username, password } = access;
    const target = isPowerUrl(address)
      ? parsePowerUrl(address)
      : driver === 'ipmi'
        ? { driver, address, port: port ?? this.#options.ipmiPort }
        : driver === 'redfish'
          ? { driver, address, port: port ?? REDFISH_PORT }
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
