/** A container's file tree under a temporary directory, for the programs that take a root prefix. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setConfigsMain } from '../../../src/runtime/launch/set-configs-main.ts';
import { parseYaml } from '../../../src/runtime/launch/yaml-text.ts';

export const uid = process.getuid?.() ?? 0;
export const gid = process.getgid?.() ?? 0;
export const isRoot = uid === 0;
/** Who owns what: real numbers of other users when we may give files away, ourselves otherwise. */
export const NOVA = isRoot ? { uid: 42436, gid: 42436 } : { uid, gid };
export const KOLLA = isRoot ? { uid: 42400, gid: 42400 } : { uid, gid };

if (!isRoot) console.warn('test/runtime/launch: not root, so the tests of ownership and mounts are skipped');

export interface Run {
  readonly exitCode: number;
  readonly log: string;
}

export class Sandbox {
  readonly root = mkdtempSync(join(tmpdir(), 'launch-'));

  constructor() {
    this.write('/etc/passwd', `root:x:${isRoot ? 0 : uid}:0::/root:/bin/sh\nnova:x:${NOVA.uid}:${NOVA.gid}::/var/lib/nova:/bin/false\n`);
    this.write('/etc/group', `root:x:${isRoot ? 0 : gid}:\nnova:x:${NOVA.gid}:\nkolla:x:${KOLLA.gid}:nova\n`);
    mkdirSync(this.at('/var/lib/kolla/config_files'), { recursive: true });
  }

  at(path: string): string {
    return this.root + path;
  }

  write(path: string, content: string | Uint8Array, mode = 0o644): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), content);
    chmodSync(this.at(path), mode);
  }

  /** A file in the config directory. */
  source(name: string, content: string | Uint8Array, mode?: number): void {
    this.write(`/var/lib/kolla/config_files/${name}`, content, mode);
  }

  symlink(target: string, path: string): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    symlinkSync(target, this.at(path));
  }

  config(data: unknown): void {
    this.source('config.json', JSON.stringify(data));
  }

  read(path: string): string {
    return readFileSync(this.at(path), 'utf8');
  }

  link(path: string): string {
    return readlinkSync(this.at(path));
  }

  exists(path: string): boolean {
    return existsSync(this.at(path));
  }

  /** Names in a directory, hidden ones too: leftovers show. */
  list(path: string): string[] {
    return readdirSync(this.at(path)).sort();
  }

  /** "0644 42436:42436" */
  who(path: string): string {
    const stats = lstatSync(this.at(path));
    return `${(stats.mode & 0o7777).toString(8).padStart(4, '0')} ${stats.uid}:${stats.gid}`;
  }

  run(environment: Record<string, string> = {}, args: readonly string[] = []): Run {
    let log = '';
    const exitCode = setConfigsMain({
      args,
      environment: { KOLLA_CONFIG_STRATEGY: 'COPY_ALWAYS', ...environment },
      yaml: parseYaml,
      write: (text) => {
        log += text;
      },
      root: this.root,
    });
    return { exitCode, log };
  }

  check(environment: Record<string, string> = {}): Run {
    return this.run(environment, ['--check']);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** One entry of config_files with the usual owner and mode. */
export function entry(source: string, dest: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const full = source.startsWith('/') ? source : `/var/lib/kolla/config_files/${source}`;
  return { source: full, dest, owner: 'nova', perm: '0600', ...more };
}
