/**
 * PDUs on a byte stream: additional headers, padding and digests, both directions. Pure and bounded: a peer that announces
 * more than was negotiated is refused before anything is allocated.
 *
 *   | BHS (48) | AHS (4 x words) | header digest (4)? | data, padded to words | data digest (4)? |
 */
import { crc32c } from './crc32c.ts';
import { BHS_BYTES, NO_DATA, type Pdu, PduError, pad4, type ReceivedPdu, readHeader, writeHeader } from './pdu.ts';

export interface Digests {
  readonly header: boolean;
  readonly data: boolean;
}

export const NO_DIGESTS: Digests = { header: false, data: false };
const DIGEST_BYTES = 4;
const PADDING = [0, 3, 2, 1].map((bytes) => new Uint8Array(bytes));

/** `pdu` as pieces to be sent in order: header, data (not copied), padding with digest. Empty pieces are left out. */
export function framePdu(pdu: Pdu, digests: Digests): Uint8Array[] {
  const ahsBytes = pdu.ahs?.length ?? 0;
  if (ahsBytes % 4 !== 0 || ahsBytes > 255 * 4) throw new PduError(`${ahsBytes} bytes of additional headers are not 0 to 255 words`);
  if (pdu.data.length > 0xffffff) throw new PduError(`a data segment of ${pdu.data.length} bytes does not fit 24 bits`);
  const head = Buffer.allocUnsafe(BHS_BYTES + ahsBytes + (digests.header ? DIGEST_BYTES : 0));
  writeHeader(pdu, head);
  if (pdu.ahs) head.set(pdu.ahs, BHS_BYTES);
  if (digests.header) head.writeUInt32LE(crc32c(head.subarray(0, BHS_BYTES + ahsBytes)), BHS_BYTES + ahsBytes);
  if (pdu.data.length === 0) return [head];
  const padding = PADDING[pdu.data.length % 4] ?? NO_DATA;
  if (!digests.data) return padding.length > 0 ? [head, pdu.data, padding] : [head, pdu.data];
  const tail = Buffer.alloc(padding.length + DIGEST_BYTES);
  tail.writeUInt32LE(crc32c(padding, crc32c(pdu.data)), padding.length);
  return [head, pdu.data, tail];
}

export interface PduStreamOptions {
  /** Largest data segment that the peer may send (our MaxRecvDataSegmentLength). May be raised after login. */
  maxDataBytes: number;
  /** Digests that the peer sends. None until login is complete. */
  digests: Digests;
}

/**
 * Cuts a byte stream into PDUs. `push` may be called with any cut of the stream; a data segment that lies in one chunk is
 * handed on as a view of it, one that spans chunks is gathered once. Throws `PduError` for what breaks framing.
 */
export class PduStream {
  /** Bytes of the present part (header or data) still missing are gathered here. */
  private gathered: Buffer | undefined;
  private gatheredBytes = 0;
  private header: Buffer | undefined;
  private ahs: Buffer | undefined;
  private dataBytes = 0;
  private digests: Digests;

  constructor(readonly options: PduStreamOptions) {
    this.digests = options.digests;
  }

  /** Yields each PDU completed by `chunk`. The options are read anew at each PDU, so that login can change them in between. */
  *push(chunk: Uint8Array): Generator<ReceivedPdu> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    let at = 0;
    for (;;) {
      const part = this.take(bytes, at, this.wanted());
      at = part.at;
      if (!part.whole) return;
      const pdu = this.accept(part.whole);
      if (pdu) yield pdu;
    }
  }

  /** Whether the stream stands between two PDUs. */
  get idle(): boolean {
    return this.header === undefined && this.gatheredBytes === 0;
  }

  /** Length of the part that comes next: BHS; the rest of the header; data. */
  private wanted(): number {
    if (!this.header) {
      this.digests = this.options.digests;
      return BHS_BYTES;
    }
    if (!this.ahs) return this.header.readUInt8(4) * 4 + (this.digests.header ? DIGEST_BYTES : 0);
    return pad4(this.dataBytes) + (this.digests.data && this.dataBytes > 0 ? DIGEST_BYTES : 0);
  }

  private take(bytes: Buffer, from: number, length: number): { at: number; whole?: Buffer } {
    const available = bytes.length - from;
    if (!this.gathered && available >= length) return { at: from + length, whole: bytes.subarray(from, from + length) };
    if (available === 0) return { at: from };
    this.gathered ??= Buffer.allocUnsafe(length);
    const taken = Math.min(available, length - this.gatheredBytes);
    bytes.copy(this.gathered, this.gatheredBytes, from, from + taken);
    this.gatheredBytes += taken;
    if (this.gatheredBytes < length) return { at: from + taken };
    const whole = this.gathered;
    this.gathered = undefined;
    this.gatheredBytes = 0;
    return { at: from + taken, whole };
  }

  private accept(part: Buffer): ReceivedPdu | undefined {
    if (!this.header) {
      this.header = part;
      this.dataBytes = part.readUIntBE(5, 3);
      if (this.dataBytes > this.options.maxDataBytes)
        throw new PduError(`a data segment of ${this.dataBytes} bytes exceeds the negotiated ${this.options.maxDataBytes}`);
      return undefined;
    }
    if (!this.ahs) {
      const ahsBytes = this.header.readUInt8(4) * 4;
      this.ahs = part.subarray(0, ahsBytes);
      if (this.digests.header && part.readUInt32LE(ahsBytes) !== crc32c(this.ahs, crc32c(this.header)))
        throw new PduError('the header digest does not match');
      return undefined;
    }
    const padded = part.subarray(0, pad4(this.dataBytes));
    if (this.digests.data && this.dataBytes > 0 && part.readUInt32LE(padded.length) !== crc32c(padded))
      throw new PduError('the data digest does not match');
    const pdu = readHeader(this.header, this.dataBytes > 0 ? padded.subarray(0, this.dataBytes) : NO_DATA, this.ahs);
    this.header = undefined;
    this.ahs = undefined;
    return pdu;
  }
}
