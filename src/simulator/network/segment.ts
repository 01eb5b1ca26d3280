/** One L2 segment (a VLAN): who is on it, and what its cables do to packets. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { SeededRandom } from '../random.ts';
import { type Packet, wireBytes } from './packet.ts';

export interface LinkFaults {
  /** One-way delay of each packet. Default 0.1. */
  readonly latencyMs: number;
  /** Up to this much more, evenly spread; packets stay in order. Default 0. */
  readonly jitterMs: number;
  /** Share of packets that vanish, 0 to 1. Default 0. */
  readonly lossRatio: number;
  /** Share that arrives twice. Default 0. */
  readonly duplicateRatio: number;
  /** Share that is overtaken by packets sent up to `reorderMs` later. Default 0. */
  readonly reorderRatio: number;
  /** Default 5. */
  readonly reorderMs: number;
  /** Speed of each host's cable, in one direction. Default: no limit. */
  readonly bytesPerSecond: number;
}

export const HEALTHY_LINK: LinkFaults = {
  latencyMs: 0.1,
  jitterMs: 0,
  lossRatio: 0,
  duplicateRatio: 0,
  reorderRatio: 0,
  reorderMs: 5,
  bytesPerSecond: Number.POSITIVE_INFINITY,
};

export class Segment {
  faults: LinkFaults = HEALTHY_LINK;
  /** Per sender: when its cable is free again, and when its last packet in order arrives. */
  private readonly cables = new Map<string, { freeMs: number; lastArrivalMs: number }>();

  constructor(
    readonly name: string,
    private readonly clock: Clock,
    private readonly random: SeededRandom,
  ) {}

  /** Changes what is given; the rest stays. */
  degrade(faults: Partial<LinkFaults>): void {
    this.faults = { ...this.faults, ...faults };
  }

  repair(): void {
    this.faults = HEALTHY_LINK;
  }

  /** Delays until each arrival of a packet put on the wire now: none when it is lost, two when it is duplicated. */
  arrivals(sender: string, packet: Packet): readonly number[] {
    const { latencyMs, jitterMs, lossRatio, duplicateRatio, reorderRatio, reorderMs, bytesPerSecond } = this.faults;
    const now = this.clock.monotonic();
    const cable = this.cables.get(sender) ?? { freeMs: 0, lastArrivalMs: 0 };
    this.cables.set(sender, cable);
    cable.freeMs = Math.max(now, cable.freeMs) + (wireBytes(packet) * 1000) / bytesPerSecond;
    if (this.chance(lossRatio)) return [];
    const arrival = Math.max(cable.freeMs + latencyMs + (jitterMs > 0 ? this.random.fraction() * jitterMs : 0), cable.lastArrivalMs);
    const overtaken = this.chance(reorderRatio);
    if (!overtaken) cable.lastArrivalMs = arrival;
    const delay = arrival - now + (overtaken ? this.random.fraction() * reorderMs : 0);
    return this.chance(duplicateRatio) ? [delay, delay] : [delay];
  }

  /** Draws only when the fault is switched on. */
  private chance(ratio: number): boolean {
    return ratio > 0 && this.random.fraction() < ratio;
  }
}
