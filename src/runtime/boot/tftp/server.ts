/**
 * A read-only TFTP server for network boot: requests come in on one port, each transfer gets a socket of its own (its
 * transfer identifier, RFC 1350 section 4). No datagram can end it, and none makes it send more than a bounded answer.
 */
import type { Clock } from '../../core/clock.ts';
import { type Logger, silentLogger } from '../../core/logger.ts';
import type { Endpoint, Network, UdpSocket } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import {
  DATA_HEADER_BYTES,
  DEFAULT_BLOCK_BYTES,
  decode,
  MAX_BLOCK_BYTES,
  OPCODE,
  packError,
  TFTP_ERROR,
  TftpCodecError,
  type TftpRequestPacket,
} from './codec.ts';
import { tftpErrors } from './errors.ts';
import { type NegotiationLimits, negotiate } from './options.ts';
import { closeQuietly, SendSession, type SessionLimits, type SessionOutcome } from './session.ts';
import { type FileSource, isRefusal, type TftpFile, type TftpRefusal } from './source.ts';
import { type Transfer, Transfers } from './transfers.ts';

export type TransferOutcome =
  | SessionOutcome
  /** The source, or the server itself (write request), said no. */
  | 'refused'
  /** Over `sessionsMax` or `sessionsPerSource`: left unanswered, so that the client asks again. */
  | 'busy';

export interface TransferReport {
  readonly remote: Endpoint;
  /** As the client sent it. */
  readonly file: string;
  /** Bytes of the file that the client has confirmed. */
  readonly bytes: number;
  readonly durationMs: number;
  /** From the request to the client's first confirmation; undefined when there was none. */
  readonly firstByteMs?: number;
  /** Packets sent more than once. */
  readonly retransmits: number;
  readonly outcome: TransferOutcome;
  /** The client's error text, the refusal, or the source's failure. */
  readonly detail?: string;
}

export interface TftpServerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger?: Logger;
  readonly source: FileSource;
  /** Local address; all when absent. */
  readonly address?: string;
  /** Default 69; 0: any free one. */
  readonly port?: number;
  /** A bound descriptor in place of address and port, for a socket tied to one interface. */
  readonly fd?: number;
  /**
   * Largest block granted. Default: what the interface's MTU carries in one packet (1,468 on Ethernet), since one lost fragment costs the whole block; up
   * to 65,464 (RFC 2348) where that is wanted.
   */
  readonly blockBytesMax?: number;
  /**
   * Every transfer over the one port of the requests, told apart by the client's address and port, for firewalls and address translation that let no
   * other port pass. Default false: a port for each transfer, as RFC 1350 has it.
   */
  readonly singlePort?: boolean;
  /** Largest window granted, in blocks. Default 64. */
  readonly windowBlocksMax?: number;
  /** Largest window granted, in bytes. Default 128 KiB: what a default Linux receive buffer takes with its overhead. */
  readonly windowBytesMax?: number;
  /** Transfers at a time. Default 1,024. */
  readonly sessionsMax?: number;
  /** Transfers at a time with one client address. Default 64. */
  readonly sessionsPerSource?: number;
  /** Longest silence in the middle of a transfer. Default 30,000. */
  readonly silenceLimitMs?: number;
  /** Longest silence before the first and after the last block. Default 10,000. */
  readonly edgeSilenceLimitMs?: number;
  /** Longest transfer. Default 900,000. */
  readonly transferLimitMs?: number;
  /** Called at the end of every transfer, in place of logging on the way. */
  readonly onTransfer?: (report: TransferReport) => void;
}

export interface TftpServer {
  /** Resolves with the bound endpoint when requests are heard. Rejects when the port cannot be had. */
  start(): Promise<Endpoint>;
  /**
   * Hears no new requests, lets running transfers end for `drainMs` (default 5,000), tells the others and resolves when
   * every port is free. Harmless when repeated.
   */
  close(drainMs?: number): Promise<void>;
  /** Transfers under way. */
  readonly sessions: number;
}

export function createTftpServer(options: TftpServerOptions): TftpServer {
  return new Server(options);
}

const KIB = 1024;
const DEFAULT_PORT = 69;
const ETHERNET_MTU = 1500;
const ANY_ADDRESSES: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
/** A socket's last datagram leaves after this turn of the event loop; closing at once would drop it. */
const FAREWELL_MS = 20;

class Server implements TftpServer {
  private listener: UdpSocket | undefined;
  private starting: Promise<Endpoint> | undefined;
  private closing: Promise<void> | undefined;
  private readonly transfers: Transfers;
  /** Sockets on their way to be closed, and requests on their way to a session. */
  private readonly pending = new Set<Promise<unknown>>();
  private readonly logger: Logger;
  private readonly negotiation: Omit<NegotiationLimits, 'blockBytesMax'>;
  /** In single-port mode: who is served over the listener. */
  private readonly clients = new Map<string, SendSession>();
  private readonly limits: SessionLimits;

