import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { fetchConfig } from 'cdk8s-baremetal-runtime/launch/fetch-config';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';

/** What the original's shell would have damaged: runs of blanks, quotes, globs, backslashes, an empty last line. */
const CONFIG = '[DEFAULT]\nname =   "two  words"\nglob = *\nback = \\n\\t $HOME `id`\n\n';
const PATH = '/api/v1/namespaces/default/configmaps/pod45-wuxi2-bmscore';

/** A certificate for 127.0.0.1 that signs itself. */
function certificate(folder: string, name: string): { cert: string; key: string } {
  const files = { cert: `${folder}/${name}.crt`, key: `${folder}/${name}.key` };
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=kubernetes',
    '-addext',
    'subjectAltName=IP:127.0.0.1',
    '-keyout',
    files.key,
    '-out',
    files.cert,
  ]);
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
  return { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
}

describe('fetching the configuration of a management node', () => {
  const keys = temporaryFolder();
  const root = temporaryFolder();
  let server: Server;
  let answer: (path: string, authorization: string | undefined) => { status: number; body: unknown };
  let own: { cert: string; key: string };

  beforeAll(async () => {
    keys.create();
    own = certificate(keys.path(), 'own');
    server = createServer(own, (request, response) => {
      const { status, body } = answer(request.url ?? '', request.headers.authorization);
      response.writeHead(status, { 'content-type': 'application/json' }).end(typeof body === 'string' ? body : JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    keys.remove();
  });
  beforeEach(() => {
    root.create();
    mkdirSync(root.path('var/run/secrets/kubernetes.io/serviceaccount'), { recursive: true });
    writeFileSync(root.path('var/run/secrets/kubernetes.io/serviceaccount/token'), 'the-token\n');
    trust(own.cert);
    answer = (path, authorization) =>
      path === PATH && authorization === 'Bearer the-token'
        ? { status: 200, body: { kind: 'ConfigMap', data: { config: CONFIG, vip1800: '192.168.50.20', vip401: '10.128.192.21' } } }
        : { status: 404, body: { kind: 'Status', code: 404 } };
  });
  afterEach(root.remove);

  const trust = (ca: string): void => writeFileSync(root.path('var/run/secrets/kubernetes.io/serviceaccount/ca.crt'), ca);
  const run = (env: Record<string, string | undefined> = {}): ReturnType<typeof fetchConfig> =>
    fetchConfig({
      env: {
        NODE_NAME: 'mgmt-pod45-wuxi2-1',
        POD_NAMESPACE: 'default',
        KUBERNETES_SERVICE_HOST: '127.0.0.1',
        KUBERNETES_SERVICE_PORT: String((server.address() as AddressInfo).port),
        ...env,
      },
      network: nodeNetwork,
      clock: nodeClock,
      root: root.path(),
    });
  const written = (): string[] => ['etc/baremetal-api/baremetal-api.ini', 'config/env'].filter((file) => existsSync(root.path(file)));

  it('000-10 000-11: finds its ConfigMap by the name of its node and writes the exact bytes', async () => {
    await expect(run()).resolves.toMatchObject({ configMap: 'pod45-wuxi2-bmscore' });
    expect(readFileSync(root.path('etc/baremetal-api/baremetal-api.ini'), 'utf8')).toBe(CONFIG);
    expect(readFileSync(root.path('config/env'), 'utf8')).toBe('vip1800=192.168.50.20\n');
  });

  it('000-11: a second run leaves the same files and no others', async () => {
    await run();
    await run();
    expect(readFileSync(root.path('etc/baremetal-api/baremetal-api.ini'), 'utf8')).toBe(CONFIG);
    expect(readdirSync(root.path('etc/baremetal-api'))).toEqual(['baremetal-api.ini']);
    expect(readFileSync(root.path('config/env'), 'utf8')).toBe('vip1800=192.168.50.20\n');
  });

  it.each([
    ['a missing ConfigMap', { status: 404, body: {} }, 'FETCH_NOT_FOUND', 'pod45-wuxi2-bmscore'],
    ['a token without the right', { status: 403, body: {} }, 'FETCH_REFUSED', '403'],
    ['an API server in trouble', { status: 503, body: {} }, 'FETCH_REFUSED', '503'],
    ['a page of a proxy', { status: 200, body: '<html>' }, 'FETCH_NO_ANSWER', 'speaks no JSON'],
    ['no configuration in it', { status: 200, body: { data: { vip1800: '192.168.50.20' } } }, 'FETCH_KEY_MISSING', 'config'],
    ['no VIP in it', { status: 200, body: { data: { config: CONFIG } } }, 'FETCH_KEY_MISSING', 'vip1800'],
    ['no data at all', { status: 200, body: {} }, 'FETCH_KEY_MISSING', 'config'],
  ])('000-11: %s is an error and writes nothing', async (_, response, code, says) => {
    answer = () => response;
    await expect(run()).rejects.toMatchObject({ code, message: expect.stringContaining(says) });
    expect(written()).toEqual([]);
  });

  it.each(['node1', 'mgmt-pod45', 'mgmt-45-wuxi2', 'mgmt-pod45-wuxi2.example'])(
    '000-10: the node name %s is refused, not guessed from',
    async (node) => {
      await expect(run({ NODE_NAME: node })).rejects.toMatchObject({ code: 'FETCH_NODE_NAME', message: expect.stringContaining(node) });
      expect(written()).toEqual([]);
    },
  );

  it('000-11: an API server with a certificate of another authority is not believed', async () => {
    trust(certificate(keys.path(), 'other').cert);
    await expect(run()).rejects.toMatchObject({ code: 'FETCH_NO_ANSWER' });
    expect(written()).toEqual([]);
  });

  it.each([
    [403, 'RoleBinding'],
    [503, 'Look at the API server'],
  ])('the cure of status %i is its own', async (status, cure) => {
    answer = () => ({ status, body: {} });
    await expect(run()).rejects.toMatchObject({ code: 'FETCH_REFUSED', cure: expect.stringContaining(cure) });
  });

  it('says what is missing outside a cluster, and never the token', async () => {
    await expect(run({ KUBERNETES_SERVICE_HOST: undefined })).rejects.toMatchObject({ code: 'FETCH_NOT_IN_CLUSTER' });
    answer = () => ({ status: 500, body: {} });
    const error = await run().catch((reason: unknown) => reason);
    expect(String(error)).not.toContain('the-token');
  });
});
