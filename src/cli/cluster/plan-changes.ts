/** What changes between two clusters, read from the manifests of both. Pure: the operator's own model says what it would apply. */
import { clusterManifests, type ManifestObject, type ClusterContext as ModelContext } from 'cdk8s-baremetal/onecloud/index';
import { asList, asObject, asText, type Fields } from 'cdk8s-baremetal-contract/loose';
import { type ClusterSpec, type Component, dumpInWords, migratesDatabase } from 'cdk8s-baremetal-contract/onecloud/index';

/** How a change reaches the pods. */
export type Rollout =
  | 'none' // the pods stay
  | 'start' // there are none yet
  | 'stop' // they go; configuration and data stay
  | 'rolling' // one after the other, the service goes on
  | 'recreate' // the old ones stop before the new ones start
  | 'on-delete' // when somebody deletes them: a restart disturbs what the node carries
  | 'next-run'; // at the next time of its schedule

export interface PlannedChange {
  readonly layer: number;
  /** E.g. glance. */
  readonly component: string;
  /** `image glance`, `replicas`, `config`, `volume size`, `node port api` … */
  readonly what: string;
  readonly from?: string;
  readonly to?: string;
}

export interface ComponentPlan {
  readonly layer: number;
  readonly component: string;
  readonly rollout: Rollout;
  readonly changes: readonly PlannedChange[];
  /** Its database is brought to the new program's version, which no rollback undoes. */
  readonly migrates: boolean;
}

export interface ClusterPlan {
  /** In the order in which they are applied; only what changes. */
  readonly components: readonly ComponentPlan[];
  /** What keeps the plan from being carried out, one sentence each. */
  readonly conflicts: readonly string[];
  /** Containers that keep their image although the version changes, and why. */
  readonly held: readonly string[];
  /** Whether the databases are dumped first; absent when nothing migrates them. */
  readonly databaseDump?: string;
}

export interface PlanInput {
  readonly name: string;
  readonly namespace: string;
  readonly instance?: string;
  /** Absent: nothing runs yet. */
  readonly live: ClusterSpec | undefined;
  /** What was asked for until now, where nothing of it runs. @default live */
  readonly asked?: ClusterSpec;
  readonly wanted: ClusterSpec;
  /** Images that run, where they differ from the live spec: by component and container. */
  readonly liveImages?: ModelContext['heldImages'];
  /** Node ports of others: port → who has it. */
  readonly takenPorts?: ReadonlyMap<number, string>;
}

/** @throws ClusterSpecError when one of the specs cannot be built */
export function planChanges(input: PlanInput): ClusterPlan {
  const { name, namespace, instance, live, wanted, liveImages, takenPorts = new Map() } = input;
  const asked = input.asked ?? live;
  const context = { name, namespace, ...(instance !== undefined && { instance }) };
  const before = new Map(
    live ? clusterManifests(live, { ...context, ...(liveImages && { heldImages: liveImages }) }).map((one) => [one.component, one]) : [],
  );
  const after = clusterManifests(wanted, context);
  const components = after.flatMap(({ layer, component, manifests, resolved }): ComponentPlan[] => {
    const changes = compare(before.get(component)?.manifests ?? [], manifests).map((change) => ({ layer, component, ...change }));
    if (changes.length === 0) return [];
    const rollout = rolloutOf(before.get(component)?.manifests ?? [], manifests, resolved.row);
    const migrates =
      migratesDatabase(resolved.row) && !resolved.disabled && changes.some(({ what, from }) => what.startsWith('image') && from);
    return [{ layer, component, rollout, changes, migrates }];
  });
  const conflicts = [
    ...components.flatMap(({ changes }) => changes.flatMap(impossible)),
    ...after.flatMap(({ component, manifests }) => taken(component, manifests, takenPorts)),
  ];
  const held = after.flatMap(({ component, resolved }) => heldBack(component, resolved.row.key, asked, wanted));
  const dump = components.some(({ migrates }) => migrates) && { databaseDump: dumpInWords(wanted.databaseBackup) };
  return { components, conflicts, held, ...dump };
}

type Difference = Omit<PlannedChange, 'layer' | 'component'>;

