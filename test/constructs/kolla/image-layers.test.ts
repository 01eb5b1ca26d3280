import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dockerfileInstructions } from 'cdk8s-baremetal/kolla/image-layers';
import { renderImageLayers } from 'cdk8s-baremetal/kolla/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_VARIABLES, LAYERS, layerTemplates, writeLayers } from '../../../images/kolla/render.ts';
import { Sandbox } from '../../runtime/launch/sandbox.ts';

const layers = renderImageLayers({ layers: layerTemplates(), variables: DEFAULT_VARIABLES });
const instructions = (layer: string) => dockerfileInstructions(layers.get(layer) ?? '');
const of = (layer: string, name: string): string[] =>
  instructions(layer)
    .filter((one) => one.name === name)
    .map(({ rest }) => rest);

describe('001-4: images in layers', () => {
  it('each starts from the one below', () => {
    expect(LAYERS.map((layer) => of(layer, 'FROM').at(-1))).toEqual([
      'docker.io/library/debian:bookworm-slim',
      'harbor.capitalonline.net/kolla/base:2026.1',
      'harbor.capitalonline.net/kolla/openstack-base:2026.1',
      'harbor.capitalonline.net/kolla/nova-base:2026.1',
    ]);
  });

  it('CMD kolla_start only in base', () => {
    expect(LAYERS.map((layer) => of(layer, 'CMD'))).toEqual([['["kolla_start"]'], [], [], []]);
  });

  it("the environment's programs come first in PATH", () => {
    expect(of('openstack-base', 'ENV')).toEqual(['PATH=/var/lib/kolla/venv/bin:$PATH']);
  });

  it('the extend_start chain: base has an empty one, nova-base sources what nova-api brings', () => {
    expect(of('base', 'RUN').join()).toContain('touch /usr/local/bin/kolla_extend_start');
    expect(of('nova-base', 'COPY')).toContain('extend_start.sh /usr/local/bin/kolla_extend_start');
    expect(of('nova-base', 'RUN').join()).toContain('touch /usr/local/bin/kolla_nova_extend_start');
    expect(of('nova-api', 'COPY')).toEqual(['extend_start.sh /usr/local/bin/kolla_nova_extend_start']);
    expect(of('nova-api', 'USER')).toEqual(['nova']);
  });

  it("sudo reaches kolla_set_configs alone, and logs are the group's", () => {
    const sudoers = readFileSync('images/kolla/base/sudoers', 'utf8');
    expect(sudoers).toMatch(/^%kolla ALL=\(root\) NOPASSWD: \/usr\/local\/bin\/kolla_set_configs, \/opt\/launch\/kolla_set_configs$/m);
    expect(of('base', 'RUN').join()).toContain('chmod 2775 /var/log/kolla');
    expect(of('base', 'RUN').join()).toContain('chmod 440 /etc/sudoers');
  });

  it.each<[string, (template: string) => string, string]>([
    ['a CMD in the middle', (template) => `${template}CMD ["x"]\n`, 'KOLLA_LAYERS: the image layer nova-base has a CMD of its own'],
    [
      'another chain',
      (template) => template.replace('openstack-base', 'opentack-base'),
      'starts FROM harbor.capitalonline.net/kolla/opentack-base:2026.1',
    ],
    ['an unknown variable', (template) => `${template}ENV A={{ tags }}\n`, 'did you mean "tag"?'],
  ])('%s is refused', (_, change, expected) => {
    const broken = layerTemplates().map((layer) => (layer.name === 'nova-base' ? { ...layer, template: change(layer.template) } : layer));
    expect(() => renderImageLayers({ layers: broken, variables: DEFAULT_VARIABLES })).toThrow(expected);
  });
});

describe('001-4: build contexts', () => {
  const directory = mkdtempSync(join(tmpdir(), 'layers-'));
  beforeAll(() => writeLayers(directory, DEFAULT_VARIABLES));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each(LAYERS)('%s has all that it copies', (layer) => {
    const context = readdirSync(join(directory, layer));
    expect(context).not.toContain('Dockerfile.template');
    for (const copied of of(layer, 'COPY').filter((rest) => !rest.startsWith('--from'))) {
      for (const source of copied.split(' ').slice(0, -1)) expect(existsSync(join(directory, layer, source)), source).toBe(true);
    }
  });
});

describe('001-4: the command that writes them', () => {
  const rendered = (...words: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', 'images/kolla/render.ts', ...words], { encoding: 'utf8' });

  it.each([
    ['a variable that there is not', 'tga=2026.2', '"tga=2026.2" is no name=value of', 'did you mean "tag"?'],
    ['a word that gives none a value', '2026.2', '"2026.2" is no name=value of namespace,'],
  ])('%s is refused, and not passed over: images of another release would be built', (_, word, ...says) => {
    const { status, stderr } = rendered(word);
    expect(status).toBe(2);
    for (const part of says) expect(stderr).toContain(part);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});

const hasBash = spawnSync('bash', ['--version']).status === 0;
if (!hasBash) console.warn('test/constructs/kolla: bash is missing (package bash): the extend_start scripts are not run');

describe.skipIf(!hasBash)("001-10: nova-api's extend_start", () => {
  const SCRIPT = 'images/kolla/nova-api/extend_start.sh';
  const run = (variables: Record<string, string>, failing = '', code = 2) => {
    const box = new Sandbox();
    try {
      for (const name of ['nova-manage', 'nova-status'])
        box.write(`/bin/${name}`, `#!/bin/sh\necho "${name} $*"\ncase "$*" in "${failing || 'none'}") exit ${code} ;; esac\n`, 0o755);
      const { status, stdout } = spawnSync('bash', ['-ec', `. ${SCRIPT}\necho started`], {
        encoding: 'utf8',
        env: { PATH: `${box.at('/bin')}:/usr/bin:/bin`, ...variables },
      });
      return { status, lines: stdout.trimEnd().split('\n') };
    } finally {
      box.remove();
    }
  };

  it.each<[string, string[]]>([
    ['KOLLA_BOOTSTRAP', ['nova-manage api_db sync', 'nova-manage db sync --local_cell', 'nova-manage db online_data_migrations']],
    ['KOLLA_UPGRADE', ['nova-manage api_db sync', 'nova-manage db sync']],
    ['KOLLA_OSM', ['nova-manage db online_data_migrations']],
    ['KOLLA_UPGRADE_CHECK', ['nova-status upgrade check']],
  ])('%s, set to nothing, makes it a job', (variable, lines) => expect(run({ [variable]: '' })).toEqual({ status: 0, lines }));

  it('none of them: the service starts', () => expect(run({})).toEqual({ status: 0, lines: ['started'] }));

  it('a failing step fails the job', () => {
    expect(run({ KOLLA_UPGRADE: '' }, 'api_db sync')).toEqual({ status: 2, lines: ['nova-manage api_db sync'] });
    expect(run({ KOLLA_UPGRADE_CHECK: '' }, 'upgrade check').status).toBe(2);
    expect(run({ KOLLA_UPGRADE_CHECK: '' }, 'upgrade check', 255).status).toBe(255);
  });

  it('a warning of the upgrade check, which is exit code 1, is no failure: it would hold the rollout for ever', () => {
    expect(run({ KOLLA_UPGRADE_CHECK: '' }, 'upgrade check', 1)).toEqual({ status: 0, lines: ['nova-status upgrade check'] });
    expect(run({ KOLLA_UPGRADE: '' }, 'db sync', 1).status).toBe(1);
  });
});
