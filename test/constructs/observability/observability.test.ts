import { App } from 'cdk8s';
import { Observability, type ObservabilityProps } from 'cdk8s-baremetal/observability/index';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { observability } from '../../../examples/observability/app.ts';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { type AnyManifest, find, manifestsOf, problemsOf } from '../../support/synth.ts';

const synth = (props: ObservabilityProps = {}): AnyManifest[] => manifestsOf(new Observability(new App(), 'observability', props));
const podOf = (manifests: AnyManifest[], kind: string, name: string) => find(manifests, kind, name).spec.template.spec;

/** What the rules of discovery.relabel, each a replacement, make of a target's labels. */
function relabelled(config: string, labels: Readonly<Record<string, string>>): Record<string, string> {
  const result: Record<string, string> = { ...labels };
  for (const [, body = ''] of config.matchAll(/^ {2}rule \{\n(.*?)^ {2}\}/gms)) {
    const fields = new Map([...body.matchAll(/^ *(\w+) = (.*)$/gm)].map(([, name, value = '']) => [name, JSON.parse(value)]));
    const source = fields.get('source_labels').map((name: string) => result[name] ?? '');
    const match = new RegExp(`^(?:${fields.get('regex') ?? '(.*)'})$`).exec(source.join(fields.get('separator') ?? ';'));
    if (match) result[fields.get('target_label')] = (fields.get('replacement') ?? '$1').replaceAll('$1', match[1] ?? '');
  }
  return result;
}

