/** Every image that this repository builds: where it is built from, and what a change of it means. */
import { dockerfileOf, type ServiceImage, serviceImages } from '../images/onecloud/services.ts';

export interface ImageBuild {
  /** REGISTRY/NAME:TAG. */
  readonly name: string;
  readonly dockerfile: string;
  /** Folder that is sent to the builder. */
  readonly context: string;
  /** Globs of the files that it is made of: the image is the same as long as they are. */
  readonly inputs: readonly string[];
  /** What makes the context, as arguments of node. */
  readonly prepare?: readonly string[];
  /** Its Dockerfile and context are made from this. */
  readonly service?: ServiceImage;
}

const LOCK = ['package.json', 'package-lock.json'];
const packages = (...names: readonly string[]): string[] => names.map((name) => `src/${name}/**/*.{ts,json}`);

const OWN: readonly ImageBuild[] = [
  {
    name: 'bms_core',
    dockerfile: 'images/bms-core/Dockerfile',
    context: '.',
    inputs: [...LOCK, 'images/bms-core/*', 'scripts/bundles.ts', 'scripts/write-bundles.ts', ...packages('contract', 'runtime')],
  },
  {
    name: 'bms_launch',
    dockerfile: 'images/launch/Dockerfile',
    context: 'lib/launch',
    inputs: [...LOCK, 'images/launch/*', 'scripts/build-launch.ts', ...packages('contract', 'runtime/launch')],
    prepare: ['--import', 'tsx', 'scripts/build-launch.ts'],
  },
  {
    name: 'onecloud-operator',
    dockerfile: 'images/operator/Dockerfile',
    context: '.',
    inputs: [
      ...LOCK,
      'images/operator/*',
      'scripts/bundles.ts',
      'scripts/write-bundles.ts',
      ...packages('contract', 'constructs', 'operator', 'runtime'),
    ],
  },
];

/** Where the contexts of the service images are put together. */
export const SERVICE_CONTEXTS = 'lib/images/onecloud';

/** All of them; those of the services only where their programs are. */
export function imageBuilds({ services }: { readonly services: boolean }): ImageBuild[] {
  if (!services) return [...OWN];
  return [
    ...OWN,
    ...serviceImages().map((service) => {
      const context = `${SERVICE_CONTEXTS}/${service.name}`;
      return { name: service.name, dockerfile: `${context}/Dockerfile`, context, inputs: [`${context}/**/*`], service };
    }),
  ];
}

export { dockerfileOf };
