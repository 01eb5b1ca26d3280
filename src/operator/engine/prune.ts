/** Deletes what an installation made earlier and does not want any more. */
import type { KubeApi } from './api.ts';
import { ifFound, isApiError } from './api-error.ts';
import type { Inventory } from './apply.ts';
import { describeObject, type KubeObject, keyOf, type LiveObject, type ResourceType } from './objects.ts';

export interface PruneOptions {
  readonly api: KubeApi;
  /** Kinds to look through. */
  readonly types: readonly ResourceType[];
  readonly namespace: string;
  readonly inventory: Inventory;
  /** What is wanted; everything else with the label goes. */
  readonly desired: readonly KubeObject[];
  /** The owner of what was made; objects with another controller are left alone. */
  readonly ownerUid?: string;
  /** What becomes of PersistentVolumeClaims. Default Retain. */
  readonly claims?: 'Retain' | 'Delete';
  /** Further exceptions. */
  readonly keep?: (object: LiveObject) => boolean;
  /** The objects of a kind as an informer knows them; asked of the API server when absent. */
  readonly known?: (type: ResourceType) => readonly LiveObject[] | undefined;
}

export interface Pruned {
  /** "Deployment onecloud/default-glance". */
  readonly deleted: readonly string[];
  /** Unwanted, but kept by policy. */
  readonly kept: readonly string[];
}

/** Dependants (pods, replica sets) go in the background. */
export async function prune(options: PruneOptions): Promise<Pruned> {
  const { api, types, inventory, claims = 'Retain', keep = () => false } = options;
  const wanted = new Set(options.desired.map(identify));
  const deleted: string[] = [];
  const kept: string[] = [];
  for (const type of types) {
    for (const object of await ours(type, options)) {
      if (wanted.has(identify(object)) || object.metadata.deletionTimestamp !== undefined) continue;
      if (object.metadata.labels?.[inventory.label] !== inventory.value) continue;
      const controller = object.metadata.ownerReferences?.find((reference) => reference.controller === true);
      if (options.ownerUid !== undefined && controller && controller.uid !== options.ownerUid) continue;
      if ((type.kind === 'PersistentVolumeClaim' && claims === 'Retain') || keep(object)) {
        kept.push(describeObject(object));
        continue;
      }
      // the very object that was judged, not one of the same name that came since
      const { uid } = object.metadata;
      await ifFound(api.delete(type, object.metadata, { uid, propagation: 'Background' })).catch((error: unknown) => {
        if (!isApiError(error, 'conflict')) throw error;
      });
      deleted.push(describeObject(object));
    }
  }
  return { deleted, kept };
}

async function ours(type: ResourceType, { api, namespace, inventory, known }: PruneOptions): Promise<readonly LiveObject[]> {
  const found = known?.(type);
  if (found) return found.filter(({ metadata }) => !type.namespaced || metadata.namespace === namespace);
  const selection = { labelSelector: `${inventory.label}=${inventory.value}`, ...(type.namespaced && { namespace }) };
  // a kind that this server does not serve has no objects
  return (await ifFound(api.list(type, selection)))?.items ?? [];
}

function identify(object: KubeObject): string {
  return `${object.kind} ${keyOf(object)}`;
}
