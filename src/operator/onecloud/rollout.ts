/** Which images run, which are wanted, and what the history says of it. Pure: the reconcile acts on the answers. */

import { createHash } from 'node:crypto';
import type { ComponentManifests } from 'cdk8s-baremetal/onecloud/index';
import type { ClusterSettings, ClusterStatus, UpdatePlan, VersionChange } from 'cdk8s-baremetal-contract/onecloud/index';
import { HISTORY_LIMIT, onecloudAnnotation, renderProgram } from 'cdk8s-baremetal-contract/onecloud/index';
import type { EventStory } from '../engine/events.ts';
import { at, type KubeObject, listAt, textAt } from '../engine/objects.ts';
import { operatorOnecloudErrors } from './errors.ts';
import type { ComponentResult } from './layers.ts';
import { isOpen, nextOpening } from './update-window.ts';

/** By container name. */
export type Images = Readonly<Record<string, string>>;

export interface ImageChange {
  readonly component: string;
  /** The component's own first; that of the renderer last. */
  readonly from: Images;
  readonly to: Images;
}

const WORKLOADS = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'CronJob']);

export function workloadOf({ manifests }: Pick<ComponentManifests, 'manifests'>): KubeObject | undefined {
  return manifests.find(({ kind }) => WORKLOADS.has(kind)) as KubeObject | undefined;
}

export function imagesOf(workload: KubeObject): Images {
  const spec = at(workload, 'spec', 'jobTemplate', 'spec') ?? at(workload, 'spec');
  const containers = listAt(spec, 'template', 'spec', 'containers');
  return Object.fromEntries(containers.map((container) => [textAt(container, 'name') ?? '', textAt(container, 'image') ?? '']));
}

/** Of the init container that puts passwords into the configuration: it is the operator's own, and no version of the cluster's. */
function rendererOf(workload: KubeObject): Images {
  const spec = at(workload, 'spec', 'jobTemplate', 'spec') ?? at(workload, 'spec');
  const found = listAt(spec, 'template', 'spec', 'initContainers').find((one) => textAt(one, 'name') === renderProgram.container);
  const image = textAt(found, 'image');
  return image === undefined ? {} : { [renderProgram.container]: image };
}

/**
 * Renderers of another release of the operator, which stay until their pods roll for a reason of their own: an operator that is replaced restarts
 * nothing. A configuration that is rendered anew is one, and wants the renderer that belongs to it.
 */
export function renderersInUse(
  components: readonly ComponentManifests[],
  live: (workload: KubeObject) => KubeObject | undefined,
): Record<string, Images> {
  const checksum = (workload: KubeObject): unknown => {
    const spec = at(workload, 'spec', 'jobTemplate', 'spec') ?? at(workload, 'spec');
    return at(spec, 'template', 'metadata', 'annotations', onecloudAnnotation.configChecksum);
  };
  return Object.fromEntries(
    components.flatMap((component) => {
      const workload = workloadOf(component);
      const running = workload && live(workload);
      if (!workload || !running || checksum(workload) !== checksum(running)) return [];
      const [own, other] = [Object.values(rendererOf(workload))[0], rendererOf(running)];
      const [image] = Object.values(other);
      return image === undefined || image === own ? [] : [[component.component, other]];
    }),
  );
}

/** Of the component's own container, which comes first. */
export function mainImage(workload: KubeObject): string | undefined {
  return Object.values(imagesOf(workload))[0];
}

/** Components that run already, with another image than they should. */
export function imageChanges(
  components: readonly ComponentManifests[],
  live: (workload: KubeObject) => KubeObject | undefined,
): ImageChange[] {
  return components.flatMap((component) => {
    const workload = workloadOf(component);
    const running = workload && live(workload);
    if (!workload || !running) return [];
    const [from, to] = [imagesOf(running), imagesOf(workload)];
    const changes = Object.keys(to).some((name) => name in from && from[name] !== to[name]);
    return changes ? [{ component: component.component, from: { ...from, ...rendererOf(running) }, to }] : [];
  });
}

/** The last entry about the cluster as a whole. */
export function lastChange(history: readonly VersionChange[]): VersionChange | undefined {
  return history.findLast(({ component }) => component === undefined);
}

/** The last changes of single components that failed, where the images are still those. */
export function standingFailures(history: readonly VersionChange[], results: readonly ComponentResult[]): VersionChange[] {
  return results.flatMap(({ component, image }) => {
    const own = history.findLast((entry) => entry.component === component);
    return own?.outcome === 'Failed' && own.to === image ? [own] : [];
  });
}

/** The version that is being brought about: the wanted one, or the one before when the wanted one failed and was rolled back. */
export function effectiveVersion(wanted: string, history: readonly VersionChange[]): string {
  const last = lastChange(history);
  return last?.outcome === 'RolledBack' && last.to === wanted && last.from !== undefined ? last.from : wanted;
}

/**
 * Why image changes must wait, and until when; undefined: they need not. What has begun goes on after the window has closed, and
 * the way back from a failed version is open at all times.
 */
