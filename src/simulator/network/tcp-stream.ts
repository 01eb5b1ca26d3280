/**
 * One TCP connection (RFC 9293) over a wire that may lose, repeat and reorder: cumulative acknowledgements, a receive window,
 * retransmission by RFC 6298 time-outs and by three duplicate acknowledgements, zero-window probes, half-close, resets. Left out:
 * congestion control, delayed acknowledgements and urgent data, which no program sees. Time-outs are those of Linux.
 */
import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/clock';
import type { Endpoint, TcpConnection } from 'cdk8s-baremetal-runtime/core/network';
import type { TcpPacket } from './packet.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { socketError } from './socket-error.ts';

export interface TcpStreamOptions {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly clock: Clock;
  readonly segmentBytes: number;
  readonly initialSeq: number;
  /** False when there is no way to the target. */
  readonly transmit: (packet: TcpPacket) => boolean;
  /** The host may forget the connection. */
  readonly onGone: () => void;
}

/** What was sent and not yet acknowledged. */
interface InFlight {
  readonly seq: number;
  readonly end: number;
  readonly data: Uint8Array;
  readonly syn?: boolean;
  readonly fin?: boolean;
}

const NOTHING = new Uint8Array();
/** Bytes that a writer may have queued before `write` makes it wait. */
const SEND_BUFFER_BYTES = 64 * 1024;
const FIRST_RTO_MS = 1000; // RFC 6298 section 2.1
const SHORTEST_RTO_MS = 200; // Linux: TCP_RTO_MIN
const LONGEST_RTO_MS = 120_000; // Linux: TCP_RTO_MAX
const SYN_RETRIES = 6; // Linux: net.ipv4.tcp_syn_retries, 127 s in all
const SYN_ACK_RETRIES = 5; // Linux: net.ipv4.tcp_synack_retries
const DATA_RETRIES = 15; // Linux: net.ipv4.tcp_retries2, about 15 minutes from 200 ms on
/** Zero-window probes come at least every 200 ms * 2^9. */
const MOST_PROBE_DOUBLINGS = 9;
const TIME_WAIT_MS = 60_000; // Linux: TCP_TIMEWAIT_LEN

