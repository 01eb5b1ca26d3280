import type { Secret } from 'cdk8s-baremetal-contract';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import { nodeNetwork } from '../core/node-network.ts';
import { nodeRandom } from '../core/node-random.ts';
import type { Random } from '../core/random.ts';
import { storeErrors } from './errors.ts';
import { KubernetesStore } from './kubernetes/kubernetes-store.ts';
import { parseKubernetesUrl } from './kubernetes/kubernetes-url.ts';
import { serviceAccount } from './kubernetes/service-account.ts';
import { MemoryStore } from './memory-store.ts';
import { MysqlStore } from './mysql/mysql-store.ts';
import { parseMysqlUrl } from './mysql/mysql-url.ts';
import { SqliteStore } from './sqlite-store.ts';
import type { Store } from './store.ts';
import type { Dumpable } from './transfer.ts';

export interface StoreContext {
  readonly clock: Clock;
  /** `[store] password`, for a `mysql://` URL. */
  readonly password?: Secret | undefined;
  /** Default: the operating system's. */
  readonly random?: Random;
  /** How often to look for what other processes changed. Default 500 for MySQL, 1,000 for SQLite. */
  readonly pollMs?: number;
  /** To the API server, for `kubernetes://`. Default: the operating system's. */
  readonly network?: Network;
  /** Hears of watches that fail. */
  readonly logger?: Logger;
  /** Whose records a `kubernetes://` URL without a scope means, e.g. `pod45-wuxi2`. Default: `default`. */
  readonly scope?: string | undefined;
  /** What Kubernetes tells its containers. Default: the process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Opens the store that a URL names: `memory://`, `sqlite:///var/lib/bms/state.db`, `mysql://user@host[:port]/database`, or
 * `kubernetes://[namespace][/scope]` from within a cluster, by the container's service account. An SQLite path is
 * always absolute (a daemon's working directory is nobody's choice), so SQLAlchemy's four slashes, `sqlite:////var/…`, mean the same
 * file. A MySQL database or an API server is reached at the first call, which may reject with STORE_REFUSED or STORE_UNREACHABLE.
 */
export function openStore(url: string, context: StoreContext): Store & Dumpable {
  const { clock, password, random = nodeRandom, pollMs } = context;
  const polling = pollMs === undefined ? {} : { pollMs };
  if (url === 'memory://' || url === 'memory:') return new MemoryStore();
  if (url.startsWith('mysql://')) return new MysqlStore({ address: parseMysqlUrl(url, password), clock, random, ...polling });
  if (url.startsWith('kubernetes:')) {
    const { network = nodeNetwork, logger, scope: ownScope = 'default', env = process.env } = context;
    const { namespace, scope = ownScope } = parseKubernetesUrl(url);
    const access = serviceAccount({ env, clock });
    return new KubernetesStore({ access, scope, network, clock, random, ...(namespace && { namespace }), ...(logger && { logger }) });
  }
  return new SqliteStore({ path: sqlitePath(url), clock, ...polling });
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

/** A password in a URL is a likely mistake, and errors go to logs. */
function withoutPassword(url: string): string {
  return url.replace(/\/\/([^/@:]*):[^/]*@/, '//$1:***@');
}
