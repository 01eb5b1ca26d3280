/** The DHCP service on a network: sockets around the functional core, leases stored before they are promised. */
import { type Clock, type Endpoint, type Logger, type Network, silentLogger, sleep, type UdpSocket } from '../../core/index.ts';
import type { BootLease, BootMachines } from '../machine.ts';
import { DhcpCodecError, type DhcpMessage, decodeDhcp, encodeDhcp, NO_ADDRESS } from './codec.ts';
import { handleDhcp } from './handle.ts';
import { type Lease, LeaseBook, type LeaseStore, MemoryLeaseStore } from './lease.ts';
import { addressOption, clientArch, clientGuid, clientKind, macOf, messageType, OPTION } from './options.ts';
import type { DhcpProblem } from './problems.ts';
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
  /** Rivals too. Called for each sighting. Must not throw. */
  readonly onProblem?: (problem: DhcpProblem) => void;
  /** An unknown machine wants to boot over the network; called at most once a minute for each. Must not throw. @default nobody wants to know */
  readonly onDiscovered?: (found: DiscoveredMachine) => void;
  /** Addresses of the other replicas of this service on the same network. @default none */
  readonly peers?: () => ReadonlySet<string>;
}

/** What a machine that nobody has enrolled says of itself. */
export interface DiscoveredMachine {
  readonly mac: string;
  /** SMBIOS UUID (option 97). */
  readonly uuid?: string;
  /** Option 93. */
  readonly arch?: number;
  /** The interface that heard it. */
  readonly interface: string;
  readonly relay?: string;
}

