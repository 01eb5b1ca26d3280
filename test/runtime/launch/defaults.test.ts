import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { entry, isRoot, NOVA, Sandbox } from './sandbox.ts';

let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
  box.source('a', 'CONFIGURED');
});
afterEach(() => box.remove());

const with_ = (...entries: Record<string, unknown>[]) => box.config({ command: 'x', config_files: entries });
const state = () => JSON.parse(box.read('/etc/kolla/defaults/state')) as Record<string, { dest: string | null }>;
function start(): void {
  expect(box.run()).toMatchObject({ exitCode: 0 });
}

describe("the image's defaults", () => {
  it('001-8: are saved once, and given back when the config stops naming the place', () => {
    box.write('/etc/a', 'IMAGE', 0o604);
    with_(entry('a', '/etc/a'));
    start();
    expect(box.read('/etc/a')).toBe('CONFIGURED');
    expect(box.read('/etc/kolla/defaults/etc/a')).toBe('IMAGE');
    expect(state()['/etc/a']).toEqual({ source: '/etc/a', preserve_properties: true, dest: '/etc/kolla/defaults/etc/a' });
    with_();
    start();
    expect(box.read('/etc/a')).toBe('IMAGE');
    expect(box.who('/etc/a').slice(0, 4)).toBe('0604');
    expect(state()).toEqual({});
    expect(box.exists('/etc/kolla/defaults/etc/a')).toBe(false);
  });
  it('K1: survive any number of starts', () => {
    box.write('/etc/a', 'IMAGE');
    with_(entry('a', '/etc/a'));
    for (let i = 0; i < 4; i++) {
      start();
      expect(box.read('/etc/kolla/defaults/etc/a')).toBe('IMAGE');
    }
    with_();
    start();
    expect(box.read('/etc/a')).toBe('IMAGE');
  });
  it('K1: saving the default of a new entry leaves those of the others as they are', () => {
    box.write('/etc/a', 'IMAGE A');
    box.write('/etc/b', 'IMAGE B');
    with_(entry('a', '/etc/a'));
    start();
    with_(entry('a', '/etc/a'), entry('a', '/etc/b'));
    start();
    with_();
    start();
    expect(box.read('/etc/a')).toBe('IMAGE A');
    expect(box.read('/etc/b')).toBe('IMAGE B');
  });
  it("K1: kolla's own swapped record is understood", () => {
    box.write('/etc/a', 'CONFIGURED');
    box.write('/etc/kolla/defaults/etc/a', 'IMAGE');
    const swapped = { source: '/etc/kolla/defaults/etc/a', preserve_properties: true, dest: '/etc/a' };
    box.write('/etc/kolla/defaults/state', JSON.stringify({ '/etc/a': swapped }));
    with_();
    start();
    expect(box.read('/etc/a')).toBe('IMAGE');
  });
  it('K1: a start that failed after saving does not make the next one save the wrong file', () => {
    box.write('/etc/a', 'IMAGE');
    box.write('/blocked', 'a file where a directory is needed');
    with_(entry('a', '/etc/a'), entry('a', '/blocked/a'));
    expect(box.run().exitCode).toBe(2);
    expect(box.read('/etc/a')).toBe('IMAGE');
    with_(entry('a', '/etc/a'));
    start();
    expect(box.read('/etc/kolla/defaults/etc/a')).toBe('IMAGE');
  });
  it('001-8: where the image had nothing, the record says so and the file goes', () => {
    with_(entry('a', '/etc/a'));
    start();
    expect(state()['/etc/a']?.dest).toBeNull();
    with_();
    start();
    expect(box.exists('/etc/a')).toBe(false);
  });
  it('001-8: a directory that the image did not have goes as a whole', () => {
    box.source('tree/sub/x', '');
    with_(entry('tree', '/etc/tree'));
    start();
    with_();
    start();
    expect(box.exists('/etc/tree')).toBe(false);
  });
  it('001-8: a directory of the image comes back as a whole, symlinks as symlinks', () => {
    box.write('/etc/tree/old', 'old');
    box.symlink('old', '/etc/tree/link');
    box.source('tree/new', '');
    with_(entry('tree', '/etc/tree'));
    start();
    expect(box.list('/etc/tree')).toEqual(['new']);
    with_();
    start();
    expect(box.list('/etc/tree')).toEqual(['link', 'old']);
    expect(box.link('/etc/tree/link')).toBe('old');
  });
  it('001-8: an optional source that vanishes gives the default back', () => {
    box.write('/etc/a', 'IMAGE');
    with_(entry('a', '/etc/a', { optional: true }));
    start();
    execFileSync('rm', [box.at('/var/lib/kolla/config_files/a')]);
    start();
    expect(box.read('/etc/a')).toBe('IMAGE');
  });
  it('K7: every match of a glob has a default of its own', () => {
    box.source('b', 'CONFIGURED');
    box.write('/etc/x/b', 'IMAGE');
    with_(entry('[ab]', '/etc/x/'));
    start();
    expect(Object.keys(state()).sort()).toEqual(['/etc/x/a', '/etc/x/b']);
    execFileSync('rm', [box.at('/var/lib/kolla/config_files/b')]);
    start();
    expect(box.read('/etc/x/b')).toBe('IMAGE');
    expect(box.read('/etc/x/a')).toBe('CONFIGURED');
  });
  it('001-8: two spellings of one dest are one default', () => {
    box.write('/etc/a', 'IMAGE');
    with_(entry('a', '/etc//a'));
    start();
    with_(entry('a', '/etc/./a'));
    start();
    expect(box.read('/etc/kolla/defaults/etc/a')).toBe('IMAGE');
    expect(Object.keys(state())).toEqual(['/etc/a']);
  });
  it('001-8: a dest inside a directory that goes stays where the config wants it', () => {
    box.source('tree/x', '');
    with_(entry('tree', '/etc/tree'));
    start();
    with_(entry('a', '/etc/tree/a'));
    start();
    expect(box.list('/etc/tree')).toEqual(['a']);
  });
  it.skipIf(!isRoot)('001-8: a default comes back with its owner', () => {
    box.write('/etc/a', 'IMAGE');
    execFileSync('chown', ['77:78', box.at('/etc/a')]);
    with_(entry('a', '/etc/a'));
    start();
    expect(box.who('/etc/a')).toBe(`0600 ${NOVA.uid}:${NOVA.gid}`);
    with_();
    start();
    expect(box.who('/etc/a')).toBe('0644 77:78');
  });
  const broken = ['[]', 'null', '{', '"x"'];
  for (const text of broken)
    it(`001-8: the record ${text} is refused with its name`, () => {
      box.write('/etc/kolla/defaults/state', text);
      with_(entry('a', '/etc/a'));
      expect(box.run()).toMatchObject({ exitCode: 2, log: expect.stringContaining('/etc/kolla/defaults/state') });
      expect(box.exists('/etc/a')).toBe(false);
    });
});

