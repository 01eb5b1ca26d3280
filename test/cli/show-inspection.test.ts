/** What bmctl show says of an inspection: from the record of a machine to the line that a person reads. */
import { type NodeDetail, nodeDetail as schema } from 'cdk8s-baremetal-contract/api/index';
import { nodeDetail } from 'cdk8s-baremetal-runtime/api/node-view';
import type { NodeRecord } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';
import { type CommandContext, nodeShow } from '../../src/cli/node-commands.ts';

const [FIRST, SECOND] = ['52:54:00:00:00:01', '52:54:00:00:00:02'];
const record = (differences: string[]): NodeRecord =>
  ({
    uuid: '5f4c1c1e-6f0e-4c3e-9d1c-2b1f6f1d8a10',
    number: 3,
    name: 'bm-3',
    state: 'manageable',
    todo: [],
    reason: 'inspected',
    stateSince: 0,
    interfaces: [{ mac: FIRST }, { mac: SECOND }],
    bmc: { driver: 'ipmi', address: '10.0.0.9' },
    properties: { cpus: 8, memoryMb: 16_384, localGb: 480, cpuArch: 'x86_64' },
    maintenance: false,
    attempts: 0,
    epoch: 1,
    generation: 0,
    history: [],
    inspection: {
      at: 1_000,
      differences,
      facts: {
        cpus: 8,
        disks: [],
        interfaces: [
          {
            name: 'eth0',
            mac: FIRST,
            linkUp: true,
            switchId: '00:04:00:96:22:00',
            switchPort: 'Gi0/13',
            lldp: { systemName: 'leaf-7b', portVlan: 120, managementVlan: 99 },
          },
          { name: 'eth1', mac: SECOND, linkUp: true, switchId: '10.0.0.7', switchPort: '7', lldp: {} },
          { name: 'eth2', mac: '52:54:00:00:00:03', linkUp: false },
        ],
      },
    },
  }) as unknown as NodeRecord;

const shown = async (node: NodeRecord, asJson = false): Promise<string[]> => {
  const lines: string[] = [];
  const detail: NodeDetail = schema.parse(nodeDetail(node));
  await nodeShow(
    { api: { ask: async () => detail }, asJson, print: (text: string) => lines.push(text) } as unknown as CommandContext,
    'bm-3',
  );
  return lines;
};

describe('002-13: bmctl show, after an inspection', () => {
  it('says at which switch and port each cable ends', async () => {
    expect((await shown(record([]))).filter((line) => /^(Inspected|Cable)/.test(line))).toEqual([
      'Inspected     1970-01-01T00:00:01.000Z, as recorded',
      `Cable         eth0 ${FIRST} to leaf-7b (00:04:00:96:22:00), port Gi0/13, VLAN 120, managed in VLAN 99`,
      `Cable         eth1 ${SECOND} to 10.0.0.7, port 7`,
    ]);
  });

  it('says where the record is wrong', async () => {
    const lines = await shown(record(['cpus: recorded 8, found 4', 'interface: recorded x, found no such interface']));
    expect(lines).toContain(
      'Inspected     1970-01-01T00:00:01.000Z, cpus: recorded 8, found 4; interface: recorded x, found no such interface',
    );
  });

  it('has all that was found in its JSON', async () => {
    const [text = ''] = await shown(record([]), true);
    expect(JSON.parse(text).inspection).toMatchObject({
      facts: { cpus: 8, interfaces: [{ switchPort: 'Gi0/13' }, {}, { linkUp: false }] },
    });
  });
});
