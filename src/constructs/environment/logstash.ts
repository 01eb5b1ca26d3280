import { annotation, type CodedError, DNS_LABEL, type ImageSpec } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { checksum } from '../checksum.ts';
import { imageReference, pullPolicy } from '../image.ts';
import { environmentErrors } from './errors.ts';
import { DEFAULT_REDIS, type RedisList } from './filebeat.ts';

export interface LogstashPipelineProps {
  /** Name of the objects. @default logstash-pipeline */
  readonly name?: string;
  /** The list that filebeat pushes to. @default - logstash:redis at 10.0.116.62:6379 */
  readonly redis?: RedisList;
  /** A tag of filebeat's → its index's name, which gets the day behind it. */
  readonly indices: Readonly<Record<string, string>>;
  readonly elasticsearch: {
    /** https:// or http:// URLs without credentials. */
    readonly hosts: readonly string[];
    /** Secret with the keys username and password. @default - none */
    readonly credentialsSecret?: string;
  };
  /** Run logstash itself, and not only write its configuration. @default - the ConfigMap alone */
  readonly logstash?: { readonly image: ImageSpec; readonly replicas?: number };
}

export const PIPELINE_FILE = 'posp.conf';
/** Where the official image looks for pipelines. */
const PIPELINE_DIRECTORY = '/usr/share/logstash/pipeline';
const LOGSTASH_USER = 1000;
/** What no tag routes is kept and found, not lost. */
const UNROUTED = 'unrouted';

/** The way of the logs from the Redis list to Elasticsearch: an index a day for each tag. */
export class LogstashPipeline extends Construct {
  constructor(scope: Construct, id: string, props: LogstashPipelineProps) {
    super(scope, id);
    const { name = 'logstash-pipeline', logstash } = props;
    const problems = checkPipeline(name, props);
    this.node.addValidation({ validate: () => problems.map(String) });
    if (problems.length > 0) return;
    const data = { [PIPELINE_FILE]: pipelineConfig(props) };
    const labels = { 'app.kubernetes.io/name': name };
    new k8s.KubeConfigMap(this, 'config', { metadata: { name, labels }, data });
    if (!logstash) return;
    new k8s.KubeDeployment(this, 'Resource', {
      metadata: { name, labels },
      spec: {
        replicas: logstash.replicas ?? 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels, annotations: { [annotation.configChecksum]: checksum([data]) } },
          spec: podSpec(name, props, logstash.image),
        },
      },
    });
  }
}

/** One input a host, since logstash takes from one; routed by tag; each tag to its own index. */
export function pipelineConfig({ redis = DEFAULT_REDIS, indices, elasticsearch }: LogstashPipelineProps): string {
  const secured = redis.passwordSecret === undefined ? [] : [`password => ${variable('REDIS_PASSWORD')}`];
  const inputs = redis.hosts.flatMap((address) => {
    const { hostname, port, protocol } = new URL(address.includes('://') ? address : `redis://${address}`);
    const host = hostname.replaceAll(/^\[|\]$/g, '');
    return block('redis', [
      `host => ${text(host)}`,
      `port => ${port}`,
      ...(protocol === 'rediss:' ? ['ssl => true'] : []),
      ...secured,
      'data_type => "list"',
      `key => ${text(redis.key)}`,
      'codec => json {}',
    ]);
  });
  const account =
    elasticsearch.credentialsSecret === undefined
      ? []
      : [`user => ${variable('ELASTICSEARCH_USERNAME')}`, `password => ${variable('ELASTICSEARCH_PASSWORD')}`];
  const routes = Object.entries(indices);
  const filter = routes.flatMap(([tag, index], position) => [
    `${position === 0 ? 'if' : 'else if'} ${text(tag)} in [tags] {`,
    ...indented(block('mutate', [`add_field => { "[@metadata][index]" => ${text(index)} }`])),
    '}',
  ]);
  const otherwise = ['else {', ...indented(block('mutate', [`add_field => { "[@metadata][index]" => ${text(UNROUTED)} }`])), '}'];
  const output = block('elasticsearch', [
    `hosts => [${elasticsearch.hosts.map(text).join(', ')}]`,
    ...account,
    'index => "%{[@metadata][index]}-%{+YYYY.MM.dd}"',
    'data_stream => false',
  ]);
  return `${[
    ...['input {', ...indented(inputs), '}'],
    ...['filter {', ...indented([...filter, ...otherwise]), '}'],
    ...['output {', ...indented(output), '}'],
  ].join('\n')}\n`;
}

