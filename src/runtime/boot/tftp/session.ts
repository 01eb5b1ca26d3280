/**
 * The sending side of one transfer as a state machine: fed with datagrams and its timer, it owns the window, the
 * repetition and the limits. The server gives it a socket and takes its outcome.
 *
 *   acked      last block that the client has confirmed; -1 while an OACK (block 0) waits for its ACK
 *   next       the block to send next; acked < next <= acked + window + 1
 *   produced   last block cut from the file; frames acked+1 … produced are kept for repetition
 */
import type { Clock, Timer } from '../../core/clock.ts';
import type { Endpoint, UdpSocket } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import { BlockStream, FileCutError } from './block-stream.ts';
import { ackBlock, DATA_HEADER_BYTES, decode, OPCODE, packError, packOack, TFTP_ERROR, type TftpMode } from './codec.ts';
import type { Negotiation } from './options.ts';
import { RetransmitTimer } from './rtt.ts';
import type { TftpFile } from './source.ts';

export type SessionOutcome =
  /** The client has confirmed the last block. */
  | 'complete'
  /** Everything was sent, the last confirmation never came: the client most likely has the file and is gone. */
  | 'unconfirmed'
  /** The client sent an ERROR; usual after a request that only asks for the size. */
  | 'aborted'
  /** The client fell silent. */
  | 'timeout'
  /** The transfer took longer than allowed. */
  | 'deadline'
  /** The source failed while it was read. */
  | 'failed'
  /** The same client port began again and got on with the newer transfer. */
  | 'superseded'
  /** The server was closed. */
  | 'closed';

export interface SessionLimits {
  /** Longest time without progress. */
  readonly silenceLimitMs: number;
  /** The same, while nothing was confirmed yet or when only the last confirmation is missing; for a client that asked for long intervals, longer. */
  readonly edgeSilenceLimitMs: number;
  readonly transferLimitMs: number;
}

export interface SessionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly remote: Endpoint;
  readonly file: TftpFile;
  readonly mode: TftpMode;
  readonly negotiation: Negotiation;
  readonly limits: SessionLimits;
  /** Called once, when the client's first answer shows that it follows this transfer. */
  readonly onEstablished: () => void;
  /** Called once. The session has let go of file and timer; `farewell` says that an ERROR is on its way out of the socket. */
  readonly onEnd: (outcome: SessionOutcome, farewell: boolean, detail?: string) => void;
}

/** A stranger's datagram is answered a few times (RFC 1350 section 4), not without end. */
const STRANGER_ANSWERS_MAX = 8;
const REFUSALS_BELIEVED = 3;
/** A repetition may come this much late rather than that every ACK re-arms the timer. */
const REARM_SLACK_MS = 10;

export class SendSession {
  /** Bytes of file data that the client has confirmed. */
  confirmedBytes = 0;
  retransmits = 0;

  private readonly blocks: BlockStream;
  /** The window's frames and one more, which is cut while the client is busy with what it has. */
  private readonly frames: (Uint8Array | undefined)[];
  private readonly slots: number;
  private readonly window: number;
  private readonly rto: RetransmitTimer;
  private socket: UdpSocket | undefined;
  private acked: number;
  private next: number;
  private produced = 0;
  private reading = false;
  private established = false;
  private ended = false;
  private strangers = 0;

  /** How often the window that waits for confirmation was sent, wholly or in part. */
  private copies = 1;
  private timedOut = false;
  private windowSentAt = 0;
  private duplicates = 0;
  /** Duplicate ACKs that earlier repetitions explain; only what goes beyond them means loss. */
  private explained = 0;

  /** How often the network has said, since the last progress, that nobody is at the client's port. */
  private refusals = 0;

  private timer: Timer | undefined;
  private wakeAt = 0;
  private repeatAt = 0;
  private startedAt = 0;
  private progressAt = 0;

  constructor(private readonly options: SessionOptions) {
    const { terms, oack } = options.negotiation;
    this.blocks = new BlockStream(options.file, terms.blockBytes, options.mode);
    this.window = terms.windowBlocks;
    this.slots = this.window + 1;
    this.frames = new Array<Uint8Array | undefined>(this.slots);
    this.rto = new RetransmitTimer(options.random, terms.timeoutMs);
    if (oack.size > 0) {
      this.frames[0] = packOack(oack); // takes part as block 0: sent, repeated and confirmed like the others
      this.acked = -1;
      this.next = 0;
    } else {
      this.acked = 0;
      this.next = 1;
    }
  }

  /** Time since the client last confirmed something, or since the start. */
  get quietMs(): number {
    return this.options.clock.monotonic() - this.progressAt;
  }

  start(socket: UdpSocket): void {
    this.socket = socket;
    this.startedAt = this.progressAt = this.options.clock.monotonic();
    this.pump();
    this.waitFrom(this.startedAt);
    if (this.ended) return;
    this.arm(this.startedAt);
    this.prepare();
  }

