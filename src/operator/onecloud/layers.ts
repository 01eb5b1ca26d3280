/** Applies a cluster's components in order: a layer begins when those before it are ready. */
import type { ClusterContext, ComponentManifests } from 'cdk8s-baremetal/onecloud/index';
import { CodedError } from 'cdk8s-baremetal-contract';
import {
  type Component,
  migratesDatabase,
  onecloudLabel,
  programVersion,
  type ResolvedComponent,
} from 'cdk8s-baremetal-contract/onecloud/index';
import type { KubeApi } from '../engine/api.ts';
import { isApiError } from '../engine/api-error.ts';
import { applyObject } from '../engine/apply.ts';
import { operatorErrors } from '../engine/errors.ts';
import { mapAtMost } from '../engine/map-at-most.ts';
import { at, describeObject, type KubeObject, type LiveObject, listAt, textAt } from '../engine/objects.ts';
import { readinessOf } from '../engine/readiness.ts';
import type { TypeTable } from '../engine/resource-types.ts';
import { INSTANCE_LABEL } from './names.ts';
import type { ObjectView } from './object-view.ts';
import { type ImageChange, mainImage, workloadOf } from './rollout.ts';
import type { Strangers } from './strangers.ts';
import type { UnboundClaims } from './unbound-claims.ts';

/** Components of one layer that are applied side by side. */
const AT_ONCE = 8;

/** Objects of one component, beside those of others. */
const OBJECTS_AT_ONCE = 4;

export interface ComponentResult {
  readonly component: string;
  readonly kind?: string;
  readonly state: 'ready' | 'progressing' | 'failed' | 'waiting' | 'disabled';
  readonly image?: string;
  readonly ready?: number;
  readonly desired?: number;
  readonly message?: string;
  /** It serves, with an image that stays for now. */
  readonly held?: true;
  /** Version of the program that has begun to bring its tables up. */
  readonly tables?: string;
  /** What went wrong when applying it. */
  readonly error?: unknown;
}

export interface ApplyLayersOptions {
  readonly api: KubeApi;
  readonly types: TypeTable;
  readonly view: ObjectView;
  readonly cluster: LiveObject;
  readonly instance: string;
  readonly build: (held: ClusterContext['heldImages']) => readonly ComponentManifests[];
  /** Images that stay for now. */
  readonly held: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Completes "waits for …". */
  readonly heldFor?: string;
  readonly changes: readonly ImageChange[];
  /** What must be there before a component's objects; the component is left as it is when it throws. `open`: the layers before are ready. */
  readonly prepare?: (row: Component, open: boolean) => Promise<void>;
  /** What must be done once it runs, until when what comes after it waits; or once it is disabled. */
  readonly register?: (component: ResolvedComponent) => Promise<void>;
  /** Explains claims without a volume. */
  readonly unboundClaims?: UnboundClaims;
  readonly strangers: Strangers;
}

export interface LayersResult {
  readonly results: readonly ComponentResult[];
  /** Components of the first layer that is not ready: what everything after it waits for. */
  readonly unready: readonly string[];
  /** Its number; undefined when every layer is ready. */
  readonly unreadyLayer: number | undefined;
}

