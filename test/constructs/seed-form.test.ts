import { describe, expect, it } from 'vitest';
import { schemaProblems } from '../support/kubernetes-schema.ts';
import { seedSite } from '../support/seed-site.ts';
import { type AnyManifest, find, synthSite } from '../support/synth.ts';

/** The original's form: one DaemonSet whose init container fetches the configuration. */
function seedForm(change: Partial<ReturnType<typeof seedSite>> = {}): AnyManifest[] {
  return synthSite({ ...seedSite(), bmsCore: { form: 'seed' }, ...change });
}

describe("the original's DaemonSet", () => {
  const manifests = seedForm();
  const daemonSet = find(manifests, 'DaemonSet', 'bms-core');
  const pod = daemonSet.spec.template.spec;
  const [main] = pod.containers;
  const [init] = pod.initContainers;

  it('000-7: carries the name, labels, annotation and update strategy', () => {
    expect(daemonSet.metadata).toMatchObject({
      name: 'bms-core',
      namespace: 'default',
      labels: { app: 'bms-core', name: 'bms-core', version: 'v1' },
      annotations: { service: 'bms-core' },
    });
    expect(daemonSet.spec).toMatchObject({
      minReadySeconds: 20,
      updateStrategy: { type: 'RollingUpdate' },
      selector: { matchLabels: { name: 'bms-core' } },
      template: { metadata: { labels: { name: 'bms-core' } } },
    });
    expect(pod).toMatchObject({ hostNetwork: true, nodeSelector: { node: 'ok' }, restartPolicy: 'Always' });
  });

  it('000-2: pulls the named image with the named secret', () => {
    expect(main).toMatchObject({ image: 'harbor.capitalonline.net/bms-test/bms_core:lze-0714-2', imagePullPolicy: 'Always' });
    expect(pod.imagePullSecrets).toEqual([{ name: 'login-registry' }]);
  });

  it('000-2: takes a digest in place of a tag, which need not be pulled again', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const image = { repository: 'registry.example.net/bms_core', digest };
    const [container] = find(seedForm({ images: { bmsCore: image, pullSecret: 'other' } }), 'DaemonSet', 'bms-core').spec.template.spec
      .containers;
    expect(container).toMatchObject({ image: `registry.example.net/bms_core@${digest}`, imagePullPolicy: 'IfNotPresent' });
  });

  it('000-8: serves http on 7081 and mounts configuration, environment and logs', () => {
    expect(main).toMatchObject({ name: 'bms-core', ports: [{ name: 'http', containerPort: 7081, hostPort: 7081 }] });
    expect(main.volumeMounts).toEqual(
      expect.arrayContaining([
        { name: 'baremetal-api', mountPath: '/etc/baremetal-api' },
        { name: 'env-config', mountPath: '/config' },
        { name: 'logs', mountPath: '/var/log/cdsstack' },
      ]),
    );
  });

  it('000-8: the port follows server_port', () => {
    const site = seedSite();
    const [podInput] = site.pods;
    if (podInput?.config) podInput.config.DEFAULT = { server_port: 17081 };
    const [container] = find(synthSite({ ...site, bmsCore: { form: 'seed' } }), 'DaemonSet', 'bms-core').spec.template.spec.containers;
    expect(container.ports).toEqual([{ name: 'http', containerPort: 17081, hostPort: 17081 }]);
  });

  it('000-9: shares two empty folders and keeps logs on the host', () => {
    expect(pod.volumes).toEqual(
      expect.arrayContaining([
        { name: 'env-config', emptyDir: {} },
        { name: 'baremetal-api', emptyDir: {} },
        { name: 'logs', hostPath: { path: '/logs/bmscore', type: 'DirectoryOrCreate' } },
      ]),
    );
  });

  it('000-10: tells the init container the name of its node', () => {
    expect(init).toMatchObject({ name: 'config', command: ['node', '/app/fetch-config.cjs'] });
    expect(init.env).toContainEqual({ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } });
    expect(init.volumeMounts).toEqual(
      expect.arrayContaining([
        { name: 'env-config', mountPath: '/config' },
        { name: 'baremetal-api', mountPath: '/etc/baremetal-api' },
      ]),
    );
  });

  it('000-12: may get the named ConfigMaps and nothing more', () => {
    const role = find(manifests, 'Role', 'bms-core-config');
    expect(role.rules).toEqual([{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['pod45-wuxi2-bmscore'], verbs: ['get'] }]);
    expect(find(manifests, 'RoleBinding', 'bms-core-config').subjects).toEqual([
      { kind: 'ServiceAccount', name: 'bms-admin', namespace: 'default' },
    ]);
    expect(manifests.filter((manifest) => /^(Cluster)?Role$/.test(manifest.kind))).toHaveLength(1);
  });

  it('000-12: only the init container holds a token, and a short-lived one', () => {
    expect(pod).toMatchObject({ serviceAccountName: 'bms-admin', automountServiceAccountToken: false });
    expect(pod).not.toHaveProperty('serviceAccount');
    const mountsToken = (container: { volumeMounts: { name: string }[] }): boolean =>
      container.volumeMounts.some((mount) => mount.name === 'token');
    expect([mountsToken(main), mountsToken(init)]).toEqual([false, true]);
  });

  it('a change of any configuration rolls the pods; the same configuration does not', () => {
    const checksum = (all: AnyManifest[]): string =>
      find(all, 'DaemonSet', 'bms-core').spec.template.metadata.annotations['baremetal.bms.io/config-checksum'];
    const changed = seedSite();
    if (changed.pods[0]?.config) changed.pods[0].config.DEFAULT = { max_retries: 11 };
    expect(checksum(synthSite({ ...changed, bmsCore: { form: 'seed' } }))).not.toBe(checksum(manifests));
    expect(checksum(seedForm())).toBe(checksum(manifests));
  });

  it('the init container is never privileged; the main one only to mount NFS by itself', () => {
    expect(init.securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
    expect(main.securityContext).toEqual({ privileged: true });
    const host = find(seedForm({ bmsCore: { form: 'seed', tftpboot: 'host' } }), 'DaemonSet', 'bms-core').spec.template.spec;
    expect(host.containers[0].securityContext).toMatchObject({ allowPrivilegeEscalation: false });
    expect(host.containers[0].env).toContainEqual({ name: 'BMS_TFTPBOOT', value: 'volume' });
  });

  it('000-13: the kubelet waits for the mount to give up, so that its error is said: mount.nfs takes up to 130 s where nobody answers', () => {
    const limit = ({ startupProbe }: { startupProbe: { periodSeconds: number; failureThreshold: number } }): number =>
      startupProbe.periodSeconds * startupProbe.failureThreshold;
    expect(limit(main)).toBeGreaterThan(130);
    const host = find(seedForm({ bmsCore: { form: 'seed', tftpboot: 'host' } }), 'DaemonSet', 'bms-core').spec.template.spec;
    expect(limit(host.containers[0])).toBe(120); // mounts nothing
  });

  it('every field is known to Kubernetes 1.36', () => {
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
});
