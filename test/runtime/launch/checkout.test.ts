import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { nodeClock } from '../../../src/runtime/core/node-clock.ts';
import { type CheckoutOptions, checkout, linkEscapes } from '../../../src/runtime/launch/checkout.ts';
import { checkoutMain } from '../../../src/runtime/launch/checkout-main.ts';
import { nodeProcessRunner } from '../../../src/runtime/launch/node-process-runner.ts';
import type { ProcessRequest, ProcessRunner } from '../../../src/runtime/launch/process-runner.ts';
import { GitRepository, hasGit } from './git-repository.ts';

describe.skipIf(!hasGit)('checkout', () => {
  let repository: GitRepository;
  let target: string;
  beforeEach(() => {
    repository = new GitRepository();
    target = join(repository.directory, 'volume/account_confirm');
  });
  afterEach(() => repository.remove());

  const run = (revision: string, more: Partial<CheckoutOptions> = {}) =>
    checkout({
      project: repository.url,
      revision,
      target,
      protocols: ['file'],
      runner: nodeProcessRunner,
      clock: nodeClock,
      log: silentLogger,
      ...more,
    });
  const head = () => repository.git(target, 'rev-parse', 'HEAD');
  const volume = () => readdirSync(join(repository.directory, 'volume'));

  it('003-4: the tree of an exact revision, HEAD there, whatever the branch has become', async () => {
    repository.write('account_confirm', '#!/bin/sh\n', 0o755);
    repository.write('account_confirm.ini', 'first');
    const first = repository.commit('first');
    repository.write('account_confirm.ini', 'second');
    repository.commit('second');
    await run(first);
    expect(readFileSync(join(target, 'account_confirm.ini'), 'utf8')).toBe('first');
    expect(statSync(join(target, 'account_confirm')).mode & 0o100).toBe(0o100);
    expect(head()).toBe(first);
    expect(volume()).toEqual(['account_confirm']);
  });
  it('003-4: upper case digits name the same revision', async () => {
    const revision = repository.commit('x');
    await run(revision.toUpperCase());
    expect(head()).toBe(revision);
  });
  it('003-4: SHA-256 repositories', async () => {
    repository.remove();
    repository = new GitRepository('sha256');
    target = join(repository.directory, 'volume/account_confirm');
    repository.write('a', 'a');
    const revision = repository.commit('x');
    expect(revision).toHaveLength(64);
    await run(revision);
    expect(head()).toBe(revision);
  });
  it('003-4: a server that gives only what a name points to is asked for all names', async () => {
    repository.write('a', '1');
    const first = repository.commit('first');
    repository.write('a', '2');
    repository.commit('second');
    const asked: string[][] = [];
    // protocol 0 with uploadpack.allow…SHA1InWant off (git's default): the server refuses what is no tip
    const runner: ProcessRunner = {
      run: (request) => {
        asked.push([...request.args]);
        const count = Number(request.environment.GIT_CONFIG_COUNT);
        const environment = {
          ...request.environment,
          GIT_CONFIG_COUNT: String(count + 1),
          [`GIT_CONFIG_KEY_${count}`]: 'protocol.version',
          [`GIT_CONFIG_VALUE_${count}`]: '0',
        };
        return nodeProcessRunner.run({ ...request, environment });
      },
    };
    await run(first, { runner });
    expect(asked.filter(([command]) => command === 'fetch')).toHaveLength(2);
    expect(head()).toBe(first);
    expect(readFileSync(join(target, 'a'), 'utf8')).toBe('1');
  });
  it('003-4: run again, as after a restart, it gives the same, and what was changed is undone', async () => {
    repository.write('a', 'a');
    const revision = repository.commit('x');
    await run(revision);
    writeFileSync(join(target, 'a'), 'tampered');
    writeFileSync(join(target, 'extra'), '');
    await run(revision);
    expect(readFileSync(join(target, 'a'), 'utf8')).toBe('a');
    expect(existsSync(join(target, 'extra'))).toBe(false);
    expect(volume()).toEqual(['account_confirm']);
  });
  it('003-4: what a killed run left is cleared', async () => {
    const revision = repository.commit('x');
    mkdirSync(join(repository.directory, 'volume/.account_confirm.checkout-new/.git'), { recursive: true });
    await run(revision);
    expect(volume()).toEqual(['account_confirm']);
  });

  for (const name of ['master', 'v1.0', 'HEAD', 'ecc71b6', '', `${'a'.repeat(39)}g`, 'a'.repeat(41), '--upload-pack=touch /tmp/x'])
    it(`003-4: the revision "${name.slice(0, 30)}" is refused: a name can move`, async () => {
      await expect(run(name)).rejects.toMatchObject({ code: 'LAUNCH_GIT_REVISION', cure: expect.stringContaining('git ls-remote') });
    });
  it('003-4: a tag that moved does not move the checkout', async () => {
    repository.write('a', 'released');
    const released = repository.commit('release');
    repository.git(repository.work, 'tag', 'v1');
    repository.git(repository.work, 'push', '--quiet', 'origin', 'v1');
    repository.write('a', 'hijacked');
    repository.commit('hijack');
    repository.git(repository.work, 'tag', '--force', 'v1');
    repository.git(repository.work, 'push', '--quiet', '--force', 'origin', 'v1');
    await run(released);
    expect(readFileSync(join(target, 'a'), 'utf8')).toBe('released');
  });
  it('003-4: a branch that is named like a commit does not stand for it', async () => {
    repository.write('a', 'good');
    const good = repository.commit('good');
    repository.write('a', 'evil');
    const evil = repository.commit('evil');
    repository.git(repository.bare, 'update-ref', `refs/heads/${good}`, evil);
    await run(good);
    expect(head()).toBe(good);
    expect(readFileSync(join(target, 'a'), 'utf8')).toBe('good');
  });
  it('003-4: the id of an annotated tag is no commit, and is refused by what HEAD becomes', async () => {
    repository.commit('x');
    repository.git(repository.work, 'tag', '--annotate', '--message', 'x', 'v1');
    repository.git(repository.work, 'push', '--quiet', 'origin', 'v1');
    const tag = repository.git(repository.work, 'rev-parse', 'refs/tags/v1');
    await expect(run(tag)).rejects.toMatchObject({ code: 'LAUNCH_GIT_HEAD' });
    expect(existsSync(target)).toBe(false);
  });
  it('003-4: a revision that does not exist: said so, and the old tree stays', async () => {
    repository.write('a', 'a');
    await run(repository.commit('x'));
    await expect(run('0123456789'.repeat(4))).rejects.toMatchObject({ code: 'LAUNCH_GIT_NO_REVISION' });
    expect(readFileSync(join(target, 'a'), 'utf8')).toBe('a');
    expect(volume()).toEqual(['account_confirm']);
  });
  it('003-4: a repository that does not exist', async () => {
    await expect(run('a'.repeat(40), { project: `file://${repository.directory}/absent` })).rejects.toMatchObject({
      code: 'LAUNCH_GIT_FAILED',
      message: expect.stringContaining('does not appear to be a git repository'),
    });
  });
  it('003-4: git is missing', async () => {
    await expect(run('a'.repeat(40), { path: '/nowhere' })).rejects.toMatchObject({ code: 'LAUNCH_GIT_PROGRAM' });
  });

  describe('against a hostile repository', () => {
    const traces = () => join(repository.directory, 'trace');
    const touch = () => `#!/bin/sh\necho ran >>"${traces()}"\n`;

    it('003-4: no hook of the repository runs, wherever it lies', async () => {
      for (const hook of ['post-checkout', 'post-merge', 'reference-transaction', 'post-index-change', 'fsmonitor-watchman']) {
        repository.write(`hooks/${hook}`, touch(), 0o755);
        repository.write(`.githooks/${hook}`, touch(), 0o755);
      }
      repository.write('.gitconfig', '[core]\n\thooksPath = .githooks\n');
      const revision = repository.commit('hooks');
      for (const hook of ['post-checkout', 'reference-transaction', 'post-index-change', 'post-upload-pack', 'pre-receive']) {
        writeFileSync(join(repository.bare, 'hooks', hook), touch());
        chmodSync(join(repository.bare, 'hooks', hook), 0o755);
      }
      await run(revision);
      expect(existsSync(traces())).toBe(false);
      expect(readdirSync(join(target, '.git')).includes('hooks')).toBe(false);
    });
    it('003-4: filters of attributes do not run, LFS pointers stay pointers', async () => {
      repository.write('.gitattributes', '*.bin filter=lfs diff=lfs merge=lfs\n*.txt filter=evil ident\n');
      const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 1\n`;
      repository.write('model.bin', pointer);
      repository.write('a.txt', 'text\n');
      repository.write('.lfsconfig', '[lfs]\n\turl = https://evil.example\n');
      const revision = repository.commit('lfs');
      await run(revision);
      expect(readFileSync(join(target, 'model.bin'), 'utf8')).toBe(pointer);
      expect(existsSync(traces())).toBe(false);
    });
    it('003-4: configuration of the user and the machine does not count', async () => {
      const revision = repository.commit('x');
      const home = join(repository.directory, 'home');
      mkdirSync(home);
      writeFileSync(
        join(home, '.gitconfig'),
        `[core]\n\tfsmonitor = ${traces()}\n[url "file:///absent"]\n\tinsteadOf = ${repository.url}\n`,
      );
      const before = process.env.HOME;
      process.env.HOME = home;
      try {
        await run(revision);
      } finally {
        process.env.HOME = before;
      }
      expect(head()).toBe(revision);
    });
    it('003-4: submodules are not fetched', async () => {
      const other = new GitRepository();
      try {
        other.write('payload', 'x');
        other.commit('x');
        repository.git(repository.work, '-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', other.url, 'sub');
        const revision = repository.commit('submodule');
        await run(revision);
        expect(readdirSync(join(target, 'sub'))).toEqual([]);
      } finally {
        other.remove();
      }
    });
    for (const link of ['/etc/passwd', '../../secret', 'sub/../../x', '.git/config'])
      it(`003-4: a symlink to ${link} is refused, and no tree appears`, async () => {
        repository.symlink(link, 'conf.ini');
        await expect(run(repository.commit('link'))).rejects.toMatchObject({
          code: 'LAUNCH_GIT_TREE',
          message: expect.stringContaining('conf.ini'),
        });
        expect(existsSync(target)).toBe(false);
        expect(volume()).toEqual([]);
      });
    it('003-4: a symlink within the tree is kept', async () => {
      repository.write('shared/a.ini', 'a');
      repository.symlink('../shared/a.ini', 'service/a.ini');
      await run(repository.commit('link'));
      expect(lstatSync(join(target, 'service/a.ini')).isSymbolicLink()).toBe(true);
      expect(readFileSync(join(target, 'service/a.ini'), 'utf8')).toBe('a');
    });
    it('003-4: a target that the service turned into a symlink is replaced, not followed', async () => {
      const revision = repository.commit('x');
      const elsewhere = join(repository.directory, 'elsewhere');
      mkdirSync(elsewhere);
      mkdirSync(join(repository.directory, 'volume'));
      repository.git('/', 'init', '--quiet', elsewhere);
      const { symlinkSync } = await import('node:fs');
      symlinkSync(elsewhere, target);
      await run(revision);
      expect(lstatSync(target).isDirectory()).toBe(true);
      expect(existsSync(elsewhere)).toBe(true);
    });
  });

  describe('protocols', () => {
    const scenarios: { project: string; says: string }[] = [
      { project: 'http://172.20.5.54/posp/a.git', says: 'http is not among the allowed protocols (https, ssh)' },
      { project: 'file:///srv/a.git', says: 'file is not among' },
      { project: 'git://host/a.git', says: 'git is not among' },
      { project: 'ext::sh -c touch% /tmp/x', says: 'ext is not among' },
      { project: 'git@host:a.git', says: 'not a URL' },
      { project: '/srv/a.git', says: 'not a URL' },
      { project: '--upload-pack=x', says: 'not a URL' },
      { project: 'https://user:hunter2@host/a.git', says: 'it holds a password' },
      { project: 'https://token@host/a.git', says: 'it holds a user name' },
      { project: 'https://host/a.git?x=hunter2', says: 'a query' },
      { project: 'ssh://-oProxyCommand=x/a', says: 'dash' },
      { project: 'https://host/a\n.git', says: 'control character' },
    ];
    for (const { project, says } of scenarios)
      it(`003-4: ${JSON.stringify(project).replace('hunter2', '…')} is refused without being repeated`, async () => {
        const error = await run('a'.repeat(40), { project, protocols: ['https', 'ssh'] }).catch((reason: unknown) => reason);
        expect(String(error)).toContain('LAUNCH_GIT_URL');
        expect(String(error)).toContain(says);
        expect(String(error)).not.toContain('hunter2');
      });
    it('003-4: git itself may use only the protocol of the project', async () => {
      let environment: ProcessRequest['environment'] = {};
      const runner: ProcessRunner = {
        run: (request) => {
          environment = request.environment;
          return Promise.reject(new Error('enough'));
        },
      };
      await run('a'.repeat(40), { project: 'https://host/a.git', protocols: ['https'], runner }).catch(() => undefined);
      expect(environment.GIT_ALLOW_PROTOCOL).toBe('https');
      expect(environment.GIT_TERMINAL_PROMPT).toBe('0');
      expect(Object.values(environment)).toContain('core.hooksPath');
    });
  });

  describe('credentials', () => {
    const PASSWORD = `p'a"ss $(id) \\ wörd`;
    let secret: string;
    beforeEach(() => {
      secret = join(repository.directory, "sec'ret");
      mkdirSync(secret);
    });
    const seen = async (project: string): Promise<ProcessRequest[]> => {
      const requests: ProcessRequest[] = [];
      const runner: ProcessRunner = {
        run: async (request) => {
          requests.push(request);
          const environment = request.environment;
          if (request.args[0] === 'fetch') {
            const fill = `printf 'protocol=https\\nhost=%s\\n\\n' "$0" | git credential fill`;
            for (const host of ['git.example.org', 'evil.example.org']) {
              const { stdout } = await nodeProcessRunner.run({
                program: 'sh',
                args: ['-c', fill, host],
                environment,
                signal: request.signal,
              });
              answers.set(host, stdout);
            }
          }
          return { exitCode: 0, killedBy: undefined, stdout: '', stderr: '' };
        },
      };
      await run('a'.repeat(40), { project, protocols: ['https', 'ssh', 'http'], credentials: secret, runner }).catch(() => undefined);
      return requests;
    };
    const answers = new Map<string, string>();

    it('003-4: user and password of the Secret reach git for its own host alone, and no argument or variable holds them', async () => {
      writeFileSync(join(secret, 'username'), 'robot\n');
      writeFileSync(join(secret, 'password'), `${PASSWORD}\n`);
      const requests = await seen('https://git.example.org/posp/a.git');
      expect(answers.get('git.example.org')).toContain(`username=robot\npassword=${PASSWORD}\n`);
      expect(answers.get('evil.example.org')).not.toContain('robot');
      expect(JSON.stringify(requests)).not.toContain('wörd');
    });
    it('003-4: an ssh key is used with known hosts, and its copy is private and gone afterwards', async () => {
      writeFileSync(join(secret, 'ssh-privatekey'), 'KEY', { mode: 0o644 });
      writeFileSync(join(secret, 'known_hosts'), 'git.example.org ssh-ed25519 AAAA\n');
      let mode = 0;
      let key = '';
      const runner: ProcessRunner = {
        run: (request) => {
          key = join(request.environment.HOME ?? '', 'key');
          mode = statSync(key).mode & 0o777;
          expect(request.environment.GIT_SSH_COMMAND).toContain('StrictHostKeyChecking=yes');
          expect(request.environment.GIT_SSH_COMMAND).toContain('BatchMode=yes');
          return Promise.reject(new Error('enough'));
        },
      };
      await run('a'.repeat(40), { project: 'ssh://git@git.example.org/a.git', protocols: ['ssh'], credentials: secret, runner }).catch(
        () => undefined,
      );
      expect(mode).toBe(0o600);
      expect(existsSync(key)).toBe(false);
    });
    const incomplete: { name: string; project: string; files: string[]; says: string }[] = [
      { name: 'no password', project: 'https://h/a', files: ['username'], says: 'password is missing' },
      { name: 'no known_hosts', project: 'ssh://git@h/a', files: ['ssh-privatekey'], says: 'known_hosts is missing' },
      { name: 'http', project: 'http://h/a', files: ['username', 'password'], says: 'in clear' },
    ];
    for (const { name, project, files, says } of incomplete)
      it(`003-4: ${name} is refused`, async () => {
        for (const file of files) writeFileSync(join(secret, file), 'x');
        await expect(run('a'.repeat(40), { project, protocols: ['https', 'ssh', 'http'], credentials: secret })).rejects.toMatchObject({
          code: 'LAUNCH_GIT_CREDENTIALS',
          message: expect.stringContaining(says),
        });
      });
  });

  it('003-4: as the init container runs it: environment in, exit code and one line out', async () => {
    repository.write('account_confirm', '#!/bin/sh\n');
    const GIT_REVISION = repository.commit('x');
    let log = '';
    const main = (environment: Record<string, string>) => {
      log = '';
      return checkoutMain({
        environment: { GIT_PROJECT: repository.url, GIT_REVISION, GIT_DIR: 'account_confirm', GIT_PROTOCOLS: 'file', ...environment },
        runner: nodeProcessRunner,
        clock: nodeClock,
        write: (text) => {
          log += text;
        },
        signal: new AbortController().signal,
        root: repository.directory,
      });
    };
    expect(await main({})).toBe(0);
    expect(log).toContain(`Checked out ${GIT_REVISION}`);
    expect(readdirSync(join(repository.directory, 'tmp/account_confirm')).sort()).toEqual(['.git', 'account_confirm']);
    expect(await main({ GIT_REVISION: 'master' })).toBe(64);
    expect(await main({ GIT_DIR: '../etc' })).toBe(64);
    expect(await main({ GIT_PROTOCOLS: 'https' })).toBe(64);
    expect(await main({ GIT_DEADLINE: 'soon' })).toBe(1);
    expect(log).toContain('GIT_DEADLINE is "soon"');
    expect(await main({ GIT_REVISION: 'b'.repeat(40) })).toBe(1);
  });
});

describe('linkEscapes', () => {
  const scenarios: [path: string, target: string, escapes: boolean][] = [
    ['a', 'b', false],
    ['a', './b/c', false],
    ['d/a', '../b', false],
    ['d/e/a', '../../b', false],
    ['a', '..', true],
    ['d/a', '../..', true],
    ['a', '../b', true],
    ['a', '/b', true],
    ['a', 'd/../b', true],
    ['a', '', true],
    ['a', '.git', true],
    ['d/a', '../.git/config', true],
    ['a', '....', false],
  ];
  for (const [path, target, escapes] of scenarios)
    it(`003-4: ${path} -> ${target} ${escapes ? 'leaves' : 'stays in'} the tree`, () => expect(linkEscapes(path, target)).toBe(escapes));
});
