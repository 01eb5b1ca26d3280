import type { Clock } from '../../core/clock.ts';
import { isoTime } from '../../core/iso-time.ts';
import { storeErrors } from '../errors.ts';
import type { Link, MysqlConnections } from './mysql-connections.ts';
import type { MysqlAddress } from './mysql-url.ts';

/**
 * The schema, as numbered steps. A released step never changes; a new one goes at the end. MySQL commits at every CREATE, so a step can stop
 * half way: each of its statements must be such that it may run again.
 */
interface Step {
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
}

const json = (path: string): string => `JSON_VALUE(value, '$.${path}')`;
const number = (path: string): string => `CAST(${json(path)} AS SIGNED)`;
const time = (path: string): string => `FROM_UNIXTIME(${json(path)} / 1000)`;

const mysqlSteps: readonly Step[] = [
  {
    version: 1,
    name: 'records',
    statements: [
      // `version` counts the record's changes, so the sum over all records counts the changes of the database and only grows: that is how
      // replicas see that something changed, whatever the order of commits. A deleted record stays without a value, so that it
      // never gets an old version back and others hear of it. `tokens` are the marks of the last 32 writes, the newest first: a writer
      // whose answer got lost finds its own among them. LONGTEXT and not JSON, since MySQL's JSON rewrites the text.
      `CREATE TABLE IF NOT EXISTS records (
         kind VARCHAR(64) NOT NULL,
         id VARCHAR(255) NOT NULL,
         version BIGINT UNSIGNED NOT NULL,
         tokens VARCHAR(256) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
         changed_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
         value LONGTEXT NULL CHECK (JSON_VALID(value)),
         PRIMARY KEY (kind, id),
         KEY records_by_change (changed_at, version)
       ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
    ],
  },
  {
    version: 2,
    name: 'views for people',
    statements: [
      `CREATE OR REPLACE SQL SECURITY INVOKER VIEW bm_nodes AS
       SELECT ${number('number')} AS id, ${json('uuid')} AS uuid, ${json('name')} AS name, SUBSTRING_INDEX(${json('owner')}, '#', 1) AS service_host,
         ${json('instance.uuid')} AS instance_uuid, ${json('instance.name')} AS instance_name,
         ${number('properties.cpus')} AS cpus, ${number('properties.memoryMb')} AS memory_mb, ${number('properties.localGb')} AS local_gb,
         ${json('properties.cpuArch')} AS cpu_arch, ${json('bmc.driver')} AS pm_type, ${json('bmc.address')} AS pm_address,
         ${json('bmc.username')} AS pm_user, ${json('state')} AS task_state, ${json('targetState')} AS target_state, ${json('reason')} AS reason,
         ${json('power.state')} AS power_state, ${json('maintenance')} = 'true' OR ${json('maintenance')} = '1' AS maintenance,
         ${time('stateSince')} AS state_since, version, changed_at AS updated_at
       FROM records WHERE kind = 'node' AND value IS NOT NULL`,
      `CREATE OR REPLACE SQL SECURITY INVOKER VIEW bm_interfaces AS
       SELECT CAST(JSON_VALUE(r.value, '$.number') AS SIGNED) AS bm_node_id, JSON_VALUE(r.value, '$.name') AS node_name,
         i.position, i.address, i.ip_address, i.vif_uuid
       FROM records r, JSON_TABLE(r.value, '$.interfaces[*]' COLUMNS (
         position FOR ORDINALITY, address VARCHAR(17) PATH '$.mac', ip_address VARCHAR(45) PATH '$.address', vif_uuid VARCHAR(64) PATH '$.vif'
       )) i
       WHERE r.kind = 'node' AND r.value IS NOT NULL`,
      `CREATE OR REPLACE SQL SECURITY INVOKER VIEW bm_deployments AS
       SELECT ${json('deployment.id')} AS id, ${number('number')} AS bm_node_id, ${json('name')} AS node_name, ${json('state')} AS task_state,
         ${json('deployment.imageId')} AS image_id, ${number('deployment.generation')} AS generation,
         ${json('deployment.claim.address')} AS ramdisk_address, ${number('deployment.progress.bytes')} AS bytes,
         ${number('deployment.progress.totalBytes')} AS total_bytes, ${json('deployment.reportedError')} AS reported_error,
         ${time('deployment.expiresAt')} AS expires_at
       FROM records WHERE kind = 'node' AND value IS NOT NULL AND ${json('deployment.id')} IS NOT NULL`,
    ],
  },
];

export const newestMysqlSchema: number = mysqlSteps.at(-1)?.version ?? 0;
/** How long to wait for another replica that migrates. */
const LOCK_SECONDS = 20;

/** Brings the schema up to date and gives its version. Replicas that start together take turns; each step runs once. */
export async function migrateMysql(connections: MysqlConnections, address: MysqlAddress, clock: Clock): Promise<number> {
  return connections.together(async (link) => {
    // The common case takes no lock.
    const before = await readMysqlSchema(link, address);
    if (before === newestMysqlSchema) return before;
    const lock = `bms_schema_${address.database}`.slice(0, 64);
    if (!(await locked(link, lock))) {
      throw storeErrors.STORE_OPEN({ path: address.shown, reason: `another program has been changing its schema for ${LOCK_SECONDS} s` });
    }
    try {
      await link.execute(
        `CREATE TABLE IF NOT EXISTS migrations (version INT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, applied_at VARCHAR(32) NOT NULL)
         ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
      );
      const found = await readMysqlSchema(link, address);
      for (const { version, name, statements } of mysqlSteps) {
        if (version <= found) continue;
        for (const statement of statements) await link.execute(statement);
        await link.execute('INSERT INTO migrations (version, name, applied_at) VALUES (?, ?, ?)', [version, name, isoTime(clock.now())]);
      }
    } finally {
      await link.execute('DO RELEASE_LOCK(?)', [lock]).catch(() => undefined); // or it goes with the connection
    }
    return newestMysqlSchema;
  });
}

/** False: another one has held it all the while. A second at a time, since each answer has its own time limit. */
async function locked(link: Link, lock: string): Promise<boolean> {
  for (let seconds = 0; seconds < LOCK_SECONDS; seconds++) {
    const { rows } = await link.execute('SELECT GET_LOCK(?, 1) AS got', [lock]);
    if (rows[0]?.got === 1) return true;
  }
  return false;
}

/** 0: no schema yet. STORE_NEWER_SCHEMA, and STORE_FOREIGN for a database of another program. */
export async function readMysqlSchema(link: Link, { database, shown }: MysqlAddress): Promise<number> {
  const { rows } = await link.execute('SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ?', [database]);
  if (rows.length === 0) return 0;
  if (!rows.some(({ name }) => name === 'migrations')) {
    throw storeErrors.STORE_FOREIGN({ path: shown });
  }
  const found = Number((await link.execute('SELECT COALESCE(MAX(version), 0) AS version FROM migrations')).rows[0]?.version);
  if (found > newestMysqlSchema) throw storeErrors.STORE_NEWER_SCHEMA({ path: shown, found, known: newestMysqlSchema });
  return found;
}
