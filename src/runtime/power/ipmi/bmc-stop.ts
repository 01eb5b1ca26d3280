/**
 * Manners towards a BMC's account lock-out. Many BMCs lock a user after three to five bad passwords, and a poller with a stale password keeps it
 * locked for everybody. So ONE refusal stops all traffic with those credentials, on every replica and across restarts, until they change or a
 * person lifts the stop. Beside that one lone probe an hour, far below any lockout, notices a BMC whose own password was corrected.
 *
 * A stop is written where all replicas read it (`StopKeeper`). It never holds the password: only what scrypt makes of it, to tell whether it changed.
 */
import { scryptSync } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import type { Random } from '../../core/random.ts';
import { isAuthenticationFailure, powerErrors } from '../errors.ts';
import type { CheckedAccess } from './access.ts';
import { sameCode } from './cipher-suite.ts';

/** What is kept of a BMC that refused somebody. Plain data: it is stored as JSON. */
export interface BmcStop {
  /** `address:port` */
  readonly bmc: string;
  readonly user: string;
  /** IPMI_WRONG_USER, IPMI_WRONG_PASSWORD or IPMI_IMPOSTOR. */
  readonly code: string;
  /** Wall clock of the last refusal, and when one probe may go. */
  readonly atMs: number;
  readonly probeAtMs: number;
  /** Newest last. */
  readonly refused: readonly RefusedCredential[];
}

export interface RefusedCredential {
  readonly atMs: number;
  readonly salt: string;
  /** scrypt of user and password. */
  readonly digest: string;
}

/** Where stops live. Failing calls do not open the way: what this process knows still counts. */
export interface StopKeeper {
  read(bmc: string): Promise<BmcStop | undefined>;
  /** Puts `next` (absent: nothing) where `before` was. False when another replica was faster: read again. */
  swap(bmc: string, before: BmcStop | undefined, next: BmcStop | undefined): Promise<boolean>;
  /** A person asked for another try: ends the rest of a silent BMC on every replica that reads it. Absent: on this one only. */
  wake?(bmc: string, atMs: number): Promise<void>;
  /** When that was last. */
  wokenAt?(bmc: string): Promise<number | undefined>;
}

/** For tools and tests: stops end with the process. */
export class MemoryStopKeeper implements StopKeeper {
  readonly #stops = new Map<string, BmcStop>();
  readonly #woken = new Map<string, number>();

  async wake(bmc: string, atMs: number): Promise<void> {
    this.#woken.set(bmc, atMs);
  }

  async wokenAt(bmc: string): Promise<number | undefined> {
    return this.#woken.get(bmc);
  }

  async read(bmc: string): Promise<BmcStop | undefined> {
    return this.#stops.get(bmc);
  }

  async swap(bmc: string, before: BmcStop | undefined, next: BmcStop | undefined): Promise<boolean> {
    if (this.#stops.get(bmc) !== before) return false;
    if (next) this.#stops.set(bmc, next);
    else this.#stops.delete(bmc);
    return true;
  }
}

/** Different credentials that may fail within one probe interval before any further ones count as guessing. */
const MOST_REFUSED = 3;
/** Other replicas may be faster so often. */
const MOST_SWAPS = 5;
const FORGOTTEN_AFTER_MS = 7 * 24 * 3_600_000;
const WAKE_EVERY_MS = 5_000;
const SALT_BYTES = 16;
/** 2 MiB and some milliseconds a digest: a password cannot be guessed cheaply from the store, and a thousand BMCs do not hold the process up. */
const SCRYPT = { N: 2048, r: 8, p: 1 };

/** Who logs in. */
type Login = Pick<CheckedAccess, 'username' | 'password'>;

export class StopGuard {
  readonly #digests = new WeakMap<Login, Map<string, Buffer>>();
  #known: BmcStop | undefined;
  /** What the keeper failed to write. A keeper that can still be read knows nothing of it, and would open the way. */
  #unwritten: BmcStop | undefined;
  #wakeReadMs = Number.NEGATIVE_INFINITY;
  /** What was asked for before this guard began is over. */
  readonly #beganMs: number;
  /** The last look at it. */
  #woken: { readonly atMs: number | undefined } | undefined;

  constructor(
    private readonly options: {
      readonly bmc: string;
      readonly clock: Clock;
      readonly random: Random;
      readonly keeper: StopKeeper;
      readonly probeEveryMs: number;
      readonly onKeeperFailure: (error: unknown) => void;
    },
  ) {
    this.#beganMs = options.clock.now();
  }

  /** As last read. */
  get stop(): BmcStop | undefined {
    return this.#known;
  }

