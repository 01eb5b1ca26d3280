/** Volumes through Debian's tgt: who may log in is asked of a real initiator. */
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { makeIsid, openDisk } from 'cdk8s-baremetal-runtime/deploy/iscsi/index';
import { nodeProcessRunner } from 'cdk8s-baremetal-runtime/launch/node-process-runner';
import { type NodeRecord, nodeKind, parseTargets, TgtVolumes, targetName, volumeFolder } from 'cdk8s-baremetal-runtime/machine/index';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missingPrograms, Tgtd } from '../../deploy/iscsi/tgtd.ts';

const MIB = 1024 * 1024;
const PREFIX = 'iqn.2010-10.org.openstack.baremetal';
const { signal } = new AbortController();

function record(part: Partial<NodeRecord> = {}): NodeRecord {
  return nodeKind.parse({
    uuid: 'u',
    name: 'bm-1',
    number: 1,
    interfaces: [{ mac: '02:00:00:00:00:01', address: '127.0.0.7' }],
    properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: '10.0.0.1', username: 'u', passwordRef: 'p' },
    state: 'active',
    stateSince: 0,
    reason: '',
    instance: { uuid: 'i', name: 'Web_1', imageId: 'm', volumes: ['vol-1', 'vol-2'], mountpoints: { 'vol-1': '/dev/vdb' }, at: 0 },
    ...part,
  });
}

describe('what tgtadm prints', () => {
  it('targets, LUNs, who may log in and who has', () => {
    const output = `Target 1: iqn.2010-10.org.openstack.baremetal:web-dev-vdb
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 2
            Initiator: iqn.1993-08.org.debian:01:abc alias: bm-1
            Connection: 0
                IP Address: 10.0.0.11
    LUN information:
        LUN: 0
            Type: controller
            Backing store type: null
            Backing store path: None
        LUN: 1
            Type: disk
            SCSI SN: beaf11
            Size: 10 MB, Block size: 512
            Backing store type: rdwr
            Backing store path: /srv/volumes/vol 1
            Backing store flags: 
    Account information:
    ACL information:
        10.0.0.11
        fd00::11
Target 12: iqn.x:empty
    System information:
        Driver: iscsi
    LUN information:
        LUN: 0
            Backing store path: None
    ACL information:
        ALL
`;
    expect(parseTargets(output)).toEqual([
      {
        tid: 1,
        name: 'iqn.2010-10.org.openstack.baremetal:web-dev-vdb',
        luns: [{ lun: 1, backingStore: '/srv/volumes/vol 1' }],
        allowed: ['10.0.0.11', 'fd00::11'],
        initiators: ['iqn.1993-08.org.debian:01:abc'],
      },
      { tid: 12, name: 'iqn.x:empty', luns: [], allowed: ['ALL'], initiators: [] },
    ]);
  });

  it('anything at all is read without an exception', () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'Target 3: x',
        '    LUN information:',
        '        LUN: 1',
        '            Backing store path: /a',
        '    ACL information:',
        '        ALL',
      ),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        for (const { tid } of parseTargets(lines.join('\n'))) expect(Number.isInteger(tid)).toBe(true);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2_000) },
    );
  });

  it('the name of a target is the original’s, in characters that a name may have', () => {
    expect(targetName(PREFIX, record(), 'vol-1')).toBe(`${PREFIX}:web-1-dev-vdb`);
    expect(targetName(PREFIX, record(), 'vol-2')).toBe(`${PREFIX}:web-1-vol-2`);
  });
});

