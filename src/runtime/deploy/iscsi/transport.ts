/**
 * PDUs over one TCP connection, for the session and the simulated target: one reader, one writer, in order. Headers and payloads go
 * out together and uncopied, so a sender leaves its payload alone until it is answered.
 */
import type { TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { type Pdu, PduError, type ReceivedPdu } from './pdu.ts';
import { type Digests, framePdu, NO_DIGESTS, PduStream } from './pdu-stream.ts';

/** Most bytes, and most pieces, of one write: enough to keep the wire busy while the next is made ready (IOV_MAX is 1,024). */
const BATCH_BYTES = 1024 * 1024;
const BATCH_PIECES = 256;
/** Far more than what our own commands have under way: the rest are answers to a peer that asks on and takes none. */
const MOST_WAITING_PIECES = 100_000;
/** Default of MaxRecvDataSegmentLength, which holds during login. */
const LOGIN_DATA_BYTES = 8192;

export class PduTransport {
  /** Called for each PDU, in order. What it throws ends the connection. May be replaced while running. */
  onPdu: (pdu: ReceivedPdu) => void = () => undefined;
  /** Called once: the peer has closed (no error), or the connection failed. */
  onEnd: (error?: Error) => void = () => undefined;
  /** Receiving side; limits and digests are set here when login is over. */
  readonly incoming = new PduStream({ maxDataBytes: LOGIN_DATA_BYTES, digests: NO_DIGESTS });
  /** Digests that we send. */
  outgoingDigests: Digests = NO_DIGESTS;
  /** Bytes handed to `send` that the network has not taken. */
  queuedBytes = 0;

  private queue: Uint8Array[] = [];
  private next = 0;
  private pumping = false;
  private ending = false;
  private ended = false;

  constructor(private readonly connection: TcpConnection) {}

  /** Begins to read; resolves when the connection is over and `onEnd` has been called. */
  async run(): Promise<void> {
    try {
      for await (const chunk of this.connection) for (const pdu of this.incoming.push(chunk)) this.take(pdu);
      this.finish();
      this.connection.end(); // the peer has closed its side, and so do we
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  send(pdu: Pdu): void {
    if (this.ended || this.ending) return;
    for (const piece of framePdu(pdu, this.outgoingDigests)) {
      this.queue.push(piece);
      this.queuedBytes += piece.length;
    }
    if (this.pumping) return;
    this.pumping = true;
    // after the present turn, so that what is sent together leaves together
    queueMicrotask(() => void this.pump());
  }

  /** Closes our side once everything queued is sent. */
  end(): void {
    this.ending = true;
    if (!this.pumping && !this.ended) this.connection.end();
  }

  /** Drops the connection and what is queued. Harmless when repeated. */
  destroy(error?: Error): void {
    if (this.ended) return;
    this.connection.destroy(error);
    this.finish(error);
  }

  private take(pdu: ReceivedPdu): void {
    if (this.ended) return;
    this.onPdu(pdu);
    if (this.queue.length - this.next > MOST_WAITING_PIECES) throw new PduError('it sends and does not read');
  }

  private finish(error?: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.queue = [];
    this.onEnd(error);
  }

  private async pump(): Promise<void> {
    try {
      while (!this.ended && this.next < this.queue.length) {
        const { pieces, bytes } = this.nextBatch();
        this.queuedBytes -= bytes;
        await this.connection.write(pieces);
      }
      if (this.ending && !this.ended) this.connection.end();
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.pumping = false;
    }
  }

  private nextBatch(): { pieces: Uint8Array[]; bytes: number } {
    const from = this.next;
    let bytes = 0;
    for (
      let piece = this.queue[this.next];
      piece && (this.next === from || bytes + piece.length <= BATCH_BYTES);
      piece = this.queue[this.next]
    ) {
      bytes += piece.length;
      this.next++;
      if (this.next - from === BATCH_PIECES) break;
    }
    const pieces = this.queue.slice(from, this.next);
    if (this.next === this.queue.length) {
      this.queue = [];
      this.next = 0;
    }
    return { pieces, bytes };
  }
}
