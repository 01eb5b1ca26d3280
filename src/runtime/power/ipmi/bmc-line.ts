/** The line to one BMC: its kept session, the queue in front of it, keep-alive, idle close and re-opening. Part of the gateway. */
import type { Clock, Timer } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Random } from '../../core/random.ts';
import { codeOf, isAuthenticationFailure, powerErrors } from '../errors.ts';
import { type CheckedAccess, sameSession } from './access.ts';
import type { StopGuard } from './bmc-stop.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import type { CipherSuite } from './cipher-suite.ts';
import { getDeviceId, type IpmiCommand } from './commands.ts';
import type { IpmiSession } from './session.ts';
import { TokenBucket } from './token-bucket.ts';
import { Turnstile, unlessAborted } from './turnstile.ts';

export interface BmcLineOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: Random;
  readonly guard: StopGuard;
  readonly commandsPerSecond: number;
  readonly burst: number;
  readonly maxInFlight: number;
  readonly keepAliveMs: number;
  readonly idleCloseMs: number;
  /** Logs in; the gateway counts sessions here. */
  open(access: CheckedAccess, knownSuite: CipherSuite | undefined, signal: AbortSignal): Promise<IpmiSession>;
  /** For the counters: `ok` or the code of the error. */
  onResult(result: string): void;
  /** A session ended; the gateway's count goes down. */
  onSessionEnd(): void;
  /** When a person asked last that this BMC be tried again, on any replica. */
  wokenAt(): Promise<number | undefined>;
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

const WAKE_EVERY_MS = 5_000;

export class BmcLine {
  readonly #options: BmcLineOptions;
  readonly #queue: Turnstile;
  readonly #logIns = new Turnstile(1);
  readonly #guard: StopGuard;
  readonly #breaker: Breaker;
  readonly #bucket: TokenBucket;
  /** Looks under way that others may share; emptied by every command that may change what they see. */
  readonly #shared = new Map<string, { readonly access: CheckedAccess; readonly answer: Promise<unknown> }>();
  readonly #closings = new Set<Promise<void>>();
  #knownSuite: CipherSuite | undefined;
  #stopped = false;
  #answeredAtMs: number | undefined;
  #lastError: BmcStatus['lastError'];
  readonly #life = new AbortController();
  #access: CheckedAccess;
  #session: IpmiSession | undefined;
  #opening: Promise<IpmiSession> | undefined;
  #timer: Timer | undefined;
  #lastUseMs: number;
  #lastTrafficMs: number;
  #wakeReadMs = Number.NEGATIVE_INFINITY;
  /** What was asked for before this line began is over. */
  #wokenMs: number;

  constructor(access: CheckedAccess, options: BmcLineOptions) {
    this.#access = access;
    this.#options = options;
    this.#wokenMs = options.clock.now();
    this.#queue = new Turnstile(options.maxInFlight);
    this.#guard = options.guard;
    this.#breaker = new Breaker(access.bmc, options.clock, options.random);
    this.#bucket = new TokenBucket(options.clock, options.commandsPerSecond, options.burst);
    this.#lastUseMs = this.#lastTrafficMs = options.clock.monotonic();
  }

  /** Has a session that nobody uses right now? */
  get evictable(): boolean {
    return this.#session !== undefined && this.#queue.inside === 0;
  }

  /** Holds nothing that a new line to the same BMC would lack: no session, nobody waiting. */
  get forgettable(): boolean {
    return !this.#session && !this.#opening && this.#queue.inside === 0 && this.#logIns.inside === 0 && this.#closings.size === 0;
  }

  get lastUseMs(): number {
    return this.#lastUseMs;
  }

  get status(): BmcStatus {
    const breaker = this.#breaker.state;
    const silent = this.#lastError?.code === 'IPMI_NO_ANSWER';
    const state =
      this.#stopped && !this.#session
        ? 'stopped'
        : breaker === 'closed'
          ? silent
            ? 'silent'
            : this.#answeredAtMs === undefined
              ? 'new'
              : 'answering'
          : 'resting';
    return {
      bmc: this.#access.bmc,
      user: this.#access.username,
      state,
      session: this.#session !== undefined,
      cipherSuite: this.#session?.suiteId ?? this.#knownSuite?.id,
      breaker,
      waiting: this.#queue.waiting,
      answeredAtMs: this.#answeredAtMs,
      lastError: this.#lastError,
      probeAtMs: state === 'stopped' ? this.#guard.stop?.probeAtMs : undefined,
    };
  }

