/**
 * The options of Nova BareMetal's nova.conf, [DEFAULT] and [baremetal], so that an existing file can be read as it is
 * (row 002-3). Defaults are Havana's; in [DEFAULT] those that bare metal needs. Icehouse's additions are marked.
 */
import { type ConfigInput, type ConfigOf, defineConfig } from './config/define-config.ts';
import { hostAddress, ipAddress, port } from './config/network-types.ts';
import { option } from './config/options.ts';
import { boolean, choice, float, integer, listOf, secret, string } from './config/value-types.ts';
import { Secret } from './secret.ts';

export const novaBaremetalConfig = defineConfig({
  daemon: 'nova-baremetal',
  file: '/etc/nova/nova.conf',
  envPrefix: 'NOVA',
  about:
    'The part of nova.conf that concerns bare metal. Our own daemon takes its settings from bms-core.md; this table reads ' +
    'what a Nova BareMetal installation has, so that it can be taken over.',
  sections: {
    DEFAULT: {
      scheduler_host_manager: option(string(), {
        default: 'nova.scheduler.baremetal_host_manager.BaremetalHostManager',
        help: 'Scheduler’s view of hosts; this one takes whole machines beside shares of virtual hosts. Belongs on the scheduler’s node.',
      }),
      firewall_driver: option(string(), {
        default: 'nova.virt.firewall.NoopFirewallDriver',
        help: 'Packet filter per instance; on bare metal there is no place for one.',
      }),
      compute_driver: option(string(), { default: 'nova.virt.baremetal.driver.BareMetalDriver', help: 'What nova-compute drives.' }),
      ram_allocation_ratio: option(float({ min: 0 }), { default: 1, help: 'Overcommitment of memory; a machine has what it has.' }),
      reserved_host_memory_mb: option(integer({ min: 0 }), { default: 0, unit: 'MiB', help: 'Memory that is kept from instances.' }),
      state_path: option(string(), { default: '/var/lib/nova', help: 'Root of Nova’s own files; other defaults refer to it.' }),
      pybasedir: option(string(), {
        default: '/usr/lib/python2.7/dist-packages',
        help: 'Where the nova package is; template defaults refer to it.',
      }),
      sqlite_db: option(string(), { default: 'nova.sqlite', help: 'File name within the default of `sql_connection`.' }),
      instances_path: option(string(), { defaultFrom: '$state_path/instances', help: 'Where instances’ files are kept.' }),
      my_ip: option(ipAddress(), { help: 'Own address; machines are told it as boot server.' }),
    },
    baremetal: {
      db_backend: option(choice(['sqlalchemy']), { default: 'sqlalchemy', help: 'Database layer.' }),
      sql_connection: option(secret(), {
        defaultFrom: 'sqlite:///$state_path/baremetal_$sqlite_db',
        help: 'Database `nova_bm`, separate from Nova’s own. Secret, since the URL carries the password.',
      }),
      vif_driver: option(string(), {
        default: 'nova.virt.baremetal.vif_driver.BareMetalVIFDriver',
        help: 'Binds network ports to network cards.',
      }),
      volume_driver: option(string(), { default: 'nova.virt.baremetal.volume_driver.LibvirtVolumeDriver', help: 'Attaches volumes.' }),
      instance_type_extra_specs: option(listOf(string()), {
        default: [],
        deprecatedNames: ['flavor_extra_specs'],
        help: 'Capabilities as `name:value`, e.g. `cpu_arch:x86_64`, that flavors ask for.',
      }),
      driver: option(string(), {
        default: 'nova.virt.baremetal.pxe.PXE',
        help: 'Node driver. PXE is the one; Tilera’s is retired with its hardware.',
      }),
      power_manager: option(string(), { default: 'nova.virt.baremetal.ipmi.IPMI', help: 'Power driver: IPMI, iBoot, VirtualPower.' }),
      tftp_root: option(string(), { default: '/tftpboot', help: 'Root of the TFTP server’s files.' }),
      terminal: option(string(), { default: 'shellinaboxd', help: 'Program that serves serial consoles.' }),
      terminal_cert_dir: option(string(), { help: 'Directory of the consoles’ TLS certificate. None: plain HTTP.' }),
      terminal_pid_dir: option(string(), { defaultFrom: '$state_path/baremetal/console', help: 'One process number file per console.' }),
      ipmi_power_retry: option(integer({ min: 0 }), { default: 10, help: 'How often a power command is checked before it has failed.' }),
      deploy_kernel: option(string(), { help: 'Image id of the deploy kernel, unless the flavor names one.' }),
      deploy_ramdisk: option(string(), { help: 'Image id of the deploy ramdisk, unless the flavor names one.' }),
      net_config_template: option(string(), {
        defaultFrom: '$pybasedir/nova/virt/baremetal/net-dhcp.ubuntu.template',
        help: 'Network configuration handed to the instance; net-static.ubuntu.template for static addresses.',
      }),
      pxe_append_params: option(string(), { default: 'nofb nomodeset vga=normal', help: 'More words for the kernel command line.' }),
      pxe_config_template: option(string(), {
        defaultFrom: '$pybasedir/nova/virt/baremetal/pxe_config.template',
        help: 'Template of the pxelinux configuration.',
      }),
      pxe_deploy_timeout: option(integer({ min: 0 }), {
        default: 0,
        unit: 's',
        help: 'Limit of a deployment. 0 meant none; here it means that `[deploy_helper] deploy_timeout_s` of bms-core holds.',
      }),
      pxe_network_config: option(boolean(), { default: false, help: 'Put static network settings on the kernel command line.' }),
      pxe_bootfile_name: option(string(), { default: 'pxelinux.0', help: 'Boot file that DHCP names.' }),
      use_file_injection: option(boolean(), { default: false, help: 'Icehouse: put files into the image before it is written.' }),
      use_unsafe_iscsi: option(boolean(), { default: false, help: 'Icehouse: export volumes to everyone when no fixed address is known.' }),
      iscsi_iqn_prefix: option(string(), {
        default: 'iqn.2010-10.org.openstack.baremetal',
        help: 'Icehouse: start of the names of exported volumes.',
      }),
      virtual_power_ssh_host: option(hostAddress(), { help: 'Host of the virtual machines that VirtualPower switches.' }),
      virtual_power_ssh_port: option(port({ min: 1 }), { default: 22, help: 'Its SSH port.' }),
      virtual_power_type: option(choice(['virsh', 'vbox']), { default: 'virsh', help: 'Its hypervisor’s command.' }),
      virtual_power_host_user: option(string(), { default: '', help: 'User there.' }),
      virtual_power_host_pass: option(secret(), { default: new Secret(''), help: 'Password there.' }),
      virtual_power_host_key: option(string(), { help: 'Path of the SSH key for it.' }),
      tile_pdu_ip: option(ipAddress(), { default: '10.0.100.1', help: 'Tilera, retired: read and ignored.' }),
      tile_pdu_mgr: option(string(), { default: '/tftpboot/pdu_mgr', help: 'Tilera, retired: read and ignored.' }),
      tile_pdu_off: option(integer(), { default: 2, help: 'Tilera, retired: read and ignored.' }),
      tile_pdu_on: option(integer(), { default: 1, help: 'Tilera, retired: read and ignored.' }),
      tile_pdu_status: option(integer(), { default: 9, help: 'Tilera, retired: read and ignored.' }),
      tile_power_wait: option(integer(), { default: 9, unit: 's', help: 'Tilera, retired: read and ignored.' }),
    },
  },
});

export type NovaBaremetalConfig = ConfigOf<typeof novaBaremetalConfig>;
export type NovaBaremetalConfigInput = ConfigInput<typeof novaBaremetalConfig>;
