import { ApiObject, type ApiObjectProps, Chart } from 'cdk8s';
import { annotation, CONTRACT_VERSION, type CodedError, nearest } from 'cdk8s-baremetal-contract';
import { KOLLA_CONFIG_STRATEGIES, type KollaConfig, type KollaConfigStrategy, kollaPath } from 'cdk8s-baremetal-contract/launch/index';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { checksum } from '../checksum.ts';
import { checkDefinition } from './check-definition.ts';
import { checkConfigDirectory, configMapData, type KollaFiles, type SecretReference, sharedDirectories } from './config-directory.ts';
import { type KollaDefaultsOptions, parseKollaService } from './defaults.ts';
import { type KollaDefinition, serviceName } from './definition.ts';
import { kollaErrors } from './errors.ts';
import { type Awaited, jobName, jobPod, KOLLA_JOB_VARIABLE, type KollaJobKind, waiting } from './jobs.ts';
import {
  isObjectName,
  type KollaLaunch,
  type KollaPodProps,
  LAUNCH_VOLUME,
  type NamedVolume,
  podTemplate,
  RELEASE_ANNOTATION,
} from './pod.ts';
import { parseVolume } from './volume-string.ts';

export interface KollaServiceProps {
  /** As in kolla-ansible's defaults/main.yml. */
  readonly definition: KollaDefinition;
  /** config.json. */
  readonly config: KollaConfig;
  /** The other files of the config directory: text, or a key of a Secret. @default - none */
  readonly files?: KollaFiles;
  /** @default COPY_ALWAYS */
  readonly strategy?: KollaConfigStrategy;
  /** A Deployment, or a DaemonSet on every node of the group. @default deployment */
  readonly kind?: 'deployment' | 'daemon-set';
  /** Of a Deployment. @default 1 */
  readonly replicas?: number;
  /** kolla's `stop`: the objects stay, no pod runs. Deployments only. @default false */
  readonly stopped?: boolean;
  /**
   * `prepared`: an init container places the configuration, and the service runs without root. `in-place`: as kolla does,
   * kolla_start in the service's container becomes root through sudo.
   * @default prepared
   */
  readonly form?: 'prepared' | 'in-place';
  /** Our programs, for images that were not built on our base layer. @default - the image has them */
  readonly launch?: KollaLaunch;
  /** Numbers of the account that the service runs as. @default - the image's USER */
  readonly runAs?: { readonly user: number; readonly group: number };
  /** Where named volumes lie. @default - kolla_logs at /var/log/kolla of the node */
  readonly namedVolumes?: Readonly<Record<string, NamedVolume>>;
  /** Variables out of Secrets. @default - none */
  readonly secretEnvironment?: Readonly<Record<string, SecretReference>>;
  /** The TZ variable. @default UTC */
  readonly timeZone?: string;
  /** kolla's containers all are on the host's network. @default false */
  readonly hostNetwork?: boolean;
  /** Whether a container that its healthcheck finds unhealthy is restarted. @default - unless the check is healthcheck_port */
  readonly restartUnhealthy?: boolean;
  /** Between the signal to stop and the kill. @default 60, kolla-ansible's graceful_timeout */
  readonly graceSeconds?: number;
  /** @default - none */
  readonly pullSecret?: string;
  /** Run on any node, whether or not it carries the group's label. @default false */
  readonly anyNode?: boolean;
  /** What runs once for each release, in this order: `before` its pods start, `after` they all serve. @default - nothing */
  readonly jobs?: { readonly before?: readonly KollaJobKind[]; readonly after?: readonly KollaJobKind[] };
}

export interface KollaServiceFromDefaultsProps extends Omit<KollaServiceProps, 'definition'>, KollaDefaultsOptions {
  /** Text of a defaults/main.yml. */
  readonly defaults: string;
  /** Which of its services. @default - the only one */
  readonly service?: string;
}

/** What an L1 object's `manifest` answers; its own type says any. */
type WorkloadManifest = ApiObjectProps & {
  readonly spec: { readonly template: { readonly spec: { readonly volumes: { readonly name: string; image?: object }[] } } };
};

/** A service in a container that follows kolla's contract: kolla_start, config.json, /var/lib/kolla/config_files. */
export class KollaService extends Construct {
  /**
   * As a kolla-ansible role defines it.
   * @throws KollaDefaultsError with everything that keeps the definition from being read
   */
  static fromDefaults(scope: Construct, id: string, props: KollaServiceFromDefaultsProps): KollaService {
    const { defaults, service, variables, ...rest } = props;
    return new KollaService(scope, id, { ...rest, definition: parseKollaService(defaults, service, variables && { variables }) });
  }

  /** Of the workload and the ConfigMap: the container's name with dashes. */
  readonly name: string;
  private readonly props: KollaServiceProps;