  constructor(private readonly options: TftpServerOptions) {
    this.logger = options.logger ?? silentLogger;
    this.transfers = new Transfers({
      sessionsMax: options.sessionsMax ?? 1024,
      sessionsPerSource: options.sessionsPerSource ?? 64,
      singlePort: options.singlePort ?? false,
    });
    this.negotiation = {
      windowBlocksMax: options.windowBlocksMax ?? 64,
      windowBytesMax: options.windowBytesMax ?? 128 * KIB,
    };
    this.limits = {
      silenceLimitMs: options.silenceLimitMs ?? 30_000,
      edgeSilenceLimitMs: options.edgeSilenceLimitMs ?? 10_000,
      transferLimitMs: options.transferLimitMs ?? 900_000,
    };
  }

  get sessions(): number {
    return this.transfers.size;
  }

  start(): Promise<Endpoint> {
    this.starting ??= this.listen();
    return this.starting;
  }

  close(drainMs = 5000): Promise<void> {
    this.closing ??= this.shut(drainMs);
    return this.closing;
  }

  private async listen(): Promise<Endpoint> {
    const { network, address, port = DEFAULT_PORT, fd } = this.options;
    if (this.closing) throw tftpErrors.TFTP_SERVER_CLOSED({ address: address ?? 'all addresses' });
    this.listener = await network.udp(
      { port, ...(address !== undefined && { address }), ...(fd !== undefined && { fd }) },
      {
        onMessage: (data, from, socket) => this.onDatagram(data, from, socket),
        onError: (error) => this.logger.debug({ error: error.message }, 'TFTP answer not sent'),
      },
    );
    return this.listener.local;
  }