describe('merged directories', () => {
  beforeEach(() => {
    box.source('tree/a', 'new a');
    box.source('tree/sub/b', 'new b');
    box.write('/etc/tree/a', 'IMAGE a');
    box.write('/etc/tree/c', 'IMAGE c');
    with_(entry('tree', '/etc/tree', { merge: true }));
    start();
    box.write('/etc/tree/own', 'written by the service');
  });
  it('001-8: what the merge no longer brings goes back to the default, what the service wrote stays', () => {
    execFileSync('rm', ['-r', box.at('/var/lib/kolla/config_files/tree/a'), box.at('/var/lib/kolla/config_files/tree/sub')]);
    start();
    expect(box.read('/etc/tree/a')).toBe('IMAGE a');
    expect(box.exists('/etc/tree/sub/b')).toBe(false);
    expect(box.read('/etc/tree/own')).toBe('written by the service');
  });
  it('001-8: a merge that goes away gives back what it replaced', () => {
    with_();
    start();
    expect(box.read('/etc/tree/a')).toBe('IMAGE a');
    expect(box.read('/etc/tree/c')).toBe('IMAGE c');
    expect(box.exists('/etc/tree/sub/b')).toBe(false);
    expect(box.exists('/etc/tree/own')).toBe(true);
  });
  it('001-8: a merge into a directory of its own leaves nothing behind', () => {
    with_(entry('tree', '/srv/tree', { merge: true }));
    start();
    expect(box.exists('/srv/tree/sub/b')).toBe(true);
    with_();
    start();
    expect(box.exists('/srv/tree')).toBe(false);
  });
  it('001-8: from merge to replace, and back to a merge into the default', () => {
    with_(entry('tree', '/etc/tree'));
    start();
    expect(box.list('/etc/tree')).toEqual(['a', 'sub']);
    with_(entry('tree', '/etc/tree', { merge: true }));
    start();
    expect(box.list('/etc/tree')).toEqual(['a', 'c', 'sub']);
  });
  it('001-8: a directory that one entry replaces and another merges into is replaced', () => {
    box.source('more/d', 'd');
    with_(entry('tree', '/etc/tree'), entry('more', '/etc/tree', { merge: true }));
    start();
    expect(box.list('/etc/tree')).toEqual(['a', 'd', 'sub']);
    with_();
    start();
    expect(box.list('/etc/tree')).toEqual(['a', 'c']);
    expect(box.read('/etc/tree/a')).toBe('IMAGE a');
  });
  it('001-8: two entries may merge into one directory', () => {
    box.source('more/d', 'd');
    with_(entry('tree', '/etc/tree', { merge: true }), entry('more', '/etc/tree', { merge: true }));
    start();
    start();
    expect(box.list('/etc/tree')).toEqual(['a', 'c', 'd', 'own', 'sub']);
    with_(entry('tree', '/etc/tree', { merge: true }));
    start();
    expect(box.list('/etc/tree')).toEqual(['a', 'c', 'own', 'sub']);
  });
});

