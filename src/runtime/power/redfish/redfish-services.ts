/** All Redfish services that a process speaks to: one client, so one session and one request at a time, for all managers of one service. */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { powerErrors } from '../errors.ts';
import { bmcName } from '../ipmi/access.ts';
import type { PowerUrlRedfish } from '../power-url.ts';
import { RedfishClient, type RedfishClientOptions } from './redfish-client.ts';
import { RedfishPower } from './redfish-power.ts';
import { type RedfishSensor, readRedfishSensors } from './redfish-sensors.ts';

export type RedfishServicesOptions = Pick<RedfishClientOptions, 'network' | 'clock' | 'random' | 'ca' | 'timeoutMs' | 'taskMs'> & {
  readonly guard: (bmc: string) => RedfishClientOptions['guard'];
};

export class RedfishServices {
  readonly #clients = new Map<string, { readonly client: RedfishClient; users: number }>();

  constructor(private readonly options: RedfishServicesOptions) {}

  /** Throws POWER_ACCESS_INVALID. */
  open(target: PowerUrlRedfish, username: string, password: Secret): RedfishPower {
    const held = this.#hold(target, username, password);
    let closed = false;
    return new RedfishPower(held.client, target.system, async () => {
      if (!closed) held.release();
      closed = true;
      if (held.unused()) await held.client.close();
    });
  }

  async sensors(target: PowerUrlRedfish, username: string, password: Secret, signal?: AbortSignal): Promise<readonly RedfishSensor[]> {
    const { client, release, unused } = this.#hold(target, username, password);
    try {
      return await readRedfishSensors(client, signal);
    } finally {
      release();
      if (unused()) await client.close();
    }
  }

  #hold(target: PowerUrlRedfish, username: string, password: Secret): { client: RedfishClient; release(): void; unused(): boolean } {
    if (username === '') throw powerErrors.POWER_ACCESS_INVALID({ field: 'user', problem: 'is missing' });
    if (/[:\p{Cc}]/u.test(username))
      throw powerErrors.POWER_ACCESS_INVALID({ field: 'user', problem: 'has a colon or a control character' });
    const { address, port, sha256 } = target;
    const bmc = bmcName(address, port);
    const key = JSON.stringify([bmc, username, sha256]);
    let known = this.#clients.get(key);
    if (!known?.client.has(password)) {
      const { guard, ...rest } = this.options;
      const client = new RedfishClient({ ...rest, guard: guard(bmc), bmc, origin: `https://${bmc}`, username, password, sha256 });
      known = { client, users: 0 };
      this.#clients.set(key, known);
    }
    const mine = known;
    mine.users += 1;
    const release = (): void => {
      mine.users -= 1;
      if (mine.users === 0 && this.#clients.get(key) === mine) this.#clients.delete(key);
    };
    return { client: mine.client, release, unused: () => mine.users === 0 };
  }
}
