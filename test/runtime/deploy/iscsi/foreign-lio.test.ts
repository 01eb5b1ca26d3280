/**
 * The initiator against LIO, the target of the deploy ramdisk, in its real kernel. `npm run test:lio`: a guest under emulation, about a minute, the
 * packages of its ramdisk fetched at the first time.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { buildManifest, openImage, writeImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { ChapSecret, type DiskOptions, discoverTargets, listLuns, makeIsid, openDisk } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { chapUser } from 'cdk8s-baremetal-runtime/machine/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { codeOf, MIB } from './lab.ts';
import { LioGuest } from './lio-guest.ts';
import { missingPrograms } from './tgtd.ts';

const wanted = process.env.BMS_LIO === '1';
if (!wanted) console.warn('SKIPPED: the initiator against LIO in a guest: npm run test:lio runs it');
const missing = wanted ? missingPrograms({ 'qemu-system-x86_64': 'qemu-system-x86', depmod: 'kmod' }) : [];

const SIZE = 64 * MIB;
const GUEST_TIMEOUT_MS = 240_000;
const PREFIX = 'iqn.2026-11.io.bms:';
const chap = { user: 'deployer', secret: new ChapSecret('secret-of-initiator') };
const mutual = { ...chap, target: { user: 'node', secret: new ChapSecret('secret-of-target') } };

describe.skipIf(!wanted || missing.length > 0)('writing to LIO', { timeout: 120_000 }, () => {
  const folder = temporaryFolder();
  let guest: LioGuest;
  const options = (target: string, overrides: Partial<DiskOptions> = {}): DiskOptions => ({
    network: nodeNetwork,
    clock: nodeClock,
    random: nodeRandom,
    logger: silentLogger,
    portal: { address: '127.0.0.1', port: guest.port },
    targetName: `${PREFIX}${target}`,
    lun: 1,
    initiatorName: `${PREFIX}deployer`,
    isid: makeIsid(1, 1),
    chap,
    ...overrides,
  });

  beforeAll(async () => {
    folder.create();
    guest = await LioGuest.create(folder.path(), SIZE);
    await guest.start();
  }, GUEST_TIMEOUT_MS);
  afterAll(async () => {
    await guest?.cut();
    folder.remove();
  });

  it('002-12: tells what the disk is', async () => {
    const disk = await openDisk(options('thin'));
    expect({ serial: disk.serial, vendor: disk.vendor, sizeBytes: disk.sizeBytes, blockBytes: disk.blockBytes }).toEqual({
      serial: 'LIO-thin',
      vendor: 'LIO-ORG',
      sizeBytes: SIZE,
      blockBytes: 512,
    });
    expect(disk.identifiers.map(({ type }) => type)).toContain('naa');
    await disk.close();
    expect(await listLuns(options('thin'))).toEqual([1]);
  });

  it.each([
    // it says so to its own log, and hangs up
    ['no CHAP where it is due', 'thin', { chap: undefined }, 'ISCSI_CONNECTION_LOST'],
    ['a wrong secret', 'thin', { chap: { user: 'deployer', secret: new ChapSecret('another secret!') } }, 'ISCSI_AUTHENTICATION_FAILED'],
    ['a wrong user', 'thin', { chap: { user: 'somebody', secret: chap.secret } }, 'ISCSI_AUTHENTICATION_FAILED'],
    ['an initiator that is on no list', 'thin', { initiatorName: `${PREFIX}stranger` }, 'ISCSI_NOT_AUTHORIZED'],
    ['a target that is not there, of which LIO says that it has no service', 'elsewhere', {}, 'ISCSI_SERVICE_UNAVAILABLE'],
    [
      'a target that cannot prove itself',
      'mutual',
      { chap: { ...chap, target: { user: 'node', secret: new ChapSecret('never told to LIO') } } },
      'ISCSI_CHAP_TARGET_UNPROVEN',
    ],
    ['a target that has nothing to prove itself by', 'thin', { chap: mutual }, 'ISCSI_CHAP_TARGET_UNPROVEN'],
  ] as const)('002-12: refuses %s', async (_, target, { ...overrides }, code) => {
    const { chap: given, ...rest } = options(target, overrides as Partial<DiskOptions>);
    expect(await codeOf(openDisk({ ...rest, ...(given && { chap: given }) }))).toBe(code);
  });

  it('002-12: a user whose name begins with 0b is a number to it, which no deployment may depend on', async () => {
    const login = (initiator: string, user: string): Promise<string> =>
      codeOf(openDisk(options('thin', { initiatorName: `${PREFIX}${initiator}`, chap: { ...chap, user } })).then((disk) => disk.close()));
    expect(await login('numbered', '0bbee737-c1f4')).toBe('ISCSI_AUTHENTICATION_FAILED');
    expect(await login('named', chapUser('0bbee737-c1f4'))).toBe('no error');
  });

  it.each([
    ['thin, by WRITE SAME with UNMAP', 'thin', {}],
    ['thick, by WRITE SAME', 'thick', {}],
    ['with digests', 'thin', { preferences: { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] } }],
    ['without unsolicited data', 'thick', { preferences: { initialR2T: true, immediateData: false } }],
    ['in small pieces', 'thin', { preferences: { maxBurstLength: 8192, firstBurstLength: 4096, maxRecvDataSegmentLength: 4096 } }],
    ['with mutual CHAP', 'mutual', { chap: mutual }],
  ] as const)('002-12: random extents and zeros, %s', async (title, target, overrides) => {
    const random = seededRandom(title);
    const draw = (limit: number): number => Math.floor(random.fraction() * limit);
    const disk = await openDisk(options(target, overrides));
    await disk.write(0, random.bytes(MIB)); // of the last owner
    await disk.zero(0, SIZE);
    const model = new Uint8Array(SIZE);
    for (let round = 0; round < 12; round++) {
      const blocks = 1 + draw(4000);
      const offset = draw(SIZE / 512 - blocks) * 512;
      const data = random.bytes(blocks * 512);
      model.set(data, offset);
      await disk.write(offset, data);
    }
    await disk.zero(5 * MIB, 3 * MIB + 512);
    model.fill(0, 5 * MIB, 8 * MIB + 512);
    await disk.flush();
    expect(Buffer.compare(await disk.read(0, SIZE), model)).toBe(0);
    await disk.close();
    expect(Buffer.compare(readFileSync(guest.diskPath(target)), model)).toBe(0);
  });

  it('002-12: a reservation keeps another initiator out, until it is taken or given back', async () => {
    const block = new Uint8Array(512).fill(1);
    const ours = await openDisk(options('thick'));
    const other = await openDisk(options('thick', { initiatorName: `${PREFIX}other` }));
    expect(await ours.reserve()).toBe(true);
    await ours.write(0, block);
    expect(await codeOf(other.write(0, block))).toBe('ISCSI_SCSI_RESERVED');
    expect(Buffer.compare(await other.read(0, 512), block)).toBe(0);
    expect(await other.reserve()).toBe(true);
    expect(await codeOf(ours.write(0, block))).toBe('ISCSI_SCSI_RESERVED');
    await other.close();
    await ours.write(0, block);
    await ours.close();
  });

  it('002-12: a second login with the same name and ISID ends the first session', async () => {
    const older = await openDisk(options('thin'));
    const newer = await openDisk(options('thin'));
    expect(await codeOf(older.write(0, new Uint8Array(512)))).toMatch(/^ISCSI_(?:CONNECTION_LOST|CLOSED)$/);
    await newer.write(0, new Uint8Array(512));
    await newer.close();
  });

  it('discovers what LIO exports', async () => {
    const { targetName: _, lun: __, chap: ___, ...base } = options('thin');
    const names = (await discoverTargets(base)).map(({ name }) => name);
    expect(names.sort()).toEqual(['mutual', 'thick', 'thin'].map((name) => `${PREFIX}${name}`));
  });

  it('002-12: the power is cut in mid-write, twice: writing goes on where the disk had everything for good', async () => {
    const content = seededRandom('image').bytes(48 * MIB);
    content.fill(0, 20 * MIB, 29 * MIB);
    writeFileSync(folder.path('image'), content);
    const image = await openImage({ path: folder.path('image'), format: 'raw' });
    const manifest = await buildManifest(image);
    let synced = 0;
    const codes: string[] = [];
    for (const cutAtMib of [12, 40, Number.POSITIVE_INFINITY]) {
      const disk = await openDisk(options('thin', { times: { nopIntervalMs: 1000, nopTimeoutMs: 1000 } }));
      let cut: Promise<void> | undefined;
      const writing = writeImage(image, disk, {
        manifest,
        verify: 'all',
        resumeAt: synced,
        syncEveryBytes: 4 * MIB,
        onSynced: (chunks) => {
          synced = chunks;
        },
        onProgress: ({ phase, doneBytes }) => {
          if (phase === 'write' && doneBytes >= cutAtMib * MIB) cut ??= guest.cut();
        },
      });
      codes.push(await codeOf(writing));
      await disk.close();
      await cut;
      if (cut) await guest.start();
    }
    await image.close();
    expect(codes).toEqual(['ISCSI_CONNECTION_LOST', 'ISCSI_CONNECTION_LOST', 'no error']);
    expect(synced).toBe(manifest.chunks.length);
    expect(Buffer.compare(readFileSync(guest.diskPath('thin')).subarray(0, content.length), content)).toBe(0);
  });
});
