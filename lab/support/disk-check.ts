/**
 * What programs that are not ours say of a disk that was deployed and has run: its table (sgdisk, sfdisk), what lies in its partitions (blkid), its ext
 * file systems (e2fsck), its swap (swaplabel).
 */
import { execFile } from 'node:child_process';
import { constants, copyFileSync, rmSync } from 'node:fs';
import type { Program } from './namespace.ts';

export interface DiskVerdict {
  /** Undefined when nobody complains. */
  readonly problem?: string;
  /** E.g. `gpt: ext4, swap, iso9660 "config-2"`. */
  readonly found: string;
}

export const DISK_CHECKERS: readonly Program[] = [
  { name: 'sgdisk', debian: 'gdisk' },
  { name: 'sfdisk', debian: 'fdisk' },
  { name: 'blkid', debian: 'util-linux' },
  { name: 'swaplabel', debian: 'util-linux' },
  { name: 'e2fsck', debian: 'e2fsprogs' },
];

interface Table {
  readonly partitiontable: { readonly label: string; readonly partitions?: readonly { readonly start: number; readonly size: number }[] };
}

const SECTOR_BYTES = 512;

/** `disk` is a raw image of a machine that is off; its copy is looked at. `expected`: what its partitions must hold, in their order. */
export async function checkDisk(disk: string, expected: readonly string[]): Promise<DiskVerdict> {
  const copy = `${disk}.copy`;
  const part = `${disk}.part`;
  copyFileSync(disk, copy, constants.COPYFILE_FICLONE);
  try {
    const listed = await run('sfdisk', '--json', copy);
    if (listed.code !== 0) return { problem: `sfdisk reads no table: ${listed.said}`, found: 'nothing' };
    const { label, partitions = [] } = (JSON.parse(listed.stdout) as Table).partitiontable;
    const problems: string[] = [];
    if (label === 'gpt') {
      const { said } = await run('sgdisk', '--verify', copy); // which ends with 0 whatever it finds
      if (!said.includes('No problems found') || /caution|invalid/i.test(said)) problems.push(`sgdisk: ${said}`);
    }
    const verified = await run('sfdisk', '--verify', copy);
    if (verified.code !== 0 || /GPT.*(corrupt|mismatch)/i.test(verified.said)) problems.push(`sfdisk: ${verified.said}`);
    const found: string[] = [];
    for (const { start, size } of partitions) {
      const extent = [
        `skip=${start * SECTOR_BYTES}`,
        `count=${size * SECTOR_BYTES}`,
        'iflag=skip_bytes,count_bytes',
        'bs=1M',
        'conv=sparse',
      ];
      await run('dd', `if=${copy}`, `of=${part}`, ...extent);
      const probed = await run('blkid', '--probe', '--output', 'export', part);
      const [, type = 'no file system'] = /^TYPE=(.*)$/m.exec(probed.stdout) ?? [];
      const [, name] = /^LABEL=(.*)$/m.exec(probed.stdout) ?? [];
      found.push(name === undefined ? type : `${type} "${name}"`);
      if (type.startsWith('ext')) problems.push(...(await checkExt(part)));
      if (type === 'swap') {
        const { code, said } = await run('swaplabel', part);
        if (code !== 0 || !/UUID/.test(said)) problems.push(`swaplabel: ${said}`);
      }
    }
    if (found.join() !== expected.join()) problems.push(`there should be ${expected.join(', ')}, and there is ${found.join(', ')}`);
    return { found: `${label}: ${found.join(', ')}`, ...(problems.length > 0 && { problem: problems.join('; ') }) };
  } finally {
    for (const file of [copy, part]) rmSync(file, { force: true });
  }
}

/** The power was cut while it was mounted: the journal is replayed first, as the next mount does it. Then not one complaint is forgiven. */
async function checkExt(file: string): Promise<string[]> {
  const replayed = await run('e2fsck', '-y', '-E', 'journal_only', file);
  if (replayed.code > 1) return [`e2fsck does not replay the journal (${replayed.code}): ${replayed.said}`];
  const { code, said } = await run('e2fsck', '-f', '-n', file);
  return code === 0 ? [] : [`e2fsck ends with ${code}: ${said}`];
}

/** In English, wherever it runs: its words are read. */
const environment = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' };

function run(program: string, ...argv: string[]): Promise<{ code: number; stdout: string; said: string }> {
  return new Promise((resolve) => {
    execFile(program, argv, { env: environment }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 127;
      resolve({ code, stdout, said: `${stdout}${stderr}`.trim() || (error?.message ?? '') });
    });
  });
}