function compare(before: readonly ManifestObject[], after: readonly ManifestObject[]): Difference[] {
  const [old, now] = [workloadOf(before), workloadOf(after)];
  return [
    ...(old && !now ? [{ what: 'workload', from: kindOf(old), to: 'removed' }] : []),
    ...(now && !old ? [{ what: 'workload', to: kindOf(now) }] : []),
    ...(now ? imageChanges(old, now) : []),
    ...(old && now ? workloadChanges(old, now) : []),
    ...configChange(ofKind(before, 'ConfigMap'), ofKind(after, 'ConfigMap')),
    ...claimChanges(ofKind(before, 'PersistentVolumeClaim'), ofKind(after, 'PersistentVolumeClaim')),
    ...portChanges(ofKind(before, 'Service'), ofKind(after, 'Service')),
    ...presence('Ingress', before, after),
    ...presence('PodDisruptionBudget', before, after),
  ];
}

function imageChanges(old: ManifestObject | undefined, now: ManifestObject): Difference[] {
  const was = imagesOf(old);
  return [...imagesOf(now)].flatMap(([container, to]) => {
    const from = was.get(container);
    return from === to ? [] : [{ what: `image ${container}`, ...(from !== undefined && { from }), to }];
  });
}

function workloadChanges(old: ManifestObject, now: ManifestObject): Difference[] {
  const [a, b] = [asObject(old.spec), asObject(now.spec)];
  const scalar = (what: string, from: unknown, to: unknown): Difference[] =>
    JSON.stringify(from) === JSON.stringify(to) ? [] : [{ what, from: shown(from), to: shown(to) }];
  const templates = [templateOf(old), templateOf(now)].map(withoutWhatIsToldElsewhere);
  return [
    ...scalar('replicas', a.replicas, b.replicas),
    ...scalar('schedule', a.schedule, b.schedule),
    ...scalar('suspended', a.suspend, b.suspend),
    ...scalar('update strategy', a.strategy ?? a.updateStrategy, b.strategy ?? b.updateStrategy),
    ...scalar('rollout deadline (s)', a.progressDeadlineSeconds, b.progressDeadlineSeconds),
    ...(JSON.stringify(templates[0]) === JSON.stringify(templates[1])
      ? []
      : [{ what: 'pods', to: partsThatDiffer(asObject(templates[0]), asObject(templates[1])).join(', ') }]),
  ];
}

function configChange(old: ManifestObject | undefined, now: ManifestObject | undefined): Difference[] {
  if (old === undefined || now === undefined) return [];
  const [a, b] = [asObject(old.data), asObject(now.data)];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => a[key] !== b[key]);
  return keys.length === 0 ? [] : [{ what: 'config', to: keys.join(', ') }];
}

function claimChanges(old: ManifestObject | undefined, now: ManifestObject | undefined): Difference[] {
  if (now === undefined) return [];
  const [a, b] = [asObject(old?.spec), asObject(now.spec)];
  const size = (spec: Fields): string => shown(asObject(asObject(spec.resources).requests).storage);
  if (old === undefined) return [{ what: 'volume', to: size(b) }];
  return [
    ...(size(a) === size(b) ? [] : [{ what: 'volume size', from: size(a), to: size(b) }]),
    ...(a.storageClassName === b.storageClassName
      ? []
      : [{ what: 'volume storageClassName', from: shown(a.storageClassName), to: shown(b.storageClassName) }]),
    ...(shown(a.accessModes) === shown(b.accessModes)
      ? []
      : [{ what: 'volume accessModes', from: shown(a.accessModes), to: shown(b.accessModes) }]),
  ];
}

function portChanges(old: ManifestObject | undefined, now: ManifestObject | undefined): Difference[] {
  if (old === undefined && now === undefined) return [];
  const [a, b] = [nodePortsOf(old), nodePortsOf(now)];
  return [...new Set([...a.keys(), ...b.keys()])].flatMap((name) => {
    const [from, to] = [a.get(name), b.get(name)];
    if (from === to || old === undefined) return [];
    return [{ what: `node port ${name}`, ...(from !== undefined && { from: String(from) }), to: to === undefined ? 'closed' : String(to) }];
  });
}

function presence(kind: string, before: readonly ManifestObject[], after: readonly ManifestObject[]): Difference[] {
  const [was, is] = [ofKind(before, kind) !== undefined, ofKind(after, kind) !== undefined];
  return was === is ? [] : [{ what: kind, to: is ? 'created' : 'removed' }];
}

function rolloutOf(before: readonly ManifestObject[], after: readonly ManifestObject[], row: Component): Rollout {
  const [old, now] = [workloadOf(before), workloadOf(after)];
  if (now === undefined) return old === undefined ? 'none' : 'stop';
  if (old === undefined) return 'start';
  if (JSON.stringify(templateOf(old)) === JSON.stringify(templateOf(now))) return 'none';
  if (row.kind === 'CronJob') return 'next-run';
  const spec = asObject(now.spec);
  switch (asText(asObject(spec.strategy ?? spec.updateStrategy).type)) {
    case 'Recreate':
      return 'recreate';
    case 'OnDelete':
      return 'on-delete';
    default:
      return 'rolling';
  }
}

