/**
 * Physical and virtual compute in one site, as TripleO wanted it: node --import tsx examples/tripleo/app.ts writes lib/examples/tripleo.
 *
 * Every server is a machine of bms-core. Those of the role `kvm` are given an image with Kubernetes' agent and join the cluster, whose DaemonSets make them
 * hypervisors; those of the role `metal` are rented out whole. The flavors below choose by role, so neither takes the other's machines. In the
 * order of the seed: `bmctl deploy kvm-1 --flavor kvm.host --image kvm-host`, label the node that joins, and nova-compute starts on it;
 * tenants' servers are `bmctl deploy db-1 --flavor metal.large --image debian`.
 *
 * Made beforehand: the Secrets `cloud1-bmc` (username, password) and, in `openstack`, `nova-compute-credentials` (key credentials.conf) and `login-registry`.
 */
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { App, Chart } from 'cdk8s';
import { KollaService, Site } from 'cdk8s-baremetal';
import type { FlavorRegistration } from 'cdk8s-baremetal-contract/api/index';

const REGISTRY = 'harbor.example.net/kolla';
const RELEASE = '2026.1';

const SIZES = { kvm: { cpus: 64, memoryMb: 524_288, diskGb: 960 }, metal: { cpus: 32, memoryMb: 131_072, diskGb: 480 } } as const;
export type Role = keyof typeof SIZES;

/** `bmctl flavor add …`; a machine is taken whole, so a flavor says what it must have at least. */
export const FLAVORS: readonly FlavorRegistration[] = [
  { id: 'kvm.host', cpus: 64, memoryMb: 524_288, localGb: 960, cpuArch: 'x86_64', extraSpecs: { 'capabilities:role': 'kvm' } },
  { id: 'metal.large', cpus: 32, memoryMb: 131_072, localGb: 480, cpuArch: 'x86_64', extraSpecs: { 'capabilities:role': 'metal' } },
];

/** The servers, and the pair of management nodes that boots them. */
export function physical(app: App): Site {
  const site = new Site(app, 'cloud1', {
    namespace: 'baremetal',
    networks: [
      { vlan: 401, cidr: '10.20.0.0/24' },
      { vlan: 1800, cidr: '10.21.0.0/24', gateway: '10.21.0.1' },
    ],
    images: { bmsCore: { repository: 'harbor.example.net/bms/bms_core', tag: '0.1.0' } },
    zookeeper: { form: 'standalone' },
  });
  const pod = site.addPod('pod1', {
    managementNodes: [{ name: 'mgmt-pod1-cloud1-1' }, { name: 'mgmt-pod1-cloud1-2' }],
    vips: { 401: '10.20.0.20', 1800: '10.21.0.20' },
  });
  const add = (role: Role, number: number, host: number): void => {
    pod.addMachine(`pod1-${role}-${number}`, {
      interfaces: [{ mac: `52:54:00:21:00:${hex(host)}`, vlan: 1800 }, { mac: `52:54:00:22:00:${hex(host)}` }],
      bmc: { address: `10.20.0.${host}`, credentials: { secretName: 'cloud1-bmc' } },
      address: `10.21.0.${host}`,
      capabilities: { role, rack: `r${number}` },
      ...SIZES[role],
    });
  };
  for (const number of [1, 2, 3]) add('kvm', number, 100 + number);
  for (const number of [1, 2, 3]) add('metal', number, 110 + number);
  return site;
}

/** Hypervisors: the same cluster, the nodes that carry the label baremetal.bms.io/group-compute=enabled. */
export function virtual(app: App): Chart {
  const chart = new Chart(app, 'nova-compute', { namespace: 'openstack' });
  const common = {
    kind: 'daemon-set',
    hostNetwork: true,
    pullSecret: 'login-registry',
    namedVolumes: { libvirtd: { hostPath: '/var/lib/libvirt' }, nova_compute: { hostPath: '/var/lib/nova' } },
  } as const;
  const volumes = [
    'kolla_logs:/var/log/kolla/',
    'libvirtd:/var/lib/libvirt',
    'nova_compute:/var/lib/nova/',
    '/run/:/run/:shared',
    '/lib/modules:/lib/modules:ro',
    '/dev:/dev',
  ];
  new KollaService(chart, 'nova-libvirt', {
    ...common,
    definition: {
      container_name: 'nova_libvirt',
      group: 'compute',
      image: `${REGISTRY}/nova-libvirt:${RELEASE}`,
      privileged: true,
      pid_mode: 'host',
      cgroupns_mode: 'host',
      volumes: [...volumes, '/sys/fs/cgroup:/sys/fs/cgroup'],
    },
    config: {
      command: '/usr/sbin/libvirtd --config /etc/libvirt/libvirtd.conf',
      config_files: [
        { source: '/var/lib/kolla/config_files/libvirtd.conf', dest: '/etc/libvirt/libvirtd.conf', owner: 'root', perm: '0600' },
      ],
    },
    // tenants' machines are moved over TLS or not at all: nothing listens here
    files: { 'libvirtd.conf': 'listen_tcp = 0\nlisten_tls = 0\nunix_sock_rw_perms = "0770"\nunix_sock_group = "nova"\n' },
    runAs: { user: 0, group: 0 },
  });
  new KollaService(chart, 'nova-compute', {
    ...common,
    definition: {
      container_name: 'nova_compute',
      group: 'compute',
      image: `${REGISTRY}/nova-compute:${RELEASE}`,
      privileged: true,
      ipc_mode: 'host',
      volumes,
    },
    config: {
      command: 'nova-compute --config-file /etc/nova/nova.conf --config-dir /etc/nova/nova.conf.d',
      config_files: [
        { source: '/var/lib/kolla/config_files/nova.conf', dest: '/etc/nova/nova.conf', owner: 'nova', perm: '0600' },
        { source: '/var/lib/kolla/config_files/credentials.conf', dest: '/etc/nova/nova.conf.d/', owner: 'nova', perm: '0600' },
      ],
    },
    files: {
      'nova.conf': '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\nstate_path = /var/lib/nova\n\n[libvirt]\nvirt_type = kvm\n',
      'credentials.conf': { secret: 'nova-compute-credentials', key: 'credentials.conf' },
    },
  });
  return chart;
}

function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const app = new App({ outdir: 'lib/examples/tripleo' });
  physical(app);
  virtual(app);
  app.synth();
}
