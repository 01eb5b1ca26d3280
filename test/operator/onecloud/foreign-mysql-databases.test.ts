/** Databases and accounts on MariaDB itself: what is made, what is left alone, and what is said when it cannot be. */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';
import { databaseDumpScript } from 'cdk8s-baremetal/onecloud/index';
import { CodedError, Secret } from 'cdk8s-baremetal-contract';
import mysql from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeAuthority, makeServiceCertificate } from '../../../src/operator/onecloud/certificates.ts';
import { quoted } from '../../../src/operator/onecloud/database-dump.ts';
import type { DatabaseServer, DatabaseSession } from '../../../src/operator/onecloud/databases.ts';
import { mysqlDatabases } from '../../../src/operator/onecloud/mysql-databases.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';
import { type MariaDb, mariaDb, missingForMariaDb } from '../../runtime/store/maria-db.ts';
import { freePort } from '../../support/free-port.ts';
import { findProgram } from '../../support/netns.ts';

const missing = missingForMariaDb();
if (missing !== undefined) console.warn(`SKIPPED: the operator's databases: ${missing}`);
const withoutDump = ['mariadb-dump', 'mariadb', 'bash', 'gzip'].filter((name) => findProgram(name) === undefined);
if (withoutDump.length > 0) console.warn(`SKIPPED: dumps of databases: ${withoutDump.join(', ')} missing (Debian package mariadb-client)`);

/** What would end a string, begin a comment or be an escape in SQL, in option files or in shells. */
const PASSWORDS = ['plain', `it's "quoted"`, 'back\\slash\\', "\\' OR 1=1 -- ", '#%;$`!{}', ' blanks around ', 'ünïcödé…', '"', "'", '\\n'];