export function waitsForWindow(
  settings: ClusterSettings,
  history: readonly VersionChange[],
  { changes, ownImages, now }: { readonly changes: readonly ImageChange[]; readonly ownImages: ReadonlySet<string>; readonly now: number },
): { readonly reason: string; readonly until: number | undefined } | undefined {
  const { window } = settings.updateStrategy;
  if (window === undefined) return undefined;
  const last = lastChange(history);
  if (last === undefined) return undefined;
  const same = last.to === settings.version;
  const onlyOwn = changes.length > 0 && changes.every(({ component }) => ownImages.has(component));
  if (last.outcome === 'RolledBack' && (same || last.from === settings.version) && !onlyOwn) return undefined;
  if (last.outcome === 'InProgress' && same) return undefined;
  if (last.outcome === 'Failed' && last.from === settings.version) return undefined;
  const begun = new Set(
    history.flatMap(({ component, outcome }) => (component !== undefined && outcome === 'InProgress' ? [component] : [])),
  );
  if (same && changes.every(({ component }) => begun.has(component))) return undefined;
  if (isOpen(window, now)) return undefined;
  return {
    reason: `the update window (${window.cron}, ${window.durationMinutes} min, ${window.timeZone})`,
    until: nextOpening(window, now),
  };
}

/** What would change, for people and for approvals; the hash stands for exactly these changes. */
export function planOf(
  changes: readonly ImageChange[],
  waiting?: { readonly reason: string; readonly notBefore?: string },
  databaseDump?: string,
): UpdatePlan | undefined {
  if (changes.length === 0) return undefined;
  const told = changes.map(({ component, from, to }) => {
    const [name = ''] = Object.keys(to).filter((container) => from[container] !== to[container]);
    return {
      component,
      what: name === '' ? 'image' : `image of ${name}`,
      ...(from[name] !== undefined && { from: from[name] }),
      ...(to[name] !== undefined && { to: to[name] }),
    };
  });
  const hash = createHash('sha256').update(JSON.stringify(changes)).digest('hex').slice(0, 16);
  return {
    hash,
    ...(waiting && { waitingFor: waiting.reason }),
    ...(waiting?.notBefore !== undefined && { notBefore: waiting.notBefore }),
    ...(databaseDump !== undefined && { databaseDump }),
    changes: told,
  };
}

export interface Beginning {
  /** Who asked for this component's image, or for the version. */
  readonly whoOf: (component?: string) => string;
  readonly when: string;
  /** Components that may migrate their tables when their program changes. */
  readonly migrating: ReadonlySet<string>;
  /** Components whose program becomes older than their tables, as somebody accepted. */
  readonly stepsBack: ReadonlySet<string>;
  /** Components whose image is their own, not the version's. */
  readonly ownImages: ReadonlySet<string>;
}

/** Notes that the wanted version, or other images of single components, are being rolled out now. */
export function begin(
  history: readonly VersionChange[],
  wanted: string,
  status: ClusterStatus | undefined,
  changes: readonly ImageChange[],
  { whoOf, when, migrating, stepsBack, ownImages }: Beginning,
): VersionChange[] {
  const last = lastChange(history);
  const revision = (history.at(-1)?.revision ?? 0) + 1;
  const databases = (changed: readonly ImageChange[]): Pick<VersionChange, 'databaseDump' | 'notRolledBack'> => {
    const names = changed.map(({ component }) => component).filter((component) => migrating.has(component));
    const back = names.filter((component) => stepsBack.has(component));
    if (back.length > 0) return { databaseDump: { state: 'NotTaken', message: 'the way back takes none' }, notRolledBack: back };
    return names.length > 0 ? { databaseDump: { state: 'Pending' } } : {};
  };
  if (last?.to !== wanted) {
    const before = status?.version ?? (last?.outcome === 'RolledBack' ? last.from : last?.to);
    const superseded = history.map((entry) => (entry.outcome === 'InProgress' ? { ...entry, outcome: 'Superseded' as const } : entry));
    return limited([
      ...superseded,
      {
        revision,
        who: whoOf(),
        when,
        ...(before !== undefined && { from: before }),
        to: wanted,
        outcome: 'InProgress',
        ...(before !== undefined && databases(changes)),
      },
    ]);
  }
  if (last.outcome === 'InProgress') return [...history];
  const leftUndone = last.outcome === 'Failed' || last.outcome === 'RolledBack';
  const added = changes
    .filter(
      ({ component, to }) =>
        // what a failed version left undone, or the way back from it, is still that version's
        (!leftUndone || ownImages.has(component)) &&
        history.findLast((entry) => entry.component === component && entry.outcome === 'InProgress')?.to !== Object.values(to)[0],
    )
    .map((change, index): VersionChange => {
      const { component, from, to } = change;
      const [before, after = ''] = [Object.values(from)[0], Object.values(to)[0]];
      return {
        revision: revision + index,
        who: whoOf(component),
        when,
        component,
        ...(before !== undefined && { from: before }),
        to: after,
        outcome: 'InProgress',
        ...databases([change]),
      };
    });
  const replaced = new Set(added.map(({ component }) => component));
  return limited([
    ...conclude(history, (entry) => entry.outcome === 'InProgress' && replaced.has(entry.component), 'Superseded'),
    ...added,
  ]);
}

