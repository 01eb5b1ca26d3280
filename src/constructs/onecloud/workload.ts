/** What keeps a component's pods running: a Deployment, a DaemonSet or a CronJob. */
import type { ApiObjectProps } from 'cdk8s';
import { ENABLED, onecloudNodeLabel, type ResolvedCluster, type ResolvedComponent } from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';
import type { CompleteContext } from './context.ts';

export interface WorkloadOptions {
  readonly cluster: ResolvedCluster;
  readonly component: ResolvedComponent;
  readonly context: CompleteContext;
  readonly metadata: k8s.ObjectMeta;
  readonly selector: Readonly<Record<string, string>>;
  readonly template: k8s.PodTemplateSpec;
}

/** The workload as a manifest; affinity that people wrote is taken over field by field, newer fields included. */
export function workload(options: WorkloadOptions): ApiObjectProps {
  const manifest = manifestOf(options);
  const affinity = affinityOf(options);
  if (affinity !== undefined) Object.assign(podSpecOf(manifest), { affinity });
  return manifest;
}

interface PodHolder {
  readonly spec?: object;
  readonly template?: PodHolder;
  readonly jobTemplate?: PodHolder;
}

function podSpecOf(holder: PodHolder & { readonly spec: PodHolder }): object {
  const { jobTemplate, template } = holder.spec;
  const inner = jobTemplate ?? template;
  if (inner?.spec === undefined) throw new Error('the workload has no pod template');
  return jobTemplate === undefined ? inner.spec : podSpecOf(inner as PodHolder & { readonly spec: PodHolder });
}

function manifestOf(options: WorkloadOptions): ApiObjectProps & { readonly spec: PodHolder } {
  switch (options.component.row.kind) {
    case 'Deployment':
    case 'StatefulDeployment':
      return k8s.KubeDeployment.manifest({ metadata: options.metadata, spec: deploymentSpec(options) });
    case 'DaemonSet':
      return k8s.KubeDaemonSet.manifest({ metadata: options.metadata, spec: daemonSetSpec(options) });
    case 'CronJob':
      return k8s.KubeCronJob.manifest({ metadata: options.metadata, spec: cronJobSpec(options) });
  }
}

function deploymentSpec({ cluster, component, context, selector, template }: WorkloadOptions): k8s.DeploymentSpec {
  const { row, replicas, storage } = component;
  // two pods cannot have one port of a node, and must not write to one volume
  const alone = row.host?.network === true || row.single !== undefined || storage?.accessMode === 'ReadWriteOnce';
  // one pod waits for its successor; of several one may go first, so that an update needs no spare node
  const maxUnavailable = k8s.IntOrString.fromNumber(replicas > 1 ? 1 : 0);
  return {
    replicas: context.withoutNodes?.includes(row.name) ? 0 : replicas,
    minReadySeconds: 5,
    revisionHistoryLimit: 5,
    progressDeadlineSeconds: cluster.settings.updateStrategy.layerTimeoutSeconds,
    strategy: alone
      ? { type: 'Recreate' }
      : {
          type: 'RollingUpdate',
          rollingUpdate: { maxUnavailable, maxSurge: k8s.IntOrString.fromNumber(1) },
        },
    selector: { matchLabels: { ...selector } },
    template,
  };
}

function daemonSetSpec({ component, selector, template }: WorkloadOptions): k8s.DaemonSetSpec {
  const { update = { type: 'RollingUpdate', maxUnavailable: 1 } } = component;
  return {
    minReadySeconds: 5,
    revisionHistoryLimit: 5,
    updateStrategy:
      update.type === 'OnDelete'
        ? { type: 'OnDelete' }
        : { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromNumber(update.maxUnavailable) } },
    selector: { matchLabels: { ...selector } },
    template,
  };
}

function cronJobSpec({ component, template }: WorkloadOptions): k8s.CronJobSpec {
  if (component.schedule === undefined) throw new Error(`${component.row.key} is a CronJob without a schedule`);
  return {
    schedule: component.schedule,
    ...(component.overrides.suspend !== undefined && { suspend: component.overrides.suspend }),
    concurrencyPolicy: 'Replace',
    startingDeadlineSeconds: 300,
    successfulJobsHistoryLimit: 1,
    failedJobsHistoryLimit: 3,
    jobTemplate: { metadata: { labels: template.metadata?.labels }, spec: { backoffLimit: 1, template } },
  };
}

/** Controllers prefer the nodes labelled for them, replicas prefer different nodes; each part that people wrote replaces ours. */
function affinityOf({ component, selector }: WorkloadOptions): Readonly<Record<string, unknown>> | undefined {
  const { row, overrides, replicas } = component;
  if (row.kind === 'DaemonSet') return overrides.affinity; // on every node that its selector finds
  const apart = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: selector } };
  return {
    ...(row.host?.nodeSelector === undefined && {
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 1, preference: { matchExpressions: [{ key: onecloudNodeLabel.controller, operator: 'In', values: [ENABLED] }] } },
        ],
      },
    }),
    ...(replicas > 1 && {
      podAntiAffinity: row.host?.network
        ? { requiredDuringSchedulingIgnoredDuringExecution: [apart] }
        : { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: apart }] },
    }),
    ...overrides.affinity,
  };
}
