import { inspect } from 'node:util';
import { enrolRequest } from 'cdk8s-baremetal-contract/api/index';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { readDocuments, readTextMap } from 'cdk8s-baremetal-runtime/machine/import/documents';
import { enrolBody, type ImportPlanOptions, type PlannedImport, planImport } from 'cdk8s-baremetal-runtime/machine/import/import-plan';
import { derivedUuid, imageIdOf } from 'cdk8s-baremetal-runtime/machine/import/imported-machine';
import { fromIronic, fromMetal3, type ImportedMachine } from 'cdk8s-baremetal-runtime/machine/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { IMAGE, World } from '../world.ts';

/** As `openstack baremetal node show -f json` prints it (release 2024.1), shortened where it says nothing. */
const IRONIC_ACTIVE = {
  allocation_uuid: null,
  automated_clean: null,
  conductor: 'ironic-1',
  driver: 'ipmi',
  driver_info: { ipmi_address: '10.1.2.3', ipmi_username: 'root', ipmi_password: '******', ipmi_port: '623', deploy_kernel: 'http://x/k' },
  instance_info: { image_source: 'e3b0c442-98fc-11ee-b9d1-0242ac120002', display_name: 'db-1', root_gb: '200' },
  instance_uuid: '0d1e5a30-3b5e-4a31-bb0c-0b9c2f7a8d11',
  maintenance: false,
  name: 'rack1-u12',
  power_state: 'power on',
  properties: {
    cpus: '64',
    memory_mb: '262144',
    local_gb: '446',
    cpu_arch: 'x86_64',
    capabilities: 'boot_mode:uefi,rack:r1,cpu_txt:true',
    root_device: { serial: 'S3Z8NX0K' },
  },
  provision_state: 'active',
  resource_class: 'bm.large',
  uuid: '5f0f2f3c-2b7f-4b69-9f6e-c3b5a3d3e3a1',
};

/** As `openstack baremetal node list --long -f json`: titles in place of names. */
const IRONIC_LONG = {
  UUID: '8a5b1c9e-1d0d-4c43-a3f0-0c3f9a8f1b22',
  Name: 'rack1-u13',
  'Provisioning State': 'available',
  'Power State': 'power off',
  Maintenance: true,
  'Maintenance Reason': 'new DIMM',
  'Instance UUID': null,
  'Driver Info': { redfish_address: 'https://bmc-13.example:8443', redfish_username: 'admin', redfish_password: '******' },
  Properties: { cpus: 32, memory_mb: 131072, local_gb: 893, capabilities: { rack: 'r1' } },
  'Resource Class': null,
};

const PORTS = [
  { UUID: 'p1', Address: '52:54:00:aa:00:02', 'Node UUID': IRONIC_ACTIVE.uuid, 'PXE boot enabled': false },
  { UUID: 'p2', Address: '52:54:00:aa:00:01', 'Node UUID': IRONIC_ACTIVE.uuid, 'PXE boot enabled': true },
  { uuid: 'p3', address: '52:54:00:aa:00:03', node_uuid: IRONIC_LONG.UUID, pxe_enabled: true },
];

const METAL3 = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: { name: worker-0-bmc }
- apiVersion: metal3.io/v1alpha1
  kind: BareMetalHost
  metadata:
    name: worker-0
    namespace: metal3
    uid: 6f7f2a34-3d5e-4f25-8c2d-1d6a6a8f0c55
    labels: { topology.kubernetes.io/rack: r7 }
  spec:
    online: true
    bootMACAddress: 00:5C:52:31:3A:9C
    bootMode: UEFI
    bmc: { address: "redfish-virtualmedia+https://[fd00:1::9]:8000/redfish/v1/Systems/1", credentialsName: worker-0-bmc }
    rootDeviceHints: { serialNumber: disk-9 }
    consumerRef: { kind: Metal3Machine, name: cluster-worker-x7k, namespace: metal3 }
    image: { url: "http://images/ubuntu.qcow2", checksum: "http://images/ubuntu.qcow2.sha256sum" }
  status:
    operationalStatus: OK
    poweredOn: true
    hardware:
      cpu: { arch: x86_64, count: 48, clockMegahertz: 3100, flags: [aes] }
      ramMebibytes: 196608
      nics:
      - { name: eth1, mac: "00:5c:52:31:3a:9d", pxe: false, speedGbps: 25 }
      - { name: eth0, mac: "00:5c:52:31:3a:9c", pxe: true }
      storage:
      - { name: /dev/sda, sizeBytes: 240000000000, serialNumber: boot-1 }
      - { name: /dev/sdb, sizeBytes: 1920000000000, serialNumber: disk-9 }
    provisioning:
      state: provisioned
      image: { url: "http://images/ubuntu.qcow2" }
