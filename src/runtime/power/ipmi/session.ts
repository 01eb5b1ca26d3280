/** One established IPMI 2.0 session: sealed commands, matched answers, resending. Opened by `openSession`; kept by the gateway. */
import { type Clock, sleep } from '../../core/clock.ts';
import type { Random } from '../../core/random.ts';
import { codeOf, powerErrors } from '../errors.ts';
import type { CheckedAccess } from './access.ts';
import type { BmcChannel } from './bmc-socket.ts';
import { MalformedPacket } from './bytes.ts';
import type { CipherSuite } from './cipher-suite.ts';
import { closeSession, type IpmiCommand, setSessionPrivilege } from './commands.ts';
import { CompletionCode, completionName, isBusy } from './completion-code.ts';
import { Exchange } from './exchange.ts';
import { type Established, type HandshakeContext, handshake } from './handshake.ts';
import { decodeResponse, encodeRequest, type IpmiResponse, REQUEST_SEQUENCES } from './message.ts';
import type { Packet } from './packet.ts';
import { PrivilegeLevel } from './rakp.ts';
import type { RetransmissionSchedule } from './retransmission.ts';
import { encodeSealed, openSealed, PayloadType } from './rmcp-plus.ts';
import { nextSequence, SequenceWindow } from './sequence-window.ts';
import { unlessAborted } from './turnstile.ts';

export type SessionOptions = HandshakeContext;

/** Waits before a command that met a busy BMC is sent again. */
const BUSY_WAITS_MS = [500, 1000, 2000];
/** Closing is a courtesy: the BMC ends silent sessions itself after a minute. */
const CLOSE_WAITS_MS = [500, 1000];

export interface SessionStats {
  /** Packets inside the session that were dropped: wrong code, replayed, malformed, or nobody waits for them. */
  dropped: number;
}

/**
 * Logs in. Takes over the channel, and closes it on failure.
 * Throws the IPMI_* errors of `errors.ts`; never tries credentials a second time after the BMC refused them.
 */
export async function openSession(options: SessionOptions, signal?: AbortSignal): Promise<IpmiSession> {
  try {
    return new IpmiSession(options, await handshake(options, signal));
  } catch (error) {
    options.channel.close();
    throw error;
  }
}

export class IpmiSession {
  readonly stats: SessionStats = { dropped: 0 };
  readonly suiteId: number;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #channel: BmcChannel;
  readonly #access: CheckedAccess;
  readonly #schedule: RetransmissionSchedule;
  readonly #established: Established;
  readonly #window = new SequenceWindow();
  readonly #waiting = new Map<number, { readonly command: IpmiCommand<unknown>; readonly exchange: Exchange<IpmiResponse> }>();
  #outbound = 0;
  #requestSequence = 0;
  #closing: Promise<void> | undefined;
  #raising: Promise<void> | undefined;
  /** Ends the waits of commands that a busy BMC put off. Made by the first of them. */
  #patience: AbortController | undefined;
  readonly #end = Promise.withResolvers<void>();
  #payloadHandler: ((payload: Buffer) => void) | undefined;

  /** Resolves when the channel was let go. */
  get ended(): Promise<void> {
    return this.#end.promise;
  }

  get suite(): CipherSuite {
    return this.#established.keys.suite;
  }

  /** For errors. */
  get bmc(): string {
    return this.#access.bmc;
  }

