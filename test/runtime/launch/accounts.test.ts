import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileAccounts, parseAccounts, splitOwner } from '../../../src/runtime/launch/accounts.ts';
import { directoryMode, formatMode, parseMode } from '../../../src/runtime/launch/file-mode.ts';
import { KOLLA, NOVA, Sandbox } from './sandbox.ts';

describe('owners', () => {
  it('001-5: "nova" and "nova:" are "nova:nova"', () => {
    expect(splitOwner('nova')).toEqual({ user: 'nova', group: 'nova' });
    expect(splitOwner('nova:')).toEqual({ user: 'nova', group: 'nova' });
    expect(splitOwner('nova:kolla')).toEqual({ user: 'nova', group: 'kolla' });
  });

  describe('of the container', () => {
    let box: Sandbox;
    beforeAll(() => {
      box = new Sandbox();
    });
    afterAll(() => box.remove());
    const accounts = () => fileAccounts({ passwd: '/etc/passwd', group: '/etc/group' }, box.root);

    it('are looked up in its passwd and group', () => {
      expect(accounts().owner('nova:kolla')).toEqual({ uid: NOVA.uid, gid: KOLLA.gid });
    });
    it('may be numbers, for an image that has no such account', () => {
      expect(accounts().owner('1000:2000')).toEqual({ uid: 1000, gid: 2000 });
    });
    it('an unknown user is named, with the nearest', () => {
      expect(() => accounts().owner('nvoa')).toThrowError(/user "nvoa" is not in \/etc\/passwd \(did you mean "nova"\?\)/);
    });
    it('an unknown group is named', () => {
      expect(() => accounts().owner('nova:wheel')).toThrowError(/group "wheel" is not in \/etc\/group/);
    });
    it('4294967295 means "unchanged" to chown and is refused', () => {
      expect(() => accounts().owner('4294967295')).toThrowError(/4294967295/);
    });
    it('no passwd at all: numbers still resolve, names do not', () => {
      const none = fileAccounts({ passwd: '/absent', group: '/absent' }, box.root);
      expect(none.owner('7:8')).toEqual({ uid: 7, gid: 8 });
      expect(() => none.owner('nova')).toThrowError(/"nova"/);
    });
  });

  it('the first line of a name counts; comments, NIS lines and broken lines do not', () => {
    expect([...parseAccounts('a:x:1:\n#b:x:2\na:x:3\n+::::\nc:x:\nd:x:-1\n\n')]).toEqual([['a', 1]]);
  });
  it('any text parses', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect([...parseAccounts(text).values()].every(Number.isInteger)).toBe(true);
      }),
    );
  });
});

describe('modes', () => {
  for (const text of ['644', '755', '0644', '0755', '0o644', '0o755', '1777', '2775', '0o2775', '4755'])
    it(`001-5: ${text} is accepted`, () => expect(parseMode(text)).toBe(Number.parseInt(text.replace('0o', ''), 8)));
  for (const text of ['', '64', '06440', '888', '0x644', 'rw-r--r--', '0o', '-644', '644 ', 'o644'])
    it(`001-5: "${text}" is refused`, () => expect(parseMode(text)).toBeUndefined());
  const directories: [number, number][] = [
    [0o644, 0o755],
    [0o600, 0o700],
    [0o640, 0o750],
    [0o2770, 0o2770],
    [0o222, 0o222],
    [0o444, 0o555],
  ];
  for (const [mode, directory] of directories)
    it(`001-5: a directory of mode ${formatMode(mode)} gets ${formatMode(directory)}`, () => expect(directoryMode(mode)).toBe(directory));
});
