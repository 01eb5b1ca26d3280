/** Every metric of bms-core. Label values come from closed sets or are bounded; docs/api.md is held to this table. */
export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels?: readonly string[];
  /** Upper bounds, in the metric's unit. */
  readonly buckets?: readonly number[];
}

const REQUEST_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30];
/** From a power command to an image of many gigabytes. */
const STATE_SECONDS = [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];

export const metrics = {
  bms_build_info: { type: 'gauge', help: 'Always 1; the labels say what runs', labels: ['contract_version'] },
  bms_nodes: { type: 'gauge', help: 'Machines by state', labels: ['state'] },
  bms_nodes_maintenance: { type: 'gauge', help: 'Machines in maintenance' },
  bms_nodes_overdue: { type: 'gauge', help: 'Machines whose state should have ended' },
  bms_node_transitions_total: { type: 'counter', help: 'Transitions seen by this replica', labels: ['from', 'to'] },
  bms_node_state_seconds: { type: 'histogram', help: 'Time spent in a state that has ended', labels: ['state'], buckets: STATE_SECONDS },
  bms_node_records_invalid: { type: 'gauge', help: 'Records of machines that cannot be read' },
  bms_store_calls_total: {
    type: 'counter',
    help: 'Calls of the store by operation and result: ok, or the code of the error',
    labels: ['operation', 'result'],
  },
  bms_http_requests_total: { type: 'counter', help: 'Requests by operation and status', labels: ['operation', 'status'] },
  bms_http_request_duration_seconds: {
    type: 'histogram',
    help: 'Time to the head of an answer',
    labels: ['operation'],
    buckets: REQUEST_SECONDS,
  },
  bms_http_refused_total: { type: 'counter', help: 'Requests refused before their operation', labels: ['reason'] },
  bms_idempotent_replays_total: { type: 'counter', help: 'Requests that were answered from an earlier one with the same Idempotency-Key' },
  bms_event_streams: { type: 'gauge', help: 'Event streams that are open' },
  bms_event_resets_total: { type: 'counter', help: 'Streams that began with a reset: what they missed is not kept' },
  bms_notifications_pending: { type: 'gauge', help: 'Notifications to bms_control that wait' },
  bms_notifications_dead: { type: 'gauge', help: 'Notifications that were given up and are kept' },
  bms_notification_deliveries_total: { type: 'counter', help: 'Tries to deliver a notification', labels: ['result'] },
  bms_bmcs: { type: 'gauge', help: 'BMCs that this replica has asked by IPMI, by how it stands with them', labels: ['state'] },
  bms_bmc_sessions: { type: 'gauge', help: 'IPMI sessions that are open' },
  bms_bmc_commands_total: { type: 'counter', help: 'IPMI commands by result: ok, or the code of the error', labels: ['result'] },
  bms_nodes_faulty: {
    type: 'gauge',
    help: 'Machines with a fault: a BMC that does not answer, power that was lost, a report from outside',
  },
  bms_power_sync_outage: {
    type: 'gauge',
    help: '1 while so many machines have a fault at once that the network is the likelier cause: no remedy is tried',
  },
  bms_power_sync_looks_total: { type: 'counter', help: 'Looks at the power of machines at rest' },
  bms_power_sync_failures_total: { type: 'counter', help: 'Looks that got no answer' },
  bms_power_sync_late_total: { type: 'counter', help: 'Looks that were left out, since the one before had not ended' },
  bms_power_sync_claims_total: { type: 'counter', help: 'Machines that a look found without a living owner and claimed' },
  bms_power_sync_writes_total: { type: 'counter', help: 'Records that changed by what was seen, and by remedies' },
  bms_remedies_held_total: { type: 'counter', help: 'Remedies that were due and held back: an outage, or the budget' },
  bms_dhcp_messages_total: { type: 'counter', help: 'DHCP messages by type and answer', labels: ['type', 'answer'] },
  bms_dhcp_problems_total: {
    type: 'counter',
    help: 'What DHCP noticed: rival servers, address conflicts, relays that are unknown or silent, exhausted pools',
    labels: ['kind'],
  },
  bms_discoveries_total: {
    type: 'counter',
    help: 'Unknown machines that wanted to boot, with [dhcp] unknown_machines = discover: enrolled, interface added, known, full, too fast, failed',
    labels: ['outcome'],
  },
  bms_objects: { type: 'gauge', help: 'BareMetalNodes of the own pod, by whether they are accepted', labels: ['accepted'] },
  bms_objects_reading: {
    type: 'gauge',
    help: '1 while BareMetalNodes are watched; 0 without [objects], or while the API server cannot be read',
  },
  bms_object_changes_total: {
    type: 'counter',
    help: 'What this replica did about BareMetalNodes: Enrolled, Corrected, Refused, Held, Released, Withdrawn',
    labels: ['change'],
  },
  bms_boot_requests_total: { type: 'counter', help: 'Boot files and configurations asked for', labels: ['protocol', 'answer'] },
  bms_boot_loaders_missing: { type: 'gauge', help: 'Kinds of firmware whose boot loader was not there at the start' },
  bms_tftp_transfers: { type: 'gauge', help: 'TFTP transfers under way' },
  bms_tftp_transfers_total: { type: 'counter', help: 'TFTP transfers that have ended', labels: ['outcome'] },
  bms_tftp_sent_bytes_total: { type: 'counter', help: 'Bytes of files that TFTP clients have confirmed' },
  bms_tftp_retransmits_total: { type: 'counter', help: 'TFTP packets that were sent more than once' },
  bms_tftp_first_byte_seconds: { type: 'histogram', help: 'From a TFTP request to its first confirmation', buckets: REQUEST_SECONDS },
  bms_http_downloads_total: { type: 'counter', help: 'Downloads of boot files over HTTP that have ended', labels: ['outcome'] },
  bms_http_sent_bytes_total: { type: 'counter', help: 'Bytes of boot files that went out over HTTP' },
  bms_http_first_byte_seconds: { type: 'histogram', help: 'From an HTTP request to the first bytes of its file', buckets: REQUEST_SECONDS },
  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory' },
  process_cpu_seconds_total: { type: 'counter', help: 'CPU time, user and system' },
} as const satisfies Record<string, MetricDefinition>;

export type Metrics = typeof metrics;
export type MetricName = keyof Metrics;
