import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { ChapSecret, type DiskOptions, discoverTargets, makeIsid, openDisk } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { codeOf, MIB } from './lab.ts';
import { missingPrograms, Tgtd } from './tgtd.ts';

const missing = missingPrograms({ tgtd: 'tgt', tgtadm: 'tgt', 'qemu-img': 'qemu-utils' });
const OPEN = 'iqn.2026-11.io.bms:open';
const ONE_WAY = 'iqn.2026-11.io.bms:one-way';
const MUTUAL = 'iqn.2026-11.io.bms:mutual';
const DIGESTS = 'iqn.2026-11.io.bms:digests';
const SIZE = 16 * MIB;

describe.skipIf(missing.length > 0)('writing to tgt', () => {
  const folder = temporaryFolder();
  let tgtd: Tgtd;
  const options = (targetName: string, overrides: Partial<DiskOptions> = {}): DiskOptions => ({
    network: nodeNetwork,
    clock: nodeClock,
    random: nodeRandom,
    logger: silentLogger,
    portal: { address: '127.0.0.1', port: tgtd.port },
    targetName,
    lun: 1,
    initiatorName: 'iqn.2026-11.io.bms:deployer',
    isid: makeIsid(1, 1),
    ...overrides,
  });
  const chap = { user: 'deployer', secret: new ChapSecret('secret-of-initiator') };
  const mutual = { ...chap, target: { user: 'node', secret: new ChapSecret('secret-of-target') } };

  beforeAll(async () => {
    folder.create();
    tgtd = await Tgtd.start(folder.path());
    for (const [index, name] of [OPEN, ONE_WAY, MUTUAL, DIGESTS].entries())
      tgtd.addDisk(index + 1, name, folder.path(`disk${index + 1}`), SIZE);
    for (const key of ['HeaderDigest', 'DataDigest'])
      tgtd.admin('--op', 'update', '--mode', 'target', '--tid', '4', '--name', key, '--value', 'CRC32C');
    tgtd.admin('--op', 'new', '--mode', 'account', '--user', 'deployer', '--password', 'secret-of-initiator');
    tgtd.admin('--op', 'new', '--mode', 'account', '--user', 'node', '--password', 'secret-of-target');
    for (const tid of ['2', '3']) tgtd.admin('--op', 'bind', '--mode', 'account', '--tid', tid, '--user', 'deployer');
    tgtd.admin('--op', 'bind', '--mode', 'account', '--tid', '3', '--user', 'node', '--outgoing');
  });
  afterAll(async () => {
    await tgtd?.stop();
    folder.remove();
  });

  it.each([
    ['as it comes', OPEN, 1, {}],
    ['with digests', DIGESTS, 4, { preferences: { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] } }],
    ['without unsolicited data', OPEN, 1, { preferences: { initialR2T: true, immediateData: false } }],
    ['with CHAP', ONE_WAY, 2, { chap }],
    ['with mutual CHAP', MUTUAL, 3, { chap: mutual }],
  ] as const)('002-12: random extents %s', async (title, name, number, overrides) => {
    const random = seededRandom(title);
    const draw = (limit: number): number => Math.floor(random.fraction() * limit);
    const disk = await openDisk(options(name, overrides));
    await disk.zero(0, SIZE);
    const model = new Uint8Array(SIZE);
    for (let round = 0; round < 12; round++) {
      const blocks = 1 + draw(4000);
      const offset = draw(SIZE / 512 - blocks) * 512;
      const data = random.bytes(blocks * 512);
      model.set(data, offset);
      await disk.write(offset, data);
    }
    await disk.zero(5 * MIB, MIB);
    model.fill(0, 5 * MIB, 6 * MIB);
    await disk.flush();
    expect(Buffer.compare(await disk.read(0, SIZE), model)).toBe(0);
    await disk.close();
    writeFileSync(folder.path('expected'), model);
    expect(Buffer.compare(readFileSync(folder.path(`disk${number}`)), model)).toBe(0);
    const compared = spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', folder.path('expected'), folder.path(`disk${number}`)]);
    expect(compared.stdout.toString()).toContain('identical');
  });

  it.each([
    ['no CHAP where it is due', {}, 'ISCSI_AUTHENTICATION_FAILED'],
    ['a wrong secret', { chap: { user: 'deployer', secret: new ChapSecret('another secret') } }, 'ISCSI_AUTHENTICATION_FAILED'],
    [
      'a target that cannot prove itself',
      { chap: { ...chap, target: { secret: new ChapSecret('never told to tgt') } } },
      'ISCSI_CHAP_TARGET_UNPROVEN',
    ],
  ])('refuses %s', async (_, overrides, code) => {
    // tgt may drop the connection with its refusal; either way nobody is let in
    expect([code, 'ISCSI_CONNECTION_LOST', 'ISCSI_LOGIN_REFUSED']).toContain(await codeOf(openDisk(options(MUTUAL, overrides))));
  });

  it('discovers what tgt exports', async () => {
    const { targetName: _, lun: __, ...base } = options(OPEN);
    expect((await discoverTargets(base)).map(({ name }) => name)).toEqual([OPEN, ONE_WAY, MUTUAL, DIGESTS]);
  });

  it('a second login with the same name and ISID ends the first session', async () => {
    const older = await openDisk(options(OPEN));
    const newer = await openDisk(options(OPEN));
    await new Promise<void>((resolve) => {
      if (older.over.aborted) resolve();
      else older.over.addEventListener('abort', () => resolve(), { once: true });
    });
    expect(await codeOf(older.write(0, new Uint8Array(512)))).toBe('ISCSI_CONNECTION_LOST');
    await newer.write(0, new Uint8Array(512));
    await newer.close();
  });
});
