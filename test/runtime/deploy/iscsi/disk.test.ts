import { discoverTargets, listLuns } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import type { Preferences } from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import { describe, expect, it } from 'vitest';
import { codeOf, Lab, MIB, TARGET_NAME, withLab } from './lab.ts';

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

describe('zero, discard, flush', () => {
  const dirty = async (lab: Lab): Promise<void> => lab.disk.write(0, seededRandom('dirt').bytes(8 * MIB));
  const isZero = async (lab: Lab, from: number, bytes: number): Promise<boolean> =>
    (await lab.disk.read(from, bytes)).every((byte) => byte === 0);

  it.each([
    ['WRITE SAME with UNMAP', { thin: true, writeSame: true }, 0x08],
    ['WRITE SAME', { thin: false, writeSame: true }, 0x00],
    ['writing, where there is no WRITE SAME', { thin: false, writeSame: false }, undefined],
  ])('zeroes by %s', async (_, unit, flags) => {
    const lab = new Lab({ unit });
    await lab.run(async () => {
      await dirty(lab);
      const seen: number[] = [];
      const disk = await lab.open();
      lab.target.faults.onCommand = ({ opcode, cdb }) => {
        if (opcode === 0x93) seen.push(cdb[1] ?? 0);
        return undefined;
      };
      await disk.zero(512, 5 * MIB);
      expect(await isZero(lab, 512, 5 * MIB)).toBe(true);
      expect(await isZero(lab, 0, 512)).toBe(false);
      expect(await isZero(lab, 512 + 5 * MIB, 512)).toBe(false);
      // one try is enough to know that the disk has none
      expect(seen).toEqual(flags === undefined ? [0] : [flags]);
      await disk.zero(6 * MIB, MIB);
      expect(seen).toHaveLength(flags === undefined ? 1 : 2);
      await disk.close();
    });
  });

  it('discards only where the disk has UNMAP', () =>
    withLab({}, async (lab) => {
      await dirty(lab);
      const disk = await lab.open();
      await disk.discard(MIB, MIB);
      expect(await isZero(lab, MIB, MIB)).toBe(true);
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

describe('the pipeline', () => {
  it('writes a stream of pieces with many commands at once, and holds back a fast source', () =>
    withLab({ target: { windowCommands: 64 } }, async (lab) => {
      const disk = await lab.open({ queueDepth: 4 });
      let running = 0;
      let most = 0;
      lab.target.faults.onCommand = ({ opcode }) => {
        if (opcode !== 0x2a) return undefined;
        most = Math.max(most, ++running);
        lab.clock.after(20, () => running--);
        return { delayMs: 20 };
      };
      const pipeline = disk.pipeline();
      const image = seededRandom('image').bytes(16 * MIB);
      for (let at = 0; at < image.length; at += 700 * 512) await pipeline.write(at, image.subarray(at, at + 700 * 512));
      await pipeline.finish();
      expect(most).toBe(4);
      expect(Buffer.compare(await lab.disk.read(0, image.length), image)).toBe(0);
      await disk.close();
    }));

  it('tells the first failure and writes no further', () =>
    withLab({}, async (lab) => {
      const disk = await lab.open({ queueDepth: 2 });
      lab.target.faults.onCommand = ({ opcode, cdb }) =>
        opcode === 0x2a && Buffer.from(cdb).readUInt32BE(2) === 4096 ? { sense: [3, 0x0c, 0] } : undefined;
      const pipeline = disk.pipeline();
      const piece = new Uint8Array(MIB).fill(1);
      const work = (async () => {
        for (let at = 0; at < 32 * MIB; at += MIB) await pipeline.write(at, piece);
      })();
      expect(await codeOf(work)).toBe('ISCSI_SCSI_MEDIUM_ERROR');
      expect(await codeOf(pipeline.finish())).toBe('ISCSI_SCSI_MEDIUM_ERROR');
      expect((await lab.disk.read(16 * MIB, MIB)).every((byte) => byte === 0)).toBe(true);
      await disk.close();
    }));
});
