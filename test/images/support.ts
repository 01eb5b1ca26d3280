/** Runs pieces of the ramdisk's scripts under shells of this machine. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

export const PARTS = 'images/ramdisk/root/lib/bms';
const SBIN = '/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin';

export interface Shell {
  readonly name: string;
  /** Runs `script` with these variables; what it prints. */
  run(script: string, env?: Readonly<Record<string, string>>): Promise<{ code: number | null; output: string }>;
}

/** Busybox with its own programs, as in the ramdisk. `folder` receives links to them. Undefined, aloud, where it is not there. */
export function busyboxShell(folder: string): Shell | undefined {
  if (spawnSync('busybox', ['nc', '--help']).status !== 0) {
    console.warn('skipped: busybox is missing (Debian package busybox-static)');
    return undefined;
  }
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const installed = spawnSync('busybox', ['--install', '-s', bin]);
  if (installed.status !== 0) throw new Error(installed.stderr.toString());
  return shell('busybox sh', ['busybox', 'sh'], bin);
}

/** The strictest common shell, with GNU's programs. */
export function dashShell(): Shell | undefined {
  if (spawnSync('dash', ['-c', ':']).status === 0) return shell('dash', ['dash'], '');
  console.warn('skipped: dash is missing (Debian package dash)');
  return undefined;
}

function shell(name: string, [program = '', ...first]: readonly string[], bin: string): Shell {
  return {
    name,
    run: (script, env = {}) => {
      // a process group of its own: what the script leaves behind goes with it
      const child = spawn(program, [...first, '-c', script], {
        env: { PATH: bin === '' ? SBIN : `${bin}:${SBIN}`, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
      return new Promise((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', () => {
          try {
            if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
          } catch {
            // nothing was left
          }
        });
        child.once('close', (code) => resolve({ code, output }));
      });
    },
  };
}

/** The functions of these parts, without what the ramdisk does on its own at start. */
export function sourced(parts: readonly string[], script: string): string {
  return [`LIB=${PARTS}`, ...parts.map((part) => `. ${PARTS}/${part}.sh`), script].join('\n');
}
