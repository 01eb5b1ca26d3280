import { spawnSync } from 'node:child_process';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type IscsiDisk, makeIsid, openDisk } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { codeOf, MIB, withLab } from './lab.ts';
import { missingPrograms, Tgtd } from './tgtd.ts';

const BLOCK = new Uint8Array(512).fill(7);
const STRANGER = { initiatorName: 'iqn.2026-11.io.bms:stranger' };

describe('persistent reservations', () => {
  it('keep every other initiator from writing, and from nothing else', () =>
    withLab({}, async (lab) => {
      const ours = await lab.open();
      const theirs = await lab.open(STRANGER);
      expect(await ours.reserve()).toBe(true);
      await ours.write(0, BLOCK);
      expect(await codeOf(theirs.write(0, BLOCK))).toBe('ISCSI_SCSI_RESERVED');
      expect(await codeOf(theirs.zero(0, 4096))).toBe('ISCSI_SCSI_RESERVED');
      expect(Buffer.compare(await theirs.read(0, 512), BLOCK)).toBe(0);
      await ours.close();
      await theirs.write(0, BLOCK);
      await theirs.close();
    }));

  it('are taken from whoever has one', () =>
    withLab({}, async (lab) => {
      const older = await lab.open(STRANGER);
      await older.reserve();
      const ours = await lab.open();
      expect(await ours.reserve()).toBe(true);
      await ours.write(0, BLOCK);
      expect(await codeOf(older.write(512, BLOCK))).toBe('ISCSI_SCSI_RESERVED');
      await older.close(); // gives back what it has not got any more
      expect(await codeOf((await lab.open(STRANGER)).write(512, BLOCK))).toBe('ISCSI_SCSI_RESERVED');
    }));

  it('survive the session: the same initiator takes its own over', () =>
    withLab({}, async (lab) => {
      const first = await lab.open();
      await first.reserve();
      const second = await lab.open(); // drops the first
      await second.write(0, BLOCK);
      expect(await second.reserve()).toBe(true);
      expect(await codeOf(first.write(0, BLOCK))).toMatch(/ISCSI_/);
    }));

  it('are no condition: a target without them is written all the same', () =>
    withLab({ unit: { reservations: false } }, async (lab) => {
      const disk = await lab.open();
      expect(await disk.reserve()).toBe(false);
      await disk.write(0, BLOCK);
      await disk.close();
    }));
});

const missing = missingPrograms({ tgtd: 'tgt', 'iscsi-inq': 'libiscsi-bin' });
describe.skipIf(missing.length > 0)('persistent reservations of tgt', () => {
  const folder = temporaryFolder();
  const NAME = 'iqn.2026-11.io.bms:reserved';
  let tgtd: Tgtd;
  const open = (overrides: { initiatorName?: string } = {}): Promise<IscsiDisk> =>
    openDisk({
      network: nodeNetwork,
      clock: nodeClock,
      random: nodeRandom,
      logger: silentLogger,
      portal: { address: '127.0.0.1', port: tgtd.port },
      targetName: NAME,
      lun: 1,
      initiatorName: 'iqn.2026-11.io.bms:deployer',
      isid: makeIsid(1, 0),
      ...overrides,
    });
  beforeAll(async () => {
    folder.create();
    tgtd = await Tgtd.start(folder.path());
    tgtd.addDisk(1, NAME, folder.path('disk'), MIB);
  });
  afterAll(async () => {
    await tgtd?.stop();
    folder.remove();
  });

  it('002-12: one writer: others are refused, a dead one’s reservation is taken, and it is given back at the end', async () => {
    const dead = await open(STRANGER);
    expect(await dead.reserve()).toBe(true);
    const ours = await open();
    expect(await ours.reserve()).toBe(true);
    await ours.write(0, BLOCK);
    expect(await codeOf(dead.write(0, BLOCK))).toBe('ISCSI_SCSI_RESERVED');
    const again = await open(); // the same name and ISID: tgt drops `ours`
    expect(await codeOf(ours.write(0, BLOCK))).toMatch(/ISCSI_(CONNECTION_LOST|CLOSED)/);
    expect(await again.reserve()).toBe(true);
    await again.write(0, BLOCK);
    expect(await codeOf(dead.write(0, BLOCK))).toBe('ISCSI_SCSI_RESERVED');
    await again.close();
    await dead.write(0, BLOCK);
    await dead.close();
    expect(spawnSync('iscsi-inq', [`iscsi://127.0.0.1:${tgtd.port}/${NAME}/1`]).status).toBe(0);
  });
});
