/** The machines' BMCs: one gateway for all of them, and the drivers that speak through it. */
import { PowerAdapter } from '../machine/index.ts';
import { IpmiGateway, IpmiPower } from '../power/index.ts';
import { type Role, type Surroundings, startRole } from './role.ts';

export interface PowerRole extends Role {
  readonly power: PowerAdapter;
}

export function startPower({ config, secrets, network, clock, random, logger }: Surroundings): Promise<PowerRole> {
  return startRole((closing) => {
    const gateway = new IpmiGateway({ clock, random, network, logger });
    closing(() => gateway.close());
    const cipherSuite = config.ipmi.cipher_suite as 3 | 17;
    const power = new PowerAdapter({
      drivers: { ipmi: (access) => new IpmiPower(gateway, { cipherSuite, ...access }) },
      secrets,
      clock,
      logger,
      ipmiPowerRetry: config.ipmi.retry,
    });
    closing(() => power.close());
    return { power };
  });
}
