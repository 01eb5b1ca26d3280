/**
 * `npm run build:image`: an image that boots from BIOS and UEFI (`disk.raw`), the same root file system as a partition image (`root.raw`) with the
 * kernel and ramdisk that start it over the network, and what to register them with.
 *
 * Without --minimal it is a Debian system with cloud-init and SSH, which needs root and mmdebstrap. --minimal is busybox and the first boot's script
 * alone: no root, a few seconds, and it boots in seconds under emulation.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { commandLine, wrongArguments } from '../../scripts/command-line.ts';
import { DebianPackages } from '../debian/packages.ts';
import { debianRoot } from './debian.ts';
import { ext4, fat } from './file-systems.ts';
import { grubDisk } from './grub-disk.ts';
import { minimalRoot, type Root } from './minimal.ts';

const run = promisify(execFile);

export interface ImageOptions {
  readonly kind: 'minimal' | 'debian';
  readonly arch: 'amd64' | 'arm64';
  readonly out: string;
  readonly cache: string;
  readonly suite: string;
  readonly mirror: string;
  readonly packages: readonly string[];
}

export interface BuiltImage {
  readonly about: string;
  /** Whole disk, for `layout = whole-disk`. */
  readonly disk: string;
  /** Root file system, for `layout = partition`, `boot = kernel`. */
  readonly root: string;
  readonly kernel: string;
  readonly ramdisk: string;
}

const USAGE = `npm run build:image -- [--minimal] [--arch amd64|arm64] [--suite bookworm] [--mirror URL] [--package NAME …] [--cache DIR]
                       [--out lib/image/NAME]`;
const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const ESP_MIB = 8;
/** What both GRUBs carry, so that they need nothing but the menu. */
const GRUB_MODULES = [
  'part_gpt',
  'part_msdos',
  'ext2',
  'fat',
  'search',
  'search_fs_uuid',
  'normal',
  'linux',
  'echo',
  'test',
  'configfile',
  'serial',
  'terminal',
];
const EFI = { amd64: { format: 'x86_64-efi', file: 'BOOTX64.EFI' }, arm64: { format: 'arm64-efi', file: 'BOOTAA64.EFI' } } as const;

export async function buildImage(options: ImageOptions): Promise<BuiltImage> {
  const { kind, arch, out, cache, suite, mirror } = options;
  const packages = new DebianPackages({ cache, arch, suite, mirror });
  const work = mkdtempSync(join(tmpdir(), 'bms-image-'));
  try {
    const made = kind === 'minimal' ? await minimalRoot(packages, arch, work) : await debianRoot({ ...options, work });
    const uuid = uuidOf(made, 'root');
    writeMenu(made.folder, uuid, arch);
    mkdirSync(out, { recursive: true });
    const built = { disk: join(out, 'disk.raw'), root: join(out, 'root.raw'), kernel: join(out, 'kernel'), ramdisk: join(out, 'ramdisk') };
    await ext4(made.folder, built.root, { sizeMib: made.sizeMib, uuid, label: 'root' });
    const { bios, efi } = await loaders(packages, arch, uuid, work);
    const esp = join(work, 'esp');
    mkdirSync(join(work, 'esp-files/EFI/BOOT'), { recursive: true });
    copyFileSync(efi, join(work, 'esp-files/EFI/BOOT', EFI[arch].file));
    await fat(join(work, 'esp-files'), esp, { sizeMib: ESP_MIB });
    const guids = {
      disk: uuidOf(made, 'disk'),
      bios: uuidOf(made, 'bios'),
      efi: uuidOf(made, 'efi'),
      root: uuidOf(made, 'root partition'),
    };
    writeFileSync(built.disk, grubDisk({ ...(bios && { bios }), efiSystem: readFileSync(esp), root: readFileSync(built.root), guids }));
    copyFileSync(made.kernel, built.kernel);
    copyFileSync(made.ramdisk, built.ramdisk);
    return { about: made.about, ...built };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The same kernel and ramdisk give the same identities, so that the image is the same, byte for byte. */
function uuidOf({ kernel, ramdisk }: Root, what: string): string {
  const hash = createHash('sha256').update(readFileSync(kernel)).update(readFileSync(ramdisk)).update(what).digest();
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x40, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString('hex', 0, 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Starts at once. The serial line is named last: it is where the kernel's /dev/console goes. */
function writeMenu(folder: string, uuid: string, arch: 'amd64' | 'arm64'): void {
  const serial = arch === 'amd64' ? 'ttyS0' : 'ttyAMA0';
  mkdirSync(join(folder, 'boot/grub'), { recursive: true });
  writeFileSync(
    join(folder, 'boot/grub/grub.cfg'),
    [
      'set timeout=0',
      'menuentry system {',
      `  linux /boot/vmlinuz root=UUID=${uuid} ro quiet console=tty0 console=${serial}`,
      '  initrd /boot/initrd.img',
      '}',
      '',
    ].join('\n'),
  );
}

async function loaders(packages: DebianPackages, arch: 'amd64' | 'arm64', uuid: string, work: string) {
  const early = join(work, 'early.cfg');
  writeFileSync(early, `search --no-floppy --fs-uuid --set=root ${uuid}\nset prefix=($root)/boot/grub\n`);
  const make = (folder: string, format: string, file: string, modules: readonly string[]): Promise<unknown> =>
    run('grub-mkimage', ['-d', folder, '-O', format, '-p', '/boot/grub', '-c', early, '-o', file, ...GRUB_MODULES, ...modules]);
  const efi = join(work, 'grub.efi');
  const { root: efiPackage } = await packages.unpack(`grub-efi-${arch}-bin`);
  await make(join(efiPackage, 'usr/lib/grub', EFI[arch].format), EFI[arch].format, efi, []);
  if (arch === 'arm64') return { efi };
  const { root: pcPackage } = await packages.unpack('grub-pc-bin');
  const folder = join(pcPackage, 'usr/lib/grub/i386-pc');
  const core = join(work, 'core.img');
  await make(folder, 'i386-pc', core, ['biosdisk']);
  return { efi, bios: { boot: readFileSync(join(folder, 'boot.img')), core: readFileSync(core) } };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = commandLine(USAGE, {
    options: {
      minimal: { type: 'boolean', default: false },
      arch: { type: 'string', default: process.arch === 'arm64' ? 'arm64' : 'amd64' },
      suite: { type: 'string', default: 'bookworm' },
      mirror: { type: 'string', default: 'http://deb.debian.org' },
      package: { type: 'string', multiple: true, default: [] },
      out: { type: 'string' },
      cache: { type: 'string', default: join(PROJECT, 'lib/cache/debian') },
    },
  });
  const { arch, suite, mirror, cache } = values;
  if (arch !== 'amd64' && arch !== 'arm64') wrongArguments(USAGE, `--arch ${arch}: amd64 or arm64`);
  const kind = values.minimal ? 'minimal' : 'debian';
  const out = values.out ?? join(PROJECT, 'lib/image', `${arch}-${kind}`);
  const { about, ...files } = await buildImage({ kind, arch, out, cache, suite, mirror, packages: values.package });
  console.info(about);
  for (const path of Object.values(files)) {
    const content = readFileSync(path);
    const digest = createHash('sha256').update(content).digest('hex');
    console.info(`${relative(process.cwd(), path)}  ${(content.length / 1e6).toFixed(1)} MB  SHA-256 ${digest}`);
  }
}
