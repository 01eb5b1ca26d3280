/** Machines that nobody has enrolled and that want to boot over the network: who was taken note of is told of at most once a minute, however often it asks. */
import type { Clock } from '../../core/clock.ts';
import { type DhcpMessage, NO_ADDRESS } from './codec.ts';
import { clientArch, clientGuid, clientKind, messageType } from './options.ts';
import { remember } from './remember.ts';
import type { DhcpInterface } from './settings.ts';

/** What a machine that nobody has enrolled says of itself. */
export interface DiscoveredMachine {
  readonly mac: string;
  /** SMBIOS UUID (option 97). */
  readonly uuid?: string;
  /** Option 93. */
  readonly arch?: number;
  /** The interface that heard it. */
  readonly interface: string;
  readonly relay?: string;
}

/** Whether note was taken of it, now or when that is known. Must not reject. */
export type Noted = boolean | Promise<boolean>;

const AGAIN_MS = 60_000;

export class Strangers {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #onDiscovered: (found: DiscoveredMachine) => Noted;
  /** Until when a MAC is not told of again. */
  readonly #told = new Map<string, number>();

  constructor(clock: Pick<Clock, 'monotonic'>, onDiscovered: (found: DiscoveredMachine) => Noted) {
    this.#clock = clock;
    this.#onDiscovered = onDiscovered;
  }

  /** For each message of a MAC that no machine has. Those that do not boot over the network (phones, laptops) are nobody's business. */
  saw(message: DhcpMessage, mac: string, heardOn: DhcpInterface): void {
    if (messageType(message) !== 'discover' || clientKind(message) === 'other') return;
    const now = this.#clock.monotonic();
    if ((this.#told.get(mac) ?? 0) > now) return;
    const guid = clientGuid(message);
    const arch = clientArch(message);
    const noted = this.#onDiscovered({
      mac,
      interface: heardOn.name,
      ...(guid.state === 'ok' && { uuid: guid.uuid }),
      ...(arch !== undefined && { arch }),
      ...(message.giaddr !== NO_ADDRESS && { relay: message.giaddr }),
    });
    if (noted === false) return;
    remember(this.#told, mac, now + AGAIN_MS);
    if (noted !== true) void noted.then((taken) => taken || this.#told.delete(mac));
  }
}
