/** From what people wrote to what runs: every default filled in, every override applied. */
import { catalog, credentialsRow } from './catalog.ts';
import {
  type ClusterSettings,
  type ClusterSpec,
  type ComponentOverrides,
  type ContainerOverrides,
  clusterSpecSchema,
  type Quantities,
  settingsSchema,
  type Toleration,
} from './cluster-spec.ts';
import type { Companion, Component, ComponentPort, HostNeeds } from './component.ts';
import { type ConfigFacts, renderTemplate } from './config-templates/template.ts';
import { companionImageOf, imageOf, pullPolicyOf } from './image.ts';
import { componentObjectName, ONECLOUD_CONFIG_KEY, onecloudPath } from './names.ts';

export interface ResolvedContainer {
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly requests: Quantities;
  readonly limits: Quantities;
}

export interface ResolvedCompanion extends ResolvedContainer {
  readonly row: Companion;
}

export interface ResolvedComponent extends ResolvedContainer {
  readonly row: Component;
  readonly overrides: ComponentOverrides;
  readonly disabled: boolean;
  /** Meaningful for Deployments. */
  readonly replicas: number;
  readonly tolerations: readonly Toleration[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly ports: readonly ComponentPort[];
  readonly storage?: { readonly size: string; readonly storageClassName: string; readonly accessMode: 'ReadWriteOnce' | 'ReadWriteMany' };
  readonly update?: HostNeeds['update'];
  readonly schedule?: string;
  readonly companions: readonly ResolvedCompanion[];
}

export interface ResolvedCluster {
  readonly settings: ClusterSettings;
  /** In the catalog's order. */
  readonly components: readonly ResolvedComponent[];
}

/** The class that the original's installer brings along. */
export const DEFAULT_STORAGE_CLASS = 'local-path';

/** The original's two, and what Kubernetes ≥ 1.24 taints its control plane with. */
export const DEFAULT_TOLERATIONS: readonly Toleration[] = ['master', 'controlplane', 'control-plane'].map((role) => ({
  effect: 'NoSchedule' as const,
  key: `node-role.kubernetes.io/${role}`,
}));

/** What an idle service takes; without requests its pods would be the first that a full node evicts. */
const DEFAULT_REQUESTS: Quantities = { cpu: '10m', memory: '64Mi' };

/**
 * The complete cluster.
 * @throws ZodError when the spec does not parse; `validateCluster` says the same in words
 */
export function resolveCluster(spec: ClusterSpec): ResolvedCluster {
  clusterSpecSchema.parse(spec);
  const settings = settingsSchema.parse(spec);
  return { settings, components: catalog.map((row) => resolveComponent(row, spec[row.key] ?? {}, settings)) };
}

function resolveComponent(row: Component, overrides: ComponentOverrides, settings: ClusterSettings): ResolvedComponent {
  const disabled = overrides.disable ?? false;
  const update = overrides.updateStrategy ? updateOf(overrides.updateStrategy) : row.host?.update;
  return {
    row,
    overrides,
    ...resolveContainer(imageOf(row, overrides, settings), overrides),
    disabled,
    replicas: disabled ? 0 : (overrides.replicas ?? 1),
    tolerations: overrides.tolerations ?? DEFAULT_TOLERATIONS,
    nodeSelector: { ...overrides.nodeSelector, ...row.host?.nodeSelector },
    ports: (row.ports ?? []).map((port) => resolvePort(port, overrides)),
    ...(row.storage && {
      storage: {
        size: String(overrides.requests?.storage ?? row.storage.size),
        storageClassName: overrides.storageClassName ?? DEFAULT_STORAGE_CLASS,
        accessMode: overrides.accessMode ?? 'ReadWriteOnce',
      },
    }),
    ...(update && { update }),
    ...(row.schedule !== undefined && { schedule: overrides.schedule ?? row.schedule }),
    companions: (row.companions ?? []).map((companion) => {
      const own = companionOverrides(overrides, companion);
      return { row: companion, ...resolveContainer(companionImageOf(companion, own, { row, overrides }, settings), own) };
    }),
  };
}

/** The schema lets a companion's key hold nothing else. */
function companionOverrides(overrides: ComponentOverrides, { override }: Companion): ContainerOverrides {
  return (overrides as Readonly<Record<string, ContainerOverrides | undefined>>)[override] ?? {};
}

function resolveContainer(image: string, overrides: ContainerOverrides): ResolvedContainer {
  const { storage: _, ...requests } = overrides.requests ?? {}; // storage is the claim's
  const { storage: __, ...limits } = overrides.limits ?? {};
  // a default request above the given limit would be refused
  const defaults = Object.fromEntries(Object.entries(DEFAULT_REQUESTS).filter(([name]) => !(name in limits)));
  return { image, imagePullPolicy: pullPolicyOf(image, overrides), requests: { ...defaults, ...requests }, limits };
}

function resolvePort({ nodePort, ...port }: ComponentPort, { nodePorts, internalOnly }: ComponentOverrides): ComponentPort {
  return nodePort === undefined || internalOnly ? port : { ...port, nodePort: nodePorts?.[port.name] ?? nodePort };
}

function updateOf({ type, maxUnavailable = 1 }: NonNullable<ComponentOverrides['updateStrategy']>): NonNullable<HostNeeds['update']> {
  return type === 'OnDelete' ? { type } : { type, maxUnavailable };
}

/** Where a cluster stands, which its spec does not say. */
export interface ClusterPlace {
  readonly name: string;
  readonly namespace: string;
}

/** What a component's configuration is rendered from. */
export function configFacts(
  { settings, components }: ResolvedCluster,
  { name, namespace }: ClusterPlace,
  { row }: ResolvedComponent,
): ConfigFacts {
  const owner = credentialsRow(row);
  const overridesOf = (key: string): ComponentOverrides => components.find((component) => component.row.key === key)?.overrides ?? {};
  const { dnsServer, dnsDomain = 'cloud.onecloud.io' } = overridesOf('regionServer');
  const [port] = row.ports ?? [];
  return {
    cluster: name,
    namespace,
    region: settings.region,
    zone: settings.zone,
    mysql: settings.mysql,
    publicAddress: settings.loadBalancerEndpoint ?? '',
    regionServer: { dnsDomain, ...(dnsServer !== undefined && { dnsServer }) },
    dnsProxies: overridesOf('regionDNS').proxies ?? [{ from: '.', to: ['114.114.114.114', '8.8.8.8'] }],
    ...(port && { port: port.port }),
    ...(owner.database && { database: owner.database }),
    ...(owner.account && { account: owner.account }),
    hostOf: (component) => componentObjectName(name, component),
    runs: (component) => components.some((other) => other.row.name === component && !other.disabled),
  };
}

/** Where a configuration stands in the component's ConfigMap, and which text belongs there. */
export interface ConfigEntry {
  /** Key of the ConfigMap. */
  readonly key: string;
  /** Absolute path in the containers that read it. */
  readonly path: string;
  /** Container that reads it; absent: the main one. */
  readonly companion?: string;
  readonly text: string;
}

/** Every configuration of a component as generated: its own and its companions'. */
export function configEntries(cluster: ResolvedCluster, place: ClusterPlace, component: ResolvedComponent): ConfigEntry[] {
  const facts = configFacts(cluster, place, component);
  const { config, companions = [] } = component.row;
  return [
    ...(config ? [{ key: ONECLOUD_CONFIG_KEY, path: config.path, text: renderTemplate(config.template, facts) }] : []),
    ...companions.flatMap(({ name, config: own }) =>
      own
        ? [
            {
              key: own.file,
              path: `${onecloudPath.configDirectory}/${own.file}`,
              companion: name,
              text: renderTemplate(own.template, facts),
            },
          ]
        : [],
    ),
  ];
}
