import { createHash } from 'node:crypto';
import { type CodedError, DNS_LABEL, DNS_SUBDOMAIN, type ImageSpec } from 'cdk8s-baremetal-contract';
import {
  CONTRACT_LAUNCH_IMAGE,
  FULL_REVISION,
  nearestRunEnvironment,
  RUN_ENVIRONMENT_NAMES,
  SERVICE_FILE_NAME,
} from 'cdk8s-baremetal-contract/launch/index';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { imageReference, pullPolicy } from '../image.ts';
import { environmentErrors } from './errors.ts';
import { DEFAULT_REDIS, filebeatConfig, type RedisList } from './filebeat.ts';
import { configMapProps, deploymentProps, type EnvironmentManifestOptions } from './manifests.ts';
import { parseImage, parseValues } from './values.ts';

export interface EnvironmentServiceProps {
  /** The Deployment is posp-RELEASE. */
  readonly release: string;
  /** Name of the service's container. */
  readonly containerName: string;
  /** The one image of all services and environments: dependencies only. */
  readonly image: ImageSpec;
  /** The program in its repository. */
  readonly proc: string;
  /** Where its sources come from. */
  readonly git: GitSource;
  /** One of product, pre, test, dev. */
  readonly runenv: string;
  /** What sends the logs away. */
  readonly filebeat: FilebeatProps;
  /** Keep logs on NFS, in a directory per release. @default - they live as long as the pod */
  readonly nfs?: { readonly server: string; readonly path: string };
  /** The image of images/launch. @default - bms-launch, at this contract's version */
  readonly launchImage?: ImageSpec;
  /** Numeric account of the service; it must be able to write /data/bin and /data/etc. @default - the image's */
  readonly runAsUser?: number;
  /** @default 1 */
  readonly replicas?: number;
  /** @default - 100m of a CPU and 128Mi asked for */
  readonly resources?: { readonly cpu?: string; readonly memory?: string; readonly memoryLimit?: string };
  /** @default - none */
  readonly pullSecret?: string;
  /** Between the signal to stop and the kill. @default 30 */
  readonly graceSeconds?: number;
}

export interface GitSource {
  /** https:// or ssh:// URL without credentials; http:// for what everybody may read: the revision says what it must be. */
  readonly project: string;
  /** Full commit id. */
  readonly revision: string;
  /** The checkout is at /tmp/DIRECTORY. */
  readonly directory: string;
  /** Secret with username and password (https), or ssh-privatekey and known_hosts (ssh). @default - none */
  readonly credentialsSecret?: string;
}

export interface FilebeatProps {
  readonly image: ImageSpec;
  readonly tags: readonly string[];
  /** @default - the list logstash:redis at 10.0.116.62:6379 */
  readonly redis?: RedisList;
}

export interface FromValuesOptions
  extends Pick<EnvironmentServiceProps, 'runAsUser' | 'replicas' | 'resources' | 'pullSecret' | 'graceSeconds'> {
  readonly release: string;
  /** For messages. @default values.yaml */
  readonly file?: string;
  /** Put the logs on the NFS that the values name (the original declares it and does not use it). @default false */
  readonly logsOnNfs?: boolean;
}

/** A program out of a git repository, run by an image that holds its dependencies only, in one of the environments. */
export class EnvironmentService extends Construct {
  /**
   * As the values.yaml of a helm chart describes it.
   * @throws ValuesError with every problem, its line and column
   */
  static fromValues(scope: Construct, id: string, yamlText: string, options: FromValuesOptions): EnvironmentService {
    const { release, file = 'values.yaml', logsOnNfs = false, ...rest } = options;
    const { nfs, ...values } = parseValues(yamlText, file);
    return new EnvironmentService(scope, id, { ...rest, ...values, release, ...(logsOnNfs && nfs && { nfs }) });
  }

  constructor(scope: Construct, id: string, props: EnvironmentServiceProps) {
    super(scope, id);
    const problems = checkEnvironmentService(props);
    this.node.addValidation({ validate: () => problems.map(String) });
    // nothing is made of what is wrong: synthesis ends with the problems
    if (problems.length > 0) return;
    const options = manifestOptions(props);
    new k8s.KubeConfigMap(this, 'filebeat-config', configMapProps(options));
    new k8s.KubeDeployment(this, 'Resource', deploymentProps(options));
  }
}

