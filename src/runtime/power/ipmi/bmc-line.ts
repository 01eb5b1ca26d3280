/** The line to one BMC: its kept session, the queue in front of it, keep-alive, idle close and re-opening. Part of the gateway. */
import type { Clock, Timer } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import { codeOf, powerErrors } from '../errors.ts';
import { type CheckedAccess, sameSession } from './access.ts';
import { getDeviceId, type IpmiCommand } from './commands.ts';
import { LockoutGuard } from './lockout-guard.ts';
import type { IpmiSession } from './session.ts';
import { Turnstile, unlessAborted } from './turnstile.ts';

export interface BmcLineOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxInFlight: number;
  readonly keepAliveMs: number;
  readonly idleCloseMs: number;
  readonly authCoolDownMs: number;
  /** Logs in; the gateway counts sessions here. */
  open(access: CheckedAccess, signal: AbortSignal): Promise<IpmiSession>;
  /** A session ended; the gateway's count goes down. */
  onSessionEnd(): void;
  /** Do others wait for a session of theirs? Then an idle one is given up. */
  pressed(): boolean;
}

export class BmcLine {
  readonly #options: BmcLineOptions;
  readonly #queue: Turnstile;
  readonly #guard: LockoutGuard;
  readonly #life = new AbortController();
  #access: CheckedAccess;
  #session: IpmiSession | undefined;
  #opening: Promise<IpmiSession> | undefined;
  #timer: Timer | undefined;
  #lastUseMs: number;
  #lastTrafficMs: number;

  constructor(access: CheckedAccess, options: BmcLineOptions) {
    this.#access = access;
    this.#options = options;
    this.#queue = new Turnstile(options.maxInFlight);
    this.#guard = new LockoutGuard(options.clock, options.authCoolDownMs);
    this.#lastUseMs = this.#lastTrafficMs = options.clock.monotonic();
  }

  /** Has a session that nobody uses right now? */
  get evictable(): boolean {
    return this.#session !== undefined && this.#queue.inside === 0;
  }

  get lastUseMs(): number {
    return this.#lastUseMs;
  }

  async run<T>(access: CheckedAccess, command: IpmiCommand<T>, signal: AbortSignal | undefined): Promise<T> {
    await this.#queue.enter(signal);
    try {
      this.#life.signal.throwIfAborted();
      this.#lastUseMs = this.#options.clock.monotonic();
      await this.#adopt(access);
      return await this.#runKept(command, signal);
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
    await session.close();
    this.#options.onSessionEnd();
  }

  async close(reason: Error): Promise<void> {
    this.#life.abort(reason);
    await this.#opening?.catch(() => undefined); // whoever asked for it has the error
    await this.drop();
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
    this.#guard.check(access);
    try {
      const session = await this.#options.open(access, this.#life.signal);
      this.#session = session;
      this.#lastTrafficMs = this.#options.clock.monotonic();
      this.#watch();
      return session;
    } catch (error) {
      if (codeOf(error) !== 'IPMI_AUTH_HELD') this.#guard.note(access, error);
      throw error;
    }
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
