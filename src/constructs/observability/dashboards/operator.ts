import { type Dashboard, dashboard, graph, stat } from '../dashboard.ts';
import { highest, perMinute, quantile, total, where } from '../queries.ts';

/** The operator: whether it keeps up, and what it asks of the API server. */
export function operatorDashboard(): Dashboard {
  const requests = 'operator_api_requests_total';
  return dashboard({
    uid: 'onecloud-operator',
    title: 'OneCloud operator',
    tags: ['onecloud'],
    rows: [
      {
        height: 4,
        panels: [
          stat({
            title: 'Leaders',
            description: 'One, or none for seconds while the lease changes hands',
            queries: [{ expression: total('operator_leader', ['lease']), legend: '{{lease}}' }],
          }),
          stat({ title: 'Waiting', queries: [{ expression: total('operator_queue_depth') }], limits: { warning: 20, critical: 100 } }),
          stat({ title: 'Under way', queries: [{ expression: total('operator_reconcile_running') }] }),
          stat({
            title: 'Clusters known',
            queries: [
              {
                expression: highest('operator_informer_objects', [], where('operator_informer_objects', 'kind', 'OnecloudCluster')),
              },
            ],
          }),
        ],
      },
      {
        height: 9,
        panels: [
          graph({
            title: 'Reconciles a minute',
            unit: 'cpm',
            stacked: true,
            queries: [{ expression: perMinute('operator_reconcile_total', ['controller', 'result']), legend: '{{controller}} {{result}}' }],
          }),
          graph({
            title: 'Time of a reconcile',
            unit: 's',
            queries: [
              { expression: quantile(0.5, 'operator_reconcile_seconds', ['controller']), legend: '{{controller}} 50 %' },
              { expression: quantile(0.99, 'operator_reconcile_seconds', ['controller']), legend: '{{controller}} 99 %' },
            ],
          }),
          graph({
            title: 'Time in the queue, 99 %, and retries',
            unit: 's',
            queries: [
              { expression: quantile(0.99, 'operator_queue_wait_seconds', ['queue']), legend: '{{queue}}' },
              { expression: perMinute('operator_queue_retries_total', ['queue']), legend: '{{queue}} retries a minute' },
            ],
          }),
        ],
      },
      {
        height: 9,
        panels: [
          graph({
            title: 'Requests to the API server a minute',
            unit: 'cpm',
            stacked: true,
            queries: [{ expression: perMinute(requests, ['verb', 'kind']), legend: '{{verb}} {{kind}}' }],
          }),
          graph({
            title: 'Refused and unanswered',
            unit: 'cpm',
            queries: [
              {
                expression: perMinute(requests, ['verb', 'status'], where(requests, 'status', '[45]..|no-answer')),
                legend: '{{verb}} {{status}}',
              },
            ],
          }),
          graph({
            title: 'Time of a request, 99 %',
            unit: 's',
            queries: [
              { expression: quantile(0.99, 'operator_api_request_seconds', ['verb']), legend: '{{verb}}' },
              { expression: quantile(0.99, 'operator_api_throttle_seconds'), legend: 'waiting for our own limit' },
            ],
          }),
        ],
      },
      {
        height: 8,
        panels: [
          graph({
            title: 'Changes seen a minute',
            unit: 'cpm',
            queries: [{ expression: perMinute('operator_informer_events_total', ['kind', 'type']), legend: '{{kind}} {{type}}' }],
          }),
          graph({
            title: 'Lists and failures',
            unit: 'cpm',
            queries: [
              { expression: perMinute('operator_informer_lists_total', ['kind']), legend: 'list {{kind}}' },
              { expression: perMinute('operator_informer_failures_total', ['kind', 'error']), legend: '{{kind}}: {{error}}' },
            ],
          }),
        ],
      },
    ],
  });
}
