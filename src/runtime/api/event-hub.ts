/**
 * Events of this replica in a ring, numbered. A stream holds nothing but its place in the ring: a reader that is slow falls behind, is told so, and
 * gets the present state instead. So a stream costs no memory, and no reader holds up another.
 */
import type { ApiEvent } from 'cdk8s-baremetal-contract/api/index';

export interface HubEvent {
  readonly sequence: number;
  readonly nodeUuid: string;
  readonly type: ApiEvent['type'];
  /** JSON. */
  readonly data: string;
}

const RING = 8192;

export class EventHub {
  /** Of this life of this replica: ids of another one are not understood, and lead to a reset. */
  readonly #life: string;
  readonly #ring: HubEvent[] = [];
  readonly #waiting = new Set<() => void>();
  #last = 0;
  #closed = false;

  constructor(life: string) {
    this.#life = life;
  }

  get last(): number {
    return this.#last;
  }

  get closed(): boolean {
    return this.#closed;
  }

  publish(nodeUuid: string, event: ApiEvent): void {
    this.#last += 1;
    this.#ring.push({ sequence: this.#last, nodeUuid, type: event.type, data: JSON.stringify(event) });
    if (this.#ring.length > RING) this.#ring.splice(0, this.#ring.length - RING);
    this.#wake();
  }

  /** Those after `sequence`, at most `most`; undefined when some of them are gone. */
  after(sequence: number, most: number): readonly HubEvent[] | undefined {
    if (sequence > this.#last) return undefined;
    const first = this.#ring[0]?.sequence ?? this.#last + 1;
    if (sequence + 1 < first) return undefined;
    const from = sequence + 1 - first;
    return this.#ring.slice(from, from + most);
  }

  idOf(sequence: number): string {
    return `${this.#life}.${sequence}`;
  }

  /** Undefined when it is an id of another life, or none. */
  sequenceOf(id: string): number | undefined {
    const [life, number = '', ...rest] = id.split('.');
    return life === this.#life && rest.length === 0 && /^\d{1,15}$/.test(number) ? Number(number) : undefined;
  }

  /** Calls back once, at the next event or at the end. */
  onNext(callback: () => void): { cancel(): void } {
    this.#waiting.add(callback);
    return { cancel: () => void this.#waiting.delete(callback) };
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of waiting) callback();
  }
}
