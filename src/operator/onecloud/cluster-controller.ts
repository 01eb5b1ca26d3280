/** The controller of OnecloudClusters: what it follows, what wakes it, and what it is called. */
import { DATABASE_DUMP, MANAGED_BY, onecloudLabel } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi } from '../engine/api.ts';
import { isApiError } from '../engine/api-error.ts';
import { type Controller, mappedSource, primarySource } from '../engine/controller.ts';
import { operatorErrors } from '../engine/errors.ts';
import type { EventRecorder } from '../engine/events.ts';
import { createInformer, type Informer, type ObjectEvent } from '../engine/informer.ts';
import type { Metrics } from '../engine/metrics.ts';
import { keyOf, type LiveObject, type ResourceType } from '../engine/objects.ts';
import { resourceTypes, typeTable } from '../engine/resource-types.ts';
import { byNamespace } from '../engine/store.ts';
import { createClusterReconciler } from './cluster-reconcile.ts';
import type { Databases } from './databases.ts';
import type { Identity } from './identity.ts';
import { clusterType, INSTANCE_LABEL } from './names.ts';
import { NAMESPACE_INDEX, ObjectView } from './object-view.ts';
import { couldCollide, instanceOf } from './peers.ts';

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
  /** Makes databases and accounts. Absent: somebody else does. */
  readonly databases?: Databases;
  /** Makes accounts and endpoints in Keystone. Absent: somebody else does. */
  readonly identity?: Identity;
  /** The clusters' informers of all controllers: what two clusters cannot both have knows no namespaces. */
  readonly fleet?: Informer[];
}

/** What clusters are made of, in the order in which it is deleted. */
const PARTS: readonly ResourceType[] = [
  resourceTypes.ingresses,
  resourceTypes.podDisruptionBudgets,
  resourceTypes.cronJobs,
  resourceTypes.jobs,
  resourceTypes.deployments,
  resourceTypes.daemonSets,
  resourceTypes.services,
  resourceTypes.serviceAccounts,
  resourceTypes.configMaps,
  resourceTypes.secrets,
  resourceTypes.persistentVolumeClaims,
];

/** A rollout tells its steps one by one: gathered, they cost fewer passes, of 7 ms where nothing changed; a layer begins this much later. */
const GATHER_MS = 40;

export interface ClusterController {
  readonly controller: Controller;
  readonly informers: readonly Informer[];
}

/** Asks the API server which kinds it serves; the others are reported when a cluster needs them. */
export async function createClusterController(options: ClusterControllerOptions): Promise<ClusterController> {
  const { api, clock, random, logger, metrics, events, namespace, renderImage, databases, identity, fleet = [], concurrency = 8 } = options;
  const scope = namespace === undefined ? {} : { namespace };
  const labelSelector = `${onecloudLabel.managedBy}=${MANAGED_BY}`;
  const served: ResourceType[] = [];
  for (const type of PARTS) {
    if (await isServed(api, type, { ...scope, labelSelector })) served.push(type);
    else logger.warn({ kind: type.kind, apiVersion: type.apiVersion }, 'this API server does not serve the kind');
  }
  const common = { api, clock, random, logger, metrics, indexers: { [NAMESPACE_INDEX]: byNamespace } };
  const clusters = createInformer({ ...common, ...scope, type: clusterType });
  fleet.push(clusters);
  // the Jobs of CronJobs come and go by the minute and are nobody's concern here
  const selectorOf = (type: ResourceType): string =>
    type === resourceTypes.jobs ? `${labelSelector},${onecloudLabel.component}=${DATABASE_DUMP}` : labelSelector;
  const parts = [...served, resourceTypes.pods].map((type) =>
    createInformer({ ...common, ...scope, type, labelSelector: selectorOf(type) }),
  );
  const nodes = createInformer({ ...common, type: resourceTypes.nodes });
  const view = new ObjectView([clusters, ...parts, nodes]);

  const keysOf = (part: LiveObject): string[] =>
    clusters.store
      .list()
      .filter(
        (cluster) =>
          cluster.metadata.namespace === part.metadata.namespace && instanceOf(cluster) === part.metadata.labels?.[INSTANCE_LABEL],
      )
      .map(keyOf);
  // a node matters by its labels alone; its status changes every few seconds
  const nodeSource = {
    informer: nodes,
    keys: (event: ObjectEvent) => {
      const same =
        event.type === 'updated' && JSON.stringify(event.previous.metadata.labels) === JSON.stringify(event.object.metadata.labels);
      return same ? [] : clusters.store.list().map(keyOf);
    },
  };
  // whoever gave way to this cluster, or must now
  const neighbours = {
    informer: clusters,
    keys: (event: ObjectEvent) => {
      const { object } = event;
      if (event.type === 'resync') return [];
      if (event.type === 'updated' && event.previous.metadata.generation === object.metadata.generation) return [];
      const collide = (other: LiveObject): boolean =>
        couldCollide(object, other) || (event.type === 'updated' && couldCollide(event.previous, other));
      return clusters.store
        .list()
        .filter((other) => other.metadata.uid !== object.metadata.uid && collide(other))
        .map(keyOf);
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
    ...(databases && { databases }),
    ...(identity && { identity }),
    peers: () => fleet.flatMap(({ store }) => store.list()),
  });
  const controller: Controller = {
    name: 'onecloud-cluster',
    sources: [primarySource(clusters), neighbours, ...parts.map((informer) => mappedSource(informer, keysOf, GATHER_MS)), nodeSource],
    reconcile,
    concurrency,
  };
  return { controller, informers: [clusters, ...parts, nodes] };
}

async function isServed(api: KubeApi, type: ResourceType, selection: { namespace?: string; labelSelector: string }): Promise<boolean> {
  try {
    await api.list(type, selection);
    return true;
  } catch (error) {
    if (isApiError(error, 'not-found')) return false;
    if (isApiError(error, 'forbidden')) throw operatorErrors.OPERATOR_FORBIDDEN({ what: `to list ${type.plural}`, reason: error.message });
    throw error;
  }
}
