import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { problemsOf } from '../../../src/contract/config/index.ts';
import { novaBaremetalConfig } from '../../../src/contract/nova-baremetal-config.ts';
import { Secret } from '../../../src/contract/secret.ts';

const example = readFileSync(new URL('fixtures/nova.conf', import.meta.url), 'utf8');

describe('nova.conf for bare metal', () => {
  it('002-3: the example of the documentation is read', () => {
    const values = novaBaremetalConfig.parse(example, { file: 'nova.conf' });
    expect(values.DEFAULT).toMatchObject({
      scheduler_host_manager: 'nova.scheduler.baremetal_host_manager.BaremetalHostManager',
      firewall_driver: 'nova.virt.firewall.NoopFirewallDriver',
      compute_driver: 'nova.virt.baremetal.driver.BareMetalDriver',
      ram_allocation_ratio: 1,
      reserved_host_memory_mb: 0,
    });
    expect(values.baremetal).toMatchObject({
      net_config_template: '/opt/stack/nova/nova/virt/baremetal/net-static.ubuntu.template',
      instance_type_extra_specs: ['cpu_arch:{i386|x86_64}'],
    });
    expect(values.baremetal.sql_connection.reveal()).toBe('mysql://{user}:{pass}@{host}/nova_bm');
  });

  it('002-3: the example is written back byte for byte', () => {
    const { DEFAULT, baremetal } = novaBaremetalConfig.parse(example);
    const { scheduler_host_manager, firewall_driver, compute_driver, ram_allocation_ratio, reserved_host_memory_mb } = DEFAULT;
    const text = novaBaremetalConfig.render(
      { DEFAULT: { scheduler_host_manager, firewall_driver, compute_driver, ram_allocation_ratio, reserved_host_memory_mb } },
      { secrets: 'reveal' },
    );
    expect(example.startsWith(text)).toBe(true);
    const section = novaBaremetalConfig.render(
      { baremetal: { tftp_root: baremetal.tftp_root, sql_connection: baremetal.sql_connection } },
      { secrets: 'reveal' },
    );
    for (const line of section.trim().split('\n')) expect(example).toContain(`${line}\n`);
  });

  it('002-3: defaults are those of Havana', () => {
    const { baremetal, DEFAULT } = novaBaremetalConfig.parse('');
    const { sql_connection, virtual_power_host_pass, ...rest } = baremetal;
    expect(sql_connection).toBeInstanceOf(Secret);
    expect(sql_connection.reveal()).toBe('sqlite:////var/lib/nova/baremetal_nova.sqlite');
    expect(virtual_power_host_pass.reveal()).toBe('');
    expect(rest).toMatchObject({
      db_backend: 'sqlalchemy',
      vif_driver: 'nova.virt.baremetal.vif_driver.BareMetalVIFDriver',
      volume_driver: 'nova.virt.baremetal.volume_driver.LibvirtVolumeDriver',
      instance_type_extra_specs: [],
      driver: 'nova.virt.baremetal.pxe.PXE',
      power_manager: 'nova.virt.baremetal.ipmi.IPMI',
      tftp_root: '/tftpboot',
      terminal: 'shellinaboxd',
      terminal_cert_dir: undefined,
      terminal_pid_dir: '/var/lib/nova/baremetal/console',
      ipmi_power_retry: 10,
      deploy_kernel: undefined,
      deploy_ramdisk: undefined,
      net_config_template: '/usr/lib/python2.7/dist-packages/nova/virt/baremetal/net-dhcp.ubuntu.template',
      pxe_append_params: 'nofb nomodeset vga=normal',
      pxe_config_template: '/usr/lib/python2.7/dist-packages/nova/virt/baremetal/pxe_config.template',
      pxe_deploy_timeout: 0,
      pxe_network_config: false,
      pxe_bootfile_name: 'pxelinux.0',
      use_file_injection: false,
      use_unsafe_iscsi: false,
      iscsi_iqn_prefix: 'iqn.2010-10.org.openstack.baremetal',
      virtual_power_ssh_port: 22,
      virtual_power_type: 'virsh',
    });
    expect(DEFAULT).toMatchObject({ ram_allocation_ratio: 1, reserved_host_memory_mb: 0 });
  });

  it.each([
    ['tftp_rot = /x', 'baremetal', 'Did you mean tftp_root?'],
    ['ipmi_power_retires = 3', 'baremetal', 'Did you mean ipmi_power_retry?'],
    ['deploy_kernal = 1', 'baremetal', 'Did you mean deploy_kernel?'],
    ['tftp_root = /x', 'DEFAULT', 'Move it to section [baremetal], where this option lives'],
  ])('002-3: an unknown option is refused and the nearest named: %s in [%s]', (line, section, cure) => {
    const [problem, ...others] = problemsIn(`[${section}]\n${line}\n`);
    expect(others).toEqual([]);
    expect(problem).toMatchObject({ code: 'CONFIG_UNKNOWN_KEY', cure });
    expect(problem?.message).toContain('nova.conf line 2');
  });

  it('002-3: Icehouse’s name of an option is read with a warning', () => {
    const result = novaBaremetalConfig.read('[baremetal]\nflavor_extra_specs = cpu_arch:x86_64, foo:bar\n', { file: 'nova.conf' });
    expect(result).toMatchObject({ ok: true, values: { baremetal: { instance_type_extra_specs: ['cpu_arch:x86_64', 'foo:bar'] } } });
    expect(result.warnings).toEqual([
      'nova.conf line 2, [baremetal] flavor_extra_specs: write instance_type_extra_specs in [baremetal], of which this is an old or other name',
    ]);
  });
});

function problemsIn(text: string) {
  try {
    novaBaremetalConfig.parse(text, { file: 'nova.conf' });
  } catch (error) {
    return problemsOf(error);
  }
  return [];
}