/** Datagrams under way at once; a flood beyond it is dropped, and honest clients repeat themselves. */
const MOST_IN_FLIGHT = 256;
/** Replicas and squatters may each spoil an answer; then the client asks again. */
const MOST_TRIES = 4;
/** Somebody who was not there a moment ago is not there now. */
const PROVEN_MS = 60_000;
const MOST_REMEMBERED = 4096;
const DISCOVERED_AGAIN_MS = 60_000;
const SILENT_RELAY_MS = 3_600_000;
/** ARP answers take a millisecond or so; a sleeping management controller takes longer. */
const PROBE_STEPS_MS = [5, 15, 30, 50, 100, 100];
const DISCARD_PORT = 9; // RFC 863; whoever listens there throws it away

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
  private saving: Promise<readonly Lease[]> = Promise.resolve([]);
  private nextSave: Promise<readonly Lease[]> | undefined;
  private ports: CompiledDhcpSettings['ports'];
  private closed = false;
  /** Addresses that nobody answered for, and until when that is believed. */
  private readonly proven = new Map<string, number>();
  private readonly discovered = new Map<string, number>();
  /** What was stored from here lately. */
  private readonly saved = new Map<string, number>();
  private readonly knownRelays: ReadonlySet<string>;
  private readonly heardRelays = new Set<string>();
  private readonly closing: (() => void)[] = [];

  /** Throws the DHCP_ error of the first fault in `settings`. */
  constructor(private readonly options: DhcpServerOptions) {
    this.settings = compileDhcpSettings(options.settings);
    this.ports = this.settings.ports;
    this.knownRelays = new Set(this.settings.subnets.flatMap((subnet) => [...subnet.relays]));
    this.logger = options.logger ?? silentLogger;
    this.store = options.store ?? new MemoryLeaseStore();
  }

  /** Resolves when listening. Rejects when a port is taken or the lease store does not answer; nothing stays open then. */
  async start(): Promise<void> {
    // watched before it is read, so that nothing falls between
    const meanwhile: Lease[] = [];
    let loaded = false;
    const watch = this.store.watch?.((lease) => {
      if (loaded) this.takeOver(lease);
      else meanwhile.push(lease);
    });
    this.closing.push(() => watch?.close());
    try {
      this.leases = new LeaseBook(await this.store.load());
      loaded = true;
      for (const lease of meanwhile) this.takeOver(lease);
      this.watchRelays();
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
    const mac = this.settings.mode === 'proxy' ? this.observedAt(address, nowMs) : this.leases.holder(address, nowMs)?.mac;
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
      if (this.knownRelays.has(message.giaddr)) this.heardRelays.add(message.giaddr); // no others: anybody can make them up
      const machine = mac && message.op === 'request' ? await machines.findMachine(mac) : undefined;
      if (mac && !machine && message.op === 'request') this.discover(message, mac, received);
      const settings = { ...this.settings, ports: this.ports };
      const peers = this.options.peers?.();
      for (let tries = 1; ; tries++) {
        doing = 'the request could not be handled';
        const nowMs = clock.now();
        const context = { settings, boot, leases: this.leases, nowMs, machine, received, ...(peers && { peers }) };
        const outcome = handleDhcp(message, context, this.observed);
        if (outcome.rival) this.reportRival(outcome.rival);
        if (outcome.problem) this.reportProblem(outcome.problem);
        if (outcome.unproven !== undefined && tries < MOST_TRIES && (await this.isTaken(outcome.unproven, mac, received))) continue;
        doing = 'the lease could not be stored';
        if (outcome.changed.length > 0 && (await this.wasOvertaken(outcome.changed)) && tries < MOST_TRIES) continue;
        doing = 'the reply could not be written';
        for (const { message: answer, to, maxBytes } of outcome.replies) socket.send(encodeDhcp(answer, { maxBytes }), to);
        this.report(outcome.exchange, received.source);
        return;
      }
    } catch (error) {
      // no answer: the client asks again, or turns to another server
      this.logger.error({ mac, error: error instanceof Error ? error.message : String(error) }, doing);
      this.report({ ...subjectOf(message), answer: 'none', reason: doing }, received.source);
    }
  }

  /** The store tells of a change. Another replica's stands, also against what was offered here and not taken yet; ours comes back late and says nothing new. */
  private takeOver(lease: Lease): void {
    if (!this.saved.has(keyOf(lease))) this.leases.put(lease);
  }

  /** Stores; true when another replica had given one of the addresses away meanwhile, which is known here from then on. */
  private async wasOvertaken(changed: readonly Lease[]): Promise<boolean> {
    for (const lease of changed) remember(this.saved, keyOf(lease), Number.POSITIVE_INFINITY);
    const inTheWay = await this.persist(changed);
    const overtaken = inTheWay.filter(({ address, mac }) => changed.some((lease) => lease.address === address && lease.mac !== mac));
    for (const lease of overtaken) this.leases.put(lease);
    return overtaken.length > 0;
  }

  /**
   * Whether somebody uses the address who should not. A datagram to its discard port makes the system ask by ARP, for which no privilege is needed; the
   * answer is read from its table. An address that is taken goes into quarantine, and the problem is reported.
   */
  private async isTaken(address: string, mac: string | undefined, { interface: { name } }: Received): Promise<boolean> {
    const { clock, network } = this.options;
    const { probeMs } = this.settings;
    if (probeMs === 0 || !network.hardwareAddressOf || (this.proven.get(address) ?? 0) > clock.monotonic()) return false;
    const prober = await network.udp({}, { onMessage: () => undefined });
    let user: string | undefined;
    try {
      prober.send(new Uint8Array(1), { address, port: DISCARD_PORT });
      for (let step = 0, waited = 0; user === undefined && waited < probeMs; step++) {
        const wait = Math.min(PROBE_STEPS_MS[step] ?? 100, probeMs - waited);
        await sleep(clock, wait);
        waited += wait;
        user = network.hardwareAddressOf(address);
      }
    } finally {
      await prober.close();
    }
    if (user === undefined || user === mac) {
      remember(this.proven, address, clock.monotonic() + PROVEN_MS);
      return false;
    }
    const declined: Lease = { address, mac: user, state: 'declined', untilMs: clock.now() + this.settings.declineMs };
    this.leases.put(declined);
    await this.persist([declined]);
    this.reportProblem({
      kind: 'address-conflict',
      subject: address,
      mac: user,
      detail: `${user} answers for ${address} on ${name} and has no lease of it`,
    });
    return true;
  }

  /** In proxy mode the machine is on our own network or behind a relay: there the ARP table knows, here the client's word. */
  private observedAt(address: string, nowMs: number): string | undefined {
    const told = this.observed.macAt(address, nowMs);
    const seen = this.options.network.hardwareAddressOf?.(address);
    if (told !== undefined && seen !== undefined && told !== seen)
      this.reportProblem({
        kind: 'address-conflict',
        subject: address,
        mac: seen,
        detail: `${told} said that it uses ${address}, and ${seen} answers for it`,
      });
    return seen ?? told;
  }

  private discover(message: DhcpMessage, mac: string, received: Received): void {
    const { clock, onDiscovered } = this.options;
    if (!onDiscovered || this.settings.unknownMachines !== 'discover' || messageType(message) !== 'discover') return;
    if (clientKind(message) === 'other' || (this.discovered.get(mac) ?? 0) > clock.monotonic()) return;
    remember(this.discovered, mac, clock.monotonic() + DISCOVERED_AGAIN_MS);
    const guid = clientGuid(message);
    const arch = clientArch(message);
    onDiscovered({
      mac,
      interface: received.interface.name,
      ...(guid.state === 'ok' && { uuid: guid.uuid }),
      ...(arch !== undefined && { arch }),
      ...(message.giaddr !== NO_ADDRESS && { relay: message.giaddr }),
    });
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

  /** One save at a time, in order; what comes meanwhile goes together into the next. */
  private persist(changed: readonly Lease[]): Promise<readonly Lease[]> {
    this.unsaved.push(...changed);
    this.nextSave ??= this.saving
      .catch(() => []) // told to those whose leases were in it
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
    const { serverId, seen, mac } = rival;
    const detail = seen === 'reply' ? `${serverId} answers DHCP requests` : `a machine chose ${serverId}, another DHCP server`;
    this.options.onProblem?.({ kind: 'rival-server', subject: serverId, detail, ...(mac && { mac }) });
  }

  private reportProblem(problem: DhcpProblem): void {
    this.logger.warn({ ...problem }, problem.detail);
    this.options.onProblem?.(problem);
  }
}

function keyOf({ address, mac, state, untilMs }: Lease): string {
  return `${address} ${mac} ${state} ${untilMs}`;
}

/** Drops the oldest: what a flood of made-up addresses fills must not grow. */
function remember(map: Map<string, number>, key: string, untilMs: number): void {
  map.delete(key);
  map.set(key, untilMs);
  const oldest = map.size > MOST_REMEMBERED ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}

function subjectOf(message: DhcpMessage): Pick<DhcpExchange, 'mac' | 'type'> {
  const mac = macOf(message);
  const type = messageType(message);
  return { ...(mac && { mac }), ...(type && { type }) };
}
