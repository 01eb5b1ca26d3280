/**
 * The components of OneCloud v3.1: one row each. Another component is another row; nothing else in the model, the constructs
 * or the operator names one of them.
 *
 * `port` and `nodePort` are one number as in the original, so that the address of a service is the same inside and outside.
 */
import type { Companion, Component, ComponentPort, HostFolder } from './component.ts';
import * as config from './config-templates/index.ts';
import { credentialKey, ENABLED, onecloudAnnotation, onecloudLabel, onecloudNodeLabel, onecloudPath } from './names.ts';

const exposed = (number: number, name = 'api'): ComponentPort => ({ name, port: number, nodePort: number });
const inside = (number: number, name = 'api'): ComponentPort => ({ name, port: number });
const configFile = (name: string): string => `${onecloudPath.configDirectory}/${name}.conf`;
/** How OneCloud's own programs are started. */
const daemon = (program: string, file = program): string[] => [`${onecloudPath.binaries}/${program}`, '--config', configFile(file)];

const CLIENT_VARIABLES = '/etc/yunion/rcadmin';

/** What all nodes have in common; the programs read the node's own file beside it. */
const COMMON_CONFIG = '/etc/yunion/common/common.conf';
const nodeDaemon = (program: string): string[] => [`${onecloudPath.binaries}/${program}`, '--common-config-file', COMMON_CONFIG];

/** The original mounts all of /var/run, Docker's socket included. */
const DEPLOY_SOCKET: HostFolder = {
  name: 'deploy-socket',
  path: onecloudPath.deploySocketDirectory,
  type: 'DirectoryOrCreate',
  reason: "host-deployer's socket: it opens disk images on behalf of others",
};
const WANTS_HOST_DEPLOYER = { [onecloudLabel.hostDeployer]: '' };

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

const OVN = { image: 'openvswitch', tag: '2.9.6-2' };

const plugin = (name: string, own?: config.ConfigTemplate): Companion => ({
  name,
  override: 'plugins',
  image: 'notify-plugins',
  command: daemon(name),
  config: { file: `${name}.conf`, template: own ?? config.notifyPlugin() },
});

const cloudmon = <Key extends string>(key: Key, name: string, command: string, schedule: string): Component & { readonly key: Key } => ({
  key,
  name,
  kind: 'CronJob',
  image: 'cloudmon',
  command: [...daemon('cloudmon', name), command],
  config: { path: configFile(name), template: config.cloudmon },
  credentialsOf: 'apiGateway',
  after: ['apiGateway', 'influxdb'],
  schedule,
});

