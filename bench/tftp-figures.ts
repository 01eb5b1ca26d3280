/** TFTP beside tftpd-hpa, dnsmasq and atftpd: on a clean wire, on one that delays, on one that loses. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packRequest } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { cpuSeconds, head, row, type Sample, takeTurns } from './boot-measure.ts';
import { fetchOnce, type Peer, startPeers } from './tftp-peers.ts';

const MIB = 1024 * 1024;

interface Load {
  readonly name: string;
  readonly bytes: number;
  readonly clients: number;
  readonly block: number;
  readonly window?: number;
}

interface Wire {
  readonly title: string;
  /** One way. */
  readonly delayMs: number;
  readonly loss: number;
  readonly rounds: number;
  readonly loads: readonly Load[];
}

export async function tftpFigures({ quick, rounds }: { quick: boolean; rounds: number }): Promise<void> {
  const wires = wiresOf(quick, rounds);
  const root = mkdtempSync(join(tmpdir(), 'tftp-bench-'));
  let peers: Peer[] = [];
  try {
    chmodSync(root, 0o755);
    for (const bytes of new Set(wires.flatMap(({ loads }) => loads.map((load) => load.bytes))))
      writeFileSync(join(root, `${bytes}.bin`), randomBytes(bytes), { mode: 0o644 });
    peers = await startPeers(root);
    const names = peers.map(({ name }) => name);
    for (const wire of wires) {
      console.log(`\n${head(wire.title, names)}`);
      const clean = wire.delayMs === 0 && wire.loss === 0;
      const ours = new Map<string, number>();
      for (const load of wire.loads) {
        const able = peers.filter(({ windows }) => load.window === undefined || windows);
        const results = await takeTurns(
          able,
          wire.rounds,
          (peer, round) => (clean ? measure(peer, peer, load) : overWire(peer, wire, round, (front) => measure(peer, front, load, TRIES))),
          { warmUp: wire.loss === 0 },
        );
        ours.set(load.name, results.get('ours')?.rate ?? Number.NaN);
        console.log(row(load.name, names, results, clean ? 0 : 2));
      }
      const windowed = ours.get('block 1428, window 16');
      const lockStep = ours.get('block 1428');
      if (wire.delayMs > 0 && windowed !== undefined && lockStep !== undefined)
        console.log(`\nwindow 16 against lock-step, ours: ${(windowed / lockStep).toFixed(1)}×`);
    }
    const memory = await thousand(peers[0], root);
    if (memory !== undefined) console.log(`\n${memory}`);
  } finally {
    for (const { process: child } of peers) child.kill('SIGTERM');
    rmSync(root, { recursive: true });
  }
}

function wiresOf(quick: boolean, rounds: number): readonly Wire[] {
  const large = (quick ? 4 : 32) * MIB;
  const small = (quick ? 0.5 : 2) * MIB;
  const single = [
    { name: 'block 512', block: 512, bytes: large / 4 },
    { name: 'block 1428', block: 1428, bytes: large },
    { name: 'block 65464', block: 65_464, bytes: large },
    { name: 'block 512, window 16', block: 512, window: 16, bytes: large / 4 },
    { name: 'block 1428, window 16', block: 1428, window: 16, bytes: large },
  ].map((load) => ({ ...load, clients: 1 }));
  const many = { clients: 50, block: 1428, bytes: small };
  const slow = { block: 1428, bytes: small };
  // the others wait whole seconds for each lost packet: small files, or it would take an hour
  const lossy = { block: 1428, bytes: (quick ? 1 / 16 : 1 / 4) * MIB };
  return [
    {
      title: 'TFTP, clean loopback',
      delayMs: 0,
      loss: 0,
      rounds,
      loads: [...single, { name: '50 clients, 1428', ...many }, { name: '50 clients, 1428, window 16', ...many, window: 16 }],
    },
    {
      title: 'TFTP, 0.5 ms each way',
      delayMs: 0.5,
      loss: 0,
      rounds: Math.min(rounds, 3),
      loads: [
        { name: 'block 1428', clients: 1, ...slow },
        { name: 'block 1428, window 16', clients: 1, ...slow, window: 16 },
      ],
    },
    {
      title: 'TFTP, 1 % of the packets lost',
      delayMs: 0,
      loss: 0.01,
      rounds: quick ? 1 : 3,
      loads: [
        { name: 'block 1428', clients: 1, ...lossy },
        { name: '50 clients, 1428', clients: 50, ...lossy },
        { name: '50 clients, 1428, window 16', clients: 50, ...lossy, window: 16 },
      ],
    },
  ];
}

