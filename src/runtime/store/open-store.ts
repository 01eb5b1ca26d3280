import type { Clock } from '../core/clock.ts';
import { storeErrors } from './errors.ts';
import { MemoryStore } from './memory-store.ts';
import { SqliteStore } from './sqlite-store.ts';
import type { Store } from './store.ts';

/**
 * Opens the store that a URL names: `memory://`, or `sqlite:///var/lib/bms/state.db`. The path is always absolute (a daemon's working
 * directory is nobody's choice), so SQLAlchemy's four slashes, `sqlite:////var/…`, mean the same file.
 */
export function openStore(url: string, context: { readonly clock: Clock }): Store {
  if (url === 'memory://' || url === 'memory:') return new MemoryStore();
  return new SqliteStore({ path: sqlitePath(url), clock: context.clock });
}

/** The file that an sqlite URL names. */
export function sqlitePath(url: string): string {
  const match = /^sqlite:\/\/\/(.+)$/.exec(url);
  if (match?.[1] === undefined) {
    throw storeErrors.STORE_URL({ url: withoutPassword(url), reason: 'names no store that this program knows' });
  }
  const path = `/${match[1].replace(/^\/+/, '')}`;
  if (path.endsWith('/') || path.includes('\0')) throw storeErrors.STORE_URL({ url, reason: 'names no file' });
  return path;
}

/** mysql://user:secret@host/db is a likely mistake here, and errors go to logs. */
function withoutPassword(url: string): string {
  return url.replace(/\/\/([^/@:]*):[^/@]*@/, '//$1:***@');
}
