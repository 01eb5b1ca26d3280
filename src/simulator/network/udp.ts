/** UDP of one simulated host, with the delivery rules of Linux. */
import type { Endpoint, UdpHandlers, UdpOptions, UdpSocket } from 'cdk8s-baremetal-runtime/core/network';
import { ANY_ADDRESS, isIpv4, isLoopback } from './address.ts';
import type { Interface, SimHost } from './host.ts';
import type { UdpPacket } from './packet.ts';
import { socketError } from './socket-error.ts';

const ETHERNET_MTU = 1500;
const LARGEST_DATAGRAM_BYTES = 65_507; // 65,535 - 20 // IPv4 - 8 // UDP

interface Bound {
  readonly socket: UdpSocket;
  readonly handlers: UdpHandlers;
  readonly address: string;
  readonly port: number;
  readonly shared: boolean;
  /** Bound to a device: hears and sends on this segment only. */
  readonly segment: string | undefined;
  /** The only one that is heard and spoken to. */
  readonly peer: Endpoint | undefined;
}

export class UdpStack {
  private readonly sockets = new Set<Bound>();

  constructor(private readonly host: SimHost) {}

  bind(options: UdpOptions, handlers: UdpHandlers): UdpSocket {
    const device = options.fd === undefined ? undefined : this.host.device(options.fd);
    const address = device ? ANY_ADDRESS : (options.address ?? ANY_ADDRESS);
    const wanted = device?.port ?? options.port ?? 0;
    this.host.assertLocal(address, wanted, 'bind');
    const taken = (port: number): boolean =>
      [...this.sockets].some(
        (other) =>
          other.port === port &&
          (other.address === address || other.address === ANY_ADDRESS || address === ANY_ADDRESS) &&
          (other.segment === undefined || device === undefined || other.segment === device.segment) &&
          !(other.shared && options.reuseAddress),
      );
    if (wanted !== 0 && taken(wanted)) throw socketError('EADDRINUSE', 'bind', { address, port: wanted });
    const port = wanted === 0 ? this.host.ephemeralPort(taken, { address, port: 0 }) : wanted;
    const { peer } = options;
    const socket: UdpSocket = {
      local: { address, port },
      mtu: ETHERNET_MTU,
      send: (data, to) => this.send(bound, options.broadcast ?? false, data, peer ?? to),
      close: async () => {
        this.sockets.delete(bound);
      },
    };
    const bound: Bound = { socket, handlers, address, port, shared: options.reuseAddress ?? false, segment: device?.segment, peer };
    this.sockets.add(bound);
    return socket;
  }

  /** Broadcasts go to every socket of the port; other datagrams to the one bound most closely, the youngest of equals. */
  receive({ source, target, data }: UdpPacket, segment: string | undefined): void {
    const candidates = [...this.sockets].filter(
      (bound) =>
        bound.port === target.port &&
        (bound.address === ANY_ADDRESS || bound.address === target.address) &&
        (bound.segment === undefined || bound.segment === segment) &&
        (bound.peer === undefined || (bound.peer.address === source.address && bound.peer.port === source.port)),
    );
    const closeness = (bound: Bound): number => (bound.address === ANY_ADDRESS ? 0 : 2) + (bound.segment === undefined ? 0 : 1);
    const isBroadcast = segment !== undefined && this.host.isBroadcast(target.address, segment);
    const chosen = isBroadcast ? candidates : candidates.sort((a, b) => closeness(a) - closeness(b)).slice(-1);
    // no socket: Linux answers with ICMP, of which an unconnected socket hears nothing
    for (const { handlers, socket } of chosen) handlers.onMessage(new Uint8Array(data), source, socket);
  }

  reset(): void {
    this.sockets.clear();
  }

  private send(from: Bound, mayBroadcast: boolean, data: Uint8Array, to: Endpoint): void {
    if (!this.sockets.has(from)) return;
    const error = this.trySend(from, mayBroadcast, data, to);
    if (error) queueMicrotask(() => from.handlers.onError?.(error));
  }

  private trySend(from: Bound, mayBroadcast: boolean, data: Uint8Array, to: Endpoint): Error | undefined {
    if (data.length > LARGEST_DATAGRAM_BYTES) return socketError('EMSGSIZE', 'send', to);
    const address = isIpv4(to.address) ? to.address : this.host.network.resolve(to.address);
    if (address === undefined) return socketError('ENOTFOUND', 'getaddrinfo', to.address);
    if (!(to.port > 0 && to.port < 65_536)) return new RangeError(`bad UDP port ${to.port}`);
    const via = this.interfaceOf(from);
    const broadcast = isLoopback(address) ? undefined : this.host.broadcastInterface(address, via);
    if (broadcast && !mayBroadcast) return socketError('EACCES', 'send', to);
    const outgoing = broadcast ?? via;
    const automatic = outgoing ? (outgoing.subnet?.address ?? ANY_ADDRESS) : this.host.sourceFor(address);
    const source = { address: from.address === ANY_ADDRESS ? automatic : from.address, port: from.port };
    const packet: UdpPacket = { protocol: 'udp', source, target: { address, port: to.port }, data: new Uint8Array(data) };
    return this.host.network.transmit(this.host, packet, via) ? undefined : socketError('ENETUNREACH', 'send', to);
  }

  /** The interface of a socket bound to a device or to one address; Linux sends its limited broadcasts there. */
  private interfaceOf({ segment, address }: Bound): Interface | undefined {
    return this.host.interfaces.find((known) => (segment === undefined ? known.subnet?.address === address : known.segment === segment));
  }
}
