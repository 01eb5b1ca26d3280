/** Programs that would meet tables which a newer one has changed: not without a word. Pure. */
import {
  type ClusterStatus,
  isStepBack,
  programVersion,
  type VersionChange,
  versionsAtTables,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { effectiveVersion, type ImageChange, lastChange } from './rollout.ts';

export interface TargetOptions {
  /** spec.version. */
  readonly wanted: string;
  readonly history: readonly VersionChange[];
  readonly status: ClusterStatus | undefined;
  /** Version for which somebody said that databases may stay as they are. */
  readonly accepted: string | undefined;
  /** Components that have a database of their own. */
  readonly migrating: ReadonlySet<string>;
  /** Image changes that a version would bring. */
  readonly changesTo: (version: string) => readonly ImageChange[];
}

export interface Target {
  /** What is brought about of the wanted version: itself, or the one before when it is refused. */
  readonly version: string;
  readonly changes: readonly ImageChange[];
  /** Components that step back with somebody's word. */
  readonly stepsBack: ReadonlySet<string>;
  /** What is refused: the wanted version, or the images of single components, which stay. */
  readonly refused: { readonly to: string; readonly components: readonly string[] } | undefined;
  /** Of the changes, those that are refused. */
  readonly held: readonly ImageChange[];
}

export function targetOf(options: TargetOptions): Target {
  const { wanted, history, changesTo } = options;
  const last = lastChange(history);
  const changes = changesTo(effectiveVersion(wanted, history));
  const back = changes.filter((change) => isBack(change, options));
  const without = back.filter((change) => !isAccepted(change, options));
  if (without.length === 0)
    return { version: wanted, changes, stepsBack: new Set(back.map(({ component }) => component)), refused: undefined, held: [] };
  if (last !== undefined && last.to !== wanted) {
    // a version as a whole: what is being brought about goes on
    const rest = targetOf({ ...options, wanted: last.to });
    const ofVersion = without.filter(({ component }) => !rest.held.some((held) => held.component === component));
    if (ofVersion.length > 0) return { ...rest, refused: { to: wanted, components: ofVersion.map(({ component }) => component).sort() } };
  }
  const [first] = without;
  return {
    version: wanted,
    changes,
    stepsBack: new Set(back.filter((change) => !without.includes(change)).map(({ component }) => component)),
    refused: { to: first ? programVersion(mainOf(first.to)) : wanted, components: without.map(({ component }) => component).sort() },
    held: without,
  };
}

function isBack({ component, from, to }: ImageChange, { migrating, status, history }: TargetOptions): boolean {
  if (!migrating.has(component) || mainOf(from) === mainOf(to)) return false;
  const tables = status?.components?.[component]?.databaseVersion ?? programVersion(mainOf(from));
  return isStepBack({ tables, to: programVersion(mainOf(to)), ranBefore: versionsAtTables(component, history) });
}

/** By the annotation, by the entry that began with it, or by spec.updateStrategy.autoRollback, which is a standing word. */
function isAccepted({ component, to }: ImageChange, { wanted, history, accepted }: TargetOptions): boolean {
  const image = mainOf(to);
  const last = lastChange(history);
  if (accepted !== undefined && (accepted === programVersion(image) || accepted === image)) return true;
  if (accepted !== undefined && accepted === wanted && last?.to !== wanted) return true;
  if (last?.outcome === 'RolledBack' && (last.to === wanted || last.from === wanted)) return true;
  if (last?.to === wanted && isUnderWay(last) && last.notRolledBack?.includes(component)) return true;
  const own = history.findLast((entry) => entry.component === component);
  return own?.to === image && isUnderWay(own) && own.notRolledBack !== undefined;
}

function isUnderWay({ outcome }: VersionChange): boolean {
  return outcome === 'InProgress' || outcome === 'Failed';
}

/** Of the component's own container, which comes first. */
function mainOf(images: ImageChange['to']): string {
  return Object.values(images)[0] ?? '';
}
