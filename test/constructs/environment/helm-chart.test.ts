/** The chart against the construct: rendered with the same values, both must say the same. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { App, Chart } from 'cdk8s';
import { EnvironmentService, type HelmChartOptions, helmChart, writeHelmChart } from 'cdk8s-baremetal';
import { VALUES as KEYS } from 'cdk8s-baremetal/environment/values';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { ACCP_FINANCE } from '../../../examples/posp/app.ts';
import { renderTemplate } from '../../support/go-template.ts';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { type AnyManifest, manifestsOf } from '../../support/synth.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

type Values = Record<string, Record<string, unknown> | string>;

const SEED = readFileSync(new URL('../../../examples/posp/values.yaml', import.meta.url), 'utf8');
const RELEASE = 'accp-finance';
const file = (options: HelmChartOptions, name: string): string => helmChart(options).get(name) ?? '';

/** As helm lays values files over each other. */
const merged = (base: Values, over: Values): Values => {
  const result = structuredClone(base);
  for (const [key, value] of Object.entries(over))
    result[key] = typeof value === 'string' ? value : { ...(result[key] as object), ...value };
  return result;
};
const rendered = (options: HelmChartOptions, over: Values, release = RELEASE): AnyManifest[] => {
  const values = merged(parse(file(options, 'values.yaml')), over);
  const text = renderTemplate(file(options, 'templates/pod.yaml'), { Values: values, Release: { Name: release } });
  return [parseAllDocuments(text)].flat().map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS();
  });
};
const synthesized = (options: HelmChartOptions, over: Values, release = RELEASE): AnyManifest[] => {
  const chart = new Chart(new App(), 'test');
  EnvironmentService.fromValues(chart, 'service', stringify(merged(parse(file(options, 'values.yaml')), over)), { release });
  return manifestsOf(chart);
};
const byKind = (manifests: readonly AnyManifest[]) => Object.fromEntries(manifests.map((manifest) => [manifest.kind, manifest]));

const SECURED: HelmChartOptions = {
  ...ACCP_FINANCE,
  git: { ...ACCP_FINANCE.git, project: 'https://git.example.net/p.git', credentialsSecret: 'posp-git' },
  filebeat: { ...ACCP_FINANCE.filebeat, redis: { hosts: ['r1:6379', 'r2:6379'], key: 'logstash:redis', passwordSecret: 'logstash-redis' } },
};

