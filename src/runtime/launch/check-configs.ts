/** `kolla_set_configs --check`: is the container as its config wants it? Reads only. */
import { closeSync, openSync, readFileSync, readSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import type { Accounts, Owner } from './accounts.ts';
import { reasonOf } from './attributes.ts';
import type { Permission } from './config.ts';
import { type Placement, placements, sourceNames } from './copy.ts';
import { readState } from './defaults.ts';
import { launchErrors } from './errors.ts';
import { directoryMode, formatMode } from './file-mode.ts';
import { RUN_COMMAND, RUN_COMMAND_ARGV } from './paths.ts';
import { permitted } from './permitted.ts';
import { prepare, type SetConfigsOptions } from './set-configs.ts';
import { argvFragment } from './shell-words.ts';

const COMPARE_BYTES = 64 * 1024;

/** Returns when nothing differs; throws LAUNCH_CHANGED_… (exit code 1) naming what does, or another error. */
export function checkConfigs(options: SetConfigsOptions): void {
  const { root, runDirectory, config, accounts } = prepare(options);
  for (const [name, content] of [
    [RUN_COMMAND, config.command.text],
    [RUN_COMMAND_ARGV, argvFragment(config.command)],
  ] as const) {
    const file = posix.join(runDirectory, name);
    if (textOf(root + file) !== content) throw launchErrors.LAUNCH_CHANGED_COMMAND({ file });
  }
  const all = placements(config.configFiles, accounts, root);
  const named = new Set(all.map(({ final }) => final));
  const dests = [...readState(root).saved.keys()].filter((dest) => !named.has(dest));
  if (dests.length > 0) throw launchErrors.LAUNCH_CHANGED_STATE({ dests });
  const files = differences(wantedFiles(all, root), laterPermissions(config.permissions, accounts, root), root);
  if (files.length > 0) throw launchErrors.LAUNCH_CHANGED_FILES({ files });
}

/** What a start would have put somewhere. */
interface Wanted {
  readonly placement: Placement;
  readonly source: string;
  readonly stats: Stats;
}

/** Every file and directory that the entries bring, by its place. Where two bring one, the later one does, as at a start. */
function wantedFiles(all: readonly Placement[], root: string): ReadonlyMap<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  const add = (placement: Placement, source: string, final: string): void => {
    const stats = statAt(root + source);
    if (!stats) throw launchErrors.LAUNCH_SOURCE_MISSING({ source, dest: placement.final });
    wanted.set(final, { placement, source, stats });
    if (stats.isDirectory()) for (const name of sourceNames(root + source)) add(placement, `${source}/${name}`, `${final}/${name}`);
  };
  for (const placement of all) {
    const { source, final, merge } = placement;
    if (!merge) for (const place of wanted.keys()) if (place.startsWith(`${final}/`)) wanted.delete(place);
    add(placement, source, final);
  }
  return wanted;
}

interface Later {
  readonly owner: Owner;
  readonly mode: number | undefined;
}

/** What a start sets after the copying, by its place. A symlink's own owner is no matter of what it points to. */
function laterPermissions(permissions: readonly Permission[], accounts: Accounts, root: string): ReadonlyMap<string, Later> {
  const later = new Map<string, Later>();
  for (const permission of permissions) {
    const owner = accounts.owner(permission.owner);
    permitted(permission, root, {
      found: (target, stats) => {
        if (!stats.isSymbolicLink()) later.set(target, { owner, mode: permission.mode ?? later.get(target)?.mode });
      },
      absent: () => undefined,
    });
  }
  return later;
}

/** Everything that is not as its source and its attributes say, one phrase each. What lies below something missing is not told. */
function differences(all: ReadonlyMap<string, Wanted>, later: ReadonlyMap<string, Later>, root: string): string[] {
  const found: string[] = [];
  const missing: string[] = [];
  for (const [final, { placement, source, stats: wanted }] of all) {
    if (missing.some((above) => final.startsWith(`${above}/`))) continue;
    const actual = statAt(root + final);
    if (!actual || wanted.isDirectory() !== actual.isDirectory()) {
      missing.push(final);
      found.push(actual ? `${final} is ${actual.isDirectory() ? 'a directory' : 'no directory'}` : `${final} is missing`);
      continue;
    }
    if (!wanted.isDirectory() && !sameContent(root + source, root + final, wanted, actual)) found.push(`${final} has another content`);
    found.push(...attributeDifferences(placement, later.get(final), wanted, actual, final));
  }
  return found;
}

function attributeDifferences({ attributes }: Placement, later: Later | undefined, wanted: Stats, actual: Stats, final: string): string[] {
  const found: string[] = [];
  const set = attributes.kind === 'set' ? attributes : undefined;
  const asked = later?.mode ?? set?.mode;
  const mode = asked === undefined ? wanted.mode & 0o7777 : actual.isDirectory() ? directoryMode(asked) : asked;
  if ((actual.mode & 0o7777) !== mode) found.push(`${final} has mode ${formatMode(actual.mode)}, not ${formatMode(mode)}`);
  const { uid, gid } = later?.owner ?? set?.owner ?? wanted;
  if (actual.uid !== uid || actual.gid !== gid) found.push(`${final} belongs to ${actual.uid}:${actual.gid}, not ${uid}:${gid}`);
  return found;
}

function sameContent(one: string, other: string, oneStats: Stats, otherStats: Stats): boolean {
  if (oneStats.size !== otherStats.size) return false;
  const left = openSync(one, 'r');
  try {
    const right = openSync(other, 'r');
    try {
      const a = Buffer.allocUnsafe(COMPARE_BYTES);
      const b = Buffer.allocUnsafe(COMPARE_BYTES);
      for (;;) {
        const length = readSync(left, a, 0, COMPARE_BYTES, null);
        if (readSync(right, b, 0, COMPARE_BYTES, null) !== length) return false;
        if (length === 0) return true;
        if (!a.subarray(0, length).equals(b.subarray(0, length))) return false;
      }
    } finally {
      closeSync(right);
    }
  } finally {
    closeSync(left);
  }
}

function statAt(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw launchErrors.LAUNCH_CONFIG_UNREADABLE({ path, reason: reasonOf(error) }, { cause: error });
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
