/**
 * A BMC without hardware: IPMI 2.0 over any `Network`, with the same codec as the runtime's client, for the simulator's machines and for tests of
 * foreign clients (ipmitool, FreeIPMI). It switches whatever implements `Chassis`.
 */
import {
  type Clock,
  type Endpoint,
  type Logger,
  type Network,
  type Random,
  randomInt,
  type UdpSocket,
} from 'cdk8s-baremetal-runtime/core/index';
import {
  type BootFlags,
  CIPHER_SUITES,
  Command,
  CompletionCode,
  decodeOpenSessionRequest,
  decodePacket,
  decodeRakp1,
  decodeRakp3,
  decodeRequest,
  encodeAsf,
  encodeOpenSessionResponse,
  encodeRakp2,
  encodeRakp4,
  encodeResponse,
  encodeSealed,
  encodeSessionless,
  encodeUnsealed,
  GUID_BYTES,
  type IpmiRequest,
  MalformedPacket,
  NetFn,
  nextSequence,
  openSealed,
  PayloadType,
  RMCP_PORT,
  type RmcpPlusPacket,
  WEAK_CIPHER_SUITES,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { answerCommand } from './bmc-commands.ts';
import { type ActiveSession, BmcSessions } from './bmc-sessions.ts';
import { BootOptions, type Chassis, type ChassisDelays, PowerSequencer } from './chassis.ts';
import type { CommandContext } from './command-handler.ts';
import { EventLog } from './event-log.ts';
import { type BmcFaults, noFaults, strike } from './faults.ts';
import { type SimulatedSensor, sdrRepository, serverSensors } from './sensor-model.ts';
import { SerialOverLan, type SerialPort } from './serial-over-lan.ts';
import { type BmcUser, BmcUsers } from './users.ts';

/** Of application commands, those on the session itself. */
const MANAGING: ReadonlySet<number> = new Set([Command.setSessionPrivilege, Command.closeSession]);

export interface SimulatedBmcOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly logger: Logger;
  readonly address?: string;
  /** Default 623; 0 for any free one. */
  readonly port?: number;
  readonly users: readonly BmcUser[];
  readonly chassis: Chassis;
  readonly delays?: ChassisDelays;
  /** 16 bytes. Default: random. */
  readonly guid?: Uint8Array;
  /** Default: 17 and 3; 0 to 2 by name. */
  readonly cipherSuites?: readonly number[];
  /** As Get Device ID tells it. Default: 48879 (0xBEEF), which is nobody's, and 1. */
  readonly maker?: { readonly manufacturer: number; readonly product: number };
  /** Default: those of a small server. */
  readonly sensors?: readonly SimulatedSensor[];
  /** Absent: no Serial over LAN. */
  readonly serial?: SerialPort;
  /** Default 16. */
  readonly maxSessions?: number;
  /** Default 60,000. */
  readonly sessionTimeoutMs?: number;
  readonly faults?: Partial<BmcFaults>;
}

export interface BmcStats {
  packets: number;
  malformed: number;
  /** Commands carried out inside sessions, by `netFn << 8 | command`. */
  readonly commands: Map<number, number>;
}

const DEFAULT_SUITES = [17, 3];
const PENDING_TIMEOUT_MS = 20_000;

export class SimulatedBmc {
  readonly faults: BmcFaults;
  readonly sessions: BmcSessions;
  readonly stats: BmcStats = { packets: 0, malformed: 0, commands: new Map() };
  readonly #options: SimulatedBmcOptions;
  /** Names and passwords may change while it runs. */
  readonly users: BmcUsers;
  readonly log: EventLog;
  readonly sol: SerialOverLan;
  readonly #boot: BootOptions;
  readonly #power: PowerSequencer;
  readonly #context: CommandContext;
  /** Where the packets of a session came from last: its console is there. */
  readonly #peers = new Map<number, Endpoint>();
  #socket: UdpSocket | undefined;
  #silentUntilMs = 0;

