/**
 * One pass over one OnecloudCluster: from its spec to objects, layer by layer, and back into its status. Nothing is remembered
 * between passes but since when a layer is waited for; everything else is read from the objects.
 */
import type { ClusterContext, ComponentManifests } from 'cdk8s-baremetal/onecloud/index';
import {
  type ClusterSpec,
  type ClusterStatus,
  defaultInstance,
  settingsSchema,
  validateCluster,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import { isApiError } from '../engine/api-error.ts';
import { done, type ReconcileContext, type ReconcileResult, requeueAfter } from '../engine/controller.ts';
import type { EventRecorder, EventStory } from '../engine/events.ts';
import { at, type LiveObject, parseKey, type ResourceType, textAt } from '../engine/objects.ts';
import { prune } from '../engine/prune.ts';
import type { TypeTable } from '../engine/resource-types.ts';
import { configMapKey, configStateOf } from './config-drift.ts';
import { operatorOnecloudErrors } from './errors.ts';
import { finalize } from './finalize.ts';
import { applyLayers, type ComponentResult } from './layers.ts';
import { ManifestCache } from './manifest-cache.ts';
import { clusterType, FINALIZER, INSTANCE_LABEL, operatorAnnotation } from './names.ts';
import type { ObjectView } from './object-view.ts';
import { begin, conclude, effectiveVersion, imageChanges, lastChange, planOf, waitsForWindow } from './rollout.ts';
import { ensureSecrets } from './secrets.ts';
import { statusOf } from './status.ts';

export interface ReconcilerOptions {
  readonly view: ObjectView;
  readonly types: TypeTable;
  /** Kinds that clusters are made of and that this API server serves. */
  readonly kinds: readonly ResourceType[];
  readonly random: Random;
  readonly events: EventRecorder;
  readonly renderImage?: string;
}

/** Certificates are looked at this often. */
const IDLE_MS = 6 * 3_600_000;
/** Informers tell of every change; this is for what they cannot tell. */
const WAITING_MS = 30_000;

export function createClusterReconciler(options: ReconcilerOptions): (key: string, context: ReconcileContext) => Promise<ReconcileResult> {
  const { view, random, events } = options;
  /** By cluster: what is waited for, and since when by the monotonic clock. */
  const waiting = new Map<string, { readonly what: string; readonly since: number }>();
  const cache = new ManifestCache();

  return async (key, context) => {
    const { api, clock, logger } = context;
    const found = view.get(clusterType.kind, parseKey(key));
    if (found === undefined) {
      waiting.delete(key);
      cache.forget(key);
      return done;
    }
    let cluster = found;
    const { name, namespace = '' } = cluster.metadata;
    const instance = cluster.metadata.labels?.[INSTANCE_LABEL] ?? defaultInstance(name);
    if (cluster.metadata.deletionTimestamp !== undefined) {
      waiting.delete(key);
      return finalize({ cluster, instance, view, types: options.kinds, events }, context);
    }
    const tell = (story: EventStory): Promise<void> => events.record(cluster, story);
    const write = async (status: ClusterStatus): Promise<void> => {
      if (sameJson(status, cluster.status)) return;
      cluster = await api.replace(clusterType, { ...cluster, status }, { subresource: 'status' });
      view.written(cluster);
    };
    const before = cluster.status as ClusterStatus | undefined;

    const problems = validateCluster(cluster).filter(({ severity }) => severity === 'error');
    if (problems.length > 0) {
      const message = problems.map(({ error }) => String(error)).join(' ');
      await write(statusOf({ cluster, before, clock, refused: message }));
      await tell({ type: 'Warning', reason: 'InvalidSpec', action: 'Validate', note: message });
      return { type: 'failed', reason: `${problems.length} problems in the spec` };
    }
    const spec = cluster.spec as ClusterSpec;
    const settings = settingsSchema.parse(spec);
    if (settings.paused) {
      await write(statusOf({ cluster, before, clock, paused: true }));
      return done;
    }
    if (!(cluster.metadata.finalizers ?? []).includes(FINALIZER)) {
      const metadata = {
        resourceVersion: cluster.metadata.resourceVersion,
        finalizers: [...(cluster.metadata.finalizers ?? []), FINALIZER],
      };
      cluster = await api.patch(clusterType, { namespace, name }, { metadata });
      view.written(cluster);
    }

    const secretChecksums = await ensureSecrets({ api, view, clock, random, cluster, spec, instance });
    const live = (object: { kind: string; metadata: { name: string } }): LiveObject | undefined =>
      view.get(object.kind, { namespace, name: object.metadata.name });
    let history = [...(before?.history ?? [])];
    const version = effectiveVersion(settings.version, history);
    const bare: ClusterContext = {
      name,
      namespace,
      instance,
      secretChecksums,
      ...(options.renderImage !== undefined && { renderImage: options.renderImage }),
    };
    const manifests = cache.of(key);
    const withoutNodes = componentsWithoutNodes(manifests(spec, bare), view);
    const configs = new Map(
      manifests(spec, bare).map(({ component }) => [
        component,
        configStateOf(view.get('ConfigMap', configMapKey(name, namespace, component))),
      ]),
    );
    const keptConfigs = Object.fromEntries([...configs].flatMap(([component, { kept }]) => (kept ? [[component, kept]] : [])));
    const build = (heldImages: ClusterContext['heldImages'] = {}): readonly ComponentManifests[] =>
      manifests({ ...spec, version }, { ...bare, withoutNodes, keptConfigs, heldImages });

    const changes = imageChanges(build(), live);
    const wait =
      changes.length > 0 || lastChange(history)?.to !== settings.version ? waitsForWindow(settings, history, clock.now()) : undefined;
    const installing = before?.version === undefined && changes.length === 0;
    const held = wait !== undefined && !installing ? Object.fromEntries(changes.map(({ component, from }) => [component, from])) : {};
    if (wait === undefined || installing) {
      const who = cluster.metadata.annotations?.[operatorAnnotation.changedBy] ?? whoSetVersion(cluster);
      history = begin(history, settings.version, before, changes, { who, when: isoTime(clock.now()) });
      if (!sameJson(history, before?.history ?? [])) {
        const begun = history.at(-1);
        await write({ ...before, history });
        await tell({
          type: 'Normal',
          reason: 'RolloutStarted',
          action: 'Roll out',
          note: `${begun?.component ?? 'all'}: ${begun?.from ?? 'nothing'} → ${begun?.to}`,
        });
      }
    }

    const { results, unready } = await applyLayers({ api, types: options.types, view, cluster, instance, build, held, changes });
    for (const [component, { reset }] of configs) {
      if (reset)
        await api.patch(options.types({ apiVersion: 'v1', kind: 'ConfigMap' }), configMapKey(name, namespace, component), {
          metadata: { annotations: { [operatorAnnotation.resetConfig]: null } },
        });
    }
    const desired = build(held).flatMap((component) => component.manifests);
    const secrets = new Set(['Secret', 'PersistentVolumeClaim']);
    const inventory = { label: INSTANCE_LABEL, value: instance };
    await prune({
      api,
      types: options.kinds.filter(({ kind }) => !secrets.has(kind)),
      namespace,
      inventory,
      desired,
      ownerUid: cluster.metadata.uid,
      known: (type) => view.list(type.kind, namespace).filter(({ metadata }) => metadata.labels?.[INSTANCE_LABEL] === instance),
    });

    // how it went
    const last = lastChange(history);
    const failed = results.filter(({ state }) => state === 'failed');
    const what = `${version} ${unready.join(',')}`;
    if (unready.length === 0) waiting.delete(key);
    else if (waiting.get(key)?.what !== what) waiting.set(key, { what, since: clock.monotonic() });
    const waitedMs = clock.monotonic() - (waiting.get(key)?.since ?? clock.monotonic());
    const limitMs = settings.updateStrategy.layerTimeoutSeconds * 1000;
    const late = unready.length > 0 && waitedMs >= limitMs;
    const complete = results.every(({ state }) => state === 'ready' || state === 'disabled') && Object.keys(held).length === 0;
    const inProgress = history.filter(({ outcome }) => outcome === 'InProgress');
    if (complete) {
      history = conclude(
        history,
        (entry) => entry.outcome === 'InProgress' || (entry === last && entry.outcome === 'Failed' && entry.to === settings.version),
        'Succeeded',
      );
      if (inProgress.length > 0)
        await tell({
          type: 'Normal',
          reason: 'RolloutSucceeded',
          action: 'Roll out',
          note: inProgress.map(({ component, to }) => `${component ?? 'all'}: ${to}`).join(', '),
        });
    } else if (inProgress.length > 0 && (failed.length > 0 || late)) {
      const who = failed.length > 0 ? failed : results.filter(({ component }) => unready.includes(component));
      const error = operatorOnecloudErrors.ONECLOUD_LAYER_TIMEOUT({
        components: who.map(({ component }) => component),
        seconds: settings.updateStrategy.layerTimeoutSeconds,
        why: who.map(({ message }) => message ?? '').join('; '),
      });
      const goBack = settings.updateStrategy.autoRollback && last?.outcome === 'InProgress' && last.from !== undefined;
      history = conclude(history, ({ outcome }) => outcome === 'InProgress', goBack ? 'RolledBack' : 'Failed', error.message);
      await tell({
        type: 'Warning',
        reason: goBack ? 'RollingBack' : 'RolloutFailed',
        action: 'Roll out',
        note: goBack ? `${error.message}; going back to ${last.from}` : String(error),
      });
      logger.warn({ components: who.map(({ component }) => component), goBack }, 'the rollout failed');
    }
    const plan = planOf(
      Object.keys(held).length > 0 ? changes : [],
      wait && { reason: wait.reason, ...(wait.until !== undefined && { notBefore: isoTime(wait.until) }) },
    );
    const drift = [...configs].filter(([, state]) => state.drift).map(([component]) => component);
    try {
      await write(
        statusOf({
          cluster,
          before: cluster.status as ClusterStatus | undefined,
          clock,
          results,
          history,
          plan,
          drift,
          complete,
          version: effectiveVersion(settings.version, history),
          withoutNodes,
        }),
      );
    } catch (error) {
      if (!isApiError(error, 'conflict')) throw error;
      return requeueAfter(1_000); // the spec changed meanwhile: look at it first
    }
    if (effectiveVersion(settings.version, history) !== version) return requeueAfter(1);
    if (wait?.until !== undefined) return requeueAfter(Math.max(1_000, wait.until - clock.now()));
    if (unready.length > 0 && !late) return requeueAfter(Math.max(1_000, Math.min(WAITING_MS, limitMs - waitedMs)));
    const broken = results.filter(({ error }) => error !== undefined);
    if (broken.length > 0)
      return { type: 'retry', reason: broken.map(({ component, error }) => `${component}: ${String(error)}`).join('; ') };
    return requeueAfter(IDLE_MS);
  };
}

/** Components bound to labelled nodes of which there is none: a Deployment of theirs would wait for ever. */
function componentsWithoutNodes(components: readonly ComponentManifests[], view: ObjectView): string[] {
  if (!view.follows('Node')) return [];
  const nodes = view.all('Node');
  return components
    .filter(({ resolved: { row, nodeSelector } }) => {
      const wanted = Object.entries(row.host?.nodeSelector ? nodeSelector : {});
      return wanted.length > 0 && !nodes.some(({ metadata }) => wanted.every(([label, value]) => metadata.labels?.[label] === value));
    })
    .map(({ component }) => component);
}

/** The manager of spec.version, as the API server keeps it: kubectl-edit, bmctl … */
function whoSetVersion({ metadata: { managedFields = [] } }: LiveObject): string {
  const entry = managedFields.find(({ fieldsV1 }) => at(fieldsV1, 'f:spec', 'f:version') !== undefined);
  return textAt(entry, 'manager') ?? 'unknown';
}

function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, field]) => [name, sorted(field)]),
  );
}

export type { ComponentResult };
