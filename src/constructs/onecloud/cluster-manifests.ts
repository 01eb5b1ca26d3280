/** The manifests of a cluster for whoever applies them layer by layer: the operator, and bmctl's dry run. */
import { App } from 'cdk8s';
import type { ClusterSpec, ResolvedComponent } from 'cdk8s-baremetal-contract/onecloud/index';
import type { ClusterContext } from './context.ts';
import { OnecloudCluster } from './onecloud-cluster.ts';
import type { ManifestObject } from './onecloud-component.ts';

/** One component's objects. What else carries its component label in the cluster does not belong there any more. */
export interface ComponentManifests {
  /** From 0. A layer is applied when those before it are ready. */
  readonly layer: number;
  /** Name of the component, e.g. glance; its row and everything resolved. */
  readonly component: string;
  readonly resolved: ResolvedComponent;
  /** In the order in which they are to be applied: configuration and claim before Service and workload. */
  readonly manifests: readonly ManifestObject[];
}

/**
 * Everything that a cluster consists of, in order of its layers. The same spec and context give the same bytes; nothing is
 * kept between two calls.
 * @throws ClusterSpecError with every problem of the spec
 */
export function clusterManifests(spec: ClusterSpec, context: ClusterContext = {}): ComponentManifests[] {
  const cluster = new OnecloudCluster(new App(), 'cluster', { ...context, spec, createNamespace: false });
  return cluster.layers.flatMap((layer, index) =>
    layer.map((construct) => ({
      layer: index,
      component: construct.component.row.name,
      resolved: construct.component,
      manifests: construct.toManifests(),
    })),
  );
}
