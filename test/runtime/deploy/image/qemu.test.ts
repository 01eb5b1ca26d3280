/** Every variant that qemu-img can write reads back as qemu-img reads it. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collect, diskContent, hasQemuImg, qemuImg, reassemble, scratch, withImage } from './support.ts';

const MEGABYTE = 1024 * 1024;
const RUNS = Number(process.env.FUZZ_RUNS ?? 12);

const VARIANTS: readonly { name: string; create: readonly string[]; convert?: readonly string[] }[] = [
  { name: 'as it comes', create: [] },
  { name: 'version 2', create: ['compat=0.10'] },
  { name: 'version 2, packed', create: ['compat=0.10'], convert: ['-c'] },
  { name: 'clusters of 512 bytes', create: ['cluster_size=512'] },
  { name: 'clusters of 2 MiB', create: ['cluster_size=2M'] },
  { name: 'packed by deflate', create: [], convert: ['-c'] },
  { name: 'packed by deflate, clusters of 512 bytes', create: ['cluster_size=512'], convert: ['-c'] },
  { name: 'packed by deflate, clusters of 2 MiB', create: ['cluster_size=2M'], convert: ['-c'] },
  { name: 'packed by zstd', create: ['compression_type=zstd'], convert: ['-c'] },
  { name: 'packed by zstd, clusters of 4 KiB', create: ['compression_type=zstd', 'cluster_size=4k'], convert: ['-c'] },
  { name: 'packed by zstd, clusters of 2 MiB', create: ['compression_type=zstd', 'cluster_size=2M'], convert: ['-c'] },
  { name: 'metadata allocated before', create: ['preallocation=metadata'] },
  { name: 'space allocated before', create: ['preallocation=falloc'] },
  { name: 'everything allocated before', create: ['preallocation=full'] },
  { name: 'no holes at all', create: [], convert: ['-S', '0'] },
  { name: 'subclusters', create: ['extended_l2=on', 'cluster_size=64k'] },
  { name: 'subclusters, packed', create: ['extended_l2=on', 'cluster_size=128k'], convert: ['-c'] },
  { name: 'lazy reference counts', create: ['lazy_refcounts=on'] },
];

describe.skipIf(!hasQemuImg)('images made by qemu-img', () => {
  const files = scratch();

  describe.each([8 * MEGABYTE, 5 * MEGABYTE + 512])('of %i bytes', (sizeBytes) => {
    it.each(VARIANTS)('$name', async ({ name, create, convert = [] }) => {
      const content = diskContent(sizeBytes);
      const raw = files.file(`${sizeBytes}.raw`, content);
      const path = files.path(`${name}-${sizeBytes}`);
      const options = create.length ? ['-o', create.join(',')] : [];
      qemuImg('convert', '-t', 'unsafe', '-f', 'raw', '-O', 'qcow2', ...convert, ...options, raw, path);
      await withImage({ path }, async (image) => {
        expect(image).toMatchObject({ format: 'qcow2', virtualSizeBytes: sizeBytes });
        expect(Buffer.compare(await reassemble(image), content)).toBe(0);
        // ranges that begin and end anywhere
        for (const [from, length] of [
          [0, 1],
          [511, 1026],
          [sizeBytes - 777, 777],
          [123_457, 3 * MEGABYTE],
          [65_536, 0],
        ] as const)
          expect(Buffer.compare(await image.read(from, length), content.subarray(from, from + length))).toBe(0);
      });
    });
  });

  it('an empty disk of 10 TiB is one extent of zeros', async () => {
    const path = files.path('empty.qcow2');
    qemuImg('create', '-f', 'qcow2', path, '10T');
    await withImage({ path }, async (image) => {
      const extents = await collect(image.extents());
      expect(extents).toEqual([{ offset: 0, length: 10 * 2 ** 40, kind: 'zero' }]);
    });
  });

  it('internal snapshots do not disturb the current state', async () => {
    const content = diskContent(4 * MEGABYTE, 9);
    const path = files.path('snapshots.qcow2');
    qemuImg('convert', '-t', 'unsafe', '-f', 'raw', '-O', 'qcow2', files.file('before.raw', content), path);
    qemuImg('snapshot', '-c', 'first', path);
    qemuImg('snapshot', '-c', 'second', path);
    await withImage({ path }, async (image) => expect(Buffer.compare(await reassemble(image), content)).toBe(0));
  });

  it.each([
    ['IMAGE_BACKING_FILE', ['create', '-f', 'qcow2', '-F', 'raw', '-b', 'BASE', 'OUT']],
    ['IMAGE_EXTERNAL_DATA', ['create', '-f', 'qcow2', '-o', 'data_file=OUT.data', 'OUT', '1M']],
    [
      'IMAGE_ENCRYPTED',
      ['create', '-f', 'qcow2', '--object', 'secret,id=k,data=x', '-o', 'encrypt.format=aes,encrypt.key-secret=k', 'OUT', '1M'],
    ],
    ['IMAGE_UNSUPPORTED_FORMAT', ['create', '-f', 'vmdk', 'OUT', '1M']],
    ['IMAGE_UNSUPPORTED_FORMAT', ['create', '-f', 'vdi', 'OUT', '1M']],
    ['IMAGE_UNSUPPORTED_FORMAT', ['create', '-f', 'vhdx', 'OUT', '8M']],
    ['IMAGE_UNSUPPORTED_FORMAT', ['create', '-f', 'vpc', 'OUT', '1M']],
    ['IMAGE_UNSUPPORTED_FORMAT', ['create', '-f', 'qed', 'OUT', '1M']],
  ])('refuses with %s what `qemu-img %s` makes', async (code, args) => {
    const base = files.file('base.raw', new Uint8Array(MEGABYTE));
    const out = files.path(
      `refused-${args
        .join('-')
        .replace(/[^\w-]/g, '')
        .slice(0, 80)}`,
    );
    qemuImg(...args.map((arg) => arg.replace('BASE', base).replace('OUT', out)));
    await expect(withImage({ path: out }, async () => undefined)).rejects.toMatchObject({ code });
  });

  it('a cut file is found out, wherever it is cut', async () => {
    const content = diskContent(2 * MEGABYTE, 3);
    const path = files.path('whole.qcow2');
    qemuImg('convert', '-t', 'unsafe', '-f', 'raw', '-O', 'qcow2', '-S', '0', files.file('whole.raw', content), path);
    const whole = readFileSync(path);
    for (const bytes of [3, 71, 100, 4096, 65_536, 200_000, 300_000, whole.length - 65_536, whole.length - 1]) {
      const cut = files.file('cut.qcow2', whole.subarray(0, bytes));
      await expect(withImage({ path: cut, format: 'qcow2' }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_TRUNCATED' });
    }
  });

  it('property: whatever is written to a disk comes back from its image', { timeout: 30_000 + RUNS * 1000 }, async () => {
    const write = fc.record({ sector: fc.nat(1023), sectors: fc.integer({ min: 1, max: 200 }), fill: fc.nat(255) });
    const packing = fc.constantFrom<readonly string[]>(
      [],
      ['-c'],
      ['-c', '-o', 'compression_type=zstd'],
      ['-S', '0'],
      ['-o', 'extended_l2=on'],
    );
    await fc.assert(
      fc.asyncProperty(fc.array(write, { maxLength: 12 }), packing, async (writes, convert) => {
        const content = Buffer.alloc(1024 * 512);
        for (const { sector, sectors, fill } of writes) content.subarray(sector * 512, (sector + sectors) * 512).fill(fill);
        const path = files.path('property.qcow2');
        qemuImg('convert', '-t', 'unsafe', '-f', 'raw', '-O', 'qcow2', ...convert, files.file('property.raw', content), path);
        await withImage({ path }, async (image) => expect(Buffer.compare(await reassemble(image), content)).toBe(0));
      }),
      { numRuns: RUNS },
    );
  });
});