describe('004-14: Loki and Grafana', () => {
  it.each<[string, () => AnyManifest[]]>([
    ['defaults', () => synth()],
    ['the example', () => manifestsOf(observability(new App()))],
    ['Docker and no policies', () => synth({ dockerLogs: true, networkPolicies: false, createNamespace: false })],
  ])('every field is known to Kubernetes 1.36: %s', (_, build) => {
    expect(build().flatMap(schemaProblems)).toEqual([]);
  });

  it('reads the log files of every node and sends them to Loki', () => {
    const manifests = synth({ namespaces: ['onecloud', 'default'] });
    const config = find(manifests, 'ConfigMap', 'log-collector').data['config.alloy'];
    expect(config).toContain('url = "http://loki.observability.svc:3100/loki/api/v1/push"');
    expect(config).toContain('replacement = "/var/log/pods/*$1/*.log"');
    expect(config).toContain('regex = "onecloud|default"');
    expect(config.split('{').length).toBe(config.split('}').length);
    const service = find(manifests, 'Service', 'loki');
    expect(service.spec.ports).toEqual([{ name: 'http', port: 3100, targetPort: 'http' }]);
    const pod = podOf(manifests, 'DaemonSet', 'log-collector');
    expect(pod.tolerations).toEqual([{ operator: 'Exists' }]);
    const folders = pod.volumes.filter(({ hostPath }: { hostPath?: unknown }) => hostPath !== undefined);
    expect(folders.map(({ hostPath }: { hostPath: { path: string } }) => hostPath.path)).toEqual([
      '/var/lib/log-collector',
      '/var/log/pods',
    ]);
    const writable = pod.containers[0].volumeMounts.filter(({ readOnly }: { readOnly?: boolean }) => !readOnly);
    expect(writable.map(({ mountPath }: { mountPath: string }) => mountPath)).toEqual(['/var/lib/alloy', '/tmp']);
  });

  it('finds the files of any pod, and of those that the kubelet starts by itself: their folder is named by the hash of their manifest', () => {
    const config = find(synth(), 'ConfigMap', 'log-collector').data['config.alloy'];
    const pod = { __meta_kubernetes_pod_uid: 'of-the-api', __meta_kubernetes_pod_container_name: 'main' };
    expect(relabelled(config, pod).__path__).toBe('/var/log/pods/*of-the-api/main/*.log');
    const hash = { __meta_kubernetes_pod_annotation_kubernetes_io_config_hash: 'c0ffee' };
    expect(relabelled(config, { ...pod, ...hash }).__path__).toBe('/var/log/pods/*c0ffee/main/*.log');
  });

  it('reads the lines as the container runtime writes them: those of Docker are JSON', () => {
    const stages = (props: ObservabilityProps) =>
      [...find(synth(props), 'ConfigMap', 'log-collector').data['config.alloy'].matchAll(/^ *stage\.(cri|docker) /gm)].map(
        ([, stage]) => stage,
      );
    expect([stages({}), stages({ dockerLogs: true })]).toEqual([['cri'], ['docker']]);
  });

  it('gives the collector the sight of pods and nothing else', () => {
    const manifests = synth();
    expect(find(manifests, 'ClusterRole', 'observability-log-collector').rules).toEqual([
      { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
    ]);
    expect(manifests.filter(({ kind }) => /Role$/.test(kind))).toHaveLength(1);
  });

  it('keeps logs as long as it is told, on a volume', () => {
    const manifests = synth({ retentionDays: 30, lokiStorage: '200Gi', storageClassName: 'fast' });
    const loki = parse(find(manifests, 'ConfigMap', 'loki').data['loki.yaml']);
    expect(loki.limits_config.retention_period).toBe('720h');
    expect(loki.compactor).toMatchObject({ retention_enabled: true, delete_request_store: 'filesystem' });
    expect(loki.schema_config.configs[0]).toMatchObject({ store: 'tsdb', schema: 'v13' });
    const [claim] = find(manifests, 'StatefulSet', 'loki').spec.volumeClaimTemplates;
    expect(claim.spec).toMatchObject({ storageClassName: 'fast', resources: { requests: { storage: '200Gi' } } });
    // everything that it writes lies on that volume
    for (const path of [
      loki.common.path_prefix,
      loki.compactor.working_directory,
      ...Object.values<string>(loki.common.storage.filesystem),
    ])
      expect(path).toMatch(/^\/loki/);
  });

  it('runs everything without rights, on a root file system that is read-only, with probes and bounds', () => {
    const manifests = synth();
    for (const { kind, spec } of manifests.filter(({ kind }) => ['Deployment', 'StatefulSet', 'DaemonSet'].includes(kind))) {
      const [container, ...others] = spec.template.spec.containers;
      expect(others).toEqual([]);
      expect(container.securityContext, kind).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        privileged: false,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.readinessProbe, kind).toBeDefined();
      expect(container.livenessProbe, kind).toBeDefined();
      expect(container.resources.limits.memory, kind).toBeDefined();
      expect(container.image, kind).toMatch(/:v?\d+\.\d+\.\d+$/);
      expect(spec.template.spec.securityContext.seccompProfile, kind).toEqual({ type: 'RuntimeDefault' });
      expect(spec.template.spec.securityContext.runAsUser, kind).toBeDefined();
    }
  });

  it("takes the administrator's password from a Secret as a file, and holds none itself", () => {
    const manifests = synth({ adminSecret: 'my-admin' });
    const pod = podOf(manifests, 'Deployment', 'grafana');
    expect(pod.volumes).toContainEqual({
      name: 'admin',
      secret: { secretName: 'my-admin', defaultMode: 0o440, items: [{ key: 'password', path: 'password' }] },
    });
    expect(pod.containers[0].env).toContainEqual({ name: 'GF_SECURITY_ADMIN_PASSWORD__FILE', value: '/run/secrets/grafana/password' });
    expect(manifests.filter(({ kind }) => kind === 'Secret')).toEqual([]);
  });

  it('provisions the data sources that there are, and the dashboards that have their data', () => {
    const withoutMetrics = synth();
    const sources = (manifests: AnyManifest[]) =>
      parse(find(manifests, 'ConfigMap', 'grafana-provisioning').data['datasources.yaml']).datasources.map(
        ({ uid }: { uid: string }) => uid,
      );
    const dashboards = (manifests: AnyManifest[]) => Object.keys(find(manifests, 'ConfigMap', 'grafana-dashboards').data);
    expect(sources(withoutMetrics)).toEqual(['loki']);
    expect(dashboards(withoutMetrics)).toEqual(['service-logs.json']);
    const all = synth({ prometheusUrl: 'http://prometheus:9090' });
    expect(sources(all)).toEqual(['loki', 'prometheus']);
    expect(dashboards(all)).toEqual(['bms-core.json', 'onecloud-operator.json', 'service-logs.json']);
  });

  it('rolls what reads a configuration when that changes', () => {
    const sum = (props: ObservabilityProps, kind: string, name: string) =>
      find(synth(props), kind, name).spec.template.metadata.annotations['baremetal.bms.io/config-checksum'];
    expect(sum({}, 'StatefulSet', 'loki')).not.toBe(sum({ retentionDays: 3 }, 'StatefulSet', 'loki'));
    expect(sum({}, 'DaemonSet', 'log-collector')).not.toBe(sum({ namespaces: ['x'] }, 'DaemonSet', 'log-collector'));
    expect(sum({}, 'Deployment', 'grafana')).not.toBe(sum({ prometheusUrl: 'http://p' }, 'Deployment', 'grafana'));
    expect(sum({}, 'Deployment', 'grafana')).toBe(sum({}, 'Deployment', 'grafana'));
  });

  it('lets only collector and Grafana reach Loki', () => {
    const { spec } = find(synth(), 'NetworkPolicy', 'loki');
    const names = spec.ingress[0].from.map(
      ({ podSelector }: { podSelector: { matchLabels: Record<string, string> } }) => podSelector.matchLabels['app.kubernetes.io/name'],
    );
    expect(names).toEqual(['log-collector', 'grafana']);
    expect(synth({ networkPolicies: false }).filter(({ kind }) => kind === 'NetworkPolicy')).toEqual([]);
  });

  it.each<[string, ObservabilityProps, RegExp]>([
    ['no retention', { retentionDays: 0 }, /OBSERVABILITY_VALUE: retentionDays is 0/],
    ['a password in an address', { prometheusUrl: 'http://u:s3cr3t@p:9090' }, /OBSERVABILITY_SECRET_AS_VALUE/],
    ['no address', { prometheusUrl: 'prometheus' }, /prometheusUrl is "prometheus"/],
    ['a port that is no node port', { grafanaNodePort: 3000 }, /grafanaNodePort is 3000/],
    ['a size that is none', { lokiStorage: 'much' }, /lokiStorage is "much"/],
    ['a namespace that would end the expression', { namespaces: ['a|.*'] }, /namespaces is "a\|\.\*"/],
  ])('refuses %s', (_, props, told) => {
    const problems = problemsOf((app) => new Observability(app, 'observability', props)).join('\n');
    expect(problems).toMatch(told);
    expect(problems).not.toContain('s3cr3t');
  });
});