- apiVersion: metal3.io/v1alpha1
  kind: BareMetalHost
  metadata:
    name: worker-1
    annotations: { baremetalhost.metal3.io/paused: capm3 }
  spec:
    bootMACAddress: 00:5c:52:31:3a:aa
    bmc: { address: "10.4.0.7", credentialsName: worker-1-bmc }
  status:
    hardware:
      cpu: { arch: aarch64, count: 80 }
      ramMebibytes: 131072
      storage: [{ sizeBytes: 960000000000 }, { sizeBytes: 960000000000 }]
    provisioning: { state: available }
- apiVersion: metal3.io/v1alpha1
  kind: BareMetalHost
  metadata: { name: fresh }
  spec: { bootMACAddress: 00:5c:52:31:3a:bb, bmc: { address: "ipmi://10.4.0.8:6230", credentialsName: fresh } }
  status: { provisioning: { state: inspecting } }
`;

describe('from Ironic', () => {
  it('an active node becomes an adoption, with its interfaces in boot order', () => {
    const { machines, refused } = fromIronic({ nodes: [IRONIC_ACTIVE], ports: PORTS });
    expect(refused).toEqual([]);
    expect(machines).toEqual([
      {
        enrol: {
          uuid: IRONIC_ACTIVE.uuid,
          name: 'rack1-u12',
          macs: ['52:54:00:aa:00:01', '52:54:00:aa:00:02'],
          properties: {
            cpus: 64,
            memoryMb: 262_144,
            localGb: 446,
            cpuArch: 'x86_64',
            capabilities: { boot_mode: 'uefi', rack: 'r1', cpu_txt: 'true', resource_class: 'bm.large' },
          },
          bmc: { driver: 'ipmi', address: '10.1.2.3', port: 623, username: 'root' },
          rootDiskSerial: 'S3Z8NX0K',
          target: 'manageable',
          adopt: { uuid: IRONIC_ACTIVE.instance_uuid, name: 'db-1', imageId: 'e3b0c442-98fc-11ee-b9d1-0242ac120002' },
        },
        warnings: [],
      },
    ] satisfies ImportedMachine[]);
  });

  it('a list with titles for names: a free node in maintenance stays both', () => {
    const { machines } = fromIronic({ nodes: [IRONIC_LONG], ports: PORTS });
    expect(machines[0]).toMatchObject({
      enrol: {
        name: 'rack1-u13',
        target: 'available',
        bmc: { driver: 'redfish', address: 'redfish://bmc-13.example:8443', username: 'admin' },
      },
      maintenance: 'new DIMM',
      warnings: ['its cpu_arch is not known; x86_64 is assumed'],
    });
    expect(machines[0]?.enrol.adopt).toBeUndefined();
  });

  it.each([
    ['without ports', { nodes: IRONIC_ACTIVE }, /none of its hardware addresses/],
    ['without a BMC', { nodes: { ...IRONIC_ACTIVE, driver_info: {} }, ports: PORTS }, /names no address of a BMC/],
    ['without sizes', { nodes: { ...IRONIC_ACTIVE, properties: { cpus: 1 } }, ports: PORTS }, /do not tell memoryMb, localGb/],
  ])('one %s is refused with the reason', (_name, input, reason) => {
    const { machines, refused } = fromIronic(input);
    expect([machines, refused[0]?.name]).toEqual([[], 'rack1-u12']);
    expect(refused[0]?.reason).toMatch(reason);
  });

  it("the API's own answers, and columns that the client has written as text, are read as well", () => {
    const { Properties, 'Driver Info': info, ...rest } = IRONIC_LONG;
    const asText = (value: object): string =>
      Object.entries(value)
        .map(([key, item]) => `${key}='${item}'`)
        .join(', ');
    const node = { ...rest, Properties: asText({ ...Properties, capabilities: 'rack:r1' }), 'Driver Info': asText(info) };
    const { machines } = fromIronic({ nodes: { nodes: [node] }, ports: { ports: PORTS } });
    expect(machines[0]?.enrol).toMatchObject({
      properties: { cpus: 32, memoryMb: 131_072, capabilities: { rack: 'r1' } },
      bmc: { address: 'redfish://bmc-13.example:8443', username: 'admin' },
    });
  });

  it('a node in the middle of something is never free here', () => {
    const { machines } = fromIronic({ nodes: { ...IRONIC_ACTIVE, provision_state: 'deploying' }, ports: PORTS });
    expect([machines[0]?.enrol.target, machines[0]?.enrol.adopt, machines[0]?.warnings]).toEqual([
      'manageable',
      undefined,
      [`it carries the instance ${IRONIC_ACTIVE.instance_uuid}, but is "deploying" there: finish that first, then adopt it`],
    ]);
  });
});

describe('from Metal3', () => {
  const documents = parseAllDocuments(METAL3).map((document) => document.toJS());

  it('a provisioned host becomes an adoption; its Secret is named', () => {
    const { machines } = fromMetal3(documents);
    expect(machines[0]).toEqual({
      enrol: {
        uuid: '6f7f2a34-3d5e-4f25-8c2d-1d6a6a8f0c55',
        name: 'worker-0',
        macs: ['00:5c:52:31:3a:9c', '00:5c:52:31:3a:9d'],
        properties: { cpus: 48, memoryMb: 196_608, localGb: 1_920, cpuArch: 'x86_64', capabilities: { rack: 'r7' } },
        bmc: { driver: 'redfish', address: 'redfish://[fd00:1::9]:8000/redfish/v1/Systems/1', username: '' },
        rootDiskSerial: 'disk-9',
        target: 'manageable',
        adopt: { uuid: '6f7f2a34-3d5e-4f25-8c2d-1d6a6a8f0c55', name: 'cluster-worker-x7k', imageId: 'ubuntu.qcow2' },
      },
      credentials: 'metal3/worker-0-bmc',
      warnings: ['its image http://images/ubuntu.qcow2 is called ubuntu.qcow2 here'],
    });
  });

  it('an available host is free, a paused one in maintenance, one that was not inspected refused', () => {
    const { machines, refused } = fromMetal3(documents);
    expect(machines[1]).toMatchObject({
      enrol: { name: 'worker-1', target: 'available', bmc: { driver: 'ipmi', address: '10.4.0.7' }, properties: { cpuArch: 'aarch64' } },
      maintenance: 'paused in Metal3 by capm3',
      warnings: [expect.stringContaining('2 disks and no root device hint')],
    });
    expect(refused).toEqual([{ name: 'fresh', reason: 'it was not inspected there: its sizes are not known' }]);
  });
});

describe('what an import would do', () => {
  const planned = (input: { nodes: unknown; ports?: unknown }, options?: ImportPlanOptions) => planImport(fromIronic(input), options);
  const node = (name: string, more: object = {}, bmc = '10.1.2.3') => ({
    ...IRONIC_ACTIVE,
    uuid: derivedUuid(name),
    name,
    driver_info: { ...IRONIC_ACTIVE.driver_info, ipmi_address: bmc },
    ...more,
  });
  const port = (name: string, address: string) => ({ address, node_uuid: derivedUuid(name) });
  const passwords = new Map([
    ['a', 'correct horse'],
    ['b', 'battery'],
  ]);

  it.each([
    ['a password', { nodes: node('c'), ports: [port('c', '52:54:00:00:00:0c')] }, ['no password: give it to c in the file of --passwords']],
    [
      'a BMC of its own',
      { nodes: [node('a'), node('b')], ports: [port('a', '52:54:00:00:00:0a'), port('b', '52:54:00:00:00:0b')] },
      ['BMC ipmi://10.1.2.3 port 623 is that of b'],
    ],
    [
      'a MAC address of its own',
      { nodes: [node('a'), node('b', {}, '10.1.2.4')], ports: [port('a', '52:54:00:00:00:0a'), port('b', '52:54:00:00:00:0a')] },
      ['MAC address 52:54:00:00:00:0a is that of b'],
    ],
    [
      'an address of its BMC',
      { nodes: node('a', {}, 'bmc-a.example'), ports: [port('a', '52:54:00:00:00:0a')] },
      ['its BMC is named bmc-a.example: put its IP address in place of that'],
    ],
    [
      'a name that can be one here',
      { nodes: { ...node('a'), name: 'rack 1' }, ports: [port('a', '52:54:00:00:00:0a')] },
      ['no password: give it to rack 1 in the file of --passwords', expect.stringMatching(/^name: must be letters/)],
    ],
  ])('a machine without %s cannot be enrolled, and is told why', (_name, input, faults) => {
    const [first] = planned(input, { passwords });
    expect([first?.outlook, first?.faults]).toEqual(['faulty', faults]);
  });

  it('what belongs to a machine that is enrolled is not enrolled again: the same machine is let be, another one is refused', () => {
    const input = {
      nodes: [node('a'), node('b', {}, '10.1.2.4')],
      ports: [port('a', '52:54:00:00:00:0a'), port('b', '52:54:00:00:00:0b')],
    };
    const enrolled = [
      { uuid: derivedUuid('a'), name: 'a', macs: ['52:54:00:00:00:0a'], bmc: 'ipmi://10.1.2.3' },
      { uuid: derivedUuid('x'), name: 'x', macs: ['52:54:00:00:00:99'], bmc: 'ipmi://10.1.2.4:623' },
    ];
    expect(planned(input, { passwords, enrolled }).map(({ outlook, faults }) => [outlook, faults])).toEqual([
      ['enrolled', []],
      ['faulty', ['BMC ipmi://10.1.2.4 port 623 belongs to x, which is enrolled']],
    ]);
  });

  it('Secrets of a Metal3 export give users and passwords, and show none of them', () => {
    const text = `${METAL3}---
