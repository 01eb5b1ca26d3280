import { JsonPatch } from 'cdk8s';
import { annotation, type ImageSpec } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { checksum } from '../checksum.ts';
import { imageReference, pullPolicy } from '../image.ts';
import { ALLOY_PORT, type AlloyConfigOptions, alloyConfig, NODE_NAME_VARIABLE, POD_LOGS } from './alloy-config.ts';
import { restricted } from './security.ts';

export interface LogCollectorProps extends AlloyConfigOptions {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: ImageSpec;
}

const STATE = '/var/lib/alloy';
const DOCKER = '/var/lib/docker/containers';

/** Grafana Alloy on every node. It may read log files and see which pods are on its node, and nothing else. */
export class LogCollector extends Construct {
  constructor(scope: Construct, id: string, props: LogCollectorProps) {
    super(scope, id);
    const { name, namespace, labels } = props;
    const data = { 'config.alloy': alloyConfig(props) };
    new k8s.KubeConfigMap(this, 'config', { metadata: { name, labels }, data });
    new k8s.KubeServiceAccount(this, 'service-account', { metadata: { name, labels }, automountServiceAccountToken: false });
    const clusterWide = { name: `${namespace}-${name}`, labels };
    for (const object of [
      new k8s.KubeClusterRole(this, 'role', {
        metadata: clusterWide,
        rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }],
      }),
      new k8s.KubeClusterRoleBinding(this, 'role-binding', {
        metadata: clusterWide,
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: clusterWide.name },
        subjects: [{ kind: 'ServiceAccount', name, namespace }],
      }),
    ])
      object.addJsonPatch(JsonPatch.remove('/metadata/namespace'));
    new k8s.KubeDaemonSet(this, 'Resource', {
      metadata: { name, labels },
      spec: {
        selector: { matchLabels: { ...labels } },
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromString('20%') } },
        template: {
          metadata: { labels, annotations: { [annotation.configChecksum]: checksum([data]) } },
          spec: podSpec(props),
        },
      },
    });
  }
}

function podSpec({ name, image, dockerLogs }: LogCollectorProps): k8s.PodSpec {
  const folders = [POD_LOGS, ...(dockerLogs ? [DOCKER] : [])];
  const nameOf = (path: string): string => path.slice(1).replaceAll('/', '-');
  return {
    serviceAccountName: name,
    automountServiceAccountToken: true, // it asks which pods are on its node
    enableServiceLinks: false,
    tolerations: [{ operator: 'Exists' }], // logs are wanted of every node
    priorityClassName: 'system-node-critical',
    securityContext: {
      runAsUser: 0, // the kubelet's log files are root's alone; without any capability root reads nothing else
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: 'alloy',
        image: imageReference(image),
        imagePullPolicy: pullPolicy(image),
        args: [
          'run',
          '/etc/alloy/config.alloy',
          `--storage.path=${STATE}`,
          `--server.http.listen-addr=0.0.0.0:${ALLOY_PORT}`,
          '--disable-reporting',
        ],
        env: [{ name: NODE_NAME_VARIABLE, valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
        ports: [{ name: 'http', containerPort: ALLOY_PORT }],
        resources: {
          requests: { cpu: k8s.Quantity.fromString('50m'), memory: k8s.Quantity.fromString('128Mi') },
          limits: { memory: k8s.Quantity.fromString('512Mi') },
        },
        readinessProbe: { httpGet: { path: '/-/ready', port: k8s.IntOrString.fromString('http') }, periodSeconds: 10 },
        livenessProbe: {
          httpGet: { path: '/-/healthy', port: k8s.IntOrString.fromString('http') },
          periodSeconds: 30,
          failureThreshold: 4,
        },
        securityContext: restricted(),
        volumeMounts: [
          { name: 'config', mountPath: '/etc/alloy', readOnly: true },
          { name: 'state', mountPath: STATE },
          { name: 'tmp', mountPath: '/tmp' },
          ...folders.map((path) => ({ name: nameOf(path), mountPath: path, readOnly: true })),
        ],
      },
    ],
    volumes: [
      { name: 'config', configMap: { name } },
      // how far each file was read: on the node, so that a new pod sends no line twice
      { name: 'state', hostPath: { path: `/var/lib/${name}`, type: 'DirectoryOrCreate' } },
      { name: 'tmp', emptyDir: {} },
      ...folders.map((path) => ({ name: nameOf(path), hostPath: { path, type: 'Directory' } })),
    ],
  };
}
