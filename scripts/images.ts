/**
 * Builds every image and, with --push, sends them to a registry:
 *
 *     npm run images -- --registry REGISTRY --tag TAG [--push] [--only a,b] [--platform P] [--builder B] [--onecloud DIR] [--dry-run]
 *
 * --onecloud names a checkout of OneCloud after `make`: its _output/bin holds the programs of the service images, and
 * web/dist, where it is there, the pages. Without it our own images alone are built. An image whose files are those of an earlier
 * one is not built again: it has a tag that is the hash of its content. --dry-run prints the commands, and runs none.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  BUILDERS,
  type Builder,
  type BuildRequest,
  buildCommands,
  type Command,
  findCommand,
  shellLine,
  tagCommand,
} from './images-commands.ts';
import { dockerfileOf, type ImageBuild, imageBuilds } from './images-list.ts';

export interface ImagesOptions {
  readonly registry: string;
  readonly tag: string;
  readonly push: boolean;
  readonly only: readonly string[];
  readonly platform?: string;
  readonly builder?: Builder;
  readonly onecloud?: string;
  readonly dryRun: boolean;
}

export interface BuiltImage {
  readonly name: string;
  readonly reference: string;
  readonly outcome: 'built' | 'found' | 'skipped' | 'printed';
  readonly digest: string;
}

/** One that a person can act on. */
export class ImagesError extends Error {}

/** @throws ImagesError when a flag is wrong, a program is missing or a build fails */
export function readFlags(args: readonly string[]): ImagesOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      registry: { type: 'string' },
      tag: { type: 'string' },
      push: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      platform: { type: 'string' },
      builder: { type: 'string' },
      onecloud: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  // as the original's make: REGISTRY and TAG of the environment
  const registry = values.registry ?? process.env.REGISTRY;
  const tag = values.tag ?? process.env.TAG;
  if (registry === undefined || registry.includes('//') || !/^[a-z0-9](?:[a-z0-9._\-/:]*[a-z0-9])?$/.test(registry))
    throw new ImagesError(`--registry ${registry ?? 'is missing'}: name a registry path such as registry.example.net/bms`);
  if (tag === undefined || !/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(tag))
    throw new ImagesError(`--tag ${tag ?? 'is missing'}: name a tag such as v0.1.0`);
  const builder = BUILDERS.find((name) => name === values.builder);
  if (values.builder !== undefined && builder === undefined)
    throw new ImagesError(`--builder ${values.builder}: use one of ${BUILDERS.join(', ')}`);
  return {
    registry,
    tag,
    push: values.push,
    only: values.only.split(',').filter((name) => name !== ''),
    dryRun: values['dry-run'],
    ...(values.platform !== undefined && { platform: values.platform }),
    ...(builder !== undefined && { builder }),
    ...(values.onecloud !== undefined && { onecloud: values.onecloud }),
  };
}

