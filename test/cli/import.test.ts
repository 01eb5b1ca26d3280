/** bmctl import on exports as other systems print them, against the API on a real socket of loopback. */
import { writeFileSync } from 'node:fs';
import type { HttpServer } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCode } from '../../src/cli/exit-codes.ts';
import { Harness } from '../runtime/api/harness.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { runBmctl } from './run-bmctl.ts';

const folder = temporaryFolder();
const SECRET = 'hunter2-hunter2';
let harness: Harness;
let server: HttpServer;
let api: string;
let said: string[];

beforeEach(async () => {
  folder.create();
  said = [];
  harness = new Harness({ clock: nodeClock });
  server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, harness.api.handle);
  api = `http://127.0.0.1:${server.local.port}`;
});
afterEach(async () => {
  harness.api.close();
  await server.close(0);
  folder.remove();
});

async function bmctl(args: readonly string[], stdin = '', env: Readonly<Record<string, string>> = {}) {
  const ran = await runBmctl(args, { BMCTL_API: api, ...env }, stdin);
  said.push(ran.out, ran.err);
  return ran;
}

function file(name: string, content: unknown): string {
  const path = folder.path(name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const uuid = (digit: number): string => `${String(digit).repeat(8)}-1111-4111-8111-111111111111`;

/** A row of `openstack baremetal node list --long -f json` (client 5.x), its columns as they are titled there. */
const ironicNode = (digit: number, more: object = {}) => ({
  'Allocation UUID': null,
  'Automated Clean': null,
  Conductor: 'ironic-0',
  'Created At': '2025-03-04T08:11:02+00:00',
  Driver: 'ipmi',
  'Driver Info': {
    ipmi_address: `192.0.2.${digit}`,
    ipmi_username: 'root',
    ipmi_password: '******',
    deploy_kernel: 'http://192.0.2.250/ipa.kernel',
    deploy_ramdisk: 'http://192.0.2.250/ipa.initramfs',
  },
  'Driver Internal Info': { agent_version: '9.5.0' },
  'Instance Info': {},
  'Instance UUID': null,
  Maintenance: false,
  'Maintenance Reason': null,
  Name: `old-${digit}`,
  'Power State': 'power off',
  Properties: { cpus: '8', memory_mb: '16384', local_gb: '446', cpu_arch: 'x86_64', capabilities: 'boot_mode:bios,rack:r1' },
  'Provisioning State': 'available',
  'Resource Class': 'bm',
  UUID: uuid(digit),
  ...more,
});
const ironicPort = (digit: number) => ({
  UUID: uuid(9),
  Address: `52:54:00:0a:0b:0${digit}`,
  Extra: {},
  'Node UUID': uuid(digit),
  'Local Link Connection': {},
  'PXE boot enabled': true,
  'Is Smart NIC port': false,
});

describe('002-9: bmctl import ironic', () => {
  it('shows what it would do, lacks passwords, then enrols with them and adopts what runs', async () => {
    const active = {
      'Provisioning State': 'active',
      'Instance UUID': uuid(7),
      'Instance Info': { display_name: 'db', image_source: 'http://i/db.raw' },
    };
    const nodes = file('nodes.json', [
      ironicNode(1),
      ironicNode(2, active),
      ironicNode(3, { Maintenance: true, 'Maintenance Reason': 'fan' }),
      ironicNode(4),
    ]);
    const given = ['import', 'ironic', nodes, '--ports', file('ports.json', [ironicPort(1), ironicPort(2), ironicPort(3)])];
    const shown = await bmctl(given);
    expect(shown.out).toMatch(/old-1 +CANNOT +52:54:00:0a:0b:01 +ipmi:\/\/192.0.2.1 +lacking +-/);
    expect(shown.err).toContain('old-4 is left out: none of its hardware addresses is in the list of ports');
    expect(shown.err).toContain('old-1: no password');
    expect(await harness.store.list(nodeKind)).toEqual([]);

    const withSome = [...given, '--passwords', file('some.yaml', `old-1: ${SECRET}\n`), '--apply'];
    expect(await bmctl(withSome)).toMatchObject({
      code: exitCode.refused,
      err: expect.stringContaining('nothing was enrolled: old-2, old-3'),
    });
    expect(await harness.store.list(nodeKind)).toEqual([]);
    expect((await bmctl([...withSome, '--skip-faulty'])).code).toBe(exitCode.done);

    const passwords = file('passwords.json', { 'old-1': SECRET, 'old-2': '0123', 'old-3': SECRET });
    const applied = await bmctl([...given, '--passwords', passwords, '--apply']);
    expect(applied.code).toBe(exitCode.done);
    expect(applied.out).toMatch(/old-1 +is enrolled[\s\S]*old-2 +adopt[\s\S]*old-3 +enrol/);
    const records = new Map((await harness.store.list(nodeKind)).map(({ value }) => [value.name, value]));
    expect([...records.keys()].sort()).toEqual(['old-1', 'old-2', 'old-3']);
    expect(records.get('old-2')?.adopt).toEqual({ uuid: uuid(7), name: 'db', imageId: 'db.raw' });
    expect(records.get('old-3')).toMatchObject({ maintenance: true, maintenanceReason: 'fan', provide: false });
    expect((await harness.secrets.read(`bmc.${uuid(2)}`)).reveal()).toBe('0123');
    expect(said.join('\n')).not.toContain(SECRET);
  });

  it('cut off between a machine and its maintenance, it says so when it is run again', async () => {
    const cut = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, async (request) =>
      request.path.endsWith('/maintenance') ? { status: 503, headers: {}, body: 'away' } : harness.api.handle(request),
    );
    const nodes = file('nodes.json', [ironicNode(3, { Maintenance: true, 'Maintenance Reason': 'fan' })]);
    const passwords = file('passwords.json', { 'old-3': SECRET });
    const given = ['import', 'ironic', nodes, '--ports', file('ports.json', [ironicPort(3)]), '--passwords', passwords];
    expect((await bmctl([...given, '--apply'], '', { BMCTL_API: `http://127.0.0.1:${cut.local.port}` })).code).not.toBe(exitCode.done);
    await cut.close(0);
    const missing = 'old-3 is enrolled, and not in maintenance as it was there (fan): bmctl maintenance on old-3';
    expect((await bmctl([...given, '--apply'])).err).toContain(missing);
    expect(JSON.parse((await bmctl(['--json', ...given])).out).machines).toMatchObject([{ outlook: 'enrolled', unheld: true }]);
    expect((await bmctl(['maintenance', 'on', 'old-3'])).code).toBe(exitCode.done);
    expect((await bmctl(given)).err).not.toContain('not in maintenance');
  });

  it('says what is taken by a machine that is enrolled', async () => {
    await harness.machine(1); // 192.0.2.1
    const shown = await bmctl(['import', 'ironic', '-', '--ports', file('ports.json', [ironicPort(1)])], JSON.stringify(ironicNode(1)));
    expect(shown.err).toContain('old-1: BMC ipmi://192.0.2.1 port 623 belongs to bm-1, which is enrolled');
  });

  it('says what --apply would do, and only that', async () => {
    const nodes = (...digits: number[]): string =>
      file(
        'nodes.json',
        digits.map((digit) => ironicNode(digit)),
      );
    const ports = file('ports.json', [1, 2].map(ironicPort));
    const passwords = file('passwords.yaml', 'old-1: pw\n');
    const told = async (...digits: number[]): Promise<string> =>
      (await bmctl(['import', 'ironic', nodes(...digits), '--ports', ports, '--passwords', passwords])).err.trim().split('\n').at(-1) ?? '';
    expect(await told(1)).toBe('Nothing was done: --apply enrols them.');
    expect(await told(1, 2)).toBe('Nothing was done: --apply enrols them once all can be, and with --skip-faulty those that can.');
    expect(await told(2)).toBe('Nothing was done, and none of them can be enrolled as it is.');
    expect(await told(3)).toBe('Nothing was done, and there is nothing to do.'); // it has no port
  });

  it('looks at an export without a running bms-core; enrolling wants one', async () => {
    const args = ['import', 'ironic', file('n.json', ironicNode(1)), '--ports', file('p.json', [ironicPort(1)])];
    const env = { BMCTL_API: 'http://127.0.0.1:1' };
    const shown = await bmctl(args, '', env);
    expect([shown.code, shown.out]).toEqual([exitCode.done, expect.stringContaining('old-1')]);
    expect(shown.err).toContain('Not compared with the machines that are enrolled');
    expect((await bmctl([...args, '--apply'], '', env)).code).toBe(exitCode.noAnswer);
  });
});

/** As `kubectl get bmh,secret -A -o yaml` prints it, with the fields that say nothing here shortened. */
const METAL3 = `apiVersion: v1
items:
- apiVersion: metal3.io/v1alpha1
  kind: BareMetalHost
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: '{"kind":"BareMetalHost"}'
    creationTimestamp: "2025-02-11T09:40:01Z"
    finalizers: [baremetalhost.metal3.io]
    generation: 3
    name: worker-0
    namespace: metal3
    uid: ${uuid(5)}
  spec:
    automatedCleaningMode: metadata
    bmc:
      address: ipmi://192.0.2.40:6230
      credentialsName: worker-0-bmc
    bootMACAddress: "52:54:00:0A:0B:40"
    online: true
    rootDeviceHints:
      serialNumber: S3Z8NX0K
  status:
    goodCredentials:
      credentials: { name: worker-0-bmc, namespace: metal3 }
    hardware:
      cpu: { arch: x86_64, clockMegahertz: 2600, count: 32, model: Xeon }
      nics:
      - { ip: 192.0.2.41, mac: "52:54:00:0a:0b:40", name: eth0, pxe: true }
      ramMebibytes: 131072
      storage:
      - { name: /dev/sda, rotational: false, serialNumber: S3Z8NX0K, sizeBytes: 480103981056 }
    operationalStatus: OK
    provisioning: { ID: ${uuid(6)}, state: available }
- apiVersion: v1
  data:
    password: ${Buffer.from(SECRET).toString('base64')}
    username: cm9vdA==
  kind: Secret
  metadata: { name: worker-0-bmc, namespace: metal3, labels: { environment.metal3.io: baremetal } }
  type: Opaque
- apiVersion: v1
  data:
    token: bm90IG91cnM=
  kind: Secret
  metadata: { name: default-token, namespace: kube-system }
  type: kubernetes.io/service-account-token
kind: List
metadata: { resourceVersion: "" }
`;

describe('002-9: bmctl import metal3', () => {
  it.each([
    ['a List of YAML', () => [METAL3]],
    [
      'documents',
      () =>
        METAL3.split(/^- (?=api)/m)
          .slice(1)
          .map((item) => item.replace(/^kind: List[\s\S]*/m, '').replaceAll(/^ {2}/gm, '')),
    ],
  ])('takes hosts and passwords from %s into the store, and shows no password', async (_name, parts) => {
    const path = file('hosts.yaml', parts().join('---\n'));
    const shown = await bmctl(['import', 'metal3', path]);
    expect(shown.out).toMatch(/worker-0 +enrol +52:54:00:0a:0b:40 +ipmi:\/\/192.0.2.40 +given/);
    const json = JSON.parse((await bmctl(['--json', 'import', 'metal3', path])).out);
    expect(json.machines[0]).toMatchObject({ outlook: 'enrol', passwordGiven: true, enrol: { bmc: { username: 'root', port: 6230 } } });
    expect((await bmctl(['import', 'metal3', path, '--apply'])).code).toBe(exitCode.done);
    expect((await harness.secrets.read(`bmc.${uuid(5)}`)).reveal()).toBe(SECRET);
    expect((await harness.store.get(nodeKind, uuid(5)))?.value.properties.localGb).toBe(480);
    const everything = [...said, ...harness.emitted].join('\n');
    for (const form of [SECRET, Buffer.from(SECRET).toString('base64')]) expect(everything).not.toContain(form);
  });

  it('hosts and Secrets in two files; the Secret that is not there is named', async () => {
    const [hosts = '', secrets = ''] = [METAL3.replace(/^- apiVersion: v1[\s\S]*?(?=^kind)/m, ''), METAL3];
    expect((await bmctl(['import', 'metal3', file('h.yaml', hosts)])).err).toContain('export the Secret metal3/worker-0-bmc with it');
    const both = await bmctl(
      ['import', 'metal3', file('h.yaml', hosts), '-'],
      secrets.replace(/^- apiVersion: metal3[\s\S]*?(?=^- apiVersion: v1)/m, ''),
    );
    expect(both.out).toMatch(/worker-0 +enrol .* given/);
  });

  it.each([
    ['no file', ['nowhere.yaml'], 'ENOENT'],
    ['no YAML', [], 'it is neither JSON nor YAML (line 1)'],
  ])('%s ends with the usage code, quoting nothing', async (_name, paths, why) => {
    const ran = await bmctl(['import', 'metal3', ...(paths.length > 0 ? paths : [file('broken.yaml', `password: "${SECRET}`)])]);
    expect([ran.code, ran.err]).toEqual([exitCode.usage, expect.stringContaining(why)]);
    expect(ran.err).not.toContain(SECRET);
  });
});
