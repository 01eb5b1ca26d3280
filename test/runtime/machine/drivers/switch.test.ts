import { type NodeRecord, nodeKind, RecordingSwitch, SwitchVifs } from 'cdk8s-baremetal-runtime/machine/index';
import { describe, expect, it } from 'vitest';

const { signal } = new AbortController();
const node = (vifs: string[], ports = 2): NodeRecord =>
  nodeKind.parse({
    uuid: 'u',
    name: 'bm-1',
    number: 1,
    interfaces: [1, 2, 3].map((n) => ({ mac: `02:00:00:00:00:0${n}`, ...(n <= ports && { datapathId: 'leaf-1', portNo: n }) })),
    properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: '10.0.0.1', username: 'u', passwordRef: 'p' },
    state: 'active',
    stateSince: 0,
    reason: '',
    instance: { uuid: 'i', name: 'n', imageId: 'm', vifs, at: 0 },
  });

describe('002-1: plug vifs', () => {
  it('each virtual interface gets the first free port, and ports that nobody needs are cleared', async () => {
    const leaf = new RecordingSwitch();
    const vifs = new SwitchVifs(leaf);
    expect(await vifs.plug(node(['red', 'blue']), signal)).toEqual({ '02:00:00:00:00:01': 'red', '02:00:00:00:00:02': 'blue' });
    expect(await vifs.plug(node(['blue']), signal)).toEqual({ '02:00:00:00:00:01': 'blue' });
    expect([1, 2].map((portNo) => leaf.vifOf({ datapathId: 'leaf-1', portNo }))).toEqual(['blue', undefined]);
    await vifs.unplug(node([]), signal);
    expect(leaf.vifOf({ datapathId: 'leaf-1', portNo: 1 })).toBeUndefined();
    expect(leaf.log.map(({ port, vif }) => `${port} ${vif ?? '-'}`)).toEqual([
      'leaf-1/1 red',
      'leaf-1/2 blue',
      'leaf-1/1 blue',
      'leaf-1/2 -',
      'leaf-1/1 -',
      'leaf-1/2 -',
    ]);
  });

  it('more virtual interfaces than ports are refused for good, before any port is touched', async () => {
    const leaf = new RecordingSwitch();
    await expect(new SwitchVifs(leaf).plug(node(['a', 'b', 'c']), signal)).rejects.toMatchObject({ permanent: true });
    expect(leaf.log).toEqual([]);
  });

  it('one port that cannot be cleared does not keep the others plugged', async () => {
    const cleared: number[] = [];
    const vifs = new SwitchVifs({
      connect: async () => undefined,
      clear: async ({ portNo }) => {
        if (portNo === 1) throw new Error('no session free');
        cleared.push(portNo);
      },
    });
    await expect(vifs.unplug(node([]), signal)).rejects.toThrow('1 switch ports could not be cleared: Error: no session free');
    expect(cleared).toEqual([2]);
  });
});
