/**
 * A network without wires: hosts on L2 segments, on a virtual clock, with faults drawn from a seeded generator, so that one
 * seed gives one history. Each host is a `Network`: the daemons run on it unchanged.
 */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { VirtualClock } from '../clock.ts';
import { simulatorErrors } from '../errors.ts';
import type { SeededRandom } from '../random.ts';
import { isLoopback, LIMITED_BROADCAST } from './address.ts';
import { type HostOptions, type Interface, SimHost } from './host.ts';
import type { Packet, PacketFate, TraceEvent } from './packet.ts';
import { Segment } from './segment.ts';

export interface SimNetworkOptions {
  readonly clock: Clock & Partial<Pick<VirtualClock, 'reportPending'>>;
  readonly random: SeededRandom;
  /** Hears of every packet; `formatEvent` makes a line of it. */
  readonly trace?: (event: TraceEvent) => void;
  /** Most data bytes in one TCP packet. Default 16 KiB, as with segmentation offload; small values try parsers. */
  readonly tcpSegmentBytes?: number;
}

/** Routers a packet may pass. */
const MOST_HOPS = 16;

export class SimNetwork {
  readonly clock: Clock;
  readonly random: SeededRandom;
  readonly tcpSegmentBytes: number;
  /** When set and false, the packet is lost: "the second DATA packet". Asked once for each packet and segment. */
  filter: ((packet: Packet, segment: string) => boolean) | undefined;
  private readonly trace: ((event: TraceEvent) => void) | undefined;
  private readonly segments = new Map<string, Segment>();
  private readonly hosts = new Map<string, SimHost>();
  private readonly cuts = new Set<string>();

  constructor(options: SimNetworkOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.trace = options.trace;
    this.tcpSegmentBytes = options.tcpSegmentBytes ?? 16 * 1024;
    options.clock.reportPending?.(() => [...this.hosts.values()].flatMap((host) => host.waiting()));
  }

  /** The segment of this name; made on first use. */
  segment(name: string): Segment {
    const known = this.segments.get(name);
    if (known) return known;
    const segment = new Segment(name, this.clock, this.random.fork(`segment/${name}`));
    this.segments.set(name, segment);
    return segment;
  }

  /** Adds a host, powered on. Throws SIMULATOR_DUPLICATE and SIMULATOR_BAD_ADDRESS. */
  host(options: HostOptions): SimHost {
    if (this.hosts.has(options.name)) throw simulatorErrors.SIMULATOR_DUPLICATE({ what: 'host', name: options.name });
    const host = new SimHost(this, options);
    this.hosts.set(options.name, host);
    return host;
  }

  /** No packet passes from `a` to `b` nor, unless `oneWay`, back. */
  cut(a: string, b: string, { oneWay = false } = {}): void {
    this.cuts.add(`${a}>${b}`);
    if (!oneWay) this.cuts.add(`${b}>${a}`);
  }

  /** Splits the network: hosts of different groups do not hear each other. */
  partition(...groups: readonly (readonly string[])[]): void {
    for (const [i, group] of groups.entries())
      for (const other of groups.slice(i + 1)) for (const a of group) for (const b of other) this.cut(a, b);
  }

  /** Ends every cut, or the one between `a` and `b`. */
  heal(a?: string, b?: string): void {
    if (a === undefined || b === undefined) this.cuts.clear();
    else for (const cut of [`${a}>${b}`, `${b}>${a}`]) this.cuts.delete(cut);
  }

  /** The address that a name stands for: a host's name, or "localhost". */
  resolve(name: string): string | undefined {
    return name === 'localhost' ? '127.0.0.1' : this.hosts.get(name)?.address;
  }

  /**
   * Puts a packet on the wire, through the interface `via` when it is given. False when the host knows no way to the target:
   * ENETUNREACH. Whether anybody is there to hear it is for the future to tell.
   */
  transmit(from: SimHost, packet: Packet, via?: Interface, hops = 0): boolean {
    const { address } = packet.target;
    if (isLoopback(address) || from.owns(address)) {
      this.note(from, 'sent', packet);
      this.clock.after(0, () => this.arrive(from, packet, undefined, hops));
      return true;
    }
    const broadcastOn = from.broadcastInterface(address, via);
    if (broadcastOn) {
      const heard = [...this.hosts.values()].filter((host) => host.isOn(broadcastOn.segment));
      // Linux gives a broadcast to the sender's own sockets too
      this.cross(from, broadcastOn.segment, heard, packet, hops);
      return true;
    }
    if (address === LIMITED_BROADCAST) return false;
    const next = this.nextHop(from, address, new Set([from]));
    if (!next) {
      this.note(from, 'unreachable', packet);
      return false;
    }
    this.cross(from, next.segment, next.receiver ? [next.receiver] : [], packet, hops);
    return true;
  }

  /** The subnet of one of our interfaces, or the first router from which the target can be reached. */
  private nextHop(from: SimHost, address: string, seen: Set<SimHost>): { segment: string; receiver: SimHost | undefined } | undefined {
    const hosts = [...this.hosts.values()];
    for (const { segment, subnet } of from.interfaces)
      if (subnet?.contains(address))
        return { segment, receiver: hosts.find((host) => host.isUp && host.isOn(segment) && host.owns(address)) };
    for (const { segment, subnet } of from.interfaces)
      for (const router of hosts)
        if (subnet && router.forwards && router.isUp && router.isOn(segment) && !seen.has(router)) {
          seen.add(router);
          if (router.owns(address) || this.nextHop(router, address, seen)) return { segment, receiver: router };
        }
    return undefined;
  }

  private cross(from: SimHost, segment: string, receivers: readonly SimHost[], packet: Packet, hops: number): void {
    this.note(from, 'sent', packet);
    if (this.filter && !this.filter(packet, segment)) {
      this.note(from, 'filtered', packet);
      return;
    }
    const delays = this.segment(segment).arrivals(from.name, packet);
    if (delays.length === 0) this.note(from, 'lost', packet);
    if (delays.length > 1) this.note(from, 'duplicated', packet);
    for (const delay of delays)
      this.clock.after(delay, () => {
        for (const receiver of receivers)
          if (receiver !== from && this.cuts.has(`${from.name}>${receiver.name}`)) this.note(receiver, 'cut', packet);
          else this.arrive(receiver, packet, segment, hops);
      });
  }

  private arrive(host: SimHost, packet: Packet, segment: string | undefined, hops: number): void {
    if (!host.isUp) this.note(host, 'host-down', packet);
    else if (segment === undefined || host.owns(packet.target.address) || host.isBroadcast(packet.target.address, segment)) {
      this.note(host, 'delivered', packet);
      host.receive(packet, segment);
    } else if (host.forwards && hops < MOST_HOPS) this.transmit(host, packet, undefined, hops + 1);
  }

  private note(host: SimHost, fate: PacketFate, packet: Packet): void {
    this.trace?.({ atMs: this.clock.monotonic(), host: host.name, fate, packet });
  }
}
