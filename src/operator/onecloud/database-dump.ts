/**
 * The dump before an upgrade. A Job writes it; every image waits until it is complete. Without spec.databaseBackup the history says that
 * there is none. What a change's entry says decides, so a new operator goes on where the last one was.
 */
import { databaseDump, databaseDumpAuthority, databaseDumpKeys } from 'cdk8s-baremetal/onecloud/index';
import { CodedError } from 'cdk8s-baremetal-contract';
import {
  type ClusterSettings,
  DATABASE_DUMP,
  DEFAULT_TOLERATIONS,
  databaseDumpClaimName,
  databaseDumpJobName,
  databaseDumpSecretName,
  MANAGED_BY,
  onecloudLabel,
  type VersionChange,
} from 'cdk8s-baremetal-contract/onecloud/index';
import type { KubeApi } from '../engine/api.ts';
import { ifFound, isApiError } from '../engine/api-error.ts';
import { applyObject } from '../engine/apply.ts';
import type { EventStory } from '../engine/events.ts';
import { at, controllerReference, type KubeObject, type LiveObject, listAt, textAt } from '../engine/objects.ts';
import { readinessOf } from '../engine/readiness.ts';
import { resourceTypes, type TypeTable } from '../engine/resource-types.ts';
import { serverOf } from './database-step.ts';
import type { DatabaseServer } from './databases.ts';
import { operatorOnecloudErrors } from './errors.ts';
import { INSTANCE_LABEL } from './names.ts';
import type { ObjectView } from './object-view.ts';
import type { ImageChange } from './rollout.ts';

export interface DumpOptions {
  readonly api: KubeApi;
  readonly view: ObjectView;
  readonly types: TypeTable;
  readonly cluster: LiveObject;
  readonly instance: string;
  readonly settings: ClusterSettings;
  readonly history: readonly VersionChange[];
  /** Images that are about to change. */
  readonly changes: readonly ImageChange[];
  /** Version in force, for the file's name. */
  readonly from: string;
  /** Of components that run. */
  readonly databases: readonly string[];
  readonly tell: (story: EventStory) => Promise<void>;
}

export interface DumpResult {
  readonly history: VersionChange[];
  /** Set while images must stay: completes "waits for …". */
  readonly waitsFor?: string;
  readonly failure?: string;
  /** It could not be begun; to be tried again with growing pauses. */
  readonly retry?: true;
}

/** Entries whose images must not be applied before their dump is settled: the last of the whole cluster, and what came after it. */
function unsettled(history: readonly VersionChange[], changes: readonly ImageChange[]): VersionChange[] {
  return history
    .slice(
      Math.max(
        0,
        history.findLastIndex(({ component }) => component === undefined),
      ),
    )
    .filter((entry) => {
      const { outcome, databaseDump: dump, component } = entry;
      if (outcome !== 'InProgress' && outcome !== 'Failed') return false;
      if (dump?.state !== 'Pending' && dump?.state !== 'Failed') return false;
      return changes.some((change) => component === undefined || change.component === component);
    });
}

