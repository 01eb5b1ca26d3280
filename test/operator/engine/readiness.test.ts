import { describe, expect, it } from 'vitest';
import type { KubeObject, ManagedFieldsEntry } from '../../../src/operator/engine/objects.ts';
import { readinessOf } from '../../../src/operator/engine/readiness.ts';

const object = (kind: string, spec: object, status: object, generation = 2): KubeObject => ({
  apiVersion: 'apps/v1',
  kind,
  metadata: { name: 'glance', namespace: 'onecloud', generation },
  spec,
  status: { observedGeneration: generation, ...status },
});

const deploymentOf = (status: object, spec: object = { replicas: 3 }): KubeObject => object('Deployment', spec, status);
const full = { replicas: 3, updatedReplicas: 3, availableReplicas: 3 };
const condition = (type: string, status: string, reason: string, message = 'as the controller says') => ({ type, status, reason, message });

const TIMED_OUT = {
  ...condition('Progressing', 'False', 'ProgressDeadlineExceeded', 'ReplicaSet "u-cbcdb644c" has timed out progressing.'),
  lastTransitionTime: '2026-11-21T15:46:54Z',
};

/** One replica, whose spec was last written then. */
function appliedAt(time: string, status: object): KubeObject {
  const deployment = deploymentOf(status, { replicas: 1 });
  const managedFields: ManagedFieldsEntry[] = [
    { manager: 'kube-controller-manager', operation: 'Update', time: '2026-11-21T15:46:59Z', fieldsV1: { 'f:status': {} } },
    { manager: 'cdk8s-baremetal-operator', operation: 'Apply', time, fieldsV1: { 'f:spec': {} } },
  ];
  return { ...deployment, metadata: { ...deployment.metadata, managedFields } };
}

