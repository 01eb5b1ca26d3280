/** Real git repositories for tests: a bare one as the server has it, and a place to make commits in. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const hasGit = spawnSync('git', ['--version']).status === 0;
if (!hasGit) console.warn('test/runtime/launch: git is missing (package git): the checkout is not tested');

export class GitRepository {
  readonly directory = mkdtempSync(join(tmpdir(), 'launch-git-'));
  readonly bare = join(this.directory, 'server.git');
  readonly work = join(this.directory, 'work');

  constructor(format: 'sha1' | 'sha256' = 'sha1') {
    this.git('/', 'init', '--quiet', '--bare', `--object-format=${format}`, '--initial-branch=master', this.bare);
    this.git('/', 'init', '--quiet', `--object-format=${format}`, '--initial-branch=master', this.work);
    this.git(this.work, 'remote', 'add', 'origin', this.bare);
  }

  get url(): string {
    return `file://${this.bare}`;
  }

  git(directory: string, ...args: string[]): string {
    return execFileSync('git', args, {
      cwd: directory,
      encoding: 'utf8',
      env: {
        PATH: process.env.PATH ?? '/usr/bin:/bin',
        HOME: this.directory,
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_ALLOW_PROTOCOL: 'file',
        GIT_AUTHOR_NAME: 'a',
        GIT_AUTHOR_EMAIL: 'a@example.org',
        GIT_AUTHOR_DATE: '2026-01-01T00:00:00Z',
        GIT_COMMITTER_NAME: 'a',
        GIT_COMMITTER_EMAIL: 'a@example.org',
        GIT_COMMITTER_DATE: '2026-01-01T00:00:00Z',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  }

  write(path: string, content: string, mode = 0o644): void {
    const file = join(this.work, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
    chmodSync(file, mode);
  }

  symlink(target: string, path: string): void {
    mkdirSync(dirname(join(this.work, path)), { recursive: true });
    symlinkSync(target, join(this.work, path));
  }

  /** Commits everything and pushes it to master; answers the commit's id. */
  commit(message: string): string {
    this.git(this.work, 'add', '--all', '--force');
    this.git(this.work, 'commit', '--quiet', '--allow-empty', '--message', message);
    this.git(this.work, 'push', '--quiet', '--force', 'origin', 'HEAD:master');
    return this.git(this.work, 'rev-parse', 'HEAD');
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
