/**
 * What the image shipped where the config puts something: saved once, before the first change, and given back when the
 * config stops naming the place. The record is on disk before the place is touched, so that no later start can take a
 * configured file for the image's.
 */
import { readFileSync, rmSync } from 'node:fs';
import { posix } from 'node:path';
import { type PermissionPolicy, reasonOf } from './attributes.ts';
import { type Placement, parentsWithin, replacedBy, stagePlacement } from './copy.ts';
import { launchErrors } from './errors.ts';
import { Staging } from './staging.ts';
import { statOf } from './stat-of.ts';

const DEFAULTS_DIRECTORY = '/etc/kolla/defaults';
const STATE_FILE = `${DEFAULTS_DIRECTORY}/state`;
/** Which files were merged into which directory: kolla's own record has no room for it. */
const MERGED_FILE = `${DEFAULTS_DIRECTORY}/merged`;

export interface DefaultsState {
  /** Destination → where the image's own is kept; null: the image had nothing there. */
  readonly saved: ReadonlyMap<string, string | null>;
  /** Merged directory → files placed in it, relative. */
  readonly merged: ReadonlyMap<string, readonly string[]>;
}

export function readState(root: string): DefaultsState {
  const saved = new Map<string, string | null>();
  for (const [dest, value] of entriesOf(root, STATE_FILE)) {
    const { source, dest: kept } = (value ?? {}) as { source?: unknown; dest?: unknown };
    // kolla swaps source and dest in its record when it restores (K1): the saved copy is the one in our directory
    const candidates = [kept, source].filter((path) => typeof path === 'string');
    saved.set(dest, candidates.find((path) => path.startsWith(`${DEFAULTS_DIRECTORY}/`)) ?? null);
  }
  const merged = new Map<string, string[]>();
  for (const [dest, value] of entriesOf(root, MERGED_FILE)) {
    if (Array.isArray(value))
      merged.set(
        dest,
        value.filter((item) => typeof item === 'string'),
      );
  }
  return { saved, merged };
}

/** Saves the image's own of every destination that is not on record yet, and records it. Answers the new record. */
export function saveDefaults(root: string, before: DefaultsState, all: readonly Placement[], policy: PermissionPolicy): DefaultsState {
  const saved = new Map(before.saved);
  const staging = new Staging(root, policy);
  try {
    for (const { final } of all) {
      if (saved.has(final)) continue;
      const above = nearestAbove(before.saved, final);
      saved.set(final, above ? keptWithin(root, above, final) : stageCopy(staging, root, before, final));
    }
    const state = { saved, merged: before.merged };
    if (saved.size === before.saved.size) return state;
    stageState(staging, before, state);
    staging.commit();
    return state;
  } catch (error) {
    staging.abort();
    throw error;
  }
}

/** The recorded destination that `final` lies in: what is there now is configured, and the image's own is in its copy. */
function nearestAbove(saved: DefaultsState['saved'], final: string): { final: string; kept: string | null } | undefined {
  for (let above = posix.dirname(final); above !== '/'; above = posix.dirname(above)) {
    const kept = saved.get(above);
    if (kept !== undefined) return { final: above, kept };
  }
  return undefined;
}

function keptWithin(root: string, above: { final: string; kept: string | null }, final: string): string | null {
  if (above.kept === null) return null;
  const kept = above.kept + final.slice(above.final.length);
  return statOf(root + kept) ? kept : null;
}

/** Answers where the copy will be, or null. What the config has put below `final` on earlier starts is not the image's. */
function stageCopy(staging: Staging, root: string, before: DefaultsState, final: string): string | null {
  if (!statOf(root + final)) return null;
  const copy = `${DEFAULTS_DIRECTORY}${final}`;
  stagePlacement(staging, verbatim(final, copy), root);
  for (const [dest, kept] of before.saved) if (dest.startsWith(`${final}/`)) giveBack(staging, root, DEFAULTS_DIRECTORY + dest, kept);
  return copy;
}

/**
 * Stages the return of every destination that the config no longer names, and of what a merge no longer brings.
 * `known` is the record as it was found, `state` as this start has extended it.
 */
