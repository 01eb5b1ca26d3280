import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeAuthority, makeServiceCertificate, stillServes } from '../../../src/operator/onecloud/certificates.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { nodeRandom } from '../../../src/runtime/core/node-random.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const options = { clock: nodeClock, random: nodeRandom };
const NAMES = ['default-keystone', 'default-keystone.onecloud.svc', '127.0.0.1', '10.168.26.216', 'FD00::12:1', '::ffff:10.1.2.3', '::'];
const openssl = spawnSync('openssl', ['version']).error === undefined;
if (!openssl) console.warn('SKIPPED certificates against openssl: no openssl (Debian package openssl)');

describe('certificates', () => {
  const folder = temporaryFolder();
  const authority = makeAuthority('default OneCloud', options);
  const service = makeServiceCertificate(authority, NAMES, options);
  beforeAll(() => {
    folder.create();
    writeFileSync(folder.path('ca.crt'), authority.certificate);
    writeFileSync(folder.path('service.crt'), service.certificate);
  });
  afterAll(() => folder.remove());

  it('are what Node reads back', () => {
    const parsed = new X509Certificate(service.certificate);
    expect(parsed.subjectAltName).toBe(
      'DNS:default-keystone, DNS:default-keystone.onecloud.svc, IP Address:127.0.0.1, IP Address:10.168.26.216, IP Address:FD00:0:0:0:0:0:12:1, IP Address:0:0:0:0:0:FFFF:A01:203, IP Address:0:0:0:0:0:0:0:0',
    );
    expect(parsed.ca).toBe(false);
    expect(new X509Certificate(authority.certificate).ca).toBe(true);
    expect(parsed.checkIssued(new X509Certificate(authority.certificate))).toBe(true);
  });

  it.skipIf(!openssl)('hold before openssl verify -x509_strict', () => {
    const { stdout, stderr } = spawnSync(
      'openssl',
      ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', folder.path('ca.crt'), folder.path('service.crt')],
      { encoding: 'utf8' },
    );
    expect(`${stdout}${stderr}`.trim()).toBe(`${folder.path('service.crt')}: OK`);
  });

  it.skipIf(!openssl).each([
    ['RSA, of a name in parts', ['-newkey', 'rsa:2048', '-subj', '/C=CN/O=Foo, Inc/CN=Site\\, root']],
    ['another curve', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-subj', '/CN=P-384']],
    ['Ed25519', ['-newkey', 'ed25519', '-subj', '/O=no common name']],
    ['no key identifier', ['-newkey', 'rsa:2048', '-subj', '/CN=bare', '-addext', 'subjectKeyIdentifier=none']],
  ])('hold under an authority of people’s own: %s', (_, request) => {
    const files = ['-keyout', folder.path('own.key'), '-out', folder.path('own.crt'), '-days', '3650'];
    const { status } = spawnSync('openssl', ['req', '-x509', '-nodes', ...request, ...files]);
    expect(status).toBe(0);
    const own = { certificate: readFileSync(folder.path('own.crt'), 'utf8'), key: readFileSync(folder.path('own.key'), 'utf8') };
    const issued = makeServiceCertificate(own, NAMES, options);
    expect(stillServes(issued.certificate, own.certificate, NAMES, nodeClock)).toBe(true);
    writeFileSync(folder.path('issued.crt'), issued.certificate);
    const verify = ['verify', '-purpose', 'sslserver', '-CAfile', folder.path('own.crt'), folder.path('issued.crt')];
    const { stdout, stderr } = spawnSync('openssl', verify, { encoding: 'utf8' });
    expect(`${stdout}${stderr}`.trim()).toBe(`${folder.path('issued.crt')}: OK`);
  });

  it('carry a TLS connection', async () => {
    const server = createServer({ cert: service.certificate, key: service.key }, (socket) => socket.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const text = await new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', ca: authority.certificate, servername: 'default-keystone' });
      socket.on('data', (data) => resolve(data.toString()));
      socket.on('error', reject);
    });
    server.close();
    expect(text).toBe('hello');
  });

  it('are made anew when they end soon, lack a name, or are another authority’s', () => {
    const later = (days: number) => ({ ...nodeClock, now: () => nodeClock.now() + days * 86_400_000 });
    expect(stillServes(service.certificate, authority.certificate, NAMES, nodeClock)).toBe(true);
    expect(stillServes(service.certificate, authority.certificate, NAMES, later(304))).toBe(true);
    expect(stillServes(service.certificate, authority.certificate, NAMES, later(306))).toBe(false);
    expect(stillServes(service.certificate, authority.certificate, [...NAMES, 'new'], nodeClock)).toBe(false);
    expect(stillServes(service.certificate, makeAuthority('default OneCloud', options).certificate, NAMES, nodeClock)).toBe(false);
    expect(stillServes('nonsense', authority.certificate, NAMES, nodeClock)).toBe(false);
  });
});
