/**
 * Accounts and catalog on OpenStack's own Keystone, from Debian, which brings its tables up in a database that the operator made: what it
 * accepts, and that a second pass writes nothing.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Secret } from 'cdk8s-baremetal-contract';
import { keystoneAdmin } from 'cdk8s-baremetal-contract/onecloud/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IdentityServer, IdentitySession } from '../../../src/operator/onecloud/identity.ts';
import { keystoneIdentity } from '../../../src/operator/onecloud/keystone-identity.ts';
import { mysqlDatabases } from '../../../src/operator/onecloud/mysql-databases.ts';
import type { Network } from '../../../src/runtime/core/network.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { type MariaDb, mariaDb, missingForMariaDb } from '../../runtime/store/maria-db.ts';
import { freePort } from '../../support/free-port.ts';
import { findProgram } from '../../support/netns.ts';

const absent = ['keystone-manage', 'keystone-wsgi-public'].filter((name) => findProgram(name) === undefined);
const missing = absent.length > 0 ? `${absent.join(', ')} missing (Debian package python3-keystone)` : missingForMariaDb();
if (missing !== undefined) console.warn(`SKIPPED: accounts and endpoints on Keystone: ${missing}`);
const run = promisify(execFile);

describe.skipIf(missing !== undefined)('Keystone itself', () => {
  let folder: string;
  let database: MariaDb;
  let child: ChildProcess | undefined;
  let port: number;
  const password = new Secret(randomBytes(12).toString('hex'));
  const requests: string[] = [];
  const network: Pick<Network, 'request'> = {
    request: (request) => {
      requests.push(`${request.method} ${new URL(request.url).pathname}`);
      return nodeNetwork.request(request);
    },
  };
  const identity = keystoneIdentity({ network: network as Network, clock: nodeClock, answerMs: 20_000 });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'keystone-'));
    database = mariaDb();
    await database.start();
    const account = { database: 'keystone', user: 'keystone', password: new Secret(randomBytes(12).toString('hex')) };
    const root = { host: '127.0.0.1', port: database.port, user: 'bms', password: database.password, source: 'the test' };
    const session = await mysqlDatabases({ clock: nodeClock }).open(root, new AbortController().signal);
    await session.ensure(account);
    await session.close();
    port = await freePort();
    const file = join(folder, 'keystone.conf');
    const keys = ['fernet', 'credential'].map((name) => join(folder, name));
    for (const path of keys) mkdirSync(path, { mode: 0o700 });
    const lines = [
      '[DEFAULT]',
      'use_stderr = false',
      '[database]',
      `connection = mysql+pymysql://keystone:${account.password.reveal()}@127.0.0.1:${database.port}/keystone?charset=utf8`,
      '[identity]',
      'password_hash_rounds = 4',
      '[fernet_tokens]',
      `key_repository = ${keys[0]}`,
      '[credential]',
      `key_repository = ${keys[1]}`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
    const manage = (...args: string[]) =>
      run(findProgram('keystone-manage') ?? '', ['--config-file', file, ...args], {
        env: { ...process.env, OS_BOOTSTRAP_PASSWORD: password.reveal() },
        timeout: 60_000,
      });
    const { uid, gid } = { uid: String(process.getuid?.() ?? 0), gid: String(process.getgid?.() ?? 0) };
    await manage('db_sync');
    await manage('fernet_setup', '--keystone-user', uid, '--keystone-group', gid);
    const { user, project } = keystoneAdmin;
    await manage('bootstrap', '--bootstrap-username', user, '--bootstrap-project-name', project);
    const program = findProgram('keystone-wsgi-public') ?? '';
    child = spawn(program, ['-b', '127.0.0.1', '-p', String(port), '--', '--config-file', file], { stdio: 'ignore' });
    for (let tries = 0; tries < 200; tries++) {
      const answer = await nodeNetwork.request({ url: `http://127.0.0.1:${port}/v3` }).catch(() => undefined);
      if (answer?.status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`Keystone on port ${port} does not serve`);
  }, 180_000);
  afterAll(async () => {
    child?.kill('SIGKILL');
    await database?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  const server = (change: Partial<IdentityServer> = {}): IdentityServer => ({
    ...keystoneAdmin,
    url: `http://127.0.0.1:${port}/v3`,
    ca: '',
    password,
    secret: 'default-keystone-credentials',
    ...change,
  });
  const open = (change: Partial<IdentityServer> = {}): Promise<IdentitySession> =>
    identity.open(server(change), new AbortController().signal);
  const glance = (secret: string) => ({ user: 'glance', password: new Secret(secret), role: keystoneAdmin.role });
  const writes = (): string[] => requests.filter((request) => !/^(GET|HEAD) |\/auth\/tokens$/.test(request));

  it('004-2: takes accounts, their passwords and roles', { timeout: 60_000 }, async () => {
    expect(await (await open()).ensureAccount(glance('first-password'))).toBe('made');
    await open({ user: 'glance', password: new Secret('first-password') }); // scoped to the project, so it has a role there
    expect(await (await open()).ensureAccount(glance('second-password'))).toBe('changed');
    await open({ user: 'glance', password: new Secret('second-password') });
    await expect(open({ user: 'glance', password: new Secret('first-password') })).rejects.toMatchObject({
      code: 'ONECLOUD_IDENTITY_LOGIN',
    });
    const before = writes().length;
    expect(await (await open()).ensureAccount(glance('second-password'))).toBe('unchanged');
    expect(writes().length).toBe(before);
  });

  it('004-2: takes regions, services and endpoints, which its catalog then tells', { timeout: 60_000 }, async () => {
    const endpoints = (host: string) => ({
      service: 'glance',
      type: 'image',
      region: 'region0',
      urls: { internal: `https://${host}:30292/v1`, public: 'https://10.0.0.1:30292/v1' },
    });
    expect(await (await open()).ensureEndpoints(endpoints('default-glance'))).toBe('made');
    const before = writes().length;
    expect(await (await open()).ensureEndpoints(endpoints('default-glance'))).toBe('unchanged');
    expect(writes().length).toBe(before);
    expect(await (await open()).ensureEndpoints(endpoints('moved'))).toBe('changed');
    expect(
      writes()
        .slice(before)
        .map((request) => request.split(' ')[0]),
    ).toEqual(['PATCH']);
    const auth = {
      identity: {
        methods: ['password'],
        password: { user: { name: 'sysadmin', domain: { name: 'Default' }, password: password.reveal() } },
      },
      scope: { project: { name: 'system', domain: { name: 'Default' } } },
    };
    const answer = await nodeNetwork.request({
      method: 'POST',
      url: `http://127.0.0.1:${port}/v3/auth/tokens`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ auth }),
    });
    const { token } = JSON.parse(Buffer.from(answer.body).toString());
    const image = token.catalog.find(({ name }: { name: string }) => name === 'glance');
    const faces = image.endpoints.map((one: Record<string, string>) => [one.interface, one.region_id, one.url]);
    expect(faces.sort()).toEqual([
      ['internal', 'region0', 'https://moved:30292/v1'],
      ['public', 'region0', 'https://10.0.0.1:30292/v1'],
    ]);
  });
});
