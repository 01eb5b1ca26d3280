import { describe, expect, it } from 'vitest';
import { schemaProblems } from '../support/kubernetes-schema.ts';
import { seedSite } from '../support/seed-site.ts';
import { find, synthSite } from '../support/synth.ts';

const hosts = ['mgmt-pod45-wuxi2-1', 'mgmt-pod45-wuxi2-2', 'witness-1'];

describe('000-15: ZooKeeper', () => {
  it("as the original's DaemonSet: name, labels, port, host network, without its privileges", () => {
    const manifests = synthSite({ ...seedSite(), zookeeper: { form: 'standalone' } });
    const daemonSet = find(manifests, 'DaemonSet', 'zookeeper');
    expect(daemonSet).toMatchObject({
      metadata: { labels: { app: 'zookeeper', name: 'zookeeper', version: 'v1' }, annotations: { service: 'zookeeper' } },
      spec: { minReadySeconds: 20, updateStrategy: { type: 'RollingUpdate' }, selector: { matchLabels: { name: 'zookeeper' } } },
    });
    const { hostNetwork, nodeSelector, containers, volumes } = daemonSet.spec.template.spec;
    expect({ hostNetwork, nodeSelector }).toEqual({ hostNetwork: true, nodeSelector: { node: 'ok' } });
    expect(containers[0].ports).toEqual([{ name: 'http', containerPort: 2181 }]);
    expect(containers[0].volumeMounts).toContainEqual({ name: 'workdir', mountPath: '/work-dir' });
    expect(volumes).toContainEqual({ name: 'workdir', emptyDir: {} });
    expect(containers[0].securityContext).not.toHaveProperty('privileged');
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });

  it('as an ensemble: stable names, a volume each, one per host', () => {
    const manifests = synthSite({ ...seedSite(), zookeeper: { form: 'ensemble', hosts, storageClassName: 'local-path' } });
    const { spec } = find(manifests, 'StatefulSet', 'zookeeper');
    expect(spec).toMatchObject({ replicas: 3, serviceName: 'zookeeper', podManagementPolicy: 'Parallel' });
    expect(find(manifests, 'Service', 'zookeeper').spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true });
    expect(spec.volumeClaimTemplates[0].spec).toMatchObject({
      storageClassName: 'local-path',
      resources: { requests: { storage: '10Gi' } },
    });
    const { affinity, containers } = spec.template.spec;
    expect(affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values).toEqual(
      hosts,
    );
    expect(affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey).toBe('kubernetes.io/hostname');
    const servers = containers[0].env.find(({ name }: { name: string }) => name === 'ZOO_SERVERS').value;
    expect(servers.split(' ')[2]).toBe('server.3=zookeeper-2.zookeeper.default.svc:2888:3888;2181');
    expect(find(manifests, 'PodDisruptionBudget', 'zookeeper').spec.maxUnavailable).toBe(1);
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
});
