import { readFileSync } from 'node:fs';
import type { Secret } from 'cdk8s-baremetal-contract';
import { storeErrors } from '../errors.ts';

export interface MysqlAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password: Secret | undefined;
  /** Certificates are verified, names included; `ca` in PEM in place of the authorities that Node knows. */
  readonly tls: { readonly ca: string | undefined } | undefined;
  /** `mysql://user@host:port/database`, for messages. */
  readonly shown: string;
}

const DEFAULT_PORT = 3306;
/** Of a URL that names nobody. */
const DEFAULT_USER = 'bms';

/**
 * Reads `mysql://[user@]host[:port]/database[?tls=on[&ca=%2Fpath%2Fto%2Fca.pem]]`. STORE_URL when it is not one, or when it carries a password:
 * URLs are in ConfigMaps, process lists and logs.
 */
export function parseMysqlUrl(url: string, password: Secret | undefined): MysqlAddress {
  const refuse = (reason: string, shown = url): never => {
    throw storeErrors.STORE_URL({ url: shown, reason });
  };
  if (/\/\/[^/@]*:[^/]*@/.test(url)) return refuse('carries a password', url.replace(/:[^/]*@/, ':***@').replace(/^:\*\*\*@/, ''));
  const match = /^mysql:\/\/(?:([^\s:@/?]+)@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::(\d{1,5}))?\/([^\s/?]+)(?:\?(.*))?$/.exec(
    url,
  );
  if (match === null) return refuse('names no database');
  const [, user = DEFAULT_USER, host = '', port = String(DEFAULT_PORT), database = '', options = ''] = match;
  if (Number(port) < 1 || Number(port) > 65_535) return refuse('has a port out of range');
  const parameters = new URLSearchParams(options);
  for (const name of parameters.keys()) if (name !== 'tls' && name !== 'ca') return refuse(`has an option that is not known, ${name}`);
  const tls = parameters.get('tls');
  const ca = parameters.get('ca');
  if (tls !== null && tls !== 'on' && tls !== 'off') return refuse('has tls neither on nor off');
  if (ca !== null && tls !== 'on') return refuse('names a ca without tls=on');
  // mysql2 compares a certificate's name with "localhost" when the host is an address.
  if (tls === 'on' && /^\[|^[0-9.]+$/.test(host))
    return refuse('has tls=on with an address: use the host name that the certificate carries');
  const decoded = decode(user, database) ?? refuse('has a % that begins no escape');
  return {
    host: host.replace(/^\[|\]$/g, ''),
    port: Number(port),
    ...decoded,
    password,
    tls: tls === 'on' ? { ca: ca === null ? undefined : readCertificates(ca, url) } : undefined,
    shown: `mysql://${decoded.user}@${host}:${port}/${decoded.database}`,
  };
}

function decode(user: string, database: string): { user: string; database: string } | undefined {
  try {
    return { user: decodeURIComponent(user), database: decodeURIComponent(database) };
  } catch {
    return undefined;
  }
}

function readCertificates(path: string, url: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw storeErrors.STORE_URL({ url, reason: `names a ca that cannot be read (${String(error)})` }, { cause: error });
  }
}
