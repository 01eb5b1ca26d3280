/**
 * Our TFTP server beside tftpd-hpa, dnsmasq and atftpd (Debian packages tftpd-hpa, dnsmasq-base, atftpd, atftp), each on a
 * loopback address of its own, with the same foreign client (atftp). Prints Markdown: ratios to the fastest and the
 * slowest peer are what counts, megabytes depend on the machine. Needs root for dnsmasq's port 69; a peer that is not
 * there is left out aloud. tftpd-hpa and atftpd exclude each other as packages: TFTPD_HPA may name the binary.
 *
 *   npx node --import tsx bench/boot.ts [runs, default 5]
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchOnce, type Peer, startPeers } from './tftp-peers.ts';

const RUNS = Number(process.argv[2] ?? 5);
const MIB = 1024 * 1024;
/** Of /proc/PID/stat; 100 on every Linux that Debian builds. */
const TICKS_PER_SECOND = 100;

interface Load {
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  readonly clients: number;
  readonly options: readonly string[];
}

const sizes = { 'f8.bin': 8 * MIB, 'f32.bin': 32 * MIB, 'f2.bin': 2 * MIB };
const loads: readonly Load[] = [
  { name: '512', file: 'f8.bin', bytes: sizes['f8.bin'], clients: 1, options: [] },
  { name: '1456', file: 'f32.bin', bytes: sizes['f32.bin'], clients: 1, options: ['blksize 1456'] },
  { name: '8192', file: 'f32.bin', bytes: sizes['f32.bin'], clients: 1, options: ['blksize 8192'] },
  { name: '1456, window 16', file: 'f32.bin', bytes: sizes['f32.bin'], clients: 1, options: ['blksize 1456', 'windowsize 16'] },
  { name: '50 clients, 1456', file: 'f2.bin', bytes: sizes['f2.bin'], clients: 50, options: ['blksize 1456'] },
  { name: '50 clients, 1456, window 16', file: 'f2.bin', bytes: sizes['f2.bin'], clients: 50, options: ['blksize 1456', 'windowsize 16'] },
];

const root = mkdtempSync(join(tmpdir(), 'tftp-bench-'));
let peers: Peer[] = [];
try {
  chmodSync(root, 0o755);
  for (const [name, bytes] of Object.entries(sizes)) writeFileSync(join(root, name), randomBytes(bytes), { mode: 0o644 });
  peers = await startPeers(root);
  const table: { load: Load; results: Map<string, Result> }[] = [];
  for (const load of loads) {
    const results = new Map<string, Result>();
    // Peers take turns within a run, so that a busy moment of the machine does not hit one of them alone
    const samples = new Map<string, Result[]>(peers.map(({ name }) => [name, []]));
    for (let run = 0; run <= RUNS; run++)
      for (const peer of peers) {
        if (load.options.some((option) => option.startsWith('windowsize')) && !peer.windows) continue;
        const result = await measure(peer, load);
        if (run > 0 && result) samples.get(peer.name)?.push(result); // the first run only warms up
      }
    for (const [name, list] of samples) {
      if (list.length === 0) continue;
      results.set(name, { rate: median(list.map(({ rate }) => rate)), cpu: median(list.map(({ cpu }) => cpu)) });
    }
    table.push({ load, results });
  }
  print(table);
} finally {
  for (const { process: child } of peers) child.kill('SIGTERM');
  rmSync(root, { recursive: true });
}

interface Result {
  /** MB/s over all clients. */
  readonly rate: number;
  /** Seconds of the server's CPU per GB; tftpd-hpa's is spent in children that nobody waits for: unknown. */
  readonly cpu: number;
}

/** Undefined, said aloud, when a client failed. */
async function measure(peer: Peer, load: Load): Promise<Result | undefined> {
  const cpuBefore = cpuSeconds(peer.process.pid);
  const start = process.hrtime.bigint();
  const codes = await Promise.all(Array.from({ length: load.clients }, () => fetchOnce(peer, load.file, load.options)));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (codes.some((code) => code !== 0)) {
    console.warn(`${peer.name}, ${load.name}: ${codes.filter((code) => code !== 0).length} of ${load.clients} clients failed`);
    return undefined;
  }
  const bytes = load.bytes * load.clients;
  return { rate: bytes / 1e6 / seconds, cpu: ((cpuSeconds(peer.process.pid) - cpuBefore) / bytes) * 1e9 };
}

/** utime, stime, cutime and cstime of proc(5). */
function cpuSeconds(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function print(table: { load: Load; results: Map<string, Result> }[]): void {
  const names = peers.map(({ name }) => name);
  console.log(`| MB/s (server CPU s/GB), median of ${RUNS} | ${names.join(' | ')} | ours / best peer | ours / worst peer |`);
  console.log(`|${'---|'.repeat(names.length + 3)}`);
  for (const { load, results } of table) {
    const cells = names.map((name) => {
      const result = results.get(name);
      return result ? `${result.rate.toFixed(0)} (${result.cpu < 0.2 ? '?' : result.cpu.toFixed(1)})` : '–';
    });
    const others = names.filter((name) => name !== 'ours').flatMap((name) => results.get(name)?.rate ?? []);
    const ours = results.get('ours')?.rate ?? Number.NaN;
    const ratio = (peer: number): string => (others.length > 0 ? (ours / peer).toFixed(2) : '–');
    console.log(`| ${load.name} | ${cells.join(' | ')} | ${ratio(Math.max(...others))} | ${ratio(Math.min(...others))} |`);
  }
}
