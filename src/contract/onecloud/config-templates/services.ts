/** The configurations of OneCloud v3.1's own services: each lists what it has beside the common options. */
import { credentialKey, onecloudPath } from '../names.ts';
import { placeholder } from '../render-secrets.ts';
import {
  accountOptions,
  type ConfigFacts,
  type ConfigTemplate,
  databaseOptions,
  KEYSTONE_ADMIN_PORT,
  type Options,
  serviceOptions,
} from './template.ts';

type OwnOptions = (facts: ConfigFacts) => Options;
const none: OwnOptions = () => ({});

/** A service with a database and a Keystone account. */
function databaseService(own: OwnOptions = none, sync?: { readonly syncTables: boolean }): ConfigTemplate {
  return {
    format: 'yaml',
    options: (facts) => ({ ...serviceOptions(facts), ...databaseOptions(facts, sync), ...accountOptions(facts), ...own(facts) }),
  };
}

/** A service with a Keystone account and no database. */
function plainService(own: OwnOptions = none): ConfigTemplate {
  return { format: 'yaml', options: (facts) => ({ ...serviceOptions(facts), ...accountOptions(facts), ...own(facts) }) };
}

/** Services that bring their tables up themselves: their programs know no --exit-after-db-init. */
const SYNCS_ITSELF = { syncTables: true };
const publicUrl = ({ publicAddress, hostOf }: ConfigFacts, component: string): string => `https://${publicAddress || hostOf(component)}`;

/** Keystone has no account at itself; it sets its own administrator up. */
export const keystone: ConfigTemplate = {
  format: 'yaml',
  options: (facts) => ({
    ...serviceOptions(facts),
    ...databaseOptions(facts),
    admin_port: KEYSTONE_ADMIN_PORT,
    bootstrap_admin_user_password: placeholder(credentialKey.bootstrap),
    reset_admin_user_password: true, // the Secret is the truth
  }),
};

/** Region's API calls its port port_v2. */
export const region: ConfigTemplate = {
  format: 'yaml',
  options: (facts) => {
    const { port: _, ...listen } = serviceOptions(facts);
    return {
      ...listen,
      ...databaseOptions(facts),
      ...accountOptions(facts),
      port_v2: facts.port ?? 0,
      dns_domain: facts.regionServer.dnsDomain,
      dns_server: facts.regionServer.dnsServer ?? facts.publicAddress,
      baremetal_prepare_package_url: `${publicUrl(facts, 'web')}/baremetal-prepare/baremetal_prepare.tar.gz`,
    };
  },
};

/** Shares region's database and account. */
export const scheduler: ConfigTemplate = {
  format: 'yaml',
  options: (facts) => {
    const { port: _, ...listen } = serviceOptions(facts);
    return { ...listen, ...databaseOptions(facts), ...accountOptions(facts), scheduler_port: facts.port ?? 0 };
  },
};

export const GLANCE_DATA = '/opt/cloud/workspace/data/glance';
export const glance = databaseService(() => ({
  filesystem_store_datadir: `${GLANCE_DATA}/images`,
  torrent_store_dir: `${GLANCE_DATA}/torrents`,
  enable_torrent_service: false,
  deploy_server_socket_path: onecloudPath.deploySocket,
}));

export const METER_DATA = '/opt/yunion/meter';
export const meter = databaseService(
  () => ({
    billing_file_directory: `${METER_DATA}/billing`,
    cloudrates_file_directory: `${METER_DATA}/rates`,
    influxdb_meter_name: 'meter_db',
    aws_ri_plan_id_handle: 'true',
    monthly_bill: true,
  }),
  SYNCS_ITSELF,
);

export const NOTIFY_SOCKETS = '/etc/yunion/socket';
export const notify = databaseService(() => ({ socket_file_dir: NOTIFY_SOCKETS, update_interval: 30, re_send_scope: 30 }));

/** notify's senders: one program each, reached through a socket in a shared folder. */
export function notifyPlugin(own: OwnOptions = none): ConfigTemplate {
  return { format: 'yaml', options: (facts) => ({ sock_file_dir: NOTIFY_SOCKETS, sender_num: 5, log_level: 'info', ...own(facts) }) };
}

export const webconsole = databaseService((facts) => ({
  api_server: publicUrl(facts, 'webconsole'),
  ipmitool_path: '/usr/sbin/ipmitool',
  enable_auto_login: true,
}));

/** Takes its listener from options of its own. */
export const kubeserver = databaseService(
  ({ port }) => ({
    https_port: port ?? 0,
    tls_cert_file: `${onecloudPath.certificates}/service.crt`,
    tls_private_key_file: `${onecloudPath.certificates}/service.key`,
  }),
  SYNCS_ITSELF,
);

export const ansibleserver = databaseService(none, SYNCS_ITSELF);
export const yunionagent = databaseService(none, SYNCS_ITSELF);
export const logger = databaseService();
export const yunionconf = databaseService();
export const cloudnet = databaseService();
export const cloudevent = databaseService();
export const devtool = databaseService();
export const autoupdate = databaseService();
export const monitor = databaseService();

export const apigateway = plainService(() => ({ ws_port: 30443, show_captcha: true, enable_totp: false }));
export const s3gateway = plainService();
export const cloudmon = plainService();

export const vpcagent = plainService(({ hostOf }) => ({ ovn_north_database: `tcp:${hostOf('ovn-north')}:32241` }));

export const AGENT_WORKSPACE = '/opt/cloud/workspace';
export const esxiAgent = plainService(({ zone }) => ({
  zone,
  listen_interface: 'eth0',
  deploy_server_socket_path: onecloudPath.deploySocket,
}));

/** The original wrote one well-known IPMI password for every machine into this file. */
export const baremetalAgent = plainService(({ zone }) => ({
  zone,
  auto_register_baremetal: false,
  linux_default_root_user: true,
  default_ipmi_password: placeholder(credentialKey.ipmi),
  baremetals_path: `${AGENT_WORKSPACE}/baremetals`,
  tftp_root: '/opt/cloud/yunion/baremetal',
}));

/** What all hosts have in common; a node's own /etc/yunion/host.conf adds its networks and disks. */
export const host = plainService(() => ({ deploy_server_socket_path: onecloudPath.deploySocket, enable_remote_executor: true }));
export const hostDeployer = plainService(() => ({ deploy_server_socket_path: onecloudPath.deploySocket }));
