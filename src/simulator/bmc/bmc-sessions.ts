/** The sessions of a simulated BMC: their making (Open Session, RAKP 1 to 4), limits and time-outs. */
import type { Clock, Random } from 'cdk8s-baremetal-runtime/core/index';
import {
  type CipherSuite,
  cipherSuiteOf,
  type OpenSessionRequest,
  type OpenSessionResponse,
  PrivilegeLevel,
  RAKP_RANDOM_BYTES,
  type Rakp1,
  type Rakp2,
  type Rakp3,
  type Rakp4,
  type RakpExchange,
  RakpStatus,
  rakp2AuthCode,
  rakp3AuthCode,
  rakp4IntegrityCheck,
  SequenceWindow,
  type SessionKeys,
  sameCode,
  sessionIntegrityKey,
  sessionKeys,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import type { BmcFaults } from './faults.ts';
import type { BmcUsers, UserSlot } from './users.ts';

export interface BmcSessionsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly users: BmcUsers;
  readonly suites: readonly CipherSuite[];
  readonly guid: Uint8Array;
  readonly maxSessions: number;
  /** A silent session ends after this; 60,000 ± 3,000 by section 6.12.15. */
  readonly sessionTimeoutMs: number;
  /** A log-in that stops half-way is forgotten after this. */
  readonly pendingTimeoutMs: number;
  readonly faults: BmcFaults;
}

export interface ActiveSession {
  readonly bmcSessionId: number;
  readonly consoleSessionId: number;
  readonly keys: SessionKeys;
  readonly window: SequenceWindow;
  readonly maxPrivilege: number;
  privilege: number;
  outbound: number;
}

interface Entry {
  readonly bmcSessionId: number;
  readonly consoleSessionId: number;
  readonly suite: CipherSuite;
  readonly openTag: number;
  seenMs: number;
  user?: UserSlot;
  exchange?: RakpExchange;
  active?: ActiveSession;
  rakp4?: Buffer;
  proof?: Buffer;
}

const NOTHING = new Uint8Array(0);

export class BmcSessions {
  readonly #options: BmcSessionsOptions;
  readonly #entries = new Map<number, Entry>();
  readonly #badPasswords = new Map<string, { count: number; lockedUntilMs: number }>();

  constructor(options: BmcSessionsOptions) {
    this.#options = options;
  }

  /** Log-ins that went through since the start. */
  logIns = 0;

