/**
 * The receiving side: fetches one file. The simulator's firmware boots with it, and tests drive servers with it. It keeps
 * RFC 7440's windows, falls back to a server that knows no options, and outlives loss, copies and disorder.
 */
import type { Clock, Timer } from '../../core/clock.ts';
import type { Endpoint, Network, UdpSocket } from '../../core/network.ts';
import {
  DEFAULT_BLOCK_BYTES,
  decode,
  OPCODE,
  packAck,
  packError,
  packRequest,
  TFTP_ERROR,
  TftpCodecError,
  type TftpErrorPacket,
  type TftpOptions,
} from './codec.ts';
import { tftpErrors } from './errors.ts';
import { acceptAnswer } from './options.ts';

export interface TftpGetOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly server: Endpoint;
  readonly path: string;
  /** Asked for with blksize; undefined: no such option. Default 1,428: fits Ethernet also behind PPPoE and VLAN tags. */
  readonly blockBytes?: number;
  /** Asked for with windowsize when above 1. Default 1. */
  readonly windowBlocks?: number;
  /** Asked for with timeout, in whole seconds; undefined: no such option. */
  readonly timeoutSeconds?: number;
  /** Send a plain RFC 1350 request, as the oldest firmware does. Default false. */
  readonly withoutOptions?: boolean;
  readonly localAddress?: string;
  /** Largest file accepted. Default 1 GiB. */
  readonly maxBytes?: number;
  /** Gives up when nothing useful arrives for so long. Default 30,000. */
  readonly silenceLimitMs?: number;
  /** How long the port stays open to confirm the last block again, in the background. Default 500. */
  readonly dallyMs?: number;
  readonly signal?: AbortSignal;
  /** Called after each window. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly size: number | undefined }) => void;
}

export interface TftpDownload {
  readonly data: Uint8Array;
  /** As negotiated. */
  readonly blockBytes: number;
  readonly windowBlocks: number;
  /** The server's tsize. */
  readonly announcedBytes: number | undefined;
  readonly durationMs: number;
}

const DEFAULT_CLIENT_BLOCK_BYTES = 1428; // 1500 - 20 IPv4 - 8 UDP - 4 TFTP = 1468, less 40 for tunnels
/** Ahead and behind cannot be told apart in windows of more than half the numbers. */
const MAX_WINDOW_BLOCKS = 32767;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 4000;
/** The last datagram leaves after this turn of the event loop; closing at once would drop it. */
const FAREWELL_MS = 20;

/**
 * The whole file.
 * @throws CodedError TFTP_REFUSED, TFTP_NO_ANSWER, TFTP_BAD_ANSWER, TFTP_TOO_LARGE; TftpCodecError for a path that no request
 *   can carry; the signal's reason when it aborts
 */
export async function tftpGet(options: TftpGetOptions): Promise<TftpDownload> {
  const asked = options.withoutOptions ? new Map<string, string>() : optionsToAsk(options);
  const first = await new Download(options, asked).run();
  if (first) return first;
  const second = await new Download(options, new Map()).run();
  if (second) return second;
  throw tftpErrors.TFTP_BAD_ANSWER({ path: options.path, server: options.server.address, reason: 'it refuses options that were not sent' });
}

function optionsToAsk({ blockBytes = DEFAULT_CLIENT_BLOCK_BYTES, windowBlocks = 1, timeoutSeconds }: TftpGetOptions): TftpOptions {
  const asked = new Map([
    ['tsize', '0'],
    ['blksize', String(blockBytes)],
  ]);
  if (windowBlocks > 1) asked.set('windowsize', String(Math.min(windowBlocks, MAX_WINDOW_BLOCKS)));
  if (timeoutSeconds !== undefined) asked.set('timeout', String(timeoutSeconds));
  return asked;
}

/** One attempt with one set of options, on one port. */
class Download {
  private socket: UdpSocket | undefined;
  /** The server's transfer identifier; undefined until it answers. */
  private peer: Endpoint | undefined;
  private blockBytes = DEFAULT_BLOCK_BYTES;
  private windowBlocks = 1;
  private size: number | undefined;
  private buffer = Buffer.alloc(0);
  private length = 0;
  /** Last block received in order; does not wrap. */
  private received = 0;
  /** Last block that was confirmed. */
  private confirmed = 0;
  private gapTold = false;
  private finished = false;
  private waitMs = FIRST_WAIT_MS;
  private timer: Timer | undefined;
  private readonly request: Buffer;
  private readonly startedAt: number;
  private heardAt: number;
  private repeatAt = 0;
  /** `undefined`: the server refuses options. */
  private resolve: (download: TftpDownload | undefined) => void = () => undefined;
  private reject: (reason: unknown) => void = () => undefined;

