/** Which image a container runs, and what an image reference says. */
import type { ContainerOverrides } from './cluster-spec.ts';

/** What a row of the catalog says of a container's image. */
export interface ImageRow {
  readonly image: string;
  readonly tag?: string;
  readonly editions?: true;
}

export interface ImageSettings {
  readonly imageRepository: string;
  readonly version: string;
  readonly edition: 'ce' | 'ee';
}

/**
 * A container's image: its own `image` wins, else it is put together from repository, imageName and tag, each from the
 * container's overrides, the row or the cluster, in this order. Clearing `image` derives it again. The original overwrote
 * `image` with what it derived, so one service could not be rolled back alone.
 */
export function imageOf(row: ImageRow, overrides: ContainerOverrides, settings: ImageSettings): string {
  if (overrides.image !== undefined) return overrides.image;
  const repository = overrides.repository ?? settings.imageRepository;
  const name = overrides.imageName ?? (row.editions && settings.edition === 'ee' ? `${row.image}-ee` : row.image);
  return `${repository}/${name}:${overrides.tag ?? row.tag ?? settings.version}`;
}

/**
 * The image of a companion container. When the component itself runs an image of its own, companions of the same version
 * follow it: notify rolled back alone takes its plugins with it.
 */
export function companionImageOf(
  row: ImageRow,
  overrides: ContainerOverrides,
  main: { readonly row: ImageRow; readonly overrides: ContainerOverrides },
  settings: ImageSettings,
): string {
  if (row.tag !== undefined) {
    const { repository } = main.overrides;
    return imageOf(row, { ...(repository !== undefined && { repository }), ...overrides }, settings);
  }
  const own = main.overrides.image === undefined ? undefined : parseImage(main.overrides.image);
  const followed: ContainerOverrides =
    own?.digest === undefined && own !== undefined
      ? { ...(own.repository !== '' && { repository: own.repository }), tag: own.tag }
      : pick(main.overrides);
  return imageOf(row, { ...followed, ...overrides }, settings);
}

function pick({ repository, tag }: ContainerOverrides): ContainerOverrides {
  return { ...(repository !== undefined && { repository }), ...(tag !== undefined && { tag }) };
}

/** A digest never changes under its name, so it need not be asked for again; a tag may. */
export function pullPolicyOf(image: string, overrides: ContainerOverrides): 'Always' | 'IfNotPresent' | 'Never' {
  return overrides.imagePullPolicy ?? (image.includes('@sha256:') ? 'IfNotPresent' : 'Always');
}

export interface ImageReference {
  /** Everything before the last slash; empty when there is none. */
  readonly repository: string;
  readonly name: string;
  /** latest, when the reference names none. */
  readonly tag: string;
  readonly digest?: string;
}

/** The parts of an image reference; a registry's port is no tag. */
export function parseImage(image: string): ImageReference {
  const [reference = '', digest] = image.split('@');
  const slash = reference.lastIndexOf('/');
  const [name = '', tag = 'latest'] = reference.slice(slash + 1).split(':');
  return { repository: reference.slice(0, Math.max(slash, 0)), name, tag, ...(digest !== undefined && { digest }) };
}
