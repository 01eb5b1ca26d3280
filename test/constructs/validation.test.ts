import { App } from 'cdk8s';
import { Site } from 'cdk8s-baremetal';
import { describe, expect, it } from 'vitest';
import { type SeedSite, seedSite } from '../support/seed-site.ts';
import { problemsOf } from '../support/synth.ts';

interface Scenario {
  readonly name: string;
  readonly break: (site: SeedSite) => void;
  /** Construct path, code, and a part of the sentence that names the value. */
  readonly expected: readonly (readonly [path: string, code: string, says: string])[];
}

const pod = (site: SeedSite): SeedSite['pods'][number] => {
  const [first] = site.pods;
  if (!first) throw new Error('the site has no pod');
  return first;
};
const machine = (site: SeedSite, index: number): SeedSite['pods'][number]['machines'][number] => {
  const found = pod(site).machines[index];
  if (!found) throw new Error('the pod has no such machine');
  return found;
};
const secondPod = (site: SeedSite): void => {
  site.pods.push({
    ...structuredClone(pod(site)),
    name: 'pod46',
    managementNodes: [{ name: 'mgmt-pod46-wuxi2-1' }],
    vips: { 401: '10.128.192.22', 1800: '192.168.50.22' },
    machines: [],
  });
};

const scenarios: readonly Scenario[] = [
  {
    name: 'duplicate MAC, also when written otherwise',
    break: (site) => {
      machine(site, 1).interfaces = [{ mac: '52-54-00-45-00-01' }];
    },
    expected: [
      [
        'wuxi2/pod45/pod45-bm-02',
        'SITE_DUPLICATE_MAC',
        '52:54:00:45:00:01 is already that of wuxi2: pods[0].machines[0].interfaces[0].mac',
      ],
    ],
  },
  {
    name: 'duplicate address',
    break: (site) => {
      machine(site, 1).address = '192.168.50.101';
    },
    expected: [['wuxi2/pod45/pod45-bm-02', 'SITE_DUPLICATE_ADDRESS', '192.168.50.101']],
  },
  {
    name: "a machine on its pod's VIP",
    break: (site) => {
      machine(site, 0).address = '192.168.50.20';
    },
    expected: [['wuxi2/pod45/pod45-bm-01', 'SITE_DUPLICATE_ADDRESS', 'vips.1800']],
  },
  {
    name: 'duplicate BMC',
    break: (site) => {
      machine(site, 1).bmc.address = '10.128.192.101';
    },
    expected: [['wuxi2/pod45/pod45-bm-02', 'SITE_DUPLICATE_BMC', '10.128.192.101:623']],
  },
  {
    name: 'duplicate VIP',
    break: (site) => {
      secondPod(site);
      if (site.pods[1]) site.pods[1].vips = { 401: '10.128.192.22', 1800: '192.168.50.20' };
    },
    expected: [['wuxi2/pod46/vip1800', 'SITE_DUPLICATE_VIP', '192.168.50.20']],
  },
  {
    name: 'duplicate machine name',
    break: (site) => {
      secondPod(site);
      site.pods[1]?.machines.push({
        ...structuredClone(machine(site, 0)),
        interfaces: [{ mac: '52:54:00:46:00:01' }],
        bmc: { address: '10.128.192.201', credentials: { secretName: 's' } },
        address: '192.168.50.201',
      });
    },
    expected: [
      ['wuxi2/pod46/pod45-bm-01', 'SITE_DUPLICATE_NAME', 'the machine pod45-bm-01'],
      ['wuxi2', 'SITE_DUPLICATE_OBJECT', 'BareMetalNode default/pod45-bm-01'],
    ],
  },
  {
    name: 'VIP outside its network',
    break: (site) => {
      pod(site).vips = { 401: '10.128.192.21', 1800: '192.168.51.20' };
    },
    expected: [['wuxi2/pod45/vip1800', 'SITE_VIP_OUTSIDE_NETWORK', '192.168.51.20 is not a host address of VLAN 1800 (192.168.50.0/24)']],
  },
  {
    name: 'VIP that is the broadcast address',
    break: (site) => {
      pod(site).vips = { 401: '10.128.192.21', 1800: '192.168.50.255' };
    },
    expected: [['wuxi2/pod45/vip1800', 'SITE_VIP_OUTSIDE_NETWORK', '192.168.50.255']],
  },
  {
    name: 'no VIP on the provisioning network',
    break: (site) => {
      pod(site).vips = { 401: '10.128.192.21' };
    },
    expected: [['wuxi2/pod45', 'SITE_VIP_MISSING', 'pod45 has no VIP on VLAN 1800']],
  },
  {
    name: 'VIP on a VLAN that the site does not have',
    break: (site) => {
      pod(site).vips = { 401: '10.128.192.21', 1800: '192.168.50.20', 1801: '192.168.60.20' };
    },
    expected: [['wuxi2/pod45/vip1801', 'SITE_VLAN_UNKNOWN', 'VLAN 1801']],
  },
  {
    name: 'network with host bits',
    break: (site) => {
      site.networks[1] = { vlan: 1800, cidr: '192.168.50.1/24' };
    },
    expected: [['wuxi2/vlan1800', 'SITE_FIELD_INVALID', 'did you mean 192.168.50.0/24?']],
  },
  {
    name: 'names that are not DNS labels',
    break: (site) => {
      machine(site, 0).name = 'Pod45_BM';
      site.namespace = 'Bms';
    },
    expected: [
      ['wuxi2/pod45/Pod45_BM', 'SITE_NAME_INVALID', '"Pod45_BM"'],
      ['wuxi2', 'SITE_NAME_INVALID', '"Bms"'],
    ],
  },
  {
    name: 'management node of another pod',
    break: (site) => {
      pod(site).managementNodes = [{ name: 'mgmt-pod54-wuxi2-1' }];
    },
    expected: [['wuxi2/pod45/management-node-1', 'SITE_NODE_NAME_MISMATCH', 'mgmt-pod54-wuxi2-1']],
  },
  {
    name: '000-6: an NFS server that is not the VIP',
    break: (site) => {
      pod(site).config = { pxe: { nfs_server_ip: '192.168.50.21' } };
    },
    expected: [['wuxi2/pod45', 'CONFIG_DERIVED_MISMATCH', 'nfs_server_ip = 192.168.50.21']],
  },
  {
    name: '000-6: a callback and a backend that contradict the VIP, both told',
    break: (site) => {
      pod(site).config = {
        center: { scheduler_callback: 'http://192.168.50.21:17070/bms/v1/task/pxe/notify' },
        sw_coordination: { backend_url: 'kazoo://192.168.50.21:2181' },
      };
    },
    expected: [
      ['wuxi2/pod45', 'CONFIG_DERIVED_MISMATCH', 'scheduler_callback'],
      ['wuxi2/pod45', 'CONFIG_DERIVED_MISMATCH', 'backend_url'],
    ],
  },
  {
    name: 'an unknown option of bms-core',
    break: (site) => {
      pod(site).config = { DEFAULT: { max_retry: 3 } };
    },
    expected: [['wuxi2/pod45', 'CONFIG_UNKNOWN_KEY', 'Did you mean max_retries?']],
  },
  {
    name: 'an option of the wrong type',
    break: (site) => {
      pod(site).config = { DEFAULT: { server_port: 70810 } };
    },
    expected: [['wuxi2/pod45', 'CONFIG_VALUE', '70810']],
  },
  {
    name: '000-15: two management nodes alone as an ensemble',
    break: (site) => {
      site.zookeeper = { form: 'ensemble', hosts: ['mgmt-pod45-wuxi2-1', 'mgmt-pod45-wuxi2-2'] };
    },
    expected: [['wuxi2', 'SITE_QUORUM_IMPOSSIBLE', 'an ensemble of 2']],
  },
  {
    name: '000-15: an even ensemble',
    break: (site) => {
      site.zookeeper = { form: 'ensemble', hosts: ['a', 'b', 'c', 'd'] };
    },
    expected: [['wuxi2', 'SITE_QUORUM_EVEN', 'an ensemble of 4']],
  },
  {
    name: '000-15: three times the same host is one host',
    break: (site) => {
      site.zookeeper = { form: 'ensemble', hosts: ['a', 'a', 'a'] };
    },
    expected: [
      ['wuxi2', 'SITE_DUPLICATE_NAME', 'ensemble host a'],
      ['wuxi2', 'SITE_QUORUM_IMPOSSIBLE', 'an ensemble of 1'],
    ],
  },
  {
    name: 'a password in place of a Secret',
    break: (site) => {
      Object.assign(machine(site, 0).bmc, { password: 'hunter2hunter2' });
    },
    expected: [['wuxi2/pod45/pod45-bm-01', 'SITE_SECRET_AS_VALUE', 'pods[0].machines[0].bmc.password']],
  },
  {
    name: 'a password inside a URL',
    break: (site) => {
      pod(site).config = { store: { url: 'mysql://bms:hunter2hunter2@10.0.0.1/nova_bm' } };
    },
    expected: [
      ['wuxi2/pod45', 'SITE_SECRET_AS_VALUE', 'pods[0].config.store.url'],
      ['wuxi2/pod45', 'CONFIG_VALUE', 'mysql://bms:***@10.0.0.1/nova_bm'],
    ],
  },
  {
    name: 'a field that does not exist',
    break: (site) => {
      Object.assign(machine(site, 0), { memoryMB: 1 });
    },
    expected: [['wuxi2/pod45/pod45-bm-01', 'SITE_FIELD_UNKNOWN', 'Did you mean memoryMb?']],
  },
  {
    name: 'a field that is missing',
    break: (site) => {
      Reflect.deleteProperty(machine(site, 0), 'cpus');
    },
    expected: [['wuxi2/pod45/pod45-bm-01', 'SITE_FIELD_MISSING', 'pods[0].machines[0].cpus is missing']],
  },
  {
    name: 'a malformed MAC',
    break: (site) => {
      machine(site, 0).interfaces = [{ mac: '52:54:00:45:00' }];
    },
    expected: [['wuxi2/pod45/pod45-bm-01', 'SITE_FIELD_INVALID', '"52:54:00:45:00"']],
  },
  {
    name: 'APIs in two places, where one DaemonSet asks all of them for their health',
    break: (site) => {
      secondPod(site);
      site.bmsCore = { form: 'seed' };
      Object.assign(site.pods[1] ?? {}, { config: { DEFAULT: { server_port: 7083 } } });
    },
    expected: [['wuxi2/pod46', 'SITE_API_FORM', 'pod46']],
  },
  {
    name: 'a PersistentVolume, where the container mounts by itself',
    break: (site) => {
      site.bmsCore = { form: 'seed', tftpboot: 'persistent-volume' };
    },
    expected: [['wuxi2', 'SITE_TFTPBOOT_FORM', 'persistent-volume']],
  },
  {
    name: 'a mount by the container, where it has no right to',
    break: (site) => {
      site.bmsCore = { tftpboot: 'mount' };
    },
    expected: [['wuxi2', 'SITE_TFTPBOOT_FORM', 'mount']],
  },
];

