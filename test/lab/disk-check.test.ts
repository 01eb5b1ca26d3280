/** What the lab has other programs say of a disk: they must be content with a sound one, and name what is wrong with one that is damaged. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkDisk, DISK_CHECKERS } from '../../lab/support/disk-check.ts';
import { findProgram } from '../support/netns.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const MIB = 1024 * 1024;
const needed = [...DISK_CHECKERS, { name: 'mke2fs', debian: 'e2fsprogs' }, { name: 'mkswap', debian: 'util-linux' }];
const missing = needed.filter(({ name }) => findProgram(name) === undefined).map(({ name, debian }) => `${name} (${debian})`);
if (missing.length > 0) console.warn(`skipped: the lab's look at disks needs ${missing.join(', ')}`);

const program = (name: string): string => findProgram(name) ?? name;
const folder = temporaryFolder();
const ROOT_MIB = 1;
const SWAP_MIB = 17;
const DRIVE_MIB = 19;
const SOUND = ['ext4', 'swap', 'ext2 "config-2"'];

describe.skipIf(missing.length > 0)('what other programs say of a deployed disk', () => {
  beforeAll(() => folder.create());
  afterAll(() => folder.remove());

  it.each(['gpt', 'dos'] as const)('a sound one with a %s table has no complaint', async (label) => {
    expect(await checkDisk(disk(label), SOUND)).toEqual({ found: `${label}: ext4, swap, ext2 "config-2"` });
  });

  it.each<[string, 'gpt' | 'dos', number, Uint8Array, RegExp]>([
    ['the second table is gone', 'gpt', 24 * MIB - 512, new Uint8Array(512), /sgdisk: .*invalid backup GPT header/s],
    ['the protective entry spans another disk', 'gpt', 446 + 12, Uint8Array.of(0xff, 0x7f, 0, 0), /sfdisk: .*PMBR size mismatch/s],
    ['a group descriptor of the root points elsewhere', 'dos', ROOT_MIB * MIB + 4096, new Uint8Array(32).fill(0xa5), /e2fsck ends with/],
    ['the superblock of the root is gone', 'gpt', ROOT_MIB * MIB, new Uint8Array(4096).fill(0xa5), /and there is no file system, swap,/],
    ['a bit of an inode table has turned', 'gpt', -1, Uint8Array.of(0xff), /e2fsck ends with/],
    ['the swap has lost its signature', 'dos', SWAP_MIB * MIB + 4086, new Uint8Array(10), /and there is ext4, no file system,/],
    ['no config drive', 'gpt', DRIVE_MIB * MIB, new Uint8Array(4096), /and there is ext4, swap, no file system/],
    ['no table at all', 'dos', 0, new Uint8Array(512), /sfdisk reads no table/],
  ])('damaged: %s', async (_, label, at, bytes, words) => {
    const file = disk(label);
    const descriptor = openSync(file, 'r+');
    writeSync(descriptor, bytes, 0, bytes.length, at < 0 ? rootInode(file) : at);
    closeSync(descriptor);
    expect((await checkDisk(file, SOUND)).problem).toMatch(words);
  });
});

/** 24 MiB with a root file system, swap and a drive with the config drive's label. */
function disk(label: 'gpt' | 'dos'): string {
  const file = folder.path(`${label}.raw`);
  writeFileSync(file, '');
  truncateSync(file, 24 * MIB);
  const table = [
    `label: ${label}`,
    ...[ROOT_MIB, SWAP_MIB, DRIVE_MIB].map((start, index) => `start=${start}MiB, size=${[16, 2, 2][index]}MiB`),
  ];
  execFileSync(program('sfdisk'), ['--quiet', file], { input: `${table.join('\n')}\n`, stdio: ['pipe', 'ignore', 'ignore'] });
  const part = (...argv: string[]): void => void execFileSync(program(argv[0] ?? ''), argv.slice(1), { stdio: 'ignore' });
  part('mke2fs', '-q', '-F', '-t', 'ext4', '-b', '1024', '-E', `offset=${ROOT_MIB * MIB}`, file, '16M');
  part('mke2fs', '-q', '-F', '-t', 'ext2', '-L', 'config-2', '-E', `offset=${DRIVE_MIB * MIB}`, file, '2M');
  const swap = folder.path('swap');
  writeFileSync(swap, new Uint8Array(2 * MIB));
  part('mkswap', swap);
  execFileSync('dd', [`if=${swap}`, `of=${file}`, 'bs=1M', `seek=${SWAP_MIB}`, 'conv=notrunc'], { stdio: 'ignore' });
  return file;
}

/** Where the root directory's inode lies: number 2; its byte 28 counts its blocks. */
function rootInode(file: string): number {
  const said = execFileSync(program('debugfs'), ['-R', 'imap <2>', `${file}?offset=${ROOT_MIB * MIB}`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [, block = '0', offset = '0'] = /located at block (\d+), offset 0x([0-9a-f]+)/.exec(said) ?? [];
  return ROOT_MIB * MIB + Number(block) * 1024 + Number.parseInt(offset, 16) + 28;
}
