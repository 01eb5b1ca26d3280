/** The TCP ports of one simulated host: who listens, and which connection a packet belongs to. */
import type { Endpoint, TcpConnection, TcpConnectOptions, TcpListener } from 'cdk8s-baremetal-runtime/core/network';
import { randomInt } from 'cdk8s-baremetal-runtime/core/random';
import type { SeededRandom } from '../random.ts';
import { ANY_ADDRESS } from './address.ts';
import type { SimHost } from './host.ts';
import type { TcpPacket } from './packet.ts';
import { socketError } from './socket-error.ts';
import { TcpStream } from './tcp-stream.ts';

interface Listener {
  readonly local: Endpoint;
  readonly onConnection: (connection: TcpConnection) => void;
  readonly accepted: Set<TcpStream>;
}

export interface SimTcpListener extends TcpListener {
  /** Frees the port; connections that were accepted go on. */
  stop(): void;
}

const NOTHING = new Uint8Array();

export class TcpStack {
  private readonly listeners = new Set<Listener>();
  private readonly streams = new Map<string, TcpStream>();

  constructor(
    private readonly host: SimHost,
    private readonly random: SeededRandom,
  ) {}

  async listen(options: { address?: string; port: number }, onConnection: (connection: TcpConnection) => void): Promise<SimTcpListener> {
    const address = options.address ?? ANY_ADDRESS;
    this.host.assertLocal(address, options.port, 'listen');
    const taken = (port: number): boolean =>
      [...this.listeners].some(
        ({ local }) => local.port === port && (local.address === address || local.address === ANY_ADDRESS || address === ANY_ADDRESS),
      );
    if (options.port !== 0 && taken(options.port)) throw socketError('EADDRINUSE', 'listen', { address, port: options.port });
    const port = options.port === 0 ? this.host.ephemeralPort(taken, { address, port: 0 }) : options.port;
    const listener: Listener = { local: { address, port }, onConnection, accepted: new Set() };
    this.listeners.add(listener);
    return {
      local: listener.local,
      stop: () => {
        this.listeners.delete(listener);
      },
      close: async () => {
        this.listeners.delete(listener);
        for (const stream of listener.accepted) stream.destroy();
      },
    };
  }

  connect({ address, port, localAddress, signal }: TcpConnectOptions): Promise<TcpConnection> {
    if (localAddress !== undefined) this.host.assertLocal(localAddress, 0, 'bind');
    const source = localAddress ?? this.host.sourceFor(address);
    const remote = { address, port };
    const inUse = (candidate: number): boolean => this.streams.has(keyOf({ address: source, port: candidate }, remote));
    const local = { address: source, port: this.host.ephemeralPort(inUse, { address: source, port: 0 }) };
    const stream = this.open(local, remote);
    const onAbort = (): void => stream.destroy(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    return stream.connect().finally(() => signal?.removeEventListener('abort', onAbort));
  }

  receive(packet: TcpPacket): void {
    const stream = this.streams.get(keyOf(packet.target, packet.source));
    if (stream) {
      stream.receive(packet);
      return;
    }
    const listener = packet.syn && packet.ack === undefined ? this.listenerFor(packet.target) : undefined;
    if (listener) {
      const accepted = this.open(packet.target, packet.source, () => listener.accepted.delete(accepted));
      listener.accepted.add(accepted);
      accepted.accept(packet, () => listener.onConnection(accepted));
    } else if (!packet.rst) {
      // RFC 9293 section 3.10.7.1: a closed port answers everything but a reset with a reset
      const length = packet.data.length + (packet.syn ? 1 : 0) + (packet.fin ? 1 : 0);
      const { source, target } = packet;
      const reset = { protocol: 'tcp', source: target, target: source, rst: true, window: 0, data: NOTHING } as const;
      this.host.network.transmit(this.host, { ...reset, seq: packet.ack ?? 0, ack: packet.seq + length });
    }
  }

  /** Everything is gone without a packet: the power is. */
  reset(): void {
    this.listeners.clear();
    for (const stream of this.streams.values()) stream.vanish(socketError('ENETDOWN', 'read'));
    this.streams.clear();
  }

  waiting(): readonly string[] {
    return [...this.streams.values()].flatMap((stream) => stream.waiting() ?? []);
  }

  private listenerFor(target: Endpoint): Listener | undefined {
    const matching = [...this.listeners].filter(({ local }) => local.port === target.port);
    return matching.find(({ local }) => local.address === target.address) ?? matching.find(({ local }) => local.address === ANY_ADDRESS);
  }

  private open(local: Endpoint, remote: Endpoint, onGone?: () => void): TcpStream {
    const key = keyOf(local, remote);
    const stream = new TcpStream({
      local,
      remote,
      clock: this.host.network.clock,
      segmentBytes: this.host.network.tcpSegmentBytes,
      initialSeq: randomInt(this.random, 2 ** 32),
      transmit: (packet) => this.host.network.transmit(this.host, packet),
      onGone: () => {
        this.streams.delete(key);
        onGone?.();
      },
    });
    this.streams.set(key, stream);
    return stream;
  }
}

function keyOf(local: Endpoint, remote: Endpoint): string {
  return `${local.address}:${local.port}>${remote.address}:${remote.port}`;
}