export function stageRestore(
  staging: Staging,
  root: string,
  known: DefaultsState,
  state: DefaultsState,
  all: readonly Placement[],
): DefaultsState {
  const named = new Set(all.map(({ final }) => final));
  const replaced = replacedBy(all);
  const saved = new Map(state.saved);
  const merged = new Map(state.merged);
  for (const [final, kept] of state.saved) {
    if (replaced.has(final)) {
      merged.delete(final);
      continue; // as a whole, in any case
    }
    const before = state.merged.get(final);
    if (before) stageMergedRestore(staging, root, final, kept, before);
    // replaced until now and merged from now on: the image's own is what to merge into
    else if (!named.has(final) || (known.saved.has(final) && !staging.isMount(final))) giveBack(staging, root, final, kept);
    if (named.has(final)) continue;
    saved.delete(final);
    merged.delete(final);
  }
  return { saved, merged };
}

/** Writes the record into the staging when it differs from the one on disk. */
export function stageState(staging: Staging, before: DefaultsState, after: DefaultsState): void {
  const state = [...after.saved].map(([dest, kept]) => [dest, { source: dest, preserve_properties: true, dest: kept }]);
  if (!sameMap(before.saved, after.saved)) staging.text(STATE_FILE, `${JSON.stringify(Object.fromEntries(state), null, 4)}\n`, 0o644);
  if (!sameMap(before.merged, after.merged))
    staging.text(MERGED_FILE, `${JSON.stringify(Object.fromEntries(after.merged), null, 4)}\n`, 0o644);
}

/** Removes the copies that are no longer on record, and share nothing with one that is. Failing to is harmless. */
export function dropCopies(root: string, before: DefaultsState, after: DefaultsState): void {
  const needed = [...after.saved.values()].filter((kept) => kept !== null);
  for (const [final, kept] of before.saved) {
    if (kept === null || after.saved.has(final)) continue;
    if (needed.some((other) => other.startsWith(`${kept}/`) || kept.startsWith(`${other}/`))) continue;
    try {
      rmSync(root + kept, { recursive: true, force: true });
    } catch {
      // an orphan; the record does not know it
    }
  }
}

function stageMergedRestore(staging: Staging, root: string, final: string, kept: string | null, before: readonly string[]): void {
  for (const relative of before) {
    const original = kept === null ? undefined : `${kept}/${relative}`;
    giveBack(staging, root, `${final}/${relative}`, original !== undefined && statOf(root + original) ? original : null);
  }
  if (kept !== null) return;
  const emptied = new Set(before.flatMap((relative) => parentsWithin(`${final}/${relative}`, final)));
  for (const directory of [...emptied].sort((a, b) => b.length - a.length)) staging.removeIfEmpty(directory);
  staging.removeIfEmpty(final);
}

function giveBack(staging: Staging, root: string, final: string, kept: string | null): void {
  if (kept === null || !statOf(root + kept)) staging.remove(final);
  else stagePlacement(staging, verbatim(kept, final), root);
}

/** As it is: owner, mode, times, and symlinks as symlinks. */
function verbatim(source: string, final: string): Placement {
  return { source, final, attributes: { kind: 'as-source' }, merge: false, verbatim: true };
}

function entriesOf(root: string, path: string): [string, unknown][] {
  let text: string;
  try {
    text = readFileSync(root + path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw launchErrors.LAUNCH_STATE_SYNTAX({ path, reason: reasonOf(error) }, { cause: error });
  }
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw launchErrors.LAUNCH_STATE_SYNTAX({ path, reason: 'it is not JSON' });
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw launchErrors.LAUNCH_STATE_SYNTAX({ path, reason: 'it is not a mapping' });
  return Object.entries(data);
}

function sameMap(one: ReadonlyMap<string, unknown>, other: ReadonlyMap<string, unknown>): boolean {
  return (
    one.size === other.size && [...one].every(([key, value]) => other.has(key) && JSON.stringify(other.get(key)) === JSON.stringify(value))
  );
}
