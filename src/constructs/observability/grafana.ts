import { annotation, type ImageSpec } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { stringify } from 'yaml';
import { checksum } from '../checksum.ts';
import { imageReference, pullPolicy } from '../image.ts';
import { type Dashboard, dataSourceUid } from './dashboard.ts';
import { restricted } from './security.ts';

export interface GrafanaProps {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: ImageSpec;
  readonly lokiUrl: string;
  readonly prometheusUrl?: string;
  /** Secret with the administrator's password under `password`. */
  readonly adminSecret: string;
  readonly storage: string;
  readonly storageClassName?: string;
  readonly dashboards: readonly Dashboard[];
  /** A port of every node. @default - inside the cluster only */
  readonly nodePort?: number;
}

export const GRAFANA_PORT = 3000;
/** The user of the official image. */
const USER = 472;
const PROVISIONING = '/etc/grafana/provisioning';
const DASHBOARDS = '/etc/grafana/dashboards';
const PASSWORD_FILE = '/run/secrets/grafana/password';

/** Grafana with its data sources and dashboards from ConfigMaps: nothing is clicked together, and nothing clicked survives a change. */
export class Grafana extends Construct {
  constructor(scope: Construct, id: string, props: GrafanaProps) {
    super(scope, id);
    const { name, labels, storage, storageClassName, nodePort, dashboards } = props;
    const provisioning = { 'datasources.yaml': dataSources(props), 'dashboards.yaml': dashboardProvider() };
    new k8s.KubeConfigMap(this, 'provisioning', { metadata: { name: `${name}-provisioning`, labels }, data: provisioning });
    const files = Object.fromEntries(dashboards.map(({ uid, json }) => [`${uid}.json`, `${JSON.stringify(json, undefined, 2)}\n`]));
    new k8s.KubeConfigMap(this, 'dashboards', { metadata: { name: `${name}-dashboards`, labels }, data: files });
    new k8s.KubePersistentVolumeClaim(this, 'claim', {
      metadata: { name, labels },
      spec: {
        accessModes: ['ReadWriteOnce'],
        ...(storageClassName !== undefined && { storageClassName }),
        resources: { requests: { storage: k8s.Quantity.fromString(storage) } },
      },
    });
    new k8s.KubeService(this, 'service', {
      metadata: { name, labels },
      spec: {
        type: nodePort === undefined ? 'ClusterIP' : 'NodePort',
        selector: { ...labels },
        ports: [
          { name: 'http', port: GRAFANA_PORT, targetPort: k8s.IntOrString.fromString('http'), ...(nodePort !== undefined && { nodePort }) },
        ],
      },
    });
    new k8s.KubeDeployment(this, 'Resource', {
      metadata: { name, labels },
      spec: {
        replicas: 1,
        strategy: { type: 'Recreate' }, // its database is a file of one process
        selector: { matchLabels: { ...labels } },
        template: {
          metadata: { labels, annotations: { [annotation.configChecksum]: checksum([provisioning, files]) } },
          spec: podSpec(props),
        },
      },
    });
  }
}

function dataSources({ lokiUrl, prometheusUrl }: GrafanaProps): string {
  const source = (type: 'loki' | 'prometheus', name: string, url: string) => ({
    name,
    type,
    uid: dataSourceUid[type],
    url,
    access: 'proxy',
    isDefault: type === 'loki',
    editable: false,
  });
  return stringify({
    apiVersion: 1,
    datasources: [
      source('loki', 'Loki', lokiUrl),
      ...(prometheusUrl === undefined ? [] : [source('prometheus', 'Prometheus', prometheusUrl)]),
    ],
  });
}

function dashboardProvider(): string {
  const options = { path: DASHBOARDS };
  return stringify({
    apiVersion: 1,
    providers: [
      {
        name: 'bms',
        type: 'file',
        folder: 'Bare metal',
        disableDeletion: false,
        allowUiUpdates: false,
        updateIntervalSeconds: 60,
        options,
      },
    ],
  });
}

function podSpec({ name, image, adminSecret }: GrafanaProps): k8s.PodSpec {
  const settings: Readonly<Record<string, string>> = {
    GF_PATHS_PROVISIONING: PROVISIONING,
    GF_SECURITY_ADMIN_USER: 'admin',
    GF_SECURITY_ADMIN_PASSWORD__FILE: PASSWORD_FILE, // a file: what is in the environment, every dump of it shows
    GF_USERS_ALLOW_SIGN_UP: 'false',
    GF_AUTH_ANONYMOUS_ENABLED: 'false',
    GF_ANALYTICS_REPORTING_ENABLED: 'false',
    GF_ANALYTICS_CHECK_FOR_UPDATES: 'false',
    GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES: 'false',
    GF_LOG_MODE: 'console',
  };
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: { runAsUser: USER, runAsGroup: USER, runAsNonRoot: true, fsGroup: USER, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'grafana',
        image: imageReference(image),
        imagePullPolicy: pullPolicy(image),
        env: Object.entries(settings).map(([variable, value]) => ({ name: variable, value })),
        ports: [{ name: 'http', containerPort: GRAFANA_PORT }],
        resources: {
          requests: { cpu: k8s.Quantity.fromString('50m'), memory: k8s.Quantity.fromString('128Mi') },
          limits: { memory: k8s.Quantity.fromString('512Mi') },
        },
        startupProbe: { ...probe(), periodSeconds: 5, failureThreshold: 36 }, // its database is migrated at the first start
        readinessProbe: { ...probe(), periodSeconds: 10 },
        livenessProbe: { ...probe(), periodSeconds: 30, failureThreshold: 4 },
        securityContext: restricted(),
        volumeMounts: [
          { name: 'data', mountPath: '/var/lib/grafana' },
          { name: 'provisioning', mountPath: `${PROVISIONING}/datasources/datasources.yaml`, subPath: 'datasources.yaml', readOnly: true },
          { name: 'provisioning', mountPath: `${PROVISIONING}/dashboards/dashboards.yaml`, subPath: 'dashboards.yaml', readOnly: true },
          { name: 'dashboards', mountPath: DASHBOARDS, readOnly: true },
          { name: 'admin', mountPath: '/run/secrets/grafana', readOnly: true },
          { name: 'tmp', mountPath: '/tmp' },
        ],
      },
    ],
    volumes: [
      { name: 'data', persistentVolumeClaim: { claimName: name } },
      { name: 'provisioning', configMap: { name: `${name}-provisioning` } },
      { name: 'dashboards', configMap: { name: `${name}-dashboards` } },
      { name: 'admin', secret: { secretName: adminSecret, defaultMode: 0o440, items: [{ key: 'password', path: 'password' }] } },
      { name: 'tmp', emptyDir: {} },
    ],
  };
}

function probe() {
  return { httpGet: { path: '/api/health', port: k8s.IntOrString.fromString('http') }, timeoutSeconds: 3 };
}