  constructor(
    private readonly options: TftpGetOptions,
    private readonly asked: TftpOptions,
  ) {
    this.request = packRequest({ type: 'rrq', path: options.path, mode: 'octet', options: asked });
    this.startedAt = this.heardAt = options.clock.monotonic();
  }

  async run(): Promise<TftpDownload | undefined> {
    const { network, localAddress, signal, server } = this.options;
    signal?.throwIfAborted();
    const result = new Promise<TftpDownload | undefined>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    const socket = await network.udp(localAddress === undefined ? {} : { address: localAddress }, {
      onMessage: (data, from) => this.onMessage(data, from),
    });
    this.socket = socket;
    const onAbort = (): void => this.fail(signal?.reason, { code: TFTP_ERROR.undefined, message: 'Aborted' });
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    else {
      socket.send(this.request, server);
      this.heard();
      this.onTimer();
    }
    try {
      return await result;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  private onMessage(data: Uint8Array, from: Endpoint): void {
    const { peer } = this;
    if (peer ? from.port !== peer.port || from.address !== peer.address : from.address !== this.options.server.address) {
      this.answerStranger(data, from);
      return;
    }
    try {
      const packet = decode(data);
      if (packet.type === 'data') this.onData(packet.block, packet.data, from);
      else if (this.finished) return;
      else if (packet.type === 'oack') this.onOack(packet.options, from);
      else if (packet.type === 'error') this.onError(packet);
      // ACK and requests mean nothing to a reader
    } catch (error) {
      if (!(error instanceof TftpCodecError)) throw error; // noise: the server repeats what was meant
    }
  }

  private onOack(answer: TftpOptions, from: Endpoint): void {
    if (this.peer) {
      if (this.received === 0) this.acknowledge(); // our ACK 0 was lost
      return;
    }
    const terms = acceptAnswer(this.asked, answer);
    this.peer = from;
    if (!terms) {
      this.fail(this.bad('its option acknowledgement grants what was not asked for'), {
        code: TFTP_ERROR.optionsRefused,
        message: 'Bad options',
      });
      return;
    }
    const { maxBytes = 2 ** 30 } = this.options;
    if (terms.size !== undefined && terms.size > maxBytes) {
      this.tooLarge(maxBytes);
      return;
    }
    this.blockBytes = terms.blockBytes;
    this.windowBlocks = terms.windowBlocks;
    this.size = terms.size;
    this.heard();
    this.acknowledge();
  }

  private onData(wire: number, data: Uint8Array, from: Endpoint): void {
    const ahead = (wire - (this.received + 1)) & 0xffff; // the wire's block numbers wrap, ours do not
    if (this.finished) {
      if (ahead === 0xffff) this.acknowledge(); // the last block again: our last ACK was lost
      return;
    }
    if (!this.peer) {
      if (ahead !== 0) return; // DATA 1 without OACK: a server that knows no options. Anything else is no beginning
      this.peer = from;
    }
    if (ahead === 0) this.accept(data);
    else if (ahead <= MAX_WINDOW_BLOCKS) this.onGap();
    // A repeated block: worth an ACK when ours for it may have been lost, and then only for the last one of its window
    else if (ahead === 0xffff && this.confirmed === this.received) this.acknowledge();
  }

  private accept(data: Uint8Array): void {
    const { maxBytes = 2 ** 30 } = this.options;
    if (data.length > this.blockBytes) {
      this.fail(this.bad(`a block of ${data.length} bytes, agreed were ${this.blockBytes}`), {
        code: TFTP_ERROR.illegalOperation,
        message: 'Block too large',
      });
      return;
    }
    if (this.length + data.length > maxBytes) {
      this.tooLarge(maxBytes);
      return;
    }
    this.append(data);
    this.received++;
    this.gapTold = false;
    this.heard();
    if (data.length < this.blockBytes) this.finish();
    else if (this.received - this.confirmed >= this.windowBlocks) this.acknowledge();
  }

  /** RFC 7440 section 4: say once where the gap is; the blocks behind it come again. */
  private onGap(): void {
    if (this.gapTold) return;
    this.gapTold = true;
    if (this.windowBlocks > 1) this.acknowledge();
  }

  private acknowledge(): void {
    if (!this.peer) return;
    const news = this.received > this.confirmed;
    this.confirmed = this.received;
    this.socket?.send(packAck(this.received), this.peer);
    if (news) this.options.onProgress?.({ bytes: this.length, size: this.size });
  }

  private heard(): void {
    this.heardAt = this.options.clock.monotonic();
    this.waitMs = FIRST_WAIT_MS;
    this.repeatAt = this.heardAt + this.waitMs;
  }

  // One timer a download, lazily re-armed
  private readonly onTimer = (): void => {
    if (this.finished) return;
    const { clock, silenceLimitMs = 30_000, path, server } = this.options;
    const now = clock.monotonic();
    if (now >= this.heardAt + silenceLimitMs) {
      this.fail(tftpErrors.TFTP_NO_ANSWER({ path, server: name(server), silentMs: silenceLimitMs }), {
        code: TFTP_ERROR.undefined,
        message: 'Timed out',
      });
      return;
    }
    if (now >= this.repeatAt) {
      this.gapTold = false;
      if (this.peer) this.acknowledge();
      else this.socket?.send(this.request, this.options.server);
      this.waitMs = Math.min(LONGEST_WAIT_MS, this.waitMs * 2);
      this.repeatAt = now + this.waitMs;
    }
    this.timer = clock.after(Math.max(1, Math.min(this.repeatAt, this.heardAt + silenceLimitMs) - now), this.onTimer);
  };

  private onError({ code, message }: TftpErrorPacket): void {
    const { path, server } = this.options;
    // Servers without options answer them with 8, and old ones with 0 or 4
    const aboutOptions = code === TFTP_ERROR.optionsRefused || code === TFTP_ERROR.undefined || code === TFTP_ERROR.illegalOperation;
    if (this.received === 0 && this.asked.size > 0 && aboutOptions) {
      this.release();
      this.resolve(undefined);
    } else this.fail(tftpErrors.TFTP_REFUSED({ path, server: name(server), code, reason: message }));
  }

  private finish(): void {
    const { size, length, blockBytes, windowBlocks } = this;
    if (size !== undefined && size !== length) {
      this.fail(this.bad(`${length} bytes came, ${size} were announced`), { code: TFTP_ERROR.undefined, message: 'Wrong size' });
      return;
    }
    this.acknowledge();
    this.release(this.options.dallyMs ?? 500);
    this.resolve({
      data: this.buffer.subarray(0, length),
      blockBytes,
      windowBlocks,
      announcedBytes: size,
      durationMs: this.options.clock.monotonic() - this.startedAt,
    });
  }

  private fail(reason: unknown, farewell?: { code: number; message: string }): void {
    if (this.finished) return;
    if (farewell && this.peer) this.socket?.send(packError(farewell.code, farewell.message), this.peer);
    this.release();
    this.reject(reason);
  }

  private release(afterMs = FAREWELL_MS): void {
    this.finished = true;
    this.timer?.cancel();
    const { socket } = this;
    this.options.clock.after(Math.max(FAREWELL_MS, afterMs), () => void socket?.close());
  }

  private append(data: Uint8Array): void {
    const needed = this.length + data.length;
    if (needed > this.buffer.length) {
      // The announced size is the server's word: it saves copies, but is not believed beyond 64 MiB before bytes arrive
      const announced = Math.min(this.size ?? 0, 64 * 1024 * 1024);
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, announced, this.buffer.length * 2, 4096));
      this.buffer.copy(grown, 0, 0, this.length);
      this.buffer = grown;
    }
    this.buffer.set(data, this.length);
    this.length = needed;
  }

  private answerStranger(data: Uint8Array, from: Endpoint): void {
    // Another transfer's first packet (our request arrived twice): tell it to stop, the one that we follow goes on
    if (!this.peer || this.finished || data[0] !== 0 || (data[1] !== OPCODE.data && data[1] !== OPCODE.oack)) return;
    this.socket?.send(packError(TFTP_ERROR.unknownTransfer, 'Unknown transfer ID'), from);
  }

  private tooLarge(limitBytes: number): void {
    const { path, server } = this.options;
    this.fail(tftpErrors.TFTP_TOO_LARGE({ path, server: name(server), limitBytes }), {
      code: TFTP_ERROR.diskFull,
      message: 'File too large',
    });
  }

  private bad(reason: string): Error {
    return tftpErrors.TFTP_BAD_ANSWER({ path: this.options.path, server: name(this.options.server), reason });
  }
}

function name({ address, port }: Endpoint): string {
  return `${address}:${port}`;
}