/** Undefined, said aloud, when a client failed. */
async function measure(peer: Peer, front: { address: string; port: number }, load: Load, tries = 1): Promise<Sample | undefined> {
  const options = [`blksize ${load.block}`, ...(load.window === undefined ? [] : [`windowsize ${load.window}`])];
  const cpuBefore = cpuSeconds(peer.process.pid);
  const start = process.hrtime.bigint();
  const codes = await Promise.all(Array.from({ length: load.clients }, () => fetchStubbornly(front, `${load.bytes}.bin`, options, tries)));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const failed = codes.filter((code) => code !== 0).length;
  if (failed > 0) {
    console.warn(`${peer.name}, ${load.name}: ${failed} of ${load.clients} clients failed after ${seconds.toFixed(0)} s`);
    return undefined;
  }
  const bytes = load.bytes * load.clients;
  return { rate: bytes / 1e6 / seconds, cpu: ((cpuSeconds(peer.process.pid) - cpuBefore) / bytes) * 1e9 };
}

/** atftp gives up when its ACK of the options was lost and they come again ("unexpected OACK"); whoever waits for the machine switches it on again. */
const TRIES = 4;

async function fetchStubbornly(
  front: { address: string; port: number },
  file: string,
  options: readonly string[],
  tries: number,
): Promise<number | null> {
  const code = await fetchOnce(front, file, options);
  return code === 0 || tries <= 1 ? code : fetchStubbornly(front, file, options, tries - 1);
}

const WIRE_ADDRESS = '127.0.8.9';

/** The same seeds for every server, though not the same packets: each sends its own. */
async function overWire<T>(
  peer: Peer,
  { delayMs, loss }: Wire,
  round: number,
  work: (front: { address: string; port: number }) => Promise<T>,
): Promise<T> {
  const script = fileURLToPath(new URL('tftp-wire.pl', import.meta.url));
  const args = [WIRE_ADDRESS, peer.address, peer.port, delayMs, loss, round + 1].map(String);
  const wire: ChildProcess = spawn('perl', [script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const port = await new Promise<number>((resolve) => wire.stdout?.once('data', (text) => resolve(Number(String(text)))));
    return await work({ address: WIRE_ADDRESS, port });
  } finally {
    wire.kill();
  }
}

/** What 1,000 transfers at once cost our server in memory: clients that ask and then say nothing hold a window each. */
async function thousand(peer: Peer | undefined, root: string): Promise<string | undefined> {
  const file = readdirSync(root).find((name) => name.endsWith('.bin'));
  if (peer?.name !== 'ours' || file === undefined) return undefined;
  const rss = (): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${peer.process.pid}/status`, 'utf8'))?.[1]) / 1024;
  const before = rss();
  const sockets = Array.from({ length: 1000 }, () => createSocket('udp4'));
  const options = new Map(Object.entries({ blksize: '1428', windowsize: '16' }));
  const request = packRequest({ type: 'rrq', path: file, mode: 'octet', options });
  const served = await Promise.all(
    sockets.map(
      (socket, index) =>
        new Promise<boolean>((resolve) => {
          const limit = setTimeout(() => resolve(false), 8000);
          socket.on('message', (data, from) => {
            if (data[1] === 6) socket.send(Buffer.from([0, 4, 0, 0]), from.port, from.address);
            else if (data[1] === 3) {
              clearTimeout(limit);
              resolve(true);
            }
          });
          // 64 at a time from one address is what the server allows
          socket.bind(0, `127.0.9.${1 + Math.floor(index / 50)}`, () => socket.send(request, peer.port, peer.address));
        }),
    ),
  );
  const after = rss();
  for (const socket of sockets) socket.close();
  const count = served.filter(Boolean).length;
  return `${count} transfers at once (1428, window 16): ${(after - before).toFixed(0)} MiB more resident memory, ${(((after - before) * 1024) / count).toFixed(0)} KiB each`;
}