export async function dumpBefore(options: DumpOptions): Promise<DumpResult> {
  const { api, view, cluster, settings, history, tell } = options;
  const open = unsettled(history, options.changes);
  const [first] = open;
  if (first === undefined) {
    await abandon(options);
    return { history: [...history] };
  }
  const settle = (change: Partial<VersionChange>): VersionChange[] =>
    history.map((entry) => (open.includes(entry) ? { ...entry, ...change } : entry));
  const { namespace = '', name } = cluster.metadata;
  const { databaseBackup } = settings;
  if (databaseBackup === undefined || options.databases.length === 0) {
    const message = databaseBackup === undefined ? 'spec.databaseBackup is not set' : 'no database is in use';
    await abandon(options); // images change now: what a dump reads from here on is of no version
    await tell({
      type: 'Warning',
      reason: 'NoDatabaseDump',
      action: 'Dump',
      note: `${first.to} is rolled out without a database dump: ${message}`,
    });
    return { history: settle({ databaseDump: { state: 'NotTaken', message }, outcome: 'InProgress' }) };
  }
  const job = databaseDumpJobName(name, first.revision);
  const key = { namespace, name: job };
  const live = view.get('Job', key) ?? (await ifFound(api.get(resourceTypes.jobs, key)));
  if (live === undefined || live.metadata.deletionTimestamp !== undefined) {
    try {
      if (live === undefined) await start(options, databaseBackup, first.revision);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      // a quota, a Secret that is not there, a claim that cannot become what is asked for
      const failure = String(error);
      await tell({ type: 'Warning', reason: 'DumpFailed', action: 'Dump', note: failure });
      const databaseDump = { state: 'Pending' as const, message: error.message };
      return { history: settle({ databaseDump }), waitsFor: waitFor(job, 'it cannot be begun'), failure, retry: true };
    }
    await tell({ type: 'Normal', reason: 'DumpingDatabases', action: 'Dump', note: `Job ${job} dumps ${options.databases.join(', ')}` });
    return {
      history: settle({ databaseDump: { state: 'Pending', message: `Job ${job}` }, outcome: 'InProgress' }),
      waitsFor: waitFor(job),
    };
  }
  const pods = view
    .list('Pod', namespace)
    .filter(({ metadata: { labels = {} } }) => labels['job-name'] === job && labels[onecloudLabel.component] === DATABASE_DUMP);
  const { state, message } = readinessOf(live, { pods });
  switch (state) {
    case 'progressing':
      return { history: settle({ databaseDump: { state: 'Pending', message: `Job ${job}` } }), waitsFor: waitFor(job, message) };
    case 'ready': {
      await removeLogin(options);
      const file = fileOf(live);
      const place = `${file} in PersistentVolumeClaim ${databaseDumpClaimName(name)}`;
      await tell({ type: 'Normal', reason: 'DatabasesDumped', action: 'Dump', note: place });
      return { history: settle({ databaseDump: { state: 'Taken', message: place } }) };
    }
    case 'failed': {
      await removeLogin(options);
      const words = pods.flatMap(lastWords).at(-1);
      const error = operatorOnecloudErrors.ONECLOUD_DUMP_FAILED({ job, why: [message, words].filter(Boolean).join(': ') });
      await tell({ type: 'Warning', reason: 'DumpFailed', action: 'Dump', note: String(error) });
      const told = {
        databaseDump: { state: 'Failed' as const, message: error.message },
        outcome: 'Failed' as const,
        message: String(error),
      };
      return { history: settle(told), waitsFor: waitFor(job, 'it failed'), failure: String(error) };
    }
  }
}

function waitFor(job: string, message = ''): string {
  return `the database dump (Job ${job}${message === '' ? '' : `: ${message}`})`;
}

async function start(options: DumpOptions, backup: NonNullable<ClusterSettings['databaseBackup']>, revision: number): Promise<void> {
  const { api, view, types, cluster, instance, settings, from, databases } = options;
  const { namespace = '', name } = cluster.metadata;
  const { claim, job } = databaseDump({
    name,
    namespace,
    instance,
    backup,
    revision,
    from,
    databases,
    tolerations: [...DEFAULT_TOLERATIONS],
    ...(settings.priorityClassName !== undefined && { priorityClassName: settings.priorityClassName }),
    ...(settings.imagePullSecrets && { imagePullSecrets: settings.imagePullSecrets }),
  });
  const inventory = { label: INSTANCE_LABEL, value: instance };
  for (const earlier of view.list('Job', namespace)) {
    const { labels = {} } = earlier.metadata;
    if (labels[INSTANCE_LABEL] !== instance || labels[onecloudLabel.component] !== DATABASE_DUMP) continue;
    // the history tells how it went; one that still runs was for a change that is no longer wanted
    await ifFound(api.delete(resourceTypes.jobs, earlier.metadata, { uid: earlier.metadata.uid, propagation: 'Background' }));
    view.gone(earlier);
  }
  // without an owner: dumps stay when the cluster goes, unless pvcPolicy says otherwise
  const applied = await applyObject(claim as KubeObject, { api, types, inventory });
  view.written(applied.object);
  const secret = loginSecret(options, await serverOf(api, namespace, settings.mysql));
  const login = await applyObject(secret, { api, types, inventory, owner: cluster });
  view.written(login.object);
  const ownerReferences = [controllerReference(cluster)];
  try {
    const made = await api.create(resourceTypes.jobs, { ...(job as KubeObject), metadata: { ...job.metadata, ownerReferences } });
    view.written(made);
  } catch (error) {
    if (!isApiError(error, 'already-exists')) throw error;
  }
}

