/** Databases and accounts on MySQL and MariaDB. */
import { createHash } from 'node:crypto';
import { type CodedError, Secret } from 'cdk8s-baremetal-contract';
import { type Clock, withDeadline } from 'cdk8s-baremetal-runtime/core/clock';
import mysql from 'mysql2/promise';
import { type DatabaseAccount, type DatabaseServer, type DatabaseSession, type Databases, type Ensured, shownServer } from './databases.ts';
import { operatorOnecloudErrors } from './errors.ts';

export interface MysqlDatabasesOptions {
  readonly clock: Clock;
  /** How long the way to a connection, or one statement, may take. Default 10,000. */
  readonly answerMs?: number;
}

/** Accounts log in from pods, whose addresses nobody knows beforehand. */
const ANY_HOST = '%';
/** What the account of spec.mysql needs beside the rights that it gives away. */
const GRANTS = 'CREATE, DROP, CREATE USER, ALL on the cluster’s databases WITH GRANT OPTION';

/** Server error numbers, the same in MySQL and MariaDB. */
const LOGIN_REFUSED = new Set([
  1045, // wrong user or password
  1130, // not from this host
  1698, // this account logs in by socket only
  1862, // its password has expired
  3118, // locked (MySQL)
  3159, // wants TLS
  4151, // locked (MariaDB)
]);
const NOT_ALLOWED = new Set([
  1044, // to this database
  1142, // on this table
  1227, // needs a privilege
  1370, // routine
  1410, // may not create a user by GRANT
]);
const AWAY = new Set([1040, 1053, 1129, 1203, 1927, 4031]);
const NO_SUCH_GRANT = 1141;

export function mysqlDatabases(options: MysqlDatabasesOptions): Databases {
  return { open: (server, signal) => MysqlSession.open(server, signal, { answerMs: 10_000, ...options }) };
}

class MysqlSession implements DatabaseSession {
  readonly #link: Link;
  readonly #reopen: (login: Login) => Promise<Link>;

  private constructor(link: Link, reopen: (login: Login) => Promise<Link>) {
    this.#link = link;
    this.#reopen = reopen;
  }

  static async open(server: DatabaseServer, signal: AbortSignal, options: Required<MysqlDatabasesOptions>): Promise<MysqlSession> {
    const connect = (login: Login): Promise<Link> => Link.connect(server, login, signal, options);
    const link = await connect({ user: server.user, password: server.password });
    // passwords are quoted by the client, which must mean the same to the server
    await link.query('SET SESSION sql_mode = ?', [''], 'set the session’s mode');
    return new MysqlSession(link, connect);
  }

  async ping(): Promise<void> {
    await this.#link.query('SELECT 1', [], 'answer');
  }

