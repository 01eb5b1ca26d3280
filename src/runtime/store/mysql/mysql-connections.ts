/**
 * A few connections to one database, with the patience that a daemon needs: the server restarts, hangs, or rolls a statement back, and the
 * caller sees a delay. Every statement here is one transaction by itself (autocommit): a replica that is suspended in the middle of its work
 * holds no lock that another has to wait for.
 */
import mysql from 'mysql2/promise';
import { type Clock, sleep } from '../../core/clock.ts';
import { storeErrors } from '../errors.ts';
import type { MysqlAddress } from './mysql-url.ts';

export interface MysqlConnectionsOptions {
  readonly address: MysqlAddress;
  readonly clock: Clock;
  /** Connections open at a time. Default 8. */
  readonly limit?: number;
  /** How long a call is repeated before it fails. Default 30,000. */
  readonly patienceMs?: number;
  /** How long one statement, or the way to a connection, may take. Default 10,000. */
  readonly answerMs?: number;
}

export type Row = Readonly<Record<string, unknown>>;
type Value = string | number | null;

export interface Answer {
  readonly rows: readonly Row[];
  /** Rows that were changed, not rows that were found. */
  readonly affected: number;
  /** The insertion failed since its key was there. */
  readonly duplicate: boolean;
  /** An earlier try of this call was sent and never answered: it may have been carried out. */
  readonly uncertain: boolean;
}

export interface Link {
  execute(sql: string, values?: readonly Value[]): Promise<Pick<Answer, 'rows' | 'affected'>>;
}

/** Server error numbers (MySQL and MariaDB) that are over in a moment and left nothing behind. */
const PASSING = new Set([
  1040, // too many connections
  1053, // shutdown in progress
  1203, // too many connections of this user
  1205, // lock wait timeout
  1213, // deadlock
  1290, // read-only: a fail-over is under way
  1317, // query interrupted
  1836, // read-only mode
  1927, // connection was killed
  4031, // disconnected for inactivity
]);
/** Of those, the ones after which the connection is of no more use. */
const FATAL = new Set([1053, 1290, 1317, 1836, 1927, 4031]);
const DUPLICATE_KEY = 1062;
const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 2_000;

/** What is worth another try. */
class Trouble extends Error {
  constructor(
    /** Whether the statement may have been carried out. */
    readonly uncertain: boolean,
    cause: unknown,
  ) {
    super(cause instanceof Error && cause.message !== '' ? cause.message : codeOf(cause), { cause });
  }
}

