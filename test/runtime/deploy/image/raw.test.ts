import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { truncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { contentDigest } from '../../../../src/runtime/deploy/image/index.ts';
import { collect, diskContent, handMade, reassemble, scratch, withImage } from './support.ts';

const MEGABYTE = 1024 * 1024;

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

describe('raw images', () => {
  const files = scratch();

  it('come back as they are, with their zeros found', async () => {
    const content = diskContent(3 * MEGABYTE + 512, 5);
    await withImage({ path: files.file('a.img', content) }, async (image) => {
      expect(image).toMatchObject({ format: 'raw', virtualSizeBytes: content.length });
      expect(Buffer.compare(await reassemble(image), content)).toBe(0);
    });
  });

  it('a hole is zeros, and runs of zeros from 64 KiB on are told apart', async () => {
    const path = files.file('sparse.img', Buffer.from('boot sector'));
    truncateSync(path, 20 * MEGABYTE);
    await withImage({ path }, async (image) => {
      expect(await collect(image.extents())).toEqual([
        { offset: 0, length: 65_536, kind: 'data' },
        { offset: 65_536, length: 20 * MEGABYTE - 65_536, kind: 'zero' },
      ]);
    });
  });

  it('an odd end is filled up to a sector', async () => {
    await withImage({ path: files.file('odd.img', Buffer.from('x'.repeat(700))) }, async (image) => {
      expect(image.virtualSizeBytes).toBe(1024);
      expect(Buffer.from(await image.read(0, 1024)).toString()).toBe('x'.repeat(700) + '\0'.repeat(324));
      await expect(image.read(1000, 100)).rejects.toMatchObject({ code: 'IMAGE_RANGE' });
      await expect(image.read(-1, 1)).rejects.toMatchObject({ code: 'IMAGE_RANGE' });
    });
  });

  it('the format comes from the bytes; said to be raw, anything is taken as it is', async () => {
    const qcow2 = handMade();
    const path = files.file('liar.raw', qcow2);
    await withImage({ path }, async ({ format }) => expect(format).toBe('qcow2'));
    await withImage({ path, format: 'raw' }, async (image) => expect(Buffer.compare(await reassemble(image), qcow2)).toBe(0));
    const plain = files.file('liar.qcow2', new Uint8Array(512).fill(7));
    await withImage({ path: plain }, async ({ format }) => expect(format).toBe('raw'));
    await expect(withImage({ path: plain, format: 'qcow2' }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_FORMAT_MISMATCH' });
  });

  it.each([
    ['gzip', '1f8b0800'],
    ['xz', 'fd377a585a00'],
    ['zstd', '28b52ffd'],
    ['bzip2', '425a6839'],
  ])('a %s file is refused, with the advice to unpack it', async (format, hex) => {
    const path = files.file('packed.img', Buffer.concat([Buffer.from(hex, 'hex'), new Uint8Array(600)]));
    const refused = withImage({ path }, reassemble);
    await expect(refused).rejects.toMatchObject({ code: 'IMAGE_UNSUPPORTED_FORMAT', cure: 'Unpack it first' });
    await expect(refused).rejects.toThrow(format);
  });

  it('what is no file, and what is empty, is refused at once', async () => {
    const fifo = files.path('fifo');
    execFileSync('mkfifo', [fifo]);
    await expect(withImage({ path: fifo }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_NOT_A_FILE' });
    await expect(withImage({ path: files.path('.') }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_NOT_A_FILE' });
    await expect(withImage({ path: files.file('empty', new Uint8Array()) }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_EMPTY' });
    await expect(withImage({ path: files.path('missing') }, reassemble)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('an aborted signal ends reading with its reason', async () => {
    const abort = new AbortController();
    await withImage({ path: files.file('abort.img', new Uint8Array(MEGABYTE)), signal: abort.signal }, async (image) => {
      abort.abort(new Error('enough'));
      await expect(image.read(0, 512)).rejects.toThrow('enough');
    });
  });

  it('the digest of the content, whatever the file', async () => {
    const content = diskContent(2 * MEGABYTE + 1024, 8);
    const path = files.file('digest.img', content);
    await withImage({ path }, async (image) => {
      const progress: number[] = [];
      expect(await contentDigest(image, { onProgress: ({ doneBytes }) => progress.push(doneBytes) })).toBe(sha256(content));
      expect(progress).toEqual([MEGABYTE, 2 * MEGABYTE, content.length]);
    });
    const qcow2 = handMade();
    await withImage({ path: files.file('digest.qcow2', qcow2) }, async (image) => {
      expect(await contentDigest(image)).toBe(sha256(await reassemble(image)));
    });
  });
});
