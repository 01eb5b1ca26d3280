/** The program as the image carries it: the bundle, a file, the environment. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import { provisioningAddress } from 'cdk8s-baremetal-runtime/bin/provisioning-address';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { bundles, writeBundle } from '../../../scripts/bundles.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const SERVER = '127.0.93.1';

describe('the program bms-core', () => {
  const folder = temporaryFolder();
  let running: ChildProcess | undefined;

  beforeAll(async () => {
    folder.create();
    for (const bundle of bundles) await writeBundle(bundle, folder.path());
    writeFileSync(folder.path('site.ini'), readFileSync('test/contract/config/fixtures/pod45-wuxi2.ini'));
  });
  afterEach(() => running?.kill('SIGKILL'));
  afterAll(folder.remove);

  /** What a laptop needs in place of a management node, by the environment alone. */
  const laptop = (): Record<string, string> => ({
    BMS_DEFAULT__SERVER_PORT: '27081',
    BMS_API__ADDRESS: '127.0.0.1',
    BMS_SW_COORDINATION__BACKEND_URL: 'memory://',
    BMS_CENTER__SCHEDULER_CALLBACK: `http://${SERVER}:27070/notify`,
    BMS_DHCP__SERVER_IP: SERVER,
    BMS_DHCP__MODE: 'server',
    BMS_DHCP__SUBNET: '127.0.93.0/24',
    BMS_DHCP__PORT: '27067',
    BMS_TFTP__ADDRESS: SERVER,
    BMS_TFTP__PORT: '27069',
    BMS_HTTP_BOOT__ADDRESS: SERVER,
    BMS_HTTP_BOOT__PORT: '27082',
    BMS_DEPLOY_HELPER__ADDRESS: SERVER,
    BMS_DEPLOY_HELPER__PORT: '27000',
    BMS_PXE__TFTPBOOT_DIR: folder.path(),
    BMS_STORE__URL: `sqlite://${folder.path('state.db')}`,
    BMS_CONTRACT_VERSION: '1.0',
    NODE_NAME: 'mgmt-pod45-wuxi2-1',
  });

  function start(
    env: Record<string, string>,
    config: string | readonly string[] = folder.path('site.ini'),
  ): { lines: () => Record<string, unknown>[]; ended: Promise<number | null>; until: (message: string) => Promise<void> } {
    const child = spawn(process.execPath, [folder.path('bms-core.cjs'), ...(typeof config === 'string' ? ['--config', config] : config)], {
      env: { PATH: process.env.PATH ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running = child;
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    const lines = (): Record<string, unknown>[] =>
      text
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
    const until = (message: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (lines().some(({ msg }) => msg === message)) resolve();
        };
        child.stdout?.on('data', look);
        child.once('close', () => reject(new Error(`it ended without "${message}": ${text}`)));
        look();
      });
    return { lines, ended, until };
  }

  it('starts from a site’s file, is healthy and ready, and ends at SIGTERM with 0', async () => {
    const { ended, until } = start({ ...laptop(), BMS_DEFAULT__PIDFILE: folder.path('pid') });
    await until('bms-core is up');
    while (!existsSync(folder.path('pid'))) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(readFileSync(folder.path('pid'), 'utf8')).toBe(`${running?.pid}\n`);
    const get = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:27081${path}`)).status;
    expect(await get('/healthz')).toBe(200);
    expect(await get('/readyz')).toBe(200);
    const metrics = await (await fetch('http://127.0.0.1:27081/metrics')).text();
    expect(metrics).toMatch(/^bms_store_calls_total\{operation="list",result="ok"\} \d+$/m);
    running?.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(existsSync(folder.path('pid'))).toBe(false);
  });

  it('ends at SIGTERM with 0 also while it waits for its store', async () => {
    const silent = createServer(() => undefined); // takes connections, and says nothing
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', () => resolve()));
    const { port } = silent.address() as AddressInfo;
    const { ended, until } = start({ ...laptop(), BMS_STORE__URL: `mysql://bms@127.0.0.1:${port}/bms` });
    const asked = once(silent, 'connection');
    try {
      await asked;
      running?.kill('SIGTERM');
      await until('stopping');
      await until('bms-core starts'); // a store that says nothing is no silence of ours
      expect(await ended).toBe(0);
    } finally {
      silent.close();
    }
  });

  it.each([
    ['a file that is missing', {}, '/nonexistent.ini', 'CORE_CONFIG_FILE'],
    ['an option that there is not', {}, ['--confg', 'x'], 'CORE_ARGUMENTS'],
    ['an unknown option in the environment', { BMS_DHCP__SUBNETT: '1' }, undefined, 'CONFIG_INVALID'],
    ['manifests of a newer contract', { BMS_CONTRACT_VERSION: '2.0' }, undefined, 'CORE_CONTRACT_NEWER'],
    ['a range without its network', { BMS_DHCP__SUBNET: '' }, undefined, 'CONFIG_INVALID'],
    ['an address that no interface has', { BMS_TFTP__ADDRESS: '192.0.2.1' }, undefined, 'CORE_ADDRESS_MISSING'],
    ['an address for DHCP that no interface has', { BMS_DHCP__LISTEN: '192.0.2.1' }, undefined, 'CORE_ADDRESS_MISSING'],
  ])('%s ends it with 1 and one line that says so', async (_, env, config, code) => {
    const { ended, lines } = start({ ...laptop(), ...(env as Record<string, string>) }, config);
    expect(await ended).toBe(1);
    const fatal = lines().filter(({ level }) => level === 60);
    expect(fatal).toHaveLength(1);
    expect(fatal[0]).toMatchObject({ code, cure: expect.any(String) });
  });

  it('says which of the ports of DHCP is taken', async () => {
    const taken = createSocket('udp4');
    await new Promise<void>((resolve) => taken.bind(0, SERVER, resolve));
    try {
      const { port } = taken.address();
      const { ended, lines } = start({ ...laptop(), BMS_DHCP__MODE: 'proxy', BMS_DHCP__PROXY_PORT: String(port) });
      expect(await ended).toBe(1);
      const told = lines().find(({ level }) => level === 60);
      expect(told).toMatchObject({ code: 'CORE_PORT_TAKEN', msg: expect.stringContaining(`DHCP cannot listen on ${SERVER}:${port}/udp`) });
    } finally {
      taken.close();
    }
  });
});