export async function applyLayers(options: ApplyLayersOptions): Promise<LayersResult> {
  const { view, build, changes, heldFor = 'the update window' } = options;
  const namespace = options.cluster.metadata.namespace ?? '';
  let held = options.held;
  let components = build(held);
  const results: ComponentResult[] = [];
  let unready: string[] = [];
  let unreadyLayer: number | undefined;
  let refused = false; // no use in asking for more of what waits anyway
  const layers = Math.max(-1, ...components.map(({ layer }) => layer)) + 1;
  for (let layer = 0; layer < layers; layer++) {
    const open = unready.length === 0;
    const members = components.filter((component) => component.layer === layer);
    const here = await mapAtMost(members, AT_ONCE, async (component): Promise<ComponentResult> => {
      const workload = workloadOf(component);
      const running = workload && view.get(workload.kind, { namespace, name: workload.metadata.name });
      if (!open && workload && !running) {
        const waiting = { component: component.component, kind: workload.kind, state: 'waiting' } as const;
        const failure = refused ? undefined : await layGround(component, options);
        refused ||= failure !== undefined;
        const message = `waits for ${unready.join(', ')}`;
        return failure ? { ...waiting, message: `${message}; ${failure.message}`, error: failure.error } : { ...waiting, message };
      }
      const result = await registered(component, await applyComponent(component, options, open), open, options);
      const isHeld = held[component.component] !== undefined && changes.some((change) => change.component === component.component);
      return isHeld && result.state === 'ready'
        ? { ...result, state: 'waiting', held: true, message: `waits for ${open ? heldFor : unready.join(', ')}` }
        : result;
    });
    results.push(...here);
    if (!open) continue;
    // nobody is served by a CronJob, so nothing waits for one
    unready = here
      .filter(({ state, kind }) => kind !== 'CronJob' && (state === 'progressing' || state === 'failed'))
      .map(({ component }) => component);
    if (unready.length > 0) {
      unreadyLayer = layer;
      refused = here.some(({ state }) => state === 'failed');
      // what runs after this layer goes on as it is
      const later = new Set(components.filter((component) => component.layer > layer).map(({ component }) => component));
      const more = changes.filter(({ component }) => later.has(component)).map(({ component, from }) => [component, from]);
      if (more.length > 0) {
        held = { ...held, ...Object.fromEntries(more) };
        components = build(held);
      }
    }
  }
  return { results, unready, unreadyLayer };
}

async function applyComponent(component: ComponentManifests, options: ApplyLayersOptions, open: boolean): Promise<ComponentResult> {
  const { api, view, cluster, instance, prepare, unboundClaims } = options;
  const namespace = cluster.metadata.namespace ?? '';
  const workload = workloadOf(component);
  const base = { component: component.component, ...(workload && { kind: workload.kind, image: mainImage(workload) ?? '' }) };
  if (prepare && !component.resolved.disabled) {
    try {
      await prepare(component.resolved.row, open);
    } catch (error) {
      if (isApiError(error) && error.transient) throw error;
      const running = workload && view.get(workload.kind, { namespace, name: workload.metadata.name });
      const image = running && mainImage(running);
      return { ...base, ...(image !== undefined && { image }), state: 'progressing', message: String(error), error };
    }
  }
  const { failure, live, remark } = await bring(component, options);
  if (failure) return { ...base, state: 'failed', ...failure };
  if (component.resolved.disabled) return { ...base, state: 'disabled' };
  if (live === undefined) return { ...base, state: 'ready', ...(remark !== undefined && { message: remark }) };
  const pods = view
    .list('Pod', namespace)
    .filter(
      ({ metadata }) => metadata.labels?.[INSTANCE_LABEL] === instance && metadata.labels[onecloudLabel.component] === component.component,
    );
  const { state, reason, message, ready, desired } = readinessOf(live, { pods });
  const claim = reason === 'Unschedulable' ? view.get('PersistentVolumeClaim', live.metadata) : undefined;
  const unbound = claim && (await unboundClaims?.problemOf(api, claim, component.resolved.row.key));
  const told = unbound ? String(unbound) : message !== '' ? message : remark;
  const tables = tablesOf(component, live, pods, state === 'ready' && (ready ?? 1) > 0);
  return {
    ...base,
    state,
    ...(tables !== undefined && { tables }),
    ...(ready !== undefined && { ready }),
    ...(desired !== undefined && { desired }),
    ...(told !== undefined && { message: told }),
    ...(unbound && { error: unbound }),
  };
}

interface Failure {
  readonly message: string;
  readonly error: unknown;
}

interface Brought {
  readonly failure?: Failure;
  /** The workload. */
  readonly live?: LiveObject;
  /** What went wrong and stops nothing. */
  readonly remark?: string;
}

/**
 * Applies what the pods of a component need, before its turn: claims get their volumes, and a quota or a taken node port is told, while the layers before start.
 * What fails here fails nothing yet.
 */
async function layGround(component: ComponentManifests, options: ApplyLayersOptions): Promise<Failure | undefined> {
  const [ground = []] = groupsOf(component);
  return (await bring(component, options, [ground])).failure;
}

