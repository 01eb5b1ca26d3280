/**
 * The gateway to all BMCs of a management node. A log-in costs a BMC four round trips and eight HMACs on a slow processor, and it has
 * room for a handful of sessions; so one session per BMC is opened once and kept, all its commands pass through it in turn, and all
 * sessions share one UDP socket (see bmc-socket.ts). A BMC that is polled every minute costs one packet each way then.
 */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Network } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import { powerErrors } from '../errors.ts';
import type { BmcAccess } from '../power-manager.ts';
import { type CheckedAccess, checkAccess } from './access.ts';
import { BmcLine, type BmcStatus } from './bmc-line.ts';
import { BmcSocket, type BmcSocketStats } from './bmc-socket.ts';
import { MemoryStopKeeper, StopGuard, type StopKeeper } from './bmc-stop.ts';
import type { CipherSuite } from './cipher-suite.ts';
import { CoarseClock } from './coarse-clock.ts';
import type { IpmiCommand } from './commands.ts';
import { pooledRandom } from './pooled-random.ts';
import { defaultSchedule, type RetransmissionSchedule } from './retransmission.ts';
import { type IpmiSession, openSession } from './session.ts';
import { Turnstile } from './turnstile.ts';

export interface IpmiGatewayOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly logger: Logger;
  /** Sessions at once, over all BMCs; the one unused for longest gives way. Default 16,384. */
  readonly maxSessions?: number;
  /** Commands at once to one BMC. Default 1: many BMCs have a single receive buffer. At most 16, half of the sequence window. */
  readonly maxInFlight?: number;
  /** A quiet session is kept alive this often. Default 30,000; BMCs end one after 60,000 ± 3,000 (section 6.12.15). */
  readonly keepAliveMs?: number;
  /** A session that nobody used for so long is closed. Default 300,000. */
  readonly idleCloseMs?: number;
  /** Credentials that a BMC refused are tried again by themselves this often at most. Default 3,600,000. */
  readonly probeEveryMs?: number;
  /** Where stops of BMCs outlive this process. Default: its memory. */
  readonly stops?: StopKeeper;
  /** Most commands to one BMC, on average and at once. Default 100 and 200. */
  readonly commandsPerSecond?: number;
  readonly burst?: number;
  readonly schedule?: RetransmissionSchedule;
}

export interface IpmiGatewayStats extends Readonly<BmcSocketStats> {
  readonly lines: number;
  readonly sessions: number;
  readonly waitingForSession: number;
  /** Commands by result: `ok` or the code of the error. */
  readonly results: ReadonlyMap<string, number>;
}

const DEFAULT_MAX_SESSIONS = 16_384;
const MAX_IN_FLIGHT = 16;
const DEFAULT_KEEP_ALIVE_MS = 30_000;
const DEFAULT_IDLE_CLOSE_MS = 300_000;
const DEFAULT_PROBE_EVERY_MS = 3_600_000;
const DEFAULT_COMMANDS_PER_SECOND = 100;
const DEFAULT_BURST = 200;
const FIRST_PRUNE = 1024;
const FORGOTTEN_AFTER_MS = 24 * 3_600_000;

export class IpmiGateway {
  readonly #options: IpmiGatewayOptions;
  /** For what waits for answers. */
  readonly #clock: CoarseClock;
  readonly #socket: BmcSocket;
  readonly #sessions: Turnstile;
  readonly #lines = new Map<string, BmcLine>();
  readonly #results = new Map<string, number>();
  readonly #stops: StopKeeper;
  #closing: Promise<void> | undefined;
  #pruneAt = FIRST_PRUNE;

  constructor(options: IpmiGatewayOptions) {
    this.#clock = new CoarseClock(options.clock);
    this.#options = { ...options, random: pooledRandom(options.random) };
    this.#socket = new BmcSocket(this.#options);
    this.#sessions = new Turnstile(options.maxSessions ?? DEFAULT_MAX_SESSIONS);
    this.#stops = options.stops ?? new MemoryStopKeeper();
  }

