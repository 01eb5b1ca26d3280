/** The `ProcessRunner` of a real machine. */
import { spawn } from 'node:child_process';
import type { ProcessRunner } from './process-runner.ts';

/** What a program may say before the rest is dropped. */
const OUTPUT_LIMIT_CHARS = 4 * 1024 * 1024;

export const nodeProcessRunner: ProcessRunner = {
  run({ program, args, environment, directory, signal }) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const child = spawn(program, args, {
        env: environment,
        ...(directory !== undefined && { cwd: directory }),
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true, // a process group of its own: git's helpers die with git
      });
      const output = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr'] as const) {
        child[name].setEncoding('utf8').on('data', (chunk: string) => {
          if (output[name].length < OUTPUT_LIMIT_CHARS) output[name] += chunk;
        });
      }
      const onAbort = (): void => {
        if (child.pid === undefined) return;
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {
          // gone already
        }
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const settle = (work: () => void): void => {
        signal.removeEventListener('abort', onAbort);
        work();
      };
      child.once('error', (error) => settle(() => reject(error)));
      child.once('close', (code, killedBy) =>
        settle(() => {
          if (signal.aborted) reject(signal.reason);
          else resolve({ exitCode: code ?? undefined, killedBy: killedBy ?? undefined, ...output });
        }),
      );
    });
  },
};
