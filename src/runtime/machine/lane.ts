/** So many at once, first come first served. Who does not get in is woken when it is its turn, and holds nothing meanwhile. */
export class Lane {
  readonly #limit: number;
  readonly #wake: (id: string) => void;
  readonly #inside = new Set<string>();
  readonly #queue = new Set<string>();

  constructor(limit: number, wake: (id: string) => void) {
    this.#limit = limit;
    this.#wake = wake;
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
    this.#queue.add(id);
    return false;
  }

  /** Gives up the place, or the place in the queue. Harmless when there is none. */
  leave(id: string): void {
    this.#queue.delete(id);
    if (!this.#inside.delete(id)) return;
    const [next] = this.#queue;
    if (next === undefined) return;
    this.#queue.delete(next);
    this.#inside.add(next);
    this.#wake(next);
  }
}
