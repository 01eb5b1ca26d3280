import { type ClusterSpec, type ComponentOverrides, catalog } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { type AnyManifest, find } from '../../support/synth.ts';
import { build, podOf } from './build.ts';

const REPOSITORY = 'registry.cn-beijing.aliyuncs.com/yunionio';

describe('004-3: glance', () => {
  const manifests = build();
  const deployment = find(manifests, 'Deployment', 'default-glance');
  const pod = podOf(deployment);
  const [main] = pod.containers;

  it('runs the image, once, with the two tolerations', () => {
    expect(main).toMatchObject({ image: `${REPOSITORY}/glance:v3.1.3-20200312.0`, imagePullPolicy: 'Always' });
    expect(deployment.spec.replicas).toBe(1);
    expect(pod.tolerations).toEqual([
      { effect: 'NoSchedule', key: 'node-role.kubernetes.io/master' },
      { effect: 'NoSchedule', key: 'node-role.kubernetes.io/controlplane' },
    ]);
  });

  it('stores 100G of local-path where images are kept', () => {
    const { spec, metadata } = find(manifests, 'PersistentVolumeClaim', 'default-glance');
    expect(spec).toMatchObject({ storageClassName: 'local-path', resources: { requests: { storage: '100G' } } });
    expect(metadata.annotations).toEqual({ 'pvc.onecloud.yunion.io/pv-path': '/opt/cloud/workspace/data/glance' });
    expect(main.volumeMounts).toContainEqual({ name: 'data', mountPath: '/opt/cloud/workspace/data/glance' });
    expect(find(manifests, 'ConfigMap', 'default-glance').data.config).toContain('"/opt/cloud/workspace/data/glance/images"');
  });

  it('reads /etc/yunion/glance.conf, made of the ConfigMap and the Secret', () => {
    expect(main.command).toEqual(['/opt/yunion/bin/glance', '--config', '/etc/yunion/glance.conf']);
    expect(main.volumeMounts).toContainEqual({
      name: 'config',
      mountPath: '/etc/yunion/glance.conf',
      subPath: 'glance.conf',
      readOnly: true,
    });
    const [render] = pod.initContainers;
    expect(render.name).toBe('render-config');
    const mounted = Object.fromEntries(render.volumeMounts.map((mount: { name: string }) => [mount.name, mount]));
    expect(Object.keys(mounted)).toEqual(['templates', 'secrets', 'config']);
    expect(pod.volumes).toContainEqual({
      name: 'templates',
      configMap: { name: 'default-glance', items: [{ key: 'config', path: 'glance.conf' }] },
    });
    expect(pod.volumes).toContainEqual({ name: 'config', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } });
    expect(main.volumeMounts.map(({ name }: { name: string }) => name)).not.toContain('secrets');
  });

  it('finds its certificates at /etc/yunion/pki', () => {
    expect(main.volumeMounts).toContainEqual({ name: 'certs', mountPath: '/etc/yunion/pki', readOnly: true });
    const { secret } = pod.volumes.find(({ name }: { name: string }) => name === 'certs');
    expect(secret.items.map(({ key }: { key: string }) => key)).toEqual(['ca.crt', 'service.crt', 'service.key']);
  });

  it('is reached at 30292', () => {
    expect(find(manifests, 'Service', 'default-glance').spec.ports).toEqual([
      { name: 'api', port: 30292, targetPort: 30292, protocol: 'TCP', nodePort: 30292 },
    ]);
  });

  it("reaches host-deployer's socket, and nothing else of the node", () => {
    expect(pod.volumes.flatMap(({ hostPath }: { hostPath?: object }) => hostPath ?? [])).toEqual([
      { path: '/var/run/onecloud', type: 'DirectoryOrCreate' },
    ]);
    expect(deployment.spec.template.metadata.labels['onecloud.yunion.io/host-deployer']).toBe('');
  });

  it('never has two writers on its volume', () => {
    expect(deployment.spec.strategy).toEqual({ type: 'Recreate' });
  });
});

/** One component's Deployment with these overrides. */
const glanceWith = (glance: ComponentOverrides): AnyManifest => find(build({ glance }), 'Deployment', 'default-glance');
const keystoneWith = (keystone: ComponentOverrides): AnyManifest => find(build({ keystone }), 'Deployment', 'default-keystone');

