import { readFileSync } from 'node:fs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as YAML from 'yaml';
import { type BmsCoreConfig, type BmsCoreConfigInput, bmsCoreConfig } from '../../../src/contract/bms-core-config.ts';
import { checkDerived, deriveFromVip1800, problemsOf } from '../../../src/contract/config/index.ts';

const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');

const vip1800 = '192.168.50.20';
const derived = deriveFromVip1800(vip1800);

const pod45: BmsCoreConfigInput = {
  DEFAULT: { server_port: 7081, pidfile: '/var/run/cdsstack/baremetal.pid', max_retries: 10, huawei_switch_max_connection: 20 },
  hitachi: { wwn_id: 'wwn-0x60060e801257cc00504057cc00000' },
  pxe: {
    ...derived.pxe,
    tftpboot_dir: '/tftpboot',
    pxelinux_dir: '/tftpboot/pxelinux',
    deploy_image_dir: '/tftpboot/deploy_image_template',
    user_image_dir: '/tftpboot/user_images',
  },
  center: derived.center,
  sw_coordination: { ...derived.sw_coordination, max_connections: 4, acquire_lock_timeout: 300 },
  sw_conn: { conn_type: 'telnet', device_type: 'huawei' },
  shellinabox_console: { pid_dir: '/var/run/console', host_ip: '10.177.178.184', subprocess_timeout: 1 },
  auto_test: { bios_set: '/root/bms_api', nginx_ip: '10.128.121.40' },
};

const minimal = '[sw_coordination]\nbackend_url = memory://\n';
const codesOf = (action: () => unknown) => {
  try {
    action();
  } catch (error) {
    return problemsOf(error).map(({ code }) => code);
  }
  return [];
};

describe('the configuration of pod45-wuxi2', () => {
  it('000-5: renders the bytes that a YAML reader finds in the original ConfigMap', () => {
    const original: unknown = YAML.parse(fixture('pod45-wuxi2-bmscore.yaml.txt'));
    expect(original).toMatchObject({ data: { config: fixture('pod45-wuxi2.ini'), vip1800 } });
    expect(bmsCoreConfig.render(pod45)).toBe(fixture('pod45-wuxi2.ini'));
  });

  it('000-5: renders the same bytes whatever order the values come in', () => {
    const shuffled = Object.fromEntries(
      Object.entries(pod45)
        .reverse()
        .map(([section, values]) => [section, Object.fromEntries(Object.entries(values ?? {}).reverse())]),
    );
    expect(bmsCoreConfig.render(shuffled)).toBe(fixture('pod45-wuxi2.ini'));
  });

  it('000-5: reads every value back, with the defaults of all other options', () => {
    const { values } = readOk(fixture('pod45-wuxi2.ini'));
    expect(values).toMatchObject(pod45);
    expect(values.tftp).toMatchObject({ enabled: true, address: '0.0.0.0', port: 69, root: '/tftpboot', single_port: false });
    expect(values.deploy_helper.deploy_timeout_s).toBe(1800);
    expectTypeOf<BmsCoreConfig['DEFAULT']['server_port']>().toEqualTypeOf<number>();
    expectTypeOf<BmsCoreConfig['sw_conn']['conn_type']>().toEqualTypeOf<'ssh' | 'telnet'>();
    expectTypeOf<BmsCoreConfig['center']['scheduler_callback']>().toEqualTypeOf<string | undefined>();
  });

  it('000-5: a site that sets a role of its own gets that section after the original ones', () => {
    const text = bmsCoreConfig.render({ ...pod45, dhcp: { mode: 'server', dns_servers: ['10.0.0.2', '10.0.0.3'] } });
    expect(text).toBe(`${fixture('pod45-wuxi2.ini')}[dhcp]\nmode = server\ndns_servers = 10.0.0.2,10.0.0.3\n\n`);
  });
});

describe('options and their limits', () => {
  it('000-16: coordination has the original defaults and demands a backend', () => {
    expect(readOk(minimal).values.sw_coordination).toEqual({ backend_url: 'memory://', max_connections: 4, acquire_lock_timeout: 300 });
    expect(codesOf(() => bmsCoreConfig.parse(''))).toEqual(['CONFIG_REQUIRED']);
  });

  it.each([
    'kazoo://192.168.50.20:2181',
    'kazoo://zk-0:2181,zk-1:2181,zk-2:2181/bms',
    'kazoo://[fd00::1]:2181',
    'kubernetes://',
    'memory://',
  ])('000-16: accepts the backend %s', (url) => {
    expect(readOk(`[sw_coordination]\nbackend_url = ${url}\n`).values.sw_coordination.backend_url).toBe(url);
  });

  it.each(['zookeeper://h:2181', 'kazoo://', 'kazoo://a:2181,', 'kazoo://u:p@h:2181', '192.168.50.20:2181'])(
    '000-16: refuses the backend %s',
    (url) => {
      expect(codesOf(() => bmsCoreConfig.parse(`[sw_coordination]\nbackend_url = ${url}\n`))).toEqual(['CONFIG_VALUE']);
    },
  );

  it('000-17: surroundings keep the original limits', () => {
    const { values } = readOk(minimal);
    expect(values.DEFAULT).toEqual({
      server_port: 7081,
      pidfile: '/var/run/cdsstack/baremetal.pid',
      max_retries: 10,
      huawei_switch_max_connection: 20,
    });
    expect(values.shellinabox_console.subprocess_timeout).toBe(1);
    expect(codesOf(() => bmsCoreConfig.parse(`${minimal}[sw_conn]\nconn_type = rlogin\n`))).toEqual(['CONFIG_VALUE']);
    expect(codesOf(() => bmsCoreConfig.parse(`${minimal}[hitachi]\nwwn_id = 0x6006\n`))).toEqual(['CONFIG_VALUE']);
  });

  it('directories follow tftpboot_dir unless they are set', () => {
    const { values } = readOk(`${minimal}[pxe]\ntftpboot_dir = /srv\nuser_image_dir = /images\n`);
    expect(values.pxe).toMatchObject({
      pxelinux_dir: '/srv/pxelinux',
      deploy_image_dir: '/srv/deploy_image_template',
      user_image_dir: '/images',
    });
    expect(values.tftp.root).toBe('/srv');
  });

  it('a database password stays out of the file', () => {
    expect(codesOf(() => bmsCoreConfig.parse(`${minimal}[store]\nurl = mysql://bms:hunter2@db/bms\n`))).toEqual(['CONFIG_VALUE']);
    const values = bmsCoreConfig.parse(`${minimal}[store]\nurl = mysql://bms@db:3306/bms\n`, { env: { BMS_STORE__PASSWORD: 'hunter$2' } });
    expect(values.store.password?.reveal()).toBe('hunter$2');
    expect(JSON.stringify(values)).not.toContain('hunter');
  });
});

