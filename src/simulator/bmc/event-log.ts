/** The system event log of a simulated BMC. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/index';
import { encodeSelEvent, type SelEvent } from 'cdk8s-baremetal-runtime/power/ipmi/index';

const BMC_GENERATOR = 0x0020;

export class EventLog {
  #records: Buffer[] = [];
  #next = 1;
  #reservation = 0;
  #addedAt = 0xffff_ffff;
  #erasedAt = 0xffff_ffff;
  #overflow = false;

  constructor(
    private readonly clock: Clock,
    /** Records that it has room for. */
    private readonly capacity = 512,
  ) {}

  get records(): readonly Buffer[] {
    return this.#records;
  }

  get nowSeconds(): number {
    return Math.floor(this.clock.now() / 1000);
  }

  get info(): {
    readonly entries: number;
    readonly freeBytes: number;
    readonly addedAt: number;
    readonly erasedAt: number;
    readonly overflow: boolean;
  } {
    const entries = this.#records.length;
    return {
      entries,
      freeBytes: (this.capacity - entries) * 16,
      addedAt: this.#addedAt,
      erasedAt: this.#erasedAt,
      overflow: this.#overflow,
    };
  }

  add(event: {
    readonly sensorType: number;
    readonly sensor: number;
    readonly eventType: number;
    readonly offset: number;
    readonly asserted?: boolean;
    /** Default: the BMC. */
    readonly generator?: number;
  }): void {
    const { sensorType, sensor, eventType, offset, asserted = true, generator = BMC_GENERATOR } = event;
    if (this.#records.length >= this.capacity) {
      this.#overflow = true;
      return;
    }
    const data: SelEvent['data'] = [offset, 0xff, 0xff];
    const full = { generator, sensorType, sensor, eventType, offset, asserted, data };
    this.#records.push(encodeSelEvent({ id: this.#next++, at: this.nowSeconds, event: full }));
    this.#addedAt = this.nowSeconds;
    this.#reservation = 0; // what was reserved no longer is what is there
  }

  reserve(next: number): number {
    this.#reservation = next;
    return next;
  }

  holds(reservation: number): boolean {
    return reservation !== 0 && reservation === this.#reservation;
  }

  clear(): void {
    this.#records = [];
    this.#overflow = false;
    this.#erasedAt = this.nowSeconds;
  }
}
