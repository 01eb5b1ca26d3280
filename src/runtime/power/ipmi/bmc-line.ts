/** The line to one BMC: the queue in front of its kept session, what may be shared, and when it is left alone. Part of the gateway. */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Random } from '../../core/random.ts';
import { codeOf } from '../errors.ts';
import type { CheckedAccess } from './access.ts';
import type { StopGuard } from './bmc-stop.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import type { IpmiCommand } from './commands.ts';
import { KeptSession, type KeptSessionOptions } from './kept-session.ts';
import type { IpmiSession } from './session.ts';
import { type Look, SharedLooks } from './shared-looks.ts';
import { TokenBucket } from './token-bucket.ts';
import { Turnstile, unlessAborted } from './turnstile.ts';

export interface BmcLineOptions extends KeptSessionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: Random;
  readonly guard: StopGuard;
  readonly commandsPerSecond: number;
  readonly burst: number;
  readonly maxInFlight: number;
  /** For the counters: `ok` or the code of the error. */
  onResult(result: string): void;
  /** Do others wait for a session of theirs? Then an idle one is given up. */
  pressed(): boolean;
}

/** How it stands with one BMC, as this process knows it. */
export interface BmcStatus {
  /** `address:port` */
  readonly bmc: string;
  readonly user: string;
  /** `stopped`: it refused the credentials, and nothing is sent. `resting`: it was silent, and is left alone for a while. `new`: not asked yet. */
  readonly state: 'new' | 'answering' | 'silent' | 'resting' | 'stopped';
  readonly session: boolean;
  readonly cipherSuite?: number | undefined;
  readonly breaker: BreakerState;
  readonly waiting: number;
  /** Wall clock of the last answer, and what failed last. */
  readonly answeredAtMs?: number | undefined;
  readonly lastError?: { readonly code: string; readonly message: string; readonly atMs: number } | undefined;
  /** When a lone probe may go to a stopped BMC. */
  readonly probeAtMs?: number | undefined;
}

export class BmcLine {
  readonly #options: BmcLineOptions;
  readonly #queue: Turnstile;
  readonly #kept: KeptSession;
  readonly #breaker: Breaker;
  readonly #bucket: TokenBucket;
  readonly #looks = new SharedLooks();
  #answeredAtMs: number | undefined;
  #lastError: BmcStatus['lastError'];

  constructor(access: CheckedAccess, options: BmcLineOptions) {
    const { clock, random } = options;
    this.#options = options;
    this.#queue = new Turnstile(options.maxInFlight);
    this.#kept = new KeptSession(access, this.#queue, options);
    this.#breaker = new Breaker(access.bmc, clock, random);
    this.#bucket = new TokenBucket(clock, options.commandsPerSecond, options.burst);
  }

  /** Has a session that nobody uses right now? */
  get evictable(): boolean {
    return this.#kept.current !== undefined && this.#queue.inside === 0;
  }

  /** Holds nothing that a new line to the same BMC would lack: no session, nobody waiting. */
  get forgettable(): boolean {
    return this.#kept.absent && this.#queue.inside === 0;
  }

  get lastUseMs(): number {
    return this.#kept.lastUseMs;
  }

  get status(): BmcStatus {
    const { access, current, suiteId } = this.#kept;
    const state = this.#state();
    return {
      bmc: access.bmc,
      user: access.username,
      state,
      session: current !== undefined,
      cipherSuite: suiteId,
      breaker: this.#breaker.state,
      waiting: this.#queue.waiting,
      answeredAtMs: this.#answeredAtMs,
      lastError: this.#lastError,
      probeAtMs: state === 'stopped' ? this.#options.guard.stop?.probeAtMs : undefined,
    };
  }

