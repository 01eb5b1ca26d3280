/** bmctl cluster config: what people changed in a component's ConfigMap, and what is to become of it. */
import { clusterManifests, configChecksum } from 'cdk8s-baremetal/onecloud/index';
import { asObject } from 'cdk8s-baremetal-contract/loose';
import { catalog, componentObjectName, onecloudAnnotation } from 'cdk8s-baremetal-contract/onecloud/index';
import { ifFound } from '../../operator/engine/api-error.ts';
import type { LiveObject } from '../../operator/engine/objects.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { table } from '../table.ts';
import { findComponent } from './assignment.ts';
import { type Cluster, getCluster } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { lineDifferences } from './line-differences.ts';
import { BMCTL_MANAGER, clusterAnnotation } from './names.ts';

export type ConfigDecision = 'accept' | 'reset';

export interface ConfigState {
  readonly component: string;
  readonly data: Readonly<Record<string, string>>;
  /** Of the data as it is. */
  readonly checksum: string;
  /** It is not what was generated. */
  readonly edited: boolean;
  /** What was decided about it. An acceptance holds for exactly this content. */
  readonly decision?: ConfigDecision;
  /** Of the object that was read. */
  readonly resourceVersion: string;
}

/** Reads a component's ConfigMap: what the operator and bmctl both call drift. */
export function configState(component: string, configMap: LiveObject): ConfigState {
  const data = Object.fromEntries(Object.entries(asObject(configMap.data)).map(([key, value]) => [key, String(value)]));
  const { annotations = {} } = configMap.metadata;
  const checksum = configChecksum(data);
  const accepted = annotations[clusterAnnotation.acceptedConfig] === checksum;
  const decision = annotations[clusterAnnotation.resetConfig] !== undefined ? 'reset' : accepted ? 'accept' : undefined;
  const edited = annotations[onecloudAnnotation.generatedChecksum] !== checksum;
  return {
    component,
    data,
    checksum,
    edited,
    resourceVersion: configMap.metadata.resourceVersion,
    ...(decision !== undefined && { decision }),
  };
}

/** Tells the operator; it acts at its next pass, at once. @throws CodedError CLUSTER_NO_CONFIG, CLUSTER_NO_DRIFT */
export async function decideConfig(context: ClusterContext, key: ClusterKey, word: string, decision: ConfigDecision): Promise<void> {
  const cluster = await getCluster(context, key);
  const { name } = findComponent(word);
  const state = await readConfig(context, cluster, name);
  if (!state.edited) throw clusterErrors.CLUSTER_NO_DRIFT({ component: name });
  if (state.decision === decision) return context.print(`the configuration of ${name} is to be ${past(decision)} already`);
  const target = { name: componentObjectName(key.name, name), namespace: key.namespace };
  const { acceptedConfig, resetConfig } = clusterAnnotation;
  const annotations =
    decision === 'accept'
      ? { [acceptedConfig]: state.checksum, [resetConfig]: null }
      : { [resetConfig]: state.checksum, [acceptedConfig]: null };
  // of the content that was looked at, and not of what somebody writes in this moment
  const metadata = { resourceVersion: state.resourceVersion, annotations };
  try {
    await context.api.patch(resourceTypes.configMaps, target, { metadata }, { fieldManager: BMCTL_MANAGER, signal: context.signal });
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
  const next =
    decision === 'accept'
      ? 'It stays as it is and is no longer reported.'
      : 'The operator writes what it generates and rolls the component.';
  context.print(`the configuration of ${name} is to be ${past(decision)}. ${next}`);
}

/** Which components run an edited configuration. */
export async function listConfigs(context: ClusterContext, key: ClusterKey): Promise<void> {
  const cluster = await getCluster(context, key);
  const states = await Promise.all(
    catalog.filter(({ config }) => config !== undefined).map(({ name }) => findConfig(context, cluster, name)),
  );
  const found = states.filter((state) => state !== undefined);
  if (context.asJson) {
    return context.print(
      JSON.stringify(
        found.map(({ data: _, ...state }) => state),
        undefined,
        2,
      ),
    ); // the texts are for `config diff`
  }
  const edited = found.filter((state) => state.edited);
  if (edited.length === 0) return context.print('Every configuration is as it was generated.');
  context.print(
    table(
      ['COMPONENT', 'CONFIGURATION'],
      edited.map(({ component, decision }) => [component, decision === undefined ? 'edited, undecided' : `edited, ${past(decision)}`]),
    ),
  );
}

/** What was edited, line by line: `-` generated, `+` in force. */
export async function diffConfig(context: ClusterContext, key: ClusterKey, word: string): Promise<void> {
  const cluster = await getCluster(context, key);
  const { name } = findComponent(word);
  const { data } = await readConfig(context, cluster, name);
  const generated = generatedConfig(cluster, name);
  const keys = [...new Set([...Object.keys(generated), ...Object.keys(data)])].filter((file) => generated[file] !== data[file]);
  if (keys.length === 0) return context.print(`The configuration of ${name} is as it is generated from the cluster's spec.`);
  for (const file of keys) {
    context.print(`--- generated ${file}\n+++ in force  ${file}`);
    for (const line of lineDifferences(generated[file] ?? '', data[file] ?? '')) context.print(line);
  }
}

function generatedConfig({ key, spec, instance }: Cluster, component: string): Readonly<Record<string, string>> {
  const found = clusterManifests(spec, { ...key, instance }).find((one) => one.component === component);
  const configMap = found?.manifests.find(({ kind }) => kind === 'ConfigMap');
  return asObject(configMap?.data) as Readonly<Record<string, string>>;
}

async function readConfig(context: ClusterContext, cluster: Cluster, component: string): Promise<ConfigState> {
  const found = await findConfig(context, cluster, component);
  if (!found) throw clusterErrors.CLUSTER_NO_CONFIG({ component });
  return found;
}

async function findConfig({ api, signal }: ClusterContext, { key }: Cluster, component: string): Promise<ConfigState | undefined> {
  const target = { name: componentObjectName(key.name, component), namespace: key.namespace };
  try {
    const configMap = await ifFound(api.get(resourceTypes.configMaps, target, { signal }));
    return configMap && configState(component, configMap);
  } catch (error) {
    throw explained(error, { ...key, cluster: key.name });
  }
}

function past(decision: ConfigDecision): string {
  return decision === 'accept' ? 'accepted' : 'reset';
}
