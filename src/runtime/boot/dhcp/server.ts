/** The DHCP service on a network: sockets around the functional core, leases stored before they are promised. */
import { type Clock, type Endpoint, type Logger, type Network, silentLogger, type UdpSocket } from '../../core/index.ts';
import type { BootLease, BootMachines } from '../machine.ts';
import { DhcpCodecError, type DhcpMessage, decodeDhcp, encodeDhcp } from './codec.ts';
import { handleDhcp } from './handle.ts';
import { type Lease, LeaseBook, type LeaseStore, MemoryLeaseStore } from './lease.ts';
import { addressOption, macOf, messageType, OPTION } from './options.ts';
import { ObservedBindings } from './proxy.ts';
import { type DhcpBootSettings, type DhcpContext, type DhcpExchange, type RivalServer, subnetMaskText } from './reply.ts';
import { type CompiledDhcpSettings, compileDhcpSettings, type DhcpInterface, type DhcpSettings, subnetOf } from './settings.ts';

export interface DhcpServerOptions {
  readonly settings: DhcpSettings;
  readonly boot?: DhcpBootSettings;
  readonly machines: BootMachines;
  /** @default forgets leases at exit */
  readonly store?: LeaseStore;
  readonly clock: Clock;
  readonly network: Network;
  readonly logger?: Logger;
  /** Every datagram that was understood or not, with the reason for what happened. Must not throw. */
  readonly onExchange?: (exchange: DhcpExchange) => void;
  /** A DHCP server that is not ours (server mode). Called for each sighting. */
  readonly onRival?: (rival: RivalServer) => void;
}

/** Datagrams under way at once; a flood beyond it is dropped, and honest clients repeat themselves. */
const MOST_IN_FLIGHT = 256;

type Received = DhcpContext['received'];

