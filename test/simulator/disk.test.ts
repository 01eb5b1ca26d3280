import { createHash } from 'node:crypto';
import { mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../src/simulator/clock.ts';
import { type BlockDevice, DiskRecorder, FileDisk, MemoryDisk } from '../../src/simulator/disk/index.ts';

const SIZE = 300 * 512; // two chunks of memory and a bit
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'disk-'));
});
afterAll(() => rm(folder, { recursive: true }));

type Step = { readonly kind: 'write' | 'zero'; readonly block: number; readonly blocks: number; readonly fill: number };
const steps = fc.array(
  fc.record({ kind: fc.constantFrom('write', 'zero'), block: fc.nat(299), blocks: fc.integer({ min: 0, max: 300 }), fill: fc.nat(255) }),
  { maxLength: 15 },
) as fc.Arbitrary<Step[]>;

async function apply(disk: BlockDevice, model: Buffer, { kind, block, blocks, fill }: Step): Promise<void> {
  const offset = block * 512;
  const length = Math.min(blocks * 512, SIZE - offset);
  model.subarray(offset, offset + length).fill(kind === 'zero' ? 0 : fill);
  const data = new Uint8Array(length).fill(fill);
  await (kind === 'zero' ? disk.zero(offset, length) : disk.write(offset, data));
  data.fill(0xff); // the caller's buffer is the caller's
}

const KINDS: readonly { name: string; make: () => Promise<BlockDevice & { close?(): Promise<void> }> }[] = [
  { name: 'MemoryDisk', make: async () => new MemoryDisk({ sizeBytes: SIZE }) },
  {
    name: 'FileDisk',
    make: async () => {
      const path = join(folder, 'property');
      await rm(path, { force: true });
      return FileDisk.open({ path, sizeBytes: SIZE });
    },
  },
];

describe.each(KINDS)('$name', ({ make }) => {
  it('property: reads what was written, zeros elsewhere', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(299), async (all, from) => {
        const disk = await make();
        const model = Buffer.alloc(SIZE);
        for (const step of all) await apply(disk, model, step);
        await disk.flush();
        expect(Buffer.compare(await disk.read(0, SIZE), model)).toBe(0);
        expect(Buffer.compare(await disk.read(from * 512, SIZE - from * 512), model.subarray(from * 512))).toBe(0);
        await disk.close?.();
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ['beyond the end', SIZE, 512],
    ['across the end', SIZE - 512, 1024],
    ['before the start', -512, 512],
    ['a negative length', 512, -512],
    ['half a block', 0, 256],
    ['between blocks', 256, 512],
    ['no number', Number.NaN, 512],
  ])('refuses %s', async (_, offset, length) => {
    const disk = await make();
    const refusal = { code: 'DISK_RANGE' };
    await expect(disk.read(offset, length)).rejects.toMatchObject(refusal);
    await expect(disk.zero(offset, length)).rejects.toMatchObject(refusal);
    if (length > 0) await expect(disk.write(offset, new Uint8Array(length))).rejects.toMatchObject(refusal);
    expect(Buffer.compare(await disk.read(0, SIZE), Buffer.alloc(SIZE))).toBe(0);
    await disk.close?.();
  });
});

describe('MemoryDisk', () => {
  it('property: a clone and its origin do not see each other', async () => {
    await fc.assert(
      fc.asyncProperty(steps, steps, steps, async (before, here, there) => {
        const disk = new MemoryDisk({ sizeBytes: SIZE });
        const model = Buffer.alloc(SIZE);
        for (const step of before) await apply(disk, model, step);
        const clone = disk.clone();
        const cloneModel = Buffer.from(model);
        for (const step of here) await apply(disk, model, step);
        for (const step of there) await apply(clone, cloneModel, step);
        expect(Buffer.compare(await disk.read(0, SIZE), model)).toBe(0);
        expect(Buffer.compare(await clone.read(0, SIZE), cloneModel)).toBe(0);
      }),
    );
  });

  it('has the digest of its bytes, whole or of a prefix', async () => {
    const disk = new MemoryDisk({ sizeBytes: SIZE });
    const model = Buffer.alloc(SIZE);
    await apply(disk, model, { kind: 'write', block: 100, blocks: 100, fill: 7 });
    const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
    expect(disk.sha256()).toBe(digest(model));
    expect(disk.sha256(150 * 512)).toBe(digest(model.subarray(0, 150 * 512)));
  });

  it('ten empty terabytes take no memory, and zeroing gives memory back', async () => {
    const disk = new MemoryDisk({ sizeBytes: 10 * 2 ** 40, blockBytes: 4096 });
    await disk.write(9 * 2 ** 40, new Uint8Array(1024 * 1024).fill(1));
    expect(disk.storedBytes).toBe(1024 * 1024);
    await disk.zero(9 * 2 ** 40, 1024 * 1024);
    expect(disk.storedBytes).toBe(0);
  });

  it.each([
    [0, 512],
    [1000, 512],
    [4096, 100],
    [4096, 768],
    [2 ** 53, 512],
  ])('refuses a geometry of %i bytes in blocks of %i', (sizeBytes, blockBytes) => {
    expect(() => new MemoryDisk({ sizeBytes, blockBytes })).toThrow(expect.objectContaining({ code: 'DISK_GEOMETRY' }));
  });
});

describe('FileDisk', () => {
  it('keeps its content, stays sparse, and takes the size of a file that exists', async () => {
    const path = join(folder, 'kept');
    const first = await FileDisk.open({ path, sizeBytes: 64 * 1024 * 1024, blockBytes: 4096 });
    await first.write(4096, new Uint8Array(4096).fill(3));
    await first.zero(8192, 32 * 1024 * 1024);
    await first.zero(32 * 1024 * 1024, 32 * 1024 * 1024);
    await first.flush();
    await first.close();
    expect((await stat(path)).blocks * 512).toBeLessThan(1024 * 1024);
    const again = await FileDisk.open({ path });
    expect(again.sizeBytes).toBe(64 * 1024 * 1024);
    expect((await again.read(4096, 4096)).every((byte) => byte === 3)).toBe(true);
    await again.close();
    await truncate(path, 100);
    await expect(FileDisk.open({ path })).rejects.toMatchObject({ code: 'DISK_GEOMETRY' });
  });
});

describe('DiskRecorder', () => {
  it('tells who changed what, and when', async () => {
    const clock = new VirtualClock();
    const recorder = new DiskRecorder(new MemoryDisk({ sizeBytes: SIZE }), clock);
    await recorder.as('old owner').write(0, new Uint8Array(1024));
    await clock.runFor(50);
    await recorder.as('new owner').zero(512, 512);
    await recorder.as('new owner').flush();
    await expect(recorder.as('new owner').write(SIZE, new Uint8Array(512))).rejects.toMatchObject({ code: 'DISK_RANGE' });
    expect(recorder.events).toEqual([
      { atMs: 0, writer: 'old owner', kind: 'write', offset: 0, length: 1024 },
      { atMs: 50, writer: 'new owner', kind: 'zero', offset: 512, length: 512 },
      { atMs: 50, writer: 'new owner', kind: 'flush', offset: 0, length: 0 },
    ]);
    expect(recorder.touching(0, 512).map(({ writer }) => writer)).toEqual(['old owner']);
    expect(recorder.touching(512, 1).map(({ writer }) => writer)).toEqual(['old owner', 'new owner']);
    expect(recorder.touching(1024, 512)).toEqual([]);
  });
});