apiVersion: v1
kind: Secret
metadata: { name: worker-0-bmc, namespace: metal3 }
data: { username: ${Buffer.from('root').toString('base64')}, password: ${Buffer.from('hunter2-hunter2\n').toString('base64')} }
---
apiVersion: v1
kind: Secret
metadata: { name: worker-1-bmc }
stringData: { username: admin, password: "007" }
`;
    const plans = planImport(fromMetal3(readDocuments(text)));
    expect(plans.map(({ name, outlook, machine, password }) => [name, outlook, machine.enrol.bmc.username, password?.reveal()])).toEqual([
      ['worker-0', 'enrol', 'root', 'hunter2-hunter2'],
      ['worker-1', 'enrol', 'admin', '007'],
    ]);
    expect(`${JSON.stringify(plans)}${inspect(plans, { depth: 9 })}`).not.toMatch(/hunter2|007/);
    expect(enrolRequest.safeParse(enrolBody(plans[0] as PlannedImport)).error?.issues).toBeUndefined();
    // paused there: not free here
    expect(enrolBody(plans[1] as PlannedImport)).toMatchObject({ target: 'manageable', bmc: { password: '007' } });
  });

  it('machines behind one Redfish service are told apart by their systems, from either side', () => {
    const host = (index: number) => ({
      kind: 'BareMetalHost',
      metadata: { name: `w-${index}`, namespace: 'm', uid: derivedUuid(`w-${index}`) },
      spec: {
        bootMACAddress: `52:54:00:00:00:0${index}`,
        bmc: { address: `redfish+https://10.0.0.9:8000/redfish/v1/Systems/${index}`, credentialsName: 'x' },
      },
      status: { hardware: { cpu: { count: 1 }, ramMebibytes: 1, storage: [{ sizeBytes: 2e9 }] } },
    });
    const credentials = { kind: 'Secret', metadata: { name: 'x', namespace: 'm' }, stringData: { username: 'u', password: 'p' } };
    const fromHosts = planImport(fromMetal3([host(1), host(2), credentials]));
    const behind = (name: string, system: string) =>
      node(name, { driver_info: { redfish_address: 'https://10.0.0.9:8000', redfish_username: 'u', redfish_system_id: system } });
    const fromNodes = planned(
      {
        nodes: [behind('a', '/redfish/v1/Systems/1'), behind('b', '/redfish/v1/Systems/2')],
        ports: [port('a', '52:54:00:00:00:0a'), port('b', '52:54:00:00:00:0b')],
      },
      { passwords },
    );
    const addresses = [1, 2].map((index) => `redfish://10.0.0.9:8000/redfish/v1/Systems/${index}`);
    for (const plans of [fromHosts, fromNodes]) {
      expect(plans.map(({ outlook, faults }) => [outlook, faults])).toEqual(Array(2).fill(['enrol', []]));
      expect(plans.map(({ machine }) => machine.enrol.bmc.address)).toEqual(addresses);
    }
    const enrolled = [{ uuid: derivedUuid('x'), name: 'x', macs: ['52:54:00:00:00:99'], bmc: addresses[1] ?? '' }];
    const again = planImport(fromMetal3([host(1), host(2), credentials]), { enrolled });
    expect(again.map(({ outlook }) => outlook)).toEqual(['enrol', 'faulty']);
  });

  it('hosts of one name in two namespaces are two machines', () => {
    const host = (namespace: string) => ({
      kind: 'BareMetalHost',
      metadata: { name: 'w', namespace, uid: derivedUuid(namespace) },
      spec: { bootMACAddress: `52:54:00:00:00:0${namespace}`, bmc: { address: `10.0.0.${namespace}`, credentialsName: 'x' } },
      status: { hardware: { cpu: { count: 1 }, ramMebibytes: 1, storage: [{ sizeBytes: 2e9 }] } },
    });
    expect(fromMetal3([host('1'), host('2')]).machines.map(({ enrol }) => enrol.name)).toEqual(['1.w', '2.w']);
  });
});

