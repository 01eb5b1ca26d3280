/**
 * The init container of the original's DaemonSet, without its faults: works out pod and site from the node's name, reads that
 * ConfigMap from the API server over verified TLS, and leaves configuration and VIP in the shared folders, byte for byte.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineErrors, entry } from 'cdk8s-baremetal-contract/errors';
import { CONFIG_KEY, configMapName, environmentVariable, PROVISIONING_VLAN, parseNodeName, vipKey } from 'cdk8s-baremetal-contract/names';
import { path } from 'cdk8s-baremetal-contract/paths';
import { type Clock, withDeadline } from '../core/clock.ts';
import type { Network } from '../core/network.ts';
import { replaceFile } from '../core/replace-file.ts';

export const fetchConfigErrors = defineErrors('Fetching the configuration', {
  FETCH_NOT_IN_CLUSTER: entry<{ missing: string }>({
    message: ({ missing }) => `${missing} is not set`,
    cure: 'Run it as the init container of the DaemonSet, which sets NODE_NAME; Kubernetes sets KUBERNETES_SERVICE_HOST',
  }),
  FETCH_NODE_NAME: entry<{ node: string }>({
    message: ({ node }) => `the node name ${JSON.stringify(node)} does not carry a pod and a site in its second and third dashed field`,
    cure: 'Name management nodes as in mgmt-pod45-wuxi2-1',
  }),
  FETCH_CREDENTIALS: entry<{ file: string }>({
    message: ({ file }) => `the service account's ${file} cannot be read`,
    cure: 'Mount the token volume into the init container',
  }),
  FETCH_NO_ANSWER: entry<{ url: string; reason: string }>({
    message: ({ url, reason }) => `the API server gave no answer to ${url}: ${reason}`,
    cure: 'Check that the API server is reachable from this node and that its certificate is signed by the mounted CA',
  }),
  FETCH_NOT_FOUND: entry<{ name: string; namespace: string }>({
    message: ({ name, namespace }) => `there is no ConfigMap ${name} in the namespace ${namespace}`,
    cure: "Apply the site's manifests first, or correct the node's name",
  }),
  FETCH_REFUSED: entry<{ name: string; status: number }>({
    message: ({ name, status }) => `the API server answered ${status} when asked for the ConfigMap ${name}`,
    cure: ({ status }) =>
      status === 403
        ? 'Apply the Role and RoleBinding bms-core-config of the same manifests'
        : 'Look at the API server; this is started again by itself',
  }),
  FETCH_KEY_MISSING: entry<{ name: string; key: string }>({
    message: ({ name, key }) => `the ConfigMap ${name} has no key ${key}, or an empty one`,
    cure: ({ key }) => `Add ${key} to the site and synthesize again`,
  }),
});

const ANSWER_LIMIT_MS = 30_000;

export interface FetchConfigOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly network: Network;
  readonly clock: Clock;
  /** Prefix of every path, for tests. Default: the real root. */
  readonly root?: string;
}

export interface FetchedConfig {
  readonly configMap: string;
  readonly configFile: string;
  readonly environmentFile: string;
}

/**
 * Fetches and writes; running it again leaves the same files.
 * @throws CodedError of fetchConfigErrors, with nothing written
 */
export async function fetchConfig({ env, network, clock, root = '/' }: FetchConfigOptions): Promise<FetchedConfig> {
  const nodeName = required(env, environmentVariable.nodeName);
  const namespace = env[environmentVariable.namespace] || 'default';
  const host = required(env, 'KUBERNETES_SERVICE_HOST');
  const port = env.KUBERNETES_SERVICE_PORT_HTTPS || env.KUBERNETES_SERVICE_PORT || '443';
  const place = parseNodeName(nodeName);
  if (!place) throw fetchConfigErrors.FETCH_NODE_NAME({ node: nodeName });
  const name = configMapName(place.pod, place.site);
  const data = await readConfigMap({ network, clock, host, port, namespace, name, root });
  const config = present(data, CONFIG_KEY, name);
  const vip = present(data, vipKey(PROVISIONING_VLAN), name);
  const configFile = join(root, path.configFile);
  const environmentFile = join(root, path.environmentFile);
  for (const file of [configFile, environmentFile]) mkdirSync(dirname(file), { recursive: true });
  replaceFile(configFile, config);
  replaceFile(environmentFile, `${vipKey(PROVISIONING_VLAN)}=${vip}\n`);
  return { configMap: name, configFile, environmentFile };
}

interface ConfigMapQuery {
  readonly network: Network;
  readonly clock: Clock;
  readonly host: string;
  readonly port: string;
  readonly namespace: string;
  readonly name: string;
  readonly root: string;
}

async function readConfigMap({
  network,
  clock,
  host,
  port,
  namespace,
  name,
  root,
}: ConfigMapQuery): Promise<Readonly<Record<string, unknown>>> {
  const token = credential(root, 'token').trim();
  const ca = credential(root, 'ca.crt');
  const authority = host.includes(':') ? `[${host}]` : host;
  const url = `https://${authority}:${port}/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(name)}`;
  const tooLate = (): Error => fetchConfigErrors.FETCH_NO_ANSWER({ url, reason: `nothing within ${ANSWER_LIMIT_MS / 1000} s` });
  const answer = await withDeadline(clock, ANSWER_LIMIT_MS, tooLate, (signal) =>
    network.request({ url, ca, headers: { authorization: `Bearer ${token}`, accept: 'application/json' }, signal }),
  ).catch((cause: unknown) => {
    throw cause instanceof Error && 'code' in cause && String(cause.code).startsWith('FETCH_')
      ? cause
      : fetchConfigErrors.FETCH_NO_ANSWER({ url, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
  });
  if (answer.status === 404) throw fetchConfigErrors.FETCH_NOT_FOUND({ name, namespace });
  if (answer.status !== 200) throw fetchConfigErrors.FETCH_REFUSED({ name, status: answer.status });
  let object: unknown;
  try {
    object = JSON.parse(Buffer.from(answer.body).toString('utf8'));
  } catch (cause) {
    throw fetchConfigErrors.FETCH_NO_ANSWER({ url, reason: 'what answers speaks no JSON' }, { cause });
  }
  return typeof object === 'object' && object !== null && 'data' in object ? ((object.data ?? {}) as Record<string, unknown>) : {};
}

function credential(root: string, file: string): string {
  const name = join(root, path.serviceAccount, file);
  try {
    return readFileSync(name, 'utf8');
  } catch (cause) {
    throw fetchConfigErrors.FETCH_CREDENTIALS({ file: name }, { cause });
  }
}

function required(env: FetchConfigOptions['env'], key: string): string {
  const value = env[key];
  if (!value) throw fetchConfigErrors.FETCH_NOT_IN_CLUSTER({ missing: key });
  return value;
}

function present(data: Readonly<Record<string, unknown>>, key: string, name: string): string {
  const value = data[key];
  if (typeof value !== 'string' || value === '') throw fetchConfigErrors.FETCH_KEY_MISSING({ name, key });
  return value;
}
