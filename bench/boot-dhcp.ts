/** DHCP beside dnsmasq and Kea: perfdhcp of the Kea project as load, each server in a namespace of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, missingForNamespaces, type Namespace, NamespacePair } from '../test/support/netns.ts';
import { head, row, takeTurns } from './boot-measure.ts';

const SERVER = '10.0.0.1';
const RELAY = '10.0.0.2';

interface Contender {
  readonly name: string;
  readonly start: (where: Namespace, folder: string) => Promise<void>;
}

const contenders: readonly (Contender & { readonly program?: string; readonly debian?: string })[] = [
  { name: 'ours', start: startOurs },
  { name: 'dnsmasq', program: 'dnsmasq', debian: 'dnsmasq-base', start: startDnsmasq },
  { name: 'Kea', program: 'kea-dhcp4', debian: 'kea-dhcp4-server', start: startKea },
];

export async function dhcpFigures({ quick, rounds }: { quick: boolean; rounds: number }): Promise<void> {
  const missing = missingForNamespaces([{ name: 'perfdhcp', debian: 'kea-admin' }]);
  if (missing !== undefined) {
    console.warn(`left out: ${missing}`);
    return;
  }
  const able = contenders.filter(({ program, debian }) => {
    if (program === undefined || findProgram(program) !== undefined) return true;
    console.warn(`${program} is missing (package ${debian}): left out`);
    return false;
  });
  const names = able.map(({ name }) => name);
  const seconds = quick ? 2 : 4;
  console.log(`\n${head('DHCP by perfdhcp, nothing stored by anyone', names)}`);
  const offers = await takeTurns(
    able,
    rounds,
    async (one) => {
      // as many as it can answer: far more are asked
      const { output } = await underLoad(one, ['-i', '-r', '30000', '-R', '5000', '-p', String(seconds)]);
      const received = Number(/DISCOVER-OFFER[\s\S]*?received packets: (\d+)/.exec(output)?.[1]);
      return received > 0 ? { rate: received / seconds } : undefined;
    },
    { warmUp: false },
  ); // each run starts its server anew
  console.log(row('offers/s, flooded', names, offers));
  const late = new Map<string, number[]>(names.map((name) => [name, []]));
  const leases = await takeTurns(
    able,
    Math.min(rounds, 3),
    async (one) => {
      const { output } = await underLoad(one, ['-r', '500', '-R', '2000', '-p', String(seconds), '-x', 't']);
      const done = Number(/REQUEST-ACK[\s\S]*?received packets: (\d+)/.exec(output)?.[1]);
      const delays = delaysOf(output);
      if (delays.length > 0) late.get(one.name)?.push(delays[Math.floor(delays.length * 0.99)] ?? Number.NaN);
      return done > 0 ? { rate: done / seconds } : undefined;
    },
    { warmUp: false },
  );
  console.log(row('leases/s at 500 asked', names, leases));
  const p99 = names.map((name) => late.get(name)?.toSorted((a, b) => a - b));
  console.log(`| p99 of an offer then, ms | ${p99.map((list) => list?.[Math.floor(list.length / 2)]?.toFixed(2) ?? '–').join(' | ')} | |`);
}

/** Milliseconds from each DISCOVER to its OFFER, sorted; perfdhcp prints both in seconds since its start with -x t. */
function delaysOf(output: string): readonly number[] {
  const text = /Timestamps for packets: DISCOVER-OFFER\*\*\*([\s\S]*?)(?:\*\*\*|$)/.exec(output)?.[1] ?? '';
  const times = [...text.matchAll(/sent \/ received: ([\d.]+) \/ ([\d.]+)/g)];
  return times.map(([, sent, received]) => (Number(received) - Number(sent)) * 1000).sort((a, b) => a - b);
}

async function underLoad({ start }: Contender, args: readonly string[]): Promise<{ output: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'dhcp-bench-'));
  const pair = await NamespacePair.create({ left: { address: `${SERVER}/8` }, right: { address: `${RELAY}/8` } });
  try {
    await start(pair.left, folder);
    return await pair.right.exec(['perfdhcp', '-4', ...args, '-l', RELAY, SERVER]);
  } finally {
    await pair.close();
    rmSync(folder, { recursive: true });
  }
}

function until(where: Namespace, argv: readonly string[], said: RegExp): Promise<void> {
  const child = where.spawn(argv, { cwd: fileURLToPath(new URL('..', import.meta.url)) });
  return new Promise((resolve, reject) => {
    let output = '';
    const hear = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-10_000); // read on: a full pipe would stop it
      if (said.test(output)) resolve();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', () => reject(new Error(`${argv[0]} ended: ${output}`)));
  });
}

function startOurs(where: Namespace): Promise<void> {
  const script = fileURLToPath(new URL('boot-server.ts', import.meta.url));
  return until(where, [process.execPath, '--import', 'tsx', script, 'dhcp', SERVER], /listening/);
}

function startDnsmasq(where: Namespace, folder: string): Promise<void> {
  return until(
    where,
    [
      ...['dnsmasq', '--conf-file=/dev/null', '--no-daemon', '--port=0', '--user=root', '--no-ping', '--interface=eth0', '--quiet-dhcp'],
      ...['--pid-file=', `--dhcp-leasefile=${folder}/leases`, '--dhcp-range=10.1.0.1,10.5.255.254,255.0.0.0,1h', '--dhcp-lease-max=400000'],
    ],
    /DHCP, IP range/,
  );
}

function startKea(where: Namespace, folder: string): Promise<void> {
  const config = {
    Dhcp4: {
      'interfaces-config': { interfaces: ['eth0'], 'dhcp-socket-type': 'udp' },
      'lease-database': { type: 'memfile', persist: false },
      'valid-lifetime': 3600,
      subnet4: [{ subnet: '10.0.0.0/8', pools: [{ pool: '10.1.0.1 - 10.5.255.254' }] }],
      loggers: [{ name: 'kea-dhcp4', severity: 'INFO', output_options: [{ output: 'stdout' }] }],
    },
  };
  writeFileSync(join(folder, 'kea.json'), JSON.stringify(config));
  const quiet = ['env', `KEA_PIDFILE_DIR=${folder}`, `KEA_LOCKFILE_DIR=${folder}`];
  return until(where, [...quiet, 'kea-dhcp4', '-c', join(folder, 'kea.json')], /DHCP4_STARTED/);
}
