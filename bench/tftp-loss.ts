/**
 * What a bad wire costs each TFTP server: the same file, fetched by atftp through a relay that drops datagrams by a seed.
 * Prints mean seconds, as Markdown.
 *
 *   npx node --import tsx bench/tftp-loss.ts
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchOnce, type Peer, startPeers } from './tftp-peers.ts';

const KIB = 1024;
const FILE_BYTES = 512 * KIB;
/** The same seeds for every server: one lost ACK at the edge of a window costs more than a lost block inside it. */
const LOADS = [
  { name: '1456, 1 in 100 lost', options: ['blksize 1456'], loss: 1 / 100, seeds: [1, 2] },
  { name: '1456, window 16, 1 in 33 lost', options: ['blksize 1456', 'windowsize 16'], loss: 1 / 33, seeds: [1, 2] },
];

const root = mkdtempSync(join(tmpdir(), 'tftp-loss-'));
chmodSync(root, 0o755);
writeFileSync(join(root, 'file'), randomBytes(FILE_BYTES), { mode: 0o644 });
const peers = await startPeers(root);
try {
  console.log(`| seconds for ${FILE_BYTES / KIB} KiB | ${peers.map(({ name }) => name).join(' | ')} |`);
  console.log(`|${'---|'.repeat(peers.length + 1)}`);
  for (const { name, options, loss, seeds } of LOADS) {
    const cells: string[] = [];
    for (const peer of peers) {
      const windowed = options.some((option) => option.startsWith('windowsize'));
      cells.push(windowed && !peer.windows ? '–' : await mean(peer, options, loss, seeds));
    }
    console.log(`| ${name} | ${cells.join(' | ')} |`);
  }
} finally {
  for (const { process: child } of peers) child.kill('SIGTERM');
  rmSync(root, { recursive: true });
}

async function mean(peer: Peer, options: readonly string[], loss: number, seeds: readonly number[]): Promise<string> {
  let seconds = 0;
  for (const seed of seeds) {
    const relay = await openRelay(peer, loss, seed);
    const start = process.hrtime.bigint();
    const code = await fetchOnce({ address: '127.0.8.9', port: relay.port }, 'file', options);
    seconds += Number(process.hrtime.bigint() - start) / 1e9;
    relay.close();
    if (code !== 0) return `failed after ${seconds.toFixed(0)}`;
  }
  return (seconds / seeds.length).toFixed(2);
}

/** One client at a time; the server's transfer port is learned from its first answer. */
async function openRelay(peer: Peer, loss: number, seed: number): Promise<{ port: number; close(): void }> {
  const inside = await bound('127.0.8.9');
  const outside = await bound('127.0.8.9');
  let client: { address: string; port: number } | undefined;
  let server = { address: peer.address, port: peer.port };
  let state = seed;
  const lost = (): boolean => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0; // Numerical Recipes' generator: the high bits are good enough
    return state / 2 ** 32 < loss;
  };
  inside.on('message', (data, from) => {
    client ??= from;
    if (!lost()) outside.send(data, server.port, server.address);
  });
  outside.on('message', (data, from) => {
    server = { address: from.address, port: from.port };
    if (client && !lost()) inside.send(data, client.port, client.address);
  });
  return {
    port: inside.address().port,
    close: () => {
      inside.close();
      outside.close();
    },
  };
}

function bound(address: string): Promise<Socket> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => socket.bind(0, address, () => resolve(socket)));
}