describe('004-8: overrides', () => {
  it.each(catalog.map(({ key, name }) => [key, name] as const))(
    'disable: %s keeps its configuration and its claim, and nothing else',
    (key, name) => {
      const own = (change: Partial<ClusterSpec>): string[] =>
        build(change)
          .filter(({ metadata }) => metadata.labels?.app === name)
          .map(({ kind }) => kind);
      const kept = own({}).filter((kind) => kind === 'ConfigMap' || kind === 'PersistentVolumeClaim');
      expect(own({ [key]: { disable: true } })).toEqual(kept);
    },
  );

  it('disable: all others stay as they are', () => {
    const others = (manifests: AnyManifest[]): AnyManifest[] => manifests.filter(({ metadata }) => metadata.labels?.app !== 'climc');
    expect(others(build({ climc: { disable: true } }))).toEqual(others(build()));
  });

  it('image, imagePullPolicy: of the service and of its database initialization', () => {
    const { containers, initContainers } = podOf(glanceWith({ image: 'zexi/glance:dev', imagePullPolicy: 'Never' }));
    expect([containers[0], initContainers[1]].map(({ image, imagePullPolicy }) => [image, imagePullPolicy])).toEqual([
      ['zexi/glance:dev', 'Never'],
      ['zexi/glance:dev', 'Never'],
    ]);
  });

  it('repository, imageName, tag', () => {
    const image = (overrides: ComponentOverrides): string => podOf(glanceWith(overrides)).containers[0].image;
    expect(image({ repository: 'zexi' })).toBe('zexi/glance:v3.1.3-20200312.0');
    expect(image({ imageName: 'glance-x' })).toBe(`${REPOSITORY}/glance-x:v3.1.3-20200312.0`);
    expect(image({ tag: 'dev' })).toBe(`${REPOSITORY}/glance:dev`);
  });

  it('004-6: one component keeps its image when the version moves, and follows when it is cleared', () => {
    const images = (change: Partial<ClusterSpec>): string[] => {
      const manifests = build({ version: 'v3.1.3-20200320.0', ...change });
      return ['default-vpcagent', 'default-glance'].map((name) => podOf(find(manifests, 'Deployment', name)).containers[0].image);
    };
    const vpcAgent = { image: `${REPOSITORY}/vpcagent:v3.1.3-20200312.0` };
    const glance = {};
    expect(images({ vpcAgent, glance })).toEqual([`${REPOSITORY}/vpcagent:v3.1.3-20200312.0`, `${REPOSITORY}/glance:v3.1.3-20200320.0`]);
    expect(images({ vpcAgent: {}, glance })[0]).toBe(`${REPOSITORY}/vpcagent:v3.1.3-20200320.0`);
  });

  it('004-5: spec.version moves every image that has no tag of its own', () => {
    const images = build({ version: 'v9', glance: {}, vpcAgent: {} }).flatMap((manifest) =>
      ['Deployment', 'DaemonSet', 'CronJob'].includes(manifest.kind)
        ? podOf(manifest).containers.map(({ image }: { image: string }) => image)
        : [],
    );
    expect(images.filter((image) => !image.endsWith(':v9')).sort()).toEqual([
      `${REPOSITORY}/influxdb:1.7.7`,
      `${REPOSITORY}/openvswitch:2.9.6-2`,
      `${REPOSITORY}/openvswitch:2.9.6-2`,
    ]);
  });

  it('replicas', () => expect(keystoneWith({ replicas: 3 }).spec.replicas).toBe(3));

  it('tolerations', () => {
    const tolerations = [{ key: 'gpu', operator: 'Exists' as const }];
    expect(podOf(glanceWith({ tolerations })).tolerations).toEqual(tolerations);
    expect(podOf(glanceWith({ tolerations: [] })).tolerations).toEqual([]);
  });

  it('nodeSelector: added to the one that a host service has', () => {
    expect(podOf(glanceWith({ nodeSelector: { disk: 'ssd' } })).nodeSelector).toEqual({ disk: 'ssd' });
    const host = find(
      build({ hostagent: { nodeSelector: { rack: 'a', 'onecloud.yunion.io/host': 'disable' } } }),
      'DaemonSet',
      'default-host',
    );
    expect(podOf(host).nodeSelector).toEqual({ rack: 'a', 'onecloud.yunion.io/host': 'enable' });
  });

  it('affinity: each part replaces ours, with fields that this library does not know', () => {
    const nodeAffinity = {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] },
    };
    const podAntiAffinity = {
      requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone', matchLabelKeys: ['pod-template-hash'] }],
    };
    expect(podOf(keystoneWith({ affinity: { nodeAffinity } })).affinity).toEqual({ nodeAffinity });
    const both = podOf(keystoneWith({ affinity: { podAntiAffinity } })).affinity;
    expect(both.podAntiAffinity).toEqual(podAntiAffinity);
    expect(both.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight).toBe(1);
    const cron = find(build({ cloudmonping: { affinity: { nodeAffinity } } }), 'CronJob', 'default-cloudmon-ping');
    expect(podOf(cron).affinity).toEqual({ nodeAffinity });
  });

  it('requests, limits: storage is the claim, the rest is the container', () => {
    const manifests = build({ glance: { requests: { storage: '200G', cpu: 2, memory: '1Gi' }, limits: { memory: '2Gi' } } });
    expect(podOf(find(manifests, 'Deployment', 'default-glance')).containers[0].resources).toEqual({
      requests: { cpu: '2', memory: '1Gi' },
      limits: { memory: '2Gi' },
    });
    expect(find(manifests, 'PersistentVolumeClaim', 'default-glance').spec.resources).toEqual({ requests: { storage: '200G' } });
  });

  it('limits below the default request are not contradicted by it', () => {
    expect(podOf(glanceWith({ limits: { memory: '32Mi' } })).containers[0].resources).toEqual({
      requests: { cpu: '10m' },
      limits: { memory: '32Mi' },
    });
  });

  it('storageClassName, accessMode', () => {
    const { spec } = find(
      build({ glance: { storageClassName: 'ceph', accessMode: 'ReadWriteMany', replicas: 2 } }),
      'PersistentVolumeClaim',
      'default-glance',
    );
    expect(spec).toMatchObject({ storageClassName: 'ceph', accessModes: ['ReadWriteMany'] });
  });

  it('annotations: on the pods, beside ours', () => {
    const { annotations } = keystoneWith({ annotations: { team: 'iam' } }).spec.template.metadata;
    expect(annotations).toMatchObject({ team: 'iam', 'onecloud.yunion.io/config-checksum': expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  it('schedule, suspend: of a CronJob', () => {
    const { spec } = find(build({ cloudmonping: { schedule: '0 * * * *', suspend: true } }), 'CronJob', 'default-cloudmon-ping');
    expect(spec).toMatchObject({ schedule: '0 * * * *', suspend: true });
  });

  it('nodePorts, internalOnly', () => {
    const ports = (glance: ComponentOverrides): unknown => {
      const {
        type,
        ports: [port],
      } = find(build({ glance }), 'Service', 'default-glance').spec;
      return [type, port.port, port.nodePort];
    };
    expect(ports({ nodePorts: { api: 31292 } })).toEqual(['NodePort', 30292, 31292]);
    expect(ports({ internalOnly: true })).toEqual(['ClusterIP', 30292, undefined]);
  });

  it('companions have their own', () => {
    const manifests = build({
      hostagent: { sdnAgent: { image: 'mine/sdn:1', limits: { memory: '1Gi' } } },
      notify: { plugins: { tag: 'p1' } },
    });
    const containers = (kind: string, name: string): { name: string; image: string; resources: { limits?: object } }[] =>
      podOf(find(manifests, kind, name)).containers;
    expect(containers('DaemonSet', 'default-host').find(({ name }) => name === 'sdnagent')).toMatchObject({
      image: 'mine/sdn:1',
      resources: { limits: { memory: '1Gi' } },
    });
    expect(containers('Deployment', 'default-notify').map(({ image }) => image.split(':')[1])).toEqual([
      'v3.1.3-20200312.0',
      'p1',
      'p1',
      'p1',
      'p1',
    ]);
  });

  it("region's domain and the resolver's forwarders reach their configurations", () => {
    const manifests = build({
      regionServer: { dnsDomain: 'a.example' },
      regionDNS: { proxies: [{ from: 'b.example', to: ['10.0.0.53'] }] },
    });
    expect(find(manifests, 'ConfigMap', 'default-region').data.config).toContain('dns_domain: "a.example"\n');
    const { config } = find(manifests, 'ConfigMap', 'default-region-dns').data;
    expect(config).toContain('dns_domain a.example\n');
    expect(config).toContain('forward b.example 10.0.0.53\n');
    expect(find(build(), 'ConfigMap', 'default-region-dns').data.config).toContain('forward . 114.114.114.114 8.8.8.8\n');
  });
});

describe('004-11: databases are brought up before the service', () => {
  const manifests = build();

  it.each(catalog.filter(({ initializesDatabase }) => initializesDatabase).map(({ name }) => name))('%s', (name) => {
    const { initContainers, containers } = podOf(find(manifests, 'Deployment', `default-${name}`));
    const [main] = containers;
    const [render, init] = initContainers;
    expect([render.name, init.name]).toEqual(['render-config', 'init']); // passwords first
    expect(init.command).toEqual([...main.command, '--auto-sync-table', '--exit-after-db-init']);
    expect(init.image).toBe(main.image);
    expect(init.volumeMounts).toEqual(main.volumeMounts);
    expect(find(manifests, 'ConfigMap', `default-${name}`).data.config).toContain('auto_sync_table: false\n');
  });

  it('keystone, region and glance among them, as in the document; ansibleserver brings its own up', () => {
    const names = catalog.filter(({ initializesDatabase }) => initializesDatabase).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['keystone', 'region', 'glance']));
    expect(podOf(find(manifests, 'Deployment', 'default-ansibleserver')).initContainers).toHaveLength(1);
    expect(find(manifests, 'ConfigMap', 'default-ansibleserver').data.config).toContain('auto_sync_table: true\n');
  });

  it('every component with a database either initializes it or says that it does so itself', () => {
    for (const { name, database, initializesDatabase } of catalog) {
      if (database === undefined) continue;
      const { config } = find(manifests, 'ConfigMap', `default-${name}`).data;
      expect(config, name).toContain(`auto_sync_table: ${initializesDatabase !== true}\n`);
    }
  });
});

