import { Chart, type ChartProps, JsonPatch } from 'cdk8s';
import type { ImageSpec } from 'cdk8s-baremetal-contract';
import { DNS_LABEL } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { ALLOY_PORT } from './alloy-config.ts';
import type { Dashboard } from './dashboard.ts';
import { bmsCoreDashboard } from './dashboards/bms-core.ts';
import { logsDashboard } from './dashboards/logs.ts';
import { operatorDashboard } from './dashboards/operator.ts';
import { observabilityErrors } from './errors.ts';
import { GRAFANA_PORT, Grafana } from './grafana.ts';
import { LogCollector } from './log-collector.ts';
import { Loki } from './loki.ts';
import { LOKI_PORT } from './loki-config.ts';

export interface ObservabilityProps extends Omit<ChartProps, 'namespace' | 'labels'> {
  /** @default observability */
  readonly namespace?: string;
  /** Adds the Namespace itself. @default true */
  readonly createNamespace?: boolean;
  /** Secret of the namespace with Grafana's administrator's password under `password`. @default grafana-admin */
  readonly adminSecret?: string;
  /** How long logs are kept. @default 14 */
  readonly retentionDays?: number;
  /** Size of Loki's volume. @default 50Gi */
  readonly lokiStorage?: string;
  /** Size of Grafana's volume, for accounts and what people starred. @default 1Gi */
  readonly grafanaStorage?: string;
  /** @default - the cluster's default class */
  readonly storageClassName?: string;
  /** Only the logs of these. @default - all */
  readonly namespaces?: readonly string[];
  /** A Prometheus that scrapes bms-core and the operator; their dashboards are added then. @default - logs alone */
  readonly prometheusUrl?: string;
  /** A port of every node for Grafana. @default - inside the cluster only */
  readonly grafanaNodePort?: number;
  /** Containers are Docker's own, whose log files lie elsewhere. @default false */
  readonly dockerLogs?: boolean;
  /** Who may reach Loki is limited to the collector and Grafana. @default true */
  readonly networkPolicies?: boolean;
  /** @default - pinned versions of the official images */
  readonly images?: { readonly loki?: ImageSpec; readonly grafana?: ImageSpec; readonly alloy?: ImageSpec };
  /** Further dashboards. @default - none */
  readonly dashboards?: readonly Dashboard[];
}

/** Versions that the configurations here are written for. */
export const OBSERVABILITY_IMAGES = {
  loki: { repository: 'docker.io/grafana/loki', tag: '3.5.0' },
  grafana: { repository: 'docker.io/grafana/grafana', tag: '12.0.2' },
  alloy: { repository: 'docker.io/grafana/alloy', tag: 'v1.9.1' },
} as const satisfies Record<string, ImageSpec>;

/** Logs of every service, kept when its containers are gone: Loki gathers them, Grafana shows them, and our metrics where there is a Prometheus. */
export class Observability extends Chart {
  readonly lokiUrl: string;

