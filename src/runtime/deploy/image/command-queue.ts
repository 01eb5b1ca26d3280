/** Runs up to `depth` commands at once; after the first failure it starts no more. */
export class CommandQueue {
  private readonly running = new Set<Promise<void>>();
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly depth: number) {}

  /** Starts the command, waiting for room first. Rejects with the failure of an earlier one. */
  async add(command: () => Promise<void>): Promise<void> {
    while (this.running.size >= this.depth) await Promise.race(this.running);
    this.throwIfFailed();
    const run = command()
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => this.running.delete(run));
    this.running.add(run);
  }

  /** Resolves when no command is under way; never rejects. */
  async idle(): Promise<void> {
    await Promise.all(this.running);
  }

  /** `idle`, and rejects when a command has failed. */
  async finish(): Promise<void> {
    await this.idle();
    this.throwIfFailed();
  }

  throwIfFailed(): void {
    if (this.failure) throw this.failure.error;
  }
}

/** A place of the pool. Its bytes may be replaced by those that another thread brings back; the place stays the same. */
export interface PooledBuffer {
  bytes: Uint8Array<ArrayBuffer>;
}

/** A fixed number of buffers, each in one pair of hands at a time: what bounds the memory of a deployment. */
export class BufferPool {
  private readonly free: PooledBuffer[] = [];
  private readonly waiting: ((buffer: PooledBuffer) => void)[] = [];
  private made = 0;

  constructor(
    private readonly most: number,
    private readonly bufferBytes: number,
  ) {}

  async take(): Promise<PooledBuffer> {
    const known = this.free.pop();
    if (known) return known;
    if (this.made < this.most) {
      this.made++;
      return { bytes: Buffer.allocUnsafeSlow(this.bufferBytes) };
    }
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  give(buffer: PooledBuffer): void {
    const next = this.waiting.shift();
    if (next) next(buffer);
    else this.free.push(buffer);
  }
}
