/** The metrics that dashboards may use: bms-core's from the contract, the operator's as its engine defines them (a test compares). */
import { metrics as bmsCoreMetrics, type MetricDefinition } from 'cdk8s-baremetal-contract/api/metrics';

export const operatorMetrics = {
  operator_leader: { type: 'gauge', help: '1 while this replica holds the lease', labels: ['lease'] },
  operator_reconcile_total: { type: 'counter', help: 'Reconciles by controller and result', labels: ['controller', 'result'] },
  operator_reconcile_seconds: { type: 'histogram', help: 'Time of a reconcile', labels: ['controller'] },
  operator_reconcile_running: { type: 'gauge', help: 'Reconciles under way', labels: ['controller'] },
  operator_queue_depth: { type: 'gauge', help: 'Keys that wait for a worker', labels: ['queue'] },
  operator_queue_wait_seconds: { type: 'histogram', help: 'Time that a key waited for a worker', labels: ['queue'] },
  operator_queue_retries_total: { type: 'counter', help: 'Keys added again after a failure', labels: ['queue'] },
  operator_api_requests_total: { type: 'counter', help: 'Requests to the API server', labels: ['verb', 'kind', 'status'] },
  operator_api_request_seconds: { type: 'histogram', help: 'Time of a request to the API server', labels: ['verb'] },
  operator_api_throttle_seconds: { type: 'histogram', help: 'Time that requests waited for the client-side limit' },
  operator_informer_lists_total: { type: 'counter', help: 'Full lists', labels: ['kind'] },
  operator_informer_events_total: { type: 'counter', help: 'Changes seen', labels: ['kind', 'type'] },
  operator_informer_failures_total: { type: 'counter', help: 'Lists and watches that failed', labels: ['kind', 'error'] },
  operator_informer_objects: { type: 'gauge', help: 'Objects known', labels: ['kind'] },
} as const satisfies Record<string, MetricDefinition>;

export const dashboardMetrics = { ...bmsCoreMetrics, ...operatorMetrics };

type All = typeof dashboardMetrics;
type OfType<T extends MetricDefinition['type']> = { [N in keyof All]: All[N] extends { type: T } ? N : never }[keyof All];

export type CounterName = OfType<'counter'>;
export type GaugeName = OfType<'gauge'>;
export type HistogramName = OfType<'histogram'>;
export type MetricLabel<N extends keyof All> = All[N] extends { labels: readonly (infer L extends string)[] } ? L : never;
