/**
 * The helm chart of such services: the very manifests of EnvironmentService, made from placeholders in place of values, which then
 * become template expressions. Whatever the construct learns, the chart knows.
 *
 * The expressions are few, on purpose: field references, `quote`, `toJson`, `printf`, `sha256sum`, `first (splitList …)`, one
 * `define` and its `include`. Every value arrives in YAML through quote, so that none can break out of its place.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Chart } from 'cdk8s';
import { RUN_ENVIRONMENT_NAMES } from 'cdk8s-baremetal-contract/launch/index';
import { k8s } from 'cdk8s-plus-28';
import { stringify } from 'yaml';
import { imageReference } from '../image.ts';
import { type EnvironmentServiceProps, manifestOptions } from './environment-service.ts';
import { DEFAULT_REDIS, filebeatConfig } from './filebeat.ts';
import { configMapProps, deploymentProps } from './manifests.ts';
import { valuesSchema } from './values.ts';

export interface HelmChartOptions extends Omit<EnvironmentServiceProps, 'release' | 'nfs'> {
  /** Name of the chart and of its directory. */
  readonly name: string;
  /** @default 0.1.0 */
  readonly version?: string;
  /** Of the programs. @default 1.0 */
  readonly appVersion?: string;
  readonly description?: string;
  /** Declared as in the original's values.yaml; the logs of a chart's release live with its pod. */
  readonly nfs?: { readonly server: string; readonly mdir: string };
}

/** Path in the chart's directory → content. The props become values.yaml. */
export function helmChart(options: HelmChartOptions): ReadonlyMap<string, string> {
  const { name, version = '0.1.0', appVersion = '1.0', description = 'A service of one image in one environment' } = options;
  return new Map([
    ['Chart.yaml', stringify({ apiVersion: 'v2', name, description, type: 'application', version, appVersion })],
    ['values.yaml', stringify(chartValues(options))],
    ['values.schema.json', `${JSON.stringify(valuesSchema(RUN_ENVIRONMENT_NAMES), undefined, 2)}\n`],
    ['templates/pod.yaml', templates(options)],
    ['charts/.gitkeep', ''],
  ]);
}

/** Writes the chart to `directory`/NAME; answers that path. */
export function writeHelmChart(directory: string, options: HelmChartOptions): string {
  const root = join(directory, options.name);
  for (const [path, content] of helmChart(options)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

function chartValues(options: HelmChartOptions): Record<string, unknown> {
  const { git, filebeat, nfs } = options;
  const { redis = DEFAULT_REDIS } = filebeat;
  const { launchImage } = manifestOptions({ ...withoutNfs(options), release: 'values' });
  return {
    containers: { name: options.containerName, image: imageReference(options.image) },
    configmap: { proc: options.proc, project: git.directory },
    ...(nfs && { nfs }),
    filebeat: { image: imageReference(filebeat.image), tags: filebeat.tags.join(',') },
    git: {
      project: git.project,
      revision: git.revision,
      ...(git.credentialsSecret !== undefined && { credentialsSecret: git.credentialsSecret }),
    },
    redis: { hosts: [...redis.hosts], key: redis.key, ...(redis.passwordSecret !== undefined && { passwordSecret: redis.passwordSecret }) },
    launch: { image: launchImage },
    runenv: options.runenv,
  };
}

const CONFIG_TEMPLATE = 'posp.filebeat';
const FIELD = (path: string): string => `.Values.${path}`;
const RELEASE = '.Release.Name';

function templates(options: HelmChartOptions): string {
  const places = new Places();
  const value = (path: string): string => places.of(FIELD(path));
  const { redis = DEFAULT_REDIS } = options.filebeat;
  const include = `(include "${CONFIG_TEMPLATE}" .)`;
  const made = {
    ...manifestOptions({ ...withoutNfs(options), release: 'chart' }),
    release: places.of(RELEASE),
    containerName: value('containers.name'),
    image: value('containers.image'),
    proc: value('configmap.proc'),
    gitDirectory: value('configmap.project'),
    runenv: value('runenv'),
    project: value('git.project'),
    revision: value('git.revision'),
    protocol: places.of(`(first (splitList "://" ${FIELD('git.project')}))`),
    launchImage: value('launch.image'),
    filebeatImage: value('filebeat.image'),
    filebeatConfig: places.of(include),
    filebeatChecksum: places.of(`(sha256sum ${include})`),
    ...(options.git.credentialsSecret !== undefined && { gitSecret: value('git.credentialsSecret') }),
    ...(redis.passwordSecret !== undefined && { redisPasswordSecret: value('redis.passwordSecret') }),
  };
  // a chart of its own app: it is only asked for its objects, and never synthesized
  const chart = new Chart(new App(), 'chart');
  new k8s.KubeDeployment(chart, 'deployment', deploymentProps(made));
  new k8s.KubeConfigMap(chart, 'config', configMapProps(made));
  const documents = chart.toJson().map((object: unknown) => places.expand(stringify(places.marked(object), { lineWidth: 0 })));
  const config = filebeatConfig({
    id: `{{ printf "posp-%s-%s" ${RELEASE} ${FIELD('configmap.proc')} | quote }}`,
    tags: `[{{ ${FIELD('filebeat.tags')} | quote }}]`,
    hosts: `{{ ${FIELD('redis.hosts')} | toJson }}`,
    key: `{{ ${FIELD('redis.key')} | quote }}`,
    hasPassword: redis.passwordSecret !== undefined,
    fileIdentity: 'native',
  });
  return [`{{- define "${CONFIG_TEMPLATE}" -}}\n${config}{{ end -}}\n`, ...documents].join('---\n');
}

function withoutNfs({ nfs: _, ...rest }: HelmChartOptions): Omit<EnvironmentServiceProps, 'release'> {
  return rest;
}

/** Placeholders for expressions, and the way back. */
class Places {
  private readonly expressions: string[] = [];
  private readonly scalars: string[] = [];

  of(expression: string): string {
    const known = this.expressions.indexOf(expression);
    if (known >= 0) return mark(known);
    return mark(this.expressions.push(expression) - 1);
  }

  /** `value` with every text that holds placeholders replaced by one word, which YAML writes without quotes. */
  marked(value: unknown): unknown {
    if (typeof value === 'string') return value.includes(OPEN) ? `TEMPLATE${this.scalars.push(this.scalar(value)) - 1}X` : value;
    if (Array.isArray(value)) return value.map((item) => this.marked(item));
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.marked(item)]));
    return value;
  }

  expand(yaml: string): string {
    return yaml.replaceAll(/TEMPLATE(\d+)X/g, (_, index: string) => this.scalars[Number(index)] ?? '');
  }

  private scalar(text: string): string {
    const parts = text.split(PLACE);
    const [before, index, after] = parts;
    if (parts.length === 3 && before === '' && after === '') return `{{ ${this.expressions[Number(index)]} | quote }}`;
    const format = parts.map((part, position) => (position % 2 === 0 ? part.replaceAll('%', '%%') : '%s')).join('');
    const args = parts.filter((_, position) => position % 2 === 1).map((part) => this.expressions[Number(part)]);
    return `{{ printf ${JSON.stringify(format)} ${args.join(' ')} | quote }}`;
  }
}

/** Private-use characters: in no value, and none that YAML or a regular expression would treat in its own way. */
const OPEN = '\uE000';
const CLOSE = '\uE001';
const PLACE = /\uE000(\d+)\uE001/;

function mark(index: number): string {
  return `${OPEN}${index}${CLOSE}`;
}
