/** The pod of a kolla service, and of its jobs: volumes, init containers, the service. */
import { API_GROUP, annotation, DNS_SUBDOMAIN } from 'cdk8s-baremetal-contract';
import {
  type KollaConfig,
  type KollaConfigStrategy,
  kollaPath,
  kollaVariable,
  LAUNCH_DIRECTORY,
  launchProgram,
} from 'cdk8s-baremetal-contract/launch/index';
import { k8s } from 'cdk8s-plus-28';
import { checksum } from '../checksum.ts';
import { configMapData, configVolume, type KollaFiles, type SecretReference } from './config-directory.ts';
import { type KollaDefinition, serviceName } from './definition.ts';
import { resourcesOf } from './dimensions.ts';
import { probesOf } from './healthcheck.ts';
import { SET } from './jobs.ts';
import { literal } from './literal.ts';
import { groupLabel } from './placement.ts';
import { FILL_VOLUMES } from './scripts.ts';
import { parseTmpfs } from './tmpfs.ts';
import { parseVolume, volumeName } from './volume-string.ts';

/** Where a named volume lies. */
export type NamedVolume = { readonly hostPath: string } | { readonly claim: string };

export interface KollaPodProps {
  readonly definition: KollaDefinition;
  readonly config: KollaConfig;
  readonly files: KollaFiles;
  readonly configMap: string;
  readonly strategy: KollaConfigStrategy;
  readonly form: 'prepared' | 'in-place';
  readonly sharedDirectories: readonly string[];
  readonly namedVolumes: Readonly<Record<string, NamedVolume>>;
  readonly secretEnvironment: Readonly<Record<string, SecretReference>>;
  readonly launch: KollaLaunch | undefined;
  readonly runAs: { readonly user: number; readonly group: number } | undefined;
  readonly timeZone: string;
  readonly hostNetwork: boolean;
  readonly restartUnhealthy: boolean | undefined;
  readonly graceSeconds: number;
  readonly pullSecret: string | undefined;
  readonly anyNode: boolean;
}

/** Our programs for images that do not carry them. */
export interface KollaLaunch {
  /** The image of images/launch, with a tag or a digest. */
  readonly image: string;
  /**
   * `image`: mounted as it is (Kubernetes 1.35 and later, or its feature gate ImageVolume); `copy`: an init container copies it,
   * 127 MB, into each pod.
   */
  readonly by: 'image' | 'copy';
}

export const CONFIG_VOLUME = 'config-files';
export const LAUNCH_VOLUME = 'launch';
/** SHA-256 of everything that a release of a service consists of. */
export const RELEASE_ANNOTATION = `${API_GROUP}/release`;

/** What root needs to give files their owner and mode, and nothing else of root. CHOWN drops set-id bits without FSETID. */
const PREPARING_ROOT: k8s.SecurityContext = {
  runAsUser: 0,
  runAsGroup: 0,
  runAsNonRoot: false,
  privileged: false,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'], add: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

interface Volumes {
  readonly volumes: k8s.Volume[];
  readonly mounts: k8s.VolumeMount[];
  /** Volumes that start empty where the image may have files: own ones, and named ones. */
  readonly filled: { readonly kind: 'own' | 'named'; readonly path: string; readonly volume: string }[];
}

/** The template of the service's pods, without labels of its own. */
export function podTemplate(props: KollaPodProps): { readonly annotations: Record<string, string>; readonly spec: k8s.PodSpec } {
  const { definition, config, files, strategy } = props;
  const annotations: Record<string, string> =
    strategy === 'COPY_ALWAYS' ? { [annotation.configChecksum]: checksum([configMapData(config, files)]) } : {};
  const parts = volumesOf(props);
  const launches = props.form === 'prepared' && props.launch !== undefined;
  return {
    annotations,
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false, // NOVA_API_PORT and its like are variables that services read
      ...(props.hostNetwork && { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }),
      ...(definition.ipc_mode === 'host' && { hostIpc: true }),
      ...(definition.pid_mode === 'host' && { hostPid: true }),
      ...(!props.anyNode && { nodeSelector: { ...groupLabel(definition.group) } }),
      ...(props.pullSecret !== undefined && { imagePullSecrets: [{ name: props.pullSecret }] }),
      terminationGracePeriodSeconds: props.graceSeconds,
      ...(props.form === 'prepared' && { initContainers: preparation(props, parts) }),
      containers: [service(props, parts)],
      volumes: [...(launches ? [{ name: LAUNCH_VOLUME, ...(props.launch?.by === 'copy' && { emptyDir: {} }) }] : []), ...parts.volumes],
    },
  };
}

