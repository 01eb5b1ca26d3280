import type { ImageSpec } from 'cdk8s-baremetal-contract';

/** What to pull: repository@digest, or repository:tag. */
export function imageReference({ repository, tag, digest }: ImageSpec): string {
  return digest === undefined ? `${repository}:${tag}` : `${repository}@${digest}`;
}

/** A digest never changes under its name, so it need not be asked for again; a tag may. */
export function pullPolicy({ pullPolicy: explicit, digest }: ImageSpec): string {
  return explicit ?? (digest === undefined ? 'Always' : 'IfNotPresent');
}
