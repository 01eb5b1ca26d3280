/** ConfigMaps that people edited: kept as they are, reported, until somebody accepts or resets them. */
import { configChecksum } from 'cdk8s-baremetal/onecloud/index';
import { componentObjectName, onecloudAnnotation } from 'cdk8s-baremetal-contract/onecloud/index';
import type { LiveObject } from '../engine/objects.ts';
import { operatorAnnotation } from './names.ts';

export interface ConfigState {
  /** Content that stays although it is not what we generate. */
  readonly kept?: Readonly<Record<string, string>>;
  /** Kept, and nobody has said that this is right. */
  readonly drift: boolean;
  /** Somebody asked for the generated content. */
  readonly reset: boolean;
}

export function configStateOf(live: LiveObject | undefined): ConfigState {
  const annotations = live?.metadata.annotations ?? {};
  const generated = annotations[onecloudAnnotation.generatedChecksum];
  if (live === undefined || generated === undefined) return { drift: false, reset: false };
  if (annotations[operatorAnnotation.resetConfig] !== undefined) return { drift: false, reset: true };
  const data = dataOf(live);
  const checksum = configChecksum(data);
  if (checksum === generated) return { drift: false, reset: false };
  return { kept: data, drift: annotations[operatorAnnotation.acceptedConfig] !== checksum, reset: false };
}

/** Whether the content is what was generated last: a reset that could not be carried out yet has not brought it there. */
export function isGenerated(live: LiveObject | undefined): boolean {
  return live !== undefined && live.metadata.annotations?.[onecloudAnnotation.generatedChecksum] === configChecksum(dataOf(live));
}

export function configMapKey(cluster: string, namespace: string, component: string): { readonly namespace: string; readonly name: string } {
  return { namespace, name: componentObjectName(cluster, component) };
}

function dataOf({ data }: LiveObject): Readonly<Record<string, string>> {
  return (data ?? {}) as Readonly<Record<string, string>>;
}
