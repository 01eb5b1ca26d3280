/**
 * Builds what images/launch ships: lib/launch/ with the bundles for a bare Node and the shell programs beside them.
 *
 *     node --import tsx scripts/build-launch.ts [directory | --update]
 *
 * --update first writes the table of environments into images/launch/environment_start.
 *
 * The bundles start with every container, so they are held small: the build fails when a package gets in that has no
 * business there, or when a bundle outgrows its budget.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { environmentFragment } from '../src/runtime/launch/environments.ts';

const here = dirname(fileURLToPath(import.meta.url));
const launch = join(here, '../src/runtime/launch');
const images = join(here, '../images/launch');
const ENVIRONMENT_START = join(images, 'environment_start');

interface Bundle {
  readonly entry: string;
  readonly file: string;
  readonly budgetBytes: number;
  /** npm packages that may be in it. */
  readonly packages: readonly string[];
}

export const BUNDLES: readonly Bundle[] = [
  { entry: 'bin-set-configs.ts', file: 'set-configs.cjs', budgetBytes: 40_000, packages: [] },
  { entry: 'yaml-text.ts', file: 'set-configs-yaml.cjs', budgetBytes: 120_000, packages: ['yaml'] },
  { entry: 'bin-checkout.ts', file: 'checkout.cjs', budgetBytes: 40_000, packages: [] },
];

export const SHELL_PROGRAMS = ['kolla_start', 'kolla_set_configs', 'environment_start', 'checkout'];

/** The YAML parser stays a file of its own, loaded only for a config.yaml. */
const separateYaml: Plugin = {
  name: 'separate-yaml',
  setup(builder) {
    builder.onResolve({ filter: /^\.\/yaml-text\.ts$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: './set-configs-yaml.cjs', external: true } : undefined,
    );
  },
};

/** The script with the table of environments.ts between its markers. */
export function withEnvironmentTable(script: string): string {
  const begin = script.indexOf('\n', script.indexOf('# environments: begin')) + 1;
  return script.slice(0, begin) + environmentFragment() + script.slice(script.indexOf('# environments: end'));
}

/** Builds into `directory`; answers each bundle's size. */
export async function buildLaunch(directory: string): Promise<{ file: string; bytes: number }[]> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const sizes: { file: string; bytes: number }[] = [];
  for (const { entry, file, budgetBytes, packages } of BUNDLES) {
    const outfile = join(directory, file);
    const { metafile } = await build({
      entryPoints: [join(launch, entry)],
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'cjs',
      minify: true,
      keepNames: false,
      legalComments: 'none',
      supported: { 'dynamic-import': false },
      plugins: [separateYaml],
      metafile: true,
      logLevel: 'warning',
    });
    const strangers = new Set(Object.keys(metafile.inputs).flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? []));
    for (const name of packages) strangers.delete(name);
    if (strangers.size > 0) throw new Error(`${file} contains ${[...strangers].join(', ')}, which its budget has no room for`);
    const bytes = readFileSync(outfile).length;
    if (bytes > budgetBytes) throw new Error(`${file} has ${bytes} bytes, over its budget of ${budgetBytes}`);
    sizes.push({ file, bytes });
  }
  const script = readFileSync(ENVIRONMENT_START, 'utf8');
  if (withEnvironmentTable(script) !== script) throw new Error('images/launch/environment_start is stale: run this script with --update');
  for (const name of SHELL_PROGRAMS) {
    copyFileSync(join(images, name), join(directory, name));
    chmodSync(join(directory, name), 0o755);
  }
  return sizes;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  if (argv[2] === '--update') writeFileSync(ENVIRONMENT_START, withEnvironmentTable(readFileSync(ENVIRONMENT_START, 'utf8')));
  const directory = argv[2] === '--update' ? undefined : argv[2];
  for (const { file, bytes } of await buildLaunch(directory ?? join(here, '../lib/launch'))) console.log(`${file} ${bytes} bytes`);
}
