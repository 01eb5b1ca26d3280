import type { DataPath, MachineInput, PodInput, PodSpec } from 'cdk8s-baremetal-contract';
import { Construct, type IConstruct } from 'constructs';
import { BareMetalNode, type BareMetalNodeProps } from './bare-metal-node.ts';
import { Fleet } from './fleet.ts';
import { ManagementNode } from './management-node.ts';
import type { Site } from './site.ts';
import { Vip } from './vip.ts';

export interface PodProps extends Omit<PodInput, 'name'> {}

/**
 * A pod in the data centre's sense: a pair of management nodes with their VIPs, and the machines they provision. (Not a
 * Kubernetes Pod.)
 */
export class Pod extends Construct {
  readonly managementNodes: readonly ManagementNode[];
  readonly vips: readonly Vip[];
  readonly site: Site;
  private readonly machineConstructs: BareMetalNode[] = [];
  private readonly index: number;
  private readonly input: PodInput & { machines: MachineInput[] };

  constructor(scope: Construct, id: string, site: Site, props: PodProps) {
    super(scope, id);
    const { machines = [], ...input } = props;
    this.site = site;
    this.index = site.input.pods.length;
    this.input = { ...input, name: id, machines: [] };
    site.input.pods.push(this.input);
    site.changed();
    this.managementNodes = (props.managementNodes ?? []).map(
      (node, index) => new ManagementNode(this, `management-node-${index + 1}`, node),
    );
    this.vips = Object.entries(props.vips ?? {}).map(([vlan, address]) => new Vip(this, `vip${vlan}`, { vlan: Number(vlan), address }));
    this.node.addValidation({ validate: () => Fleet.of(this).problemsOf(this) });
    for (const { name, ...machine } of machines) this.addMachine(name, machine);
  }

  /** Adds a physical server. */
  addMachine(name: string, props: BareMetalNodeProps): BareMetalNode {
    const index = this.input.machines.length;
    this.input.machines.push({ ...props, name });
    this.site.changed();
    const machine = new BareMetalNode(this, name, { pod: this, index });
    this.machineConstructs.push(machine);
    return machine;
  }

  get machines(): readonly BareMetalNode[] {
    return [...this.machineConstructs];
  }

  /** The complete pod. For what is produced at synthesis, after validation. */
  get spec(): PodSpec {
    const spec = this.site.spec.pods[this.index];
    if (!spec) throw new Error(`${this.node.path} is not part of its site`);
    return spec;
  }

  constructAt(path: DataPath): IConstruct {
    const [collection, key] = path;
    if (collection === 'machines' && typeof key === 'number') return this.machineConstructs[key] ?? this;
    if (collection === 'managementNodes' && typeof key === 'number') return this.managementNodes[key] ?? this;
    if (collection === 'vips' && key !== undefined) return this.vips.find((vip) => vip.vlan === Number(key)) ?? this;
    return this;
  }
}
