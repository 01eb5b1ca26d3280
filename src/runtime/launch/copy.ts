/** What a config's entries copy where, and the copying of one of them into a staging. */
import { readdirSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import type { Accounts } from './accounts.ts';
import type { Attributes } from './attributes.ts';
import type { ConfigFile } from './config.ts';
import { launchErrors } from './errors.ts';
import { glob } from './glob.ts';
import type { Staging } from './staging.ts';
import { kindOf, statOf } from './stat-of.ts';

/** One source of one entry: what a glob matched, and where exactly that goes. */
export interface Placement {
  /** Absolute, without the root. */
  readonly source: string;
  /** Absolute, normalised, without a trailing slash. */
  readonly final: string;
  readonly attributes: Attributes;
  readonly merge: boolean;
  /** A backup and its return: symlinks stay symlinks, every name is content, what cannot be copied is passed over. */
  readonly verbatim: boolean;
}

/** Every placement of the config, in its order. A required source that is missing, or an unknown owner, throws before anything is touched. */
export function placements(entries: readonly ConfigFile[], accounts: Accounts, root: string): Placement[] {
  return entries.flatMap((entry) => {
    const sources = glob(entry.source, root);
    if (sources.length === 0 && !entry.optional) throw launchErrors.LAUNCH_SOURCE_MISSING({ source: entry.source, dest: entry.dest });
    const attributes: Attributes = entry.ownership
      ? { kind: 'set', owner: accounts.owner(entry.ownership.owner), mode: entry.ownership.mode }
      : { kind: 'as-source' };
    return sources.map((source) => ({ source, final: finalOf(entry.dest, source), attributes, merge: entry.merge, verbatim: false }));
  });
}

/** Destinations that an entry replaces as a whole, whatever other entries merge into them. */
export function replacedBy(all: readonly Placement[]): ReadonlySet<string> {
  return new Set(all.flatMap(({ merge, final }) => (merge ? [] : [final])));
}

/** A dest that ends in "/" takes the source's last name; a source that ends in "/" has none. */
function finalOf(dest: string, source: string): string {
  if (!dest.endsWith('/')) return dest;
  const name = source.slice(source.lastIndexOf('/') + 1);
  return name === '' ? dest.slice(0, -1) || '/' : dest + name;
}

/**
 * Stages one placement. With `merge`, directories that exist keep what is in them. Answers the files it placed below a
 * merged directory, relative to it.
 */
export function stagePlacement(staging: Staging, placement: Placement, root: string): string[] {
  const placed: string[] = [];
  walk(staging, placement, root, placement.source, placement.final, placed, []);
  return placed.map((path) => path.slice(placement.final.length + 1)).filter((path) => path !== '');
}

function walk(
  staging: Staging,
  placement: Placement,
  root: string,
  source: string,
  final: string,
  placed: string[],
  above: readonly Stats[],
): void {
  const { attributes, merge, verbatim } = placement;
  const keepSymlinks = verbatim || (merge && attributes.kind === 'as-source');
  if (keepSymlinks && statOf(root + source)?.isSymbolicLink()) {
    staging.symlink(source, final);
    placed.push(final);
    return;
  }
  const stats = followed(root, source, placement);
  if (!stats.isDirectory()) {
    if (!stats.isFile() && verbatim) return;
    if (!stats.isFile()) throw launchErrors.LAUNCH_SOURCE_KIND({ source, kind: kindOf(stats) });
    staging.file(source, final, attributes);
    placed.push(final);
    return;
  }
  if (above.some((one) => one.ino === stats.ino && one.dev === stats.dev))
    throw launchErrors.LAUNCH_SOURCE_KIND({ source, kind: 'a symbolic link to a directory above it' });
  if (merge) staging.mergedDirectory(final, attributes, stats);
  else staging.directory(final, attributes, stats);
  for (const name of verbatim ? readdirSync(root + source) : sourceNames(root + source))
    walk(staging, placement, root, `${source}/${name}`, `${final}/${name}`, placed, [...above, stats]);
}

/** Symlinks are followed: the content is copied. */
function followed(root: string, source: string, placement: Placement): Stats {
  try {
    return statSync(root + source);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw launchErrors.LAUNCH_SOURCE_MISSING({ source, dest: placement.final });
    throw launchErrors.LAUNCH_CONFIG_UNREADABLE({ path: source, reason: code ?? message }, { cause: error });
  }
}

/** Names in a source directory. `..data` and `..2026_…` are how the kubelet swaps a volume's content, not content. */
export function sourceNames(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => !name.startsWith('..'))
    .sort();
}

/** A path's parent directories up to and without `top`, deepest first. */
export function parentsWithin(path: string, top: string): string[] {
  const parents: string[] = [];
  for (let parent = posix.dirname(path); parent.length > top.length; parent = posix.dirname(parent)) parents.push(parent);
  return parents;
}
