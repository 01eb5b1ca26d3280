/** A database server in memory behind the operator's port: what is on it, who came, and how it can fail. */
import type { Secret } from 'cdk8s-baremetal-contract';
import type { DatabaseServer, DatabaseSession, Databases } from '../../../src/operator/onecloud/databases.ts';

export class MemoryDatabases implements Databases {
  /** Database → account and password. */
  readonly accounts = new Map<string, { readonly user: string; readonly password: Secret }>();
  /** Servers that were logged in to, one entry per connection. */
  readonly connections: DatabaseServer[] = [];
  /** What was written, in order. */
  readonly writes: string[] = [];
  openNow = 0;
  /** Asked for each connection (`open`) and each statement (`ensure glance`, `drop glance`); an error is the answer. */
  fault: ((what: string) => Error | undefined) | undefined;

  async open(server: DatabaseServer): Promise<DatabaseSession> {
    this.connections.push(server);
    this.#fail('open');
    this.openNow += 1;
    return {
      ping: async () => this.#fail('ping'),
      ensure: async ({ database, user, password }) => {
        this.#fail(`ensure ${database}`);
        const known = this.accounts.get(database);
        if (known?.password.equals(password)) return 'unchanged';
        this.accounts.set(database, { user, password });
        this.writes.push(`ensure ${database}`);
        return known ? 'changed' : 'made';
      },
      drop: async ({ database }) => {
        this.#fail(`drop ${database}`);
        this.writes.push(`drop ${database}`);
        return this.accounts.delete(database);
      },
      close: async () => {
        this.openNow -= 1;
      },
    };
  }

  #fail(what: string): void {
    const error = this.fault?.(what);
    if (error) throw error;
  }
}
