import { coordinationErrors } from '../errors.ts';
import type { ZooKeeperServer } from './zookeeper-client.ts';

export interface KazooUrl {
  readonly servers: readonly ZooKeeperServer[];
  /** Where our nodes are; never `/`. */
  readonly path: string;
}

const DEFAULT_PORT = 2181;
/** Of a URL that names none. */
const DEFAULT_PATH = '/bms';
const HOST = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9][A-Za-z0-9._-]*))(?::(\d{1,5}))?$/;

/** Reads `kazoo://host[:port][,host[:port]…][/path]`, OpenStack's (tooz's) name for ZooKeeper. COORDINATION_URL when it is not one. */
export function parseKazooUrl(url: string): KazooUrl {
  const match = /^kazoo:\/\/([^/]+)(\/.*)?$/.exec(url);
  if (match?.[1] === undefined) throw coordinationErrors.COORDINATION_URL({ url });
  const servers = match[1].split(',').map((part) => {
    const [, bracketed, plain, port = String(DEFAULT_PORT)] = HOST.exec(part) ?? [];
    const host = bracketed ?? plain;
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535) throw coordinationErrors.COORDINATION_URL({ url });
    return { host, port: Number(port) };
  });
  const segments = (match[2] ?? '').split('/').filter((segment) => segment !== '');
  if (segments.some((segment) => segment === '.' || segment === '..' || !/^[A-Za-z0-9._-]+$/.test(segment))) {
    throw coordinationErrors.COORDINATION_URL({ url });
  }
  return { servers, path: segments.length === 0 ? DEFAULT_PATH : `/${segments.join('/')}` };
}
