/** Debian's own tools judge what we write: sfdisk and blkid read our tables, mkfs and mkswap write what we read. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { buildManifest, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import {
  describeDisk,
  encodeIso9660,
  encodeSwapHeader,
  fileSystemOf,
  type ReadableSink,
  SUPERBLOCK_BYTES,
  writePartitionImage,
} from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MIB = 1024 * 1024;
const PACKAGES = {
  sfdisk: 'fdisk',
  blkid: 'util-linux',
  'mkfs.ext4': 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  'mkfs.btrfs': 'btrfs-progs',
  mkswap: 'util-linux',
  swaplabel: 'util-linux',
};
const missing = Object.entries(PACKAGES).filter(([program]) => spawnSync('which', [program]).status !== 0);
for (const [program, debianPackage] of missing) console.warn(`SKIPPED: ${program} is missing (Debian package ${debianPackage})`);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'layout-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A sparse file as a disk. */
function fileDisk(path: string, sizeBytes: number): ReadableSink & { writes: number; close(): void } {
  const fd = openSync(path, 'r+');
  const disk = {
    blockBytes: 512,
    sizeBytes,
    writes: 0,
    read: async (offset: number, length: number) => {
      const bytes = new Uint8Array(length);
      readSync(fd, bytes, 0, length, offset);
      return bytes;
    },
    write: async (offset: number, data: Uint8Array) => {
      disk.writes += 1;
      writeSync(fd, data, 0, data.length, offset);
    },
    zero: async (offset: number, length: number) => {
      disk.writes += 1;
      for (let at = 0; at < length; at += MIB)
        writeSync(fd, new Uint8Array(Math.min(MIB, length - at)), 0, Math.min(MIB, length - at), offset + at);
    },
    flush: async () => undefined,
    close: () => closeSync(fd),
  };
  return disk;
}

function fileSystem(type: string, name: string): { path: string; uuid: string } {
  const path = join(folder, name);
  writeFileSync(path, '');
  const sizeMib = type === 'xfs' ? 320 : type === 'btrfs' ? 128 : 16;
  truncateSync(path, sizeMib * MIB);
  execFileSync(`mkfs.${type}`, [...(type === 'xfs' ? ['-L', 'rootfs'] : ['-q', '-L', 'rootfs']), path], { stdio: 'ignore' });
  return { path, uuid: tag(path, 'UUID') };
}

function tag(path: string, name: string, offset = 0): string {
  return execFileSync('blkid', ['-p', '-O', String(offset), '-s', name, '-o', 'value', path], { encoding: 'utf8' }).trim();
}

async function partitioned(
  name: string,
  options: { table?: 'mbr' | 'gpt'; ephemeralMb?: number; preserve?: boolean; again?: boolean; rootMb?: number; configDrive?: Uint8Array },
) {
  const source = fileSystem('ext4', `${name}.ext4`);
  const path = join(folder, name);
  const sizeBytes = 96 * MIB;
  if (!options.again) {
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
  }
  const disk = fileDisk(path, sizeBytes);
  const image = await openImage({ path: source.path });
  try {
    const written = await writePartitionImage(image, disk, {
      manifest: await buildManifest(image),
      verify: 'all',
      random: nodeRandom,
      partitions: {
        rootMb: options.rootMb ?? 32,
        swapMb: 8,
        ephemeralMb: options.ephemeralMb ?? 0,
        ...(options.table && { table: options.table }),
      },
      ...(options.preserve && { preserveEphemeral: true }),
      ...(options.configDrive && { configDrive: options.configDrive }),
    });
    return { path, source, written, disk };
  } finally {
    await image.close();
    disk.close();
  }
}

interface SfdiskPartition {
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly name?: string;
}

