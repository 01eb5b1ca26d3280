/** An OnecloudCluster as it stands in the API server. */
import { asObject } from 'cdk8s-baremetal-contract/loose';
import {
  type ClusterSpec,
  type ClusterStatus,
  defaultInstance,
  ONECLOUD_API_VERSION,
  ONECLOUD_KIND,
  onecloudCluster,
  onecloudLabel,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { ifFound, isApiError } from '../../operator/engine/api-error.ts';
import { formatKey, keyOf, type LiveObject, type ResourceType } from '../../operator/engine/objects.ts';
import { explained, isKindMissing } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';

export const clusterType: ResourceType = {
  apiVersion: ONECLOUD_API_VERSION,
  kind: ONECLOUD_KIND,
  plural: onecloudCluster.plural,
  namespaced: true,
};

export interface Cluster {
  readonly key: ClusterKey;
  readonly object: LiveObject;
  readonly spec: ClusterSpec;
  readonly status: ClusterStatus;
  /** Value of app.kubernetes.io/instance on everything that belongs to it. */
  readonly instance: string;
}

/** A cluster that is there or not. @throws CodedError when that cannot be told */
export async function findCluster(context: ClusterContext, key: ClusterKey): Promise<Cluster | undefined> {
  try {
    const object = await ifFound(
      context.api.get(clusterType, key, { signal: context.signal }).catch((error: unknown) => {
        // without the kind there is no cluster to be found, and also no way to make one
        throw isApiError(error) && isKindMissing(error) ? explained(error, key) : error;
      }),
    );
    return object && clusterOf(object);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** @throws CodedError CLUSTER_NOT_FOUND with the clusters that are there */
export async function getCluster(context: ClusterContext, key: ClusterKey): Promise<Cluster> {
  const found = await findCluster(context, key);
  if (found) return found;
  const known = (await allClusters(context)).map(keyOf);
  throw clusterErrors.CLUSTER_NOT_FOUND({ cluster: formatKey(key), known });
}

/** Every cluster that this account may see; none when it may not look. */
export async function allClusters({ api, signal }: ClusterContext): Promise<readonly LiveObject[]> {
  try {
    return (await api.list(clusterType, { signal })).items;
  } catch (error) {
    if (isApiError(error, 'forbidden', 'not-found')) return [];
    throw explained(error, { namespace: '' });
  }
}

export function clusterOf(object: LiveObject): Cluster {
  const { name, namespace = '', labels } = object.metadata;
  return {
    key: { name, namespace },
    object,
    spec: asObject(object.spec) as unknown as ClusterSpec,
    status: asObject(object.status) as ClusterStatus,
    instance: labels?.[onecloudLabel.instance] ?? defaultInstance(name),
  };
}

/** Whether people want of both the same: they differ in what the operator wrote at most. */
export function isAskedAlike({ object: { metadata: a } }: Cluster, { object: { metadata: b } }: Cluster): boolean {
  return a.uid === b.uid && a.generation === b.generation && JSON.stringify(a.annotations) === JSON.stringify(b.annotations);
}
