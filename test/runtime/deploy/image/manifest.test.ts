import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  buildManifest,
  chunkAt,
  chunkBytesFor,
  encodeManifest,
  MANIFEST_FORMAT,
  parseManifest,
} from '../../../../src/runtime/deploy/image/index.ts';
import { diskContent, scratch, withImage } from './support.ts';

const KIB = 1024;
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

describe('the manifest of an image', () => {
  const files = scratch();

  it('002-7: says what each chunk of the disk holds, and where nothing is', async () => {
    const content = Buffer.concat([diskContent(64 * KIB, 3), Buffer.alloc(64 * KIB), Buffer.alloc(512, 7)]);
    const kept: [number, boolean][] = [];
    const manifest = await withImage({ path: files.file('image', content) }, (image) =>
      buildManifest(image, {
        chunkBytes: 64 * KIB,
        onChunk: async (offset, _chunk, zero) => {
          kept.push([offset, zero]);
        },
      }),
    );
    expect(manifest).toEqual({
      format: MANIFEST_FORMAT,
      sizeBytes: content.length,
      chunkBytes: 64 * KIB,
      sha256: sha256(content),
      chunks: [sha256(content.subarray(0, 64 * KIB)), null, sha256(content.subarray(128 * KIB))],
    });
    expect(kept).toEqual([
      [0, false],
      [64 * KIB, true],
      [128 * KIB, false],
    ]);
    expect(chunkAt(manifest, 2)).toEqual({ number: 2, offset: 128 * KIB, length: 512, digest: manifest.chunks[2] });
  });

  it('is JSON that a shell reads by lines: the first chunk is on line 7', async () => {
    const manifest = await withImage({ path: files.file('lines', diskContent(256 * KIB, 5)) }, (image) =>
      buildManifest(image, { chunkBytes: 64 * KIB }),
    );
    const text = encodeManifest(manifest);
    expect(parseManifest(text, 'it')).toEqual(manifest);
    const lines = text.split('\n');
    expect(lines.slice(6, 10).map((line) => line.replace(/[",]/g, ''))).toEqual(manifest.chunks.map((digest) => digest ?? 'null'));
    expect(lines[2]).toBe(`"sizeBytes": ${manifest.sizeBytes},`);
  });

  it.each([
    [1, 1],
    [64 * 1024, 1],
    [64 * 1024 + 1, 2],
    [1024 * 1024, 16],
    [64 * 1024 * 1024, 64],
  ])('an image of %i MiB has chunks of %i MiB', (imageMib, chunkMib) => {
    expect(chunkBytesFor(imageMib * 2 ** 20)).toBe(chunkMib * 2 ** 20);
  });

  const good = { format: MANIFEST_FORMAT, sizeBytes: 1024, chunkBytes: 512, sha256: 'a'.repeat(64), chunks: [null, 'b'.repeat(64)] };
  it.each([
    ['not JSON', '{', 'not JSON'],
    ['another format', JSON.stringify({ ...good, format: 'bms-image-manifest/2' }), 'format'],
    ['a size between sectors', JSON.stringify({ ...good, sizeBytes: 1000 }), 'sizeBytes'],
    ['odd chunks', JSON.stringify({ ...good, sizeBytes: 1536, chunkBytes: 768 }), 'power of two'],
    ['a chunk too few', JSON.stringify({ ...good, chunks: [null] }), '1 chunks where 2 are due'],
    ['a digest that is none', JSON.stringify({ ...good, chunks: [null, 'B'.repeat(64)] }), 'chunks.1'],
  ])('refuses %s', (_, text, reason) => {
    expect(() => parseManifest(text, 'x.json')).toThrow(
      expect.objectContaining({ code: 'IMAGE_MANIFEST', message: expect.stringContaining(reason) }),
    );
  });

  it('refuses garbage with its own error alone', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.record({ format: fc.constant(MANIFEST_FORMAT), chunks: fc.anything() }).map((v) => JSON.stringify(v)),
        ),
        (text) => {
          try {
            parseManifest(text, 'x');
          } catch (error) {
            expect(error).toMatchObject({ code: 'IMAGE_MANIFEST' });
          }
        },
      ),
    );
  });
});
