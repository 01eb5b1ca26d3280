/** Accounts and catalog in Keystone: over TLS against the API that Keystone publishes, and as a part of the operator's passes. */
import { inspect } from 'node:util';
import { CodedError, Secret } from 'cdk8s-baremetal-contract';
import { catalog, resolveCluster } from 'cdk8s-baremetal-contract/onecloud/index';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { makeAuthority, makeServiceCertificate } from '../../../src/operator/onecloud/certificates.ts';
import type { Identity, IdentityServer, IdentitySession } from '../../../src/operator/onecloud/identity.ts';
import { endpointsOf } from '../../../src/operator/onecloud/identity-step.ts';
import { keystoneIdentity } from '../../../src/operator/onecloud/keystone-identity.ts';
import type { HttpServer, Network } from '../../../src/runtime/core/network.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';
import { CORRECTED } from '../../contract/onecloud/seed.ts';
import { FakeKeystone } from './fake-keystone.ts';
import { Lab, NAMESPACE } from './lab.ts';

const surroundings = { clock: nodeClock, random: nodeRandom };
const authority = makeAuthority('keystone', surroundings);
const tls = (() => {
  const { certificate, key } = makeServiceCertificate(authority, ['127.0.0.1'], surroundings);
  return { cert: certificate, key };
})();
const ADMIN = 'admin-pass-3381';
const never = new AbortController().signal;

