/** Whether somebody uses an address who should not: asked before the address is offered (RFC 2131 section 2.2). */
import { type Clock, type Network, sleep, type UdpSocket } from '../../core/index.ts';
import { remember } from './remember.ts';

/** ARP answers take a millisecond or so; a sleeping management controller takes longer. */
const STEPS_MS = [5, 15, 30, 50, 100, 100];
/** How long Linux keeps an entry that nobody answers for: it is used for 5 s more, then asked after three times, a second apart (arp(7)), and a second to spare. */
const OUTLIVED_MS = 9000;
const DISCARD_PORT = 9; // RFC 863; whoever listens there throws it away
/** Somebody who was not there a moment ago is not there now. */
const PROVEN_MS = 60_000;

export class AddressProbe {
  readonly #clock: Clock;
  readonly #network: Network;
  readonly #probeMs: number;
  /** Addresses that nobody answered for, and until when that is believed. */
  readonly #proven = new Map<string, number>();
  #closed = false;

  /** Looks for `probeMs`; 0: never. */
  constructor(options: { readonly clock: Clock; readonly network: Network; readonly probeMs: number }) {
    this.#clock = options.clock;
    this.#network = options.network;
    this.#probeMs = options.probeMs;
  }

  /** Those that look now stop, having found nobody. */
  close(): void {
    this.#closed = true;
  }

  /**
   * Resolves to the MAC that answers for the address, other than the one it is meant for. A datagram to its discard port makes the system ask by ARP, for
   * which no privilege is needed; the answer is read from its table.
   */
  async userOf(address: string, meantFor: string | undefined): Promise<string | undefined> {
    if (this.#probeMs === 0 || !this.#network.hardwareAddressOf || (this.#proven.get(address) ?? 0) > this.#clock.monotonic())
      return undefined;
    const prober = await this.#network.udp({}, { onMessage: () => undefined });
    let user: string | undefined;
    try {
      const known = this.#network.hardwareAddressOf(address);
      // it may be of somebody who has left: a machine that was switched off, a card that was replaced
      if (known !== undefined && known !== meantFor) await this.#ask(prober, address, OUTLIVED_MS, (mac) => mac !== known);
      user = await this.#ask(prober, address, this.#probeMs, (mac) => mac !== undefined);
    } finally {
      await prober.close();
    }
    if (this.#closed) return undefined;
    if (user !== undefined && user !== meantFor) return user;
    remember(this.#proven, address, this.#clock.monotonic() + PROVEN_MS);
    return undefined;
  }

  /** Resolves to what the table says when that is `enough`, or after `forMs`. */
  async #ask(prober: UdpSocket, address: string, forMs: number, enough: (mac: string | undefined) => boolean): Promise<string | undefined> {
    prober.send(new Uint8Array(1), { address, port: DISCARD_PORT });
    let mac: string | undefined;
    for (let step = 0, waited = 0; waited < forMs && !this.#closed; step++) {
      const wait = Math.min(STEPS_MS[step] ?? 100, forMs - waited);
      await sleep(this.#clock, wait);
      waited += wait;
      mac = this.#network.hardwareAddressOf?.(address);
      if (enough(mac)) break;
    }
    return mac;
  }
}
