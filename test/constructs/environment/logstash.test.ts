import { App, Chart } from 'cdk8s';
import { LogstashPipeline, type LogstashPipelineProps } from 'cdk8s-baremetal';
import { describe, expect, it } from 'vitest';
import { pospCluster } from '../../../examples/posp/app.ts';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { type Plugin, parsePipeline, pluginsFor, type Statement } from '../../support/logstash-config.ts';
import { type AnyManifest, find, manifestsOf, problemsOf } from '../../support/synth.ts';

const PROPS: LogstashPipelineProps = {
  indices: { posp_trade_c: 'posp-trade-c', posp_batch: 'posp-batch' },
  elasticsearch: { hosts: ['https://e1:9200', 'https://e2:9200'] },
};
const synth = (changes: Partial<LogstashPipelineProps> = {}): AnyManifest[] => {
  const chart = new Chart(new App(), 'test');
  new LogstashPipeline(chart, 'logstash', { ...PROPS, ...changes });
  return manifestsOf(chart);
};
const pipeline = (changes: Partial<LogstashPipelineProps> = {}) =>
  parsePipeline(find(synth(changes), 'ConfigMap', 'logstash-pipeline').data['posp.conf']);
const plugins = (statements: readonly Statement[]): Plugin[] => statements.filter((statement) => statement.kind === 'plugin');

describe('003-7: the pipeline', () => {
  it('takes from the list that filebeat pushes to', () => {
    expect(plugins(pipeline().input)).toEqual([
      {
        kind: 'plugin',
        name: 'redis',
        settings: { host: '10.0.116.62', port: 6379, data_type: 'list', key: 'logstash:redis', codec: { json: {} } },
      },
    ]);
  });
  it('one input for each Redis, with its password from the environment', () => {
    const redis = { hosts: ['r1:6379', 'rediss://r2:6380', '[::1]:6381'], key: 'k', passwordSecret: 's' };
    expect(plugins(pipeline({ redis }).input).map(({ settings: { host, port, ssl, password } }) => [host, port, ssl, password])).toEqual([
      // biome-ignore-start lint/suspicious/noTemplateCurlyInString: as logstash expands it
      ['r1', 6379, undefined, '${REDIS_PASSWORD}'],
      ['r2', 6380, true, '${REDIS_PASSWORD}'],
      ['::1', 6381, undefined, '${REDIS_PASSWORD}'],
      // biome-ignore-end lint/suspicious/noTemplateCurlyInString: as logstash expands it
    ]);
  });
  it.each([
    [['posp_trade_c', 'pre'], 'posp-trade-c'],
    [['posp_batch'], 'posp-batch'],
    [['of another'], 'unrouted'],
    [undefined, 'unrouted'],
  ])('routes by tag: %j to %s', (tags, index) => {
    const met = pluginsFor(pipeline().filter, { tags });
    expect(met.map(({ name, settings }) => [name, settings.add_field])).toEqual([['mutate', { '[@metadata][index]': index }]]);
  });
  it('writes to an index a day', () => {
    expect(plugins(pipeline().output)).toEqual([
      {
        kind: 'plugin',
        name: 'elasticsearch',
        settings: { hosts: ['https://e1:9200', 'https://e2:9200'], index: '%{[@metadata][index]}-%{+YYYY.MM.dd}', data_stream: false },
      },
    ]);
  });
  it('the ConfigMap alone, or logstash with it', () => {
    expect(synth().map(({ kind }) => kind)).toEqual(['ConfigMap']);
    const manifests = manifestsOf(pospCluster(new App()));
    const { spec } = find(manifests, 'Deployment', 'logstash-pipeline').spec.template;
    expect(spec.containers[0].env.map(({ name }: { name: string }) => name)).toEqual([
      'REDIS_PASSWORD',
      'ELASTICSEARCH_USERNAME',
      'ELASTICSEARCH_PASSWORD',
      'XPACK_MONITORING_ENABLED',
    ]);
    expect(spec.containers[0].volumeMounts).toContainEqual({ name: 'pipeline', mountPath: '/usr/share/logstash/pipeline', readOnly: true });
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
  it.each<[string, Partial<LogstashPipelineProps>, string]>([
    ['nothing to route', { indices: {} }, 'must route a tag'],
    ['an index in capitals', { indices: { a: 'Posp' } }, 'logstash-pipeline.indices.a is "Posp"'],
    ['a tag with a quote', { indices: { 'a"b': 'x' } }, 'must be a tag of one word'],
    ['a password in a URL', { elasticsearch: { hosts: ['https://u:hunter2@e'] } }, 'ENVIRONMENT_SECRET_AS_VALUE'],
    ['no URL', { elasticsearch: { hosts: ['e:9200'] } }, 'must be an http or https URL'],
  ])('refuses %s', (_, changes, expected) => {
    const found = problemsOf((app) => {
      const chart = new Chart(app, 'test');
      new LogstashPipeline(chart, 'logstash', { ...PROPS, ...changes });
      return chart;
    });
    expect(found).toEqual([expect.stringContaining(expected)]);
    expect(found[0]).not.toContain('hunter2');
  });
});
