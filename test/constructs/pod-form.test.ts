import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { schemaProblems } from '../support/kubernetes-schema.ts';
import { seedSite } from '../support/seed-site.ts';
import { find, synthSite } from '../support/synth.ts';

describe('the default form: a DaemonSet per pod', () => {
  const manifests = synthSite(seedSite());
  const daemonSet = find(manifests, 'DaemonSet', 'bms-core-pod45-wuxi2');
  const pod = daemonSet.spec.template.spec;
  const [main] = pod.containers;

  it('000-3 000-4: one ConfigMap per pair of management nodes, with both VIPs', () => {
    const { data } = find(manifests, 'ConfigMap', 'pod45-wuxi2-bmscore');
    expect(Object.keys(data).sort()).toEqual(['config', 'vip1800', 'vip401']);
    expect(data).toMatchObject({ vip401: '10.128.192.21', vip1800: '192.168.50.20' });
  });

  it("000-5: the configuration is byte-equal to the original's", () => {
    const original = readFileSync(new URL('../contract/config/fixtures/pod45-wuxi2.ini', import.meta.url), 'utf8');
    expect(find(manifests, 'ConfigMap', 'pod45-wuxi2-bmscore').data.config).toBe(original);
  });

  it('000-6: derives NFS, callback and coordination from vip1800', () => {
    const site = seedSite();
    if (site.pods[0]) site.pods[0].vips = { 401: '10.128.192.21', 1800: '192.168.50.30' };
    const { config } = find(synthSite(site), 'ConfigMap', 'pod45-wuxi2-bmscore').data;
    expect(config).toContain('nfs_server_ip = 192.168.50.30\n');
    expect(config).toContain('scheduler_callback = http://192.168.50.30:17070/bms/v1/task/pxe/notify\n');
    expect(config).toContain('backend_url = kazoo://192.168.50.30:2181\n');
  });

  it("000-6: with an ensemble the backend is the ensemble's members", () => {
    const hosts = ['mgmt-pod45-wuxi2-1', 'mgmt-pod45-wuxi2-2', 'witness-1'];
    const { config } = find(synthSite({ ...seedSite(), zookeeper: { form: 'ensemble', hosts } }), 'ConfigMap', 'pod45-wuxi2-bmscore').data;
    expect(config).toContain(
      'backend_url = kazoo://zookeeper-0.zookeeper.default.svc:2181,zookeeper-1.zookeeper.default.svc:2181,zookeeper-2.zookeeper.default.svc:2181\n',
    );
  });

  it('000-7: runs on the management nodes of its pod only', () => {
    expect(daemonSet.spec).toMatchObject({ minReadySeconds: 20, updateStrategy: { type: 'RollingUpdate' } });
    expect(pod).toMatchObject({ hostNetwork: true, nodeSelector: { node: 'ok' } });
    const terms = pod.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms;
    // the API server refuses more than one value for a node field
    expect(terms).toEqual(
      ['mgmt-pod45-wuxi2-1', 'mgmt-pod45-wuxi2-2'].map((name) => ({
        matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }],
      })),
    );
  });

  it('mounts its own ConfigMap and holds no token', () => {
    expect(pod.volumes).toContainEqual({
      name: 'config',
      configMap: { name: 'pod45-wuxi2-bmscore', items: [{ key: 'config', path: 'baremetal-api.ini' }] },
    });
    expect(main.volumeMounts).toContainEqual({ name: 'config', mountPath: '/etc/baremetal-api', readOnly: true });
    expect(pod.automountServiceAccountToken).toBe(false);
    expect(manifests.filter((manifest) => manifest.kind.includes('Role'))).toEqual([]);
  });

  it('runs with the least that binds ports 67 and 69', () => {
    expect(main.securityContext).toEqual({
      runAsUser: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(JSON.stringify(manifests)).not.toContain('privileged');
  });

  it('has probes and resources', () => {
    expect([main.startupProbe, main.livenessProbe].map((probe) => probe.httpGet.path)).toEqual(['/healthz', '/healthz']);
    expect(main.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'http' });
    expect(main.resources).toEqual({ requests: { cpu: '250m', memory: '256Mi' }, limits: { memory: '1Gi' } });
  });

  it('a namespace of its own lets it in: it is on the host’s network and folders, which Pod Security refuses below privileged', () => {
    const namespace = find(synthSite({ ...seedSite(), namespace: 'bms' }), 'Namespace', 'bms');
    expect(namespace.metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'privileged' });
  });

  it('is asked for its health where the configuration has its API, or nowhere', () => {
    const containerWith = (api: Record<string, string | boolean>) => {
      const site = seedSite();
      if (site.pods[0]) site.pods[0].config = { api };
      return find(synthSite(site), 'DaemonSet', 'bms-core-pod45-wuxi2').spec.template.spec.containers[0];
    };
    const local = containerWith({ address: '127.0.0.1', tls_cert: '/var/lib/bms-core/tls.crt', tls_key: '/var/lib/bms-core/tls.key' });
    for (const probe of [local.startupProbe, local.livenessProbe, local.readinessProbe])
      expect(probe.httpGet).toMatchObject({ host: '127.0.0.1', scheme: 'HTTPS' });
    const none = containerWith({ enabled: false });
    expect([none.startupProbe, none.livenessProbe, none.readinessProbe]).toEqual([undefined, undefined, undefined]);
  });

  it('000-14: the kubelet mounts NFS through a PersistentVolume with the original options', () => {
    expect(find(manifests, 'PersistentVolume', 'bms-core-pod45-wuxi2-tftpboot').spec).toMatchObject({
      mountOptions: ['nolock', 'vers=3'],
      nfs: { server: '192.168.50.20', path: '/tftpboot' },
      persistentVolumeReclaimPolicy: 'Retain',
      claimRef: { namespace: 'default', name: 'bms-core-pod45-wuxi2-tftpboot' },
    });
    expect(find(manifests, 'PersistentVolume', 'bms-core-pod45-wuxi2-tftpboot').metadata).not.toHaveProperty('namespace');
    expect(pod.volumes).toContainEqual({ name: 'tftpboot', persistentVolumeClaim: { claimName: 'bms-core-pod45-wuxi2-tftpboot' } });
  });

  it("000-14: or the host's own folder", () => {
    const host = synthSite({ ...seedSite(), bmsCore: { tftpboot: 'host' } });
    expect(host.some((manifest) => manifest.kind.startsWith('PersistentVolume'))).toBe(false);
    expect(find(host, 'DaemonSet', 'bms-core-pod45-wuxi2').spec.template.spec.volumes).toContainEqual({
      name: 'tftpboot',
      hostPath: { path: '/tftpboot', type: 'DirectoryOrCreate' },
    });
  });

  it("a pod's change rolls that pod alone", () => {
    const two = seedSite();
    const [first] = two.pods;
    if (!first) throw new Error('the site has no pod');
    two.pods.push({
      ...structuredClone(first),
      name: 'pod46',
      managementNodes: [{ name: 'mgmt-pod46-wuxi2-1' }],
      vips: { 401: '10.128.192.22', 1800: '192.168.50.22' },
      machines: [],
    });
    const checksums = (): string[] =>
      ['pod45', 'pod46'].map(
        (name) =>
          find(synthSite(two), 'DaemonSet', `bms-core-${name}-wuxi2`).spec.template.metadata.annotations[
            'baremetal.bms.io/config-checksum'
          ],
      );
    const before = checksums();
    if (two.pods[1]?.config) two.pods[1].config.DEFAULT = { max_retries: 3 };
    const after = checksums();
    expect([after[0] === before[0], after[1] === before[1]]).toEqual([true, false]);
  });

  it('gives a site outside the default namespace its namespace first', () => {
    const [first, ...rest] = synthSite({ ...seedSite(), namespace: 'bms' });
    expect(first).toMatchObject({ kind: 'Namespace', metadata: { name: 'bms' } });
    expect(first?.metadata).not.toHaveProperty('namespace');
    expect(rest.filter((manifest) => manifest.kind !== 'PersistentVolume' && manifest.metadata.namespace !== 'bms')).toEqual([]);
  });

  it('machines become BareMetalNodes that name their credentials', () => {
    const { spec } = find(manifests, 'BareMetalNode', 'pod45-bm-01');
    expect(spec).toMatchObject({
      site: 'wuxi2',
      pod: 'pod45',
      interfaces: [{ mac: '52:54:00:45:00:01', vlan: 1800 }],
      bmc: { address: '10.128.192.101', port: 623, protocol: 'ipmi', credentialsSecretRef: { name: 'pod45-bmc' } },
      properties: { cpuArch: 'x86_64', cpus: 32, memoryMb: 131072, localGb: 480 },
    });
  });

  it('every field is known to Kubernetes 1.36', () => {
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });

  it('is the same text every time', () => {
    expect(JSON.stringify(synthSite(seedSite()))).toBe(JSON.stringify(manifests));
  });
});
