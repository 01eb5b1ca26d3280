/** Foreign DHCP clients on the real ports, with real broadcasts, in network namespaces of their own. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DhcpExchange, RivalServer } from '../../../../src/runtime/boot/dhcp/reply.ts';
import { type Finished, missingForNamespaces, NamespacePair } from '../../../support/netns.ts';
import type { Fixture } from './fixtures/serve.ts';
import { MAC, machine, SITE } from './world.ts';

const UDHCPC = { name: 'udhcpc', debian: 'udhcpc' };
const DHCLIENT = { name: 'dhclient', debian: 'isc-dhcp-client' };
const DNSMASQ = { name: 'dnsmasq', debian: 'dnsmasq-base' };
const SERVER = '192.168.50.20';
const ROOT = resolve(import.meta.dirname, '../../../..');

interface Event {
  listening?: { server: number };
  exchange?: DhcpExchange;
  holder?: string;
  rival?: RivalServer;
}

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

/** Our server on the left side; resolves when it listens. */
async function serve(fixture: Fixture): Promise<{ until(wanted: (event: Event) => boolean): Promise<Event> }> {
  const script = join(import.meta.dirname, 'fixtures/serve.ts');
  const child = pair.left.spawn([process.execPath, '--import', 'tsx', script], {
    env: { DHCP_FIXTURE: JSON.stringify(fixture) },
    cwd: ROOT,
  });
  const events: Event[] = [];
  let wake: () => void = () => undefined;
  let errors = '';
  let ended = false;
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  child.once('exit', () => {
    ended = true;
    wake();
  });
  if (!child.stdout) throw new Error('the server has no output');
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line) as Event);
    wake();
  });
  const until = async (wanted: (event: Event) => boolean): Promise<Event> => {
    for (;;) {
      const found = events.find(wanted);
      if (found) return found;
      if (ended) throw new Error(`the server ended: ${errors}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  await until((event) => event.listening !== undefined);
  return { until };
}

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
    const server = await serve(site);
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
    const server = await serve({ ...site, machines: [] });
    const result = await udhcpc();
    expect(result.code, result.output).toBe(1);
    expect((await server.until(({ exchange }) => exchange !== undefined)).exchange?.reason).toBe(`no machine has MAC ${MAC}`);
  });
});

describeWith([DHCLIENT], 'dhclient', () => {
  it('002-5: gets, confirms after a restart, and releases an address', async () => {
    const server = await serve({ ...site, machines: [machine()] });
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
    const other = pair.left.spawn([
      ...[
        'dnsmasq',
        '--conf-file=/dev/null',
        '--no-daemon',
        '--port=0',
        '--user=root',
        '--bind-interfaces',
        '--no-ping',
        '--interface=eth0',
        '--pid-file=',
      ],
      ...[`--dhcp-leasefile=${join(folder, 'leases')}`, '--dhcp-range=192.168.50.200,192.168.50.210,1h'],
    ]);
    await new Promise<void>((resolve, reject) => {
      let output = '';
      other.once('exit', () => reject(new Error(`dnsmasq ended: ${output}`)));
      other.stderr?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes('DHCP, IP range')) resolve();
      });
    });
    const server = await serve({ ...site, settings: { ...SITE, mode: 'proxy' } });
    const result = await udhcpc();
    expect(result.code, result.output).toBe(0);
    const address = told(result, 'ip') ?? '';
    expect(address).toMatch(/^192\.168\.50\.2(0\d|10)$/);
    const { exchange, holder } = await server.until((event) => event.exchange?.type === 'request');
    expect([exchange?.answer, holder]).toEqual(['none', MAC]);
  });
});

function describeWith(programs: Parameters<typeof missingForNamespaces>[0], title: string, tests: () => void): void {
  const missing = missingForNamespaces(programs);
  if (missing !== undefined) console.warn(`SKIPPED: ${title}: ${missing}`);
  describe.skipIf(missing !== undefined)(title, tests);
}
