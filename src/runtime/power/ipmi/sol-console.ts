/**
 * One serial console over a session of its own: characters in order both ways over a network that loses, repeats and reorders.
 *
 * Each side has one packet under way at a time and sends it again until it is acknowledged (IPMI v2.0 rev 1.1 section 15.11). An acknowledgement says how many
 * characters were taken; the rest goes into the next packet. A packet that comes twice may carry more characters the second time: only those are new.
 */
import { type Clock, type Timer, withDeadline } from '../../core/clock.ts';
import { codeOf, powerErrors } from '../errors.ts';
import { MalformedPacket } from './bytes.ts';
import { getDeviceId } from './commands.ts';
import { completionCodeOf } from './completion-code.ts';
import { PayloadType } from './rmcp-plus.ts';
import type { IpmiSession } from './session.ts';
import {
  type ActivatedPayload,
  activateSol,
  deactivateSol,
  decodeSol,
  encodeSol,
  nextSolSequence,
  SOL_HEADER_BYTES,
  SolOperation,
  type SolPacket,
  SolStatus,
} from './sol.ts';

export interface SolConsoleOptions {
  readonly session: IpmiSession;
  readonly clock: Clock;
  /** Characters from the machine. */
  onData(data: Uint8Array): void;
  /** The machine sent a break, or characters were lost before the BMC could send them. */
  onEvent?(event: 'break' | 'overrun'): void;
  /** End the console that somebody else has. */
  readonly force?: boolean;
  /** Before a packet without acknowledgement is sent again. Default 500. */
  readonly retryMs?: number;
  /** Default 15: a BMC whose processor is busy with a virtual disk can be silent for seconds. */
  readonly tries?: number;
  /** Default 15,000: a quiet console keeps its session, and a dead BMC is noticed. */
  readonly keepAliveMs?: number;
}

const ALREADY_ACTIVE = 0x80;
/** The count of accepted characters is one byte. */
const MOST_CHARACTERS = 255;
/** About four seconds of a line with 9,600 baud. */
const MOST_QUEUED = 4096;
/** Who leaves a console does not wait longer for a BMC to hear of it; its session is closed, or ends by itself. */
const GOODBYE_MS = 2000;
/** Of a keep-alive: what the BMC said does not matter, that it did is enough. */
const ANSWERS: ReadonlySet<string> = new Set(['IPMI_COMPLETION', 'IPMI_BAD_ANSWER']);
const RETRY_MS = 500;
const TRIES = 15;
const KEEP_ALIVE_MS = 15_000;

interface Outstanding {
  readonly sequence: number;
  readonly data: Uint8Array;
  readonly isBreak: boolean;
  tries: number;
  timer: Timer | undefined;
}

export class SolConsole {
  /** Resolves when the console is over: with the error that ended it, or undefined after `close`. Never rejects. */
  readonly ended: Promise<Error | undefined>;
  readonly #options: SolConsoleOptions;
  readonly #mostCharacters: number;
  #end: (error: Error | undefined) => void = () => undefined;
  #over = false;
  #closing: Promise<void> | undefined;
  #pending: Buffer = Buffer.alloc(0);
  #breaks = 0;
  #outstanding: Outstanding | undefined;
  #sequence = 0;
  #received = { sequence: 0, bytes: 0 };
  #heardMs: number;
  #keepAlive: Timer | undefined;
  #again: Timer | undefined;
  #roomAgain: PromiseWithResolvers<void> | undefined;

