/** The session with one BMC that is kept for all commands: logging in (one at a time, as the stop allows), keep-alive, ending it when nobody needs it. Part of a line. */
import type { Clock, Timer } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import { codeOf, isAuthenticationFailure } from '../errors.ts';
import { type CheckedAccess, sameSession } from './access.ts';
import type { StopGuard } from './bmc-stop.ts';
import type { CipherSuite } from './cipher-suite.ts';
import { getDeviceId } from './commands.ts';
import type { IpmiSession } from './session.ts';
import { Turnstile, unlessAborted } from './turnstile.ts';

export interface KeptSessionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly guard: StopGuard;
  readonly keepAliveMs: number;
  readonly idleCloseMs: number;
  /** Logs in; the gateway counts sessions here. */
  open(access: CheckedAccess, knownSuite: CipherSuite | undefined, signal: AbortSignal): Promise<IpmiSession>;
  /** A session ended; the gateway's count goes down. */
  onSessionEnd(): void;
}

const LOOK_AGAIN_MS = 1000;

export class KeptSession {
  /** Aborts when the line ends. */
  readonly life: AbortSignal;
  readonly #life = new AbortController();
  readonly #options: KeptSessionOptions;
  /** The commands of the line: a keep-alive takes its turn among them. */
  readonly #queue: Turnstile;
  readonly #logIns = new Turnstile(1);
  readonly #closings = new Set<Promise<void>>();
  #access: CheckedAccess;
  #session: IpmiSession | undefined;
  #opening: Promise<IpmiSession> | undefined;
  #knownSuite: CipherSuite | undefined;
  #timer: Timer | undefined;
  /** The BMC refused the credentials, and nothing is sent. */
  stopped = false;
  lastUseMs: number;
  lastTrafficMs: number;

  constructor(access: CheckedAccess, queue: Turnstile, options: KeptSessionOptions) {
    this.#access = access;
    this.#queue = queue;
    this.#options = options;
    this.life = this.#life.signal;
    this.lastUseMs = this.lastTrafficMs = options.clock.monotonic();
  }

  get access(): CheckedAccess {
    return this.#access;
  }

  get current(): IpmiSession | undefined {
    return this.#session;
  }

  get suiteId(): number | undefined {
    return this.#session?.suiteId ?? this.#knownSuite?.id;
  }

  /** Neither there, nor on its way in or out. */
  get absent(): boolean {
    return !this.#session && !this.#opening && this.#logIns.inside === 0 && this.#closings.size === 0;
  }

  /** All who wait share one log-in; it outlives a caller that gives up. */
  open(signal: AbortSignal | undefined): Promise<IpmiSession> {
    if (this.#session) return Promise.resolve(this.#session);
    this.#opening ??= this.#logIn(this.#access).finally(() => {
      this.#opening = undefined;
    });
    this.#opening.catch(() => undefined); // every caller may have gone
    return unlessAborted(this.#opening, signal);
  }

  /** A session beside the kept one, for who keeps it busy (a console). Whoever has it closes it. */
  async dedicated(access: CheckedAccess, signal: AbortSignal | undefined): Promise<IpmiSession> {
    const life = signal ? AbortSignal.any([signal, this.life]) : this.life;
    const session = await this.#enter(access, life);
    void session.ended.then(() => this.#options.onSessionEnd());
    return session;
  }

  /** Other credentials, suite or privilege than the session's: it ends, the new ones count from now on. */
  async adopt(access: CheckedAccess): Promise<void> {
    if (sameSession(access, this.#access)) return;
    this.#access = access;
    await this.#opening?.catch(() => undefined); // opened for the old credentials
    await this.drop();
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

  /** Lets go of a session that the BMC does not answer in. */
  lost(session: IpmiSession, reason: Error): void {
    if (this.#session !== session) return; // a command beside this one noticed before
    this.#options.logger.info({ bmc: this.#access.bmc, reason: codeOf(reason) }, 'the session with the BMC is lost');
    this.#forget(session);
    session.abandon(reason);
    this.#options.onSessionEnd();
  }

  async close(reason: Error): Promise<void> {
    this.#life.abort(reason);
    await this.#opening?.catch(() => undefined); // whoever asked for it has the error
    await this.drop();
    await Promise.all(this.#closings);
  }

  async #logIn(access: CheckedAccess): Promise<IpmiSession> {
    const session = await this.#enter(access, this.life);
    this.#session = session;
    this.lastTrafficMs = this.#options.clock.monotonic();
    this.#watch();
    return session;
  }

  /** One log-in at a time: two at once with a wrong password would both have sent it before either knew. */
  async #enter(access: CheckedAccess, life: AbortSignal): Promise<IpmiSession> {
    const { guard } = this.#options;
    await this.#logIns.enter(life);
    try {
      await guard.enter(access);
      const session = await this.#openOnce(access, life);
      this.#knownSuite = session.suite;
      this.stopped = false;
      await guard.succeeded(access);
      return session;
    } catch (error) {
      if (codeOf(error) === 'IPMI_AUTH_HELD') this.stopped = true;
      else if (isAuthenticationFailure(error)) {
        this.stopped = true;
        await guard.failed(access, error);
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

  #forget(session: IpmiSession): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** One timer per session, not one per command: it looks how long ago the last traffic was, and sets itself again. */
  #watch(): void {
    const { clock, keepAliveMs, idleCloseMs } = this.#options;
    const quietMs = clock.monotonic() - this.lastTrafficMs;
    const leastMs = this.#queue.inside > 0 ? LOOK_AGAIN_MS : 1; // a command under way is traffic only when it ends
    this.#timer = clock.after(Math.max(Math.min(keepAliveMs, idleCloseMs) - quietMs, leastMs), () => void this.#tick());
  }

  async #tick(): Promise<void> {
    const { clock, idleCloseMs, keepAliveMs, logger } = this.#options;
    const session = this.#session;
    if (!session) return;
    const now = clock.monotonic();
    const busy = this.#queue.inside > 0;
    if (!busy && now - this.lastUseMs >= idleCloseMs) {
      await this.drop();
      return;
    }
    if (!busy && now - this.lastTrafficMs >= keepAliveMs) {
      await this.#queue.enter();
      try {
        if (this.#session === session) await session.run(getDeviceId, this.life);
        this.lastTrafficMs = clock.monotonic();
      } catch (error) {
        logger.debug({ bmc: this.#access.bmc, error: String(error) }, 'keep-alive failed');
        // busy, or refused: it is there, and so is its session
        if (codeOf(error) === 'IPMI_NO_ANSWER') this.lost(session, error as Error);
        else this.lastTrafficMs = clock.monotonic();
      } finally {
        this.#queue.leave();
      }
    }
    if (this.#session === session) this.#watch();
  }
}
