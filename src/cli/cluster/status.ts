/** bmctl cluster status: what runs, what the operator says of it, and what blocks. */
import { asObject } from 'cdk8s-baremetal-contract/loose';
import { onecloudLabel, parseImage } from 'cdk8s-baremetal-contract/onecloud/index';
import { isApiError } from '../../operator/engine/api-error.ts';
import { formatKey, type LiveObject } from '../../operator/engine/objects.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { table } from '../table.ts';
import { type Cluster, getCluster } from './cluster-object.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterAnnotation, componentSelector } from './names.ts';
import { blockingOf } from './wait.ts';

export async function clusterStatus(context: ClusterContext, key: ClusterKey): Promise<void> {
  const cluster = await getCluster(context, key);
  const copied = await devCopies(context, cluster);
  const { spec, status, object } = cluster;
  const { print } = context;
  if (context.asJson)
    return print(JSON.stringify({ cluster: key, version: spec.version, status, devCopies: Object.fromEntries(copied) }, undefined, 2));
  const { generation = 0 } = object.metadata;
  print(`Cluster     ${formatKey(key)}`);
  print(`Version     ${spec.version ?? 'latest'}${status.version === undefined ? '' : ` (in force: ${status.version})`}`);
  print(`Phase       ${status.phase ?? 'not reported yet'}`);
  if (status.observedGeneration !== undefined && status.observedGeneration < generation)
    print(`            the operator has seen generation ${status.observedGeneration} of ${generation}`);
  const told = new Map<string, string>();
  for (const { type, status: state, reason, message } of status.conditions ?? []) {
    const as = message && told.get(message);
    print(`${type.padEnd(11)} ${state} (${reason})${message === undefined ? '' : as === undefined ? `: ${message}` : `: as ${as}`}`);
    if (message !== undefined && as === undefined) told.set(message, type);
  }

  const components = Object.entries(status.components ?? {});
  if (components.length > 0) {
    const rows = components.map(([name, one]) => [
      name,
      one.kind ?? '-',
      one.phase,
      one.desired === undefined ? '-' : `${one.ready ?? 0}/${one.desired}`,
      one.image === undefined ? '-' : shortImage(one.image, spec.imageRepository),
      [one.message, one.configDrift ? 'configuration was edited' : undefined, copied.get(name)].filter(Boolean).join('; '),
    ]);
    print(`\n${table(['COMPONENT', 'KIND', 'PHASE', 'READY', 'IMAGE', ''], rows)}`);
  }
  const blocking = blockingOf(status);
  if (blocking.length > 0) print(`\nIt waits for:\n${blocking.map((line) => `  ${line}`).join('\n')}`);
  if (status.phase === undefined) print('\nThe operator has not reported: is it installed? (bmctl bundle | kubectl apply -f -)');
  const unlisted = [...copied].filter(([name]) => !components.some(([listed]) => listed === name));
  for (const [name, what] of unlisted) print(`\n${name}: ${what}`);
  const history = (status.history ?? []).slice(-5);
  if (history.length > 0) {
    const rows = history.map(({ when, who, component, from, to, outcome, message, databaseDump: dump }) => [
      when,
      who,
      component ?? 'all',
      `${from ?? '-'} → ${to}`,
      message === undefined ? outcome : `${outcome}: ${message}`,
      dump === undefined ? '-' : [dump.state, dump.message].filter(Boolean).join(': '),
    ]);
    print(`\n${table(['WHEN', 'WHO', 'WHAT', 'VERSIONS', 'OUTCOME', 'DATABASE DUMP'], rows)}`);
  }
}

/** Component → what was copied into its pods with `dev sync`. */
async function devCopies({ api, signal }: ClusterContext, { key, instance }: Cluster): Promise<Map<string, string>> {
  const selection = { namespace: key.namespace, labelSelector: componentSelector(instance), signal };
  const items = await api.list(resourceTypes.deployments, selection).then(
    (list) => list.items,
    (error: unknown): readonly LiveObject[] => {
      if (isApiError(error)) return []; // an account that may read the cluster alone still sees its status
      throw error;
    },
  );
  return new Map(
    items.flatMap(({ metadata: { annotations, labels } }) => {
      const copy = annotations?.[clusterAnnotation.devSync];
      const component = asObject(labels)[onecloudLabel.component];
      return copy === undefined || typeof component !== 'string' ? [] : [[component, `runs a copied program (${copy})`] as const];
    }),
  );
}

/** Without the repository that all have in common. */
function shortImage(image: string, repository: string | undefined): string {
  const { repository: own } = parseImage(image);
  return own !== '' && own === repository ? image.slice(own.length + 1) : image;
}
