/** bmctl against the API on a real socket of loopback: what it prints, what it ends with, what it never says. */
import { spawn as spawnProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { matchToken, parseTokens, tokenLine } from 'cdk8s-baremetal-runtime/api/index';
import type { HttpServer, Network } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { candidates } from '../../src/cli/commands/completion.ts';
import { parseEvents } from '../../src/cli/commands/follow.ts';
import { exitCode } from '../../src/cli/exit-codes.ts';
import { Harness, PASSWORD } from '../runtime/api/harness.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { certificates } from './certificates.ts';
import { type Ran, runBmctl } from './run-bmctl.ts';

const folder = temporaryFolder();
let harness: Harness;
let server: HttpServer;
let api: string;

beforeEach(async () => {
  folder.create();
  mkdirSync(folder.path('images'));
  await serve(new Harness({ clock: nodeClock, userImages: folder.path('images') }));
});
afterEach(async () => {
  harness.api.close();
  await server.close(0);
  folder.remove();
});

async function serve(next: Harness): Promise<void> {
  if (server) await server.close(0);
  harness = next;
  server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, harness.api.handle);
  api = `http://127.0.0.1:${server.local.port}`;
}

const bmctl = (args: readonly string[], env: Readonly<Record<string, string>> = {}, stdin = ''): Promise<Ran> =>
  runBmctl(args, { BMCTL_API: api, ...env }, stdin);

const ENROL = [
  'enrol',
  'bm-9',
  '--mac',
  '52:54:00:aa:bb:cc',
  '--bmc',
  '192.0.2.9',
  '--user',
  'admin',
  '--cpus',
  '8',
  '--memory',
  '1024',
  '--disk',
  '100',
];