describe("003-8: the seed's chart tree", () => {
  const folder = temporaryFolder();
  beforeAll(folder.create);
  afterAll(folder.remove);

  it('accp-finance/{charts,Chart.yaml,templates/pod.yaml,values.yaml}', () => {
    const root = writeHelmChart(folder.path(), ACCP_FINANCE);
    expect(root.endsWith('/accp-finance')).toBe(true);
    expect(statSync(`${root}/charts`).isDirectory()).toBe(true);
    for (const path of ['Chart.yaml', 'templates/pod.yaml', 'values.yaml']) expect(existsSync(`${root}/${path}`), path).toBe(true);
    expect(parse(readFileSync(`${root}/Chart.yaml`, 'utf8'))).toMatchObject({
      apiVersion: 'v2',
      name: 'accp-finance',
      version: '0.1.0',
      type: 'application',
    });
  });

  const helm = spawnSync('helm', ['version', '--short']).error === undefined;
  if (!helm)
    console.warn(
      'test/constructs/environment: helm is missing (not in Debian): the chart is rendered by the evaluator of test/support alone',
    );
  it.skipIf(!helm)('helm template renders it as the construct synthesizes it', () => {
    const root = writeHelmChart(folder.path('helm'), ACCP_FINANCE);
    writeFileSync(folder.path('seed.yaml'), SEED);
    const { status, stdout, stderr } = spawnSync('helm', ['template', RELEASE, root, '-f', folder.path('seed.yaml')], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const documents = [parseAllDocuments(stdout)].flat().map((document) => document.toJS() as AnyManifest);
    expect(byKind(documents)).toEqual(byKind(synthesized(ACCP_FINANCE, parse(SEED))));
  });
});

describe('003-8: the chart says what the construct says', () => {
  it("with the seed's values", () => {
    expect(byKind(rendered(ACCP_FINANCE, parse(SEED)))).toEqual(byKind(synthesized(ACCP_FINANCE, parse(SEED))));
    expect(rendered(ACCP_FINANCE, parse(SEED)).flatMap(schemaProblems)).toEqual([]);
  });
  it('with Secrets and two Redis', () => {
    expect(byKind(rendered(SECURED, {}))).toEqual(byKind(synthesized(SECURED, {})));
    expect(JSON.stringify(rendered(SECURED, {}))).toContain('logstash-redis');
  });
  it('under another release name', () => {
    const [deployment, config] = rendered(ACCP_FINANCE, {}, 'other');
    expect([deployment?.metadata.name, config?.metadata.name]).toEqual(['posp-other', 'other-filebeat-config']);
    expect(byKind(rendered(ACCP_FINANCE, {}, 'other'))).toEqual(byKind(synthesized(ACCP_FINANCE, {}, 'other')));
  });

  const OTHER: Readonly<Record<string, unknown>> = {
    'containers.name': 'other',
    'containers.image': 'registry.example.net/base_c:2',
    'configmap.proc': 'other_proc',
    'configmap.project': 'other_project',
    'filebeat.image': 'registry.example.net/filebeat:9.2.1',
    'filebeat.tags': 'other_tag',
    'git.project': 'https://git.example.net/other.git',
    'git.revision': 'f'.repeat(40),
    'git.credentialsSecret': 'other-git',
    'redis.hosts': ['other:6379'],
    'redis.key': 'other:list',
    'redis.passwordSecret': 'other-redis',
    'launch.image': 'registry.example.net/launch:2',
    runenv: 'test',
  };
  it.each(Object.entries(OTHER))('a changed %s changes what is rendered, in the same way', (path, value) => {
    const [section = '', key] = path.split('.');
    const over = (key === undefined ? { [section]: value } : { [section]: { [key]: value } }) as Values;
    expect(rendered(SECURED, over)).not.toEqual(rendered(SECURED, {}));
    expect(byKind(rendered(SECURED, over))).toEqual(byKind(synthesized(SECURED, over)));
  });
  it('every key of the values is covered', () => {
    expect(Object.keys(KEYS).filter((key) => !(key in OTHER))).toEqual(['nfs.server', 'nfs.mdir']);
  });

  it.each(['a"b', "a'b", 'a\\b', 'a: b', '# a', '{{ .Release.Name }}', 'a\nb: c'])('a value cannot leave its place: %j', (value) => {
    const [deployment, config] = rendered(ACCP_FINANCE, { runenv: value, redis: { key: value } });
    expect(deployment?.spec.template.spec.containers[0].env[0]).toEqual({ name: 'RUNENV', value });
    expect(parse(config?.data['filebeat.yml'])['output.redis'].key).toBe(value);
  });
  it('a value that is missing is an error', () => {
    const text = file(ACCP_FINANCE, 'templates/pod.yaml');
    expect(() => renderTemplate(text, { Values: {}, Release: { Name: 'x' } })).toThrow('has no value');
  });
  it('every value passes through quote or toJson', () => {
    for (const [action] of file(SECURED, 'templates/pod.yaml').matchAll(/\{\{.*?\}\}/g))
      expect(action).toMatch(/^\{\{-? (?:define "posp\.filebeat"|end|.*\| (?:quote|toJson)) -?\}\}$/);
  });
});

describe('003-8: helm holds values against a schema before it renders', () => {
  const validate = new Ajv({ strict: true }).compile(JSON.parse(file(ACCP_FINANCE, 'values.schema.json')));
  const values = (over: Values): Values => merged(parse(file(ACCP_FINANCE, 'values.yaml')), over);

  it('those of the chart and of the seed pass', () => {
    expect(validate(values({}))).toBe(true);
    expect(validate(values(parse(SEED)))).toBe(true);
  });
  it.each<[string, Values]>([
    ['a RUNENV that is none', { runenv: 'prod' }],
    ['a branch', { git: { revision: 'master' } }],
    ['an unknown key', { configmap: { porc: 'x' } }],
    ['a program elsewhere', { configmap: { proc: '../x' } }],
    ['a project of another kind', { git: { project: 'file:///x' } }],
    ['a number', { filebeat: { tags: 1 } }],
  ])('%s does not', (_, over) => expect(validate(values(over))).toBe(false));
});

describe('the evaluator is strict', () => {
  const data = { Values: { a: 'x' }, Release: { Name: 'r' } };
  it.each([
    '{{ .Values.b }}',
    '{{ upper .Values.a }}',
    '{{ if .Values.a }}x{{ end }}',
    '{{.Values.a}}',
    '{{ .Values.a | quote | }}',
    '{{ printf "%d" .Values.a }}',
    '{{ .Values.a',
  ])('%s is an error', (text) => expect(() => renderTemplate(text, data)).toThrow());
  it('white space goes where a minus sign is', () =>
    expect(renderTemplate('a \n{{- .Values.a -}}\n b {{ .Release.Name }} c', data)).toBe('axb r c'));
});
