/**
 * `npm run build:ramdisk`: the deploy ramdisk with its kernel, from Debian packages. No root, nothing installed; the same packages give the same
 * bytes.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, zstdCompressSync } from 'node:zlib';
import { commandLine, wrongArguments } from '../../scripts/command-line.ts';
import { type ArchiveEntry, encodeCpio } from '../debian/cpio.ts';
import { kernelRelease, moduleEntries } from '../debian/modules.ts';
import { DebianPackages } from '../debian/packages.ts';
import { programs } from '../debian/programs.ts';
import { type Extra, kexec, profiles, targets } from './profile.ts';

export interface RamdiskOptions {
  readonly profile: keyof typeof profiles;
  readonly arch: 'amd64' | 'arm64';
  /** What exports the disk. @default lio */
  readonly target?: keyof typeof targets;
  /** With what a restart without the firmware needs. */
  readonly kexec?: boolean;
  /** Folder that receives `deploy_kernel` and `deploy_ramdisk`. */
  readonly out: string;
  /** Where packages are kept between builds. */
  readonly cache: string;
  readonly suite?: string;
  readonly mirror?: string;
  /** In place of ours. */
  readonly init?: string;
}

export interface BuiltFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface BuiltRamdisk {
  readonly kernel: BuiltFile;
  readonly ramdisk: BuiltFile;
  readonly release: string;
  /** Names and versions that it was made of. */
  readonly packages: readonly string[];
}

const USAGE = `npm run build:ramdisk -- [--profile cloud|hardware] [--arch amd64|arm64] [--target lio|tgt] [--kexec] [--suite bookworm]
                         [--mirror URL] [--cache DIR] [--out lib/ramdisk/ARCH-PROFILE]`;
const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '../..');
/** Of zstd's 22; beyond, a megabyte costs a minute. */
const COMPRESSION = 19;

export async function buildRamdisk(options: RamdiskOptions): Promise<BuiltRamdisk> {
  const { profile, arch, out, cache, suite, mirror, target = 'lio' } = options;
  const packages = new DebianPackages({ cache, arch, ...(suite !== undefined && { suite }), ...(mirror !== undefined && { mirror }) });
  const { kernel: metapackages, modules } = profiles[profile];
  const image = await packages.unpack(await packages.dependencyOf(metapackages[arch], /^linux-image-\d/));
  const busybox = await packages.unpack('busybox-static');
  const release = kernelRelease(image.root);
  const more: Extra[] = [targets[target], ...(options.kexec ? [kexec] : [])];
  const added = await programs(
    packages,
    more.flatMap((one) => one.programs),
  );
  const names = [...(modules.names ?? []), ...more.flatMap((one) => one.modules)];
  const parts = [image, busybox, ...added.packages].map(({ name, version }) => `${name} ${version}`);

  const entries: ArchiveEntry[] = [
    ...ownFiles(join(HERE, 'root')).filter(({ path }) => path !== 'init'),
    { path: 'init', kind: 'file', content: readFileSync(options.init ?? join(HERE, 'root/init')), executable: true },
    ...(await moduleEntries(image.root, { ...modules, names })),
    ...added.entries,
    ...['proc', 'sys', 'dev', 'run', 'tmp', 'etc'].map((path): ArchiveEntry => ({ path, kind: 'folder' })),
    // The kernel opens it for the first process, before that can mount anything.
    { path: 'dev/console', kind: 'character device', major: 5, minor: 1 },
    { path: 'bin/busybox', kind: 'file', content: readFileSync(join(busybox.root, 'bin/busybox')), executable: true },
    { path: 'sbin', kind: 'link', target: 'bin' },
    {
      path: 'etc/bms/version',
      kind: 'file',
      content: Buffer.from(`${[profile, arch, ...(target === 'lio' ? [] : [target]), ...(options.kexec ? ['kexec'] : [])].join(' ')}\n`),
    },
    { path: 'etc/bms/packages', kind: 'file', content: Buffer.from(`${parts.join('\n')}\n`) },
  ];
  const archive = zstdCompressSync(encodeCpio(entries), { params: { [constants.ZSTD_c_compressionLevel]: COMPRESSION } });
  mkdirSync(out, { recursive: true });
  return {
    kernel: written(join(out, 'deploy_kernel'), readFileSync(join(image.root, 'boot', `vmlinuz-${release}`))),
    ramdisk: written(join(out, 'deploy_ramdisk'), archive),
    release,
    packages: parts,
  };
}

/** Our part of the file system: the programs keep their permission to run. */
export function ownFiles(folder: string): ArchiveEntry[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap((name): ArchiveEntry[] => {
    const status = statSync(join(folder, name));
    if (!status.isFile()) return [];
    return [{ path: name, kind: 'file', content: readFileSync(join(folder, name)), executable: (status.mode & 0o100) !== 0 }];
  });
}

function written(path: string, content: Uint8Array): BuiltFile {
  writeFileSync(path, content);
  return { path, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = commandLine(USAGE, {
    options: {
      profile: { type: 'string', default: 'hardware' },
      arch: { type: 'string', default: process.arch === 'arm64' ? 'arm64' : 'amd64' },
      target: { type: 'string', default: 'lio' },
      kexec: { type: 'boolean', default: false },
      suite: { type: 'string' },
      mirror: { type: 'string' },
      out: { type: 'string' },
      cache: { type: 'string', default: join(ROOT, 'lib/cache/debian') },
    },
  });
  const { profile, arch, target, cache, suite, mirror } = values;
  if (profile !== 'cloud' && profile !== 'hardware') wrongArguments(USAGE, `--profile ${profile}: cloud or hardware`);
  if (arch !== 'amd64' && arch !== 'arm64') wrongArguments(USAGE, `--arch ${arch}: amd64 or arm64`);
  if (target !== 'lio' && target !== 'tgt') wrongArguments(USAGE, `--target ${target}: lio or tgt`);
  const flavour = [arch, profile, ...(target === 'lio' ? [] : [target]), ...(values.kexec ? ['kexec'] : [])].join('-');
  const out = values.out ?? join(ROOT, 'lib/ramdisk', flavour);
  const built = await buildRamdisk({
    profile,
    arch,
    target,
    kexec: values.kexec,
    out,
    cache,
    ...(suite && { suite }),
    ...(mirror && { mirror }),
  });
  console.info(`Linux ${built.release}, for ${profiles[profile].about}; from ${built.packages.join(', ')}`);
  for (const { path, bytes, sha256 } of [built.kernel, built.ramdisk]) {
    console.info(`${relative(process.cwd(), path)}  ${(bytes / 1e6).toFixed(1)} MB  SHA-256 ${sha256}`);
  }
}