describe('Keystone', () => {
  let keystone: FakeKeystone;
  let http: HttpServer;
  beforeEach(async () => {
    keystone = new FakeKeystone(ADMIN);
    http = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0, tls }, keystone.handler);
  });
  afterEach(() => http.close());

  const identity = keystoneIdentity({ network: nodeNetwork, clock: nodeClock, answerMs: 2_000 });
  const server = (change: Partial<IdentityServer> = {}): IdentityServer => ({
    url: `https://127.0.0.1:${http.local.port}/v3`,
    ca: authority.certificate,
    user: 'sysadmin',
    domain: 'Default',
    project: 'system',
    password: new Secret(ADMIN),
    secret: 'default-keystone-credentials',
    ...change,
  });
  const open = (change: Partial<IdentityServer> = {}): Promise<IdentitySession> => identity.open(server(change), never);
  const glance = (password = 'first-7710') => ({ user: 'glance', password: new Secret(password), role: 'admin' });
  const endpoints = (host = 'default-glance') => ({
    service: 'glance',
    type: 'image',
    region: 'region0',
    urls: { internal: `https://${host}:30292/v1`, public: 'https://10.0.0.1:30292/v1' },
  });
  const failure = async (work: () => Promise<unknown>): Promise<CodedError> => {
    const error = await work().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof CodedError)) throw new Error(`no coded error: ${inspect(error)}`);
    return error;
  };

  it('makes an account that can log in, once', async () => {
    expect(await (await open()).ensureAccount(glance())).toBe('made');
    expect(await open({ user: 'glance', password: new Secret('first-7710') })).toBeDefined();
    const before = keystone.writes.length;
    expect(await (await open()).ensureAccount(glance())).toBe('unchanged');
    expect(keystone.writes.length).toBe(before);
  });

  it('brings a changed password and a lost role back', async () => {
    await (await open()).ensureAccount(glance());
    expect(await (await open()).ensureAccount(glance('second-5501'))).toBe('changed');
    expect(keystone.find('users', 'glance')?.password).toBe('second-5501');
    for (const one of [...keystone.assignments])
      if (one.includes(` ${keystone.find('users', 'glance')?.id} `)) keystone.assignments.delete(one);
    expect(await (await open()).ensureAccount(glance('second-5501'))).toBe('changed');
    expect(await (await open()).ensureAccount(glance('second-5501'))).toBe('unchanged');
  });

  it('registers region, service and endpoints, once; a changed address changes that one endpoint', async () => {
    const session = await open();
    expect(await session.ensureEndpoints(endpoints())).toBe('made');
    expect(keystone.all('endpoints').map(({ interface: face, url, region_id }) => [face, url, region_id])).toEqual([
      ['internal', 'https://default-glance:30292/v1', 'region0'],
      ['public', 'https://10.0.0.1:30292/v1', 'region0'],
    ]);
    expect(await session.ensureEndpoints({ ...endpoints(), service: 'region2', type: 'compute_v2' })).toBe('made');
    expect([keystone.all('regions').length, keystone.all('services').length]).toEqual([1, 2]);
    const before = keystone.writes.length;
    expect(await (await open()).ensureEndpoints(endpoints())).toBe('unchanged');
    expect(keystone.writes.length).toBe(before);
    expect(await (await open()).ensureEndpoints(endpoints('other-glance'))).toBe('changed');
    expect(keystone.writes.length).toBe(before + 1);
    expect(keystone.all('endpoints')).toHaveLength(4);
  });

  it('switches off the endpoints of a service that is disabled, and those alone; it comes back as it was', async () => {
    await (await open()).ensureEndpoints(endpoints());
    const service_id = keystone.find('services', 'glance')?.id;
    keystone.add('endpoints', {
      service_id,
      interface: 'internal',
      region_id: 'region9',
      url: 'https://default-glance:30292/v1',
      enabled: true,
    });
    const before = structuredClone(keystone.all('endpoints'));
    const outside = keystone.all('endpoints').find((one) => one.interface === 'public');
    if (outside) outside.url = 'https://glance.example.net'; // somebody sends people elsewhere
    expect(await (await open()).withdrawEndpoints(endpoints())).toBe('changed');
    expect(keystone.all('endpoints').map(({ interface: face, region_id, enabled }) => [face, region_id, enabled])).toEqual(
      before.map(({ interface: face, region_id }) => [face, region_id, face !== 'internal' || region_id !== 'region0']),
    );
    const { length } = keystone.writes;
    expect(await (await open()).withdrawEndpoints(endpoints())).toBe('unchanged');
    expect(await (await open()).withdrawEndpoints({ ...endpoints(), service: 'nobody' })).toBe('unchanged');
    expect(keystone.writes).toHaveLength(length);
    expect(await (await open()).ensureEndpoints(endpoints())).toBe('changed');
    expect(keystone.all('endpoints')).toEqual(before);
  });

  it('refuses a list that is cut off, instead of making what it does not see a second time', async () => {
    keystone.fault = ({ method, path }) =>
      method === 'GET' && path === '/v3/services'
        ? { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{"services":[],"truncated":true}') }
        : undefined;
    const error = await failure(async () => (await open()).ensureEndpoints(endpoints()));
    expect(error.message).toContain('refuses to list services: it is cut off');
    expect(keystone.all('services')).toEqual([]);
  });

  it('leaves endpoints of other regions and interfaces alone', async () => {
    const service = keystone.add('services', { type: 'image', name: 'glance' });
    keystone.add('regions', { id: 'elsewhere' });
    const theirs = keystone.add('endpoints', {
      service_id: service.id,
      interface: 'internal',
      region_id: 'elsewhere',
      url: 'https://theirs',
    });
    const admin = keystone.add('endpoints', { service_id: service.id, interface: 'admin', region_id: 'region0', url: 'https://admin' });
    await (await open()).ensureEndpoints(endpoints());
    expect([theirs.url, admin.url]).toEqual(['https://theirs', 'https://admin']);
    expect(keystone.all('endpoints')).toHaveLength(4);
  });

  it.each([
    ['a wrong password', { password: new Secret('wrong-4417') }, 'ONECLOUD_IDENTITY_LOGIN', 'default-keystone-credentials'],
    ['another authority', { ca: makeAuthority('strangers', surroundings).certificate }, 'ONECLOUD_IDENTITY_UNREACHABLE', 'certificate'],
    ['nobody there', { url: 'https://127.0.0.1:9/v3' }, 'ONECLOUD_IDENTITY_UNREACHABLE', 'ECONNREFUSED'],
    ['another program', { url: 'https://127.0.0.1:PORT/elsewhere' }, 'ONECLOUD_IDENTITY_REFUSED', 'HTTP 404'],
  ])('%s is said', async (_, change, code, words) => {
    const url = 'url' in change ? { url: change.url.replace('PORT', String(http.local.port)) } : {};
    const error = await failure(() => open({ ...change, ...url }));
    expect(error.code).toBe(code);
    expect(String(error)).toContain(words);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/wrong-4417|admin-pass-3381/);
  });

  it.each([
    [
      'an error that quotes the request',
      { status: 400, body: JSON.stringify({ error: { message: 'first-7710 is too short' } }) },
      'HTTP 400',
    ],
    ['a page of a proxy', { status: 502, body: '<html>' }, 'HTTP 502'],
    ['no JSON', { status: 200, body: '<html>' }, 'no JSON'],
    ['JSON of another shape', { status: 200, body: '[1]' }, undefined],
  ])('%s neither passes nor tells a password', async (_, answer, words) => {
    const session = await open();
    keystone.fault = ({ path }) => (path.startsWith('/v3/users') ? answer : undefined);
    const error = await failure(() => session.ensureAccount(glance()));
    expect(error.code).toBe('ONECLOUD_IDENTITY_REFUSED');
    if (words !== undefined) expect(error.message).toContain(words);
    const post = await open();
    keystone.fault = ({ path, method }) => (method === 'POST' && path === '/v3/users' ? answer : undefined);
    const second = await failure(() => post.ensureAccount(glance()));
    expect(inspect(second, { depth: 10, showHidden: true })).not.toContain('first-7710');
  });

  it('a Keystone that does not answer is given up, and a lost leadership ends the wait', async () => {
    const hang = Promise.withResolvers<never>();
    hang.promise.catch(() => undefined);
    await http.close();
    http = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0, tls }, () => hang.promise);
    const quick = keystoneIdentity({ network: nodeNetwork, clock: nodeClock, answerMs: 50 });
    expect(String(await failure(() => quick.open(server(), never)))).toContain('no answer within 0.05 s');
    const stop = new AbortController();
    const opening = identity.open(server(), stop.signal);
    stop.abort(new Error('the leadership is lost'));
    await expect(opening).rejects.toThrow('the leadership is lost');
    hang.reject(new Error('the test is over'));
  });
});

