/** The machine that bmctl runs on. */
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { InitHost } from './init.ts';

const execute = promisify(execFile);

export const nodeInitHost: InitHost = {
  uid: process.getuid?.() ?? -1,
  findProgram: (name) =>
    [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin']
      .filter((folder) => folder !== '')
      .map((folder) => join(folder, name))
      .find((path) => {
        try {
          accessSync(path, constants.X_OK);
          return true;
        } catch {
          return false; // not in this folder
        }
      }),
  outputOf: async (program, args) => (await execute(program, [...args])).stdout,
  run: (program, args) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, [...args], { stdio: 'inherit' });
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 1));
    }),
  readFile: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined; // not there, or not for us: both mean that nothing is known of it
    }
  },
  writePrivateFile: (name, content) => {
    const file = join(mkdtempSync(join(tmpdir(), 'bmctl-init-')), name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  },
};
