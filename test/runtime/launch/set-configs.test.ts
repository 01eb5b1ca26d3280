import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, lstatSync, mkdirSync, statSync, utimesSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { entry, gid, isRoot, KOLLA, NOVA, Sandbox, uid } from './sandbox.ts';

let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
});
afterEach(() => box.remove());

const nova = `${NOVA.uid}:${NOVA.gid}`;
const novaKolla = `${NOVA.uid}:${KOLLA.gid}`;

describe('copying', () => {
  it('001-5: one file, with owner and mode', () => {
    box.source('nova.conf', '[DEFAULT]\n', 0o644);
    box.config({ command: 'nova-api', config_files: [entry('nova.conf', '/etc/nova/nova.conf')] });
    expect(box.run()).toMatchObject({ exitCode: 0 });
    expect(box.read('/etc/nova/nova.conf')).toBe('[DEFAULT]\n');
    expect(box.who('/etc/nova/nova.conf')).toBe(`0600 ${nova}`);
    expect(box.list('/etc/nova')).toEqual(['nova.conf']);
  });
  it('001-5: bytes are copied as they are, whatever their number', () => {
    const bytes = Buffer.alloc(700_001, Buffer.from([0, 255, 13, 10, 128, 7]));
    box.source('blob', bytes);
    box.source('empty', '');
    box.config({ command: 'x', config_files: [entry('blob', '/a/blob'), entry('empty', '/a/empty')] });
    expect(box.run().exitCode).toBe(0);
    expect(Buffer.compare(Buffer.from(execFileSync('cat', [box.at('/a/blob')], { maxBuffer: 2 ** 20 })), bytes)).toBe(0);
    expect(statSync(box.at('/a/empty')).size).toBe(0);
  });
  it('001-5: a dest that ends in "/" takes the name of the source', () => {
    box.source('a.conf', 'a');
    box.config({ command: 'x', config_files: [entry('a.conf', '/foo/')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/foo/a.conf')).toBe('a');
  });
  it('001-5: a glob brings every match', () => {
    box.source('bar.conf', '1');
    box.source('bar.yml', '2');
    box.source('.bar.hidden', '3');
    box.config({ command: 'x', config_files: [entry('bar.*', '/foo/')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.list('/foo')).toEqual(['bar.conf', 'bar.yml']);
  });
  it('001-5: a directory is copied whole, and its directories get x where r is', () => {
    box.source('tree/a', '1');
    box.source('tree/sub/b', '2');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree', { perm: '0640', owner: 'nova:kolla' })] });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/etc/tree/sub/b')).toBe('2');
    expect(box.who('/etc/tree/sub/b')).toBe(`0640 ${novaKolla}`);
    expect(box.who('/etc/tree/sub')).toBe(`0750 ${novaKolla}`);
    expect(box.who('/etc/tree')).toBe(`0750 ${novaKolla}`);
  });
  it('001-5: without merge a directory is replaced: what was in it is gone', () => {
    box.source('tree/a', 'new');
    box.write('/etc/tree/old', 'old');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.list('/etc/tree')).toEqual(['a']);
    expect(box.list('/etc')).toEqual(['group', 'kolla', 'passwd', 'tree']);
  });
  it('001-5: with merge what was in the directory stays', () => {
    box.source('tree/a', 'new');
    box.source('tree/sub/b', 'new');
    box.write('/etc/tree/a', 'old');
    box.write('/etc/tree/own', 'own');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree', { merge: true })] });
    expect(box.run().exitCode).toBe(0);
    expect(box.list('/etc/tree')).toEqual(['a', 'own', 'sub']);
    expect(box.read('/etc/tree/a')).toBe('new');
    expect(box.read('/etc/tree/own')).toBe('own');
  });
  it('001-5: merge puts a file where a directory was, and a directory where a file was', () => {
    box.source('tree/a', 'file now');
    box.source('tree/b/x', 'directory now');
    box.write('/etc/tree/a/x', 'old');
    box.write('/etc/tree/b', 'old');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree', { merge: true })] });
    expect(box.run()).toMatchObject({ exitCode: 0 });
    expect(box.read('/etc/tree/a')).toBe('file now');
    expect(box.read('/etc/tree/b/x')).toBe('directory now');
    expect(box.list('/etc/tree')).toEqual(['a', 'b']);
  });
  it('001-5: a file replaces a directory, and a directory a file', () => {
    box.source('a', 'file');
    box.source('b/x', 'directory');
    box.write('/etc/one/x', 'old');
    box.write('/etc/two', 'old');
    box.config({ command: 'x', config_files: [entry('a', '/etc/one'), entry('b', '/etc/two')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/etc/one')).toBe('file');
    expect(box.read('/etc/two/x')).toBe('directory');
  });
  it('001-5: symlinks in the source are followed', () => {
    box.source('real', 'content');
    box.symlink('real', '/var/lib/kolla/config_files/link');
    box.config({ command: 'x', config_files: [entry('link', '/etc/x')] });
    expect(box.run().exitCode).toBe(0);
    expect(lstatSync(box.at('/etc/x')).isFile()).toBe(true);
    expect(box.read('/etc/x')).toBe('content');
  });
  it('001-5: merge with preserve_properties keeps symlinks', () => {
    box.source('tree/real', 'content');
    box.symlink('real', '/var/lib/kolla/config_files/tree/link');
    const source = '/var/lib/kolla/config_files/tree';
    box.config({ command: 'x', config_files: [{ source, dest: '/etc/tree', merge: true, preserve_properties: true }] });
    expect(box.run().exitCode).toBe(0);
    expect(box.link('/etc/tree/link')).toBe('real');
  });
  it('001-5: a dest that is a symlink is replaced, and what it led to is left alone', () => {
    box.source('a', 'new');
    box.write('/victim', 'victim');
    box.symlink('../victim', '/etc/a');
    box.config({ command: 'x', config_files: [entry('a', '/etc/a')] });
    expect(box.run().exitCode).toBe(0);
    expect(lstatSync(box.at('/etc/a')).isFile()).toBe(true);
    expect(box.read('/victim')).toBe('victim');
  });
  it.skipIf(!isRoot)('001-5: preserve_properties takes owner, mode and times of the source', () => {
    box.source('a', 'x', 0o640);
    const path = box.at('/var/lib/kolla/config_files/a');
    chownSync(path, 1234, 5678);
    utimesSync(path, 1_000_000, 2_000_000);
    box.config({ command: 'x', config_files: [{ source: '/var/lib/kolla/config_files/a', dest: '/etc/a', preserve_properties: true }] });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/etc/a')).toBe('0640 1234:5678');
    expect(statSync(box.at('/etc/a')).mtimeMs).toBe(2_000_000_000);
  });
  it('001-5: an optional source may be missing', () => {
    box.config({ command: 'x', config_files: [entry('absent', '/etc/absent', { optional: true })] });
    expect(box.run().exitCode).toBe(0);
    expect(box.exists('/etc/absent')).toBe(false);
  });
  it('001-5: a required source that is missing ends with 1, before anything is touched', () => {
    box.source('a', 'new');
    box.write('/etc/a', 'old');
    box.config({ command: 'x', config_files: [entry('a', '/etc/a'), entry('absent', '/etc/absent')] });
    const { exitCode, log } = box.run();
    expect(exitCode).toBe(1);
    expect(log).toMatch(/LAUNCH_SOURCE_MISSING: nothing matches the source .*absent of \/etc\/absent/);
    expect(box.read('/etc/a')).toBe('old');
    expect(box.exists('/run_command')).toBe(false);
  });
  it('001-5: the volumes of the kubelet are read through, not copied', () => {
    const volume = '/var/lib/kolla/config_files/extra';
    box.write(`${volume}/..2026_11_21/nova.conf`, 'x');
    box.symlink('..2026_11_21', `${volume}/..data`);
    box.symlink('..data/nova.conf', `${volume}/nova.conf`);
    box.config({ command: 'x', config_files: [entry('extra', '/etc/extra')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.list('/etc/extra')).toEqual(['nova.conf']);
  });
  it('a symlink loop in the source is named, not followed for ever', () => {
    box.source('tree/a', '');
    box.symlink('.', '/var/lib/kolla/config_files/tree/loop');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree')] });
    const { exitCode, log } = box.run();
    expect(exitCode).toBe(2);
    expect(log).toContain('LAUNCH_SOURCE_KIND');
    expect(box.list('/etc')).not.toContain('tree');
  });
  it('a FIFO as source is refused and does not hang', () => {
    execFileSync('mkfifo', [box.at('/var/lib/kolla/config_files/pipe')]);
    box.config({ command: 'x', config_files: [entry('pipe', '/etc/pipe')] });
    expect(box.run()).toMatchObject({ exitCode: 2, log: expect.stringContaining('is a FIFO') });
  });
  it('an entry inside a directory that another entry replaces ends up in it', () => {
    box.source('tree/a', 'a');
    box.source('b', 'b');
    box.write('/etc/tree/old', '');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree'), entry('b', '/etc/tree/b'), entry('b', '/etc/tree/deep/b')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.list('/etc/tree')).toEqual(['a', 'b', 'deep']);
  });
  it('of two entries for one dest the later wins', () => {
    box.source('a', 'a');
    box.source('b', 'b');
    box.config({ command: 'x', config_files: [entry('a', '/etc/x'), entry('b', '/etc/x')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/etc/x')).toBe('b');
    expect(box.list('/etc')).toEqual(['group', 'kolla', 'passwd', 'x']);
  });
  it('K7: what a killed start left beside a dest is overwritten', () => {
    box.source('a', 'new');
    box.write('/etc/.a.kolla-new', 'half');
    box.config({ command: 'x', config_files: [entry('a', '/etc/a')] });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/etc/a')).toBe('new');
    expect(box.list('/etc')).toEqual(['a', 'group', 'kolla', 'passwd']);
  });
  it('001-5: three starts give the same tree', () => {
    box.source('tree/a', 'a');
    box.source('f', 'f');
    box.config({ command: 'x', config_files: [entry('tree', '/etc/tree', { merge: true }), entry('f', '/etc/f')] });
    const trees = [0, 1, 2].map(() => {
      expect(box.run().exitCode).toBe(0);
      return execFileSync('find', ['.', '-printf', '%p %m %U:%G %l\\n'], { cwd: box.at('/etc'), encoding: 'utf8' });
    });
    expect(trees[1]).toBe(trees[0]);
    expect(trees[2]).toBe(trees[0]);
  });
});

describe('the command', () => {
  it('001-9: /run_command holds it, readable to all', () => {
    box.config({ command: 'nova-api --debug' });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/run_command')).toBe('nova-api --debug');
    expect(box.who('/run_command')).toBe(`0644 ${uid}:${gid}`);
    expect(box.who('/run_command.argv')).toBe(`0644 ${uid}:${gid}`);
  });
  it('001-9: KOLLA_RUN_DIR moves it to a shared volume', () => {
    box.config({ command: 'x' });
    expect(box.run({ KOLLA_RUN_DIR: '/run/kolla' }).exitCode).toBe(0);
    expect(box.list('/run/kolla')).toEqual(['run_command', 'run_command.argv']);
    expect(box.exists('/run_command')).toBe(false);
    expect(box.check({ KOLLA_RUN_DIR: '/run/kolla' }).exitCode).toBe(0);
  });
  it('K9: KOLLA_RUN_DIR is refused through sudo', () => {
    box.config({ command: 'x' });
    const { exitCode, log } = box.run({ KOLLA_RUN_DIR: '/etc', SUDO_UID: '1000' });
    expect(exitCode).toBe(1);
    expect(log).toContain('LAUNCH_SUDO_ENVIRONMENT');
    expect(box.exists('/etc/run_command')).toBe(false);
  });
  it('K9: neither KOLLA_CONFIG nor KOLLA_CONFIG_FILE is a way in (CVE-2022-38060)', () => {
    box.config({ command: 'honest' });
    box.write('/tmp/evil.json', '{"command":"evil"}');
    const { exitCode, log } = box.run({ KOLLA_CONFIG: '{"command":"evil"}', KOLLA_CONFIG_FILE: '/tmp/evil.json' });
    expect(exitCode).toBe(0);
    expect(box.read('/run_command')).toBe('honest');
    expect(log).toContain('KOLLA_CONFIG is set and ignored');
    expect(log).toContain('KOLLA_CONFIG_FILE is set and ignored');
  });
});

describe('strategies', () => {
  beforeEach(() => {
    box.source('a', 'one');
    box.config({ command: 'first', config_files: [entry('a', '/etc/a')] });
  });
  it('001-6: COPY_ALWAYS copies at every start', () => {
    expect(box.run().exitCode).toBe(0);
    box.source('a', 'two');
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/etc/a')).toBe('two');
  });
  it('001-6: COPY_ONCE: the second start ends with 0 and keeps the files and the command', () => {
    expect(box.run({ KOLLA_CONFIG_STRATEGY: 'COPY_ONCE' }).exitCode).toBe(0);
    expect(box.exists('/configured')).toBe(true);
    box.source('a', 'two');
    box.config({ command: 'second', config_files: [entry('a', '/etc/a')] });
    const second = box.run({ KOLLA_CONFIG_STRATEGY: 'COPY_ONCE' });
    expect(second.exitCode).toBe(0);
    expect(second.log).toContain('LAUNCH_CONFIGURED_ONCE');
    expect(box.read('/etc/a')).toBe('one');
    expect(box.read('/run_command')).toBe('first');
  });
  it('001-6: COPY_ONCE that failed is not marked as done', () => {
    box.config({ command: 'x', config_files: [entry('absent', '/etc/a')] });
    expect(box.run({ KOLLA_CONFIG_STRATEGY: 'COPY_ONCE' }).exitCode).toBe(1);
    expect(box.exists('/configured')).toBe(false);
  });
  for (const value of ['', 'copy_always', 'COPY_SOMETIMES'])
    it(`001-6: the strategy "${value}" is refused with 1`, () => {
      const { exitCode, log } = box.run({ KOLLA_CONFIG_STRATEGY: value });
      expect(exitCode).toBe(1);
      expect(log).toContain(`KOLLA_CONFIG_STRATEGY is "${value}"`);
      expect(box.exists('/etc/a')).toBe(false);
    });
  it('001-6: an unknown argument ends with 2', () => {
    expect(box.run({}, ['--root=/tmp'])).toMatchObject({ exitCode: 2, log: expect.stringContaining('"--root=/tmp"') });
  });
  it('001-6: a config error ends with 1, a named one', () => {
    box.config({ command: 'x', config_files: [{ ...entry('a', '/etc/a'), optinal: true }] });
    const { exitCode, log } = box.run();
    expect(exitCode).toBe(1);
    expect(log).toContain('did you mean "optional"?');
    expect(log).not.toMatch(/\n\s+at /); // K8: no stack
  });
});

describe('directories and files', () => {
  it('001-5: a directory is made with its parents, owner and mode', () => {
    box.config({ command: 'x', directories: [{ path: '/var/lib/nova/tmp', owner: 'nova:kolla', perm: '0644' }] });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/var/lib/nova/tmp')).toBe(`0755 ${novaKolla}`);
  });
  it('001-5: an existing directory keeps its content', () => {
    box.write('/var/lib/nova/keep', 'k');
    box.config({ command: 'x', directories: [{ path: '/var/lib/nova', owner: 'nova', perm: '0700' }] });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/var/lib/nova/keep')).toBe('k');
    expect(box.who('/var/lib/nova')).toBe(`0700 ${nova}`);
  });
  it('001-5: several directories, in order', () => {
    box.config({ command: 'x', directories: ['/a', '/a/b', '/c'].map((path) => ({ path, owner: 'nova', perm: '0755' })) });
    expect(box.run().exitCode).toBe(0);
    expect(box.exists('/a/b') && box.exists('/c')).toBe(true);
  });
  it('001-5: a file in the way of a directory is named', () => {
    box.write('/var/x', '');
    box.config({ command: 'x', directories: [{ path: '/var/x', owner: 'nova', perm: '0755' }] });
    expect(box.run()).toMatchObject({ exitCode: 2, log: expect.stringContaining('/var/x is a file, not a directory') });
  });
  it('001-5: a file is made empty, and an existing one keeps its content', () => {
    box.write('/var/log/old.log', 'lines');
    box.config({ command: 'x', files: ['/var/log/new.log', '/var/log/old.log'].map((path) => ({ path, owner: 'nova', perm: '0640' })) });
    expect(box.run().exitCode).toBe(0);
    expect(box.read('/var/log/new.log')).toBe('');
    expect(box.read('/var/log/old.log')).toBe('lines');
    expect(box.who('/var/log/new.log')).toBe(`0640 ${nova}`);
    expect(box.who('/var/log/old.log')).toBe(`0640 ${nova}`);
  });
  const inTheWay: { name: string; make: () => void; says: string }[] = [
    { name: 'a symlink', make: () => box.symlink('/etc/passwd', '/var/x'), says: '/var/x is a symbolic link, not a file' },
    { name: 'a directory', make: () => mkdirSync(box.at('/var/x'), { recursive: true }), says: '/var/x is a directory, not a file' },
    { name: 'no parent', make: () => execFileSync('rm', ['-rf', box.at('/gone')]), says: '/gone is absent, not a directory' },
  ];
  for (const { name, make, says } of inTheWay)
    it(`001-5: files: ${name} is refused`, () => {
      make();
      box.config({ command: 'x', files: [{ path: name === 'no parent' ? '/gone/x' : '/var/x', owner: 'nova', perm: '0640' }] });
      expect(box.run()).toMatchObject({ exitCode: 2, log: expect.stringContaining(says) });
    });
});

describe('permissions', () => {
  const permission = (more: Record<string, unknown>) => box.config({ command: 'x', permissions: [{ owner: 'nova', ...more }] });

  it('001-5: without recurse only the path itself', () => {
    box.write('/log/a', '', 0o600);
    permission({ path: '/log', perm: '0750' });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/log')).toBe(`0750 ${nova}`);
    expect(box.who('/log/a')).toBe(`0600 ${uid}:${gid}`);
  });
  it('001-5: with recurse everything below, directories with x where r is', () => {
    box.write('/log/sub/a', '', 0o600);
    permission({ path: '/log', perm: '0640', recurse: true });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/log')).toBe(`0750 ${nova}`);
    expect(box.who('/log/sub')).toBe(`0750 ${nova}`);
    expect(box.who('/log/sub/a')).toBe(`0640 ${nova}`);
  });
  it('001-5: without perm modes stay', () => {
    box.write('/log/a', '', 0o604);
    permission({ path: '/log', recurse: true });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/log/a')).toBe(`0604 ${nova}`);
  });
  it('001-5: the path may be a pattern', () => {
    for (const name of ['a.log', 'b.log', 'c.txt']) box.write(`/log/${name}`, '', 0o600);
    permission({ path: '/log/*.log', perm: '0644' });
    expect(box.run().exitCode).toBe(0);
    expect(['a.log', 'b.log', 'c.txt'].map((name) => box.who(`/log/${name}`).slice(0, 4))).toEqual(['0644', '0644', '0600']);
  });
  it('001-5: a path that does not exist is a warning', () => {
    permission({ path: '/log/absent', perm: '0644' });
    expect(box.run()).toMatchObject({ exitCode: 0, log: expect.stringContaining('WARNING: /log/absent does not exist') });
  });
  for (const exclude of [['keep'], ['keep', 'other'], ['other', 'keep'], ['^/log/ke', 'x', 'y']])
    it(`K2: what matches any of ${JSON.stringify(exclude)} is left alone`, () => {
      box.write('/log/keep', '', 0o600);
      box.write('/log/take', '', 0o600);
      permission({ path: '/log', perm: '0644', recurse: true, exclude });
      expect(box.run().exitCode).toBe(0);
      expect(box.who('/log/keep')).toBe(`0600 ${uid}:${gid}`);
      expect(box.who('/log/take')).toBe(`0644 ${nova}`);
    });
  it('a symlink that the service put into a directory does not give away what it leads to', () => {
    box.write('/etc/shadow', 'secret', 0o600);
    box.symlink(box.at('/etc/shadow'), '/log/sub/trap');
    permission({ path: '/log', perm: '0666', recurse: true });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/etc/shadow')).toBe(`0600 ${uid}:${gid}`);
  });
  it.skipIf(!isRoot)('set-id bits survive a change of owner', () => {
    box.write('/bin/tool', '', 0o755);
    permission({ path: '/bin/tool', perm: '4755' });
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/bin/tool')).toBe(`4755 ${nova}`);
    chmodSync(box.at('/bin/tool'), 0o4755);
    expect(box.run().exitCode).toBe(0);
    expect(box.who('/bin/tool')).toBe(`4755 ${nova}`);
  });
  it('an unknown owner ends with 1 before anything is touched', () => {
    box.source('a', 'a');
    box.config({ command: 'x', config_files: [entry('a', '/etc/a')], permissions: [{ path: '/etc/a', owner: 'nvoa' }] });
    expect(box.run()).toMatchObject({ exitCode: 1, log: expect.stringContaining('did you mean "nova"?') });
    expect(box.exists('/etc/a')).toBe(false);
  });
});