  #state(): BmcStatus['state'] {
    if (this.#kept.stopped && !this.#kept.current) return 'stopped';
    if (this.#breaker.state !== 'closed') return 'resting';
    if (this.#lastError?.code === 'IPMI_NO_ANSWER') return 'silent';
    return this.#answeredAtMs === undefined ? 'new' : 'answering';
  }

  /** A person says: try again, now. */
  async retry(): Promise<void> {
    await this.#options.guard.lift();
    this.#kept.stopped = false;
    this.#breaker.answered();
  }

  run<T>(access: CheckedAccess, command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    if (!command.shared) {
      this.#looks.forget(); // it may change what they see
      return this.#runAlone(access, command, signal);
    }
    const answer = this.#looks.share(access, command, (look) => this.#runAlone(access, command, undefined, look));
    return unlessAborted(answer, signal);
  }

  /** Every await costs: on the usual way, a BMC that is well and has a session, there is one. */
  async #runAlone<T>(access: CheckedAccess, command: IpmiCommand<T>, signal: AbortSignal | undefined, look?: Look): Promise<T> {
    const kept = this.#kept;
    try {
      const place = this.#queue.enter(signal);
      if (place) await place;
    } catch (error) {
      if (look) this.#looks.end(look);
      throw error;
    }
    try {
      kept.life.throwIfAborted();
      kept.lastUseMs = this.#options.clock.monotonic();
      if (access !== kept.access) await kept.adopt(access);
      if (this.#breaker.state === 'open' && (await this.#options.guard.woken())) this.#breaker.answered();
      this.#breaker.enter();
      const turn = this.#bucket.take(signal);
      if (turn) await turn;
      const answer = await this.#inSession(command, signal);
      this.#noteAnswer();
      return answer;
    } catch (error) {
      this.#noteFailure(error, signal);
      throw error;
    } finally {
      kept.lastUseMs = kept.lastTrafficMs = this.#options.clock.monotonic();
      if (look) this.#looks.end(look);
      this.#queue.leave();
      if (this.evictable && this.#options.pressed()) await kept.drop();
    }
  }

  drop(): Promise<void> {
    return this.#kept.drop();
  }

  close(reason: Error): Promise<void> {
    return this.#kept.close(reason);
  }

  dedicated(access: CheckedAccess, signal: AbortSignal | undefined): Promise<IpmiSession> {
    return this.#kept.dedicated(access, signal);
  }

  #inSession<T>(command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    const session = this.#kept.current;
    if (!session) return this.#inNewSession(command, signal);
    return session.run(command, signal).catch((error: unknown) => {
      if (codeOf(error) !== 'IPMI_NO_ANSWER') throw error;
      // a BMC that restarted, or ended the session by itself, is silent to its packets
      this.#kept.lost(session, error as Error);
      if (command.once) throw error;
      return this.#inNewSession(command, signal);
    });
  }

  /** A session just opened was not lost, but the BMC is. */
  async #inNewSession<T>(command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    const session = await this.#kept.open(signal);
    try {
      return await session.run(command, signal);
    } catch (error) {
      if (codeOf(error) === 'IPMI_NO_ANSWER') this.#kept.lost(session, error as Error);
      throw error;
    }
  }

  #noteAnswer(): void {
    this.#breaker.answered();
    this.#answeredAtMs = this.#options.clock.now();
    this.#lastError = undefined;
    this.#options.onResult('ok');
  }

  #noteFailure(error: unknown, signal: AbortSignal | undefined): void {
    const code = codeOf(error);
    // nothing was sent, or nobody heard the end of it: says nothing of the BMC, and lets the next one probe
    const untold = !code.startsWith('IPMI_') || code === 'IPMI_AUTH_HELD';
    if (code === 'IPMI_BMC_RESTING') {
      this.#options.onResult(code);
      return;
    }
    if (signal?.aborted || this.#kept.life.aborted || untold) this.#breaker.undecided();
    else if (code === 'IPMI_NO_ANSWER') this.#breaker.silent();
    else {
      this.#breaker.answered(); // it refused: it is there
      this.#answeredAtMs = this.#options.clock.now();
    }
    if (code !== '') this.#options.onResult(code);
    if (code !== '') this.#lastError = { code, message: (error as Error).message, atMs: this.#options.clock.now() };
  }
}
