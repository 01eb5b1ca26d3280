/** What is wrong with a wanted cluster, as it would stand beside the others of this Kubernetes. */
import { asObject } from 'cdk8s-baremetal-contract/loose';
import { type ClusterSpec, MANAGED_BY, onecloudLabel, validateClusters } from 'cdk8s-baremetal-contract/onecloud/index';
import { isApiError } from '../../operator/engine/api-error.ts';
import { keyOf, type LiveObject, listAt, numberAt } from '../../operator/engine/objects.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { allClusters, clusterType } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';

export interface Checked {
  /** Of the wanted cluster; nothing may be sent while there are any. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** The object that would be sent. */
export function clusterManifest({ name, namespace }: ClusterKey, spec: ClusterSpec) {
  return { apiVersion: clusterType.apiVersion, kind: clusterType.kind, metadata: { name, namespace }, spec };
}

/** The model's checks, between clusters too: node ports belong to the whole Kubernetes. */
export function checkBeside(key: ClusterKey, spec: ClusterSpec, others: readonly LiveObject[]): Checked {
  const neighbours = others.filter((other) => keyOf(other) !== keyOf({ metadata: key }));
  const own = neighbours.length;
  const found = validateClusters([...neighbours, clusterManifest(key, spec)]).filter(({ cluster }) => cluster === own);
  const told = (wanted: 'error' | 'warning'): string[] =>
    found.filter(({ severity }) => severity === wanted).map(({ error }) => String(error));
  return { problems: told('error'), warnings: told('warning') };
}

/** As `checkBeside`, with the clusters that are there. @throws CodedError CLUSTER_INVALID */
export async function requireValid(context: ClusterContext, key: ClusterKey, spec: ClusterSpec): Promise<void> {
  const { problems, warnings } = checkBeside(key, spec, await allClusters(context));
  for (const warning of warnings) context.progress(`warning: ${warning}`);
  if (problems.length > 0) throw clusterErrors.CLUSTER_INVALID({ problems });
}

/** Node ports that Services of others hold: port → `namespace/name`. Empty when this account may not list them. */
export async function foreignNodePorts({ api, signal }: ClusterContext, instance: string): Promise<ReadonlyMap<number, string>> {
  try {
    const { items } = await api.list(resourceTypes.services, { signal });
    const ports = new Map<number, string>();
    for (const service of items) {
      const { labels = {} } = service.metadata;
      if (labels[onecloudLabel.instance] === instance && labels[onecloudLabel.managedBy] === MANAGED_BY) continue;
      for (const port of listAt(service, 'spec', 'ports')) {
        const nodePort = numberAt(asObject(port), 'nodePort');
        if (nodePort !== undefined) ports.set(nodePort, keyOf(service));
      }
    }
    return ports;
  } catch (error) {
    if (isApiError(error, 'forbidden')) return new Map();
    throw explained(error, { namespace: '' });
  }
}
