import { type App, Chart, type ChartProps, JsonPatch } from 'cdk8s';
import {
  type DataPath,
  label,
  type NetworkSpec,
  type PodInput,
  type SiteInput,
  type SiteSpec,
  siteSpecSchema,
} from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import type { Construct, IConstruct } from 'constructs';
import { BmsCore } from './bms-core.ts';
import { Fleet, type FleetMember } from './fleet.ts';
import { Network } from './network.ts';
import { Pod, type PodProps } from './pod.ts';
import { ZooKeeper } from './zookeeper.ts';

export interface SiteProps extends Omit<SiteInput, 'name' | 'pods'> {
  /**
   * Name of the site, a field of its management nodes' names.
   * @default - the construct's id
   */
  readonly name?: string;
  /** Passed to the chart. @default - none */
  readonly chart?: Omit<ChartProps, 'namespace'>;
}

/**
 * One site: its networks, its pods of management nodes, their machines, and the services that run them. A site is one
 * chart, so that hundreds of machines cost one file and one walk of the tree.
 */
export class Site extends Chart implements FleetMember {
  /** A site as an inventory describes it, with all that stands in it. */
  static fromInput(scope: App | Construct, input: SiteInput): Site {
    const { pods = [], ...props } = input;
    const site = new Site(scope, input.name, props);
    for (const { name, ...pod } of pods) site.addPod(name, pod);
    return site;
  }

  /** The site as data, in the form people write it; grows with addPod and addMachine. */
  readonly input: SiteInput & { pods: PodInput[] };
  private readonly podConstructs: Pod[] = [];
  private readonly networkConstructs: Network[];
  private readonly bmsCore: BmsCore;
  private parsed: SiteSpec | undefined;

  constructor(scope: Construct, id: string, props: SiteProps) {
    const { chart, name = id, ...input } = props;
    super(scope, id, { ...chart, namespace: input.namespace ?? 'default', labels: { [label.site]: name, ...chart?.labels } });
    this.input = { ...input, name, pods: [] };
    Fleet.of(this).add(this);
    this.node.addValidation({ validate: () => Fleet.of(this).problemsOf(this) });
    this.networkConstructs = (input.networks ?? []).map((network) => new Network(this, `vlan${network.vlan}`, network));
    if (this.namespace !== 'default') this.addNamespace(this.namespace ?? '');
    this.bmsCore = new BmsCore(this, 'bms-core', { site: this });
    if (input.zookeeper) new ZooKeeper(this, 'zookeeper', { site: this });
  }

  /** Adds a pair of management nodes and what hangs on it. */
  addPod(name: string, props: PodProps): Pod {
    const pod = new Pod(this, name, this, props);
    this.podConstructs.push(pod);
    this.bmsCore.addPod(pod);
    return pod;
  }

  get pods(): readonly Pod[] {
    return [...this.podConstructs];
  }

  get networks(): readonly Network[] {
    return [...this.networkConstructs];
  }

  /**
   * The complete site, every default filled in. For what is produced at synthesis, after validation.
   * @throws when the site does not parse; synthesis reports every problem before it comes to that
   */
  get spec(): SiteSpec {
    this.parsed ??= siteSpecSchema.parse(this.input);
    return this.parsed;
  }

  /** The network on a VLAN, when the site describes it. */
  networkOf(vlan: number): NetworkSpec | undefined {
    return this.spec.networks.find((network) => network.vlan === vlan);
  }

  /** To be called by parts of the site that change its data. */
  changed(): void {
    this.parsed = undefined;
    Fleet.of(this).changed();
  }

  /** `kubectl apply` of a namespaced object fails where its namespace is missing. */
  private addNamespace(name: string): void {
    // bms-core is on the host's network and in its folders, which a stricter level refuses where the cluster's default is one
    const labels = { 'pod-security.kubernetes.io/enforce': 'privileged' };
    const namespace = new k8s.KubeNamespace(this, 'namespace', { metadata: { name, labels } });
    namespace.addJsonPatch(JsonPatch.remove('/metadata/namespace'));
  }

  constructAt(path: DataPath): IConstruct {
    const [collection, index, ...rest] = path;
    if (collection === 'pods' && typeof index === 'number') return this.podConstructs[index]?.constructAt(rest) ?? this;
    if (collection === 'networks' && typeof index === 'number') return this.networkConstructs[index] ?? this;
    return this;
  }
}
