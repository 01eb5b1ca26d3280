import { discoverTargets, listLuns } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import type { Preferences } from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import { describe, expect, it } from 'vitest';
import { codeOf, Lab, type LabOptions, MIB, TARGET_NAME, withLab } from './lab.ts';

const sizes = [
  { name: 'tiny bursts', maxBurstLength: 1024, firstBurstLength: 512, maxRecvDataSegmentLength: 512 },
  { name: 'odd sizes', maxBurstLength: 12_345, firstBurstLength: 5_001, maxRecvDataSegmentLength: 4_097 },
  { name: 'first burst = burst', maxBurstLength: 65_536, firstBurstLength: 65_536, maxRecvDataSegmentLength: 8_192 },
  { name: 'large', maxBurstLength: 1_048_576, firstBurstLength: 262_144, maxRecvDataSegmentLength: 262_144 },
];
const digests = [
  { headerDigest: ['None'], dataDigest: ['None'] },
  { headerDigest: ['CRC32C'], dataDigest: ['CRC32C', 'None'] },
  { headerDigest: ['None', 'CRC32C'], dataDigest: ['CRC32C'] },
] as const;

interface Case {
  readonly title: string;
  readonly wishes: Partial<Preferences>;
}
const sweep: Case[] = [true, false].flatMap((initialR2T) =>
  [true, false].flatMap((immediateData) =>
    sizes.flatMap(({ name, ...size }) =>
      digests.map((digest) => ({
        title: `InitialR2T=${initialR2T} ImmediateData=${immediateData} ${name} digests ${digest.headerDigest[0]}/${digest.dataDigest[0]}`,
        wishes: { initialR2T, immediateData, ...size, ...digest },
      })),
    ),
  ),
);

describe('a disk under every negotiated rule', () => {
  it.each(sweep)('$title', async ({ wishes }) => {
    const random = seededRandom(JSON.stringify(wishes));
    const draw = (limit: number): number => Math.floor(random.fraction() * limit);
    const sizeBytes = 2 * MIB;
    await withLab({ sizeBytes, target: { preferences: wishes, windowCommands: 4 } }, async (lab) => {
      const disk = await lab.open({ preferences: { initialR2T: false, ...(draw(2) && wishes) } });
      const model = new Uint8Array(sizeBytes);
      for (let round = 0; round < 12; round++) {
        const blocks = 1 + draw(round % 3 === 0 ? 700 : 40);
        const offset = draw(sizeBytes / 512 - blocks) * 512;
        const data = random.bytes(blocks * 512);
        model.set(data, offset);
        await disk.write(offset, data);
      }
      expect(Buffer.compare(await disk.read(0, sizeBytes), model)).toBe(0);
      expect(Buffer.compare(await lab.disk.read(0, sizeBytes), model)).toBe(0);
      await disk.close();
      expect(lab.target.sessions()).toHaveLength(0);
    });
  });
});

describe('openDisk', () => {
  it('002-12: tells what the disk is', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open();
      const { sizeBytes, blockBytes, serial, identifiers, vendor, product } = disk;
      expect({ sizeBytes, blockBytes, serial, vendor, product }).toEqual({
        sizeBytes: 64 * MIB,
        blockBytes: 512,
        serial: 'SIM0001',
        vendor: 'BMS',
        product: 'SIMULATED DISK',
      });
      expect(identifiers.map(({ of, type }) => `${of} ${type}`)).toEqual(['unit t10', 'unit naa']);
      await disk.close();
    }));

  it('works with blocks of 4096 bytes and beyond 2 TiB', () =>
    withLab({ sizeBytes: 20 * 1024 ** 4, blockBytes: 4096 }, async (lab) => {
      const disk = await lab.open();
      const data = seededRandom('far').bytes(3 * 4096);
      const far = 19 * 1024 ** 4; // block 5,100,273,664: beyond 32 bits
      await disk.write(far, data);
      expect(Buffer.compare(await lab.disk.read(far, data.length), data)).toBe(0);
      expect(Buffer.compare(await disk.read(far, data.length), data)).toBe(0);
      expect(await codeOf(disk.write(512, data.subarray(0, 512)))).toBe('ISCSI_DISK_ALIGNMENT');
      expect(await codeOf(disk.read(20 * 1024 ** 4, 4096))).toBe('ISCSI_DISK_RANGE');
      await disk.close();
    }));

  it.each([
    ['a LUN that is not there', { lun: 5 }, 'ISCSI_NOT_A_DISK'],
    ['a target that is not there', { targetName: 'iqn.2026-11.io.bms:other' }, 'ISCSI_TARGET_NOT_FOUND'],
    ['a name that is none', { initiatorName: 'deployer' }, 'ISCSI_NAME'],
    ['a port where nobody listens', { portal: { address: '192.0.2.7', port: 3261 } }, 'ISCSI_UNREACHABLE'],
  ])('%s: %j', (_, overrides, code) =>
    withLab({}, async (lab) => {
      expect(await codeOf(lab.open(overrides))).toBe(code);
      expect(lab.target.sessions()).toHaveLength(0);
    }),
  );

  it('discovers targets and lists LUNs', () =>
    withLab({}, async (lab) => {
      const { targetName: _, ...base } = lab.base();
      expect(await discoverTargets(base)).toMatchObject([{ name: TARGET_NAME, portals: [{ port: 3260 }] }]);
      expect(await listLuns(lab.base())).toEqual([1]);
    }));
});