  /** Before a log-in. Throws IPMI_AUTH_HELD; resolves when this caller may try: nothing is held, its credentials are new, or it is the probe. */
  async enter(access: Login): Promise<void> {
    const { bmc, clock, probeEveryMs } = this.options;
    const stop = await this.#read();
    if (!stop) return;
    const now = clock.now();
    const recent = stop.refused.filter(({ atMs }) => now - atMs < probeEveryMs);
    const tried = stop.refused.some((one) => this.#matches(access, one));
    if (!tried && recent.length < MOST_REFUSED) return;
    if (now >= stop.probeAtMs && (await this.#swap(stop, { ...stop, probeAtMs: now + probeEveryMs }))) return;
    const minutesLeft = Math.ceil(Math.max((this.#known ?? stop).probeAtMs - now, 0) / 60_000);
    throw powerErrors.IPMI_AUTH_HELD({ bmc, user: access.username, minutesLeft });
  }

  /** After a log-in that worked. Others that were refused stay so: two configurations that disagree must not take turns. */
  async succeeded(access: Login): Promise<void> {
    await this.#change((stop) => {
      if (!stop) return undefined;
      const now = this.options.clock.now();
      const refused = stop.refused.filter((one) => now - one.atMs < FORGOTTEN_AFTER_MS && !this.#matches(access, one));
      if (refused.length === stop.refused.length) return stop;
      return refused.length > 0 ? { ...stop, refused } : undefined;
    });
  }

  /** After one that failed. */
  async failed(access: Login, error: unknown): Promise<void> {
    if (!isAuthenticationFailure(error)) return;
    const { bmc, clock, probeEveryMs } = this.options;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    await this.#change((before) => {
      const atMs = clock.now();
      const others = (before?.refused ?? []).filter((one) => !this.#matches(access, one));
      const refused = [...others, this.#refused(access, atMs)].slice(-2 * MOST_REFUSED);
      return { bmc, user: access.username, code, atMs, probeAtMs: atMs + probeEveryMs, refused };
    });
  }

  /** A person says: try again. */
  async lift(): Promise<void> {
    this.#unwritten = undefined;
    await this.#read();
    await this.#change(() => undefined);
    this.#known = undefined;
  }

  /** Has a person, on any replica, said "try again" since this was asked last? For a BMC that rests, and looked up no more often than that is worth. */
  async woken(): Promise<boolean> {
    const { bmc, clock, keeper } = this.options;
    if (clock.monotonic() - this.#wakeReadMs < WAKE_EVERY_MS) return false;
    this.#wakeReadMs = clock.monotonic();
    try {
      const atMs = await keeper.wokenAt?.(bmc);
      // which is later says nothing between two looks: it is the wall clock of whoever was asked
      const anew = atMs !== undefined && (this.#woken ? atMs !== this.#woken.atMs : atMs > this.#beganMs);
      this.#woken = { atMs };
      return anew;
    } catch {
      return false; // the store is away: the rest ends by itself
    }
  }

  /** Writes what `make` makes of the stop; once more when another replica was faster. The same stop back: nothing is to be written. */
  async #change(make: (stop: BmcStop | undefined) => BmcStop | undefined): Promise<void> {
    for (let tries = 0; tries < MOST_SWAPS; tries++) {
      const before = tries === 0 ? this.#known : await this.#read();
      const next = make(before);
      if (next === before || (await this.#swap(before, next))) return;
    }
  }

  async #read(): Promise<BmcStop | undefined> {
    try {
      this.#known = await this.options.keeper.read(this.options.bmc);
    } catch (error) {
      this.options.onKeeperFailure(error); // the last known stop counts
      return this.#known;
    }
    if (this.#unwritten && !(await this.#liftedSince(this.#unwritten.atMs))) {
      const both = together(this.#known, this.#unwritten);
      if (!(await this.#swap(this.#known, both))) this.#known = both;
    }
    return this.#known;
  }

  /** Whoever lifted it elsewhere found nothing to remove. */
  async #liftedSince(atMs: number): Promise<boolean> {
    try {
      const lifted = ((await this.options.keeper.wokenAt?.(this.options.bmc)) ?? 0) > atMs;
      if (lifted) this.#unwritten = undefined;
      return lifted;
    } catch {
      return false; // not known
    }
  }

  async #swap(before: BmcStop | undefined, next: BmcStop | undefined): Promise<boolean> {
    try {
      if (!(await this.options.keeper.swap(this.options.bmc, before, next))) return false;
    } catch (error) {
      this.options.onKeeperFailure(error);
      this.#known = this.#unwritten = next; // held in this process at least
      return true;
    }
    this.#known = next;
    this.#unwritten = undefined;
    return true;
  }

  #refused(access: Login, atMs: number): RefusedCredential {
    const salt = Buffer.from(this.options.random.bytes(SALT_BYTES)).toString('hex');
    return { atMs, salt, digest: this.#digest(access, salt).toString('hex') };
  }

  #matches(access: Login, { salt, digest }: RefusedCredential): boolean {
    return sameCode(this.#digest(access, salt), Buffer.from(digest, 'hex'));
  }

  #digest(access: Login, salt: string): Buffer {
    const known = this.#digests.get(access) ?? new Map<string, Buffer>();
    this.#digests.set(access, known);
    const digest = known.get(salt) ?? scryptSync(`${access.username}\0${access.password.reveal()}`, Buffer.from(salt, 'hex'), 32, SCRYPT);
    if (known.size > 4 * MOST_REFUSED) known.clear();
    known.set(salt, digest);
    return digest;
  }
}

/** `stored` and what could not be stored: whatever either refuses is refused, and the later probe counts. */
function together(stored: BmcStop | undefined, unwritten: BmcStop): BmcStop {
  if (!stored) return unwritten;
  const others = stored.refused.filter((one) => unwritten.refused.every(({ salt }) => salt !== one.salt));
  const refused = [...others, ...unwritten.refused].slice(-2 * MOST_REFUSED);
  return { ...unwritten, refused, probeAtMs: Math.max(stored.probeAtMs, unwritten.probeAtMs) };
}
