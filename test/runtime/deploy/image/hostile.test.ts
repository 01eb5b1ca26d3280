/** qcow2 files that no honest tool writes: each gets a coded error, none gets memory, time or another file. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../../src/contract/index.ts';
import { contentDigest } from '../../../../src/runtime/deploy/image/index.ts';
import { type HandMade, handMade, reassemble, scratch, withImage } from './support.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 700);
const COPIED = 1n << 63n;
const PACKED = 1n << 62n;

const HOSTILE: readonly (readonly [name: string, code: string, image: HandMade])[] = [
  ['a backing file', 'IMAGE_BACKING_FILE', { header: (view) => view.setBigUint64(8, 104n) }],
  ['an external data file', 'IMAGE_EXTERNAL_DATA', { header: (view) => view.setBigUint64(72, 4n) }],
  [
    'an external data file named by an extension alone',
    'IMAGE_EXTERNAL_DATA',
    { header: (view) => extension(view, 0x44415441, '/etc/shadow') },
  ],
  [
    'the same behind another extension',
    'IMAGE_EXTERNAL_DATA',
    {
      header: (view) => {
        extension(view, 0x6803f857, 'name');
        view.setUint32(104 + 16, 0x44415441);
      },
    },
  ],
  ['encryption', 'IMAGE_ENCRYPTED', { header: (view) => view.setUint32(32, 1) }],
  ['an unknown feature', 'IMAGE_UNKNOWN_FEATURE', { header: (view) => view.setBigUint64(72, 1n << 40n) }],
  ['a version to come', 'IMAGE_UNKNOWN_FEATURE', { version: 4 }],
  ['the dirty bit', 'IMAGE_UNCLEAN', { header: (view) => view.setBigUint64(72, 1n) }],
  ['the corrupt bit', 'IMAGE_UNCLEAN', { header: (view) => view.setBigUint64(72, 2n) }],
  ['clusters of 2^31 bytes', 'IMAGE_CORRUPT', { header: (view) => view.setUint32(20, 31) }],
  ['clusters of one byte', 'IMAGE_CORRUPT', { header: (view) => view.setUint32(20, 0) }],
  ['a header length of 4 GiB', 'IMAGE_CORRUPT', { header: (view) => view.setUint32(100, 0xffff_fff8) }],
  ['a disk of 2^63 bytes', 'IMAGE_TOO_LARGE', { virtualSize: 1n << 63n }],
  ['a disk of 2^53 bytes and some', 'IMAGE_TOO_LARGE', { virtualSize: 2n ** 53n + 512n }],
  ['a disk of no bytes', 'IMAGE_EMPTY', { virtualSize: 0n }],
  ['a disk of half a sector', 'IMAGE_CORRUPT', { virtualSize: 256n }],
  ['an L1 table of 32 GiB', 'IMAGE_CORRUPT', { header: (view) => view.setUint32(36, 0xffff_ffff) }],
  ['an L1 table too small for the disk', 'IMAGE_CORRUPT', { virtualSize: 1n << 30n }],
  ['an L1 table beyond the file', 'IMAGE_TRUNCATED', { header: (view) => view.setBigUint64(40, 1n << 40n) }],
  ['an L1 table beyond all numbers', 'IMAGE_TRUNCATED', { header: (view) => view.setBigUint64(40, (1n << 64n) - 512n) }],
  ['an L1 table nowhere', 'IMAGE_CORRUPT', { header: (view) => view.setBigUint64(40, 0n) }],
  ['an L2 table beyond the file', 'IMAGE_TRUNCATED', { l1: [1n << 40n] }],
  ['an L2 table within a cluster', 'IMAGE_CORRUPT', { l1: [1024n + 8n] }],
  ['an L2 table on the L1 table', 'IMAGE_CORRUPT', { l1: [512n] }],
  ['one L2 table for two stretches', 'IMAGE_CORRUPT', { virtualSize: 65_536n, l1: [1024n, 1024n] }],
  ['reserved bits in L1', 'IMAGE_CORRUPT', { l1: [1024n | (1n << 56n)] }],
  ['reserved bits in L2', 'IMAGE_CORRUPT', { l2: [1536n | (1n << 57n)] }],
  ['the zero flag in version 2', 'IMAGE_CORRUPT', { version: 2, l2: [1n] }],
  ['a data cluster beyond the file', 'IMAGE_TRUNCATED', { l2: [1n << 40n] }],
  ['a data cluster within a cluster', 'IMAGE_CORRUPT', { clusterBits: 10, l2: [4096n + 512n] }],
  ['a packed cluster beyond the file', 'IMAGE_TRUNCATED', { l2: [PACKED | (1n << 40n)] }],
  ['a packed cluster of noise', 'IMAGE_CORRUPT', { l2: [PACKED | 1536n] }],
  ['a packed cluster that may be written', 'IMAGE_CORRUPT', { l2: [PACKED | COPIED | 1536n] }],
  ['one data cluster for the whole disk', 'IMAGE_CORRUPT', { virtualSize: 64n * 512n, l2: Array<bigint>(64).fill(1536n) }],
  ['two words about the compression', 'IMAGE_CORRUPT', { header: (view) => view.setBigUint64(72, 8n) }],
  [
    'a compression to come',
    'IMAGE_UNKNOWN_FEATURE',
    {
      header: (view) => {
        view.setUint32(100, 112);
        view.setUint8(104, 2);
        view.setBigUint64(72, 8n);
      },
    },
  ],
  ['subclusters of 16 bytes', 'IMAGE_CORRUPT', { header: (view) => view.setBigUint64(72, 16n) }],
];

describe('hostile qcow2 images', () => {
  const files = scratch();

  it('the hand-made image is sound when nothing is wrong with it', async () => {
    const disk = await withImage({ path: files.file('sound', handMade()) }, reassemble);
    expect([0, 512, 1024, 1536, 2048].map((at) => disk[at])).toEqual([3, 4, 0, 0, 5]);
  });

  it.each(HOSTILE)('%s: %s', async (_, code, image) => {
    const path = files.file('hostile', handMade(image));
    const refused = withImage({ path }, reassemble);
    await expect(refused).rejects.toBeInstanceOf(CodedError);
    await expect(refused).rejects.toMatchObject({ code });
  });

  it('a deflate bomb ends at the size of its cluster', async () => {
    const { deflateRawSync } = await import('node:zlib');
    const bomb = deflateRawSync(new Uint8Array(64 * 1024 * 1024));
    const file = Buffer.concat([handMade({ l2: [PACKED | 3584n | (255n << 61n)] }), bomb, Buffer.alloc(512)]);
    await expect(withImage({ path: files.file('bomb', file) }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
  });

  it('a limit on the virtual size holds for raw images too', async () => {
    const path = files.file('raw', new Uint8Array(4096));
    await expect(withImage({ path, maxVirtualSizeBytes: 2048 }, reassemble)).rejects.toMatchObject({ code: 'IMAGE_TOO_LARGE' });
  });

  it('property: a damaged image is read to its end or refused with a coded error', { timeout: 30_000 + RUNS * 10 }, async () => {
    const sound = [handMade(), handMade({ version: 2, l2: [1536n, 0n, 2048n] }), handMade({ l2: [PACKED | 1536n, 2048n] })];
    const damage = fc.record({ at: fc.nat(1535), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...sound), fc.array(damage, { minLength: 1, maxLength: 6 }), async (image, damages) => {
        const bytes = image.slice();
        for (const { at, value } of damages) bytes[at] = value;
        const path = files.file('damaged', bytes);
        try {
          await withImage({ path, format: 'qcow2', maxVirtualSizeBytes: 1024 * 1024 }, contentDigest);
          await withImage({ path, format: 'qcow2', maxVirtualSizeBytes: 1024 * 1024 }, reassemble);
        } catch (error) {
          if (!(error instanceof CodedError)) throw error;
        }
      }),
      { numRuns: RUNS },
    );
  });
});

function extension(view: DataView, type: number, text: string): void {
  view.setUint32(104, type);
  view.setUint32(108, text.length);
  for (const [i, byte] of Buffer.from(text).entries()) view.setUint8(112 + i, byte);
}