describe('what synthesis refuses', () => {
  it('the unbroken site has no problem', () => {
    expect(problemsOf((app) => Site.fromInput(app, seedSite()))).toEqual([]);
  });

  it.each(scenarios)('$name', ({ break: breakSite, expected }) => {
    const site = seedSite();
    breakSite(site);
    const lines = problemsOf((app) => Site.fromInput(app, site));
    for (const [path, code, says] of expected) {
      expect(
        lines.filter((line) => line.startsWith(`[${path}] ${code}: `) && line.includes(says)),
        lines.join('\n'),
      ).toHaveLength(1);
    }
    const codes = expected.map(([, code]) => code);
    expect(lines.filter((line) => !codes.some((code) => line.includes(`] ${code}: `)))).toEqual([]);
    expect(lines.join('\n')).not.toContain('hunter2');
  });

  it('tells all problems at once', () => {
    const site = seedSite();
    machine(site, 1).interfaces = [{ mac: '52:54:00:45:00:01' }];
    machine(site, 1).bmc.address = '10.128.192.101';
    machine(site, 0).cpus = 0;
    pod(site).vips = { 401: '10.128.193.21', 1800: '192.168.50.20' };
    pod(site).config = { pxe: { nfs_server_ip: '10.0.0.1' } };
    const codes = problemsOf((app) => Site.fromInput(app, site)).map((line) => /\] (\w+):/.exec(line)?.[1]);
    expect(codes.sort()).toEqual([
      'CONFIG_DERIVED_MISMATCH',
      'SITE_DUPLICATE_BMC',
      'SITE_DUPLICATE_MAC',
      'SITE_FIELD_INVALID',
      'SITE_VIP_OUTSIDE_NETWORK',
    ]);
  });

  it('sees duplicates across sites, and objects that would overwrite each other', () => {
    const app = new App();
    Site.fromInput(app, seedSite());
    const other = seedSite();
    other.name = 'wuxi3';
    pod(other).managementNodes = [{ name: 'mgmt-pod45-wuxi3-1' }];
    pod(other).machines.length = 1;
    machine(other, 0).name = 'other-bm-01';
    const lines = problemsOf(() => Site.fromInput(app, other));
    expect(lines.filter((line) => line.includes('SITE_DUPLICATE_MAC'))).toHaveLength(1);
    expect(lines.find((line) => line.includes('SITE_DUPLICATE_OBJECT'))).toContain(
      'ServiceAccount default/bms-admin is also made by wuxi2',
    );
  });
});