describe('a destination inside another', () => {
  beforeEach(() => {
    box.source('tree/a', 'CONFIGURED TREE');
    box.source('tree/b', 'CONFIGURED TREE');
  });
  const image = () => {
    box.write('/etc/tree/a', 'IMAGE a');
    box.write('/etc/tree/b', 'IMAGE b');
  };
  const inner = entry('a', '/etc/tree/a');
  const outer = entry('tree', '/etc/tree');
  const merged = entry('tree', '/etc/tree', { merge: true });
  const orders: [string, Record<string, unknown>[][]][] = [
    ['the file first, then the directory too', [[inner], [outer, inner]]],
    ['the directory first, then the file too', [[outer], [outer, inner]]],
    ['both at once', [[outer, inner]]],
    ['the file first, then the directory alone', [[inner], [outer]]],
    ['the directory first, then the file alone', [[outer], [inner]]],
    ['the file first, then the merged directory too', [[inner], [merged, inner]]],
    ['the merged directory first, then the file too', [[merged], [merged, inner]]],
    ['the file first, then the merged directory alone', [[inner], [merged]]],
    ['the merged directory first, then the file alone', [[merged], [inner]]],
    ['directory, both, file', [[outer], [outer, inner], [inner]]],
    ['directory, both, directory', [[outer], [outer, inner], [outer]]],
    ['file, both, file', [[inner], [outer, inner], [inner]]],
    ['file, both, directory', [[inner], [outer, inner], [outer]]],
  ];
  for (const [name, starts] of orders) {
    it(`K1: ${name}: the image's own comes back`, () => {
      image();
      for (const entries of starts) {
        with_(...entries);
        start();
      }
      with_();
      start();
      expect([box.read('/etc/tree/a'), box.read('/etc/tree/b')]).toEqual(['IMAGE a', 'IMAGE b']);
      expect(state()).toEqual({});
    });
    it(`K1: ${name}: goes where the image had nothing`, () => {
      for (const entries of starts) {
        with_(...entries);
        start();
      }
      with_();
      start();
      expect(box.exists('/etc/tree/a')).toBe(false);
      expect(box.exists('/etc/tree/b')).toBe(false);
      expect(state()).toEqual({});
    });
  }
  it('001-8: a directory that the image did not have goes as a whole, with the file in it', () => {
    with_(outer, inner);
    start();
    with_();
    start();
    expect(box.exists('/etc/tree')).toBe(false);
  });
});
