/** bmctl cluster create: the cluster's object, and a Secret for its database password. Doing it twice does it once. */
import { Secret } from 'cdk8s-baremetal-contract';
import { asObject } from 'cdk8s-baremetal-contract/loose';
import { type ClusterSpec, resolveCluster } from 'cdk8s-baremetal-contract/onecloud/index';
import { ifFound, isApiError } from '../../operator/engine/api-error.ts';
import { at, formatKey, type KubeObject, textAt } from '../../operator/engine/objects.ts';
import { resourceTypes } from '../../operator/engine/resource-types.ts';
import { type Assignment, assigned } from './assignment.ts';
import { clusterManifest, requireValid } from './checks.ts';
import { type Cluster, clusterOf, clusterType, findCluster } from './cluster-object.ts';
import { explained } from './connection.ts';
import type { ClusterContext, ClusterKey } from './context.ts';
import { clusterErrors } from './errors.ts';
import { BMCTL_MANAGER } from './names.ts';
import type { PasswordSource } from './password.ts';

export interface CreateOptions {
  readonly key: ClusterKey;
  readonly version: string;
  readonly mysql: { readonly host: string; readonly port?: number; readonly username?: string };
  readonly password: PasswordSource | undefined;
  readonly region?: string;
  readonly zone?: string;
  readonly imageRepository?: string;
  readonly edition?: 'ce' | 'ee';
  /** Fields of single components. */
  readonly components?: readonly Assignment[];
}

const MADE_BY = { 'app.kubernetes.io/managed-by': BMCTL_MANAGER };

/**
 * Creates the namespace, the password's Secret and the cluster where they are missing. A cluster that is there is compared and
 * left alone.
 * @throws CodedError CLUSTER_EXISTS_OTHERWISE, CLUSTER_INVALID, CLUSTER_PASSWORD_SOURCES, CLUSTER_SECRET_TAKEN, …
 */
export async function createCluster(context: ClusterContext, options: CreateOptions): Promise<Cluster> {
  const { key } = options;
  try {
    const existing = await findCluster(context, key);
    if (existing) return await compared(context, existing, options);
    const { password } = options;
    if (password === undefined) throw clusterErrors.CLUSTER_PASSWORD_SOURCES({ given: [] });
    const spec = wantedSpec(options, password);
    await requireValid(context, key, spec);
    await ensureNamespace(context, key.namespace);
    if (password.type === 'value') await ensureSecret(context, key, password.value);
    const object = await context.api.create(clusterType, clusterManifest(key, spec), {
      fieldManager: BMCTL_MANAGER,
      signal: context.signal,
    });
    context.print(`onecloudcluster ${formatKey(key)} created with version ${options.version}`);
    return clusterOf(object);
  } catch (error) {
    if (isApiError(error, 'already-exists')) {
      const winner = await findCluster(context, key); // somebody created it between our look and our write
      if (winner) return await compared(context, winner, options);
    }
    throw explained(error, { ...key, cluster: key.name });
  }
}

/** Name of the Secret that `create` makes for the password. */
function passwordSecretName(cluster: string): string {
  return `${cluster}-mysql`;
}

function wantedSpec(options: CreateOptions, password: PasswordSource | undefined): ClusterSpec {
  const { key, version, mysql, region, zone, imageRepository, edition } = options;
  const ref =
    password?.type === 'secret' ? { name: password.name, key: password.key } : { name: passwordSecretName(key.name), key: 'password' };
  const spec: ClusterSpec = {
    mysql: { ...defined(mysql), host: mysql.host, passwordSecretRef: ref },
    version,
    ...defined({ region, zone, imageRepository, edition }),
  };
  return assigned(spec, options.components ?? []);
}

