/**
 * Users and groups of the container, from its own /etc/passwd and /etc/group: no name service, no getent. Numbers are
 * accepted too, for an init container whose image does not know the service's accounts.
 */
import { readFileSync } from 'node:fs';
import { nearest } from 'cdk8s-baremetal-contract/errors';
import { launchErrors } from './errors.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface Accounts {
  /** Resolves "user", "user:" (both: the user and the group of that name), "user:group", "uid:gid". */
  owner(text: string): Owner;
}

export interface AccountFiles {
  /** Absolute path to read, and how to call it in messages. */
  readonly passwd: string;
  readonly group: string;
}

/** Splits kolla's owner notation: "nova" and "nova:" mean "nova:nova". */
export function splitOwner(text: string): { user: string; group: string } {
  const colon = text.indexOf(':');
  const user = colon < 0 ? text : text.slice(0, colon);
  return { user, group: (colon < 0 ? '' : text.slice(colon + 1)) || user };
}

/** Name → number of passwd(5) or group(5) text: the third field in both. The first line of a name counts, as in getpwnam(3). */
export function parseAccounts(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name, , id] = line.split(':');
    if (!name || name.startsWith('#') || id === undefined || !/^\d+$/.test(id) || found.has(name)) continue;
    found.set(name, Number(id));
  }
  return found;
}

/** Reads each file at most once, when first asked for a name. */
export function fileAccounts(files: AccountFiles, root = ''): Accounts {
  let users: ReadonlyMap<string, number> | undefined;
  let groups: ReadonlyMap<string, number> | undefined;
  const known = new Map<string, Owner>();
  return {
    owner(text) {
      const before = known.get(text);
      if (before) return before;
      const { user, group } = splitOwner(text);
      users ??= load(root + files.passwd);
      groups ??= load(root + files.group);
      const owner = { uid: lookUp(users, 'user', user, files.passwd), gid: lookUp(groups, 'group', group, files.group) };
      known.set(text, owner);
      return owner;
    },
  };
}

function load(path: string): ReadonlyMap<string, number> {
  try {
    return parseAccounts(readFileSync(path, 'utf8'));
  } catch {
    return new Map(); // a scratch image has none: then only numbers resolve
  }
}

/** Ids are 32 bits, and the highest means "leave it" to chown(2). */
const HIGHEST_ID = 2 ** 32 - 2;

function lookUp(table: ReadonlyMap<string, number>, what: 'user' | 'group', name: string, file: string): number {
  const id = table.get(name);
  if (id !== undefined) return id;
  if (/^\d{1,10}$/.test(name) && Number(name) <= HIGHEST_ID) return Number(name);
  throw launchErrors.LAUNCH_OWNER_UNKNOWN({ what, name, file, nearest: nearest(name, table.keys()) });
}
