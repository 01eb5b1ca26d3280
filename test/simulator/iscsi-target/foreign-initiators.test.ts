import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { ChapSecret } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { MemoryDisk, seededRandom } from 'cdk8s-baremetal-simulator/index';
import { type IscsiTarget, startIscsiTarget } from 'cdk8s-baremetal-simulator/iscsi-target/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MIB, TARGET_NAME } from '../../runtime/deploy/iscsi/lab.ts';
import { missingPrograms } from '../../runtime/deploy/iscsi/tgtd.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const missing = missingPrograms({
  'qemu-img': 'qemu-utils and qemu-block-extra',
  'iscsi-inq': 'libiscsi-bin',
  'iscsi-ls': 'libiscsi-bin',
  'iscsi-test-cu': 'libiscsi-bin',
});
const SECRET = 'secret-of-initiator';
/** Those of commands that a disk writer uses. Of the rest the target has no READ FULL STATUS, one type of reservation, and no control mode page. */
const SUITES = [
  'Inquiry',
  'Mandatory',
  'PrinReadKeys',
  'PrinReportCapabilities',
  'ProutRegister',
  'Read10',
  'Read16',
  'ReadCapacity10',
  'ReadCapacity16',
  'TestUnitReady',
  'Unmap',
  'Write10',
  'Write16',
  'WriteSame16',
  'iSCSIcmdsn',
  'iSCSITMF',
];

describe.skipIf(missing.length > 0)('foreign initiators write to the simulated target', () => {
  const folder = temporaryFolder();
  let target: IscsiTarget;
  let disk: MemoryDisk;
  const start = async (chap: boolean): Promise<void> => {
    disk = new MemoryDisk({ sizeBytes: 32 * MIB });
    target = await startIscsiTarget({
      network: nodeNetwork,
      clock: nodeClock,
      random: nodeRandom,
      logger: silentLogger,
      address: '127.0.0.1',
      port: 0,
      targetName: TARGET_NAME,
      luns: { 1: { device: disk } },
      ...(chap && { chap: { user: 'deployer', secret: new ChapSecret(SECRET) } }),
    });
  };
  const url = (login = ''): string => `iscsi://${login}127.0.0.1:${target.local.port}/${TARGET_NAME}/1`;
  const run = async (program: string, ...args: string[]): Promise<{ status: number; output: string }> => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
    const [status] = await once(child, 'close');
    return { status: status ?? -1, output };
  };
  beforeEach(() => folder.create());
  afterEach(async () => {
    await target.close();
    folder.remove();
  });

  it.each([
    ['without CHAP', false, ''],
    ['with CHAP', true, `deployer%${SECRET}@`],
  ])('qemu-img %s', async (title, chap, login) => {
    await start(chap);
    const image = seededRandom(title).bytes(32 * MIB);
    writeFileSync(folder.path('image'), image);
    const converted = await run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', folder.path('image'), url(login));
    expect(converted.status, converted.output).toBe(0);
    expect(Buffer.compare(await disk.read(0, image.length), image)).toBe(0);
  });

  it('a wrong secret is refused', async () => {
    await start(true);
    expect((await run('iscsi-inq', url('deployer%wrong-secret-here@'))).status).not.toBe(0);
  });

  it('002-12: qemu and libiscsi see the same bytes and the same disk', async () => {
    await start(false);
    const image = seededRandom('compare').bytes(32 * MIB);
    writeFileSync(folder.path('image'), image);
    await disk.write(0, image);
    const compared = await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', folder.path('image'), url());
    expect(compared.output).toContain('Images are identical');
    expect((await run('iscsi-inq', url())).output).toMatch(/Vendor:BMS/);
    expect((await run('iscsi-inq', '-e', '1', '-c', '128', url())).output).toContain('SIM0001');
    const listed = await run('iscsi-ls', '-s', `iscsi://127.0.0.1:${target.local.port}`);
    expect(listed.output).toContain(TARGET_NAME);
    expect(listed.output).toMatch(/Lun:1 +Type:DIRECT_ACCESS/);
    await disk.write(5 * MIB, new Uint8Array(512).fill(1));
    expect((await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', folder.path('image'), url())).status).toBe(1);
  });

  it.each(SUITES)('libiscsi’s suite ALL.%s', async (suite) => {
    await start(false);
    const { status, output } = await run('iscsi-test-cu', '-d', '-n', '-t', `ALL.${suite}`, url());
    expect(status, output).toBe(0);
    expect(output).toMatch(/tests +[1-9]/);
  });
});