  constructor(scope: Construct, id: string, props: ObservabilityProps = {}) {
    const { namespace = 'observability', createNamespace = true, adminSecret = 'grafana-admin', retentionDays = 14 } = props;
    super(scope, id, {
      namespace,
      ...(props.disableResourceNameHashes !== undefined && { disableResourceNameHashes: props.disableResourceNameHashes }),
    });
    this.lokiUrl = `http://loki.${namespace}.svc:${LOKI_PORT}`;
    const problems = check(props, retentionDays);
    this.node.addValidation({ validate: () => problems });
    if (problems.length > 0) return;
    const { storageClassName, images = {} } = props;
    const labelsOf = (name: string) => ({ 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'observability' });
    const classOf = storageClassName !== undefined && { storageClassName };
    if (createNamespace) {
      // the collector reads the nodes' log files, which a stricter level would refuse
      const labels = { 'pod-security.kubernetes.io/enforce': 'privileged' };
      new k8s.KubeNamespace(this, 'namespace', { metadata: { name: namespace, labels } }).addJsonPatch(
        JsonPatch.remove('/metadata/namespace'),
      );
    }
    new Loki(this, 'loki', {
      name: 'loki',
      labels: labelsOf('loki'),
      image: images.loki ?? OBSERVABILITY_IMAGES.loki,
      storage: props.lokiStorage ?? '50Gi',
      retentionDays,
      ...classOf,
    });
    new LogCollector(this, 'collector', {
      name: 'log-collector',
      namespace,
      labels: labelsOf('log-collector'),
      image: images.alloy ?? OBSERVABILITY_IMAGES.alloy,
      lokiUrl: `${this.lokiUrl}/loki/api/v1/push`,
      dockerLogs: props.dockerLogs ?? false,
      ...(props.namespaces && { namespaces: props.namespaces }),
    });
    new Grafana(this, 'grafana', {
      name: 'grafana',
      labels: labelsOf('grafana'),
      image: images.grafana ?? OBSERVABILITY_IMAGES.grafana,
      lokiUrl: this.lokiUrl,
      adminSecret,
      storage: props.grafanaStorage ?? '1Gi',
      dashboards: this.dashboardsOf(props),
      ...(props.prometheusUrl !== undefined && { prometheusUrl: props.prometheusUrl }),
      ...(props.grafanaNodePort !== undefined && { nodePort: props.grafanaNodePort }),
      ...classOf,
    });
    if (props.networkPolicies ?? true) this.addNetworkPolicies(labelsOf);
  }

  /** Those whose data there is. */
  private dashboardsOf({ prometheusUrl, dashboards = [] }: ObservabilityProps): Dashboard[] {
    const all = [logsDashboard(), bmsCoreDashboard(), operatorDashboard(), ...dashboards];
    return all.filter(({ sources }) => prometheusUrl !== undefined || !sources.includes('prometheus'));
  }

  private addNetworkPolicies(labelsOf: (name: string) => Record<string, string>): void {
    const policy = (name: string, port: number, from: readonly string[] | undefined): void => {
      const peers = from?.map((other) => ({ podSelector: { matchLabels: labelsOf(other) } }));
      new k8s.KubeNetworkPolicy(this, `network-policy-${name}`, {
        metadata: { name, labels: labelsOf(name) },
        spec: {
          podSelector: { matchLabels: labelsOf(name) },
          policyTypes: ['Ingress'],
          ingress: [{ ...(peers && { from: peers }), ports: [{ port: k8s.IntOrString.fromNumber(port) }] }],
        },
      });
    };
    policy('loki', LOKI_PORT, ['log-collector', 'grafana']);
    policy('grafana', GRAFANA_PORT, undefined);
    policy('log-collector', ALLOY_PORT, undefined);
  }
}

function check(
  { namespaces = [], prometheusUrl, grafanaNodePort, lokiStorage, grafanaStorage }: ObservabilityProps,
  retentionDays: number,
): string[] {
  const problems: string[] = [];
  const need = (prop: string, value: unknown, good: boolean, rule: string): void => {
    if (!good) problems.push(String(observabilityErrors.OBSERVABILITY_VALUE({ prop, value: JSON.stringify(value), rule })));
  };
  need('retentionDays', retentionDays, Number.isInteger(retentionDays) && retentionDays >= 1, 'must be whole days, at least 1');
  for (const name of namespaces) need('namespaces', name, DNS_LABEL.test(name), 'must be names of namespaces');
  if (prometheusUrl !== undefined) {
    if (/:\/\/[^/]*@/.test(prometheusUrl))
      problems.push(String(observabilityErrors.OBSERVABILITY_SECRET_AS_VALUE({ prop: 'prometheusUrl' })));
    else need('prometheusUrl', prometheusUrl, /^https?:\/\/[\w.:[\]-]+(?:\/\S*)?$/.test(prometheusUrl), 'must be an http or https URL');
  }
  if (grafanaNodePort !== undefined)
    need('grafanaNodePort', grafanaNodePort, grafanaNodePort >= 30000 && grafanaNodePort <= 32767, 'must be between 30000 and 32767');
  for (const [prop, size] of Object.entries({ lokiStorage, grafanaStorage }))
    if (size !== undefined) need(prop, size, /^\d+(?:\.\d+)?(?:[kMGTPE]i?|Ki)?$/.test(size), 'must be a quantity such as 50Gi');
  return problems;
}
