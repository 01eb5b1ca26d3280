import type { Deployment, DiskIdentity } from 'cdk8s-baremetal-runtime/machine/deployment-record';
import { wrongDisk, wrongDiskToErase } from 'cdk8s-baremetal-runtime/machine/disk-guard';
import type { NodeRecord } from 'cdk8s-baremetal-runtime/machine/node-record';
import { describe, expect, it } from 'vitest';

const GIB = 2 ** 30;
const deployment = { id: 'd2', generation: 2, image: { boot: 'local', sizeBytes: GIB } } as Deployment;
const KNOWN: DiskIdentity = { serial: 'S1', sizeBytes: 2 * GIB };
const installed = { generation: 1, deploymentId: 'd1', imageId: 'i', sha256: 'a'.repeat(64), disk: KNOWN, at: 1 };
const node = (part: Partial<NodeRecord>): NodeRecord => part as NodeRecord;

describe('which disk may be written', () => {
  it.each<[string, Partial<NodeRecord>, Partial<Deployment>, DiskIdentity, RegExp | undefined]>([
    [
      'any, of a machine that nothing is known of',
      {},
      {},
      { serial: 'X', sizeBytes: 2 * GIB, holds: 'the ext4 file system "data"' },
      undefined,
    ],
    ['the one of the last deployment, whatever is on it', { installed }, {}, { ...KNOWN, holds: 'a partition table' }, undefined],
    ['an empty one in its place: it was replaced', { installed }, {}, { serial: 'S2', sizeBytes: 2 * GIB }, undefined],
    [
      'not another one that holds something',
      { installed },
      {},
      { serial: 'S2', sizeBytes: 2 * GIB, holds: 'an LVM physical volume' },
      /not S1 as planned, and holds an LVM physical volume; nothing was written/,
    ],
    [
      'that one when this deployment began on it',
      { installed },
      { disk: { serial: 'S2', sizeBytes: 2 * GIB } },
      { serial: 'S2', sizeBytes: 2 * GIB, holds: 'data' },
      undefined,
    ],
    ['the root disk, when one is set', { rootDiskSerial: 'S1' }, {}, { serial: 'S2', sizeBytes: 2 * GIB }, /root disk S1/],
    ['not one that a later deployment has written', {}, {}, { ...KNOWN, generation: 3, deploymentId: 'd3' }, /generation 3/],
    ['not one that is too small', {}, {}, { serial: 'S1', sizeBytes: GIB / 2 }, /at least/],
  ])('002-12: %s', (_, record, part, disk, reason) => {
    const found = wrongDisk(node(record), { ...deployment, ...part }, disk);
    if (reason === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(reason);
  });
});

describe('which disk may be erased', () => {
  it.each<[string, Partial<NodeRecord>, string, RegExp | undefined]>([
    ['any, of a machine that nothing is known of', {}, 'X', undefined],
    ['the one that the last instance was on', { installed }, 'S1', undefined],
    ['no other: the last instance’s data would stay', { installed }, 'S2', /is the disk S2 .* not S1, which the last instance was on/],
    ['another one that is named', { installed, rootDiskSerial: 'S2' }, 'S2', undefined],
    ['not the last one when another is named', { installed, rootDiskSerial: 'S2' }, 'S1', /root disk S2/],
  ])('%s', (_, record, serial, reason) => {
    const found = wrongDiskToErase(node(record), { serial, sizeBytes: GIB });
    if (reason === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(reason);
  });
});