export class TcpStream implements TcpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  private state: 'closed' | 'syn-sent' | 'syn-received' | 'open' | 'time-wait' | 'gone' = 'closed';
  private failure: Error | undefined;
  private readonly inbox = new ReceiveBuffer();
  private opened: { resolve: (connection: TcpConnection) => void; reject: (error: Error) => void } | undefined;
  private onOpen: (() => void) | undefined;

  private unsent: Uint8Array[] = [];
  private unsentBytes = 0;
  private inFlight: InFlight[] = [];
  private sendUna: number;
  private sendNext: number;
  private peerWindow = 0;
  private finQueued = false;
  private finSent = false;
  private writers: { resolve: () => void; reject: (error: Error) => void }[] = [];

  private timer: Timer | undefined;
  private rtoMs = FIRST_RTO_MS;
  private smoothedRttMs: number | undefined;
  private timed: { readonly end: number; readonly atMs: number } | undefined;
  private retries = 0;
  private duplicateAcks = 0;
  /** Losses up to here are being repaired. */
  private recoverTo = 0;

  constructor(private readonly options: TcpStreamOptions) {
    this.local = options.local;
    this.remote = options.remote;
    this.sendUna = options.initialSeq;
    this.sendNext = options.initialSeq;
  }

  // ---- the program's side ----

  connect(): Promise<TcpConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<TcpConnection>();
    this.opened = { resolve, reject };
    this.state = 'syn-sent';
    if (!this.push({ syn: true, data: NOTHING })) this.vanish(socketError('ENETUNREACH', 'connect', this.remote));
    return promise;
  }

  accept(syn: TcpPacket, onOpen: () => void): void {
    this.onOpen = onOpen;
    this.inbox.start(syn.seq + 1);
    this.peerWindow = syn.window;
    this.state = 'syn-received';
    this.push({ syn: true, data: NOTHING });
  }

  write(data: Uint8Array | readonly Uint8Array[]): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    if (this.finQueued || this.state !== 'open') return Promise.reject(socketError('EPIPE', 'write'));
    for (const piece of data instanceof Uint8Array ? [data] : data) {
      if (piece.length === 0) continue;
      this.unsent.push(new Uint8Array(piece));
      this.unsentBytes += piece.length;
    }
    this.pump();
    if (this.queuedBytes() <= SEND_BUFFER_BYTES) return Promise.resolve();
    return new Promise((resolve, reject) => this.writers.push({ resolve, reject }));
  }

  end(): void {
    if (this.finQueued) return;
    this.finQueued = true;
    this.pump();
  }

  destroy(error: Error = new Error('the connection was destroyed')): void {
    if (this.state === 'open' || this.state === 'syn-received') this.transmit({ rst: true, seq: this.sendNext, data: NOTHING });
    this.vanish(error);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    let ended = false;
    try {
      for (;;) {
        const windowBefore = this.inbox.window;
        const chunk = await this.inbox.take();
        if (!chunk) {
          ended = true;
          return;
        }
        // tell a sender that may be waiting, but not of every byte (RFC 9293 section 3.8.6.2.2)
        if (this.inbox.window - windowBefore >= this.inbox.capacity / 4 && this.state === 'open') this.acknowledge();
        yield chunk;
      }
    } finally {
      if (!ended) this.destroy(); // the reader has left the loop: as Node's sockets do
    }
  }

  /** Gone without a packet: a power cut, a reset from the peer, a time-out. */
  vanish(error: Error): void {
    if (this.state === 'gone') return;
    if (this.state !== 'time-wait') this.state = 'gone';
    this.failure ??= error;
    this.inbox.fail(this.failure);
    this.opened?.reject(this.failure);
    this.opened = undefined;
    for (const { reject } of this.writers.splice(0)) reject(this.failure);
    this.unsent = [];
    this.unsentBytes = 0;
    if (this.state === 'time-wait') return; // its timer runs on, to answer a repeated FIN
    this.timer?.cancel();
    this.inFlight = [];
    this.options.onGone();
  }

  waiting(): string | undefined {
    const ends = `tcp ${this.local.address}:${this.local.port} > ${this.remote.address}:${this.remote.port}`;
    if (this.state === 'syn-sent') return `${ends} connects`;
    if (this.writers.length) return `${ends} writes`;
    return this.inbox.isAwaited ? `${ends} reads` : undefined;
  }

  // ---- the wire's side ----

  receive(packet: TcpPacket): void {
    if (this.state === 'syn-sent') {
      this.receiveWhileConnecting(packet);
      return;
    }
    const length = packet.data.length + (packet.fin ? 1 : 0);
    const { expected, window } = this.inbox;
    if (packet.rst) {
      if (packet.seq >= expected && packet.seq <= expected + window) this.vanish(socketError('ECONNRESET', 'read'));
      return;
    }
    if (packet.syn) {
      // our SYN-ACK was lost, or the peer has restarted and uses the port again (RFC 9293 section 3.10.7.4: challenge)
      const [first] = this.inFlight;
      if (this.state === 'syn-received' && first?.syn && packet.seq + 1 === expected) this.resend(first);
      else this.acknowledge();
      return;
    }
    if (packet.ack === undefined) return;
    if (packet.seq < expected && length === 0 && packet.ack <= this.sendUna) {
      this.acknowledge(); // a probe, or an echo from the past
      return;
    }
    if (this.state === 'syn-received' && packet.ack === this.sendNext) this.open();
    this.receiveAck(packet, packet.ack);
    if (length > 0 && this.state !== 'gone') this.receiveData(packet);
  }

  private receiveWhileConnecting(packet: TcpPacket): void {
    if (packet.ack !== undefined && packet.ack !== this.sendNext) {
      if (!packet.rst) this.transmit({ rst: true, seq: packet.ack, data: NOTHING, withoutAck: true });
      return;
    }
    if (packet.rst) {
      if (packet.ack !== undefined) this.vanish(socketError('ECONNREFUSED', 'connect', this.remote));
      return;
    }
    if (!packet.syn || packet.ack === undefined) return;
    this.inbox.start(packet.seq + 1);
    this.open();
    this.receiveAck(packet, packet.ack);
    this.acknowledge();
  }

  private open(): void {
    this.state = 'open';
    this.opened?.resolve(this);
    this.opened = undefined;
    this.onOpen?.();
    this.onOpen = undefined;
  }

  private receiveAck({ window, data, fin }: TcpPacket, ack: number): void {
    if (ack > this.sendNext) return;
    if (ack > this.sendUna) {
      this.sendUna = ack;
      this.inFlight = this.inFlight.filter(({ end }) => end > ack);
      this.retries = 0;
      this.duplicateAcks = 0;
      this.measure(ack);
      this.peerWindow = window;
      const [first] = this.inFlight;
      if (first && ack < this.recoverTo) this.resend(first); // a partial acknowledgement: the next one is lost as well
      this.rearm();
      if (this.finSent && this.inFlight.length === 0) this.finishIfBothEnded();
    } else if (ack === this.sendUna) {
      const [first] = this.inFlight;
      if (first && data.length === 0 && !fin && window === this.peerWindow && ++this.duplicateAcks === 3 && this.recoverTo <= ack) {
        this.recoverTo = this.sendNext;
        this.resend(first);
      }
      if (!first) this.retries = Math.min(this.retries, MOST_PROBE_DOUBLINGS); // a closed window that is answered for never times out
      this.peerWindow = window;
    }
    this.pump();
    if (this.queuedBytes() <= SEND_BUFFER_BYTES) for (const { resolve } of this.writers.splice(0)) resolve();
  }

  private receiveData({ seq, data, fin }: TcpPacket): void {
    this.inbox.add(seq, data, fin ?? false);
    this.acknowledge();
    if (this.inbox.hasEnded) this.finishIfBothEnded();
  }

  private finishIfBothEnded(): void {
    if (this.state !== 'open' || !this.finSent || this.inFlight.length > 0 || !this.inbox.hasEnded) return;
    this.state = 'time-wait';
    this.failure ??= socketError('EPIPE', 'write');
    this.timer?.cancel();
    this.timer = this.options.clock.after(TIME_WAIT_MS, () => {
      this.state = 'gone';
      this.options.onGone();
    });
  }

  // ---- sending ----

  /** Sends what the peer's window allows, and FIN when everything else has been sent. */
  private pump(): void {
    if (this.state !== 'open') return;
    for (let [chunk] = this.unsent; chunk; [chunk] = this.unsent) {
      const room = this.sendUna + this.peerWindow - this.sendNext;
      const length = Math.min(chunk.length, room, this.options.segmentBytes);
      if (length <= 0) break;
      if (length === chunk.length) this.unsent.shift();
      else this.unsent[0] = chunk.subarray(length);
      this.unsentBytes -= length;
      this.push({ data: chunk.subarray(0, length) });
    }
    if (this.finQueued && !this.finSent && this.unsent.length === 0) {
      this.finSent = true;
      this.push({ fin: true, data: NOTHING });
    }
    if (this.inFlight.length === 0 && this.unsent.length > 0 && !this.timer) this.rearm(); // closed window: probe it
  }

  private push(part: { data: Uint8Array; syn?: boolean; fin?: boolean }): boolean {
    const segment: InFlight = { ...part, seq: this.sendNext, end: this.sendNext + part.data.length + (part.syn || part.fin ? 1 : 0) };
    this.sendNext = segment.end;
    this.inFlight.push(segment);
    this.timed ??= { end: segment.end, atMs: this.options.clock.monotonic() };
    if (!this.timer) this.rearm();
    return this.transmit(segment);
  }

  private resend(segment: InFlight): void {
    this.timed = undefined; // Karn: its acknowledgement would not say which copy it means
    this.transmit(segment);
  }

  private acknowledge(): void {
    this.transmit({ seq: this.sendNext, data: NOTHING });
  }

  private transmit(part: { seq: number; data: Uint8Array; syn?: boolean; fin?: boolean; rst?: boolean; withoutAck?: boolean }): boolean {
    const { seq, data, syn, fin, rst } = part;
    const ack = this.state === 'syn-sent' || part.withoutAck ? {} : { ack: this.inbox.expected };
    return this.options.transmit({
      protocol: 'tcp',
      source: this.local,
      target: this.remote,
      ...(syn && { syn }),
      ...(fin && { fin }),
      ...(rst && { rst }),
      seq,
      ...ack,
      window: this.inbox.window,
      data,
    });
  }

  // ---- time ----

  private rearm(): void {
    this.timer?.cancel();
    this.timer = undefined;
    if (this.inFlight.length === 0 && this.unsent.length === 0) return;
    const delay = Math.min(this.rtoMs * 2 ** this.retries, LONGEST_RTO_MS);
    this.timer = this.options.clock.after(delay, () => this.onTimeout());
  }

  private onTimeout(): void {
    this.timer = undefined;
    const connecting = this.state === 'syn-sent';
    const limit = connecting ? SYN_RETRIES : this.state === 'syn-received' ? SYN_ACK_RETRIES : DATA_RETRIES;
    if (++this.retries > limit) {
      this.vanish(socketError('ETIMEDOUT', connecting ? 'connect' : 'read', connecting ? this.remote : undefined));
      return;
    }
    const [first] = this.inFlight;
    if (first) {
      this.recoverTo = this.sendNext;
      this.resend(first);
    } else if (this.unsent.length > 0) this.transmit({ seq: this.sendUna - 1, data: NOTHING });
    this.rearm();
  }

  /** RFC 6298 section 2, without the variance: latency here is known to be steady. */
  private measure(ack: number): void {
    if (!this.timed || ack < this.timed.end) return;
    const rttMs = this.options.clock.monotonic() - this.timed.atMs;
    this.timed = undefined;
    this.smoothedRttMs = this.smoothedRttMs === undefined ? rttMs : (7 * this.smoothedRttMs + rttMs) / 8;
    this.rtoMs = Math.min(Math.max(SHORTEST_RTO_MS, 2 * this.smoothedRttMs), LONGEST_RTO_MS);
  }

  private queuedBytes(): number {
    return this.unsentBytes + this.sendNext - this.sendUna;
  }
}