  /** Activates the payload. Takes over the session, and closes it on failure. Throws IPMI_SOL_REFUSED and the errors of a session. */
  static async open(options: SolConsoleOptions, signal?: AbortSignal): Promise<SolConsole> {
    const { session } = options;
    const { integrity, confidentiality } = session.suite;
    const command = activateSol({ encrypted: confidentiality !== 0, authenticated: integrity !== 0 });
    try {
      const activated = await session.run(command, signal).catch(async (error: unknown) => {
        if (completionCodeOf(error) !== ALREADY_ACTIVE || !options.force) throw error;
        await session.run(deactivateSol, signal);
        return session.run(command, signal);
      });
      return new SolConsole(options, activated);
    } catch (error) {
      await session.close();
      if (codeOf(error) !== 'IPMI_COMPLETION') throw error;
      const taken = completionCodeOf(error) === ALREADY_ACTIVE;
      const why = taken ? 'somebody else has it' : error instanceof Error ? error.message : String(error);
      throw powerErrors.IPMI_SOL_REFUSED({ bmc: session.bmc, why }, { cause: error });
    }
  }

  private constructor(options: SolConsoleOptions, { inboundBytes }: ActivatedPayload) {
    this.#options = options;
    // firmware that answers 0, or the bytes the other way round, still takes a small packet
    const room = inboundBytes > SOL_HEADER_BYTES && inboundBytes < 2048 ? inboundBytes - SOL_HEADER_BYTES : 64;
    this.#mostCharacters = Math.min(room, MOST_CHARACTERS);
    this.#heardMs = options.clock.monotonic();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    options.session.onPayload((payload) => this.#receive(payload));
    this.#watch();
  }

