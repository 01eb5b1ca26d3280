/** BMCs through the API: addresses that are URLs, how it stands with them, and "try again". */

import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { type BmcStatus, parsePowerUrl } from 'cdk8s-baremetal-runtime/power/index';
import { describe, expect, it } from 'vitest';
import { Harness } from './harness.ts';

const enrolment = (bmc: object) => ({
  name: 'bm-9',
  macs: ['52:54:00:aa:bb:cc'],
  properties: { cpus: 8, memoryMb: 16_384, localGb: 100, cpuArch: 'x86_64' },
  bmc: { username: 'admin', password: 'correct horse', ...bmc },
});

describe('addresses', () => {
  it.each([
    [{ address: '192.0.2.9' }, { driver: 'ipmi', address: '192.0.2.9' }],
    [{ address: 'ipmi://192.0.2.9:6230' }, { driver: 'ipmi', address: '192.0.2.9', port: 6230 }],
    [{ address: 'iboot://192.0.2.30/2' }, { driver: 'iboot', address: 'iboot://192.0.2.30/2' }],
    [
      { address: `redfish://bmc-7.example:8443/redfish/v1/Systems/1?sha256=${'6b'.repeat(32)}` },
      { driver: 'redfish', address: `redfish://bmc-7.example:8443/redfish/v1/Systems/1?sha256=${'6b'.repeat(32)}` },
    ],
    [
      { driver: 'redfish', address: 'redfish://[fd00::20]' },
      { driver: 'redfish', address: 'redfish://[fd00::20]' },
    ],
    [
      { driver: 'iboot', address: '192.0.2.30:9100,2' },
      { driver: 'iboot', address: '192.0.2.30:9100,2' },
    ],
    [
      { address: 'virtual+ssh://ops@hyper-1/vm-9', password: '' },
      { driver: 'virtual', address: 'virtual+ssh://ops@hyper-1/vm-9' },
    ],
  ])('002-2: %j', async (bmc, expected) => {
    const harness = new Harness();
    expect((await harness.ask('POST', '/v1/nodes', { body: enrolment(bmc) })).status).toBe(201);
    const [record] = await harness.store.list(nodeKind);
    expect(record?.value.bmc).toMatchObject(expected);
  });

  it.each([
    ['ipmi://admin:hunter2@192.0.2.9'],
    ['virtual+ssh://host/$(reboot)'],
    ['virtual+exec:///vm;reboot'],
    ['iboot://192.0.2.30/99'],
    ['redfish://192.0.2.9/x'],
    ['bmc.example'],
  ])('002-2: refuses %s', async (address) => {
    const harness = new Harness();
    const answer = await harness.ask('POST', '/v1/nodes', { body: enrolment({ address }) });
    expect(answer.status).toBe(422);
    expect(answer.text).not.toContain('hunter2');
  });

  it('two machines of one Redfish service are told apart by their systems; one system is one machine, whoever logs in and whatever is pinned', async () => {
    const harness = new Harness();
    const enrol = async (number: number, address: string): Promise<number> => {
      const body = { ...enrolment({ address }), name: `bm-${number}`, macs: [`52:54:00:aa:bb:0${number}`] };
      return (await harness.ask('POST', '/v1/nodes', { body })).status;
    };
    expect(await enrol(1, 'redfish://bmc-7.example/redfish/v1/Systems/1')).toBe(201);
    expect(await enrol(2, 'redfish://bmc-7.example/redfish/v1/Systems/2')).toBe(201);
    expect(await enrol(3, `redfish://root@BMC-7.example:443/redfish/v1/Systems/2?sha256=${'6b'.repeat(32)}`)).toBe(409);
  });

  it("002-2: nova's pm_address of an iBoot", async () => {
    const harness = new Harness();
    const node = {
      service_host: 'c1',
      cpus: 8,
      memory_mb: 1024,
      local_gb: 10,
      pm_user: 'a',
      pm_password: 'b',
      prov_mac_address: '52:54:00:AA:BB:CC',
    };
    const body = { node: { ...node, pm_address: '192.0.2.30,2' } };
    expect((await harness.ask('POST', '/v2/t/os-baremetal-nodes', { body })).status).toBe(200);
    const [record] = await harness.store.list(nodeKind);
    expect(record?.value.bmc).toMatchObject({ driver: 'iboot', address: '192.0.2.30,2' });
  });
});

