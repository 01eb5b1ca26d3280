import {
  decodeGpt,
  decodeMbr,
  encodeGpt,
  encodeMbr,
  encodeSwapHeader,
  fileSystemOf,
  GPT_TYPE,
  MBR_TYPE,
  metadataExtents,
  planLayout,
} from 'cdk8s-baremetal-runtime/deploy/layout/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const RUNS = Number(process.env.FUZZ_RUNS ?? 2_000);
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const guid = fc.uuid();
const ask = { blockBytes: 512, diskBytes: 20 * GIB, imageBytes: GIB, rootMb: 4096, swapMb: 512, ephemeralMb: 0 };

describe('002-12: the layout of a partition image', () => {
  it.each([
    { name: 'root and swap, as the original', more: {}, parts: ['root 1+4096', 'swap 4097+512'], table: 'mbr' },
    {
      name: 'ephemeral first, so that the root may change its size',
      more: { ephemeralMb: 1024 },
      parts: ['ephemeral 1+1024', 'swap 1025+512', 'root 1537+4096'],
      table: 'mbr',
    },
    { name: 'a root that takes what is left', more: { rootMb: 0 }, parts: ['root 1+19966', 'swap 19967+512'], table: 'mbr' },
    {
      name: 'a root as large as its image at least',
      more: { rootMb: 10, imageBytes: 100 * MIB + 1 },
      parts: ['root 1+101', 'swap 102+512'],
      table: 'mbr',
    },
    { name: 'GPT where MBR does not reach', more: { diskBytes: 4 * 1024 * GIB }, parts: ['root 1+4096', 'swap 4097+512'], table: 'gpt' },
    {
      name: 'blocks of 4096',
      more: { blockBytes: 4096, diskBytes: 4 * 1024 * GIB },
      parts: ['root 1+4096', 'swap 4097+512'],
      table: 'mbr',
    },
  ])('$name', ({ more, parts, table }) => {
    const layout = planLayout({ ...ask, ...more });
    const inMib = (blocks: number): number => (blocks * layout.blockBytes) / MIB;
    expect(layout.partitions.map(({ role, firstBlock, blocks }) => `${role} ${inMib(firstBlock)}+${inMib(blocks)}`)).toEqual(parts);
    expect(layout.table).toBe(table);
  });

  it('what does not fit is refused with the sizes', () => {
    expect(() => planLayout({ ...ask, diskBytes: GIB })).toThrow(expect.objectContaining({ code: 'LAYOUT_DISK_TOO_SMALL' }));
    expect(() => planLayout({ ...ask, diskBytes: GIB, rootMb: 0, imageBytes: GIB })).toThrow(
      expect.objectContaining({ code: 'LAYOUT_ROOT_TOO_SMALL' }),
    );
  });

  it('partitions never overlap, keep to MiB boundaries and leave both ends free', () => {
    const sizes = fc.record({
      blockBytes: fc.constantFrom(512, 4096),
      diskBytes: fc.integer({ min: 16 * MIB, max: 64 * GIB }).map((bytes) => bytes - (bytes % 4096)),
      imageBytes: fc.integer({ min: 1, max: GIB }),
      rootMb: fc.integer({ min: 0, max: 8192 }),
      swapMb: fc.integer({ min: 1, max: 1024 }),
      ephemeralMb: fc.integer({ min: 0, max: 8192 }),
    });
    fc.assert(
      fc.property(sizes, (request) => {
        let layout: ReturnType<typeof planLayout>;
        try {
          layout = planLayout(request);
        } catch (error) {
          return (error as { code?: string }).code?.startsWith('LAYOUT_') === true;
        }
        let end = MIB;
        for (const { firstBlock, blocks } of layout.partitions) {
          if (firstBlock * request.blockBytes !== end || (blocks * request.blockBytes) % MIB !== 0) return false;
          end += blocks * request.blockBytes;
        }
        const root = layout.partitions.find(({ role }) => role === 'root');
        return end <= request.diskBytes - MIB && (root?.blocks ?? 0) * request.blockBytes >= request.imageBytes;
      }),
      { numRuns: RUNS },
    );
  });
});