export class MysqlConnections {
  readonly #options: Required<MysqlConnectionsOptions>;
  readonly #all = new Set<mysql.Connection>();
  readonly #closing = new AbortController();
  #idle: mysql.Connection[] = [];
  #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(options: MysqlConnectionsOptions) {
    this.#options = { limit: 8, patienceMs: 30_000, answerMs: 10_000, ...options };
  }

  /** One statement, again and again until it is answered. `what` is for the message when patience ends. */
  async execute(sql: string, values: readonly Value[] = [], written?: { readonly kind: string; readonly id: string }): Promise<Answer> {
    let uncertain = false;
    try {
      const answer = await this.#patiently(
        () => this.#once((link) => link.execute(sql, values)),
        (trouble) => {
          uncertain ||= trouble.uncertain;
        },
      );
      return { ...answer, duplicate: false, uncertain };
    } catch (error) {
      if (errnoOf(error) === DUPLICATE_KEY) return { rows: [], affected: 0, duplicate: true, uncertain };
      if (written === undefined || !uncertain) throw this.#explained(error);
      const reason = `no answer, and none since: ${error instanceof Error ? error.message : String(error)}`;
      throw storeErrors.STORE_OUTCOME_UNKNOWN({ path: this.#options.address.shown, ...written, reason }, { cause: error });
    }
  }

  /** Several statements on one connection, all of them again after a failure: they must be such that this does no harm. */
  async together<T>(work: (link: Link) => Promise<T>): Promise<T> {
    try {
      return await this.#patiently(() => this.#once(work));
    } catch (error) {
      throw this.#explained(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(storeErrors.STORE_CLOSED({ what: 'a call that was under way' }));
    for (const wake of this.#waiting.splice(0)) wake();
    await Promise.all(this.#idle.splice(0).map((connection) => this.#quit(connection)));
    for (const connection of this.#all) this.#destroy(connection);
  }

  /** In good order, so that the server does not count it as aborted; not for ever. */
  async #quit(connection: mysql.Connection): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const limit = this.#options.clock.after(1_000, resolve);
    await Promise.race([connection.end().catch(() => undefined), promise]);
    limit.cancel();
    this.#destroy(connection);
  }

  async #patiently<T>(work: () => Promise<T>, onTrouble: (trouble: Trouble) => void = () => undefined): Promise<T> {
    const { clock, patienceMs, address } = this.#options;
    const end = clock.monotonic() + patienceMs;
    // The first repetition comes at once: mostly it was one connection that broke, and others may write meanwhile.
    for (let delayMs = 0; ; delayMs = Math.min(Math.max(delayMs * 2, FIRST_DELAY_MS), LONGEST_DELAY_MS)) {
      try {
        return await work();
      } catch (error) {
        this.#closing.signal.throwIfAborted();
        if (!(error instanceof Trouble)) throw error;
        onTrouble(error);
        if (clock.monotonic() + delayMs > end) {
          const seconds = patienceMs / 1000;
          throw storeErrors.STORE_UNREACHABLE({ path: address.shown, seconds, reason: error.message }, { cause: error.cause });
        }
        await sleep(clock, delayMs, this.#closing.signal);
      }
    }
  }

  async #once<T>(work: (link: Link) => Promise<T>): Promise<T> {
    await this.#turn();
    let connection: mysql.Connection | undefined;
    try {
      connection = this.#idle.pop() ?? (await this.#connect());
      const link = connection;
      const result = await work({ execute: (sql, values = []) => this.#execute(link, sql, values) });
      if (this.#all.has(connection)) this.#idle.push(connection);
      return result;
    } catch (error) {
      if (connection !== undefined) {
        const errno = error instanceof Trouble ? errnoOf(error.cause) : errnoOf(error);
        if (errno === undefined || FATAL.has(errno)) this.#destroy(connection);
        else if (this.#all.has(connection)) this.#idle.push(connection);
      }
      throw error;
    } finally {
      this.#taken -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    this.#closing.signal.throwIfAborted();
    while (this.#taken >= this.#options.limit) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      this.#closing.signal.throwIfAborted();
    }
    this.#taken += 1;
  }

  async #execute(connection: mysql.Connection, sql: string, values: readonly Value[]): Promise<Pick<Answer, 'rows' | 'affected'>> {
    let result: unknown;
    try {
      [result] = await this.#inTime(connection.execute(sql, [...values]), () => this.#destroy(connection));
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined) throw new Trouble(true, error);
      throw PASSING.has(errno) ? new Trouble(false, error) : error;
    }
    if (Array.isArray(result)) return { rows: result as Row[], affected: 0 };
    return { rows: [], affected: (result as mysql.ResultSetHeader).affectedRows };
  }

  async #connect(): Promise<mysql.Connection> {
    const { address, answerMs } = this.#options;
    let connection: mysql.Connection | undefined;
    const connecting = mysql.createConnection({
      host: address.host,
      port: address.port,
      user: address.user,
      database: address.database,
      ...(address.password && { password: address.password.reveal() }),
      ...(address.tls && { ssl: { rejectUnauthorized: true, verifyIdentity: true, ...(address.tls.ca && { ca: address.tls.ca }) } }),
      charset: 'utf8mb4_bin',
      connectTimeout: answerMs,
      dateStrings: true,
      jsonStrings: true, // MariaDB calls text with a JSON_VALID check JSON, and the library would parse it
      supportBigNumbers: true,
      decimalNumbers: true, // SUM gives DECIMAL
      flags: ['-FOUND_ROWS'], // count rows that were changed
    });
    try {
      // A connection that comes after its time must not stay open.
      connection = await this.#inTime(connecting, () => void connecting.then((late) => late.destroy()).catch(() => undefined));
      const opened = connection;
      this.#all.add(opened);
      // Without a listener, a server that closes an idle connection would end the process.
      opened.on('error', () => this.#destroy(opened));
      this.#closing.signal.throwIfAborted();
      for (const setting of SETTINGS) await this.#inTime(opened.query(setting), () => this.#destroy(opened));
      return opened;
    } catch (error) {
      if (connection !== undefined) this.#destroy(connection);
      const errno = errnoOf(error);
      if (errno === undefined ? isHandshake(error) : !PASSING.has(errno)) {
        throw storeErrors.STORE_REFUSED({ path: address.shown, reason: messageOf(error) }, { cause: error });
      }
      throw new Trouble(false, error);
    }
  }

  /** The library's own time-outs leave the connection in use; a server that is stopped (SIGSTOP) would hold a call for ever. */
  async #inTime<T>(work: Promise<T>, giveUp: () => void): Promise<T> {
    const { clock, answerMs } = this.#options;
    const { promise, reject } = Promise.withResolvers<never>();
    const onClose = (): void => {
      giveUp();
      reject(this.#closing.signal.reason);
    };
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    const timer = clock.after(answerMs, () => {
      giveUp();
      reject(new Error(`no answer within ${answerMs / 1000} s`));
    });
    try {
      return await Promise.race([work, promise]);
    } finally {
      timer.cancel();
      this.#closing.signal.removeEventListener('abort', onClose);
    }
  }

  #destroy(connection: mysql.Connection): void {
    this.#all.delete(connection);
    this.#idle = this.#idle.filter((other) => other !== connection);
    connection.destroy();
  }

  #explained(error: unknown): unknown {
    const errno = errnoOf(error);
    if (errno === undefined) return error;
    return storeErrors.STORE_IO({ path: this.#options.address.shown, reason: `${messageOf(error)} (error ${errno})` }, { cause: error });
  }
}

/**
 * STRICT: a value that does not fit is an error and not cut. READ COMMITTED: single-row statements need no gap locks. Five seconds for a lock:
 * nobody holds one for longer than a statement, and a deadlock is found at once.
 */
const SETTINGS = [
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  "SET SESSION innodb_lock_wait_timeout = 5, SESSION time_zone = '+00:00', SESSION autocommit = 1",
];

/** The server's error number; undefined when it is not the server that speaks (the network, the library, we). */
function errnoOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errno' in error) || typeof error.errno !== 'number' || !('sqlState' in error)) return undefined;
  return error.errno >= 1000 ? error.errno : undefined;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

function isHandshake(error: unknown): boolean {
  return /HANDSHAKE|CERT|SSL|TLS|AUTH/.test(codeOf(error)) && !/ETIMEDOUT/.test(codeOf(error));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
