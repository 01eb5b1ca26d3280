/**
 * A BMC without hardware: IPMI 2.0 over any `Network`, with the same codec as the runtime's client, for the simulator's machines and for tests of
 * foreign clients (ipmitool, FreeIPMI). It switches whatever implements `Chassis`.
 */
import type { Clock, Endpoint, Logger, Network, Random, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';
import {
  type BootFlags,
  CIPHER_SUITES,
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
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { answerCommand, type CommandContext } from './bmc-commands.ts';
import { type ActiveSession, BmcSessions, type BmcUser } from './bmc-sessions.ts';
import { BootOptions, type Chassis, type ChassisDelays, PowerSequencer } from './chassis.ts';
import { type BmcFaults, noFaults, strike } from './faults.ts';

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
  /** Default: 17 and 3. */
  readonly cipherSuites?: readonly number[];
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

const PENDING_TIMEOUT_MS = 20_000;

export class SimulatedBmc {
  readonly faults: BmcFaults;
  readonly sessions: BmcSessions;
  readonly stats: BmcStats = { packets: 0, malformed: 0, commands: new Map() };
  readonly #options: SimulatedBmcOptions;
  readonly #boot: BootOptions;
  readonly #power: PowerSequencer;
  readonly #context: CommandContext;
  #socket: UdpSocket | undefined;

  private constructor(options: SimulatedBmcOptions) {
    const { clock, random, chassis, delays = {}, users, maxSessions = 16, sessionTimeoutMs = 60_000 } = options;
    this.#options = options;
    this.faults = { ...noFaults(), ...options.faults };
    this.#boot = new BootOptions(clock);
    this.#power = new PowerSequencer(clock, chassis, delays, () => this.#boot.take());
    const guid = options.guid ?? random.bytes(GUID_BYTES);
    const suites = CIPHER_SUITES.filter(({ id }) => options.cipherSuites?.includes(id) ?? true);
    this.#context = { power: this.#power, boot: this.#boot, faults: this.faults, suites, guid };
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

  /** Forgets all sessions and boot claims, as a BMC that was reset. The machine is not touched. */
  restart(): void {
    this.sessions.endAll();
    this.#boot.inProgress = 0;
  }

  async close(): Promise<void> {
    this.#power.close();
    await this.#socket?.close();
  }

  #receive(data: Uint8Array, from: Endpoint): void {
    this.stats.packets += 1;
    if (this.faults.dead || strike(this.faults, 'dropRequests')) return;
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
    if (!session || packet.payloadType !== PayloadType.ipmi) return; // unknown sessions meet silence, as with real BMCs
    const payload = openSealed(packet, session.keys);
    if (!session.window.accept(packet.sequence)) return; // a replay
    const request = decodeRequest(payload);
    const answered = strike(this.faults, 'misdirectReplies') ? { ...request, sequence: (request.sequence + 1) & 0x3f } : request;
    const response = this.#answer(request, session, answered.sequence);
    session.outbound = nextSequence(session.outbound);
    const { keys, consoleSessionId, outbound: sequence } = session;
    const sealed = { payloadType: PayloadType.ipmi, sessionId: consoleSessionId, sequence, payload: response };
    const datagram = encodeSealed(sealed, keys, this.#options.random);
    if (strike(this.faults, 'corruptReplies')) datagram[datagram.length >> 1] = (datagram[datagram.length >> 1] ?? 0) ^ 0x01;
    this.#reply(datagram, from);
  }

  #answer(request: IpmiRequest, session: ActiveSession | undefined, sequence = request.sequence): Buffer {
    const { netFn, command, lun = 0 } = request;
    // session management is never busy: a client could not even leave
    const busy = session && netFn === NetFn.chassis && strike(this.faults, 'busy');
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
    const end = (id: number): boolean => this.sessions.end(id);
    const view = {
      maxPrivilege: session.maxPrivilege,
      get privilege() {
        return session.privilege;
      },
      set privilege(level: number) {
        session.privilege = level;
      },
      end,
    };
    return { ...this.#context, session: view };
  }

  #reply(datagram: Uint8Array, to: Endpoint): void {
    if (strike(this.faults, 'dropReplies')) return;
    const send = (): void => this.#socket?.send(datagram, to);
    if (this.faults.replyDelayMs > 0) this.#options.clock.after(this.faults.replyDelayMs, send);
    else send();
  }
}
