/**
 * The drop-in for kolla_set_configs: brings the files that a container's config names to their places, with owner and
 * mode, and leaves the command to run. Synchronous from end to end: nothing else happens in this process.
 */
import { lstatSync, mkdirSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import type { Logger } from '../core/logger.ts';
import { type Accounts, fileAccounts } from './accounts.ts';
import { adjust, lenientPermissions, type PermissionPolicy, reasonOf, strictPermissions } from './attributes.ts';
import { type LaunchConfig, loadConfig, type OwnedPath, type Permission, type TextParser } from './config.ts';
import { type Placement, placements, replacedBy, stagePlacement } from './copy.ts';
import { type DefaultsState, dropCopies, readState, saveDefaults, stageRestore, stageState } from './defaults.ts';
import { launchErrors } from './errors.ts';
import { CONFIGURED, RUN_COMMAND, RUN_COMMAND_ARGV } from './paths.ts';
import { permitted } from './permitted.ts';
import { argvFragment } from './shell-words.ts';
import { Staging } from './staging.ts';
import { kindOf, statOf } from './stat-of.ts';

export interface SetConfigsOptions {
  /** Put before every path: the container's root as seen from here. Default "": this is the container. */
  readonly root?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads config.yaml. */
  readonly yaml: TextParser;
  readonly log: Logger;
}

/** What both setting and checking need, resolved once. */
export interface Prepared {
  readonly root: string;
  readonly runDirectory: string;
  readonly config: LaunchConfig;
  readonly accounts: Accounts;
  readonly policy: PermissionPolicy;
  readonly log: Logger;
}

/** Throws a `CodedError`; `exitCodeOf(error.code)` is the exit code, 0 for a COPY_ONCE container that is configured. */
export function setConfigs(options: SetConfigsOptions): void {
  const prepared = prepare(options);
  const { root, runDirectory, log } = prepared;
  const strategy = options.environment.KOLLA_CONFIG_STRATEGY;
  log.info(`Kolla config strategy set to: ${strategy}`);
  switch (strategy) {
    case 'COPY_ALWAYS':
      configure(prepared);
      break;
    case 'COPY_ONCE': {
      const marker = posix.join(runDirectory, CONFIGURED);
      if (statOf(root + marker)) throw launchErrors.LAUNCH_CONFIGURED_ONCE({ marker });
      configure(prepared);
      const staging = new Staging(root, prepared.policy);
      staging.text(marker, '', 0o644);
      staging.commit();
      break;
    }
    default:
      throw launchErrors.LAUNCH_STRATEGY({ value: strategy });
  }
}

/** Reads the environment and the config file; writes nothing. */
export function prepare({ root = '', environment, yaml, log }: SetConfigsOptions): Prepared {
  for (const name of ['KOLLA_CONFIG', 'KOLLA_CONFIG_FILE']) {
    // CVE-2022-38060: through sudo -E they let any user of the container feed root a config
    if (environment[name] !== undefined) log.warn(`${name} is set and ignored: the config comes from the config directory alone`);
  }
  return {
    root,
    runDirectory: runDirectoryOf(environment),
    config: loadConfig(root, yaml),
    accounts: fileAccounts({ passwd: '/etc/passwd', group: '/etc/group' }, root),
    policy: policyOf(environment, log),
    log,
  };
}

function configure({ root, runDirectory, config, accounts, policy, log }: Prepared): void {
  const all = placements(config.configFiles, accounts, root);
  for (const { owner } of [...config.directories, ...config.files, ...config.permissions]) accounts.owner(owner);

  for (const directory of config.directories) createDirectory(directory, root, accounts, policy, log);
  for (const file of config.files) createFile(file, root, accounts, policy, log);

  const known = readState(root);
  const state = saveDefaults(root, known, all, policy);
  const staging = new Staging(root, policy);
  let after: DefaultsState;
  try {
    const restored = stageRestore(staging, root, known, state, all);
    after = { saved: restored.saved, merged: stageAll(staging, all, restored, root, log) };
    log.info('Writing out command to execute');
    staging.text(posix.join(runDirectory, RUN_COMMAND), config.command.text, 0o644);
    staging.text(posix.join(runDirectory, RUN_COMMAND_ARGV), argvFragment(config.command), 0o644);
    stageState(staging, state, after);
    staging.commit();
  } catch (error) {
    staging.abort();
    throw error;
  }
  dropCopies(root, state, after);
  for (const permission of config.permissions) setPermission(permission, root, accounts, policy, log);
}

function stageAll(
  staging: Staging,
  all: readonly Placement[],
  restored: DefaultsState,
  root: string,
  log: Logger,
): ReadonlyMap<string, readonly string[]> {
  const merged = new Map(restored.merged);
  const fresh = new Set<string>();
  const replaced = replacedBy(all);
  for (const placement of all) {
    const { source, final } = placement;
    log.info(`Copying ${source} to ${final}`);
    const placed = stagePlacement(staging, placement, root);
    if (replaced.has(final) || !statSync(root + source).isDirectory()) continue;
    // several entries may merge into one directory
    merged.set(final, fresh.has(final) ? [...(merged.get(final) ?? []), ...placed] : placed);
    fresh.add(final);
  }
  return merged;
}

function createDirectory({ path, owner, mode }: OwnedPath, root: string, accounts: Accounts, policy: PermissionPolicy, log: Logger): void {
  log.info(`Creating directory ${path}`);
  try {
    mkdirSync(root + path, { recursive: true });
  } catch (error) {
    const there = statOf(root + path);
    if (there) throw launchErrors.LAUNCH_PATH_KIND({ path, is: kindOf(there), wanted: 'a directory' });
    throw launchErrors.LAUNCH_WRITE({ path, reason: reasonOf(error) }, { cause: error });
  }
  adjust(root + path, path, statSync(root + path), accounts.owner(owner), mode, true, policy);
}

function createFile({ path, owner, mode }: OwnedPath, root: string, accounts: Accounts, policy: PermissionPolicy, log: Logger): void {
  const there = statOf(root + path);
  if (there && !there.isFile()) throw launchErrors.LAUNCH_PATH_KIND({ path, is: kindOf(there), wanted: 'a file' });
  if (!there) {
    log.info(`Creating file ${path}`);
    const parent = posix.dirname(path);
    if (!statOf(`${root}${parent}/.`)) throw launchErrors.LAUNCH_PATH_KIND({ path: parent, is: 'absent', wanted: 'a directory' });
    const staging = new Staging(root, policy);
    try {
      staging.text(path, '', 0o600);
      staging.commit();
    } catch (error) {
      staging.abort();
      throw error;
    }
  }
  adjust(root + path, path, lstatSync(root + path), accounts.owner(owner), mode, false, policy);
}

function setPermission(permission: Permission, root: string, accounts: Accounts, policy: PermissionPolicy, log: Logger): void {
  const owner = accounts.owner(permission.owner);
  permitted(permission, root, {
    found: (target, stats, follow) => adjust(root + target, target, stats, owner, permission.mode, follow, policy),
    absent: (target) => log.warn(`${target} does not exist`),
  });
}

function policyOf(environment: SetConfigsOptions['environment'], log: Logger): PermissionPolicy {
  const value = environment.KOLLA_PERMISSION_ERRORS ?? 'fail';
  if (value === 'fail') return strictPermissions;
  if (value === 'warn') return lenientPermissions(log);
  throw launchErrors.LAUNCH_ENVIRONMENT({ name: 'KOLLA_PERMISSION_ERRORS', value, expected: '"fail" or "warn"' });
}

function runDirectoryOf(environment: SetConfigsOptions['environment']): string {
  const value = environment.KOLLA_RUN_DIR;
  if (value === undefined) return '/';
  if (environment.SUDO_UID !== undefined) throw launchErrors.LAUNCH_SUDO_ENVIRONMENT({ name: 'KOLLA_RUN_DIR' });
  if (!value.startsWith('/')) throw launchErrors.LAUNCH_ENVIRONMENT({ name: 'KOLLA_RUN_DIR', value, expected: 'an absolute path' });
  return posix.normalize(value);
}