  onMessage(data: Uint8Array, from: Endpoint): void {
    if (this.ended) return;
    const { remote } = this.options;
    if (from.port !== remote.port || from.address !== remote.address) {
      this.answerStranger(data, from);
      return;
    }
    const block = ackBlock(data);
    if (block >= 0) this.onAck(block);
    else if (data.length >= 2 && data[0] === 0 && data[1] === OPCODE.error) this.onError(data);
    // Anything else from the client (nothing, one byte, DATA, a request) has no meaning here; the timer goes on
  }

  /** The network says that the client's port is closed (ICMP). Believed when it says so again: a single packet is easily forged or stray. */
  onRefused(): void {
    this.refusals++;
    if (!this.ended && this.refusals >= REFUSALS_BELIEVED) this.end('aborted', undefined, 'the client’s port is closed');
  }

  /** Ends the transfer and, where it helps the client, says so. */
  stop(outcome: 'superseded' | 'closed'): void {
    if (outcome === 'closed') this.end('closed', { code: TFTP_ERROR.undefined, message: 'The server is shutting down' });
    else this.end('superseded');
  }

  private onAck(wire: number): void {
    const distance = (wire - this.acked) & 0xffff; // the wire's block numbers wrap, ours do not
    const inFlight = this.next - 1 - this.acked;
    if (distance === 0) this.onDuplicateAck(inFlight);
    else if (distance <= inFlight) this.advance(distance, distance === inFlight);
    // else: an old ACK that was held up on the way. Never answered with DATA: the Sorcerer's Apprentice (RFC 1123 4.2.3.1)
  }

  private advance(count: number, whole: boolean): void {
    const now = this.options.clock.monotonic();
    const sentOnce = this.copies === 1;
    this.acked += count;
    this.progressAt = now;
    this.refusals = 0;
    if (this.acked === this.blocks.lastBlock) {
      this.establish();
      this.countConfirmed();
      this.end('complete');
      return;
    }
    // RFC 7440 section 4: an ACK inside the window means a gap behind it; go on with the block after it
    const repeated = this.next - 1 - this.acked;
    this.explained = !sentOnce || repeated > 0 ? this.window : 0;
    this.duplicates = 0;
    this.copies = repeated > 0 ? 2 : 1;
    this.next = this.acked + 1;
    this.pump(); // first of all: the client waits for it, and the rest can be done meanwhile
    this.retransmits += repeated;
    if (whole && sentOnce) this.rto.sample(now - this.windowSentAt);
    this.rto.progress(this.timedOut);
    this.timedOut = false;
    this.countConfirmed();
    this.establish();
    if (this.ended) return;
    this.waitFrom(now);
    this.prepare();
  }

  private establish(): void {
    if (this.established) return;
    this.established = true;
    this.options.onEstablished();
  }

  /**
   * With a window of one block a duplicate ACK is never answered. With more, it is how a client tells that the window's
   * first block was lost: answered once a window, and not when an earlier repetition can have caused it, or two copies of
   * everything would travel until the end of the file.
   */
  private onDuplicateAck(inFlight: number): void {
    this.duplicates++;
    if (this.window === 1 || this.acked < 0 || inFlight === 0 || this.copies > 1 || this.duplicates <= this.explained) return;
    this.repeat(this.options.clock.monotonic(), this.rto.firstMs());
  }

  private repeat(now: number, waitMs: number): void {
    this.retransmits += this.next - 1 - this.acked;
    this.copies++;
    this.next = this.acked + 1;
    this.pump();
    this.repeatAt = now + waitMs;
  }

  /** Sends what the window has room for. */
  private pump(): void {
    const { socket } = this;
    if (!socket) return;
    const last = this.acked + (this.acked < 0 ? 1 : this.window);
    while (this.next <= last) {
      if (this.next > this.produced && !this.produce()) return;
      const frame = this.frames[this.next % this.slots];
      if (frame) socket.send(frame, this.options.remote);
      this.next++;
    }
  }

  /** Cuts the block that will be sent next, while the client is busy with the last one. */
  private prepare(): void {
    if (this.acked >= 0 && this.produced < this.acked + this.slots && this.next > this.produced) this.produce();
  }

  /** Cuts one more block; false when there is none, or none yet. */
  private produce(): boolean {
    if (this.reading || this.blocks.lastBlock !== undefined) return false;
    const frame = this.nextFrame();
    if (!frame) return false;
    this.produced++;
    this.frames[this.produced % this.slots] = frame;
    return true;
  }

