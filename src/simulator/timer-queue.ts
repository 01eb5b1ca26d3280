/** The timers of a virtual clock: earliest first, equal times in the order in which they were set. */
import type { Timer } from 'cdk8s-baremetal-runtime/core/clock';

interface Entry {
  readonly atMs: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

export class TimerQueue {
  /** A binary heap. Cancelled entries stay until they come up or outnumber the live ones. */
  private heap: Entry[] = [];
  private order = 0;
  private cancelled = 0;

  /** Timers that will fire. */
  get size(): number {
    return this.heap.length - this.cancelled;
  }

  add(atMs: number, callback: () => void): Timer {
    const entry: Entry = { atMs, order: this.order++, callback };
    this.heap.push(entry);
    this.up(this.heap.length - 1);
    return {
      cancel: () => {
        if (!entry.callback) return;
        entry.callback = undefined;
        this.cancelled++;
        if (this.cancelled > 1024 && this.cancelled > this.heap.length / 2) this.compact();
      },
    };
  }

  nextMs(): number | undefined {
    while (this.heap[0] && !this.heap[0].callback) {
      this.pop();
      this.cancelled--;
    }
    return this.heap[0]?.atMs;
  }

  /** Removes the earliest timer and gives its callback. */
  take(): (() => void) | undefined {
    this.nextMs();
    const entry = this.pop();
    const callback = entry?.callback;
    if (entry) entry.callback = undefined; // a later cancel() is harmless
    return callback;
  }

  private pop(): Entry | undefined {
    const [first] = this.heap;
    const last = this.heap.pop();
    if (last && last !== first) {
      this.heap[0] = last;
      this.down(0);
    }
    return first;
  }

  private compact(): void {
    this.heap = this.heap.filter(({ callback }) => callback).sort((a, b) => (before(a, b) ? -1 : 1)); // sorted: also a heap
    this.cancelled = 0;
  }

  private up(from: number): void {
    for (let child = from; child > 0; ) {
      const parent = (child - 1) >> 1;
      if (!this.swapIfLater(parent, child)) return;
      child = parent;
    }
  }

  private down(from: number): void {
    for (let parent = from; ; ) {
      const left = 2 * parent + 1;
      const [a, b] = [this.heap[left], this.heap[left + 1]];
      if (!a) return;
      const child = b && before(b, a) ? left + 1 : left;
      if (!this.swapIfLater(parent, child)) return;
      parent = child;
    }
  }

  private swapIfLater(parent: number, child: number): boolean {
    const [above, below] = [this.heap[parent], this.heap[child]];
    if (!above || !below || before(above, below)) return false;
    this.heap[parent] = below;
    this.heap[child] = above;
    return true;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
