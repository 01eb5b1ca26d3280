/** The site of the bms_core documents: pod45 in wuxi2, with two of its machines. */
import type { App } from 'cdk8s';
import { Site } from 'cdk8s-baremetal';

export function wuxi2(app: App): Site {
  const site = new Site(app, 'wuxi2', {
    networks: [
      { vlan: 401, cidr: '10.128.192.0/24' },
      { vlan: 1800, cidr: '192.168.50.0/24', gateway: '192.168.50.1' },
    ],
    images: { bmsCore: { repository: 'harbor.capitalonline.net/bms-test/bms_core', tag: 'lze-0714-2' } },
    bmsCore: {
      store: 'kubernetes',
      secretsKey: { secretName: 'bms-secrets-key' },
      api: { tokens: { secretName: 'bms-api-tokens' }, tls: { secretName: 'bms-api-tls' } },
    },
  });
  const pod45 = site.addPod('pod45', {
    managementNodes: [{ name: 'mgmt-pod45-wuxi2-1' }, { name: 'mgmt-pod45-wuxi2-2' }],
    vips: { 401: '10.128.192.21', 1800: '192.168.50.20' },
    config: {
      hitachi: { wwn_id: 'wwn-0x60060e801257cc00504057cc00000' },
      sw_conn: { conn_type: 'telnet' },
      shellinabox_console: { pid_dir: '/var/run/console', host_ip: '10.177.178.184', subprocess_timeout: 1 },
      auto_test: { bios_set: '/root/bms_api', nginx_ip: '10.128.121.40' },
    },
  });
  const bmc = { port: 623, credentials: { secretName: 'pod45-bmc' } };
  pod45.addMachine('pod45-bm-01', {
    interfaces: [{ mac: '52:54:00:45:00:01', vlan: 1800 }],
    bmc: { ...bmc, address: '10.128.192.101' },
    address: '192.168.50.101',
    cpus: 32,
    memoryMb: 131072,
    diskGb: 480,
  });
  pod45.addMachine('pod45-bm-02', {
    interfaces: [{ mac: '52:54:00:45:00:02', vlan: 1800 }],
    bmc: { ...bmc, address: '10.128.192.102' },
    address: '192.168.50.102',
    cpus: 32,
    memoryMb: 131072,
    diskGb: 480,
  });
  return site;
}
