/** Has an object become what was asked of it? Read from its status alone, for the generation that was asked for. */
import { parseIsoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import { at, type KubeObject, listAt, numberAt, textAt } from './objects.ts';

export interface Readiness {
  /** `failed`: it will not become ready by waiting. */
  readonly state: 'ready' | 'progressing' | 'failed';
  /** One word, for conditions. */
  readonly reason: string;
  /** For people; empty when ready. */
  readonly message: string;
  /** Pods that serve, of those wanted; for what has pods. */
  readonly ready?: number;
  readonly desired?: number;
}

export interface ReadinessOptions {
  /** Pods of the workload: they tell why it does not become ready. */
  readonly pods?: readonly KubeObject[];
}

export function readinessOf(object: KubeObject, { pods = [] }: ReadinessOptions = {}): Readiness {
  const { generation } = object.metadata;
  const observed = numberAt(object, 'status', 'observedGeneration');
  switch (object.kind) {
    case 'Deployment':
    case 'StatefulSet':
    case 'DaemonSet':
      if (generation !== undefined && (observed ?? 0) < generation)
        return progressing('NotObserved', 'the change is not yet seen by its controller');
      return explain(workload(object), pods);
    case 'Job':
      return explain(job(object), pods);
    case 'CronJob':
      return READY; // its schedule is its work
    case 'PersistentVolumeClaim':
      return claim(object);
    case 'Service':
      return service(object);
    default:
      return READY;
  }
}

const READY: Readiness = { state: 'ready', reason: 'Ready', message: '' };

function progressing(reason: string, message: string, counts: { ready?: number; desired?: number } = {}): Readiness {
  return { state: 'progressing', reason, message, ...counts };
}

function workload(object: KubeObject): Readiness {
  switch (object.kind) {
    case 'Deployment':
      return deployment(object);
    case 'StatefulSet':
      return statefulSet(object);
    default:
      return daemonSet(object);
  }
}

function deployment(object: KubeObject): Readiness {
  const desired = numberAt(object, 'spec', 'replicas') ?? 1;
  const status = (name: string): number => numberAt(object, 'status', name) ?? 0;
  const counts = { ready: status('availableReplicas'), desired };
  const progress = condition(object, 'Progressing');
  if (progress?.reason === 'ProgressDeadlineExceeded' && !isOfEarlierSpec(progress, object)) {
    return {
      state: 'failed',
      reason: 'ProgressDeadlineExceeded',
      message: textAt(progress, 'message') ?? 'the rollout makes no progress',
      ...counts,
    };
  }
  const failure = condition(object, 'ReplicaFailure');
  if (failure?.status === 'True')
    return progressing(textAt(failure, 'reason') ?? 'ReplicaFailure', textAt(failure, 'message') ?? 'pods cannot be created', counts);
  if (status('updatedReplicas') < desired)
    return progressing('RollingOut', `${status('updatedReplicas')} of ${desired} pods are updated`, counts);
  if (status('replicas') > status('updatedReplicas')) {
    return progressing('RollingOut', `${status('replicas') - status('updatedReplicas')} old pods are still there`, counts);
  }
  if (counts.ready < desired) return progressing('Unavailable', `${counts.ready} of ${desired} pods are available`, counts);
  return { ...READY, ...counts };
}

/**
 * On the way back to pods that it knows, a Deployment keeps the condition of the version that failed until something progresses, which with the strategy
 * Recreate takes as long as the old pods take to end.
 */
function isOfEarlierSpec({ lastTransitionTime }: { readonly lastTransitionTime?: unknown }, { metadata }: KubeObject): boolean {
  const written = (metadata.managedFields ?? []).flatMap(({ time, fieldsV1 }) =>
    time !== undefined && fieldsV1?.['f:spec'] ? [time] : [],
  );
  const since = typeof lastTransitionTime === 'string' ? parseIsoTime(lastTransitionTime) : undefined;
  return since !== undefined && written.some((time) => (parseIsoTime(time) ?? Number.NEGATIVE_INFINITY) >= since);
}

function statefulSet(object: KubeObject): Readiness {
  const desired = numberAt(object, 'spec', 'replicas') ?? 1;
  const status = (name: string): number => numberAt(object, 'status', name) ?? 0;
  const counts = { ready: status('readyReplicas'), desired };
  const onDelete = textAt(object, 'spec', 'updateStrategy', 'type') === 'OnDelete';
  const partition = numberAt(object, 'spec', 'updateStrategy', 'rollingUpdate', 'partition') ?? 0;
  const toUpdate = Math.max(0, desired - partition);
  const rolled = textAt(object, 'status', 'updateRevision') === textAt(object, 'status', 'currentRevision') || partition > 0;
  if (!onDelete && (status('updatedReplicas') < toUpdate || !rolled)) {
    return progressing('RollingOut', `${status('updatedReplicas')} of ${toUpdate} pods are updated`, counts);
  }
  if (counts.ready < desired) return progressing('Unavailable', `${counts.ready} of ${desired} pods are ready`, counts);
  return { ...READY, ...counts };
}

/** None wanted is ready: no node carries the label yet. */
function daemonSet(object: KubeObject): Readiness {
  const status = (name: string): number => numberAt(object, 'status', name) ?? 0;
  const desired = status('desiredNumberScheduled');
  const counts = { ready: status('numberAvailable'), desired };
  const onDelete = textAt(object, 'spec', 'updateStrategy', 'type') === 'OnDelete'; // waits for people, so it gates nothing
  if (!onDelete && status('updatedNumberScheduled') < desired) {
    return progressing('RollingOut', `${status('updatedNumberScheduled')} of ${desired} nodes are updated`, counts);
  }
  if (counts.ready < desired) return progressing('Unavailable', `${counts.ready} of ${desired} nodes have it available`, counts);
  return { ...READY, ...counts };
}

function job(object: KubeObject): Readiness {
  if (condition(object, 'Complete')?.status === 'True') return READY;
  const failed = condition(object, 'Failed');
  if (failed?.status === 'True')
    return { state: 'failed', reason: textAt(failed, 'reason') ?? 'Failed', message: textAt(failed, 'message') ?? 'the job failed' };
  return progressing('Running', `${numberAt(object, 'status', 'failed') ?? 0} attempts failed so far`);
}

/** A claim of a class that binds on first use waits for its pod, and must not hold it up. */
function claim(object: KubeObject): Readiness {
  switch (textAt(object, 'status', 'phase')) {
    case 'Bound':
      return READY;
    case 'Lost':
      return { state: 'failed', reason: 'ClaimLost', message: 'the volume behind the claim is gone' };
    default:
      return progressing('ClaimPending', 'no volume is bound yet');
  }
}

function service(object: KubeObject): Readiness {
  if (textAt(object, 'spec', 'type') !== 'LoadBalancer') return READY;
  return listAt(object, 'status', 'loadBalancer', 'ingress').length > 0
    ? READY
    : progressing('NoAddress', 'the load balancer has no address yet');
}

interface FoundCondition {
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly lastTransitionTime?: unknown;
}

function condition(object: KubeObject, type: string): FoundCondition | undefined {
  return listAt(object, 'status', 'conditions').find((found) => at(found, 'type') === type) as FoundCondition | undefined;
}

/** Waiting reasons that say more than a count. None is final: a registry comes back, a Secret is made. */
const TELLING = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'CrashLoopBackOff',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
]);

