/** The operator itself: what `bmctl bundle | kubectl apply -f -` installs, beside the CustomResourceDefinitions. */
import { Chart, type ChartProps, JsonPatch } from 'cdk8s';
import { annotation, CONTRACT_VERSION } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { DEFAULT_RENDER_IMAGE } from './onecloud/context.ts';
import { operatorClusterRules, operatorLeaseRules, operatorNamespaceRules } from './operator-rules.ts';

export interface OperatorInstallationProps extends Omit<ChartProps, 'namespace'> {
  /** Where the operator itself runs. @default onecloud-system */
  readonly namespace?: string;
  /** @default DEFAULT_RENDER_IMAGE, the image of this release */
  readonly image?: string;
  /** One leads, the others stand by. @default 2 */
  readonly replicas?: number;
  /** Namespaces whose clusters it cares for; it gets rights in no other. @default - all */
  readonly watchNamespaces?: readonly string[];
  /** Secrets for the image's registry, in `namespace`. @default - none */
  readonly imagePullSecrets?: readonly string[];
  /** What it asks of the API server at most, twice that for a moment. @default operatorProgram.requestsPerSecond */
  readonly requestsPerSecond?: number;
}

export const OPERATOR_NAMESPACE = 'onecloud-system';
export const OPERATOR_NAME = 'onecloud-operator';

const LABELS = { 'app.kubernetes.io/name': OPERATOR_NAME, 'app.kubernetes.io/part-of': 'onecloud' };

/** How the program in the image is started; src/operator reads the same variables. */
export const operatorProgram = {
  // short-lived objects by the thousand in each pass: V8 would grow its young generation to three times 16 MiB, and keep it
  command: ['node', '--max-semi-space-size=8', '/app/operator.cjs'],
  port: 8080,
  user: 65532,
  variables: {
    podName: 'POD_NAME',
    podNamespace: 'POD_NAMESPACE',
    /** Comma-separated; empty: all. */
    watchNamespaces: 'WATCH_NAMESPACES',
    /** The init containers of the clusters run the same image. */
    image: 'OPERATOR_IMAGE',
    /** At the API server, 10 or more; twice that for a moment. */
    requestsPerSecond: 'API_REQUESTS_PER_SECOND',
  },
  /** A cluster of 30 components is 150 writes and wants to be there in seconds; the server has its own fairness for when it is busy. */
  requestsPerSecond: 200,
  /** Longer than the operator takes to let running reconciles end and release its lease. */
  graceSeconds: 45,
} as const;

/**
 * Namespace, accounts, least-privilege roles, two replicas with leader election, a disruption budget, a Service for metrics and a policy that lets nobody in
 * elsewhere.
 * The kinds that it serves are not in here: `kubectl apply` wants them established before the first object of them.
 */
