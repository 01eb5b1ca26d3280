import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { type DriveFile, encodeConfigDrive, encodeVfat } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { missingPrograms } from '../iscsi/tgtd.ts';

const FILES: readonly DriveFile[] = [
  { path: 'openstack/latest/meta_data.json', content: '{"uuid":"83679162-1378-4288-a2d4-70e13ec132aa"}' },
  { path: 'openstack/latest/user_data', content: `#cloud-config\n${'# ü\n'.repeat(20_000)}` },
  { path: 'openstack/content/0000', content: 'auto lo\n' },
  { path: 'exactly-13-xx', content: new Uint8Array(4096).fill(7) },
  { path: 'empty', content: '' },
  ...Array.from({ length: 200 }, (_, n) => ({ path: `many/a-rather-long-name-of-a-file-number-${n}.json`, content: `${n}` })),
];

describe('config drives for disks with large blocks', () => {
  it.each([
    [512, 'CD001', 32_769],
    [2048, 'CD001', 32_769],
    [4096, 'FAT12', 54],
  ])('002-16: a disk with blocks of %i bytes has one that Linux mounts from it: %s', (blockBytes, magic, at) => {
    const drive = Buffer.from(encodeConfigDrive({ label: 'config-2', files: FILES }, blockBytes));
    expect(drive.toString('latin1', at, at + 5)).toBe(magic);
  });

  it('the same files give the same bytes, of whole sectors', () => {
    const drive = { label: 'config-2', files: FILES, sectorBytes: 4096 };
    expect(encodeVfat(drive).length % 4096).toBe(0);
    expect(Buffer.compare(encodeVfat(drive), encodeVfat(drive))).toBe(0);
  });

  const one = (path: string, bytes = 1): DriveFile => ({ path, content: new Uint8Array(bytes) });
  it.each([
    ['a label of twelve characters', 'twelve-chars', []],
    ['a label with a space', 'config 2', []],
    ['a path that leads out', 'config-2', [one('../etc/passwd')]],
    ['a name that FAT has not', 'config-2', [one('a:b')]],
    ['two names that differ by case', 'config-2', [one('x/a'), one('x/A')]],
    ['more than it can hold', 'config-2', [one('a', 130 * 2 ** 20)]],
  ])('refuses %s', (_, label, files) => {
    expect(() => encodeVfat({ label, files, sectorBytes: 4096 })).toThrow(expect.objectContaining({ code: 'LAYOUT_CONFIG_DRIVE' }));
  });

  const missing = missingPrograms({ blkid: 'util-linux', 'fsck.fat': 'dosfstools', mcopy: 'mtools' });
  describe.skipIf(missing.length > 0).each([512, 4096])('in the eyes of Debian, sectors of %i', (sectorBytes) => {
    const folder = temporaryFolder();
    beforeAll(() => {
      folder.create();
      writeFileSync(folder.path('drive'), encodeVfat({ label: 'config-2', files: FILES, sectorBytes }));
    });
    afterAll(() => folder.remove());

    it('002-16: blkid finds it by its label, as cloud-init does', () => {
      const found = execFileSync('blkid', ['-p', '-o', 'export', folder.path('drive')], { encoding: 'utf8' });
      expect(found).toContain('TYPE=vfat');
      expect(found).toContain('LABEL=config-2');
    });

    it('002-16: fsck.fat finds nothing wrong', () => {
      const { status, stdout, stderr } = spawnSync('fsck.fat', ['-n', '-v', folder.path('drive')], { encoding: 'utf8' });
      expect([status, stdout + stderr]).toEqual([0, expect.stringMatching(/12 bit|12-bit|FAT12/i)]);
    });

    it('002-16: mtools read every file under its own name', () => {
      execFileSync('mcopy', ['-s', '-n', '-i', folder.path('drive'), '::/*', folder.path('.')]);
      for (const { path, content } of FILES)
        expect(Buffer.compare(readFileSync(folder.path(path)), Buffer.from(content as string)), path).toBe(0);
    });
  });
  it('takes larger clusters for more files, up to what twelve bits can count', () => {
    const image = Buffer.from(encodeVfat({ label: 'config-2', files: [one('a', 100 * 2 ** 20)], sectorBytes: 4096 }));
    expect(image.readUInt8(13)).toBe(8);
  });
});
