/** Takes a deleted cluster apart: what it owns goes, what policy keeps stays, then the object itself may go. */
import type { ClusterSpec } from 'cdk8s-baremetal-contract/onecloud/index';
import { certificatesSecretName } from 'cdk8s-baremetal-contract/onecloud/index';
import type { ReconcileContext, ReconcileResult } from '../engine/controller.ts';
import { done, requeueAfter } from '../engine/controller.ts';
import type { EventRecorder } from '../engine/events.ts';
import type { LiveObject, ResourceType } from '../engine/objects.ts';
import { prune } from '../engine/prune.ts';
import { clusterType, FINALIZER, INSTANCE_LABEL } from './names.ts';
import type { ObjectView } from './object-view.ts';

export interface FinalizeOptions {
  readonly cluster: LiveObject;
  readonly instance: string;
  readonly view: ObjectView;
  /** Everything that clusters are made of, claims and Secrets included. */
  readonly types: readonly ResourceType[];
  readonly events: EventRecorder;
}

/** Runs in pods: must be gone before the object goes, so that a new cluster of this name does not meet its predecessor. */
const RUNNING = ['Deployment', 'DaemonSet', 'CronJob', 'Pod'];
const LOOK_AGAIN_MS = 5_000;

export async function finalize(
  { cluster, instance, view, types, events }: FinalizeOptions,
  { api, logger }: ReconcileContext,
): Promise<ReconcileResult> {
  const { finalizers = [], namespace = '', name, uid } = cluster.metadata;
  if (!finalizers.includes(FINALIZER)) return done;
  const { pvcPolicy = 'Retain', databasePolicy = 'Retain' } = (cluster.spec ?? {}) as Partial<ClusterSpec>;
  const { deleted, kept } = await prune({
    api,
    types,
    namespace,
    inventory: { label: INSTANCE_LABEL, value: instance },
    desired: [],
    ownerUid: uid,
    claims: pvcPolicy,
    // the databases stay, and are of no use without their passwords
    keep: ({ kind, metadata }) => kind === 'Secret' && databasePolicy === 'Retain' && metadata.name !== certificatesSecretName(name),
  });
  if (deleted.length > 0) logger.info({ deleted: deleted.length, kept }, 'deleting what the cluster owns');
  const running = RUNNING.flatMap((kind) => view.list(kind, namespace)).filter(
    ({ metadata }) => metadata.labels?.[INSTANCE_LABEL] === instance,
  );
  if (deleted.length > 0 || running.length > 0) return requeueAfter(LOOK_AGAIN_MS);
  const note = kept.length === 0 ? 'everything is deleted' : `kept by policy: ${kept.join(', ')}`;
  await events.record(cluster, { type: 'Normal', reason: 'Deleted', action: 'Delete', note });
  const metadata = { resourceVersion: cluster.metadata.resourceVersion, finalizers: finalizers.filter((other) => other !== FINALIZER) };
  await api.patch(clusterType, { namespace, name }, { metadata });
  view.gone(cluster);
  return done;
}
