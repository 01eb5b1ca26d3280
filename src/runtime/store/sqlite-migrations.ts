/**
 * The schema, as numbered steps. A step that has been released never changes; a new one goes at the end. Each runs once, in its own
 * transaction together with its row in `migrations`.
 */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

export const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'records',
    // `version` comes from one counter for the whole file: it is both the record's version and the place of the change in the
    // order of all changes, which lets another process on the same file ask "what changed after n?". A deleted record stays as a
    // row without a value, so that such a process hears of it; `create` puts the row to use again.
    sql: `
      CREATE TABLE sequence (only INTEGER PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL);
      INSERT INTO sequence (only, last) VALUES (1, 0);
      CREATE TABLE record (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        value TEXT,
        PRIMARY KEY (kind, id)
      ) WITHOUT ROWID;
      CREATE UNIQUE INDEX record_by_version ON record (version);
    `,
  },
  {
    version: 2,
    name: 'views for people',
    // The same columns as in MySQL; nothing reads them but people with a database client.
    sql: `
      CREATE VIEW bm_nodes AS
        SELECT value ->> '$.number' AS id, value ->> '$.uuid' AS uuid, value ->> '$.name' AS name,
          substr(value ->> '$.owner', 1, instr((value ->> '$.owner') || '#', '#') - 1) AS service_host,
          value ->> '$.instance.uuid' AS instance_uuid, value ->> '$.instance.name' AS instance_name,
          value ->> '$.properties.cpus' AS cpus, value ->> '$.properties.memoryMb' AS memory_mb, value ->> '$.properties.localGb' AS local_gb,
          value ->> '$.properties.cpuArch' AS cpu_arch, value ->> '$.bmc.driver' AS pm_type, value ->> '$.bmc.address' AS pm_address,
          value ->> '$.bmc.username' AS pm_user, value ->> '$.state' AS task_state, value ->> '$.targetState' AS target_state,
          value ->> '$.reason' AS reason, value ->> '$.power.state' AS power_state, value ->> '$.maintenance' AS maintenance,
          datetime((value ->> '$.stateSince') / 1000, 'unixepoch') AS state_since, version
        FROM record WHERE kind = 'node' AND value IS NOT NULL;
      CREATE VIEW bm_interfaces AS
        SELECT r.value ->> '$.number' AS bm_node_id, r.value ->> '$.name' AS node_name, i.key + 1 AS position, i.value ->> '$.mac' AS address,
          i.value ->> '$.address' AS ip_address, i.value ->> '$.vif' AS vif_uuid
        FROM record r, json_each(r.value, '$.interfaces') i WHERE r.kind = 'node' AND r.value IS NOT NULL;
      CREATE VIEW bm_deployments AS
        SELECT value ->> '$.deployment.id' AS id, value ->> '$.number' AS bm_node_id, value ->> '$.name' AS node_name, value ->> '$.state' AS task_state,
          value ->> '$.deployment.imageId' AS image_id, value ->> '$.deployment.generation' AS generation,
          value ->> '$.deployment.claim.address' AS ramdisk_address, value ->> '$.deployment.progress.bytes' AS bytes,
          value ->> '$.deployment.progress.totalBytes' AS total_bytes, value ->> '$.deployment.reportedError' AS reported_error,
          datetime((value ->> '$.deployment.expiresAt') / 1000, 'unixepoch') AS expires_at
        FROM record WHERE kind = 'node' AND value IS NOT NULL AND value ->> '$.deployment.id' IS NOT NULL;
    `,
  },
];

export const newestSchema: number = migrations.at(-1)?.version ?? 0;