  constructor(options: SessionOptions, established: Established) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#channel = options.channel;
    this.#access = options.access;
    this.#schedule = options.schedule;
    this.#established = established;
    this.suiteId = established.keys.suite.id;
    this.#channel.listen((packet) => this.#receive(packet));
  }

  /**
   * Runs one command; several may run at once, up to 64. Resends when no answer comes: a BMC may then execute a command twice,
   * which is harmless to absolute ones; a command that says `once` has the same time, and one packet. Throws IPMI_NO_ANSWER, IPMI_COMPLETION, IPMI_PRIVILEGE_REFUSED, IPMI_BAD_ANSWER.
   */
  async run<T>(command: IpmiCommand<T>, signal?: AbortSignal): Promise<T> {
    const { bmc, privilegeLevel } = this.#access;
    if (!command.userLevel && privilegeLevel > PrivilegeLevel.user) {
      this.#raising ??= this.#raise();
      await unlessAborted(this.#raising, signal);
    }
    let response = await this.#exchange(command, this.#waits(command), signal);
    for (let busy = 0; isBusy(response.completionCode) && busy < BUSY_WAITS_MS.length; busy++) {
      this.#patience ??= new AbortController();
      const until = signal ? AbortSignal.any([signal, this.#patience.signal]) : this.#patience.signal;
      await sleep(this.#clock, BUSY_WAITS_MS[busy] ?? 0, until);
      response = await this.#exchange(command, this.#waits(command), signal);
    }
    if (response.completionCode !== CompletionCode.ok) throw this.#completionError(command, response.completionCode);
    try {
      return command.parse(response.data as Buffer);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      throw powerErrors.IPMI_BAD_ANSWER({ bmc, command: command.name, problem: error.message }, { cause: error });
    }
  }

  #waits({ once }: IpmiCommand<unknown>): readonly number[] {
    const waits = this.#schedule(this.#random);
    return once ? [waits.reduce((sum, wait) => sum + wait, 0)] : waits;
  }

  /** Another payload than commands, e.g. serial over LAN: sealed in the same session. */
  sendPayload(payloadType: number, payload: Uint8Array): void {
    if (this.#closing === undefined) this.#seal(payloadType, payload);
  }

  /** Only Serial over LAN comes unasked; one listener. */
  onPayload(handler: ((payload: Buffer) => void) | undefined): void {
    this.#payloadHandler = handler;
  }

  /**
   * A session starts at user level (section 22.18) whatever RAKP 1 asked for, which is enough for every look; so a poller that only looks saves a round trip, and
   * no session holds more rights than it has used. Asked for once, when the first command needs it.
   */
  async #raise(): Promise<void> {
    const { bmc, username: user, privilege, privilegeLevel } = this.#access;
    try {
      const granted = await this.run(setSessionPrivilege(privilegeLevel));
      if (granted < privilegeLevel) throw powerErrors.IPMI_PRIVILEGE_REFUSED({ bmc, user, privilege, why: `it granted level ${granted}` });
    } catch (error) {
      this.#raising = undefined;
      throw error;
    }
  }

  /** Tells the BMC and lets go of the channel. Harmless when repeated; never throws. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Lets go without a word: the BMC does not answer, or the process ends. */
  abandon(reason: Error): void {
    this.#closing ??= Promise.resolve();
    for (const { exchange } of this.#waiting.values()) exchange.fail(reason);
    this.#patience?.abort(reason);
    this.#channel.close();
    this.#end.resolve();
  }

  async #close(): Promise<void> {
    try {
      await this.#exchange(closeSession(this.#established.bmcSessionId), CLOSE_WAITS_MS, undefined);
    } catch (error) {
      if (codeOf(error) === '') throw error; // no answer, or abandoned meanwhile: the session is gone either way
    } finally {
      // making an error costs more than the packet, and mostly nobody waits for it
      if (this.#waiting.size > 0 || this.#patience) this.abandon(powerErrors.POWER_GATEWAY_CLOSED({ bmc: this.#access.bmc }));
      else this.#channel.close();
      this.#end.resolve();
    }
  }

  #exchange(command: IpmiCommand<unknown>, waits: readonly number[], signal: AbortSignal | undefined): Promise<IpmiResponse> {
    const sequence = this.#freeRequestSequence();
    const { netFn, command: number, data, lun = 0 } = command;
    const payload = encodeRequest({ netFn, command: number, sequence, data, lun });
    const exchange = new Exchange<IpmiResponse>({
      clock: this.#clock,
      waits,
      bmc: this.#access.bmc,
      what: command.name,
      signal,
      send: () => this.#seal(PayloadType.ipmi, payload),
      onEnd: () => this.#waiting.delete(sequence),
    });
    this.#waiting.set(sequence, { command, exchange });
    return exchange.start();
  }

  /** Every packet, a resent one too, gets a session sequence number of its own; the BMC drops repeated numbers. */
  #seal(payloadType: number, payload: Uint8Array): void {
    const { keys, bmcSessionId } = this.#established;
    this.#outbound = nextSequence(this.#outbound);
    const packet = { payloadType, sessionId: bmcSessionId, sequence: this.#outbound, payload };
    this.#channel.send(encodeSealed(packet, keys, this.#random));
  }

  #receive(packet: Packet): void {
    const forUs = packet.kind === 'plus' && packet.sessionId === this.#channel.consoleSessionId;
    if (!forUs || (packet.payloadType !== PayloadType.ipmi && packet.payloadType !== PayloadType.sol)) {
      this.stats.dropped += 1; // e.g. a late answer of the log-in
      return;
    }
    try {
      const payload = openSealed(packet, this.#established.keys);
      // suites without integrity have sequence numbers too, but anybody could push the window forward; and some firmware then leaves them at 0
      const fresh = this.#established.keys.suite.integrity === 0 || this.#window.accept(packet.sequence);
      if (fresh && packet.payloadType === PayloadType.sol && this.#payloadHandler) {
        this.#payloadHandler(payload);
        return;
      }
      const response = fresh && packet.payloadType === PayloadType.ipmi ? decodeResponse(payload) : undefined;
      const waiting = response && this.#waiting.get(response.sequence);
      if (!response || !waiting || waiting.command.netFn !== response.netFn || waiting.command.command !== response.command) {
        this.stats.dropped += 1;
        return;
      }
      waiting.exchange.settle(response);
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error;
      this.stats.dropped += 1;
    }
  }

  /** In turn, so that a late answer to a command given up long ago meets another number. */
  #freeRequestSequence(): number {
    for (let i = 0; i < REQUEST_SEQUENCES; i++) {
      this.#requestSequence = (this.#requestSequence + 1) % REQUEST_SEQUENCES;
      if (!this.#waiting.has(this.#requestSequence)) return this.#requestSequence;
    }
    throw new RangeError(`more than ${REQUEST_SEQUENCES} commands at once in one IPMI session`);
  }

  #completionError(command: IpmiCommand<unknown>, code: number): Error {
    const { bmc, username: user, privilege } = this.#access;
    const completion = completionName(code, command.netFn, command.command);
    const raising = command.netFn === 0x06 && command.command === 0x3b;
    if (code === CompletionCode.insufficientPrivilege || (raising && (code === 0x80 || code === 0x81)))
      return powerErrors.IPMI_PRIVILEGE_REFUSED({ bmc, user, privilege, why: `${command.name}: ${completion}` });
    return Object.assign(powerErrors.IPMI_COMPLETION({ bmc, command: command.name, completion }), { completionCode: code });
  }
}
