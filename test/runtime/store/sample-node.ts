import { type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';

/** A machine in the middle of its deployment, as the reconciler would have it. */
export function sampleNode(number: number): NodeRecord {
  const mac = (port: number): string =>
    `52:54:00:${[number >> 8, number & 0xff, port].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
  return nodeKind.parse({
    uuid: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
    name: `node-${number}`,
    number,
    interfaces: [{ mac: mac(0), address: `10.1.${number >> 8}.${number & 0xff}`, vif: `vif-${number}` }, { mac: mac(1) }],
    properties: { cpus: 32, memoryMb: 262_144, localGb: 960, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: `10.2.${number >> 8}.${number & 0xff}`, username: 'admin', passwordRef: `bmc-${number}` },
    state: 'deploying',
    stateSince: 1_767_225_600_000,
    reason: 'der Ramdisk ist da – 写入',
    owner: 'management-1#0000000000000001.1-0000000007',
    epoch: 3,
    instance: { uuid: `instance-${number}`, name: `web-${number}`, imageId: 'image-1', at: 1_767_225_600_000 },
    generation: 2,
    deployment: {
      id: `deployment-${number}`,
      generation: 2,
      imageId: 'image-1',
      image: { sizeBytes: 2_361_393_152, boot: 'local' },
      iqn: `iqn.2026-11.io.bms:node-${number}`,
      keyHash: 'a'.repeat(64),
      expiresAt: 1_767_229_200_000,
      claim: { address: '10.1.0.9', port: 3260, lun: 1, at: 1_767_225_600_000 },
      progress: { bytes: 1_000_000, totalBytes: 2_361_393_152, at: 1_767_225_600_000 },
    },
    power: { state: 'on', at: 1_767_225_600_000 },
  });
}