describe('bmctl', () => {
  it.each([
    ['a file', (path: string) => [['--password-file', path], {}, ''] as const],
    ['standard input', () => [['--password-file', '-'], {}, 'correct horse\n'] as const],
    ['the environment', () => [[], { BMCTL_BMC_PASSWORD: 'correct horse' }, ''] as const],
  ])('002-9: enrols with the password from %s', async (_, from) => {
    writeFileSync(folder.path('password'), 'correct horse\n');
    const [args, env, stdin] = from(folder.path('password'));
    const { code, out, err } = await bmctl([...ENROL, ...args], env, stdin);
    expect([code, err]).toEqual([exitCode.done, '']);
    expect(out).toContain('bm-9 is enrolled as number 1');
    const uuid = /\(([0-9a-f-]{36})\)/.exec(out)?.[1] ?? '';
    expect((await harness.secrets.read(`bmc.${uuid}`)).reveal()).toBe('correct horse');
  });

  it('takes no password on the command line, and says where from instead', async () => {
    expect(await bmctl(ENROL)).toMatchObject({ code: exitCode.usage, err: expect.stringContaining('BMCTL_SECRET') });
    expect((await bmctl([...ENROL, '--password', 'x'])).code).toBe(exitCode.usage);
  });

  it('lists, shows, diagnoses, and prints JSON', async () => {
    await harness.image();
    await harness.inUse(1);
    await harness.machine(2);
    expect((await bmctl(['list'])).out).toMatch(/^NAME +STATE[\s\S]*bm-1 +active[\s\S]*bm-2 +available/);
    expect((await bmctl(['list'])).out).toBe((await bmctl(['node', 'list'])).out);
    expect((await bmctl(['list', '--state', 'active'])).out).not.toContain('bm-2');
    expect((await bmctl(['list', '--state', 'rescue, error'])).out).toBe('No machine is like that.');
    expect(JSON.parse((await bmctl(['--json', 'list'])).out).nodes).toHaveLength(2);
    await bmctl(['maintenance', 'on', 'bm-2', '--reason', 'a new fan']);
    expect((await bmctl(['list'])).out).toMatch(/bm-2 +available, maintenance .*a new fan/);
    expect((await bmctl(['show', 'bm-2'])).out).toMatch(/Maintenance +a new fan: nothing changes/);
    expect(JSON.parse((await bmctl(['--json', 'list', '--maintenance'])).out).nodes).toMatchObject([
      { name: 'bm-2', maintenance: true, maintenanceReason: 'a new fan' },
    ]);
    await bmctl(['maintenance', 'off', 'bm-2']);
    expect((await bmctl(['list'])).out).not.toContain('maintenance');
    expect((await bmctl(['show', 'bm-1'])).out).toContain('Instance      host-1');
    expect((await bmctl(['diagnose', 'bm-1'])).out).toContain('bm-1 is active: it is well.');
    expect((await bmctl(['timeline', '1'])).code).toBe(exitCode.done);
    expect((await bmctl(['explain', '52:54:00:00:00:01'])).out).toContain('52:54:00:00:00:01 is bm-1');
    expect((await bmctl(['instance', 'list'])).out).toContain('host-1');
  });

  it('reports a fault and its end, and shows it wherever a machine is shown', async () => {
    await harness.image();
    await harness.inUse(1);
    const reported = await bmctl(['fault', 'bm-1', '--reason', 'its node is not ready']);
    expect(reported).toMatchObject({
      code: exitCode.done,
      out: expect.stringMatching(/^bm-1 has a fault since .*: unhealthy, its node is not ready\.$/),
    });
    expect((await bmctl(['fault', 'bm-1', '--reason', 'again'])).out).toBe(reported.out);
    expect((await bmctl(['list'])).out).toMatch(/bm-1 +active, unhealthy .*its node is not ready/);
    expect((await bmctl(['show', 'bm-1'])).out).toMatch(/Fault +unhealthy since .*: its node is not ready/);
    expect((await bmctl(['diagnose', 'bm-1'])).out).toContain('bmctl fault bm-1 --clear');
    const answer = JSON.parse((await bmctl(['--json', 'fault', 'bm-1', '--reason', 'again'])).out);
    expect(answer.node.fault).toMatchObject({ kind: 'unhealthy', reason: 'its node is not ready', remedies: [] });
    await bmctl(['maintenance', 'on', 'bm-1', '--reason', 'quarantined']);
    expect((await bmctl(['fault', 'bm-1', '--clear'])).out).toBe(
      'bm-1 has no fault; it stays in maintenance (quarantined): bmctl maintenance off bm-1',
    );
    await bmctl(['maintenance', 'off', 'bm-1']);
    expect(await bmctl(['fault', 'bm-1', '--clear'])).toMatchObject({ code: exitCode.done, out: 'bm-1 has no fault.' });
  });

  it.each([
    [['fault', 'bm-1', '--reason', 'not ready'], exitCode.refused, 'MACHINE_NOT_IN_USE'],
    [['fault', 'nowhere', '--clear'], exitCode.notFound, 'API_NO_NODE'],
    [['fault', 'bm-1'], exitCode.usage, 'BMCTL_NO_REASON'],
    [['fault', 'bm-1', '--clear', '--reason', 'x'], exitCode.usage, 'cannot be used with'],
    [['show', 'nowhere'], exitCode.notFound, 'API_NO_NODE'],
    [['reboot', 'bm-1'], exitCode.refused, 'MACHINE_WRONG_STATE'],
    [['enrol'], exitCode.usage, 'required option'],
    [['flavor', 'add', 'f', '--cpus', '1', '--memory', '1', '--disk', '1', '--spec', 'rack'], exitCode.usage, 'It must be key=value.'],
    [['lsit'], exitCode.usage, 'list'],
    [['clean', 'bm-1'], exitCode.refused, '--plan'],
    [['destroy', 'bm-1'], exitCode.refused, 'MACHINE_WRONG_STATE'],
    [['delete', 'nowhere'], exitCode.notFound, 'API_NO_NODE'],
    [['--api', 'nonsense', 'list'], exitCode.usage, 'BMCTL_API_URL: "nonsense" is no address of an API. Write --api'],
    [['--api', 'ftp://x', 'list'], exitCode.usage, 'BMCTL_API_URL'],
    [['--ca', '/nowhere.pem', 'list'], exitCode.usage, 'BMCTL_SECRET_FILE: /nowhere.pem cannot be read: ENOENT. Check the path'],
    [['db', 'import', '/nowhere.jsonl', '--store', 'memory://'], exitCode.usage, '/nowhere.jsonl cannot be read: ENOENT'],
    [['--api', 'http://127.0.0.1:1', 'list'], exitCode.noAnswer, 'BMCTL_NO_ANSWER'],
    [['interface', 'add', 'bm-1', 'x'], exitCode.usage, 'API_INVALID'],
    [['list', '--state', 'activ'], exitCode.usage, 'state: "activ" is none, did you mean active?'],
    [['show', 'a/b'], exitCode.notFound, 'docs/api.md has the paths'],
    [['--token-file', '/nowhere', 'list'], exitCode.usage, 'BMCTL_SECRET_FILE'],
  ])('%j ends with %i', async (args, code, said) => {
    await harness.machine(1);
    const ran = await bmctl(args as string[]);
    expect(ran).toMatchObject({ code, err: expect.stringContaining(said as string) });
  });

  it('with tokens: 4 without one and with a low one, done with the right one, from file or environment', async () => {
    const tokens = { current: () => parseTokens(`${tokenLine('r', 'reader', 'bms_r')}\n${tokenLine('a', 'admin', 'bms_a')}`) };
    await serve(new Harness({ clock: nodeClock, tokens }));
    await harness.machine(1);
    writeFileSync(folder.path('token'), 'bms_a\n');
    expect((await bmctl(['list'])).code).toBe(exitCode.notAllowed);
    expect((await bmctl(['maintenance', 'on', 'bm-1'], { BMCTL_TOKEN: 'bms_r' })).code).toBe(exitCode.notAllowed);
    expect((await bmctl(['list'], { BMCTL_TOKEN: 'bms_r' })).code).toBe(exitCode.done);
    expect((await bmctl(['--token-file', folder.path('token'), 'maintenance', 'on', 'bm-1'])).code).toBe(exitCode.done);
  });

  it('destroys nothing without a look or a yes; the plan that was read is enough', async () => {
    await harness.image();
    const { uuid } = await harness.inUse(1);
    const looked = await bmctl(['destroy', 'bm-1']);
    expect(looked.code).toBe(exitCode.refused);
    expect(looked.out).toContain('end host-1: power off');
    expect((await bmctl(['show', 'bm-1'])).out).toContain('host-1');
    const hash = /--plan ([0-9a-f]+)/.exec(looked.err)?.[1] ?? '';
    expect((await bmctl(['destroy', 'bm-1', '--plan', 'f00'])).code).toBe(exitCode.refused);
    expect((await bmctl(['destroy', 'bm-1', '--plan', hash])).code).toBe(exitCode.done);
    expect((await harness.change(uuid, (node) => node)).request?.verb).toBe('destroy');
  });

  it.each([
    ['active', exitCode.done, 'web-1 is ACTIVE on bm-1.', ''],
    ['error', exitCode.deployFailed, '', 'no POST'],
  ] as const)('deploy --wait follows to the end: %s', async (end, code, out, err) => {
    await harness.image();
    const { uuid } = await harness.machine(1);
    await harness.api.start();
    const deployed = bmctl(['deploy', 'web-1', '--image', 'image-1', '--node', 'bm-1', '--yes', '--wait', '--timeout', '20']);
    const instance = (): Promise<boolean> => harness.change(uuid, (node) => node).then((node) => node.instance !== undefined);
    while (!(await instance())) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const state of ['building', 'deploying', end] as const) {
      await harness.change(uuid, (node) => ({
        ...node,
        state,
        reason: `it is ${state}`,
        ...(state === 'error' && {
          lastFailure: { state: 'prepared' as const, reason: 'no POST from the ramdisk', at: 0, cleanupErrors: [] },
        }),
      }));
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    const ran = await deployed;
    expect(ran).toMatchObject({ code, out: expect.stringContaining(out) });
    expect(ran.err).toContain(err);
    expect(ran.err).toContain('bm-1 is ');
  });

  it('destroy --wait tells the machine as it is by then, in JSON too', async () => {
    await harness.image();
    const { uuid } = await harness.inUse(1);
    await harness.api.start();
    const destroyed = bmctl(['--json', 'destroy', 'bm-1', '--yes', '--wait', '--timeout', '20']);
    const asked = (): Promise<boolean> => harness.change(uuid, (node) => node).then((node) => node.request !== undefined);
    while (!(await asked())) await new Promise((resolve) => setTimeout(resolve, 5));
    await harness.change(uuid, ({ request: _, instance: __, ...node }) => ({ ...node, state: 'deleted', reason: 'destroyed' }));
    const { code, out } = await destroyed;
    expect(code).toBe(exitCode.done);
    expect(JSON.parse(out)).toMatchObject({ name: 'bm-1', state: 'deleted' });
    expect(JSON.parse(out)).not.toHaveProperty('instance');
  });

  it('gives up waiting with 124, and the machine goes on', async () => {
    await harness.image();
    await harness.machine(1);
    const { code, err } = await bmctl(['deploy', 'w', '-i', 'image-1', '-n', 'bm-1', '-y', '-w', '--timeout', '1']);
    expect([code, err]).toEqual([exitCode.timeout, expect.stringContaining('BMCTL_TIMEOUT')]);
  });

  it('002-10: deploy --wait is not misled by a replica that has not heard of the deployment yet', async () => {
    await harness.image();
    const { uuid } = await harness.machine(1);
    const before = await nodeNetwork.request({ method: 'GET', url: `${api}/v1/events?node=${uuid}&once=true` });
    let asked = 0;
    const network: Network = Object.create(nodeNetwork);
    network.request = async (request) => {
      if (!request.url.includes('/v1/events')) return nodeNetwork.request(request);
      asked += 1;
      if (asked === 1) return before;
      await harness.change(uuid, (node) => ({ ...node, state: 'active', reason: 'web-1 boots' }));
      return nodeNetwork.request(request);
    };
    const words = ['deploy', 'web-1', '-i', 'image-1', '-n', 'bm-1', '-y', '-w', '--timeout', '60'];
    expect(await runBmctl(words, { BMCTL_API: api }, '', { network })).toMatchObject({
      code: exitCode.done,
      out: 'web-1 is ACTIVE on bm-1.',
    });
  });

  it('002-10: deploy --wait outlives a restart of bms-core in the middle', async () => {
    await harness.image();
    const { uuid } = await harness.machine(1);
    await harness.api.start();
    const notes: string[] = [];
    const heard = Promise.withResolvers<void>();
    const deployed = runBmctl(['deploy', 'web-1', '-i', 'image-1', '-n', 'bm-1', '-y', '-w', '--timeout', '60'], { BMCTL_API: api }, '', {
      note: (line) => {
        notes.push(line);
        if (line.startsWith('bm-1 is ') || line.includes('asking until')) heard.resolve();
      },
    });
    await heard.promise;
    const { port } = server.local;
    await server.close(0);
    while (!notes.some((line) => line.includes('asking until it does'))) await new Promise((resolve) => setTimeout(resolve, 5));
    server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port }, harness.api.handle);
    await harness.change(uuid, (node) => ({ ...node, state: 'active', reason: 'web-1 boots' }));
    expect(await deployed).toMatchObject({ code: exitCode.done, out: 'web-1 is ACTIVE on bm-1.' });
    expect(notes.filter((line) => line.includes('asking until it does'))).toHaveLength(1);
  });

  it.each([
    ['no TLS at all', {}, 'BMCTL_NO_TLS: what listens at https://127.0.0.1:'],
    [
      'a certificate of an authority that is not known',
      { tls: 'now' },
      'is not believed, and nothing was sent: self-signed certificate. Give the authority',
    ],
    ['an expired certificate', { tls: 'expired', ca: true }, 'certificate has expired. Renew the file of [api] tls_cert'],
    ['a certificate of another name', { tls: 'elsewhere', ca: true }, 'Ask by a name or an address that the certificate carries'],
    ['a file of authorities that holds none', { tls: 'now', ca: 'garbage' }, 'holds no certificate in PEM'],
  ] as const)(
    'a certificate is judged, and the cure fits: %s',
    async (_, given: { tls?: keyof typeof certificates; ca?: unknown }, said) => {
      if (given.tls !== undefined) {
        await server.close(0);
        server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0, tls: certificates[given.tls] }, harness.api.handle);
      }
      writeFileSync(folder.path('ca.pem'), given.ca === 'garbage' || given.tls === undefined ? 'x' : certificates[given.tls].cert);
      const where = ['--api', `https://127.0.0.1:${server.local.port}`, ...(given.ca === undefined ? [] : ['--ca', folder.path('ca.pem')])];
      const { code, err } = await bmctl([...where, 'list'], { BMCTL_TOKEN: 'bms_geheim' });
      expect([code, err]).toEqual([given.ca === 'garbage' ? exitCode.usage : exitCode.noAnswer, expect.stringContaining(said)]);
      expect(err).not.toMatch(/npm run demo|geheim|\n/);
    },
  );

  it.each([
    ['', 'nothing'],
    ['two words', 'several words or lines'],
    ['geheim\nnoch eins', 'several words or lines'],
    ['gehéim', 'other characters than ASCII'],
  ])('a token that can be none is refused before it is sent, and not told: %j', async (text, why) => {
    writeFileSync(folder.path('token'), text);
    const { code, err } = await bmctl(['--token-file', folder.path('token'), 'list']);
    expect([code, err]).toEqual([exitCode.usage, expect.stringContaining(`token of the API: ${why}`)]);
    expect(err).not.toContain('geh');
    expect((await bmctl(['list'], { BMCTL_TOKEN: '' })).code).toBe(exitCode.done);
  });

  it('002-10: a flavor that nothing fits is told machine by machine', async () => {
    await harness.image();
    await harness.machine(1);
    await bmctl(['flavor', 'add', 'huge', '--cpus', '512', '--memory', '1', '--disk', '1']);
    const { code, err } = await bmctl(['deploy', 'w', '-i', 'image-1', '-f', 'huge', '--yes']);
    expect(code).toBe(exitCode.refused);
    expect(err).toContain('bm-1: it has 32 CPUs, wanted 512');
  });

  it('adds an image with the digest of its file', async () => {
    writeFileSync(folder.path('images/debian'), Buffer.alloc(4096, 1));
    expect((await bmctl(['image', 'add', 'debian'])).out).toMatch(/^debian: raw, 4096 bytes, SHA-256 [0-9a-f]{64}$/);
    expect((await bmctl(['image', 'list'])).out).toContain('debian');
    expect((await bmctl(['image', 'add', 'nothing'])).code).toBe(exitCode.notFound);
  });

  it('makes tokens that are printed once and kept as hashes, in a file that nobody else reads', async () => {
    const file = folder.path('tokens');
    const { out } = await bmctl(['token', 'create', 'ci', '--role', 'operator', '--file', file]);
    expect(out).toMatch(/^bms_[\w-]{43}$/);
    const text = readFileSync(file, 'utf8');
    expect(text).not.toContain(out);
    expect(matchToken(parseTokens(text), out)).toMatchObject({ name: 'ci', role: 'operator' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await bmctl(['token', 'create', 'ci', '--role', 'admin', '--file', file])).toMatchObject({
      code: exitCode.refused,
      out: '',
      err: expect.stringContaining(`BMCTL_TOKEN_TAKEN: ${file} has a token of the name ci already`),
    });
    expect((await bmctl(['token', 'create', 'two words', '--role', 'admin', '--file', file])).code).toBe(exitCode.usage);
    expect(readFileSync(file, 'utf8')).toBe(text);
    writeFileSync(file, `# the team\n${text.trimEnd()}`); // as an editor leaves it that ends no last line
    const { out: second } = await bmctl(['token', 'create', 'cd', '--role', 'reader', '--file', file]);
    expect(parseTokens(readFileSync(file, 'utf8')).map(({ name }) => name)).toEqual(['ci', 'cd']);
    expect(matchToken(parseTokens(readFileSync(file, 'utf8')), second)?.name).toBe('cd');
    writeFileSync(file, 'junk\n');
    expect(await bmctl(['token', 'create', 'x', '--role', 'reader', '--file', file])).toMatchObject({
      code: exitCode.usage,
      err: expect.stringContaining('line 1 is not'),
    });
    expect((await bmctl(['token', 'create', 'x', '--role', 'root'])).code).toBe(exitCode.usage);
  });

  it('002-6: db sync, version, export and import of an SQLite store', async () => {
    const url = (name: string) => `sqlite:///${folder.path(name)}`;
    expect((await bmctl(['db', 'sync', '--store', url('a.db')])).out).toMatch(/^The schema has version \d+\.$/);
    expect((await bmctl(['db', 'sync', '--store', url('a.db')])).code).toBe(exitCode.done);
    expect((await bmctl(['db', 'version', '--store', url('a.db')])).out).toMatch(/^\d+$/);
    expect((await bmctl(['db', 'export', '--store', url('a.db'), '-o', folder.path('dump')])).code).toBe(exitCode.done);
    expect((await bmctl(['db', 'import', folder.path('dump'), '--store', url('b.db')])).out).toContain('0 records created');
    expect((await bmctl(['db', 'version', '--config', folder.path('none.ini')])).code).toBe(exitCode.usage);
    expect(await bmctl(['db', 'export', '--store', url('misspelt.db'), '-o', folder.path('dump2')])).toMatchObject({
      code: exitCode.notFound,
      err: expect.stringContaining('BMCTL_NO_STORE: there is no store at sqlite:'),
    });
    expect([existsSync(folder.path('misspelt.db')), existsSync(folder.path('dump2'))]).toEqual([false, false]);
    expect(await bmctl(['db', 'sync', '--store', 'nonsense'])).toMatchObject({
      code: exitCode.usage,
      err: expect.stringContaining('STORE_URL'),
    });
  });

  it('a folder where a file is meant, and what cannot be written, are named', async () => {
    const here = folder.path('');
    const none = folder.path('none', 'dump');
    const refused = (why: string) => ({ code: exitCode.usage, err: expect.stringContaining(why) });
    const read = `BMCTL_SECRET_FILE: ${here} cannot be read: EISDIR`;
    expect(await bmctl(['--ca', here, 'list'])).toMatchObject(refused(read));
    expect(await bmctl(['preflight', '--config', here])).toMatchObject(refused(read));
    expect(await bmctl(['db', 'sync', '--config', here])).toMatchObject(refused(read));
    expect(await bmctl(['db', 'import', here, '--store', 'memory://'])).toMatchObject(refused(read));
    expect(await bmctl(['token', 'create', 'x', '--role', 'reader', '--file', here])).toMatchObject(refused(read));
    const unwritten = refused(`BMCTL_FILE_NOT_WRITTEN: ${none} cannot be written: ENOENT`);
    expect(await bmctl(['db', 'export', '--store', 'memory://', '-o', none])).toMatchObject(unwritten);
    expect(await bmctl(['token', 'create', 'x', '--role', 'reader', '--file', none])).toMatchObject(unwritten);
  });

  it('a backup that is none is a wrong input, and one that the store has moved on from is refused', async () => {
    const store = `sqlite:///${folder.path('s.db')}`;
    const backup = (value: number): string =>
      `${[
        { format: 'bms-records', version: 1, at: 'x' },
        { kind: 'k', id: '1', value },
        { end: true, records: 1 },
      ]
        .map((line) => JSON.stringify(line))
        .join('\n')}\n`;
    const restored = async (text: string) => {
      writeFileSync(folder.path('dump'), text);
      const { code, err } = await bmctl(['db', 'import', folder.path('dump'), '--store', store]);
      return [code, err.split(':')[0]];
    };
    expect(await restored(backup(1))).toEqual([exitCode.done, '']);
    expect(await restored(backup(2))).toEqual([exitCode.refused, 'STORE_IMPORT_CONFLICT']);
    expect(await restored('{}\n')).toEqual([exitCode.usage, 'STORE_IMPORT_LINE']);
  });

  it('instance list shows those of every page', async () => {
    const one = { uuid: 'u', imageId: 'i', node: { name: 'bm', state: 'active' } };
    const request: typeof nodeNetwork.request = async ({ url }) => {
      const second = new URL(url).searchParams.get('cursor') === '2';
      const page = second ? { instances: [{ ...one, name: 'b' }] } : { instances: [{ ...one, name: 'a' }], next: '2' };
      return { status: 200, headers: {}, body: Buffer.from(JSON.stringify(page)) };
    };
    const listed = (...flags: string[]) => runBmctl([...flags, 'instance', 'list'], {}, '', { network: { ...nodeNetwork, request } });
    expect((await listed()).out.split('\n').map((line) => line.split(' ')[0])).toEqual(['NAME', 'a', 'b']);
    expect(JSON.parse((await listed('--json')).out)).toEqual({
      instances: [expect.objectContaining({ name: 'a' }), expect.objectContaining({ name: 'b' })],
    });
  });

  it('flavor add takes several --spec, each with one or several values', async () => {
    const flags = ['--cpus', '1', '--memory', '1', '--disk', '1', '--spec', 'rack=r1', 'room=a', '--spec', 'gpu=a=b'];
    expect((await bmctl(['flavor', 'add', 'f', ...flags])).code).toBe(exitCode.done);
    expect(JSON.parse((await bmctl(['--json', 'flavor', 'show', 'f'])).out).extraSpecs).toEqual({ rack: 'r1', room: 'a', gpu: 'a=b' });
  });

  it('completes commands, options and names of machines', async () => {
    await harness.machine(1);
    const complete = async (...words: string[]) => (await bmctl(['__complete', '--', ...words])).out.split('\n');
    expect(await complete('pow')).toEqual(['power']);
    expect(await complete('power', 'o')).toEqual(['on', 'off']);
    expect(await complete('show', 'bm')).toEqual(['bm-1']);
    expect(await complete('destroy', '--y')).toEqual(['--yes']);
    for (const shell of ['bash', 'zsh', 'fish']) expect((await bmctl(['completion', shell])).out).toContain('bmctl __complete');
    expect(candidates).toBeTypeOf('function');
  });

  it('reads events as the API writes them', () => {
    expect(parseEvents(': heartbeat\nid: a.1\n\n')).toEqual({ id: 'a.1', events: [] });
    expect(parseEvents('retry: 1000\nid: a.1\n\nid: a.2\nevent: reset\ndata: {"type":"reset","reason":"x"}\n\n')).toEqual({
      id: 'a.2',
      events: [{ type: 'reset', reason: 'x' }],
    });
  });

  it('preflight finds what would stop the first boot', async () => {
    for (const part of ['boot', 'boot/deploy', 'boot/images']) mkdirSync(folder.path(part));
    for (const file of ['pxelinux.0', 'ldlinux.c32', 'deploy/deploy_kernel', 'deploy/deploy_ramdisk'])
      writeFileSync(folder.path('boot', file), 'x');
    const ports = { dhcp: 21067, tftp: 21069, http: 21082, helper: 21000 };
    const ini = (extra = '') =>
      `[DEFAULT]\nserver_port = 21081\n[pxe]\ntftpboot_dir = ${folder.path('boot')}\ndeploy_image_dir = ${folder.path('boot/deploy')}\nuser_image_dir = ${folder.path('boot/images')}\n` +
      `[sw_coordination]\nbackend_url = memory://\n[api]\naddress = 127.0.0.1\n[dhcp]\nenabled = false\nserver_ip = 127.0.0.1\nport = ${ports.dhcp}\n${extra}` +
      `[tftp]\naddress = 127.0.0.1\nport = ${ports.tftp}\n[http_boot]\naddress = 127.0.0.1\nport = ${ports.http}\n[deploy_helper]\naddress = 127.0.0.1\nport = ${ports.helper}\n`;
    const config = folder.path('core.ini');
    writeFileSync(config, ini());
    const fine = await bmctl(['preflight', '--config', config]);
    expect([fine.out, fine.code]).toEqual([expect.not.stringContaining('BAD'), exitCode.done]);
    writeFileSync(config, ini('interfaces = vlan1800x\n'));
    writeFileSync(folder.path('boot/pxelinux.0'), '');
    const taken = await nodeNetwork.listen({ address: '127.0.0.1', port: ports.helper }, (one) => one.destroy());
    const found = await bmctl(['preflight', '--config', config]);
    await taken.close();
    expect(found.code).toBe(exitCode.preflight);
    for (const said of [
      'there is no interface vlan1800x',
      'pxelinux.0 is empty',
      'deploy-helper on 127.0.0.1:21000/tcp cannot be used (EADDRINUSE)',
    ])
      expect(found.out).toContain(said);
  });

  it('says no secret, whatever it is asked', async () => {
    await harness.machine(1);
    const said: string[] = [];
    for (const args of [
      ['--json', 'show', 'bm-1'],
      ['show', 'bm-1'],
      ['--json', 'list'],
      ['timeline', 'bm-1'],
      ['--json', 'explain', 'bm-1'],
      ['diagnose', 'bm-1'],
    ]) {
      const { out, err } = await bmctl(args, { BMCTL_TOKEN: 'bms_secret_token', BMCTL_BMC_PASSWORD: PASSWORD });
      said.push(out, err);
    }
    for (const secret of [PASSWORD, 'bms_secret_token']) expect([...said, ...harness.emitted].join('\n')).not.toContain(secret);
  });

  it('is a program: exit code, standard output and standard error of a process of its own', async () => {
    await harness.machine(1);
    const run = (args: string[]): Promise<Ran> =>
      new Promise((resolve) => {
        const child = spawnProcess(process.execPath, ['--import', 'tsx', 'src/cli/bmctl.ts', ...args], {
          env: { ...process.env, BMCTL_API: api },
        });
        let [out, err] = ['', ''];
        child.stdout.on('data', (data) => (out += data));
        child.stderr.on('data', (data) => (err += data));
        child.on('close', (code) => resolve({ code: code ?? -1, out, err }));
      });
    const [list, missing, help] = await Promise.all([run(['list']), run(['show', 'nowhere']), run(['--help'])]);
    expect(list).toMatchObject({ code: 0, err: '', out: expect.stringContaining('bm-1') });
    expect(missing).toMatchObject({ code: exitCode.notFound, out: '', err: expect.stringContaining('API_NO_NODE') });
    expect(help.out).toContain('preflight');
  });

  it('ends with its code also where nobody reads what it has to say, as before `| head -1`', async () => {
    const child = spawnProcess(process.execPath, ['--import', 'tsx', 'src/cli/bmctl.ts', 'power', 'cycle'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.destroy();
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(exitCode.usage);
  });

  it('runs where the shell stands, whatever folder that is', async () => {
    const ran = await new Promise<Ran>((resolve) => {
      const child = spawnProcess(process.execPath, [fileURLToPath(new URL('../../src/cli/bmctl.ts', import.meta.url)), '--help'], {
        cwd: '/',
      });
      let [out, err] = ['', ''];
      child.stdout.on('data', (data) => (out += data));
      child.stderr.on('data', (data) => (err += data));
      child.on('close', (code) => resolve({ code: code ?? -1, out, err }));
    });
    expect(ran).toMatchObject({ code: 0, err: '', out: expect.stringContaining('preflight') });
  });
});