  async ensure(account: DatabaseAccount): Promise<Ensured> {
    const { database, user } = account;
    const known = await this.#state(account);
    if (known.database && known.account === 'right' && known.granted) return 'unchanged';
    if (!known.database)
      await this.#link.query(
        'CREATE DATABASE IF NOT EXISTS ?? DEFAULT CHARACTER SET utf8mb4',
        [database],
        `create the database ${database}`,
      );
    if (known.account !== 'right') {
      const secrets = { what: `set the password of the account ${user}`, secret: account.password };
      await this.#link.query('CREATE USER IF NOT EXISTS ?@? IDENTIFIED BY ?', [user, ANY_HOST, account.password], {
        ...secrets,
        what: `create the account ${user}`,
      });
      if (known.account === 'other') await this.#link.query('ALTER USER ?@? IDENTIFIED BY ?', [user, ANY_HOST, account.password], secrets);
    }
    if (!known.granted)
      // in a pattern, where _ would stand for any character
      await this.#link.query(
        'GRANT ALL PRIVILEGES ON ??.* TO ?@?',
        [database.replaceAll(/[_%]/g, '\\$&'), user, ANY_HOST],
        `give ${user} its rights on ${database}`,
      );
    return known.account === 'absent' ? 'made' : 'changed';
  }

  async drop({ database, user }: Pick<DatabaseAccount, 'database' | 'user'>): Promise<boolean> {
    const rows = await this.#link.query(
      'SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?',
      [database],
      `look for the database ${database}`,
    );
    await this.#link.query('DROP DATABASE IF EXISTS ??', [database], `drop the database ${database}`);
    await this.#link.query('DROP USER IF EXISTS ?@?', [user, ANY_HOST], `drop the account ${user}`);
    return rows.length > 0;
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  /** What is there, found out without writing. */
  async #state(account: DatabaseAccount): Promise<{ database: boolean; account: 'absent' | 'other' | 'right'; granted: boolean }> {
    const { database, user, password } = account;
    const found = await this.#link.query(
      'SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?',
      [database],
      `look for the database ${database}`,
    );
    const there = found.length > 0;
    let rows: readonly Row[];
    let grants: readonly Row[];
    try {
      rows = await this.#link.query(
        'SELECT plugin, authentication_string AS hash FROM mysql.user WHERE User = ? AND Host = ?',
        [user, ANY_HOST],
        `look for the account ${user}`,
      );
      grants = rows.length === 0 ? [] : await this.#link.query('SHOW GRANTS FOR ?@?', [user, ANY_HOST], `look for the rights of ${user}`);
    } catch (error) {
      if (errnoOf(error) === NO_SUCH_GRANT) return { database: there, account: 'absent', granted: false };
      if (!NOT_ALLOWED.has(errnoOf(error) ?? 0)) throw error;
      // not allowed to look: what somebody made beforehand works, or it has to be made
      const works = await this.#logsIn(account);
      return { database: there || works, account: works ? 'right' : 'other', granted: works };
    }
    const [row] = rows;
    if (row === undefined) return { database: there, account: 'absent', granted: false };
    const granted = grants.some((line) => Object.values(line).some((grant) => isAll(String(grant), database)));
    const native = row.plugin === 'mysql_native_password';
    // other forms of hashes are salted: the login itself tells
    const right = native ? String(row.hash).toUpperCase() === nativeHash(password) : await this.#logsIn(account);
    return { database: there, account: right ? 'right' : 'other', granted };
  }

  async #logsIn({ user, password, database }: DatabaseAccount): Promise<boolean> {
    try {
      const link = await this.#reopen({ user, password, database });
      await link.close();
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      // 1049: the database is not there; 1251, 2059 and the client's own: a form of login that it does not speak
      if (errno !== undefined && AWAY.has(errno)) throw error;
      if (errno === undefined && isTransport(error)) throw error;
      return false;
    }
  }
}

interface Login {
  readonly user: string;
  readonly password: Secret;
  readonly database?: string;
}

type Row = Readonly<Record<string, unknown>>;

/** One connection, every wait on it bounded. */
class Link {
  readonly #connection: mysql.Connection;
  readonly #server: DatabaseServer;
  readonly #signal: AbortSignal;
  readonly #options: Required<MysqlDatabasesOptions>;

  private constructor(connection: mysql.Connection, server: DatabaseServer, signal: AbortSignal, options: Required<MysqlDatabasesOptions>) {
    this.#connection = connection;
    this.#server = server;
    this.#signal = signal;
    this.#options = options;
  }

  static async connect(server: DatabaseServer, login: Login, signal: AbortSignal, options: Required<MysqlDatabasesOptions>): Promise<Link> {
    signal.throwIfAborted();
    const connecting = mysql.createConnection({
      host: server.host,
      port: server.port,
      user: login.user,
      password: login.password.reveal(),
      ...(login.database !== undefined && { database: login.database }),
      ...(server.tls && {
        ssl: { rejectUnauthorized: true, verifyIdentity: true, ...(server.tls.ca !== undefined && { ca: server.tls.ca }) },
      }),
      charset: 'utf8mb4_bin',
      connectTimeout: options.answerMs,
      enableKeepAlive: false,
      multipleStatements: false,
    });
    try {
      // a connection that comes after its time must not stay open
      const drop = (): void => void connecting.then((late) => late.destroy()).catch(() => undefined);
      const connection = await inTime(connecting, drop, signal, options);
      // without a listener, a server that closes the connection would end the process
      connection.on('error', () => connection.destroy());
      return new Link(connection, server, signal, options);
    } catch (error) {
      signal.throwIfAborted();
      throw explained(error, server, { login: login.user });
    }
  }