export function buildImages(options: ImagesOptions, print: (text: string) => void): BuiltImage[] {
  const images = chosen(options);
  const builder = options.builder ?? BUILDERS.find((name) => onPath(name) && works(name));
  if (builder === undefined)
    throw new ImagesError(
      `none of docker with buildx, podman, buildah is installed (Debian packages docker.io with docker-buildx, podman, buildah)`,
    );
  const scratch = mkdtempSync(join(tmpdir(), 'bms-images-'));
  try {
    return images.map((image) => buildImage(image, { options, builder, scratch, print }));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

interface Work {
  readonly options: ImagesOptions;
  readonly builder: Builder;
  readonly scratch: string;
  readonly print: (text: string) => void;
}

function buildImage(image: ImageBuild, { options, builder, scratch, print }: Work): BuiltImage {
  const { registry, tag, push, platform, onecloud, dryRun } = options;
  const repository = `${registry}/${image.name}`;
  const reference = `${repository}:${tag}`;
  if (image.service && onecloud !== undefined) {
    const missing = makeServiceContext(image, onecloud);
    if (missing.length > 0) {
      print(`# ${image.name}: ${missing.join(', ')} not there: skipped`);
      return { name: image.name, reference, outcome: 'skipped', digest: '-' };
    }
  }
  const request: BuildRequest = {
    builder,
    repository,
    tag,
    contentTag: `content-${contentHash(image, platform)}`,
    dockerfile: image.dockerfile,
    context: image.context,
    push,
    digestFile: join(dryRun ? 'lib' : scratch, `${image.name}.digest`),
    // no version: the same content serves several
    labels: { 'org.opencontainers.image.licenses': 'Apache-2.0' },
    ...(platform !== undefined && { platform }),
  };
  const prepare: Command[] = image.prepare ? [['node', ...image.prepare]] : [];
  if (dryRun) {
    print(`# ${image.name}: unless ${shellLine(findCommand(request))} finds it`);
    for (const command of [...prepare, ...buildCommands(request)]) print(shellLine(command));
    return { name: image.name, reference, outcome: 'printed', digest: '-' };
  }
  const found = capture(findCommand(request));
  if (found !== undefined) {
    run(tagCommand(request), print);
    return { name: image.name, reference, outcome: 'found', digest: found.trim() || '-' };
  }
  for (const command of [...prepare, ...buildCommands(request)]) run(command, print);
  return { name: image.name, reference, outcome: 'built', digest: digestIn(request.digestFile) };
}

function chosen({ only, onecloud }: ImagesOptions): ImageBuild[] {
  const all = imageBuilds({ services: true });
  const unknown = only.filter((name) => !all.some((image) => image.name === name));
  if (unknown.length > 0) throw new ImagesError(`--only ${unknown.join(', ')}: there are ${all.map(({ name }) => name).join(', ')}`);
  const images = only.length > 0 ? all.filter(({ name }) => only.includes(name)) : imageBuilds({ services: onecloud !== undefined });
  const homeless = images.filter(({ service }) => service !== undefined && onecloud === undefined);
  if (homeless.length > 0)
    throw new ImagesError(`${homeless.map(({ name }) => name).join(', ')}: name OneCloud's checkout with --onecloud DIR`);
  return images;
}

/** Dockerfile and programs, in a folder of their own; what is missing. */
function makeServiceContext({ context, service }: ImageBuild, onecloud: string): string[] {
  if (service === undefined) return [];
  rmSync(context, { recursive: true, force: true });
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, 'Dockerfile'), dockerfileOf(service));
  if (service.pages) {
    const pages = join(onecloud, 'web/dist');
    if (!existsSync(pages)) return [pages];
    cpSync(pages, join(context, 'pages'), { recursive: true });
    return [];
  }
  mkdirSync(join(context, 'bin'));
  return service.programs.flatMap((program) => {
    const file = join(onecloud, '_output/bin', program);
    if (!existsSync(file)) return [file];
    copyFileSync(file, join(context, 'bin', program));
    return [];
  });
}

/** Of every file's name, mode and content. Base images are named in the Dockerfile, so a new one there is new content. */
export function contentHash({ dockerfile, inputs }: Pick<ImageBuild, 'dockerfile' | 'inputs'>, platform = ''): string {
  const files = [...new Set([dockerfile, ...inputs.flatMap((pattern) => globSync(pattern))])].filter(
    (file) => existsSync(file) && statSync(file).isFile(),
  );
  const hash = createHash('sha256').update(`${platform}\n`);
  for (const file of files.sort()) {
    const content = createHash('sha256').update(readFileSync(file)).digest('hex');
    hash.update(`${file} ${(statSync(file).mode & 0o111) !== 0 ? 'x' : '-'} ${content}\n`);
  }
  return hash.digest('hex').slice(0, 16);
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return folder !== '';
    } catch {
      return false; // not in this folder
    }
  });
}

/** Docker without its buildx builds nothing that is described here; this asks, and changes nothing. */
function works(builder: Builder): boolean {
  return builder !== 'docker' || capture(['docker', 'buildx', 'version']) !== undefined;
}

/** What a program prints; undefined when it fails, which means that the image is not there. */
function capture([program, ...args]: Command): string | undefined {
  const { status, stdout }: SpawnSyncReturns<string> = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout : undefined;
}

function run(command: Command, print: (text: string) => void): void {
  print(`$ ${shellLine(command)}`);
  const [program, ...args] = command;
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new ImagesError(`${shellLine(command)} ${error ? `could not be run: ${error.message}` : `ended with ${status}`}`);
}

/** docker writes JSON, the others the digest alone. */
function digestIn(file: string): string {
  if (!existsSync(file)) return '-';
  const text = readFileSync(file, 'utf8').trim();
  if (!text.startsWith('{')) return text;
  const { 'containerimage.digest': digest } = JSON.parse(text) as { readonly 'containerimage.digest'?: string };
  return digest ?? '-';
}

function tableOf(images: readonly BuiltImage[]): string {
  const rows = images.map(({ reference, outcome, digest }) => [reference, outcome, digest]);
  const width = (column: number): number => Math.max(...rows.map((row) => (row[column] ?? '').length));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(width(column)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const options = readFlags(argv.slice(2));
    const images = buildImages(options, (text) => console.log(text));
    if (!options.dryRun) console.log(`\n${tableOf(images)}`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
