/** What the pages show has to work: their examples are run as they are printed, and what they list is what there is. */
import { readFileSync } from 'node:fs';
import { App, Chart } from 'cdk8s';
import { EnvironmentService, KollaService, kollaErrors } from 'cdk8s-baremetal';
import { VALUES } from 'cdk8s-baremetal/environment/values';
import { KOLLA_JOB_VARIABLE } from 'cdk8s-baremetal/kolla/jobs';
import { kollaVariable, RUN_ENVIRONMENTS } from 'cdk8s-baremetal-contract/launch/index';
import { describe, expect, it } from 'vitest';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { manifestsOf } from '../../support/synth.ts';

const page = (name: string): string => readFileSync(`docs/${name}.md`, 'utf8');
const KOLLA = page('kolla');
const ENVIRONMENTS = page('environments');

/** The first code block, run; answers the chart that it fills. */
const run = (text: string): Chart => {
  const code = /```ts\n(.*?)```/s.exec(text)?.[1] ?? '';
  expect(code.trimEnd().split('\n').length).toBeLessThanOrEqual(12);
  const files: Record<string, string> = {
    'defaults/main.yml': readFileSync('examples/nova-api/defaults.yml', 'utf8'),
    'nova.conf': readFileSync('examples/nova-api/nova.conf', 'utf8'),
  };
  const body = new Function('app', 'Chart', 'KollaService', 'EnvironmentService', 'readFileSync', 'BASE_C', `${code}\nreturn chart;`);
  return body(new App(), Chart, KollaService, EnvironmentService, (name: string) => files[name], `sha256:${'a'.repeat(64)}`);
};

describe('docs/kolla.md', () => {
  it('its example synthesizes', () => {
    const manifests = manifestsOf(run(KOLLA));
    expect(manifests.map(({ kind }) => kind)).toEqual([
      'ConfigMap',
      'Job',
      'Job',
      'Deployment',
      'Job',
      'ServiceAccount',
      'Role',
      'RoleBinding',
    ]);
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
  it('lists every job, action and compared field', () => {
    for (const [kind, variable] of Object.entries(KOLLA_JOB_VARIABLE)) expect(KOLLA).toContain(`| ${kind} | ${variable} |`);
    for (const word of [
      'ensure_image',
      'start_container',
      'recreate_or_restart_container',
      'stop_container',
      'remove_container',
      'compare_container',
    ])
      expect(KOLLA).toContain(word);
    const compared = KOLLA.slice(KOLLA.indexOf('### What is compared'), KOLLA.indexOf('## Jobs around'));
    const fields =
      'cap_add security_opt image ipc_mode labels privileged pid_mode cgroupns_mode tmpfs volumes volumes_from environment container_state dimensions command healthcheck';
    for (const field of fields.split(' ')) expect(compared).toContain(field);
  });
  it('every error has a cure', () => {
    expect(Object.keys(kollaErrors).every((code) => code.startsWith('KOLLA_'))).toBe(true);
    expect(KOLLA).toContain(kollaVariable.prepared);
  });
});

describe('docs/environments.md', () => {
  it('its example synthesizes', () => {
    const manifests = manifestsOf(run(ENVIRONMENTS));
    expect(manifests.map(({ kind }) => kind)).toEqual(['ConfigMap', 'Deployment']);
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
  it('lists every environment with its file, and every key of the values', () => {
    for (const { name, suffix } of RUN_ENVIRONMENTS) expect(ENVIRONMENTS).toContain(`| ${name} | \`PROC.ini${suffix}\` |`);
    const keys = ENVIRONMENTS.slice(ENVIRONMENTS.indexOf('| values.yaml |'));
    for (const key of Object.keys(VALUES)) expect(keys).toContain(key);
  });
});
