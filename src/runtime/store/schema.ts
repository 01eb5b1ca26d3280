/** What `bmctl db sync` and `bmctl db version` do. */

import { MysqlConnections } from './mysql/mysql-connections.ts';
import { migrateMysql, newestMysqlSchema, readMysqlSchema } from './mysql/mysql-migrations.ts';
import { parseMysqlUrl } from './mysql/mysql-url.ts';
import { openStore, type StoreContext, sqlitePath } from './open-store.ts';
import { newestSchema } from './sqlite-migrations.ts';
import { sqliteSchemaVersion } from './sqlite-store.ts';

export interface SchemaVersion {
  /** 0: none yet. */
  readonly found: number;
  /** What this program would make of it. */
  readonly newest: number;
}

/** Brings the schema of the store up to date, making it if need be; repeatable, and safe beside replicas that start. */
export async function syncSchema(url: string, context: StoreContext): Promise<SchemaVersion> {
  if (isMemory(url) || isKubernetes(url)) return schemaVersion(url, context);
  if (!url.startsWith('mysql://')) {
    await openStore(url, context).close();
    return { found: newestSchema, newest: newestSchema };
  }
  return withConnections(url, context, async (connections, address) => {
    return { found: await migrateMysql(connections, address, context.clock), newest: newestMysqlSchema };
  });
}

/** Changes nothing. STORE_NEWER_SCHEMA for a MySQL database that a newer program made. */
export async function schemaVersion(url: string, context: StoreContext): Promise<SchemaVersion> {
  if (isMemory(url)) return { found: 0, newest: 0 };
  if (isKubernetes(url)) return kubernetesSchema(url, context);
  if (!url.startsWith('mysql://')) return { found: sqliteSchemaVersion(sqlitePath(url)), newest: newestSchema };
  return withConnections(url, context, async (connections, address) => {
    return { found: await connections.together((link) => readMysqlSchema(link, address)), newest: newestMysqlSchema };
  });
}

function isMemory(url: string): boolean {
  return url === 'memory://' || url === 'memory:';
}

function isKubernetes(url: string): boolean {
  return url.startsWith('kubernetes:');
}

/** The schema is the CustomResourceDefinition, which is applied with kubectl: asked for a record, the API server says what is missing. */
async function kubernetesSchema(url: string, context: StoreContext): Promise<SchemaVersion> {
  const store = openStore(url, context);
  try {
    await store.get({ name: 'node', parse: (value) => value }, 'none');
    return { found: 1, newest: 1 };
  } finally {
    await store.close();
  }
}

async function withConnections<T>(
  url: string,
  { clock, password }: StoreContext,
  work: (connections: MysqlConnections, address: ReturnType<typeof parseMysqlUrl>) => Promise<T>,
): Promise<T> {
  const address = parseMysqlUrl(url, password);
  const connections = new MysqlConnections({ address, clock });
  try {
    return await work(connections, address);
  } finally {
    await connections.close();
  }
}
