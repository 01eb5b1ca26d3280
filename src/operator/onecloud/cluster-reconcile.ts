/**
 * One pass over one OnecloudCluster: from its spec to objects, layer by layer, and back into its status. Nothing is remembered
 * between passes but which databases were seen right a moment ago; everything else is read from the objects.
 */
import type { ClusterContext, ComponentManifests } from 'cdk8s-baremetal/onecloud/index';
import {
  type ClusterSettings,
  type ClusterSpec,
  type ClusterStatus,
  catalog,
  dumpInWords,
  migratesDatabase,
  settingsSchema,
  validateCluster,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import { ifFound, isApiError } from '../engine/api-error.ts';
import { done, type ReconcileContext, type ReconcileResult, requeueAfter } from '../engine/controller.ts';
import type { EventRecorder, EventStory } from '../engine/events.ts';
import { type LiveObject, parseKey, type ResourceType } from '../engine/objects.ts';
import { prune } from '../engine/prune.ts';
import type { TypeTable } from '../engine/resource-types.ts';
import { componentsWithoutNodes, databasesInUse, isSpent, migratedNow, ownImages, sameJson, whoSetImage } from './cluster-facts.ts';
import { configMapKey, configStateOf, isGenerated } from './config-drift.ts';
import { dumpBefore } from './database-dump.ts';
import { DatabaseKeeper } from './database-step.ts';
import type { Databases } from './databases.ts';
import { WaitingAges, waitFor } from './deadline.ts';
import { operatorOnecloudErrors } from './errors.ts';
import { finalize } from './finalize.ts';
import type { Identity } from './identity.ts';
import { IdentityKeeper, identityServerOf } from './identity-step.ts';
import { applyLayers } from './layers.ts';
import { ManifestCache } from './manifest-cache.ts';
import { clusterType, FINALIZER, INSTANCE_LABEL, operatorAnnotation } from './names.ts';
import type { ObjectView } from './object-view.ts';
import { instanceOf, peerProblems } from './peers.ts';
import {
  begin,
  effectiveVersion,
  type ImageChange,
  imageChanges,
  judge,
  lastChange,
  noteMigrations,
  planOf,
  renderersInUse,
  waitsForWindow,
} from './rollout.ts';
import { ensureSecrets } from './secrets.ts';
import { statusOf } from './status.ts';
import { targetOf } from './steps-back.ts';
import { Strangers } from './strangers.ts';
import { tellTrouble } from './trouble.ts';
import { UnboundClaims } from './unbound-claims.ts';

export interface ReconcilerOptions {
  readonly view: ObjectView;
  readonly types: TypeTable;
  /** Kinds that clusters are made of and that this API server serves. */
  readonly kinds: readonly ResourceType[];
  readonly random: Random;
  readonly events: EventRecorder;
  readonly renderImage?: string;
  /** Absent: somebody else makes databases and accounts. */
  readonly databases?: Databases;
  /** Absent: somebody else makes accounts and endpoints in Keystone. */
  readonly identity?: Identity;
  /** Every cluster that the operator knows, in whatever namespace. */
  readonly peers?: () => readonly LiveObject[];
}

/** Certificates are looked at this often. */
const IDLE_MS = 6 * 3_600_000;
/** Informers tell of every change; this is for what they cannot tell. */
const WAITING_MS = 30_000;
/** What gives way to another cluster is looked at again, should nobody tell that the other is gone. */
const REFUSED_MS = 60_000;
/** Nobody's objects but people's and the storage's: never pruned while the cluster lives. */
const KEPT_KINDS = new Set(['Secret', 'PersistentVolumeClaim', 'Job']);

const MIGRATING: ReadonlySet<string> = new Set(catalog.filter(migratesDatabase).map(({ name }) => name));

export function createClusterReconciler(options: ReconcilerOptions): (key: string, context: ReconcileContext) => Promise<ReconcileResult> {
  const { view, random, events, databases, identity, peers = () => [] } = options;
  const keeper = databases && new DatabaseKeeper(databases);
  const registrar = identity && new IdentityKeeper(identity);
  const cache = new ManifestCache();
  let claims: UnboundClaims | undefined;
  let ages: WaitingAges | undefined;

  const reconcile = async (key: string, context: ReconcileContext): Promise<ReconcileResult> => {
    const { api, clock, logger, signal } = context;
    claims ??= new UnboundClaims(clock);
    const unboundClaims = claims;
    ages ??= new WaitingAges(clock);
    const waitingAges = ages;
    const found = view.get(clusterType.kind, parseKey(key));
    if (found === undefined) {
      keeper?.forget(key);
      registrar?.forget(key);
      cache.forget(key);
      ages.forget(key);
      return done;
    }
    let cluster = found;
    const { name, namespace = '', uid } = cluster.metadata;
    const instance = instanceOf(cluster);
    const tell = (story: EventStory): Promise<void> => events.record(cluster, story);
    const write = async (status: ClusterStatus): Promise<void> => {
      if (sameJson(status, cluster.status)) return;
      cluster = await api.replace(clusterType, { ...cluster, status }, { subresource: 'status' });
      view.written(cluster);
    };
    const before = cluster.status as ClusterStatus | undefined;
    if (cluster.metadata.deletionTimestamp !== undefined)
      return finalize({ cluster, instance, view, types: options.kinds, tell, write, peers: peers(), ...(keeper && { keeper }) }, context);

    const problems = validateCluster(cluster).filter(({ severity }) => severity === 'error');
    if (problems.length > 0) {
      const message = problems.map(({ error }) => String(error)).join(' ');
      await write(statusOf({ cluster, before, clock, refused: { reason: 'InvalidSpec', message } }));
      await tell({ type: 'Warning', reason: 'InvalidSpec', action: 'Validate', note: message });
      return { type: 'failed', reason: `${problems.length} problems in the spec` };
    }
    const spec = cluster.spec as ClusterSpec;
    const settings = settingsSchema.parse(spec);
    if (settings.paused) {
      await write(statusOf({ cluster, before, clock, paused: true }));
      return done;
    }
    const [collision, ...more] = peerProblems(cluster, peers(), keeper !== undefined);
    if (collision !== undefined) {
      const { reason } = collision;
      const message = [collision, ...more].map(({ error }) => String(error)).join(' ');
      await write(statusOf({ cluster, before, clock, refused: { reason, message } }));
      const known = before?.conditions?.some((condition) => condition.type === 'Accepted' && condition.message === message);
      if (!known) await tell({ type: 'Warning', reason, action: 'Validate', note: message });
      return requeueAfter(REFUSED_MS);
    }
    if (!(cluster.metadata.finalizers ?? []).includes(FINALIZER)) {
      const metadata = {
        resourceVersion: cluster.metadata.resourceVersion,
        finalizers: [...(cluster.metadata.finalizers ?? []), FINALIZER],
      };
      cluster = await api.patch(clusterType, { namespace, name }, { metadata });
      view.written(cluster);
    }

    const secrets = await ensureSecrets({ api, view, clock, random, cluster, spec, instance });
    const live = (object: { kind: string; metadata: { name: string } }): LiveObject | undefined =>
      view.get(object.kind, { namespace, name: object.metadata.name });
    const bare: ClusterContext = {
      name,
      namespace,
      instance,
      secretChecksums: secrets.checksums,
      ...(options.renderImage !== undefined && { renderImage: options.renderImage }),
    };
    const manifests = cache.of(key);
    const components = manifests(spec, bare);
    const withoutNodes = componentsWithoutNodes(components, view);
    const configs = new Map(
      components.map(({ component }) => [component, configStateOf(view.get('ConfigMap', configMapKey(name, namespace, component)))]),
    );
    const keptConfigs = Object.fromEntries([...configs].flatMap(([component, { kept }]) => (kept ? [[component, kept]] : [])));
    const buildOf = (version: string, heldImages: ClusterContext['heldImages'] = {}): readonly ComponentManifests[] =>
      manifests({ ...spec, version }, { ...bare, withoutNodes, keptConfigs, heldImages });

    // what is to be brought about, and what of it must wait
    let history = [...(before?.history ?? [])];
    const accepted = cluster.metadata.annotations?.[operatorAnnotation.acceptDatabase];
    const target = targetOf({
      wanted: settings.version,
      history,
      status: before,
      accepted,
      migrating: MIGRATING,
      changesTo: (version) => imageChanges(buildOf(version), live),
    });
    const { changes, refused } = target;
    const wanted: ClusterSettings = { ...settings, version: target.version };
    const version = effectiveVersion(target.version, history);
    const own = ownImages(components);
    const wait =
      changes.length > 0 || lastChange(history)?.to !== target.version
        ? waitsForWindow(wanted, history, { changes, ownImages: own, now: clock.now() })
        : undefined;
    const installing = before?.version === undefined && changes.length === 0;
    const mayBegin = wait === undefined || installing;
    if (mayBegin) {
      const { [operatorAnnotation.changedBy]: changedBy } = cluster.metadata.annotations ?? {};
      const asked = cluster;
      const beginning = {
        whoOf: (component?: string): string => changedBy ?? whoSetImage(asked, component),
        when: isoTime(clock.now()),
        migrating: MIGRATING,
        stepsBack: target.stepsBack,
        ownImages: own,
      };
      const open = changes.filter((change) => !target.held.includes(change));
      history = begin(history, target.version, before, open, beginning);
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
    if (accepted !== undefined && isSpent(accepted, history, changes)) {
      // the word was for this way back, not for the next one; the history keeps it
      cluster = await api.patch(
        clusterType,
        { namespace, name },
        // a word that somebody gives right now is another one
        { metadata: { resourceVersion: cluster.metadata.resourceVersion, annotations: { [operatorAnnotation.acceptDatabase]: null } } },
      );
      view.written(cluster);
    }
    const dump = await dumpBefore({
      api,
      view,
      types: options.types,
      cluster,
      instance,
      settings,
      history,
      changes,
      from: before?.version ?? 'unknown',
      databases: databasesInUse(components, live),
      tell,
    });
    // before any image changes: a pass that is cut off after that leaves nothing that would change, and the dump would never be told
    if (dump.waitsFor === undefined && !sameJson(dump.history, history)) await write({ ...before, history: dump.history });
    history = dump.history;
    const refusal =
      refused &&
      operatorOnecloudErrors.ONECLOUD_DATABASE_NOT_ROLLED_BACK({
        ...refused,
        annotation: operatorAnnotation.acceptDatabase,
        namespace,
        name,
      });
    if (refusal) await tell({ type: 'Warning', reason: 'RollbackRefused', action: 'Roll out', note: String(refusal) });
    const waits = dump.waitsFor !== undefined ? { for: dump.waitsFor } : mayBegin ? undefined : { for: wait?.reason ?? '' };
    const kept: readonly ImageChange[] = waits ? changes : target.held;
    const changed = new Set(changes.map(({ component }) => component));
    const renderers = Object.entries(renderersInUse(buildOf(version), live)).filter(([component]) => !changed.has(component));
    const held = Object.fromEntries([...renderers, ...kept.map(({ component, from }) => [component, from] as const)]);
    const heldFor = waits?.for ?? (refusal && `a word: ${refusal.message}`);
    const build = (heldImages: ClusterContext['heldImages'] = {}): readonly ComponentManifests[] => buildOf(version, heldImages);

    // bring it about
    const pass = keeper?.begin(key, { api, clock, signal, namespace, mysql: settings.mysql, passwords: secrets.databasePasswords });
    const keystone = components.find(({ resolved }) => resolved.row.key === 'keystone')?.resolved;
    const { bootstrapPassword: password, authority: ca } = secrets;
    const server =
      password && keystone && !keystone.disabled ? identityServerOf({ name, namespace }, keystone, { password, ca }) : undefined;
    const register = server && registrar?.begin(key, { clock, signal, server, name, settings, passwords: secrets.accountPasswords });
    const layers = await applyLayers({
      api,
      types: options.types,
      view,
      cluster,
      instance,
      build,
      held,
      changes,
      ...(heldFor !== undefined && { heldFor }),
      prepare: async (row, open) => {
        await pass?.ensure(row);
        if (open) await register?.ensureAccount(row); // Keystone is in the first layer
      },
      ...(register && { register: register.ensureEndpoints }),
      unboundClaims,
      strangers: new Strangers(api, namespace),
    }).finally(() => pass?.close());
    const { results, unready } = layers;
    for (const note of pass?.told ?? []) await tell({ type: 'Normal', reason: 'DatabaseEnsured', action: 'Ensure database', note });
    if (pass?.problem) await tell({ type: 'Warning', reason: 'DatabaseFailed', action: 'Ensure database', note: String(pass.problem) });
    for (const { component, error } of results) {
      if (error === undefined || error === pass?.problem || error === register?.problem) continue;
      await tell({ type: 'Warning', reason: 'ComponentFailed', action: 'Apply', note: `${component}: ${String(error)}` });
    }
    for (const note of register?.told ?? []) await tell({ type: 'Normal', reason: 'IdentityEnsured', action: 'Register', note });
    if (register?.problem) await tell({ type: 'Warning', reason: 'IdentityFailed', action: 'Register', note: String(register.problem) });
    for (const [component, { reset }] of configs) {
      const configMap = configMapKey(name, namespace, component);
      if (reset && isGenerated(view.get('ConfigMap', configMap)))
        await api.patch(options.types({ apiVersion: 'v1', kind: 'ConfigMap' }), configMap, {
          metadata: { annotations: { [operatorAnnotation.resetConfig]: null } },
        });
    }
    await prune({
      api,
      types: options.kinds.filter(({ kind }) => !KEPT_KINDS.has(kind)),
      namespace,
      inventory: { label: INSTANCE_LABEL, value: instance },
      desired: build(held).flatMap((component) => component.manifests),
      ownerUid: cluster.metadata.uid,
      known: (type) => view.list(type.kind, namespace).filter(({ metadata }) => metadata.labels?.[INSTANCE_LABEL] === instance),
    });

    // how it went
    const { generation = 0 } = cluster.metadata;
    const layerTimeoutMs = settings.updateStrategy.layerTimeoutSeconds * 1000;
    const { waiting, leftMs } = waitFor(
      layers.unreadyLayer === undefined ? undefined : { generation, revision: history.at(-1)?.revision ?? 0, layer: layers.unreadyLayer },
      before?.waiting,
      layerTimeoutMs,
      clock.now(),
      (since) => waitingAges.of(key, since),
    );
    const late = leftMs !== undefined && leftMs <= 0;
    history = noteMigrations(history, migratedNow(results, before));
    const complete = results.every(({ state }) => state === 'ready' || state === 'disabled') && kept.length === 0;
    const verdict = judge(history, { settings: wanted, results, unready, late, complete });
    history = verdict.history;
    if (verdict.story) await tell(verdict.story);
    if (verdict.story?.type === 'Warning') logger.warn({ reason: verdict.story.reason, unready }, 'the rollout failed');
    const plan = planOf(
      kept,
      heldFor === undefined
        ? undefined
        : { reason: heldFor, ...(wait?.until !== undefined && !mayBegin && { notBefore: isoTime(wait.until) }) },
      dumpPlan(settings, kept),
    );
    const drift = [...configs].filter(([, state]) => state.drift).map(([component]) => component);
    const status = statusOf({
      cluster,
      before: cluster.status as ClusterStatus | undefined,
      clock,
      results,
      history,
      plan,
      waitReason:
        dump.waitsFor !== undefined ? (dump.failure ? 'DumpFailed' : 'DumpingDatabases') : waits ? 'WaitingForWindow' : 'RollbackRefused',
      drift,
      complete,
      version: effectiveVersion(target.version, history),
      withoutNodes,
      waiting,
      ...(refusal && { notAccepted: refusal }),
      ...(pass && { databases: { names: pass.names, problem: pass.problem } }),
      ...(register && { identity: { problem: register.problem } }),
      ...(dump.failure !== undefined && { dumpFailure: dump.failure }),
    });
    try {
      await write(status);
    } catch (error) {
      if (!isApiError(error, 'conflict')) throw error;
      // what was made is not forgotten: it may be a deletion that comes now, and drops what stands there
      const made = status.databases ?? [];
      if (made.length > (before?.databases ?? []).length)
        await ifFound(
          api.patch(clusterType, { namespace, name }, { metadata: { uid }, status: { databases: made } }, { subresource: 'status' }),
        );
      return requeueAfter(1_000); // the spec changed meanwhile: look at it first
    }
    if (effectiveVersion(target.version, history) !== version) return requeueAfter(1);
    const problem = pass?.problem ?? register?.problem;
    if (problem) return { type: 'retry', reason: String(problem) };
    if (dump.retry) return { type: 'retry', reason: dump.failure ?? '' };
    if (waits && wait?.until !== undefined && !mayBegin) return requeueAfter(Math.max(1_000, wait.until - clock.now()));
    if (unready.length > 0 && !late) return requeueAfter(Math.max(1_000, Math.min(WAITING_MS, leftMs ?? WAITING_MS)));
    if (dump.waitsFor !== undefined && dump.failure === undefined) return requeueAfter(WAITING_MS);
    const broken = results.filter(({ error }) => error !== undefined);
    if (broken.length > 0)
      return { type: 'retry', reason: broken.map(({ component, error }) => `${component}: ${String(error)}`).join('; ') };
    return requeueAfter(IDLE_MS);
  };

  return async (key, context) => {
    try {
      return await reconcile(key, context);
    } catch (error) {
      await tellTrouble({ view, events }, key, context, error);
      throw error;
    }
  };
}

function dumpPlan({ databaseBackup }: ClusterSettings, changes: readonly ImageChange[]): string | undefined {
  if (!changes.some(({ component }) => MIGRATING.has(component))) return undefined;
  return dumpInWords(databaseBackup);
}
