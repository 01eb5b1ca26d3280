/** What the manifests of a cluster depend on beside its spec: where it stands, and what the operator knows of the moment. */
import { DEFAULT_CLUSTER_NAME, DEFAULT_NAMESPACE, defaultInstance } from 'cdk8s-baremetal-contract/onecloud/names';
import type { k8s } from 'cdk8s-plus-28';

export interface ClusterContext {
  /** Begins the name of every object. @default default */
  readonly name?: string;
  /** @default onecloud */
  readonly namespace?: string;
  /** Value of app.kubernetes.io/instance. Selectors hold it: keep it for the cluster's life. @default onecloud-cluster-<name> */
  readonly instance?: string;
  /** Image of the init container that puts passwords into configurations. @default DEFAULT_RENDER_IMAGE */
  readonly renderImage?: string;
  /** Owner of every object except claims, whose fate pvcPolicy decides. @default - none */
  readonly owner?: k8s.OwnerReference;
  /**
   * Images that stay for now, by component name and container name: an update that waits for its window, or was rolled back.
   * Database initialization goes with the main container. @default - none
   */
  readonly heldImages?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Content of ConfigMaps that people edited and that is kept, by component name. @default - none */
  readonly keptConfigs?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Checksums of the Secrets' content, by component name: a changed password rolls the pods. @default - none */
  readonly secretChecksums?: Readonly<Record<string, string>>;
  /** Names of components whose nodes do not exist (yet); their Deployments get no replicas. @default - none */
  readonly withoutNodes?: readonly string[];
}

export const DEFAULT_RENDER_IMAGE = 'ghcr.io/cdk8s-baremetal/onecloud-operator:0.1.0';

export type CompleteContext = ClusterContext & Required<Pick<ClusterContext, 'name' | 'namespace' | 'instance' | 'renderImage'>>;

export function completeContext(context: ClusterContext): CompleteContext {
  const { name = DEFAULT_CLUSTER_NAME, namespace = DEFAULT_NAMESPACE, renderImage = DEFAULT_RENDER_IMAGE } = context;
  return { ...context, name, namespace, renderImage, instance: context.instance ?? defaultInstance(name) };
}
