/** What a pass reads from manifests, live objects and the history before it decides anything. Pure. */
import type { ComponentManifests } from 'cdk8s-baremetal/onecloud/index';
import { type ClusterStatus, catalog, type VersionChange } from 'cdk8s-baremetal-contract/onecloud/index';
import { at, type LiveObject, textAt } from '../engine/objects.ts';
import type { ComponentResult } from './layers.ts';
import type { ObjectView } from './object-view.ts';
import { type ImageChange, lastChange } from './rollout.ts';

/** Components bound to labelled nodes of which there is none: a Deployment of theirs would wait for ever. */
export function componentsWithoutNodes(components: readonly ComponentManifests[], view: ObjectView): string[] {
  if (!view.follows('Node')) return [];
  const nodes = view.all('Node');
  return components
    .filter(({ resolved: { row, nodeSelector } }) => {
      const wanted = Object.entries(row.host?.nodeSelector ? nodeSelector : {});
      return wanted.length > 0 && !nodes.some(({ metadata }) => wanted.every(([label, value]) => metadata.labels?.[label] === value));
    })
    .map(({ component }) => component);
}

/** Components whose image or tag is written down for them alone. */
export function ownImages(components: readonly ComponentManifests[]): ReadonlySet<string> {
  return new Set(
    components
      .filter(({ resolved: { overrides } }) => overrides.image !== undefined || overrides.tag !== undefined)
      .map(({ component }) => component),
  );
}

export function databasesInUse(
  components: readonly ComponentManifests[],
  live: (object: ComponentManifests['manifests'][number]) => unknown,
): string[] {
  return components
    .flatMap(({ manifests, resolved: { row } }) => {
      const runs = manifests.some((manifest) => /^(Deployment|DaemonSet|CronJob)$/.test(manifest.kind) && live(manifest) !== undefined);
      return row.database && runs ? [row.database.name] : [];
    })
    .sort();
}

/** Components whose program of another version than the last one has begun to bring their tables up. */
export function migratedNow(results: readonly ComponentResult[], before: ClusterStatus | undefined): string[] {
  return results.flatMap(({ component, tables }) => {
    const known = before?.components?.[component]?.databaseVersion;
    return tables !== undefined && known !== undefined && known !== tables ? [component] : [];
  });
}

/** The way back that the word was for has begun, or there is none to go. */
export function isSpent(accepted: string, history: readonly VersionChange[], changes: readonly ImageChange[]): boolean {
  const isFor = (to: string): boolean => to === accepted || to.endsWith(`:${accepted}`);
  if (history.some(({ outcome, notRolledBack, to }) => outcome === 'InProgress' && notRolledBack !== undefined && isFor(to))) return true;
  return changes.length === 0 && lastChange(history)?.to === accepted;
}

/** The manager of a component's own image, or else of spec.version, as the API server keeps it: kubectl-edit, bmctl … */
export function whoSetImage({ metadata: { managedFields = [] } }: LiveObject, component?: string): string {
  const key = catalog.find(({ name }) => name === component)?.key;
  const own = key === undefined ? [] : ['f:image', 'f:tag'].map((field) => [`f:${key}`, field]);
  const [entry] = [...own, ['f:version']].flatMap((path) =>
    managedFields.filter(({ fieldsV1 }) => at(fieldsV1, 'f:spec', ...path) !== undefined),
  );
  return textAt(entry, 'manager') ?? 'unknown';
}

export function sameJson(a: unknown, b: unknown): boolean {
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
