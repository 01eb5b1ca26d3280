import { vipKey } from 'cdk8s-baremetal-contract';
import { Construct } from 'constructs';
import { Fleet } from './fleet.ts';

export interface VipProps {
  readonly vlan: number;
  /** IPv4 address that the pod's management nodes share on that VLAN. */
  readonly address: string;
}

/** A virtual address of a pair of management nodes. Part of the model only: it becomes a key of the pod's ConfigMap. */
export class Vip extends Construct {
  readonly vlan: number;
  readonly address: string;

  constructor(scope: Construct, id: string, props: VipProps) {
    super(scope, id);
    this.vlan = props.vlan;
    this.address = props.address;
    this.node.addValidation({ validate: () => Fleet.of(this).problemsOf(this) });
  }

  /** Its key in the pod's ConfigMap, e.g. vip1800. */
  get key(): string {
    return vipKey(this.vlan);
  }
}