describe('tables', () => {
  it('MBR: what is written is read', () => {
    const entry = fc.option(fc.record({ type: fc.integer({ min: 1, max: 255 }), firstBlock: fc.nat(2 ** 31), blocks: fc.nat(2 ** 31) }), {
      nil: undefined,
    });
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.tuple(entry, entry, entry, entry), (diskSignature, entries) => {
        expect(decodeMbr(encodeMbr({ diskSignature, entries }))).toEqual({ diskSignature, entries });
      }),
      { numRuns: RUNS },
    );
  });

  it('GPT: what is written is read, for both block sizes', () => {
    const entry = fc.record({
      type: fc.constantFrom(GPT_TYPE.linux, GPT_TYPE.swap),
      guid,
      firstBlock: fc.integer({ min: 40, max: 1e9 }),
      blocks: fc.integer({ min: 1, max: 1e9 }),
      name: fc.stringMatching(/^[a-zä-ü ]{0,36}$/),
    });
    fc.assert(
      fc.property(guid, fc.array(entry, { maxLength: 128 }), fc.constantFrom(512, 4096), (diskGuid, entries, blockBytes) => {
        const { primary, backup, backupOffset } = encodeGpt({ diskGuid, entries }, { blockBytes, diskBlocks: 3e9 });
        expect(decodeGpt(primary, blockBytes)).toEqual({ diskGuid, entries: entries.map((one, index) => ({ number: index + 1, ...one })) });
        expect(backupOffset + backup.length).toBe(3e9 * blockBytes);
      }),
      { numRuns: 200 },
    );
  });

  it('GPT: one wrong bit in header or entries is no table', () => {
    const { primary } = encodeGpt(
      { diskGuid: '11111111-2222-4333-8444-555555555555', entries: [] },
      { blockBytes: 512, diskBlocks: 100_000 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 512 + 8, max: 512 + 91 }), fc.nat(7), (at, bit) => {
        const broken = Uint8Array.from(primary);
        broken[at] = (broken[at] ?? 0) ^ (1 << bit);
        expect(decodeGpt(broken, 512)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it('garbage is never a table or a file system by accident of an exception', () => {
    const block = fc.uint8Array({ minLength: 0, maxLength: 5_000 });
    fc.assert(
      fc.property(block, fc.boolean(), (bytes, signed) => {
        const start = Uint8Array.from(bytes);
        if (signed && start.length > 512) {
          start.set([0x55, 0xaa], 510);
          start.set(Buffer.from('EFI PART'), Math.min(512, start.length - 8));
        }
        decodeMbr(start);
        decodeGpt(start, 512);
        fileSystemOf(start);
        for (const { offset, length } of metadataExtents(start, { blockBytes: 512, sizeBytes: 100 * MIB })) {
          expect(offset >= 0 && length > 0 && offset + length <= 100 * MIB && offset % 512 === 0 && length % 512 === 0).toBe(true);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('swap spaces of less than ten pages are refused', () => {
    expect(() => encodeSwapHeader({ partitionBytes: 9 * 4096, uuid: '11111111-2222-4333-8444-555555555555', label: 'x' })).toThrow(
      RangeError,
    );
  });
});

describe('what a cleaning of the metadata erases', () => {
  it('both ends of the disk and of each partition, merged', () => {
    const table = encodeMbr({
      diskSignature: 1,
      entries: [
        { type: MBR_TYPE.linux, firstBlock: 2048, blocks: (40 * MIB) / 512 },
        { type: MBR_TYPE.swap, firstBlock: (41 * MIB) / 512, blocks: (30 * MIB) / 512 },
      ],
    });
    expect(
      metadataExtents(table, { blockBytes: 512, sizeBytes: 200 * MIB }).map(({ offset, length }) => [offset / MIB, length / MIB]),
    ).toEqual([
      [0, 16],
      [40, 2],
      [70, 1],
      [184, 16],
    ]);
  });

  it('a disk smaller than both ends is erased whole', () => {
    expect(metadataExtents(new Uint8Array(512), { blockBytes: 512, sizeBytes: 20 * MIB })).toEqual([{ offset: 0, length: 20 * MIB }]);
  });

  it('a table that points outside of the disk reaches nothing there', () => {
    const table = encodeMbr({ diskSignature: 1, entries: [{ type: 0x83, firstBlock: 4_000_000_000, blocks: 4_000_000_000 }] });
    const ranges = metadataExtents(table, { blockBytes: 512, sizeBytes: 100 * MIB });
    expect(ranges.every(({ offset, length }) => offset + length <= 100 * MIB)).toBe(true);
  });
});