export class DhcpServer {
  private readonly settings: CompiledDhcpSettings;
  private readonly logger: Logger;
  private readonly store: LeaseStore;
  private readonly observed = new ObservedBindings();
  private readonly sockets: UdpSocket[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  private leases = new LeaseBook();
  private unsaved: Lease[] = [];
  private saving: Promise<void> = Promise.resolve();
  private nextSave: Promise<void> | undefined;
  private ports: CompiledDhcpSettings['ports'];
  private closed = false;

  /** Throws the DHCP_ error of the first fault in `settings`. */
  constructor(private readonly options: DhcpServerOptions) {
    this.settings = compileDhcpSettings(options.settings);
    this.ports = this.settings.ports;
    this.logger = options.logger ?? silentLogger;
    this.store = options.store ?? new MemoryLeaseStore();
  }

  /** Resolves when listening. Rejects when a port is taken or the lease store does not answer; nothing stays open then. */
  async start(): Promise<void> {
    this.leases = new LeaseBook(await this.store.load());
    try {
      for (const boot of this.settings.interfaces) await this.listen(boot);
      if (this.settings.watchReplies) await this.watchReplies();
    } catch (error) {
      await this.close();
      throw error;
    }
    this.logger.info(
      { mode: this.settings.mode, port: this.ports.server, interfaces: this.settings.interfaces.map(({ name }) => name) },
      'DHCP is served',
    );
  }

  /** Resolves when running answers are out and the ports are free. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.inFlight);
    await Promise.all(this.sockets.splice(0).map((socket) => socket.close()));
  }

  /** The ports in use, once started: those asked for, or what port 0 became. */
  get listening(): { readonly server: number; readonly bootServer: number } {
    return { server: this.ports.server, bootServer: this.ports.bootServer };
  }

  /** The machine interface behind a source address, while it holds the address. */
  leaseOf(address: string): BootLease | undefined {
    const nowMs = this.options.clock.now();
    const mac = this.settings.mode === 'proxy' ? this.observed.macAt(address, nowMs) : this.leases.holder(address, nowMs)?.mac;
    if (mac === undefined) return undefined;
    const subnet = subnetOf(this.settings, address);
    const near = this.settings.interfaces.find((boot) => subnet !== undefined && subnetOf(this.settings, boot.address) === subnet);
    const server = subnet?.config.bootServer ?? near?.address ?? this.settings.interfaces[0]?.address;
    return {
      mac,
      address,
      ...(server !== undefined && { server }),
      ...(subnet?.config.gateway !== undefined && { gateway: subnet.config.gateway }),
      ...(subnet && { netmask: subnetMaskText(subnet) }),
    };
  }

  /** The address that a MAC holds now. */
  addressOf(mac: string): string | undefined {
    const nowMs = this.options.clock.now();
    if (this.settings.mode === 'proxy') return this.observed.addressOf(mac, nowMs);
    return this.leases.ofMac(mac).findLast((lease) => this.leases.holder(lease.address, nowMs) === lease)?.address;
  }

  private async listen(boot: DhcpInterface): Promise<void> {
    const server = await this.open(boot, 'server', this.settings.ports.server, boot.fd);
    this.ports = { ...this.ports, server };
    if (this.settings.mode === 'proxy') {
      // unicast only, so the interface's own address is enough and tells the interface
      const socket = await this.options.network.udp(
        { address: boot.address, port: this.settings.ports.bootServer, broadcast: true, reuseAddress: true },
        this.handlers({ interface: boot, port: 'boot-server' }),
      );
      this.sockets.push(socket);
      this.ports = { ...this.ports, bootServer: socket.local.port };
    }
  }

  /**
   * With a descriptor: one socket that is bound to its device. Without: one socket on 0.0.0.0 to hear broadcasts, and one on the interface's address to send with,
   * since 255.255.255.255 leaves by the interface of the source address and otherwise needs a default route.
   * A proxy on the very host of the other DHCP server thereby takes the unicast renewals sent to that address; their clients go on by broadcast at T2.
   */
  private async open(boot: DhcpInterface, port: Received['port'], number: number, fd: number | undefined): Promise<number> {
    const { network } = this.options;
    if (fd !== undefined) {
      const socket = await network.udp({ fd, broadcast: true }, this.handlers({ interface: boot, port }));
      this.sockets.push(socket);
      return socket.local.port;
    }
    let sender: UdpSocket | undefined;
    const hear = this.handlers({ interface: boot, port }, () => sender);
    const wildcard = await network.udp({ address: '0.0.0.0', port: number, broadcast: true, reuseAddress: true }, hear);
    this.sockets.push(wildcard);
    sender = await network.udp(
      { address: boot.address, port: wildcard.local.port, broadcast: true, reuseAddress: true },
      this.handlers({ interface: boot, port }),
    );
    this.sockets.push(sender);
    return wildcard.local.port;
  }

  private handlers(
    received: Omit<Received, 'source'>,
    sender: () => UdpSocket | undefined = () => undefined,
  ): Parameters<Network['udp']>[1] {
    return {
      onMessage: (data, source, socket) => this.accept(data, { ...received, source }, sender() ?? socket),
      onError: (error) => this.logger.warn({ interface: received.interface.name, error: error.message }, 'a DHCP reply could not be sent'),
    };
  }

  private async watchReplies(): Promise<void> {
    const socket = await this.options.network.udp(
      { address: '0.0.0.0', port: this.settings.ports.client, broadcast: true, reuseAddress: true },
      { onMessage: (data) => this.noticeReply(data) },
    );
    this.sockets.push(socket);
  }

  private noticeReply(data: Uint8Array): void {
    try {
      const message = decodeDhcp(data);
      const serverId = addressOption(message, OPTION.serverId);
      const mac = macOf(message);
      if (message.op === 'reply' && serverId !== undefined && !this.settings.ownAddresses.has(serverId))
        this.reportRival({ serverId, seen: 'reply', ...(mac && { mac }) });
    } catch (error) {
      if (!(error instanceof DhcpCodecError)) throw error; // garbage on the client port is nobody's request
    }
  }

  private accept(data: Uint8Array, received: Received, socket: UdpSocket): void {
    if (this.closed) return;
    let message: DhcpMessage;
    try {
      message = decodeDhcp(data);
    } catch (error) {
      if (!(error instanceof DhcpCodecError)) throw error;
      this.report({ answer: 'none', reason: `malformed: ${error.message}` }, received.source);
      return;
    }
    if (this.inFlight.size >= MOST_IN_FLIGHT) {
      this.report({ ...subjectOf(message), answer: 'none', reason: `more than ${MOST_IN_FLIGHT} requests are under way` }, received.source);
      return;
    }
    const work = this.answer(message, received, socket).finally(() => this.inFlight.delete(work));
    this.inFlight.add(work);
  }

  /** Never rejects. */
  private async answer(message: DhcpMessage, received: Received, socket: UdpSocket): Promise<void> {
    const { machines, clock, boot = {} } = this.options;
    const mac = macOf(message);
    let doing = 'the machine records do not answer';
    try {
      const machine = mac && message.op === 'request' ? await machines.findMachine(mac) : undefined;
      doing = 'the request could not be handled';
      const settings = { ...this.settings, ports: this.ports };
      const outcome = handleDhcp(message, { settings, boot, leases: this.leases, nowMs: clock.now(), machine, received }, this.observed);
      if (outcome.rival) this.reportRival(outcome.rival);
      if (outcome.changed.length > 0) {
        doing = 'the lease could not be stored';
        await this.persist(outcome.changed);
      }
      doing = 'the reply could not be written';
      for (const { message: answer, to, maxBytes } of outcome.replies) socket.send(encodeDhcp(answer, { maxBytes }), to);
      this.report(outcome.exchange, received.source);
    } catch (error) {
      // no answer: the client asks again, or turns to another server
      this.logger.error({ mac, error: error instanceof Error ? error.message : String(error) }, doing);
      this.report({ ...subjectOf(message), answer: 'none', reason: doing }, received.source);
    }
  }

  /** One save at a time, in order; what comes meanwhile goes together into the next. */
  private persist(changed: readonly Lease[]): Promise<void> {
    this.unsaved.push(...changed);
    this.nextSave ??= this.saving
      .catch(() => undefined) // told to those whose leases were in it
      .then(() => {
        this.nextSave = undefined;
        this.saving = this.store.save(this.unsaved.splice(0));
        return this.saving;
      });
    return this.nextSave;
  }

  private report(exchange: DhcpExchange, source: Endpoint): void {
    this.logger.debug(
      { ...exchange, source: source.address },
      exchange.answer === 'none' ? 'DHCP request left unanswered' : 'DHCP request answered',
    );
    this.options.onExchange?.(exchange);
  }

  private reportRival(rival: RivalServer): void {
    this.logger.warn({ ...rival }, 'another DHCP server answers on this network; stop it or use proxy mode');
    this.options.onRival?.(rival);
  }
}

function subjectOf(message: DhcpMessage): Pick<DhcpExchange, 'mac' | 'type'> {
  const mac = macOf(message);
  const type = messageType(message);
  return { ...(mac && { mac }), ...(type && { type }) };
}
