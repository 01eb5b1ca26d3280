/** Foreign DHCP clients on the real ports, with real broadcasts, in network namespaces of their own. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Finished, missingForNamespaces, NamespacePair } from '../../../support/netns.ts';
import { describeWith, serve, startDnsmasq } from './fixtures/boot-server.ts';
import type { Fixture } from './fixtures/serve.ts';
import { MAC, machine, SITE } from './world.ts';

const UDHCPC = { name: 'udhcpc', debian: 'udhcpc' };
const DHCLIENT = { name: 'dhclient', debian: 'isc-dhcp-client' };
const DNSMASQ = { name: 'dnsmasq', debian: 'dnsmasq-base' };
const SERVER = '192.168.50.20';

let pair: NamespacePair;
let folder: string;
const runnable = missingForNamespaces() === undefined;

beforeEach(async () => {
  if (!runnable) return;
  folder = await mkdtemp(join(tmpdir(), 'dhcp-clients-'));
  pair = await NamespacePair.create({ left: { address: `${SERVER}/24` }, right: { mac: MAC } });
});
afterEach(async () => {
  if (!runnable) return;
  await pair.close();
  await rm(folder, { recursive: true });
});

/** A client's hook script: takes the address as a system would (a release is sent from it), and prints what it was told. */
async function printer(): Promise<string> {
  const script = join(folder, 'print');
  const lines = [
    '#!/bin/sh',
    'echo "event $1 $reason"; env | sort',
    'case "$1$reason" in',
    '  bound|renew) ip address replace "$ip/$mask" dev eth0 ;;',
    '  BOUND|REBOOT|RENEW) ip address replace "$new_ip_address/24" dev eth0 ;;',
    'esac',
  ];
  await writeFile(script, `${lines.join('\n')}\n`);
  await chmod(script, 0o755);
  return script;
}

async function udhcpc(...more: string[]): Promise<Finished> {
  return pair.right.exec(['udhcpc', '-i', 'eth0', '-f', '-n', '-q', '-t', '3', '-T', '1', '-s', await printer(), ...more]);
}

function told({ output }: Finished, name: string): string | undefined {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(output)?.[1];
}

const site: Fixture = { settings: SITE, machines: [machine({ address: '192.168.50.77' })] };

describeWith([UDHCPC], 'udhcpc', () => {
  it('002-5: a booting client gets address, routes and boot file from ports 67 and 68', async () => {
    const server = await serve(pair.left, site);
    // 0x5d is option 93: architecture 7
    const result = await udhcpc('-V', 'PXEClient:Arch:00007:UNDI:003016', '-x', '0x5d:0007', '-O', 'bootfile', '-O', 'tftp');
    expect(result.code, result.output).toBe(0);
    expect([told(result, 'ip'), told(result, 'subnet'), told(result, 'router'), told(result, 'siaddr')]).toEqual([
      '192.168.50.77',
      '255.255.255.0',
      '192.168.50.254',
      SERVER,
    ]);
    expect([told(result, 'boot_file'), told(result, 'serverid'), told(result, 'lease')]).toEqual(['bootx64.efi', SERVER, '3600']);
    expect(await server.until(({ exchange }) => exchange?.answer === 'ack')).toMatchObject({
      holder: MAC,
      exchange: { mac: MAC, arch: 7 },
    });
  });

  it('an unknown machine gets nothing, and we know why', async () => {
    const server = await serve(pair.left, { ...site, machines: [] });
    const result = await udhcpc();
    expect(result.code, result.output).toBe(1);
    expect((await server.until(({ exchange }) => exchange !== undefined)).exchange?.reason).toBe(`no machine has MAC ${MAC}`);
  });
});

describeWith([DHCLIENT], 'dhclient', () => {
  it('002-5: gets, confirms after a restart, and releases an address', async () => {
    const server = await serve(pair.left, { ...site, machines: [machine()] });
    const files = ['-4', '-v', '-lf', join(folder, 'leases'), '-pf', join(folder, 'pid'), '-cf', '/dev/null', '-sf', await printer()];
    const first = await pair.right.exec(['dhclient', '-1', ...files, 'eth0']);
    expect(first.code, first.output).toBe(0);
    const address = /bound to ([\d.]+)/.exec(first.output)?.[1] ?? '';
    expect(address).toMatch(/^192\.168\.50\.10[0-2]$/);
    expect((await server.until(({ exchange }) => exchange?.answer === 'ack')).holder).toBe(MAC);

    await pair.right.exec(['dhclient', '-x', ...files, 'eth0']); // stop, and keep the lease
    const second = await pair.right.exec(['dhclient', '-1', ...files, 'eth0']); // INIT-REBOOT: REQUEST without DISCOVER
    expect(second.output).toContain(`bound to ${address}`);
    expect(second.output).not.toContain('DHCPDISCOVER');

    expect((await pair.right.exec(['dhclient', '-r', ...files, 'eth0'])).code).toBe(0);
    await server.until(({ exchange }) => exchange?.type === 'release' && exchange.address === address);
  });
});

describeWith([UDHCPC, DNSMASQ], 'dnsmasq', () => {
  it('002-14: keeps giving addresses beside our proxy, which learns them', async () => {
    await startDnsmasq(pair.left, join(folder, 'leases'));
    const server = await serve(pair.left, { ...site, settings: { ...SITE, mode: 'proxy' } });
    const result = await udhcpc();
    expect(result.code, result.output).toBe(0);
    const address = told(result, 'ip') ?? '';
    expect(address).toMatch(/^192\.168\.50\.2(0\d|10)$/);
    const { exchange, holder } = await server.until((event) => event.exchange?.type === 'request');
    expect([exchange?.answer, holder]).toEqual(['none', MAC]);
  });
});
