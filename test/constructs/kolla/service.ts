/** A small kolla service for tests, and what is synthesized of it. */
import { App, Chart } from 'cdk8s';
import { type KollaDefinition, KollaService, type KollaServiceProps } from 'cdk8s-baremetal/kolla/index';
import { type AnyManifest, find, manifestsOf, problemsOf } from '../../support/synth.ts';

export const DEFINITION: KollaDefinition = {
  container_name: 'nova_api',
  group: 'nova-api',
  image: 'registry.example.net/kolla/nova-api:2026.1',
  volumes: [
    '/etc/kolla/nova-api/:/var/lib/kolla/config_files/:ro',
    '/etc/localtime:/etc/localtime:ro',
    '/lib/modules:/lib/modules:ro',
    'kolla_logs:/var/log/kolla/',
  ],
};

export const PROPS: KollaServiceProps = {
  definition: DEFINITION,
  config: {
    command: 'nova-api',
    config_files: [{ source: '/var/lib/kolla/config_files/nova.conf', dest: '/etc/nova/nova.conf', owner: 'nova', perm: '0600' }],
  },
  files: { 'nova.conf': '[DEFAULT]\ndebug = false\n' },
};

export type Changes = Omit<Partial<KollaServiceProps>, 'definition'> & { readonly definition?: Partial<KollaDefinition> };

export function propsWith({ definition, ...rest }: Changes): KollaServiceProps {
  return { ...PROPS, ...rest, definition: { ...DEFINITION, ...definition } };
}

export function synth(changes: Changes = {}): AnyManifest[] {
  const chart = new Chart(new App(), 'test', { namespace: 'openstack' });
  new KollaService(chart, 'nova-api', propsWith(changes));
  return manifestsOf(chart);
}

export function workload(changes: Changes = {}): AnyManifest {
  return find(synth(changes), changes.kind === 'daemon-set' ? 'DaemonSet' : 'Deployment', 'nova-api');
}

// biome-ignore lint/suspicious/noExplicitAny: tests read deep into pods
export function pod(changes: Changes = {}): any {
  return workload(changes).spec.template.spec;
}

export function problems(changes: Changes): string[] {
  return problemsOf((app: App) => {
    const chart = new Chart(app, 'test', { namespace: 'openstack' });
    new KollaService(chart, 'nova-api', propsWith(changes));
    return chart;
  });
}