  private constructor(options: SimulatedBmcOptions) {
    const { clock, random, chassis, delays = {}, maxSessions = 16, sessionTimeoutMs = 60_000 } = options;
    this.#options = options;
    this.faults = { ...noFaults(), ...options.faults };
    this.#boot = new BootOptions(clock);
    this.log = new EventLog(clock);
    this.users = new BmcUsers(options.users);
    const { users } = this;
    const onChange = (powered: boolean): void => {
      // ACPI state (22h, 6Fh): S0 or S5; the log is what tells a person at 3 a.m. when it was
      this.log.add({ sensorType: 0x22, sensor: 17, eventType: 0x6f, offset: powered ? 0 : 5 });
    };
    this.#power = new PowerSequencer(clock, chassis, delays, () => this.#boot.take(), onChange);
    const guid = options.guid ?? random.bytes(GUID_BYTES);
    const suites = [...CIPHER_SUITES, ...WEAK_CIPHER_SUITES].filter(({ id }) => (options.cipherSuites ?? DEFAULT_SUITES).includes(id));
    this.sol = new SerialOverLan(clock, options.serial, (session, payload) => {
      const to = this.#peers.get(session.bmcSessionId);
      if (to) this.#reply(this.#sealed(session, PayloadType.sol, payload), to);
    });
    const sensors = options.sensors ?? serverSensors(() => chassis.powered);
    let reservation = 0;
    const bmc = this;
    this.#context = {
      power: this.#power,
      boot: this.#boot,
      faults: this.faults,
      suites,
      guid,
      users,
      sensors,
      maker: options.maker ?? { manufacturer: 0xbeef, product: 1 },
      sdrs: sdrRepository(sensors),
      sdrReservation: { current: 0 },
      log: this.log,
      sol: this.sol,
      get address() {
        return bmc.local.address;
      },
      get port() {
        return bmc.local.port;
      },
      newReservation: () => {
        reservation = (reservation % 0xffff) + 1;
        return reservation;
      },
      restart: () => {
        if (this.faults.restartsUnanswered) this.faults.dropReplies += 1;
        clock.after(1, () => this.restart(this.faults.restartMs)); // the answer goes out first
      },
    };
    const pendingTimeoutMs = PENDING_TIMEOUT_MS;
    this.sessions = new BmcSessions({
      clock,
      random,
      users,
      suites,
      guid,
      maxSessions,
      sessionTimeoutMs,
      pendingTimeoutMs,
      faults: this.faults,
    });
  }

  /** Resolves when it listens. */
  static async start(options: SimulatedBmcOptions): Promise<SimulatedBmc> {
    const bmc = new SimulatedBmc(options);
    const { network, logger, address, port = RMCP_PORT } = options;
    bmc.#socket = await network.udp(
      { port, ...(address !== undefined && { address }) },
      {
        onMessage: (data, from) => bmc.#receive(data, from),
        onError: (error) => logger.debug({ error: String(error) }, 'a BMC answer could not be sent'),
      },
    );
    return bmc;
  }

  get local(): Endpoint {
    return this.#socket?.local ?? { address: '', port: 0 };
  }

  get bootFlags(): BootFlags {
    return this.#boot.flags;
  }

  /** How often a command was carried out in a session. */
  count(netFn: number, command: number): number {
    return this.stats.commands.get((netFn << 8) | command) ?? 0;
  }

  /** The machine's own system asks for a restart: the boot flags count as at any other. */
  hostReset(): void {
    this.#power.reset();
  }

  /** Forgets all sessions and boot claims, as a BMC that was reset, and says nothing for a while. The machine is not touched. */
  restart(silentMs = 0): void {
    this.sol.deactivate(false);
    this.sessions.endAll();
    this.#boot.inProgress = 0;
    if (silentMs > 0) this.#silentUntilMs = this.#options.clock.monotonic() + silentMs;
  }

  /** Any payload in place of SOL packets, to the console that is open: for tests of what it makes of nonsense. */
  sendRaw(payload: Uint8Array): void {
    const { session } = this.sol;
    const to = session && this.#peers.get(session.bmcSessionId);
    if (session && to) this.#reply(this.#sealed(session, PayloadType.sol, payload), to);
  }

  async close(): Promise<void> {
    this.sol.deactivate(false);
    this.#power.close();
    await this.#socket?.close();
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    this.stats.packets += 1;
    if (this.faults.dead || this.#options.clock.monotonic() < this.#silentUntilMs) return;
    if (strike(this.faults, 'dropRequests') || this.#chance(this.faults.lossPercent)) return;
    try {
      const packet = decodePacket(data);
      switch (packet.kind) {
        case 'asf':
          if (packet.asf.type === 'ping') this.#reply(encodeAsf({ type: 'pong', tag: packet.asf.tag, ipmiSupported: true }), from);
          return;
        case 'v15':
          // no 1.5 sessions: only what may be asked without one
          if (packet.sessionId === 0 && packet.authType === 0)
            this.#reply(encodeSessionless(this.#answer(decodeRequest(packet.payload), undefined)), from);
          return;
        case 'plus':
          if (packet.sessionId === 0) this.#setUp(packet, from);
          else this.#inSession(packet, from);
          return;
      }
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      this.stats.malformed += 1; // no answer: a BMC does not talk to noise
    }
  }

  #setUp(packet: RmcpPlusPacket, from: Endpoint): void {
    if (packet.encrypted || packet.authenticated) return;
    const reply = (type: number, payload: Buffer): void => this.#reply(encodeUnsealed(type, payload), from);
    switch (packet.payloadType) {
      case PayloadType.ipmi:
        reply(PayloadType.ipmi, this.#answer(decodeRequest(packet.payload), undefined));
        return;
      case PayloadType.openSessionRequest: {
        const response = this.sessions.open(decodeOpenSessionRequest(packet.payload));
        reply(PayloadType.openSessionResponse, encodeOpenSessionResponse(response));
        return;
      }
      case PayloadType.rakp1:
        reply(PayloadType.rakp2, encodeRakp2(this.sessions.rakp1(decodeRakp1(packet.payload))));
        return;
      case PayloadType.rakp3: {
        const rakp4 = this.sessions.rakp3(decodeRakp3(packet.payload));
        if (rakp4) reply(PayloadType.rakp4, encodeRakp4(rakp4));
        return;
      }
      default:
        return; // a console's answers, or OEM payloads: nothing to say
    }
  }

  #inSession(packet: RmcpPlusPacket, from: Endpoint): void {
    const session = this.sessions.find(packet.sessionId);
    if (!session || (packet.payloadType !== PayloadType.ipmi && packet.payloadType !== PayloadType.sol)) return; // unknown sessions meet silence, as with real BMCs
    const payload = openSealed(packet, session.keys);
    if (session.keys.suite.integrity !== 0 && !session.window.accept(packet.sequence)) return; // a replay
    this.#peers.set(session.bmcSessionId, from);
    if (packet.payloadType === PayloadType.sol) {
      this.sol.receive(session, payload);
      return;
    }
    const request = decodeRequest(payload);
    const answered = strike(this.faults, 'misdirectReplies') ? { ...request, sequence: (request.sequence + 1) & 0x3f } : request;
    const response = this.#answer(request, session, answered.sequence);
    const datagram = this.#sealed(session, PayloadType.ipmi, response);
    if (strike(this.faults, 'corruptReplies')) datagram[datagram.length >> 1] = (datagram[datagram.length >> 1] ?? 0) ^ 0x01;
    this.#reply(datagram, from);
  }

  #sealed(session: ActiveSession, payloadType: number, payload: Uint8Array): Buffer {
    session.outbound = nextSequence(session.outbound);
    const { keys, consoleSessionId, outbound: sequence } = session;
    return encodeSealed({ payloadType, sessionId: consoleSessionId, sequence, payload }, keys, this.#options.random);
  }

  #answer(request: IpmiRequest, session: ActiveSession | undefined, sequence = request.sequence): Buffer {
    const { netFn, command, lun = 0 } = request;
    // session management is never busy: a client could not even leave
    const busy = session && !(netFn === NetFn.app && MANAGING.has(command)) && strike(this.faults, 'busy');
    const answer = busy ? { code: CompletionCode.nodeBusy } : answerCommand(request, this.#contextOf(session));
    if (session && !busy) {
      const key = (netFn << 8) | command;
      this.stats.commands.set(key, (this.stats.commands.get(key) ?? 0) + 1);
    }
    const data = ('data' in answer && answer.data) || new Uint8Array(0);
    return encodeResponse({ netFn, command, lun, sequence, completionCode: answer.code, data });
  }

  #contextOf(session: ActiveSession | undefined): CommandContext {
    if (!session) return this.#context;
    const end = (id: number): boolean => {
      if (this.sol.session?.bmcSessionId === id) this.sol.deactivate(false);
      this.#peers.delete(id);
      return this.sessions.end(id);
    };
    const view = {
      active: session,
      maxPrivilege: session.maxPrivilege,
      get privilege() {
        return session.privilege;
      },
      set privilege(level: number) {
        session.privilege = level;
      },
      end,
    };
    // the context has getters: a prototype keeps them
    return Object.assign(Object.create(this.#context) as CommandContext, { session: view });
  }

  #chance(percent: number): boolean {
    return percent > 0 && randomInt(this.#options.random, 100) < percent;
  }

  #reply(datagram: Uint8Array, to: Endpoint): void {
    if (strike(this.faults, 'dropReplies') || this.#chance(this.faults.lossPercent)) return;
    const send = (): void => this.#socket?.send(datagram, to);
    if (this.#chance(this.faults.duplicatePercent)) send();
    if (this.faults.replyDelayMs > 0) this.#options.clock.after(this.faults.replyDelayMs, send);
    else send();
  }
}