const WRITE_10 = 0x2a;

describe('zero, flush', () => {
  const dirty = async (lab: Lab): Promise<void> => lab.disk.write(0, seededRandom('dirt').bytes(8 * MIB));
  const isZero = async (lab: Lab, from: number, bytes: number): Promise<boolean> =>
    (await lab.disk.read(from, bytes)).every((byte) => byte === 0);

  const WRITE_SAME = 0x93;
  const UNMAP = 0x42;
  const READ = 0x28;

  interface ZeroCase {
    readonly title: string;
    readonly unit: NonNullable<LabOptions['unit']>;
    /** WRITE SAMEs with these flags, … */
    readonly writeSame: readonly number[];
    /** … UNMAPs, and whether anything is written, for 5 MiB from the second block on; then for another MiB. */
    readonly unmaps: number;
    readonly writes: 'nothing' | 'the edges' | 'all';
    readonly again: readonly [writeSames: number, unmaps: number];
  }
  const MUTE = { thin: true, writeSame: false };
  const zeroCases: ZeroCase[] = [
    { title: 'WRITE SAME with UNMAP', unit: {}, writeSame: [8], unmaps: 0, writes: 'nothing', again: [2, 0] },
    {
      title: 'WRITE SAME without UNMAP on a thick disk',
      unit: { thin: false },
      writeSame: [0],
      unmaps: 0,
      writes: 'nothing',
      again: [2, 0],
    },
    {
      title: 'WRITE SAME without UNMAP where unmapped blocks may hold anything',
      unit: { unmappedReadZero: false },
      writeSame: [0],
      unmaps: 0,
      writes: 'nothing',
      again: [2, 0],
    },
    // one refusal is enough to know that the disk has no WRITE SAME
    { title: 'UNMAP alone', unit: MUTE, writeSame: [0], unmaps: 1, writes: 'nothing', again: [1, 2] },
    {
      title: 'UNMAP alone, of whole granules, and writing the edges',
      unit: { ...MUTE, unmapGranuleBlocks: 2048 },
      writeSame: [0],
      unmaps: 1,
      writes: 'the edges',
      again: [1, 2],
    },
    {
      title: 'writing, where UNMAP does nothing',
      unit: { ...MUTE, unmapGranuleBlocks: 2 ** 30 },
      writeSame: [0],
      unmaps: 1,
      writes: 'all',
      again: [1, 2],
    },
    {
      title: 'writing, where unmapped blocks may hold anything',
      unit: { ...MUTE, unmappedReadZero: false },
      writeSame: [0],
      unmaps: 0,
      writes: 'all',
      again: [1, 0],
    },
    {
      title: 'writing, where there is neither',
      unit: { thin: false, writeSame: false },
      writeSame: [0],
      unmaps: 0,
      writes: 'all',
      again: [1, 0],
    },
  ];

  it.each(zeroCases)('zeroes by $title', async ({ unit, writeSame, unmaps, writes, again }) => {
    const lab = new Lab({ unit });
    await lab.run(async () => {
      await dirty(lab);
      const seen = new Map<number, Uint8Array[]>();
      const count = (opcode: number): number => seen.get(opcode)?.length ?? 0;
      const disk = await lab.open();
      lab.target.faults.onCommand = ({ opcode, cdb }) => {
        seen.set(opcode, [...(seen.get(opcode) ?? []), Uint8Array.from(cdb)]);
        return undefined;
      };
      await disk.zero(512, 5 * MIB);
      expect(await isZero(lab, 512, 5 * MIB)).toBe(true);
      expect(await isZero(lab, 0, 512)).toBe(false);
      expect(await isZero(lab, 512 + 5 * MIB, 512)).toBe(false);
      expect((seen.get(WRITE_SAME) ?? []).map((cdb) => cdb[1])).toEqual(writeSame);
      expect(count(UNMAP)).toBe(unmaps);
      const writtenBlocks = (seen.get(WRITE_10) ?? []).reduce((sum, cdb) => sum + Buffer.from(cdb).readUInt16BE(7), 0);
      if (writes === 'all') expect(writtenBlocks).toBe((5 * MIB) / 512);
      else if (writes === 'nothing') expect(writtenBlocks).toBe(0);
      else expect([writtenBlocks > 0, writtenBlocks <= (2 * MIB) / 512]).toEqual([true, true]);
      expect(count(READ) > 0).toBe(unmaps > 0); // what was unmapped is looked at
      await disk.zero(6 * MIB, MIB);
      expect(await isZero(lab, 6 * MIB, MIB)).toBe(true);
      expect([count(WRITE_SAME), count(UNMAP)]).toEqual(again);
      await disk.close();
    });
  });

  it('takes a disk at its word no more that tells of UNMAP and refuses it', () =>
    withLab({ unit: MUTE }, async (lab) => {
      await dirty(lab);
      const disk = await lab.open();
      let refused = 0;
      lab.target.faults.onCommand = ({ opcode }) => (opcode === UNMAP && ++refused ? { sense: [5, 0x20, 0] } : undefined);
      await disk.zero(0, MIB);
      await disk.zero(MIB, MIB);
      expect(await isZero(lab, 0, 2 * MIB)).toBe(true);
      expect(refused).toBe(1);
      await disk.flush();
      await disk.close();
    }));

  it('keeps to the longest transfer that the disk tells', () =>
    withLab({ unit: { maxTransferBlocks: 16 } }, async (lab) => {
      const disk = await lab.open();
      const data = seededRandom('short').bytes(100 * 512);
      await disk.write(0, data);
      expect(Buffer.compare(await disk.read(0, data.length), data)).toBe(0);
      await disk.close();
    }));
});