  /** `what` completes "refuses to …"; with a `secret` the server's words, which may quote the statement, are withheld. */
  async query(
    sql: string,
    values: readonly (string | Secret)[],
    about: string | { readonly what: string; readonly secret: Secret },
  ): Promise<readonly Row[]> {
    const { what, secret } = typeof about === 'string' ? { what: about, secret: undefined } : about;
    const plain = values.map((value) => (value instanceof Secret ? value.reveal() : value));
    try {
      const [result] = await inTime(this.#connection.query(sql, plain), () => this.#connection.destroy(), this.#signal, this.#options);
      return Array.isArray(result) ? (result as Row[]) : [];
    } catch (error) {
      this.#signal.throwIfAborted();
      throw explained(error, this.#server, { what, withhold: secret !== undefined });
    }
  }

  async close(): Promise<void> {
    const limit = { ...this.#options, answerMs: 1_000 };
    const never = new AbortController().signal;
    await inTime(this.#connection.end(), () => undefined, never, limit).catch(() => undefined);
    this.#connection.destroy();
  }
}

/** The library's own time-outs leave the connection in use; a server that is stopped (SIGSTOP) would hold a pass for ever. */
function inTime<T>(work: Promise<T>, giveUp: () => void, signal: AbortSignal, options: Required<MysqlDatabasesOptions>): Promise<T> {
  const { clock, answerMs } = options;
  work.catch(() => undefined); // its own failure after giving up is nobody's
  const wait = (limit: AbortSignal): Promise<T> => {
    if (limit.aborted) giveUp();
    limit.addEventListener('abort', giveUp, { once: true });
    return work;
  };
  return withDeadline(clock, answerMs, () => new Error(`no answer within ${answerMs / 1000} s`), wait, signal);
}

function explained(
  error: unknown,
  server: DatabaseServer,
  { login, what = '', withhold = false }: { readonly login?: string; readonly what?: string; readonly withhold?: boolean },
): CodedError {
  const options = { cause: withhold ? new Quiet(error) : error };
  const shown = shownServer(server);
  const errno = errnoOf(error);
  const { user, source } = server;
  const words = wordsOf(error, withhold);
  if (errno === undefined || AWAY.has(errno))
    return operatorOnecloudErrors.ONECLOUD_DATABASE_UNREACHABLE({ server: shown, reason: words }, options);
  if (LOGIN_REFUSED.has(errno) && login !== undefined)
    return operatorOnecloudErrors.ONECLOUD_DATABASE_LOGIN({ server: shown, user: login, reason: words, source }, options);
  if (NOT_ALLOWED.has(errno))
    return operatorOnecloudErrors.ONECLOUD_DATABASE_FORBIDDEN({ server: shown, user, what, grants: GRANTS }, options);
  return operatorOnecloudErrors.ONECLOUD_DATABASE_REFUSED({ server: shown, what: what || 'open the connection', reason: words }, options);
}

/** A cause that carries the number and not the statement, which mysql2 hangs on its errors. */
class Quiet extends Error {
  readonly errno: number | undefined;
  readonly sqlState = 'withheld';

  constructor(error: unknown) {
    super('withheld, since it may quote a password');
    this.errno = errnoOf(error);
  }
}

function wordsOf(error: unknown, withhold: boolean): string {
  if (!(error instanceof Error)) return String(error);
  const { code, errno } = error as { readonly code?: unknown; readonly errno?: unknown };
  if (withhold && errnoOf(error) !== undefined) return `error ${String(errno)}${typeof code === 'string' ? ` (${code})` : ''}`;
  // several addresses were tried: Node's AggregateError has no words of its own
  return error.message !== '' ? error.message : typeof code === 'string' ? code : error.name;
}

/** Number of an error that the server sent; undefined for those of the way there. */
function errnoOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { errno, sqlState } = error as { readonly errno?: unknown; readonly sqlState?: unknown };
  if (typeof errno === 'number' && errno > 0 && sqlState !== undefined) return errno;
  return error.cause === undefined ? undefined : errnoOf(error.cause);
}

function isTransport(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const { code } = (cause instanceof Error ? cause : {}) as { readonly code?: unknown };
  return typeof code === 'string' && /^(E[A-Z]+|PROTOCOL_CONNECTION_LOST)$/.test(code);
}

/** '*' and SHA1(SHA1(password)), as mysql_native_password keeps it. */
function nativeHash(password: Secret): string {
  const sha1 = (data: string | Buffer): Buffer => createHash('sha1').update(data).digest();
  return `*${sha1(sha1(password.reveal())).toString('hex').toUpperCase()}`;
}

function isAll(grant: string, database: string): boolean {
  const plain = grant.replaceAll('\\', '');
  return plain.startsWith(`GRANT ALL PRIVILEGES ON \`${database}\`.*`) || plain.startsWith('GRANT ALL PRIVILEGES ON *.*');
}
