/** The commands that build, find, tag and push an image, for each program that can. Pure: what runs is what is printed. */

export const BUILDERS = ['docker', 'podman', 'buildah'] as const;
export type Builder = (typeof BUILDERS)[number];

export type Command = readonly [program: string, ...args: string[]];

export interface BuildRequest {
  readonly builder: Builder;
  /** REGISTRY/NAME. */
  readonly repository: string;
  readonly tag: string;
  /** Tag that names the content. */
  readonly contentTag: string;
  readonly dockerfile: string;
  readonly context: string;
  readonly push: boolean;
  /** linux/amd64,linux/arm64; the builder's own when absent. */
  readonly platform?: string;
  /** Where the builder writes the digest. */
  readonly digestFile: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What makes the image and, when asked, sends it to its registry. */
export function buildCommands(request: BuildRequest): Command[] {
  const { builder, repository, tag, contentTag, dockerfile, context, push, platform, digestFile, labels } = request;
  const references = [`${repository}:${tag}`, `${repository}:${contentTag}`];
  const options = [
    '--file',
    dockerfile,
    ...references.flatMap((reference) => ['--tag', reference]),
    ...Object.entries(labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
    ...(platform === undefined ? [] : ['--platform', platform]),
  ];
  if (builder === 'docker') {
    return [['docker', 'buildx', 'build', ...options, '--metadata-file', digestFile, push ? '--push' : '--load', context]];
  }
  const build: Command = [builder, 'build', ...options, context];
  const pushes = references.map((reference): Command => [builder, 'push', '--digestfile', digestFile, reference]);
  return push ? [build, ...pushes] : [build];
}

/** Succeeds when an image of this content is there: in the registry when it is to be pushed, here otherwise. */
export function findCommand({ builder, repository, contentTag, push }: BuildRequest): Command {
  const reference = `${repository}:${contentTag}`;
  if (builder === 'docker') {
    return push
      ? ['docker', 'buildx', 'imagetools', 'inspect', '--format', '{{.Manifest.Digest}}', reference]
      : ['docker', 'image', 'inspect', '--format', '{{.Id}}', reference];
  }
  if (push) return ['skopeo', 'inspect', '--format', '{{.Digest}}', `docker://${reference}`];
  return builder === 'podman'
    ? ['podman', 'image', 'inspect', '--format', '{{.Digest}}', reference]
    : ['buildah', 'inspect', '--type', 'image', '--format', '{{.FromImageDigest}}', reference];
}

/** Gives the tag to the image that is there. */
export function tagCommand({ builder, repository, tag, contentTag, push }: BuildRequest): Command {
  const [from, to] = [`${repository}:${contentTag}`, `${repository}:${tag}`] as const;
  if (builder === 'docker')
    return push ? ['docker', 'buildx', 'imagetools', 'create', '--tag', to, from] : ['docker', 'image', 'tag', from, to];
  return push ? ['skopeo', 'copy', '--all', `docker://${from}`, `docker://${to}`] : [builder, 'tag', from, to];
}

/** As one would type it. */
export function shellLine(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}