describe('reading exports', () => {
  it.each([
    ['JSON', '{"a": 1}', [{ a: 1 }]],
    ['YAML', 'a: 1\n', [{ a: 1 }]],
    ['documents', 'a: 1\n---\n---\nb: 2\n', [{ a: 1 }, { b: 2 }]],
  ])('%s', (_name, text, documents) => expect(readDocuments(text)).toEqual(documents));

  it.each([
    ['nothing', ' \n', 'it is empty'],
    ['a broken line', 'password: "hunter2\n', 'it is neither JSON nor YAML (line'],
    [
      'a bomb',
      `a: &a [x,x]\n${[...'bcdefghijk'].map((key, index) => `${key}: &${key} [${Array(9).fill(`*${'abcdefghij'[index]}`)}]`).join('\n')}`,
      'alias',
    ],
  ])('%s is refused without quoting it', (_name, text, said) => {
    let message = '';
    try {
      readDocuments(text);
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain(said);
    expect(message).not.toContain('hunter2');
  });

  it('passwords are text, whatever they look like', () => {
    expect([...readTextMap('a: 0123\nb: true\nc: "x y"\n')]).toEqual([
      ['a', '0123'],
      ['b', 'true'],
      ['c', 'x y'],
    ]);
    expect([...readTextMap('{"a": "1"}')]).toEqual([['a', '1']]);
    for (const text of ['[1]', 'a: [hunter2]', 'hunter2', ': {']) expect(() => readTextMap(text)).toThrow(/^(?!.*hunter2)/);
  });

  it('no text makes it throw anything but an Error, or hang', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        for (const reader of [readDocuments, readTextMap]) {
          try {
            reader(text);
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
          }
        }
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) },
    );
  });
});

