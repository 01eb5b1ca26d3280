/** Clusters to write by the dozen: their kind, and specs that fit beside each other and on old servers. */
import { catalog } from '../../../src/contract/onecloud/catalog.ts';
import { withoutRules } from '../../../src/contract/onecloud/cluster-rules.ts';
import type { ClusterStatus } from '../../../src/contract/onecloud/cluster-status.ts';
import { onecloudCluster } from '../../../src/contract/onecloud/crd.ts';
import type { KubeApi } from '../../../src/operator/engine/api.ts';
import type { KubeObject, ObjectKey } from '../../../src/operator/engine/objects.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { eventually } from '../cluster.ts';

export const REPOSITORY = 'registry.example.net/yunionio';
export const V1 = 'v3.1.3-20200312.0';
export const V2 = 'v3.1.3-20200320.0';

/** Teaches the API server the kind, and waits until it serves it. */
export async function installKinds(api: KubeApi): Promise<void> {
  const crd = onecloudCluster.manifest();
  const install = (manifest: Record<string, unknown>) =>
    api.apply(resourceTypes.customResourceDefinitions, manifest as unknown as KubeObject, { force: true });
  await install(crd).catch(async (error: unknown) => {
    if (!String(error).includes('x-kubernetes-validations')) throw error;
    console.warn('WITHOUT the rules in CEL, which this API server is too old for');
    await install(withoutRules(crd));
  });
  await eventually(() => api.list(clusterType).catch(() => undefined), 'the kind is served');
}

export interface SpecOptions {
  readonly version?: string;
  /** Keys of the components that run; all when absent. */
  readonly only?: readonly string[];
  /** Without what servers before 1.21 do not serve. Default true: tests run on any. */
  readonly withoutCronJobs?: boolean;
}

/** Every component of the catalog, without node ports, which only one cluster of a Kubernetes could have. */
export function loadSpec({ version = V1, only, withoutCronJobs = true }: SpecOptions = {}): Record<string, unknown> {
  const components = catalog.map((row) => {
    const exposed = row.ports?.some(({ nodePort }) => nodePort !== undefined);
    const disable = (only !== undefined && !only.includes(row.key)) || (withoutCronJobs && row.kind === 'CronJob');
    return [row.key, { ...(exposed && { internalOnly: true }), ...(disable && { disable }) }] as const;
  });
  return {
    mysql: { host: 'mysql.example.net', username: 'root', password: 'not a secret' },
    imageRepository: REPOSITORY,
    version,
    ...Object.fromEntries(components.filter(([, overrides]) => Object.keys(overrides).length > 0)),
  };
}

export function clusterObject(key: ObjectKey, spec: Record<string, unknown>): KubeObject {
  return { apiVersion: clusterType.apiVersion, kind: clusterType.kind, metadata: key, spec };
}

/** Of the events about anything in a namespace, those with this reason: their notes. */
export async function notes(api: KubeApi, namespace: string, reason: string): Promise<string[]> {
  const { items } = await api.list(resourceTypes.events, { namespace });
  return items.filter((event) => event.reason === reason).map(({ note }) => String(note));
}

export async function clusterStatus(api: KubeApi, key: ObjectKey): Promise<ClusterStatus> {
  return ((await api.get(clusterType, key)).status ?? {}) as ClusterStatus;
}
