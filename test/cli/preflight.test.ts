/** bmctl preflight against what it looks for: BMCs, another DHCP server on the VLAN, interfaces and boot files that are not as they should be. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { Secret } from 'cdk8s-baremetal-runtime/power/index';
import { SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Finding, preflight } from '../../src/cli/commands/preflight.ts';
import type { Surroundings } from '../../src/cli/surroundings.ts';
import { describeWith, startDnsmasq } from '../runtime/boot/dhcp/fixtures/boot-server.ts';
import { FakeKubernetes, status, TOKEN } from '../runtime/store/fake-kubernetes.ts';
import { NamespacePair } from '../support/netns.ts';
import { runBmctl } from './run-bmctl.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'preflight-'));
  for (const part of ['deploy', 'images']) mkdirSync(join(folder, part));
  for (const file of ['pxelinux.0', 'ldlinux.c32', 'deploy/deploy_kernel', 'deploy/deploy_ramdisk']) writeFileSync(join(folder, file), 'x');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Roles off, so that only what a test looks at is looked at. */
function ini(dhcp: string, address = '127.0.0.1', coordination = 'memory://'): string {
  const off = ['tftp', 'http_boot', 'deploy_helper', 'api'].map((role) => `[${role}]\nenabled = false\n`).join('');
  const pxe = `[pxe]\ntftpboot_dir = ${folder}\ndeploy_image_dir = ${folder}/deploy\nuser_image_dir = ${folder}/images\n`;
  return `${pxe}[sw_coordination]\nbackend_url = ${coordination}\n${off}[dhcp]\nserver_ip = ${address}\n${dhcp}`;
}

const world: Surroundings = {
  network: nodeNetwork,
  clock: nodeClock,
  random: nodeRandom,
  env: {},
  stdin: async () => '',
  print: () => undefined,
  note: () => undefined,
  signal: new AbortController().signal,
};
const look = (options: Partial<Parameters<typeof preflight>[1]> = {}, dhcp = 'enabled = false\n'): Promise<Finding[]> =>
  preflight(world, { config: bmsCoreConfig.parse(ini(dhcp)), interfaces: {}, ...options });
const of = (findings: readonly Finding[], check: string): Finding | undefined => findings.find((one) => one.check === check);

describe('the BMC', () => {
  let bmc: SimulatedBmc;
  let powered: boolean;
  let port: number;
  beforeEach(async () => {
    powered = true;
    bmc = await SimulatedBmc.start({
      clock: nodeClock,
      random: nodeRandom,
      network: nodeNetwork,
      logger: silentLogger,
      address: '127.0.0.1',
      port: 0,
      users: [{ name: 'admin', password: 'correct horse', privilege: 'administrator' }],
      chassis: {
        get powered() {
          return powered;
        },
        powerOn: () => undefined,
        powerOff: () => {
          powered = false;
        },
        reset: () => undefined,
      },
    });
    port = bmc.local.port;
  });
  afterEach(() => bmc.close());
  const asked = (password: string, username = 'admin', at = port) =>
    look({ bmc: { address: '127.0.0.1', port: at, username, password: new Secret(password) } });

  it('lets the user in, and is only looked at', async () => {
    expect(of(await asked('correct horse'), 'BMC')).toEqual({ check: 'BMC', ok: true, what: '127.0.0.1 lets admin in: the machine is on' });
    expect(powered).toBe(true);
  });

  it.each([
    ['a wrong password', ['battery staple'], /password/i],
    ['an unknown user', ['correct horse', 'root'], /user/i],
  ] as const)('%s is found, with its cure and without the password', async (_name, [password, username], said) => {
    const found = of(await asked(password, username), 'BMC');
    expect(found).toMatchObject({ ok: false, what: expect.stringMatching(said), cure: expect.stringMatching(/\w/) });
    expect(JSON.stringify(found)).not.toContain(password);
  });

  it('over the command line: exit code 8, the password from a file', async () => {
    writeFileSync(join(folder, 'core.ini'), ini('enabled = false\n'));
    writeFileSync(join(folder, 'pw'), 'wrong horse\n');
    const args = ['preflight', '--config', join(folder, 'core.ini'), '--bmc', '127.0.0.1', '--bmc-port', String(port)];
    const { code, out, err } = await runBmctl([...args, '--password-file', join(folder, 'pw')]);
    expect([code, out]).toEqual([8, expect.stringContaining('BAD BMC')]);
    expect(`${out}${err}`).not.toContain('wrong horse');
    expect((await runBmctl(args, { BMCTL_BMC_PASSWORD: 'correct horse' })).out).toContain('ok  BMC: 127.0.0.1 lets admin in');
  });
});

