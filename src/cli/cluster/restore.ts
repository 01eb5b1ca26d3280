/**
 * bmctl cluster restore: a dump that the operator took is read back. Services with databases are disabled first, and come back with the version that the
 * dump is from. Every step looks at what is there, so the same command goes on where an earlier one was stopped.
 */
import { databaseRestore } from 'cdk8s-baremetal/onecloud/index';
import {
  type ClusterSettings,
  catalog,
  DEFAULT_TOLERATIONS,
  databaseRestoreName,
  onecloudLabel,
  programVersion,
  resolveCluster,
  settingsSchema,
  type VersionChange,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/clock';
import { ifFound, isApiError } from '../../operator/engine/api-error.ts';
import { at, controllerReference, formatKey, type KubeObject, type LiveObject, listAt, textAt } from '../../operator/engine/objects.ts';
import { readinessOf } from '../../operator/engine/readiness.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { clientLogin } from '../../operator/onecloud/database-dump.ts';
import { serverOf } from '../../operator/onecloud/database-step.ts';
import { type Cluster, clusterType, getCluster, isAskedAlike } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { BMCTL_MANAGER, clusterAnnotation, componentSelector } from './names.ts';

export interface RestoreOptions {
  readonly key: ClusterKey;
  /** Name of the file; absent: the newest that the history knows. */
  readonly dump?: string;
  /** Of a dump that the history does not know, since the cluster was made anew or its history is longer than what is kept. */
  readonly version?: string;
  readonly yes?: boolean;
  /** Limit for pods to go and for the Job to end. */
  readonly minutes: number;
}

/** A dump that was taken before a change. */
export interface TakenDump {
  readonly file: string;
  /** Version that it is from, or of the one component. */
  readonly version: string;
  /** The component whose image alone was changed, and the one that it had; absent: the cluster's version. */
  readonly only?: { readonly component: string; readonly image: string };
  readonly when: string;
}

/** What stands in the annotation while it goes on. */
interface Restoring {
  readonly dump: TakenDump;
  /** Keys of what this disabled. */
  readonly disabled: readonly string[];
}

const LOOK_MS = 2_000;

/** @throws CodedError CLUSTER_NO_DUMP, CLUSTER_RESTORE_CONFIRM, CLUSTER_RESTORE_UNDER_WAY, CLUSTER_RESTORE_FAILED, CLUSTER_RESTORE_DEADLINE, … */
export async function restoreCluster(context: ClusterContext, options: RestoreOptions): Promise<void> {
  const { key } = options;
  const cluster = await getCluster(context, key);
  try {
    const begun = restoringOf(cluster);
    const dump = begun?.dump ?? chosen(cluster, options);
    if (begun !== undefined && options.dump !== undefined && options.dump !== begun.dump.file)
      throw clusterErrors.CLUSTER_RESTORE_UNDER_WAY({ dump: begun.dump.file });
    const settings = settingsSchema.parse(cluster.spec);
    const rows = withDatabases(cluster, begun);
    context.print(`Restores ${dump.file} of ${dump.when} into ${settings.mysql.host}: what was written since then is lost`);
    context.print(`  disabled meanwhile: ${rows.map(({ name }) => name).join(', ')}`);
    context.print(`  then ${dump.only?.component ?? 'everything'} comes back as ${dump.version}`);
    if (!options.yes) throw clusterErrors.CLUSTER_RESTORE_CONFIRM({ dump: dump.file });
    if (begun === undefined) await disable(context, cluster, { dump, disabled: rows.map((row) => row.key) });
    await podsGone(context, cluster, rows, options.minutes);
    await runJob(context, cluster, settings, dump, options.minutes);
    await enable(context, key, dump);
    context.print(`${dump.file} is restored; onecloudcluster ${formatKey(key)} comes back`);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** Enables what a restore disabled, with the databases as they are. @throws CodedError CLUSTER_NO_RESTORE */
export async function abortRestore(context: ClusterContext, key: ClusterKey): Promise<void> {
  const cluster = await getCluster(context, key);
  if (restoringOf(cluster) === undefined) throw clusterErrors.CLUSTER_NO_RESTORE({ cluster: formatKey(key) });
  try {
    await removeJob(context, key);
    await enable(context, key, undefined);
    context.print(`onecloudcluster ${formatKey(key)} comes back with its databases as they are`);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** The newest first. Pure. */
function dumpsOf({ status }: Pick<Cluster, 'status'>): TakenDump[] {
  return (status.history ?? []).toReversed().flatMap(({ databaseDump, from, component, when }: VersionChange): TakenDump[] => {
    const file = /^\S+\.sql\.gz/.exec(databaseDump?.message ?? '')?.[0];
    if (databaseDump?.state !== 'Taken' || file === undefined || from === undefined) return [];
    return [
      component === undefined
        ? { file, when, version: from }
        : { file, when, version: programVersion(from), only: { component, image: from } },
    ];
  });
}

function chosen(cluster: Cluster, { dump: wanted, version }: RestoreOptions): TakenDump {
  const known = dumpsOf(cluster);
  const found = wanted === undefined ? known[0] : known.find(({ file }) => file === wanted);
  if (found) return found;
  if (wanted !== undefined && version !== undefined) return { file: wanted, version, when: 'an earlier cluster' };
  throw clusterErrors.CLUSTER_NO_DUMP({
    cluster: formatKey(cluster.key),
    known: known.map(({ file }) => file),
    ...(wanted !== undefined && { dump: wanted }),
  });
}

function restoringOf({ object }: Cluster): Restoring | undefined {
  const text = object.metadata.annotations?.[clusterAnnotation.restoring];
  return text === undefined ? undefined : (JSON.parse(text) as Restoring);
}

/** Everything that writes to a database; what somebody disabled before stays so. */
function withDatabases({ spec }: Cluster, begun: Restoring | undefined): { readonly key: string; readonly name: string }[] {
  const off = new Map(resolveCluster(spec).components.map(({ row, disabled }) => [row.key, disabled]));
  return catalog.filter(({ key, database }) => (begun ? begun.disabled.includes(key) : database !== undefined && off.get(key) === false));
}

async function disable(context: ClusterContext, cluster: Cluster, restoring: Restoring): Promise<void> {
  const { key, object } = cluster;
  const patch = {
    metadata: {
      resourceVersion: object.metadata.resourceVersion,
      annotations: { [clusterAnnotation.restoring]: JSON.stringify(restoring) },
    },
    spec: Object.fromEntries(restoring.disabled.map((component) => [component, { disable: true }])),
  };
  try {
    await context.api.patch(clusterType, key, patch, { fieldManager: BMCTL_MANAGER, signal: context.signal });
  } catch (error) {
    const now = isApiError(error, 'conflict') ? await getCluster(context, key) : undefined;
    if (now && isAskedAlike(now, cluster)) return disable(context, now, restoring); // the operator wrote its status in between
    throw error;
  }
  context.progress(`disabled ${restoring.disabled.length} components`);
}

async function podsGone(
  context: ClusterContext,
  cluster: Cluster,
  rows: readonly { readonly name: string }[],
  minutes: number,
): Promise<void> {
  const names = new Set(rows.map(({ name }) => name));
  const selection = { namespace: cluster.key.namespace, labelSelector: componentSelector(cluster.instance), signal: context.signal };
  await until(context, minutes, async () => {
    // a Deployment that still wants pods would make the next ones
    const { items: deployments } = await context.api.list(resourceTypes.deployments, selection);
    const wanting = deployments.filter((one) => names.has(labelOf(one)) && (at(one, 'spec', 'replicas') ?? 1) !== 0);
    const { items: pods } = await context.api.list(resourceTypes.pods, selection);
    const left = pods.filter((pod) => names.has(labelOf(pod)) && !['Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase') ?? ''));
    const waits = [...new Set([...wanting, ...left].map(labelOf))];
    return waits.length === 0 ? undefined : `the pods of ${waits.join(', ')}`;
  });
}

function labelOf({ metadata }: LiveObject): string {
  return metadata.labels?.[onecloudLabel.component] ?? '';
}

async function runJob(
  context: ClusterContext,
  { key, object, instance }: Cluster,
  settings: ClusterSettings,
  { file }: TakenDump,
  minutes: number,
): Promise<void> {
  const { api, signal } = context;
  const { namespace } = key;
  const name = databaseRestoreName(key.name);
  const { databaseBackup: backup = settingsSchema.shape.databaseBackup.unwrap().parse({}) } = settings;
  await removeJob(context, key);
  const ownerReferences = [controllerReference(object)];
  const job = databaseRestore({
    ...key,
    instance,
    backup,
    file,
    tolerations: [...DEFAULT_TOLERATIONS],
    ...(settings.priorityClassName !== undefined && { priorityClassName: settings.priorityClassName }),
    ...(settings.imagePullSecrets && { imagePullSecrets: settings.imagePullSecrets }),
  }) as KubeObject;
  const data = clientLogin(await serverOf(api, namespace, settings.mysql));
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { ...job.metadata, ownerReferences }, type: 'Opaque', data };
  await api.create(resourceTypes.secrets, secret, { fieldManager: BMCTL_MANAGER, signal });
  try {
    await api.create(
      resourceTypes.jobs,
      { ...job, metadata: { ...job.metadata, ownerReferences } },
      { fieldManager: BMCTL_MANAGER, signal },
    );
    context.progress(`Job ${name} restores ${file}`);
    await until(context, minutes, async () => {
      const live = await api.get(resourceTypes.jobs, { namespace, name }, { signal });
      const { items } = await api.list(resourceTypes.pods, { namespace, labelSelector: `job-name=${name}`, signal });
      const { state, message } = readinessOf(live, { pods: items });
      if (state === 'ready') return undefined;
      const words = items.flatMap(lastWords).at(-1);
      if (state === 'failed')
        throw clusterErrors.CLUSTER_RESTORE_FAILED({ job: name, namespace, why: [message, words].filter(Boolean).join(': ') });
      return `the Job ${name}${message === '' ? '' : ` (${message})`}`;
    });
  } finally {
    await ifFound(api.delete(resourceTypes.secrets, { namespace, name }));
  }
}

/** One of an earlier try, with its login. */
async function removeJob(context: ClusterContext, { namespace, name: cluster }: ClusterKey): Promise<void> {
  const { api } = context;
  const key = { namespace, name: databaseRestoreName(cluster) };
  await ifFound(api.delete(resourceTypes.jobs, key, { propagation: 'Foreground' }));
  await ifFound(api.delete(resourceTypes.secrets, key));
  await until(context, 1, async () => ((await ifFound(api.get(resourceTypes.jobs, key))) ? `the Job ${key.name} to go` : undefined));
}

/** With the version that the databases are of now: the operator is told that this way back is meant. */
async function enable(context: ClusterContext, key: ClusterKey, dump: TakenDump | undefined): Promise<void> {
  for (;;) {
    const cluster = await getCluster(context, key);
    const begun = restoringOf(cluster);
    if (begun === undefined) return; // somebody else ended it
    const { resourceVersion } = cluster.object.metadata;
    const back = Object.fromEntries(begun.disabled.map((component): [string, Record<string, unknown>] => [component, { disable: null }]));
    const only = dump?.only;
    const row = catalog.find(({ name }) => name === only?.component);
    if (row !== undefined && only !== undefined) back[row.key] = { ...back[row.key], image: only.image };
    const patch = {
      metadata: {
        resourceVersion,
        annotations: {
          [clusterAnnotation.restoring]: null,
          ...(dump !== undefined && { [clusterAnnotation.acceptDatabase]: dump.version }),
        },
      },
      spec: { ...back, ...(dump !== undefined && row === undefined && { version: dump.version }) },
    };
    try {
      await context.api.patch(clusterType, key, patch, { fieldManager: BMCTL_MANAGER, signal: context.signal });
      return;
    } catch (error) {
      if (!isApiError(error, 'conflict')) throw error; // the operator wrote its status in between
    }
  }
}

/** `look` tells what it waits for; undefined: it is so. */
async function until(context: ClusterContext, minutes: number, look: () => Promise<string | undefined>): Promise<void> {
  const end = context.clock.monotonic() + minutes * 60_000;
  let told: string | undefined;
  for (;;) {
    const waits = await look();
    if (waits === undefined) return;
    if (waits !== told) context.progress(`waits for ${waits}`);
    told = waits;
    if (context.clock.monotonic() >= end) throw clusterErrors.CLUSTER_RESTORE_DEADLINE({ minutes, waits });
    await sleep(context.clock, LOOK_MS, context.signal);
  }
}

function lastWords(pod: KubeObject): string[] {
  return listAt(pod, 'status', 'containerStatuses').flatMap((status) => {
    const message = textAt(status, 'state', 'terminated', 'message');
    return message === undefined || message === '' ? [] : [message.trim().split('\n').slice(-3).join(' ').slice(0, 500)];
  });
}
