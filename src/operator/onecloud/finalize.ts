/** Takes a deleted cluster apart: what it owns goes, what policy keeps stays, then the object itself may go. */
import { CodedError } from 'cdk8s-baremetal-contract';
import {
  type ClusterSpec,
  type ClusterStatus,
  certificatesSecretName,
  databaseDumpSecretName,
  onecloudErrors,
  settingsSchema,
  validateCluster,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { type Condition, setConditions } from '../engine/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../engine/controller.ts';
import { done, requeueAfter } from '../engine/controller.ts';
import type { EventStory } from '../engine/events.ts';
import { describeObject, keyOf, type LiveObject, parseKey, type ResourceType } from '../engine/objects.ts';
import { prune } from '../engine/prune.ts';
import type { DatabaseKeeper } from './database-step.ts';
import { shownServer } from './databases.ts';
import { operatorOnecloudErrors } from './errors.ts';
import { clusterType, FINALIZER, INSTANCE_LABEL } from './names.ts';
import type { ObjectView } from './object-view.ts';
import { sharesDatabases } from './peers.ts';

export interface FinalizeOptions {
  readonly cluster: LiveObject;
  readonly instance: string;
  readonly view: ObjectView;
  /** Everything that clusters are made of, claims and Secrets included. */
  readonly types: readonly ResourceType[];
  readonly tell: (story: EventStory) => Promise<void>;
  readonly write: (status: ClusterStatus) => Promise<void>;
  /** Absent: databases are not the operator's. */
  readonly keeper?: DatabaseKeeper;
  readonly peers: readonly LiveObject[];
}

/** Runs in pods: must be gone before the object goes, so that a new cluster of this name does not meet its predecessor. */
const RUNNING = ['Deployment', 'DaemonSet', 'CronJob', 'Pod'];
const LOOK_AGAIN_MS = 5_000;
/** Of what the deletion waits for. */
const NAMED = 3;

/**
 * Workloads first: a service that loses its database under its feet makes it again. Passwords last: until the databases are dropped,
 * policy may still decide to keep both.
 */
export async function finalize(options: FinalizeOptions, context: ReconcileContext): Promise<ReconcileResult> {
  const { cluster, instance, view, types, tell } = options;
  const { api, logger } = context;
  const { finalizers = [], namespace = '', name, uid } = cluster.metadata;
  if (!finalizers.includes(FINALIZER)) return done;
  const { pvcPolicy = 'Retain', databasePolicy = 'Retain' } = (cluster.spec ?? {}) as Partial<ClusterSpec>;
  // a cluster that was given the label of another one has no more than its own names
  const isNamedAfter = (object: string): boolean => object.startsWith(`${name}-`);
  const sweep = (databases: 'Retain' | 'Drop') =>
    prune({
      api,
      types,
      namespace,
      inventory: { label: INSTANCE_LABEL, value: instance },
      desired: [],
      ownerUid: uid,
      claims: pvcPolicy,
      keep: ({ kind, metadata }) =>
        !isNamedAfter(metadata.name) ||
        // databases are of no use without their passwords
        (kind === 'Secret' &&
          databases === 'Retain' &&
          metadata.name !== certificatesSecretName(name) &&
          metadata.name !== databaseDumpSecretName(name)),
    });
  const { deleted, kept } = await sweep('Retain');
  if (deleted.length > 0) logger.info({ deleted: deleted.length, kept }, 'deleting what the cluster owns');
  const running = RUNNING.flatMap((kind) => view.list(kind, namespace)).filter(
    ({ metadata }) => metadata.labels?.[INSTANCE_LABEL] === instance && isNamedAfter(metadata.name),
  );
  if (deleted.length === 0 && running.length > 0) await tellWhatRuns(running.map(describeObject), options, context);
  if (deleted.length > 0 || running.length > 0) return requeueAfter(LOOK_AGAIN_MS);
  const keeps = [...kept];
  if (databasePolicy === 'Drop') {
    const problem = await dropDatabases(options, context);
    if (problem) return problem;
    const secrets = await sweep('Drop');
    keeps.splice(0, keeps.length, ...secrets.kept);
  }
  const note = keeps.length === 0 ? 'everything is deleted' : `kept by policy: ${byKind(keeps)}`;
  await tell({ type: 'Normal', reason: 'Deleted', action: 'Delete', note });
  const live = view.get(clusterType.kind, { namespace, name }) ?? cluster;
  const metadata = { resourceVersion: live.metadata.resourceVersion, finalizers: finalizers.filter((other) => other !== FINALIZER) };
  await api.patch(clusterType, { namespace, name }, { metadata });
  view.gone(cluster);
  return done;
}

/** A pod of a node that is lost never ends by itself. */
async function tellWhatRuns(running: readonly string[], { cluster, write }: FinalizeOptions, { clock }: ReconcileContext): Promise<void> {
  const status = (cluster.status ?? {}) as ClusterStatus;
  const { generation: observedGeneration } = cluster.metadata;
  const observed = observedGeneration === undefined ? {} : { observedGeneration };
  const named = running.toSorted().slice(0, NAMED).join(', ');
  const more = running.length > NAMED ? ` and ${running.length - NAMED} more` : '';
  const message = `the object goes when these have ended: ${named}${more}; look at their nodes and finalizers`;
  const conditions = setConditions(
    (status.conditions ?? []) as readonly Condition[],
    [{ type: 'Progressing', status: 'True', reason: 'Deleting', message, ...observed }],
    clock,
  );
  await write({ ...status, ...observed, phase: 'Deleting', conditions });
}

/** What is to be done instead of going on; undefined when nothing is left of the databases. */
async function dropDatabases(
  { cluster, tell, write, keeper, peers }: FinalizeOptions,
  { api, clock, signal, logger }: ReconcileContext,
): Promise<ReconcileResult | undefined> {
  const { namespace = '', name, generation, resourceVersion } = cluster.metadata;
  const status = (cluster.status ?? {}) as ClusterStatus;
  if ((status.databases ?? []).length === 0) return undefined;
  let wanted: NonNullable<ClusterStatus['databases']> = [];
  try {
    // the rest of a spec that was never right does not matter any more
    const parsed = settingsSchema.shape.mysql.safeParse((cluster.spec as Partial<ClusterSpec> | undefined)?.mysql);
    const [problem] = validateCluster(cluster).filter(({ path, severity }) => severity === 'error' && path[1] === 'mysql');
    if (!parsed.success || problem)
      throw problem?.error ?? onecloudErrors.ONECLOUD_FIELD_INVALID({ field: 'spec.mysql', value: 'not shown', rule: 'is refused' });
    const { data: mysql } = parsed;
    const server = shownServer(mysql);
    // what was on a server that the spec has left since stays there
    wanted = (status.databases ?? []).filter((database) => database.server === server);
    if (wanted.length === 0) return undefined;
    if (keeper === undefined) throw operatorOnecloudErrors.ONECLOUD_DATABASE_ACCESS_OFF({});
    const other = sharesDatabases(cluster, peers);
    if (other) throw operatorOnecloudErrors.ONECLOUD_DATABASE_SHARED({ server, other: keyOf(other) });
    const session = await keeper.open(api, namespace, mysql, signal);
    try {
      // a database server knows nothing of leases: a write that changes nothing asks whether this is still ours to do, and still the same cluster
      await api.patch(clusterType, { namespace, name }, { metadata: { resourceVersion } });
      for (const database of wanted) await session.drop({ database: database.name, user: database.user });
    } finally {
      await session.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof CodedError)) throw error;
    const problem = operatorOnecloudErrors.ONECLOUD_DATABASES_NOT_DROPPED({ why: String(error), namespace, name });
    const message = String(problem);
    const condition = { type: 'DatabasesDropped', status: 'False' as const, reason: 'DropFailed', message };
    const observed = generation === undefined ? {} : { observedGeneration: generation };
    const conditions = setConditions((status.conditions ?? []) as readonly Condition[], [{ ...condition, ...observed }], clock);
    await write({ ...status, ...observed, phase: 'Deleting', conditions });
    await tell({ type: 'Warning', reason: 'DatabasesNotDropped', action: 'Drop databases', note: message });
    return { type: 'retry', reason: message };
  }
  const note = `dropped ${wanted.map((database) => database.name).join(', ')} and their accounts`;
  logger.info({ databases: wanted.length }, 'databases dropped');
  await tell({ type: 'Normal', reason: 'DatabasesDropped', action: 'Drop databases', note });
  return undefined;
}

/** "PersistentVolumeClaim default-glance, default-influxdb; Secret default-ca": an event is short, and claims come first. */
function byKind(kept: readonly string[]): string {
  const names = new Map<string, string[]>();
  for (const described of [...kept].sort()) {
    const [kind = '', key = ''] = described.split(' ');
    names.set(kind, [...(names.get(kind) ?? []), parseKey(key).name]);
  }
  return [...names].map(([kind, list]) => `${kind} ${list.join(', ')}`).join('; ');
}
