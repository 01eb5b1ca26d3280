import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import {
  appendPartition,
  decodeGpt,
  decodeMbr,
  encodeGpt,
  encodeIso9660,
  encodeMbr,
  GPT_TYPE,
} from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { MemoryDisk } from 'cdk8s-baremetal-simulator/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { missingPrograms } from '../iscsi/tgtd.ts';

const MIB = 1024 * 1024;
const DRIVE = encodeIso9660({ label: 'config-2', files: [{ path: 'openstack/latest/meta_data.json', content: '{}' }] });
const OPTIONS = { name: 'config-2', random: nodeRandom };
/** As Ubuntu's cloud images have them: the root file system is number 1, and lies last. */
const CLOUD_IMAGE = [
  { number: 1, type: GPT_TYPE.linux, guid: '6f1a4f3e-0000-4000-8000-000000000001', firstBlock: 4096, blocks: 20_480, name: 'root' },
  {
    number: 14,
    type: '21686148-6449-6e6f-744e-656564454649',
    guid: '6f1a4f3e-0000-4000-8000-000000000002',
    firstBlock: 2048,
    blocks: 1024,
    name: '',
    attributes: 4n,
  },
  {
    number: 15,
    type: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
    guid: '6f1a4f3e-0000-4000-8000-000000000003',
    firstBlock: 3072,
    blocks: 1024,
    name: '',
  },
];

async function gptDisk(sizeBytes: number, blockBytes: 512 | 4096): Promise<MemoryDisk> {
  const disk = new MemoryDisk({ sizeBytes, blockBytes });
  const scale = blockBytes / 512;
  const entries = CLOUD_IMAGE.map((entry) => ({ ...entry, firstBlock: entry.firstBlock / scale, blocks: entry.blocks / scale }));
  const { primary, backup, backupOffset } = encodeGpt(
    { diskGuid: '6f1a4f3e-0000-4000-8000-00000000000f', entries },
    { blockBytes, diskBlocks: (16 * MIB) / blockBytes },
  );
  primary.fill(0x90, 0, 440); // boot code
  await disk.write(0, primary);
  await disk.write(backupOffset, backup);
  return disk;
}

describe('002-16: a config drive behind a whole-disk image', () => {
  const folder = temporaryFolder();
  beforeAll(() => folder.create());
  afterAll(() => folder.remove());
  const save = async (disk: MemoryDisk): Promise<string> => {
    writeFileSync(folder.path('disk'), await disk.read(0, disk.sizeBytes));
    return folder.path('disk');
  };

  it.each([512, 4096] as const)('GPT, blocks of %i: takes a free number, keeps every other and the boot code', async (blockBytes) => {
    const disk = await gptDisk(64 * MIB, blockBytes);
    const before = await disk.read(0, blockBytes);
    const appended = await appendPartition(disk, DRIVE, OPTIONS);
    expect(appended.number).toBe(2);
    const after = await disk.read(0, blockBytes);
    expect(decodeMbr(after)?.entries[0]).toMatchObject({ type: 0xee, firstBlock: 1, blocks: (64 * MIB) / blockBytes - 1 });
    expect(Buffer.compare(after.subarray(0, 458), before.subarray(0, 458))).toBe(0);
    expect(Buffer.compare(after.subarray(462), before.subarray(462))).toBe(0);
    const gpt = decodeGpt(await disk.read(0, MIB), blockBytes);
    expect(gpt?.entries.map(({ number }) => number)).toEqual([1, 2, 14, 15]);
    expect(gpt?.entries.find(({ number }) => number === 14)?.attributes).toBe(4n);
    expect((appended.firstBlock + appended.blocks) * blockBytes).toBeLessThanOrEqual(63 * MIB);
    const onDisk = await disk.read(appended.firstBlock * blockBytes, Math.ceil(DRIVE.length / blockBytes) * blockBytes);
    expect(Buffer.compare(onDisk.subarray(0, DRIVE.length), DRIVE)).toBe(0);
  });

  it('GPT beside an MBR of its own (hybrid): block 0 stays as it is', async () => {
    const disk = await gptDisk(64 * MIB, 512);
    const hybrid = encodeMbr({
      diskSignature: 7,
      entries: [
        { type: 0xee, firstBlock: 1, blocks: 2047 },
        { type: 0x83, firstBlock: 4096, blocks: 20_480 },
      ],
    });
    await disk.write(0, hybrid);
    await appendPartition(disk, DRIVE, OPTIONS);
    expect(Buffer.compare(await disk.read(0, 512), hybrid)).toBe(0);
  });

  it('MBR: takes a free place and changes no other byte', async () => {
    const disk = new MemoryDisk({ sizeBytes: 64 * MIB });
    const block = new Uint8Array(512).fill(0x90, 0, 440);
    block.set(
      encodeMbr({ diskSignature: 7, entries: [{ type: 0x83, firstBlock: 2048, blocks: 20_480, active: true }] }).subarray(440),
      440,
    );
    await disk.write(0, block);
    expect(await appendPartition(disk, DRIVE, OPTIONS)).toMatchObject({ number: 2 });
    const after = await disk.read(0, 512);
    expect(Buffer.compare(after.subarray(0, 462), block.subarray(0, 462))).toBe(0);
    expect(decodeMbr(after)?.entries.filter((entry) => entry !== undefined)).toHaveLength(2);
  });

  it.each([
    ['no table', async () => new MemoryDisk({ sizeBytes: 64 * MIB }), 'no partition table'],
    ['no room', () => gptDisk(16 * MIB, 512), 'needed behind them'],
    [
      'no free place',
      async () => {
        const disk = new MemoryDisk({ sizeBytes: 64 * MIB });
        const entries = [1, 2, 3, 4].map((n) => ({ type: 0x83, firstBlock: n * 2048, blocks: 2048 }));
        await disk.write(0, encodeMbr({ diskSignature: 1, entries }));
        return disk;
      },
      'all four places',
    ],
  ] as const)('%s: refused, and nothing is written', async (_, make, reason) => {
    const disk = await make();
    const before = disk.sha256();
    await expect(appendPartition(disk, new Uint8Array(4 * MIB).fill(1), OPTIONS)).rejects.toMatchObject({
      code: 'LAYOUT_CONFIG_DRIVE',
      message: expect.stringContaining(reason),
    });
    expect(disk.sha256()).toBe(before);
  });

  const missing = missingPrograms({ sgdisk: 'gdisk', sfdisk: 'fdisk', blkid: 'util-linux' });
  it.skipIf(missing.length > 0)('sgdisk finds both tables sound and at the ends of the disk, blkid the drive', async () => {
    const disk = await gptDisk(64 * MIB, 512);
    const { firstBlock } = await appendPartition(disk, DRIVE, OPTIONS);
    const path = await save(disk);
    expect(execFileSync('sgdisk', ['--verify', path], { encoding: 'utf8' })).toContain('No problems found');
    expect(spawnSync('sfdisk', ['--verify', path], { encoding: 'utf8' }).stderr).not.toContain('mismatch');
    expect(execFileSync('sgdisk', ['--info=14', path], { encoding: 'utf8' })).toMatch(/Attribute flags: 0000000000000004/);
    const probed = execFileSync('blkid', ['-p', '-O', String(firstBlock * 512), '-o', 'export', path], { encoding: 'utf8' });
    expect(probed).toContain('LABEL=config-2');
    expect(readFileSync(path).length).toBe(64 * MIB);
    truncateSync(path, 0);
  });
});
