/** The DHCP service on a network: sockets around the functional core, leases stored before they are promised. */
import { type Clock, type Endpoint, type Logger, type Network, silentLogger, type UdpSocket } from '../../core/index.ts';
import type { BootLease, BootMachines } from '../machine.ts';
import { AddressProbe } from './address-probe.ts';
import { DhcpCodecError, type DhcpMessage, decodeDhcp } from './codec.ts';
import { handleDhcp } from './handle.ts';
import { type Lease, type LeaseStore, MemoryLeaseStore } from './lease.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { addressOption, macOf, messageType, OPTION } from './options.ts';
import type { DhcpProblem } from './problems.ts';
import { ObservedBindings } from './proxy.ts';
import { remember } from './remember.ts';
import { type DhcpBootSettings, type DhcpContext, type DhcpExchange, encodeReply, type RivalServer, subnetMaskText } from './reply.ts';
import {
  ANY_ADDRESS,
  type CompiledDhcpSettings,
  compileDhcpSettings,
  type DhcpInterface,
  type DhcpSettings,
  subnetOf,
} from './settings.ts';
import { type DiscoveredMachine, type Noted, Strangers } from './strangers.ts';

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
  /** Rivals too. Called for each sighting. Must not throw. */
  readonly onProblem?: (problem: DhcpProblem) => void;
  /** An unknown machine wants to boot over the network; not called again for a minute once note was taken. Must not throw. @default nobody wants to know */
  readonly onDiscovered?: (found: DiscoveredMachine) => Noted;
  /** Addresses of the other replicas of this service on the same network. @default none */
  readonly peers?: () => ReadonlySet<string>;
}

/** Datagrams under way at once; a flood beyond it is dropped, and honest clients repeat themselves. */
const MOST_IN_FLIGHT = 256;
/** Replicas and squatters may each spoil an answer; then the client asks again. */
const MOST_TRIES = 4;
const SILENT_RELAY_MS = 3_600_000;
type Received = DhcpContext['received'];

