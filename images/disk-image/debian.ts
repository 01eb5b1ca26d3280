/** A Debian system of one's own: mmdebstrap's base, kernel, cloud-init, SSH. Needs root, since packages are installed in it. */
import { execFile } from 'node:child_process';
import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Root } from './minimal.ts';

const run = promisify(execFile);
const PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;

export interface DebianOptions {
  readonly arch: 'amd64' | 'arm64';
  readonly suite: string;
  readonly mirror: string;
  /** More packages. */
  readonly packages: readonly string[];
  readonly work: string;
}

/**
 * cloud-init reads the config drive: name, keys, static network; cloud-guest-utils grows the root file system to its disk. The network by netplan and
 * networkd: where ifupdown is installed too, cloud-init takes it first, and writes routes and name servers for `route` and `resolvconf`, which are not.
 */
const PACKAGES = [
  'cloud-init',
  'cloud-guest-utils',
  'iproute2',
  'netplan.io',
  'openssh-server',
  'sudo',
  'systemd-resolved',
  'initramfs-tools',
  'zstd',
];
/** What the file system needs beside its files: a journal, tables, and free space to start in. */
const SPARE = 1.25;
const SPARE_MIB = 256;

export async function debianRoot({ arch, suite, mirror, packages, work }: DebianOptions): Promise<Root> {
  if (process.getuid?.() !== 0) throw new Error('a Debian image needs root: packages are installed in it. --minimal does not');
  const folder = join(work, 'root');
  const sources = [`deb ${mirror}/debian ${suite} main`, `deb ${mirror}/debian-security ${suite}-security main`];
  const setUp = [
    // found by its label on whatever disk it lands
    'echo "LABEL=root / ext4 errors=remount-ro 0 1" > "$1/etc/fstab"',
    'echo localhost > "$1/etc/hostname"; : > "$1/etc/machine-id"; rm -f "$1"/etc/ssh/ssh_host_*',
    // of locales, which have no files here, there is C.UTF-8 alone
    'mkdir -p "$1/etc/cloud/cloud.cfg.d"; printf "%s\\n" "datasource_list: [ConfigDrive, NoCloud, None]" "locale: C.UTF-8" "system_info: { network: { renderers: [netplan] } }" > "$1/etc/cloud/cloud.cfg.d/90-bms.cfg"',
    // The console says when all of the first boot is done. Not from multi-user.target, which cloud-init's last step waits for.
    'mkdir -p "$1/etc/systemd/system/cloud-init.target.wants"',
    'printf "%s\\n" "[Unit]" "Description=Tell the console that this system is up" "After=cloud-final.service" "[Service]" "Type=oneshot"' +
      ` "ExecStart=/bin/sh -c 'echo BMS-MARKER \\$\\$(hostname) is up > /dev/console'" > "$1/etc/systemd/system/bms-marker.service"`,
    'ln -s ../bms-marker.service "$1/etc/systemd/system/cloud-init.target.wants/bms-marker.service"',
  ];
  await run(
    'mmdebstrap',
    [
      ...['--quiet', '--mode=root', '--variant=minbase', '--format=directory', `--architectures=${arch}`],
      `--include=${['systemd-sysv', `linux-image-cloud-${arch}`, ...PACKAGES, ...packages].join(',')}`,
      ...[
        '--dpkgopt=path-exclude=/usr/share/man/*',
        '--dpkgopt=path-exclude=/usr/share/doc/*',
        '--dpkgopt=path-exclude=/usr/share/locale/*',
      ],
      ...setUp.map((command) => `--customize-hook=${command}`),
      suite,
      folder,
      ...sources,
    ],
    { env: { PATH, SOURCE_DATE_EPOCH: '1767225600' }, maxBuffer: 64 * 1024 * 1024 },
  );
  rmSync(join(folder, 'var/cache/apt'), { recursive: true, force: true });
  const boot = readdirSync(join(folder, 'boot'));
  const version = boot.find((name) => name.startsWith('vmlinuz-'))?.slice('vmlinuz-'.length);
  if (version === undefined) throw new Error('the system has no kernel in /boot');
  const [kernel, ramdisk] = [join(work, 'kernel'), join(work, 'ramdisk')];
  copyFileSync(join(folder, 'boot', `vmlinuz-${version}`), kernel);
  copyFileSync(join(folder, 'boot', `initrd.img-${version}`), ramdisk);
  // names that the menu can rely on
  copyFileSync(kernel, join(folder, 'boot/vmlinuz'));
  copyFileSync(ramdisk, join(folder, 'boot/initrd.img'));
  const { stdout } = await run('du', ['-sm', '--apparent-size', folder]);
  const sizeMib = Math.ceil((Number(stdout.split(/\s/)[0]) * SPARE + SPARE_MIB) / 64) * 64;
  return { folder, kernel, ramdisk, sizeMib, about: `Debian ${suite} with Linux ${version}` };
}
