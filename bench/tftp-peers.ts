/** The servers that bench/tftp-figures.ts compares, each on a loopback address of its own, and the foreign client that asks them. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpacked } from '../lab/support/cache.ts';

export interface Peer {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** Knows windowsize. */
  readonly windows: boolean;
  readonly process: ChildProcess;
}

/** Until every server has bound its port; none of the foreign ones says when. */
const START_MS = 700;
const CLIENT_LIMIT_MS = 120_000;

export async function startPeers(root: string): Promise<Peer[]> {
  const peers: Peer[] = [];
  const ours = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('tftp-server.ts', import.meta.url)), root, '127.0.8.1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await new Promise<number>((resolve) => ours.stdout?.once('data', (text) => resolve(Number(String(text)))));
  peers.push({ name: 'ours', address: '127.0.8.1', port, windows: true, process: ours });

  const hpa =
    [process.env.TFTPD_HPA, '/usr/sbin/in.tftpd'].find((path) => path && existsSync(path) && !isLinkToAtftpd(path)) ?? unpackedHpa();
  if (hpa) add(peers, 'tftpd-hpa', '127.0.8.2', 6902, false, hpa, ['-L', '--address', '127.0.8.2:6902', '-u', 'root', '-s', root]);
  else console.warn('tftpd-hpa is missing (apt-get download tftpd-hpa fails; TFTPD_HPA=/path/to/in.tftpd names another): left out');
  if (found('dnsmasq'))
    add(peers, 'dnsmasq', '127.0.8.3', 69, false, 'dnsmasq', [
      ...['-k', '-C', '/dev/null', '--port=0', '--enable-tftp', `--tftp-root=${root}`, '--listen-address=127.0.8.3', '--bind-interfaces'],
      ...['--user=root', '--tftp-max=200', '--pid-file', '--log-facility=/dev/null'],
    ]);
  if (found('atftpd'))
    add(peers, 'atftpd', '127.0.8.4', 6904, true, 'atftpd', [
      ...['--daemon', '--no-fork', '--port', '6904', '--bind-address', '127.0.8.4', '--user', 'root', '--group', 'root'],
      ...['--verbose=0', '--logfile', '/dev/null', '--maxthread', '200', root],
    ]);
  if (!found('atftp')) throw new Error('the client atftp (package atftp) is missing');
  await new Promise((resolve) => setTimeout(resolve, START_MS));
  return peers;
}

function add(peers: Peer[], name: string, address: string, port: number, windows: boolean, program: string, args: string[]): void {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  child.once('exit', (code) => code && console.warn(`${name} ended with ${code}`));
  peers.push({ name, address, port, windows, process: child });
}

function found(program: string): boolean {
  const ok = spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
  if (!ok) console.warn(`${program} is missing: left out`);
  return ok;
}

/** tftpd-hpa and atftpd exclude each other as packages, not as programs. */
function unpackedHpa(): string | undefined {
  try {
    return join(unpacked('tftpd-hpa'), 'usr/sbin/in.tftpd');
  } catch {
    return undefined;
  }
}

function isLinkToAtftpd(path: string): boolean {
  try {
    return readlinkSync(path).endsWith('atftpd');
  } catch {
    return false; // no link
  }
}

/** One transfer by atftp to nowhere; its exit code, or null when it was stopped. */
export function fetchOnce(peer: Pick<Peer, 'address' | 'port'>, file: string, options: readonly string[]): Promise<number | null> {
  const flags = options.flatMap((option) => ['--option', option]);
  return new Promise((resolve) => {
    const sink = openSync('/dev/null', 'w');
    const child = spawn('atftp', [...flags, '-g', '-r', file, '-l', '/dev/null', peer.address, String(peer.port)], {
      stdio: ['ignore', sink, sink],
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), CLIENT_LIMIT_MS);
    child.once('exit', (code) => {
      clearTimeout(limit);
      closeSync(sink);
      resolve(code);
    });
  });
}
