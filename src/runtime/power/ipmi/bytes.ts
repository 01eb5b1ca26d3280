/** Reading packets of the network: every read is checked, so that a short or mutated packet is a `MalformedPacket` and never anything else. */

/** The only error that the decoders of this folder throw. */
export class MalformedPacket extends Error {
  constructor(problem: string) {
    super(problem);
    this.name = 'MalformedPacket';
  }
}

export class ByteReader {
  readonly #data: Buffer;
  #offset = 0;

  constructor(
    data: Uint8Array,
    /** Names the packet in errors. */
    private readonly what: string,
  ) {
    this.#data = asBuffer(data);
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#data.length - this.#offset;
  }

  u8(): number {
    return this.#data.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#data.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#data.readUInt32LE(this.#take(4));
  }

  /** Most significant byte first, as in ASF. */
  u32be(): number {
    return this.#data.readUInt32BE(this.#take(4));
  }

  bytes(count: number): Buffer {
    const start = this.#take(count);
    return this.#data.subarray(start, start + count);
  }

  skip(count: number): void {
    this.#take(count);
  }

  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  #take(count: number): number {
    const start = this.#offset;
    if (count > this.#data.length - start)
      throw new MalformedPacket(`${this.what} ends after ${this.#data.length} bytes, ${start + count} expected`);
    this.#offset = start + count;
    return start;
  }
}

/** The same memory as a Buffer. */
export function asBuffer(data: Uint8Array): Buffer {
  return Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