describe('many commands at once', () => {
  it('writes as many as the queue is deep, and no more', () =>
    withLab({ target: { windowCommands: 64 } }, async (lab) => {
      const disk = await lab.open({ queueDepth: 4 });
      let running = 0;
      let most = 0;
      lab.target.faults.onCommand = ({ opcode }) => {
        if (opcode !== WRITE_10) return undefined;
        most = Math.max(most, ++running);
        lab.clock.after(20, () => running--);
        return { delayMs: 20 };
      };
      const image = seededRandom('image').bytes(16 * MIB);
      await Promise.all([disk.write(0, image.subarray(0, 8 * MIB)), disk.write(8 * MIB, image.subarray(8 * MIB))]);
      expect(most).toBe(4);
      expect(Buffer.compare(await lab.disk.read(0, image.length), image)).toBe(0);
      await disk.close();
    }));

  it('tells a failure when nothing is under way any more, and writes no further', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open({ queueDepth: 2 });
      let running = 0;
      lab.target.faults.onCommand = ({ opcode, cdb }) => {
        if (opcode !== WRITE_10) return undefined;
        running++;
        lab.clock.after(20, () => running--);
        return { delayMs: 20, ...(Buffer.from(cdb).readUInt32BE(2) === 4096 && { sense: [3, 0x0c, 0] as const }) };
      };
      expect(await codeOf(disk.write(0, new Uint8Array(32 * MIB).fill(1)))).toBe('ISCSI_SCSI_MEDIUM_ERROR');
      expect(running).toBe(0);
      expect((await lab.disk.read(16 * MIB, MIB)).every((byte) => byte === 0)).toBe(true);
      await disk.close();
    }));
});