describe('files and interfaces', () => {
  it.each([
    ['an interface that is not there', 'interfaces = vlan1800\n', { isDevice: () => false }, 'there is no interface vlan1800'],
    ['one without an address', 'interfaces = vlan1800\n', { isDevice: () => true }, 'vlan1800 is down, or has no address'],
  ])('%s', async (_name, dhcp, options, what) => {
    expect(of(await look(options, `enabled = false\n${dhcp}`), 'interface')).toMatchObject({ ok: false, what });
  });

  it.each([
    ['an empty loader', () => writeFileSync(join(folder, 'pxelinux.0'), ''), 'pxelinux.0 is empty'],
    ['no deploy kernel', () => rmSync(join(folder, 'deploy/deploy_kernel')), 'deploy_kernel cannot be read (ENOENT)'],
    ['no folder for images', () => rmSync(join(folder, 'images'), { recursive: true }), 'there is no'],
  ])('%s', async (_name, spoil, what) => {
    spoil();
    expect((await look()).filter(({ ok }) => !ok)).toEqual([expect.objectContaining({ what: expect.stringContaining(what) })]);
  });

  it('a UEFI loader is told of, and lacking one is no fault', async () => {
    const uefi = async () => (await look()).find(({ what }) => what.includes('bootx64.efi'));
    expect(await uefi()).toMatchObject({ ok: true, what: expect.stringContaining('machines with UEFI will not boot') });
    writeFileSync(join(folder, 'bootx64.efi'), 'x');
    expect(await uefi()).toMatchObject({ ok: true, what: join(folder, 'bootx64.efi') });
  });
});

it('the port of the boot server service, which a proxy has beside DHCP, is looked at; a server needs none', async () => {
  const taken = await nodeNetwork.udp({ address: '127.0.0.1', port: 0 }, { onMessage: () => undefined });
  const { port } = taken.local;
  const told = async (mode: string): Promise<string[]> =>
    (await look({ listenMs: 0 }, `mode = ${mode}\nport = 27967\nproxy_port = ${port}\n`))
      .filter(({ check, ok }) => check === 'port' && !ok)
      .map(({ what }) => what);
  try {
    expect(await told('proxy')).toEqual([`DHCP boot server on 127.0.0.1:${port}/udp cannot be used (EADDRINUSE)`]);
    expect(await told('server')).toEqual([]);
  } finally {
    await taken.close();
  }
});