describe('004-15: services of the node', () => {
  const manifests = build();
  const host = find(manifests, 'DaemonSet', 'default-host');

  it('host is on labelled nodes, in their network and among their processes', () => {
    expect(podOf(host)).toMatchObject({
      hostNetwork: true,
      hostPID: true,
      hostIPC: true,
      dnsPolicy: 'ClusterFirstWithHostNet',
      nodeSelector: { 'onecloud.yunion.io/host': 'enable' },
      priorityClassName: 'system-node-critical',
      terminationGracePeriodSeconds: 300,
    });
    expect(podOf(host).containers.map(({ name }: { name: string }) => name)).toEqual(['host', 'host-image', 'ovn-controller', 'sdnagent']);
  });

  it('host brings kernel modules, devices and the folders of virtual machines', () => {
    const paths = podOf(host).volumes.flatMap(({ hostPath }: { hostPath?: { path: string } }) => hostPath?.path ?? []);
    expect(paths).toEqual(expect.arrayContaining(['/lib/modules', '/dev', '/opt/cloud', '/sys', '/var/run/openvswitch']));
    expect(podOf(host).containers[0].volumeMounts).toContainEqual({ name: 'modules', mountPath: '/lib/modules', readOnly: true });
    expect(podOf(host).containers[0].volumeMounts).toContainEqual({
      name: 'opt-cloud',
      mountPath: '/opt/cloud',
      mountPropagation: 'Bidirectional',
    });
  });

  it('an update of host restarts nothing by itself, and no probe does', () => {
    expect(host.spec.updateStrategy).toEqual({ type: 'OnDelete' });
    for (const container of podOf(host).containers) {
      expect(container).not.toHaveProperty('livenessProbe');
      expect(container).not.toHaveProperty('startupProbe');
    }
    expect(podOf(host).containers[0].readinessProbe.tcpSocket).toEqual({ port: 'api' });
  });

  it('who wants it rolls them, a few at a time', () => {
    const hostagent = { updateStrategy: { type: 'RollingUpdate' as const, maxUnavailable: 3 } };
    expect(find(build({ hostagent }), 'DaemonSet', 'default-host').spec.updateStrategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 3 },
    });
  });

  it.each(['host-deployer', 'yunionagent', 'region-dns'])('%s rolls one node at a time', (name) => {
    expect(find(manifests, 'DaemonSet', `default-${name}`).spec.updateStrategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 1 },
    });
  });

  it('baremetal-agent is on labelled nodes in their network, one at a time', () => {
    const deployment = find(manifests, 'Deployment', 'default-baremetal-agent');
    expect(podOf(deployment)).toMatchObject({ hostNetwork: true, nodeSelector: { 'onecloud.yunion.io/baremetal': 'enable' } });
    expect(deployment.spec.strategy).toEqual({ type: 'Recreate' });
    expect(podOf(deployment).containers[0].volumeMounts).toContainEqual({ name: 'data', mountPath: '/opt/cloud/workspace' });
  });

  it('privileged are these three, and the render container nowhere', () => {
    const privileged = manifests.filter(
      (manifest) =>
        ['Deployment', 'DaemonSet', 'CronJob'].includes(manifest.kind) &&
        podOf(manifest).containers.some(({ securityContext }: { securityContext: { privileged?: boolean } }) => securityContext.privileged),
    );
    expect(privileged.map(({ metadata }) => metadata.name).sort()).toEqual([
      'default-baremetal-agent',
      'default-host',
      'default-host-deployer',
    ]);
    const [render] = podOf(host).initContainers;
    expect(render.securityContext).toEqual({
      runAsUser: 65532,
      runAsGroup: 65532,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
  });

  it('everything else drops every capability that its row does not keep', () => {
    const { containers, securityContext, initContainers } = podOf(find(manifests, 'Deployment', 'default-keystone'));
    for (const container of [...containers, initContainers[1]])
      expect(container.securityContext).toEqual({ allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } });
    expect(securityContext).toMatchObject({ seccompProfile: { type: 'RuntimeDefault' }, fsGroup: 65532 });
    expect(podOf(find(manifests, 'Deployment', 'default-web')).containers[0].securityContext.capabilities).toEqual({
      drop: ['ALL'],
      add: ['NET_BIND_SERVICE', 'CHOWN', 'SETUID', 'SETGID'],
    });
  });
});

