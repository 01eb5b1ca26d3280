/** What an entry of `permissions` is about. */
import { readdirSync, type Stats, statSync } from 'node:fs';
import type { Permission } from './config.ts';
import { glob, isGlob } from './glob.ts';
import { statOf } from './stat-of.ts';

export interface PermittedVisitor {
  /** `follow`: a symlink is meant as what it points to, and `stats` are of that. */
  found(target: string, stats: Stats, follow: boolean): void;
  absent(target: string): void;
}

/** Calls the visitor for every path that the entry names and does not exclude, from the top down. */
export function permitted({ path, recurse, exclude }: Permission, root: string, visitor: PermittedVisitor): void {
  // A path that the config spells out may be a symlink. One that a pattern or the walk meets is not followed: the
  // service's user could have put it there to be given the file behind it.
  const visit = (target: string, follow: boolean): void => {
    const stats = follow ? followedOrSame(root + target) : statOf(root + target);
    if (!stats) {
      visitor.absent(target);
      return;
    }
    if (!exclude.some((pattern) => pattern.test(target))) visitor.found(target, stats, follow);
    if (!recurse || !stats.isDirectory()) return;
    for (const name of readdirSync(root + target)) visit(`${target === '/' ? '' : target}/${name}`, false);
  };
  const found = glob(path, root);
  if (found.length === 0) visitor.absent(path);
  for (const target of found) visit(target, !isGlob(path));
}

function followedOrSame(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined; // a dangling symlink
  }
}
