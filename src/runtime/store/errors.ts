import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const storeErrors = defineErrors('STORE', {
  STORE_URL: entry<{ url: string; reason: string }>({
    message: ({ url, reason }) => `the store's URL "${url}" ${reason}`,
    cure: 'Use sqlite:///var/lib/bms/state.db (an absolute path), mysql://user@host[:port]/database, kubernetes://[namespace][/scope] or memory://; passwords go into [store] password',
  }),
  STORE_OPEN: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the store ${path} cannot be opened: ${reason}`,
    cure: 'Check that the directory exists, that this user may write to it, and that the disk is not full',
  }),
  STORE_CORRUPT: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the store ${path} is damaged or is not a store: ${reason}`,
    cure: 'Stop the daemon, put the file and its -wal and -shm files aside, and restore the last backup',
  }),
  STORE_NEWER_SCHEMA: entry<{ path: string; found: number; known: number }>({
    message: ({ path, found, known }) => `the store ${path} has schema version ${found}, this program knows up to ${known}`,
    cure: 'Run the newer release that wrote it, or restore the backup made before the upgrade',
  }),
  STORE_RECORD_INVALID: entry<{ kind: string; id: string; reason: string }>({
    message: ({ kind, id, reason }) => `the stored ${kind} ${id} cannot be read: ${reason}`,
    cure: 'Upgrade this program if a newer one wrote the record; otherwise correct or delete the record',
  }),
  STORE_IO: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the store ${path} failed: ${reason}`,
    cure: 'Check the disk (space, errors) and who else has the file open',
  }),
  STORE_REFUSED: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the database ${path} refuses us: ${reason}`,
    cure: 'Create the database and the user, grant the user all rights on it, and check [store] password and the TLS options of the URL',
  }),
  STORE_FOREIGN: entry<{ path: string }>({
    message: ({ path }) => `the database ${path} has tables of another program, and no table "migrations" of ours`,
    cure: 'Name a database of its own in [store] url; nothing has been changed in this one',
  }),
  STORE_SCHEMA_BUSY: entry<{ path: string; seconds: number; lock: string }>({
    message: ({ path, seconds }) => `another program has been changing the schema of ${path} for more than ${seconds} s`,
    cure: ({ lock }) => `Wait for it, or look for the connection that holds the lock ${lock} (IS_USED_LOCK)`,
  }),
  STORE_UNREACHABLE: entry<{ path: string; seconds: number; reason: string }>({
    message: ({ path, seconds, reason }) => `the database ${path} has not answered for ${seconds} s: ${reason}`,
    cure: 'Check that it runs and that its port is open from here; bms-core asks again by itself, unless it was starting',
  }),
  STORE_OUTCOME_UNKNOWN: entry<{ path: string; kind: string; id: string; reason: string }>({
    message: ({ path, kind, id, reason }) => `whether the ${kind} ${id} was written to ${path} is not known: ${reason}`,
    cure: 'Read the record again before the next change; the daemon does',
  }),
  STORE_IMPORT_LINE: entry<{ line: number; reason: string }>({
    message: ({ line, reason }) => `line ${line} of the backup cannot be read: ${reason}`,
    cure: 'Use a backup whole and unchanged, or an older one; nothing has been imported',
  }),
  STORE_IMPORT_CONFLICT: entry<{ count: number; first: readonly string[] }>({
    message: ({ count, first }) =>
      `${count} records have changed since the backup: ${first.join(', ')}${count > first.length ? ', …' : ''}`,
    cure: 'Import into an empty store, or ask for those to be overwritten; nothing has been imported',
  }),
  STORE_CLOSED: entry<{ what: string }>({
    message: ({ what }) => `${what} was called on a closed store`,
    cure: 'Close the store last, after everything that uses it',
  }),
});
