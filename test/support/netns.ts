/**
 * Two Linux network namespaces joined by a cable: tests meet foreign programs on the real ports (67, 68, 69 …) and with real broadcasts, without touching the
 * machine's own network. Needs root and iproute2; `missingForNamespaces` says what is not there.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Debian's daemons live in sbin, which a test runner's PATH may lack. */
const PATH = [process.env.PATH, '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'].filter(Boolean).join(':');

export interface Program {
  readonly name: string;
  /** The Debian package that has it. */
  readonly debian: string;
}

/** What keeps tests in namespaces from running here, as a sentence; undefined when nothing does. */
export function missingForNamespaces(programs: readonly Program[] = []): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces exist on Linux only';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const absent = [{ name: 'ip', debian: 'iproute2' }, ...programs].filter(({ name }) => findProgram(name) === undefined);
  if (absent.length > 0) return absent.map(({ name, debian }) => `${name} is missing (Debian package ${debian})`).join('; ');
  const name = uniqueName('probe');
  const added = spawnSync('ip', ['netns', 'add', name], { env: { PATH } });
  if (added.status !== 0) return `ip netns add fails: ${added.stderr.toString().trim()}`;
  spawnSync('ip', ['netns', 'delete', name], { env: { PATH } });
  return undefined;
}

export function findProgram(name: string): string | undefined {
  for (const folder of PATH.split(':')) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return `${folder}/${name}`;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

export interface NamespaceEnd {
  /** E.g. 10.77.0.1/24; no address when absent. */
  readonly address?: string;
  readonly mac?: string;
}

export interface Finished {
  readonly code: number | null;
  readonly output: string;
}

/** One side of the cable; its interface is called eth0. */
export class Namespace {
  private readonly children = new Set<ChildProcess>();

  constructor(readonly name: string) {}

  /** Starts a program inside. It is killed by `close` of the pair at the latest. */
  spawn(argv: readonly string[], options: { env?: Record<string, string>; cwd?: string } = {}): ChildProcess {
    // `ip netns exec` replaces itself by the program, so the child's pid is the program's
    const child = spawn('ip', ['netns', 'exec', this.name, ...argv], {
      env: { PATH, ...options.env }, // a client's hook may print its whole environment
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd && { cwd: options.cwd }),
    });
    this.children.add(child);
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  /** Runs a program inside to its end; never rejects for its exit code. */
  exec(argv: readonly string[], options: { env?: Record<string, string> } = {}): Promise<Finished> {
    const child = this.spawn(argv, options);
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, output }));
      // a daemon that it leaves behind may keep the pipes open: what has not come a second later is the daemon's
      child.once('exit', (code) => setTimeout(() => resolve({ code, output }), 1000).unref());
    });
  }

  ip(...args: string[]): Promise<unknown> {
    return run('ip', ['-n', this.name, ...args], { env: { PATH } });
  }

  /** Kills what still runs inside, daemons included, and removes the namespace with its end of the cable. */
  async close(): Promise<void> {
    const exited = [...this.children].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    const { stdout } = await run('ip', ['netns', 'pids', this.name], { env: { PATH } });
    for (const pid of stdout.split('\n').filter((line) => /^\d+$/.test(line))) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // it ended by itself
      }
    }
    await Promise.all(exited);
    await run('ip', ['netns', 'delete', this.name], { env: { PATH } });
  }
}

export class NamespacePair {
  private constructor(
    readonly left: Namespace,
    readonly right: Namespace,
  ) {}

  static async create(ends: { left?: NamespaceEnd; right?: NamespaceEnd } = {}): Promise<NamespacePair> {
    const [left, right] = [new Namespace(uniqueName('l')), new Namespace(uniqueName('r'))];
    const made: Namespace[] = [];
    try {
      for (const side of [left, right]) {
        await run('ip', ['netns', 'add', side.name], { env: { PATH } });
        made.push(side);
      }
      // made inside, so that no name can clash in the machine's own namespace
      await left.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', right.name);
      for (const [side, end] of [
        [left, ends.left],
        [right, ends.right],
      ] as const) {
        if (end?.mac) await side.ip('link', 'set', 'eth0', 'address', end.mac);
        if (end?.address) await side.ip('address', 'add', end.address, 'dev', 'eth0');
        await side.ip('link', 'set', 'lo', 'up');
        await side.ip('link', 'set', 'eth0', 'up');
      }
      return new NamespacePair(left, right);
    } catch (error) {
      for (const side of made) await side.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.left.close(), this.right.close()]);
  }
}

/** Other test runs on this machine must not meet ours. */
function uniqueName(role: string): string {
  return `bms-${process.pid}-${randomBytes(3).toString('hex')}-${role}`;
}
