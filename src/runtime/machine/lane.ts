/** So many at once, first come first served. Who does not get in is woken when it is its turn, and holds nothing meanwhile. */
export class Lane {
  readonly #limit: number;
  readonly #wake: (id: string) => void;
  readonly #now: () => number;
  readonly #inside = new Set<string>();
  readonly #queue = new Set<string>();
  /** Since when those wait that wait, or have waited for the place that they have. */
  readonly #since = new Map<string, number>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(limit: number, wake: (id: string) => void, now: () => number) {
    this.#limit = limit;
    this.#wake = wake;
    this.#now = now;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** True: go on, and `leave` afterwards. False: `wake(id)` will be called when a place is kept for it. */
  enter(id: string): boolean {
    if (this.#inside.has(id)) return true;
    if (this.#inside.size < this.#limit && !this.#queue.has(id) && this.#queue.size === 0) {
      this.#inside.add(id);
      return true;
    }
    if (!this.#queue.has(id)) this.#since.set(id, this.#now());
    this.#queue.add(id);
    return false;
  }

  /** How long it waits, or has waited for its place, as far as that was not told before. Milliseconds. */
  waitedMs(id: string): number {
    const since = this.#since.get(id);
    return since === undefined ? 0 : this.#now() - since;
  }

  /** What it has waited so far has been made good. */
  told(id: string): void {
    if (this.#queue.has(id)) this.#since.set(id, this.#now());
    else this.#since.delete(id);
  }

  /** Gives up the place, or the place in the queue. Harmless when there is none. */
  leave(id: string): void {
    this.#queue.delete(id);
    this.#since.delete(id);
    if (!this.#inside.delete(id)) return;
    const [next] = this.#queue;
    if (next === undefined) return;
    this.#queue.delete(next);
    this.#inside.add(next);
    this.#wake(next);
  }
}
