import { Construct } from 'constructs';
import { Fleet } from './fleet.ts';

export interface ManagementNodeProps {
  /** Its name in Kubernetes, which carries pod and site: mgmt-pod45-wuxi2-1. */
  readonly name: string;
}

/** A Kubernetes node that runs a pod's management services. Part of the model only. */
export class ManagementNode extends Construct {
  readonly nodeName: string;

  constructor(scope: Construct, id: string, props: ManagementNodeProps) {
    super(scope, id);
    this.nodeName = props.name;
    this.node.addValidation({ validate: () => Fleet.of(this).problemsOf(this) });
  }
}