  /** Queues characters for the machine; they go in order. Lost when the console has ended. Ask `room` before more than what one types. */
  write(data: Uint8Array): void {
    if (this.#over) return;
    this.#pending = Buffer.concat([this.#pending, data]);
    this.#advance();
  }

  /** Characters that the BMC has not taken yet. */
  get queued(): number {
    return this.#pending.length + (this.#outstanding?.data.length ?? 0);
  }

  /** Undefined when there is room for more, else a promise that resolves when there is again, or the console has ended. Never rejects. */
  room(): Promise<void> | undefined {
    if (this.#over || this.queued <= MOST_QUEUED) return undefined;
    this.#roomAgain ??= Promise.withResolvers<void>();
    return this.#roomAgain.promise;
  }

  #tellRoom(): void {
    if (!this.#over && this.queued > MOST_QUEUED / 2) return;
    this.#roomAgain?.resolve();
    this.#roomAgain = undefined;
  }

  /** A serial break, e.g. for the kernel's magic SysRq; after what is queued. */
  sendBreak(): void {
    if (this.#over) return;
    this.#breaks += 1;
    this.#advance();
  }

  /** Ends the payload and the session; resolves when the BMC knows, or was given up. Harmless when repeated. */
  close(): Promise<void> {
    this.#closing ??= this.#over ? this.#options.session.close() : this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stop(undefined);
    const { session, clock } = this.#options;
    const late = (): Error => powerErrors.IPMI_CONSOLE_LOST({ bmc: session.bmc, why: 'no answer to Deactivate Payload' });
    try {
      await withDeadline(clock, GOODBYE_MS, late, (signal) => session.run(deactivateSol, signal));
    } catch (error) {
      if (codeOf(error) === '') throw error; // refused, or not answered: it ends with the session
    }
    await session.close();
  }

  #receive(payload: Buffer): void {
    if (this.#over) return;
    let packet: SolPacket;
    try {
      packet = decodeSol(payload);
    } catch (error) {
      if (error instanceof MalformedPacket) return;
      throw error;
    }
    this.#heardMs = this.#options.clock.monotonic();
    const again = packet.sequence !== 0 && packet.sequence === this.#received.sequence;
    if (packet.ack !== 0) this.#acknowledged(packet);
    if (packet.sequence !== 0) this.#take(packet);
    if (!again && packet.control & SolStatus.break) this.#options.onEvent?.('break');
    if (!again && packet.control & SolStatus.overrun) this.#options.onEvent?.('overrun');
    if (packet.control & SolStatus.deactivated) this.#lost('the BMC deactivated it');
  }

  #acknowledged({ ack, accepted, control }: SolPacket): void {
    const sent = this.#outstanding;
    if (!sent || sent.sequence !== ack) return; // of an older packet
    sent.timer?.cancel();
    this.#outstanding = undefined;
    const nack = (control & SolStatus.nack) !== 0;
    const taken = Math.min(accepted, sent.data.length);
    if (taken < sent.data.length) this.#pending = Buffer.concat([sent.data.subarray(taken), this.#pending]);
    this.#tellRoom();
    if (nack && sent.isBreak) this.#breaks += 1;
    // one that takes nothing is asked again after a moment, not at once; some say so without the bit that means it
    this.#again?.cancel();
    if (taken === 0 && (nack || sent.data.length > 0))
      this.#again = this.#options.clock.after(this.#options.retryMs ?? RETRY_MS, () => this.#advance());
    else this.#advance();
  }

  #take({ sequence, data }: SolPacket): void {
    const again = sequence === this.#received.sequence;
    const fresh = again ? data.subarray(this.#received.bytes) : data;
    this.#received = { sequence, bytes: again ? Math.max(this.#received.bytes, data.length) : data.length };
    this.#send({ sequence: 0, ack: sequence, accepted: data.length, control: 0, data: new Uint8Array(0) });
    if (fresh.length > 0) this.#options.onData(fresh);
  }

  /** Sends what waits, when nothing is under way. */
  #advance(): void {
    if (this.#over || this.#outstanding) return;
    const data = Buffer.from(this.#pending.subarray(0, this.#mostCharacters));
    const isBreak = data.length === 0 && this.#breaks > 0;
    if (data.length === 0 && !isBreak) return;
    this.#pending = this.#pending.subarray(data.length);
    if (isBreak) this.#breaks -= 1;
    this.#sequence = nextSolSequence(this.#sequence);
    this.#outstanding = { sequence: this.#sequence, data, isBreak, tries: 0, timer: undefined };
    this.#try(this.#outstanding);
  }

  #try(packet: Outstanding): void {
    const { clock, retryMs = RETRY_MS, tries = TRIES } = this.#options;
    if (this.#over || this.#outstanding !== packet) return;
    if (packet.tries >= tries) {
      this.#lost(`no acknowledgement in ${tries} tries`);
      return;
    }
    packet.tries += 1;
    packet.timer = clock.after(retryMs, () => this.#try(packet));
    const { sequence, data, isBreak } = packet;
    this.#send({ sequence, ack: 0, accepted: 0, control: isBreak ? SolOperation.break : 0, data });
  }

  #send(packet: SolPacket): void {
    this.#options.session.sendPayload(PayloadType.sol, encodeSol(packet));
  }

  #watch(): void {
    const { clock, keepAliveMs = KEEP_ALIVE_MS } = this.#options;
    this.#keepAlive = clock.after(keepAliveMs, () => void this.#keep(keepAliveMs));
  }

  async #keep(keepAliveMs: number): Promise<void> {
    const { clock, session } = this.#options;
    if (clock.monotonic() - this.#heardMs >= keepAliveMs / 2) {
      try {
        await session.run(getDeviceId);
        this.#heardMs = clock.monotonic();
      } catch (error) {
        if (ANSWERS.has(codeOf(error))) this.#heardMs = clock.monotonic();
        else this.#lost(error instanceof Error ? error.message : String(error));
      }
    }
    if (!this.#over) this.#watch();
  }

  #lost(why: string): void {
    if (this.#over) return;
    this.#stop(powerErrors.IPMI_CONSOLE_LOST({ bmc: this.#options.session.bmc, why }));
    void this.#options.session.close();
  }

  #stop(error: Error | undefined): void {
    this.#over = true;
    this.#keepAlive?.cancel();
    this.#outstanding?.timer?.cancel();
    this.#again?.cancel();
    this.#options.session.onPayload(undefined);
    this.#tellRoom();
    this.#end(error);
  }
}