describe.skipIf(missing !== undefined)('004-11: databases on MariaDB', () => {
  const databases = mysqlDatabases({ clock: nodeClock, answerMs: 1_000 });
  const never = new AbortController().signal;
  const opened: DatabaseSession[] = [];
  let server: MariaDb;
  let name = 0;

  beforeAll(async () => {
    server = mariaDb();
    await server.start();
  });
  beforeEach(() => {
    name += 1;
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((session) => session.close()));
  });
  afterAll(() => server?.remove());

  const at = (change: Partial<DatabaseServer> = {}): DatabaseServer => ({
    host: '127.0.0.1',
    port: server.port,
    user: 'bms',
    password: server.password,
    source: 'the Secret default-mysql',
    ...change,
  });
  const open = async (change: Partial<DatabaseServer> = {}): Promise<DatabaseSession> => {
    const session = await databases.open(at(change), never);
    opened.push(session);
    return session;
  };
  const account = (password = 'first') => ({ database: `glance${name}`, user: `glance${name}`, password: new Secret(password) });
  const logsIn = async ({ database, user, password }: ReturnType<typeof account>): Promise<boolean> => {
    try {
      const options = { host: '127.0.0.1', port: server.port, user, password: password.reveal(), database };
      const connection = await mysql.createConnection(options);
      await connection.query('CREATE TABLE IF NOT EXISTS images (id INT)');
      await connection.end();
      return true;
    } catch {
      return false;
    }
  };
  /** Statements that write, as the server counts them. */
  const writes = async (): Promise<number> => {
    const rows = await server.sql<{ Variable_name: string; Value: string }>("SHOW GLOBAL STATUS LIKE 'Com\\_%'");
    return rows
      .filter(({ Variable_name }) => /^Com_(create|alter|drop|grant|revoke|insert|update|delete|replace|set_password)/i.test(Variable_name))
      .reduce((sum, { Value }) => sum + Number(Value), 0);
  };
  const failure = async (work: () => Promise<unknown>): Promise<CodedError> => {
    const error = await work().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof CodedError)) throw new Error(`no coded error: ${inspect(error)}`);
    return error;
  };

  it('makes database, account and rights once; the second time it only looks', async () => {
    const session = await open();
    await session.ping();
    expect(await session.ensure(account())).toBe('made');
    expect(await logsIn(account())).toBe(true);
    const before = await writes();
    expect(await session.ensure(account())).toBe('unchanged');
    expect(await (await open()).ensure(account())).toBe('unchanged');
    expect(await writes()).toBe(before);
  });

  it('brings a changed password to the account, and its tables stay', async () => {
    const session = await open();
    await session.ensure(account('first'));
    expect(await logsIn(account('first'))).toBe(true);
    expect(await session.ensure(account('second'))).toBe('changed');
    expect([await logsIn(account('first')), await logsIn(account('second'))]).toEqual([false, true]);
    expect(await server.sql('SHOW TABLES', account().database)).toHaveLength(1);
  });

  it.each(['DROP DATABASE glance', "REVOKE ALL PRIVILEGES ON glance.* FROM 'glance'@'%'", "DROP USER 'glance'@'%'"])(
    'mends what somebody took away: %s',
    async (statement) => {
      const session = await open();
      await session.ensure(account());
      await server.sql(statement.replaceAll('glance', account().user));
      expect(await session.ensure(account())).not.toBe('unchanged');
      expect(await logsIn(account())).toBe(true);
      expect(await session.ensure(account())).toBe('unchanged');
    },
  );

  it('takes any password as it is, whatever the mode of the server', async () => {
    await server.sql("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
    try {
      const session = await open();
      for (const password of PASSWORDS) {
        await session.ensure(account(password));
        expect(await logsIn(account(password)), password).toBe(true);
        expect(await session.ensure(account(password)), password).toBe('unchanged');
      }
    } finally {
      await server.sql('SET GLOBAL sql_mode = DEFAULT');
    }
  });

  it('an account whose hash it cannot read is tried, and left alone when it works', async () => {
    await (await open()).ensure(account('given by hand'));
    // may do nothing but log in: no rights to look, none to make
    await server.sql(`CREATE USER weak${name}@'%' IDENTIFIED BY 'weak password'`);
    const session = await open({ user: `weak${name}`, password: new Secret('weak password') });
    expect(await session.ensure(account('given by hand'))).toBe('unchanged');
    const error = await failure(() => session.ensure({ ...account('hidden-7261'), user: `other${name}` }));
    expect(error.code).toBe('ONECLOUD_DATABASE_FORBIDDEN');
    expect(String(error)).toContain(`weak${name} may not create`);
    expect(error.cure).toContain('CREATE USER');
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('hidden-7261');
  });

  it('a wrong password of its own is said, with where it comes from and without it', async () => {
    const error = await failure(() => open({ password: new Secret('wrong-8842') }));
    expect(error.code).toBe('ONECLOUD_DATABASE_LOGIN');
    expect(String(error)).toMatch(/127\.0\.0\.1:\d+ does not let bms in: Access denied.*the Secret default-mysql/);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('wrong-8842');
  });

  it('a server that refuses a password by its rules does not make it known', async () => {
    const session = await open();
    const secret = 'visible-5512';
    // a name that is too long is refused with the statement quoted
    const error = await failure(() => session.ensure({ ...account(secret), user: 'u'.repeat(200) }));
    expect(error.code).toBe('ONECLOUD_DATABASE_REFUSED');
    expect(`${inspect(error, { depth: 10, showHidden: true })}${JSON.stringify(error)}`).not.toContain(secret);
  });

  it('a server that is not there, hangs or dies is unreachable, soon', async () => {
    expect((await failure(async () => open({ port: await freePort() }))).code).toBe('ONECLOUD_DATABASE_UNREACHABLE');

    const session = await open();
    server.signal('SIGSTOP');
    try {
      for (const work of [() => open(), () => session.ensure(account())]) {
        const error = await failure(work);
        expect(String(error)).toMatch(/no answer within 1 s|ETIMEDOUT/);
        expect(error.code).toBe('ONECLOUD_DATABASE_UNREACHABLE');
      }
      const stop = new AbortController();
      const opening = databases.open(at(), stop.signal);
      stop.abort(new Error('the leadership is lost'));
      await expect(opening).rejects.toThrow('the leadership is lost');
    } finally {
      server.signal('SIGCONT');
    }
    const last = await open();
    await server.stop('SIGKILL');
    expect((await failure(() => last.ensure(account()))).code).toBe('ONECLOUD_DATABASE_UNREACHABLE');
    await server.start();
    expect(await (await open()).ensure(account())).toBe('made');
  });

  it('004-9: drops database and account, and says whether there was one', async () => {
    const session = await open();
    await session.ensure(account());
    expect(await session.drop(account())).toBe(true);
    expect(await logsIn(account())).toBe(false);
    expect(await server.sql(`SELECT 1 FROM mysql.user WHERE User = '${account().user}'`)).toEqual([]);
    expect(await session.drop(account())).toBe(false);
  });

  it('speaks TLS to the server that the authority vouches for, and to no other', async () => {
    const surroundings = { clock: nodeClock, random: nodeRandom };
    const authority = makeAuthority('databases', surroundings);
    const file = (part: string): string => join(server.folder, part);
    const { certificate, key } = makeServiceCertificate(authority, ['localhost'], surroundings);
    writeFileSync(file('server.pem'), certificate);
    writeFileSync(file('server-key.pem'), key, { mode: 0o600 });
    await server.stop();
    await server.start(`--ssl-cert=${file('server.pem')}`, `--ssl-key=${file('server-key.pem')}`, '--require-secure-transport=OFF');
    const session = await open({ host: 'localhost', tls: { ca: authority.certificate } });
    expect(await session.ensure(account())).toBe('made');
    const stranger = makeAuthority('strangers', surroundings).certificate;
    for (const tls of [{ ca: stranger }, {}]) {
      const error = await failure(() => open({ host: 'localhost', tls }));
      expect(error.code).toBe('ONECLOUD_DATABASE_UNREACHABLE');
      expect(error.message).toMatch(/certificate/);
    }
  });

  it.skipIf(withoutDump.length > 0)(
    '004-5: the dump’s script writes what can be read back, keeps so many, and fails whole',
    { timeout: 60_000 },
    async () => {
      const folder = join(server.folder, 'dumps');
      mkdirSync(folder);
      const run = promisify(execFile);
      const session = await open();
      const login = join(server.folder, 'client.cnf');
      const dump = async (password: string, file: string, ...names: string[]): Promise<string> => {
        const lines = [
          '[client]',
          'host="127.0.0.1"',
          `port=${server.port}`,
          `user=${quoted(account().user)}`,
          `password=${quoted(password)}`,
        ];
        writeFileSync(login, `${lines.join('\n')}\nloose-ssl-mode=DISABLED\n`, { mode: 0o600 });
        const { stdout } = await run('bash', ['-c', databaseDumpScript, 'dump', login, folder, file, '2', ...names]);
        return stdout;
      };
      for (const [index, password] of PASSWORDS.entries()) {
        await session.ensure(account(password));
        await logsIn(account(password));
        await dump(password, `default-r00${index}-v1.sql.gz`, account().database);
      }
      expect(readdirSync(folder).sort()).toEqual(['default-r008-v1.sql.gz', 'default-r009-v1.sql.gz']);
      // names, rows and bytes come back
      await server.sql('INSERT INTO images VALUES (42), (43)', account().database);
      await dump(PASSWORDS.at(-1) ?? '', 'default-r010-v1.sql.gz', account().database);
      const text = spawnSync('gzip', ['-dc', join(folder, 'default-r010-v1.sql.gz')]).stdout;
      await server.sql(`DROP DATABASE ${account().database}`);
      const client = ['--no-defaults', '-h127.0.0.1', `-P${server.port}`, '-ubms'];
      const env = { ...process.env, MYSQL_PWD: server.password.reveal() };
      expect(spawnSync('mariadb', client, { input: text, env }).stderr.toString()).toBe('');
      expect(await server.sql('SELECT id FROM images ORDER BY id', account().database)).toEqual([{ id: 42 }, { id: 43 }]);

      const hash = (): string =>
        createHash('sha256')
          .update(
            readdirSync(folder)
              .map((file) => `${file} ${readFileSync(join(folder, file), 'hex')}`)
              .join(),
          )
          .digest('hex');
      const before = hash();
      await expect(dump('wrong-9931', 'default-r011-v1.sql.gz', account().database)).rejects.toMatchObject({
        stderr: expect.stringMatching(/Access denied/),
      });
      await expect(dump(PASSWORDS.at(-1) ?? '', 'default-r012-v1.sql.gz', 'nowhere')).rejects.toMatchObject({ code: expect.any(Number) });
      expect(hash()).toBe(before); // no half file, no old one gone
      rmSync(folder, { recursive: true });
    },
  );
});
