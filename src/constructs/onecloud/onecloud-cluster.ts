import { type App, Chart, type ChartProps, JsonPatch } from 'cdk8s';
import {
  type ClusterSpec,
  catalog,
  layersOf,
  ONECLOUD_API_VERSION,
  ONECLOUD_KIND,
  type ResolvedCluster,
  resolveCluster,
  validateClusters,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';
import type { Construct, IConstruct } from 'constructs';
import { type ClusterContext, type CompleteContext, completeContext } from './context.ts';
import { OnecloudComponent } from './onecloud-component.ts';

export interface OnecloudClusterProps extends ClusterContext {
  /** The cluster as the custom resource has it. */
  readonly spec: ClusterSpec;
  /** Adds the Namespace itself, for `kubectl apply`. @default true */
  readonly createNamespace?: boolean;
  /** Passed to the chart. @default - none */
  readonly chart?: Omit<ChartProps, 'namespace'>;
}

/** Why a cluster's manifests were not made: one problem a line. */
export class ClusterSpecError extends Error {
  readonly problems: readonly string[];

  constructor(name: string, problems: readonly string[]) {
    super([`the OneCloud cluster ${name} cannot be built:`, ...problems].join('\n  '));
    this.name = 'ClusterSpecError';
    this.problems = problems;
  }
}

/**
 * A whole OneCloud installation as manifests, layer by layer. The operator applies what this construct makes; without an
 * operator, `kubectl apply` does, once the Secrets of `requiredSecrets` exist.
 */
export class OnecloudCluster extends Chart {
  readonly context: CompleteContext;
  readonly cluster: ResolvedCluster;
  /** In layers: the members of one need only components of earlier ones. */
  readonly layers: readonly (readonly OnecloudComponent[])[];
  private readonly input: ClusterSpec;

  /** @throws ClusterSpecError with every problem of the spec */
  constructor(scope: App | Construct, id: string, props: OnecloudClusterProps) {
    const { spec, createNamespace = true, chart, ...rest } = props;
    const context = completeContext(rest);
    super(scope, id, { ...chart, namespace: context.namespace });
    this.input = spec;
    this.context = context;
    const problems = validateClusters([this.asObject()]).filter(({ severity }) => severity === 'error');
    if (problems.length > 0)
      throw new ClusterSpecError(
        context.name,
        problems.map(({ error }) => String(error)),
      );
    this.cluster = resolveCluster(spec);
    this.node.addValidation({ validate: () => this.conflicts() });
    if (createNamespace && context.namespace !== 'default') {
      // host services are privileged, which a stricter default of the cluster would refuse
      const labels = { 'pod-security.kubernetes.io/enforce': 'privileged' };
      const namespace = new k8s.KubeNamespace(this, 'namespace', { metadata: { name: context.namespace, labels } });
      namespace.addJsonPatch(JsonPatch.remove('/metadata/namespace'));
    }
    const byKey = new Map(this.cluster.components.map((component) => [component.row.key, component]));
    this.layers = layersOf(catalog).map((layer) =>
      layer.flatMap((row) => {
        const component = byKey.get(row.key);
        return component ? [new OnecloudComponent(this, row.name, { cluster: this.cluster, component, context })] : [];
      }),
    );
  }

  private asObject(): unknown {
    const { name, namespace } = this.context;
    return { apiVersion: ONECLOUD_API_VERSION, kind: ONECLOUD_KIND, metadata: { name, namespace }, spec: this.input };
  }

  /** Clusters of one app share the nodes' ports. */
  private conflicts(): string[] {
    const clusters = this.node.root.node.findAll().filter((construct): construct is OnecloudCluster => isCluster(construct));
    const own = clusters.indexOf(this);
    return validateClusters(clusters.map((cluster) => cluster.asObject()))
      .filter(({ cluster, severity }) => cluster === own && severity === 'error')
      .map(({ error }) => String(error));
  }
}

function isCluster(construct: IConstruct): boolean {
  return construct instanceof OnecloudCluster;
}
