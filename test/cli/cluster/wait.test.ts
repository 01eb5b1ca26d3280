import type { ClusterStatus } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { clusterType } from '../../../src/cli/cluster/cluster-object.ts';
import { outcomeOf, waitForCluster, waitUntilGone } from '../../../src/cli/cluster/wait.ts';
import { statusError } from '../../../src/operator/engine/api-error.ts';
import { sleep } from '../../../src/runtime/core/clock.ts';
import { AT, addCluster, KEY, live, refusal, report, type World, world } from './world.ts';

const condition = (type: string, status: 'True' | 'False', more: object = {}) => ({
  type,
  status,
  reason: 'Test',
  lastTransitionTime: AT,
  observedGeneration: 1,
  ...more,
});
const READY: ClusterStatus = {
  observedGeneration: 1,
  phase: 'Running',
  version: 'v3.1.3-20200312.0',
  conditions: [condition('Ready', 'True'), condition('Progressing', 'False')],
  components: { keystone: { phase: 'Ready', ready: 1, desired: 1 } },
};
const INSTALLING: ClusterStatus = {
  observedGeneration: 1,
  phase: 'Installing',
  conditions: [condition('Ready', 'False'), condition('Progressing', 'True')],
  components: {
    keystone: { phase: 'Progressing', ready: 0, desired: 1, message: 'pod default-keystone-1: ImagePullBackOff' },
    region: { phase: 'Waiting' },
  },
};

/** Reports after pauses on the world's own clock, while `work` waits. */
async function during(
  here: World,
  work: Promise<unknown>,
  steps: readonly (readonly [seconds: number, step: () => unknown])[],
): Promise<void> {
  const telling = (async () => {
    for (const [seconds, step] of steps) {
      await sleep(here.clock, seconds * 1000);
      await step();
    }
  })();
  await here.clock.run(Promise.all([work, telling]));
}

