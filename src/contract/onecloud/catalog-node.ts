/** The components that work for nodes and machines rather than for users: mostly on the node itself, with rights that say why. */
import { configFile, DEPLOY_SOCKET, daemon, exposed, inside, OVN, WANTS_HOST_DEPLOYER } from './catalog-row.ts';
import type { Component, HostFolder } from './component.ts';
import * as config from './config-templates/index.ts';
import { credentialKey, ENABLED, onecloudNodeLabel, onecloudPath } from './names.ts';

/** What all nodes have in common; the programs read the node's own file beside it. */
const COMMON_CONFIG = '/etc/yunion/common/common.conf';
const nodeDaemon = (program: string): string[] => [`${onecloudPath.binaries}/${program}`, '--common-config-file', COMMON_CONFIG];

const OPT_CLOUD: HostFolder = {
  name: 'opt-cloud',
  path: '/opt/cloud',
  type: 'DirectoryOrCreate',
  propagation: 'Bidirectional',
  reason: 'disks of the virtual machines; what is mounted there outlives the pod',
};
const DEVICES: HostFolder = { name: 'dev', path: '/dev', type: 'Directory', reason: 'block devices, /dev/kvm, tap and vfio devices' };
const MODULES: HostFolder = {
  name: 'modules',
  path: '/lib/modules',
  type: 'Directory',
  readOnly: true,
  reason: 'kernel modules (kvm, nbd, vhost, openvswitch) fit only the node that they are on',
};
const SYS: HostFolder = { name: 'sys', path: '/sys', type: 'Directory', reason: 'huge pages, cgroups, SR-IOV and NUMA of the node' };
const RUN: HostFolder = {
  name: 'run',
  path: '/var/run',
  type: 'Directory',
  propagation: 'HostToContainer',
  reason: 'sockets of the virtual machines and of the executor that runs commands on the node',
};
const OPENVSWITCH: HostFolder = {
  name: 'openvswitch',
  path: '/var/run/openvswitch',
  type: 'DirectoryOrCreate',
  reason: "the node's Open vSwitch is driven through its sockets",
};

