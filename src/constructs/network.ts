import type { SiteInput } from 'cdk8s-baremetal-contract';
import { Construct } from 'constructs';
import { Fleet } from './fleet.ts';

export type NetworkProps = NonNullable<SiteInput['networks']>[number];

/** A VLAN of a site with its IPv4 network. Part of the model only: it becomes no Kubernetes object. */
export class Network extends Construct {
  readonly vlan: number;
  readonly cidr: string;
  readonly gateway: string | undefined;

  constructor(scope: Construct, id: string, props: NetworkProps) {
    super(scope, id);
    this.vlan = props.vlan;
    this.cidr = props.cidr;
    this.gateway = props.gateway;
    this.node.addValidation({ validate: () => Fleet.of(this).problemsOf(this) });
  }
}
