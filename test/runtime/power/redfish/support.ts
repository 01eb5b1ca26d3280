import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HttpClientRequest, type HttpTls, type Network, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiGateway, PowerDrivers, type PowerManager, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { MemoryStopKeeper } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { SimulatedRedfish, type SimulatedRedfishOptions } from 'cdk8s-baremetal-simulator/redfish/index';
import { FakeNetwork, seededRandom, TestChassis, VirtualClock } from '../support.ts';

export const REDFISH_USERS = [
  { name: 'admin', password: 'correct-horse', role: 'Administrator' },
  { name: 'viewer', password: 'look', role: 'ReadOnly' },
] as const;

/** Carries requests to one service, as if through TLS. */
export function carrying(clock: VirtualClock, service: SimulatedRedfish, state: { dead: boolean }): Network {
  const network = new FakeNetwork(clock);
  const request = async ({ method = 'GET', url, headers = {}, body, signal }: HttpClientRequest) => {
    if (state.dead) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const { pathname, searchParams: query, hostname } = new URL(url);
    const local = { address: hostname, port: 443 };
    const answer = await service.handler({
      method,
      path: decodeURIComponent(pathname),
      query,
      headers,
      body: Buffer.from(body ?? ''),
      remote: { address: '10.0.0.1', port: 40_000 },
      local,
      signal: signal ?? new AbortController().signal,
    });
    return { status: answer.status, headers: answer.headers ?? {}, body: Buffer.from((answer.body as string | undefined) ?? '') };
  };
  return Object.assign(Object.create(network) as Network, { request });
}

export function redfishLab(options: Partial<SimulatedRedfishOptions> = {}) {
  const clock = new VirtualClock();
  const chassis = new TestChassis();
  const random = seededRandom(3);
  const service = new SimulatedRedfish({ clock, random, users: REDFISH_USERS, chassis, ...options });
  const state = { dead: false };
  const network = carrying(clock, service, state);
  const stops = new MemoryStopKeeper();
  const replica = () => {
    const gateway = new IpmiGateway({ clock, network, random, logger: silentLogger, stops });
    return { gateway, drivers: new PowerDrivers({ gateway, clock, network, random, logger: silentLogger }) };
  };
  const { gateway, drivers } = replica();
  const open = (password = 'correct-horse', url = 'redfish://10.0.0.40', username = 'admin', through = drivers): PowerManager =>
    through.open(url, { username, password: new Secret(password) });
  const codeOf = async (work: Promise<unknown>): Promise<string> => {
    try {
      await clock.until(work);
      return 'no error';
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  };
  return { clock, chassis, service, state, gateway, drivers, replica, open, codeOf };
}

/** A certificate of its own for 127.0.0.1 and `localhost`; undefined where openssl is missing. */
export function selfSigned(): HttpTls | undefined {
  if (spawnSync('openssl', ['version']).status !== 0) {
    console.warn('SKIPPED: openssl is missing (Debian package openssl); Redfish over TLS is not tried');
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), 'redfish-'));
  try {
    const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3', '-subj', '/CN=bmc'];
    execFileSync('openssl', [...words, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
