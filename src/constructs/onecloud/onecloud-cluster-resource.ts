import { ApiObject } from 'cdk8s';
import {
  type ClusterSpec,
  DEFAULT_CLUSTER_NAME,
  ONECLOUD_API_VERSION,
  ONECLOUD_KIND,
  validateCluster,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { Construct } from 'constructs';

export interface OnecloudClusterResourceProps {
  /** @default default */
  readonly name?: string;
  /** @default - the chart's */
  readonly namespace?: string;
  readonly spec: ClusterSpec;
}

/**
 * The custom resource itself, for clusters that run the operator. Written as people write it: the constructs in imports/
 * know quantities only as objects of a class.
 */
export class OnecloudClusterResource extends Construct {
  constructor(scope: Construct, id: string, { name = DEFAULT_CLUSTER_NAME, namespace, spec }: OnecloudClusterResourceProps) {
    super(scope, id);
    const resource = {
      apiVersion: ONECLOUD_API_VERSION,
      kind: ONECLOUD_KIND,
      metadata: { name, ...(namespace !== undefined && { namespace }) },
      spec,
    };
    this.node.addValidation({
      validate: () =>
        validateCluster(resource)
          // a password in the cluster's object is a warning; in dist/ it would go to git
          .filter(({ severity, error }) => severity === 'error' || error.code === 'ONECLOUD_SECRET_AS_VALUE')
          .map(({ error }) => String(error)),
    });
    new ApiObject(this, 'Resource', resource);
  }
}
