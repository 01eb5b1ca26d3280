/** The receiving half of a simulated TCP connection: puts packets in order and holds them until the program reads. */
export class ReceiveBuffer {
  /** As much as a Linux socket takes without tuning. */
  readonly capacity = 256 * 1024;
  /** Number of the next byte in order. */
  expected = 0;
  private queue: Uint8Array[] = [];
  private queuedBytes = 0;
  private readonly early = new Map<number, { data: Uint8Array; fin: boolean }>();
  private ended = false;
  private failure: Error | undefined;
  private reader: { resolve: (chunk: Uint8Array | undefined) => void; reject: (error: Error) => void } | undefined;

  /** Bytes that the peer may send from `expected` on. */
  get window(): number {
    return Math.max(0, this.capacity - this.queuedBytes);
  }

  /** Whether the peer's FIN has arrived, and everything before it. */
  get hasEnded(): boolean {
    return this.ended;
  }

  get isAwaited(): boolean {
    return this.reader !== undefined;
  }

  start(seq: number): void {
    this.expected = seq;
  }

  /** Takes a packet in any order; what was seen before and what is beyond the window is dropped. */
  add(seq: number, data: Uint8Array, fin: boolean): void {
    if (this.ended || seq < this.expected || seq + data.length > this.expected + this.window) return;
    this.early.set(seq, { data, fin });
    for (let next = this.early.get(this.expected); next; next = this.early.get(this.expected)) {
      this.early.delete(this.expected);
      this.expected += next.data.length;
      if (next.data.length > 0) {
        this.queue.push(next.data);
        this.queuedBytes += next.data.length;
      }
      if (next.fin) {
        this.expected++;
        this.ended = true;
        this.early.clear();
      }
    }
    this.wake();
  }

  fail(error: Error): void {
    this.failure ??= error;
    this.wake();
  }

  /** Everything that has arrived, in one piece; undefined at the end of the stream. */
  take(): Promise<Uint8Array | undefined> {
    if (this.reader) return Promise.reject(new Error('the connection already has a reader'));
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | undefined>();
    this.reader = { resolve, reject };
    this.wake();
    return promise;
  }

  private wake(): void {
    const { reader } = this;
    if (!reader || (this.queuedBytes === 0 && !this.ended && !this.failure)) return;
    this.reader = undefined;
    const drained = this.ended && this.queuedBytes === 0;
    if (this.failure && !this.ended) reader.reject(this.failure);
    else if (drained) reader.resolve(undefined);
    else reader.resolve(this.drain());
  }

  private drain(): Uint8Array {
    const [only, ...more] = this.queue;
    const all = only && more.length === 0 ? only.slice() : new Uint8Array(Buffer.concat(this.queue));
    this.queue = [];
    this.queuedBytes = 0;
    return all;
  }
}
