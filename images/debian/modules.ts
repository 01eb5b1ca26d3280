/** The kernel modules that an early file system carries: those that are asked for, and all that they need. */
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { ArchiveEntry } from './cpio.ts';

const run = promisify(execFile);

export interface ModuleChoice {
  /** Folders below `kernel/`, taken whole. */
  readonly folders?: readonly string[];
  /** By name, without `.ko`. One that the kernel has built in, or lacks, is passed over. */
  readonly names?: readonly string[];
  /** By path below `kernel/`: left out although a folder has it. */
  readonly without?: RegExp;
}

/** `root`: where the kernel's package is unpacked. */
export function kernelRelease(root: string): string {
  const releases = readdirSync(join(root, 'lib/modules'));
  const [release] = releases;
  if (release === undefined || releases.length !== 1) throw new Error(`${root} holds ${releases.length} kernels where one is expected`);
  return release;
}

/** The modules with the indexes that modprobe reads, as entries of an archive below lib/modules. Needs depmod (Debian package kmod). */
export async function moduleEntries(root: string, choice: ModuleChoice): Promise<ArchiveEntry[]> {
  const release = kernelRelease(root);
  const folder = join(root, 'lib/modules', release);
  const all = readdirSync(join(folder, 'kernel'), { recursive: true, encoding: 'utf8' }).filter((path) => /\.ko(\.xz|\.zst)?$/.test(path));
  const scratch = mkdtempSync(join(tmpdir(), 'bms-modules-'));
  try {
    const chosen = await closure(root, release, scratch, chosenOf(all, choice));
    const staged = join(scratch, 'chosen/lib/modules', release);
    for (const path of chosen) {
      const target = join(staged, 'kernel', path);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join(folder, 'kernel', path), target);
    }
    for (const file of ['modules.order', 'modules.builtin', 'modules.builtin.modinfo']) {
      if (existsSync(join(folder, file))) copyFileSync(join(folder, file), join(staged, file));
    }
    await run('depmod', ['--basedir', join(scratch, 'chosen'), release], { env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
    const files = [...chosen.map((path) => `kernel/${path}`), 'modules.dep', 'modules.alias'];
    return files.map((path) => ({ path: `lib/modules/${release}/${path}`, kind: 'file', content: readFileSync(join(staged, path)) }));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** Names of modules as the kernel knows them: `-` and `_` are one. */
function nameOf(path: string): string {
  return basename(path)
    .replace(/\.ko(\.xz|\.zst)?$/, '')
    .replaceAll('-', '_');
}

export function chosenOf(all: readonly string[], { folders = [], names = [], without }: ModuleChoice): string[] {
  const wanted = new Set(names.map((name) => name.replaceAll('-', '_')));
  return all.filter(
    (path) => wanted.has(nameOf(path)) || (folders.some((folder) => path.startsWith(`${folder}/`)) && without?.test(path) !== true),
  );
}

/** With what each of them needs, from the index that depmod makes of the whole kernel. */
async function closure(root: string, release: string, scratch: string, chosen: readonly string[]): Promise<string[]> {
  const index = join(scratch, 'index');
  mkdirSync(index);
  const options = { env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` }, maxBuffer: 64 * 1024 * 1024 };
  // -n prints the indexes instead of writing them: the package's folder stays as it is.
  const { stdout } = await run('depmod', ['-n', '--basedir', root, release], options);
  const needs = new Map<string, readonly string[]>();
  for (const line of stdout.split('\n')) {
    const parts = /^kernel\/(\S+\.ko(?:\.xz|\.zst)?):(.*)$/.exec(line);
    if (parts?.[1] !== undefined) {
      needs.set(
        parts[1],
        (parts[2] ?? '')
          .split(' ')
          .filter((path) => path !== '')
          .map((path) => path.replace(/^kernel\//, '')),
      );
    }
  }
  const result = new Set<string>();
  const add = (path: string): void => {
    if (result.has(path)) return;
    result.add(path);
    for (const needed of needs.get(path) ?? []) add(needed);
  };
  for (const path of chosen) add(path);
  return [...result].sort();
}