/** What pods need is there before them; within that, no order. */
function groupsOf(component: ComponentManifests): readonly (readonly KubeObject[])[] {
  const manifests = component.manifests as readonly KubeObject[];
  const workload = workloadOf(component);
  const first = workload === undefined ? manifests.length : manifests.indexOf(workload);
  return [manifests.slice(0, first), manifests.slice(first, first + 1), manifests.slice(first + 1)];
}

async function bring(
  component: ComponentManifests,
  { api, types, view, cluster, instance, strangers }: ApplyLayersOptions,
  groups = groupsOf(component),
): Promise<Brought> {
  const namespace = cluster.metadata.namespace ?? '';
  const workload = workloadOf(component);
  let live: LiveObject | undefined;
  let remark: string | undefined;
  const one = async (manifest: KubeObject): Promise<Failure | undefined> => {
    try {
      if (!view.follows(manifest.kind))
        throw operatorErrors.OPERATOR_KIND_NOT_SERVED({ object: describeObject(manifest), apiVersion: manifest.apiVersion });
      const { name } = manifest.metadata;
      const known = view.get(manifest.kind, { namespace, name }) ?? (await strangers.find(types(manifest), name));
      const { outcome, object } = await applyObject(manifest, {
        api,
        types,
        inventory: { label: INSTANCE_LABEL, value: instance },
        live: known ?? null,
        // a claim stays when its cluster goes, unless pvcPolicy says otherwise
        ...(manifest.kind !== 'PersistentVolumeClaim' && { owner: cluster }),
        // an autoscaler may have the replicas that nobody wrote down
        ...(component.resolved.overrides.replicas === undefined && { yields: ['spec.replicas'] }),
      });
      if (outcome !== 'unchanged') view.written(object);
      if (manifest === workload) live = object;
      return undefined;
    } catch (error) {
      if (isApiError(error) && error.transient) throw error; // the server is away: no use in going on
      const message = error instanceof CodedError ? String(error) : error instanceof Error ? error.message : String(error);
      if (manifest.kind !== 'PodDisruptionBudget') return { message, error };
      remark = error instanceof Error ? error.message : message; // protects, but carries nothing
      return undefined;
    }
  };
  for (const group of groups) {
    const [failure] = (await mapAtMost(group, OBJECTS_AT_ONCE, one)).filter((outcome) => outcome !== undefined);
    if (failure) return { failure };
  }
  return { ...(live && { live }), ...(remark !== undefined && { remark }) };
}

async function registered(
  { resolved }: ComponentManifests,
  result: ComponentResult,
  open: boolean,
  { register }: ApplyLayersOptions,
): Promise<ComponentResult> {
  if (!register || !open || (result.state !== 'ready' && result.state !== 'disabled')) return result;
  try {
    await register(resolved);
    return result;
  } catch (error) {
    // what is disabled is waited for by nobody
    return { ...result, ...(result.state === 'ready' && { state: 'progressing' }), message: String(error), error };
  }
}

/**
 * Which version of the program has been at the tables: the one that serves, or the one whose first container has begun. An image that
 * could not be pulled has changed nothing.
 */
function tablesOf(
  { resolved: { row } }: ComponentManifests,
  live: LiveObject,
  pods: readonly KubeObject[],
  serves: boolean,
): string | undefined {
  const image = mainImage(live);
  if (!migratesDatabase(row) || image === undefined) return undefined;
  if (serves) return programVersion(image);
  const [kind, container] = row.initializesDatabase ? (['initContainer', 'init'] as const) : (['container', row.name] as const);
  const begun = pods.some((pod) => {
    const mine = listAt(pod, 'spec', `${kind}s`).some((one) => textAt(one, 'name') === container && textAt(one, 'image') === image);
    const status = listAt(pod, 'status', `${kind}Statuses`).find((one) => textAt(one, 'name') === container);
    const states = [at(status, 'state', 'running'), at(status, 'state', 'terminated'), at(status, 'lastState', 'terminated')];
    return mine && states.some((state) => state !== undefined && state !== null);
  });
  return begun ? programVersion(image) : undefined;
}