function service(props: KollaPodProps, { mounts }: Volumes): k8s.Container {
  const { definition, form, launch } = props;
  const { command } = definition;
  const words = command === undefined ? undefined : typeof command === 'string' ? ['/bin/sh', '-c', `exec ${command}`] : [...command];
  const start = form === 'prepared' && launch ? [`${LAUNCH_DIRECTORY}/${launchProgram.start}`] : undefined;
  const resources = resourcesOf({ ...definition.dimensions });
  return {
    name: serviceName(definition),
    image: definition.image,
    imagePullPolicy: 'IfNotPresent', // kolla pulls what is absent; checkDefinition refuses names that can move, but for tags
    ...((words ?? start) && { command: words?.map(literal) ?? start }),
    env: environment(props, form === 'prepared' ? { [kollaVariable.prepared]: SET } : {}),
    ...(resources && { resources }),
    ...probesOf(definition.healthcheck, props.restartUnhealthy),
    securityContext: securityContext(props),
    volumeMounts: [
      ...launchMounts(props),
      { name: CONFIG_VOLUME, mountPath: kollaPath.configFiles, readOnly: true },
      ...(form === 'prepared' ? [{ name: 'run', mountPath: kollaPath.runDirectory, readOnly: true }] : []),
      ...mounts,
    ],
  };
}

/** Launch programs where the image has none, the image's files into new volumes, configuration into its places. */
function preparation(props: KollaPodProps, { mounts, filled }: Volumes): k8s.Container[] {
  const { definition, launch } = props;
  const common = { image: definition.image, imagePullPolicy: 'IfNotPresent', securityContext: PREPARING_ROOT };
  const run = { name: 'run', mountPath: kollaPath.runDirectory };
  const at = (volume: string): string => `/volumes/${volume}`;
  return [
    ...(launch?.by === 'copy'
      ? [
          {
            name: 'launch',
            image: launch.image,
            imagePullPolicy: 'IfNotPresent',
            command: ['cp', '-R', `${LAUNCH_DIRECTORY}/.`, '/launch'],
            securityContext: PREPARING_ROOT,
            volumeMounts: [{ name: LAUNCH_VOLUME, mountPath: '/launch' }],
          },
        ]
      : []),
    ...(filled.length > 0
      ? [
          {
            name: 'fill-volumes',
            ...common,
            command: ['/bin/sh', '-euc', FILL_VOLUMES, 'fill-volumes', `${kollaPath.runDirectory}/filled`].concat(
              filled.flatMap(({ kind, path, volume }) => [kind, path, at(volume)]),
            ),
            volumeMounts: [run, ...filled.map(({ volume }) => ({ name: volume, mountPath: at(volume) }))],
          },
        ]
      : []),
    {
      name: 'configure',
      ...common,
      command: [launch ? `${LAUNCH_DIRECTORY}/${launchProgram.setConfigs}` : launchProgram.setConfigs],
      env: environment(props, {}),
      volumeMounts: [
        ...launchMounts(props),
        { name: CONFIG_VOLUME, mountPath: kollaPath.configFiles, readOnly: true },
        run,
        { name: 'defaults', mountPath: kollaPath.defaults },
        ...mounts,
      ],
    },
  ];
}

function launchMounts({ form, launch }: KollaPodProps): k8s.VolumeMount[] {
  return form === 'prepared' && launch ? [{ name: LAUNCH_VOLUME, mountPath: LAUNCH_DIRECTORY, readOnly: true }] : [];
}

/** An item's own variables win over the common ones. */
function environment(props: KollaPodProps, more: Readonly<Record<string, string>>): k8s.EnvVar[] {
  const { definition, secretEnvironment } = props;
  const values = {
    [kollaVariable.strategy]: props.strategy,
    [kollaVariable.serviceName]: serviceName(definition),
    [kollaVariable.timeZone]: props.timeZone,
    ...(props.form === 'prepared' && { [kollaVariable.runDirectory]: kollaPath.runDirectory }),
    ...definition.environment,
    ...more,
  };
  return [
    ...Object.entries(values).map(([name, value]) => ({ name, value: literal(String(value)) })),
    ...Object.entries(secretEnvironment).map(([name, { secret, key }]) => ({
      name,
      valueFrom: { secretKeyRef: { name: secret, key } },
    })),
  ];
}

