import { createHash } from 'node:crypto';
import { truncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DiskSink, type WriteImageOptions, writeImage } from '../../../../src/runtime/deploy/image/index.ts';
import { MemoryDisk } from '../../../../src/simulator/disk/index.ts';
import { diskContent, handMade, reassemble, scratch, withImage } from './support.ts';

const MEGABYTE = 1024 * 1024;

/** A disk on which the last owner's bytes are still to be found. */
async function usedDisk(sizeBytes: number, blockBytes = 512): Promise<MemoryDisk> {
  const disk = new MemoryDisk({ sizeBytes, blockBytes });
  await disk.write(0, new Uint8Array(sizeBytes).fill(0xee));
  return disk;
}

/** `disk` with some of its commands replaced. */
function sink(disk: MemoryDisk, replaced: Partial<DiskSink>): DiskSink {
  return {
    blockBytes: disk.blockBytes,
    sizeBytes: disk.sizeBytes,
    read: (offset, length) => disk.read(offset, length),
    write: (offset, data) => disk.write(offset, data),
    zero: (offset, length) => disk.zero(offset, length),
    flush: () => disk.flush(),
    ...replaced,
  };
}

describe('writeImage', () => {
  const files = scratch();

  it.each([
    { name: 'raw', content: diskContent(6 * MEGABYTE, 2), blockBytes: 512 },
    { name: 'raw on blocks of 4 KiB', content: diskContent(6 * MEGABYTE, 3), blockBytes: 4096 },
    { name: 'an odd end on blocks of 4 KiB', content: diskContent(3 * MEGABYTE + 512, 4), blockBytes: 4096 },
    { name: 'zeros only', content: Buffer.alloc(2 * MEGABYTE), blockBytes: 512 },
    { name: 'one sector', content: Buffer.alloc(512, 9), blockBytes: 4096 },
    { name: 'one sector of zeros', content: Buffer.alloc(512), blockBytes: 4096 },
  ])('$name: the disk holds the image, zeros included, and beyond it what it held', async ({ content, blockBytes }) => {
    const disk = await usedDisk(8 * MEGABYTE, blockBytes);
    const progress: number[] = [];
    const result = await withImage({ path: files.file('image', content) }, (image) =>
      writeImage(image, disk, { verify: true, onProgress: ({ phase, doneBytes }) => phase === 'write' && progress.push(doneBytes) }),
    );
    const end = Math.ceil(content.length / blockBytes) * blockBytes;
    const onDisk = await disk.read(0, disk.sizeBytes);
    expect(Buffer.compare(onDisk.subarray(0, content.length), content)).toBe(0);
    expect(onDisk.subarray(content.length, end).every((byte) => byte === 0)).toBe(true);
    expect(onDisk.subarray(end).every((byte) => byte === 0xee)).toBe(true);
    expect(result.sha256).toBe(createHash('sha256').update(content).digest('hex'));
    expect(result.bytesWritten + result.bytesZeroed).toBe(end);
    expect(progress.at(-1)).toBe(content.length);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
  });

  it('qcow2 with clusters smaller than a block of the disk', async () => {
    const disk = await usedDisk(8192, 4096);
    const path = files.file('small', handMade());
    const content = await withImage({ path }, reassemble);
    await withImage({ path }, (image) => writeImage(image, disk, { verify: true }));
    expect(Buffer.compare((await disk.read(0, 4096)).subarray(0, content.length), content)).toBe(0);
  });

  it('holes are zeroed by command, not by bytes', async () => {
    const path = files.file('sparse', Buffer.from('boot'));
    truncateSync(path, 200 * MEGABYTE);
    const zeros: number[] = [];
    const disk = new MemoryDisk({ sizeBytes: 200 * MEGABYTE });
    const watched = sink(disk, {
      zero: async (offset, length) => {
        zeros.push(length);
        await disk.zero(offset, length);
      },
    });
    const result = await withImage({ path }, (image) => writeImage(image, watched));
    expect(result).toMatchObject({ bytesWritten: 65_536, bytesZeroed: 200 * MEGABYTE - 65_536 });
    expect(Math.max(...zeros)).toBeLessThanOrEqual(64 * MEGABYTE);
  });

  it('refuses a disk smaller than the image before the first byte', async () => {
    const disk = sink(new MemoryDisk({ sizeBytes: MEGABYTE }), { write: () => Promise.reject(new Error('must not be called')) });
    await expect(
      withImage({ path: files.file('large', diskContent(MEGABYTE + 512)) }, (image) => writeImage(image, disk)),
    ).rejects.toMatchObject({ code: 'IMAGE_DISK_TOO_SMALL' });
  });

  it.each([1, 3, 8])('keeps %i commands under way and no more', async (queueDepth) => {
    let running = 0;
    let most = 0;
    const full = Promise.withResolvers<void>();
    const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
    const slow = sink(disk, {
      write: async (offset, data) => {
        most = Math.max(most, ++running);
        if (running === queueDepth) full.resolve();
        await full.promise; // the first wait for as many as there may be, and then a while for one too many
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
        await disk.write(offset, data);
        running--;
      },
    });
    const content = Buffer.alloc(4 * MEGABYTE, 1);
    await withImage({ path: files.file('depth', content) }, (image) => writeImage(image, slow, { queueDepth, chunkBytes: 65_536 }));
    expect(most).toBe(queueDepth);
    expect(running).toBe(0);
    expect(Buffer.compare(await disk.read(0, disk.sizeBytes), content)).toBe(0);
  });

  const failing = async (replaced: (disk: MemoryDisk) => Partial<DiskSink>, options: WriteImageOptions): Promise<MemoryDisk> => {
    const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
    await withImage({ path: files.file('failing', Buffer.alloc(4 * MEGABYTE, 1)) }, (image) =>
      writeImage(image, sink(disk, replaced(disk)), options),
    );
    return disk;
  };

  it('a failed command ends it with its error; none is under way then, and none follows', async () => {
    let started = 0;
    let ended = 0;
    const write = async (offset: number): Promise<void> => {
      started++;
      await new Promise((resolve) => setImmediate(resolve));
      ended++;
      if (offset === 2 * 65_536) throw new Error('medium error');
    };
    await expect(failing(() => ({ write }), { chunkBytes: 65_536, queueDepth: 4 })).rejects.toThrow('medium error');
    expect(ended).toBe(started);
    expect(started).toBeLessThan(12);
  });

  it('a failed flush is a failure', async () => {
    await expect(failing(() => ({ flush: () => Promise.reject(new Error('write cache lost')) }), {})).rejects.toThrow('write cache lost');
  });

  it('an aborted signal ends it with its reason', async () => {
    const abort = new AbortController();
    const onProgress = (): void => abort.abort(new Error('operator said no'));
    await expect(failing(() => ({}), { signal: abort.signal, onProgress })).rejects.toThrow('operator said no');
    await expect(failing(() => ({}), { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
  });

  it('a disk that lies is found out by reading back', async () => {
    const flips = (disk: MemoryDisk): Partial<DiskSink> => ({
      write: async (offset, data) => {
        const changed = data.slice();
        if (offset === 3 * 65_536) changed[17] = 99;
        await disk.write(offset, changed);
      },
    });
    await failing(flips, { chunkBytes: 65_536 });
    await expect(failing(flips, { chunkBytes: 65_536, verify: true })).rejects.toMatchObject({
      code: 'IMAGE_READ_BACK_MISMATCH',
      message: expect.stringContaining(`${3 * 65_536}`),
    });
    await expect(failing(() => ({ read: undefined }) as Partial<DiskSink>, { verify: true })).rejects.toMatchObject({
      code: 'IMAGE_READ_BACK_UNSUPPORTED',
    });
    await expect(failing(() => ({ read: () => Promise.reject(new Error('unrecovered read error')) }), { verify: true })).rejects.toThrow(
      'unrecovered read error',
    );
  });
});