describe('readiness', () => {
  it.each<[string, KubeObject, string, string]>([
    ['deployment: all updated and available', deploymentOf(full), 'ready', 'Ready'],
    ['deployment: scaled to zero', deploymentOf({}, { replicas: 0 }), 'ready', 'Ready'],
    [
      'deployment: one replica is the default',
      deploymentOf({ replicas: 1, updatedReplicas: 1, availableReplicas: 1 }, {}),
      'ready',
      'Ready',
    ],
    ['deployment: the controller has not looked yet', deploymentOf({ ...full, observedGeneration: 1 }), 'progressing', 'NotObserved'],
    ['deployment: no status at all', { ...deploymentOf({}), status: undefined }, 'progressing', 'NotObserved'],
    ['deployment: some updated', deploymentOf({ ...full, updatedReplicas: 1 }), 'progressing', 'RollingOut'],
    ['deployment: old pods remain', deploymentOf({ ...full, replicas: 4 }), 'progressing', 'RollingOut'],
    ['deployment: not all available', deploymentOf({ ...full, availableReplicas: 2 }), 'progressing', 'Unavailable'],
    [
      'deployment: no progress',
      deploymentOf({ ...full, updatedReplicas: 1, conditions: [condition('Progressing', 'False', 'ProgressDeadlineExceeded')] }),
      'failed',
      'ProgressDeadlineExceeded',
    ],
    [
      'deployment: no progress since it was asked for',
      appliedAt('2026-11-21T15:46:48Z', { replicas: 2, updatedReplicas: 1, availableReplicas: 1, conditions: [TIMED_OUT] }),
      'failed',
      'ProgressDeadlineExceeded',
    ],
    // as kube-controller-manager 1.20 reports on the way back to pods that it knows: what failed was the version before
    [
      'deployment: rolled back, the pods that failed are still there',
      appliedAt('2026-11-21T15:46:58Z', { replicas: 2, updatedReplicas: 1, availableReplicas: 1, conditions: [TIMED_OUT] }),
      'progressing',
      'RollingOut',
    ],
    [
      'deployment: rolled back, its own pods are not there yet',
      appliedAt('2026-11-21T15:46:58Z', { replicas: 1, conditions: [TIMED_OUT] }),
      'progressing',
      'RollingOut',
    ],
    [
      'deployment: pods refused by quota',
      deploymentOf({ conditions: [condition('ReplicaFailure', 'True', 'FailedCreate', 'exceeded quota')] }),
      'progressing',
      'FailedCreate',
    ],
    [
      'stateful set: ready',
      object('StatefulSet', { replicas: 2 }, { readyReplicas: 2, updatedReplicas: 2, currentRevision: 'b', updateRevision: 'b' }),
      'ready',
      'Ready',
    ],
    [
      'stateful set: rolling',
      object('StatefulSet', { replicas: 2 }, { readyReplicas: 2, updatedReplicas: 1, currentRevision: 'a', updateRevision: 'b' }),
      'progressing',
      'RollingOut',
    ],
    [
      'stateful set: last pod not ready',
      object('StatefulSet', { replicas: 2 }, { readyReplicas: 1, updatedReplicas: 2, currentRevision: 'b', updateRevision: 'b' }),
      'progressing',
      'Unavailable',
    ],
    [
      'stateful set: OnDelete waits for people, not for us',
      object(
        'StatefulSet',
        { replicas: 2, updateStrategy: { type: 'OnDelete' } },
        { readyReplicas: 2, updatedReplicas: 0, currentRevision: 'a', updateRevision: 'b' },
      ),
      'ready',
      'Ready',
    ],
    [
      'daemon set: ready',
      object('DaemonSet', {}, { desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 3 }),
      'ready',
      'Ready',
    ],
    ['daemon set: no node wants it', object('DaemonSet', {}, { desiredNumberScheduled: 0 }), 'ready', 'Ready'],
    [
      'daemon set: rolling',
      object('DaemonSet', {}, { desiredNumberScheduled: 3, updatedNumberScheduled: 2, numberAvailable: 3 }),
      'progressing',
      'RollingOut',
    ],
    [
      'daemon set: down on a node',
      object('DaemonSet', {}, { desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2 }),
      'progressing',
      'Unavailable',
    ],
    ['job: complete', object('Job', {}, { conditions: [condition('Complete', 'True', '')] }), 'ready', 'Ready'],
    [
      'job: failed',
      object('Job', {}, { conditions: [condition('Failed', 'True', 'BackoffLimitExceeded')] }),
      'failed',
      'BackoffLimitExceeded',
    ],
    ['job: running', object('Job', {}, { active: 1 }), 'progressing', 'Running'],
    ['cron job', object('CronJob', {}, {}), 'ready', 'Ready'],
    ['claim: bound', object('PersistentVolumeClaim', {}, { phase: 'Bound' }), 'ready', 'Ready'],
    ['claim: pending', object('PersistentVolumeClaim', {}, { phase: 'Pending' }), 'progressing', 'ClaimPending'],
    ['claim: lost', object('PersistentVolumeClaim', {}, { phase: 'Lost' }), 'failed', 'ClaimLost'],
    ['service', object('Service', { type: 'NodePort' }, {}), 'ready', 'Ready'],
    ['service: no address', object('Service', { type: 'LoadBalancer' }, {}), 'progressing', 'NoAddress'],
    [
      'service: with address',
      object('Service', { type: 'LoadBalancer' }, { loadBalancer: { ingress: [{ ip: '10.0.0.1' }] } }),
      'ready',
      'Ready',
    ],
    ['config map', object('ConfigMap', {}, {}), 'ready', 'Ready'],
  ])('%s', (_, given, state, reason) => {
    expect(readinessOf(given)).toMatchObject({ state, reason });
  });

  const pod = (status: object, metadata = {}): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'glance-1', ...metadata },
    status,
  });
  const waiting = (reason: string, message?: string) => ({
    name: 'glance',
    image: 'registry.example/glance:no-such',
    state: { waiting: { reason, message } },
  });
  const stuck = deploymentOf({ ...full, updatedReplicas: 1 });

  it.each<[string, KubeObject, string, string]>([
    [
      'an image that cannot be pulled',
      pod({ containerStatuses: [waiting('ImagePullBackOff', 'Back-off pulling image')] }),
      'ImagePullBackOff',
      'pod glance-1, container glance (registry.example/glance:no-such): ImagePullBackOff: Back-off pulling image',
    ],
    [
      'an init container that crashes',
      pod({
        initContainerStatuses: [{ ...waiting('CrashLoopBackOff'), name: 'init', lastState: { terminated: { exitCode: 3 } } }],
        containerStatuses: [waiting('PodInitializing')],
      }),
      'CrashLoopBackOff',
      'pod glance-1, container init (registry.example/glance:no-such): CrashLoopBackOff: exit code 3',
    ],
    [
      'no node',
      pod({ conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes are available' }] }),
      'Unschedulable',
      'pod glance-1: 0/3 nodes are available',
    ],
  ])('says what the pods say: %s', (_, stuckPod, reason, message) => {
    expect(readinessOf(stuck, { pods: [stuckPod] })).toMatchObject({ state: 'progressing', reason, message });
  });

  it('pods that are being deleted or merely start have nothing to say; a ready workload listens to none', () => {
    const leaving = pod({ containerStatuses: [waiting('ImagePullBackOff')] }, { deletionTimestamp: '2026-01-01T00:00:00Z' });
    const starting = pod({ containerStatuses: [waiting('ContainerCreating')] });
    expect(readinessOf(stuck, { pods: [leaving, starting] })).toMatchObject({ reason: 'RollingOut' });
    expect(readinessOf(deploymentOf(full), { pods: [pod({ containerStatuses: [waiting('ImagePullBackOff')] })] })).toMatchObject({
      state: 'ready',
      ready: 3,
      desired: 3,
    });
  });
});