describe('004-16: high availability', () => {
  const apart = (name: string): object => ({
    topologyKey: 'kubernetes.io/hostname',
    labelSelector: {
      matchLabels: { app: name, 'app.kubernetes.io/component': name, 'app.kubernetes.io/instance': 'onecloud-cluster-default' },
    },
  });

  it('replicas prefer different nodes and are drained one at a time', () => {
    const manifests = build({ keystone: { replicas: 3 } });
    expect(podOf(find(manifests, 'Deployment', 'default-keystone')).affinity.podAntiAffinity).toEqual({
      preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: apart('keystone') }],
    });
    expect(find(manifests, 'PodDisruptionBudget', 'default-keystone').spec).toEqual({
      maxUnavailable: 1,
      selector: { matchLabels: (apart('keystone') as { labelSelector: { matchLabels: object } }).labelSelector.matchLabels },
    });
    expect(find(manifests, 'Deployment', 'default-keystone').spec.strategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 1, maxSurge: 1 },
    });
    expect(find(manifests, 'Deployment', 'default-region').spec.strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 });
  });

  it.each(['influxdb', 'ovn-north'])('there are never two of %s', (name) => {
    expect(find(build(), 'Deployment', `default-${name}`).spec.strategy).toEqual({ type: 'Recreate' });
  });

  it("replicas on the nodes' network need different nodes", () => {
    const manifests = build({ baremetalagent: { replicas: 2, accessMode: 'ReadWriteMany' } });
    expect(podOf(find(manifests, 'Deployment', 'default-baremetal-agent')).affinity.podAntiAffinity).toEqual({
      requiredDuringSchedulingIgnoredDuringExecution: [apart('baremetal-agent')],
    });
  });

  it('one replica has neither: a budget for one would block every drain', () => {
    const manifests = build();
    expect(manifests.filter(({ kind }) => kind === 'PodDisruptionBudget')).toEqual([]);
    expect(podOf(find(manifests, 'Deployment', 'default-keystone')).affinity).not.toHaveProperty('podAntiAffinity');
  });

  it('controllers prefer the nodes labelled for them', () => {
    const { nodeAffinity } = podOf(find(build(), 'Deployment', 'default-region')).affinity;
    expect(nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution).toEqual([
      { weight: 1, preference: { matchExpressions: [{ key: 'onecloud.yunion.io/controller', operator: 'In', values: ['enable'] }] } },
    ]);
  });

  it('DaemonSets run on labelled nodes only', () => {
    for (const daemonSet of build().filter(({ kind }) => kind === 'DaemonSet'))
      expect(Object.entries(podOf(daemonSet).nodeSelector)).toContainEqual([expect.stringMatching(/^onecloud\.yunion\.io\//), 'enable']);
  });
});

describe('004-2: other workloads', () => {
  const manifests = build();

  it.each([
    ['cloudmon-ping', 'ping-probe', '*/5 * * * *'],
    ['cloudmon-report-usage', 'report-usage', '*/15 * * * *'],
    ['cloudmon-report-server', 'report-server', '*/4 * * * *'],
    ['cloudmon-report-host', 'report-host', '*/4 * * * *'],
  ])('%s is a CronJob that replaces a run which is still going', (name, command, schedule) => {
    const { spec } = find(manifests, 'CronJob', `default-${name}`);
    expect(spec).toMatchObject({
      schedule,
      concurrencyPolicy: 'Replace',
      startingDeadlineSeconds: 300,
      jobTemplate: { spec: { backoffLimit: 1 } },
    });
    const { restartPolicy, containers } = spec.jobTemplate.spec.template.spec;
    expect(restartPolicy).toBe('Never');
    expect(containers[0].command).toEqual(['/opt/yunion/bin/cloudmon', '--config', `/etc/yunion/${name}.conf`, command]);
  });

  it('notify has five containers that share a folder of sockets', () => {
    const { containers } = podOf(find(manifests, 'Deployment', 'default-notify'));
    expect(containers.map(({ name }: { name: string }) => name)).toEqual(['notify', 'dingtalk', 'email', 'smsaliyun', 'websocket']);
    for (const { volumeMounts } of containers) expect(volumeMounts).toContainEqual({ name: 'socket', mountPath: '/etc/yunion/socket' });
    expect(containers[0].volumeMounts).toContainEqual({ name: 'data', mountPath: '/etc/yunion/template' });
    expect(containers[2].command).toEqual(['/opt/yunion/bin/email', '--config', '/etc/yunion/email.conf']);
    expect(Object.keys(find(manifests, 'ConfigMap', 'default-notify').data)).toEqual([
      'config',
      'dingtalk.conf',
      'email.conf',
      'smsaliyun.conf',
      'websocket.conf',
    ]);
  });

  it('climc tells its shells who they are, without a password in the environment of the container', () => {
    const [main] = podOf(find(manifests, 'Deployment', 'default-climc')).containers;
    expect(main.env).toEqual([{ name: 'ENV', value: '/etc/yunion/rcadmin' }]);
    const { config } = find(manifests, 'ConfigMap', 'default-climc').data;
    expect(config).toContain('export OS_AUTH_URL="https://default-keystone:30357/v3"\n');
    expect(config).toContain('export OS_PASSWORD="@{secret:service-password|sh}"\n');
  });

  it('web is reached through an Ingress with the certificate of the cluster', () => {
    const { spec } = find(manifests, 'Ingress', 'default-web');
    expect(spec.tls).toEqual([{ secretName: 'default-certs' }]);
    expect(spec.rules[0].http.paths[0].backend.service).toEqual({ name: 'default-web', port: { name: 'https' } });
    expect(find(manifests, 'Service', 'default-web').spec.type).toBe('ClusterIP');
  });

  it('web passes on only to what runs: nginx does not start otherwise', () => {
    const conf = (change: Partial<ClusterSpec>): string => find(build(change), 'ConfigMap', 'default-web').data.config;
    expect(conf({})).toContain('proxy_pass https://default-webconsole:30899;');
    expect(conf({ webconsole: { disable: true } })).not.toContain('webconsole');
    expect(conf({ webconsole: { disable: true } })).toContain('proxy_pass https://default-apigateway:30300;');
  });

  it('who has no password in its configuration mounts the ConfigMap itself', () => {
    const { volumes, initContainers, containers } = podOf(find(manifests, 'Deployment', 'default-web'));
    expect(initContainers).toBeUndefined();
    expect(volumes.map(({ name }: { name: string }) => name)).toEqual(['templates', 'certs']);
    expect(containers[0].volumeMounts[0]).toEqual({
      name: 'templates',
      mountPath: '/etc/nginx/conf.d/default.conf',
      subPath: 'default.conf',
      readOnly: true,
    });
  });

  it("a layer that does not come up in time is the Deployment's failure too", () => {
    const slow = build({ updateStrategy: { layerTimeoutSeconds: 900 } });
    expect(find(slow, 'Deployment', 'default-region').spec.progressDeadlineSeconds).toBe(900);
  });
});
