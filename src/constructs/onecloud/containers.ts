/** The containers of a component's pod, and those that run before them. */
import { configFacts, type ResolvedCompanion, renderProgram, rendersSecrets } from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';
import type { PodTemplateOptions } from './pod-template.ts';
import { resourcesOf } from './resources.ts';
import type { ComponentVolumes } from './volumes.ts';

/** The services bring their tables to the program's version and end; the pod starts only after that. */
const DATABASE_ARGUMENTS = ['--auto-sync-table', '--exit-after-db-init'];

export function componentContainers(
  options: PodTemplateOptions,
  volumes: ComponentVolumes,
): { readonly containers: k8s.Container[]; readonly initContainers: k8s.Container[] } {
  const { component, context } = options;
  const main = mainContainer(options, volumes);
  const renderImage = context.heldImages?.[component.row.name]?.[renderProgram.container] ?? context.renderImage;
  return {
    containers: [main, ...component.companions.map((companion) => companionContainer(options, volumes, companion))],
    initContainers: [
      ...(rendersSecrets(component.row) ? [renderContainer(renderImage, volumes)] : []),
      ...(component.row.initializesDatabase ? [databaseContainer(main)] : []),
    ],
  };
}

function mainContainer(options: PodTemplateOptions, volumes: ComponentVolumes): k8s.Container {
  const { cluster, component, context } = options;
  const { row, ports } = component;
  const facts = configFacts(cluster, context, component);
  const env = (row.env ?? []).map(({ name, value }) => ({ name, value: typeof value === 'string' ? value : value(facts.hostOf) }));
  return {
    name: row.name,
    ...imageFields(options, row.name, component),
    ...(row.command && { command: [...row.command] }),
    ...(env.length > 0 && { env }),
    ...(ports.length > 0 && {
      ports: ports.map(({ name, port, protocol = 'TCP' }) => ({ name, containerPort: port, protocol })),
    }),
    resources: resourcesOf(component),
    ...probes(options),
    securityContext: securityContext(options),
    volumeMounts: mainMounts(volumes),
  };
}

function mainMounts(volumes: ComponentVolumes): k8s.VolumeMount[] {
  return [...volumes.folders.values(), ...volumes.config(), ...volumes.certificates, ...volumes.scratch, ...volumes.storage];
}

function companionContainer(options: PodTemplateOptions, volumes: ComponentVolumes, companion: ResolvedCompanion): k8s.Container {
  const { name, command, sharesConfig, folders = [] } = companion.row;
  const own = folders.flatMap((folder) => volumes.folders.get(folder) ?? []);
  return {
    name,
    ...imageFields(options, name, companion),
    command: [...command],
    resources: resourcesOf(companion),
    securityContext: securityContext(options),
    volumeMounts: sharesConfig ? mainMounts(volumes) : [...own, ...volumes.config(name), ...volumes.scratch],
  };
}

/** Brings the database up with the same program, configuration and rights as the service itself. */
function databaseContainer({
  image,
  imagePullPolicy,
  command = [],
  resources,
  securityContext,
  volumeMounts,
}: k8s.Container): k8s.Container {
  return { name: 'init', image, imagePullPolicy, command: [...command, ...DATABASE_ARGUMENTS], resources, securityContext, volumeMounts };
}

/** The one container that sees passwords as such; it needs no right at all. */
function renderContainer(image: string, volumes: ComponentVolumes): k8s.Container {
  const { variables, command, container, user, group, ...folders } = renderProgram;
  return {
    name: container,
    image,
    imagePullPolicy: 'IfNotPresent',
    command: [...command],
    env: (['templates', 'secrets', 'output'] as const).map((folder) => ({ name: variables[folder], value: folders[folder] })),
    resources: resourcesOf({ requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '128Mi' } }),
    securityContext: {
      runAsUser: user,
      runAsGroup: group,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: volumes.render,
  };
}

function imageFields(
  { component, context }: PodTemplateOptions,
  container: string,
  { image, imagePullPolicy }: { readonly image: string; readonly imagePullPolicy: string },
): Pick<k8s.Container, 'image' | 'imagePullPolicy'> {
  return { image: context.heldImages?.[component.row.name]?.[container] ?? image, imagePullPolicy };
}

/**
 * The images are OneCloud's: their programs run as root and write into their own root file system, so that much stays.
 * Everything else is dropped, except where the catalog's row gives a reason.
 */
function securityContext({ component: { row } }: PodTemplateOptions): k8s.SecurityContext {
  if (row.host?.privileged !== undefined) return { privileged: true }; // reason: the row's
  return {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'], ...(row.capabilities && { add: [...row.capabilities] }) },
  };
}

/** A connection tells whether the service listens; its pages would want a token. */
function probes({
  component: { row, ports },
}: PodTemplateOptions): Pick<k8s.Container, 'startupProbe' | 'readinessProbe' | 'livenessProbe'> {
  const port = ports.find(({ protocol = 'TCP' }) => protocol === 'TCP');
  if (port === undefined || row.kind === 'CronJob') return {};
  const connect = { tcpSocket: { port: k8s.IntOrString.fromString(port.name) }, timeoutSeconds: 3 };
  const readinessProbe = { ...connect, periodSeconds: 5, failureThreshold: 3 };
  // where a restart disturbs what runs on the node, nothing restarts by itself
  if (row.host?.update?.type === 'OnDelete') return { readinessProbe };
  return {
    startupProbe: { ...connect, periodSeconds: 5, failureThreshold: 60 },
    readinessProbe,
    livenessProbe: { ...connect, periodSeconds: 20, failureThreshold: 6 },
  };
}
