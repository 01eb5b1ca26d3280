/**
 * Renders the layers of nova-api's image and puts each one's build context into lib/images/kolla:
 *
 *     node --import tsx images/kolla/render.ts [name=value …]
 *     docker build -t NAMESPACE/PREFIXbase:TAG lib/images/kolla/base        … and so on, from the lowest up
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process, { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { type ImageLayer, renderImageLayers } from 'cdk8s-baremetal/kolla/index';
import { nearest } from 'cdk8s-baremetal-contract';

const here = fileURLToPath(new URL('.', import.meta.url));

export const LAYERS = ['base', 'openstack-base', 'nova-base', 'nova-api'] as const;

export const DEFAULT_VARIABLES: Readonly<Record<string, string>> = {
  namespace: 'harbor.capitalonline.net/kolla',
  image_prefix: '',
  tag: '2026.1',
  base_image: 'docker.io/library/debian',
  base_distro_tag: 'bookworm-slim',
  launch_image: 'harbor.capitalonline.net/bms-test/bms_launch:1.0',
  upper_constraints: 'https://releases.openstack.org/constraints/upper/2026.1',
};

export function layerTemplates(): ImageLayer[] {
  return LAYERS.map((name) => ({ name, template: readFileSync(join(here, name, 'Dockerfile.template'), 'utf8') }));
}

/** Writes every layer's Dockerfile and what it copies to `directory`/LAYER. */
export function writeLayers(directory: string, variables: Readonly<Record<string, string>>): void {
  const rendered = renderImageLayers({ layers: layerTemplates(), variables });
  rmSync(directory, { recursive: true, force: true });
  for (const [name, dockerfile] of rendered) {
    mkdirSync(join(directory, name), { recursive: true });
    writeFileSync(join(directory, name, 'Dockerfile'), dockerfile);
    for (const file of readdirSync(join(here, name)))
      if (file !== 'Dockerfile.template') copyFileSync(join(here, name, file), join(directory, name, file));
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  try {
    writeLayers(join(here, '../../lib/images/kolla'), { ...DEFAULT_VARIABLES, ...Object.fromEntries(argv.slice(2).map(assignment)) });
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 2;
  }
}

function assignment(word: string): [string, string] {
  const [, name = '', value = ''] = /^(\w+)=(.*)$/s.exec(word) ?? [];
  if (name in DEFAULT_VARIABLES) return [name, value];
  const known = Object.keys(DEFAULT_VARIABLES);
  const near = nearest(name, known);
  throw new Error(`"${word}" is no name=value of ${known.join(', ')}${near === undefined ? '' : ` (did you mean "${near}"?)`}`);
}
