import { ApiObject } from 'cdk8s';
import {
  type Component,
  type ConfigEntry,
  certificatesSecretName,
  componentObjectName,
  configEntries,
  MANAGED_BY,
  NAME_LABEL_VALUE,
  onecloudAnnotation,
  onecloudLabel,
  type ResolvedCluster,
  type ResolvedComponent,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { configChecksum } from './config-checksum.ts';
import type { CompleteContext } from './context.ts';
import { podTemplate } from './pod-template.ts';
import { workload } from './workload.ts';

export interface OnecloudComponentProps {
  readonly cluster: ResolvedCluster;
  readonly component: ResolvedComponent;
  readonly context: CompleteContext;
}

/** A Kubernetes object as it is sent. */
export interface ManifestObject extends Readonly<Record<string, unknown>> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string; readonly namespace?: string };
}

/**
 * One component of a OneCloud cluster: its account, configuration, claim, Service and workload. A disabled one keeps its
 * configuration and its claim, so that enabling it again finds its data.
 */
export class OnecloudComponent extends Construct {
  readonly component: ResolvedComponent;
  private readonly context: CompleteContext;
  private readonly labels: Readonly<Record<string, string>>;

  constructor(scope: Construct, id: string, { cluster, component, context }: OnecloudComponentProps) {
    super(scope, id);
    this.component = component;
    this.context = context;
    this.labels = componentLabels(component.row, context);
    const entries = configEntries(cluster, context, component);
    const generated = Object.fromEntries(entries.map(({ key, text }) => [key, text]));
    const config = context.keptConfigs?.[component.row.name] ?? generated;
    if (entries.length > 0) {
      new k8s.KubeConfigMap(this, 'config', {
        metadata: this.metadata({ [onecloudAnnotation.generatedChecksum]: configChecksum(generated) }),
        data: { ...config },
      });
    }
    this.addClaim();
    if (component.disabled) return;
    new k8s.KubeServiceAccount(this, 'service-account', { metadata: this.metadata(), automountServiceAccountToken: false });
    this.addService();
    this.addWorkload(cluster, entries, config);
    this.addDisruptionBudget();
  }

  get objectName(): string {
    return componentObjectName(this.context.name, this.component.row.name);
  }

  /** Its manifests, in the order in which they are to be applied. */
  toManifests(): ManifestObject[] {
    return this.node.findAll().flatMap((child) => (ApiObject.isApiObject(child) ? [child.toJson() as ManifestObject] : []));
  }

  /** Selectors are immutable: they hold only what never changes. */
  private get selector(): Record<string, string> {
    const { instance, component, app } = onecloudLabel;
    return Object.fromEntries([instance, component, app].map((key) => [key, this.labels[key] ?? '']));
  }

  private metadata(annotations?: Readonly<Record<string, string>>): k8s.ObjectMeta {
    const { owner } = this.context;
    return {
      name: this.objectName,
      namespace: this.context.namespace,
      labels: { ...this.labels },
      ...(annotations && { annotations: { ...annotations } }),
      ...(owner && { ownerReferences: [owner] }),
    };
  }

  private addClaim(): void {
    const { storage, row } = this.component;
    if (storage === undefined) return;
    const { ownerReferences: _, ...metadata } = this.metadata(row.storage?.annotations); // pvcPolicy decides, not the garbage collector
    new k8s.KubePersistentVolumeClaim(this, 'claim', {
      metadata,
      spec: {
        accessModes: [storage.accessMode],
        storageClassName: storage.storageClassName,
        resources: { requests: { storage: k8s.Quantity.fromString(storage.size) } },
      },
    });
  }

  private addService(): void {
    const { ports, row } = this.component;
    const exposed = ports.some(({ nodePort }) => nodePort !== undefined);
    // what listens on the node's own network is reached there
    if (ports.length === 0 || (row.host?.network && !row.ports?.some(({ nodePort }) => nodePort !== undefined))) return;
    new k8s.KubeService(this, 'service', {
      metadata: this.metadata(),
      spec: {
        type: exposed ? 'NodePort' : 'ClusterIP',
        selector: this.selector,
        ports: ports.map(({ name, port, nodePort, protocol = 'TCP' }) => ({
          name,
          port,
          targetPort: k8s.IntOrString.fromNumber(port),
          protocol,
          ...(nodePort !== undefined && { nodePort }),
        })),
      },
    });
    if (row.ingress) this.addIngress(row.ingress.port);
  }

  /** Its backend speaks TLS, which every controller wants to be told in its own words. */
  private addIngress(port: string): void {
    new k8s.KubeIngress(this, 'ingress', {
      metadata: this.metadata({
        'nginx.ingress.kubernetes.io/backend-protocol': 'HTTPS',
        'ingress.kubernetes.io/protocol': 'https',
      }),
      spec: {
        tls: [{ secretName: certificatesSecretName(this.context.name) }],
        rules: [
          { http: { paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: this.objectName, port: { name: port } } } }] } },
        ],
      },
    });
  }

  private addWorkload(cluster: ResolvedCluster, entries: readonly ConfigEntry[], config: Readonly<Record<string, string>>): void {
    const { component, context } = this;
    const template = podTemplate({
      cluster,
      component,
      context,
      entries,
      objectName: this.objectName,
      selector: this.selector,
      labels: this.labels,
      config,
    });
    const manifest = workload({ cluster, component, context, metadata: this.metadata(), selector: this.selector, template });
    new ApiObject(this, 'Resource', manifest);
  }

  private addDisruptionBudget(): void {
    const { replicas, row } = this.component;
    if (replicas < 2 || (row.kind !== 'Deployment' && row.kind !== 'StatefulDeployment')) return;
    new k8s.KubePodDisruptionBudget(this, 'disruption-budget', {
      metadata: this.metadata(),
      spec: { maxUnavailable: k8s.IntOrString.fromNumber(1), selector: { matchLabels: this.selector } },
    });
  }
}

function componentLabels({ name }: Component, { instance }: CompleteContext): Record<string, string> {
  return {
    [onecloudLabel.name]: NAME_LABEL_VALUE,
    [onecloudLabel.instance]: instance,
    [onecloudLabel.managedBy]: MANAGED_BY,
    [onecloudLabel.component]: name,
    [onecloudLabel.app]: name,
  };
}
