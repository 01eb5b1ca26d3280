/**
 * Dockerfiles of a chain of images (base → openstack-base → nova-base → nova-api), out of templates. Checked as a chain: each starts
 * from the one below, and what starts the container is decided once, in the lowest.
 */
import type { CodedError } from 'cdk8s-baremetal-contract';
import { kollaErrors } from './errors.ts';
import { Variables } from './expression.ts';

export interface ImageLayer {
  readonly name: string;
  /** Dockerfile with {{ variables }}. */
  readonly template: string;
}

export interface ImageLayersOptions {
  /** From the lowest up. */
  readonly layers: readonly ImageLayer[];
  /** namespace, image_prefix, tag, base_image, base_distro_tag, launch_image, and what else the templates name. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Name of a layer → its Dockerfile.
 * @throws Error with a line for each problem
 */
export function renderImageLayers({ layers, variables }: ImageLayersOptions): ReadonlyMap<string, string> {
  const problems: CodedError[] = [];
  const scope = new Variables(new Map(Object.entries(variables)), problems);
  const rendered = new Map<string, string>();
  for (const { name, template } of layers) rendered.set(name, String(scope.resolve(template, `${name}/Dockerfile`) ?? ''));
  if (problems.length === 0) problems.push(...checkChain(rendered, variables));
  if (problems.length > 0) throw new Error(problems.map(String).join('\n'));
  return rendered;
}

function checkChain(rendered: ReadonlyMap<string, string>, variables: Readonly<Record<string, string>>): CodedError[] {
  const problems: CodedError[] = [];
  let below: string | undefined;
  for (const [layer, text] of rendered) {
    const instructions = dockerfileInstructions(text);
    const from = instructions.filter(({ name }) => name === 'FROM').map(({ rest }) => rest);
    const expected = below === undefined ? undefined : `${variables.namespace}/${variables.image_prefix}${below}:${variables.tag}`;
    if (expected !== undefined && from.at(-1) !== expected)
      problems.push(kollaErrors.KOLLA_LAYERS({ layer, problem: `starts FROM ${from.at(-1) ?? 'nothing'}, not ${expected}` }));
    const starts = instructions.some(({ name }) => name === 'CMD');
    if (starts !== (below === undefined))
      problems.push(kollaErrors.KOLLA_LAYERS({ layer, problem: starts ? 'has a CMD of its own' : 'has no CMD, and is the lowest' }));
    below = layer;
  }
  return problems;
}

export interface DockerfileInstruction {
  readonly name: string;
  readonly rest: string;
}

/** Comments dropped, continued lines joined. */
export function dockerfileInstructions(text: string): DockerfileInstruction[] {
  const lines = text.split('\n').filter((line) => !/^\s*#/.test(line));
  return lines
    .join('\n')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .flatMap((line) => {
      const [name = '', ...rest] = line.trim().split(/\s+/);
      return name === '' ? [] : [{ name: name.toUpperCase(), rest: rest.join(' ') }];
    });
}
