/** Controllers and kubelets for the API server in memory: workloads become ready after a while, unless their image is bad. */
import { at, type KubeObject, keyOf, listAt, textAt } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import type { Clock } from '../../../src/runtime/core/clock.ts';
import type { FakeApi } from '../fake-api.ts';

export interface MemoryKubelet {
  /** Images that never become ready; their Deployments fail after their deadline. */
  readonly bad: Set<string>;
  /** How Jobs end: with these words of their client when it is not well. */
  jobs: 'complete' | 'run on' | { readonly fails: string };
  /** How long a rollout takes. */
  startMs: number;
  /** Every generation that became ready, as "default-glance image". */
  readonly rolled: string[];
  stop(): void;
}

export function startMemoryKubelet(api: FakeApi, clock: Clock): MemoryKubelet {
  const since = new Map<string, number>();
  const settled = new Set<string>();
  const kubelet: MemoryKubelet = { bad: new Set(), jobs: 'complete', startMs: 3_000, rolled: [], stop: () => timer.cancel() };
  const imagesOf = (object: KubeObject): string[] =>
    listAt(object, 'spec', 'template', 'spec', 'containers').map((container) => textAt(container, 'image') ?? '');
  const look = (): void => {
    for (const type of [resourceTypes.deployments, resourceTypes.daemonSets]) {
      for (const object of api.all(type.kind)) {
        const { generation = 0 } = object.metadata;
        const id = `${type.kind} ${keyOf(object)} ${object.metadata.uid} ${generation}`;
        if (settled.has(id)) continue;
        const startedAt = since.get(id) ?? clock.monotonic();
        since.set(id, startedAt);
        const bad = imagesOf(object).some((image) => kubelet.bad.has(image));
        const waited = clock.monotonic() - startedAt;
        const replicas = Number(at(object, 'spec', 'replicas') ?? 1);
        const deadlineMs = Number(at(object, 'spec', 'progressDeadlineSeconds') ?? 600) * 1000;
        const ok = waited >= kubelet.startMs && !bad;
        const status =
          type.kind === 'Deployment'
            ? {
                observedGeneration: generation,
                replicas,
                updatedReplicas: ok ? replicas : 0,
                availableReplicas: ok || bad ? replicas : 0, // the old pods serve on
                conditions: [
                  {
                    type: 'Progressing',
                    status: bad && waited >= deadlineMs ? 'False' : 'True',
                    reason: bad && waited >= deadlineMs ? 'ProgressDeadlineExceeded' : 'NewReplicaSetAvailable',
                    message: 'has timed out progressing',
                  },
                ],
              }
            : {
                observedGeneration: generation,
                desiredNumberScheduled: 1,
                updatedNumberScheduled: ok ? 1 : 0,
                numberAvailable: ok ? 1 : 0,
              };
        const before = object.status;
        api.report(type.kind, keyOf(object), status);
        if (ok) settled.add(id);
        if (ok && JSON.stringify(before) !== JSON.stringify(status))
          kubelet.rolled.push(`${object.metadata.name} ${imagesOf(object)[0] ?? ''}`);
      }
    }
    for (const job of api.all('Job')) {
      const id = `Job ${job.metadata.uid}`;
      const startedAt = since.get(id) ?? clock.monotonic();
      since.set(id, startedAt);
      if (kubelet.jobs === 'run on' || clock.monotonic() - startedAt < kubelet.startMs) continue;
      const how =
        kubelet.jobs === 'complete'
          ? { type: 'Complete', status: 'True' }
          : { type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' };
      if (typeof kubelet.jobs === 'object' && listAt(job, 'status', 'conditions').length === 0)
        api.place({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: {
            name: `${job.metadata.name}-x`,
            namespace: job.metadata.namespace ?? '',
            labels: { ...job.metadata.labels, 'job-name': job.metadata.name },
          },
          status: { containerStatuses: [{ name: 'database-dump', state: { terminated: { exitCode: 2, message: kubelet.jobs.fails } } }] },
        });
      api.report('Job', keyOf(job), { conditions: [how] });
    }
    timer = clock.after(500, look);
  };
  let timer = clock.after(500, look);
  return kubelet;
}