describe('coordination by Leases', () => {
  const URL = 'kubernetes:///pod45-wuxi2';
  const asked = async (url: string, before: FakeKubernetes['before'] = () => undefined, inside = true): Promise<Finding | undefined> => {
    const fake = new FakeKubernetes();
    await fake.start();
    fake.before = before;
    const access = { server: fake.url, namespace: 'bms', credentials: () => ({ token: TOKEN, ca: '' }) };
    const config = bmsCoreConfig.parse(ini('enabled = false\n', '127.0.0.1', url));
    const there: Surroundings = { ...world, network: fake.client, clock: fake.clock };
    const findings = await fake.clock.run(preflight(there, { config, interfaces: {}, ...(inside && { access }) }));
    expect(fake.objects.size).toBe(0);
    return of(findings, 'coordination');
  };

  it('000-16: may be kept in the namespace of the service account, or another; and are not asked for where nobody needs them', async () => {
    expect(await asked(URL)).toEqual({ check: 'coordination', ok: true, what: 'Leases may be kept in the namespace bms' });
    expect(await asked('kubernetes://infra')).toMatchObject({ ok: true, what: 'Leases may be kept in the namespace infra' });
    expect(await asked('memory://')).toBeUndefined();
  });

  const forbidden = status(403, 'leases.coordination.k8s.io is forbidden: User "bms-admin" cannot create', 'Forbidden');
  const gone = status(404, 'namespaces "bms" not found', 'NotFound', 'namespaces');
  it.each([
    [
      'what the Role lacks',
      (one: { method: string }) => (one.method === 'POST' ? forbidden : undefined),
      true,
      'COORDINATION_FORBIDDEN',
      /create refused/,
      /bms-core-coordination/,
    ],
    ['a token of nobody', () => status(401, 'Unauthorized'), true, 'COORDINATION_TOKEN', /does not accept/, /token volume/],
    [
      'no such namespace',
      (one: { method: string }) => (one.method === 'POST' ? gone : undefined),
      true,
      'COORDINATION_NAMESPACE',
      /bms/,
      /Create it/,
    ],
    ['no cluster around it', () => undefined, false, 'COORDINATION_OUTSIDE', /KUBERNETES_SERVICE_HOST/, /pod/],
  ] as const)('000-16: %s', async (_name, before, inside, code, what, cure) => {
    const found = await asked(URL, before, inside);
    expect(found).toEqual({
      check: 'coordination',
      ok: false,
      code,
      what: expect.stringMatching(what),
      cure: expect.stringMatching(cure),
    });
    expect(JSON.stringify(found)).not.toContain(TOKEN);
  });
});

describeWith([{ name: 'dnsmasq', debian: 'dnsmasq-base' }], 'another DHCP server on the VLAN', () => {
  const SERVER = 'mode = server\nsubnet = 192.168.50.0/24\nrange_start = 192.168.50.100\nrange_end = 192.168.50.120\n';

  /** The management node at one end of a cable; at the other, dnsmasq or nobody. No default route: as on a VLAN of its own. */
  async function beside(rival: boolean, dhcp: string, name: string): Promise<Finding | undefined> {
    const pair = await NamespacePair.create({ left: { address: '192.168.50.1/24' }, right: { address: '192.168.50.2/24' } });
    try {
      if (rival) await startDnsmasq(pair.right, join(folder, `leases-${name}`));
      const config = join(folder, `${name}.ini`);
      writeFileSync(config, ini(`${dhcp}interfaces = eth0\n`, '192.168.50.1'));
      const bmctl = [process.execPath, '--import', 'tsx', 'src/cli/bmctl.ts', '--json', 'preflight', '--config', config, '--listen', '2'];
      const { output } = await pair.left.exec(bmctl);
      const { findings } = JSON.parse(output.slice(0, output.lastIndexOf('}') + 1)) as { findings: Finding[] };
      expect(findings.filter(({ ok, check }) => !ok && check !== 'DHCP servers')).toEqual([]);
      return of(findings, 'DHCP servers');
    } finally {
      await pair.close();
    }
  }

  it('is found by a server, wanted by a proxy, and missed by one that is alone', { timeout: 60_000 }, async () => {
    const [found, alone, wanted, missed] = await Promise.all([
      beside(true, SERVER, 'found'),
      beside(false, SERVER, 'alone'),
      beside(true, 'mode = proxy\n', 'wanted'),
      beside(false, 'mode = proxy\n', 'missed'),
    ]);
    expect(found).toMatchObject({ ok: false, what: '192.168.50.2 leases addresses here already' });
    expect(alone).toEqual({ check: 'DHCP servers', ok: true, what: 'no other one answers' });
    expect(wanted).toMatchObject({ ok: true, what: '192.168.50.2 leases addresses, as a proxy needs' });
    expect(missed).toMatchObject({ ok: false, what: 'nobody leases addresses, and a proxy leases none' });
  });
});