const missing = missingPrograms({ tgtd: 'tgt', tgtadm: 'tgt' });
describe.skipIf(missing.length > 0)('002-1: volumes over tgt', () => {
  let folder: string;
  let tgtd: Tgtd;
  const driver = (unsafe = false): TgtVolumes =>
    new TgtVolumes({
      runner: nodeProcessRunner,
      pathOf: volumeFolder(folder),
      iqnPrefix: PREFIX,
      unsafe,
      environment: { TGT_IPC_SOCKET: `${folder}/ctl` },
    });
  const shown = () => parseTargets(tgtd.admin('--op', 'show', '--mode', 'target'));
  const open = (localAddress: string) =>
    openDisk({
      network: nodeNetwork,
      clock: nodeClock,
      random: nodeRandom,
      logger: silentLogger,
      portal: { address: '127.0.0.1', port: tgtd.port },
      localAddress,
      targetName: targetName(PREFIX, record(), 'vol-1'),
      lun: 1,
      initiatorName: 'iqn.2026-11.io.bms.test:initiator',
      isid: makeIsid(1, 0),
      signal,
    });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vol-'));
    for (const volume of ['vol-1', 'vol-2']) {
      writeFileSync(join(folder, volume), '');
      truncateSync(join(folder, volume), 4 * MIB);
    }
    tgtd = await Tgtd.start(folder);
  });
  afterAll(async () => {
    await tgtd.stop();
    rmSync(folder, { recursive: true });
  });

  it('exports all volumes of an instance to its machine alone, as often as it is told, and takes them back', async () => {
    const volumes = driver();
    await volumes.attach(record(), signal);
    await volumes.attach(record(), signal);
    expect(shown().map(({ name, luns, allowed }) => [name, luns, allowed])).toEqual([
      [`${PREFIX}:web-1-dev-vdb`, [{ lun: 1, backingStore: join(folder, 'vol-1') }], ['127.0.0.7']],
      [`${PREFIX}:web-1-vol-2`, [{ lun: 1, backingStore: join(folder, 'vol-2') }], ['127.0.0.7']],
    ]);
    const disk = await open('127.0.0.7');
    expect(disk.sizeBytes).toBe(4 * MIB);
    await disk.close();
    await expect(open('127.0.0.8')).rejects.toThrow();
    await volumes.detach(record(), signal);
    await volumes.detach(record(), signal);
    expect(shown()).toEqual([]);
  });

  it('another address of the machine replaces the one before', async () => {
    const volumes = driver();
    await volumes.attachVolume(record(), 'vol-1', signal);
    const moved = record({ interfaces: [{ mac: '02:00:00:00:00:01' }], lease: { mac: '02:00:00:00:00:01', address: '127.0.0.9', at: 0 } });
    await volumes.attachVolume(moved, 'vol-1', signal);
    expect(shown().map(({ allowed }) => allowed)).toEqual([['127.0.0.9']]);
    await expect(open('127.0.0.7')).rejects.toThrow();
    await volumes.detachVolume(moved, 'vol-1', signal);
  });

  it('goes on from a target that a process left without LUN and without a word on who may log in', async () => {
    tgtd.admin('--op', 'new', '--mode', 'target', '--tid', '5', '-T', targetName(PREFIX, record(), 'vol-1'));
    await driver().attachVolume(record(), 'vol-1', signal);
    expect(shown()).toMatchObject([{ tid: 5, luns: [{ lun: 1 }], allowed: ['127.0.0.7'] }]);
    await driver().detachVolume(record(), 'vol-1', signal);
  });

  it('takes a volume from under an initiator that is logged in', async () => {
    const volumes = driver();
    await volumes.attachVolume(record(), 'vol-1', signal);
    const disk = await open('127.0.0.7');
    await volumes.detachVolume(record(), 'vol-1', signal);
    expect(shown()).toEqual([]);
    await disk.close();
  });

  it('two machines at once get targets of their own', async () => {
    const [a, b] = [driver(), driver()];
    const other = record({ instance: { uuid: 'j', name: 'other', imageId: 'm', vifs: [], volumes: ['vol-2'], at: 0 } });
    await Promise.all([a.attachVolume(record(), 'vol-1', signal), b.attach(other, signal)]);
    expect(
      shown()
        .map(({ name }) => name)
        .sort(),
    ).toEqual([`${PREFIX}:other-vol-2`, `${PREFIX}:web-1-dev-vdb`]);
    await a.detach(record(), signal);
    await b.detach(other, signal);
  });

  it('an instance of the same name with another volume at the same place gets nothing, and takes nothing away', async () => {
    const volumes = driver();
    await volumes.attachVolume(record(), 'vol-1', signal);
    const before = shown();
    const { instance } = record();
    const namesake = record({
      uuid: 'another',
      instance: instance && { ...instance, uuid: 'j', volumes: ['vol-2'], mountpoints: { 'vol-2': '/dev/vdb' } },
    });
    await expect(volumes.attachVolume(namesake, 'vol-2', signal)).rejects.toMatchObject({ code: 'MACHINE_VOLUME', permanent: true });
    await volumes.detachVolume(namesake, 'vol-2', signal); // as is done after an attaching that failed
    expect(shown()).toEqual(before);
    await volumes.detachVolume(record(), 'vol-1', signal);
    expect(shown()).toEqual([]);
  });

  it.each([
    { name: 'a volume that does not exist', node: record(), volume: 'vol-9', reason: /does not exist/ },
    { name: 'a path in place of a name', node: record(), volume: '../../etc/passwd', reason: /is not a name/ },
    { name: 'a folder', node: record(), volume: 'directory', reason: /neither a file nor a block device/ },
    {
      name: 'a machine whose address nobody knows',
      node: record({ interfaces: [{ mac: '02:00:00:00:00:01' }] }),
      volume: 'vol-1',
      reason: /no address of the machine/,
    },
  ])('$name is refused for good and exports nothing', async ({ node, volume, reason }) => {
    rmSync(join(folder, 'directory'), { force: true });
    symlinkSync(tmpdir(), join(folder, 'directory'));
    await expect(driver().attachVolume(node, volume, signal)).rejects.toMatchObject({
      code: 'MACHINE_VOLUME',
      permanent: true,
      message: expect.stringMatching(reason),
    });
    expect(shown()).toEqual([]);
  });

  it('use_unsafe_iscsi lets anybody in, as its name says', async () => {
    const node = record({ interfaces: [{ mac: '02:00:00:00:00:01' }] });
    await driver(true).attachVolume(node, 'vol-1', signal);
    expect(shown().map(({ allowed }) => allowed)).toEqual([['ALL']]);
    await driver(true).detachVolume(node, 'vol-1', signal);
  });

  it('a target service that is not there is an error with its name', async () => {
    const gone = new TgtVolumes({
      runner: nodeProcessRunner,
      pathOf: volumeFolder(folder),
      iqnPrefix: PREFIX,
      environment: { TGT_IPC_SOCKET: `${folder}/nobody` },
    });
    await expect(gone.attachVolume(record(), 'vol-1', signal)).rejects.toMatchObject({
      code: 'MACHINE_PROGRAM',
      message: expect.stringContaining('tgtadm'),
    });
  });
});
