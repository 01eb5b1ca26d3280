/**
 * Logs of every service of the OneCloud cluster, kept for a month, and the dashboards of machines and operator:
 *
 *     node --import tsx examples/observability/app.ts        writes lib/observability/
 *     kubectl create namespace observability
 *     kubectl -n observability create secret generic grafana-admin --from-file=password=FILE
 *     kubectl apply -f lib/observability
 */
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { App } from 'cdk8s';
import { Observability } from 'cdk8s-baremetal/observability/index';

export function observability(app: App): Observability {
  return new Observability(app, 'observability', {
    namespaces: ['onecloud', 'onecloud-system', 'default'],
    retentionDays: 30,
    storageClassName: 'local-path',
    grafanaNodePort: 30301, // beside 30300, which is OneCloud's API gateway
    prometheusUrl: 'http://prometheus.monitoring.svc:9090',
  });
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const app = new App({ outdir: 'lib/observability' });
  observability(app);
  app.synth();
}
