/** HTTPS on a real socket, and a certificate that is renewed while it runs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { readTls, renewTls } from 'cdk8s-baremetal-runtime/api/index';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { VirtualClock } from 'cdk8s-baremetal-simulator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const openssl = spawnSync('openssl', ['version']).status === 0;
if (!openssl) console.warn('skipped: TLS of the API needs the program openssl (Debian package openssl)');

const folder = temporaryFolder();
beforeAll(folder.create);
afterAll(folder.remove);

function certificate(name: string): { cert: string; key: string } {
  const [cert, key] = [folder.path(`${name}.crt`), folder.path(`${name}.key`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      key,
      '-out',
      cert,
      ...subject,
    ],
    { stdio: 'ignore' },
  );
  return { cert, key };
}

describe.skipIf(!openssl)('TLS', () => {
  it('serves over it, and takes a renewed certificate without a restart', async () => {
    const [first, second] = [certificate('first'), certificate('second')];
    const tls = readTls(first.cert, first.key);
    if (!tls) throw new Error('no TLS');
    const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0, tls }, async ({ path }) => ({ status: 200, body: path }));
    const get = (ca: string) => nodeNetwork.request({ url: `https://127.0.0.1:${server.local.port}/hello`, ca: readFileSync(ca, 'utf8') });
    expect(Buffer.from((await get(first.cert)).body).toString()).toBe('/hello');
    await expect(get(second.cert)).rejects.toThrow();
    await expect(nodeNetwork.request({ url: `http://127.0.0.1:${server.local.port}/` })).rejects.toThrow();
    const clock = new VirtualClock();
    const stop = new AbortController();
    let files = { ...first };
    const watched = {
      get cert() {
        return files.cert;
      },
      get key() {
        return files.key;
      },
    };
    const renewing = renewTls({ files: watched, clock, logger: silentLogger, signal: stop.signal }, tls, (next) => server.renewTls?.(next));
    files = { cert: second.cert, key: first.key }; // half of a renewal: the old pair goes on
    await clock.runFor(60_000);
    expect((await get(first.cert)).status).toBe(200);
    files = second;
    await clock.runFor(60_000);
    expect((await get(second.cert)).status).toBe(200);
    stop.abort(new Error('done'));
    await clock.run(renewing);
    await server.close();
  });

  it('half a configuration, and files that are not there, are refused', () => {
    expect(readTls(undefined, undefined)).toBeUndefined();
    expect(() => readTls('/nowhere.crt', undefined)).toThrow(/only tls_cert is set/);
    expect(() => readTls('/nowhere.crt', '/nowhere.key')).toThrow(/ENOENT/);
  });

  it('a key of another certificate, and what is no certificate or no key, are refused by their files before anybody listens', () => {
    const [one, other] = [certificate('one'), certificate('other')];
    writeFileSync(folder.path('junk'), 'junk');
    const said = (cert: string, key: string): string => {
      try {
        readTls(cert, key);
        return 'taken';
      } catch (error) {
        return String(error);
      }
    };
    expect(said(one.cert, one.key)).toBe('taken');
    expect(said(one.cert, other.key)).toContain(
      `API_TLS: the API cannot use TLS: the key in ${other.key} is not that of the certificate in ${one.cert}`,
    );
    expect(said(folder.path('junk'), one.key)).toContain(`${folder.path('junk')} holds no certificate in PEM`);
    expect(said(one.cert, folder.path('junk'))).toContain(`${folder.path('junk')} holds no private key in PEM`);
  });

  it('the log tells of a certificate that expires within a week, and once it has', async () => {
    const { cert, key } = certificate('short');
    const tls = readTls(cert, key);
    if (!tls) throw new Error('no TLS');
    const end = new X509Certificate(tls.cert).validToDate.getTime();
    const clock = new VirtualClock({ startMs: end - 300_000 });
    const lines: string[] = [];
    const logger = { ...silentLogger, error: (_: unknown, line?: string) => void lines.push(line ?? '') };
    const stop = new AbortController();
    const renewing = renewTls({ files: { cert, key }, clock, logger, signal: stop.signal }, tls, () => undefined);
    expect(lines).toEqual(['the certificate of the API expires soon']);
    await clock.runFor(600_000);
    expect(lines).toEqual(['the certificate of the API expires soon', 'the certificate of the API has expired']);
    stop.abort(new Error('done'));
    await clock.run(renewing);
  });
});
