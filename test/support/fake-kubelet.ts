/**
 * Stands in for nodes where a control plane has none: a Node object, and pods that become Ready by their status alone, as users of
 * envtest do. Pods are not bound to the node, so that they can be deleted without anybody who confirms it.
 */
import type { KubeApi } from '../../src/operator/engine/api.ts';
import { createInformer } from '../../src/operator/engine/informer.ts';
import { type KubeObject, type LiveObject, listAt, textAt } from '../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../src/operator/engine/resource-types.ts';
import { isoTime } from '../../src/runtime/core/iso-time.ts';
import { silentLogger } from '../../src/runtime/core/logger.ts';
import { nodeClock } from '../../src/runtime/core/node-clock.ts';
import { nodeRandom } from '../../src/runtime/core/node-random.ts';

export interface FakeKubelet {
  /** Images that cannot be pulled. */
  readonly bad: Set<string>;
  /** Claims that get no volume, as "namespace/name": their pods are not scheduled. */
  readonly unbound: Set<string>;
  /** The image can be pulled now, and pods that waited for it start. */
  heal(image: string): void;
  stop(): Promise<void>;
}

/** For the pods of one namespace; of all, when it is undefined. */
export async function startFakeKubelet(
  api: KubeApi,
  namespace: string | undefined,
  labels: Readonly<Record<string, string>> = {},
): Promise<FakeKubelet> {
  const name = `fake-${namespace ?? 'everywhere'}`;
  const node: KubeObject = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } } };
  await api.apply(resourceTypes.nodes, node, { fieldManager: 'fake-kubelet', force: true });
  const bad = new Set<string>();
  const unbound = new Set<string>();
  const common = { api, clock: nodeClock, random: nodeRandom, logger: silentLogger };
  const pods = createInformer({ ...common, type: resourceTypes.pods, ...(namespace !== undefined && { namespace }) });
  const run = async (pod: LiveObject): Promise<void> => {
    if (pod.metadata.deletionTimestamp !== undefined || textAt(pod, 'status', 'phase') === 'Running') return;
    const claims = listAt(pod, 'spec', 'volumes').map((volume) => textAt(volume, 'persistentVolumeClaim', 'claimName'));
    if (claims.some((claim) => unbound.has(`${pod.metadata.namespace}/${claim}`))) {
      if (listAt(pod, 'status', 'conditions').length > 0) return;
      await api.patch(resourceTypes.pods, pod.metadata, { status: UNSCHEDULABLE }, { subresource: 'status' }).catch(() => undefined);
      return;
    }
    const status = statusOf(pod, bad);
    if (status.phase === 'Pending' && listAt(pod, 'status', 'containerStatuses').length > 0) return;
    await api
      .patch(resourceTypes.pods, pod.metadata, { status }, { subresource: 'status', fieldManager: 'fake-kubelet' })
      .catch(() => undefined); // it went meanwhile
  };
  pods.subscribe((event) => {
    if (event.type !== 'deleted') void run(event.object);
  });
  const end = new AbortController();
  const running = pods.run(end.signal);
  return {
    bad,
    unbound,
    heal: (image) => {
      bad.delete(image);
      for (const pod of pods.store.list()) void run(pod);
    },
    stop: async () => {
      end.abort(new Error('the kubelet stops'));
      await running;
      await api.delete(resourceTypes.nodes, { name }).catch(() => undefined);
    },
  };
}

/** In the words of kube-scheduler. */
const UNSCHEDULABLE = {
  phase: 'Pending',
  conditions: [
    {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message: '0/1 nodes are available: 1 pod has unbound immediate PersistentVolumeClaims.',
    },
  ],
};

/** Pods say that they have been ready for a minute, so that nobody waits for a Deployment's minReadySeconds. */
const READY_SINCE_MS = 60_000;

function statusOf(pod: LiveObject, bad: ReadonlySet<string>): { readonly phase: string; readonly [field: string]: unknown } {
  const now = isoTime(nodeClock.now());
  const containers = listAt(pod, 'spec', 'containers').map((container) => ({
    name: textAt(container, 'name') ?? '',
    image: textAt(container, 'image') ?? '',
  }));
  const common = { imageID: '', restartCount: 0 };
  if (containers.some(({ image }) => bad.has(image))) {
    const waiting = { reason: 'ImagePullBackOff', message: 'Back-off pulling image' };
    return {
      phase: 'Pending',
      containerStatuses: containers.map((container) => ({ ...container, ...common, ready: false, state: { waiting } })),
    };
  }
  const conditions = ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: isoTime(nodeClock.now() - READY_SINCE_MS),
  }));
  const containerStatuses = containers.map((container) => ({
    ...container,
    ...common,
    ready: true,
    started: true,
    state: { running: { startedAt: now } },
  }));
  return { phase: 'Running', startTime: now, conditions, containerStatuses };
}
