/** One machine on the simulated network: its interfaces, its open ports, and its power. */
import type {
  Endpoint,
  HttpClientRequest,
  HttpClientResponse,
  HttpClientStream,
  HttpHandler,
  HttpServeOptions,
  HttpServer,
  Network,
  TcpConnection,
  TcpConnectOptions,
  UdpHandlers,
  UdpOptions,
  UdpSocket,
} from 'cdk8s-baremetal-runtime/core/network';
import { ANY_ADDRESS, isLoopback, LIMITED_BROADCAST, parseSubnet, type Subnet } from './address.ts';
import { requestOver, requestStreamOver, serveHttpOver } from './http.ts';
import type { SimNetwork } from './network.ts';
import type { Packet } from './packet.ts';
import { socketError } from './socket-error.ts';
import { type SimTcpListener, TcpStack } from './tcp-stack.ts';
import { UdpStack } from './udp.ts';

export interface HostOptions {
  /** Unique; also resolves to the first address. */
  readonly name: string;
  /** `192.0.2.10/24`, all on `segment`. None: an interface that waits for its address, as a machine in PXE does. */
  readonly addresses?: readonly string[];
  readonly segment?: string;
  /** Further interfaces of a multi-homed host. */
  readonly interfaces?: readonly { readonly segment: string; readonly address?: string }[];
  /** Passes packets on between its segments. */
  readonly forwards?: boolean;
}

export interface Interface {
  readonly segment: string;
  /** Absent while the interface has no address. */
  readonly subnet: Subnet | undefined;
}

const FIRST_EPHEMERAL_PORT = 32_768; // Linux: net.ipv4.ip_local_port_range
const EPHEMERAL_PORTS = 28_232;

export class SimHost implements Network {
  readonly name: string;
  readonly forwards: boolean;
  interfaces: readonly Interface[] = [];
  isUp = true;
  private readonly udpStack: UdpStack;
  private readonly tcpStack: TcpStack;
  private readonly devices = new Map<number, { segment: string; port: number }>();
  private nextPort = 0;

  constructor(
    readonly network: SimNetwork,
    options: HostOptions,
  ) {
    this.name = options.name;
    this.forwards = options.forwards ?? false;
    const { segment, addresses = [] } = options;
    if (segment !== undefined) for (const address of addresses.length ? addresses : [undefined]) this.attach(segment, address);
    for (const extra of options.interfaces ?? []) this.attach(extra.segment, extra.address);
    this.udpStack = new UdpStack(this);
    this.tcpStack = new TcpStack(this, network.random.fork(`tcp/${this.name}`));
  }

  /** The first address, if any. */
  get address(): string | undefined {
    return this.interfaces.find(({ subnet }) => subnet)?.subnet?.address;
  }

  /** Gives an interface on `segment` an address (`192.0.2.10/24`), in place of an interface there without one. */
  attach(segment: string, address?: string): void {
    const subnet = address === undefined ? undefined : parseSubnet(this.name, address);
    this.interfaces = [...this.interfaces.filter((known) => known.segment !== segment || known.subnet), { segment, subnet }];
  }

  /** Takes every address on `segment` away (a lease that ran out); the interface stays. */
  removeAddresses(segment: string): void {
    this.interfaces = [...this.interfaces.filter((known) => known.segment !== segment), { segment, subnet: undefined }];
  }

  /** Pulls the plug: sockets die without a word to their peers, and nothing answers until `up`. */
  down(): void {
    this.isUp = false;
    this.udpStack.reset();
    this.tcpStack.reset();
    this.devices.clear();
  }

  /** Powers the host on, with no socket open. */
  up(): void {
    this.isUp = true;
  }

  /** A descriptor for `UdpOptions.fd`, as a launcher makes it with SO_BINDTODEVICE: port `port` on one segment only. */
  openDevice(segment: string, port: number): number {
    const fd = 1000 + this.devices.size;
    this.devices.set(fd, { segment, port });
    return fd;
  }

  device(fd: number): { segment: string; port: number } | undefined {
    return this.devices.get(fd);
  }