describe('what a Keystone may answer', () => {
  const RUNS = Number(process.env.FUZZ_RUNS ?? 500);
  const login = {
    status: 201,
    headers: { 'x-subject-token': 't' },
    body: { token: { user: { domain: { id: 'd' } }, project: { id: 'p' } } },
  };
  const member = fc.record(
    {
      id: fc.oneof(fc.string(), fc.integer(), fc.constant('x1')),
      name: fc.constantFrom('glance', 'admin', 'other'),
      type: fc.constantFrom('image', 'other'),
      interface: fc.constantFrom('public', 'internal', 'admin'),
      url: fc.string(),
      service_id: fc.constantFrom('x1', 'x2'),
      region_id: fc.constantFrom('region0', undefined),
    },
    { requiredKeys: [] },
  );
  const collection = fc.record(
    Object.fromEntries(
      ['users', 'roles', 'regions', 'services', 'endpoints', 'user', 'service', 'endpoint', 'region', 'error'].map((name) => [
        name,
        fc.oneof(fc.array(member), member, fc.jsonValue()),
      ]),
    ),
    { requiredKeys: [] },
  );
  const body = fc.oneof({ weight: 4, arbitrary: collection.map((value) => JSON.stringify(value)) }, fc.json(), fc.string());
  const answer = fc.record({ status: fc.constantFrom(200, 201, 204, 301, 400, 401, 404, 409, 500), headers: fc.constant({}), body });

  it('is understood or refused with a code, and ends', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 12 }), fc.boolean(), async (answers, loggedIn) => {
        let asked = 0;
        const request = async () => {
          const {
            status,
            headers,
            body: text,
          } = asked++ === 0 && loggedIn
            ? { ...login, body: JSON.stringify(login.body) }
            : (answers[asked % answers.length] ?? { status: 500, headers: {}, body: '' });
          return { status, headers, body: Buffer.from(text) };
        };
        const identity = keystoneIdentity({ network: { request } as unknown as Network, clock: nodeClock });
        const password = new Secret('fuzzed-password-4419');
        const about = { url: 'https://k/v3', ca: '', user: 'sysadmin', domain: 'Default', project: 'system', password, secret: 's' };
        try {
          const session = await identity.open(about, never);
          await session.ensureAccount({ user: 'glance', password, role: 'admin' });
          await session.ensureEndpoints({ service: 'glance', type: 'image', region: 'region0', urls: { public: 'https://a' } });
        } catch (error) {
          if (!(error instanceof CodedError)) throw error;
          expect(String(error)).not.toContain('fuzzed-password-4419');
        }
        expect(asked).toBeLessThan(20);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('endpoints of the catalog', () => {
  const { spec } = parse(CORRECTED);
  const of = (key: string, settings: Record<string, unknown> = {}) => {
    const cluster = resolveCluster({ ...spec, ...settings });
    const component = cluster.components.find(({ row }) => row.key === key);
    return component && endpointsOf(component, { name: 'default', settings: cluster.settings })?.urls;
  };

  it('004-4: have port and path of the service inside, and the address that users reach outside', () => {
    expect(of('glance')).toEqual({ internal: 'https://default-glance:30292/v1', public: 'https://default-glance:30292/v1' });
    expect(of('glance', { loadBalancerEndpoint: '10.9.8.7', glance: { nodePorts: { api: 31000 } } })).toEqual({
      internal: 'https://default-glance:30292/v1',
      public: 'https://10.9.8.7:31000/v1',
    });
    expect(of('glance', { loadBalancerEndpoint: '10.9.8.7', glance: { internalOnly: true } })?.public).toBe(
      'https://default-glance:30292/v1',
    );
    expect(of('keystone')).toMatchObject({ internal: 'https://default-keystone:30500/v3', admin: 'https://default-keystone:30357/v3' });
    expect(of('climc')).toBeUndefined();
  });
});

describe('services and Keystone', { timeout: 60_000 }, () => {
  class MemoryIdentity implements Identity {
    readonly accounts = new Map<string, Secret>();
    readonly services = new Set<string>();
    opened = 0;
    fault: (() => Error | undefined) | undefined;
    async open(): Promise<IdentitySession> {
      this.opened += 1;
      const error = this.fault?.();
      if (error) throw error;
      return {
        ensureAccount: async ({ user, password }) => {
          if (this.accounts.get(user)?.equals(password)) return 'unchanged';
          this.accounts.set(user, password);
          return 'made';
        },
        ensureEndpoints: async ({ service }) => {
          if (this.services.has(service)) return 'unchanged';
          this.services.add(service);
          return 'made';
        },
        withdrawEndpoints: async ({ service }) => (this.services.delete(service) ? 'changed' : 'unchanged'),
      };
    }
  }
  let identity = new MemoryIdentity();
  let lab = new Lab({ identity });
  beforeEach(() => {
    identity = new MemoryIdentity();
    lab = new Lab({ identity });
  });
  afterEach(() => lab.stop());

  it('an account is there before its component, endpoints when it runs; the second pass asks nobody', async () => {
    await lab.start();
    const early: string[] = [];
    lab.api.fault = ({ verb, kind, key }) => {
      const row = catalog.find(({ name }) => key === `${NAMESPACE}/default-${name}`);
      if (verb !== 'apply' || kind !== 'Deployment' || row === undefined) return undefined;
      if (row.account && !identity.accounts.has(row.account.user)) early.push(key);
      if (row.key === 'scheduler' && !identity.services.has('region2')) early.push('before region is in the catalog');
      return undefined;
    };
    await lab.until('Running');
    expect(early).toEqual([]);
    expect([...identity.services].sort()).toEqual(catalog.flatMap((row) => (row.endpoint ? [row.endpoint.service] : [])).sort());
    expect(lab.condition('IdentityReady')).toMatchObject({ status: 'True' });
    await lab.clock.runFor(10_000);
    const { opened } = identity;
    await lab.patch({ metadata: { annotations: { look: 'again' } } });
    await lab.clock.runFor(30_000);
    expect(identity.opened).toBe(opened);
  });

  it('a Keystone that refuses stops what would need it, with a condition and an event, and is asked again with growing pauses', async () => {
    identity.fault = () => new CodedError('ONECLOUD_IDENTITY_LOGIN', 'Keystone does not let sysadmin in', 'Correct it.');
    await lab.start({ updateStrategy: { layerTimeoutSeconds: 3600 } });
    await lab.clock.runFor(120_000);
    expect(lab.api.all('Deployment').map(({ metadata }) => metadata.name)).toEqual(['default-keystone']);
    expect(lab.condition('IdentityReady')).toMatchObject({ status: 'False', reason: 'LoginRefused' });
    expect(lab.stories).toContainEqual({ reason: 'IdentityFailed', note: expect.stringContaining('ONECLOUD_IDENTITY_LOGIN') });
    expect(identity.opened).toBeLessThan(16);
    identity.fault = undefined;
    await lab.until('Running');
    expect(lab.condition('IdentityReady')).toMatchObject({ status: 'True' });
  });

  it('004-8: disable takes a service out of the catalog, enabling puts it back; a Keystone that is off is asked for nothing', async () => {
    await lab.start();
    await lab.until('Running');
    expect(identity.services).toContain('meter');
    await lab.patch({ spec: { meter: { disable: true } } });
    await lab.clock.runFor(10_000);
    expect(identity.services).not.toContain('meter');
    expect(lab.stories).toContainEqual({ reason: 'IdentityEnsured', note: 'withdrew the endpoints of meter' });
    expect(lab.status.components?.meter?.phase).toBe('Disabled');
    await lab.patch({ spec: { meter: { disable: false } } });
    await lab.clock.runUntil(() => identity.services.has('meter'), { limitMs: 600_000 });
    // nothing is known of a Keystone that is not there
    identity.fault = () => new CodedError('ONECLOUD_IDENTITY_UNREACHABLE', 'Keystone is away', 'Look.');
    await lab.clock.runFor(400_000);
    await lab.patch({ metadata: { annotations: { look: 'again' } } });
    await lab.clock.runFor(10_000);
    expect(lab.condition('IdentityReady')).toMatchObject({ status: 'False' });
    await lab.patch({ spec: { keystone: { disable: true } } });
    await lab.clock.runFor(10_000);
    expect(lab.condition('IdentityReady')).toBeUndefined();
  });
});