describe('values that follow from the VIP of VLAN 1800', () => {
  it('000-6: are derived', () => {
    expect(derived).toEqual({
      pxe: { nfs_server_ip: '192.168.50.20' },
      center: { scheduler_callback: 'http://192.168.50.20:17070/bms/v1/task/pxe/notify' },
      sw_coordination: { backend_url: 'kazoo://192.168.50.20:2181' },
    });
    expect(deriveFromVip1800(vip1800, { ensembleHosts: ['zk-0', 'zk-1:2182', 'zk-2'] }).sw_coordination.backend_url).toBe(
      'kazoo://zk-0:2181,zk-1:2182,zk-2:2181',
    );
    expect(deriveFromVip1800('fd00::20').center.scheduler_callback).toBe('http://[fd00::20]:17070/bms/v1/task/pxe/notify');
  });

  const ensembleHosts = ['zk-0', 'zk-1', 'zk-2'];
  const accepted: [string, Parameters<typeof checkDerived>[0], { ensembleHosts?: string[] }][] = [
    ['the derived values', derived, {}],
    ['the derived values of an ensemble', deriveFromVip1800(vip1800, { ensembleHosts }), { ensembleHosts }],
    ['some members', { sw_coordination: { backend_url: 'kazoo://zk-2:2181,zk-0' } }, { ensembleHosts }],
    ['the VIP beside an ensemble', derived, { ensembleHosts }],
    ['a chroot', { sw_coordination: { backend_url: 'kazoo://192.168.50.20:2181/bms' } }, {}],
    ['another kind of backend', { sw_coordination: { backend_url: 'kubernetes://' } }, {}],
    ['nothing at all', {}, {}],
  ];
  it.each(accepted)('000-6: accepts %s', (_name, values, options) => {
    expect(checkDerived(values, { vip1800, ...options })).toEqual([]);
  });

  const refused: [string, Parameters<typeof checkDerived>[0], { ensembleHosts?: string[] }, string][] = [
    ['another NFS server', { pxe: { nfs_server_ip: '192.168.50.21' } }, {}, 'nfs_server_ip = 192.168.50.20'],
    [
      'a callback elsewhere',
      { center: { scheduler_callback: 'http://10.0.0.1:17070/bms/v1/task/pxe/notify' } },
      {},
      'http://192.168.50.20:17070/',
    ],
    ['a callback on another port', { center: { scheduler_callback: 'http://192.168.50.20:7070/bms/v1/task/pxe/notify' } }, {}, ':17070/'],
    [
      'a callback with another path',
      { center: { scheduler_callback: 'http://192.168.50.20:17070/notify' } },
      {},
      '/bms/v1/task/pxe/notify',
    ],
    ['a stranger as backend', { sw_coordination: { backend_url: 'kazoo://10.0.0.9:2181' } }, {}, 'kazoo://192.168.50.20:2181'],
    [
      'a stranger among members',
      { sw_coordination: { backend_url: 'kazoo://zk-0:2181,zk-9:2181' } },
      { ensembleHosts },
      'kazoo://zk-0:2181,zk-1:2181',
    ],
    ['a member without an ensemble', { sw_coordination: { backend_url: 'kazoo://zk-0:2181' } }, {}, 'kazoo://192.168.50.20:2181'],
    ['the VIP on another port', { sw_coordination: { backend_url: 'kazoo://192.168.50.20:2182' } }, {}, 'kazoo://192.168.50.20:2181'],
  ];
  it.each(refused)('000-6: refuses %s and says what to write', (_name, values, options, cure) => {
    const problems = checkDerived(values, { vip1800, ...options });
    expect(problems.map(({ code }) => code)).toEqual(['CONFIG_DERIVED_MISMATCH']);
    expect(problems[0]?.cure).toContain(cure);
    const [wrong] = Object.values(Object.values(values)[0] ?? {});
    expect(problems[0]?.message).toContain(wrong);
  });

  it('000-6: names the stranger, not the members beside it', () => {
    const [problem] = checkDerived({ sw_coordination: { backend_url: 'kazoo://zk-0:2181,zk-9:2181' } }, { vip1800, ensembleHosts });
    expect(problem?.message).toContain('names zk-9:2181, which is neither the VIP of VLAN 1800, 192.168.50.20 nor a member');
  });
});

function readOk(text: string) {
  const result = bmsCoreConfig.read(text);
  if (!result.ok) throw new Error(result.problems.map(String).join('\n'));
  return result;
}
