/** bmctl cluster dev: the short way from a changed program to a running pod of one component, and back to the image. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type Component, componentObjectName } from 'cdk8s-baremetal-contract/onecloud/index';
import { withDeadline } from 'cdk8s-baremetal-runtime/core/clock';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import { ifFound } from '../../operator/engine/api-error.ts';
import { type LiveObject, numberAt } from '../../operator/engine/objects.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { findComponent } from './assignment.ts';
import { type Cluster, getCluster } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { copiedPath, copyTarget, devPatch, emptyPatch, RESTART_COMMAND, receiveCommand } from './dev-patch.ts';
import { clusterErrors } from './errors.ts';
import { componentSelector, DEV_SYNC_MANAGER } from './names.ts';
import type { PodAccess } from './pod-access.ts';
import { followAll } from './watch-cluster.ts';

export interface DevSyncOptions {
  readonly key: ClusterKey;
  /** Key or name of the component. */
  readonly component: string;
  /** LOCALFILE or LOCALFILE:PATH-IN-CONTAINER. */
  readonly source: string;
  /** Into every pod, when there are several. */
  readonly all?: boolean;
  /** For the new pods to come up to the point where they take the program. @default 300 */
  readonly timeoutSeconds?: number;
}

/**
 * Copies a program into the pods of one component and restarts it alone. The first copy replaces the pods once; later ones restart
 * the container in place.
 * @throws CodedError CLUSTER_DEV_*
 */
export async function devSync(context: ClusterContext, pods: PodAccess, options: DevSyncOptions): Promise<void> {
  const { key } = options;
  const row = findComponent(options.component);
  const { file, path } = sourceOf(options.source, row);
  const program = readProgram(file);
  try {
    const cluster = await getCluster(context, key);
    const deployment = await deploymentOf(context, cluster, row);
    const replicas = numberAt(deployment, 'spec', 'replicas') ?? 1;
    if (replicas === 0) throw clusterErrors.CLUSTER_DEV_NOT_RUNNING({ component: row.name });
    if (replicas > 1 && !options.all) throw clusterErrors.CLUSTER_DEV_SEVERAL({ component: row.name, replicas });
    const digest = createHash('sha256').update(program).digest('hex').slice(0, 12);
    const note = `${basename(file)} as ${path}, SHA-256 ${digest}…, ${isoTime(context.clock.now())}`;
    if (copiedPath(deployment) !== path)
      context.progress(`${row.name}: its ${replicas === 1 ? 'pod is' : 'pods are'} replaced once, to take copies from now on`);
    await context.api.apply(resourceTypes.deployments, devPatch(deployment, { row, path, note }), {
      fieldManager: DEV_SYNC_MANAGER,
      force: true,
      signal: context.signal,
    });
    await copyToAll(context, pods, { cluster, row, path, program, replicas, seconds: options.timeoutSeconds ?? 300 });
    context.print(`${row.name} runs ${basename(file)} (SHA-256 ${digest}…); bmctl cluster dev reset ${row.name} goes back to the image`);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** Back to the image: what `dev sync` added goes, and the pods are replaced. */
export async function devReset(context: ClusterContext, key: ClusterKey, word: string): Promise<void> {
  const row = findComponent(word);
  try {
    const deployment = await deploymentOf(context, await getCluster(context, key), row);
    if (copiedPath(deployment) === undefined) return context.print(`${row.name} runs its image`);
    await context.api.apply(resourceTypes.deployments, emptyPatch(deployment), { fieldManager: DEV_SYNC_MANAGER, signal: context.signal });
    context.print(`${row.name} goes back to its image`);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

interface Copying {
  readonly cluster: Cluster;
  readonly row: Component;
  readonly path: string;
  readonly program: Uint8Array;
  readonly replicas: number;
  readonly seconds: number;
}

/** Each pod once, as it becomes able to take it. */
async function copyToAll(
  context: ClusterContext,
  pods: PodAccess,
  { cluster, row, path, program, replicas, seconds }: Copying,
): Promise<void> {
  const { key, instance } = cluster;
  const late = (): Error => clusterErrors.CLUSTER_DEV_DEADLINE({ component: row.name, seconds });
  const selection = { namespace: key.namespace, labelSelector: componentSelector(instance, row.name) };
  const copy = async (signal: AbortSignal): Promise<void> => {
    const served = new Set<string>();
    for await (const found of followAll(context, resourceTypes.pods, selection, signal)) {
      for (const pod of found.values()) {
        const { name, uid } = pod.metadata;
        const target = copyTarget(pod, row.name);
        // a pod of an earlier path is about to be replaced
        if (target === undefined || served.has(uid) || !Object.values(pod.metadata.annotations ?? {}).includes(path)) continue;
        await run(
          pods,
          { namespace: key.namespace, pod: name, container: target.container, signal },
          receiveCommand(program.length),
          program,
        );
        if (target.running) await run(pods, { namespace: key.namespace, pod: name, container: target.container, signal }, RESTART_COMMAND);
        served.add(uid);
        context.progress(`${name}: ${program.length} bytes copied${target.running ? ', restarting' : ''}`);
      }
      if (served.size >= replicas) return;
    }
  };
  await withDeadline(context.clock, seconds * 1000, late, copy, context.signal);
}

async function run(
  pods: PodAccess,
  where: { readonly namespace: string; readonly pod: string; readonly container: string; readonly signal: AbortSignal },
  command: readonly string[],
  input?: Uint8Array,
): Promise<void> {
  const { pod, signal } = where;
  const result = await pods.exec({ ...where, command, ...(input && { input }) }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw clusterErrors.CLUSTER_DEV_EXEC({ pod, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
  });
  // 143: the shell was in the container whose first process it stopped
  if (result.exitCode === 0 || (input === undefined && (result.exitCode === 143 || result.exitCode === 137))) return;
  throw clusterErrors.CLUSTER_DEV_EXEC({ pod, reason: `exit code ${result.exitCode}: ${result.errors.trim()}` });
}

async function deploymentOf({ api, signal }: ClusterContext, { key }: Cluster, row: Component): Promise<LiveObject> {
  if (row.kind !== 'Deployment' && row.kind !== 'StatefulDeployment')
    throw clusterErrors.CLUSTER_DEV_KIND({ component: row.name, kind: row.kind });
  const target = { name: componentObjectName(key.name, row.name), namespace: key.namespace };
  const deployment = await ifFound(api.get(resourceTypes.deployments, target, { signal }));
  if (!deployment) throw clusterErrors.CLUSTER_DEV_NOT_RUNNING({ component: row.name });
  return deployment;
}

function sourceOf(source: string, row: Component): { readonly file: string; readonly path: string } {
  const colon = source.indexOf(':/');
  if (colon >= 0) return { file: source.slice(0, colon), path: source.slice(colon + 1) };
  const [program = ''] = row.command ?? [];
  if (!program.startsWith('/opt/')) throw clusterErrors.CLUSTER_DEV_NO_PROGRAM({ component: row.name });
  return { file: source, path: program };
}

const ELF = '\x7fELF';

function readProgram(file: string): Uint8Array {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw clusterErrors.CLUSTER_DEV_FILE({ file, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
  }
  const head = bytes.subarray(0, 4).toString('latin1');
  // a program of another system would only be found out by a container that does not start
  if (head !== ELF && !head.startsWith('#!'))
    throw clusterErrors.CLUSTER_DEV_FILE({ file, reason: 'it is neither an ELF program nor a script' });
  return bytes;
}
