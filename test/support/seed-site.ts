import type { MachineInput, PodInput, SiteInput } from 'cdk8s-baremetal-contract';

type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T;
export type SeedSite = Mutable<SiteInput & { networks: object[]; pods: (PodInput & { machines: MachineInput[] })[] }>;

/** The site of the original's documents as data, fresh for every test to break. */
export function seedSite(): SeedSite {
  const machine = (number: number): Mutable<MachineInput> => ({
    name: `pod45-bm-0${number}`,
    interfaces: [{ mac: `52:54:00:45:00:0${number}`, vlan: 1800 }],
    bmc: { address: `10.128.192.10${number}`, credentials: { secretName: 'pod45-bmc' } },
    address: `192.168.50.10${number}`,
    cpus: 32,
    memoryMb: 131072,
    diskGb: 480,
  });
  return {
    name: 'wuxi2',
    networks: [
      { vlan: 401, cidr: '10.128.192.0/24' },
      { vlan: 1800, cidr: '192.168.50.0/24' },
    ],
    images: { bmsCore: { repository: 'harbor.capitalonline.net/bms-test/bms_core', tag: 'lze-0714-2' } },
    pods: [
      {
        name: 'pod45',
        managementNodes: [{ name: 'mgmt-pod45-wuxi2-1' }, { name: 'mgmt-pod45-wuxi2-2' }],
        vips: { 401: '10.128.192.21', 1800: '192.168.50.20' },
        config: {
          hitachi: { wwn_id: 'wwn-0x60060e801257cc00504057cc00000' },
          sw_conn: { conn_type: 'telnet' },
          shellinabox_console: { pid_dir: '/var/run/console', host_ip: '10.177.178.184', subprocess_timeout: 1 },
          auto_test: { bios_set: '/root/bms_api', nginx_ip: '10.128.121.40' },
        },
        machines: [machine(1), machine(2)],
      },
    ],
  };
}