describe('004-10: --wait', () => {
  it('follows the reports until the cluster is ready, and tells them once each', async () => {
    const here = world();
    await addCluster(here);
    await during(here, waitForCluster(here.context, KEY), [
      [5, () => report(here, INSTALLING)],
      [60, () => report(here, INSTALLING)],
      [60, () => report(here, READY)],
    ]);
    expect(here.progress).toEqual([
      'onecloud/default: Installing',
      expect.stringMatching(/keystone +Progressing 0\/1: pod default-keystone-1: ImagePullBackOff {2}\[0\/2\]/),
      expect.stringMatching(/region +Waiting {2}\[0\/2\]/),
      'onecloud/default: Running',
      expect.stringMatching(/keystone +Ready 1\/1 {2}\[1\/1\]/),
      'onecloud/default runs v3.1.3-20200312.0',
    ]);
    expect(here.api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(1); // it watches, and does not poll
  });

  it('ends at its deadline with what it waits for', async () => {
    const here = world();
    await addCluster(here);
    await report(here, INSTALLING);
    const before = here.clock.monotonic();
    const error = await here.clock.run(refusal(waitForCluster(here.context, KEY, 20)));
    expect(error.code).toBe('CLUSTER_WAIT_DEADLINE');
    expect(error.message).toContain('keystone (Progressing 0/1: pod default-keystone-1: ImagePullBackOff)');
    expect(here.clock.monotonic() - before).toBe(20 * 60_000);
  });

  it('says that no operator reports', async () => {
    const here = world();
    await addCluster(here);
    const error = await here.clock.run(refusal(waitForCluster(here.context, KEY, 1)));
    expect(error.message).toContain('the operator, which has not seen the change yet');
  });

  it('asks a server that ends every watch at once by the second, not as fast as it answers', async () => {
    const here = world();
    await addCluster(here);
    let asked = 0;
    here.api.watch = async function* () {
      yield* [];
      asked += 1;
      if (asked > 1_000) throw new Error('a thousand watches'); // or the clock never comes to its turn
    };
    expect((await here.clock.run(refusal(waitForCluster(here.context, KEY, 1)))).code).toBe('CLUSTER_WAIT_DEADLINE');
    expect(asked).toBeLessThanOrEqual(61);
  });

  it('outlives watches that break, versions that expire and a server that is away', async () => {
    const here = world();
    await addCluster(here);
    await during(here, waitForCluster(here.context, KEY), [
      [2, () => here.api.breakWatches(statusError(500, { message: 'etcd leader changed' }))],
      [2, () => here.api.compact()],
      [2, () => here.api.breakWatches()],
      [
        2,
        () => {
          here.api.fault = () => statusError(503, { message: 'the server is starting' });
          here.api.breakWatches();
        },
      ],
      [
        30,
        () => {
          here.api.fault = undefined;
        },
      ],
      [5, () => report(here, READY)],
    ]);
    expect(here.progress.filter((line) => line.includes('does not answer'))).toHaveLength(2); // once for each absence
    expect(here.progress.at(-1)).toContain('runs v3.1.3');
  });

  it('ends when the cluster is deleted meanwhile', async () => {
    const here = world();
    await addCluster(here);
    const waiting = refusal(waitForCluster(here.context, KEY));
    await during(here, waiting, [[5, () => here.api.delete(clusterType, KEY)]]);
    expect((await waiting).code).toBe('CLUSTER_WAIT_DELETED');
    await here.clock.run(waitUntilGone(here.context, KEY, 1));
  });

  it('waits for finalizers when it waits for the end', async () => {
    const here = world();
    await addCluster(here);
    await here.api.patch(clusterType, KEY, { metadata: { finalizers: ['onecloud.yunion.io/cleanup'] } });
    await here.api.delete(clusterType, KEY);
    await during(here, waitUntilGone(here.context, KEY), [[5, () => here.api.patch(clusterType, KEY, { metadata: { finalizers: null } })]]);
    expect(here.api.peek('OnecloudCluster', 'onecloud/default')).toBeUndefined();
  });

  const outcome = async (status: ClusterStatus) => {
    const here = world();
    await addCluster(here);
    await report(here, status);
    return outcomeOf(live(here));
  };
  const change = { revision: 1, who: 'x', when: AT, to: 'v3.1.3-20200312.0' };

  it.each<[string, ClusterStatus, string]>([
    ['ready', READY, 'there'],
    ['ready of an earlier generation', { ...READY, observedGeneration: 0 }, 'waiting'],
    [
      'ready, and on its way to another state',
      { ...READY, conditions: [condition('Ready', 'True'), condition('Progressing', 'True')] },
      'waiting',
    ],
    ['rolled back by the operator', { ...READY, history: [{ ...change, outcome: 'RolledBack' }] }, 'failed'],
    ['an older failure', { ...READY, history: [{ ...change, to: 'v2', outcome: 'Failed' }] }, 'there'],
    [
      'degraded',
      { ...INSTALLING, conditions: [condition('Degraded', 'True', { message: 'keystone is not ready after 600 s' })] },
      'failed',
    ],
    [
      'degraded, and still trying',
      { ...INSTALLING, conditions: [condition('Degraded', 'True'), condition('Progressing', 'True')] },
      'waiting',
    ],
    ['ready, while the update waits for its window', { ...READY, plan: { hash: 'x', waitingFor: 'the window', changes: [] } }, 'waiting'],
    ['paused', { observedGeneration: 1, phase: 'Paused', conditions: [] }, 'waiting'],
  ])('reads a status: %s', async (_, status, expected) => {
    expect((await outcome(status)).type).toBe(expected);
  });

  it('names the window that an update waits for', async () => {
    const plan = { hash: 'x', waitingFor: 'the window of 0 2 * * sat', changes: [] };
    expect(await outcome({ ...INSTALLING, plan })).toMatchObject({ blocking: expect.arrayContaining(['the window of 0 2 * * sat']) });
  });
});
