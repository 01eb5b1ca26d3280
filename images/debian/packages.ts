/**
 * Files of Debian packages, of any architecture, without root and without changing this machine: apt runs with folders of its own, and packages are
 * unpacked, never installed. apt checks every package against the archive's signature.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface PackageSource {
  /** Where packages and indexes are kept between builds. */
  readonly cache: string;
  /** Debian's name of the architecture. */
  readonly arch: 'amd64' | 'arm64';
  /** @default bookworm */
  readonly suite?: string;
  /** @default http://deb.debian.org */
  readonly mirror?: string;
}

export interface UnpackedPackage {
  readonly name: string;
  readonly version: string;
  /** Root of its files. */
  readonly root: string;
}

/** An index younger than this is not fetched again. */
const INDEX_LIFE_MS = 6 * 3_600_000;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

export class DebianPackages {
  readonly #source: Required<PackageSource>;
  readonly #folder: string;
  readonly #unpacked = new Map<string, Promise<UnpackedPackage>>();
  #ready: Promise<void> | undefined;

  constructor(source: PackageSource) {
    this.#source = { suite: 'bookworm', mirror: 'http://deb.debian.org', ...source };
    this.#folder = join(source.cache, `${this.#source.suite}-${source.arch}`);
  }

  /** Unpacks the newest version of a package. Fetched only when the cache does not have it. */
  unpack(name: string): Promise<UnpackedPackage> {
    // apt takes a good part of a second for each question
    const known = this.#unpacked.get(name) ?? this.#unpack(name);
    this.#unpacked.set(name, known);
    return known;
  }

  async #unpack(name: string): Promise<UnpackedPackage> {
    await this.#prepare();
    const version = await this.#version(name);
    const root = join(this.#folder, 'unpacked', `${name}_${encodeURIComponent(version)}`);
    if (existsSync(root)) return { name, version, root };
    const downloads = join(this.#folder, 'downloads');
    mkdirSync(downloads, { recursive: true });
    await this.#apt('apt-get', ['--quiet=2', 'download', `${name}=${version}`], downloads);
    const file = readdirSync(downloads).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt-get fetched nothing for ${name}=${version}`);
    const unfinished = `${root}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    await run('dpkg-deb', ['--extract', join(downloads, file), unfinished]);
    renameSync(unfinished, root);
    rmSync(join(downloads, file));
    return { name, version, root };
  }

  /** The package that a metapackage stands for, such as the kernel's behind `linux-image-cloud-amd64`. */
  async dependencyOf(name: string, wanted: RegExp): Promise<string> {
    await this.#prepare();
    const text = await this.#apt('apt-cache', ['depends', '--important', name]);
    const found = text
      .split('\n')
      .map((line) => line.trim().replace(/^Depends: /, ''))
      .find((dependency) => wanted.test(dependency));
    if (found === undefined) throw new Error(`${name} depends on nothing like ${wanted.source}`);
    return found;
  }

  /** Packages with libraries that a package depends on, directly or not, nearest first. */
  async librariesOf(name: string): Promise<string[]> {
    await this.#prepare();
    const found: string[] = [];
    for (let level = [name]; level.length > 0; found.push(...level)) {
      const text = await this.#apt('apt-cache', ['depends', '--important', ...level]);
      const named = [...text.matchAll(/^ *\|?(?:Pre)?Depends: (lib\S+)$/gm)].map(([, dependency = '']) => dependency);
      level = [...new Set(named)].filter((dependency) => !found.includes(dependency) && !dependency.includes('perl'));
    }
    return found;
  }

  async #version(name: string): Promise<string> {
    const text = await this.#apt('apt-cache', ['policy', name]);
    const version = /^ {2}Candidate: (\S+)$/m.exec(text)?.[1];
    if (version === undefined || version === '(none)') {
      const { suite, arch, mirror } = this.#source;
      throw new Error(`${mirror} has no package ${name} for ${arch} in ${suite}`);
    }
    return version;
  }

  #prepare(): Promise<void> {
    this.#ready ??= this.#fetchIndex();
    return this.#ready;
  }

  async #fetchIndex(): Promise<void> {
    const { suite, mirror } = this.#source;
    for (const folder of ['state/lists/partial', 'cache/archives/partial']) mkdirSync(join(this.#folder, folder), { recursive: true });
    writeFileSync(join(this.#folder, 'status'), '');
    const by = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : '';
    const sources = [`deb ${by}${mirror}/debian ${suite} main`, `deb ${by}${mirror}/debian-security ${suite}-security main`, ''].join('\n');
    writeFileSync(join(this.#folder, 'sources.list'), sources);
    const stamp = join(this.#folder, 'index-fetched');
    if (existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < INDEX_LIFE_MS) return;
    await this.#apt('apt-get', ['--quiet=2', 'update']);
    writeFileSync(stamp, '');
  }

  async #apt(program: 'apt-get' | 'apt-cache', argv: readonly string[], cwd = this.#folder): Promise<string> {
    const { arch } = this.#source;
    const own = (path: string): string => join(this.#folder, path);
    const settings = [
      `Dir::Etc::sourcelist=${own('sources.list')}`,
      'Dir::Etc::sourceparts=/dev/null',
      `Dir::State=${own('state')}`,
      `Dir::State::status=${own('status')}`,
      `Dir::Cache=${own('cache')}`,
      `APT::Architecture=${arch}`,
      `APT::Architectures=${arch}`,
      'Acquire::Languages=none',
      // Not as the user _apt, who may not write here.
      'APT::Sandbox::User=',
    ];
    try {
      const { stdout } = await run(program, [...settings.flatMap((setting) => ['-o', setting]), ...argv], { cwd });
      return stdout;
    } catch (error) {
      const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
      throw new Error(`${program} ${argv.join(' ')} failed: ${said}`, { cause: error });
    }
  }
}
