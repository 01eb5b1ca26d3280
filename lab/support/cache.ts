/** Debian packages that the lab unpacks and does not install: kernels for guests, programs that exclude each other as packages. Kept between runs. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export const cacheFolder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'cdk8s-baremetal-lab');

/** The folder in which the package's files lie as they would below /. Fetched by apt on first use; throws with apt's own words when that fails. */
export function unpacked(debianPackage: string): string {
  const target = join(cacheFolder, debianPackage);
  if (existsSync(target)) return target;
  mkdirSync(cacheFolder, { recursive: true });
  const work = mkdtempSync(join(cacheFolder, 'fetch-'));
  try {
    const run = (program: string, ...args: string[]): unknown =>
      execFileSync(program, args, { cwd: work, stdio: ['ignore', 'pipe', 'pipe'] });
    run('apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', debianPackage);
    const file = readdirSync(work).find((name) => name.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt-get download ${debianPackage} left no package behind`);
    run('dpkg-deb', '-x', file, 'files');
    renameSync(join(work, 'files'), target); // whole or not at all
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}

export interface GuestKernel {
  readonly image: string;
  /** The folder of its modules. */
  readonly modules: string;
  readonly version: string;
}

/** Debian's cloud kernel: virtio and LIO, no e1000, no IPMI. */
export function cloudKernel(): GuestKernel {
  const depends = execFileSync('apt-cache', ['depends', 'linux-image-cloud-amd64'], { encoding: 'utf8' });
  const name = /Depends: (linux-image-\d\S+)/.exec(depends)?.[1];
  if (name === undefined) throw new Error('apt knows no linux-image-cloud-amd64: run apt-get update');
  const folder = unpacked(name);
  const version = name.replace('linux-image-', '');
  return { image: join(folder, 'boot', `vmlinuz-${version}`), modules: join(folder, 'lib/modules', version), version };
}