it.each([
  ['http://images.example/u/ubuntu-22.04.qcow2?sig=1#x', 'ubuntu-22.04.qcow2'],
  ['file:///var/lib/ironic/images/a b.img', 'a-b.img'],
  ['e3b0c442-98fc-11ee-b9d1-0242ac120002', 'e3b0c442-98fc-11ee-b9d1-0242ac120002'],
  ['oci://', 'oci-'],
  ['///', 'unknown'],
])('the image %s is called %s', (text, id) => expect(imageIdOf(text)).toBe(id));

it('whatever is given is mapped or refused, never an exception', () => {
  fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (nodes, ports) => void fromIronic({ nodes, ports })));
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.jsonValue(), (list, spec) => {
      fromMetal3([...list, { kind: 'BareMetalHost', metadata: { name: 'x' }, spec }, { kind: 'List', items: list }]);
    }),
  );
});

it('an imported machine that runs is enrolled, adopted and active, and nothing but its power was looked at', async () => {
  const world = new World();
  world.daemon();
  const [imported] = fromIronic({ nodes: IRONIC_ACTIVE, ports: PORTS }).machines;
  const { bmc, uuid, ...enrol } = imported?.enrol ?? { bmc: { driver: 'ipmi' as const, address: '', username: '' } };
  const machine = await world.enrol(1, { ...enrol, macs: ['02:00:00:00:00:01'], bmc: { ...bmc, password: new Secret('given by hand') } });
  machine.power = 'on';
  machine.content = IMAGE.sha256;
  const node = await world.until(machine, 'active');
  expect([node.instance?.name, machine.power, new Set(world.calls)]).toEqual(['db-1', 'on', new Set(['status'])]);
  await world.close();
});
