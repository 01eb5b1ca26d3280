/** The controller of OnecloudClusters: what it follows, what wakes it, and what it is called. */
import { defaultInstance, MANAGED_BY, onecloudLabel } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi } from '../engine/api.ts';
import { isApiError } from '../engine/api-error.ts';
import { type Controller, mappedSource, primarySource } from '../engine/controller.ts';
import type { EventRecorder } from '../engine/events.ts';
import { createInformer, type Informer } from '../engine/informer.ts';
import type { Metrics } from '../engine/metrics.ts';
import { keyOf, type LiveObject, type ResourceType } from '../engine/objects.ts';
import { resourceTypes, typeTable } from '../engine/resource-types.ts';
import { byNamespace } from '../engine/store.ts';
import { createClusterReconciler } from './cluster-reconcile.ts';
import { clusterType, INSTANCE_LABEL } from './names.ts';
import { NAMESPACE_INDEX, ObjectView } from './object-view.ts';

export interface ClusterControllerOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
  /** Only clusters of this namespace; all when absent. */
  readonly namespace?: string;
  readonly renderImage?: string;
  readonly concurrency?: number;
}

/** What clusters are made of, in the order in which it is deleted. */
const PARTS: readonly ResourceType[] = [
  resourceTypes.ingresses,
  resourceTypes.podDisruptionBudgets,
  resourceTypes.cronJobs,
  resourceTypes.deployments,
  resourceTypes.daemonSets,
  resourceTypes.services,
  resourceTypes.serviceAccounts,
  resourceTypes.configMaps,
  resourceTypes.secrets,
  resourceTypes.persistentVolumeClaims,
];

export interface ClusterController {
  readonly controller: Controller;
  readonly informers: readonly Informer[];
}

/** Asks the API server which kinds it serves; the others are reported when a cluster needs them. */
export async function createClusterController(options: ClusterControllerOptions): Promise<ClusterController> {
  const { api, clock, random, logger, metrics, events, namespace, renderImage, concurrency = 4 } = options;
  const scope = namespace === undefined ? {} : { namespace };
  const labelSelector = `${onecloudLabel.managedBy}=${MANAGED_BY}`;
  const served: ResourceType[] = [];
  for (const type of PARTS) {
    if (await isServed(api, type, { ...scope, labelSelector })) served.push(type);
    else logger.warn({ kind: type.kind, apiVersion: type.apiVersion }, 'this API server does not serve the kind');
  }
  const common = { api, clock, random, logger, metrics, indexers: { [NAMESPACE_INDEX]: byNamespace } };
  const clusters = createInformer({ ...common, ...scope, type: clusterType });
  const parts = [...served, resourceTypes.pods].map((type) => createInformer({ ...common, ...scope, type, labelSelector }));
  const nodes = createInformer({ ...common, type: resourceTypes.nodes });
  const view = new ObjectView([clusters, ...parts, nodes]);

  const keysOf = (part: LiveObject): string[] =>
    clusters.store
      .list()
      .filter(
        ({ metadata }) => metadata.namespace === part.metadata.namespace && instanceOf(metadata) === part.metadata.labels?.[INSTANCE_LABEL],
      )
      .map(keyOf);
  // a node matters by its labels alone; its status changes every few seconds
  const nodeSource = {
    informer: nodes,
    keys: (event: Parameters<Parameters<Informer['subscribe']>[0]>[0]) => {
      const same =
        event.type === 'updated' && JSON.stringify(event.previous.metadata.labels) === JSON.stringify(event.object.metadata.labels);
      return same ? [] : clusters.store.list().map(keyOf);
    },
  };
  for (const informer of [clusters, ...parts]) {
    informer.subscribe((event) => {
      if (event.type === 'deleted') view.gone(event.object);
    });
  }
  const reconcile = createClusterReconciler({
    view,
    types: typeTable([clusterType]),
    kinds: served,
    random,
    events,
    ...(renderImage !== undefined && { renderImage }),
  });
  const controller: Controller = {
    name: 'onecloud-cluster',
    sources: [primarySource(clusters), ...parts.map((informer) => mappedSource(informer, keysOf)), nodeSource],
    reconcile,
    concurrency,
  };
  return { controller, informers: [clusters, ...parts, nodes] };
}

function instanceOf({ name, labels }: LiveObject['metadata']): string {
  return labels?.[INSTANCE_LABEL] ?? defaultInstance(name);
}

async function isServed(api: KubeApi, type: ResourceType, selection: { namespace?: string; labelSelector: string }): Promise<boolean> {
  try {
    await api.list(type, selection);
    return true;
  } catch (error) {
    if (isApiError(error, 'not-found')) return false;
    throw error;
  }
}
