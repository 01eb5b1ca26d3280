/** The programs that images carry: one file each, so that an image needs no node_modules. */
import { type BuildOptions, build } from 'esbuild';

export interface Bundle {
  /** File name in lib/, without .cjs. */
  readonly name: string;
  readonly entry: string;
  /** The operator applies what the constructs make; nothing else may carry cdk8s. */
  readonly usesConstructs?: true;
}

export const bundles: readonly Bundle[] = [
  { name: 'bms-core', entry: 'src/runtime/bin/bms-core.ts' },
  { name: 'fetch-config', entry: 'src/runtime/bin/fetch-config.ts' },
  { name: 'start', entry: 'src/runtime/bin/start.ts' },
  { name: 'operator', entry: 'src/operator/bin/operator.ts', usesConstructs: true },
  { name: 'render-secrets', entry: 'src/operator/bin/render-secrets.ts' },
];

/** ESM bundles break packages that call require at run time (node-zookeeper-client); CommonJS ones do not. */
function options({ name, entry }: Bundle, folder: string): BuildOptions {
  return {
    entryPoints: [entry],
    outfile: `${folder}/${name}.cjs`,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    metafile: true,
    minifySyntax: true,
    legalComments: 'linked',
    logLevel: 'warning',
  };
}

/** Writes one bundle. */
export async function writeBundle(bundle: Bundle, folder = 'lib'): Promise<void> {
  await build(options(bundle, folder));
}

/** The source files that a bundle is made of. */
export async function bundleInputs(name: string): Promise<string[]> {
  const bundle = bundles.find((candidate) => candidate.name === name);
  if (!bundle) throw new Error(`there is no bundle ${name}`);
  const { metafile } = await build({ ...options(bundle, 'lib'), write: false });
  return Object.keys(metafile?.inputs ?? {});
}