/** Everything that is wrong with the props. */
export function checkEnvironmentService(props: EnvironmentServiceProps): CodedError[] {
  const { release, containerName, proc, git, runenv, filebeat, replicas = 1, runAsUser, nfs } = props;
  const at = release;
  const redis = filebeat.redis ?? DEFAULT_REDIS;
  const problems: CodedError[] = [];
  const need = (key: string, value: unknown, good: boolean, rule: string): void => {
    if (!good) problems.push(environmentErrors.ENVIRONMENT_VALUE({ at: `${at}.${key}`, value: JSON.stringify(value) ?? 'absent', rule }));
  };
  if (!RUN_ENVIRONMENT_NAMES.includes(runenv))
    problems.push(
      environmentErrors.ENVIRONMENT_RUNENV({
        at: `${at}.runenv`,
        value: runenv,
        known: RUN_ENVIRONMENT_NAMES,
        nearest: nearestRunEnvironment(runenv),
      }),
    );
  need('release', release, DNS_LABEL.test(release) && release.length <= 53, 'must be lower-case letters, digits and "-", at most 53');
  need('containerName', containerName, DNS_LABEL.test(containerName), 'must be lower-case letters, digits and "-", at most 63');
  for (const [key, image] of [
    ['image', props.image],
    ['filebeat.image', filebeat.image],
    ['launchImage', props.launchImage ?? CONTRACT_LAUNCH_IMAGE],
  ] as const)
    need(key, image, isImage(image), 'must be a registry path with either a tag or a digest (sha256: and 64 digits)');
  const fileRule = 'must be a plain file name: letters, digits, ".", "_" and "-", starting with a letter or digit';
  need('proc', proc, SERVICE_FILE_NAME.test(proc), fileRule);
  need('git.directory', git.directory, SERVICE_FILE_NAME.test(git.directory), fileRule);
  need('replicas', replicas, Number.isInteger(replicas) && replicas >= 0, 'must be a whole number');
  if (runAsUser !== undefined)
    need('runAsUser', runAsUser, Number.isInteger(runAsUser) && runAsUser > 0, 'must be the number of an account that is not root');
  for (const [index, tag] of filebeat.tags.entries()) need(`filebeat.tags[${index}]`, tag, /^[\w.:-]+$/.test(tag), 'must be one word');
  need('filebeat.tags', filebeat.tags, filebeat.tags.length > 0, 'must name a tag: logstash routes by it');
  need('filebeat.redis.hosts', redis.hosts, redis.hosts.length > 0, 'must name a host');
  for (const [index, host] of redis.hosts.entries()) {
    const place = `filebeat.redis.hosts[${index}]`;
    if (/:\/\/[^/]*@/.test(host)) problems.push(environmentErrors.ENVIRONMENT_SECRET_AS_VALUE({ at: `${at}.${place}` }));
    else need(place, host, /^(?:rediss?:\/\/)?(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}$/.test(host), 'must be HOST:PORT');
  }
  need('filebeat.redis.key', redis.key, redis.key !== '' && !redis.key.includes('\n'), 'must be the name of a list');
  for (const [key, name] of [
    ['git.credentialsSecret', git.credentialsSecret],
    ['filebeat.redis.passwordSecret', redis.passwordSecret],
    ['pullSecret', props.pullSecret],
  ] as const)
    if (name !== undefined) need(key, name, DNS_SUBDOMAIN.test(name), 'must be the name of a Secret');
  if (nfs) need('nfs.path', nfs.path, nfs.path.startsWith('/'), 'must be an absolute path');
  return [...problems, ...checkGit(git, at)];
}

function checkGit({ project, revision, credentialsSecret }: GitSource, at: string): CodedError[] {
  const problems: CodedError[] = [];
  if (!FULL_REVISION.test(revision)) problems.push(environmentErrors.ENVIRONMENT_REVISION({ at: `${at}.git.revision`, value: revision }));
  const refuse = (reason: string): void => {
    problems.push(environmentErrors.ENVIRONMENT_PROJECT({ at: `${at}.git.project`, reason }));
  };
  const protocol = protocolOf(project);
  if (!URL.canParse(project)) refuse('it is not a URL with a scheme');
  else {
    const { username, password, search, hash } = new URL(project);
    if (!['https', 'ssh', 'http'].includes(protocol)) refuse(`${protocol} is not among https, ssh and http`);
    if (password !== '' || (username !== '' && protocol !== 'ssh')) refuse('it holds credentials');
    if (search !== '' || hash !== '') refuse('it holds a query or a fragment');
  }
  if (credentialsSecret !== undefined && protocol === 'http')
    problems.push(environmentErrors.ENVIRONMENT_CREDENTIALS_IN_CLEAR({ at: `${at}.git.credentialsSecret` }));
  return problems;
}

/** What the manifests are made of, every default filled in. */
export function manifestOptions(props: EnvironmentServiceProps): EnvironmentManifestOptions {
  const { release, proc, git, filebeat, nfs, resources = {} } = props;
  const redis = filebeat.redis ?? DEFAULT_REDIS;
  const config = filebeatConfig({
    id: JSON.stringify(`posp-${release}-${proc}`),
    tags: JSON.stringify(filebeat.tags),
    hosts: JSON.stringify(redis.hosts),
    key: JSON.stringify(redis.key),
    hasPassword: redis.passwordSecret !== undefined,
    fileIdentity: nfs ? 'path' : 'native',
  });
  const { cpu = '100m', memory = '128Mi', memoryLimit } = resources;
  return {
    release,
    containerName: props.containerName,
    image: imageReference(props.image),
    imagePullPolicy: pullPolicy(props.image),
    proc,
    gitDirectory: git.directory,
    runenv: props.runenv,
    project: git.project,
    revision: git.revision,
    protocol: protocolOf(git.project),
    gitSecret: git.credentialsSecret,
    launchImage: imageReference(props.launchImage ?? CONTRACT_LAUNCH_IMAGE),
    filebeatImage: imageReference(filebeat.image),
    filebeatPullPolicy: pullPolicy(filebeat.image),
    filebeatConfig: config,
    filebeatChecksum: createHash('sha256').update(config).digest('hex'),
    redisPasswordSecret: redis.passwordSecret,
    nfs,
    runAsUser: props.runAsUser,
    replicas: props.replicas ?? 1,
    resources: {
      requests: { cpu: k8s.Quantity.fromString(cpu), memory: k8s.Quantity.fromString(memory) },
      ...(memoryLimit !== undefined && { limits: { memory: k8s.Quantity.fromString(memoryLimit) } }),
    },
    pullSecret: props.pullSecret,
    graceSeconds: props.graceSeconds ?? 30,
  };
}

function isImage(image: ImageSpec): boolean {
  return (image.tag === undefined) !== (image.digest === undefined) && parseImage(imageReference(image)) !== undefined;
}

function protocolOf(project: string): string {
  return project.split('://')[0] ?? '';
}