  constructor(scope: Construct, id: string, props: KollaServiceProps) {
    super(scope, id);
    this.props = props;
    this.name = typeof props.definition.container_name === 'string' ? serviceName(props.definition) : id;
    const namedVolumes = { kolla_logs: { hostPath: kollaPath.logs }, ...props.namedVolumes };
    const shared = this.shared();
    const problems = [...this.check(namedVolumes), ...shared.problems];
    this.node.addValidation({ validate: () => problems.map(String) });
    // nothing is made of what is wrong: synthesis ends with the problems
    if (problems.length > 0 || props.definition.enabled === false) return;
    this.make({
      definition: props.definition,
      config: props.config,
      files: props.files ?? {},
      configMap: this.name,
      strategy: props.strategy ?? 'COPY_ALWAYS',
      form: props.form ?? 'prepared',
      sharedDirectories: shared.directories,
      namedVolumes,
      secretEnvironment: props.secretEnvironment ?? {},
      launch: props.launch,
      runAs: props.runAs,
      timeZone: props.timeZone ?? 'UTC',
      hostNetwork: props.hostNetwork ?? false,
      restartUnhealthy: props.restartUnhealthy,
      graceSeconds: props.graceSeconds ?? 60,
      pullSecret: props.pullSecret,
      anyNode: props.anyNode ?? false,
    });
  }

  private check(namedVolumes: Readonly<Record<string, NamedVolume>>): CodedError[] {
    const {
      definition,
      config,
      files = {},
      strategy = 'COPY_ALWAYS',
      jobs = {},
      replicas = 1,
      stopped,
      kind,
      secretEnvironment = {},
    } = this.props;
    const at = this.name;
    const wrong = (key: string, value: unknown, rule: string): CodedError =>
      kollaErrors.KOLLA_VALUE({ at: `${at}.${key}`, value: JSON.stringify(value), rule });
    const references = [...Object.entries(files), ...Object.entries(secretEnvironment)].flatMap(([name, file]) =>
      typeof file === 'string' || isObjectName(file.secret) ? [] : [wrong(name, file.secret, 'must be the name of a Secret')],
    );
    const kinds = Object.keys(KOLLA_JOB_VARIABLE);
    const steps: string[] = [...(jobs.before ?? []), ...(jobs.after ?? [])];
    return [
      ...checkDefinition(definition, Object.keys(namedVolumes), at),
      ...checkConfigDirectory(config, files, at),
      ...references,
      ...(KOLLA_CONFIG_STRATEGIES.includes(strategy)
        ? []
        : [
            wrong(
              'strategy',
              strategy,
              `must be ${KOLLA_CONFIG_STRATEGIES.join(' or ')} (nearest: ${nearest(strategy, KOLLA_CONFIG_STRATEGIES) ?? 'none'})`,
            ),
          ]),
      ...(Number.isInteger(replicas) && replicas >= 0 ? [] : [wrong('replicas', replicas, 'must be a whole number')]),
      ...(stopped && kind === 'daemon-set'
        ? [wrong('stopped', true, "cannot be of a DaemonSet: take the group's label off its nodes")]
        : []),
      ...(new Set(steps).size === steps.length && steps.every((step) => kinds.includes(step))
        ? []
        : [wrong('jobs', steps, `must name each of ${kinds.join(', ')} at most once`)]),
    ];
  }

  private shared(): { readonly directories: readonly string[]; readonly problems: readonly CodedError[] } {
    const { definition, config, form = 'prepared' } = this.props;
    if (form === 'in-place') return { directories: [], problems: [] };
    const parsed = (Array.isArray(definition.volumes) ? definition.volumes : []).map((text) => parseVolume(String(text)));
    return sharedDirectories(
      config,
      parsed.flatMap((volume) => (volume && !volume.readOnly ? [volume.target] : [])),
      this.name,
    );
  }

  private make(pod: KollaPodProps): void {
    const { jobs = {}, kind = 'deployment', stopped = false, replicas = 1 } = this.props;
    const { before = [], after = [] } = jobs;
    const pods = stopped ? 0 : replicas;
    new k8s.KubeConfigMap(this, 'config', {
      metadata: { name: pod.configMap, labels: this.labels() },
      data: configMapData(pod.config, pod.files),
    });

    const template = podTemplate(pod);
    const release = checksum([{ template: JSON.stringify(template), jobs: JSON.stringify(jobs) }]);
    const resource = kind === 'deployment' ? 'deployments' : 'daemonsets';
    let awaited: Awaited | undefined;
    const job = (step: KollaJobKind): void => {
      const name = jobName(this.name, step, release);
      this.addJob(step, name, jobPod(template.spec, step, awaited, this.name), release);
      awaited = { kind: 'job', name };
    };
    for (const step of before) job(step);
    const spec = waiting(template.spec, awaited, this.name);
    const annotations = { ...template.annotations, ...(before.length + after.length > 0 && { [RELEASE_ANNOTATION]: release }) };
    if (kind === 'deployment') this.addDeployment(annotations, spec, pods);
    else this.addDaemonSet(annotations, spec);
    awaited = { kind: 'rollout', resource, name: this.name, release };
    for (const step of after) job(step);
    if (before.length + after.length > 0) this.addAccount(release, after.length > 0 ? resource : undefined);
  }

