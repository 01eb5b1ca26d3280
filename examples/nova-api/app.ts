/**
 * nova-api as kolla-ansible defines it, on Kubernetes: node --import tsx examples/nova-api/app.ts writes lib/examples/nova-api.
 *
 * Two Secrets are made beforehand: `nova-api-credentials`, whose key `credentials.conf` holds the sections with passwords
 * ([DEFAULT] transport_url, [database] connection, [keystone_authtoken] password …), which oslo.config reads after nova.conf, and
 * the registry's `login-registry`.
 */
import { readFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { App, Chart } from 'cdk8s';
import { KollaService } from 'cdk8s-baremetal';
import type { KollaConfig } from 'cdk8s-baremetal-contract/launch/index';

const text = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8');

export const NOVA_API_CONFIG: KollaConfig = {
  command: 'nova-api --config-file /etc/nova/nova.conf --config-dir /etc/nova/nova.conf.d',
  config_files: [
    { source: '/var/lib/kolla/config_files/nova.conf', dest: '/etc/nova/nova.conf', owner: 'nova', perm: '0600' },
    { source: '/var/lib/kolla/config_files/credentials.conf', dest: '/etc/nova/nova.conf.d/', owner: 'nova', perm: '0600' },
    { source: '/var/lib/kolla/config_files/policy.yaml', dest: '/etc/nova/policy.yaml', owner: 'nova', perm: '0600', optional: true },
  ],
  directories: [{ path: '/var/log/kolla/nova', owner: 'nova:kolla', perm: '0755' }],
  permissions: [
    { path: '/var/log/kolla/nova', owner: 'nova:kolla', recurse: true },
    { path: '/var/lib/nova', owner: 'nova:nova', recurse: true },
  ],
};

export function novaApi(app: App): Chart {
  const chart = new Chart(app, 'nova-api', { namespace: 'openstack' });
  KollaService.fromDefaults(chart, 'nova-api', {
    defaults: text('defaults.yml'),
    service: 'nova-api',
    variables: { docker_registry: 'harbor.capitalonline.net', openstack_tag: '2026.1' },
    config: NOVA_API_CONFIG,
    files: {
      'nova.conf': text('nova.conf'),
      'credentials.conf': { secret: 'nova-api-credentials', key: 'credentials.conf' },
    },
    replicas: 3,
    timeZone: 'Asia/Shanghai',
    runAs: { user: 42436, group: 42436 },
    pullSecret: 'login-registry',
    jobs: { before: ['bootstrap', 'upgrade'], after: ['online-migration'] },
  });
  return chart;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const app = new App({ outdir: 'lib/examples/nova-api' });
  novaApi(app);
  app.synth();
}