/** A claim's class and modes are what they were when it was made, and no volume shrinks. */
function impossible({ component, what, from, to }: PlannedChange): string[] {
  if (what === 'volume storageClassName' || what === 'volume accessModes')
    return [`${component}: a claim keeps its ${what.slice(7)} (${from}); copy the data into a new claim for ${to}`];
  const [was, is] = [bytesOf(from ?? ''), bytesOf(to ?? '')];
  return what === 'volume size' && was !== undefined && is !== undefined && is < was
    ? [`${component}: a volume does not shrink from ${from} to ${to}`]
    : [];
}

function taken(component: string, manifests: readonly ManifestObject[], ports: ReadonlyMap<number, string>): string[] {
  return [...nodePortsOf(ofKind(manifests, 'Service')).values()].flatMap((port) => {
    const owner = ports.get(port);
    return owner === undefined ? [] : [`${component}: node port ${port} belongs to the Service ${owner}`];
  });
}

function heldBack(component: string, key: string, live: ClusterSpec | undefined, wanted: ClusterSpec): string[] {
  if (live === undefined || live.version === wanted.version) return [];
  const { image, tag } = asObject((wanted as unknown as Fields)[key]);
  const by = image !== undefined ? 'image' : tag !== undefined ? 'tag' : undefined;
  return by === undefined ? [] : [`${component} stays at ${String(image ?? tag)} (spec.${key}.${by})`];
}

function ofKind(manifests: readonly ManifestObject[], kind: string): ManifestObject | undefined {
  return manifests.find((manifest) => manifest.kind === kind);
}

function workloadOf(manifests: readonly ManifestObject[]): ManifestObject | undefined {
  return manifests.find(({ kind }) => kind === 'Deployment' || kind === 'DaemonSet' || kind === 'CronJob');
}

function kindOf({ kind }: ManifestObject): string {
  return kind;
}

function templateOf({ spec }: ManifestObject): Fields {
  const { jobTemplate, template } = asObject(spec);
  return asObject(jobTemplate === undefined ? template : asObject(asObject(jobTemplate).spec).template);
}

/** Container → image, without the init containers, which follow the main one or belong to the operator. */
export function imagesOf(workload: Fields | undefined): Map<string, string> {
  if (workload === undefined) return new Map();
  const { containers } = asObject(templateOf(workload as ManifestObject).spec);
  return new Map(
    asList(containers).map((container) => {
      const { name, image } = asObject(container);
      return [String(name), String(image)];
    }),
  );
}

/** Images and the configuration's checksum have lines of their own. */
function withoutWhatIsToldElsewhere(template: Fields): Fields {
  const { containers, initContainers, ...spec } = asObject(template.spec);
  const strip = (list: unknown): unknown[] => asList(list).map((container) => ({ ...asObject(container), image: undefined }));
  const { annotations, ...metadata } = asObject(template.metadata);
  const others = Object.entries(asObject(annotations)).filter(([name]) => !name.endsWith('-checksum'));
  return { ...spec, containers: strip(containers), initContainers: strip(initContainers), labels: metadata.labels, annotations: others };
}

function partsThatDiffer(a: Fields, b: Fields): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]));
}

function nodePortsOf(service: ManifestObject | undefined): Map<string, number> {
  return new Map(
    asList(asObject(service?.spec).ports).flatMap((port) => {
      const { name, nodePort } = asObject(port);
      return typeof nodePort === 'number' ? [[String(name), nodePort] as const] : [];
    }),
  );
}

function shown(value: unknown): string {
  if (value === undefined) return '-';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const FACTOR: Readonly<Record<string, number>> = {
  ...Object.fromEntries(['k', 'M', 'G', 'T', 'P', 'E'].map((unit, index) => [unit, 1000 ** (index + 1)])),
  ...Object.fromEntries(['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'].map((unit, index) => [unit, 1024 ** (index + 1)])),
};

/** Bytes of a quantity such as 100G; undefined for forms that claims do not use. */
function bytesOf(quantity: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(quantity);
  const factor = match?.[2] === '' ? 1 : FACTOR[match?.[2] ?? ''];
  return match && factor !== undefined ? Number(match[1]) * factor : undefined;
}