export class OperatorInstallation extends Chart {
  constructor(scope: Construct, id: string, props: OperatorInstallationProps = {}) {
    const {
      namespace = OPERATOR_NAMESPACE,
      image = DEFAULT_RENDER_IMAGE,
      replicas = 2,
      watchNamespaces = [],
      imagePullSecrets = [],
      requestsPerSecond = operatorProgram.requestsPerSecond,
      ...chart
    } = props;
    if (!(requestsPerSecond >= 10)) throw new Error(`requestsPerSecond is ${requestsPerSecond}; give 10 or more`);
    super(scope, id, { ...chart, namespace });
    this.addNamespace(namespace);
    const metadata = { name: OPERATOR_NAME, labels: LABELS };
    new k8s.KubeServiceAccount(this, 'service-account', { metadata, automountServiceAccountToken: false });
    this.addRoles(namespace, watchNamespaces);
    new k8s.KubeDeployment(this, 'Resource', {
      metadata: { ...metadata, annotations: { [annotation.contractVersion]: CONTRACT_VERSION } },
      spec: {
        replicas,
        revisionHistoryLimit: 3,
        selector: { matchLabels: LABELS },
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: { maxUnavailable: k8s.IntOrString.fromNumber(0), maxSurge: k8s.IntOrString.fromNumber(1) },
        },
        template: {
          metadata: { labels: LABELS },
          spec: podSpec({ image, watchNamespaces, imagePullSecrets, requestsPerSecond, labels: LABELS }),
        },
      },
    });
    new k8s.KubeService(this, 'service', {
      metadata: { ...metadata, annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(operatorProgram.port) } },
      spec: {
        selector: LABELS,
        ports: [{ name: 'http', port: operatorProgram.port, targetPort: k8s.IntOrString.fromString('http') }],
      },
    });
    // where it goes (API server, database servers, Keystone) is not known here; that nobody comes but for its health and metrics is
    new k8s.KubeNetworkPolicy(this, 'network-policy', {
      metadata,
      spec: {
        podSelector: { matchLabels: LABELS },
        policyTypes: ['Ingress'],
        ingress: [{ ports: [{ protocol: 'TCP', port: k8s.IntOrString.fromString('http') }] }],
      },
    });
    if (replicas > 1) {
      new k8s.KubePodDisruptionBudget(this, 'disruption-budget', {
        metadata,
        spec: { maxUnavailable: k8s.IntOrString.fromNumber(1), selector: { matchLabels: LABELS } },
      });
    }
  }

  private addNamespace(name: string): void {
    // nothing of the operator itself needs more than the strictest level allows
    const labels = { ...LABELS, 'pod-security.kubernetes.io/enforce': 'restricted' };
    new k8s.KubeNamespace(this, 'namespace', { metadata: { name, labels } }).addJsonPatch(JsonPatch.remove('/metadata/namespace'));
  }

  private addRoles(namespace: string, watched: readonly string[]): void {
    const subjects = [{ kind: 'ServiceAccount', name: OPERATOR_NAME, namespace }];
    const roleRef = (kind: string, name = OPERATOR_NAME): k8s.RoleRef => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name });
    const clusterRules = [...operatorClusterRules(), ...(watched.length === 0 ? operatorNamespaceRules() : [])];
    const clusterMetadata = { name: OPERATOR_NAME, labels: LABELS };
    for (const object of [
      new k8s.KubeClusterRole(this, 'cluster-role', { metadata: clusterMetadata, rules: clusterRules }),
      new k8s.KubeClusterRoleBinding(this, 'cluster-role-binding', {
        metadata: clusterMetadata,
        roleRef: roleRef('ClusterRole'),
        subjects,
      }),
    ])
      object.addJsonPatch(JsonPatch.remove('/metadata/namespace'));
    const name = `${OPERATOR_NAME}-leader-election`;
    new k8s.KubeRole(this, 'lease-role', { metadata: { name, labels: LABELS }, rules: operatorLeaseRules(OPERATOR_NAME) });
    new k8s.KubeRoleBinding(this, 'lease-role-binding', {
      metadata: { name, labels: LABELS },
      roleRef: roleRef('Role', name),
      subjects,
    });
    for (const place of watched) {
      const metadata = { name: OPERATOR_NAME, namespace: place, labels: LABELS };
      new k8s.KubeRole(this, `role-${place}`, { metadata, rules: operatorNamespaceRules() });
      new k8s.KubeRoleBinding(this, `role-binding-${place}`, { metadata, roleRef: roleRef('Role'), subjects });
    }
  }
}

function podSpec({
  image,
  watchNamespaces,
  imagePullSecrets,
  requestsPerSecond,
  labels,
}: {
  readonly image: string;
  readonly watchNamespaces: readonly string[];
  readonly imagePullSecrets: readonly string[];
  readonly requestsPerSecond: number;
  readonly labels: Readonly<Record<string, string>>;
}): k8s.PodSpec {
  const { command, port, user, variables, graceSeconds } = operatorProgram;
  const field = (name: string, fieldPath: string): k8s.EnvVar => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const probe = (path: string) => ({ httpGet: { path, port: k8s.IntOrString.fromString('http') }, timeoutSeconds: 3 });
  return {
    serviceAccountName: OPERATOR_NAME,
    automountServiceAccountToken: true, // the one pod here that talks to the API server
    enableServiceLinks: false,
    priorityClassName: 'system-cluster-critical',
    terminationGracePeriodSeconds: graceSeconds,
    ...(imagePullSecrets.length > 0 && { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: ['master', 'control-plane'].map((role) => ({ key: `node-role.kubernetes.io/${role}`, effect: 'NoSchedule' })),
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 100, podAffinityTerm: { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { ...labels } } } },
        ],
      },
    },
    securityContext: { runAsNonRoot: true, runAsUser: user, runAsGroup: user, fsGroup: user, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'operator',
        image,
        // a replica that starts while the registry is away takes what its node has, unless the name may mean something else by now
        imagePullPolicy: /@sha256:|:(?!latest$)[^/]+$/.test(image) ? 'IfNotPresent' : 'Always',
        command: [...command],
        env: [
          field(variables.podName, 'metadata.name'),
          field(variables.podNamespace, 'metadata.namespace'),
          { name: variables.watchNamespaces, value: watchNamespaces.join(',') },
          { name: variables.image, value: image },
          { name: variables.requestsPerSecond, value: String(requestsPerSecond) },
        ],
        ports: [{ name: 'http', containerPort: port }],
        resources: {
          requests: { cpu: k8s.Quantity.fromString('50m'), memory: k8s.Quantity.fromString('128Mi') },
          limits: { memory: k8s.Quantity.fromString('512Mi') },
        },
        startupProbe: { ...probe('/healthz'), periodSeconds: 2, failureThreshold: 30 },
        livenessProbe: { ...probe('/healthz'), periodSeconds: 20, failureThreshold: 3 },
        readinessProbe: { ...probe('/readyz'), periodSeconds: 5 },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          privileged: false,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
      },
    ],
    // node writes core reports and compile caches there, if anything
    volumes: [{ name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: k8s.Quantity.fromString('64Mi') } }],
  };
}