describe('the own address on the provisioning network', () => {
  const info = (cidr: string, internal = false): NetworkInterfaceInfo => {
    const [address = ''] = cidr.split('/');
    return { address, netmask: '', family: 'IPv4', mac: '', internal, cidr };
  };
  const vip = { dhcp: { server_ip: undefined, subnet: undefined }, pxe: { nfs_server_ip: '192.168.50.20' } } as unknown as Parameters<
    typeof provisioningAddress
  >[0];

  it.each([
    [
      'beside the VIP, never the VIP itself',
      { lo: [info('127.0.0.1/8', true)], eth0: [info('10.1.2.3/24')], eth1: [info('192.168.50.20/24'), info('192.168.50.11/24')] },
      '192.168.50.11',
    ],
    ['nowhere on other networks', { eth0: [info('10.1.2.3/24')] }, undefined],
    ['not on an address of its own /32', { eth0: [info('192.168.50.11/32')] }, undefined],
  ])('%s', (_, interfaces, expected) => {
    expect(provisioningAddress(vip, interfaces)).toBe(expected);
  });

  it('is on the network that the machines are given addresses of, where the VIP is on another, whichever interface comes first', () => {
    const both = { ...vip, dhcp: { server_ip: undefined, subnet: '192.168.51.0/24' } } as unknown as Parameters<
      typeof provisioningAddress
    >[0];
    const [storage, machines] = [[info('192.168.50.11/24')], [info('192.168.51.11/24')]];
    expect(provisioningAddress(both, { eth0: storage, eth1: machines })).toBe('192.168.51.11');
    expect(provisioningAddress(both, { eth0: machines, eth1: storage })).toBe('192.168.51.11');
    expect(provisioningAddress(both, { eth0: storage })).toBe('192.168.50.11');
  });

  it('is the one that the configuration names', () => {
    const named = { ...vip, dhcp: { server_ip: '192.168.50.12', subnet: undefined } } as unknown as Parameters<
      typeof provisioningAddress
    >[0];
    expect(provisioningAddress(named, {})).toBe('192.168.50.12');
  });
});