/** Notes that the tables of these components were brought to another version, on the entry that changed their images. */
export function noteMigrations(history: readonly VersionChange[], components: readonly string[]): VersionChange[] {
  return components.reduce<VersionChange[]>(
    (entries, component) => {
      const own = entries.findLastIndex((entry) => entry.component === component && entry.outcome === 'InProgress');
      const index = own >= 0 ? own : entries.findLastIndex((entry) => entry.component === undefined && entry.from !== undefined);
      return entries.map((entry, place) =>
        place === index ? { ...entry, migrated: [...new Set([...(entry.migrated ?? []), component])].sort() } : entry,
      );
    },
    [...history],
  );
}

/** Notes how what was in progress ended. */
export function conclude(
  history: readonly VersionChange[],
  matches: (entry: VersionChange) => boolean,
  outcome: VersionChange['outcome'],
  message?: string,
): VersionChange[] {
  return history.map((entry) => {
    if (!matches(entry) || entry.outcome === outcome) return entry;
    const { message: _, ...rest } = entry; // of how it ended before
    return { ...rest, outcome, ...(message !== undefined && { message }) };
  });
}

export interface JudgeOptions {
  readonly settings: ClusterSettings;
  readonly results: readonly ComponentResult[];
  /** Components of the first layer that is not ready. */
  readonly unready: readonly string[];
  /** Their layer's deadline has passed. */
  readonly late: boolean;
  /** Everything is as it should be. */
  readonly complete: boolean;
}

/** Whether what is in progress has come to its end, and what to tell of it. */
export function judge(
  history: readonly VersionChange[],
  { settings, results, unready, late, complete }: JudgeOptions,
): { readonly history: VersionChange[]; readonly story?: EventStory } {
  const last = lastChange(history);
  const failed = results.filter(({ state }) => state === 'failed');
  const inProgress = history.filter(({ outcome }) => outcome === 'InProgress');
  if (complete) {
    const standing = standingFailures(history, results);
    // an image that was taken back before it was rolled out
    const undone = inProgress.filter((entry) =>
      results.some(({ component, image }) => component === entry.component && image !== entry.to),
    );
    const done = inProgress.filter((entry) => !undone.includes(entry));
    const ended = conclude(
      conclude(history, (entry) => undone.includes(entry), 'Superseded'),
      (entry) =>
        entry.outcome === 'InProgress' ||
        (entry === last && entry.outcome === 'Failed' && entry.to === settings.version) ||
        standing.includes(entry),
      'Succeeded',
    );
    return { history: ended, ...(done.length > 0 && { story: succeeded(done) }) };
  }
  // one component has arrived, whatever another one or the version waits for
  const arrived = inProgress.filter(({ component, to }) =>
    results.some((result) => result.component === component && result.state === 'ready' && result.image === to),
  );
  const rest = conclude(history, (entry) => arrived.includes(entry), 'Succeeded');
  if (arrived.length === inProgress.length || (failed.length === 0 && !late))
    return { history: rest, ...(arrived.length > 0 && { story: succeeded(arrived) }) };
  const who = failed.length > 0 ? failed : results.filter(({ component }) => unready.includes(component));
  const story = { components: who.map(({ component }) => component), why: who.map(({ message }) => message ?? '').join('; ') };
  const error =
    failed.length > 0
      ? operatorOnecloudErrors.ONECLOUD_COMPONENT_FAILED(story)
      : operatorOnecloudErrors.ONECLOUD_LAYER_TIMEOUT({ ...story, seconds: settings.updateStrategy.layerTimeoutSeconds });
  const goBack = settings.updateStrategy.autoRollback && last?.outcome === 'InProgress' && last.from !== undefined;
  return {
    history: conclude(rest, ({ outcome }) => outcome === 'InProgress', goBack ? 'RolledBack' : 'Failed', error.message),
    story: {
      type: 'Warning',
      reason: goBack ? 'RollingBack' : 'RolloutFailed',
      action: 'Roll out',
      note: goBack ? `${error.message}; going back to ${last.from}` : String(error),
    },
  };
}

function succeeded(changes: readonly VersionChange[]): EventStory {
  const note = changes.map(({ component, to }) => `${component ?? 'all'}: ${to}`).join(', ');
  return { type: 'Normal', reason: 'RolloutSucceeded', action: 'Roll out', note };
}

/** The last entry of the whole cluster stays, however many components changed since: it says which version is being brought about. */
function limited(history: readonly VersionChange[]): VersionChange[] {
  const recent = history.slice(-HISTORY_LIMIT);
  const whole = lastChange(history);
  return whole === undefined || recent.includes(whole) ? recent : [whole, ...recent.slice(1)];
}