  private async shut(drainMs: number): Promise<void> {
    await this.starting?.catch(() => undefined); // a failed start has nothing to close
    const { listener } = this;
    const { singlePort } = this.options;
    if (!singlePort) await listener?.close();
    if (this.transfers.size > 0 && drainMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.options.clock.after(drainMs, resolve);
        this.transfers.whenIdle(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    const unfinished = this.transfers.list();
    for (const transfer of unfinished) {
      if (transfer.session) transfer.session.stop('closed');
      else this.finish(transfer, 'closed');
    }
    while (this.pending.size > 0) await Promise.all(this.pending);
    if (singlePort && listener) await this.release(listener, unfinished.length > 0); // every transfer was over it
  }

  private onDatagram(data: Uint8Array, from: Endpoint, socket: UdpSocket): void {
    const session = this.options.singlePort && data[1] !== OPCODE.rrq && this.clients.get(keyOf(from));
    if (session) session.onMessage(data, from);
    else this.onRequest(data, from, socket);
  }

  private onRequest(data: Uint8Array, from: Endpoint, socket: UdpSocket): void {
    // Too short to be anything, ERROR, or from a port that nobody can answer: silence
    if (this.closing || data.length < 2 || data[0] !== 0 || data[1] === OPCODE.error || from.port === 0) return;
    try {
      const packet = decode(data);
      if (packet.type === 'rrq') this.onRead(packet, from, socket);
      else if (packet.type === 'wrq')
        this.refuse(packet, from, socket, { code: TFTP_ERROR.accessViolation, message: 'This server is read-only' });
      else socket.send(packError(TFTP_ERROR.unknownTransfer, 'Unknown transfer ID'), from);
    } catch (error) {
      if (!(error instanceof TftpCodecError)) throw error;
      // Only what meant to be a request is answered; the rest of the Internet's noise is not worth a packet
      if (data[1] === OPCODE.rrq || data[1] === OPCODE.wrq) socket.send(packError(TFTP_ERROR.illegalOperation, error.message), from);
    }
  }

  private onRead(request: TftpRequestPacket, remote: Endpoint, socket: UdpSocket): void {
    if (this.transfers.isBeingAnswered(request, remote)) return;
    const transfer: Transfer = {
      request,
      remote,
      startedAt: this.options.clock.monotonic(),
      session: undefined,
      established: false,
      ended: false,
    };
    if (!this.transfers.admit(transfer)) {
      this.report(transfer, 'busy');
      return;
    }
    void this.open(transfer, socket);
  }

  /** From the request to a running session. Never rejects; not waited for by close(), since a source may never answer. */
  private async open(transfer: Transfer, listener: UdpSocket): Promise<void> {
    const answer = await this.ask(transfer, listener);
    if (isRefusal(answer)) {
      if (transfer.ended) return;
      const code = answer.code >= 0 && answer.code <= 0xffff ? Math.trunc(answer.code) : TFTP_ERROR.undefined;
      listener.send(packError(code, answer.message), transfer.remote);
      this.finish(transfer, 'refused', answer.message);
    } else if (transfer.ended) closeQuietly(answer);
    else this.track(this.begin(transfer, answer, listener));
  }

  private async begin(transfer: Transfer, file: TftpFile, listener: UdpSocket): Promise<void> {
    if (this.options.singlePort) {
      this.runOverListener(transfer, file, listener);
      return;
    }
    const { network, address } = this.options;
    const { remote } = transfer;
    let socket: UdpSocket;
    try {
      // to one peer only: cheaper to send on, and the network answers strangers (ICMP). Blocks stay as they are until they have left
      const local = address === undefined || ANY_ADDRESSES.has(address) ? {} : { address };
      socket = await network.udp(
        { ...local, peer: remote, stable: true },
        {
          onMessage: (data, from) => transfer.session?.onMessage(data, from),
          onError: (error) => 'code' in error && error.code === 'ECONNREFUSED' && transfer.session?.onRefused(),
        },
      );
    } catch (error) {
      // Out of ports or descriptors: the client asks again in a moment
      this.logger.error({ error: String(error), remote: remote.address }, 'no socket for a TFTP transfer');
      closeQuietly(file);
      this.finish(transfer, 'failed', String(error));
      return;
    }
    if (transfer.ended) {
      closeQuietly(file);
      await socket.close();
    } else this.run(transfer, file, socket, (farewell) => this.release(socket, farewell));
  }

  /** A client port has one transfer at a time here: what begins anew ends what was. */
  private runOverListener(transfer: Transfer, file: TftpFile, listener: UdpSocket): void {
    const key = keyOf(transfer.remote);
    this.clients.get(key)?.stop('superseded');
    const session = this.run(transfer, file, listener, async () => {
      if (this.clients.get(key) === transfer.session) this.clients.delete(key);
    });
    if (!transfer.ended) this.clients.set(key, session);
  }

  private async ask(transfer: Transfer, listener: UdpSocket): Promise<TftpFile | TftpRefusal> {
    const { request, remote } = transfer;
    try {
      return await this.options.source({ path: request.path, remote, local: listener.local });
    } catch (error) {
      this.logger.error({ error: String(error), file: request.path, remote: remote.address }, 'the TFTP source failed');
      return { code: TFTP_ERROR.undefined, message: 'The server failed to look for the file' };
    }
  }

  private run(transfer: Transfer, file: TftpFile, socket: UdpSocket, release: (farewell: boolean) => Promise<void>): SendSession {
    const { request, remote } = transfer;
    const { clock, random, blockBytesMax } = this.options;
    const limits = { ...this.negotiation, blockBytesMax: blockBytesMax ?? unfragmentedBlock(socket, remote) };
    const session = new SendSession({
      clock,
      random,
      remote,
      file,
      mode: request.mode,
      negotiation: negotiate(request.options, request.mode, file.size, limits),
      limits: this.limits,
      onEstablished: () => this.onEstablished(transfer),
      onEnd: (outcome, farewell, detail) => {
        this.track(release(farewell));
        this.finish(transfer, outcome, detail);
      },
    });
    transfer.session = session;
    session.start(socket);
    return session;
  }

  /** The client follows `transfer`: older ones from the same port are abandoned. */
  private onEstablished(transfer: Transfer): void {
    transfer.established = true;
    transfer.establishedAt = this.options.clock.monotonic();
    for (const other of this.transfers.othersOf(transfer)) other.session?.stop('superseded');
  }

  private async release(socket: UdpSocket, farewell: boolean): Promise<void> {
    if (farewell) await new Promise<void>((resolve) => this.options.clock.after(FAREWELL_MS, resolve));
    await socket.close();
  }

  private refuse(request: TftpRequestPacket, remote: Endpoint, socket: UdpSocket, refusal: TftpRefusal): void {
    socket.send(packError(refusal.code, refusal.message), remote);
    const startedAt = this.options.clock.monotonic();
    this.report({ request, remote, startedAt, session: undefined, established: false, ended: true }, 'refused', refusal.message);
  }

  private finish(transfer: Transfer, outcome: TransferOutcome, detail?: string): void {
    transfer.ended = true;
    this.transfers.remove(transfer);
    this.report(transfer, outcome, detail);
    this.transfers.tellIdle();
  }

  private report(transfer: Transfer, outcome: TransferOutcome, detail?: string): void {
    const { request, remote, startedAt, establishedAt, session } = transfer;
    try {
      this.options.onTransfer?.({
        remote,
        file: request.path,
        bytes: session?.confirmedBytes ?? 0,
        durationMs: this.options.clock.monotonic() - startedAt,
        ...(establishedAt !== undefined && { firstByteMs: establishedAt - startedAt }),
        retransmits: session?.retransmits ?? 0,
        outcome,
        ...(detail !== undefined && { detail }),
      });
    } catch (error) {
      this.logger.error({ error: String(error) }, 'the observer of TFTP transfers failed');
    }
  }

  private track(work: Promise<unknown>): void {
    const settled: Promise<void> = work.then(
      () => this.untrack(settled),
      () => this.untrack(settled),
    );
    this.pending.add(settled);
  }

  private untrack(work: Promise<void>): void {
    this.pending.delete(work);
  }
}

function keyOf({ address, port }: Endpoint): string {
  return `${port} ${address}`;
}

/** The block that fits one IP packet on the way out. RFC 2348's largest where the interface carries more (loopback). */
function unfragmentedBlock({ mtu = ETHERNET_MTU }: UdpSocket, { address }: Endpoint): number {
  const headers = (address.includes(':') ? 40 : 20) + 8 + DATA_HEADER_BYTES; // IPv6 or IPv4, UDP, TFTP
  return Math.max(DEFAULT_BLOCK_BYTES, Math.min(mtu - headers, MAX_BLOCK_BYTES));
}