  /** Established sessions that have not timed out. */
  get active(): number {
    this.#expire();
    return [...this.#entries.values()].filter((entry) => entry.active).length;
  }

  /** Wrong proofs (RAKP 3) seen for a user since the last right one. */
  badPasswords(user: string): number {
    return this.#badPasswords.get(user)?.count ?? 0;
  }

  find(bmcSessionId: number): ActiveSession | undefined {
    this.#expire();
    const entry = this.#entries.get(bmcSessionId);
    if (entry?.active) entry.seenMs = this.#options.clock.monotonic();
    return entry?.active;
  }

  end(bmcSessionId: number): boolean {
    return this.#entries.delete(bmcSessionId);
  }

  /** As after a restart of the BMC. */
  endAll(): void {
    this.#entries.clear();
  }

  open(request: OpenSessionRequest): OpenSessionResponse {
    const { tag, consoleSessionId } = request;
    const { suites, faults, maxSessions, clock } = this.#options;
    const fail = (status: number): OpenSessionResponse => ({ tag, status, consoleSessionId });
    const suite = cipherSuiteOf(request.authentication, request.integrity, request.confidentiality);
    if (!suite || !suites.includes(suite)) return fail(RakpStatus.noCipherSuiteMatch);
    if (faults.sessionTableFull) return fail(RakpStatus.insufficientResources);
    this.#expire();
    const again = [...this.#entries.values()].find((e) => e.consoleSessionId === consoleSessionId && e.openTag === tag && !e.exchange);
    if (!again && this.#entries.size >= maxSessions && !this.#dropOldestPending()) return fail(RakpStatus.insufficientResources);
    const entry = again ?? { bmcSessionId: this.#newId(), consoleSessionId, suite, openTag: tag, seenMs: clock.monotonic() };
    this.#entries.set(entry.bmcSessionId, entry);
    const { authentication, integrity, confidentiality } = suite;
    const maxPrivilege = request.maxPrivilege || PrivilegeLevel.administrator;
    const { bmcSessionId } = entry;
    return { tag, status: 0, maxPrivilege, consoleSessionId, bmcSessionId, authentication, integrity, confidentiality };
  }

  rakp1(message: Rakp1): Rakp2 {
    const { tag } = message;
    const { random, guid, users } = this.#options;
    this.#expire();
    const entry = this.#entries.get(message.bmcSessionId);
    if (!entry) return { tag, status: RakpStatus.invalidSessionId, consoleSessionId: 0 };
    const { consoleSessionId, suite, bmcSessionId } = entry;
    const fail = (status: number): Rakp2 => {
      this.#entries.delete(bmcSessionId);
      return { tag, status, consoleSessionId };
    };
    if (entry.active) return { tag, status: RakpStatus.invalidSessionId, consoleSessionId };
    const name = Buffer.from(message.username).toString();
    const user = users.find(name);
    if (!user || this.#locked(name)) return fail(RakpStatus.unauthorizedName);
    if ((message.role & 0x0f) > user.privilege) return fail(RakpStatus.unauthorizedRole);
    // A repeated RAKP 1 gets the same random: otherwise the RAKP 3 that belongs to the first answer would look like a wrong password.
    const repeated = entry.exchange && sameCode(entry.exchange.consoleRandom, message.consoleRandom);
    entry.user = user;
    entry.exchange = {
      suite,
      consoleSessionId,
      bmcSessionId,
      consoleRandom: Buffer.from(message.consoleRandom),
      bmcRandom: (repeated && entry.exchange?.bmcRandom) || random.bytes(RAKP_RANDOM_BYTES),
      bmcGuid: guid,
      role: message.role,
      username: Buffer.from(message.username),
      password: user.password,
    };
    const { bmcRandom } = entry.exchange;
    return { tag, status: 0, consoleSessionId, bmcRandom, bmcGuid: guid, authCode: rakp2AuthCode(entry.exchange) };
  }

  /** Undefined: the console gave up, and nothing is answered (Table 13-13). */
  rakp3(message: Rakp3): Rakp4 | undefined {
    const { tag } = message;
    this.#expire();
    const entry = this.#entries.get(message.bmcSessionId);
    if (message.status !== 0) {
      if (entry && !entry.active) this.#entries.delete(message.bmcSessionId);
      return undefined;
    }
    if (!entry?.exchange || !entry.user) return { tag, status: RakpStatus.invalidSessionId, consoleSessionId: 0, integrityCheck: NOTHING };
    const { consoleSessionId, exchange, user } = entry;
    if (entry.active && entry.proof && sameCode(entry.proof, message.authCode)) {
      return { tag, status: 0, consoleSessionId, integrityCheck: entry.rakp4 ?? NOTHING }; // repeated: the first answer was lost
    }
    if (this.#options.faults.authFailure || !sameCode(rakp3AuthCode(exchange), message.authCode)) {
      if (!entry.active) this.#entries.delete(entry.bmcSessionId);
      this.#countBadPassword(user.name);
      return { tag, status: RakpStatus.invalidIntegrityCheck, consoleSessionId, integrityCheck: NOTHING };
    }
    this.#badPasswords.delete(user.name);
    const sik = sessionIntegrityKey(exchange);
    const maxPrivilege = Math.min(exchange.role & 0x0f || PrivilegeLevel.administrator, user.privilege);
    this.logIns += 1;
    entry.proof = Buffer.from(message.authCode);
    entry.rakp4 = rakp4IntegrityCheck(exchange, sik);
    entry.seenMs = this.#options.clock.monotonic();
    entry.active = {
      bmcSessionId: entry.bmcSessionId,
      consoleSessionId,
      keys: sessionKeys(entry.suite, sik),
      window: new SequenceWindow(),
      maxPrivilege,
      privilege: Math.min(PrivilegeLevel.user, maxPrivilege),
      outbound: 0,
    };
    return { tag, status: 0, consoleSessionId, integrityCheck: entry.rakp4 };
  }

  #locked(user: string): boolean {
    return (this.#badPasswords.get(user)?.lockedUntilMs ?? 0) > this.#options.clock.monotonic();
  }

  #countBadPassword(user: string): void {
    const { faults, clock } = this.#options;
    const record = this.#badPasswords.get(user) ?? { count: 0, lockedUntilMs: 0 };
    record.count += 1;
    if (faults.lockoutAfter > 0 && record.count >= faults.lockoutAfter) record.lockedUntilMs = clock.monotonic() + faults.lockoutMs;
    this.#badPasswords.set(user, record);
  }

  #expire(): void {
    const { clock, sessionTimeoutMs, pendingTimeoutMs } = this.#options;
    const now = clock.monotonic();
    for (const [id, entry] of this.#entries)
      if (now - entry.seenMs > (entry.active ? sessionTimeoutMs : pendingTimeoutMs)) this.#entries.delete(id);
  }

  /** Half-open log-ins must not keep others out. */
  #dropOldestPending(): boolean {
    for (const [id, entry] of this.#entries) if (!entry.active) return this.#entries.delete(id);
    return false;
  }

  #newId(): number {
    for (;;) {
      const id = Buffer.from(this.#options.random.bytes(4)).readUInt32LE(0);
      if (id !== 0 && !this.#entries.has(id)) return id;
    }
  }
}