function securityContext({ definition, form, runAs }: KollaPodProps): k8s.SecurityContext {
  const options = (definition.security_opt ?? []).map((option) => option.replace(':', '='));
  const user = runAs && { runAsUser: runAs.user, runAsGroup: runAs.group, runAsNonRoot: runAs.user !== 0 };
  const added = (definition.cap_add ?? []).map((name) => name.replace(/^CAP_/, ''));
  const selinux = options.includes('label=disable') && { seLinuxOptions: { type: 'spc_t' } };
  // only where the definition says so: it needs the host's kernel (modules, devices, mounts)
  if (definition.privileged === true) return { ...user, ...selinux, privileged: true };
  const seccompProfile = { type: options.includes('seccomp=unconfined') ? 'Unconfined' : 'RuntimeDefault' };
  // in place, kolla_start goes through sudo: its set-uid bit, and what sudo and kolla_set_configs do as root
  const sudo = form === 'in-place' ? ['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETGID', 'SETUID'] : [];
  const capabilities = [...new Set([...sudo, ...added])];
  const escalates = form === 'in-place' && !options.some((option) => option.startsWith('no-new-privileges'));
  return {
    ...user,
    ...selinux,
    allowPrivilegeEscalation: escalates,
    capabilities: { drop: ['ALL'], ...(capabilities.length > 0 && { add: capabilities }) },
    seccompProfile,
  };
}

function volumesOf(props: KollaPodProps): Volumes {
  const { definition, files, configMap, form, namedVolumes, sharedDirectories } = props;
  const parts: Volumes = { volumes: [configVolume(CONFIG_VOLUME, configMap, files)], mounts: [], filled: [] };
  const taken = new Set([CONFIG_VOLUME, LAUNCH_VOLUME, 'run', 'defaults']);
  const add = (
    name: string,
    path: string,
    source: Omit<k8s.Volume, 'name'>,
    mount: Omit<k8s.VolumeMount, 'name' | 'mountPath'> = {},
  ): string => {
    let free = volumeName(name);
    for (let n = 2; taken.has(free); n++) free = `${volumeName(name).slice(0, 60)}-${n}`;
    taken.add(free);
    parts.volumes.push({ name: free, ...source });
    parts.mounts.push({ name: free, mountPath: path, ...mount });
    return free;
  };
  if (form === 'prepared') parts.volumes.push({ name: 'run', emptyDir: {} }, { name: 'defaults', emptyDir: {} });
  for (const text of definition.volumes ?? []) {
    const volume = text === '' ? undefined : parseVolume(text);
    if (!volume || volume.target === kollaPath.configFiles) continue; // the config directory: here it is a projected volume
    const { kind, source, target, readOnly, propagation } = volume;
    const mount = { ...(readOnly && { readOnly }), ...(propagation && { mountPropagation: propagation }) };
    if (kind === 'host') add(target, target, { hostPath: { path: source, ...HOST_TYPES[source] } }, mount);
    else if (kind === 'anonymous') {
      const name = add(target, target, { emptyDir: {} }, mount);
      parts.filled.push({ kind: 'own', path: target, volume: name });
    } else {
      const name = add(source, target, namedSource(namedVolumes[source]), mount);
      if (!readOnly) parts.filled.push({ kind: 'named', path: target, volume: name });
    }
  }
  for (const text of definition.tmpfs ?? []) {
    const tmpfs = text === '' ? undefined : parseTmpfs(text);
    if (!tmpfs) continue;
    const size = tmpfs.size === undefined ? {} : { sizeLimit: k8s.Quantity.fromString(tmpfs.size) };
    add(tmpfs.path, tmpfs.path, { emptyDir: { medium: 'Memory', ...size } });
  }
  for (const path of form === 'prepared' ? sharedDirectories : []) {
    const name = add(path, path, { emptyDir: {} });
    parts.filled.push({ kind: 'own', path, volume: name });
  }
  return parts;
}

/** A host without them is found out when the pod starts, not by a service without time zone or modules. */
const HOST_TYPES: Readonly<Record<string, Pick<k8s.HostPathVolumeSource, 'type'>>> = {
  '/etc/localtime': { type: 'File' },
  '/lib/modules': { type: 'Directory' },
};

function namedSource(volume: NamedVolume | undefined): Omit<k8s.Volume, 'name'> {
  if (volume === undefined) return { emptyDir: {} }; // refused before it comes to this
  if ('claim' in volume) return { persistentVolumeClaim: { claimName: volume.claim } };
  return { hostPath: { path: volume.hostPath, type: 'DirectoryOrCreate' } };
}

export function isObjectName(name: string): boolean {
  return name.length <= 253 && DNS_SUBDOMAIN.test(name);
}