const rows = [
  {
    key: 'keystone',
    name: 'keystone',
    kind: 'Deployment',
    image: 'keystone',
    command: daemon('keystone'),
    ports: [exposed(30500, 'public'), exposed(30357, 'admin')],
    config: { path: configFile('keystone'), template: config.keystone },
    database: { name: 'keystone', user: 'keystone' },
    secrets: [credentialKey.bootstrap],
    initializesDatabase: true,
    endpoint: { service: 'keystone', type: 'identity', port: 'public', path: 'v3' },
    after: [],
  },
  {
    key: 'regionServer',
    name: 'region',
    kind: 'Deployment',
    image: 'region',
    command: daemon('region'),
    ports: [exposed(30888)],
    config: { path: configFile('region'), template: config.region },
    database: { name: 'yunioncloud', user: 'yunioncloud' },
    account: { user: 'regionadmin' },
    initializesDatabase: true,
    endpoint: { service: 'region2', type: 'compute_v2', port: 'api' },
    after: ['keystone'],
  },
  {
    key: 'scheduler',
    name: 'scheduler',
    kind: 'Deployment',
    image: 'scheduler',
    command: daemon('scheduler'),
    ports: [exposed(30887)],
    config: { path: configFile('scheduler'), template: config.scheduler },
    credentialsOf: 'regionServer',
    endpoint: { service: 'scheduler', type: 'scheduler', port: 'api' },
    after: ['regionServer'],
  },
  {
    key: 'glance',
    name: 'glance',
    kind: 'StatefulDeployment',
    image: 'glance',
    command: daemon('glance'),
    ports: [exposed(30292)],
    storage: { size: '100G', mountPath: config.GLANCE_DATA, annotations: { [onecloudAnnotation.volumePath]: config.GLANCE_DATA } },
    config: { path: configFile('glance'), template: config.glance },
    database: { name: 'glance', user: 'glance' },
    account: { user: 'glance' },
    initializesDatabase: true,
    endpoint: { service: 'glance', type: 'image', port: 'api', path: 'v1' },
    after: ['regionServer'],
    host: { folders: [DEPLOY_SOCKET] },
    podLabels: WANTS_HOST_DEPLOYER,
  },
  {
    key: 'ansibleserver',
    name: 'ansibleserver',
    kind: 'Deployment',
    image: 'ansibleserver',
    command: daemon('ansibleserver'),
    ports: [exposed(30890)],
    config: { path: configFile('ansibleserver'), template: config.ansibleserver },
    database: { name: 'yunionansible', user: 'yunionansible' },
    account: { user: 'ansibleadmin' },
    endpoint: { service: 'ansible', type: 'ansible', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'apiGateway',
    name: 'apigateway',
    kind: 'Deployment',
    image: 'apigateway',
    editions: true,
    command: daemon('apigateway'),
    ports: [exposed(30300), exposed(30443, 'ws')],
    config: { path: configFile('apigateway'), template: config.apigateway },
    account: { user: 'yunionapi' },
    endpoint: { service: 'yunionapi', type: 'yunionapi', port: 'api', path: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'web',
    name: 'web',
    kind: 'Deployment',
    image: 'web',
    editions: true,
    ports: [inside(443, 'https'), inside(80, 'http')],
    ingress: { port: 'https' },
    config: { path: '/etc/nginx/conf.d/default.conf', template: config.web },
    after: ['apiGateway', 'webconsole'],
    // nginx: binds 80 and 443 as root, then its workers become the user nginx
    capabilities: ['NET_BIND_SERVICE', 'CHOWN', 'SETUID', 'SETGID'],
  },
  {
    key: 'webconsole',
    name: 'webconsole',
    kind: 'Deployment',
    image: 'webconsole',
    command: daemon('webconsole'),
    ports: [exposed(30899)],
    config: { path: configFile('webconsole'), template: config.webconsole },
    database: { name: 'webconsole', user: 'webconsole' },
    account: { user: 'webconsole' },
    initializesDatabase: true,
    endpoint: { service: 'webconsole', type: 'webconsole', port: 'api', path: 'webconsole' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'logger',
    name: 'logger',
    kind: 'Deployment',
    image: 'logger',
    command: daemon('logger'),
    ports: [exposed(30999)],
    config: { path: configFile('logger'), template: config.logger },
    database: { name: 'yunionlogger', user: 'yunionlogger' },
    account: { user: 'loggeradmin' },
    initializesDatabase: true,
    endpoint: { service: 'log', type: 'log', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'yunionconf',
    name: 'yunionconf',
    kind: 'Deployment',
    image: 'yunionconf',
    command: daemon('yunionconf'),
    ports: [exposed(30889)],
    config: { path: configFile('yunionconf'), template: config.yunionconf },
    database: { name: 'yunionconf', user: 'yunionconf' },
    account: { user: 'yunionconf' },
    initializesDatabase: true,
    endpoint: { service: 'yunionconf', type: 'yunionconf', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'influxdb',
    name: 'influxdb',
    kind: 'StatefulDeployment',
    image: 'influxdb',
    tag: '1.7.7', // InfluxDB's own version
    command: ['influxd', '-config', configFile('influxdb')],
    ports: [exposed(30086)],
    storage: { size: '20G', mountPath: config.INFLUXDB_DATA },
    single: 'one server owns the files of a database',
    config: { path: configFile('influxdb'), template: config.influxdb },
    endpoint: { service: 'influxdb', type: 'influxdb', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'monitor',
    name: 'monitor',
    kind: 'Deployment',
    image: 'monitor',
    command: daemon('monitor'),
    ports: [exposed(30093)],
    config: { path: configFile('monitor'), template: config.monitor },
    database: { name: 'monitor', user: 'yunionmonitor' },
    account: { user: 'monitoradmin' },
    initializesDatabase: true,
    endpoint: { service: 'monitor', type: 'monitor', port: 'api' },
    after: ['influxdb'],
  },
  {
    key: 'climc',
    name: 'climc',
    kind: 'Deployment',
    image: 'climc',
    // a place to run the command-line client in; sleep as PID 1 takes no signals, so the shell waits for it
    command: ['/bin/sh', '-c', 'trap exit TERM; while :; do sleep 3600 & wait $!; done'],
    config: { path: CLIENT_VARIABLES, template: config.climc },
    account: { user: 'climc' },
    env: [{ name: 'ENV', value: CLIENT_VARIABLES }], // interactive shells read it
    after: ['scheduler', 'glance'],
  },
  {
    key: 'kubeserver',
    name: 'kubeserver',
    kind: 'Deployment',
    image: 'kubeserver',
    command: daemon('kube-server', 'kubeserver'),
    ports: [exposed(30442)],
    config: { path: configFile('kubeserver'), template: config.kubeserver },
    database: { name: 'kubeserver', user: 'kubeserver' },
    account: { user: 'kubeserver' },
    endpoint: { service: 'k8s', type: 'k8s', port: 'api', path: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'cloudnet',
    name: 'cloudnet',
    kind: 'Deployment',
    image: 'cloudnet',
    command: daemon('cloudnet'),
    ports: [exposed(30891)],
    config: { path: configFile('cloudnet'), template: config.cloudnet },
    database: { name: 'yunioncloudnet', user: 'yunioncloudnet' },
    account: { user: 'cloudnetadmin' },
    initializesDatabase: true,
    endpoint: { service: 'cloudnet', type: 'cloudnet', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'cloudevent',
    name: 'cloudevent',
    kind: 'Deployment',
    image: 'cloudevent',
    command: daemon('cloudevent'),
    ports: [exposed(30892)],
    config: { path: configFile('cloudevent'), template: config.cloudevent },
    database: { name: 'yunioncloudevent', user: 'yunioncloudevent' },
    account: { user: 'cloudeventadmin' },
    initializesDatabase: true,
    endpoint: { service: 'cloudevent', type: 'cloudevent', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 's3gateway',
    name: 's3gateway',
    kind: 'Deployment',
    image: 's3gateway',
    command: daemon('s3gateway'),
    ports: [exposed(30884)],
    config: { path: configFile('s3gateway'), template: config.s3gateway },
    account: { user: 's3gatewayadm' },
    endpoint: { service: 's3gateway', type: 's3gateway', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'devtool',
    name: 'devtool',
    kind: 'Deployment',
    image: 'devtool',
    command: daemon('devtool'),
    ports: [exposed(30997)],
    config: { path: configFile('devtool'), template: config.devtool },
    database: { name: 'devtool', user: 'devtool' },
    account: { user: 'devtooladmin' },
    initializesDatabase: true,
    endpoint: { service: 'devtool', type: 'devtool', port: 'api' },
    after: ['ansibleserver'],
  },
  {
    key: 'autoupdate',
    name: 'autoupdate',
    kind: 'Deployment',
    image: 'autoupdate',
    command: daemon('autoupdate'),
    ports: [exposed(30981)],
    config: { path: configFile('autoupdate'), template: config.autoupdate },
    database: { name: 'autoupdate', user: 'autoupdate' },
    account: { user: 'autoupdate' },
    initializesDatabase: true,
    endpoint: { service: 'autoupdate', type: 'autoupdate', port: 'api' },
    after: ['scheduler', 'glance'],
  },
  {
    key: 'ovnNorth',
    name: 'ovn-north',
    kind: 'Deployment',
    ...OVN,
    command: ['/start.sh', 'north'],
    ports: [exposed(32241, 'north-db'), exposed(32242, 'south-db')],
    scratch: [{ name: 'ovn', mountPath: '/var/lib/openvswitch' }], // vpcagent writes it anew from region's database
    single: 'each would answer from a database of its own',
    after: ['regionServer'],
    // its start script gives its folders to the user openvswitch
    capabilities: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETUID', 'SETGID'],
  },
  {
    key: 'vpcAgent',
    name: 'vpcagent',
    kind: 'Deployment',
    image: 'vpcagent',
    command: daemon('vpcagent'),
    config: { path: configFile('vpcagent'), template: config.vpcagent },
    account: { user: 'vpcagentadmin' },
    after: ['ovnNorth', 'scheduler', 'glance'],
  },
  {
    key: 'notify',
    name: 'notify',
    kind: 'StatefulDeployment',
    image: 'notify',
    command: daemon('notify'),
    ports: [exposed(30777)],
    storage: { size: '1G', mountPath: '/etc/yunion/template' },
    scratch: [{ name: 'socket', mountPath: config.NOTIFY_SOCKETS }],
    config: { path: configFile('notify'), template: config.notify },
    database: { name: 'notify', user: 'notify' },
    account: { user: 'notify' },
    initializesDatabase: true,
    endpoint: { service: 'notify', type: 'notify', port: 'api', path: 'api/v1' },
    after: ['scheduler', 'glance'],
    companions: [
      plugin('dingtalk'),
      plugin(
        'email',
        config.notifyPlugin(() => ({ channel_size: 100 })),
      ),
      plugin('smsaliyun'),
      plugin(
        'websocket',
        config.notifyPlugin(({ region }) => ({ region })),
      ),
    ],
  },
  {
    key: 'meter',
    name: 'meter',
    kind: 'StatefulDeployment',
    image: 'meter',
    command: daemon('meter'),
    ports: [exposed(30909)],
    storage: { size: '100G', mountPath: config.METER_DATA },
    config: { path: configFile('meter'), template: config.meter },
    database: { name: 'yunionmeter', user: 'yunionmeter' },
    account: { user: 'meterdocker' },
    endpoint: { service: 'meter', type: 'meter', port: 'api' },
    after: ['influxdb'],
  },
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
  cloudmon('cloudmonping', 'cloudmon-ping', 'ping-probe', '*/5 * * * *'),
  cloudmon('cloudmonreportusage', 'cloudmon-report-usage', 'report-usage', '*/15 * * * *'),
  cloudmon('cloudmonreportserver', 'cloudmon-report-server', 'report-server', '*/4 * * * *'),
  cloudmon('cloudmonreporthost', 'cloudmon-report-host', 'report-host', '*/4 * * * *'),
] as const satisfies readonly Component[];

export type ComponentKey = (typeof rows)[number]['key'];
export const catalog: readonly (Component & { readonly key: ComponentKey })[] = rows;

/** The row of a spec key. */
export function componentOf(key: string, components: readonly Component[] = catalog): Component | undefined {
  return components.find((component) => component.key === key);
}

/** The row whose database, account and Secret a component uses: mostly its own. */
export function credentialsRow(component: Component, components: readonly Component[] = catalog): Component {
  if (component.credentialsOf === undefined) return component;
  const owner = componentOf(component.credentialsOf, components);
  if (owner === undefined) throw new Error(`${component.key} uses the credentials of ${component.credentialsOf}, which is no component`);
  return owner;
}
