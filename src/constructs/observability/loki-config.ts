/** Loki's own configuration: one process, files, a retention that is kept. */
import { stringify } from 'yaml';

export const LOKI_PORT = 3100;
export const LOKI_RING_PORT = 9095;

export function lokiConfig({ retentionDays }: { readonly retentionDays: number }): string {
  return stringify({
    auth_enabled: false, // one tenant; who may reach it is the NetworkPolicy's to say
    server: { http_listen_port: LOKI_PORT, grpc_listen_port: LOKI_RING_PORT, log_level: 'warn' },
    common: {
      path_prefix: '/loki',
      replication_factor: 1,
      ring: { instance_addr: '127.0.0.1', kvstore: { store: 'inmemory' } },
      storage: { filesystem: { chunks_directory: '/loki/chunks', rules_directory: '/loki/rules' } },
    },
    // the one schema of Loki 3; a later one is added below with the day from which it holds, never changed in place
    schema_config: {
      configs: [
        { from: '2024-01-01', store: 'tsdb', object_store: 'filesystem', schema: 'v13', index: { prefix: 'index_', period: '24h' } },
      ],
    },
    limits_config: {
      retention_period: `${retentionDays * 24}h`,
      reject_old_samples: true,
      reject_old_samples_max_age: '168h',
      max_line_size: '256KB',
      max_line_size_truncate: true, // half a line tells more than none
    },
    compactor: { working_directory: '/loki/compactor', retention_enabled: true, delete_request_store: 'filesystem' },
    analytics: { reporting_enabled: false },
  });
}