/** What the client of the Job reads: there while the Job is. */
function loginSecret({ cluster, instance }: DumpOptions, server: DatabaseServer): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: databaseDumpSecretName(cluster.metadata.name),
      namespace: cluster.metadata.namespace ?? '',
      labels: { [onecloudLabel.instance]: instance, [onecloudLabel.managedBy]: MANAGED_BY, [onecloudLabel.component]: DATABASE_DUMP },
    },
    type: 'Opaque',
    data: clientLogin(server),
  };
}

/** An option file for the clients of MySQL and MariaDB, and what it refers to, as data of a Secret. */
export function clientLogin({ host, port, user, password, tls }: DatabaseServer): Record<string, string> {
  const lines = [
    '[client]',
    `host=${quoted(host)}`,
    `port=${port}`,
    `user=${quoted(user)}`,
    `password=${quoted(password.reveal())}`,
    // MySQL's client and MariaDB's say it in different words, and each refuses the other's without "loose"
    ...(tls ? ['loose-ssl-mode=VERIFY_IDENTITY', 'loose-ssl-verify-server-cert=1'] : []),
    ...(tls?.ca === undefined ? [] : [`ssl-ca=${databaseDumpAuthority}`]),
  ];
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  return {
    [databaseDumpKeys.login]: encode(`${lines.join('\n')}\n`),
    ...(tls?.ca !== undefined && { [databaseDumpKeys.authority]: encode(tls.ca) }),
  };
}

/** A value of an option file, where # begins a comment and spaces at the ends are dropped outside of quotes. */
export function quoted(value: string): string {
  const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  return `"${value.replaceAll(/[\\"\n\r\t]/g, (char) => escapes[char] ?? char)}"`;
}

/** A dump that nobody waits for any more is stopped, and its login goes. One that ended has none. */
async function abandon(options: DumpOptions): Promise<void> {
  const { api, view, cluster, instance } = options;
  const { namespace = '', name } = cluster.metadata;
  if (view.get('Secret', { namespace, name: databaseDumpSecretName(name) }) === undefined) return;
  for (const job of view.list('Job', namespace)) {
    const { labels = {}, uid } = job.metadata;
    if (labels[INSTANCE_LABEL] !== instance || labels[onecloudLabel.component] !== DATABASE_DUMP) continue;
    if (readinessOf(job, { pods: [] }).state !== 'progressing') continue;
    await ifFound(api.delete(resourceTypes.jobs, job.metadata, { uid, propagation: 'Background' }));
    view.gone(job);
  }
  await removeLogin(options);
}

async function removeLogin({ api, view, cluster }: DumpOptions): Promise<void> {
  const key = { namespace: cluster.metadata.namespace ?? '', name: databaseDumpSecretName(cluster.metadata.name) };
  const live = view.get('Secret', key);
  if (live === undefined) return;
  await ifFound(api.delete(resourceTypes.secrets, key));
  view.gone(live);
}

function fileOf(job: LiveObject): string {
  const [container] = listAt(job, 'spec', 'template', 'spec', 'containers');
  return (
    listAt(container, 'args').find((argument): argument is string => typeof argument === 'string' && argument.endsWith('.sql.gz')) ?? ''
  );
}

/** What the client said last; it never says a password. */
function lastWords(pod: KubeObject): string[] {
  return listAt(pod, 'status', 'containerStatuses').flatMap((status) => {
    const message = textAt(at(status, 'state', 'terminated'), 'message');
    return message === undefined || message === '' ? [] : [message.trim().split('\n').slice(-3).join(' ').slice(0, 500)];
  });
}