  /** Opens or uses the BMC's session. Errors: POWER_* and IPMI_* of `errors.ts`. A lost session is opened again once. */
  run<T>(access: BmcAccess | CheckedAccess, command: IpmiCommand<T>, signal?: AbortSignal): Promise<T> {
    try {
      const checked = 'suites' in access ? access : checkAccess(access);
      return this.#line(checked).run(checked, command, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** A session of its own beside the kept one, e.g. for a console. Whoever has it closes it. */
  async session(access: BmcAccess | CheckedAccess, signal?: AbortSignal): Promise<IpmiSession> {
    const checked = 'suites' in access ? access : checkAccess(access);
    return this.#line(checked).dedicated(checked, signal);
  }

  /** Every BMC that was asked within a day. */
  statuses(): readonly BmcStatus[] {
    this.#prune();
    return [...this.#lines.values()].map((line) => line.status);
  }

  /** Lifts the stop of a BMC (`host:port`) that refused credentials, on every replica, and ends its rest: at once on this one's line, within seconds elsewhere. */
  async retry(bmc: string): Promise<void> {
    await this.#lines.get(bmc)?.retry();
    await this.guard(bmc).lift();
    await this.#stops.wake?.(bmc, this.#options.clock.now());
  }

  /** Ends the session with one BMC. What is known of refused credentials stays known. */
  async release(access: CheckedAccess): Promise<void> {
    await this.#lines.get(access.bmc)?.drop();
  }

  stats(): IpmiGatewayStats {
    return {
      ...this.#socket.stats,
      lines: this.#lines.size,
      sessions: this.#sessions.inside,
      waitingForSession: this.#sessions.waiting,
      results: this.#results,
    };
  }

  /** Ends every session (a BMC that does not answer gets 1.5 s) and closes the socket. Commands under way fail. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.all([...this.#lines].map(([bmc, line]) => line.close(powerErrors.POWER_GATEWAY_CLOSED({ bmc }))));
      this.#lines.clear();
      this.#clock.close();
      await this.#socket.close();
    })();
    return this.#closing;
  }

  #line(access: CheckedAccess): BmcLine {
    if (this.#closing) throw powerErrors.POWER_GATEWAY_CLOSED({ bmc: access.bmc });
    const known = this.#lines.get(access.bmc);
    if (known) return known;
    if (this.#lines.size >= this.#pruneAt) this.#prune();
    const line = this.#newLine(access);
    this.#lines.set(access.bmc, line);
    return line;
  }

  /** Machines come and go: lines that nobody used for a day go too. Stops are in the keeper and stay. */
  #prune(): void {
    const longAgoMs = this.#options.clock.monotonic() - FORGOTTEN_AFTER_MS;
    for (const [bmc, line] of this.#lines) if (line.forgettable && line.lastUseMs < longAgoMs) this.#lines.delete(bmc);
    this.#pruneAt = Math.max(2 * this.#lines.size, FIRST_PRUNE); // doubling: each new line pays for one look at another
  }

  /** What holds back credentials that `bmc` (`host:port`) refused: for drivers that speak something else than IPMI to it. */
  guard(bmc: string): StopGuard {
    const { clock, random, logger, probeEveryMs = DEFAULT_PROBE_EVERY_MS } = this.#options;
    const onKeeperFailure = (error: unknown): void =>
      logger.warn({ bmc, error: String(error) }, 'the stop of a BMC could not be read or written; this replica keeps to what it knows');
    return new StopGuard({ bmc, clock, random, keeper: this.#stops, probeEveryMs, onKeeperFailure });
  }

  #newLine(access: CheckedAccess): BmcLine {
    const { clock, logger, random, maxInFlight = 1, keepAliveMs, idleCloseMs, commandsPerSecond, burst } = this.#options;
    return new BmcLine(access, {
      clock,
      logger,
      random,
      guard: this.guard(access.bmc),
      commandsPerSecond: commandsPerSecond ?? DEFAULT_COMMANDS_PER_SECOND,
      burst: burst ?? DEFAULT_BURST,
      maxInFlight: Math.min(maxInFlight, MAX_IN_FLIGHT),
      keepAliveMs: keepAliveMs ?? DEFAULT_KEEP_ALIVE_MS,
      idleCloseMs: idleCloseMs ?? DEFAULT_IDLE_CLOSE_MS,
      open: (checked, knownSuite, signal) => this.#open(checked, knownSuite, signal),
      onResult: (result) => this.#results.set(result, (this.#results.get(result) ?? 0) + 1),
      onSessionEnd: () => this.#sessions.leave(),
      pressed: () => this.#sessions.waiting > 0,
    });
  }

  async #open(access: CheckedAccess, knownSuite: CipherSuite | undefined, signal: AbortSignal): Promise<IpmiSession> {
    if (this.#sessions.full) void this.#evict();
    await this.#sessions.enter(signal);
    try {
      const { random, logger, schedule = defaultSchedule } = this.#options;
      const channel = await this.#socket.channel(access.address, access.port);
      return await openSession({ clock: this.#clock, random, logger, channel, access, schedule, knownSuite }, signal);
    } catch (error) {
      this.#sessions.leave();
      throw error;
    }
  }

  /** Closes the idle session unused for longest. When none is idle, the first line to become so gives its session up. */
  async #evict(): Promise<void> {
    let oldest: BmcLine | undefined;
    for (const line of this.#lines.values()) if (line.evictable && (!oldest || line.lastUseMs < oldest.lastUseMs)) oldest = line;
    await oldest?.drop();
  }
}