describe('how it stands', () => {
  it('002-2: every BMC with its machine; a stop with when it will be tried; retry reaches the gateway', async () => {
    const status: BmcStatus = {
      bmc: '192.0.2.1:623',
      user: 'admin',
      state: 'stopped',
      session: false,
      breaker: 'closed',
      waiting: 0,
      probeAtMs: 1_800_000_000_000,
      lastError: { code: 'IPMI_WRONG_PASSWORD', message: 'another password', atMs: 1_799_999_000_000 },
    };
    const retried: string[] = [];
    const harness = new Harness({ bmcs: { statuses: () => [status], retry: async (bmc) => void retried.push(bmc) } });
    await harness.machine(1);
    expect((await harness.ask('GET', '/v1/bmcs')).json).toEqual({
      bmcs: [
        {
          bmc: '192.0.2.1:623',
          nodes: ['bm-1'],
          user: 'admin',
          state: 'stopped',
          session: false,
          waiting: 0,
          probeAt: '2027-01-15T08:00:00.000Z',
          lastError: { code: 'IPMI_WRONG_PASSWORD', message: 'another password', at: '2027-01-15T07:43:20.000Z' },
        },
      ],
    });
    expect((await harness.ask('POST', '/v1/nodes/bm-1/bmc/retry')).json).toEqual({ bmc: '192.0.2.1:623' });
    expect(retried).toEqual(['192.0.2.1:623']);
    expect((await harness.ask('POST', '/v1/nodes/nobody/bmc/retry')).status).toBe(404);
  });

  it.each([
    { bmc: { address: 'FD00:0:0::20' }, shown: 'ipmi://[FD00:0:0::20]', name: '[fd00::20]:6230' },
    { bmc: { address: 'fd00::20', port: 624 }, shown: 'ipmi://[fd00::20]:624', name: '[fd00::20]:624' },
    { bmc: { driver: 'redfish', address: '192.0.2.9' }, shown: 'redfish://192.0.2.9', name: '192.0.2.9:443' },
    {
      bmc: { address: 'redfish://bmc-7.example:8443/redfish/v1/Systems/1' },
      shown: 'redfish://bmc-7.example:8443/redfish/v1/Systems/1',
      name: 'bmc-7.example:8443',
    },
    { bmc: { address: 'virtual+ssh://ops@hyper-1/vm-9', password: '' }, shown: 'virtual+ssh://ops@hyper-1/vm-9', name: undefined },
    { bmc: { driver: 'iboot', address: '192.0.2.30:9100,2' }, shown: 'iboot://192.0.2.30:9100/2', name: undefined },
  ])('002-2: $bmc is shown as an address that bmctl takes, and known by what the power plane calls it', async ({ bmc, shown, name }) => {
    const retried: string[] = [];
    const known = { bmc: name ?? '', user: 'admin', state: 'new', session: false, breaker: 'closed', waiting: 0 } as const;
    const bmcs = { statuses: () => [known], retry: async (asked: string) => void retried.push(asked), ipmiPort: 6230 };
    const harness = new Harness({ bmcs });
    expect((await harness.ask('POST', '/v1/nodes', { body: enrolment(bmc) })).json.bmc).toBe(shown);
    parsePowerUrl(shown);
    expect((await harness.ask('POST', '/v1/nodes/bm-9/bmc/retry')).json).toEqual({ bmc: name ?? shown });
    expect(retried).toEqual(name === undefined ? [] : [name]);
    expect((await harness.ask('GET', '/v1/bmcs')).json.bmcs[0].nodes).toEqual(name === undefined ? [] : ['bm-9']);
  });
});