/** Adds what the pods say to a workload that is not ready. */
function explain(readiness: Readiness, pods: readonly KubeObject[]): Readiness {
  if (readiness.state === 'ready') return readiness;
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp !== undefined) continue;
    const containers = [...listAt(pod, 'status', 'initContainerStatuses'), ...listAt(pod, 'status', 'containerStatuses')];
    for (const container of containers) {
      const waiting = at(container, 'state', 'waiting');
      const reason = textAt(waiting, 'reason');
      if (reason === undefined || !TELLING.has(reason)) continue;
      const last = at(container, 'lastState', 'terminated');
      const exit = numberAt(last, 'exitCode');
      const detail = textAt(waiting, 'message') ?? (exit === undefined ? '' : `exit code ${exit}`);
      const image = textAt(container, 'image') ?? '';
      const message = `pod ${pod.metadata.name}, container ${textAt(container, 'name') ?? ''} (${image}): ${reason}${detail === '' ? '' : `: ${detail}`}`;
      return { ...readiness, reason, message };
    }
    const scheduled = listAt(pod, 'status', 'conditions').find((found) => at(found, 'type') === 'PodScheduled');
    if (textAt(scheduled, 'status') === 'False' && textAt(scheduled, 'reason') === 'Unschedulable') {
      return {
        ...readiness,
        reason: 'Unschedulable',
        message: `pod ${pod.metadata.name}: ${textAt(scheduled, 'message') ?? 'no node takes it'}`,
      };
    }
  }
  return readiness;
}