  private addDeployment(annotations: Record<string, string>, spec: k8s.PodSpec, replicas: number): void {
    // As kolla, which pulls before it stops: the new pod is up before the old one goes. On the host's network both would want
    // the same ports; there the old one has to go first.
    const { hostNetwork = false } = this.props;
    const [maxSurge, maxUnavailable] = (hostNetwork ? [0, 1] : [1, 0]).map((count) => k8s.IntOrString.fromNumber(count));
    const manifest = k8s.KubeDeployment.manifest({
      metadata: this.metadata(),
      spec: {
        replicas,
        strategy: { type: 'RollingUpdate', rollingUpdate: { ...(maxSurge && { maxSurge }), ...(maxUnavailable && { maxUnavailable }) } },
        selector: { matchLabels: this.labels('service') },
        template: this.template(annotations, spec),
      },
    });
    this.addWorkload('Resource', manifest);
  }

  private addDaemonSet(annotations: Record<string, string>, spec: k8s.PodSpec): void {
    const manifest = k8s.KubeDaemonSet.manifest({
      metadata: this.metadata(),
      spec: {
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromNumber(1) } },
        selector: { matchLabels: this.labels('service') },
        template: this.template(annotations, spec),
      },
    });
    this.addWorkload('Resource', manifest);
  }

  private addJob(step: KollaJobKind, name: string, spec: k8s.PodSpec, release: string): void {
    const labels = this.labels(step);
    const manifest = k8s.KubeJob.manifest({
      metadata: { name, labels, annotations: { [RELEASE_ANNOTATION]: release, [annotation.contractVersion]: CONTRACT_VERSION } },
      // A failed run stays as a pod whose log can be read. No time to live: pods that start weeks later still ask for the Job.
      spec: { backoffLimit: 3, template: { metadata: { labels }, spec } },
    });
    this.addWorkload(step, manifest);
  }

  /** May `get` the release's Jobs and this one workload by name, through a token that only the waiting containers hold. */
  private addAccount(release: string, resource: 'deployments' | 'daemonsets' | undefined): void {
    const { before = [], after = [] } = this.props.jobs ?? {};
    const namespace = Chart.of(this).namespace ?? 'default';
    const metadata = { name: this.name, labels: this.labels() };
    new k8s.KubeServiceAccount(this, 'account', { metadata, automountServiceAccountToken: false });
    new k8s.KubeRole(this, 'role', {
      metadata,
      rules: [
        {
          apiGroups: ['batch'],
          resources: ['jobs'],
          resourceNames: [...before, ...after].map((step) => jobName(this.name, step, release)),
          verbs: ['get'],
        },
        ...(resource ? [{ apiGroups: ['apps'], resources: [resource], resourceNames: [this.name], verbs: ['get'] }] : []),
      ],
    });
    new k8s.KubeRoleBinding(this, 'role-binding', {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: this.name },
      subjects: [{ kind: 'ServiceAccount', name: this.name, namespace }],
    });
  }

  /** As an object by hand: the L1 objects are of Kubernetes 1.28, and drop the image volumes that it did not have. */
  private addWorkload(id: string, manifest: WorkloadManifest): void {
    const { launch, form = 'prepared' } = this.props;
    if (launch?.by === 'image' && form === 'prepared') {
      const volume = manifest.spec.template.spec.volumes.find(({ name }) => name === LAUNCH_VOLUME);
      if (volume) volume.image = { reference: launch.image, pullPolicy: 'IfNotPresent' };
    }
    new ApiObject(this, id, manifest);
  }

  private metadata(): k8s.ObjectMeta {
    return { name: this.name, labels: this.labels('service'), annotations: { [annotation.contractVersion]: CONTRACT_VERSION } };
  }

  private template(annotations: Record<string, string>, spec: k8s.PodSpec): k8s.PodTemplateSpec {
    const { labels = {} } = this.props.definition;
    return { metadata: { labels: { ...labels, ...this.labels('service') }, annotations }, spec };
  }

  private labels(component?: string): Record<string, string> {
    return { 'app.kubernetes.io/name': this.name, ...(component !== undefined && { 'app.kubernetes.io/component': component }) };
  }
}