/** Only what was asked for is compared: what the flags leave open may be anything. */
async function compared(context: ClusterContext, existing: Cluster, options: CreateOptions): Promise<Cluster> {
  const { spec, key } = existing;
  const { settings } = resolveCluster(spec);
  const { version, mysql, region, zone, imageRepository, edition, password } = options;
  const asked = { version, region, zone, imageRepository, edition };
  const differences = [
    ...Object.entries(defined(asked)).flatMap(([field, value]) => differs(`spec.${field}`, asObject(settings)[field], value)),
    ...Object.entries(defined(mysql)).flatMap(([field, value]) => differs(`spec.mysql.${field}`, asObject(settings.mysql)[field], value)),
    ...(options.components ?? []).flatMap(({ path, value }) => differs(`spec.${path.join('.')}`, at(spec, ...path), value)),
    ...(await passwordDifference(context, existing, password)),
  ];
  if (differences.length > 0) throw clusterErrors.CLUSTER_EXISTS_OTHERWISE({ cluster: formatKey(key), differences });
  context.print(`onecloudcluster ${formatKey(key)} is there already, with version ${version}`);
  return existing;
}

function differs(field: string, is: unknown, wanted: unknown): string[] {
  return JSON.stringify(is) === JSON.stringify(wanted) ? [] : [`${field} is ${shown(is)}, not ${shown(wanted)}`];
}

function shown(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value ?? 'not set');
}

async function passwordDifference(
  { api, signal }: ClusterContext,
  { spec, key }: Cluster,
  password: PasswordSource | undefined,
): Promise<string[]> {
  if (password === undefined) return [];
  const { passwordSecretRef: ref, password: inline } = spec.mysql;
  if (password.type === 'secret') {
    const at = ref && `${ref.name}/${ref.key ?? 'password'}`;
    return at === `${password.name}/${password.key}`
      ? []
      : [`spec.mysql.passwordSecretRef is ${at ?? 'not set'}, not ${password.name}/${password.key}`];
  }
  if (inline !== undefined) return new Secret(inline).equals(password.value) ? [] : ['spec.mysql.password is another one (not shown)'];
  const secret = ref && (await ifFound(api.get(resourceTypes.secrets, { name: ref.name, namespace: key.namespace }, { signal })));
  const value = secret && secretValue(secret, ref.key ?? 'password');
  return value?.equals(password.value) ? [] : [`the Secret ${ref?.name} holds another password or none (not shown)`];
}

async function ensureNamespace({ api, signal, print }: ClusterContext, name: string): Promise<void> {
  const found = await ifFound(api.get(resourceTypes.namespaces, { name }, { signal })).catch((error: unknown) => {
    if (isApiError(error, 'forbidden')) return true; // whoever may only see one namespace has it already
    throw error;
  });
  if (found) return;
  // host services are privileged, which a stricter default of the cluster would refuse
  const labels = { 'pod-security.kubernetes.io/enforce': 'privileged' };
  const namespace: KubeObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
  await api.create(resourceTypes.namespaces, namespace, { fieldManager: BMCTL_MANAGER, signal });
  print(`namespace ${name} created`);
}

async function ensureSecret(
  { api, signal, print }: ClusterContext,
  { name: cluster, namespace }: ClusterKey,
  password: Secret,
): Promise<void> {
  const name = passwordSecretName(cluster);
  const data = { password: Buffer.from(password.reveal()).toString('base64') };
  const live = await ifFound(api.get(resourceTypes.secrets, { name, namespace }, { signal }));
  if (live === undefined) {
    const secret: KubeObject = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace, labels: MADE_BY }, type: 'Opaque', data };
    await api.create(resourceTypes.secrets, secret, { fieldManager: BMCTL_MANAGER, signal });
    print(`secret ${namespace}/${name} created`);
    return;
  }
  if (secretValue(live, 'password')?.equals(password)) return;
  if (live.metadata.labels?.['app.kubernetes.io/managed-by'] !== BMCTL_MANAGER) throw clusterErrors.CLUSTER_SECRET_TAKEN({ secret: name });
  await api.patch(resourceTypes.secrets, { name, namespace }, { data }, { fieldManager: BMCTL_MANAGER, signal });
  print(`secret ${namespace}/${name} brought to the given password`);
}

function secretValue(secret: KubeObject, key: string): Secret | undefined {
  const encoded = textAt(secret, 'data', key);
  return encoded === undefined ? undefined : new Secret(Buffer.from(encoded, 'base64').toString('utf8'));
}

/** The given ones, typed as such. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
