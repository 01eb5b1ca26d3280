/** File systems from folders, without mounts and without root: ext4 by mke2fs, FAT by mtools. Same content, same bytes. */
import { execFile } from 'node:child_process';
import { lutimesSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;
const MIB = 1024 * 1024;
/** Of every file and of the file systems themselves: 2026-01-01. */
const EPOCH_SECONDS = 1_767_225_600;

/** Root and everything below belongs to root whoever builds: under fakeroot where that is somebody else. */
export async function ext4(
  folder: string,
  file: string,
  { sizeMib, uuid, label }: { sizeMib: number; uuid: string; label: string },
): Promise<void> {
  ageless(folder);
  rmSync(file, { force: true });
  const options = `root_owner=0:0,hash_seed=${uuid},lazy_itable_init=0`;
  // GRUB 2.06 reads no file system with metadata_csum_seed, and orphan_file is newer than it too.
  const argv = [
    'mke2fs',
    '-q',
    '-t',
    'ext4',
    '-O',
    '^metadata_csum_seed',
    '-U',
    uuid,
    '-L',
    label,
    '-E',
    options,
    '-d',
    folder,
    file,
    `${sizeMib}M`,
  ];
  const [program = '', ...rest] = process.getuid?.() === 0 ? argv : ['fakeroot', '--', ...argv];
  await run(program, rest, { env: { PATH, E2FSPROGS_FAKE_TIME: String(EPOCH_SECONDS), SOURCE_DATE_EPOCH: String(EPOCH_SECONDS) } });
  await ageInodes(folder, file, `${file}.debugfs`);
}

/** The content of `folder`. */
export async function fat(folder: string, file: string, { sizeMib }: { sizeMib: number }): Promise<void> {
  ageless(folder);
  writeFileSync(file, '');
  truncateSync(file, sizeMib * MIB);
  const env = { PATH, MTOOLS_SKIP_CHECK: '1', TZ: 'UTC' };
  // no label: it would carry the time of day
  await run('mformat', ['-i', file, '-N', '4d42494d', '::'], { env });
  // -m: with the times of the folder, which are always the same
  await run('mcopy', ['-s', '-m', '-i', file, ...readdirSync(folder).map((name) => join(folder, name)), '::/'], { env });
}

/**
 * mke2fs takes over when an inode last changed and was read, which nobody can set on the files themselves (E2FSPROGS_FAKE_TIME is for its own):
 * debugfs sets both.
 */
async function ageInodes(folder: string, file: string, scratch: string): Promise<void> {
  const paths = ['', ...pathsBelow(folder), 'lost+found'];
  const commands = paths.flatMap((path) => ['ctime', 'atime'].map((field) => `set_inode_field "/${path}" ${field} @${EPOCH_SECONDS}`));
  writeFileSync(scratch, `${commands.join('\n')}\n`);
  await run('debugfs', ['-w', '-f', scratch, file], { env: { PATH, E2FSPROGS_FAKE_TIME: String(EPOCH_SECONDS) }, maxBuffer: 256 * MIB });
  rmSync(scratch);
}

function ageless(folder: string): void {
  for (const path of ['', ...pathsBelow(folder)]) lutimesSync(join(folder, path), EPOCH_SECONDS, EPOCH_SECONDS);
}

/** Relative to `folder`. Not by readdir's own recursion, which walks through links, out of the folder: /dev/fd leads to /proc. */
export function pathsBelow(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name);
    return entry.isDirectory() ? [path, ...pathsBelow(folder, path)] : [path];
  });
}