  /** A person says: try again, now. */
  async retry(): Promise<void> {
    await this.#guard.lift();
    this.#stopped = false;
    this.#breaker.answered();
  }

  /** Ten who look at the same moment cost the BMC one look. */
  run<T>(access: CheckedAccess, command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    if (!command.shared) {
      this.#shared.clear();
      return this.#runAlone(access, command, signal);
    }
    const key = `${command.netFn}.${command.command}.${command.data.length === 0 ? '' : Buffer.from(command.data).toString('hex')}`;
    const under = this.#shared.get(key);
    if (under && sameSession(under.access, access)) return unlessAborted(under.answer as Promise<T>, signal);
    const answer = this.#runAlone(access, command, undefined);
    const entry = { access, answer };
    this.#shared.set(key, entry);
    const forget = (): void => {
      if (this.#shared.get(key) === entry) this.#shared.delete(key);
    };
    answer.then(forget, forget);
    return unlessAborted(answer, signal);
  }

  async #runAlone<T>(access: CheckedAccess, command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    await this.#queue.enter(signal);
    try {
      this.#life.signal.throwIfAborted();
      this.#lastUseMs = this.#options.clock.monotonic();
      await this.#adopt(access);
      const answer = await this.#tried(command, signal);
      this.#noteAnswer();
      return answer;
    } catch (error) {
      this.#noteFailure(error, signal);
      throw error;
    } finally {
      this.#lastUseMs = this.#lastTrafficMs = this.#options.clock.monotonic();
      this.#queue.leave();
      if (this.evictable && this.#options.pressed()) await this.drop();
    }
  }

  /** Ends the session, if there is one; the next command opens another. */
  async drop(): Promise<void> {
    const session = this.#session;
    if (!session) return;
    this.#forget(session);
    // said once and not waited for: whether the BMC confirms changes nothing for the caller, and is heard (or said again) meanwhile
    const closing = session.close().finally(() => {
      this.#closings.delete(closing);
      this.#options.onSessionEnd();
    });
    this.#closings.add(closing);
  }

  async close(reason: Error): Promise<void> {
    this.#life.abort(reason);
    await this.#opening?.catch(() => undefined); // whoever asked for it has the error
    await this.drop();
    await Promise.all(this.#closings);
  }

  /** A session beside the kept one, for who keeps it busy (a console). Whoever has it closes it. */
  async dedicated(access: CheckedAccess, signal: AbortSignal | undefined): Promise<IpmiSession> {
    const life = signal ? AbortSignal.any([signal, this.#life.signal]) : this.#life.signal;
    const session = await this.#enter(access, life);
    void session.ended.then(() => this.#options.onSessionEnd());
    return session;
  }

  /** Other credentials, suite or privilege than the session's: it ends, the new ones count from now on. */
  async #adopt(access: CheckedAccess): Promise<void> {
    if (sameSession(access, this.#access)) return;
    this.#access = access;
    await this.#opening?.catch(() => undefined); // opened for the old credentials
    await this.drop();
  }

  async #runKept<T>(command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    const kept = this.#session;
    const session = kept ?? (await this.#open(signal));
    try {
      return await session.run(command, signal);
    } catch (error) {
      if (codeOf(error) !== 'IPMI_NO_ANSWER') throw error;
      this.#lost(session, error as Error);
      // A BMC that restarted, or ended the session by itself, is silent to its packets. A session just opened was not lost but the BMC is.
      if (!kept) throw error;
    }
    const reopened = await this.#open(signal);
    try {
      return await reopened.run(command, signal);
    } catch (error) {
      if (codeOf(error) === 'IPMI_NO_ANSWER') this.#lost(reopened, error as Error);
      throw error;
    }
  }

  /** All who wait share one log-in; it outlives a caller that gives up. */
  #open(signal: AbortSignal | undefined): Promise<IpmiSession> {
    if (this.#session) return Promise.resolve(this.#session);
    this.#opening ??= this.#logIn(this.#access).finally(() => {
      this.#opening = undefined;
    });
    this.#opening.catch(() => undefined); // every caller may have gone
    return unlessAborted(this.#opening, signal);
  }

  async #logIn(access: CheckedAccess): Promise<IpmiSession> {
    const session = await this.#enter(access, this.#life.signal);
    this.#session = session;
    this.#lastTrafficMs = this.#options.clock.monotonic();
    this.#watch();
    return session;
  }

  /** One log-in at a time: two at once with a wrong password would both have sent it before either knew. */
  async #enter(access: CheckedAccess, life: AbortSignal): Promise<IpmiSession> {
    await this.#logIns.enter(life);
    try {
      await this.#guard.enter(access);
      const session = await this.#openOnce(access, life);
      this.#knownSuite = session.suite;
      this.#stopped = false;
      await this.#guard.succeeded(access);
      return session;
    } catch (error) {
      if (codeOf(error) === 'IPMI_AUTH_HELD') this.#stopped = true;
      else if (isAuthenticationFailure(error)) {
        this.#stopped = true;
        await this.#guard.failed(access, error);
      }
      throw error;
    } finally {
      this.#logIns.leave();
    }
  }

  /** A BMC with room for one session may not have heard yet that our last one is over. */
  async #openOnce(access: CheckedAccess, life: AbortSignal): Promise<IpmiSession> {
    try {
      return await this.#options.open(access, this.#knownSuite, life);
    } catch (error) {
      if (codeOf(error) !== 'IPMI_SESSION_REFUSED' || this.#closings.size === 0) throw error;
      await Promise.all(this.#closings);
      return this.#options.open(access, this.#knownSuite, life);
    }
  }

  async #tried<T>(command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    if (this.#breaker.state === 'open') await this.#listenForWake();
    this.#breaker.enter();
    const turn = this.#bucket.take(signal);
    if (turn) await turn;
    return this.#runKept(command, signal);
  }

  /** Another replica may have been told to try again. Asked while the BMC rests, and not more often than that is worth. */
  async #listenForWake(): Promise<void> {
    const { clock, wokenAt } = this.#options;
    if (clock.monotonic() - this.#wakeReadMs < WAKE_EVERY_MS) return;
    this.#wakeReadMs = clock.monotonic();
    try {
      const woken = await wokenAt();
      if (woken !== undefined && woken > this.#wokenMs) this.#breaker.answered();
      this.#wokenMs = woken ?? this.#wokenMs;
    } catch {
      // the store is away: the rest ends by itself
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
    if (signal?.aborted || this.#life.signal.aborted || untold) this.#breaker.undecided();
    else if (code === 'IPMI_NO_ANSWER') this.#breaker.silent();
    else {
      this.#breaker.answered(); // it refused: it is there
      this.#answeredAtMs = this.#options.clock.now();
    }
    if (code !== '') this.#options.onResult(code);
    if (code !== '') this.#lastError = { code, message: (error as Error).message, atMs: this.#options.clock.now() };
  }

  #lost(session: IpmiSession, reason: Error): void {
    if (this.#session !== session) return; // a command beside this one noticed before
    this.#options.logger.info({ bmc: this.#access.bmc, reason: codeOf(reason) }, 'the session with the BMC is lost');
    this.#forget(session);
    session.abandon(reason);
    this.#options.onSessionEnd();
  }

  #forget(session: IpmiSession): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** One timer per session, not one per command: it looks how long ago the last traffic was, and sets itself again. */
  #watch(): void {
    const { clock, keepAliveMs, idleCloseMs } = this.#options;
    const quietMs = clock.monotonic() - this.#lastTrafficMs;
    this.#timer = clock.after(Math.max(Math.min(keepAliveMs, idleCloseMs) - quietMs, 1), () => void this.#tick());
  }

  async #tick(): Promise<void> {
    const { clock, idleCloseMs, keepAliveMs, logger } = this.#options;
    const session = this.#session;
    if (!session) return;
    const now = clock.monotonic();
    const busy = this.#queue.inside > 0;
    if (!busy && now - this.#lastUseMs >= idleCloseMs) {
      await this.drop();
      return;
    }
    if (!busy && now - this.#lastTrafficMs >= keepAliveMs) {
      await this.#queue.enter();
      try {
        if (this.#session === session) await session.run(getDeviceId, this.#life.signal);
        this.#lastTrafficMs = clock.monotonic();
      } catch (error) {
        logger.debug({ bmc: this.#access.bmc, error: String(error) }, 'keep-alive failed');
        this.#lost(session, error instanceof Error ? error : powerErrors.POWER_GATEWAY_CLOSED({ bmc: this.#access.bmc }));
      } finally {
        this.#queue.leave();
      }
    }
    if (this.#session === session) this.#watch();
  }
}
