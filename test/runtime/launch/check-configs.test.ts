import { chmodSync, chownSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { entry, isRoot, NOVA, Sandbox } from './sandbox.ts';

let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
  box.source('f', 'f');
  box.source('tree/sub/a', 'a');
  box.source('kept', 'k', 0o604);
});
afterEach(() => box.remove());

const kept = { source: '/var/lib/kolla/config_files/kept', dest: '/etc/kept', preserve_properties: true };
const all = (more: object = {}) =>
  box.config({ command: 'nova-api', config_files: [entry('f', '/etc/f'), entry('tree', '/etc/tree', { perm: '0644' }), kept], ...more });

describe('--check', () => {
  it('001-7: 0 when nothing differs, after every kind of entry', () => {
    all();
    expect(box.run().exitCode).toBe(0);
    expect(box.check()).toEqual({ exitCode: 0, log: '' });
  });
  it('K3: preserve_properties entries and 0644 directories are no difference', () => {
    all();
    box.run();
    expect(box.who('/etc/tree/sub').slice(0, 4)).toBe('0755');
    expect(box.check().exitCode).toBe(0);
  });
  it('K3: "600" is the mode 0600', () => {
    box.config({ command: 'x', config_files: [entry('f', '/etc/f', { perm: '600' })] });
    box.run();
    expect(box.check().exitCode).toBe(0);
  });
  const inner = entry('f', '/etc/tree/sub/a', { perm: '0640' });
  const outer = entry('tree', '/etc/tree');
  const merged = entry('tree', '/etc/tree', { merge: true });
  it.each([
    ['a file over one of a directory', [outer, inner]],
    ['a directory over a file of another entry', [inner, outer]],
    ['a file over one of a merged directory', [merged, inner]],
    ['a merged directory over a file of another entry', [inner, merged]],
    ['two files in one place', [entry('f', '/etc/f'), entry('kept', '/etc/f')]],
  ])('K3: of entries that meet the later one counts, as at a start: %s', (_, entries) => {
    box.config({ command: 'x', config_files: entries });
    expect(box.run().exitCode).toBe(0);
    expect(box.check()).toEqual({ exitCode: 0, log: '' });
    box.write(entries[0]?.dest === '/etc/f' ? '/etc/f' : '/etc/tree/sub/a', 'edited');
    expect(box.check().exitCode).toBe(1);
  });
  it.skipIf(!isRoot)('K3: what permissions changes after the copying is no difference, and is the measure', () => {
    const permissions = [
      { path: '/etc/tree', owner: 'nova', perm: '0640', recurse: true, exclude: ['/sub/'] },
      { path: '/etc/k*', owner: 'root:kolla', perm: '0400' },
      { path: '/etc/f', owner: 'root' },
      { path: '/etc/absent', owner: 'root' },
    ];
    box.source('tree/b', 'b');
    all({ permissions });
    expect(box.run().exitCode).toBe(0);
    expect(box.check()).toEqual({ exitCode: 0, log: '' });
    chmodSync(box.at('/etc/tree/b'), 0o644); // as the entry says
    chownSync(box.at('/etc/f'), NOVA.uid, NOVA.gid);
    expect(box.check().log).toMatch(/\/etc\/f belongs to .*, not 0:0.*\/etc\/tree\/b has mode 0644, not 0640/);
  });
  it('001-7: needs no KOLLA_CONFIG_STRATEGY and changes nothing', () => {
    all();
    const before = box.list('/etc');
    expect(box.check({ KOLLA_CONFIG_STRATEGY: '' }).exitCode).toBe(1);
    expect(box.list('/etc')).toEqual(before);
  });

  const changes: { name: string; change: () => void; says: RegExp }[] = [
    { name: 'another command', change: () => all({ command: 'nova-api --debug' }), says: /LAUNCH_CHANGED_COMMAND.*\/run_command/ },
    {
      name: 'K5: the same command as other arguments',
      change: () => box.write('/run_command.argv', "launch_text='nova-api'\nset -- 'x'\n"),
      says: /run_command\.argv/,
    },
    { name: '/run_command is gone', change: () => rmSync(box.at('/run_command')), says: /LAUNCH_CHANGED_COMMAND/ },
    {
      name: 'an entry less',
      change: () => box.config({ command: 'nova-api', config_files: [kept] }),
      says: /LAUNCH_CHANGED_STATE: .*\/etc\/f, \/etc\/tree/,
    },
    { name: 'other bytes', change: () => box.source('f', 'g'), says: /\/etc\/f has another content/ },
    { name: 'bytes more', change: () => box.write('/etc/f', 'f\n', 0o600), says: /\/etc\/f has another content/ },
    { name: 'a dest that is gone', change: () => rmSync(box.at('/etc/f')), says: /\/etc\/f is missing/ },
    { name: 'another mode', change: () => chmodSync(box.at('/etc/f'), 0o640), says: /\/etc\/f has mode 0640, not 0600/ },
    {
      name: 'another mode of a preserve_properties entry',
      change: () => chmodSync(box.at('/etc/kept'), 0o640),
      says: /\/etc\/kept has mode 0640, not 0604/,
    },
    {
      name: 'K4: another mode of a directory below',
      change: () => chmodSync(box.at('/etc/tree/sub'), 0o700),
      says: /\/etc\/tree\/sub has mode 0700, not 0755/,
    },
    { name: 'a new file in a source directory', change: () => box.source('tree/new', ''), says: /\/etc\/tree\/new is missing/ },
    {
      name: 'another content below a directory',
      change: () => box.write('/etc/tree/sub/a', 'b'),
      says: /\/etc\/tree\/sub\/a has another content/,
    },
    {
      name: 'a file where a directory was',
      change: () => {
        rmSync(box.at('/etc/tree'), { recursive: true });
        box.write('/etc/tree', '');
      },
      says: /\/etc\/tree is no directory/,
    },
  ];
  for (const { name, change, says } of changes)
    it(`001-7: 1 and a word about it: ${name}`, () => {
      all();
      expect(box.run().exitCode).toBe(0);
      change();
      const { exitCode, log } = box.check();
      expect(log).toMatch(says);
      expect(exitCode).toBe(1);
      // and a start brings it back
      expect(box.run().exitCode).toBe(0);
      expect(box.check().exitCode).toBe(0);
    });
  it.skipIf(!isRoot)('001-7: 1 for another owner and another group', () => {
    all();
    box.run();
    chownSync(box.at('/etc/f'), 1, 42436);
    expect(box.check().log).toMatch(/\/etc\/f belongs to 1:42436, not 42436:42436/);
    chownSync(box.at('/etc/f'), 42436, 1);
    expect(box.check().log).toMatch(/\/etc\/f belongs to 42436:1/);
  });
  it('001-7: several differences are all named', () => {
    all();
    box.run();
    chmodSync(box.at('/etc/kept'), 0o640);
    box.source('f', 'longer');
    expect(box.check().log).toMatch(/\/etc\/f has another content; \/etc\/kept has mode/);
  });
  it('001-7: an optional source: missing on both sides is the same', () => {
    box.config({ command: 'x', config_files: [entry('absent', '/etc/absent', { optional: true })] });
    box.run();
    expect(box.check().exitCode).toBe(0);
  });
  it('001-7: an optional source that appeared is a change', () => {
    box.config({ command: 'x', config_files: [entry('late', '/etc/late', { optional: true })] });
    box.run();
    box.source('late', 'x');
    expect(box.check()).toMatchObject({ exitCode: 1, log: expect.stringContaining('/etc/late is missing') });
  });
  it('001-7: a required source that is missing ends with 1', () => {
    all();
    box.run();
    rmSync(box.at('/var/lib/kolla/config_files/f'));
    expect(box.check()).toMatchObject({ exitCode: 1, log: expect.stringContaining('LAUNCH_SOURCE_MISSING') });
  });
  it('001-7: 2 for what is no answer: a record that is not JSON', () => {
    all();
    box.run();
    box.write('/etc/kolla/defaults/state', '{');
    expect(box.check().exitCode).toBe(2);
  });
});
