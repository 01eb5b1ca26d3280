/** MariaDB from Debian: a server of our own on loopback, with a folder of its own; the system's service is left alone. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Secret } from 'cdk8s-baremetal-contract';
import mysql from 'mysql2/promise';
import { freePort } from '../../support/free-port.ts';
import { findProgram } from '../../support/netns.ts';

const run = promisify(execFile);

/** What is missing to run it here, as a sentence; undefined when nothing is. */
export function missingForMariaDb(): string | undefined {
  const absent = ['mariadbd', 'mariadb-install-db'].filter((name) => findProgram(name) === undefined);
  return absent.length === 0 ? undefined : `${absent.join(', ')} missing (Debian package mariadb-server)`;
}

export interface MariaDb {
  /** Of the user `bms`. */
  readonly password: Secret;
  readonly port: number;
  readonly folder: string;
  start(...options: string[]): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when the process is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** The URL of a new, empty database. */
  database(): Promise<string>;
  sql<T>(statement: string, database?: string): Promise<T[]>;
  remove(): Promise<void>;
}

export function mariaDb(): MariaDb {
  // Hyphens and quotes would have to be escaped in the file below, which runs as the server's root.
  const password = new Secret(randomBytes(12).toString('hex'));
  let folder = '';
  let port = 0;
  let child: ChildProcess | undefined;
  let databases = 0;

  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : [];
  const install = async (): Promise<void> => {
    folder = mkdtempSync(join(tmpdir(), 'mariadb-'));
    mkdirSync(join(folder, 'data'));
    port = await freePort();
    const program = findProgram('mariadb-install-db') ?? '';
    const options = [
      '--no-defaults',
      `--datadir=${join(folder, 'data')}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      ...asRoot,
    ];
    await run(program, options);
    const users = `CREATE USER IF NOT EXISTS bms@'%' IDENTIFIED BY '${password.reveal()}';\nGRANT ALL ON *.* TO bms@'%' WITH GRANT OPTION;\n`;
    writeFileSync(join(folder, 'init.sql'), users, { mode: 0o600 });
  };
  const connect = (database?: string) =>
    mysql.createConnection({
      host: '127.0.0.1',
      port,
      user: 'bms',
      password: password.reveal(),
      connectTimeout: 5000, // ends what a hung server began; it is tried again
      ...(database !== undefined && { database }),
    });
  const serves = (): Promise<boolean> =>
    connect().then(
      async (connection) => {
        await connection.end();
        return true;
      },
      () => false,
    );
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child.kill(signal);
    await gone;
  };
  return {
    password,
    get port() {
      return port;
    },
    get folder() {
      return folder;
    },
    stop,
    signal: (signal) => child?.kill(signal),
    async start(...options) {
      if (folder === '') await install();
      const settings = [
        `--datadir=${join(folder, 'data')}`,
        `--socket=${join(folder, 'socket')}`,
        `--pid-file=${join(folder, 'pid')}`,
        `--init-file=${join(folder, 'init.sql')}`,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
        '--skip-name-resolve',
        '--innodb-buffer-pool-size=32M',
        '--innodb-log-file-size=16M',
        '--performance-schema=off',
      ];
      child = spawn(findProgram('mariadbd') ?? '', ['--no-defaults', ...asRoot, ...settings, ...options], { stdio: 'ignore' });
      const started = child;
      for (let i = 0; i < 400 && started.exitCode === null && !(await serves()); i++)
        await new Promise((resolve) => setTimeout(resolve, 25));
      if (!(await serves())) throw new Error(`MariaDB on port ${port} does not serve (exit code ${started.exitCode})`);
    },
    async database() {
      databases += 1;
      const connection = await connect();
      await connection.query(`CREATE DATABASE nova_bm_${databases}`);
      await connection.end();
      return `mysql://bms@127.0.0.1:${port}/nova_bm_${databases}`;
    },
    async sql<T>(statement: string, database?: string) {
      const connection = await connect(database);
      try {
        const [rows] = await connection.query(statement);
        return rows as T[];
      } finally {
        await connection.end();
      }
    },
    async remove() {
      await stop('SIGKILL');
      if (folder !== '') rmSync(folder, { recursive: true, force: true });
    },
  };
}
