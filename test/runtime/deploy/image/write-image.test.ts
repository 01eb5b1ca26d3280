import { createHash } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import {
  buildManifest,
  type DiskSink,
  HashThread,
  type ImageManifest,
  openImage,
  type WriteImageOptions,
  type WrittenImage,
  writeImage,
} from '../../../../src/runtime/deploy/image/index.ts';
import { MemoryDisk } from '../../../../src/simulator/disk/index.ts';
import { diskContent, handMade, reassemble, scratch, withImage } from './support.ts';

const MEGABYTE = 1024 * 1024;
const CHUNK = 64 * 1024;

/** A disk on which the last owner's bytes are still to be found. */
async function usedDisk(sizeBytes: number, blockBytes = 512): Promise<MemoryDisk> {
  const disk = new MemoryDisk({ sizeBytes, blockBytes });
  await disk.write(0, new Uint8Array(sizeBytes).fill(0xee));
  return disk;
}

/** `disk` with some of its commands replaced. */
function sink(disk: MemoryDisk, replaced: Partial<DiskSink> = {}): DiskSink {
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

type Options = Omit<WriteImageOptions, 'manifest'> & { readonly chunkBytes?: number; readonly manifest?: ImageManifest };

async function write(path: string, disk: DiskSink, { chunkBytes = CHUNK, ...options }: Options = {}): Promise<WrittenImage> {
  return withImage({ path }, async (image) =>
    writeImage(image, disk, { manifest: await buildManifest(image, { chunkBytes }), ...options }),
  );
}

describe('writeImage', () => {
  const files = scratch();
  const thread = new HashThread();
  afterAll(() => thread.close());

  it.each([
    { name: 'raw', content: diskContent(6 * MEGABYTE, 2), blockBytes: 512 },
    { name: 'raw on blocks of 4 KiB', content: diskContent(6 * MEGABYTE, 3), blockBytes: 4096 },
    { name: 'an odd end on blocks of 4 KiB', content: diskContent(3 * MEGABYTE + 512, 4), blockBytes: 4096 },
    { name: 'zeros only', content: Buffer.alloc(2 * MEGABYTE), blockBytes: 512 },
    { name: 'one sector', content: Buffer.alloc(512, 9), blockBytes: 4096 },
    { name: 'one sector of zeros', content: Buffer.alloc(512), blockBytes: 4096 },
  ])('002-7: $name: the disk holds the image, zeros included, and beyond it what it held', async ({ content, blockBytes }) => {
    for (const [chunkBytes, hashing] of [
      [CHUNK, {}],
      [MEGABYTE, {}],
      [CHUNK, { sha256: thread.sha256 }],
      [MEGABYTE, { sha256: thread.sha256, memoryBytes: 2 * MEGABYTE }],
    ] as const) {
      const disk = await usedDisk(8 * MEGABYTE, blockBytes);
      const progress: number[] = [];
      const result = await write(files.file('image', content), disk, {
        ...hashing,
        chunkBytes,
        verify: 'all',
        onProgress: ({ phase, doneBytes }) => phase === 'write' && progress.push(doneBytes),
      });
      const end = Math.ceil(content.length / blockBytes) * blockBytes;
      const onDisk = await disk.read(0, disk.sizeBytes);
      expect(Buffer.compare(onDisk.subarray(0, content.length), content)).toBe(0);
      expect(onDisk.subarray(content.length, end).every((byte) => byte === 0)).toBe(true);
      expect(onDisk.subarray(end).every((byte) => byte === 0xee)).toBe(true);
      expect(result.sha256).toBe(createHash('sha256').update(content).digest('hex'));
      expect(result.bytesWritten + result.bytesZeroed).toBe(end);
      expect(progress.at(-1)).toBe(content.length);
      expect(progress).toEqual([...progress].sort((a, b) => a - b));
    }
  });

  it('a thread that dies with the buffers ends the writing, and does not leave it waiting for them', async () => {
    const dies = ({ buffer }: Uint8Array<ArrayBuffer>): Promise<never> => {
      structuredClone(buffer, { transfer: [buffer] });
      return Promise.reject(new Error('the thread has died'));
    };
    const disk = await usedDisk(8 * MEGABYTE);
    const content = new Uint8Array(8 * MEGABYTE).fill(7);
    await expect(write(files.file('image', content), disk, { sha256: dies, memoryBytes: 2 * CHUNK })).rejects.toThrow(
      'the thread has died',
    );
  });

  it('qcow2 with clusters smaller than a block of the disk', async () => {
    const disk = await usedDisk(8192, 4096);
    const path = files.file('small', handMade());
    const content = await withImage({ path }, reassemble);
    await write(path, disk, { chunkBytes: 4096, verify: 'all' });
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
    const result = await write(path, watched, { chunkBytes: MEGABYTE });
    expect(result).toMatchObject({ bytesWritten: 65_536, bytesZeroed: 200 * MEGABYTE - 65_536 });
    expect(Math.max(...zeros)).toBeLessThanOrEqual(64 * MEGABYTE);
    expect(zeros.length).toBeLessThan(8);
  });

  it('refuses a disk smaller than the image before the first byte', async () => {
    const never = (): Promise<never> => Promise.reject(new Error('must not be called'));
    const disk = sink(new MemoryDisk({ sizeBytes: MEGABYTE }), { write: never, zero: never });
    await expect(write(files.file('large', diskContent(MEGABYTE + 512)), disk)).rejects.toMatchObject({ code: 'IMAGE_DISK_TOO_SMALL' });
  });

  it('refuses the manifest of another image, and one that does not fit the disk’s blocks', async () => {
    const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE, blockBytes: 4096 });
    const path = files.file('mine', diskContent(2 * MEGABYTE));
    const other = await withImage({ path: files.file('other', diskContent(MEGABYTE)) }, (image) => buildManifest(image));
    await expect(write(path, disk, { manifest: other })).rejects.toMatchObject({ code: 'IMAGE_MANIFEST' });
    await expect(write(path, disk, { chunkBytes: 1024 })).rejects.toMatchObject({ code: 'IMAGE_MANIFEST' });
  });

  it.each([2, 3, 8])('holds %i chunks in memory and no more', async (buffers) => {
    let running = 0;
    let most = 0;
    const full = Promise.withResolvers<void>();
    const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
    const slow = sink(disk, {
      write: async (offset, data) => {
        most = Math.max(most, ++running);
        if (running === buffers) full.resolve();
        await full.promise; // the first wait for as many as there may be, and then a while for one too many
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
        await disk.write(offset, data);
        running--;
      },
    });
    const content = Buffer.alloc(4 * MEGABYTE, 1);
    await write(files.file('depth', content), slow, { memoryBytes: buffers * CHUNK });
    expect(most).toBe(buffers);
    expect(running).toBe(0);
    expect(Buffer.compare(await disk.read(0, disk.sizeBytes), content)).toBe(0);
  });

  const failing = async (replaced: (disk: MemoryDisk) => Partial<DiskSink>, options: Options): Promise<MemoryDisk> => {
    const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
    await write(files.file('failing', Buffer.alloc(4 * MEGABYTE, 1)), sink(disk, replaced(disk)), options);
    return disk;
  };

  it('a failed command ends it with its error; none is under way then, and none follows', async () => {
    let started = 0;
    let ended = 0;
    const fails = async (offset: number): Promise<void> => {
      started++;
      await new Promise((resolve) => setImmediate(resolve));
      ended++;
      if (offset === 3 * CHUNK) throw new Error('medium error');
    };
    await expect(failing(() => ({ write: fails }), { memoryBytes: 4 * CHUNK })).rejects.toThrow('medium error');
    expect(ended).toBe(started);
    expect(started).toBeLessThan(12);
  });

  it('when every command fails it ends as well', async () => {
    await expect(failing(() => ({ write: () => Promise.reject(new Error('gone')) }), { memoryBytes: 2 * CHUNK })).rejects.toThrow('gone');
    await expect(failing(() => ({ zero: () => Promise.reject(new Error('no zeros')) }), {})).rejects.toThrow('no zeros');
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

  describe('N14: what is written is what was checked', () => {
    it('002-7: a chunk that rotted since the manifest was made never reaches the disk', async () => {
      const content = diskContent(2 * MEGABYTE, 8);
      const path = files.file('rotten', content);
      const image = await openImage({ path });
      const manifest = await buildManifest(image, { chunkBytes: CHUNK });
      content.set([1, 2, 3], 20 * CHUNK + 77);
      writeFileSync(path, content);
      const touched: number[] = [];
      const disk = new MemoryDisk({ sizeBytes: 2 * MEGABYTE });
      const watched = sink(disk, {
        write: async (offset, data) => {
          touched.push(Math.floor(offset / CHUNK));
          await disk.write(offset, data);
        },
      });
      await expect(writeImage(image, watched, { manifest })).rejects.toMatchObject({
        code: 'IMAGE_CHUNK_MISMATCH',
        message: expect.stringContaining(`at ${20 * CHUNK}`),
      });
      await image.close();
      expect(touched).not.toContain(20);
      expect(Math.max(...touched)).toBeLessThan(40); // of those that were on their way, and none after them
      expect(touched).not.toContain(0); // the table would have come last
    });

    it('a disk that lies is found out by reading back', async () => {
      const flips =
        (number: number) =>
        (disk: MemoryDisk): Partial<DiskSink> => ({
          write: async (offset, data) => {
            const changed = data.slice();
            if (offset === number * CHUNK) changed[17] = 99;
            await disk.write(offset, changed);
          },
        });
      await failing(flips(3), { verify: 'none' });
      for (const [number, verify] of [
        [3, 'all'],
        [0, 'sample'],
        [63, 'sample'],
      ] as const)
        await expect(failing(flips(number), { verify })).rejects.toMatchObject({
          code: 'IMAGE_READ_BACK_MISMATCH',
          message: expect.stringContaining(`${number * CHUNK}`),
        });
      await expect(failing(() => ({ read: undefined }) as Partial<DiskSink>, {})).rejects.toMatchObject({
        code: 'IMAGE_READ_BACK_UNSUPPORTED',
      });
      await expect(failing(() => ({ read: () => Promise.reject(new Error('unrecovered read error')) }), {})).rejects.toThrow(
        'unrecovered read error',
      );
    });

    it('of a disk that was found out nothing is left that boots or that a later run would believe', async () => {
      const content = diskContent(4 * MEGABYTE, 6).fill(7, 0, 512);
      const path = files.file('lie', content);
      const flipping = (disk: MemoryDisk, number: number): DiskSink =>
        sink(disk, {
          write: async (offset, data) => {
            const changed = data.slice();
            if (offset === number * CHUNK) changed[17] = 99;
            await disk.write(offset, changed);
          },
        });
      for (const number of [37, 63, 0]) {
        const disk = await usedDisk(4 * MEGABYTE);
        const synced: number[] = [];
        const options = { verify: 'all' as const, onSynced: (chunks: number) => void synced.push(chunks) };
        await expect(write(path, flipping(disk, number), options)).rejects.toMatchObject({ code: 'IMAGE_READ_BACK_MISMATCH' });
        expect((await disk.read(0, CHUNK)).every((byte) => byte === 0)).toBe(true);
        // another sample than the one that found it
        await write(path, sink(disk), { resumeAt: synced.at(-1) ?? 0, verify: 'none' });
        expect(Buffer.compare(await disk.read(0, content.length), content)).toBe(0);
      }
    });

    it('a disk that keeps old data where zeros are due is found out', async () => {
      const content = Buffer.concat([Buffer.alloc(CHUNK, 1), Buffer.alloc(8 * CHUNK), Buffer.alloc(CHUNK, 1)]);
      const disk = await usedDisk(content.length);
      const lazy = sink(disk, { zero: async (offset, length) => (offset === 0 ? disk.zero(offset, length) : undefined) });
      await expect(write(files.file('holes', content), lazy, { verify: 'all' })).rejects.toMatchObject({
        code: 'IMAGE_READ_BACK_MISMATCH',
      });
    });
  });

  describe('what was cut short', () => {
    const content = diskContent(4 * MEGABYTE, 6).fill(7, 0, 512);
    const cutAfter = async (writes: number): Promise<{ disk: MemoryDisk; synced: number[] }> => {
      const disk = await usedDisk(4 * MEGABYTE);
      const synced: number[] = [];
      let done = 0;
      const cut = sink(disk, {
        write: async (offset, data) => {
          if (++done > writes) throw new Error('the connection was lost');
          await disk.write(offset, data);
        },
      });
      const options = { syncEveryBytes: 8 * CHUNK, onSynced: (chunks: number) => void synced.push(chunks) };
      await expect(write(files.file('cut', content), cut, options)).rejects.toThrow('the connection was lost');
      return { disk, synced };
    };

    it('has no partition table', async () => {
      const { disk } = await cutAfter(30);
      expect((await disk.read(0, CHUNK)).every((byte) => byte === 0)).toBe(true);
    });

    it('goes on at the last synchronized chunk', async () => {
      const { disk, synced } = await cutAfter(40);
      const resumeAt = synced.at(-1) ?? 0;
      expect(resumeAt).toBeGreaterThan(8);
      let least = Number.POSITIVE_INFINITY;
      const watched = sink(disk, {
        write: async (offset, data) => {
          if (offset >= CHUNK) least = Math.min(least, offset);
          await disk.write(offset, data);
        },
      });
      const result = await write(files.file('cut', content), watched, { resumeAt, verify: 'all' });
      expect(result.resumedChunks).toBe(resumeAt - 1);
      expect(least).toBeGreaterThanOrEqual(resumeAt * CHUNK);
      expect(Buffer.compare(await disk.read(0, content.length), content)).toBe(0);
    });

    it('begins anew on a disk that did not keep what it had synchronized', async () => {
      const { synced } = await cutAfter(40);
      const disk = await usedDisk(4 * MEGABYTE);
      const result = await write(files.file('cut', content), disk, { resumeAt: synced.at(-1) ?? 0, verify: 'all' });
      expect(result.resumedChunks).toBe(0);
      expect(Buffer.compare(await disk.read(0, content.length), content)).toBe(0);
    });

    it.each(['none', 'sample'] as const)(
      'an empty disk that took the place of the written one is not taken for it, though zeros are what the last chunk holds (read back: %s)',
      async (verify) => {
        const sparse = Buffer.alloc(4 * MEGABYTE);
        diskContent(20 * CHUNK, 8).copy(sparse, 0);
        const image = files.file('sparse', sparse);
        const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
        const result = await write(image, disk, { resumeAt: 40, verify });
        expect(result.resumedChunks).toBe(0);
        expect(Buffer.compare(await disk.read(0, sparse.length), sparse)).toBe(0);
      },
    );

    it('a disk that holds the last chunk and lost one before it is written anew', async () => {
      const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
      await disk.write(39 * CHUNK, content.subarray(39 * CHUNK, 40 * CHUNK));
      expect((await write(files.file('cut', content), disk, { resumeAt: 40, verify: 'none' })).resumedChunks).toBe(0);
      expect(Buffer.compare(await disk.read(0, content.length), content)).toBe(0);
    });

    it.each([1, 63, 64, 1000])('resumes at chunk %i of 64', async (resumeAt) => {
      const disk = new MemoryDisk({ sizeBytes: 4 * MEGABYTE });
      await disk.write(CHUNK, content.subarray(CHUNK));
      await write(files.file('cut', content), disk, { resumeAt, verify: 'all' });
      expect(Buffer.compare(await disk.read(0, content.length), content)).toBe(0);
    });
  });
});
