/** The database server as the operator needs it: databases and accounts that are there, with the right password, or gone. */
import type { Secret } from 'cdk8s-baremetal-contract';

export interface DatabaseServer {
  readonly host: string;
  readonly port: number;
  /** May create databases and accounts. */
  readonly user: string;
  readonly password: Secret;
  /** Where the password comes from, for messages: "the Secret default-mysql". */
  readonly source: string;
  /** Certificates are verified, names included; `ca` in PEM in place of the authorities that Node knows. */
  readonly tls?: { readonly ca?: string };
}

export interface DatabaseAccount {
  readonly database: string;
  readonly user: string;
  readonly password: Secret;
}

/** `made` and `changed` were written; `unchanged` was only looked at. */
export type Ensured = 'made' | 'changed' | 'unchanged';

/** One connection, for one pass over one cluster. Every method throws CodedError ONECLOUD_DATABASE_*, never with a password in it. */
export interface DatabaseSession {
  ping(): Promise<void>;
  /** Database, account, its password and its rights to the database, as wanted. Looks first; harmless when repeated or cut off. */
  ensure(account: DatabaseAccount): Promise<Ensured>;
  /** Whether there was anything to drop. */
  drop(account: Pick<DatabaseAccount, 'database' | 'user'>): Promise<boolean>;
  close(): Promise<void>;
}

export interface Databases {
  open(server: DatabaseServer, signal: AbortSignal): Promise<DatabaseSession>;
}

/** "10.168.26.216:3306", for messages. */
export function shownServer({ host, port }: Pick<DatabaseServer, 'host' | 'port'>): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
