/**
 * A container of its own for the programs as they ship: a file tree of its own (the machine's /usr is shared in), its own
 * process numbers, and the built launch directory at /opt/launch. Needs root.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { isRoot, Sandbox } from './sandbox.ts';

export const canContain =
  isRoot && spawnSync('unshare', ['--mount', '--pid', '--fork', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;
if (!canContain) console.warn('test/runtime/launch: no right to unshare and mount (root needed): tests in a container are skipped');

/** Shares /usr, the Node that runs these tests and /proc in, then becomes the program as process 1. */
const ENTER = `
mount --bind /usr "$0/usr" && mount --bind "$1" "$0/opt/launch/node" && mount -t proc proc "$0/proc" || exit 99
root=$0; shift; exec chroot "$root" "$@"`;

export interface Ended {
  readonly exitCode: number | null;
  readonly killedBy: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Container extends Sandbox {
  constructor(launchDirectory: string) {
    super();
    for (const path of ['usr', 'opt/launch', 'proc', 'tmp', 'dev', 'srv/bin']) mkdirSync(this.at(`/${path}`), { recursive: true });
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, this.at(`/${name}`));
    execFileSync('mknod', ['-m', '666', this.at('/dev/null'), 'c', '1', '3']);
    for (const name of readdirSync(launchDirectory)) {
      copyFileSync(`${launchDirectory}/${name}`, this.at(`/opt/launch/${name}`));
      chmodSync(this.at(`/opt/launch/${name}`), 0o755);
    }
    writeFileSync(this.at('/opt/launch/node'), '');
  }

  /** A program in the container's PATH. */
  program(name: string, text: string, mode = 0o755): void {
    this.write(`/srv/bin/${name}`, text, mode);
  }

  /** What to run outside, to have `command` run inside. */
  commandLine(command: readonly string[], environment: Record<string, string> = {}): string[] {
    const env = { PATH: '/opt/launch:/srv/bin:/usr/bin:/bin', KOLLA_CONFIG_STRATEGY: 'COPY_ALWAYS', ...environment };
    const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const enter = ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', ENTER, this.root, process.execPath];
    return [...enter, '/usr/bin/env', '-i', ...words, ...command];
  }

  spawn(command: readonly string[], environment: Record<string, string> = {}): ChildProcess {
    const [program = '', ...args] = this.commandLine(command, environment);
    return spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  async exec(command: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
    return ended(this.spawn(command, environment));
  }
}

export function ended(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, killedBy) => resolve({ exitCode, killedBy, stdout, stderr }));
  });
}

/** Resolves when the program has printed `text` on its standard output. */
export function printed(child: ChildProcess, text: string): Promise<void> {
  let seen = '';
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer | string) => {
      seen += String(chunk);
      if (seen.includes(text)) resolve();
    });
    child.once('close', () => reject(new Error(`it ended without printing "${text}": ${seen}`)));
  });
}

/** The process that is number 1 inside, as numbered outside. */
export function processOne(child: ChildProcess): number {
  return Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim());
}
