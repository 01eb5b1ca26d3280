/** The `Processes` of a real machine. */
import { spawn } from 'node:child_process';
import type { Processes } from './processes.ts';

/** What a program may say before the rest is dropped. */
const OUTPUT_LIMIT_CHARS = 256 * 1024;

/** What a program starts and leaves behind (a machine, the connection that ssh shares) may hold its output open as long as it lives: no more is waited for then. */
const OUTPUT_AFTER_EXIT_MS = 500;

/** What ssh and virsh need. The rest stays here: a daemon's own environment may hold passwords, which are no business of other programs. */
const PASSED_ON = /^(?:PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|SSH_AUTH_SOCK|XDG_RUNTIME_DIR|LIBVIRT_DEFAULT_URI|VBOX_[A-Z_]+)$/;

/** LC_ALL: what programs say is read, so it has to be the untranslated words. */
function environment(): Record<string, string> {
  const passed = Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && PASSED_ON.test(name) ? [[name, value]] : [],
  );
  return { ...Object.fromEntries(passed), LC_ALL: 'C' };
}

export const nodeProcesses: Processes = {
  run({ program, args, limitMs, signal }) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      // a process group of its own: what ssh started dies with ssh
      const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: environment() });
      const output = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const)
        child[name].setEncoding('utf8').on('data', (chunk: string) => {
          if (output[name].length < OUTPUT_LIMIT_CHARS) output[name] += chunk;
        });
      let leftBehind: NodeJS.Timeout | undefined;
      const settle = (work: () => void): void => {
        clearTimeout(timer);
        clearTimeout(leftBehind);
        child.removeAllListeners('exit');
        signal?.removeEventListener('abort', onAbort);
        child.stdout.destroy();
        child.stderr.destroy();
        work();
      };
      const kill = (reason: unknown): void => {
        if (child.pid !== undefined) {
          try {
            process.kill(-child.pid, 'SIGKILL');
          } catch {
            // gone already
          }
        }
        settle(() => reject(reason));
      };
      const timer = setTimeout(() => kill(new Error(`${program} did not end within ${limitMs / 1000} s`)), limitMs);
      const onAbort = (): void => kill(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      const ended = (code: number | null): void => settle(() => resolve({ exitCode: code ?? undefined, ...output }));
      child.once('error', (error) => settle(() => reject(error)));
      child.once('close', ended);
      child.once('exit', (code) => {
        leftBehind = setTimeout(ended, OUTPUT_AFTER_EXIT_MS, code);
      });
    });
  },
};