export class DhcpServer {
  private readonly settings: CompiledDhcpSettings;
  private readonly logger: Logger;
  private readonly keeper: LeaseKeeper;
  private readonly probe: AddressProbe;
  private readonly strangers: Strangers | undefined;
  private readonly observed = new ObservedBindings();
  /** Addresses whose two users have been reported, and until when that is enough. */
  private readonly contradictions = new Map<string, number>();
  private readonly sockets: UdpSocket[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  private ports: CompiledDhcpSettings['ports'];
  private closed = false;
  private readonly knownRelays: ReadonlySet<string>;
  private readonly heardRelays = new Set<string>();
  private readonly closing: (() => void)[] = [];

  /** Throws the DHCP_ error of the first fault in `settings`. */
  constructor(private readonly options: DhcpServerOptions) {
    this.settings = compileDhcpSettings(options.settings);
    this.ports = this.settings.ports;
    this.knownRelays = new Set(this.settings.subnets.flatMap((subnet) => [...subnet.relays]));
    this.logger = options.logger ?? silentLogger;
    this.keeper = new LeaseKeeper(options.store ?? new MemoryLeaseStore());
    this.probe = new AddressProbe({ ...options, probeMs: this.settings.probeMs });
    const { onDiscovered } = options;
    if (onDiscovered && this.settings.unknownMachines === 'discover') this.strangers = new Strangers(options.clock, onDiscovered);
  }

  /** Resolves when listening. Rejects when a port is taken or the lease store does not answer; nothing stays open then. */
  async start(): Promise<void> {
    this.closing.push(() => {
      this.keeper.close();
      this.probe.close();
    });
    try {
      await this.keeper.open();
      this.watchRelays();
      for (const boot of this.settings.interfaces) await this.listen(boot);
      // beside a proxy another server's replies are what is wanted
      if (this.settings.watchReplies && this.settings.mode === 'server') await this.watchReplies();
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
    for (const close of this.closing.splice(0)) close();
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
    const mac = this.settings.mode === 'proxy' ? this.observedAt(address, nowMs) : this.keeper.book.holder(address, nowMs)?.mac;
    if (mac === undefined) return undefined;
    const subnet = subnetOf(this.settings, address);
    const near = this.settings.interfaces.find((boot) => subnet !== undefined && subnetOf(this.settings, boot.address) === subnet);
    const [only, another] = this.settings.interfaces;
    // of several networks none may be reachable from another: the loader knows whom it was told
    const server = subnet?.config.bootServer ?? near?.address ?? (another ? undefined : only?.address);
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
    return this.keeper.book.ofMac(mac).findLast((lease) => this.keeper.book.holder(lease.address, nowMs) === lease)?.address;
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
   * With a descriptor: one socket that is bound to its device. With an address to listen on: one socket there. Else: one socket on 0.0.0.0 to hear
   * broadcasts, and one on the interface's address to send with, since 255.255.255.255 leaves by the interface of the source address and otherwise needs a
   * default route.
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
    const { listen } = this.settings;
    const wildcard = await network.udp({ address: listen, port: number, broadcast: true, reuseAddress: true }, hear);
    this.sockets.push(wildcard);
    if (listen !== ANY_ADDRESS) return wildcard.local.port;
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
      if (message.op !== 'reply' || serverId === undefined || this.settings.ownAddresses.has(serverId)) return;
      if (!this.options.peers?.().has(serverId)) this.reportRival({ serverId, seen: 'reply', ...(mac && { mac }) });
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
      if (this.knownRelays.has(message.giaddr)) this.heardRelays.add(message.giaddr); // no others: anybody can make them up
      const machine = mac && message.op === 'request' ? await machines.findMachine(mac) : undefined;
      if (mac && !machine && message.op === 'request') this.strangers?.saw(message, mac, received.interface);
      const settings = { ...this.settings, ports: this.ports };
      const peers = this.options.peers?.();
      const reservedFor = (address: string): string | undefined => machines.reservedFor?.(address);
      for (let tries = 1; ; tries++) {
        doing = 'the request could not be handled';
        const nowMs = clock.now();
        const context = { settings, boot, leases: this.keeper.book, nowMs, machine, reservedFor, received, ...(peers && { peers }) };
        const outcome = handleDhcp(message, context, this.observed);
        if (outcome.rival) this.reportRival(outcome.rival);
        if (outcome.problem) this.reportProblem(outcome.problem);
        if (outcome.unproven !== undefined && mac && tries < MOST_TRIES && (await this.isTaken(outcome.unproven, mac, received))) continue;
        doing = 'the lease could not be stored';
        if (outcome.changed.length > 0 && (await this.keeper.wasOvertaken(outcome.changed)) && tries < MOST_TRIES) continue;
        doing = 'the reply could not be written';
        for (const answer of outcome.replies) socket.send(encodeReply(answer), answer.to);
        this.report(outcome.exchange, received.source);
        return;
      }
    } catch (error) {
      // no answer: the client asks again, or turns to another server
      this.logger.error({ mac, error: error instanceof Error ? error.message : String(error) }, doing);
      this.report({ ...subjectOf(message), answer: 'none', reason: doing }, received.source);
    }
  }

  /** An address that somebody uses goes into quarantine, and the problem is reported; unless another replica gave it away while it was looked for. */
  private async isTaken(address: string, mac: string, { interface: { name } }: Received): Promise<boolean> {
    const user = await this.probe.userOf(address, mac);
    const nowMs = this.options.clock.now();
    const holder = this.keeper.book.holder(address, nowMs);
    if (holder && holder.mac !== mac) return true;
    if (user === undefined) return false;
    const declined: Lease = { address, mac, state: 'declined', untilMs: nowMs + this.settings.declineMs };
    this.keeper.book.put(declined);
    if (await this.keeper.wasOvertaken([declined])) return true;
    const detail = `${user} answers for ${address} on ${name} and has no lease of it`;
    this.reportProblem({ kind: 'address-conflict', subject: address, mac: user, detail });
    return true;
  }

  /** In proxy mode the machine is on our own network or behind a relay: there the ARP table knows, here the client's word. */
  private observedAt(address: string, nowMs: number): string | undefined {
    const told = this.observed.macAt(address, nowMs);
    const seen = this.options.network.hardwareAddressOf?.(address);
    if (told !== undefined && seen !== undefined && told !== seen) this.reportContradiction(address, told, seen);
    return seen ?? told;
  }

  /** Once a minute: one file that is asked for asks several times who asks. */
  private reportContradiction(address: string, told: string, seen: string): void {
    const now = this.options.clock.monotonic();
    if ((this.contradictions.get(address) ?? 0) > now) return;
    remember(this.contradictions, address, now + 60_000);
    const detail = `${told} said that it uses ${address}, and ${seen} answers for it`;
    this.reportProblem({ kind: 'address-conflict', subject: address, mac: seen, detail });
  }

  private watchRelays(): void {
    const relays = this.knownRelays;
    if (relays.size === 0) return;
    const look = (): void => {
      for (const relay of relays)
        if (!this.heardRelays.has(relay))
          this.reportProblem({
            kind: 'silent-relay',
            subject: relay,
            detail: `relay ${relay} has passed nothing on since the start, an hour ago or more`,
          });
      timer = this.options.clock.after(SILENT_RELAY_MS, look);
    };
    let timer = this.options.clock.after(SILENT_RELAY_MS, look);
    this.closing.push(() => timer.cancel());
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
    const { serverId, seen, mac } = rival;
    const detail = seen === 'reply' ? `${serverId} answers DHCP requests` : `a machine chose ${serverId}, another DHCP server`;
    this.options.onProblem?.({ kind: 'rival-server', subject: serverId, detail, ...(mac && { mac }) });
  }

  private reportProblem(problem: DhcpProblem): void {
    this.logger.warn({ ...problem }, problem.detail);
    this.options.onProblem?.(problem);
  }
}

function subjectOf(message: DhcpMessage): Pick<DhcpExchange, 'mac' | 'type'> {
  const mac = macOf(message);
  const type = messageType(message);
  return { ...(mac && { mac }), ...(type && { type }) };
}