function sfdisk(path: string): { label: string; partitions: SfdiskPartition[] } {
  const { partitiontable } = JSON.parse(
    execFileSync('sfdisk', ['--json', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  return partitiontable;
}

describe.skipIf(missing.length > 0)('002-12: partitions, in the eyes of Debian', () => {
  it('MBR: sfdisk reads root and swap where we put them, blkid the root file system and the swap space', async () => {
    const { path, source, written } = await partitioned('mbr', {});
    const { label, partitions } = sfdisk(path);
    expect([label, partitions.map(({ start, size, type }) => `${type} ${(start * 512) / MIB}+${(size * 512) / MIB}`)]).toEqual([
      'dos',
      ['83 1+32', '82 33+8'],
    ]);
    expect(execFileSync('sfdisk', ['--verify', path], { encoding: 'utf8' })).toContain('No errors');
    expect([tag(path, 'TYPE', MIB), tag(path, 'UUID', MIB)]).toEqual(['ext4', source.uuid]);
    expect(written.root).toEqual({ type: 'ext4', uuid: source.uuid, label: 'rootfs' });
    expect([tag(path, 'TYPE', 33 * MIB), tag(path, 'LABEL', 33 * MIB)]).toEqual(['swap', 'swap1']);
  });

  it('GPT: sfdisk verifies both copies of the table', async () => {
    const { path } = await partitioned('gpt', { table: 'gpt', ephemeralMb: 16 });
    const { label, partitions } = sfdisk(path);
    expect(label).toBe('gpt');
    expect(partitions.map(({ name, start, size }) => `${name} ${(start * 512) / MIB}+${(size * 512) / MIB}`)).toEqual([
      'ephemeral 1+16',
      'swap 17+8',
      'root 25+32',
    ]);
    expect(execFileSync('sfdisk', ['--verify', path], { encoding: 'utf8' })).toContain('No errors');
    // With the first copy gone, the second one alone must do.
    const copy = join(folder, 'gpt-backup');
    const bytes = readFileSync(path);
    bytes.fill(0, 512, 34 * 512);
    writeFileSync(copy, bytes);
    expect(sfdisk(copy).partitions).toHaveLength(3);
  });

  it('e2fsck finds the written root clean, swaplabel the swap space, blkid the config drive behind them', async () => {
    const configDrive = encodeIso9660({ label: 'config-2', files: [{ path: 'openstack/latest/meta_data.json', content: '{}' }] });
    const { path, written } = await partitioned('checked', { configDrive });
    expect(sfdisk(path).partitions).toHaveLength(3);
    expect(execFileSync('e2fsck', ['-fn', `${path}?offset=${MIB}`], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })).toMatch(
      /clean|files/,
    );
    const [, swap, config] = written.layout.partitions;
    const swapFile = join(folder, 'swap-part');
    const from = (swap?.firstBlock ?? 0) * 512;
    writeFileSync(swapFile, readFileSync(path).subarray(from, from + (swap?.blocks ?? 0) * 512));
    expect(execFileSync('swaplabel', [swapFile], { encoding: 'utf8' })).toMatch(/LABEL: +swap1\nUUID: +[\da-f-]{36}/);
    expect(tag(path, 'LABEL', (config?.firstBlock ?? 0) * 512)).toBe('config-2');
  });

  it.each(['ext4', 'xfs', 'btrfs'])('what a disk with %s holds is said in words', (type) => {
    const { path } = fileSystem(type, `held-${type}`);
    expect(describeDisk(readFileSync(path).subarray(0, MIB), { blockBytes: 512 })).toBe(`the ${type} file system "rootfs"`);
  });

  it('a rebuild keeps every byte of the ephemeral partition, and without being asked to it erases what was there', async () => {
    const { path } = await partitioned('eph', { ephemeralMb: 16 });
    const content = nodeRandom.bytes(16 * MIB);
    const fd = openSync(path, 'r+');
    writeSync(fd, content, 0, content.length, MIB);
    closeSync(fd);
    await partitioned('eph', { ephemeralMb: 16, preserve: true, again: true });
    expect(Buffer.compare(readFileSync(path).subarray(MIB, 17 * MIB), content)).toBe(0);
    await partitioned('eph', { ephemeralMb: 16, again: true });
    expect(
      readFileSync(path)
        .subarray(MIB, 2 * MIB)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it.each([
    { name: 'an empty disk', ephemeralMb: 16, first: false, reason: /no partition table/ },
    { name: 'another ephemeral size', ephemeralMb: 24, first: true, reason: /partitioned otherwise \(ephemeral\)/ },
    { name: 'a flavor without one', ephemeralMb: 0, first: true, reason: /the flavor has none/ },
  ])('a rebuild that cannot preserve ($name) writes nothing', async ({ name, ephemeralMb, first, reason }) => {
    const file = `not-${name.replaceAll(' ', '-')}`;
    if (first) await partitioned(file, { ephemeralMb: 16 });
    const before = first ? readFileSync(join(folder, file)) : Buffer.alloc(96 * MIB);
    await expect(partitioned(file, { ephemeralMb, preserve: true, again: first })).rejects.toMatchObject({
      code: 'LAYOUT_NOT_PRESERVED',
      message: expect.stringMatching(reason),
    });
    expect(Buffer.compare(readFileSync(join(folder, file)), before)).toBe(0);
  });

  it.each(['ext2', 'ext3', 'ext4', 'xfs', 'btrfs'])('the superblock of %s: type and UUID as blkid has them', (type) => {
    const { path, uuid } = fileSystem(type, `super.${type}`);
    expect(fileSystemOf(readFileSync(path).subarray(0, SUPERBLOCK_BYTES))).toEqual({ type, uuid, label: 'rootfs' });
    expect(tag(path, 'TYPE')).toBe(type);
  });

  it('our swap header is that of mkswap, byte for byte', () => {
    const path = join(folder, 'swap');
    writeFileSync(path, '', { mode: 0o600 });
    truncateSync(path, 8 * MIB);
    const uuid = '0e8c7a52-5cf1-4d5e-9f39-0a4d5f1b2c3d';
    execFileSync('mkswap', ['-L', 'swap1', '-U', uuid, path], { stdio: 'ignore' });
    expect(Buffer.compare(readFileSync(path).subarray(0, 4096), encodeSwapHeader({ partitionBytes: 8 * MIB, uuid, label: 'swap1' }))).toBe(
      0,
    );
  });
});
