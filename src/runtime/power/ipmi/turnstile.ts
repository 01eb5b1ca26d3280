/** Lets at most `width` through at a time, the others in order of arrival. */
export class Turnstile {
  #inside = 0;
  readonly #queue: { enter(): void }[] = [];

  constructor(private readonly width: number) {}

  get inside(): number {
    return this.#inside;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  get full(): boolean {
    return this.#inside >= this.width;
  }

  /** Undefined when inside at once, else a promise to wait for, which rejects with the signal's reason. Every enter needs one `leave`. */
  enter(signal?: AbortSignal): Promise<void> | undefined {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#inside < this.width) {
      this.#inside += 1;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#queue.splice(this.#queue.indexOf(place), 1);
        reject(signal?.reason);
      };
      const place = {
        enter: (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#queue.push(place);
    });
  }

  leave(): void {
    const next = this.#queue.shift();
    if (next) next.enter();
    else this.#inside -= 1;
  }
}

/** `promise`, or the signal's reason, whichever comes first. For work that others wait for too, so that it must not be aborted itself. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
