import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clientNodeTransport, loadKubeConfig } from '../../../src/operator/engine/client-node-transport.ts';
import type { Transport } from '../../../src/operator/engine/transport.ts';
import type { HttpRequest, HttpResponse, HttpServer } from '../../../src/runtime/core/network.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

describe('client-node transport', () => {
  const folder = temporaryFolder();
  const asked: HttpRequest[] = [];
  let answer: (request: HttpRequest) => HttpResponse;
  let server: HttpServer;
  let transport: Transport;
  let ahead = 0;

  beforeEach(async () => {
    folder.create();
    asked.length = 0;
    ahead = 0;
    answer = () => ({ status: 200, headers: { 'X-Thing': 'yes' }, body: '{}' });
    server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, async (request) => {
      asked.push(request);
      return answer(request);
    });
    writeFileSync(folder.path('token'), 'first');
    writeFileSync(
      folder.path('kubeconfig'),
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'test',
        clusters: [
          { name: 'test', cluster: { server: `http://127.0.0.1:${server.local.port}/prefix/`, 'insecure-skip-tls-verify': true } },
        ],
        users: [{ name: 'test', user: { 'auth-provider': { name: 'tokenFile', config: { tokenFile: folder.path('token') } } } }],
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      }),
    );
    const clock = { ...nodeClock, monotonic: () => nodeClock.monotonic() + ahead };
    transport = clientNodeTransport(loadKubeConfig({ file: folder.path('kubeconfig') }), clock);
  });
  afterEach(async () => {
    await transport.close();
    await server.close(0);
    folder.remove();
  });

  const ask = async (path = '/api'): Promise<{ status: number; text: string; thing: string | undefined }> => {
    const { status, headers, body } = await transport.exchange({ method: 'GET', path, headers: {}, signal: AbortSignal.timeout(5000) });
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return { status, text: Buffer.concat(chunks).toString(), thing: headers['x-thing'] };
  };

  it('sends the credentials, below the prefix of the server’s address', async () => {
    expect(await ask('/api/v1/pods?limit=1')).toEqual({ status: 200, text: '{}', thing: 'yes' });
    expect(asked[0]).toMatchObject({ method: 'GET', path: '/prefix/api/v1/pods', headers: { authorization: 'Bearer first' } });
    expect(asked[0]?.query.get('limit')).toBe('1');
  });

  it('keeps one connection for requests one after another, also when the credentials are read again', async () => {
    for (let i = 0; i < 30; i++) {
      await ask();
      ahead += 10_000;
    }
    expect(new Set(asked.map(({ remote }) => remote.port)).size).toBeLessThanOrEqual(3); // a connection is free a moment after its answer is read
  });

  it('an aborted exchange rejects with the reason, and the next one works', async () => {
    const end = new AbortController();
    answer = () => ({
      status: 200,
      body: (async function* () {
        yield 'first';
        await new Promise((resolve) => end.signal.addEventListener('abort', resolve));
      })(),
    });
    const { body } = await transport.exchange({ method: 'GET', path: '/api', headers: {}, signal: end.signal });
    const reading = (async () => {
      for await (const _ of body) end.abort(new Error('enough'));
    })();
    await expect(reading).rejects.toThrow('enough');
    answer = () => ({ status: 200, body: '{}' });
    expect((await ask()).status).toBe(200);
  });

  it('requests side by side ask for the credentials once: at the start, when they are old, and after a refusal', async () => {
    const config = loadKubeConfig({ file: folder.path('kubeconfig') });
    let taken = 0;
    const apply = config.applySecurityAuthentication.bind(config);
    config.applySecurityAuthentication = async (context) => {
      taken += 1;
      await new Promise((resolve) => setImmediate(resolve)); // as a plugin that is a program
      await apply(context);
    };
    await transport.close();
    transport = clientNodeTransport(config, { ...nodeClock, monotonic: () => nodeClock.monotonic() + ahead });
    const several = () => Promise.all(Array.from({ length: 8 }, () => ask()));
    await several();
    expect(taken).toBe(1);
    ahead += 61_000;
    await several();
    expect(taken).toBe(2);
    answer = () => ({ status: 401, body: '{}' });
    await several();
    answer = () => ({ status: 200, body: '{}' });
    await several();
    expect(taken).toBe(3);
  });

  it('no server is an error that says so', async () => {
    await server.close(0);
    await expect(ask()).rejects.toThrow(/ECONNREFUSED|other side closed|ECONNRESET/);
    await expect(ask()).rejects.toThrow(/ECONNREFUSED/);
  });
});
