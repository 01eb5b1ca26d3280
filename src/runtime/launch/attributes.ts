/** Owner and mode of files and directories, and what happens when the system refuses to set them. */
import { chmodSync, chownSync, fchmodSync, fchownSync, futimesSync, lchownSync, type Stats, utimesSync } from 'node:fs';
import type { Logger } from '../core/logger.ts';
import type { Owner } from './accounts.ts';
import { launchErrors } from './errors.ts';
import { directoryMode, formatMode } from './file-mode.ts';
import { statOf } from './stat-of.ts';

export type Attributes =
  | { readonly kind: 'set'; readonly owner: Owner; readonly mode: number }
  /** As the source has them: owner, mode, times. Extended attributes are not carried over. */
  | { readonly kind: 'as-source' };

/** Called when an owner or a mode cannot be set: throws, or lets the start go on. */
export type PermissionPolicy = (path: string, action: string, error: unknown) => void;

export const strictPermissions: PermissionPolicy = (path, action, error) => {
  throw launchErrors.LAUNCH_PERMISSION({ path, action, reason: reasonOf(error) }, { cause: error });
};

/** kolla's way: a line in the log, and on. */
export function lenientPermissions(log: Logger): PermissionPolicy {
  return (path, action, error) => log.warn(`Failed to ${action} ${path}: ${reasonOf(error)}`);
}

/** Sets them on an open, fresh file. `name` is for messages. chown first: it clears set-id bits. */
export function setOnFile(fd: number, name: string, attributes: Attributes, source: Stats, policy: PermissionPolicy): void {
  const { owner, mode } = wanted(attributes, source, false);
  attempt(policy, name, `chown to ${owner.uid}:${owner.gid}`, () => fchownSync(fd, owner.uid, owner.gid));
  attempt(policy, name, `chmod to ${formatMode(mode)}`, () => fchmodSync(fd, mode));
  if (attributes.kind === 'as-source') futimesSync(fd, source.atimeMs / 1000, source.mtimeMs / 1000);
}

/** Whether `path` is a file of its own (no other name shares it) with the size of the source and these attributes. */
export function isDressed(path: string, attributes: Attributes, source: Stats): boolean {
  const stats = statOf(path);
  if (!stats?.isFile() || stats.nlink !== 1 || stats.size !== source.size) return false;
  const { owner, mode } = wanted(attributes, source, false);
  if (stats.uid !== owner.uid || stats.gid !== owner.gid || (stats.mode & 0o7777) !== mode) return false;
  return attributes.kind === 'set' || Math.abs(stats.mtimeMs - source.mtimeMs) < 1;
}

/** Sets them on a directory at `path`; `name` is for messages. */
export function setOnDirectory(path: string, name: string, attributes: Attributes, source: Stats, policy: PermissionPolicy): void {
  const { owner, mode } = wanted(attributes, source, true);
  attempt(policy, name, `chown to ${owner.uid}:${owner.gid}`, () => chownSync(path, owner.uid, owner.gid));
  attempt(policy, name, `chmod to ${formatMode(mode)}`, () => chmodSync(path, mode));
  if (attributes.kind === 'as-source') utimesSync(path, source.atimeMs / 1000, source.mtimeMs / 1000);
}

/** Brings an existing path to owner and mode. What is right already is not touched, so that no right to change it is needed. */
export function adjust(
  path: string,
  name: string,
  stats: Stats,
  owner: Owner,
  mode: number | undefined,
  followSymlink: boolean,
  policy: PermissionPolicy,
): void {
  if (stats.uid !== owner.uid || stats.gid !== owner.gid) {
    const chown = followSymlink ? chownSync : lchownSync;
    attempt(policy, name, `chown to ${owner.uid}:${owner.gid}`, () => chown(path, owner.uid, owner.gid));
  }
  // Linux has no chmod of a symlink itself
  if (mode === undefined || stats.isSymbolicLink()) return;
  const full = stats.isDirectory() ? directoryMode(mode) : mode;
  const cleared = stats.uid !== owner.uid || stats.gid !== owner.gid; // chown may have dropped set-id bits
  if (cleared || (stats.mode & 0o7777) !== full) attempt(policy, name, `chmod to ${formatMode(full)}`, () => chmodSync(path, full));
}

/** "EACCES", "no space left on device": short, and without the staged file's name. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  const sentence = /^[A-Z0-9_]+: ([^,]+)/.exec(error.message)?.[1];
  if (code === undefined) return error.message;
  return sentence === undefined ? code : `${sentence} (${code})`;
}

function wanted(attributes: Attributes, source: Stats, directory: boolean): { owner: Owner; mode: number } {
  if (attributes.kind === 'as-source') return { owner: source, mode: source.mode & 0o7777 };
  return { owner: attributes.owner, mode: directory ? directoryMode(attributes.mode) : attributes.mode };
}

function attempt(policy: PermissionPolicy, name: string, action: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    policy(name, action, error);
  }
}
