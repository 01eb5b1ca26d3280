import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type DriveFile, encodeIso9660 } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { missingPrograms } from '../iscsi/tgtd.ts';

const FILES: readonly DriveFile[] = [
  { path: 'openstack/latest/meta_data.json', content: '{"uuid":"83679162-1378-4288-a2d4-70e13ec132aa"}' },
  { path: 'openstack/latest/network_data.json', content: '{"links":[]}' },
  { path: 'openstack/latest/user_data', content: `#cloud-config\n${'# ü\n'.repeat(2000)}` },
  { path: 'openstack/content/0000', content: 'auto lo\n' },
  { path: 'ec2/latest/meta-data.json', content: new Uint8Array([0, 255, 10]) },
  { path: 'empty', content: '' },
  ...Array.from({ length: 40 }, (_, n) => ({ path: `many/a-rather-long-name-of-a-file-number-${n}.json`, content: `${n}` })),
];

describe('config drives', () => {
  it('002-16: the same files give the same bytes, of whole sectors', () => {
    const image = encodeIso9660({ label: 'config-2', files: FILES });
    expect(image.length % 2048).toBe(0);
    expect(Buffer.compare(image, encodeIso9660({ label: 'config-2', files: FILES }))).toBe(0);
  });

  it.each([
    ['a label with a space', 'config 2', []],
    ['no label', '', []],
    ['a path that leads out', 'config-2', [{ path: '../etc/passwd', content: '' }]],
    ['an absolute path', 'config-2', [{ path: '/etc/passwd', content: '' }]],
    ['a name that is too long', 'config-2', [{ path: 'x'.repeat(200), content: '' }]],
    [
      'the same file twice',
      'config-2',
      [
        { path: 'a/b', content: '1' },
        { path: 'a/b', content: '2' },
      ],
    ],
  ])('refuses %s', (_, label, files) => {
    expect(() => encodeIso9660({ label, files })).toThrow(expect.objectContaining({ code: 'LAYOUT_CONFIG_DRIVE' }));
  });

  const missing = missingPrograms({ blkid: 'util-linux', xorriso: 'xorriso' });
  describe.skipIf(missing.length > 0)('in the eyes of Debian', () => {
    const folder = temporaryFolder();
    beforeAll(() => {
      folder.create();
      writeFileSync(folder.path('drive'), encodeIso9660({ label: 'config-2', files: FILES }));
    });
    afterAll(() => folder.remove());
    const expectFiles = (root: string): void => {
      for (const { path, content } of FILES)
        expect(Buffer.compare(readFileSync(`${root}/${path}`), Buffer.from(content as string)), path).toBe(0);
    };

    it('002-16: blkid finds it by its label, as cloud-init does', () => {
      const found = execFileSync('blkid', ['-p', '-o', 'export', folder.path('drive')], { encoding: 'utf8' });
      expect(found).toContain('TYPE=iso9660');
      expect(found).toContain('LABEL=config-2');
    });

    it('002-16: xorriso reads every file under its own name', () => {
      const ran = spawnSync('xorriso', ['-osirrox', 'on', '-indev', folder.path('drive'), '-extract', '/', folder.path('out')], {
        encoding: 'utf8',
      });
      expect(ran.status, ran.stderr).toBe(0);
      expect(ran.stderr).not.toMatch(/SORRY|FAILURE|damaged/);
      execFileSync('chmod', ['-R', 'u+w', folder.path('out')]);
      expectFiles(folder.path('out'));
    });

    const root = process.getuid?.() === 0;
    if (!root) console.warn('SKIPPED: mounting needs root');
    it.skipIf(!root)('002-16: the kernel mounts it', () => {
      mkdirSync(folder.path('mounted'));
      const ran = spawnSync('mount', ['-t', 'iso9660', '-o', 'loop,ro', folder.path('drive'), folder.path('mounted')], {
        encoding: 'utf8',
      });
      if (ran.status !== 0) return console.warn(`SKIPPED: no loop device or no isofs here: ${ran.stderr.trim()}`);
      try {
        expectFiles(folder.path('mounted'));
      } finally {
        execFileSync('umount', [folder.path('mounted')]);
      }
    });
  });
});