  private nextFrame(): Uint8Array | undefined {
    try {
      // A packet that was sent once and is confirmed has left the socket; of one that was repeated a copy may still wait in its queue.
      // A client that confirms what it never got spoils its own file, no other's: slabs are the session's
      const frame = this.blocks.next(this.retransmits === 0 && this.copies === 1 ? this.acked : undefined);
      if (!frame) this.awaitSource();
      return frame;
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  private awaitSource(): void {
    this.reading = true;
    this.blocks.fill().then(
      () => {
        this.reading = false;
        if (this.ended) return;
        const now = this.options.clock.monotonic();
        this.pump();
        if (this.ended) return;
        this.waitFrom(now);
        this.prepare();
      },
      (error) => this.fail(error),
    );
  }

  /** The window was just sent: its round trip and its repetition count from `now`. */
  private waitFrom(now: number): void {
    this.windowSentAt = now;
    this.repeatAt = now + this.rto.firstMs();
    // Armed for a longer wait (the first one, or one after repetitions) than what the wire now needs
    if (this.timer && this.wakeAt > this.repeatAt + REARM_SLACK_MS) {
      this.timer.cancel();
      this.arm(now);
    }
  }

  // One timer a session. ACKs only move `repeatAt`; a timer that fires too early goes to sleep again.
  private readonly onTimer = (): void => {
    if (this.ended) return;
    const { clock, limits } = this.options;
    const now = clock.monotonic();
    if (now >= this.startedAt + limits.transferLimitMs) {
      this.end('deadline', { code: TFTP_ERROR.undefined, message: 'The transfer took too long' });
      return;
    }
    if (now >= this.progressAt + this.silenceLimitMs()) {
      this.endOfSilence();
      return;
    }
    if (now >= this.repeatAt) {
      if (this.next - 1 > this.acked) {
        this.timedOut = true;
        this.repeat(now, this.rto.nextMs());
      } else this.repeatAt = now + this.rto.firstMs(); // the source is slow: nothing to repeat
      if (this.ended) return;
    }
    this.arm(now);
  };

  private endOfSilence(): void {
    const clientHasAll = this.next - 1 === this.acked;
    if (this.reading && clientHasAll) this.fail(new Error(`nothing was read of the file for ${this.silenceLimitMs() / 1000} s`));
    else this.end(this.allSent() && this.established ? 'unconfirmed' : 'timeout');
  }

  private arm(now: number): void {
    const { clock, limits } = this.options;
    this.wakeAt = Math.min(this.repeatAt, this.progressAt + this.silenceLimitMs(), this.startedAt + limits.transferLimitMs);
    this.timer = clock.after(Math.max(1, this.wakeAt - now), this.onTimer);
  }

  private silenceLimitMs(): number {
    const { limits, negotiation } = this.options;
    const { silenceLimitMs, edgeSilenceLimitMs } = limits;
    const limit = this.established && !this.allSent() ? silenceLimitMs : edgeSilenceLimitMs;
    const asked = 4 * (negotiation.terms.timeoutMs ?? 0); // a client that asked for 255 s gets its repetitions …
    // … once it has answered: a request costs its sender one packet, which may name anybody as its sender
    return Math.max(limit, this.established ? asked : Math.min(asked, silenceLimitMs));
  }

  private allSent(): boolean {
    return this.blocks.lastBlock !== undefined && this.next > this.blocks.lastBlock;
  }

  private countConfirmed(): void {
    if (this.acked <= 0) return;
    const { blockBytes } = this.options.negotiation.terms;
    if (this.acked !== this.blocks.lastBlock) this.confirmedBytes = this.acked * blockBytes;
    else {
      const last = this.frames[this.acked % this.slots]?.length ?? DATA_HEADER_BYTES;
      this.confirmedBytes = (this.acked - 1) * blockBytes + last - DATA_HEADER_BYTES;
    }
  }

  private onError(data: Uint8Array): void {
    let detail = 'unreadable';
    try {
      const packet = decode(data);
      if (packet.type === 'error') detail = `${packet.code} ${packet.message}`.trim();
    } catch {
      // an ERROR cut short still says that the client is gone
    }
    this.end('aborted', undefined, detail);
  }

  private answerStranger(data: Uint8Array, from: Endpoint): void {
    // Never an ERROR for an ERROR: two servers would talk for ever
    if (data.length < 2 || (data[0] === 0 && data[1] === OPCODE.error) || this.strangers >= STRANGER_ANSWERS_MAX) return;
    this.strangers++;
    this.socket?.send(packError(TFTP_ERROR.unknownTransfer, 'Unknown transfer ID'), from);
  }

  private fail(error: unknown): void {
    const message = error instanceof FileCutError ? 'The file changed while it was sent' : 'The file cannot be read';
    this.end('failed', { code: TFTP_ERROR.undefined, message }, error instanceof Error ? error.message : String(error));
  }

  private end(outcome: SessionOutcome, farewell?: { code: number; message: string }, detail?: string): void {
    if (this.ended) return;
    this.ended = true;
    this.timer?.cancel();
    if (farewell) this.socket?.send(packError(farewell.code, farewell.message), this.options.remote);
    this.frames.length = 0;
    closeQuietly(this.options.file);
    this.options.onEnd(outcome, farewell !== undefined, detail);
  }
}

/** Lets go of a file; a source that fails here must not take the server down. */
export function closeQuietly(file: TftpFile): void {
  try {
    Promise.resolve(file.close()).catch(() => undefined);
  } catch {
    // nothing was promised to anyone about the end of a file
  }
}