export const nodeRows = [
  {
    key: 'esxiagent',
    name: 'esxi-agent',
    kind: 'StatefulDeployment',
    image: 'esxi-agent',
    command: daemon('esxi-agent'),
    ports: [exposed(30883)],
    storage: { size: '30G', mountPath: config.AGENT_WORKSPACE },
    config: { path: configFile('esxi-agent'), template: config.esxiAgent },
    account: { user: 'esxiagent' },
    after: ['scheduler', 'glance'],
    host: { folders: [DEPLOY_SOCKET] },
    podLabels: WANTS_HOST_DEPLOYER,
  },
  {
    key: 'baremetalagent',
    name: 'baremetal-agent',
    kind: 'StatefulDeployment',
    image: 'baremetal-agent',
    command: daemon('baremetal-agent'),
    ports: [inside(8879)],
    storage: { size: '100G', mountPath: config.AGENT_WORKSPACE },
    config: { path: configFile('baremetal-agent'), template: config.baremetalAgent },
    account: { user: 'baremetal' },
    secrets: [credentialKey.ipmi],
    after: ['scheduler', 'glance'],
    host: {
      network: true, // DHCP and TFTP answer on the provisioning network
      privileged: 'mounts ISO images over loop devices and talks to the IPMI of its own node through /dev/ipmi0',
      nodeSelector: { [onecloudNodeLabel.baremetal]: ENABLED },
    },
  },
  {
    key: 'hostdeployer',
    name: 'host-deployer',
    kind: 'DaemonSet',
    image: 'host-deployer',
    command: nodeDaemon('host-deployer'),
    config: { path: COMMON_CONFIG, template: config.hostDeployer },
    credentialsOf: 'hostagent',
    after: ['scheduler', 'glance'],
    host: {
      pid: true, // the executor on the node is reached through its process
      privileged: 'opens the disks of virtual machines over NBD and mounts their file systems',
      nodeSelector: { [onecloudNodeLabel.host]: ENABLED },
      folders: [OPT_CLOUD, DEVICES, MODULES, SYS, RUN],
      update: { type: 'RollingUpdate', maxUnavailable: 1 }, // holds nothing between two requests
      graceSeconds: 300,
    },
  },
  {
    key: 'hostagent',
    name: 'host',
    kind: 'DaemonSet',
    image: 'host',
    command: nodeDaemon('host'),
    ports: [inside(8885)],
    config: { path: COMMON_CONFIG, template: config.host },
    account: { user: 'hostadmin' },
    env: [
      { name: 'HOST_OVN_SOUTH_DATABASE', value: (hostOf) => `tcp:${hostOf('ovn-north')}:32242` },
      { name: 'HOST_SYSTEM_SERVICES_OFF', value: 'host-deployer,host_sdnagent,telegraf' },
      { name: 'OVN_CONTAINER_IMAGE_TAG', value: OVN.tag },
    ],
    after: ['hostdeployer', 'ovnNorth'],
    host: {
      network: true, // bridges, tap devices and migration traffic are the node's
      pid: true, // watches and signals the qemu processes, which must outlive this pod
      ipc: true, // huge pages shared with qemu and Open vSwitch
      privileged: 'starts virtual machines, loads kernel modules, mounts storage and configures Open vSwitch',
      nodeSelector: { [onecloudNodeLabel.host]: ENABLED },
      folders: [
        OPT_CLOUD,
        DEVICES,
        MODULES,
        SYS,
        RUN,
        OPENVSWITCH,
        { name: 'node-config', path: '/etc/yunion', type: 'DirectoryOrCreate', reason: "the node's own host.conf: its networks and disks" },
        {
          name: 'qemu',
          path: '/usr/local/qemu-2.12.1',
          type: 'DirectoryOrCreate',
          readOnly: true,
          reason: 'the qemu that is installed on the node',
        },
      ],
      // The document's warning: when the container restarts, its virtual machines restart too. So nothing rolls by itself.
      update: { type: 'OnDelete' },
      graceSeconds: 300,
    },
    companions: [
      {
        name: 'host-image',
        override: 'hostImage',
        image: 'host-image',
        command: nodeDaemon('host-image'),
        sharesConfig: true,
      },
      {
        name: 'ovn-controller',
        override: 'ovnController',
        ...OVN,
        command: ['/start.sh', 'controller'],
        folders: ['openvswitch', 'modules', 'sys'],
      },
      {
        name: 'sdnagent',
        override: 'sdnAgent',
        image: 'sdnagent',
        command: nodeDaemon('sdnagent'),
        sharesConfig: true,
      },
    ],
  },
  {
    key: 'yunionagent',
    name: 'yunionagent',
    kind: 'DaemonSet',
    image: 'yunionagent',
    command: daemon('yunionagent'),
    ports: [exposed(30898)],
    config: { path: configFile('yunionagent'), template: config.yunionagent },
    database: { name: 'yunionagent', user: 'yunionagent' },
    account: { user: 'yunionagent' },
    endpoint: { service: 'yunionagent', type: 'yunionagent', port: 'api' },
    after: ['scheduler', 'glance'],
    host: {
      network: true, // tells the addresses of the node that it runs on
      nodeSelector: { [onecloudNodeLabel.controller]: ENABLED },
      update: { type: 'RollingUpdate', maxUnavailable: 1 },
    },
  },
  {
    key: 'regionDNS',
    name: 'region-dns',
    kind: 'DaemonSet',
    image: 'region-dns',
    command: ['/opt/yunion/bin/region-dns', '-conf', '/etc/yunion/region-dns.conf'],
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ],
    config: { path: configFile('region-dns'), template: config.regionDns },
    credentialsOf: 'regionServer',
    after: ['scheduler', 'glance'],
    host: {
      network: true, // virtual machines ask at the node's address
      nodeSelector: { [onecloudNodeLabel.controller]: ENABLED },
      update: { type: 'RollingUpdate', maxUnavailable: 1 }, // one resolver at a time
    },
    capabilities: ['NET_BIND_SERVICE'],
  },
] as const satisfies readonly Component[];