  async udp(options: UdpOptions, handlers: UdpHandlers): Promise<UdpSocket> {
    this.assertUp('bind');
    return this.udpStack.bind(options, handlers);
  }

  async connect(options: TcpConnectOptions): Promise<TcpConnection> {
    options.signal?.throwIfAborted();
    this.assertUp('connect');
    const address = this.resolve(options.address);
    return this.tcpStack.connect({ ...options, address });
  }

  async listen(options: { address?: string; port: number }, onConnection: (connection: TcpConnection) => void): Promise<SimTcpListener> {
    this.assertUp('listen');
    return this.tcpStack.listen(options, onConnection);
  }

  serveHttp(options: HttpServeOptions, handler: HttpHandler): Promise<HttpServer> {
    return serveHttpOver(this, this.network.clock, options, handler);
  }

  request(request: HttpClientRequest): Promise<HttpClientResponse> {
    return requestOver(this, request);
  }

  requestStream(request: HttpClientRequest): Promise<HttpClientStream> {
    return requestStreamOver(this, request);
  }

  // ---- for the stacks and the network ----

  receive(packet: Packet, segment: string | undefined): void {
    if (packet.protocol === 'udp') this.udpStack.receive(packet, segment);
    else this.tcpStack.receive(packet);
  }

  owns(address: string): boolean {
    return this.interfaces.some(({ subnet }) => subnet?.address === address);
  }

  isOn(segment: string): boolean {
    return this.interfaces.some((known) => known.segment === segment);
  }

  /** Whether hosts on `segment` take `address` for a broadcast. */
  isBroadcast(address: string, segment: string): boolean {
    return (
      address === LIMITED_BROADCAST || this.interfaces.some((known) => known.segment === segment && known.subnet?.broadcast === address)
    );
  }

  /** The interface through which a broadcast to `address` leaves; undefined when `address` is no broadcast. */
  broadcastInterface(address: string, via?: Interface): Interface | undefined {
    if (address === LIMITED_BROADCAST) return via ?? this.interfaces[0];
    return this.interfaces.find(({ segment, subnet }) => subnet?.broadcast === address && (!via || via.segment === segment));
  }

  /** The source address of packets to `target`: the interface on its subnet, else the first. */
  sourceFor(target: string): string {
    if (isLoopback(target)) return target;
    if (this.owns(target)) return target;
    const direct = this.interfaces.find(({ subnet }) => subnet?.contains(target));
    return direct?.subnet?.address ?? this.address ?? ANY_ADDRESS;
  }

  /** Throws EADDRNOTAVAIL for an address that the host does not have. */
  assertLocal(address: string, port: number, syscall: string): void {
    const local = address === ANY_ADDRESS || isLoopback(address) || this.owns(address);
    if (!local && !this.interfaces.some(({ subnet }) => subnet?.broadcast === address))
      throw socketError('EADDRNOTAVAIL', syscall, { address, port });
  }

  /** The next free port of the dynamic range. */
  ephemeralPort(inUse: (port: number) => boolean, at: Endpoint): number {
    for (let tries = 0; tries < EPHEMERAL_PORTS; tries++) {
      const port = FIRST_EPHEMERAL_PORT + (this.nextPort++ % EPHEMERAL_PORTS);
      if (!inUse(port)) return port;
    }
    throw socketError('EADDRINUSE', 'bind', at);
  }

  /** Dotted quad of a name. Throws ENOTFOUND. */
  resolve(name: string): string {
    if (/^[\d.]+$/.test(name)) return name;
    const address = this.network.resolve(name);
    if (address === undefined) throw socketError('ENOTFOUND', 'getaddrinfo', name);
    return address;
  }

  /** What this host waits for, for the report of a deadlock. */
  waiting(): readonly string[] {
    return this.tcpStack.waiting().map((line) => `${this.name}: ${line}`);
  }

  private assertUp(syscall: string): void {
    if (!this.isUp) throw socketError('ENETDOWN', syscall);
  }
}
