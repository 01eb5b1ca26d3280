/**
 * posp's C services: one image, many services, four environments.
 *
 *     node --import tsx examples/posp/app.ts        manifests to lib/examples/posp, the helm chart to lib/examples/charts/accp-finance
 */
import { readFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { App, Chart } from 'cdk8s';
import { EnvironmentService, type HelmChartOptions, LogstashPipeline, NoGitRepoVolumes, writeHelmChart } from 'cdk8s-baremetal';

/** Dependencies only, so one digest serves every service in every environment. */
const BASE = {
  repository: '10.0.116.41:80/posp-verify/base_c',
  digest: 'sha256:9b2f4b7c1f0a6d4c3e8a5b7d9f1c2e3a4b5c6d7e8f90a1b2c3d4e5f60718293a',
} as const;
const FILEBEAT = { repository: '10.0.116.41:80/library/filebeat', tag: '9.2.1' } as const;
const REVISION = 'ecc71b65f2f09b2a044dff8d7f12d777e052b8b3';
const ENVIRONMENTS = ['dev', 'test', 'pre', 'product'] as const;

export const SERVICES = [
  'account_confirm',
  'accp_record',
  'accp_finance',
  'accp_route',
  'accp_trade',
  'accp_risk',
  'accp_notify',
  'accp_settle',
  'accp_batch',
  'accp_query',
] as const;

/** The original's own chart: its values.yaml as it is. */
export function pospFromValues(app: App): Chart {
  const chart = new Chart(app, 'accp-finance', { namespace: 'posp-pre' });
  const values = readFileSync(new URL('values.yaml', import.meta.url), 'utf8');
  EnvironmentService.fromValues(chart, 'account-confirm', values, { release: 'accp-finance' });
  return chart;
}

/** Every service in every environment, a chart for each environment. */
export function posp(app: App): Chart[] {
  return ENVIRONMENTS.map((runenv) => {
    const chart = new Chart(app, `posp-${runenv}`, { namespace: `posp-${runenv}` });
    for (const proc of SERVICES) {
      const name = proc.replaceAll('_', '-');
      new EnvironmentService(chart, name, {
        release: name,
        containerName: name,
        image: BASE,
        proc,
        git: { project: `https://git.example.net/posp/${proc}.git`, revision: REVISION, directory: proc, credentialsSecret: 'posp-git' },
        runenv,
        filebeat: {
          image: FILEBEAT,
          tags: ['posp_trade_c', runenv],
          redis: { hosts: ['10.0.116.62:6379'], key: 'logstash:redis', passwordSecret: 'logstash-redis' },
        },
        runAsUser: 10001,
      });
    }
    return chart;
  });
}

/** What takes the logs from Redis, and the refusal of what the services were once fetched with. */
export function pospCluster(app: App): Chart {
  const chart = new Chart(app, 'posp-cluster', { namespace: 'logging' });
  new LogstashPipeline(chart, 'logstash', {
    redis: { hosts: ['10.0.116.62:6379'], key: 'logstash:redis', passwordSecret: 'logstash-redis' },
    indices: { posp_trade_c: 'posp-trade-c' },
    elasticsearch: { hosts: ['https://elasticsearch.logging.svc:9200'], credentialsSecret: 'logstash-elasticsearch' },
    logstash: { image: { repository: 'docker.elastic.co/logstash/logstash', tag: '9.2.1' } },
  });
  new NoGitRepoVolumes(chart, 'no-gitrepo');
  return chart;
}

export const ACCP_FINANCE: HelmChartOptions = {
  name: 'accp-finance',
  description: 'A posp C service',
  containerName: 'account-confirm',
  image: { repository: '10.0.116.41:80/posp-verify/base_c', tag: 'accp_record', pullPolicy: 'IfNotPresent' },
  proc: 'account_confirm',
  git: { project: 'http://172.20.5.54/posp/posp_c/account_confirm.git', revision: REVISION, directory: 'account_confirm' },
  nfs: { server: '10.0.116.71', mdir: '/data/log' },
  runenv: 'pre',
  filebeat: { image: { repository: '10.0.116.41:80/library/filebeat', tag: 'latest', pullPolicy: 'IfNotPresent' }, tags: ['posp_trade_c'] },
};

if (argv[1] === fileURLToPath(import.meta.url)) {
  const app = new App({ outdir: 'lib/examples/posp' });
  pospFromValues(app);
  posp(app);
  pospCluster(app);
  app.synth();
  console.log(writeHelmChart('lib/examples/charts', ACCP_FINANCE));
}
