import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ACCESS_VIOLATION,
  bytesFile,
  combine,
  directorySource,
  type FileSource,
  isRefusal,
  memorySource,
  NOT_FOUND,
  normalisePath,
} from 'cdk8s-baremetal-runtime/boot/tftp/index';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { content } from './lab.ts';

const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 2000);
const ends = { remote: { address: '10.0.0.9', port: 1024 }, local: { address: '10.0.0.1', port: 69 } };

/** The whole file, or "error N". */
async function fetchFrom(source: FileSource, path: string, pieceBytes = 65_536): Promise<Buffer | string> {
  const file = await source({ path, ...ends });
  if (isRefusal(file)) return `error ${file.code}`;
  const pieces: Uint8Array[] = [];
  let offset = 0;
  for (;;) {
    const piece = await file.read(offset, pieceBytes);
    if (piece.length === 0) break;
    offset += piece.length;
    pieces.push(piece);
  }
  await file.close();
  expect(file.size).toBe(offset);
  return Buffer.concat(pieces);
}

describe('file names as firmware sends them', () => {
  it.each([
    ['pxelinux.0', 'pxelinux.0'],
    ['/pxelinux.0', 'pxelinux.0'],
    ['//pxelinux.0', 'pxelinux.0'],
    ['./pxelinux.0', 'pxelinux.0'],
    ['/tftpboot/pxelinux.0', 'pxelinux.0'],
    ['tftpboot/pxelinux.0', 'pxelinux.0'],
    ['\\tftpboot\\Boot\\x64\\wdsnbp.com', 'Boot/x64/wdsnbp.com'],
    ['\\Boot\\BCD', 'Boot/BCD'],
    ['pxelinux.cfg/01-52-54-00-12-34-56', 'pxelinux.cfg/01-52-54-00-12-34-56'],
    ['a/../b', 'b'],
    ['a//b/./c', 'a/b/c'],
    ['/tftpbootx/f', 'tftpbootx/f'],
    ['tftpboot', 'tftpboot'],
    ['/tftpboot/tftpboot/f', 'f'],
    ['...', '...'],
    ['..', undefined],
    ['../f', undefined],
    ['a/../../f', undefined],
    ['..\\..\\windows', undefined],
    ['/tftpboot/../../etc/passwd', undefined],
    ['/', undefined],
    ['.', undefined],
    ['a\nb', undefined],
    ['a\x1b[2J', undefined],
  ])('%j is %j', (path, want) => {
    expect(normalisePath(path)).toBe(want);
  });

  it('never climbs, whatever is sent', () => {
    const part = fc.constantFrom('..', '.', '', 'a', '/', '\\', 'tftpboot', '%2e%2e', '\u2025', '. .');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.constantFrom('', '/', '\\'), (parts, glue) => {
        const path = normalisePath(parts.join(glue));
        if (path === undefined) return;
        expect(path.startsWith('/')).toBe(false);
        expect(path.split('/')).not.toContain('..');
        expect(path).not.toContain('\\');
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe('directory source', () => {
  let top = '';
  let root = '';
  const kernel = content(700_001);

  beforeAll(async () => {
    top = await mkdtemp(join(tmpdir(), 'tftp-files-'));
    root = join(top, 'tftpboot');
    const uuid = join(root, '1be26c0b-03f2-4d2e-ae87-c02d7f33c123');
    await mkdir(join(root, 'pxelinux.cfg'), { recursive: true });
    await mkdir(uuid);
    await writeFile(join(root, 'pxelinux.0'), 'loader');
    await writeFile(join(root, 'empty'), '');
    await writeFile(join(uuid, 'kernel'), kernel);
    await writeFile(join(uuid, 'config'), 'default deploy\n');
    await writeFile(join(top, 'secret'), 'secret');
    await mkdir(join(top, 'tftpboot-old'));
    await writeFile(join(top, 'tftpboot-old', 'secret'), 'secret');
    // 002-4: one link for each interface
    await symlink('../1be26c0b-03f2-4d2e-ae87-c02d7f33c123/config', join(root, 'pxelinux.cfg', '01-52-54-00-12-34-56'));
    await symlink('../secret', join(root, 'leak'));
    await symlink('../tftpboot-old/secret', join(root, 'leak-beside'));
    await symlink('/etc', join(root, 'etc'));
    await symlink('loop', join(root, 'loop'));
    await symlink('gone', join(root, 'dangling'));
    execFileSync('mkfifo', [join(root, 'fifo')]);
  });
  afterAll(() => rm(top, { recursive: true }));

  it.each([
    ['pxelinux.0', 'loader'],
    ['/tftpboot/pxelinux.0', 'loader'],
    ['\\tftpboot\\pxelinux.0', 'loader'],
    ['empty', ''],
    ['pxelinux.cfg/01-52-54-00-12-34-56', 'default deploy\n'],
    ['1be26c0b-03f2-4d2e-ae87-c02d7f33c123/config', 'default deploy\n'],
    ['pxelinux.cfg/../pxelinux.0', 'loader'],
  ])('002-4: serves %j', async (path, want) => {
    expect((await fetchFrom(directorySource(root), path)).toString()).toBe(want);
  });

  it.each([
    ['../secret', 'error 2'],
    ['/../secret', 'error 2'],
    ['..\\secret', 'error 2'],
    ['pxelinux.cfg/../../secret', 'error 2'],
    ['/tftpboot/../secret', 'error 1'], // climbs back to the root only
    ['/etc/passwd', 'error 2'],
    ['etc/passwd', 'error 2'],
    ['leak', 'error 2'],
    ['leak-beside', 'error 2'], // a neighbour whose name begins like the root's
    ['loop', 'error 2'],
    ['fifo', 'error 2'],
    ['pxelinux.cfg', 'error 2'],
    ['/', 'error 2'],
    ['dangling', 'error 1'],
    ['nothing', 'error 1'],
    ['pxelinux.0/x', 'error 1'],
    ['x'.repeat(300), 'error 1'],
    ['..%2fsecret', 'error 1'],
  ])('002-4: refuses %j with %s', async (path, want) => {
    expect(await fetchFrom(directorySource(root), path)).toBe(want);
  });

  it.each([1, 1000, 65_536, 1_000_000])('reads a file in pieces of %d bytes at most, whole', async (pieceBytes) => {
    const path = '1be26c0b-03f2-4d2e-ae87-c02d7f33c123/kernel';
    const bytes =
      pieceBytes === 1 ? await fetchFrom(directorySource(root), 'pxelinux.0', 1) : await fetchFrom(directorySource(root), path, pieceBytes);
    expect(Buffer.compare(Buffer.from(bytes), pieceBytes === 1 ? Buffer.from('loader') : kernel)).toBe(0);
  });

  it('serves many readers with a cache smaller than the file, and with none', async () => {
    for (const cacheBytes of [0, 600_000]) {
      const source = directorySource(root, { cacheBytes });
      const all = await Promise.all(
        Array.from({ length: 8 }, () => fetchFrom(source, '1be26c0b-03f2-4d2e-ae87-c02d7f33c123/kernel', 9999)),
      );
      for (const bytes of all) expect(Buffer.compare(Buffer.from(bytes), kernel)).toBe(0);
    }
  });

  it('reads a chunk once for all its clients: the second one waits for nothing', async () => {
    const source = directorySource(root);
    await fetchFrom(source, '1be26c0b-03f2-4d2e-ae87-c02d7f33c123/kernel');
    const file = await source({ path: '1be26c0b-03f2-4d2e-ae87-c02d7f33c123/kernel', ...ends });
    if (isRefusal(file)) throw new Error(file.message);
    expect(file.read(0, 1000)).toBeInstanceOf(Uint8Array);
    expect(file.read(600_000, 1000)).toBeInstanceOf(Uint8Array);
    file.close();
    file.close();
  });

  it('drops what was read longest ago when the cache is full, of whichever file', async () => {
    const source = directorySource(root, { cacheBytes: 2500 });
    const names = ['lru-a', 'lru-b', 'lru-c'];
    for (const name of names) await writeFile(join(root, name), content(1000));
    for (const name of ['lru-a', 'lru-b', 'lru-a', 'lru-c']) await fetchFrom(source, name);
    const kept = await Promise.all(
      names.map(async (path) => {
        const file = await source({ path, ...ends });
        if (isRefusal(file)) throw new Error(file.message);
        const read = file.read(0, 1000);
        expect(Buffer.compare(Buffer.from(await read), content(1000))).toBe(0);
        file.close();
        return read instanceof Uint8Array ? path : 'dropped';
      }),
    );
    expect(kept).toEqual(['lru-a', 'dropped', 'lru-c']);
  });

  it('serves the new content of a changed file, and the old one to whom had begun', async () => {
    const source = directorySource(root);
    await writeFile(join(root, 'changing'), 'first');
    const old = await source({ path: 'changing', ...ends });
    await writeFile(join(root, 'next'), 'second, longer');
    await rename(join(root, 'next'), join(root, 'changing'));
    expect((await fetchFrom(source, 'changing')).toString()).toBe('second, longer');
    if (isRefusal(old)) throw new Error(old.message);
    expect(Buffer.from(await old.read(0, 100)).toString()).toBe('first');
    old.close();
    await writeFile(join(root, 'changing'), 'third');
    expect((await fetchFrom(source, 'changing')).toString()).toBe('third');
  });

  it('gives no mixture of two contents when a file is written over while it is read, as cp does', async () => {
    await writeFile(join(root, 'overwritten'), Buffer.alloc(2_000_000, 'old'));
    await utimes(join(root, 'overwritten'), 1, 1);
    const source = directorySource(root);
    const file = await source({ path: 'overwritten', ...ends });
    if (isRefusal(file)) throw new Error(file.message);
    const first = await file.read(0, 65_536);
    await writeFile(join(root, 'overwritten'), Buffer.alloc(2_000_000, 'new'), { flag: 'r+' });
    expect(Buffer.from(first.subarray(0, 3)).toString()).toBe('old');
    await expect(file.read(1_600_000, 65_536)).rejects.toThrow('the file was written to while it was read');
    expect(Buffer.from(await fetchFrom(source, 'overwritten')).equals(Buffer.alloc(2_000_000, 'new'))).toBe(true);
    file.close();
  });

  it('ends early when a file is cut while it is read', async () => {
    await writeFile(join(root, 'cut'), content(600_000));
    const file = await directorySource(root, { cacheBytes: 0 })({ path: 'cut', ...ends });
    if (isRefusal(file)) throw new Error(file.message);
    await truncate(join(root, 'cut'), 1000);
    expect((await file.read(0, 65_536)).length).toBe(1000);
    expect((await file.read(1000, 65_536)).length).toBe(0);
    file.close();
  });

  it('keeps no descriptor of a file that nobody reads', async () => {
    const source = directorySource(root);
    for (let round = 0; round < 20; round++) await fetchFrom(source, 'pxelinux.0');
    await Promise.all(Array.from({ length: 20 }, () => fetchFrom(source, '1be26c0b-03f2-4d2e-ae87-c02d7f33c123/kernel')));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const open = execFileSync('sh', ['-c', `ls -l /proc/${process.pid}/fd | grep -c '${root}' || true`]).toString();
    expect(Number(open)).toBe(0);
  });

  it('answers with error 1 when the root is not there', async () => {
    expect(await fetchFrom(directorySource(join(top, 'unmounted')), 'pxelinux.0')).toBe('error 1');
    expect((await readFile(join(root, 'pxelinux.0'))).toString()).toBe('loader');
  });
});

describe('combined sources', () => {
  const first = memorySource(
    new Map<string, string | Uint8Array>([
      ['a', 'first'],
      ['dir/b', Buffer.from('b')],
    ]),
  );
  const denies: FileSource = async ({ path }) => (path === 'denied' ? ACCESS_VIOLATION : NOT_FOUND);
  const last: FileSource = async () => bytesFile('last');

  it.each([
    ['a', 'first'],
    ['/tftpboot/dir\\b', 'b'],
    ['other', 'last'],
    ['denied', 'error 2'],
    ['../a', 'error 2'],
  ])('%j comes from the first that has it: %j', async (path, want) => {
    expect((await fetchFrom(combine(first, denies, last), path)).toString()).toBe(want);
  });

  it('is not found when no source has it', async () => {
    expect(await fetchFrom(combine(first, denies), 'x')).toBe('error 1');
    expect(await fetchFrom(combine(), 'x')).toBe('error 1');
  });
});
