/** The minimal image: one kernel, busybox and the first boot's script. It boots in seconds under emulation, so the lab and CI use it. */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type ArchiveEntry, encodeCpio } from '../debian/cpio.ts';
import { kernelRelease, moduleEntries } from '../debian/modules.ts';
import type { DebianPackages } from '../debian/packages.ts';
import { profiles } from '../ramdisk/profile.ts';

export interface Root {
  /** Folder with the content of the root file system. */
  readonly folder: string;
  readonly kernel: string;
  readonly ramdisk: string;
  readonly sizeMib: number;
  readonly about: string;
}

const HERE = dirname(fileURLToPath(import.meta.url));
/** Kernel, ramdisk, busybox, and room to write. */
const SIZE_MIB = 44;
/** What runs before the root file system is there, as links to busybox. */
const APPLETS = [
  'sh',
  'awk',
  'cat',
  'cp',
  'cut',
  'findfs',
  'hostname',
  'ip',
  'ls',
  'mkdir',
  'mount',
  'printf',
  'rm',
  'sed',
  'sleep',
  'sync',
  'timeout',
  'tr',
  'umount',
  'wget',
];

export async function minimalRoot(packages: DebianPackages, arch: 'amd64' | 'arm64', work: string): Promise<Root> {
  const { cloud } = profiles;
  const image = await packages.unpack(await packages.dependencyOf(cloud.kernel[arch], /^linux-image-\d/));
  const busybox = await packages.unpack('busybox-static');
  const release = kernelRelease(image.root);
  const program = join(busybox.root, 'bin/busybox');
  const kernel = join(image.root, 'boot', `vmlinuz-${release}`);

  const entries: ArchiveEntry[] = [
    { path: 'init', kind: 'file', content: readFileSync(join(HERE, 'minimal/init-ramdisk')), executable: true },
    { path: 'lib/bms/hardware.sh', kind: 'file', content: readFileSync(join(HERE, '../ramdisk/root/lib/bms/hardware.sh')) },
    { path: 'bin/busybox', kind: 'file', content: readFileSync(program), executable: true },
    { path: 'dev/console', kind: 'character device', major: 5, minor: 1 },
    ...['proc', 'sys', 'root'].map((path): ArchiveEntry => ({ path, kind: 'folder' })),
    // The drive with the instance's settings is FAT or ISO 9660.
    ...(await moduleEntries(image.root, {
      names: [
        'virtio_pci',
        'virtio_mmio',
        'virtio_blk',
        'virtio_scsi',
        'virtio_net',
        'sd_mod',
        'nvme',
        'ext4',
        'vfat',
        'isofs',
        'nls_ascii',
        'nls_cp437',
      ],
    })),
  ];
  const ramdisk = join(work, 'ramdisk');
  // gzip: loaders and kernels of any age take it, and it unpacks quickest where everything is emulated
  writeFileSync(ramdisk, gzipSync(encodeCpio(entries), { level: 9 }));

  const folder = join(work, 'root');
  for (const name of ['bin', 'sbin', 'boot', 'dev', 'etc', 'proc', 'run', 'sys', 'tmp', 'usr/lib/bms', 'var/lib/bms']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  copyFileSync(program, join(folder, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(folder, 'bin', applet));
  copyFileSync(join(HERE, 'minimal/init'), join(folder, 'sbin/init'));
  for (const name of ['first-boot', 'json-lines.awk']) copyFileSync(join(HERE, 'first-boot', name), join(folder, 'usr/lib/bms', name));
  for (const name of ['bin/busybox', 'sbin/init', 'usr/lib/bms/first-boot']) chmodSync(join(folder, name), 0o755);
  copyFileSync(kernel, join(folder, 'boot/vmlinuz'));
  copyFileSync(ramdisk, join(folder, 'boot/initrd.img'));
  return { folder, kernel, ramdisk, sizeMib: SIZE_MIB, about: `busybox on Linux ${release}` };
}
