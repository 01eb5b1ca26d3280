/**
 * One UDP socket for all BMCs. A socket each for 10,000 BMCs would cost 10,000 descriptors, receive buffers and ports, and gains nothing: RMCP+
 * packets name their session, and the console chooses that number. So a random 32-bit console session ID, unique
 * within this socket, tells whose packet it is. Only Get Channel Authentication Capabilities and cut-down error answers of a log-in come
 * without it; they are told apart by the BMC's address, and then by their sequence number or tag.
 *
 * All answers pass one event loop anyway; the kernel queues the bursts (about 200 bytes an answer: 1 MiB of receive buffer holds
 * some thousand answers, with the kernel's overhead counted in). IPv6 BMCs share a second socket.
 */
import type { Logger } from '../../core/logger.ts';
import type { Endpoint, Network, UdpSocket } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import { MalformedPacket } from './bytes.ts';
import { decodePacket, type Packet } from './packet.ts';
import { PayloadType, type RmcpPlusPacket } from './rmcp-plus.ts';

export type PacketHandler = (packet: Packet) => void;

/** One BMC's share of the socket. */
export interface BmcChannel {
  /** How packets of this channel are recognised; never 0. */
  readonly consoleSessionId: number;
  send(datagram: Uint8Array): void;
  /** Replaces the handler; packets without one are dropped. */
  listen(handler: PacketHandler | undefined): void;
  close(): void;
}

export interface BmcSocketStats {
  /** Datagrams that are no RMCP, or malformed. */
  malformed: number;
  /** Well-formed datagrams for nobody here: late, forged, or from another address than their session's BMC. */
  unclaimed: number;
}

export class BmcSocket {
  readonly stats: BmcSocketStats = { malformed: 0, unclaimed: 0 };
  readonly #bySession = new Map<number, Channel>();
  readonly #byEndpoint = new Map<string, Set<Channel>>();
  readonly #sockets = new Map<'v4' | 'v6', Promise<UdpSocket>>();

  constructor(private readonly options: { readonly network: Network; readonly random: Random; readonly logger: Logger }) {}

  async channel(address: string, port: number): Promise<BmcChannel> {
    const socket = await this.#socket(address.includes(':') ? 'v6' : 'v4');
    const endpoint = endpointKey(address, port);
    const channel = new Channel(this.#newSessionId(), { address, port }, endpoint, socket, () => this.#forget(channel));
    this.#bySession.set(channel.consoleSessionId, channel);
    const peers = this.#byEndpoint.get(endpoint) ?? new Set();
    this.#byEndpoint.set(endpoint, peers.add(channel));
    return channel;
  }

  /** Resolves when the ports are free. A later `channel()` opens new ones. */
  async close(): Promise<void> {
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    await Promise.all(
      sockets.map(async (opening) => {
        const socket = await opening.catch(() => undefined); // it never opened: nothing to close, and the opener has the error
        await socket?.close();
      }),
    );
  }

  #socket(family: 'v4' | 'v6'): Promise<UdpSocket> {
    const known = this.#sockets.get(family);
    if (known) return known;
    const opening = this.options.network.udp(family === 'v6' ? { address: '::', stable: true } : { stable: true }, {
      onMessage: (data, from) => this.#receive(data, from),
      onError: (error) => this.options.logger.debug({ error: String(error) }, 'a datagram to a BMC could not be sent'),
    });
    opening.catch(() => this.#sockets.delete(family)); // so that the next caller tries again
    this.#sockets.set(family, opening);
    return opening;
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    let packet: Packet;
    try {
      packet = decodePacket(data);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      this.stats.malformed += 1; // dropped: anybody can send anything to a UDP port
      return;
    }
    const sessionId = packet.kind === 'plus' ? consoleSessionIdOf(packet) : 0;
    if (sessionId !== 0) {
      const channel = this.#bySession.get(sessionId);
      if (channel?.isFrom(from)) channel.deliver(packet);
      else this.stats.unclaimed += 1;
      return;
    }
    const peers = this.#byEndpoint.get(endpointKey(from.address, from.port));
    if (!peers) this.stats.unclaimed += 1;
    else for (const channel of [...peers]) channel.deliver(packet);
  }

  #newSessionId(): number {
    for (;;) {
      const id = Buffer.from(this.options.random.bytes(4)).readUInt32LE(0);
      if (id !== 0 && !this.#bySession.has(id)) return id;
    }
  }

  #forget(channel: Channel): void {
    this.#bySession.delete(channel.consoleSessionId);
    const peers = this.#byEndpoint.get(channel.endpoint);
    peers?.delete(channel);
    if (peers?.size === 0) this.#byEndpoint.delete(channel.endpoint);
  }
}

class Channel implements BmcChannel {
  #handler: PacketHandler | undefined;

  constructor(
    readonly consoleSessionId: number,
    private readonly to: Endpoint,
    readonly endpoint: string,
    private readonly socket: UdpSocket,
    private readonly onClose: () => void,
  ) {}

  send(datagram: Uint8Array): void {
    this.socket.send(datagram, this.to);
  }

  listen(handler: PacketHandler | undefined): void {
    this.#handler = handler;
  }

  isFrom({ address, port }: Endpoint): boolean {
    // text first: only IPv6 has several spellings
    return port === this.to.port && (address === this.to.address || endpointKey(address, port) === this.endpoint);
  }

  deliver(packet: Packet): void {
    this.#handler?.(packet);
  }

  close(): void {
    this.#handler = undefined;
    this.onClose();
  }
}

/** Set-up messages carry the console's session ID in bytes 4–7 of their payload, all others in the session header. */
function consoleSessionIdOf(packet: RmcpPlusPacket): number {
  if (packet.sessionId !== 0) return packet.sessionId;
  switch (packet.payloadType) {
    case PayloadType.openSessionResponse:
    case PayloadType.rakp2:
    case PayloadType.rakp4:
      return packet.payload.length >= 8 ? packet.payload.readUInt32LE(4) : 0;
    default:
      return 0;
  }
}

/** IPv6 text has many forms for one address; the URL parser knows the canonical one. A zone is not part of the comparison. */
function endpointKey(address: string, port: number): string {
  if (!address.includes(':')) return `${address}:${port}`;
  const plain = address.split('%')[0] ?? address;
  return URL.canParse(`http://[${plain}]/`) ? `${new URL(`http://[${plain}]/`).hostname}:${port}` : `[${plain}]:${port}`;
}
