/** A cluster command's surroundings: an API server in memory, a clock of its own, and what was printed. */
import type { ClusterStatus } from 'cdk8s-baremetal-contract/onecloud/index';
import { parse } from 'yaml';
import { clusterManifest } from '../../../src/cli/cluster/checks.ts';
import { clusterType } from '../../../src/cli/cluster/cluster-object.ts';
import type { ClusterContext, ClusterKey } from '../../../src/cli/cluster/context.ts';
import type { KubeApi } from '../../../src/operator/engine/api.ts';
import type { LiveObject } from '../../../src/operator/engine/objects.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { CORRECTED } from '../../contract/onecloud/seed.ts';
import { FakeApi } from '../../operator/fake-api.ts';

export const KEY: ClusterKey = { name: 'default', namespace: 'onecloud' };
export const PASSWORD = 's3cr3t-of-the-database';

export interface World {
  readonly api: FakeApi;
  readonly clock: VirtualClock;
  readonly context: ClusterContext;
  readonly printed: string[];
  readonly progress: string[];
  /** Everything that a person could see. */
  seen(): string;
  /** The same with another API, or as JSON. */
  with(change: Partial<ClusterContext>): ClusterContext;
}

export function world(): World {
  const clock = new VirtualClock();
  const api = new FakeApi(clock);
  const printed: string[] = [];
  const progress: string[] = [];
  const context: ClusterContext = {
    api: api as KubeApi,
    clock,
    print: (text) => void printed.push(text),
    progress: (text) => void progress.push(text),
    asJson: false,
    signal: new AbortController().signal,
  };
  return {
    api,
    clock,
    context,
    printed,
    progress,
    seen: () => [...printed, ...progress].join('\n'),
    with: (change) => ({ ...context, ...change }),
  };
}

/** The documents' cluster with its password in a Secret, as `create` makes it. */
export function seedSpec(change: Record<string, unknown> = {}): Parameters<typeof clusterManifest>[1] {
  const { mysql, ...spec } = parse(CORRECTED).spec;
  const { password: _, ...server } = mysql;
  return { ...spec, mysql: { ...server, passwordSecretRef: { name: 'default-mysql', key: 'password' } }, ...change };
}

export async function addCluster(
  { api }: Pick<World, 'api'>,
  change: Record<string, unknown> = {},
  key: ClusterKey = KEY,
): Promise<LiveObject> {
  return api.create(clusterType, clusterManifest(key, seedSpec(change)));
}

/** As the operator would report it. */
export async function report({ api }: Pick<World, 'api'>, status: ClusterStatus, key: ClusterKey = KEY): Promise<void> {
  const { metadata } = await api.get(clusterType, key);
  const object = { apiVersion: clusterType.apiVersion, kind: clusterType.kind, metadata, status };
  await api.replace(clusterType, object as never, { subresource: 'status' });
}

export function live({ api }: Pick<World, 'api'>, key: ClusterKey = KEY): LiveObject {
  const found = api.peek('OnecloudCluster', `${key.namespace}/${key.name}`);
  if (!found) throw new Error('the cluster is not there');
  return found;
}

/** The error that a promise ends with. */
export async function refusal(work: Promise<unknown>): Promise<Error & { readonly code?: string; readonly cure?: string }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was not refused');
}

export const AT = '2026-11-21T00:00:00.000Z';
