/** A process that can die: everything that its code awaits passes here, and at the chosen moment nothing ever comes back. */
export class Gate {
  passes = 0;
  dead = false;
  readonly death: Promise<void>;
  #die: () => void = () => undefined;
  readonly #crashAt: number;
  readonly #onDeath: () => void;

  /** Dies at the pass number `crashAt`: an odd one is before an effect, an even one between the effect and its answer. */
  constructor(crashAt = Number.POSITIVE_INFINITY, onDeath: () => void = () => undefined) {
    this.#crashAt = crashAt;
    this.#onDeath = onDeath;
    this.death = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  kill(): void {
    if (this.dead) return;
    this.dead = true;
    this.#die();
    this.#onDeath();
  }

  async call<T>(work: () => Promise<T>): Promise<T> {
    await this.#pass();
    const result = await work().then(
      (value) => ({ ok: true as const, value }),
      (error: unknown) => ({ ok: false as const, error }),
    );
    await this.#pass();
    if (result.ok) return result.value;
    throw result.error;
  }

  /** The same object as seen from this process. Methods that take a callback and return at once keep their form. */
  wrap<T extends object>(target: T, synchronous: readonly string[] = []): T {
    return new Proxy(target, {
      get: (object, name) => {
        const member: unknown = Reflect.get(object, name, object);
        if (typeof member !== 'function') return member;
        if (synchronous.includes(String(name))) {
          return (...args: unknown[]) =>
            member.apply(
              object,
              args.map((arg) => (typeof arg === 'function' ? (...inner: unknown[]) => (this.dead ? undefined : arg(...inner)) : arg)),
            );
        }
        return (...args: unknown[]) => this.call(() => member.apply(object, args));
      },
    });
  }

  async #pass(): Promise<void> {
    this.passes += 1;
    if (this.passes === this.#crashAt) this.kill();
    if (this.dead) await new Promise(() => undefined);
  }
}
