/** The builders' pure parts: archives, choices of drivers, and a disk that two kinds of firmware start. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { decodeGpt, encodeGpt } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ArchiveEntry, encodeCpio } from '../../images/debian/cpio.ts';
import { needsOf } from '../../images/debian/elf.ts';
import { chosenOf } from '../../images/debian/modules.ts';
import { bootSector, grubDisk, linkedCore } from '../../images/disk-image/grub-disk.ts';
import { profiles, targets } from '../../images/ramdisk/profile.ts';

const MIB = 1024 * 1024;
const file = (path: string, content: string, executable = false): ArchiveEntry => ({
  path,
  kind: 'file',
  content: Buffer.from(content),
  executable,
});

describe('002-7: the archive of a ramdisk', () => {
  it('is the same whatever the order, with every parent folder before what is in it', () => {
    const entries = [file('lib/bms/a.sh', 'A'), file('init', '#!', true), file('lib-x/b', 'B')];
    const archive = Buffer.from(encodeCpio(entries));
    expect(Buffer.compare(archive, encodeCpio([...entries].reverse()))).toBe(0);
    const at = ['lib\0', 'lib/bms\0', 'lib/bms/a.sh\0'].map((name) => archive.indexOf(`${name}`));
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(Math.min(...at)).toBeGreaterThan(0);
    expect(archive.length % 512).toBe(0);
  });

  it.skipIf(spawnSync('cpio', ['--version']).status !== 0)('reads as cpio reads it: modes, links, devices, root, no time', () => {
    const archive = encodeCpio([
      file('init', '#!/bin/sh\n', true),
      file('etc/version', '1\n'),
      { path: 'sbin', kind: 'link', target: 'bin' },
      { path: 'dev/console', kind: 'character device', major: 5, minor: 1 },
    ]);
    const { stdout, status } = spawnSync('cpio', ['-itv', '--numeric-uid-gid', '--quiet'], {
      input: archive,
      env: { TZ: 'UTC', PATH: process.env.PATH },
    });
    const lines = stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.replace(/ +/g, ' '));
    expect([status, lines]).toEqual([
      0,
      [
        'drwxr-xr-x 2 0 0 0 Jan 1 1970 dev',
        'crw------- 1 0 0 5, 1 Jan 1 1970 dev/console',
        'drwxr-xr-x 2 0 0 0 Jan 1 1970 etc',
        '-rw-r--r-- 1 0 0 2 Jan 1 1970 etc/version',
        '-rwxr-xr-x 1 0 0 10 Jan 1 1970 init',
        'lrwxrwxrwx 1 0 0 3 Jan 1 1970 sbin -> bin',
      ],
    ]);
  });

  it.each(['/init', 'a/', '', 'a\0b'])('refuses the path %j', (path) => {
    expect(() => encodeCpio([file(path, '')])).toThrow('is no path of an archive');
  });

  it('refuses one path for two files', () => {
    expect(() => encodeCpio([file('a', '1'), file('a', '2')])).toThrow('a is in the archive twice');
  });

  it('holds any content at any length on its boundaries', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 5 }), (contents) => {
        const archive = Buffer.from(encodeCpio(contents.map((content, index) => ({ path: `f${index}`, kind: 'file', content }))));
        let at = 0;
        for (const content of contents) {
          expect([archive.toString('latin1', at, at + 6), at % 4]).toEqual(['070701', 0]);
          const [size, name] = [54, 94].map((offset) => Number.parseInt(archive.toString('latin1', at + offset, at + offset + 8), 16));
          const data = Math.ceil((at + 110 + (name ?? 0)) / 4) * 4;
          expect(size).toBe(content.length);
          expect(Buffer.compare(archive.subarray(data, data + content.length), content)).toBe(0);
          at = Math.ceil((data + content.length) / 4) * 4;
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('002-7: the drivers', () => {
  const all = [
    'drivers/net/ethernet/intel/e1000e/e1000e.ko',
    'drivers/scsi/megaraid/megaraid_sas.ko',
    'drivers/scsi/scsi_debug.ko',
    'drivers/scsi/st.ko',
    'drivers/net/virtio_net.ko',
    'drivers/target/iscsi/iscsi_target_mod.ko',
    'sound/core/snd.ko',
    'drivers/nvme/host/nvme-core.ko.xz',
  ];

  it('of virtual machines are few', () => {
    expect(chosenOf(all, profiles.cloud.modules)).toEqual(['drivers/net/virtio_net.ko']);
  });

  it('of real machines are whole families, without what no root disk hangs on', () => {
    expect(chosenOf(all, profiles.hardware.modules)).toEqual(all.filter((path) => !/scsi_debug|\/st\.ko|sound|target/.test(path)));
  });

  it('of the kernel’s own target go with it, and not where tgtd exports the disk', () => {
    expect(chosenOf(all, { names: targets.lio.modules })).toEqual(['drivers/target/iscsi/iscsi_target_mod.ko']);
    expect(chosenOf(all, { names: targets.tgt.modules })).toEqual([]);
  });

  it('are known by a name with dashes or underscores', () => {
    expect(chosenOf(all, { names: ['nvme_core', 'iscsi-target-mod'] })).toHaveLength(2);
  });
});

describe('002-7: what a program needs', () => {
  const header = (): Buffer => Buffer.concat([Buffer.from('\x7fELF\x02\x01', 'latin1'), Buffer.alloc(58)]);

  it.skipIf(spawnSync('ldd', ['/bin/ls']).status !== 0)('is what the loader of this machine says', () => {
    const needs = needsOf(readFileSync('/bin/ls'));
    // with what the libraries need in their turn
    const { stdout } = spawnSync('ldd', ['/bin/ls'], { encoding: 'utf8' });
    expect(needs.libraries).toContain('libc.so.6');
    for (const name of needs.libraries) expect(stdout).toContain(`${name} =>`);
    expect(stdout).toContain(needs.interpreter);
  });

  it('is nothing for a static one', () => {
    expect(needsOf(header())).toEqual({ libraries: [] });
  });

  it.each([
    ['a script', Buffer.from('#!/bin/sh\n')],
    ['a program of 32 bits', Buffer.from('\x7fELF\x01\x01', 'latin1')],
    ['nothing', Buffer.alloc(0)],
  ])('is not asked of %s', (_, bytes) => {
    expect(() => needsOf(bytes)).toThrow('it is no ELF-64 file');
  });
});

describe('002-7: a disk for BIOS and UEFI', () => {
  const guids = {
    disk: '6ba7b810-9dad-41d1-80b4-00c04fd430c0',
    bios: '6ba7b810-9dad-41d1-80b4-00c04fd430c1',
    efi: '6ba7b810-9dad-41d1-80b4-00c04fd430c2',
    root: '6ba7b810-9dad-41d1-80b4-00c04fd430c3',
  };
  const boot = Buffer.alloc(512, 0xb0);
  const core = Buffer.alloc(3 * 512 + 100, 0xc0);

  it('has its loader where its boot sector looks, and its table as it was', () => {
    const disk = Buffer.from(
      grubDisk({ bios: { boot, core }, efiSystem: Buffer.alloc(2 * MIB, 1), root: Buffer.alloc(3 * MIB, 2), guids }),
    );
    const gpt = decodeGpt(disk, 512);
    expect(gpt?.entries.map(({ name, firstBlock, blocks }) => [name, firstBlock, blocks])).toEqual([
      ['bios', 2048, 2048],
      ['esp', 4096, 4096],
      ['root', 8192, 6144],
    ]);
    const plain = encodeGpt({ diskGuid: guids.disk, entries: gpt?.entries ?? [] }, { blockBytes: 512, diskBlocks: disk.length / 512 });
    expect(Buffer.compare(disk.subarray(0x1b8, 512), plain.primary.subarray(0x1b8, 512))).toBe(0);
    expect([disk.readBigUInt64LE(0x5c), disk.readUInt16BE(0x66), disk.readUInt8(0)]).toEqual([2048n, 0x9090, 0xb0]);
    const linked = disk.subarray(2048 * 512);
    expect([linked.readBigUInt64LE(0x1f4), linked.readUInt16LE(0x1fc), linked.readUInt16LE(0x1fe)]).toEqual([2049n, 3, 0xc0c0]);
    expect([disk[4096 * 512], disk[8192 * 512], disk.length]).toEqual([1, 2, 8 * MIB]);
  });

  it('has no BIOS part where there is no BIOS', () => {
    const disk = grubDisk({ efiSystem: Buffer.alloc(MIB), root: Buffer.alloc(MIB), guids });
    expect(decodeGpt(disk, 512)?.entries.map(({ name }) => name)).toEqual(['esp', 'root']);
    expect(disk.subarray(0, 0x1b8).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses what does not fit: boot code of another size, a core beyond its partition, half a MiB', () => {
    expect(() => bootSector(Buffer.alloc(440), Buffer.alloc(512), 1)).toThrow('440 bytes where 512 are due');
    const huge = { boot, core: Buffer.alloc(MIB + 1) };
    expect(() => grubDisk({ bios: huge, efiSystem: Buffer.alloc(MIB), root: Buffer.alloc(MIB), guids })).toThrow('do not fit');
    expect(() => grubDisk({ efiSystem: Buffer.alloc(1000), root: Buffer.alloc(MIB), guids })).toThrow('whole MiB');
    expect(linkedCore(Buffer.alloc(513), 7).length).toBe(1024);
  });
});
