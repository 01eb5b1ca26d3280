/**
 * Before a component is applied, its database and account are there: its init container would fail otherwise. One connection for a
 * whole pass, and none while what was seen right a moment ago is still what is wanted.
 */
import { createHash } from 'node:crypto';
import { CodedError, Secret } from 'cdk8s-baremetal-contract';
import { type ClusterSettings, type Component, credentialsRow } from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { KubeApi } from '../engine/api.ts';
import { ifFound } from '../engine/api-error.ts';
import { textAt } from '../engine/objects.ts';
import { resourceTypes } from '../engine/resource-types.ts';
import { type DatabaseAccount, type DatabaseServer, type DatabaseSession, type Databases, shownServer } from './databases.ts';
import { operatorOnecloudErrors } from './errors.ts';

/** What was seen right is not looked at again for this long: passes come by the second while pods start. */
const TRUSTED_MS = 300_000;

export interface DatabaseName {
  readonly name: string;
  readonly user: string;
  /** Host and port. */
  readonly server: string;
}

export interface DatabasePassOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly namespace: string;
  readonly mysql: ClusterSettings['mysql'];
  /** By component name. */
  readonly passwords: ReadonlyMap<string, Secret>;
}

export interface DatabasePass {
  /** The database that the component uses, its own or another's. Throws what kept it from being there. */
  ensure(row: Component): Promise<void>;
  /** Seen right or made in this pass, or shortly before. */
  readonly names: readonly DatabaseName[];
  /** Made or changed in this pass, for people: "made the database glance and its account". */
  readonly told: readonly string[];
  readonly problem: CodedError | undefined;
  close(): Promise<void>;
}

export class DatabaseKeeper {
  readonly #databases: Databases;
  /** Cluster → database → what was seen, and when. */
  readonly #trusted = new Map<string, Map<string, { readonly fingerprint: string; readonly at: number }>>();

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  forget(cluster: string): void {
    this.#trusted.delete(cluster);
  }

  begin(cluster: string, options: DatabasePassOptions): DatabasePass {
    const trusted = this.#trusted.get(cluster) ?? new Map<string, { readonly fingerprint: string; readonly at: number }>();
    this.#trusted.set(cluster, trusted);
    const { api, clock, signal, namespace, mysql, passwords } = options;
    const names: DatabaseName[] = [];
    const told: string[] = [];
    let opening: Promise<DatabaseSession> | undefined;
    let problem: CodedError | undefined;
    const session = (): Promise<DatabaseSession> => {
      opening ??= serverOf(api, namespace, mysql).then((server) => this.#databases.open(server, signal));
      return opening;
    };
    // components of a layer come side by side; what they ask for stands in one row on one connection
    let turn: Promise<void> = Promise.resolve();
    const inTurn = (work: () => Promise<void>): Promise<void> => {
      const mine = turn.then(work);
      turn = mine.catch(() => undefined);
      return mine;
    };
    const ensure = async (row: Component): Promise<void> => {
      const owner = credentialsRow(row);
      const password = passwords.get(owner.name);
      if (owner.database === undefined || password === undefined) return;
      const { name, user } = owner.database;
      if (names.some((known) => known.name === name)) return;
      const fingerprint = fingerprintOf(mysql, { database: name, user, password });
      const known = trusted.get(name);
      const now = clock.monotonic();
      if (known?.fingerprint !== fingerprint || now - known.at > TRUSTED_MS) {
        trusted.delete(name);
        try {
          const outcome = await (await session()).ensure({ database: name, user, password });
          if (outcome === 'made') told.push(`made the database ${name} and its account ${user}`);
          if (outcome === 'changed') told.push(`brought the account ${user} of the database ${name} to its password and rights`);
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof CodedError) problem ??= error;
          throw error;
        }
        trusted.set(name, { fingerprint, at: now });
      }
      names.push({ name, user, server: shownServer(mysql) });
    };
    return {
      names,
      told,
      get problem() {
        return problem;
      },
      ensure: (row) => inTurn(() => ensure(row)),
      close: async () => {
        await opening?.then((open) => open.close()).catch(() => undefined);
      },
    };
  }

  /** For what is dropped. */
  async open(api: KubeApi, namespace: string, mysql: ClusterSettings['mysql'], signal: AbortSignal): Promise<DatabaseSession> {
    return this.#databases.open(await serverOf(api, namespace, mysql), signal);
  }
}

/** @throws CodedError ONECLOUD_SECRET_MISSING */
export async function serverOf(api: KubeApi, namespace: string, mysql: ClusterSettings['mysql']): Promise<DatabaseServer> {
  const { host, port, username, password, passwordSecretRef, tls } = mysql;
  const read = async ({ name, key }: { readonly name: string; readonly key: string }): Promise<string> => {
    const secret = await ifFound(api.get(resourceTypes.secrets, { namespace, name }));
    const value = textAt(secret, 'data', key);
    if (!value) throw operatorOnecloudErrors.ONECLOUD_SECRET_MISSING({ secret: name, key });
    return Buffer.from(value, 'base64').toString();
  };
  // files made by editors and by echo end in a line break, which no password does
  const text = passwordSecretRef ? (await read(passwordSecretRef)).replace(/\r?\n$/, '') : (password ?? '');
  const ca = tls?.caSecretRef && (await read(tls.caSecretRef));
  return {
    host,
    port,
    user: username,
    password: new Secret(text),
    source: passwordSecretRef ? `the Secret ${passwordSecretRef.name}` : 'spec.mysql.password',
    ...(tls && { tls: ca === undefined ? {} : { ca } }),
  };
}

function fingerprintOf(mysql: ClusterSettings['mysql'], { database, user, password }: DatabaseAccount): string {
  return createHash('sha256')
    .update(JSON.stringify([shownServer(mysql), database, user, password.reveal()]))
    .digest('hex');
}