function block(plugin: string, settings: readonly string[]): string[] {
  return [`${plugin} {`, ...indented(settings), '}'];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** logstash takes backslashes as they are; checkPipeline lets no quote through. */
function text(value: string): string {
  return `"${value}"`;
}

/** Filled in by logstash itself when it starts. */
function variable(name: string): string {
  return `"\${${name}}"`;
}

function podSpec(name: string, { redis = DEFAULT_REDIS, elasticsearch }: LogstashPipelineProps, image: ImageSpec): k8s.PodSpec {
  const secret = (variable: string, secretName: string | undefined, key: string): k8s.EnvVar[] =>
    secretName === undefined ? [] : [{ name: variable, valueFrom: { secretKeyRef: { name: secretName, key } } }];
  return {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 60, // what is taken from the list is in memory until Elasticsearch has it
    securityContext: { runAsUser: LOGSTASH_USER, runAsNonRoot: true, fsGroup: LOGSTASH_USER, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'logstash',
        image: imageReference(image),
        imagePullPolicy: pullPolicy(image),
        env: [
          ...secret('REDIS_PASSWORD', redis.passwordSecret, 'password'),
          ...secret('ELASTICSEARCH_USERNAME', elasticsearch.credentialsSecret, 'username'),
          ...secret('ELASTICSEARCH_PASSWORD', elasticsearch.credentialsSecret, 'password'),
          { name: 'XPACK_MONITORING_ENABLED', value: 'false' }, // it would ask an Elasticsearch of the image's own imagination
        ],
        ports: [{ name: 'api', containerPort: 9600 }],
        resources: {
          requests: { cpu: k8s.Quantity.fromString('250m'), memory: k8s.Quantity.fromString('1Gi') },
          limits: { memory: k8s.Quantity.fromString('2Gi') },
        },
        startupProbe: { httpGet: { path: '/', port: k8s.IntOrString.fromString('api') }, periodSeconds: 5, failureThreshold: 36 },
        livenessProbe: { httpGet: { path: '/', port: k8s.IntOrString.fromString('api') }, periodSeconds: 20, failureThreshold: 3 },
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        volumeMounts: [{ name: 'pipeline', mountPath: PIPELINE_DIRECTORY, readOnly: true }],
      },
    ],
    volumes: [{ name: 'pipeline', configMap: { name } }],
  };
}

function checkPipeline(name: string, { indices, elasticsearch, redis = DEFAULT_REDIS }: LogstashPipelineProps): CodedError[] {
  const problems: CodedError[] = [];
  const need = (at: string, value: unknown, good: boolean, rule: string): void => {
    if (!good) problems.push(environmentErrors.LOGSTASH_VALUE({ at: `${name}.${at}`, value: JSON.stringify(value), rule }));
  };
  need('name', name, DNS_LABEL.test(name), 'must be lower-case letters, digits and "-", at most 63');
  need('indices', indices, Object.keys(indices).length > 0, 'must route a tag');
  for (const [tag, index] of Object.entries(indices)) {
    need('indices', tag, /^[\w.:-]+$/.test(tag), 'must be a tag of one word');
    need(`indices.${tag}`, index, /^[a-z0-9][a-z0-9_.-]*$/.test(index), 'must be an index: lower-case letters, digits, ".", "_" and "-"');
  }
  need('elasticsearch.hosts', elasticsearch.hosts, elasticsearch.hosts.length > 0, 'must name a host');
  for (const [at, hosts] of [
    ['elasticsearch.hosts', elasticsearch.hosts],
    ['redis.hosts', redis.hosts],
  ] as const)
    for (const host of hosts) {
      if (/:\/\/[^/]*@/.test(host)) problems.push(environmentErrors.ENVIRONMENT_SECRET_AS_VALUE({ at: `${name}.${at}` }));
      else if (at === 'redis.hosts')
        need(at, host, /^(?:rediss?:\/\/)?(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}$/.test(host), 'must be HOST:PORT');
      else need(at, host, /^https?:\/\/[\w.:[\]-]+\/?$/.test(host), 'must be an http or https URL');
    }
  need('redis.key', redis.key, /^[\w.:-]+$/.test(redis.key), 'must be the name of a list');
  return problems;
}
